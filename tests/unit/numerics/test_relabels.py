"""The share of wrong labels by rows that were labelled again, and how often its interval holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from guards.numerics.relabels import wrong_share


def drawn(rng, rows=2000, rates=(0.02, 0.4), parts=(0.9, 0.1), checked=(60, 60)):
    """Strata, which rows were checked (so many of each, at random), and which labels are wrong."""
    strata = rng.choice(len(parts), rows, p=parts)
    wrong = rng.random(rows) < np.array(rates)[strata]
    marked = np.zeros(rows, bool)
    for stratum, many in enumerate(checked):
        marked[rng.permutation(np.flatnonzero(strata == stratum))[:many]] = True
    return strata, marked, wrong


def test_one_stratum_is_scipys_exact_interval_of_the_rest():
    strata, marked, wrong = drawn(np.random.default_rng(0), rates=(0.1,), parts=(1,), checked=(50,))
    hits = int((marked & wrong).sum())
    exact = binomtest(hits, 50).proportion_ci(0.95, method="exact")
    share, low, high = wrong_share(strata, marked, wrong)
    assert share == pytest.approx(hits / 50)
    assert low == pytest.approx((hits + 1950 * exact.low) / 2000)
    assert high == pytest.approx((hits + 1950 * exact.high) / 2000)


def test_two_strata_count_by_their_size():
    """Horvitz and Thompson: each checked row stands for as many as its stratum has for each."""
    strata, marked, wrong = drawn(np.random.default_rng(1))
    weights = np.bincount(strata) / np.bincount(strata[marked])
    slow = (weights[strata] * (marked & wrong)).sum() / len(strata)
    assert wrong_share(strata, marked, wrong)[0] == pytest.approx(slow)


def test_the_interval_holds_the_truth_at_least_as_often_as_it_says():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        strata, marked, wrong = drawn(rng)
        _, low, high = wrong_share(strata, marked, wrong)
        held += low <= wrong.mean() <= high
    assert held >= 285


def test_all_checked_leaves_no_doubt():
    strata, _, wrong = drawn(np.random.default_rng(3))
    found = wrong_share(strata, np.ones(len(strata), bool), wrong)
    assert found == pytest.approx((wrong.mean(),) * 3)


def test_a_stratum_of_which_nothing_is_known_gives_no_answer():
    strata, marked, wrong = drawn(np.random.default_rng(4), checked=(60, 0))
    assert wrong_share(strata, marked, wrong) is None
    assert wrong_share(strata[:0], marked[:0], wrong[:0]) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1))
def test_what_was_seen_bounds_the_share(rows):
    strata, marked, wrong = (np.array(column) for column in zip(*rows, strict=True))
    found = wrong_share(strata, marked, wrong)
    if found is None:
        assert any(not marked[strata == one].any() for one in np.unique(strata))
        return
    share, low, high = found
    seen = int((marked & wrong).sum())
    assert seen <= len(rows) * low + 1e-9
    assert low <= share + 1e-12
    assert share <= high + 1e-12
    assert high <= 1 - ((marked & ~wrong).sum() / len(rows)) + 1e-9
