"""Counts of many pairs of columns at once: how often each code of one meets each of the other.

Columns of few codes make one column of their combinations, and a count of two such columns holds
all pairs across them. So tables of few codes, which are the most, cost a quarter and less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
# Columns are put together up to so many codes squared; 12 ** 4 counts stay in the cache.
FEW = 12
_AT_ONCE = 1 << 15  # rows: what is counted together should fit into the cache
Pair = tuple[int, int]


def cross_counts(
    codes: Sequence[npt.ArrayLike], levels: Sequence[int], wanted: Sequence[Pair]
) -> list[Ints]:
    """For each wanted pair (a, b) the rows of every two codes, shape (levels[a], levels[b]).

    `codes[a]` are (n,), at least 0 and less than `levels[a]`. Tables of parts of the rows add up.
    """
    members = _grouped(levels)
    home = {column: group for group, held in enumerate(members) for column in held}
    asked: defaultdict[Pair, list[int]] = defaultdict(list)
    for place, (a, b) in enumerate(wanted):
        asked[min(home[a], home[b]), max(home[a], home[b])].append(place)
    cells = [int(np.prod([levels[column] for column in held])) for held in members]
    tables = _counted([np.asarray(one) for one in codes], levels, members, sorted(asked), cells)
    found: dict[int, Ints] = {}
    for g, h in asked:
        axes = members[g] if g == h else (*members[g], *members[h])
        table = tables[g, h].reshape([levels[column] for column in axes])
        for place in asked[g, h]:
            found[place] = _marginal(table, axes, wanted[place])
    return [found[place] for place in range(len(wanted))]


def _counted(
    codes: Sequence[npt.NDArray[Any]],
    levels: Sequence[int],
    members: Sequence[tuple[int, ...]],
    asked: Sequence[Pair],
    cells: Sequence[int],
) -> dict[Pair, Ints]:
    """The rows of every two codes of two groups, a slice of the rows at a time."""
    tables = {(g, h): np.zeros(cells[g] * (cells[h] if g != h else 1), np.int64) for g, h in asked}
    for start in range(0, len(codes[0]) if codes else 0, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        joint = [_joint(codes, levels, held, part) for held in members]
        left = np.empty_like(joint[0])
        flat, scaled = np.empty_like(left), (-1, -1)
        for g, h in asked:
            if g != h and scaled != (g, cells[h]):
                scaled = (g, cells[h])
                np.multiply(joint[g], cells[h], out=left)
            both = joint[g] if g == h else np.add(left, joint[h], out=flat)
            tables[g, h] += np.bincount(both, minlength=len(tables[g, h]))
    return tables


def _grouped(levels: Sequence[int]) -> list[tuple[int, ...]]:
    """Columns of few codes with those that follow: as many as make up `FEW` squared cells."""
    groups: list[tuple[int, ...]] = [(c,) for c, count in enumerate(levels) if count > FEW]
    cells = FEW * FEW + 1
    for column in (c for c, count in enumerate(levels) if count <= FEW):
        if cells * levels[column] <= FEW * FEW:
            groups[-1], cells = (*groups[-1], column), cells * levels[column]
        else:
            groups.append((column,))
            cells = levels[column]
    return groups


def _joint(
    codes: Sequence[npt.NDArray[Any]], levels: Sequence[int], held: tuple[int, ...], part: slice
) -> Ints:
    found = codes[held[0]][part]
    if len(held) > 1:
        found = found.astype(np.uint8)  # which FEW squared fit into
    for column in held[1:]:
        found *= np.uint8(levels[column])
        found += codes[column][part].astype(np.uint8, copy=False)
    return found.astype(np.int64)


def _marginal(table: Ints, axes: tuple[int, ...], pair: Pair) -> Ints:
    others = tuple(axis for axis, column in enumerate(axes) if column not in pair)
    summed: Ints = table.sum(axis=others)
    return summed if axes.index(pair[0]) < axes.index(pair[1]) else summed.T
