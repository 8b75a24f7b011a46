"""How sure is what was counted? Exact intervals of shares, and p-values by counting.

The interval is that of Clopper and Pearson, Biometrika 26 (1934).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def clopper_pearson(hits: int, sample: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share of `hits` in `sample`: it holds the truth at least `level` of times.

    The ends are quantiles of Beta(hits, sample - hits + 1) and Beta(hits + 1, sample - hits);
    (0, 1) without a sample.
    """
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, sample - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, sample - hits)) if hits < sample else 1.0
    return low, high


def estimated(hits: int, rows: int) -> dict[str, float]:
    """The share of `hits` in `rows` as evidence tells it, with its exact 95 % interval."""
    low, high = clopper_pearson(hits, rows)
    values = {"estimate": hits / rows, "low": low, "high": high}
    return {name: round(value, 6) for name, value in values.items()}


def empirical(scores: npt.ArrayLike, null: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How rarely the null scores as high: (1 + #{null >= score})/(n + 1), for each score.

    Valid, if conservative, for any score whose null is exchangeable with the n given ones; it is
    never below 1/(n + 1), however far out a score lies.
    """
    found, ordered = np.asarray(scores, np.float64), np.sort(np.asarray(null, np.float64))
    above = len(ordered) - np.searchsorted(ordered, found, side="left")
    p_values: npt.NDArray[np.float64] = (1 + above) / (len(ordered) + 1)
    return p_values
