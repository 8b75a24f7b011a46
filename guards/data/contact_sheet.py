"""A sheet of pictures for people: suspects above, ordinary ones below, a region outlined."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

TILE, GAP, BAR = 96, 6, 14
LARGE = 176
_RED, _PAPER, _INK = (214, 40, 40), (255, 255, 255), (60, 60, 60)


def contact_sheet(
    rows: dict[str, npt.NDArray[np.uint8]], region: tuple[int, int, int, int] | None
) -> bytes:
    """One PNG: for each heading a line of pictures (m, C, H, W) uint8, the first one outlined.

    `region` is `(top, left, height, width)` in pixels of the pictures; None outlines nothing.
    The same input gives the same bytes.
    """
    from PIL import Image, ImageDraw

    longest = max((len(pictures) for pictures in rows.values()), default=1)
    size = (GAP + max(longest, 1) * (TILE + GAP), GAP + len(rows) * (TILE + BAR + GAP))
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for line, (heading, pictures) in enumerate(rows.items()):
        top = GAP + line * (TILE + BAR + GAP)
        pen.text((GAP, top), heading, fill=_INK)
        for column, picture in enumerate(pictures):
            corner = (GAP + column * (TILE + GAP), top + BAR)
            sheet.paste(_tile(picture), corner)
            if region and line == 0:
                pen.rectangle(_outline(corner, region, picture.shape[1:]), outline=_RED, width=2)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def strip(pictures: Mapping[str, npt.NDArray[np.uint8]]) -> bytes:
    """One PNG: pictures (C, H, W) uint8 beside each other, large, each under its heading.

    Pixels stay square and sharp, so what is not as high as it is wide leaves paper below.
    """
    from PIL import Image, ImageDraw

    size = (GAP + len(pictures) * (LARGE + GAP), GAP + BAR + LARGE + GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (heading, picture) in enumerate(pictures.items()):
        left = GAP + column * (LARGE + GAP)
        pen.text((left, GAP), heading, fill=_INK)
        height, width = picture.shape[1:]
        scale = LARGE / max(height, width)
        wanted = (max(round(width * scale), 1), max(round(height * scale), 1))
        sheet.paste(_tile(picture, wanted), (left, GAP + BAR))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _tile(picture: npt.NDArray[np.uint8], size: tuple[int, int] = (TILE, TILE)) -> Image.Image:
    from PIL import Image

    colours = np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(colours)).resize(size, 0)


def _outline(
    corner: tuple[int, int], region: tuple[int, int, int, int], shape: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """The region in sheet pixels, one pixel wider all round, inside its tile."""
    top, left, height, width = region
    down, along = TILE / shape[0], TILE / shape[1]
    x, y = corner
    return (
        x + max(left * along - 2, 0),
        y + max(top * down - 2, 0),
        x + min((left + width) * along + 1, TILE - 1),
        y + min((top + height) * down + 1, TILE - 1),
    )
