"""Laws of the search for cells and of its views: no order of rows, no names, no unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import chi2

from guards.numerics import enrichment, neighbours, outside, turns
from guards.numerics.cell_search import Source, judged, search
from guards.numerics.excess import inflation
from guards.numerics.places import places
from guards.numerics.suspects import Limits, median_dispersion

seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=20, deadline=None)
few = settings(max_examples=8, deadline=None)
ROWS = 390  # so few that each is a centre, and each is asked
LIMITS = Limits()
EACH, NAMES = np.arange(ROWS), np.arange(3)


def drawn(seed):
    return np.random.default_rng(seed)


def planted(rng):
    """Numbers that decide a label of three; 24 rows have one pair of codes and another label."""
    numbers = rng.normal(size=(ROWS, 2)).astype(np.float32)
    labels = np.digitize(numbers[:, 0], [-0.4, 0.5])
    codes, held = rng.integers(0, 12, (ROWS, 2)), rng.random((ROWS, 6)) < 0.15
    rows = np.flatnonzero(numbers[:, 0] < -0.8)[:24]
    codes[rows], held[rows[2:], :2], labels[rows] = (5, 7), True, 2
    return numbers, labels, codes, held, rows


def looked(numbers, labels):
    steps = [numbers > cut for cut in np.linspace(-1.5, 1.5, 9)]
    return turns.look(np.hstack(steps).astype(float), labels, 3)


def searched(numbers, labels, codes, held):
    """Everything that is counted, and what is accused of it."""
    families = [
        Source(kind="value", columns=(name,), groups=groups, exact=np.zeros(len(groups), np.bool_))
        for name, groups in ((name, turns.ragged(each)) for name, each in codes.items())
    ]
    view = looked(numbers, labels)
    found = search(view, numbers, families, codes, LIMITS, drawn(1), {"text": held})

    def spared(_, its):
        return numbers, numbers[its]

    return found, judged(found, LIMITS, 1e-3, spared, drawn(2))


def key(found, one, original, labels):
    source = found.sources[one.family]
    rows = frozenset(original[source.rows(one.group)].tolist())
    return source.kind, frozenset(source.columns), rows, int(labels[one.target])


def told(found, original=EACH, labels=NAMES):
    """How striking each cell is; of places the law is their own."""
    cells = ((key(found, one, original, labels), one) for one in found.suspects)
    return {name: (one.rho, one.excess) for name, one in cells if name[1]}


def accused(found, cells, original=EACH, labels=NAMES):
    return {
        key(found, one.suspect, original, labels): (one.turn, one.p_value, one.expected, one.sure)
        for one in cells
    }


def same(found, wanted):
    return found.keys() == wanted.keys() and all(
        found[name] == pytest.approx(one, rel=1e-3) for name, one in wanted.items()
    )


@few
@given(seeds)
def test_cells_are_found_and_accused_whatever_their_order_and_names(seed):
    rng = drawn(seed)
    numbers, labels, codes, held, rows = planted(rng)
    plain, cells = searched(numbers, labels, dict(zip("ab", codes.T, strict=True)), held)
    assume(cells)  # two in sixty are too faint
    order, names, columns = rng.permutation(ROWS), rng.permutation(3), rng.permutation(6)
    values = rng.permutation(12)[codes[order]]
    again, others = searched(
        numbers[order],
        names[labels[order]],
        {"b": values[:, 1], "a": values[:, 0]},
        held[order][:, columns],
    )
    assert again.tests == plain.tests
    back = np.argsort(names)
    assert same(told(again, order, back), told(plain))
    assert same(accused(again, others, order, back), accused(plain, cells))
    first = key(plain, cells[0].suspect, EACH, NAMES)
    assert len(first[2].intersection(rows.tolist())) >= 20
    assert first[3] == 2


@few
@given(seeds)
def test_a_suspect_is_a_cell_most_of_whose_rows_bear_its_label(seed):
    numbers, labels, codes, held, _ = planted(drawn(seed))
    found, _ = searched(numbers, labels, dict(zip("ab", codes.T, strict=True)), held)
    view = found.view
    for one in found.suspects:
        source = found.sources[one.family]
        rows = source.rows(one.group)
        if source.kind == "pair":
            assert np.array_equal(rows, np.flatnonzero((codes == codes[rows[0]]).all(1)))
        hits, expected = (labels[rows] == one.target).sum(), view.expected[rows, one.target].sum()
        rate = np.clip(expected / len(rows), 1e-3, 1 - 1e-3)
        wide = len(rows) * rate * (1 - rate) * (1 + (len(rows) - 1) * one.rho)
        assert max(LIMITS.least, LIMITS.turn * len(rows)) <= hits <= LIMITS.of_all * ROWS
        assert one.excess == pytest.approx((hits - expected) / np.sqrt(wide), rel=1e-5)
    assert (np.diff([one.excess for one in found.suspects]) <= 0).all(), "most striking first"


@few
@given(seeds, st.floats(0.05, 50))
def test_places_know_no_order_no_names_no_axes_and_no_unit(seed, unit):
    rng = drawn(seed)
    numbers, labels, *_ = planted(rng)
    near = np.flatnonzero(labels == 2)[:20]
    numbers[near] = rng.normal([-2, 1], 0.1, (20, 2))
    turned = (numbers @ np.linalg.qr(rng.normal(size=(2, 2)))[0] + 2) * unit
    order, names = rng.permutation(ROWS), rng.permutation(3)
    plain = places(looked(numbers, labels), numbers, LIMITS, drawn(1), family=0)
    view = looked(numbers[order], names[labels[order]])
    again = places(view, turned[order].astype(np.float32), LIMITS, drawn(2), family=0)
    first, second = (
        {
            (frozenset(of[rows].tolist()), int(back[one.target])): round(one.excess, 2)
            for rows, one in zip(each.groups, each.suspects, strict=True)
        }
        for each, of, back in ((plain, EACH, NAMES), (again, order, names.argsort()))
    )
    # Rounding may turn the order of two rows that are as far: few, so that a place may be another.
    assert len(first.items() & second.items()) >= 0.9 * max(len(first), len(second)) > 0
    assert again.tests == plain.tests


@some
@given(seeds, st.floats(0.01, 100), st.integers(7, 60), st.floats(0, 1), st.floats(0, 1))
def test_the_usual_distance_is_a_quantile_of_all_and_has_the_rows_unit(seed, unit, rows, one, two):
    rng = drawn(seed)
    points, low, high = rng.normal(size=(rows, 3)), min(one, two), max(one, two)
    found = outside.usual_distance(points, drawn(1), low)
    fifth = np.sort(cdist(points, points, "sqeuclidean"), axis=1)[:, outside.NEAR]  # first: itself
    assert found**2 == pytest.approx(np.quantile(fifth, low))
    assert outside.usual_distance(points, drawn(1), high) >= found - 1e-9
    moved = rng.permutation(points) @ np.linalg.qr(rng.normal(size=(3, 3)))[0] * unit
    assert outside.usual_distance(moved, drawn(2), low) == pytest.approx(found * unit)


@given(st.floats(0, 1), st.floats(0, 1), *[st.integers(1, 10**5)] * 3, st.integers(1, 50))
def test_counts_widen_with_what_blocks_differ_by_and_nobody_is_the_reference(
    one, two, then, now, more, blocks
):
    low, high = sorted((one, two))
    found = inflation(low, then, now, blocks)
    assert found == inflation(low, now, then, blocks)
    assert found == pytest.approx(1 + low * (1 + 1 / blocks) / (1 / then + 1 / now))
    assert inflation(high, then, now, blocks) >= found >= inflation(0, then, now, blocks) == 1
    assert (
        inflation(low, then + more, now, blocks) >= found >= inflation(low, then, now, 2 * blocks)
    )


def of_peers(rows, hits, expected):
    """The rho of each cell of one label, from its peers one by one."""
    surplus = (hits - expected) / np.sqrt(rows)
    aside = set(np.argsort(-surplus)[: turns.ASIDE].tolist())
    found = []
    for cell in range(len(rows)):
        peers = [one for one in range(len(rows)) if one != cell and one not in aside]
        n, o, e = (each[peers] for each in (rows, hits, expected))
        squares = (o - e) ** 2 / (e / n * (1 - e / n))
        seen = max(
            (squares - n).sum() / (n * (n - 1)).sum(), (squares / n - 1).sum() / (n - 1).sum()
        )
        few = len(peers)
        bound = min(max(seen, 0), 0.99) * few / chi2.ppf(enrichment.DOUBT, few)
        weight = few / (few + enrichment.PRIOR_CELLS)
        rho = (weight * bound + (1 - weight) * turns.PRIOR) * (1 + 1 / few)
        found.append(min(max(rho, turns.FLOOR), 0.99))
    return found


@some
@given(seeds, st.integers(5, 30), st.floats(0, 0.5))
def test_families_differ_by_the_median_of_what_their_cells_peers_do(seed, cells, wild):
    rng = drawn(seed)
    rows = rng.integers(5, 200, cells).astype(float)
    rate = rng.uniform(0.2, 0.6, (cells, 2))
    hits = rng.binomial(
        rows.astype(int)[:, None], np.clip(rate + rng.normal(0, wild, rate.shape), 0, 1)
    )
    counts = turns.Counted(rows=rows, hits=hits.astype(float), expected=rate * rows[:, None])
    found = median_dispersion(counts)
    slow = [of_peers(rows, *each) for each in zip(counts.hits.T, counts.expected.T, strict=True)]
    assert found == pytest.approx(np.median(slow))
    order = rng.permutation(cells)
    mixed = turns.Counted(
        rows=rows[order],
        hits=counts.hits[order, ::-1],
        expected=counts.expected[order, ::-1],
    )
    assert median_dispersion(mixed) == pytest.approx(found)


@some
@given(seeds, st.integers(1, 30))
def test_left_out_is_a_model_fitted_to_the_others(seed, many):
    """B = (X'X + a I)^-1 X'Y, X and Y centred, of the rows that are left."""
    rng = drawn(seed)
    design, labels = rng.normal(size=(60, 5)), rng.permutation(np.arange(60) % 3)
    view, rows = turns.look(design, labels, 3), rng.permutation(60)[:many]
    rest = np.setdiff1d(np.arange(60), rows)
    centre = design[rest].mean(0)
    x, y = design[rest] - centre, np.eye(3)[labels[rest]]
    level = 1e-3 * ((design - design.mean(0)) ** 2).sum()
    weights = np.linalg.solve(x.T @ x + level * np.eye(5), x.T @ (y - y.mean(0)))
    scores = (design[rows] - centre) @ weights + y.mean(0)
    wanted = [np.interp(scores[:, c], *view.curves[c]) for c in range(3)]
    found = turns.left_out(view, rows)
    assert found == pytest.approx(np.stack(wanted, axis=1), abs=1e-8)
    order = rng.permutation(60)
    again = turns.left_out(
        turns.look(9 * design[order] + 4, labels[order], 3), order.argsort()[rows]
    )
    assert again == pytest.approx(found, abs=1e-6)


@some
@given(seeds, st.integers(1, 12), st.floats(0.02, 0.3))
def test_the_nearest_by_cosine_are_not_those_that_bear_the_same_mark(seed, k, apart):
    rng = drawn(seed)
    points, marks = rng.normal(size=(2, 40, 4))
    cosine, like = (1 - cdist(each, each, "cosine") for each in (points, marks))
    np.fill_diagonal(cosine, -9)
    given_ = [torch.from_numpy(each) for each in (points, marks)]
    found = neighbours.nearest(given_[0], k)
    assert np.array_equal(found, np.argsort(-cosine, axis=1)[:, :k])
    limit = np.sort(like, axis=1)[:, ::-1][:, max(1, round(apart * 40)) - 1]
    beside = np.where(like >= limit[:, None] - 1e-6, cosine - 2, cosine)
    told = neighbours.nearest(given_[0], k, marks=given_[1], apart=apart)
    assert np.array_equal(told, np.argsort(-beside, axis=1)[:, :k])
    everyone = rng.permutation(40)
    drawn_ = neighbours.nearest(given_[0], k, marks=given_[1], apart=apart, sample=everyone)
    assert np.array_equal(drawn_, told), "a sample of all rows is all rows"
    length = rng.uniform(0.1, 9, (40, 1))
    longer = torch.from_numpy((points * length)[everyone])
    assert np.array_equal(everyone[neighbours.nearest(longer, k)], found[everyone])


@some
@given(seeds, st.integers(1, 12))
def test_a_contradiction_knows_no_names_no_order_and_no_lengths(seed, k):
    rng = drawn(seed)
    points, labels = rng.normal(size=(40, 4)), rng.permutation(np.r_[0, np.arange(39) % 2 + 1])
    found = neighbours.contradiction(torch.from_numpy(points), labels, k)
    cosine = 1 - cdist(points, points, "cosine")
    for row in range(40):
        same = labels == labels[row]
        own = np.sort(cosine[row, same & (np.arange(40) != row)])[-k:]
        gap = np.sort(cosine[row, ~same])[-k:].mean() - own.mean() if len(own) else 2
        assert found[row] == pytest.approx(gap, abs=1e-5)
    assert (np.abs(found) <= 2).all()
    order, names = rng.permutation(40), rng.permutation(3)
    longer = torch.from_numpy((points * rng.uniform(0.1, 9, (40, 1)))[order])
    again = neighbours.contradiction(longer, names[labels[order]], k)
    assert again == pytest.approx(found[order], abs=1e-5)
