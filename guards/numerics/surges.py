"""Is a word in far more rows of a batch than the reference, and its own swings, lead to expect?

Of a word in c of n rows of the reference, whose blocks differ by the dispersion rho, the rate in
one more block is Gamma with shape p theta + 1 and p = c / n, of theta rows of its own,

    1 / theta  =  1 / n + rho (1 + 1 / B),

so the rows of a batch of m that hold it are negative binomial, and their tail is the p-value. For
rho = 0 that is a tail of Binomial(c + k, m / (n + m)), to which the exact test of two rates comes
down for rare words. p-values are corrected for the words that could be told at all: with c + k rows
in both together, none is below that of all of them in the batch, and the sum says nothing about
which of the two has more (Tarone 1990).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def surge_p_values(
    then: npt.ArrayLike,
    now: npt.ArrayLike,
    rows: tuple[int, int],
    *,
    rho: float = 0.0,
    blocks: int = 1,
) -> Floats:
    """P(as many rows or more) of each word, (words,).

    Args:
        then: rows with the word in the reference, (words,), at most.
        now: rows with it in the batch, (words,).
        rows: all rows of the reference and of the batch.
        rho: the dispersion of the words' rates between blocks of the reference.
        blocks: how many of them there are.
    """
    from scipy.stats import nbinom

    before, after = np.asarray(then, np.float64), np.asarray(now, np.float64)
    size = 1 / (1 / max(rows[0], 1) + rho * (1 + 1 / max(blocks, 1)))
    shape = before / max(rows[0], 1) * size + 1
    tail: Floats = np.asarray(nbinom.sf(after - 1, shape, size / (size + max(rows[1], 1))))
    return np.where(after > 0, tail, 1.0)


def attainable(
    then: npt.ArrayLike,
    now: npt.ArrayLike,
    rows: tuple[int, int],
    *,
    alpha: float,
    rho: float = 0.0,
    blocks: int = 1,
) -> int:
    """For how many words to correct: the least K of which at most K can reach alpha / K."""
    total = np.asarray(then, np.float64) + np.asarray(now, np.float64)
    least = surge_p_values(np.zeros(len(total)), total, rows, rho=rho, blocks=blocks)
    able = np.sort(least)
    for many in range(1, len(able) + 1):
        if np.searchsorted(able, alpha / many, side="right") <= many:
            return many
    return max(len(able), 1)


def lifts(then: npt.ArrayLike, now: npt.ArrayLike, rows: tuple[int, int]) -> Floats:
    """How many times the reference's rate each word has, one row more given to that, (words,)."""
    before, after = np.asarray(then, np.float64), np.asarray(now, np.float64)
    found: Floats = (after / max(rows[1], 1)) / ((before + 1) / max(rows[0], 1))
    return found
