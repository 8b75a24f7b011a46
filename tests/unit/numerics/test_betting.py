"""Bets against their definitions: fair under the law, bounded by Ville, blind to nothing new."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare, entropy

from guards.numerics import betting

TABLE = arrays(np.int64, (4, 6), elements=st.integers(0, 60))
CUBE = arrays(np.float64, (3, 4, 5), elements=st.floats(0.01, 1))


@given(TABLE)
def test_shares_are_laws_between_the_counts_and_the_margin(counts) -> None:
    found = betting.shares(counts)
    assert found.min() > 0
    assert found.sum(axis=1) == pytest.approx(np.ones(4))
    margin = (counts.sum(axis=0) + 0.5) / (counts.sum() + 3)
    rows = counts.sum(axis=1)
    slow = [
        [(counts[k, x] + 5 * margin[x]) / (rows[k] + 5) for x in range(6)] for k in range(len(rows))
    ]
    assert found == pytest.approx(np.array(slow))


@given(TABLE)
def test_apart_is_the_divergence_of_the_other_kind(counts) -> None:
    spread = betting.shares(counts)
    slow = [[entropy(q, p) for q in spread] for p in spread]
    assert betting.apart(spread) == pytest.approx(np.array(slow), abs=1e-9)


@given(TABLE)
def test_worth_is_what_a_row_of_the_other_kind_gains_in_the_mean(counts) -> None:
    spread = betting.shares(counts)
    slow = [[sum(q * np.log(0.9 + 0.1 * q / p)) for q in spread] for p in spread]
    found = betting.worth(spread)
    assert found == pytest.approx(np.array(slow), abs=1e-9)
    assert np.diag(found) == pytest.approx(np.zeros(4))
    assert found.min() >= -1e-12


@given(TABLE)
def test_no_bet_is_expected_to_gain_where_the_law_holds(counts) -> None:
    """Exactly: the expected e of one row is one, whatever the other law and the stake."""
    p, q, *_ = betting.shares(counts)
    one_row = [np.exp(betting.gains(np.eye(6)[[x]], (q / p)[None])[:, 0]) for x in range(6)]
    assert p @ np.array(one_row) == pytest.approx(np.ones(len(betting.STAKES)))


@given(CUBE, st.integers(0, 3))
def test_the_sure_law_is_never_below_what_three_do_together(weights, source) -> None:
    """(values, sources, cells), whatever they are: so a bet against it is fair at the worst."""
    whole = weights / weights.sum()
    of_value = whole.sum(axis=1) / whole.sum(axis=(1, 2))[:, None]
    of_source = whole.sum(axis=0)[source] / whole.sum(axis=(0, 2))[source]
    both = whole.sum(axis=2)
    most = betting.at_most(
        of_value,
        of_source,
        both[:, source] / both.sum(axis=1),
        both[:, source] / both[:, source].sum(),
    )
    true = whole[:, source] / whole[:, source].sum(axis=1, keepdims=True)
    assert (most >= true - 1e-12).all()
    assert (most <= 1).all()


@given(CUBE)
def test_the_joint_law_is_right_where_value_and_source_act_apart(weights) -> None:
    """P(v, s, x) = P(x) P(v | x) P(s | x), its sides told exactly."""
    margin = weights.sum(axis=(0, 1)) / weights.sum()
    value = weights.sum(axis=1) / weights.sum(axis=(0, 1))
    sided = weights.sum(axis=0) / weights.sum(axis=(0, 1))
    whole = np.einsum("x,vx,sx->vsx", margin, value, sided)
    of_value = whole.sum(axis=1) / whole.sum(axis=(1, 2))[:, None]
    for source in range(4):
        true = whole[:, source] / whole[:, source].sum(axis=1, keepdims=True)
        of_source = whole.sum(axis=0)[source] / whole.sum(axis=0)[source].sum()
        assert betting.joint(of_value, of_source, margin) == pytest.approx(true)


def test_chance_seldom_wins_a_hundredfold() -> None:
    """Ville: at most one in a hundred; 4,000 honest batches of 80 rows."""
    rng = np.random.default_rng(5)
    p, q = betting.shares(rng.gamma(0.5, 20, (2, 12)))
    counts = rng.multinomial(80, p, 4_000)
    told = betting.evidence(betting.gains(counts, np.tile(q / p, (4_000, 1))))
    assert (told >= 2).mean() <= 0.01


@given(arrays(np.float64, (4, 3), elements=st.floats(-300, 300)))
def test_evidence_is_the_mean_of_the_stakes(gained) -> None:
    slow = np.log10(np.exp(gained).mean(axis=0))
    assert betting.evidence(gained) == pytest.approx(slow, abs=1e-9)


@given(st.floats(-200, 200), st.floats(-200, 200))
def test_either_is_the_mean_of_two(first, second) -> None:
    found = betting.either(np.array([first]), np.array([second]))[0]
    assert found == pytest.approx(np.log10((10.0**first + 10.0**second) / 2), abs=1e-9)


@given(TABLE)
def test_a_telling_cell_counts_as_much_as_befits_the_other_kind(counts) -> None:
    spread = betting.shares(counts)
    other, own = spread[[1, 2]], spread[[0, 0]]
    ratio, held = other / own, counts[[0, 0]]
    found = betting.capped(held, other, ratio)
    assert (found <= held).all()
    assert (found >= np.minimum(held, betting.FEW)).all()
    assert (found == held)[ratio < betting.TELLING].all()


def test_what_is_in_one_cell_of_many_is_new_and_not_exchanged() -> None:
    """Twelve rows: spread as the other kind is, each counts; in one place, two or three."""
    p = np.array([0.9, *[0.0125] * 8])
    q = np.array([0.04, *[0.12] * 8])
    spread, place = np.array([40, 2, 2, 2, 2, 1, 1, 1, 1]), np.array([40, 12, *[0] * 7])
    for counts, rows in ((spread, 12), (place, 2.25)):
        assert betting.capped(counts[None], q[None], (q / p)[None])[0, 1:].sum() == rows


@given(TABLE)
def test_misfit_is_chi_squared_where_something_is_expected(counts) -> None:
    expected = np.full((4, 6), 1 / 6)
    squares, freedom = betting.misfit(counts, expected)
    for row, told, free in zip(counts, squares, freedom, strict=True):
        if row.sum() > 3:
            assert told == pytest.approx(chisquare(row).statistic)
            assert free == 5
        else:
            assert told == free == 0


def test_widening_leaves_out_the_two_that_the_bet_is_about() -> None:
    squares, freedom = np.array([1_000.0, 30.0, 10.0, 2_000.0]), np.full(4, 5.0)
    first, second = np.array([0, 1]), np.array([3, 2])
    found = betting.widening(squares, freedom, first, second)
    assert found == pytest.approx([50 / 20, 3_010 / 20])
    assert betting.widening(squares * 0, freedom, first, second).tolist() == [1, 1]


@given(st.integers(0, 40), st.integers(41, 400), st.floats(1, 100))
def test_an_exchange_adds_nothing(moved, other, known) -> None:
    assert betting.added([moved, other - moved], [0, other], known) == 0
    assert betting.added([moved + 1, other], [0, other], known) > 0


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.8])
def test_the_likeliest_share_is_the_one_that_was_mixed(share) -> None:
    p, q = np.array([0.6, 0.3, 0.05, 0.05]), np.array([0.05, 0.05, 0.3, 0.6])
    counts = 100_000 * ((1 - share) * p + share * q)
    assert betting.likeliest(counts, q / p) == pytest.approx(share, abs=0.011)
    chances = betting.chances(q / p, share)
    assert chances == pytest.approx(share * q / ((1 - share) * p + share * q))
