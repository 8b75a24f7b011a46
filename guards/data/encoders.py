"""Which encoder wrote a picture: read from the header of its stored bytes, nothing decoded.

Two programs, or one with two settings, leave different headers around the same pixels: JPEG's
quantisation tables, chroma subsampling, scan kind, Huffman tables and segments (ITU T.81), PNG's
depth, interlacing, chunks and the effort that zlib's second byte admits (RFC 1950, 2083), WebP's
kind, BMP's header. What a *picture* decides is left out, since that follows the label: its size,
whether it is grey, how many bytes it took, which PNG filters paid. The bytes are those of an
adversary: everything is bounded by their length, and what is no header is told as None.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from guards.text import printable

MOST = 16
_STANDARD_HUFFMAN = (208, 416)  # bytes of Annex K's tables, for grey and for colour
_LONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Annex K's luminance table in zigzag order, which the Independent JPEG Group's quality scales.
_LUMINANCE = bytes.fromhex(
    "100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933"
    "383740485c4e404457453738506d51575f626768673e4d71797064785c656763"
)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Who wrote a picture: `settings` is equal exactly where the headers agree, and is readable.

    `look` (grey, colour, palette) and `size` (width, height) are the picture's, not the encoder's.
    """

    settings: str
    look: str
    size: tuple[int, int]


def read_encoder(data: bytes | None) -> Encoder | None:
    """Read the header of one stored picture; None for what is no JPEG, PNG, WebP or BMP."""
    if not data:
        return None
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        return _bmp(data) if data[:2] == b"BM" else None
    except (struct.error, IndexError):
        return None


def _jpeg(data: bytes) -> Encoder | None:
    kinds, huffman, frame, tables = [], 0, b"", bytearray()
    for marker, body in _segments(data):
        match marker:
            case 0xDB:
                tables += body
            case 0xC4:
                huffman += len(body)
            case _ if marker in _FRAMES:
                kind, frame = marker, body
            case _ if marker == 0xFE or 0xE0 <= marker <= 0xEF:
                kinds.append("COM" if marker == 0xFE else f"APP{marker - 0xE0}")
            case 0xDD:
                kinds.append("DRI")
    if not frame:
        return None
    height, width, count = struct.unpack_from(">HHB", frame, 1)
    sampling = ",".join(f"{frame[7 + 3 * i] >> 4}x{frame[7 + 3 * i] & 15}" for i in range(count))
    settings = (
        f"JPEG {_quality(bytes(tables), count)}",
        f"sampling {sampling}" if count > 1 else "",
        "baseline" if kind in (0xC0, 0xC1) else "progressive" if kind == 0xC2 else f"SOF{kind:x}",
        "standard Huffman" if huffman in _STANDARD_HUFFMAN else "own Huffman",
        _listed(kinds),
    )
    return Encoder(
        ", ".join(filter(None, settings)), "grey" if count == 1 else "colour", (width, height)
    )


def _listed(names: Iterable[str]) -> str:
    """The first MOST, and how many more: who wrote the file chose how many there are."""
    told = [printable(name) for name in names]
    more = f" and {len(told) - MOST} more" if len(told) > MOST else ""
    return " ".join(told[:MOST]) + more


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of every segment before the first scan."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF or marker in _LONE:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in (0xDA, 0xD9):
            return
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + max(length, 2)


@lru_cache(maxsize=4096)
def _quality(tables: bytes, components: int) -> str:
    """The quality by which Annex K's luminance table was scaled, and a name for all tables."""
    name = hashlib.blake2b(tables, digest_size=4, person=b"%d" % min(components, 3)).hexdigest()
    quality = _scaled().get(tables[1:65])
    return f"quality {quality} (tables {name})" if quality else f"tables {name}"


@cache
def _scaled() -> dict[bytes, int]:
    """Annex K's luminance table at each quality of the Independent JPEG Group."""
    scales = {q: 5000 // q if q < 50 else 200 - 2 * q for q in range(1, 101)}
    return {
        bytes(min(max((base * scale + 50) // 100, 1), 255) for base in _LUMINANCE): quality
        for quality, scale in scales.items()
    }


def _png(data: bytes) -> Encoder:
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    names: dict[bytes, None] = {}  # in their order, each once
    effort, place = -1, 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"IDAT" and effort < 0:
            effort = data[place + 9] >> 6
        # Palette and transparency are the picture's; how many IDAT chunks, its size.
        if name not in (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS"):
            names[name] = None
        place += 12 + length
    settings = (
        f"PNG {depth} bit",
        f"zlib effort {effort}",
        "interlaced" if interlaced else "",
        _listed(name.decode("ascii", "replace") for name in names),
    )
    look = {0: "grey", 3: "palette", 4: "grey"}.get(colour, "colour")
    return Encoder(", ".join(filter(None, settings)), look, (width, height))


def _webp(data: bytes) -> Encoder:
    names: dict[bytes, None] = {}
    place, size = 12, (0, 0)
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        body = place + 8
        if name == b"VP8 ":
            wide, high = struct.unpack_from("<HH", data, body + 6)
            size = (wide & 0x3FFF, high & 0x3FFF)
        elif name == b"VP8L":
            bits = struct.unpack_from("<I", data, body + 1)[0]
            size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        names[name] = None
        place = body + length + (length & 1)
    told = _listed(name.decode("ascii", "replace").strip() for name in names)
    return Encoder(f"WebP {told}", "colour", size)


def _bmp(data: bytes) -> Encoder:
    header, width, height, _, depth, packing = struct.unpack_from("<IiiHHI", data, 14)
    look = "palette" if depth <= 8 else "colour"
    return Encoder(
        f"BMP header {header}, {depth} bit, packing {packing}", look, (width, abs(height))
    )
