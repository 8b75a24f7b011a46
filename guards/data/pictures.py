"""The stored bytes of pictures: the only code that hands them to a decoder.

Not allowed are formats other than PNG, JPEG, WebP and BMP (Pillow would otherwise hand the bytes to
EPS, PDF or PSD readers); more than :data:`MAX_PIXELS` in one picture, whatever its bytes inflate
to; a JPEG of so many scans that a few bytes cost minutes, in a call that no clock ends; the `path`
of a struct, which is a claim and is never opened.

As with tables, the first to decode a picture is a process of its own (:mod:`guards.data.trial`).
Nothing here needs numpy, which that process does without.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guards.errors import Unreadable

if TYPE_CHECKING:
    import polars as pl
    from PIL.ImageFile import ImageFile

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS = 1 << 26  # 8192 x 8192, 192 MiB as RGB
MAX_SCANNED = 1 << 31  # pixels times scans of a JPEG, in each of which all may be gone through
GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_SCAN = b"\xff\xda"  # which pixels never look like: behind 0xff they have a zero


def open_picture(data: bytes | None) -> ImageFile:
    """Read the header of one picture; Unreadable says what is wrong with it."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Unreadable("no bytes" if data is None else "empty")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        # Pillow's own message holds a memory address, which no two scans would share.
        raise Unreadable(f"not a {', '.join(FORMATS)} picture") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(f"declares more than {MAX_PIXELS:,} pixels") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise Unreadable(f"declares {width} x {height}, more than {MAX_PIXELS:,} pixels")
    if picture.format == "JPEG" and (scans := data.count(_SCAN)) * width * height > MAX_SCANNED:
        raise Unreadable(f"a JPEG of {width} x {height} in {scans} scans")
    return picture


def try_out(data: bytes | None) -> None:
    """Decode one picture and let go of it, to see that the decoder comes to no harm.

    What merely does not decode is told later, by row. MemoryError where there is not enough.
    """
    with quiet():
        try:
            picture = open_picture(data)
            picture.convert("L" if picture.mode in GREY else "RGB")
        except MemoryError:
            raise
        except Exception:  # decoders raise a zoo on hostile bytes: OSError, SyntaxError, ...
            return


def picture_columns(schema: Mapping[str, pl.DataType]) -> list[str]:
    """The columns in which pictures may be: of bytes, or of structs that hold them."""
    return [column for column, dtype in schema.items() if _holds_bytes(dtype)]


def stored_bytes(column: pl.Series) -> list[bytes | None]:
    """The bytes of an image column: binary itself, or the field `bytes` of a struct."""
    import polars as pl

    kind = column.dtype
    if not _holds_bytes(kind):
        raise Unreadable(
            f"image column {column.name!r} is {kind}: it must hold the bytes of image files, "
            "or struct{bytes, path} with them; a path alone is never opened"
        )
    return (column if kind == pl.Binary else column.struct.field("bytes")).to_list()


def _holds_bytes(dtype: pl.DataType) -> bool:
    import polars as pl

    in_struct = isinstance(dtype, pl.Struct) and pl.Field("bytes", pl.Binary) in dtype.fields
    return dtype == pl.Binary or in_struct


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warning about large pictures off the terminal: it is told by row instead."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield
