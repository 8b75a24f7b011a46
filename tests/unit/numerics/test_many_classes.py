"""The classifier of many classes beside scikit-learn, a slow obvious version, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from guards.numerics.likely import likeliest
from guards.numerics.many_classes import AMONG, ask, discriminants, fit, mixed


def clouds(seed, *, classes=40, each=8, columns=5, spread=0.3):
    """Rows of normal clouds and their classes, in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), each))
    points = rng.normal(size=(classes, columns))[labels]
    return points + spread * rng.normal(size=points.shape), labels


def everyone(labels):
    return np.arange(len(labels))


def test_with_many_rows_a_class_it_is_the_discriminant_of_scikit_learn():
    points, labels = clouds(1, classes=12, each=400, columns=4, spread=0.8)
    told = ask(fit(points, labels, 12, everyone(labels)), points)
    best = told.likely[everyone(labels), told.normal.argmax(axis=1)]
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(points, labels)
    assert (best == theirs.predict(points)).mean() > 0.99
    wide = np.zeros((len(labels), 12))
    np.put_along_axis(wide, told.likely.astype(int), told.normal, axis=1)
    assert np.abs(wide - theirs.predict_proba(points)).mean() < 0.01


def test_likelihoods_are_those_of_the_predictive_normal():
    """Written out: N(s m, 1 + between/(1 + n between)) along each direction, times the prior."""
    from scipy.stats import norm

    points, labels = clouds(2, classes=9, each=3)
    labels[:2] = 0  # classes of unlike sizes
    fitted = fit(points, labels, 9, everyone(labels))
    told, rows = ask(fitted, points), fitted.space.of(points).astype(float)
    between, sizes = fitted.space.between, np.bincount(labels, minlength=9)
    likelihood = np.zeros((len(rows), 9))
    for label in range(9):
        known = sizes[label] * between
        middle = known / (1 + known) * rows[labels == label].mean(axis=0)
        spread = np.sqrt(1 + between / (1 + known))
        likelihood[:, label] = norm.pdf(rows, middle, spread).prod(axis=1) * sizes[label]
    shares = likelihood / likelihood.sum(axis=1, keepdims=True)
    found = np.zeros_like(shares)
    np.put_along_axis(found, told.likely.astype(int), told.normal, axis=1)
    assert found == pytest.approx(shares, abs=1e-4)


def test_votes_are_those_of_scikit_learn():
    points, labels = clouds(3, spread=1.0)
    fitted = fit(points, labels, 40, everyone(labels))
    asked = points + 0.5
    told, weights = ask(fitted, asked), fitted.space.weights
    theirs = KNeighborsClassifier(
        AMONG, weights=lambda apart: 1 / np.maximum(apart, 0.1), algorithm="brute"
    ).fit(fitted.space.of(points) * weights, labels)
    found = np.zeros((len(labels), 40))
    np.add.at(found, (everyone(labels)[:, None], told.near), told.votes)
    expected = theirs.predict_proba(fitted.space.of(asked) * weights)
    assert found == pytest.approx(expected, abs=1e-4)


def test_within_classes_rows_vary_by_one_and_columns_that_say_nothing_count_for_nothing():
    points, labels = clouds(4, classes=200, each=20, columns=3)
    noise = np.random.default_rng(5).normal(size=(len(labels), 4))
    space = discriminants(np.hstack([points, noise]), labels, 200)
    rows = space.of(np.hstack([points, noise]))
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(200)])
    within = np.cov((rows - means[labels]).T)
    strong = space.between > 1
    assert strong.sum() == 3
    assert within[np.ix_(strong, strong)] == pytest.approx(np.eye(3), abs=0.2)
    assert space.between[~strong].max(initial=0) < 0.1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1000), st.floats(-100, 100))
def test_neither_units_nor_the_order_of_rows_and_names_change_what_is_told(seed, scale, shift):
    """Told of a row: the probability of each class. Columns in other units, classes by others."""
    points, labels = clouds(seed, spread=0.6)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(labels)), rng.permutation(40)
    asked = points[:50] + 0.1

    def told(rows, classes, asked):
        views = ask(fit(rows, classes, 40, everyone(classes)), asked)
        return mixed(views, classes[:50], 40).dense()

    plain = told(points, labels, asked)
    # The labels that the shares are taken by stay those of the same rows.
    moved = ask(
        fit(points[order] * scale + shift, names[labels][order], 40, everyone(labels)),
        asked * scale + shift,
    )
    again = mixed(moved, names[labels[:50]], 40).dense()[:, names]
    assert again == pytest.approx(plain, abs=0.02)


def test_shares_follow_the_view_that_is_right():
    """Classes of several clouds are known by neighbours alone, single ones by their clouds too."""
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(60), 30)
    centres, which = rng.normal(size=(60, 3, 3)), rng.integers(0, 3, len(labels))
    points = centres[labels, which] + 0.05 * rng.normal(size=(len(labels), 3))
    half = rng.permutation(len(labels))
    seen, asked = half[:900], half[900:]
    views = ask(fit(points[seen], labels[seen], 60, np.arange(900)), points[asked])
    found = likeliest(mixed(views, labels[asked], 60))[0]
    cloud = views.likely[np.arange(900), views.normal.argmax(axis=1)]
    assert (found == labels[asked]).mean() > 0.85
    assert (cloud == labels[asked]).mean() < 0.5


def test_a_class_without_rows_and_fewer_classes_than_are_named_are_no_trouble():
    points, labels = clouds(7, classes=5)
    labels[labels == 3] = 2
    told = mixed(ask(fit(points, labels, 5, everyone(labels)), points), labels, 5)
    assert told.dense().sum(axis=1) == pytest.approx(np.ones(len(labels)), abs=1e-5)
    assert not told.dense()[:, 3].any()


def test_columns_that_tell_nothing_leave_every_class_possible():
    rng = np.random.default_rng(8)
    points, labels = rng.normal(size=(400, 2)), rng.integers(0, 40, 400)
    told = mixed(ask(fit(points, labels, 40, everyone(labels)), points + 9), labels, 40)
    assert np.isfinite(told.values).all()
    assert (told.labels < 40).sum(axis=1).min() > 1
