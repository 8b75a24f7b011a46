"""Which cells hold more than the reference leads to expect? One column, or two together.

Counts of a batch against those of the reference. Of one column the expected count of a value is
the reference's share, raised where its neighbours are raised as well, since a distribution moves in
one piece and what is planted stands alone. Of two columns it is the reference brought to the
batch's own sides (:mod:`guards.numerics.raking`), so that only what they do *together* is left. The
law is negative binomial: Poisson counts whose mean is itself known from so many rows of the
reference, and disperses between the blocks of the reference by `rho`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from guards.numerics.raking import raked

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NEAR = 8  # values on either side that say how a distribution moved


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


def log_tails(
    now: npt.ArrayLike, expected: Floats, then: npt.ArrayLike, inflation: float = 1.0
) -> Floats:
    """log10 P(at least so many rows), for each cell; 0 where there are none.

    Mean E = `expected`, variance (E + E^2 / (then + 1)) `inflation`.
    """
    from scipy.stats import nbinom, poisson

    counts, known = np.asarray(now, np.int64), np.asarray(then, np.float64)
    spread = (expected + expected**2 / (known + 1)) * inflation - expected
    found = np.zeros(counts.shape)
    some = counts > 0
    wide = some & (spread > 1e-9 * expected)
    size = expected[wide] ** 2 / spread[wide]
    found[wide] = nbinom.logsf(counts[wide] - 1, size, size / (size + expected[wide]))
    plain = some & ~wide
    found[plain] = poisson.logsf(counts[plain] - 1, expected[plain])
    return np.asarray(found / np.log(10))


def inflation(rho: float, rows_then: int, rows_now: int, blocks: int) -> float:
    """How much wider counts are than chance makes them, as blocks of the reference differ."""
    effective = rows_then * rows_now / max(rows_then + rows_now, 1)
    return 1 + effective * rho * (1 + 1 / max(blocks, 1))


def standing(now: npt.ArrayLike, expected: Floats, *, least: float, lift: float) -> Bools:
    """Cells with `least` rows more than expected, and `lift` times as many."""
    counts = np.asarray(now, np.float64)
    found: Bools = (counts - expected >= least) & (counts >= lift * expected)
    return found
