"""Plain hashes in one pass: those that are asked for, of the bytes that are there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from guards.digest import CHUNK
from guards.provenance import flat
from guards.provenance.flat import Wanted
from guards.provenance.snapshot import take

LARGE = flat._BUFFER * 3 + 17


@pytest.fixture
def tree(tmp_path):
    """Files on both sides of the sizes at which they are read in another way."""
    top = tmp_path / "tree"
    (top / "sub").mkdir(parents=True)
    for name, size in (("empty", 0), ("small", 5), ("sub/large", LARGE), ("two", CHUNK + 3)):
        (top / name).write_bytes(os.urandom(size))
    return top


def read(tree, wanted=lambda path, size: Wanted(), **more):
    unsafe = []
    found = {each.entry.path: each for each in flat.read(tree, wanted, unsafe, **more)}
    return found, unsafe


def test_every_file_has_its_entry_in_our_snapshot(tree):
    found, unsafe = read(tree)
    taken = {entry.path: entry for entry in take(tree).snapshot.files}
    assert {path: each.entry for path, each in found.items()} == taken
    assert not unsafe


def test_every_algorithm_that_was_asked_for_and_sha256(tree):
    asked = ("md5", "sha1", "sha224", "sha384", "sha512", "blake2b")
    found, _ = read(tree, lambda path, size: Wanted(algorithms=asked))
    for path, each in found.items():
        data = (tree / path).read_bytes()
        right = {name: hashlib.new(name, data).hexdigest() for name in (*asked, "sha256")}
        assert each.whole == right


@pytest.mark.parametrize("step", [1000, flat._BUFFER - 1, flat._BUFFER, flat._BUFFER + 1, LARGE])
def test_ranges_that_end_on_and_beside_the_ends_of_what_is_read_at_once(tree, step):
    parts = tuple((at, min(at + step, LARGE), "sha256") for at in range(0, LARGE, step))
    wanted = {"sub/large": Wanted(parts=parts)}
    found, _ = read(tree, lambda path, size: wanted.get(path, Wanted()))
    data = (tree / "sub/large").read_bytes()
    right = {part: hashlib.sha256(data[part[0] : part[1]]).hexdigest() for part in parts}
    assert found["sub/large"].parts == right


def test_a_range_with_a_gap_before_it_and_one_past_the_end(tree):
    wanted = Wanted(parts=((2, 4, "md5"), (4, 900, "md5")))
    found, _ = read(tree, lambda path, size: wanted)
    data = (tree / "small").read_bytes()
    assert found["small"].parts == {(2, 4, "md5"): hashlib.md5(data[2:4]).hexdigest()}


def test_all_bytes_are_told(tree):
    told = []
    read(tree, tick=told.append)
    assert sum(told) == take(tree).snapshot.size


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
@pytest.mark.parametrize("large", [False, True])
def test_no_file_stays_open_when_the_reader_stops_or_breaks(tree, large):
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for number in range(40):
        (tree / f"f{number}").write_bytes(b"x" * (flat._BUFFER + 1 if large else 1))
    before = opened()
    reading = flat.read(tree, lambda path, size: Wanted(), [])
    next(reading)
    reading.close()
    assert opened() == before

    def broken(path, size):
        if path == "f7":
            raise RuntimeError(path)
        return Wanted()

    with pytest.raises(RuntimeError):
        read(tree, broken)
    with pytest.raises(ValueError, match="unsupported"):
        read(tree, lambda path, size: Wanted(algorithms=("crc32",)))
    assert opened() == before


def test_a_file_that_shrinks_while_it_is_read_is_told(tree, monkeypatch):
    real = os.preadv

    def cut(descriptor, buffers, offset):
        if os.fstat(descriptor).st_size == LARGE:
            os.truncate(tree / "sub/large", 7)
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", cut)
    _, unsafe = read(tree)
    assert [(each.code, each.path) for each in unsafe] == [("changed-while-read", "sub/large")]
