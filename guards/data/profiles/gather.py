"""What is kept of each column while a dataset passes by: one gatherer for each kind of column.

A gatherer takes the chunks of :mod:`guards.data.profiles.chunks` in order, answers each with the
codes of its values (which cell each row is in), and gives its column in the end. The cells are
settled by the first chunk, or taken from the column of another profile, and never move afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.coded import Coded
from guards.data.profiles import tally
from guards.data.profiles.chunks import Chunk, Moments, Tokens, one_chunk
from guards.data.profiles.measures import (
    block_moments,
    largest_distance,
    lettered,
    plainly,
    rate_spread,
    short,
    word_novelty,
    word_variation,
)
from guards.data.profiles.nouns import (
    BINS,
    GROUPS,
    POINTS,
    CategoryColumn,
    Column,
    NumericColumn,
    TextColumn,
    VectorColumn,
)
from guards.data.profiles.values import MARKS, Kind
from guards.data.profiles.views import ViewCounts
from guards.numerics.cells import block_movement
from guards.numerics.decimals import cell_edges, codes_of
from guards.numerics.sketches import (
    REGISTERS,
    Steps,
    collapsed,
    counted,
    exact_steps,
    hashed_numbers,
    push,
    quantiles,
    registers,
    thinned,
)

if TYPE_CHECKING:
    Codes = np.ndarray[Any, np.dtype[np.uint8]]

# Points of one chunk's distribution function on the way: four times as fine as what is written.
_ON_THE_WAY = 4 * POINTS
_MARKS = 256  # where the distribution functions of blocks are compared
_SLACK = 1 / 8
_FINE = 4.0  # points for each square root of a row, where points are no whole numbers
_LEAST = 64
_UNITS = {"moment": 86_400.0, "clock": 3_600.0}  # seconds, of which edges are simple numbers


class Numbers:
    """Gathers a column of numbers."""

    def __init__(self, kind: Kind, blocks: int, rows: int, like: NumericColumn | None) -> None:
        self.kind = kind
        self.edges = np.asarray(like.edges) if like else np.empty(0)
        self._settled, self._single = like is not None, one_chunk(rows)
        self._marks = np.empty(0)
        self._levels: tuple[tuple[Steps, ...], ...] = ()
        self._upto = np.zeros((blocks, 0), np.int64)
        self._held, self._nulls, self._rows = (np.zeros(blocks, np.int64) for _ in range(3))
        self._nans, self._infinite = 0, np.zeros(2, np.int64)
        self._registers = np.zeros(REGISTERS, np.int64)
        self.cells = np.zeros(len(self.edges) + 2, np.int64)
        self._low, self._high = np.inf, -np.inf

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return len(self.edges) + 2

    def add(self, chunk: Chunk) -> Codes:
        """Take a chunk; returns the codes of its values, (rows,)."""
        values = chunk.numbers[self.kind.name]
        numbers = values.to_numpy()
        parts = {}
        for block, first, end in chunk.blocks:
            some = numbers[first:end]
            parts[block] = np.sort(some[np.isfinite(some)])
            self._nulls[block] += values[first:end].null_count()
            self._rows[block] += end - first
        ordered = np.concatenate(list(parts.values()))
        if len(parts) > 1:
            ordered.sort()
        steps = exact_steps(ordered)
        self._settle(steps)
        for block, some in parts.items():
            self._held[block] += len(some)
            self._upto[block] += counted(some, self._marks)[1]
        return self._keep(steps, numbers, values.null_count())

    def finish(self) -> NumericColumn:
        """The column."""
        steps = collapsed(self._levels)
        whole = bool((steps.points == np.floor(steps.points)).all())
        fine = POINTS if whole else int(np.clip(_FINE * np.sqrt(steps.rows), _LEAST, POINTS))
        kept = thinned(steps, fine, slack=_SLACK)
        return NumericColumn(
            name=self.kind.name,
            type=self.kind.type,
            form=self.kind.form,
            count=steps.rows,
            nulls=int(self._nulls.sum()),
            nans=self._nans,
            infinite=(int(self._infinite[0]), int(self._infinite[1])),
            low=plainly(self._low) if steps.rows else None,
            high=plainly(self._high) if steps.rows else None,
            points=tuple(map(plainly, kept.points)),
            weights=tuple(kept.weights.tolist()),
            error=kept.error,
            edges=tuple(map(plainly, self.edges)),
            cells=tuple(self.cells.tolist()),
            distinct=lettered(self._registers),
            spread=largest_distance(self._upto, self._held),
            null_spread=rate_spread(self._nulls, self._rows),
        )

    def _settle(self, steps: Steps) -> None:
        """Decide, at the first chunk, where the cells are and where blocks are compared."""
        if not len(self._marks) and len(steps.points):
            self._marks = np.unique(quantiles(steps, np.arange(_MARKS + 1) / _MARKS))
            self._upto = np.zeros((len(self._held), len(self._marks)), np.int64)
        if not self._settled:
            unit = _UNITS.get(self.kind.form, 1.0)
            self.edges = cell_edges(steps.points / unit, steps.weights, BINS) * unit
            self.cells, self._settled = np.zeros(len(self.edges) + 2, np.int64), True

    def _keep(self, steps: Steps, numbers: Any, nulls: int) -> Codes:
        part = steps if self._single else thinned(steps, _ON_THE_WAY)
        self._levels = push(self._levels, part, _ON_THE_WAY)
        self._registers = np.maximum(self._registers, registers(hashed_numbers(steps.points)))
        if len(steps.points):
            self._low = min(self._low, float(steps.points[0]))
            self._high = max(self._high, float(steps.points[-1]))
        codes = numeric_codes(numbers, self.edges)
        if steps.rows < len(numbers):
            self._nans += int(np.isnan(numbers).sum()) - nulls
            self._infinite += [(numbers == -np.inf).sum(), (numbers == np.inf).sum()]
        self.cells += np.bincount(codes, minlength=len(self.cells))
        return codes


class Words:
    """Gathers a column of categories."""

    def __init__(self, kind: Kind, blocks: int, like: CategoryColumn | None) -> None:
        self.kind = kind
        self.groups = like.groups if like else ()
        self._settled = like is not None
        self._tally = tally.EMPTY
        self._nulls, self._rows = (np.zeros(blocks, np.int64) for _ in range(2))
        self._registers = np.zeros(REGISTERS, np.int64)
        self.cells = np.zeros(len(self.groups) + 2, np.int64)

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return len(self.groups) + 2

    @property
    def values(self) -> int:
        """How many values are in the dictionary."""
        return self._tally.size

    def add(self, chunk: Chunk) -> Codes:
        """Take a chunk; returns the codes of its values, (rows,)."""
        words = chunk.words[self.kind.name]
        seen = []
        for block, first, end in chunk.blocks:
            some = words.part(first, end)
            self._nulls[block] += some.missing()
            self._rows[block] += end - first
            seen.append(tally.counted(some, block))
        self._registers = np.maximum(self._registers, tally.distinct_registers(seen))
        self._tally = tally.added(self._tally, seen)
        if not self._settled:
            self.groups, self._settled = tally.listed(self._tally, GROUPS).values, True
            self.cells = np.zeros(len(self.groups) + 2, np.int64)
        codes = word_codes(words, self.groups)
        self.cells += np.bincount(codes, minlength=len(self.cells))
        return codes

    def finish(self) -> CategoryColumn:
        """The column."""
        kept, held = tally.listed(self._tally), self._rows - self._nulls
        rows = tally.matrix(self._tally, len(held))
        return CategoryColumn(
            name=self.kind.name,
            type=self.kind.type,
            count=int(held.sum()),
            nulls=int(self._nulls.sum()),
            values=kept.values,
            counts=kept.counts,
            rest=int(held.sum()) - sum(kept.counts),
            bound=kept.bound,
            error=kept.error,
            groups=self.groups,
            cells=tuple(self.cells.tolist()),
            distinct=lettered(self._registers),
            spread=word_variation(rows, held),
            null_spread=rate_spread(self._nulls, self._rows),
            new_spread=word_novelty(rows, self._rows),
        )


class Texts:
    """Gathers a column of running text."""

    def __init__(self, kind: Kind, blocks: int, rows: int, like: TextColumn | None) -> None:
        self.kind = kind
        lengths = replace(kind, form="number")
        self.length = Numbers(lengths, blocks, rows, like.length if like else None)
        self._tally = tally.EMPTY
        self._marks = dict.fromkeys(MARKS, 0)
        self._texts = np.zeros(blocks, np.int64)

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return self.length.levels

    @property
    def cells(self) -> Any:
        """Rows with each code so far."""
        return self.length.cells

    def add(self, chunk: Chunk) -> Codes:
        """Take a chunk; returns the codes of the lengths, (rows,)."""
        strips = [strip for strip in chunk.strips[self.kind.name] if isinstance(strip, Tokens)]
        for strip in strips:
            self._marks = {name: self._marks[name] + strip.marks[name] for name in MARKS}
        for block, first, end in chunk.blocks:
            self._texts[block] += chunk.numbers[self.kind.name][first:end].count()
        seen = [tally.in_block(strip.tally, strip.block) for strip in strips]
        self._tally = tally.added(self._tally, seen)
        return self.length.add(chunk)

    def finish(self) -> TextColumn:
        """The column."""
        kept = tally.listed(self._tally)
        rows = tally.by_block(self._tally, kept.values, len(self._texts))
        others = np.maximum(self._texts[:, None] - rows, 0)
        rho, moved = block_movement(np.stack([rows, others], axis=2))
        return TextColumn(
            name=self.kind.name,
            type=self.kind.type,
            length=self.length.finish(),
            tokens=kept.values,
            counts=kept.counts,
            bound=kept.bound,
            error=kept.error,
            marks=self._marks,
            rho=round(rho, 6),
            spread=round(float(moved.max(initial=0.0)), 6),
        )


class Vectors:
    """Gathers a column of vectors."""

    def __init__(self, kind: Kind, blocks: int, rows: int, like: VectorColumn | None) -> None:
        self.kind = kind
        self.norm = Numbers(kind, blocks, rows, like.norm if like else None)
        self.views = ViewCounts(kind.name, blocks, like.views if like else ())
        self._odd = 0
        self._count = np.zeros(blocks, np.int64)
        self._total: Any = np.zeros((blocks, 0))
        self._squares: Any = np.zeros((blocks, 0))

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return self.norm.levels

    @property
    def cells(self) -> Any:
        """Rows with each code so far."""
        return self.norm.cells

    def add(self, chunk: Chunk) -> Codes:
        """Take a chunk; returns the codes of the norms, (rows,)."""
        strips = [strip for strip in chunk.strips[self.kind.name] if isinstance(strip, Moments)]
        for strip in strips:
            self._odd += strip.odd
            if not strip.count:
                continue
            if not self._total.shape[1]:
                self._total = np.zeros((len(self._count), len(strip.total)))
                self._squares = np.zeros_like(self._total)
            self._count[strip.block] += strip.count
            self._total[strip.block] += strip.total
            self._squares[strip.block] += strip.squares
        return self.norm.add(chunk)

    def finish(self) -> VectorColumn:
        """The column."""
        mean, variance, spread = block_moments(self._count, self._total, self._squares)
        return VectorColumn(
            name=self.kind.name,
            type=self.kind.type,
            norm=self.norm.finish(),
            odd=self._odd,
            mean=tuple(map(short, mean)),
            variance=tuple(map(short, variance)),
            spread=spread,
            views=self.views.finish(),
        )


Gatherer = Numbers | Words | Texts | Vectors


def gatherer(kind: Kind, blocks: int, rows: int, like: Column | None) -> Gatherer:
    """An empty gatherer for a column; cells as in `like`, if that is of the same kind."""
    match kind.kind:
        case "category":
            return Words(kind, blocks, like if isinstance(like, CategoryColumn) else None)
        case "text":
            return Texts(kind, blocks, rows, like if isinstance(like, TextColumn) else None)
        case "vector":
            return Vectors(kind, blocks, rows, like if isinstance(like, VectorColumn) else None)
    if isinstance(like, NumericColumn) and like.form == kind.form:
        return Numbers(kind, blocks, rows, like)
    return Numbers(kind, blocks, rows, None)


def numeric_codes(numbers: Any, edges: Any) -> Codes:
    """The bin of each number, (n,): 0 for NaN, 1 below the first edge, and so on."""
    codes = codes_of(numbers, edges)
    codes += 1
    missing = np.isnan(numbers)
    if missing.any():
        codes[missing] = 0
    return codes


def word_codes(words: Coded, groups: Sequence[str]) -> Codes:
    """The bin of each word, (n,): 0 for null, then the groups, then any other."""
    import polars as pl

    own = words.known.replace_strict(
        pl.Series(groups, dtype=pl.String),
        pl.Series(range(1, len(groups) + 1), dtype=pl.UInt8),
        default=len(groups) + 1,
        return_dtype=pl.UInt8,
    )
    codes: Codes = np.append(own.to_numpy(), np.uint8(0))[words.places]
    return codes
