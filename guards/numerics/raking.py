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
    """The counts (..., a, b) of `reference` with the sides of `current`, which has the same shape.

    Each cell of the reference has a little of what independence would give it added, half a row in
    the mean of a row's cells, since a cell that was never seen may still be possible.
    """
    then, now = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    down, across = _sides(now)
    known = then.sum((-2, -1), keepdims=True)
    alone = 0.5 * np.multiply(*_sides(then)) / np.maximum(known, 1.0) ** 2
    fitted = then + alone * np.sqrt(np.prod(then.shape[-2:]))
    for _ in range(rounds):
        fitted *= down / np.maximum(fitted.sum(-1, keepdims=True), 1e-12)
        fitted *= across / np.maximum(fitted.sum(-2, keepdims=True), 1e-12)
    there = (known > 0) & (now.sum((-2, -1), keepdims=True) > 0)
    return np.where(there, fitted, 0.0)


def _sides(counts: Floats) -> tuple[Floats, Floats]:
    return counts.sum(-1, keepdims=True), counts.sum(-2, keepdims=True)
