"""Expected counts against slow readings, tails against scipy's, and a null that stays quiet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom, poisson

from guards.numerics import excess

TABLES = st.integers(1, 6).flatmap(
    lambda down: st.integers(1, 6).flatmap(
        lambda across: st.tuples(
            *(
                st.lists(
                    st.lists(st.integers(0, 40), min_size=across, max_size=across),
                    min_size=down,
                    max_size=down,
                )
                for _ in range(2)
            )
        )
    )
)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=9), st.integers(1, 500))
def test_a_value_is_expected_by_its_share_and_one_row_more(then, rows) -> None:
    expected = excess.expected_values(then, sum(then), rows)
    assert expected.tolist() == pytest.approx([(c + 1) * rows / max(sum(then), 1) for c in then])


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.1, 50)), min_size=1, max_size=40))
def test_neighbours_raise_what_is_expected(pairs) -> None:
    now, expected = (np.array(side, float) for side in zip(*pairs, strict=True))
    found = excess.raised(expected, now)
    for place in range(len(now)):
        near = [
            other
            for other in range(place - excess.NEAR, place + excess.NEAR + 1)
            if 0 <= other < len(now) and other != place
        ]
        ratio = (now[near].sum() + 1) / (expected[near].sum() + 1)
        assert found[place] == pytest.approx(expected[place] * max(1.0, ratio))


def test_a_movement_is_no_spike_and_a_spike_is() -> None:
    usual = np.full(100, 20.0)
    moved = np.where(np.arange(100) > 60, 60, 0)
    assert not excess.standing(moved, excess.raised(usual, moved), least=10, lift=2.5).any()
    alone = np.full(100, 20)
    alone[40] = 90
    found = excess.standing(alone, excess.raised(usual, alone), least=10, lift=2.5)
    assert np.flatnonzero(found).tolist() == [40]


@settings(deadline=None)
@given(TABLES)
def test_pairs_are_expected_with_the_sides_of_the_batch(tables) -> None:
    then, now = (np.array(table) for table in tables)
    if not now.sum():
        return
    granted = now.sum() / max(then.sum(), 1)
    expected = excess.expected_pairs(then, now) - granted
    assert (expected >= -1e-9).all()
    if then.min() > 0:  # otherwise the sides may be out of reach
        assert expected.sum(1) == pytest.approx(now.sum(1), rel=0.02, abs=0.2)
        assert expected.sum(0) == pytest.approx(now.sum(0), rel=0.02, abs=0.2)
    turned = excess.expected_pairs(then.T, now.T).T
    assert turned == pytest.approx(excess.expected_pairs(then, now), rel=0.05, abs=0.5)


def test_what_only_two_columns_do_together_is_unexpected() -> None:
    then = np.diag([500, 400, 300, 200]) + 5
    season = np.diag([900, 100, 300, 50]) + 3  # the sides moved, and nothing else
    assert not excess.standing(season, excess.expected_pairs(then, season), least=5, lift=2).any()
    planted = season.copy()
    planted[0, 3] += 30
    found = excess.standing(planted, excess.expected_pairs(then, planted), least=10, lift=1.5)
    assert np.argwhere(found).tolist() == [[0, 3]]


def test_a_value_that_is_new_spreads_as_the_batch_does() -> None:
    """Nulls that come anew are no news of the larger group, only of the one that has them."""
    then = np.array([[0, 0], [9_000, 1_000]])
    now = np.array([[27, 3], [873, 97]])
    expected = excess.expected_pairs(then, now)
    assert expected[0] == pytest.approx([27, 3], abs=1)


@given(st.integers(0, 80), st.floats(0.01, 50), st.integers(0, 500), st.floats(1, 20))
def test_tails_are_those_of_scipy(now, expected, then, wider) -> None:
    found = 10 ** excess.log_tails([now], np.array([expected]), [then], wider)[0]
    variance = (expected + expected**2 / (then + 1)) * wider
    size = expected**2 / (variance - expected)
    exact = nbinom.sf(now - 1, size, size / (size + expected))
    assert found == pytest.approx(exact, rel=1e-6, abs=1e-250)
    sure = 10 ** excess.log_tails([now], np.array([expected]), [1e18], 1.0)[0]
    assert sure == pytest.approx(poisson.sf(now - 1, expected), rel=1e-3, abs=1e-250)


def test_tails_hold_their_level_where_the_reference_is_a_sample_too() -> None:
    rng = np.random.default_rng(3)
    alarms = looks = 0
    for _ in range(200):
        rates = rng.gamma(0.4, 25, 300)
        then, now = rng.poisson(5 * rates), rng.poisson(rates)
        tails = excess.log_tails(now, excess.expected_values(then, 5, 1), then)
        alarms, looks = alarms + int((tails <= -3).sum()), looks + len(tails)
    assert alarms / looks < 0.001


def test_blocks_that_differ_widen_by_their_dispersion() -> None:
    assert excess.inflation(0.0, 15_000, 3_000, 8) == 1
    assert excess.inflation(0.01, 15_000, 3_000, 8) == pytest.approx(1 + 2_500 * 0.01 * 9 / 8)
