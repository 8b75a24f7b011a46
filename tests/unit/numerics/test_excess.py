"""Expected counts against slow readings, tails against scipy's, and a null that stays quiet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
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


@pytest.mark.parametrize(
    ("now", "expected", "then", "wider"),
    [(700, 0.4, 1e18, 1.0), (3_000, 0.4, 3, 1.0), (9_000, 60, 50, 1.5), (900, 0.05, 1e18, 1.0)],
)
def test_tails_too_small_for_a_number_still_have_a_logarithm(now, expected, then, wider) -> None:
    found = excess.log_tails([now, now + 1], np.full(2, expected), [then, then], wider)
    many = np.arange(now, now + 100_000)
    each, spread = poisson.logpmf(many, expected), (expected + expected**2 / (then + 1)) * wider
    if then < 1e18:
        size = expected**2 / (spread - expected)
        each = nbinom.logpmf(many, size, size / (size + expected))
    assert found[0] == pytest.approx(logsumexp(each) / np.log(10), rel=1e-3)
    assert found[1] < found[0] < -308


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


@settings(deadline=None)
@given(TABLES)
def test_sides_are_taken_without_the_surplus_of_the_cell(tables) -> None:
    then, now = (np.array(table) for table in tables)
    fitted = excess.expected_pairs(then, now)
    found = excess.without_itself(fitted, now)
    for place in np.ndindex(now.shape):
        surplus = max(now[place] - fitted[place], 0)
        wanted = fitted[place]
        for side in (now[place[0]].sum(), now[:, place[1]].sum()):
            wanted *= (side - surplus) / max(side, 1)
        assert found[place] == pytest.approx(wanted if surplus else fitted[place])
        assert found[place] <= fitted[place]


def test_what_is_planted_is_held_against_what_was_there_without_it() -> None:
    """Thirty rows raise their own two sides, and with them what raking expects of their cell."""
    then = np.full((10, 10), 150)
    clean = np.random.default_rng(5).multinomial(3_000, np.full(100, 0.01)).reshape(10, 10)
    planted = clean.copy()
    planted[2, 7] += 60
    without = excess.expected_pairs(then, clean)[2, 7]
    fitted = excess.expected_pairs(then, planted)
    assert fitted[2, 7] > 1.3 * without
    assert excess.without_itself(fitted, planted)[2, 7] == pytest.approx(without, rel=0.15)


def test_a_name_that_belongs_to_another_grade_stands() -> None:
    """Where one column tells the other, both sides call for whatever stands in a wrong cell."""
    then = np.diag([2_500, 1_700, 800, 300, 0])
    now = np.diag([480, 340, 160, 60, 0])
    assert not stands(then, now)
    now[2, 0] += 60
    assert excess.without_itself(excess.expected_pairs(then, now), now)[2, 0] > 1
    sure = stands(then, now)
    assert [cell.place for cell in sure] == [(2, 0)]
    assert sure[0].expected < 0.5
    assert sure[0].log_p < -20


def test_a_grade_that_becomes_common_with_its_own_name_does_not_stand() -> None:
    then = np.diag([2_500, 1_700, 800, 300, 20])
    assert not stands(then, np.diag([480, 340, 160, 60, 120]))


@settings(deadline=None)
@given(TABLES)
def test_the_rest_of_both_sides_only_lowers_what_was_next_to_nothing_in_both(tables) -> None:
    then, now = (np.array(table) for table in tables)
    fitted = excess.expected_pairs(then, now)
    found = excess.by_the_rest(fitted, then, now)
    assert (found <= fitted).all()
    turned = excess.by_the_rest(fitted.T, then.T, now.T).T
    assert turned == pytest.approx(found)
    for down, across in np.argwhere(found < fitted):
        sides = then[down].sum(), then[:, across].sum()
        assert then[down, across] <= excess.STRANGE * min(sides)
        called = (then[down, across] + 1) * then.sum() / max(now.sum(), 1)
        for side, held in ((now[down], then[down]), (now[:, across], then[:, across])):
            called *= side.sum() - now[down, across] + 1
            called /= held.sum() - then[down, across] + 1
        assert found[down, across] == pytest.approx(called)


def test_unrest_is_what_a_season_makes_and_not_what_is_planted() -> None:
    rng = np.random.default_rng(6)
    rates = rng.gamma(2, 10, (20, 30))
    then, calm = rng.poisson(5 * rates), rng.poisson(rates)
    planted = calm.copy()
    planted[3, 4] += 100
    season = rng.poisson(rates * rng.gamma(4, 0.25, rates.shape))
    calm, planted, season = (
        excess.unrest(now, excess.expected_pairs(then, now), then)
        for now in (calm, planted, season)
    )
    assert 1 <= calm < 1.2
    assert planted < 1.3
    assert season > 3
    assert excess.unrest(np.zeros((2, 2)), np.full((2, 2), 0.1), np.zeros((2, 2))) == 1


def stands(then, now, **gates):
    given = {"least": 12.0, "lift": 2.0, "widening": 1.0} | gates
    return list(excess.standing_pairs(then, now, **given))


def test_a_planted_pair_stands_and_its_innocent_neighbours_do_not() -> None:
    """Two places that a destination has: rows planted in one side must not raise the other."""
    then = 5 + 295 * (np.eye(8, dtype=int) + np.roll(np.eye(8, dtype=int), 1, axis=1))
    now = then // 5
    assert not any(cell.log_p < -3 for cell in stands(then, now))
    planted = now.copy()
    planted[0, 4] += 40
    sure = [cell for cell in stands(then, planted) if cell.log_p < -3]
    assert [cell.place for cell in sure] == [(0, 4)]
    assert sure[0].expected < 4


@settings(deadline=None)
@given(TABLES)
def test_pairs_that_stand_are_beyond_both_gates_each_once(tables) -> None:
    then, now = (np.array(table) for table in tables)
    found = stands(then, now, least=4.0)
    assert len({cell.place for cell in found}) == len(found) <= excess.MOST
    for cell in found:
        assert now[cell.place] - cell.expected >= 4 - 1e-9
        assert now[cell.place] >= 2 * cell.expected - 1e-9
    order = np.random.default_rng(0).permutation(now.shape[1])
    turned = stands(then[:, order], now[:, order], least=4.0)
    assert len(turned) == 0 or len(found) > 0


def test_a_calendar_is_no_pair_that_stands() -> None:
    """Next month every day is another weekday: no cell can be told from the others."""
    then, now = (
        np.array([[100 if (day + first) % 7 == weekday else 0 for day in range(28)]
                  for weekday in range(7)])
        for first in (0, 3)
    )  # fmt: skip
    assert not any(cell.log_p < -8 for cell in stands(then, now))
