"""What a table of counts would be if each of its two sides had moved and nothing else had.

Iterative proportional fitting (Deming and Stephan 1940): the reference's counts, scaled by rows and
by columns in turn until both sides are those of the batch. Odds ratios are kept, so what is left
between it and the batch is what the two columns do *together* and did not before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ROUNDS = 12


def raked(reference: npt.ArrayLike, current: npt.ArrayLike, rounds: int = ROUNDS) -> Floats:
    """The counts (a, b) of `reference` with the sides of `current`, which has the same shape.

    Each cell of the reference has a little of what independence would give it added, half a row in
    the mean of a row's cells, since a cell that was never seen may still be possible.
    """
    then, now = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    total = then.sum()
    if not total or not now.sum():
        return np.zeros(now.shape)
    fitted = then + 0.5 * np.outer(then.sum(1), then.sum(0)) / total**2 * np.sqrt(then.size)
    down, across = now.sum(1), now.sum(0)
    for _ in range(rounds):
        fitted *= (down / np.maximum(fitted.sum(1), 1e-12))[:, None]
        fitted *= across / np.maximum(fitted.sum(0), 1e-12)
    return np.asarray(fitted, np.float64)
