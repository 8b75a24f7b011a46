"""Three columns together, coarsely: in which cells of a few triples the rows lie.

Rows that crowd at one place of many columns lie in one cell of most triples, and a triple has few
enough cells that counts of them are small and add up. About EIGHT cells a column are kept, whatever
its own bins are; which triples, follows from the names alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import combinations, count
from math import comb, prod
from typing import Any

import numpy as np

from guards.data.profiles.nouns import Column, Triple, View, coarse_bins
from guards.data.profiles.tables import Shape, shape_of
from guards.numerics.cells import block_dispersion

MOST = 64
Names = tuple[str, str, str]


def planned_triples(shapes: Mapping[str, Shape], most: int = MOST) -> list[Names]:
    """At most so many triples of the columns, those of numbers alone first.

    What crowds is told best by numbers, which may take two thirds; the rest are of any columns.
    Each column is in about as many as any other of its kind.
    """
    numbers = [name for name, shape in shapes.items() if not shape.words]
    found = _more({}, numbers, 2 * most // 3)
    return list(_more(found, list(shapes), most))


def _more(found: dict[Names, None], names: Sequence[str], most: int) -> dict[Names, None]:
    """The triples with others of these columns, so many in all; the same in whatever order."""
    if comb(len(names), 3) <= most:
        return found | dict.fromkeys(combinations(sorted(names), 3))
    found = dict(found)
    if len(found) >= most:
        return found
    for turn in count():
        order = sorted(names, key=lambda name: sha256(f"{turn} {name}".encode()).digest())
        for three in zip(order[::3], order[1::3], order[2::3], strict=False):
            if len(found) >= most:
                return found
            a, b, c = sorted(three)
            found[a, b, c] = None
    return found


def few(shape: Shape) -> Any:
    """The coarse cell, of about EIGHT, that each code of a column is in: (levels,)."""
    return shape.coarse(shape.few)


def few_bins(column: Column | View) -> tuple[str, ...]:
    """What the coarse cells of a column mean, in order."""
    return coarse_bins(column, shape_of(column).few)


class Triples:
    """Planned triples, and where in them a row lies."""

    def __init__(self, plan: Sequence[Names], shapes: Mapping[str, Shape]) -> None:
        self.plan = tuple(plan)
        self._cells = {name: few(shapes[name]) for three in plan for name in three}
        sizes = [[int(self._cells[name][-1]) + 1 for name in three] for three in plan]
        # Each column's part of a cell's number, in each place that it has in a triple.
        self._parts = [
            [
                (self._cells[name] * prod(size[place + 1 :])).astype(np.uint16)
                for place, name in enumerate(three)
            ]
            for three, size in zip(self.plan, sizes, strict=True)
        ]

    def cell(self, place: int, codes: Mapping[str, Any], rows: slice = slice(None)) -> Any:
        """The cell of one triple that each row is in, (rows,) uint16."""
        first, second, third = (
            part[codes[name][rows]]
            for name, part in zip(self.plan[place], self._parts[place], strict=True)
        )
        return first + second + third


def finished_triples(plan: Sequence[Names], found: Sequence[Any]) -> tuple[Triple, ...]:
    """The triples with their counts, of which `found` has those of every block, (blocks, cells)."""
    return tuple(
        Triple(
            columns=three,
            counts=tuple(counts.sum(axis=0).tolist()),
            rho=round(block_dispersion(counts[:, None]), 6),
        )
        for three, counts in zip(plan, found, strict=True)
    )
