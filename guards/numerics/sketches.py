"""Sketches of a stream that add up: where its ranks lie, and how many values it has.

A distribution function is kept in :class:`Steps`: rows at ascending points, and by how many rows
it may be off. Whatever joins or thins steps *measures* what it does to the ranks and adds that to
`error`, so the bound holds for every distribution, heavy ties and 1e308 included, and whoever
compares with it can subtract it. Thinning puts the middle row of each of `most` groups of equal
size in the place of its group, which is off by half a group and no more (Greenwald and Khanna 2001
for the idea of ranks with a deterministic error).

Distinct values are counted by 1,024 registers of leading zeros (Flajolet and others 2007): two
sets of registers join by their maximum, so counting twice changes nothing. The standard error is
1.04 / sqrt(1,024), three in a hundred. The hashes are no secret: who chooses values to collide can
steer that estimate, and nothing but an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics.decimals import simplest

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
FAN = 8
_PLACES = 10
REGISTERS = 1 << _PLACES
# The low bits of a hash, of which leading zeros are counted: as many as a double holds exactly.
_BITS = 53
_BLOCK = 1 << 14
_FULL = 16  # hashes of a register, of which it is all but sure to have one
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A distribution function in steps: `weights` (m,) rows at the ascending `points` (m,).

    For every x, the rows at most x are the weights at points at most x, to within `error` rows.
    """

    points: Floats
    weights: Ints
    error: int = 0

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.weights.sum())

    @property
    def upto(self) -> Ints:
        """Rows at most each point, (m,)."""
        return np.cumsum(self.weights)


def exact_steps(ordered: npt.ArrayLike) -> Steps:
    """The steps of sorted finite values, with no error; -0.0 is 0.0."""
    values = np.asarray(ordered, np.float64) + 0.0
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)])
    weights = np.diff(np.concatenate([first, [len(values)]]))
    return Steps(points=values[first], weights=weights.astype(np.int64))


def joined(parts: Iterable[Steps]) -> Steps:
    """The steps of all rows together; errors add."""
    known = list(parts)
    points = np.concatenate([np.empty(0), *(part.points for part in known)])
    weights = np.concatenate([np.empty(0, np.int64), *(part.weights for part in known)])
    order = np.argsort(points, kind="stable")
    ordered = exact_steps(points[order])
    starts = np.cumsum(ordered.weights) - ordered.weights
    summed = np.add.reduceat(weights[order], starts) if len(points) else weights
    return Steps(points=ordered.points, weights=summed, error=sum(part.error for part in known))


def thinned(steps: Steps, most: int, *, slack: float = 0.0) -> Steps:
    """At most `most` points; what that does to the ranks is measured and added to the error.

    With `slack`, a share of a group's rows, a point moves by up to so many rows to a number of
    fewer digits, so that it is short to write and no row's own value.
    """
    if len(steps.points) <= most:
        return steps
    cuts = np.arange(most + 1, dtype=np.int64) * steps.rows // most
    middle, reach = (cuts[:-1] + cuts[1:]) // 2, int(slack * steps.rows / most)
    low, high = _at_rank(steps, middle - reach), _at_rank(steps, middle + reach)
    moved = joined([Steps(points=simplest(low, high), weights=np.diff(cuts))])
    return Steps(
        points=moved.points,
        weights=moved.weights,
        error=steps.error + int(largest_gap(steps, moved)),
    )


def largest_gap(first: Steps, second: Steps) -> float:
    """The most rows, over all x, by which two step functions differ."""
    return _widest(first, second, 1.0, 1.0)


def steps_distance(first: Steps, second: Steps) -> float:
    """Kolmogorov-Smirnov's D of two step functions, off by at most both errors, as shares."""
    if not first.rows or not second.rows:
        return 0.0
    return _widest(first, second, 1 / first.rows, 1 / second.rows)


def ranks(steps: Steps, values: npt.ArrayLike) -> Ints:
    """Rows at most each value, of any shape, to within `steps.error`."""
    before = np.concatenate([[0], steps.upto])
    found: Ints = before[np.searchsorted(steps.points, values, side="right")]
    return found


def quantiles(steps: Steps, shares: npt.ArrayLike) -> Floats:
    """The lower quantiles at `shares` in [0, 1]: the smallest point with that share of the rows."""
    wanted = np.ceil(np.asarray(shares, np.float64) * steps.rows).astype(np.int64) - 1
    return _at_rank(steps, wanted)


def counted(ordered: npt.ArrayLike, points: npt.ArrayLike) -> tuple[Ints, Ints]:
    """How many sorted values are less than each point, and at most it; both (m,).

    Counts of the parts of a batch add up to those of the batch, exactly and in any order.
    """
    values, where = np.asarray(ordered, np.float64), np.asarray(points, np.float64)
    return np.searchsorted(values, where, side="left"), np.searchsorted(values, where, side="right")


def push(
    levels: Sequence[Sequence[Steps]], steps: Steps, most: int
) -> tuple[tuple[Steps, ...], ...]:
    """Put one more part into a tree of parts, in which FAN of one level make one of the next.

    A tree of c parts is ceil(log(c) / log(FAN)) high, and each level adds half of 1 / `most`.
    """
    first = (*(levels[0] if levels else ()), steps)
    rest = tuple(map(tuple, levels[1:]))
    if len(first) < FAN:
        return (first, *rest)
    return ((), *push(rest, thinned(joined(first), most), most))


def collapsed(levels: Sequence[Sequence[Steps]]) -> Steps:
    """All parts of a tree together."""
    return joined(part for level in levels for part in level)


def hashed_numbers(values: npt.ArrayLike) -> Hashes:
    """64 mixed bits of each number, (n,)."""
    bits = np.ascontiguousarray(np.asarray(values, np.float64) + 0.0).view(np.uint64)
    return _mixed(bits * _GOLDEN)


def hashed_words(data: npt.NDArray[np.uint8], offsets: Ints) -> Hashes:
    """64 mixed bits of each word, (n,); word i is `data[offsets[i]:offsets[i + 1]]`."""
    lengths = np.diff(offsets)
    places = np.arange(int(offsets[0]), int(offsets[-1])) - np.repeat(offsets[:-1], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _MULTIPLIER))
    terms = (data[offsets[0] : offsets[-1]].astype(np.uint64) + np.uint64(1)) * powers[places]
    before = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
    # Differences of a sum that wraps around are right, since they wrap around as well.
    sums = before[offsets[1:] - offsets[0]] - before[offsets[:-1] - offsets[0]]
    return _mixed((sums + lengths.astype(np.uint64)) * _GOLDEN)


def registers(hashes: Hashes) -> Ints:
    """For each of the REGISTERS the most leading zeros of its hashes, plus one; 0 for none.

    Of many hashes those of a few leading zeros at least are looked at first: they are few, and
    if every register has one of them, no other hash could change it.
    """
    many = len(hashes) // (_FULL * REGISTERS)
    if many > 1:
        most = np.uint64((1 << _BITS + 1) // (1 << many.bit_length()))
        found = _most_zeros(hashes[(hashes & np.uint64((1 << _BITS) - 1)) < most])
        if found.all():
            return found
    return _most_zeros(hashes)


def distinct(found: npt.ArrayLike) -> float:
    """About how many distinct values were seen, from the registers."""
    held = np.asarray(found, np.float64)
    raw = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS**2 / np.exp2(-held).sum()
    empty = int((held == 0).sum())
    few = raw <= 2.5 * REGISTERS and empty > 0
    return float(REGISTERS * np.log(REGISTERS / empty)) if few else float(raw)


def _widest(first: Steps, second: Steps, scale: float, other: float) -> float:
    """The largest difference of two scaled step functions.

    Between two points of the second it is constant and the first ascends, so the difference is
    widest at such a point or just before it; beyond the last at the end of the first.
    """
    mine, theirs = np.concatenate([[0], first.upto]), np.concatenate([[0], second.upto])
    at = mine[np.searchsorted(first.points, second.points, side="right")] * scale
    before = mine[np.searchsorted(first.points, second.points, side="left")] * scale
    ends = [mine[-1] * scale - theirs[-1] * other]
    gaps = np.concatenate([at - theirs[1:] * other, before - theirs[:-1] * other, ends])
    return float(np.abs(gaps).max())


def _at_rank(steps: Steps, places: npt.ArrayLike) -> Floats:
    """The point that holds each row number, counted from 0; numbers beyond the ends are clipped."""
    inside = np.clip(places, 0, steps.rows - 1)
    return steps.points[np.searchsorted(steps.upto, inside, side="right")]


def _most_zeros(hashes: Hashes) -> Ints:
    seen = np.zeros((REGISTERS, _BITS + 2), bool)
    place = (hashes >> np.uint64(64 - _PLACES)).astype(np.int64)
    rest = (hashes & np.uint64((1 << _BITS) - 1)).astype(np.float64)
    seen[place, _BITS + 1 - np.frexp(rest)[1]] = True
    return np.where(seen.any(axis=1), _BITS + 1 - seen[:, ::-1].argmax(axis=1), 0)


def _mixed(bits: Hashes) -> Hashes:
    """Spread every bit over all of them, a block at a time so that it stays in the cache."""
    for start in range(0, len(bits), _BLOCK):
        part = bits[start : start + _BLOCK]
        for _ in range(2):
            part ^= part >> _HALF
            part *= _MULTIPLIER
        part ^= part >> _HALF
    return bits
