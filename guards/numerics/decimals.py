"""Numbers of few digits: where to cut a quantity so that others, seeing like data, cut alike.

Of all the numbers between two bounds one is the simplest: that of the fewest significant digits;
of those the one that ends in 5, else in an even digit, else the smallest in size. Two samples of
one quantity have other quantiles, but bounds around them that overlap, and so mostly the same
simplest number between them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_DIGITS = 17
_AT_ONCE = 1 << 14


def simplest(low: npt.ArrayLike, high: npt.ArrayLike) -> Floats:
    """The simplest numbers x with low <= x < high, (n,); `low` where there is none between them."""
    least, most = (np.asarray(ends, np.float64) + 0.0 for ends in (low, high))
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(least), np.abs(most))
        top = np.floor(np.log10(np.where(size > 0, size, 1.0)))
        open_ = (most > least) & np.isfinite(most - least)
        found = np.where(open_ & (least <= 0) & (most > 0), 0.0, least)
        open_ &= (least > 0) | (most <= 0)
        for digits in range(_DIGITS):
            if not open_.any():
                break
            best = _best(least, most, top - digits)
            fits = open_ & (least <= best) & (best < most)
            found = np.where(fits, best, found)
            open_ &= ~fits
    return found


def cell_edges(points: npt.ArrayLike, weights: npt.ArrayLike, bins: int) -> Floats:
    """Ascending edges e that cut a quantity into about `bins` cells [e_i, e_i+1) of equal rows.

    `points` (m,) ascend, `weights` (m,) are their rows. Each inner edge is the simplest number
    within a quarter of a cell's rows of its quantile, the outer ones the simplest a little outside
    of the data; a value that is heavier than a cell has an edge before and after it. At most
    `bins` + 1 edges, and none without data.
    """
    values = np.asarray(points, np.float64)
    upto = np.cumsum(np.asarray(weights, np.int64))
    if not len(values):
        return values
    with np.errstate(over="ignore"):
        inner = _inner(values, upto, bins)
        outer = _outer(values, inner)
    edges: Floats = np.unique(np.concatenate([inner, outer]))
    return edges[np.isfinite(edges)]


def codes_of(values: Floats, edges: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """How many edges each value reaches, (n,): 0 below the first; NaN reaches none.

    Some two dozen comparisons in a row are faster than a binary search for each value, and than a
    table of where values are; the more so for as many values as stay in the cache.
    """
    cuts = np.asarray(edges, np.float64)
    found = np.zeros(len(values), np.uint8)
    reached = np.empty(min(len(values), _AT_ONCE), np.bool_)
    for start in range(0, len(values), _AT_ONCE):
        part, codes = values[start : start + _AT_ONCE], found[start : start + _AT_ONCE]
        told = reached[: len(part)]
        for edge in cuts:
            np.greater_equal(part, edge, out=told)
            codes += told.view(np.uint8)
    return found


def _inner(values: Floats, upto: Ints, bins: int) -> Floats:
    """An edge for each target: between two values, or beside the one value that covers it."""
    rows, targets = np.concatenate([[0], upto]), np.arange(1, bins) * (upto[-1] / bins)
    reach = upto[-1] / bins / 4
    first = np.searchsorted(upto, targets - reach)
    last = np.searchsorted(upto, np.minimum(targets + reach, upto[-1]))
    # One heavy value: cut before it or after it, whichever is nearer to the target.
    alone = first == last
    after = np.abs(rows[first + 1] - targets) < np.abs(rows[first] - targets)
    before = np.searchsorted(upto, rows[first] - reach)
    beyond = np.searchsorted(upto, np.minimum(rows[first + 1] + reach, upto[-1]))
    start = np.where(alone & ~after, np.minimum(before, first - 1), first)
    stop = np.where(alone & after, np.maximum(beyond, first + 1), last)
    inside = (start >= 0) & (stop < len(values))
    cuts = np.unique(_above(values[start[inside]], values[stop[inside]]))
    kept: Floats = cuts[(cuts > values[0]) & (cuts <= values[-1])]
    return kept


def _outer(values: Floats, inner: Floats) -> Floats:
    """The simplest numbers at most the least value, and above the greatest, near to them."""
    least, most = values[:1], values[-1:]
    below = (inner[:1] - least) / 4 if len(inner) else np.zeros(1)
    above = (most - inner[-1:]) / 4 if len(inner) else np.abs(most) / 2
    above = np.maximum(above, most - values[-2:-1]) if len(values) > 1 else above
    lowest = simplest(least - below, np.nextafter(least, np.inf))
    return np.concatenate([lowest, _above(most, most + np.where(above > 0, above, 1.0))])


def _above(low: Floats, high: Floats) -> Floats:
    """The simplest numbers x with low < x <= high; the next number where those are no bounds."""
    found = -simplest(-high, -low)
    return np.where(found > low, found, np.nextafter(low, np.inf)) + 0.0


def _best(low: Floats, high: Floats, place: Floats) -> Floats:
    """Between these bounds, the multiple of 10 ** `place` of the most pleasing last digit."""
    first, last = _multiple(low, place, np.ceil), _multiple(high, place, np.ceil) - 1
    negative = first < 0
    near, far = np.where(negative, -last, first), np.where(negative, -first, last)
    best = near
    for step in (2, 5):
        candidate = np.ceil(near / step) * step
        best = np.where(candidate <= far, candidate, best)
    best = np.where(negative, -best, best)
    # Divided by a power of ten this is the number nearest to the decimal; multiplied it may not be.
    return np.where(place >= 0, best * 10.0 ** np.maximum(place, 0), best / 10.0**-place)


def _multiple(ends: Floats, place: Floats, rounded: np.ufunc) -> Floats:
    scaled = np.where(place >= 0, ends / 10.0 ** np.maximum(place, 0), ends * 10.0**-place)
    whole: Floats = rounded(scaled)
    return whole
