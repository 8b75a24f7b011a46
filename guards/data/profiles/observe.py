"""A batch as a stored profile sees it: counts at its points and in its cells, which add exactly.

Nothing here is estimated: of every column the rows at most each stored point, of each listed value
and in each cell, and of each stored pair of columns the rows in each cell of both. Counts of parts
add up to those of the whole, so a batch looks the same in any order and in any number of shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.coded import Coded, coded
from guards.data.dataset import Dataset
from guards.data.profiles import tally
from guards.data.profiles.chunks import Chunk, Moments, Tokens, chunks
from guards.data.profiles.gather import numeric_codes, word_codes
from guards.data.profiles.measures import block_moments, short
from guards.data.profiles.nouns import (
    RARE,
    CategoryColumn,
    Column,
    NumericColumn,
    Profile,
    TextColumn,
    VectorColumn,
)
from guards.data.profiles.tables import Tables, shape_of
from guards.data.profiles.values import MARKS, Kind, kinds
from guards.data.profiles.views import ViewCounts, view_codes
from guards.numerics.cells import moved_shares
from guards.numerics.sketches import counted

if TYPE_CHECKING:
    import polars as pl

    Codes = np.ndarray[Any, np.dtype[np.uint8]]
    Ints = np.ndarray[Any, np.dtype[np.int64]]
    Floats = np.ndarray[Any, np.dtype[np.float64]]

_WORDS = 1 << 17  # that are put into the dictionary together
_TOLD = 20  # of the unlisted values, by name
_APART = 0.5  # of a column that is a clock: most rows of a block lie elsewhere than the others'


def _no_rows() -> Ints:
    return np.zeros(0, np.int64)


def _no_numbers() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One column of a batch against the stored `column`.

    `count`, `nulls`, `nans` and `infinite` are as there; `cells` (bins,) the rows in its bins. Of
    numbers, lengths and norms: `below` and `upto` (points,) are rows less than each stored point
    and at most it, `low` and `high` the extremes. Of categories and tokens: `listed` (values,) are
    the rows of each listed value; `unlisted` (of categories) are all rows of other values,
    `new` how many other values there are, and `commonest` those of them with most rows. Of texts
    `marks`; of vectors `mean`, `variance` (d,), `odd`, and of each view the rows in its bins.
    """

    column: Column
    count: int
    nulls: int
    nans: int = 0
    infinite: tuple[int, int] = (0, 0)
    cells: Ints
    below: Ints = field(default_factory=_no_rows)
    upto: Ints = field(default_factory=_no_rows)
    low: float | None = None
    high: float | None = None
    listed: Ints = field(default_factory=_no_rows)
    unlisted: int = 0
    new: int = 0
    commonest: tuple[tuple[str, int], ...] = ()
    marks: Mapping[str, int] = field(default_factory=dict)
    mean: Floats = field(default_factory=_no_numbers)
    variance: Floats = field(default_factory=_no_numbers)
    odd: int = 0
    views: tuple[Ints, ...] = ()

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.nulls + self.nans


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A batch of `rows` rows in the cells of `profile`.

    `columns` are those of one kind in both; `gone` are in the profile and not in the batch,
    `added` the other way round, `unlike` in both and of another kind. `tables` are the counts of
    `profile.pairs` and `triples` those of `profile.triples`, each in their order, None where a
    column is gone or unlike.
    """

    profile: Profile
    rows: int
    columns: Mapping[str, Seen]
    gone: tuple[str, ...]
    added: tuple[str, ...]
    unlike: tuple[str, ...]
    tables: tuple[Ints | None, ...]
    triples: tuple[Ints | None, ...]

    def table(self, by: str, column: str) -> Ints | None:
        """Rows of each of `by`'s bins in each of `column`'s; as `Profile.table`."""
        place = self.profile.whole.get(frozenset((by, column)))
        counts = None if place is None else self.tables[place]
        if place is None or counts is None:
            return None
        return counts if self.profile.pairs[place].first == by else counts.T


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Some rows of a batch, from global row `start` on: codes and plain values by column."""

    start: int
    codes: Mapping[str, Codes]
    values: Mapping[str, pl.Series]


def encoded(dataset: Dataset, profile: Profile, names: Sequence[str]) -> Iterator[Encoded]:
    """The named columns in the bins of `profile`, a chunk at a time: to say which rows it was.

    Columns that are not of one kind in both are left out; a name may be that of a view.
    """
    found = kinds(dataset)
    wanted = dict.fromkeys(profile.owner(name) for name in names)
    alike = [found[n] for n in wanted if n in found and not unlike(profile.by_name[n], found[n])]
    widths = {
        kind.name: len(column.mean)
        for kind in alike
        if isinstance(column := profile.by_name[kind.name], VectorColumn) and column.mean
    }
    for chunk in chunks(dataset, alike, widths) if alike else ():
        codes = {k.name: _encode(profile.by_name[k.name], chunk) for k in alike}
        views = _view_codes(profile, chunk)
        codes = {n: held for n, held in {**views, **codes}.items() if n in names}
        values = {kind.name: chunk.series(kind.name) for kind in alike}
        yield Encoded(start=chunk.start, codes=codes, values=values)


def _view_codes(profile: Profile, chunk: Chunk) -> dict[str, Codes]:
    found: dict[str, Codes] = {}
    for name, places in chunk.views.items():
        column = profile.by_name[name]
        if isinstance(column, VectorColumn):
            codes = view_codes(places, [view.edges for view in column.views])
            found |= zip((view.name for view in column.views), codes, strict=True)
    return found


def encode(column: Column, values: pl.Series) -> Codes:
    """Say of each value in which of `column.bins` it falls, (n,).

    Values are as :func:`guards.data.profiles.values.plain` gives them; lengths, norms for texts
    and vectors.
    """
    if isinstance(column, CategoryColumn):
        return word_codes(coded(values), column.groups)
    numeric = values.dtype.is_numeric()
    numbers: Floats = values.to_numpy() if numeric else np.full(len(values), np.nan)
    return numeric_codes(numbers, numeric_part(column).edges)


def _encode(column: Column, chunk: Chunk) -> Codes:
    if isinstance(column, CategoryColumn):
        return word_codes(chunk.coded(column.name), column.groups)
    return numeric_codes(_numbers(chunk, column.name), numeric_part(column).edges)


def numeric_part(column: NumericColumn | TextColumn | VectorColumn) -> NumericColumn:
    """The column of numbers that stands for it: itself, its lengths or its norms."""
    match column:
        case TextColumn():
            return column.length
        case VectorColumn():
            return column.norm
    return column


def steady_views(seen: Seen, moved: float) -> set[str]:
    """The names of the views of a column of vectors of which :func:`steady` is true."""
    views = seen.column.views if isinstance(seen.column, VectorColumn) else ()
    return {
        view.name
        for view, now in zip(views, seen.views, strict=True)
        if float(moved_shares([view.cells], [now])[0]) < moved and view.spread < _APART
    }


def steady(seen: Seen, moved: float) -> bool:
    """Whether a column tells where rows lie: less than a share of `moved` is elsewhere as a whole.

    One whose blocks lie apart in the reference itself is a clock or a counter, and tells only when
    the rows were written.
    """
    column = seen.column
    part = column if isinstance(column, CategoryColumn) else numeric_part(column)
    gone = float(moved_shares([column.cells], [seen.cells])[0])
    return gone < moved and part.spread < _APART


def unlike(column: Column, kind: Kind) -> bool:
    """Whether a column of this kind cannot be held against the stored one."""
    if "Null" in (column.type, kind.type):
        return False
    stored = {NumericColumn: "numeric", CategoryColumn: "category", TextColumn: "text"}
    form = column.form if isinstance(column, NumericColumn) else "number"
    if isinstance(column, TextColumn) and column.type.startswith(("List(", "Array(")):
        form = "list"
    return (stored.get(type(column), "vector"), form) != (kind.kind, kind.form)


class Observer:
    """Counts a batch, chunk by chunk, in the cells of a profile."""

    def __init__(self, profile: Profile, found: Mapping[str, Kind]) -> None:
        self.profile, self._found = profile, found
        same = [c for c in profile.columns if c.name in found and not unlike(c, found[c.name])]
        self._watchers = {column.name: _watcher(column) for column in same}
        self._places = [
            place
            for place, pair in enumerate(profile.pairs)
            if pair.first in self._watchers and pair.second in self._watchers
        ]
        plan = [profile.pairs[place] for place in self._places]
        shapes = {column.name: shape_of(column) for column in same}
        self._views = {
            column.name: ViewCounts(column.name, 1, column.views)
            for column in same
            if isinstance(column, VectorColumn)
        }
        views = {name: shape for one in self._views.values() for name, shape in one.shapes.items()}
        every = {**views, **shapes}
        self._threes = [t.columns for t in profile.triples if set(t.columns) <= every.keys()]
        pairs = [(pair.first, pair.second, pair.join) for pair in plan]
        self._tables = Tables(pairs, every, 1, self._threes)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return tuple(self._watchers)

    def add(self, chunk: Chunk) -> None:
        """Count the rows of a chunk."""
        codes = {name: watcher.add(chunk) for name, watcher in self._watchers.items()}
        views = {n: held for one in self._views.values() for n, held in one.add(chunk).items()}
        self._tables.add({**views, **codes}, ((0, 0, chunk.rows),))

    def finish(self, rows: int) -> Observed:
        """The batch of so many rows."""
        stored = self.profile.by_name
        tables: list[Ints | None] = [None] * len(self.profile.pairs)
        for place, counts in zip(self._places, self._tables.counts, strict=True):
            tables[place] = counts[0]
        counted = [counts[0] for counts in self._tables.triples]
        triples = dict(zip(self._threes, counted, strict=True))
        return Observed(
            profile=self.profile,
            rows=rows,
            columns={name: self._seen(name) for name in self._watchers},
            gone=tuple(name for name in stored if name not in self._found),
            added=tuple(name for name in self._found if name not in stored),
            unlike=tuple(n for n in stored if n in self._found and n not in self._watchers),
            tables=tuple(tables),
            triples=tuple(triples.get(triple.columns) for triple in self.profile.triples),
        )

    def _seen(self, name: str) -> Seen:
        views = self._views[name].counts() if name in self._views else ()
        return replace(self._watchers[name].finish(), views=views)


class _Dictionary:
    """Counts the listed words exactly, and remembers the others as a profile would."""

    def __init__(self, values: Sequence[str]) -> None:
        self._values, self._known = values, tally.EMPTY
        self._listed = np.zeros(len(values), np.int64)
        self._waiting: list[pl.DataFrame] = []

    def add(self, parts: Sequence[pl.DataFrame]) -> None:
        self._waiting += parts
        if sum(part.height for part in self._waiting) >= _WORDS:
            self._settle()

    def _settle(self) -> None:
        import polars as pl

        if self._waiting:
            seen = tally.Tally(frame=pl.concat(self._waiting))
            self._listed += tally.by_block(seen, self._values, 1)[0]
            self._known = tally.added(self._known, self._waiting)
            self._waiting = []

    def told(self) -> dict[str, Any]:
        import polars as pl

        self._settle()
        others = self._known.totals.filter(~pl.col("value").is_in(list(self._values)))
        common = others.filter(pl.col("count") >= RARE).head(_TOLD)
        return {
            "listed": self._listed,
            "new": others.height,
            "commonest": tuple(common.iter_rows()),
        }


class _Numbers:
    """Counts numbers, or the lengths and norms that stand for a text and a vector."""

    def __init__(self, column: NumericColumn | TextColumn | VectorColumn) -> None:
        self.column, self._part = column, numeric_part(column)
        self._points, self._edges = np.asarray(self._part.points), np.asarray(self._part.edges)
        self._below, self._upto = (np.zeros(len(self._points), np.int64) for _ in range(2))
        self._count = self._nulls = self._nans = 0
        self._infinite = np.zeros(2, np.int64)
        self._low, self._high = np.inf, -np.inf
        self._cells = np.zeros(len(self._part.bins), np.int64)
        self._tokens = _Dictionary(column.tokens if isinstance(column, TextColumn) else ())
        self._marks = dict.fromkeys(MARKS, 0)
        self._moments: list[Moments] = []

    def add(self, chunk: Chunk) -> Codes:
        numbers = _numbers(chunk, self.column.name)
        finite = np.isfinite(numbers)
        ordered = np.sort(numbers if finite.all() else numbers[finite])
        below, upto = counted(ordered, self._points)
        self._below, self._upto = self._below + below, self._upto + upto
        self._count += len(ordered)
        cuts = np.searchsorted(ordered, self._edges)
        self._cells[1:] += np.diff(cuts, prepend=0, append=len(ordered))
        if len(ordered) < len(numbers):
            self._others(numbers, chunk.series(self.column.name).null_count())
        if len(ordered):
            self._low = min(self._low, float(ordered[0]))
            self._high = max(self._high, float(ordered[-1]))
        self._strips(chunk.strips.get(self.column.name, ()))
        return numeric_codes(numbers, self._edges)

    def _others(self, numbers: Floats, nulls: int) -> None:
        missing = int(np.isnan(numbers).sum())
        self._nulls += nulls
        self._nans += missing - nulls
        least, most = (int((numbers == end).sum()) for end in (-np.inf, np.inf))
        self._infinite += [least, most]
        self._cells[0] += missing
        self._cells[1] += least
        self._cells[-1] += most

    def _strips(self, strips: Sequence[Tokens | Moments]) -> None:
        words = [strip for strip in strips if isinstance(strip, Tokens)]
        if words:
            self._tokens.add([tally.in_block(strip.tally, 0) for strip in words])
            self._marks = {n: self._marks[n] + sum(w.marks[n] for w in words) for n in MARKS}
        self._moments += [strip for strip in strips if isinstance(strip, Moments)]

    def finish(self) -> Seen:
        more: dict[str, Any] = {}
        if isinstance(self.column, TextColumn):
            more = {**self._tokens.told(), "marks": self._marks}
        elif isinstance(self.column, VectorColumn):
            more = _summed(self._moments, len(self.column.mean))
        return Seen(
            column=self.column,
            count=self._count,
            nulls=self._nulls,
            nans=self._nans,
            infinite=(int(self._infinite[0]), int(self._infinite[1])),
            cells=self._cells,
            below=self._below,
            upto=self._upto,
            low=self._low if self._count else None,
            high=self._high if self._count else None,
            **more,
        )


class _Words:
    """Counts categories: by place, while chunks have the same list of words, and then by word."""

    def __init__(self, column: CategoryColumn) -> None:
        self.column, self._values = column, _Dictionary(column.values)
        self._cells = np.zeros(len(column.bins), np.int64)
        self._list: Coded | None = None
        self._rows = np.zeros(0, np.int64)
        self._codes: Codes = np.zeros(0, np.uint8)

    def add(self, chunk: Chunk) -> Codes:
        words = chunk.coded(self.column.name)
        if self._list is None or not words.known.equals(self._list.known):
            self._settle()
            self._list = words.each()
            self._codes = word_codes(self._list, self.column.groups)
            self._rows = np.zeros(len(self._codes), np.int64)
        self._rows += np.bincount(words.places, minlength=len(self._rows))
        found: Codes = self._codes[words.places]
        return found

    def _settle(self) -> None:
        if self._list is not None:
            self._values.add([tally.in_block(self._list.counted(self._rows), 0)])
            np.add.at(self._cells, self._codes, self._rows)

    def finish(self) -> Seen:
        self._settle()
        self._list = None
        told, count = self._values.told(), int(self._cells[1:].sum())
        return Seen(
            column=self.column,
            count=count,
            nulls=int(self._cells[0]),
            cells=self._cells,
            unlisted=count - int(told["listed"].sum()),
            **told,
        )


def _watcher(column: Column) -> _Numbers | _Words:
    return _Words(column) if isinstance(column, CategoryColumn) else _Numbers(column)


def _numbers(chunk: Chunk, name: str) -> Floats:
    """The values as numbers; a column of nothing but nulls has none, whatever its type is."""
    held = chunk.numbers.get(name)
    found: Floats = np.full(chunk.rows, np.nan) if held is None else held.to_numpy()
    return found


def _summed(moments: Sequence[Moments], width: int) -> dict[str, Any]:
    """Mean and variance (d,), to the digits that do not depend on the order of the rows."""
    held = [part for part in moments if part.count and len(part.total) == width]
    total = sum((part.total for part in held), np.zeros(width))
    squares = sum((part.squares for part in held), np.zeros(width))
    count = np.array([sum(part.count for part in held)])
    mean, variance, _ = block_moments(count, total[None], squares[None])
    return {
        "mean": np.array(list(map(short, mean))),
        "variance": np.array(list(map(short, variance))),
        "odd": sum(part.odd for part in moments),
    }
