"""Cells planted into made-up tables: the search names them, and nothing where nothing is."""

import numpy as np
import pytest

from guards.numerics import turns
from guards.numerics.cell_search import Source, judged, search
from guards.numerics.suspects import Limits

N = 1500


def table(seed, planted=0, noise=0.0):
    """Steps of two numbers that decide a label, and two columns of codes that do not."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(N, 2))
    design = np.hstack([numbers > cut for cut in np.linspace(-1.5, 1.5, 9)]).astype(float)
    score = numbers[:, 0] + 0.5 * numbers[:, 1] + 0.1 * rng.normal(size=N)
    labels = (score > 0).astype(np.int64)
    codes = {name: rng.integers(0, 30, N) for name in ("a", "b")}
    wrong = rng.random(N) < noise
    labels[wrong] = 1 - labels[wrong]
    rows = rng.permutation(np.flatnonzero(score < -0.6))[:planted]
    return design, labels, codes, rows


def accused(design, labels, codes):
    view = turns.look(design, labels, 2)
    points = design.astype(np.float32)
    families = []
    for name, each in codes.items():
        groups = turns.ragged(each)
        exact = np.zeros(len(groups), np.bool_)
        families.append(Source(kind="value", columns=(name,), groups=groups, exact=exact))
    found = search(view, points, families, codes, Limits(), np.random.default_rng(1))

    def spared(cell, rows):
        return points, points[rows]

    return found, judged(found, Limits(), 1e-3, spared, np.random.default_rng(2))


@pytest.mark.parametrize(("alike", "sure"), [(False, True), (True, False)])
def test_two_things_that_are_held_need_a_weaker_second_view(alike, sure):
    """Where a third of the planted rows looks like the label they are held, but not surely."""
    design, labels, _, rows = table(6, planted=45)
    rng = np.random.default_rng(7)
    held = rng.random((N, 12)) < 0.04
    held[rows] = False
    held[rows[:, None], [3, 8]] = True
    labels[rows] = 1
    view = turns.look(design, labels, 2)
    points = design.astype(np.float32)
    found = search(view, points, [], {}, Limits(), np.random.default_rng(1), {"text": held})

    def spared(cell, its):
        own = points[its].copy()
        if alike:
            own[::3] = points[rng.permutation(np.flatnonzero(view.expected[:, 1] > 0.9))[0]]
        return points, own

    (one,) = judged(found, Limits(), 1e-3, spared, np.random.default_rng(2))
    source = found.sources[one.suspect.family]
    assert (source.kind, one.suspect.target, one.sure) == ("both", 1, sure)
    assert source.pairs[one.suspect.group].tolist() == [3, 8]
    assert set(rows) <= set(one.turned)


@pytest.mark.parametrize(("columns", "kind"), [(("a",), "value"), (("a", "b"), "pair")])
def test_the_planted_cell_is_named_with_its_rows(columns, kind):
    design, labels, codes, rows = table(3, planted=30 if len(columns) == 2 else 60)
    for name in columns:
        codes[name][rows] = 7
    codes["a"][rows] = 30 if len(columns) == 1 else 7
    labels[rows] = 1
    found, cells = accused(design, labels, codes)
    assert len(cells) == 1
    source = found.sources[cells[0].suspect.family]
    assert (source.kind, source.columns, cells[0].suspect.target) == (kind, columns, 1)
    assert set(rows) <= set(cells[0].turned)
    assert cells[0].turn > 0.9
    assert cells[0].p_value <= 1e-3
    assert cells[0].excess == pytest.approx(len(rows), rel=0.3)
    assert len(cells[0].likely) == len(cells[0].turned)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_nothing_is_accused_where_nothing_was_planted(noise):
    design, labels, codes, _ = table(4, noise=noise)
    found, cells = accused(design, labels, codes)
    assert cells == []
    assert found.tests > 1000


@pytest.mark.parametrize("planted", [0, 30])
def test_a_place_of_numbers_under_one_label_is_accused(planted):
    """Four numbers, of which the label knows nothing, are drawn around one place."""
    design, labels, _, rows = table(9, planted=planted, noise=0.1)
    rng = np.random.default_rng(10)
    ranks = rng.random((N, 4)).astype(np.float32)
    ranks[rows] = 0.4 + rng.normal(0, 0.02, (len(rows), 4))
    labels[rows] = 1
    view = turns.look(design, labels, 2)
    points = design.astype(np.float32)
    draws = np.random.default_rng(1)
    found = search(view, points, [], {}, Limits(), draws, ranks=ranks)
    cells = judged(found, Limits(), 1e-3, lambda _, its: (points, points[its]), draws)
    assert len(cells) == bool(planted)
    for one in cells:
        assert found.sources[one.suspect.family].kind == "numbers"
        assert len(np.intersect1d(one.turned, rows)) >= 0.9 * len(rows)


def test_a_cell_that_the_rows_look_like_is_none():
    """Rows of one value that bear the label that their numbers say: nothing was turned."""
    design, labels, codes, _ = table(5)
    codes["a"][labels == 1] = np.arange(int(labels.sum())) % 15
    codes["a"][labels == 0] = 15 + np.arange(int((labels == 0).sum())) % 15
    assert accused(design, labels, codes)[1] == []


def test_near_copies_are_accused_as_copies():
    design, labels, _, rows = table(6, planted=45)
    groups = [rows[:15], rows[15:30], rows[30:]]
    for group in groups:
        design[group] = design[group[0]]
    labels[rows] = 1
    view, points = turns.look(design, labels, 2), design.astype(np.float32)
    held = turns.Ragged(starts=np.array([0, 15, 30, 45]), rows=np.concatenate(groups))
    copies = Source(kind="copies", columns=("",), groups=held, exact=np.ones(3, np.bool_))
    found = search(view, points, [copies], {}, Limits(), np.random.default_rng(1))

    def spared(cell, rows):
        return points, points[rows]

    cells = judged(found, Limits(), 1e-3, spared, np.random.default_rng(2))
    assert len(np.intersect1d(rows, np.concatenate([cell.turned for cell in cells]))) >= 30
    assert {found.sources[cell.suspect.family].kind for cell in cells} == {"copies"}
