"""Which cells hold more than the reference leads to expect? One column, or two together.

Counts of a batch against those of the reference. Of one column the expected count of a value is
the reference's share, raised where its neighbours are raised as well, since a distribution moves in
one piece and what is planted stands alone. Of two columns it is the reference brought to the
batch's own sides (:mod:`guards.numerics.raking`), so that only what they do *together* is left; and
since the surplus of a cell raises both of its sides, it is held against sides without that. The
law is negative binomial: Poisson counts whose mean is itself known from so many rows of the
reference, and disperses between the blocks of the reference by `rho`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics.raking import raked
from guards.numerics.tails import negative_binomial, poisson

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NEAR = 8  # values on either side that say how a distribution moved
SOME, ASIDE = 1.0, 8
MOST, PART = 8, 0.5  # cells of one table that stand, and the most of a side that is set aside
STRANGE = 0.05  # of either side of a cell, at most, that it had


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """A cell (down, across) of a table, with its expected rows and the log10 of its tail."""

    place: tuple[int, int]
    expected: float
    log_p: float


def expected_values(then: npt.ArrayLike, rows_then: int, rows_now: int) -> Floats:
    """The rows of each value that the reference leads to expect, one more row of it granted."""
    counts = np.asarray(then, np.float64)
    return (counts + 1) * rows_now / max(rows_then, 1)


def raised(expected: Floats, now: npt.ArrayLike) -> Floats:
    """The same where a value's neighbours, NEAR on either side and in order, are raised too."""
    counts = np.asarray(now, np.float64)
    window = np.ones(2 * NEAR + 1)
    window[NEAR] = 0
    around, usual = (np.convolve(values, window) for values in (counts, expected))
    part = slice(NEAR, NEAR + len(counts))
    return np.asarray(expected * np.maximum(1.0, (around[part] + 1) / (usual[part] + 1)))


def expected_pairs(then: npt.ArrayLike, now: npt.ArrayLike) -> Floats:
    """The rows of every two cells that the reference leads to expect, given the batch's own sides.

    The reference's counts with a little of independence, and one more row of it in each cell; a
    value that the reference never had spreads over the other column as the batch does.
    """
    before, after = np.asarray(then, np.float64), np.asarray(now, np.float64)
    rows = max(after.sum(), 1.0)
    alone = np.outer(after.sum(axis=1), after.sum(axis=0)) / rows**2
    fitted = raked(before + 0.5 * np.sqrt(before.size) * alone, after)
    return np.asarray(fitted + rows / max(before.sum(), 1.0))


def without_itself(expected: Floats, now: npt.ArrayLike) -> Floats:
    """The same where the surplus of a cell does not raise its own two sides, (down, across).

    Of a side of N rows n are in the cell where e were expected, so that without the surplus the
    side has N - (n - e) rows, and the cell e (1 - (n - e) / N) of them. Never more than before.
    """
    counts = np.asarray(now, np.float64)
    found, surplus = np.asarray(expected, np.float64), np.maximum(counts - expected, 0.0)
    for side in (counts.sum(axis=1, keepdims=True), counts.sum(axis=0, keepdims=True)):
        found = found * (1 - surplus / np.maximum(side, 1.0))
    return np.asarray(found)


def by_the_rest(expected: Floats, then: npt.ArrayLike, now: npt.ArrayLike) -> Floats:
    """The same, (down, across), but no more than the rest of both sides calls for.

    Where one column tells the other, both sides of a cell call for whatever fills it: 60 rows of
    a grade with another grade's name make 60 more of each. So a cell that was at most STRANGE of
    each side, and is at most PART of each now, is its reference's count times what became of the
    rest of either side.
    """
    before, counts = np.asarray(then, np.float64), np.asarray(now, np.float64)
    called, odd = before + 1, np.ones(counts.shape, np.bool_)
    for axis in (0, 1):
        known, found = (table.sum(axis=axis, keepdims=True) for table in (before, counts))
        called = called * (found - counts + 1) / (known - before + 1)
        odd &= (before <= STRANGE * known) & (counts <= PART * found)
    called *= max(before.sum(), 1.0) / max(counts.sum(), 1.0)
    return np.where(odd, np.minimum(expected, called), expected)


def log_tails(
    now: npt.ArrayLike, expected: Floats, then: npt.ArrayLike, inflation: float = 1.0
) -> Floats:
    """log10 P(at least so many rows), for each cell; 0 where there are none.

    Mean E = `expected`, variance (E + E^2 / (then + 1)) `inflation`.
    """
    counts, known = np.asarray(now, np.int64), np.asarray(then, np.float64)
    spread = (expected + expected**2 / (known + 1)) * inflation - expected
    found = np.zeros(counts.shape)
    some = counts > 0
    wide = some & (spread > 1e-9 * expected)
    mean = expected[wide]
    found[wide] = negative_binomial(counts[wide], mean, mean**2 / spread[wide])
    plain = some & ~wide
    found[plain] = poisson(counts[plain], expected[plain])
    return np.asarray(found / np.log(10))


def inflation(rho: float, rows_then: int, rows_now: int, blocks: int) -> float:
    """How much wider counts are than chance makes them, as blocks of the reference differ."""
    effective = rows_then * rows_now / max(rows_then + rows_now, 1)
    return 1 + effective * rho * (1 + 1 / max(blocks, 1))


def unrest(now: npt.ArrayLike, expected: Floats, then: npt.ArrayLike) -> float:
    """How much wider than chance the cells of one table lie around what is expected; at least 1.

    The mean of (n - E)^2 over the variance of :func:`log_tails`, over cells of SOME expected rows
    and more, without the ASIDE largest: what is planted is in few cells, a season is in many.
    """
    counts, known = np.asarray(now, np.float64), np.asarray(then, np.float64)
    squares = (counts - expected) ** 2 / (expected + expected**2 / (known + 1))
    told = np.sort(squares[expected >= SOME])[:-ASIDE]
    return max(1.0, float(told.mean())) if len(told) else 1.0


def standing(now: npt.ArrayLike, expected: Floats, *, least: float, lift: float) -> Bools:
    """Cells with `least` rows more than expected, and `lift` times as many."""
    counts = np.asarray(now, np.float64)
    found: Bools = (counts - expected >= least) & (counts >= lift * expected)
    return found


def standing_pairs(
    then: npt.ArrayLike, now: npt.ArrayLike, *, least: float, lift: float, widening: float
) -> Iterator[Stands]:
    """The cells of two columns that stand, the surest first, MOST at most.

    What is too much in one cell raises its sides and so lowers what is expected of the other cells
    there. Once a cell is told it holds what is expected of it, and the rest is fitted anew; if it
    was more than PART of a side, nothing is known of the rest.
    `widening` is :func:`inflation`; the table's own unrest counts where it is more.
    """
    before, counts = np.asarray(then, np.float64), np.array(now, np.float64)
    fitted, told = expected_pairs(before, counts), np.zeros(counts.shape, np.bool_)
    widening = max(widening, unrest(counts, fitted, before))
    for _ in range(MOST):
        expected = by_the_rest(without_itself(fitted, counts), before, counts)
        places = np.argwhere(standing(counts, expected, least=least, lift=lift) & ~told)
        if not len(places):
            return
        down, across = places.T
        tails = log_tails(
            counts[down, across], expected[down, across], before[down, across], widening
        )
        best = int(np.argmin(tails))
        place = (int(down[best]), int(across[best]))
        yield Stands(place=place, expected=float(expected[place]), log_p=float(tails[best]))
        surplus = counts[place] - expected[place]
        if surplus > PART * min(counts[place[0]].sum(), counts[:, place[1]].sum()):
            return
        counts[place], told[place] = round(float(expected[place])), True
        fitted = expected_pairs(before, counts)
