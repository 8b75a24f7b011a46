"""Untrusted pictures: what decodes, what is refused and told by row, and what never happens."""

import io
import struct
import threading
import time
import warnings
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from guards.data import images as pictures_of_data
from guards.data.dataset import open_dataset
from guards.data.images import WORKING, Room, decode, normal, working_size
from guards.data.pictures import MAX_PIXELS, open_picture, stored_bytes
from guards.errors import Unreadable

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (28, 28), np.uint8)
COLOUR = RNG.integers(0, 256, (28, 28, 3), np.uint8)


def encode(pixels, form="PNG", **settings):
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, form, **settings)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width=50_000, height=50_000):
    """A PNG of under 100 bytes that declares 2.5 gigapixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def opened(tmp_path, pictures, paths=None):
    """A dataset of these bytes in two shards, `image` a struct unless `paths` is False."""
    column = pl.Series("image", pictures, pl.Binary)
    if paths is not False:
        named = pl.Series("path", paths or [None] * len(pictures), pl.String)
        column = pl.DataFrame([column.alias("bytes"), named]).to_struct("image")
    frame = pl.DataFrame([column, pl.Series("label", ["a"] * len(pictures))])
    half = len(frame) // 2
    names = []
    for number, part in enumerate((frame[:half], frame[half:])):
        if len(part):
            names.append(f"part-{number}.parquet")
            part.write_parquet(tmp_path / names[-1])
    return open_dataset(tmp_path, names)


@pytest.mark.parametrize("paths", [None, False])
def test_pixels_are_those_that_were_stored(tmp_path, paths):
    pictures = [encode(GREY), encode(255 - GREY), encode(GREY.T)]
    images = decode(opened(tmp_path, pictures, paths))
    assert images.pixels.dtype == np.uint8
    np.testing.assert_array_equal(images.pixels[:, 0], [GREY, 255 - GREY, GREY.T])
    assert images.rows.tolist() == [0, 1, 2]
    assert images.failed == ()
    assert images.sizes == {(28, 28): 3}
    assert images.modes == {"L": 3}


def test_one_colour_picture_makes_all_of_them_colour(tmp_path):
    images = decode(opened(tmp_path, [encode(GREY), encode(COLOUR)]))
    assert images.pixels.shape == (2, 3, 28, 28)
    np.testing.assert_array_equal(images.pixels[0], [GREY] * 3)
    np.testing.assert_array_equal(images.pixels[1], COLOUR.transpose(2, 0, 1))


def test_what_does_not_decode_is_told_by_row_and_stops_nothing(tmp_path):
    whole = encode(GREY)
    flipped = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    pictures = [whole, b"not a picture", whole[:200], None, b"", flipped, bomb(), whole]
    images = decode(opened(tmp_path, pictures))
    assert images.rows.tolist() == [0, 7]
    np.testing.assert_array_equal(images.pixels[:, 0], [GREY, GREY])
    told = dict(images.failed)
    assert sorted(told) == [1, 2, 3, 4, 5, 6]
    assert told[1] == "not a PNG, JPEG, WEBP, BMP picture"
    assert "truncated" in told[2]
    assert told[3] == "no bytes"
    assert told[4] == "empty"
    assert told[5]
    assert "pixels" in told[6]


@pytest.mark.parametrize("most", [1, 10, 25])
def test_threads_hold_no_more_together_than_there_is(most):
    """Who needs more than all of it holds it alone; nobody waits for ever."""
    room, held, peaks, lock = Room(most), [], [], threading.Lock()

    def decode_one(share):
        with room.of(share):
            with lock:
                held.append(min(share, most))
                peaks.append(sum(held))
            time.sleep(0.001)
            with lock:
                held.remove(min(share, most))

    shares = [1, 7, 10, 3, 50, 10, 1, 9] * 8
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(decode_one, shares))
    assert len(peaks) == len(shares)
    assert max(peaks) <= most


def test_pictures_that_wait_for_each_other_are_those_that_were_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures_of_data, "AT_ONCE", 1)
    stored = [RNG.integers(0, 256, (300, 300), np.uint8) for _ in range(9)]
    found = decode(opened(tmp_path, [encode(pixels) for pixels in stored]))
    assert not found.failed
    assert np.array_equal(found.pixels[:, 0], np.stack(stored))


def test_messages_are_the_same_each_time(tmp_path):
    dataset = opened(tmp_path, [b"not a picture", encode(GREY)[:100], bomb(), encode(GREY)])
    assert decode(dataset).failed == decode(dataset).failed


@pytest.mark.parametrize("side", [8_193, 13_000, 50_000])
def test_a_bomb_is_refused_by_its_header_and_without_a_warning(tmp_path, side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = decode(opened(tmp_path, [bomb(side, side), encode(GREY)]))
    assert len(bomb(side, side)) < 100
    assert [row for row, _ in images.failed] == [0]
    assert f"{MAX_PIXELS:,}" in images.failed[0][1]


def test_all_rows_may_fail(tmp_path):
    images = decode(opened(tmp_path, [b"x", b"y", None]))
    assert images.pixels.shape == (0, 1, 1, 1)
    assert len(images.rows) == len(images.digests) == 0
    assert len(images.failed) == 3


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PPM", "ICO", "PDF", "EPS"])
def test_other_formats_are_not_handed_to_their_readers(form):
    with pytest.raises(Unreadable, match="not a PNG"):
        open_picture(encode(COLOUR, form))


@pytest.mark.parametrize(("form", "lossless"), [("PNG", True), ("BMP", True), ("JPEG", False)])
def test_allowed_formats_decode(tmp_path, form, lossless):
    smooth = np.add.outer(np.arange(28), np.arange(28)).astype(np.uint8) * 4
    images = decode(opened(tmp_path, [encode(smooth, form)]))
    worst = np.abs(images.pixels[0, 0].astype(int) - smooth).max()
    assert worst == 0 if lossless else worst < 12


def test_lossless_webp_decodes(tmp_path):
    images = decode(opened(tmp_path, [encode(COLOUR, "WEBP", lossless=True)]))
    np.testing.assert_array_equal(images.pixels[0], COLOUR.transpose(2, 0, 1))


def test_sixteen_bits_keep_their_upper_eight():
    deep = GREY.astype(np.uint16) * 257
    np.testing.assert_array_equal(normal(open_picture(encode(deep))), GREY)


def test_palettes_become_the_colours_that_they_mean():
    palette = Image.fromarray(COLOUR).quantize(16)
    np.testing.assert_array_equal(
        normal(open_picture(encode(palette))), np.asarray(palette.convert("RGB"))
    )


def test_what_hides_behind_transparency_is_seen():
    hidden = np.dstack([COLOUR, np.zeros((28, 28), np.uint8)])
    np.testing.assert_array_equal(normal(open_picture(encode(hidden))), COLOUR)
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (28, 28), 0)])
    np.testing.assert_array_equal(normal(open_picture(encode(grey))), GREY)


def test_one_bit_and_cmyk():
    bits = Image.fromarray(GREY).convert("1")
    np.testing.assert_array_equal(normal(open_picture(encode(bits))), np.asarray(bits) * 255)
    cmyk = Image.new("CMYK", (28, 28), (0, 255, 255, 0))
    red = np.asarray(normal(open_picture(encode(cmyk, "JPEG"))))
    assert red.shape == (28, 28, 3)
    assert red[..., 0].min() > 240
    assert red[..., 1:].max() < 15


def test_the_first_frame_stands_for_an_animation(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    images = decode(opened(tmp_path, [data]))
    np.testing.assert_array_equal(images.pixels[0, 0], GREY)


def test_mixed_sizes_take_the_most_common_one(tmp_path):
    big = np.full((40, 20), 90, np.uint8)
    images = decode(opened(tmp_path, [encode(GREY), encode(GREY.T), encode(big)]))
    assert images.pixels.shape == (3, 1, 28, 28)
    np.testing.assert_array_equal(images.pixels[1, 0], GREY.T)
    assert (images.pixels[2] == 90).all()
    assert images.sizes == {(28, 28): 2, (20, 40): 1}


def test_a_tie_of_sizes_goes_to_the_smaller_one(tmp_path):
    pictures = [encode(np.zeros((side, side), np.uint8)) for side in (64, 16)]
    assert decode(opened(tmp_path, pictures)).pixels.shape == (2, 1, 16, 16)


@given(
    st.dictionaries(
        st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 9), min_size=1
    )
)
def test_the_working_size_is_the_common_one_or_the_median_of_the_sides(counts):
    """ "The size that at least half of them have. Where there is none, the median ..." """
    sizes = Counter(counts)
    rows = sorted(sizes.elements())
    found = working_size(sizes)
    if 2 * max(counts.values()) >= len(rows):
        assert 2 * sizes[found] >= len(rows)
        return
    for side in (0, 1):
        assert found[side] == sorted(size[side] for size in rows)[len(rows) // 2]


def test_large_pictures_of_unlike_sizes_are_compared_small():
    assert working_size(Counter({(900 + n, 700 + n): 1 for n in range(9)})) == (WORKING, WORKING)
    assert working_size(Counter({(900, 700): 5, (10, 10): 4})) == (900, 700)
    assert working_size(Counter()) == (1, 1)


def test_one_tiny_picture_does_not_decide_for_all_of_them(tmp_path):
    """Before, of sizes that each occur once the smallest one was the size of all."""
    shapes = [(1, 1), (30, 31), (32, 33), (34, 35), (36, 37), (1, 500), (500, 1)]
    pictures = [encode(np.full(shape, 9, np.uint8)) for shape in shapes]
    images = decode(opened(tmp_path, pictures))
    assert images.pixels.shape == (7, 1, 32, 33)
    assert (images.pixels == 9).all()
    assert images.failed == ()


def test_a_corner_stays_a_corner_whatever_size_a_picture_has(tmp_path):
    pictures = []
    for side in (20, 32, 33, 34, 80):
        pixels = np.zeros((side, side), np.uint8)
        pixels[-side // 4 :, -side // 4 :] = 255
        pictures.append(encode(pixels))
    images = decode(opened(tmp_path, pictures))
    assert images.pixels.shape[2:] == (33, 33)
    assert (images.pixels[:, 0, -6:, -6:] > 200).all()
    assert (images.pixels[:, 0, :20, :20] == 0).all()


def test_what_exif_says_of_the_orientation_is_applied_to_no_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = np.add.outer(np.arange(28), np.zeros(28)).astype(np.uint8) * 9
    turned = encode(Image.fromarray(smooth), "JPEG", exif=exif)
    images = decode(opened(tmp_path, [turned, encode(Image.fromarray(smooth), "JPEG")]))
    np.testing.assert_array_equal(images.pixels[0], images.pixels[1])


def test_sixteen_bits_palette_alpha_and_cmyk_stand_beside_each_other(tmp_path):
    colour = Image.fromarray(COLOUR)
    pictures = [
        encode(GREY.astype(np.uint16) * 257),
        encode(colour.quantize(16)),
        encode(np.dstack([COLOUR, np.zeros((28, 28), np.uint8)])),
        encode(colour.convert("CMYK"), "JPEG"),
        encode(colour.convert("1")),
    ]
    images = decode(opened(tmp_path, pictures))
    assert images.pixels.shape == (5, 3, 28, 28)
    assert images.failed == ()
    np.testing.assert_array_equal(images.pixels[0], [GREY] * 3)
    np.testing.assert_array_equal(images.pixels[2], COLOUR.transpose(2, 0, 1))


def test_the_array_stays_within_its_budget(tmp_path):
    pictures = [encode(np.full((100, 60), 7, np.uint8))] * 4
    images = decode(opened(tmp_path, pictures), budget=4 * 50 * 30)
    assert images.pixels.shape == (4, 1, 50, 30)
    assert (images.pixels == 7).all()


def test_a_path_is_never_opened(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode(GREY))
    data = tmp_path / "data"
    data.mkdir()
    paths = [str(secret), "../secret.png", "file:///etc/passwd"]
    images = decode(opened(data, [None, None, encode(COLOUR)], paths))
    assert images.failed == ((0, "no bytes"), (1, "no bytes"))
    np.testing.assert_array_equal(images.pixels[0], COLOUR.transpose(2, 0, 1))


def test_digests_name_pixels_and_not_their_encoding(tmp_path):
    stored = [encode(GREY), encode(GREY, optimize=True), encode(GREY, "BMP"), encode(255 - GREY)]
    digests = decode(opened(tmp_path, stored)).digests
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_digests_tell_shapes_apart(tmp_path):
    flat = [encode(np.zeros(shape, np.uint8)) for shape in ((28, 28), (14, 56), (56, 14))]
    assert len(set(decode(opened(tmp_path, flat)).digests.tolist())) == 3


def test_a_column_without_bytes_is_refused():
    for column in (pl.Series("image", ["a.png"]), pl.Series("image", [{"path": "a.png"}])):
        with pytest.raises(Unreadable, match="never opened"):
            stored_bytes(column)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_hostile_bytes_give_pixels_or_a_reason_and_nothing_else(noise, cut):
    """ "Every row that cannot be decoded is told by its number, and none stops the others.\""""
    import tempfile
    from pathlib import Path

    whole = encode(GREY)
    with tempfile.TemporaryDirectory() as folder:
        hostile = whole[:cut] + noise + whole[cut + len(noise) :]
        images = decode(opened(Path(folder), [whole, hostile]))
    assert images.rows.tolist() in ([0], [0, 1])
    assert len(images.rows) + len(images.failed) == 2
    assert len(images.pixels) == len(images.rows) == len(images.digests)
