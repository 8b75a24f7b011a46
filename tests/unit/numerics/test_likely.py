"""What is computed of sparse probabilities is what is computed of the same numbers written out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.numerics.confidence import (
    class_thresholds,
    confident_classes,
    confident_joint,
    label_issues,
    noise_rate,
    normalized_margin,
)
from guards.numerics.flips import surest
from guards.numerics.likely import Likely, at, block, likeliest, merged, some


def sparse(rows, classes, most, seed, *, digits=16, kind=np.float32, noise=0.2):
    """Labels, and probabilities of at most `most` labels a row, some rows of none at all."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, rows)
    labels = np.where(rng.random(rows) < noise, rng.integers(0, classes, rows), true)
    named = rng.integers(0, classes, (rows, most))
    named[:, 0] = np.where(rng.random(rows) < 0.8, true, named[:, 0])
    values = rng.gamma(0.5, 1, (rows, most))
    values[:, 0] += 2 * rng.random(rows)
    values /= values.sum(axis=1, keepdims=True)
    values[rng.random(rows) < 0.05] = 0.0
    found = merged(named, values.round(digits), classes)
    return labels, Likely(labels=found.labels, values=found.values.astype(kind), width=classes)


SHAPES = st.tuples(st.integers(2, 300), st.integers(2, 40), st.integers(1, 12))
LOOK = {"max_examples": 60, "deadline": None}


@settings(**LOOK)
@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 16]), st.booleans())
def test_every_answer_is_that_of_the_dense_numbers(shape, seed, digits, double):
    """Flags, joint, thresholds, margins, rate and sure rows; ties of rounded numbers as well."""
    kind = np.float64 if double else np.float32
    labels, told = sparse(*shape, seed, digits=digits, kind=kind)
    dense = told.dense()
    assert np.array_equal(label_issues(labels, told), label_issues(labels, dense))
    for asked in (class_thresholds, confident_classes, normalized_margin):
        assert np.array_equal(asked(labels, told), asked(labels, dense)), asked.__name__
    ours, theirs = confident_joint(labels, told), confident_joint(labels, dense)
    for name in ("given", "true", "counts"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    rates = [noise_rate(labels, one, seed=1, draws=20) for one in (told, dense)]
    assert rates[0] == rates[1]
    for name in ("predicted", "winning", "sure"):
        assert np.array_equal(
            getattr(surest(told, 0.5), name), getattr(surest(dense, 0.5), name)
        ), name


@settings(**LOOK)
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_what_is_looked_up_is_what_stands_in_the_matrix(shape, seed):
    labels, told = sparse(*shape, seed)
    rng, dense = np.random.default_rng(seed), told.dense()
    rows = rng.integers(0, len(told), 7)
    columns = np.unique(rng.integers(0, told.width, 5))
    assert np.array_equal(at(told, rows, labels[rows]), dense[rows, labels[rows]])
    assert np.array_equal(at(told, rows, 1), dense[rows, 1])
    assert np.array_equal(block(told, rows, columns), dense[rows[:, None], columns])
    assert block(told, rows, columns[:0]).shape == (7, 0)
    assert np.array_equal(some(told, rows).dense(), dense[rows])
    for ours, theirs in zip(likeliest(told), likeliest(dense), strict=True):
        assert np.array_equal(ours, theirs)


@settings(**LOOK)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(2, 9))
def test_merged_is_the_sum_by_row_and_label_in_any_order(seed, most, width):
    rng = np.random.default_rng(seed)
    labels, values = rng.integers(-1, width, (20, most)), rng.integers(0, 5, (20, most)) / 4
    slow = np.zeros((20, width))
    for row in range(20):
        for label, value in zip(labels[row], values[row], strict=True):
            slow[row, label] += value * (label >= 0)
    found = merged(labels, values, width)
    assert np.array_equal(found.dense(), slow.astype(np.float32))
    order = rng.permutation(most)
    again = merged(labels[:, order], values[:, order], width)
    assert np.array_equal(again.labels, found.labels)
    assert np.array_equal(again.values, found.values)
    used = found.labels < width
    assert (np.diff(found.labels, axis=1)[used[:, 1:]] > 0).all()


@pytest.mark.parametrize("chunk", [1, 7, 10**6])
def test_chunks_change_nothing(monkeypatch, chunk):
    labels, whole = sparse(200, 30, 6, 3)
    monkeypatch.setattr("guards.numerics.likely._MERGED", chunk)
    again, parted = sparse(200, 30, 6, 3)
    assert np.array_equal(parted.dense(), whole.dense())
    assert np.array_equal(labels, again)


@pytest.mark.parametrize(("rows", "classes", "most"), [(3000, 40, 8), (4000, 700, 15)])
@pytest.mark.parametrize("digits", [2, 16])
def test_flags_are_those_of_cleanlab_of_the_dense_numbers(rows, classes, most, digits):
    reason = "the peer is in the extra `bench`; without it the dense numbers stand for it"
    peer = pytest.importorskip("cleanlab.filter", reason=reason)
    labels, told = sparse(rows, classes, most, 100, digits=digits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = peer.find_label_issues(labels, told.dense(), n_jobs=1)
    assert np.array_equal(label_issues(labels, told), expected)
    assert expected.any()


def test_ten_thousand_labels_are_never_written_out(monkeypatch):
    labels, told = sparse(20_000, 10_000, 15, 5, noise=0.05)
    monkeypatch.setattr(Likely, "dense", None)
    flagged = label_issues(labels, told)
    assert 0 < flagged.sum() < len(labels)
    assert told.values.nbytes + told.labels.nbytes < 20_000 * 15 * 8 + 1
