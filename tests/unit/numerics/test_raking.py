"""Sides are the batch's, odds ratios the reference's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guards.numerics.raking import raked


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(2, 8))
def test_sides_are_those_of_the_batch(seed, rows, columns):
    rng = np.random.default_rng(seed)
    then, now = rng.integers(1, 500, (rows, columns)), rng.integers(1, 500, (rows, columns))
    fitted = raked(then, now, rounds=200)
    assert np.allclose(fitted.sum(0), now.sum(0))
    assert np.allclose(fitted.sum(1), now.sum(1), rtol=1e-3)


def test_what_two_columns_do_together_is_kept():
    rng = np.random.default_rng(0)
    then = rng.integers(10_000, 90_000, (4, 5)).astype(float)
    moved = then * rng.uniform(0.2, 5, 4)[:, None] * rng.uniform(0.2, 5, 5)
    assert np.allclose(raked(then, moved, rounds=100), moved, rtol=1e-2)


def test_a_row_that_was_never_seen_takes_no_others_place_and_nothing_is_nothing():
    then, now = np.array([[100, 50], [0, 0]]), np.array([[90, 45], [10, 5]])
    fitted = raked(then, now)
    assert np.isfinite(fitted).all()
    assert np.allclose(fitted.sum(0), now.sum(0))
    assert not raked(np.zeros((2, 2)), now).any()
    assert not raked(now, np.zeros((2, 2))).any()


def test_tables_under_one_another_are_raked_each_for_itself():
    rng = np.random.default_rng(1)
    then, now = rng.integers(0, 9, (7, 3, 5)), rng.integers(0, 9, (7, 3, 5))
    then[2], now[4] = 0, 0
    for one, before, after in zip(raked(then, now), then, now, strict=True):
        assert (one == raked(before, after)).all()
