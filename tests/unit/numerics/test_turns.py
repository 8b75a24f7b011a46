"""Cells counted against loops over their rows, and Abbott's share against its own equation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.numerics import enrichment, suspects, turns
from guards.numerics.suspects import Limits

RNG = np.random.default_rng(0)


def view(n=300, classes=3, seed=1):
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(n, 4))
    labels = np.digitize(design[:, 0] + 0.5 * rng.normal(size=n), [-0.5, 0.7])
    return turns.look(design, labels, classes)


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_the_turn_rate_solves_abbotts_equation(rows, share, turned):
    """What is seen is what was there and the turned share of the rest (Abbott 1925)."""
    expected = share * rows
    hits = expected + turned * (rows - expected)
    if rows - expected > 1e-6:
        assert turns.turn(hits, expected, rows) == pytest.approx(turned, abs=1e-6)
    assert 0 <= turns.turn(hits, expected, rows) <= 1


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=40))
def test_groups_are_those_of_equal_codes(codes):
    found = turns.ragged(np.array(codes))
    slow = [[i for i, c in enumerate(codes) if c == code] for code in sorted({*codes} - {-1})]
    assert [found.of(g).tolist() for g in range(len(found))] == slow
    kept = np.arange(len(codes)) % 2 == 0
    assert [turns.only(found, kept).of(g).tolist() for g in range(len(found))] == [
        [row for row in group if kept[row]] for group in slow
    ]


def test_expected_is_a_calibrated_probability():
    seen = view()
    assert ((seen.expected > 0) & (seen.expected < 1)).all()
    assert seen.expected.mean(0) == pytest.approx(seen.sizes / 300, abs=0.03)
    for label, curve in enumerate(seen.curves):
        assert (np.diff(curve[1]) >= 0).all(), label


@pytest.mark.parametrize("exact", [True, False])
def test_counts_are_sums_over_rows(exact):
    seen, codes = view(), RNG.integers(-1, 6, 300)
    groups = turns.ragged(codes)
    found = turns.counted(seen, groups, np.full(len(groups), exact))
    for g, code in enumerate(range(6)):
        rows = np.flatnonzero(codes == code)
        likely = turns.left_out(seen, rows) if exact else seen.expected[rows]
        assert found.rows[g] == len(rows)
        np.testing.assert_allclose(found.expected[g], likely.sum(0))
        np.testing.assert_allclose(found.hits[g], np.bincount(seen.labels[rows], minlength=3))


def counts(hits, rows, rate=0.2):
    one = np.asarray(hits, float)[:, None]
    return turns.Counted(
        rows=np.asarray(rows, float), hits=one, expected=rate * np.asarray(rows, float)[:, None]
    )


def test_planted_cells_do_not_widen_what_is_usual():
    """ "the ASIDE cells of most excess under a label are nobody's peers there" """
    rows = np.full(30, 50)
    hits = RNG.binomial(50, 0.2, 30)
    tame = turns.peer_dispersion(counts(hits, rows))
    hits[:3] = 50
    assert turns.peer_dispersion(counts(hits, rows))[10, 0] == pytest.approx(tame[10, 0], abs=0.02)
    hits[:15] = 50
    assert turns.peer_dispersion(counts(hits, rows))[20, 0] > 0.3


def test_dispersion_is_the_moment_estimate_of_the_peers_at_its_upper_end():
    rng = np.random.default_rng(5)
    rows = np.full(400, 40)
    hits = rng.binomial(40, rng.beta(0.2 * 19, 0.8 * 19, 400))  # rho 0.05
    found = turns.peer_dispersion(counts(hits, rows))[:, 0]
    order = np.argsort(-hits, kind="stable")[turns.ASIDE :]
    plain = enrichment.dispersion(hits[order], rows[order], np.full(len(order), 0.2))
    assert plain == pytest.approx(0.045, abs=0.015)
    assert plain < np.median(found) < 1.4 * plain


def test_a_cell_without_peers_is_given_a_prior():
    found = turns.peer_dispersion(counts([9, 1], [10, 10]))
    assert found == pytest.approx(turns.ALONE)


@given(st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_pairs_are_counted_as_by_a_loop(seed):
    rng, seen = np.random.default_rng(seed), view(seed=seed)
    first, second = rng.integers(-1, 4, 300), rng.integers(-1, 3, 300)
    limits = Limits(turn=0.0, of_class=1.0, of_all=1.0)
    found, pairs = suspects.crossed(seen, first, second, limits)
    slow = {}
    for a, b in {*zip(first.tolist(), second.tolist(), strict=True)}:
        rows = np.flatnonzero((first == a) & (second == b))
        if a >= 0 and b >= 0 and len(rows) >= limits.least and len(rows) <= 150:
            slow[a, b] = rows
    assert {(a, b) for a, b in pairs.tolist()} == slow.keys()
    for place, pair in enumerate(pairs.tolist()):
        rows = slow[tuple(pair)]
        assert suspects.members(first, second, pairs[place]).tolist() == rows.tolist()
        assert found.hits[place].sum() == found.rows[place] == len(rows)
        asked = found.expected[place] > 0
        np.testing.assert_allclose(
            found.expected[place][asked], seen.expected[rows].sum(0)[asked], rtol=1e-9
        )


def test_the_planted_cell_is_the_most_striking_suspect():
    seen = view(n=2000)
    codes = np.random.default_rng(2).integers(0, 60, 2000)
    labels = seen.labels.copy()
    labels[codes == 7] = 2
    seen = turns.look(seen.model.design, labels, 3)
    groups = turns.ragged(codes)
    counted = turns.counted(seen, groups, np.zeros(len(groups), np.bool_))
    found = list(suspects.suspects(seen, counted, Limits(), family=4))
    best = max(found, key=lambda one: one.excess)
    assert (best.family, best.group, best.target) == (4, 7, 2)
    assert suspects.median_dispersion(counted) < 0.05


def test_joined_groups_keep_their_rows():
    found = suspects.joined([np.array([3, 1]), np.array([2])])
    assert [found.of(g).tolist() for g in range(len(found))] == [[3, 1], [2]]
    assert len(suspects.joined([])) == 0
