"""One label in the place of another in one source: against slow counts, and honest noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.numerics.enrichment import enriched, holm
from guards.numerics.flips import (
    PRIOR_CELLS,
    PRIOR_DISPERSION,
    Sure,
    careless,
    flipped_cells,
    grouped,
    surest,
)
from guards.numerics.twosample import benjamini_hochberg


def drawn(seed, rows=6000, classes=5, many=12, noise=0.05, sloppy=0.0):
    """Labels with honest noise, what a model says of them (it knows better), and sources."""
    rng = np.random.default_rng(seed)
    true, source = rng.integers(0, classes, rows), rng.integers(0, many, rows)
    rates = noise * (1 + sloppy * rng.uniform(-1, 2, many))
    wrong = rng.random(rows) < rates[source]
    labels = np.where(wrong, (true + rng.integers(1, classes, rows)) % classes, true)
    winning = rng.uniform(0.3, 1.0, rows)
    return labels, Sure(predicted=true, winning=winning, sure=winning >= 0.65), source


def cells(labels, seen, source, many=12, classes=5, rows=1):
    return flipped_cells(labels, seen, source, many, classes, rows=rows, sure_rows=20)


def slow_cells(labels, seen, source, many, classes):
    """Every cell by loops: its hits, its size, and the p-value before adjustment."""
    kept = [i for i in range(len(labels)) if seen.sure[i] and source[i] >= 0]
    count = {}
    for i in kept:
        place = (source[i], labels[i], seen.predicted[i])
        count[place] = count.get(place, 0) + 1
    table = np.array(
        [
            [[count.get((s, g, p), 0) for p in range(classes)] for g in range(classes)]
            for s in range(many)
        ]
    )
    wrong = [
        [sum(t[g, p] for g in range(classes) if g != p) for p in range(classes)] for t in table
    ]
    all_hits, all_sizes = np.sum(wrong, axis=1), table.sum(axis=(1, 2))
    found = {}
    for g in range(classes):
        for p in range(classes):
            hits, sizes = table[:, g, p], table[:, :, p].sum(axis=1)
            if g == p or hits.max() < 1:
                continue
            other, room = all_hits - hits, all_sizes - sizes
            raised = np.ones(many)
            for s in range(many):
                peers = (hits.sum() - hits[s] + 0.5) / (sizes.sum() - sizes[s] + 1)
                usual = (other.sum() - other[s] + 0.5) / (room.sum() - room[s] + 1) * room[s]
                more = max(other[s] - usual - 2 * np.sqrt(usual + 1), 0) / max(room[s], 1)
                spread = more / (peers * (classes - 1))
                raised[s] = min(max((other[s] + 10) / (usual + 10), 1), 5) + spread
            p_values, _ = enriched(
                hits,
                sizes,
                scale=raised,
                prior_dispersion=PRIOR_DISPERSION,
                prior_cells=PRIOR_CELLS,
            )
            for s in range(many):
                if hits[s] and sizes[s] >= 20:
                    found[s, g, p] = (int(hits[s]), int(sizes[s]), p_values[s])
    return found


@pytest.mark.parametrize("sloppy", [0.0, 1.0])
def test_cells_are_those_of_slow_counts(sloppy):
    labels, seen, source = drawn(1, rows=1500, many=6, sloppy=sloppy)
    source[:50] = -1
    slow = slow_cells(labels, seen, source, 6, 5)
    fast = cells(labels, seen, source, many=6)
    assert {(c.source, c.given, c.true): (c.hits, c.size) for c in fast} == {
        place: (hits, size) for place, (hits, size, _) in slow.items()
    }
    adjusted = benjamini_hochberg([slow[c.source, c.given, c.true][2] for c in fast])
    assert [c.p_value for c in fast] == pytest.approx(adjusted)
    assert all(c.expected == pytest.approx(c.hits / c.lift) for c in fast)


def test_the_published_cell_stands_alone():
    """30 rows of one source labelled 8 in the place of 3, amid honest noise of other pairs."""
    labels, seen, source = drawn(2, rows=20_000, classes=10, many=40, noise=0.076)
    planted = np.flatnonzero((source == 7) & (seen.predicted == 3) & seen.sure)[:20]
    labels[planted] = 8
    found = cells(labels, seen, source, many=40, classes=10, rows=8)
    alarming = [c for c in found if c.p_value <= 0.01 and c.lift >= 3]
    assert [(c.source, c.given, c.true) for c in alarming] == [(7, 8, 3)]


@pytest.mark.parametrize("sloppy", [0.0, 1.0])
def test_honest_noise_alarms_nowhere(sloppy):
    """Each source has its own rate, from none to three times the mean: its own sloppiness."""
    for seed in range(10, 22):
        found = cells(*drawn(seed, rows=4000, many=8, sloppy=sloppy), many=8, rows=8)
        worst = [c for c in found if c.p_value <= 0.01 and c.lift >= 3]
        assert worst == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_neither_the_order_of_rows_nor_the_names_of_sources_matter(seed):
    labels, seen, source = drawn(3, rows=600, many=4)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(labels)), rng.permutation(4)
    moved = Sure(
        predicted=seen.predicted[order], winning=seen.winning[order], sure=seen.sure[order]
    )
    before = {
        (int(names[c.source]), c.given, c.true): (c.hits, c.size, round(c.p_value, 9))
        for c in cells(labels, seen, source, many=4)
    }
    after = {
        (c.source, c.given, c.true): (c.hits, c.size, round(c.p_value, 9))
        for c in cells(labels[order], moved, names[source][order], many=4)
    }
    assert before == after


def test_a_careless_source_is_told_by_all_pairs_together():
    labels, seen, source = drawn(4)
    its = np.flatnonzero((source == 5) & seen.sure)
    rng = np.random.default_rng(5)
    picked = rng.permutation(its)[: len(its) // 3]
    labels[picked] = (labels[picked] + rng.integers(1, 5, len(picked))) % 5
    told = careless(labels, seen, source, 12)
    kept = seen.sure
    hits = np.bincount(source[kept & (labels != seen.predicted)], minlength=12)
    sizes = np.bincount(source[kept], minlength=12)
    p_values, _ = enriched(hits, sizes, prior_dispersion=PRIOR_DISPERSION, prior_cells=PRIOR_CELLS)
    assert [(one.hits, one.size) for one in told] == list(zip(hits, sizes, strict=True))
    assert [one.p_value for one in told] == pytest.approx(holm(p_values))
    assert min(told, key=lambda one: one.p_value).source == 5
    assert told[5].p_value < 1e-4


def test_the_surer_half_of_each_predicted_label():
    rng = np.random.default_rng(6)
    told = rng.dirichlet([0.5] * 4, 300)
    seen = surest(told, 0.5)
    for label in range(4):
        its = np.flatnonzero(told.argmax(axis=1) == label)
        cut = np.median(told[its].max(axis=1))
        assert seen.sure[its].tolist() == (told[its].max(axis=1) >= cut).tolist()


@given(st.lists(st.integers(-1, 6)))
def test_groups_are_the_places_of_each_code(codes):
    found = {code: places.tolist() for code, places in grouped(np.array(codes, np.int64))}
    assert found == {c: [i for i, x in enumerate(codes) if x == c] for c in sorted(set(codes))}
