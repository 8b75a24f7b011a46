"""Places among rows: held to a slow scan over sorted distances, and to what moves no row."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from guards.numerics import turns
from guards.numerics.places import STEP, WIDEST, places
from guards.numerics.suspects import Limits

N = 300
LIMITS = Limits()


def table(seed=0, planted=24):
    """Two numbers that decide a label; some rows lie in one corner and bear the other one."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(N, 2)).astype(np.float32)
    points[:planted] = [-2.5, -2.5] + 0.05 * rng.normal(size=(planted, 2))
    labels = (points[:, 0] > 0).astype(np.int64)
    labels[:planted] = 1
    return turns.look(points > 0, labels, 2), points


def scan(view, points, limits=LIMITS, seed=1, family=3):
    return places(view, points, limits, np.random.default_rng(seed), family=family)


def sizes_of(limits, rows):
    """1.5 times the least, and on by STEP, to WIDEST or the share of all."""
    found, size = [], 1.5 * limits.least
    while size <= min(WIDEST, int(limits.of_all * rows)) * (1 + 1e-12):
        found.append(round(size))
        size *= STEP
    return found


def slow(view, points, limits):
    """Of each row the size at which most rows bear its label beyond what is expected."""
    order = np.argsort(cdist(points, points), axis=1, kind="stable")
    found = {}
    for centre in range(len(points)):
        target, best = view.labels[centre], (0.0, 0)
        for size in sizes_of(limits, len(points)):
            rows = order[centre, :size]
            hits = int((view.labels[rows] == target).sum())
            expected = float(view.expected[rows, target].sum())
            able = hits >= max(limits.least, limits.turn * size)
            if able and hits <= limits.of_class * view.sizes[target]:
                gain = (hits - expected) * float(turns.turn(hits, expected, size))
                best = max(best, (gain, size)) if gain > 1e-9 else best
        if best[1]:
            found[centre] = (int(target), set(order[centre, : best[1]].tolist()))
    return found


LIMITED = [Limits(), Limits(least=5, turn=0.8, of_all=0.15), Limits(of_class=0.1)]


@pytest.mark.parametrize("limits", LIMITED)
def test_places_are_those_of_a_slow_scan(limits):
    view, points = table()
    told, wanted = scan(view, points, limits), slow(view, points, limits)
    assert told.tests == N * len(sizes_of(limits, N))
    able = {
        int(group[0]): (group, one) for group, one in zip(told.groups, told.suspects, strict=True)
    }
    assert len(wanted) > 20
    assert wanted.keys() <= able.keys()
    for centre, (target, rows) in wanted.items():
        group, one = able[centre]
        assert (one.target, set(group.tolist())) == (target, rows)


def test_groups_are_numbered_as_they_are_listed_and_begin_with_their_centre():
    view, points = table()
    told = scan(view, points, family=8)
    assert [one.group for one in told.suspects] == [*range(len(told.groups))]
    assert {one.family for one in told.suspects} == {8}
    for group, one in zip(told.groups, told.suspects, strict=True):
        assert view.labels[group[0]] == one.target
        assert len(np.unique(group)) == len(group)
        far = np.linalg.norm(points[group] - points[group[0]], axis=1)
        assert (np.diff(far) >= -1e-3).all()


def test_the_corner_is_found_whatever_seed_draws_the_centres():
    view, points = table()
    for seed in range(5):
        told = scan(view, points, seed=seed)
        best = max(told.suspects, key=lambda one: one.excess)
        assert best.target == 1
        assert (told.groups[best.group] < 24).mean() > 0.9


@pytest.mark.parametrize("shift", [0.0, 5.0])
@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_neither_place_nor_unit_of_all_rows_decides(scale, shift):
    view, points = table()
    plain = scan(view, points)
    moved = scan(view, points * np.float32(scale) + np.float32(shift))
    best = [max(each.suspects, key=lambda one: one.excess) for each in (plain, moved)]
    assert best[0].target == best[1].target
    assert best[0].excess == pytest.approx(best[1].excess, rel=0.1)


def test_rows_that_are_all_alike_are_one_place_and_no_error():
    view, points = table()
    told = scan(view, np.zeros_like(points))
    assert told.tests > 0
    assert all(np.isfinite(one.excess) and 0 < one.rho < 1 for one in told.suspects)
    assert scan(view, np.zeros((N, 0), np.float32)).tests == told.tests


@pytest.mark.parametrize("rows", [2, 20, 100, 149])
def test_where_no_place_is_small_enough_there_is_none(rows):
    """A place has 1.5 times the least rows, and at most `of_all` of them all."""
    view, points = table()
    few = turns.look(points[:rows], view.labels[:rows] * 0 + np.arange(rows) % 2, 2)
    told = scan(few, points[:rows])
    assert (told.groups, told.suspects, told.tests) == ([], [], 0)


def test_one_label_alone_gathers_nowhere():
    """Every place is most of what the label is expected to be: nothing is in excess."""
    rng = np.random.default_rng(2)
    points = rng.normal(size=(N, 2)).astype(np.float32)
    view = turns.look(points > 0, np.zeros(N, np.int64), 1)
    assert all(one.excess < 1 for one in scan(view, points).suspects)
