"""Store a picture again by the codec and settings that it came with.

Planting a trigger after decoding and storing only the planted rows again would give them away by
their encoder (a JPEG's 8 x 8 quantisation is broken where pixels were edited), and a detector
tried on such data would look better than it is. So planted *and* clean rows go through here, once
each: PNG (with as much effort as it was) and BMP lossless, WebP as lossless or lossy as it was,
JPEG with the quantisation tables, chroma subsampling, scans and kind of Huffman tables of that very
row. Metadata is dropped from all alike.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.encoders import read_encoder
from guards.data.images import normal
from guards.data.pictures import open_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

# By what a PNG admits of its compression (RFC 1950), a level of zlib's that admits the same.
_EFFORTS = {"0": {"compress_level": 1}, "1": {"compress_level": 5}, "2": {"compress_level": 6}}
Change = Callable[["NDArray[np.uint8]"], "NDArray[np.uint8]"]


def recode(data: bytes | None, change: Change | None = None) -> bytes:
    """Decode, `change` the pixels (C, H, W) if asked to, and encode as before.

    C is 1 for grey pictures and 3 for all others. Raises Unreadable or what Pillow's decoders
    raise for bytes that are no picture.
    """
    from PIL import Image

    picture = open_picture(data)
    pixels = np.asarray(normal(picture))
    if change:
        planes = change(np.atleast_3d(pixels).transpose(2, 0, 1)).transpose(1, 2, 0)
        pixels = np.ascontiguousarray(planes.reshape(pixels.shape))
    buffer = io.BytesIO()
    form, settings = _settings(picture, data or b"")
    Image.fromarray(pixels).save(buffer, form, **settings)
    return buffer.getvalue()


def again(data: bytes | None, change: Change | None) -> bytes | None:
    """The picture stored again; what does not decode (never a planted row) stays as it is."""
    try:
        return recode(data, change)
    except Exception:
        if change:
            raise
        return data


def _settings(picture: ImageFile, data: bytes) -> tuple[str, dict[str, Any]]:
    """Pillow's name of the format, and what to save with."""
    from PIL.JpegImagePlugin import JpegImageFile, get_sampling

    found = read_encoder(data)
    told = found.settings if found else ""
    if isinstance(picture, JpegImageFile):
        return "JPEG", {
            "qtables": picture.quantization,
            "subsampling": get_sampling(picture),
            "progressive": "progressive" in told,
            "optimize": "own Huffman" in told,
        }
    match picture.format:
        case "PNG":
            effort = told.partition("zlib effort ")[2][:1]
            return "PNG", _EFFORTS.get(effort, {"optimize": True})
        case "WEBP":
            return "WEBP", {"lossless": True} if b"VP8L" in data[:64] else {"quality": 90}
    return str(picture.format), {}
