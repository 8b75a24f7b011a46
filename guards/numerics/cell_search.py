"""From every cell that rows fall in to the few that decide their label against all else.

First every cell of every kind is counted (:mod:`guards.numerics.suspects`); the most striking are
judged by a model that none of their rows shaped (:mod:`guards.numerics.turns`); what is left must
be accused by a second view too, the nearest rows outside of it (:mod:`guards.numerics.outside`):

- the label of a row is as expected as the kinder of both views says;
- where nothing ordinary is near, nobody can say what a row should have been: it counts as right;
- the rows lean to the label no more than other rows do that do not bear it: whoever plants rows
  picks ordinary ones, while a natural kind has more to it than what was counted.

Two common words that stand anywhere in a text hardly decide a label by nature, nor does a place of
many numbers whatever the words say. So there it is enough that the second view agrees at SECOND,
over the cells that the first accuses, and lean as they may; such a cell is not `sure`. Of 20 clean
halves of messages and 30 clean tables none had one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from guards.numerics import outside, turns
from guards.numerics.enrichment import beta_binomial_tail
from guards.numerics.places import places
from guards.numerics.suspects import (
    Limits,
    Suspect,
    crossed,
    median_dispersion,
    members,
    suspects,
    together,
)
from guards.numerics.turns import Ragged, View

Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
JUDGED, WEIGHED, ASKED = 300, 40, 400
FAR = 0.95
SECOND = 0.01
MILDER = {"both", "numbers"}  # kinds of cells of which the second view is asked at SECOND
# How well a kind of cell names what its rows share, where two say the same.
NAMING = {
    "value": 1.05,
    "text": 1.0,
    "pair": 0.97,
    "both": 0.97,
    "bin": 0.95,
    "copies": 0.9,
    "numbers": 0.7,
    "place": 0.6,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Cells that are peers: their `kind`, the `columns` they are of, and the rows `of` each.

    `exact` (cells,) are those that may have shaped the model; cells that `overlap` are counted
    again without a suspect's rows. Pairs have their two codes in `pairs` (cells, 2).
    """

    kind: str
    columns: tuple[str, ...]
    groups: Ragged | None = None
    exact: Bools | None = None
    overlap: bool = False
    of: Callable[[int], Ints] | None = None
    pairs: Ints | None = None

    def counted(self, view: View) -> turns.Counted:
        """Every cell counted; only of cells that are given by their `groups`, and `exact`."""
        assert self.groups is not None
        assert self.exact is not None
        return turns.counted(view, self.groups, self.exact)

    def rows(self, group: int) -> Ints:
        """The rows of one cell."""
        if self.groups is not None:
            return self.groups.of(group)
        return self.of(group) if self.of is not None else np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """What was counted: every source, the suspects (the most striking first), and the `tests`."""

    view: View
    points: Points
    sources: tuple[Source, ...]
    suspects: tuple[Suspect, ...]
    tests: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """One cell that is accused of turning rows to its target.

    `rows` (m,) are all of it, `turned` (o,) those that bear the label; `expected` is the number
    that was to be expected, `likely` (o,) what each of them lets one expect, by the kinder view.
    `p_value` is corrected over all tests, or over those of the first view where it is not `sure`.
    """

    suspect: Suspect
    rows: Ints
    turned: Ints
    likely: Floats
    expected: float
    turn: float
    p_value: float
    sure: bool = True

    @property
    def excess(self) -> float:
        """Rows that bear the label beyond what is expected."""
        return len(self.turned) - self.expected


# Where rows of an accused cell lie without what they share, and where all rows lie then.
Spared = Callable[[Judged, Ints], tuple[Points, Points]]


def search(
    view: View,
    points: Points,
    families: Sequence[Source],
    codes: Mapping[str, Ints],
    limits: Limits,
    rng: np.random.Generator,
    held: Mapping[str, Bools] | None = None,
    ranks: Points | None = None,
) -> Search:
    """Count all cells.

    Args:
        view: of n rows.
        points: (n, d), where rows that are alike lie together.
        families: of cells that are given by their `groups`.
        codes: (n,) of each column whose values are to be paired with every other's; -1 is none.
        limits: what makes a cell striking.
        rng: draws the centres of places.
        held: (n, w) of a column of which rows hold several things, to be looked at two by two.
        ranks: (n, d), where rows lie by their numbers alone.
    """
    classes, sources, found = len(view.sizes), list(families), list[Suspect]()
    counts = [one.counted(view) for one in families]
    usual = _usual(families, counts)
    tests = sum(len(counted.rows) for counted in counts) * classes
    for number, (one, counted) in enumerate(zip(families, counts, strict=True)):
        floor = np.full(len(counted.rows), max((usual.get(c, 0.0) for c in one.columns), default=0))
        found += suspects(view, counted, limits, family=number, floor=floor)
    for names in combinations(codes, 2):
        source, pairs = _crossed(view, codes, names, usual, limits, len(sources))
        tests += len(source.pairs if source.pairs is not None else ()) * classes
        found += pairs
        sources.append(source)
    for name, things in (held or {}).items():
        source, both = _together(view, name, things, limits, len(sources))
        tests += len(source.pairs if source.pairs is not None else ()) * classes
        found += both
        sources.append(source)
    for kind, space in (("place", points), ("numbers", ranks)):
        if space is not None and (kind == "place" or space.shape[1]):
            around = places(view, space, limits, rng, family=len(sources))
            sources.append(Source(kind=kind, columns=(), of=around.groups.__getitem__))
            found += around.suspects
            tests += around.tests
    return Search(
        view=view,
        points=points,
        sources=tuple(sources),
        suspects=tuple(sorted(found, key=lambda one: -one.excess)),
        tests=max(tests, 1),
    )


def judged(
    found: Search, limits: Limits, alpha: float, spared: Spared, rng: np.random.Generator
) -> list[Judged]:
    """The cells that both views accuse, each row in the one that names it best."""
    first = (_first(found, one, limits, alpha) for one in found.suspects[:JUDGED])
    cells = sorted((cell for cell in first if cell), key=lambda cell: -_naming(found, cell))
    far = outside.usual_distance(found.points, rng, FAR) if cells else 0.0
    targets = sorted({cell.suspect.target for cell in cells})
    most = {target: _leaning(found, target, rng) + limits.lean for target in targets}
    taken = np.zeros(len(found.view.labels), np.bool_)
    accused: list[Judged] = []
    weighed = 0
    for cell in cells:
        if weighed == WEIGHED:
            break
        if taken[cell.turned].mean() >= 0.5:
            continue
        weighed += 1
        likely = _kinder(found, cell, spared, far, rng)
        if likely is None:
            continue
        again = None
        if likely.leaning <= most[cell.suspect.target]:
            again = _accused(found, cell.suspect, cell.rows, likely.each, limits, alpha)
        if again is None and found.sources[cell.suspect.family].kind in MILDER:
            few = replace(found, tests=len(cells))
            again = _accused(few, cell.suspect, cell.rows, likely.each, limits, SECOND)
            again = replace(again, sure=False) if again is not None else None
        if again is not None:
            taken[again.turned] = True
            accused.append(again)
    return accused


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Likely:
    """What the rows (m,) of a cell let one expect, `each` of them, and how they lean on average."""

    each: Floats
    leaning: float


def _naming(found: Search, cell: Judged) -> float:
    return cell.excess * cell.turn * NAMING[found.sources[cell.suspect.family].kind]


def _usual(families: Sequence[Source], counts: Sequence[turns.Counted]) -> dict[str, float]:
    """How unlike each other the cells of each column typically are, in its wildest family."""
    usual: dict[str, float] = {}
    for one, counted in zip(families, counts, strict=True):
        if not one.overlap:
            seen = median_dispersion(counted)
            usual |= {column: max(usual.get(column, 0.0), seen) for column in one.columns}
    return usual


def _crossed(
    view: View,
    codes: Mapping[str, Ints],
    names: tuple[str, str],
    usual: Mapping[str, float],
    limits: Limits,
    number: int,
) -> tuple[Source, list[Suspect]]:
    """The pairs of two columns' values; one that is most of a value is as wild as values are."""
    first, second = (codes[name] for name in names)
    counted, pairs = crossed(view, first, second, limits)
    floor = np.zeros(len(pairs))
    for place, name in enumerate(names):
        sizes = np.bincount(codes[name][codes[name] >= 0], minlength=1)
        floor = np.maximum(floor, usual.get(name, 0.0) * counted.rows / sizes[pairs[:, place]])
    source = Source(
        kind="pair",
        columns=names,
        of=lambda group: members(first, second, pairs[group]),
        pairs=pairs,
    )
    return source, list(suspects(view, counted, limits, family=number, floor=floor))


def _together(
    view: View, name: str, held: Bools, limits: Limits, number: int
) -> tuple[Source, list[Suspect]]:
    """Any two of what rows hold in one column."""
    counted, pairs = together(view, held, limits)
    source = Source(
        kind="both",
        columns=(name,),
        of=lambda group: np.flatnonzero(held[:, pairs[group]].all(axis=1)),
        pairs=pairs,
    )
    return source, list(suspects(view, counted, limits, family=number))


def _first(found: Search, one: Suspect, limits: Limits, alpha: float) -> Judged | None:
    """Judge a suspect by the model without its rows."""
    rows = found.sources[one.family].rows(one.group)
    likely = turns.left_out(found.view, rows)[:, one.target]
    return _accused(found, one, rows, likely, limits, alpha)


def _accused(
    found: Search, one: Suspect, rows: Ints, likely: Floats, limits: Limits, alpha: float
) -> Judged | None:
    """The cell, if its rows bear the label far beyond what they (m,) let one expect."""
    bears = found.view.labels[rows] == one.target
    hits, expected = int(bears.sum()), float(likely.sum())
    turn = float(turns.turn(hits, expected, len(rows)))
    excess = hits - expected
    if turn < limits.turn or excess < max(0.75 * limits.least, limits.share * hits):
        return None
    rate = min(max(expected / len(rows), 1e-9), 1 - 1e-9)
    tail = beta_binomial_tail(hits, len(rows), rate, _dispersion(found, one, rows, limits))
    if tail * found.tests > alpha:
        return None
    return Judged(
        suspect=one,
        rows=rows,
        turned=rows[bears],
        likely=likely[bears],
        expected=expected,
        turn=turn,
        p_value=tail * found.tests,
    )


def _dispersion(found: Search, one: Suspect, rows: Ints, limits: Limits) -> float:
    """That of the cell's peers; where these overlap with it, counted without its rows.

    Copies are few and all of them may be planted: what they differ by says nothing.
    """
    source = found.sources[one.family]
    if source.kind == "copies":
        return limits.tamed
    if not source.overlap or source.groups is None:
        return one.rho
    others = np.ones(len(found.view.labels), np.bool_)
    others[rows] = False
    groups = turns.only(source.groups, others)
    counted = turns.counted(found.view, groups, np.zeros(len(groups), np.bool_))
    return float(turns.peer_dispersion(counted)[one.group, one.target])


def _kinder(
    found: Search,
    cell: Judged,
    spared: Spared,
    far: float,
    rng: np.random.Generator,
) -> _Likely | None:
    """What the rows (m,) of a cell let one expect by the kinder of two views.

    None where nothing ordinary is near; how they lean is that of the rows where it is. Of a large
    cell ASKED rows are asked, and the others are taken to be like them.
    """
    rows, target = cell.rows, cell.suspect.target
    if len(found.view.labels) - len(rows) <= outside.NEIGHBOURS:
        return None
    asked = np.arange(len(rows))
    if len(rows) > ASKED:
        asked = rng.choice(len(rows), ASKED, replace=False)
    points, own = spared(cell, rows[asked])
    around = outside.around(points, rows, found.view.labels, target, own)
    kinder = np.maximum(turns.left_out(found.view, rows)[asked, target], around.share)
    near = around.distance <= far
    if not near.any():
        return None
    leaning = float(kinder[near].mean())
    kinder = np.where(near, kinder, 1.0)
    likely = np.full(len(rows), kinder.mean())
    likely[asked] = kinder
    return _Likely(each=likely, leaning=leaning)


def _leaning(found: Search, target: int, rng: np.random.Generator) -> float:
    """How likely the target is, by the kinder view, for rows that bear another label."""
    others = np.flatnonzero(found.view.labels != target)
    drawn = rng.choice(others, min(ASKED, len(others)), replace=False)
    share = outside.shares(found.points, drawn, found.view.labels, target)
    return float(np.maximum(found.view.expected[drawn, target], share).mean())
