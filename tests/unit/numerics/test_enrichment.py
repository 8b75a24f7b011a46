from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from guards.numerics.enrichment import beta_binomial_tail, dispersion, enriched, holm


@pytest.mark.parametrize(
    ("hits", "size", "rate", "rho"),
    [(3, 10, 0.2, 0.05), (40, 500, 0.03, 0.01), (1, 1, 0.5, 0.3), (900, 1000, 0.8, 0.2)],
)
def test_tail_is_scipys_beta_binomial(hits, size, rate, rho):
    total = (1 - rho) / rho
    expected = stats.betabinom.sf(hits - 1, size, rate * total, (1 - rate) * total)
    assert beta_binomial_tail(hits, size, rate, rho) == pytest.approx(expected, rel=1e-8)


def test_tail_without_dispersion_is_the_binomial():
    expected = stats.binom.sf(11, 100, 0.05)
    assert beta_binomial_tail(12, 100, 0.05, 0.0) == pytest.approx(expected)
    assert beta_binomial_tail(12, 100, 0.05, 1e-6) == pytest.approx(expected, rel=1e-2)


def test_dispersion_recovers_what_was_simulated():
    draws = stats.betabinom(400, 2, 38).rvs(size=4000, random_state=5)
    rho = 1 / (2 + 38 + 1)
    assert dispersion(draws, np.full(4000, 400), 0.05) == pytest.approx(rho, rel=0.1)


def test_dispersion_of_binomial_cells_is_about_zero():
    draws = stats.binom(400, 0.05).rvs(size=4000, random_state=6)
    assert dispersion(draws, np.full(4000, 400), 0.05) < 1e-3
    assert dispersion([1, 0, 1], [1, 1, 1], 0.5) == 0.0


def test_one_enriched_cell_is_found_and_no_other():
    hits, sizes = np.array([4, 6, 5, 60, 3, 7, 5, 4]), np.full(8, 500)
    p_values, lifts = enriched(hits, sizes)
    assert np.argmin(p_values) == 3
    assert p_values[3] < 1e-4
    assert lifts[3] > 8
    assert (np.delete(p_values, 3) > 0.1).all()


def test_overdispersed_peers_are_no_alarm():
    draws = stats.betabinom(600, 4, 76).rvs(size=(300, 10), random_state=7)
    beta_binomial = np.array([holm(enriched(row, np.full(10, 600))[0]).min() for row in draws])
    rates = (draws.sum(1, keepdims=True) - draws) / 5400
    binomial = np.array([holm(row).min() for row in stats.binom.sf(draws - 1, 600, rates)])
    assert (binomial < 0.01).mean() > 0.8
    assert (beta_binomial < 0.01).mean() < 0.06


def test_base_replaces_the_peers_rate():
    p_values, lifts = enriched([30, 30], [100, 100], base=[0.3, 0.01])
    assert lifts == pytest.approx([1.0, 30.0])
    assert p_values[0] > 0.3
    assert p_values[1] < p_values[0]


def test_empty_and_single_cells_say_nothing():
    assert enriched([7], [100])[0].tolist() == [1.0]
    p_values, lifts = enriched([0, 3, 2], [0, 100, 100])
    assert p_values[0] == lifts[0] == 1.0
    assert enriched([], [])[0].shape == (0,)


def test_holm_against_the_slow_definition():
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.9])
    order = sorted(range(5), key=lambda i: p[i])
    expected, highest = [0.0] * 5, 0.0
    for rank, i in enumerate(order):
        highest = max(highest, (5 - rank) * p[i])
        expected[i] = min(highest, 1.0)
    assert holm(p) == pytest.approx(expected)
