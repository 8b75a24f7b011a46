from __future__ import annotations

from fractions import Fraction
from math import comb, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.numerics.second_sample import most


def slow(hits: int, rows: int, others: int, alpha: float) -> int:
    """The obvious version: count every way in which hits + k rows fall into the two samples."""

    def chance(k: int) -> Fraction:
        ways = sum(
            comb(hits + k, x) * comb(rows + others - hits - k, rows - x) for x in range(hits + 1)
        )
        return Fraction(ways, comb(rows + others, rows))

    return max(k for k in range(others + 1) if k == 0 or chance(k) > alpha)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_it_is_what_counting_all_ways_gives(rows, others, data):
    hits = data.draw(st.integers(0, rows))
    alpha = data.draw(st.sampled_from([0.2003, 0.0507, 0.0113]))
    assert most(hits, rows, others, alpha) == slow(hits, rows, others, alpha)


@given(st.integers(1, 14), st.integers(1, 14), st.data())
def test_more_than_that_is_rare_whatever_the_total(rows, others, data):
    """P(K > most(X) | X + K = t) <= alpha, for every t: so without knowing any rate."""
    total, alpha = data.draw(st.integers(0, rows + others)), 0.05
    beyond = 0
    for x in range(max(0, total - others), min(rows, total) + 1):
        if total - x > most(x, rows, others, alpha):
            beyond += comb(total, x) * comb(rows + others - total, rows - x)
    assert beyond <= alpha * comb(rows + others, rows)


@pytest.mark.parametrize("alpha", [1e-2, 1e-4, 1e-6])
def test_without_any_seen_it_is_the_number_of_coins(alpha):
    """With x = 0 and m = n large, P(all k in the second) -> 2^-k."""
    assert most(0, 10**6, 10**6, alpha) == int(log2(1 / alpha))


def test_a_range_of_one_sample_holds_the_next_but_for_so_many():
    """Values above the largest of the first sample: decided by ranks, whatever the distribution."""
    random, alpha = np.random.default_rng(100), 0.02
    allowed = most(0, 200, 100, alpha)
    draws = random.standard_cauchy((4000, 300))
    above = (draws[:, 200:] > draws[:, :200].max(1, keepdims=True)).sum(1)
    assert (above > allowed).mean() <= alpha
    assert (above > allowed - 1).mean() > alpha / 3, "the bound is not idle"


@given(st.integers(0, 30), st.integers(30, 60), st.integers(1, 60))
def test_more_seen_allows_no_less(hits, rows, others):
    assert most(hits + 1, rows + 1, others, 0.01) >= most(hits, rows + 1, others, 0.01)
