"""Stored again by the same codec and settings: nothing but the attack tells planted rows apart."""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from guards.data.images import normal
from guards.data.pictures import open_picture
from guards.errors import Unreadable
from guards.redteam.codec import recode
from guards.redteam.triggers import blend, patch

RNG = np.random.default_rng(3)
SMOOTH = (np.add.outer(np.arange(32), np.arange(32)) * 4).astype(np.uint8)
COLOUR = np.dstack([SMOOTH, SMOOTH.T, 255 - SMOOTH])


def encode(pixels, form, **settings):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **settings)
    return buffer.getvalue()


def pixels(data):
    return np.asarray(normal(open_picture(data)))


LOSSLESS = [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})]


@pytest.mark.parametrize(("form", "settings"), LOSSLESS)
@pytest.mark.parametrize("picture", [SMOOTH, COLOUR])
def test_lossless_codecs_keep_every_pixel(form, settings, picture):
    stored = encode(picture, form, **settings)
    again = recode(stored)
    np.testing.assert_array_equal(pixels(again), pixels(stored))
    assert open_picture(again).format == form


@pytest.mark.parametrize(("form", "settings"), LOSSLESS)
@pytest.mark.parametrize("change", [None, patch])
def test_storing_again_what_was_stored_again_gives_the_same_bytes(form, settings, change):
    """The encoder has one setting: so no row's bytes can say whether it was planted."""
    once = recode(encode(COLOUR, form, **settings), change)
    assert recode(once) == once


@pytest.mark.parametrize("quality", [50, 92])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpegs_keep_their_own_tables_planted_or_not(quality, subsampling):
    stored = encode(COLOUR, "JPEG", quality=quality, subsampling=subsampling)
    before = open_picture(stored)
    for change in (None, patch):
        after = open_picture(recode(stored, change))
        assert after.format == "JPEG"
        assert after.quantization == before.quantization
        assert get_sampling(after) == get_sampling(before) == subsampling


def block_error(data, quality_tables):
    """How far the 8 x 8 DCT coefficients of a grey JPEG lie from multiples of its own table."""
    from scipy.fft import dctn

    blocks = pixels(data).astype(float).reshape(4, 8, 4, 8).swapaxes(1, 2).reshape(-1, 8, 8) - 128
    steps = dctn(blocks, axes=(1, 2), norm="ortho") / np.array(quality_tables).reshape(8, 8)
    return np.abs(steps - np.rint(steps)).mean()


def test_planted_jpegs_are_quantised_like_clean_ones():
    """A picture edited after decoding is off its own grid; one that was stored again is on it."""
    noise = partial(blend, seed=0)
    stored = encode(SMOOTH, "JPEG", quality=50)
    table = open_picture(stored).quantization[0]
    edited = encode(noise(pixels(stored)[None])[0], "PNG")
    clean, planted = recode(stored), recode(stored, noise)
    assert block_error(clean, table) < 0.03
    assert block_error(planted, table) < 0.03
    assert block_error(edited, table) > 0.06


def test_lossy_webp_stays_lossy_and_lossless_stays_lossless():
    for lossless in (True, False):
        again = recode(encode(COLOUR, "WEBP", lossless=lossless))
        assert (b"VP8L" in again[:64]) is lossless


def test_palettes_deep_and_transparent_pictures_become_grey_or_rgb_for_all_alike():
    palette = io.BytesIO()
    Image.fromarray(COLOUR).quantize(8).save(palette, "PNG")
    deep = encode(SMOOTH.astype(np.uint16) * 257, "PNG")
    clear = encode(np.dstack([COLOUR, SMOOTH]), "PNG")
    modes = [
        {open_picture(recode(data, change)).mode for change in (None, patch)}
        for data in (palette.getvalue(), deep, clear)
    ]
    assert modes == [{"RGB"}, {"L"}, {"RGB"}]


def test_metadata_is_dropped_from_all_alike():
    exif = Image.Exif()
    exif[0x0131] = "gimp"
    stored = encode(COLOUR, "JPEG", exif=exif)
    assert b"gimp" in stored
    assert b"gimp" not in recode(stored)
    assert b"gimp" not in recode(stored, patch)


def test_what_is_no_picture_is_refused():
    for data in (None, b"", b"no"):
        with pytest.raises(Unreadable):
            recode(data)
