"""Counts of many pairs and triples of columns at once: how often their codes come together.

Counting costs the same for two columns as for four, as long as the counts stay in the cache. So
columns are put into sets, each wanted pair or triple into one, a set with as many of them as it can
hold; what is counted are the codes of a set together, and a pair is a sum of those over the others.
Fifty columns of a dozen codes, each with twenty others, take a quarter of the counting.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.unsignedinteger[Any]]
Columns = tuple[int, ...]
# The cells of a set: four columns of a dozen codes, whose counts stay in the cache.
CELLS = 12**4
_AT_ONCE = 1 << 16  # rows


class Crosstab:
    """Counts the wanted tuples of columns, of which column i has `levels[i]` codes."""

    def __init__(self, levels: Sequence[int], wanted: Sequence[Columns]) -> None:
        self._levels, self._wanted = list(levels), [tuple(columns) for columns in wanted]
        self.sets = sorted(_covering(self._levels, self._wanted))
        self._sizes = [[self._levels[column] for column in held] for held in self.sets]
        self._counts = [np.zeros(prod(size), np.int64) for size in self._sizes]
        self._used = sorted({column for held in self.sets for column in held})
        self._homes = _homes(self.sets, self._wanted)

    def add(self, codes: Sequence[npt.NDArray[Any]]) -> None:
        """Count rows: `codes[i]` (n,) are at least 0 and less than `levels[i]`."""
        rows = len(codes[0]) if codes else 0
        # The same memory for every set: new pages would cost as much as the counting.
        word = np.min_scalar_type(max(map(len, self._counts), default=1) - 1)
        own = np.empty((len(self._levels), min(rows, _AT_ONCE)), word)
        room = np.empty((max(map(len, self.sets), default=1), own.shape[1]), word)
        places = np.empty(own.shape[1], np.int64)
        for start in range(0, rows, _AT_ONCE):
            many = min(rows - start, _AT_ONCE)
            for column in self._used:
                own[column, :many] = codes[column][start : start + many]
            found = self._cells(own[:, :many], room[:, :many])
            for counts, cells in zip(self._counts, found, strict=True):
                np.copyto(places[:many], cells)
                counts += np.bincount(places[:many], minlength=len(counts))

    def taken(self) -> list[Ints]:
        """For each wanted tuple its counts, one axis a column; counting begins anew."""
        tables = [c.reshape(size) for c, size in zip(self._counts, self._sizes, strict=True)]
        found = [_summed(tables[place], axes) for place, axes in self._homes]
        for counts in self._counts:
            counts[:] = 0
        return found

    def _cells(self, codes: Codes, room: Codes) -> Iterator[npt.NDArray[Any]]:
        """The cell of each row in each set, in turn; neighbours share what begins them.

        `codes` (columns, rows); `room` (longest set, rows) is written over.
        """
        known: list[int] = []
        for held in self.sets:
            same = 0
            while same < min(len(known), len(held)) and known[same] == held[same]:
                same += 1
            known = list(held)
            for place in range(max(same, 1), len(held)):
                before = codes[held[0]] if place == 1 else room[place - 1]
                levels = room.dtype.type(self._levels[held[place]])
                np.multiply(before, levels, out=room[place])
                np.add(room[place], codes[held[place]], out=room[place])
            yield room[len(held) - 1] if len(held) > 1 else codes[held[0]]


def _homes(sets: Sequence[Columns], wanted: Sequence[Columns]) -> list[tuple[int, Columns]]:
    """For each wanted tuple the number of a set with its columns, and their axes in it."""
    known: dict[frozenset[int], int] = {}
    lengths = {len(columns) for columns in wanted}
    for place, held in enumerate(sets):
        for some in chain.from_iterable(combinations(held, length) for length in lengths):
            known.setdefault(frozenset(some), place)
    places = [known[frozenset(columns)] for columns in wanted]
    return [
        (place, tuple(map(sets[place].index, columns)))
        for place, columns in zip(places, wanted, strict=True)
    ]


def _summed(table: Ints, axes: Columns) -> Ints:
    others = tuple(axis for axis in range(table.ndim) if axis not in axes)
    order = np.argsort(np.argsort(axes))
    summed: Ints = table.sum(axis=others).transpose(order)
    return summed.copy()


def _covering(levels: Sequence[int], wanted: Sequence[Columns]) -> list[Columns]:
    """Sets of columns of at most CELLS cells, unless one tuple has more, that hold all tuples.

    Greedy, the longest tuples first: each time the column is added that brings most of the pairs
    that no set has yet, the one of fewest codes where several do.
    """
    open_: defaultdict[int, set[int]] = defaultdict(set)
    for a, b in (columns for columns in wanted if len(columns) == 2):
        open_[a].add(b)
        open_[b].add(a)
    found: dict[Columns, None] = {}
    for columns in sorted(wanted, key=lambda columns: -len(columns)):
        if len(columns) == 2 and columns[1] not in open_[columns[0]]:
            continue
        held, cells = list(columns), prod(levels[column] for column in columns)
        while True:
            gains = Counter(column for one in held for column in open_[one])
            fitting = [c for c in gains if c not in held and cells * levels[c] <= CELLS]
            if not fitting:
                break
            best = min(fitting, key=lambda c: (-gains[c], levels[c], c))
            held.append(best)
            cells *= levels[best]
        for one in held:
            open_[one].difference_update(held)
        found[tuple(sorted(held, key=lambda c: (levels[c], c)))] = None
    return list(found)
