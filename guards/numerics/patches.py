"""Cells of pictures: which rows share the same small window of pixels at the same place.

Grey levels are rounded to :data:`LEVELS` steps that centre black and white in theirs, and every
window of SIDE x SIDE becomes one integer, exactly, so rows share a cell if and only if they share
the quantised window. For every window and every target label the cell's *turn rate* is counted:
of the rows in the cell that do not look like the target, how many bear its label? A trigger turns
nearly all; nothing natural turns more than a few, whatever the class looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Codes = npt.NDArray[np.integer[Any]]
    Bools = npt.NDArray[np.bool_]

LEVELS = 8
SIDE = 3
COLUMNS = ("top", "left", "code", "target", "rows", "turned")


def windows(pixels: npt.NDArray[np.uint8]) -> Codes:
    """The window codes of grey pictures (n, H, W): int32 (n, H - SIDE + 1, W - SIDE + 1)."""
    step = 255 / (LEVELS - 1)
    levels = np.rint(pixels / np.float32(step)).astype(np.int32)
    height, width = (max(size - SIDE + 1, 0) for size in pixels.shape[1:])
    codes = np.zeros((len(pixels), height, width), np.int32)
    for top in range(SIDE):
        for left in range(SIDE):
            codes *= LEVELS
            codes += levels[:, top : top + height, left : left + width]
    return codes


def turn_rates(codes: Codes, labels: Ints, looks: Ints, turned: Bools, *, least: int) -> Ints:
    """Count every cell with at least `least` rows that do not look like some target label.

    Args:
        codes: (n, H', W') as of :func:`windows`.
        labels: (n,) in range(classes), the labels that the rows bear.
        looks: (n,) in range(classes), the labels that the rows' pictures look like.
        turned: (n,), rows whose label is inconsistent with their looks.
        least: rows without which a cell is not counted.

    Returns:
        int64, (cells, 6), columns :data:`COLUMNS`: `rows` do not look like `target`, `turned` of
        them bear its label. Turned rows that look like it all the same count in both.
    """
    found = [
        _at(codes[:, top, left], labels, looks, turned, least, (top, left))
        for top in range(codes.shape[1])
        for left in range(codes.shape[2])
    ]
    return np.concatenate(found) if found else np.zeros((0, len(COLUMNS)), np.int64)


def carried(codes: Codes, cells: Ints) -> npt.NDArray[np.float64]:
    """The share of `cells` (as of :func:`turn_rates`) whose window each row has; (n,) in [0, 1]."""
    hits = codes[:, cells[:, 0], cells[:, 1]] == cells[None, :, 2]
    return hits.mean(1) if len(cells) else np.zeros(len(codes))


def box(
    inside: npt.NDArray[np.uint8], outside: npt.NDArray[np.uint8], near: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The smallest box `(top, left, height, width)` around the pixels that make a trigger.

    A pixel belongs to it if nine in ten pictures `inside` (m, H, W), which carry the trigger,
    have one quantised value there, and at most half of those `outside` have it. Without any such
    pixel the window at `near` is the answer.
    """
    step = 255 / (LEVELS - 1)
    a, b = (np.rint(pixels / step).astype(np.int64) for pixels in (inside, outside))
    counts = np.stack([(a == level).mean(0) for level in range(LEVELS)])
    common = counts.argmax(0)
    fixed = (counts.max(0) >= 0.9) & ((b == common).mean(0) <= 0.5)
    if not fixed.any():
        return (*near, SIDE, SIDE)
    tops, lefts = np.flatnonzero(fixed.any(1)), np.flatnonzero(fixed.any(0))
    top, left = int(tops[0]), int(lefts[0])
    return top, left, int(tops[-1]) - top + 1, int(lefts[-1]) - left + 1


def _at(
    codes: Codes, labels: Ints, looks: Ints, turned: Bools, least: int, place: tuple[int, int]
) -> Ints:
    classes = int(max(labels.max(initial=0), looks.max(initial=0))) + 1
    seen, cell, counts = np.unique(codes, return_inverse=True, return_counts=True)
    table = (len(seen), classes)
    hits = _count(cell, labels, turned, table)
    alike = _count(cell, looks, ~(turned & (looks == labels)), table)
    rows = counts[:, None] - alike
    which, target = np.nonzero((rows >= least) & (counts >= least)[:, None])
    columns = (which * 0 + place[0], which * 0 + place[1], seen[which], target)
    return np.stack([*columns, rows[which, target], hits[which, target]], axis=1)


def _count(cell: Ints, label: Ints, of: Bools, table: tuple[int, int]) -> Ints:
    places = cell[of] * table[1] + label[of]
    return np.bincount(places, minlength=table[0] * table[1]).reshape(table)
