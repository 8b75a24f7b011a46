"""What share of labels is wrong, where some rows of each stratum were labelled again?

Rows are parted into strata (here: contradicted by a model or not), some of each were labelled anew,
and what those show stands for the rest of their stratum, by its size (Horvitz and Thompson, Journal
of the American Statistical Association 47, 1952). The interval adds up those of Clopper and Pearson
for the rest of each stratum, at a level shared over the strata (Bonferroni), so that it is wide
rather than wrong: it holds the truth at least 95 times in 100, *if within a stratum the rows that
were labelled again were not picked by whether they are right*. No model has a say in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from guards.numerics.intervals import clopper_pearson

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
LEVEL = 0.95  # how often the interval is to hold the truth, at least


def wrong_share(strata: Ints, checked: Bools, wrong: Bools) -> tuple[float, float, float] | None:
    """The share of wrong labels and its interval, `(share, low, high)`.

    Args:
        strata: (n,), codes from 0.
        checked: (n,), the rows that were labelled again.
        wrong: (n,), of those the ones whose label was another; of the others it says nothing.

    None where some stratum that has rows has none that was checked.
    """
    sizes = np.bincount(strata)
    seen = np.bincount(strata[checked], minlength=len(sizes))
    bad = np.bincount(strata[checked & wrong], minlength=len(sizes))
    some = np.flatnonzero(sizes)
    if not len(some) or not seen[some].all():
        return None
    each = 1 - (1 - LEVEL) / len(some)
    share = low = high = 0.0
    for stratum in some.tolist():
        found, of, rest = int(bad[stratum]), int(seen[stratum]), sizes[stratum] - seen[stratum]
        least, most = clopper_pearson(found, of, each)
        share += found + rest * found / of
        low += found + rest * least
        high += found + rest * most
    rows = len(strata)
    return share / rows, low / rows, high / rows
