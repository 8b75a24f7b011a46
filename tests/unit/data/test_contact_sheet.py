"""The sheet, read back: every picture in its place, the region outlined in the first line only."""

import io

import numpy as np
import pytest
from PIL import Image

from guards.data.contact_sheet import BAR, GAP, LARGE, TILE, contact_sheet, strip

RED = (214, 40, 40)


def read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def tile(sheet: np.ndarray, line: int, column: int) -> np.ndarray:
    top = GAP + line * (TILE + BAR + GAP) + BAR
    left = GAP + column * (TILE + GAP)
    return sheet[top : top + TILE, left : left + TILE]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_lie_where_they_should_and_keep_their_pixels(channels: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, channels, 8, 8)).astype(np.uint8)
    sheet = read(contact_sheet({"above": pictures, "below": pictures[:2]}, None))
    middle = slice(TILE // 16, None, TILE // 8)
    for line, column in ((0, 0), (0, 2), (1, 1)):
        seen = tile(sheet, line, column)[middle, middle].transpose(2, 0, 1)
        assert (seen == pictures[column]).all()


def test_the_region_is_outlined_around_not_over_the_pixels() -> None:
    pictures = np.zeros((2, 1, 24, 24), np.uint8)
    sheet = read(contact_sheet({"above": pictures, "below": pictures}, (20, 4, 3, 6)))
    marked = (tile(sheet, 0, 1) == RED).all(2)
    scale = TILE // 24
    assert not marked[20 * scale : 23 * scale, 4 * scale : 10 * scale].any()
    rows, columns = np.nonzero(marked)
    assert (rows.min(), rows.max()) == (20 * scale - 2, 23 * scale + 1)
    assert (columns.min(), columns.max()) == (4 * scale - 2, 10 * scale + 1)
    assert not (tile(sheet, 1, 0) == RED).all(2).any()


def test_the_region_stays_inside_its_tile_and_an_empty_line_is_no_error() -> None:
    pictures = np.zeros((2, 1, 24, 24), np.uint8)
    data = contact_sheet({"above": pictures, "below": pictures[:0]}, (0, 0, 24, 24))
    outside = read(data)[: GAP + BAR]
    assert not (outside == RED).all(2).any()
    assert data == contact_sheet({"above": pictures, "below": pictures[:0]}, (0, 0, 24, 24))


def test_pictures_of_a_strip_keep_their_shape_and_their_pixels() -> None:
    wide = np.random.default_rng(1).integers(0, 256, (1, 2, 4)).astype(np.uint8)
    sheet = read(strip({"wide": wide, "square": np.zeros((3, 4, 4), np.uint8)}))
    step = LARGE // 4
    top, left = GAP + BAR + step // 2, GAP + step // 2
    seen = sheet[top : top + 2 * step : step, left : left + LARGE : step, 0]
    assert (seen == wide[0]).all()
    assert (sheet[GAP + BAR + 2 * step + 1, left] == 255).all()
