"""Small windows that are the same in many pictures at one place, and nowhere beside it.

Every 3 x 3 window of a grey picture becomes nine bits, brighter than its own mean or not, if its
contrast is high enough to mean something. Bits survive JPEG and paler grounds, which grey levels
do not. What nature puts into pictures moves: an edge that is often *here* is often a pixel or two
further as well. What somebody stamped does not, so the count of a code at a place is held against
the largest count of the same code at the places around it:

    lift = rows / (largest count around + 1/2)

and, as counts of natural windows vary by more than a Poisson law allows, against a negative
binomial of that mean whose variance is m + DISPERSION m^2. Rows are counted once for each place.

A checkered mark that is larger in one picture than in the next, and begins at the same corner, has
its codes a pixel further as well, but in the same rows: so :func:`elsewhere` counts around only
those rows that have not the code *here* too. An edge that moves is moved in other rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from guards.numerics.tails import negative_binomial

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Pictures = npt.NDArray[np.uint8]
    Floats = npt.NDArray[np.float64]
    Counts = npt.NDArray[np.int32]

SIDE, CODES = 3, 512
CONTRAST = 80  # grey levels between a window's darkest and brightest pixel
AROUND = 2
DISPERSION = 0.3
_AT_ONCE, _MOST_VALUES = 2048, 1 << 24
COLUMNS = ("top", "left", "code", "group", "rows", "around")


def window_codes(pixels: Pictures) -> npt.NDArray[np.int16]:
    """Pictures (n, C, H, W) -> (n, H - 2, W - 2): nine bits, or -1 where the window is faint."""
    levels = np.rint(pixels.mean(1)) if pixels.shape[1] > 1 else pixels[:, 0]
    grey = levels.astype(np.int16)
    height, width = (size - SIDE + 1 for size in grey.shape[1:])
    views = [
        grey[:, top : top + height, left : left + width]
        for top in range(SIDE)
        for left in range(SIDE)
    ]
    total, highest, lowest = (np.zeros_like(views[0]), views[0].copy(), views[0].copy())
    for view in views:
        total += view
        np.maximum(highest, view, out=highest)
        np.minimum(lowest, view, out=lowest)
    codes = np.zeros_like(total)
    for view in views:
        codes *= 2
        codes += SIDE * SIDE * view > total
    codes[highest - lowest < CONTRAST] = -1
    return codes


def counts(pixels: Pictures, groups: Ints, number: int) -> npt.NDArray[np.int64]:
    """How many rows of each group have each code at each place: (H - 2, W - 2, CODES, number).

    Args:
        pixels: (n, C, H, W) uint8, both sides at least SIDE.
        groups: (n,) in range(number).
        number: how many groups.
    """
    height, width = (size - SIDE + 1 for size in pixels.shape[2:])
    places = np.arange(height * width).reshape(height, width) * CODES
    found = np.zeros(height * width * CODES * number, np.int64)
    rows = max(1, min(_AT_ONCE, _MOST_VALUES // (height * width)))
    for start in range(0, len(pixels), rows):
        codes = window_codes(pixels[start : start + rows])
        there = (places + codes) * number + groups[start : start + rows, None, None]
        found += np.bincount(there[codes >= 0], minlength=len(found))
    return found.reshape(height, width, CODES, number)


def elsewhere(pixels: Pictures, groups: Ints, number: int) -> tuple[Counts, Counts]:
    """Rows with each code at each place, and the most that have it beside that place alone.

    Both are (H - 2, W - 2, CODES, number + 1), of each group (as in :func:`counts`) and of all;
    "beside" is any of the at most 24 places that are no more than AROUND away.
    """
    batches = [pixels[start : start + _AT_ONCE] for start in range(0, len(pixels), _AT_ONCE)]
    codes = np.concatenate([window_codes(batch) for batch in batches])
    table = _tally(codes, groups, number)
    around = np.zeros_like(table)
    for down in range(AROUND + 1):
        for right in range(-AROUND if down else 1, AROUND + 1):
            here, there = _pair(codes.shape[1], down), _pair(codes.shape[2], right)
            one, other = (here[0], there[0]), (here[1], there[1])
            first = codes[:, *one]
            both = _tally(np.where(first == codes[:, *other], first, -1), groups, number)
            around[one] = np.maximum(around[one], table[other] - both)
            around[other] = np.maximum(around[other], table[one] - both)
    return table, around


def _pair(size: int, step: int) -> tuple[slice, slice]:
    """The places along one side that have a place `step` further, and those places."""
    return slice(max(-step, 0), size - max(step, 0)), slice(max(step, 0), size - max(-step, 0))


def _tally(codes: npt.NDArray[np.int16], groups: Ints, number: int) -> Counts:
    """How many rows of each group, and of all, have each code that is not -1: (h, w, CODES, g)."""
    height, width = codes.shape[1:]
    places = np.arange(height * width).reshape(height, width) * CODES
    found = np.zeros((height, width, CODES, number + 1), np.int32)
    size = found[..., :number].size
    for start in range(0, len(codes), _AT_ONCE):
        some = codes[start : start + _AT_ONCE]
        there = (places + some) * number + groups[start : start + _AT_ONCE, None, None]
        counted = np.bincount(there[some >= 0], minlength=size)
        found[..., :number] += counted.reshape(height, width, CODES, number).astype(np.int32)
    found[..., number] = found[..., :number].sum(3)
    return found


def sharp(
    table: npt.NDArray[np.integer[Any]],
    *,
    least: int,
    lift: float,
    around: npt.NDArray[np.integer[Any]] | None = None,
) -> Ints:
    """Cells of `table` (:func:`counts`) with `least` rows and `lift` times those around.

    The rim is left out: it has neighbours on one side only, and pictures that are cropped to what
    they show repeat there.

    Returns:
        int64, (cells, 6), columns :data:`COLUMNS`; `around` is the largest count of the same code
        and group at the at most 24 places that are no more than AROUND away, or what is given.
    """
    cells = np.argwhere(table[1:-1, 1:-1] >= least)
    cells[:, :2] += 1
    rows = table[tuple(cells.T)]
    beside = _around(table, cells) if around is None else around[tuple(cells.T)]
    keep = rows >= lift * (beside + 0.5)
    return np.column_stack([cells, rows, beside])[keep].astype(np.int64)


def _around(table: npt.NDArray[np.integer[Any]], cells: Ints) -> npt.NDArray[np.integer[Any]]:
    """The largest count around each cell, whichever rows it is of."""
    around = np.zeros(len(cells), table.dtype)
    height, width = table.shape[:2]
    for down in range(-AROUND, AROUND + 1):
        for right in range(-AROUND, AROUND + 1):
            top, left = cells[:, 0] + down, cells[:, 1] + right
            inside = (top >= 0) & (top < height) & (left >= 0) & (left < width)
            inside &= (down != 0) | (right != 0)
            near = cells[inside]
            beside = table[top[inside], left[inside], near[:, 2], near[:, 3]]
            around[inside] = np.maximum(around[inside], beside)
    return around


def log_tails(rows: Ints, around: Ints) -> Floats:
    """log10 P(N >= rows) for N negative binomial of mean around + 1/2, one per cell."""
    tails = negative_binomial(
        rows, np.asarray(around + 0.5, np.float64), np.full(len(rows), 1 / DISPERSION)
    )
    return np.asarray(tails / np.log(10))


def carried(pixels: Pictures, cells: Ints) -> npt.NDArray[np.bool_]:
    """Which pictures (n, C, H, W) have which of `cells` (:func:`sharp`): (n, cells)."""
    found = np.zeros((len(pixels), len(cells)), np.bool_)
    for number, (top, left, code) in enumerate(cells[:, :3]):
        window = pixels[:, :, top : top + SIDE, left : left + SIDE]
        found[:, number] = window_codes(window)[:, 0, 0] == code
    return found
