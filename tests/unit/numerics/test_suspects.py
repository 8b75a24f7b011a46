"""Which cells are suspects: every condition by a loop over cells, on tables counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.numerics import turns
from guards.numerics.suspects import (
    Limits,
    crossed,
    joined,
    median_dispersion,
    members,
    suspects,
    together,
)

FEW = settings(max_examples=25, deadline=None)
N, CLASSES = 400, 2
LIMITS = Limits()
LABELS = np.repeat([0, 1], N // 2)
VIEW = turns.look(np.random.default_rng(1).normal(size=(N, 3)), LABELS, CLASSES)


def counted(rows, hits, expected):
    """Cells against one label; the other label has the rest."""
    rows, hits, expected = (np.asarray(each, float) for each in (rows, hits, expected))
    return turns.Counted(
        rows=rows,
        hits=np.stack([rows - hits, hits], axis=1),
        expected=np.stack([rows - expected, expected], axis=1),
    )


def found(counts, limits=LIMITS, **more):
    return {
        (one.group, one.target): one for one in suspects(VIEW, counts, limits, family=2, **more)
    }


PEERS = ([20] * 12, [4] * 12, [4.0] * 12)


def with_peers(rows, hits, expected):
    return counted([*PEERS[0], rows], [*PEERS[1], hits], [*PEERS[2], expected])


@pytest.mark.parametrize(
    ("rows", "hits", "expected", "struck"),
    [
        (20, 20, 4.0, True),
        (20, 20, 19.9, False),  # no excess
        (20, 11, 4.0, False),  # most rows bear another label
        (20, 12, 4.0, True),
        (7, 7, 1.0, False),  # fewer rows than `least`
        (8, 8, 1.0, True),
        (32, 32, 5.0, True),
        (33, 33, 5.0, False),  # more than `of_all`, 0.08 of 400
        (12, 8, 6.0, False),  # an excess of less than half of `least`
        (0, 0, 0.0, False),
    ],
)
def test_each_limit_by_itself(rows, hits, expected, struck):
    told = found(with_peers(rows, hits, expected))
    assert ((12, 1) in told) == struck
    assert all(group == 12 for group, _ in told), "peers as expected are no suspects"


def test_most_of_a_label_is_no_trigger_of_it():
    """At most `of_class` of the label's rows: a cell that holds more is what the label is."""
    small = turns.look(np.random.default_rng(1).normal(size=(N, 3)), LABELS, 2)
    limits = Limits(of_class=0.1, of_all=1.0)
    for hits, struck in ((20, True), (21, False)):
        told = list(suspects(small, with_peers(hits, hits, 2.0), limits, family=0))
        assert bool(told) == struck


@given(st.integers(0, 99))
@FEW
def test_suspects_are_those_of_a_loop_and_carry_what_was_counted(seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(5, 40, 30)
    expected = rows * rng.uniform(0.1, 0.6, 30)
    counts = counted(rows, rng.binomial(rows, rng.uniform(0.2, 1, 30)), expected)
    limits, sizes = Limits(), VIEW.sizes
    slow = set()
    for group in range(30):
        for target in range(CLASSES):
            n, o, e = rows[group], counts.hits[group, target], counts.expected[group, target]
            gathered = o >= limits.least and o >= limits.turn * n
            small = o <= limits.of_class * sizes[target] and o <= limits.of_all * N
            beyond = o - e >= limits.least / 2 and (o - e) / (n - e) >= limits.turn / 2
            if gathered and small and beyond:
                slow.add((group, target))
    told = found(counts, limits)
    assert told.keys() == slow
    for (group, target), one in told.items():
        n, o, e = rows[group], counts.hits[group, target], counts.expected[group, target]
        rate = np.clip(e / n, 1e-3, 1 - 1e-3)
        spread = np.sqrt(n * rate * (1 - rate) * (1 + (n - 1) * one.rho))
        assert one.excess == pytest.approx((o - e) / spread)
        assert one.family == 2
        assert 0 < one.rho < 1


def test_a_floor_is_a_dispersion_that_cells_have_at_least():
    counts = counted([20] * 14, [4] * 12 + [16, 16], [4.0] * 14)
    plain, wild = found(counts), found(counts, floor=np.full(14, 0.4))
    assert plain.keys() == wild.keys() == {(12, 1), (13, 1)}
    for key, one in wild.items():
        assert one.rho == pytest.approx(0.4)
        assert one.excess < plain[key].excess


@pytest.mark.parametrize(("other", "alone"), [(0, True), (5, True), (8, False), (16, False)])
def test_a_cell_that_is_alone_is_tame_in_a_wild_family(other, alone):
    """ "for a cell whose excess is `alone` times that of any other" """
    counts = counted([20] * 13, [4] * 11 + [4 + other, 20], [4.0] * 13)
    one = found(counts, floor=np.full(13, 0.5))[12, 1]
    assert one.rho == pytest.approx(Limits().tamed if alone else 0.5)


def test_one_cell_has_no_peers_and_none_has_no_suspects():
    one = found(counted([20], [20], [4.0]))[0, 1]
    assert one.rho == pytest.approx(turns.ALONE)
    assert found(counted([], [], [])) == {}
    assert median_dispersion(counted([], [], [])) == 0.0


def test_the_median_dispersion_is_that_of_the_cells():
    counts = counted(*PEERS)
    assert median_dispersion(counts) == pytest.approx(np.median(turns.peer_dispersion(counts)))


@given(st.permutations(range(13)))
@FEW
def test_the_order_of_cells_has_no_say(order):
    rows, hits, expected = (np.array([*each, 20 - k]) for k, each in enumerate(PEERS))
    plain = found(counted(rows, hits, expected))
    place = {old: new for new, old in enumerate(order)}
    moved = found(counted(rows[order], hits[order], expected[order]))
    assert {(place[group], target) for group, target in plain} == moved.keys()
    for (group, target), one in plain.items():
        assert moved[place[group], target].excess == pytest.approx(one.excess)


def test_pairs_without_codes_and_pairs_that_are_small_are_not_counted():
    none = np.full(N, -1)
    for first, second in ((none, none), (none, LABELS), (LABELS, none)):
        counts, pairs = crossed(VIEW, first, second, Limits())
        assert (len(counts.rows), pairs.shape) == (0, (0, 2))
    counts, pairs = crossed(VIEW, np.arange(N), np.arange(N), Limits(least=2))
    assert len(pairs) == 0
    counts, pairs = crossed(VIEW, np.arange(N) // 10, LABELS, Limits())
    assert counts.rows.tolist() == [10.0] * 40
    assert pairs[:, 1].tolist() == [0] * 20 + [1] * 20


def test_what_nobody_asks_of_a_pair_is_left_out_and_the_rest_is_exact():
    codes = np.arange(N) % 20
    codes[:10] = 20  # ten rows of label 0 under a code of their own
    counts, pairs = crossed(VIEW, codes, codes, Limits())
    place = int(np.flatnonzero(pairs[:, 0] == 20)[0])
    rows = members(codes, codes, pairs[place])
    assert rows.tolist() == list(range(10))
    assert counts.hits[place].tolist() == [10.0, 0.0]
    assert counts.expected[place, 0] == pytest.approx(VIEW.expected[:10, 0].sum())
    assert (counts.expected[:, 1] == 0).all(), "no pair gathers under label 1"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_any_two_things_are_counted_as_by_a_loop(seed):
    rng = np.random.default_rng(seed)
    held = rng.random((N, 6)) < rng.uniform(0.02, 0.6, 6)
    held[:12, :2] = True  # a pair that gathers under label 0
    held[12:, 0] = False
    limits = Limits()
    counts, pairs = together(VIEW, held, limits)
    wanted = {}
    for first in range(6):
        for second in range(first + 1, 6):
            rows = np.flatnonzero(held[:, first] & held[:, second])
            if limits.least <= len(rows) <= N / 2:
                wanted[first, second] = rows
    assert [tuple(pair) for pair in pairs.tolist()] == list(wanted)
    asked = counts.expected.any(0)
    assert asked[0]
    for place, rows in enumerate(wanted.values()):
        assert counts.rows[place] == len(rows)
        for label in (0, 1):
            assert counts.hits[place, label] == (LABELS[rows] == label).sum()
            if asked[label]:
                told = VIEW.expected[rows, label].sum()
                assert counts.expected[place, label] == pytest.approx(told, rel=1e-4)


def test_nothing_held_is_no_pair():
    for width in (0, 1, 3):
        counts, pairs = together(VIEW, np.zeros((N, width), np.bool_), Limits())
        assert (len(counts.rows), pairs.shape) == (0, (0, 2))


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5))
def test_groups_found_one_by_one_keep_their_rows_and_their_order(groups):
    told = joined([np.array(group, np.int64) for group in groups])
    assert [told.of(place).tolist() for place in range(len(told))] == groups
    assert told.sizes.tolist() == [len(group) for group in groups]
