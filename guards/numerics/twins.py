"""For each of some pictures another one that looks like it, and none of them twice.

What sets a few pictures apart from *all* others is mostly what they show. Held against twins that
show the same, what is left is what they have and the twins lack. Pictures look alike here if their
means over 4 x 4 large blocks are near, which a faint pattern on top hardly changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Small = npt.NDArray[np.float32]

SIDE, NEAREST = 4, 20
_AT_ONCE = 1024


def blurred(pixels: npt.NDArray[np.uint8]) -> Small:
    """Pictures (n, C, H, W) -> (n, 16): grey means of 4 x 4 blocks, what is left over cut off."""
    height, width = (size // SIDE for size in pixels.shape[2:])
    found = np.empty((len(pixels), SIDE * SIDE), np.float32)
    for start in range(0, len(pixels), _AT_ONCE):
        part = pixels[start : start + _AT_ONCE, :, : SIDE * height, : SIDE * width]
        grey = part.mean(1, dtype=np.float32).reshape(len(part), SIDE, height, SIDE, width)
        found[start : start + _AT_ONCE] = grey.mean((2, 4)).reshape(len(part), -1)
    return found


def twins(mine: Small, others: Small) -> tuple[Ints, Ints]:
    """Pair rows of `mine` (m, d) with rows of `others` (k, d), the nearest pairs first.

    Only the NEAREST others of each are tried, so a row whose likes are all taken has no twin.

    Returns:
        Indices into `mine`, ascending, and the parallel ones into `others`, each at most once.
    """
    if not len(mine) or not len(others):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    squares = (mine**2).sum(1)[:, None] + (others**2).sum(1) - 2 * mine @ others.T
    tried = min(NEAREST, len(others))
    near = np.argpartition(squares, tried - 1, 1)[:, :tried]
    far = np.take_along_axis(squares, near, 1)
    pair, taken = np.full(len(mine), -1), np.zeros(len(others), np.bool_)
    for place in np.argsort(far, axis=None, kind="stable").tolist():
        row, other = place // tried, near[place // tried, place % tried]
        if pair[row] < 0 and not taken[other]:
            pair[row], taken[other] = other, True
    paired = np.flatnonzero(pair >= 0)
    return paired, pair[paired]
