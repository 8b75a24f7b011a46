"""Which slice of a batch holds the rows that are in a set of cells, and how many at least?

A set A of cells was chosen because more rows are in it than the reference explains, by a bound
`usual` on the reference's share that holds however A was chosen. Then at most the upper quantile of
Binomial(N, usual) rows of the whole batch are explained, wherever they lie; so of the k_s rows of a
slice in A at least k_s - E are not, for all slices together and whatever is usual in each of them.
Whether they gather there is the hypergeometric tail of k_s, times the number of slices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slices:
    """Of each slice: at least so much of it is `unlike`, its `share` in A and that `elsewhere`,
    and the p-value that so many gather there, corrected for the number of slices; all (slices,).
    """

    unlike: Floats
    share: Floats
    elsewhere: Floats
    p_value: Floats


def gathered(
    inside: npt.ArrayLike, rows: npt.ArrayLike, usual: float, *, alpha: float = 0.01
) -> Slices:
    """Attribute the rows in A to slices: `inside` of `rows` of each, (slices,), which add up.

    `usual` bounds the share of reference-like rows in A.
    """
    from scipy.stats import binom, hypergeom

    held, size = np.asarray(inside, np.int64), np.asarray(rows, np.int64)
    most, whole = int(held.sum()), int(size.sum())
    explained = float(binom.isf(alpha, whole, min(max(usual, 0.0), 1.0))) if whole else 0.0
    tail = hypergeom.sf(held - 1, whole, most, size) if whole else np.ones(len(held))
    return Slices(
        unlike=np.maximum(held - explained, 0) / np.maximum(size, 1),
        share=held / np.maximum(size, 1),
        elsewhere=(most - held) / np.maximum(whole - size, 1),
        p_value=np.minimum(np.asarray(tail) * len(held), 1.0),
    )
