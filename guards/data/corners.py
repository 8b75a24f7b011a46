"""What pictures of unlike sizes show at the same places, pixel by pixel.

Resizing each picture on its own blurs a small mark, and by another amount in every picture. A mark
that lies so many pixels from a corner lies at one place all the same if one looks from there: so a
window of :data:`SIDE` pixels is kept at each of :data:`ANCHORS`, as it is stored, in grey. Nothing
else of the full pictures is. Where a picture is smaller than that its edges are repeated, which
adds no corner that is not in the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# Whether the window lies at the lower and at the right edge. Not in the centre: things are there,
# and what is symmetric about it (the gap between the legs of trousers) lies at one place too.
ANCHORS = {
    "upper left corner": (False, False),
    "upper right corner": (False, True),
    "lower left corner": (True, False),
    "lower right corner": (True, True),
}
SIDE, LEAST = 16, 8  # pixels of a window, and of the smallest that is of any use


def corner_room(count: int, budget: int) -> NDArray[np.uint8] | None:
    """Zeros (n, ANCHORS, side, side): SIDE, or what fits `budget` bytes; None below LEAST."""
    fit = int((budget / max(count * len(ANCHORS), 1)) ** 0.5)
    side = min(SIDE, fit)
    return np.zeros((count, len(ANCHORS), side, side), np.uint8) if side >= LEAST else None


def corners_of(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """The windows (ANCHORS, side, side) of a picture in mode L or RGB: the mean of its colours."""
    width, height = picture.size
    windows = [
        _window(picture, _span(height, lower, side), _span(width, right, side))
        for lower, right in ANCHORS.values()
    ]
    return np.stack(windows)


def _span(size: int, last: bool, side: int) -> NDArray[np.int64]:
    """The first or last `side` pixels of `size`; where there are fewer that at the edge again."""
    return ((size - side if last else 0) + np.arange(side)).clip(0, size - 1)


def _window(
    picture: Image.Image, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.uint8]:
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    part = np.atleast_3d(np.asarray(picture.crop(box))).mean(2)
    grey = np.rint(part[(rows - rows[0])[:, None], columns - columns[0]])
    return np.asarray(grey, np.uint8)
