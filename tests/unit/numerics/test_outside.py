"""Rows around a cell against a sort of all distances; places against the rows planted there."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from guards.numerics import outside, turns
from guards.numerics.places import places
from guards.numerics.suspects import Limits

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(200, 3)).astype(np.float32)
LABELS = RNG.integers(0, 3, 200)


def test_around_asks_the_nearest_that_are_not_in_the_cell():
    cell, own = np.arange(40), POINTS[:25] + np.float32(0.1)
    found = outside.around(POINTS, cell, LABELS, 1, own)
    far = cdist(own, POINTS)
    far[:, cell] = np.inf
    order = np.argsort(far, axis=1)
    wanted = (LABELS[order[:, : outside.NEIGHBOURS]] == 1).mean(1)
    np.testing.assert_allclose(found.share, wanted)
    nearest = np.take_along_axis(far, order[:, [outside.NEAR - 1]], 1)[:, 0]
    np.testing.assert_allclose(found.distance, nearest, atol=1e-3)


def test_nobody_asked_is_no_answer():
    found = outside.around(POINTS, np.arange(5), LABELS, 0, POINTS[:0])
    assert found.share.shape == found.distance.shape == (0,)


def test_the_usual_distance_is_a_quantile_over_rows():
    far = cdist(POINTS, POINTS)
    np.fill_diagonal(far, np.inf)
    nearest = np.sort(far, axis=1)[:, outside.NEAR - 1]
    found = outside.usual_distance(POINTS, np.random.default_rng(1), 0.95)
    assert found == pytest.approx(np.quantile(nearest, 0.95), rel=1e-3)


def test_shares_leave_a_row_itself_out():
    far = cdist(POINTS, POINTS)
    np.fill_diagonal(far, np.inf)
    near = np.argsort(far, axis=1)[:30, : outside.NEIGHBOURS]
    found = outside.shares(POINTS, np.arange(30), LABELS, 2)
    np.testing.assert_allclose(found, (LABELS[near] == 2).mean(1))


def scanned(planted):
    rng = np.random.default_rng(4)
    points = rng.normal(size=(1500, 4)).astype(np.float32)
    labels = (points[:, 0] > 0).astype(np.int64)
    if planted:
        points[:40] = [-1.5, 1.0, 0.5, -0.5] + 0.02 * rng.normal(size=(40, 4))
        labels[:40] = 1
    seen = turns.look(points > 0, labels, 2)
    return places(seen, points, Limits(), np.random.default_rng(5), family=9)


def test_a_planted_place_is_the_most_striking():
    found = scanned(True)
    best = max(found.suspects, key=lambda one: one.excess)
    assert (best.family, best.target) == (9, 1)
    assert np.mean(found.groups[best.group] < 40) > 0.9
    assert found.tests >= len(found.suspects)


def test_without_it_no_place_comes_near():
    found, planted = (max((s.excess for s in scanned(p).suspects), default=0) for p in (0, 1))
    assert found < planted / 2


def test_too_few_rows_have_no_places():
    seen = turns.look(POINTS[:60], LABELS[:60], 3)
    assert places(seen, POINTS[:60], Limits(), RNG, family=0).tests == 0
