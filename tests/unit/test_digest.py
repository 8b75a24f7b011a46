"""The digest against committed vectors, and against a slow, obvious second implementation."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from guards.digest import (
    CHUNK,
    Chunks,
    Digest,
    Hasher,
    canonical_json,
    chunk_count,
    digest_json,
    merkle_root,
    tree_root,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "digest.json").read_text())


def pattern(size: int, seed: int) -> bytes:
    """Content that anybody can make again: sha256(seed || counter), repeated and cut."""
    block = b"".join(hashlib.sha256(b"%d:%d" % (seed, i)).digest() for i in range(4096))
    return (block * (size // len(block) + 1))[:size]


def slow_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word, but for the leaf hashes, which are given."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = slow_root(leaves[:split]), slow_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def slow_file(data: bytes) -> str:
    chunks = [data[i : i + 8388608] for i in range(0, len(data), 8388608)] or [b""]
    return slow_root([hashlib.sha256(chunk).digest() for chunk in chunks]).hex()


def slow_tree(entries: list[tuple[str, int, str]]) -> str:
    if not entries:
        return hashlib.sha256(b"").hexdigest()
    ordered = sorted(entries, key=lambda entry: entry[0].encode("utf-8"))
    leaves = [
        hashlib.sha256(
            b"\x00" + path.encode() + b"\x00" + str(size).encode() + b"\x00" + hexes.encode()
        )
        for path, size, hexes in ordered
    ]
    return slow_root([leaf.digest() for leaf in leaves]).hex()


def hash_chunks(wanted):
    """The chunks of open files, `(descriptor, size, numbers)`, as they are done."""
    with Chunks() as chunks:
        for descriptor, size, numbers in wanted:
            yield from chunks.put(descriptor, size, numbers)
        yield from chunks.rest()


def hash_file(path: Path) -> Digest:
    size = path.stat().st_size
    with path.open("rb") as file:
        pieces = list(hash_chunks([(file.fileno(), size, range(chunk_count(size)))]))
    assert [number for _, number, _ in pieces] == list(range(chunk_count(size)))
    return Digest(merkle_root([leaf for _, _, leaf in pieces]).hex())


@pytest.mark.parametrize("vector", VECTORS["files"], ids=lambda v: f"{v['size']} bytes")
def test_a_file_has_the_committed_digest(vector, tmp_path):
    data = pattern(vector["size"], vector["seed"])
    path = tmp_path / "file"
    path.write_bytes(data)
    streamed = Hasher()
    streamed.update(data)
    assert slow_file(data) == vector["digest"]
    assert hash_file(path).hex == vector["digest"]
    assert streamed.digest().hex == vector["digest"]
    assert streamed.size == vector["size"]


@pytest.mark.parametrize("vector", VECTORS["trees"], ids=lambda v: v["what"])
def test_a_tree_has_the_committed_root(vector):
    entries = [(path, size, hexes) for path, size, hexes in vector["entries"]]
    assert slow_tree(entries) == vector["root"]
    given = [(path, size, Digest(hexes)) for path, size, hexes in reversed(entries)]
    assert tree_root(given).hex == vector["root"], "the order in which entries come is no matter"


def test_a_file_of_one_chunk_has_its_plain_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"toad")
    assert hash_file(path).hex == hashlib.sha256(b"toad").hexdigest()


def test_the_chunk_size_is_fixed():
    assert CHUNK == 8 * 1024 * 1024


def test_trees_that_differ_in_one_word_have_different_roots():
    digest = Digest.of(b"x")
    base = [("a", 1, digest), ("b", 1, digest)]
    others = [
        [("a", 1, digest)],
        [("a", 1, digest), ("c", 1, digest)],
        [("a", 2, digest), ("b", 1, digest)],
        [("a", 1, Digest.of(b"y")), ("b", 1, digest)],
        [("a", 1, digest), ("b", 1, digest), ("b", 1, digest)],
    ]
    roots = {tree_root(entries).hex for entries in [base, *others]}
    assert len(roots) == 1 + len(others)


def test_a_merkle_root_of_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        merkle_root([])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "md5:" + "0" * 32,
        "0" * 63,
        "0" * 65,
        "A" * 64,
        "sha256:sha256:" + "0" * 64,
        "0" * 64 + "\n",
        " " + "0" * 64,
    ],
)
def test_only_a_whole_lower_case_sha256_is_a_digest(text):
    with pytest.raises(ValueError, match="not a sha256"):
        Digest.parse(text)


def test_a_digest_reads_what_it_writes():
    digest = Digest.of(b"toad")
    assert Digest.parse(str(digest)) == Digest.parse(digest.hex) == digest
    assert digest.raw.hex() == digest.hex
    assert digest.hex.startswith(digest.short)


def test_canonical_json_is_one_form():
    assert canonical_json({"b": 1, "a": ["é", None]}) == '{"a":["é",null],"b":1}'.encode()
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_has_no_nan(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": value})


def test_many_files_are_hashed_each_under_its_own_descriptor(tmp_path):
    wanted = []
    for index in range(400):
        data = b"%d" % index * (index * 97)
        (tmp_path / f"{index}").write_bytes(data)
        wanted.append((os.open(tmp_path / f"{index}", os.O_RDONLY), len(data), (0,)))
    try:
        found = list(hash_chunks(iter(wanted)))
    finally:
        for descriptor, _, _ in wanted:
            os.close(descriptor)
    leaves = [hashlib.sha256(b"%d" % index * (index * 97)).digest() for index in range(400)]
    expected = [(wanted[i][0], 0, leaf) for i, leaf in enumerate(leaves)]
    assert sorted(found) == sorted(expected)


def test_chunks_can_be_hashed_by_number_and_no_more_files_are_open_than_a_few(tmp_path):
    data = pattern(3 * CHUNK - 5, 1)
    (tmp_path / "large").write_bytes(data)
    with (tmp_path / "large").open("rb") as file:
        [(_, number, leaf)] = hash_chunks([(file.fileno(), len(data), [2])])
    assert (number, leaf) == (2, hashlib.sha256(data[2 * CHUNK :]).digest())

    ahead = most = 0

    def wanted(descriptor):
        nonlocal ahead, most
        for _ in range(2000):
            ahead += 1
            most = max(most, ahead)
            yield descriptor, 1, (0,)

    with (tmp_path / "large").open("rb") as file:
        for _ in hash_chunks(wanted(file.fileno())):
            ahead -= 1
    assert most < 256


def test_a_file_that_shrinks_under_the_reader_ends_early(tmp_path):
    (tmp_path / "short").write_bytes(b"toad")
    with (tmp_path / "short").open("rb") as file:
        [(_, _, leaf)] = hash_chunks([(file.fileno(), 100, (0,))])
    assert leaf == hashlib.sha256(b"toad").digest()
