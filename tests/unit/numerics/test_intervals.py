"""Intervals against scipy's, p-values against counting by hand, and a class laid flat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from guards.numerics.enrichment import dominant
from guards.numerics.intervals import clopper_pearson, empirical
from guards.numerics.projection import project


@given(st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    hits, sample = counts
    if not sample:
        assert clopper_pearson(0, 0) == (0.0, 1.0)
        return
    interval = binomtest(hits, sample).proportion_ci(0.95)
    assert clopper_pearson(hits, sample) == pytest.approx((interval.low, interval.high), abs=1e-9)


@given(st.integers(1, 600).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_exact(counts: tuple[int, int]) -> None:
    """P(X >= hits | low) and P(X <= hits | high) are each 2.5 % (Clopper & Pearson 1934)."""
    hits, sample = counts
    low, high = clopper_pearson(hits, sample)
    assert low <= hits / sample <= high
    if hits:
        assert binom.sf(hits - 1, sample, low) == pytest.approx(0.025, rel=1e-6)
    if hits < sample:
        assert binom.cdf(hits, sample, high) == pytest.approx(0.025, rel=1e-6)


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_p_values_count_what_scores_as_high(scores: list[int], null: list[int]) -> None:
    slow = [(1 + sum(n >= s for n in null)) / (len(null) + 1) for s in scores]
    assert empirical(scores, null).tolist() == pytest.approx(slow)


def test_a_p_value_by_counting_is_valid_under_its_null() -> None:
    rng = np.random.default_rng(5)
    p_values = np.concatenate(
        [empirical(rng.normal(size=50), rng.normal(size=99)) for _ in range(200)]
    )
    for level in (0.01, 0.05, 0.2):
        assert (p_values <= level).mean() < level * 1.25


def test_a_planted_group_lies_along_and_what_varies_most_across() -> None:
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(300, 12)) * np.r_[6.0, np.ones(11)]
    held = np.arange(300) < 40
    rows[held, 5] += 8
    flat = project(rows, held, np.random.default_rng(1))
    assert flat is not None
    assert flat.auc > 0.99
    assert flat.along[held].min() > np.median(flat.along[~held])
    assert abs(np.corrcoef(flat.across, rows[:, 0])[0, 1]) > 0.98
    again = project(rows, held, np.random.default_rng(1))
    assert again is not None
    assert again.along.tolist() == flat.along.tolist()


def test_rows_held_for_no_reason_are_not_parted() -> None:
    rng = np.random.default_rng(7)
    flat = project(rng.normal(size=(400, 12)), np.arange(400) < 40, rng)
    assert flat is not None
    assert flat.auc < 0.65
    assert project(np.zeros((9, 2)), np.arange(9) < 3, rng) is None


def test_a_source_dominates_only_far_beyond_its_usual_share() -> None:
    sources = np.arange(1000) % 5
    found = dominant(sources, np.flatnonzero(sources == 2)[:30], 5)
    assert found is not None
    assert (found.group, found.share) == (2, 1.0)
    assert found.usual == pytest.approx(0.176, abs=0.01)
    assert dominant(sources, np.arange(50), 5) is None
    assert dominant(sources, np.zeros(0, np.int64), 5) is None
    assert dominant(np.zeros(100, np.int64), np.arange(20), 1) is None
