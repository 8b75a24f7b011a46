"""The cells of a batch that hold too much: single values, and pairs of columns; and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from guards.data.profiles.nouns import (
    MISSING,
    CategoryColumn,
    NumericColumn,
    coarse,
    coarse_bins,
    written,
)
from guards.data.profiles.observe import Encoded, Observed, Seen, numeric_part, steady
from guards.numerics.crowds import implied
from guards.numerics.excess import (
    expected_values,
    inflation,
    log_tails,
    raised,
    standing,
    standing_pairs,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.profiles.nouns import Pair

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

_TELLING = 0.5  # of a column's entropy is what the other tells
_LONG = 60  # characters of a value that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Values above `over` and at most `upto` of a column; or the word; or what is missing."""

    over: float = -np.inf
    upto: float = np.inf
    word: str | None = None
    missing: bool = False

    @property
    def outside(self) -> bool:
        """Whether it is no value of the column, or lies at an end of all that it has."""
        return self.missing or (self.word is None and not np.isfinite([self.over, self.upto]).all())

    def among(self, part: Encoded, name: str) -> Bools:
        """Which rows hold such a value."""
        values, codes = part.values[name], part.codes[name]
        if self.missing:
            return np.asarray(codes == 0)
        if self.word is not None:
            return values.cast(str).eq_missing(self.word).to_numpy()
        numbers = values.cast(float).to_numpy()
        return np.asarray((numbers > self.over) & (numbers <= self.upto))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell with more rows than expected; `log_p` is the log10 of its tail, alone.

    `where` says for each column which codes or values are in it, `told` the same for people. A
    cell is `loose` if it is one value that was there before, or two words of which neither tells
    much of the other: such values become common, and meet anew, as a business changes.
    """

    where: Mapping[str, Ints | Span]
    told: str
    rows: int
    expected: float
    log_p: float
    loose: bool = False

    def among(self, part: Encoded) -> Bools:
        """Which rows lie in it."""
        found = np.ones(len(next(iter(part.codes.values()))), np.bool_)
        for name, held in self.where.items():
            inside = (
                held.among(part, name)
                if isinstance(held, Span)
                else np.isin(part.codes[name], held)
            )
            found &= inside
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """`least` rows beyond the expected and `lift` times them.

    Of columns that `moved` only what is missing counts, and what lies at their ends, if they moved
    less than `far`.
    """

    least: float
    lift: float
    moved: float
    far: float


def cells_of(seen: Observed, gates: Gates) -> tuple[list[Cell], int]:
    """The cells beyond the gates, the surest first, and how many were looked at."""
    found, tests = list[Cell](), 0
    for _, column in sorted(seen.columns.items()):
        words = isinstance(column.column, CategoryColumn)
        cells, looked = (_words if words else _numbers)(column, gates)
        if not steady(column, gates.moved):
            ends = steady(column, gates.far)
            cells = [cell for cell in cells if _missing(cell) or (ends and _outside(cell))]
            looked = min(looked, 3)
        found, tests = [*found, *cells], tests + looked
    for pair, now in zip(seen.profile.pairs, seen.tables, strict=True):
        if now is not None:
            found += _pair(seen, pair, now, gates)
            tests += now.size
    return sorted(found, key=lambda cell: (cell.log_p, cell.told)), tests


def _missing(cell: Cell) -> bool:
    return all(isinstance(held, Span) and held.missing for held in cell.where.values())


def _outside(cell: Cell) -> bool:
    return all(isinstance(held, Span) and held.outside for held in cell.where.values())


def _words(seen: Seen, gates: Gates) -> tuple[list[Cell], int]:
    """Listed words, and what is missing."""
    column = seen.column
    assert isinstance(column, CategoryColumn)
    spans = [Span(missing=True), *(Span(word=word) for word in column.values)]
    told = [MISSING, *column.values]
    then, now = (column.nulls, *column.counts), (seen.nulls, *seen.listed.tolist())
    expected = expected_values(then, column.rows, seen.count + seen.nulls)
    # How far missing rates of blocks differ is known; a jump within that is none.
    expected[0] += column.null_spread * (seen.count + seen.nulls)
    return _singles(seen, spans, told, (np.array(then), np.array(now), expected), gates)


def _numbers(seen: Seen, gates: Gates) -> tuple[list[Cell], int]:
    """What lies between the stored points, below and above them, and what is missing."""
    assert not isinstance(seen.column, CategoryColumn)
    part = numeric_part(seen.column)
    if not len(part.points):
        return [], 0
    rows = seen.count + seen.missing
    ends, inner, weights = _steps(seen, part)
    # A step is off by at most `error` rows, so it may hold as many more.
    known = weights > 0
    expected = expected_values(np.where(known, weights + part.error, 0), part.rows, rows)
    expected[known] = raised(expected[known], inner[known])
    missing = expected_values([part.missing], part.rows, rows) + part.null_spread * rows
    spans = [*(Span(over=a, upto=b) for a, b in pairwise(ends)), Span(missing=True)]
    told = [*_intervals(part), MISSING]
    then, now = np.append(weights, part.missing), np.append(inner, seen.missing)
    return _singles(seen, spans, told, (then, now, np.append(expected, missing)), gates)


def _steps(seen: Seen, part: NumericColumn) -> tuple[list[float], Ints, Ints]:
    """Where the steps end, the batch's rows in each, and the reference's.

    What lies above the last point is new, and what lies below the first one if that is the lowest
    value that there was; else the rows below it are those of its step.
    """
    inner = np.diff([0, *seen.upto.tolist(), seen.count])
    weights = np.array([*part.weights, 0], np.int64)
    if not _from_the_lowest(part):
        return [-np.inf, *part.points, np.inf], inner, weights
    below = int(seen.below[0])
    inner = np.array([below, inner[0] - below, *inner[1:]], np.int64)
    ends = [-np.inf, float(np.nextafter(part.points[0], -np.inf)), *part.points, np.inf]
    return ends, inner, np.append(0, weights)


def _from_the_lowest(part: NumericColumn) -> bool:
    """Whether the first point is the lowest value that there was, so that less than it is new."""
    return part.points[0] == part.low


def _intervals(part: NumericColumn) -> list[str]:
    points, form = part.points, part.form
    below = [f"below {written(points[0], form)}"] if _from_the_lowest(part) else []
    return [
        *below,
        *(f"near {written(point, form)}" for point in points),
        f"above {written(points[-1], form)}",
    ]


def _singles(
    seen: Seen,
    spans: Sequence[Span],
    told: Sequence[str],
    counts: tuple[Ints, Ints, Floats],
    gates: Gates,
) -> tuple[list[Cell], int]:
    then, now, expected = counts
    places = np.flatnonzero(standing(now, expected, least=gates.least, lift=gates.lift))
    tails = log_tails(now[places], expected[places], then[places])
    name = seen.column.name
    return [
        Cell(
            where={name: spans[place]},
            told=f"{name} {told[place][:_LONG]}",
            rows=int(now[place]),
            expected=round(float(expected[place]), 2),
            log_p=float(tail),
            loose=bool(then[place]) and not spans[place].missing,
        )
        for place, tail in zip(places.tolist(), tails, strict=True)
    ], len(now)


def _pair(seen: Observed, pair: Pair, now: Ints, gates: Gates) -> Iterator[Cell]:
    then = np.asarray(pair.counts, np.int64)
    wider = inflation(pair.rho, int(then.sum()), int(now.sum()), len(seen.profile.blocks))
    found = list(standing_pairs(then, now, least=gates.least, lift=gates.lift, widening=wider))
    if not found:
        return
    columns = [seen.profile.by_name[name] for name in (pair.first, pair.second)]
    maps = [
        coarse(len(column.bins), pair.join, words=isinstance(column, CategoryColumn))
        for column in columns
    ]
    names = [coarse_bins(column, pair.join) for column in columns]
    words = all(isinstance(column, CategoryColumn) for column in columns)
    loose = words and implied(pair.counts) < _TELLING
    for cell in found:
        told = [
            f"{column.name} {bins[place][:_LONG]}"
            for column, bins, place in zip(columns, names, cell.place, strict=True)
        ]
        yield Cell(
            where={
                column.name: np.flatnonzero(held == place)
                for column, held, place in zip(columns, maps, cell.place, strict=True)
            },
            told=" and ".join(told),
            rows=int(now[cell.place]),
            expected=round(cell.expected, 2),
            log_p=cell.log_p,
            loose=loose and 0 not in cell.place,
        )
