"""The corners of pictures of unlike sizes: the stored pixels, in no more memory than allowed."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.data.corners import ANCHORS, LEAST, SIDE, corner_room, corners_of
from guards.data.dataset import open_dataset
from guards.data.images import decode

RNG = np.random.default_rng(0)


def drawn(height, width, colour=False):
    shape = (height, width, 3) if colour else (height, width)
    return RNG.integers(0, 256, shape, np.uint8)


def opened(tmp_path, pictures):
    data = []
    for pixels in pictures:
        buffer = io.BytesIO()
        if isinstance(pixels, bytes):
            buffer.write(pixels)
        else:
            Image.fromarray(pixels).save(buffer, "PNG")
        data.append(buffer.getvalue())
    pl.DataFrame({"image": data, "label": ["a"] * len(data)}).write_parquet(tmp_path / "x.parquet")
    return open_dataset(tmp_path, ["x.parquet"])


@pytest.mark.parametrize("size", [(16, 16), (40, 17), (19, 200)])
def test_a_corner_is_the_pixels_that_lie_there(size):
    pixels = drawn(*size)
    found = dict(zip(ANCHORS, corners_of(Image.fromarray(pixels), SIDE), strict=True))
    np.testing.assert_array_equal(found["upper left corner"], pixels[:16, :16])
    np.testing.assert_array_equal(found["upper right corner"], pixels[:16, -16:])
    np.testing.assert_array_equal(found["lower left corner"], pixels[-16:, :16])
    np.testing.assert_array_equal(found["lower right corner"], pixels[-16:, -16:])


def test_colours_are_averaged():
    pixels = drawn(30, 20, colour=True)
    found = corners_of(Image.fromarray(pixels), 8)
    np.testing.assert_array_equal(found[0], np.rint(pixels[:8, :8].mean(2)))


@pytest.mark.parametrize("size", [(1, 1), (5, 30), (30, 3)])
def test_of_a_smaller_picture_the_edges_are_repeated(size):
    """It stays in its corner, and what is added is as its edge is."""
    pixels = drawn(*size)
    tall, wide = (max(16 - side, 0) for side in size)
    found = corners_of(Image.fromarray(pixels), 16)
    for number, (lower, right) in enumerate(ANCHORS.values()):
        rows, columns = (tall, 0) if lower else (0, tall), (wide, 0) if right else (0, wide)
        whole = np.pad(pixels, (rows, columns), mode="edge")
        slices = tuple(slice(-16, None) if last else slice(16) for last in (lower, right))
        np.testing.assert_array_equal(found[number], whole[slices])


@pytest.mark.parametrize(("count", "side"), [(0, 16), (100, 16), (1000, 15), (3000, 9), (4000, 0)])
def test_the_windows_fit_their_budget(count, side):
    room = corner_room(count, 1_000_000)
    assert (0 if room is None else room.shape[-1]) == side
    assert room is None or (room.nbytes <= 1_000_000 and room.shape[-1] >= LEAST)


def test_they_are_kept_where_sizes_differ_and_not_else(tmp_path):
    alike = [drawn(24, 30) for _ in range(3)]
    assert decode(opened(tmp_path, alike)).corners is None
    unlike = [*alike, drawn(40, 18), b"broken", drawn(17, 99)]
    images = decode(opened(tmp_path, unlike))
    assert images.rows.tolist() == [0, 1, 2, 3, 5]
    expected = [corners_of(Image.fromarray(unlike[row]), SIDE) for row in images.rows]
    np.testing.assert_array_equal(images.corners, expected)
    assert decode(opened(tmp_path, unlike), budget=1000).corners is None


def test_a_picture_whose_pixels_break_leaves_no_corner(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(drawn(40, 40)).save(buffer, "PNG")
    images = decode(opened(tmp_path, [drawn(24, 30), buffer.getvalue()[:400], drawn(30, 30)]))
    assert images.rows.tolist() == [0, 2]
    assert len(images.corners) == len(images.pixels) == 2
    assert images.corners.any((1, 2, 3)).all()
