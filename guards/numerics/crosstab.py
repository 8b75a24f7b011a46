"""Counts of many pairs of columns at once: how often each code of one meets each of the other.

Two columns of few codes make one column of their pairs, and a count of two such columns holds four
pairs of columns. So tables of few codes, which are the most, cost a quarter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
# Columns of at most so many codes are put together in twos; 12 ** 4 counts stay in the cache.
FEW = 12
Pair = tuple[int, int]


def cross_counts(
    codes: Sequence[npt.ArrayLike], levels: Sequence[int], wanted: Sequence[Pair]
) -> list[Ints]:
    """For each wanted pair (a, b) the rows of every two codes, shape (levels[a], levels[b]).

    `codes[a]` are (n,), at least 0 and less than `levels[a]`. Tables of parts of the rows add up.
    """
    members = _grouped(levels)
    home = {column: group for group, held in enumerate(members) for column in held}
    joint = [_joint(codes, levels, held) for held in members]
    asked: defaultdict[Pair, list[int]] = defaultdict(list)
    for place, (a, b) in enumerate(wanted):
        asked[min(home[a], home[b]), max(home[a], home[b])].append(place)
    found: dict[int, Ints] = {}
    for (g, h), places in asked.items():
        axes = members[g] if g == h else (*members[g], *members[h])
        shape = tuple(levels[column] for column in axes)
        right = int(np.prod([levels[column] for column in members[h]]))
        flat = joint[g] if g == h else joint[g] * right + joint[h]
        table = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
        for place in places:
            found[place] = _marginal(table, axes, wanted[place])
    return [found[place] for place in range(len(wanted))]


def _grouped(levels: Sequence[int]) -> list[tuple[int, ...]]:
    few = [column for column, count in enumerate(levels) if count <= FEW]
    many = [(column,) for column, count in enumerate(levels) if count > FEW]
    return [*many, *(tuple(few[start : start + 2]) for start in range(0, len(few), 2))]


def _joint(codes: Sequence[npt.ArrayLike], levels: Sequence[int], held: tuple[int, ...]) -> Ints:
    found = np.asarray(codes[held[0]]).astype(np.int64)
    for column in held[1:]:
        found *= levels[column]
        found += np.asarray(codes[column])
    return found


def _marginal(table: Ints, axes: tuple[int, ...], pair: Pair) -> Ints:
    others = tuple(axis for axis, column in enumerate(axes) if column not in pair)
    summed: Ints = table.sum(axis=others)
    return summed if axes.index(pair[0]) < axes.index(pair[1]) else summed.T
