"""log P(N >= n) of counts, also where P is too small to be a number.

There scipy's logsf is -inf, so that what is surest of all could not be put in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def poisson(counts: Ints, mean: Floats) -> Floats:
    """The log of P(N >= counts) for N Poisson of these means, all (n,)."""
    from scipy.stats import poisson as law

    return _log_tail(law, counts, mean / (counts + 1), mean)


def negative_binomial(counts: Ints, mean: Floats, size: Floats) -> Floats:
    """The same for N negative binomial of variance mean + mean^2 / size, all (n,)."""
    from scipy.stats import nbinom as law

    ratio = mean / (size + mean) * np.maximum((counts + size) / (counts + 1), 1)
    return _log_tail(law, counts, ratio, size, size / (size + mean))


def _log_tail(law: Any, counts: Ints, ratio: Floats, *shape: Floats) -> Floats:
    """By the `law` of these shapes, or else P(N = counts) / (1 - `ratio`).

    That is never less, since beyond `counts` no probability is more than `ratio` times the one
    before.
    """
    with np.errstate(divide="ignore"):
        tails = np.asarray(law.logsf(counts - 1, *shape))
    lost = np.isneginf(tails)
    point = law.logpmf(counts[lost], *(values[lost] for values in shape))
    tails[lost] = point - np.log1p(-ratio[lost])
    return tails
