"""Which pictures are near copies of which: the same but for a pixel's move and a little noise.

Candidates are the CANDIDATES nearest pictures at 7 x 7; for each the root mean square difference
is taken at the best of all moves up to SHIFT pixels, over the picture's own deviation. A pair is
near when that is below `near` times the median over all pictures of their nearest, and below
CEILING: what is usual differs between sets (measured, 1,500 rows, one seed: the nearest natural
pair .13 in Fashion-MNIST, .22 in MNIST, .41 in CIFAR-10; planted copies .04, .03, .08 to .23, the
last as JPEG). Families are connected components of the pairs of which one has LINKS or more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float32]

CANDIDATES, SHIFT, COARSE, CEILING, FLAT, LINKS = 6, 2, 7, 0.25, 10.0, 4
_AT_ONCE = 1024


def families(pixels: npt.NDArray[np.uint8], *, near: float = 0.25) -> Ints:
    """The family of each picture (n, C, H, W), sides of at least 16: (n,), one number a family."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, k = len(pixels), min(CANDIDATES, len(pixels) - 1)
    if k < 1:
        return np.zeros(n, np.int64)
    other = _candidates(pixels, k)
    apart = np.concatenate(
        [_apart(pixels, rows, other[rows]) for rows in np.array_split(np.arange(n), n // 512 + 1)]
    )
    usual = float(np.median(apart.min(1)))
    row, place = np.nonzero(apart <= min(near * usual, CEILING))
    # A chain of likenesses is natural (trousers); a copy is near to many at once.
    links = np.bincount(row, minlength=n)
    dense = np.maximum(links[row], links[other[row, place]]) >= LINKS
    row, place = row[dense], place[dense]
    graph = coo_array((np.ones(len(row)), (row, other[row, place])), shape=(n, n))
    found: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def _candidates(pixels: npt.NDArray[np.uint8], k: int) -> Ints:
    """The k nearest of each picture at 7 x 7, brightness aside: (n, k)."""
    grey = pixels.mean(1, dtype=np.float32)
    height, width = (size // COARSE for size in grey.shape[1:])
    cut = grey[:, : COARSE * height, : COARSE * width]
    blocks = cut.reshape(len(grey), COARSE, height, COARSE, width).mean((2, 4))
    flat = blocks.reshape(len(grey), -1)
    flat -= flat.mean(1, keepdims=True)
    squares, found = (flat * flat).sum(1), []
    for start in range(0, len(flat), _AT_ONCE):
        block = flat[start : start + _AT_ONCE]
        far = squares[None] - 2 * block @ flat.T
        far[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        found.append(np.argpartition(far, k - 1, axis=1)[:, :k])
    return np.concatenate(found).astype(np.int64)


def _apart(pixels: npt.NDArray[np.uint8], rows: Ints, other: Ints) -> Floats:
    """How far `rows` (m,) are from `other` (m, k) at the best move, in their own deviations."""
    mine = pixels[rows].mean(1, dtype=np.float32)[:, SHIFT:-SHIFT, SHIFT:-SHIFT]
    theirs = pixels[other].mean(2, dtype=np.float32)
    height, width = mine.shape[1:]
    best = np.full(other.shape, np.inf, np.float32)
    for top in range(2 * SHIFT + 1):
        for left in range(2 * SHIFT + 1):
            moved = theirs[:, :, top : top + height, left : left + width]
            best = np.minimum(best, ((moved - mine[:, None]) ** 2).mean((2, 3)))
    usual = np.maximum(mine.std((1, 2)), FLAT)
    result: Floats = np.sqrt(best) / usual[:, None]
    return result
