"""A part is proved by its chunks, is never the whole, and what differs is named to the chunk."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards import digest
from guards.digest import CHUNK, Digest, merkle_root
from guards.errors import NothingToExamine, Untrusted, UsageError
from guards.provenance.manifest import Manifest, parse, parse_name, payload
from guards.provenance.memory import Memory
from guards.provenance.part import Part, Range, damage, parse_range
from guards.provenance.signing import parse_envelope, sign
from guards.provenance.snapshot import Entry, Look, Snapshot, read_chunks, take
from guards.verify import Claimed, look_at_part, repairs, verify

SIZE = 3 * CHUNK + 1000


def write(path, seed: int, size: int) -> None:
    """Bytes that differ from chunk to chunk, without drawing so many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    block = bytes((seed + n) % 251 for n in range(1 << 16))
    with path.open("wb") as file:
        for start in range(0, size, 1 << 16):
            file.write((b"%016d" % start + block)[: min(1 << 16, size - start)])


@pytest.fixture
def claimed(tmp_path, spine):
    """A dataset with one large file and some small ones, signed with its chunks."""
    tree = tmp_path / "bulk"
    write(tree / "large.bin", 1, SIZE)
    write(tree / "a" / "1.bin", 2, 100)
    write(tree / "a" / "2.bin", 3, 200)
    write(tree / "b" / "1.bin", 4, 300)
    publish(tree, spine)
    manifest = tree.with_name("bulk.manifest.json")
    return Claimed(dataset=tree, manifest=manifest, trust=spine.trust)


def publish(tree, spine, *, edit=lambda document: None):
    made = Manifest(
        name=parse_name("acme/bulk"),
        version=1,
        snapshot=take(tree).snapshot,
        created=parse(parse_envelope(spine.manifest.read_bytes())).created,
    )
    document = json.loads(payload(made))
    edit(document["predicate"])
    signed = sign(json.dumps(document).encode(), spine.keys.private("producer"))
    tree.with_name("bulk.manifest.json").write_bytes(signed.to_json())


def without_chunks(predicate):
    for file in predicate["files"]:
        file.pop("chunks", None)


def flip(path, *offsets):
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))


def codes(part: Part) -> list[tuple[str, str]]:
    return [(problem.code, problem.path) for problem in part.problems]


def test_files_are_chosen_by_pattern(claimed):
    part = look_at_part(claimed, ("a/*",), ())
    assert (part.holds, part.files, part.size) == (True, 2, 300)
    part = look_at_part(claimed, ("a/1.bin", "large*"), ())
    assert (part.holds, part.files, part.size) == (True, 2, SIZE + 100)


def test_a_part_is_neither_true_nor_false(claimed):
    part = look_at_part(claimed, ("*",), ())
    assert part.holds
    with pytest.raises(TypeError, match="holds"):
        bool(part)


def test_what_was_not_asked_for_is_not_looked_at(claimed):
    flip(claimed.dataset / "b" / "1.bin", 5)
    (claimed.dataset / "extra").write_bytes(b"x")
    assert look_at_part(claimed, ("a/*",), ()).holds
    part = look_at_part(claimed, ("b/*",), ())
    assert not part.holds
    assert codes(part) == [("changed-file", "b/1.bin")]
    assert part.damage == (Range(path="b/1.bin", offset=0, length=300),)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda place: (place / "evil.parquet").touch(), "extra-file"),
        (lambda place: (place / "evil.parquet").symlink_to("/etc/passwd"), "link"),
        (lambda place: (place / ".git").mkdir(), "hidden"),
        (lambda place: (place / "empty").mkdir(), "empty-directory"),
    ],
)
def test_what_matches_and_was_not_signed_is_refused(claimed, spoil, code):
    """A job that reads `b/*` would read it, too (attack 7)."""
    spoil(claimed.dataset / "b")
    found = look_at_part(claimed, ("b/*",), ())
    assert (found.holds, [problem.code for problem in found.problems]) == (False, [code])
    assert look_at_part(claimed, ("a/*",), ()).holds
    assert look_at_part(claimed, (), (Range(path="b/1.bin", offset=0, length=1),)).holds


def test_a_range_reads_its_chunks_only(claimed, monkeypatch):
    read = []
    real = digest._hash_alone
    monkeypatch.setattr(digest, "_hash_alone", lambda d, s, n: (read.append(n), real(d, s, n))[1])
    across = Range(path="large.bin", offset=CHUNK - 1, length=2)
    part = look_at_part(claimed, (), (across,))
    assert (part.holds, part.size, sorted(read)) == (True, 2 * CHUNK, [0, 1])
    flip(claimed.dataset / "large.bin", 2 * CHUNK)
    assert look_at_part(claimed, (), (across,)).holds
    beyond = Range(path="large.bin", offset=2 * CHUNK, length=1)
    part = look_at_part(claimed, (), (beyond,))
    assert codes(part) == [("changed-file", "large.bin")]
    assert part.damage == (Range(path="large.bin", offset=2 * CHUNK, length=CHUNK),)


def test_an_old_claim_without_chunks_proves_by_whole_files(claimed, spine):
    publish(claimed.dataset, spine, edit=without_chunks)
    assert verify(claimed)
    byte = Range(path="large.bin", offset=0, length=1)
    part = look_at_part(claimed, (), (byte,))
    assert (part.holds, part.size) == (True, SIZE)
    flip(claimed.dataset / "large.bin", SIZE - 1)
    part = look_at_part(claimed, (), (byte,))
    whole = (Range(path="large.bin", offset=0, length=SIZE),)
    assert (part.holds, part.damage) == (False, whole)
    assert repairs(claimed, verify(claimed)) == whole


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda path: path.unlink(), "missing-file"),
        (lambda path: os.truncate(path, 99), "truncated-file"),
        (lambda path: os.truncate(path, 101), "grown-file"),
        (lambda path: (path.unlink(), path.symlink_to("2.bin")), "link"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "special-file"),
        (lambda path: (path.unlink(), path.mkdir()), "empty-directory"),
    ],
    ids=["gone", "shorter", "longer", "a link", "a fifo", "a directory"],
)
def test_a_part_that_is_not_there_does_not_hold(claimed, spoil, code):
    spoil(claimed.dataset / "a" / "1.bin")
    part = look_at_part(claimed, ("a/1.bin",), ())
    assert not part.holds
    assert (code, "a/1.bin") in codes(part)


def test_nothing_is_no_part(claimed):
    with pytest.raises(NothingToExamine, match="matches"):
        look_at_part(claimed, ("c/*",), ())


@pytest.mark.parametrize(
    "text", ["large.bin", "large.bin:1", ":0:1", "a:-1:2", "a:1:x", "a:\u0661:1"]
)
def test_a_range_has_a_form(text):
    with pytest.raises(UsageError, match="FILE:OFFSET:LENGTH"):
        parse_range(text)


def test_a_file_of_a_range_may_hold_colons():
    assert parse_range("a:b:1:2") == Range(path="a:b", offset=1, length=2)


@pytest.mark.parametrize(
    "asked",
    [("nowhere", 0, 1), ("large.bin", SIZE, 1), ("large.bin", 0, SIZE + 1), ("a/1.bin", 0, 0)],
)
def test_a_range_lies_in_its_file(claimed, asked):
    path, offset, length = asked
    with pytest.raises(UsageError, match=r"must lie in its|no claimed file"):
        look_at_part(claimed, (), (Range(path=path, offset=offset, length=length),))


def test_a_part_is_not_remembered_and_holds_to_what_is(claimed, tmp_path):
    state = Memory(tmp_path / "state")
    kept = replace(claimed, state=state)
    assert look_at_part(kept, ("*",), ()).holds
    assert state.recall(parse_name("acme/bulk")) is None
    assert verify(kept)
    newer = Manifest(
        name=parse_name("acme/bulk"),
        version=2,
        snapshot=Snapshot(files=()),
        created=verify(claimed).manifest.created,
    )
    state.remember(newer)
    with pytest.raises(Untrusted, match="rollback"):
        look_at_part(kept, ("*",), ())


def test_an_index_is_for_the_whole(claimed, tmp_path):
    with pytest.raises(UsageError, match="--index"):
        look_at_part(replace(claimed, index=tmp_path / "i"), ("*",), ())


def test_chunks_that_are_not_those_of_the_digest_are_refused(claimed, spine):
    def swap(predicate):
        for file in predicate["files"]:
            if "chunks" in file:
                file["chunks"][:2] = reversed(file["chunks"][:2])

    def short(predicate):
        for file in predicate["files"]:
            if "chunks" in file:
                file["chunks"] = [file["sha256"]]

    def of_a_small_file(predicate):
        predicate["files"][0]["chunks"] = [predicate["files"][1]["sha256"]]

    for edit in (swap, short, of_a_small_file):
        publish(claimed.dataset, spine, edit=edit)
        assert [p.code for p in verify(claimed).problems] == ["malformed"]


def test_no_more_chunks_are_listed_than_a_manifest_has_room_for(claimed, spine, monkeypatch):
    monkeypatch.setattr("guards.provenance.entries.MAX_CHUNKS", 3)
    publish(claimed.dataset, spine)
    assert b'"chunks"' not in parse_envelope(claimed.manifest.read_bytes()).payload
    assert verify(claimed)


def fetch(ranges, source, target):
    """What the list is for: the named bytes are copied, and nothing else."""
    for one in ranges:
        (target / one.path).parent.mkdir(parents=True, exist_ok=True)
        (target / one.path).touch()
        with (source / one.path).open("rb") as from_, (target / one.path).open("r+b") as to:
            from_.seek(one.offset)
            to.seek(one.offset)
            to.write(from_.read(one.length))
            if not one.length:
                to.truncate(one.offset)


def test_a_list_of_repairs_restores_a_damaged_copy(claimed, tmp_path):
    copy, good = claimed.dataset, tmp_path / "good"
    shutil.copytree(copy, good)
    assert repairs(claimed, verify(claimed)) == ()
    flip(copy / "large.bin", CHUNK, CHUNK + 7, SIZE - 1)
    os.truncate(copy / "a" / "1.bin", 1 << 13)
    (copy / "b" / "1.bin").unlink()
    done = verify(claimed)
    assert not done
    ranges = repairs(claimed, done)
    assert ranges == (
        Range(path="a/1.bin", offset=0, length=100),
        Range(path="a/1.bin", offset=100, length=0),
        Range(path="b/1.bin", offset=0, length=300),
        Range(path="large.bin", offset=CHUNK, length=CHUNK),
        Range(path="large.bin", offset=3 * CHUNK, length=1000),
    )
    fetch(ranges, good, copy)
    assert verify(claimed)


def test_a_file_too_large_to_be_read_is_cut(claimed):
    os.truncate(claimed.dataset / "a" / "2.bin", 1 << 40)
    done = verify(claimed)
    assert "too-large" in [problem.code for problem in done.problems]
    assert repairs(claimed, done) == (
        Range(path="a/2.bin", offset=0, length=200),
        Range(path="a/2.bin", offset=200, length=0),
    )


def test_without_a_claim_nobody_knows_what_to_fetch(claimed, spine):
    claimed.manifest.write_bytes(sign(b"{}", spine.keys.private("stranger")).to_json())
    with pytest.raises(Untrusted):
        repairs(claimed, verify(claimed))
    with pytest.raises(Untrusted):
        look_at_part(claimed, ("*",), ())


leaves = st.lists(st.integers(0, 2), min_size=1, max_size=5)


@given(claimed_leaves=leaves, found_leaves=leaves, odd=st.tuples(st.booleans(), st.booleans()))
def test_exactly_the_chunks_that_differ_are_named(claimed_leaves, found_leaves, odd):
    def entry(numbers, short):
        chunks = tuple(Digest.of(b"%d" % n).raw for n in numbers)
        size = len(numbers) * CHUNK - 9 * short
        return Entry(path="f", size=size, digest=Digest(merkle_root(chunks).hex()), chunks=chunks)

    want, have = entry(claimed_leaves, odd[0]), entry(found_leaves, odd[1])
    named = list(damage(want, have))
    fetched = {one.offset // CHUNK for one in named if one.length}
    differ = {n for n, leaf in enumerate(want.leaves) if have.leaves[n : n + 1] != (leaf,)}
    assert fetched == differ
    assert sum(one.length for one in named) <= want.size
    cut = [one for one in named if not one.length]
    assert cut == ([Range(path="f", offset=want.size, length=0)] if have.size > want.size else [])


def test_the_chunks_that_are_asked_for_are_those_that_come(claimed):
    unsafe = []
    asked = Look(chunks={"large.bin": [1, 3], "a/1.bin": [0]})
    found = {r.path: r.leaves for r in read_chunks(claimed.dataset, None, asked, unsafe)}
    assert {path: sorted(leaves) for path, leaves in found.items()} == {
        "large.bin": [1, 3],
        "a/1.bin": [0],
    }
    assert unsafe == []
