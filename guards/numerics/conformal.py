"""How surprising is a row's score beside those of rows that somebody checked?

The conformal p-value of a row (Vovk, Gammerman & Shafer 2005; Bates et al. 2023, arXiv:2104.08279)
against the scores s_1 ... s_m of m trusted rows is

    p = (1 + #{s_j >= s})/(m + 1)

and is valid only if a clean row and a trusted one cannot be told apart by how they were *scored*:
the scorer must be trained symmetrically, on the union of the trusted and the scanned rows, and
ask each row of a model that did not see it (AdaDetect: Marandon et al. 2024, arXiv:2208.06685).
A scorer that memorised the scanned rows alone makes them look better than they are; the tests of
this module show both. Benjamini and Hochberg's step-up over such p-values holds the share of clean
rows among those held.

No p-value lies below 1/(m + 1), so few trusted rows find nothing, however bad the rows are:
:func:`rows_needed` says how many it takes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def conformal_p_values(scores: npt.ArrayLike, trusted: npt.ArrayLike) -> Floats:
    """p-values (n,) of `scores` (n,), larger is worse, against those of trusted rows (m,)."""
    calibration = np.sort(np.asarray(trusted, np.float64))
    below = np.searchsorted(calibration, np.asarray(scores, np.float64), side="left")
    p_values: Floats = (1 + len(calibration) - below) / (1 + len(calibration))
    return p_values


def benjamini_hochberg(p_values: npt.ArrayLike, rate: float) -> Bools:
    """Which hypotheses to reject so that at most `rate` of the rejected are true, in expectation.

    The largest R with p_(R) <= rate R/n (Benjamini & Hochberg 1995).
    """
    p = np.asarray(p_values, np.float64)
    if not len(p):
        return np.zeros(0, np.bool_)
    ordered = np.sort(p)
    passing = np.flatnonzero(ordered <= rate * np.arange(1, len(p) + 1) / len(p))
    limit = ordered[passing[-1]] if len(passing) else -1.0
    rejected: Bools = p <= limit
    return rejected


def rows_needed(rows: int, found: int, rate: float) -> int:
    """The least m with 1/(m + 1) <= rate R/n: trusted rows to find R = `found` among n = `rows`."""
    return max(1, math.ceil(rows / (rate * max(found, 1)) * (1 - 1e-12)) - 1)


def folds(groups: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """A fold in range(count) for each row, (n,), spread evenly within each group (a label).

    The draw knows nothing of which rows are trusted, as the symmetry demands.
    """
    assigned = np.zeros(len(groups), np.int64)
    for group in np.unique(groups):
        inside = rng.permutation(np.flatnonzero(groups == group))
        assigned[inside] = (np.arange(len(inside)) + rng.integers(count)) % count
    return assigned
