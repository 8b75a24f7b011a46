"""Views of a column of vectors: where they lie along a few fixed directions, to count crowds in.

Norm and moments say little about where a vector lies. A view is the vector's place along one of
the directions of :mod:`guards.numerics.directions`, counted in about EIGHT cells; three views
together are counted as three columns are (:mod:`guards.data.profiles.triples`), and views are
nothing else: no pair and no finding of drift is of them. A column of the table that bears the name
of a view goes before it, in every mapping by name: views first, then columns over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from guards.data.profiles.chunks import Chunk
from guards.data.profiles.measures import largest_distance, plainly
from guards.data.profiles.nouns import EIGHT, VIEWS, View, view_name
from guards.data.profiles.tables import Shape
from guards.numerics.decimals import cell_edges, codes_of
from guards.numerics.sketches import exact_steps

EACH = 32  # triples of the views of one column
MOST_OF_VIEWS = 256  # of all columns together
Names = tuple[str, str, str]


def planned_views(names: Iterable[str]) -> list[Names]:
    """The triples of the views of so many columns of vectors, each column's own, in order."""
    found = [
        (view_name(name, a), view_name(name, b), view_name(name, c))
        for name in sorted(names)
        for a, b, c in _covering()
    ]
    return found[: MOST_OF_VIEWS // EACH * EACH]


@cache
def _covering() -> tuple[tuple[int, int, int], ...]:
    """EACH triples of the numbers of views: every two of these are in about as many as others."""
    left, used = list(combinations(range(1, VIEWS + 1), 3)), Counter[tuple[int, int]]()
    found: list[tuple[int, int, int]] = []
    while left and len(found) < EACH:
        weights = [sum(4 ** used[pair] for pair in combinations(three, 2)) for three in left]
        found.append(left.pop(weights.index(min(weights))))
        used.update(combinations(found[-1], 2))
    return tuple(sorted(found))


def view_codes(places: Any, edges: Sequence[Any]) -> list[Any]:
    """The bin of each row in each view, (rows,) each: 0 where there is no vector.

    `places` (rows, VIEWS) is of a chunk, `edges` of each view.
    """
    found = []
    for own, cuts in zip(np.asarray(places).T, edges, strict=True):
        numbers = own.astype(np.float64)
        codes = codes_of(numbers, cuts) + np.uint8(1)
        codes[np.isnan(numbers)] = 0
        found.append(codes)
    return found


class ViewCounts:
    """Counts a column's views, in every block or in all as one; the first chunk settles cells."""

    def __init__(self, name: str, blocks: int, like: Sequence[View] = ()) -> None:
        self.name, self._blocks = name, blocks
        self._edges: list[Any] = []
        self._cells: list[Any] = []
        self._settle([np.asarray(view.edges) for view in like])

    @property
    def shapes(self) -> dict[str, Shape]:
        """How many codes each view has, by its name."""
        return {
            view_name(self.name, number): Shape(levels=len(edges) + 2, words=False)
            for number, edges in enumerate(self._edges, start=1)
        }

    def add(self, chunk: Chunk) -> dict[str, Any]:
        """Take a chunk; returns the codes of each view, (rows,), by its name."""
        # A column of nothing but nulls is like any other, and has no vectors.
        nowhere = np.full((chunk.rows, VIEWS), np.nan, np.float32)
        places = chunk.views.get(self.name, nowhere)
        if not self._edges:
            self._settle([_cut(own) for own in places.T])
        codes = view_codes(places, self._edges)
        for cells, own in zip(self._cells, codes, strict=True):
            for block, first, end in chunk.blocks:
                held = np.bincount(own[first:end], minlength=cells.shape[1])
                cells[block % self._blocks] += held
        return dict(zip(self.shapes, codes, strict=True))

    def counts(self) -> tuple[Any, ...]:
        """Rows in each bin of each view, (bins,) each."""
        return tuple(cells.sum(axis=0) for cells in self._cells)

    def finish(self) -> tuple[View, ...]:
        """The views."""
        return tuple(
            View(
                name=name,
                edges=tuple(map(plainly, edges)),
                cells=tuple(cells.sum(axis=0).tolist()),
                spread=view_spread(cells),
            )
            for name, edges, cells in zip(self.shapes, self._edges, self._cells, strict=True)
        )

    def _settle(self, edges: list[Any]) -> None:
        self._edges = edges
        self._cells = [np.zeros((self._blocks, len(own) + 2), np.int64) for own in edges]


def view_spread(cells: Any) -> float:
    """How far one block lies from the others, from the rows of each bin, (blocks, bins)."""
    upto = np.cumsum(cells[:, 1:], axis=1)
    return largest_distance(upto, upto[:, -1])


def _cut(places: Any) -> Any:
    numbers = places[np.isfinite(places)].astype(np.float64)
    steps = exact_steps(np.sort(numbers))
    return cell_edges(steps.points, steps.weights, EIGHT)
