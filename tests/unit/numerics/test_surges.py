"""Words in far more rows than usual: the tail, its dispersion, and its correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from guards.numerics.surges import attainable, lifts, surge_p_values


@given(st.integers(0, 30), st.integers(1, 60), st.integers(100, 5000), st.integers(100, 5000))
def test_without_dispersion_it_is_a_tail_of_the_binomial(then, now, before, after):
    found = surge_p_values([then], [now], (before, after))[0]
    assert found == pytest.approx(binom.cdf(then, then + now, before / (before + after)), rel=1e-6)


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), min_size=1, max_size=20))
def test_dispersion_only_takes_away_where_a_word_is_far_above_its_rate(counts):
    then, now = (np.array(column) for column in zip(*counts, strict=True))
    plain = surge_p_values(then, now, (900, 900))
    wide = surge_p_values(then, now, (900, 900), rho=0.01, blocks=8)
    high = now > 3 * (then + 10)
    assert (wide[high] >= plain[high] * (1 - 1e-9)).all()
    order = np.random.default_rng(0).permutation(len(then))
    assert np.array_equal(surge_p_values(then[order], now[order], (900, 900)), plain[order])


def drawn(rng, rates, rows: int, rho: float) -> np.ndarray:
    size = (1 - rho) / rho if rho else None
    shares = rng.beta(rates * size, (1 - rates) * size) if size else rates
    return rng.binomial(rows, shares)


@pytest.mark.parametrize("rho", [0.0, 0.0005])
def test_words_that_swing_as_the_reference_does_are_no_surge(rho):
    alarms = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        rates = 0.2 / np.arange(1, 800)
        then = sum(drawn(rng, rates, 500, rho) for _ in range(8))
        now = drawn(rng, rates, 1500, rho)
        rows = 4000, 1500
        known = {"rho": rho, "blocks": 8}
        tests = attainable(then, now, rows, alpha=0.01, **known)
        alarms += (surge_p_values(then, now, rows, **known) * tests <= 0.01).any()
    assert alarms <= 9


def test_it_is_corrected_for_words_that_could_be_told_and_for_no_more():
    """Tarone: K words can reach alpha / K, and one fewer would not do."""
    rng = np.random.default_rng(0)
    then, now = rng.poisson(0.3, 3000), rng.poisson(0.3, 3000)
    then[:40] += 30
    rows = 1000, 1000
    many = attainable(then, now, rows, alpha=0.01)
    assert 40 <= many < 100
    least = surge_p_values(0 * then, then + now, rows)
    assert (least <= 0.01 / many).sum() <= many
    assert (least <= 0.01 / (many - 1)).sum() > many - 1
    assert attainable([], [], rows, alpha=0.01) == 1


def test_lifts_give_the_reference_one_row_more():
    assert lifts([9, 0], [20, 4], (1000, 500)).tolist() == [4.0, 8.0]
