from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.numerics import confidence
from guards.numerics.confidence import (
    class_thresholds,
    confident_classes,
    confident_joint,
    label_issues,
    noise_rate,
    normalized_margin,
)


def sample(rows, classes, noise, seed, strength=3):
    generator = np.random.default_rng(seed)
    true = generator.integers(0, classes, rows)
    wrong = generator.random(rows) < noise
    labels = np.where(wrong, generator.integers(0, classes, rows), true)
    weights = generator.gamma(0.5, 1, (rows, classes))
    weights[np.arange(rows), true] += strength * generator.random(rows)
    return true, labels, weights / weights.sum(axis=1, keepdims=True)


def slow_issues(labels, probabilities):
    """cleanlab's `find_label_issues(filter_by="prune_by_noise_rate")`, one row at a time."""
    rows, classes = probabilities.shape
    thresholds = []
    for k in range(classes):
        own = [probabilities[i, k] for i in range(rows) if labels[i] == k]
        thresholds.append(max(sum(own) / len(own), 2e-6) if own else 2.0)
    joint = [[0.0] * classes for _ in range(classes)]
    for i in range(rows):
        reached = [k for k in range(classes) if probabilities[i, k] >= thresholds[k] - 1e-6]
        if len(reached) == 1:
            joint[labels[i]][reached[0]] += 1
        elif reached:
            joint[labels[i]][int(np.argmax(probabilities[i]))] += 1
    sizes = [int(np.sum(labels == k)) for k in range(classes)]
    for k in range(classes):
        joint[k][k] = max(joint[k][k], 1)
        total = sum(joint[k])
        joint[k] = [value / total * sizes[k] for value in joint[k]]
    # Summed true label by true label, as the peer's arrays happen to lie.
    whole = float(np.ascontiguousarray(np.transpose(joint)).sum())
    joint = [slow_round([value / whole * rows for value in row]) for row in joint]
    flagged = np.zeros(rows, dtype=bool)
    for k in range(classes):
        if sizes[k] <= 1:
            continue
        lift = max(joint[k][k], 1) - joint[k][k]
        spread = max(sum(value != 0 for value in joint[k]) - 1, 1)
        for j in range(classes):
            count = int(max(joint[k][j] - lift / spread, 0))
            if j == k or count == 0:
                continue
            members = np.flatnonzero(labels == k)
            # Equal margins tie; again numpy's order is part of the definition.
            order = np.argsort(-(probabilities[members, j] - probabilities[members, k]))
            flagged[members[order[:count]]] = True
    for i in range(rows):
        nudged = probabilities[i].copy()
        nudged[labels[i]] += 1e-6
        if int(np.argmax(nudged)) == labels[i]:
            flagged[i] = False
    return flagged


def slow_round(values):
    whole = [float(np.round(value)) for value in values]
    while (lacking := round(np.round(sum(values)) - sum(whole))) != 0:
        step = 1 if lacking > 0 else -1
        # Cells of equal counts tie; the order that numpy gives them is part of the definition.
        order = list(np.argsort(np.array(values) - whole))[::-step]
        for i in order[: abs(lacking)]:
            whole[i] += step
    return whole


SIZES = [(50, 2, 0.3), (300, 3, 0.2), (800, 10, 0.1), (200, 20, 0.3), (20, 5, 0.5)]


@pytest.mark.parametrize(("rows", "classes", "noise"), SIZES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flags_are_those_of_the_slow_definition(rows, classes, noise, seed):
    _, labels, probabilities = sample(rows, classes, noise, seed)
    expected = slow_issues(labels, probabilities)
    assert np.array_equal(label_issues(labels, probabilities), expected)
    assert expected.any()


@pytest.mark.parametrize("digits", [1, 2])
def test_ties_fall_as_in_the_slow_definition(digits):
    """Rounded probabilities tie in the margins, equal counts tie in the rounding of the joint."""
    for seed in range(10):
        _, labels, probabilities = sample(150, 12, 0.3, seed, strength=1)
        rounded = probabilities.round(digits)
        assert np.array_equal(label_issues(labels, rounded), slow_issues(labels, rounded))


@pytest.mark.parametrize(("chunk", "block"), [(1, 1), (7, 9), (64, 40)])
def test_neither_chunks_nor_blocks_change_a_flag(monkeypatch, chunk, block):
    _, labels, probabilities = sample(500, 8, 0.3, 9)
    whole = label_issues(labels, probabilities)
    margins = normalized_margin(labels, probabilities)
    monkeypatch.setattr(confidence, "_CHUNK", chunk)
    monkeypatch.setattr(confidence, "_MARGINS", block)
    assert np.array_equal(label_issues(labels, probabilities), whole)
    assert np.array_equal(normalized_margin(labels, probabilities), margins)


@settings(max_examples=60)
@given(st.integers(9, 3000), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_a_sparse_sum_is_the_one_that_numpy_gives_for_the_dense_vector(length, some, seed):
    """Pairwise: a long vector is halved at a multiple of eight, and the halves' sums are added."""
    generator = np.random.default_rng(seed)
    places = np.sort(generator.permutation(length)[:some])
    values = generator.random(len(places)) * 10.0 ** generator.integers(-6, 6, len(places))
    dense = np.zeros(length)
    dense[places] = values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confidence, "_SUMMED", 128)  # numpy itself does not halve below
        assert confidence._sum_in_order(places, values, length) == dense.sum()


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize(("rows", "classes", "noise"), [*SIZES, (3000, 300, 0.2), (400, 900, 0.1)])
@pytest.mark.parametrize("digits", [1, 3, 16])
def test_flags_are_those_of_cleanlab(rows, classes, noise, digits, kind):
    reason = "the peer is in the extra `bench`; without it the slow definition stands for it"
    peer = pytest.importorskip("cleanlab.filter", reason=reason)
    for seed in (100, 101):
        _, labels, probabilities = sample(rows, classes, noise, seed, strength=[1, 30][seed % 2])
        told = probabilities.round(digits).astype(kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = peer.find_label_issues(labels, told, n_jobs=1)
        assert np.array_equal(label_issues(labels, told), expected)


def test_ten_thousand_classes_take_no_matrix_of_classes(monkeypatch):
    generator = np.random.default_rng(10)
    rows, classes = 300, 10_000
    true = generator.integers(0, classes, rows)
    labels = np.where(generator.random(rows) < 0.2, (true + 1) % classes, true)
    told = np.full((rows, classes), 1e-5, np.float32)
    told[np.arange(rows), true] = 0.9
    held, zeros = [], np.zeros

    def counting(shape, *rest, **named):
        held.append(np.prod(shape))
        return zeros(shape, *rest, **named)

    monkeypatch.setattr(confidence.np, "zeros", counting)
    flagged = label_issues(labels, told)
    assert flagged.sum() <= (true != labels).sum()
    assert max(held) <= confidence._SUMMED


def test_a_class_without_rows_is_never_counted_for():
    _, labels, probabilities = sample(200, 4, 0.2, 3)
    labels[labels == 0] = 1
    assert class_thresholds(labels, probabilities)[0] == 2.0
    assert not (confident_classes(labels, probabilities) == 0).any()
    assert np.array_equal(label_issues(labels, probabilities), slow_issues(labels, probabilities))


def test_joint_keeps_the_label_totals():
    _, labels, probabilities = sample(1000, 6, 0.2, 4)
    joint = confident_joint(labels, probabilities)
    by_class = np.bincount(joint.given, joint.counts, minlength=6)
    assert by_class.tolist() == np.bincount(labels, minlength=6).tolist()
    assert joint.counts.min() > 0
    assert (np.diff(joint.given * 6 + joint.true) > 0).all()


def test_flags_find_what_was_planted():
    true, labels, probabilities = sample(4000, 5, 0.1, 5, strength=30)
    wrong, flagged = true != labels, label_issues(labels, probabilities)
    assert flagged[wrong].mean() > 0.8
    assert flagged[~wrong].mean() < 0.05


def test_no_noise_no_flags():
    labels = np.repeat(np.arange(3), 50)
    probabilities = np.full((150, 3), 0.05)
    probabilities[np.arange(150), labels] = 0.9
    assert not label_issues(labels, probabilities).any()
    assert noise_rate(labels, probabilities, seed=0) == pytest.approx((0.0, 0.0, 0.0))


def test_rate_and_interval_follow_the_noise():
    clean = noise_rate(*sample(4000, 5, 0.0, 6)[1:], seed=1)
    noisy = noise_rate(*sample(4000, 5, 0.2, 6)[1:], seed=1)
    assert clean[2] < noisy[1]
    for rate, low, high in (clean, noisy):
        assert 0 <= low <= rate <= high <= 1
    assert noise_rate(*sample(4000, 5, 0.2, 6)[1:], seed=1) == noisy


def test_margin_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    found = normalized_margin(np.array([0, 2]), probabilities)
    assert found == pytest.approx([(0.2 - 0.7 + 1) / 2, (0.7 - 0.1 + 1) / 2])
