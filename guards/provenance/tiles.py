"""A log's tree on disk, as c2sp.org/tlog-tiles lays it out, so that any web server can show it.

    LOG/tile/<L>/<N>             256 hashes, of subtrees of 256**L entries each
    LOG/tile/<L>/<N>.p/<W>       the first W of them, while there are no more
    LOG/tile/entries/<N>[.p/<W>] the entries, each after its length in two bytes, high byte first

N is written in groups of three digits, all but the last after an `x`: 1234067 is `x001/x234/067`.
What is written here counts only once a checkpoint names its size: an append writes the tiles of
the larger tree beside those that are there, and the checkpoint last. So a crash leaves the log as
it was, and the next append writes over what nobody was told of. The partial tiles of a tile go
when it is full.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from guards.digest import Digest, merkle_root
from guards.errors import Malformed, UsageError
from guards.files import directory_on_disk, read_document, write_atomically
from guards.provenance import merkle

WIDTH = 256
HEIGHT = 8
HASH = 32
MAX_ENTRY = (1 << 16) - 1
ENTRIES = "entries"


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Where a tile lies below `LOG/tile`; `level` is a number or `entries`."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"{level}/{'/'.join(groups)}{partial}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """The tree of the first `size` entries of the log in `directory`, read as it is asked for."""

    directory: Path
    size: int
    _read: dict[tuple[int, int], bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def bundles(self) -> int:
        """How many bundles of entries there are."""
        return -(-self.size // WIDTH)

    def hashes(self, level: int, number: int) -> bytes:
        """The hashes of one tile, as many as there are at this size, one after the other."""
        if (level, number) not in self._read:
            width = self._width(level, number)
            data = self._file(level, number, width)[: width * HASH]
            if len(data) != width * HASH:
                raise Malformed(f"holds less than {width} hashes", tile_path(level, number, width))
            self._read[level, number] = data
        return self._read[level, number]

    def read(self, level: int, index: int) -> bytes:
        """The hash of the `index`-th perfect subtree of `2**level` entries."""
        high, low = divmod(level, HEIGHT)
        number, place = divmod(index << low, WIDTH)
        found = split(self.hashes(high, number))[place : place + (1 << low)]
        return merkle_root(found)

    def entries(self, number: int) -> list[bytes]:
        """The entries of one bundle; Malformed where it does not hold exactly those."""
        width, place = self._width(0, number), 0
        data, found = self._file(ENTRIES, number, width), list[bytes]()
        while len(found) < width and place + 2 <= len(data):
            (length,) = struct.unpack_from(">H", data, place)
            found.append(data[place + 2 : place + 2 + length])
            place += 2 + length
        where = tile_path(ENTRIES, number, width)
        if len(found) < width or place > len(data):
            raise Malformed(f"holds less than {width} entries", where)
        if place < len(data) and not self._is_full(number):
            raise Malformed(f"holds more than {width} entries", where)
        return found

    @property
    def root(self) -> Digest:
        """The root, from the tiles at the right edge."""
        return merkle.root(self.read, self.size)

    @property
    def torn(self) -> bool:
        """Whether an append that never ended left entries after the last one."""
        number, width = self.size // WIDTH, self.size % WIDTH + 1
        return (self.directory / "tile" / tile_path(ENTRIES, number, width)).exists()

    def _width(self, level: int, number: int) -> int:
        """How many hashes this tile has at this size."""
        width = min(WIDTH, (self.size >> HEIGHT * level) - number * WIDTH)
        if width <= 0:
            raise ValueError(f"a tree of {self.size} has no tile {level}/{number}")
        return width

    def _is_full(self, number: int) -> bool:
        """Whether the bundle was filled after this size, and is read in the place of a part."""
        path = self.directory / "tile" / tile_path(ENTRIES, number, self._width(0, number))
        return not path.exists()

    def _file(self, level: int | str, number: int, width: int) -> bytes:
        tile = self.directory / "tile"
        data = read_document(tile / tile_path(level, number, width))
        if data is None and width < WIDTH:
            data = read_document(tile / tile_path(level, number))
        if data is None:
            raise Malformed("is missing", tile_path(level, number, width))
        return data


def split(hashes: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [hashes[place : place + HASH] for place in range(0, len(hashes), HASH)]


def extend(tiles: Tiles, entry: bytes) -> Digest:
    """Write the tiles that the tree has with one more entry; returns its root.

    On disk when this returns, and part of the log once a checkpoint says so. Whoever calls holds
    the lock.
    """
    if len(entry) > MAX_ENTRY:
        raise UsageError(f"an entry of {len(entry)} bytes; a log takes at most {MAX_ENTRY}")
    _forget_partials(tiles)
    number, width = divmod(tiles.size, WIDTH)
    before = tiles._file(ENTRIES, number, width) if width else b""
    bundle = before + struct.pack(">H", len(entry)) + entry
    _place(tiles.directory, tile_path(ENTRIES, number, width + 1), bundle)
    for level, number, hashes in _grown(tiles, merkle.leaf_hash(entry)):
        _place(tiles.directory, tile_path(level, number, len(hashes) // HASH), hashes)
    return Tiles(directory=tiles.directory, size=tiles.size + 1).root


def _grown(tiles: Tiles, leaf: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The tiles that change: level, number, hashes; a full one adds its root to the next level."""
    level, place, found = 0, tiles.size, leaf
    while True:
        number, width = divmod(place, WIDTH)
        hashes = (tiles.hashes(level, number) if width else b"") + found
        yield level, number, hashes
        if width + 1 < WIDTH:
            return
        level, place, found = level + 1, number, merkle_root(split(hashes))


def _forget_partials(tiles: Tiles) -> None:
    """Drop the partial tiles of those that are full and named by a checkpoint since."""
    level, place = 0, tiles.size
    while place and place % WIDTH == 0:
        place = place // WIDTH
        for kind in (level, ENTRIES) if level == 0 else (level,):
            full = tiles.directory / "tile" / tile_path(kind, place - 1)
            shutil.rmtree(full.with_name(f"{full.name}.p"), ignore_errors=True)
        level += 1


def _place(directory: Path, path: str, data: bytes) -> None:
    target = directory / "tile" / path
    directory_on_disk(target.parent)
    write_atomically(target, data)


def leftovers(directory: Path) -> Iterator[Path]:
    """Drafts that a killed process left beside the checkpoint."""
    with os.scandir(directory) as found:
        for one in found:
            if one.name.startswith(".checkpoint."):
                yield Path(one.path)
