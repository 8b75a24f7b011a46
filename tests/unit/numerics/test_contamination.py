"""The bound holds, finds what is there, and says where."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from guards.numerics.contamination import _bounds, lower_bound


def drawn(rng: np.random.Generator, shape: np.ndarray, rows: int) -> np.ndarray:
    return rng.multinomial(rows, shape / shape.sum())


def test_the_bounds_of_shares_are_those_of_clopper_and_pearson():
    for then, rows_then, now, rows_now in (
        (3, 50, 30, 60),
        (0, 40, 7, 30),
        (40, 40, 9, 10),
        (0, 9, 0, 9),
    ):
        upper = binomtest(then, rows_then).proportion_ci(0.98).high
        lower = binomtest(now, rows_now).proportion_ci(0.98).low
        wanted = max(0.0, (lower - upper) / max(1 - upper, 1e-12))
        assert np.isclose(_bounds(then, rows_then, now, rows_now, 0.02), wanted, atol=1e-9)


def test_nothing_is_claimed_of_batches_like_the_reference():
    claims = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        shapes = [rng.dirichlet(np.full(60, 0.5)) for _ in range(5)]
        pairs = [(drawn(rng, s, 4000), drawn(rng, s, 1000)) for s in shapes]
        claims += lower_bound(pairs, rng).share > 0
    assert binomtest(claims, 300, 0.01, alternative="greater").pvalue > 1e-3


def test_the_share_is_not_overstated_and_most_of_a_new_cluster_is_found():
    shares, over = [], 0
    for seed in range(100):
        rng = np.random.default_rng([1, seed])
        shape = rng.dirichlet(np.full(400, 0.7))
        planted = np.zeros(400, np.int64)
        planted[rng.integers(400, size=2)] = 50
        now = drawn(rng, shape, 1900) + planted
        true = planted.sum() / now.sum()
        bound = lower_bound([(drawn(rng, shape, 8000), now)], rng)
        shares.append(bound.share)
        over += bound.share > true
        assert set(np.flatnonzero(planted)) & set(bound.cells.tolist()) or not bound.share
    assert np.median(shares) > 0.4 * 0.05
    assert binomtest(over, 100, 0.01, alternative="greater").pvalue > 1e-3


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_neither_the_order_of_cells_nor_more_of_both_can_break_it(seed, cells):
    rng = np.random.default_rng(seed)
    then, now = rng.integers(0, 50, (2, cells))
    bound = lower_bound([(then, now)], np.random.default_rng(0))
    assert 0 <= bound.share <= 1
    assert (
        bound.share == 0
        or then[bound.cells].sum() / max(then.sum(), 1) < now[bound.cells].sum() / now.sum()
    )


def test_all_new_is_almost_all_told_and_empty_counts_say_nothing():
    rng = np.random.default_rng(2)
    assert lower_bound([([500, 0], [0, 500])], rng).share > 0.9
    assert lower_bound([([0, 0], [3, 4]), ([1, 2], [0, 0])], rng).share == 0
    assert lower_bound([], rng).share == 0
