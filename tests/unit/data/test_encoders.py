"""Encoders told by their headers: real files of Pillow, and bytes of an adversary."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from guards.data.encoders import read_encoder

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)


def stored(form, pixels=PIXELS, **settings):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **settings)
    return buffer.getvalue()


WAYS = {
    "jpeg": stored("JPEG"),
    "jpeg 90": stored("JPEG", quality=90),
    "jpeg 4:4:4": stored("JPEG", subsampling=0),
    "jpeg progressive": stored("JPEG", progressive=True),
    "jpeg optimised": stored("JPEG", optimize=True),
    "jpeg comment": stored("JPEG", comment=b"hello"),
    "jpeg exif": stored("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    "png": stored("PNG"),
    "png best": stored("PNG", optimize=True),
    "png dpi": stored("PNG", dpi=(72, 72)),
    "webp": stored("WEBP"),
    "webp lossless": stored("WEBP", lossless=True),
    "bmp": stored("BMP"),
}


def test_every_way_of_storing_is_told_apart():
    told = [read_encoder(data).settings for data in WAYS.values()]
    assert len(set(told)) == len(WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_sizes_are_read(way):
    assert read_encoder(WAYS[way]).size == (24, 20)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_one_encoder_has_one_name_whatever_the_picture_shows(form):
    rng = np.random.default_rng(1)
    pictures = [
        np.zeros((20, 24, 3), np.uint8),
        PIXELS,
        rng.integers(0, 2, (70, 9, 3)).astype(np.uint8) * 255,
        np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (64, 64, 3)).copy(),
    ]
    assert len({read_encoder(stored(form, picture)).settings for picture in pictures}) == 1


def test_quality_is_named_where_the_usual_tables_were_scaled():
    for quality in (50, 75, 92, 100):
        data = stored("JPEG", quality=quality)
        assert read_encoder(data).settings.startswith(f"JPEG quality {quality} (tables ")
    own = stored("JPEG", qtables=[list(range(1, 65)), list(range(2, 66))])
    assert read_encoder(own).settings.startswith("JPEG tables ")


def test_looks():
    assert read_encoder(stored("JPEG", PIXELS[..., 0])).look == "grey"
    assert read_encoder(stored("PNG", PIXELS[..., 0])).look == "grey"
    assert read_encoder(stored("PNG")).look == "colour"
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert("P").save(buffer, "PNG")
    assert read_encoder(buffer.getvalue()).look == "palette"


@pytest.mark.parametrize("data", [None, b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"GIF89a", b"BM"])
def test_what_is_no_picture_has_no_encoder(data):
    assert read_encoder(data) is None


@pytest.mark.parametrize("way", WAYS)
def test_cut_and_damaged_headers_raise_nothing(way):
    whole, rng = WAYS[way], np.random.default_rng(2)
    for end in range(min(len(whole), 700)):
        read_encoder(whole[:end])
    for _ in range(100):
        broken = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 700), 4):
            broken[place] = rng.integers(256)
        read_encoder(bytes(broken))


def test_hostile_lengths_end():
    chunk = struct.pack(">I4s", 0, b"teXt") + b"\0\0\0\0"
    head = stored("PNG")[:33]
    assert read_encoder(head + chunk * 50_000).look == "colour"
    assert read_encoder(head + struct.pack(">I4s", 0xFFFFFFFF, b"IDAT")) is None
    assert read_encoder(b"\xff\xd8" + b"\xff\xe0\x00\x00" * 50_000) is None
