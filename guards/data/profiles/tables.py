"""Which pairs of columns are counted, how finely, and their counts in every block.

Every column against label, source and the categorical columns of fewest values comes first, in the
columns' own bins; then all other pairs, as finely as the room allows, each column in about as many
of them as any other. The plan follows from the columns and the number of rows, not from the counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import log10
from typing import Any

import numpy as np

from guards.data.profiles.nouns import (
    EIGHT,
    JOINS,
    CategoryColumn,
    Column,
    Groups,
    Pair,
    View,
    coarse,
)
from guards.digest import canonical_json
from guards.numerics.cells import block_dispersion, block_movement
from guards.numerics.crosstab import Crosstab

PAIR_BYTES = 480_000
_GROUPED = 0.4  # of the room, for pairs in the columns' own bins
MAX_BY = 10
Planned = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many codes a column has, and whether they are of words."""

    levels: int
    words: bool

    def coarse(self, join: int) -> Any:
        """The cell of a pair that each code is in, (levels,)."""
        return coarse(self.levels, join, words=self.words)

    def cells(self, join: int) -> int:
        """How many cells it has in a pair."""
        return int(self.coarse(join)[-1]) + 1

    @property
    def few(self) -> int:
        """The join that leaves about EIGHT cells, as three columns together have."""
        inner = max(self.levels - (2 if self.words else 3), 1)
        return -(-inner // EIGHT)


class Tables:
    """Counts the planned pairs, and `threes`, in every block, chunk by chunk.

    `counts[i]` are (blocks, cells, cells) of a pair, `triples[i]` (blocks, cells) of three columns
    in :attr:`Shape.few` cells each.
    """

    def __init__(
        self,
        plan: Sequence[Planned],
        shapes: Mapping[str, Shape],
        blocks: int,
        threes: Sequence[tuple[str, ...]] = (),
    ) -> None:
        self.plan = tuple(plan)
        wanted = [((a, join), (b, join)) for a, b, join in plan]
        joined = [tuple((name, shapes[name].few) for name in three) for three in threes]
        used = {key: place for place, key in enumerate(dict.fromkeys(chain(*wanted, *joined)))}
        coarse = [shapes[name].coarse(join).astype(np.uint8) for name, join in used]
        self._maps = [mapped.tobytes().ljust(256, b"\0") for mapped in coarse]
        self._names = [name for name, _ in used]
        levels = [int(mapped[-1]) + 1 for mapped in coarse]
        every = [tuple(used[key] for key in keys) for keys in (*wanted, *joined)]
        self._crosstab = Crosstab(levels, every)
        self._held = [np.zeros((blocks, *(levels[c] for c in keys)), np.int64) for keys in every]
        self._block, self._waiting = 0, False

    @property
    def counts(self) -> list[Any]:
        """The counts of the pairs so far, in the order of the plan."""
        self._settle()
        return self._held[: len(self.plan)]

    @property
    def triples(self) -> list[Any]:
        """The counts of the triples so far, in their order."""
        self._settle()
        return [held.reshape(len(held), -1) for held in self._held[len(self.plan) :]]

    def add(self, codes: Mapping[str, Any], blocks: Sequence[tuple[int, int, int]]) -> None:
        """Count the rows of a chunk: codes (rows,) by column, and which rows are in which block."""
        # bytes.translate looks a code up in a fifth of the time that numpy takes.
        held = [
            np.frombuffer(
                codes[name].astype(np.uint8, copy=False).tobytes().translate(mapped), np.uint8
            )
            for name, mapped in zip(self._names, self._maps, strict=True)
        ]
        for block, first, end in blocks:
            if block != self._block:
                self._settle()
                self._block = block
            self._crosstab.add([column[first:end] for column in held])
            self._waiting = True

    def _settle(self) -> None:
        if not self._waiting:
            return
        self._waiting = False
        for held, counts in zip(self._held, self._crosstab.taken(), strict=True):
            held[self._block] += counts


def planned(
    shapes: Mapping[str, Shape], by: Sequence[str], rows: int, room: int = PAIR_BYTES
) -> list[Planned]:
    """The pairs to count, `by` the columns whose groups are told apart, in order."""
    names, found, used = list(shapes), [], 0.0
    taken: set[frozenset[str]] = set()
    for group in by:
        for name in names:
            cost = _bytes(shapes[group].cells(1) * shapes[name].cells(1), rows)
            pair = frozenset((group, name))
            if name != group and pair not in taken and used + cost <= _GROUPED * room:
                found.append((group, name, 1))
                taken.add(pair)
                used += cost
    sizes = [shape.cells(join) for shape in shapes.values() for join in JOINS]
    most = int(room / _bytes(min(sizes, default=1) ** 2, rows)) + 1  # more never fit
    left = (pair for pair in _around(names) if frozenset(pair) not in taken)
    others = list(islice(left, most + 1))
    for join in JOINS:
        cells = {name: shape.cells(join) for name, shape in shapes.items()}
        costs = [_bytes(cells[a] * cells[b], rows) for a, b in others]
        if used + sum(costs) <= room or join == JOINS[-1]:
            fits = np.cumsum([used, *costs])[1:] <= room
            return [
                *found,
                *((a, b, join) for (a, b), fit in zip(others, fits, strict=True) if fit),
            ]
    return found


def groupings(columns: Mapping[str, Any], special: Sequence[str]) -> list[str]:
    """Label and source first, then the categorical columns of fewest values; MAX_BY at most.

    `columns` are `(cells, values)` of the categorical ones: rows of each bin, and how many values.
    """
    known = [
        name
        for name, (cells, _) in columns.items()
        if len(cells) > 3 and cells[-1] <= (sum(cells) - cells[0]) / 2
    ]
    known.sort(key=lambda name: (name not in special, columns[name][1]))
    return known[:MAX_BY]


def finished(tables: Tables, room: int = PAIR_BYTES) -> tuple[Pair, ...]:
    """The pairs, those planned last left out where the counts take more room than was thought."""
    pairs, used = [], 0
    for (first, second, join), blocks in zip(tables.plan, tables.counts, strict=True):
        rho = block_dispersion(blocks.reshape(len(blocks), 1, -1))
        counts = tuple(map(tuple, blocks.sum(axis=0).tolist()))
        used += len(canonical_json(counts))
        if used > room:
            break
        pairs.append(Pair(first=first, second=second, join=join, counts=counts, rho=round(rho, 6)))
    return tuple(pairs)


def dispersions(tables: Tables, by: Sequence[str], kept: Sequence[Pair]) -> Iterator[Groups]:
    """How the groups of the columns `by` moved between the blocks, in every pair that was kept."""
    for pair, blocks in zip(kept, tables.counts, strict=False):
        for group, column, turned in (
            (pair.first, pair.second, False),
            (pair.second, pair.first, True),
        ):
            if pair.join == 1 and group in by:
                rho, moved = block_movement(blocks.transpose(0, 2, 1) if turned else blocks)
                yield Groups(
                    column=column,
                    by=group,
                    rho=round(rho, 6),
                    moved=tuple(round(float(share), 4) for share in moved),
                )


def shape_of(column: Column | View) -> Shape:
    """The shape of a finished column."""
    return Shape(levels=len(column.bins), words=isinstance(column, CategoryColumn))


def _around(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All pairs, those of neighbours first, then those two apart, in a ring."""
    many = len(names)
    for apart in range(1, many // 2 + 1):
        for first in range(many):
            for second in sorted({first + apart, first + many - apart}):
                if second < many:
                    yield names[first], names[second]


def _bytes(cells: int, rows: int) -> float:
    """About how long so many counts of so many rows are: a comma, and the digits of most."""
    return cells * (2 + log10(max(1.0, rows / cells)))
