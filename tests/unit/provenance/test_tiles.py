"""Tiles on disk: the paths and the layout of c2sp.org/tlog-tiles, at every edge of a tile."""

from __future__ import annotations

import hashlib
import struct

import pytest

from guards.digest import Digest, merkle_root
from guards.errors import Malformed, UsageError
from guards.provenance import merkle
from guards.provenance.tiles import ENTRIES, MAX_ENTRY, Tiles, extend, tile_path


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        (0, 0, 256, "0/000"),
        (0, 1234067, 256, "0/x001/x234/067"),
        (2, 999, 1, "2/999.p/1"),
        (1, 1000, 255, "1/x001/000.p/255"),
        (ENTRIES, 5, 112, "entries/005.p/112"),
        (63, 1_000_000, 256, "63/x001/x000/000"),
    ],
)
def test_the_paths_of_the_specification(level, number, width, path):
    """For example, index 1234067 will be encoded as x001/x234/067."""
    assert tile_path(level, number, width) == path


def data(number):
    return b"entry %d" % number


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A tree of 515 entries, and its root at every size as it was written."""
    directory, roots = tmp_path_factory.mktemp("log"), [merkle.EMPTY]
    for size in range(515):
        roots.append(extend(Tiles(directory=directory, size=size), data(size)))
    return directory, roots


def test_the_roots_are_those_of_the_tree(grown):
    _, roots = grown
    peaks = merkle.Peaks()
    for size, root in enumerate(roots):
        assert root == peaks.root
        peaks.push(merkle.leaf_hash(data(size)))


def test_what_lies_there_is_what_the_specification_says(grown):
    """512 and 3: two full tiles and one of 3 at level 0, one of 2 at level 1, and the bundles."""
    directory, _ = grown
    found = {str(p.relative_to(directory / "tile")) for p in directory.rglob("*") if p.is_file()}
    partial = {f"{kind}/002.p/{width}" for kind in ("0", "entries") for width in (1, 2, 3)}
    full = {f"{kind}/{number}" for kind in ("0", "entries") for number in ("000", "001")}
    assert found == partial | full | {"1/000.p/1", "1/000.p/2"}
    tile = (directory / "tile" / "0" / "000").read_bytes()
    assert len(tile) == 8192
    assert tile[:32] == hashlib.sha256(b"\0entry 0").digest()
    hashes = [tile[place : place + 32] for place in range(0, 8192, 32)]
    assert (directory / "tile" / "1" / "000.p" / "1").read_bytes() == merkle_root(hashes)


def test_a_bundle_is_entries_after_their_lengths(grown):
    """Entry bundles are sequences of big-endian uint16 length-prefixed log entries."""
    directory, _ = grown
    bundle = (directory / "tile" / "entries" / "002.p" / "3").read_bytes()
    assert bundle == b"".join(struct.pack(">H", len(data(n))) + data(n) for n in range(512, 515))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 515])
def test_every_earlier_size_is_read_though_its_parts_are_gone(grown, size):
    """MAY fetch the full tile as a fallback in case the partial tile is not available anymore."""
    directory, roots = grown
    tree = Tiles(directory=directory, size=size)
    assert tree.root == roots[size]
    read = [entry for number in range(tree.bundles) for entry in tree.entries(number)]
    assert read == [data(number) for number in range(size)]
    for index in {0, size // 2, size - 1}:
        proof = merkle.inclusion(tree.read, index, size)
        leaf = merkle.leaf_hash(data(index))
        assert merkle.root_from_inclusion(leaf, index, size, proof) == roots[size]
    proof = merkle.consistency(tree.read, size // 2, size)
    assert merkle.is_consistent(size // 2, roots[size // 2], size, roots[size], proof)


def test_a_third_level(tmp_path):
    """The 65,536th entry fills a tile of level 1, and there is one hash at level 2."""
    leaves = [merkle.leaf_hash(data(number)) for number in range(65_536)]
    below = [merkle_root(leaves[place : place + 256]) for place in range(0, 65_536, 256)]
    tile = tmp_path / "tile"
    for path, held in (
        ("0/255.p/255", b"".join(leaves[-256:-1])),
        ("1/000.p/255", b"".join(below[:-1])),
        ("entries/255.p/255", b"\0\0" * 255),
    ):
        (tile / path).parent.mkdir(parents=True, exist_ok=True)
        (tile / path).write_bytes(held)
    root = extend(Tiles(directory=tmp_path, size=65_535), data(65_535))
    assert root == Digest(merkle_root(leaves).hex())
    assert (tile / "0" / "255").read_bytes() == b"".join(leaves[-256:])
    assert (tile / "1" / "000").read_bytes() == b"".join(below)
    assert (tile / "2" / "000.p" / "1").read_bytes() == root.raw
    extend(Tiles(directory=tmp_path, size=65_536), b"")
    assert sorted(str(p.relative_to(tile)) for p in tile.rglob("*.p")) == [
        "0/256.p",
        "2/000.p",
        "entries/256.p",
    ]


def test_what_cannot_be_is_told(grown, tmp_path):
    directory, _ = grown
    with pytest.raises(UsageError, match="at most 65535"):
        extend(Tiles(directory=tmp_path, size=0), b"x" * (MAX_ENTRY + 1))
    assert not (tmp_path / "tile").exists()
    assert extend(Tiles(directory=tmp_path, size=0), b"x" * MAX_ENTRY)
    assert Tiles(directory=tmp_path, size=1).entries(0) == [b"x" * MAX_ENTRY]
    with pytest.raises(Malformed, match="is missing"):
        assert Tiles(directory=directory, size=2**40).root
    with pytest.raises(ValueError, match="has no tile"):
        Tiles(directory=directory, size=5).hashes(0, 1)
