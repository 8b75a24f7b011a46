"""The walk: what lies in a tree is named as it is, and what must not lie there is not opened."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from guards.digest import CHUNK, Digest, merkle_root, tree_root
from guards.errors import NothingToExamine, UsageError
from guards.provenance import batch, walk
from guards.provenance.snapshot import Entry, compare, stage, take


def files(directory, **contents):
    for name, data in contents.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    files(root, b=b"2", a__c=b"3", a__b__d=b"", Z=b"26")
    return root


@pytest.mark.parametrize("how", ["in place", "staged"])
def test_a_tree_is_named_by_paths_sizes_and_digests(tree, tmp_path, how):
    (tmp_path / "private").mkdir()
    walked = take(tree) if how == "in place" else stage(tree, tmp_path / "private")
    expected = {"Z": b"26", "a/b/d": b"", "a/c": b"3", "b": b"2"}
    assert [entry.path for entry in walked.snapshot.files] == list(expected)
    assert walked.unsafe == ()
    entries = [(path, len(data), Digest.of(data)) for path, data in expected.items()]
    assert walked.snapshot.root == tree_root(entries)
    assert walked.snapshot.size == 4
    if how == "staged":
        assert take(tmp_path / "private").snapshot == walked.snapshot


def test_where_a_tree_lies_is_no_part_of_its_name(tree, tmp_path):
    before = take(tree).snapshot
    tree.rename(tmp_path / "moved")
    assert take(tmp_path / "moved").snapshot == before
    (tmp_path / "link").symlink_to("moved")
    assert take(tmp_path / "link").snapshot == before
    assert take(tmp_path / "moved" / "a" / "..").snapshot == before


def test_one_file_is_a_dataset(tree):
    walked = take(tree / "a" / "c")
    assert [(entry.path, entry.size) for entry in walked.snapshot.files] == [("c", 1)]


def test_no_descriptor_is_left_open(tree, tmp_path):
    def opened():
        return len(list(Path("/proc/self/fd").iterdir()))

    (tree / "link").symlink_to("b")
    before = opened()
    for round_ in range(3):
        take(tree)
        (tmp_path / str(round_)).mkdir()
        stage(tree, tmp_path / str(round_))
    assert opened() == before


def test_a_tree_of_many_files_and_many_chunks(tmp_path):
    files(tmp_path / "t", **{f"{n:03d}": b"%d" % n for n in range(300)})
    (tmp_path / "t" / "large").write_bytes(bytes(17 * 1024 * 1024))
    walked = take(tmp_path / "t")
    assert len(walked.snapshot.files) == 301
    assert walked.snapshot.files[7].digest == Digest.of(b"7")


def test_there_must_be_something(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToExamine, match="empty directory"):
        take(tmp_path / "empty")
    with pytest.raises(UsageError, match="No such file"):
        take(tmp_path / "absent")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="dataset"):
        take(tmp_path / "loop")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="dataset"):
        take(tmp_path / "fifo")


def test_nfd_names_on_disk_have_their_nfc_path(tmp_path):
    files(tmp_path / "t", **{"e\u0301te\u0301.csv": b"x"})
    walked = take(tmp_path / "t")
    assert [entry.path for entry in walked.snapshot.files] == ["\u00e9t\u00e9.csv"]
    (tmp_path / "p").mkdir()
    assert stage(tmp_path / "t", tmp_path / "p").snapshot == walked.snapshot
    assert (tmp_path / "p" / "\u00e9t\u00e9.csv").read_bytes() == b"x"


def test_a_name_whose_nfc_form_is_too_long_is_refused_not_tripped_over(tmp_path):
    # U+FB2C is composed, yet its NFC form is three characters: two bytes longer each.
    files(tmp_path / "t", **{"\ufb2c" * 85: b"x", "ok": b"y"})
    (tmp_path / "p").mkdir()
    walked = stage(tmp_path / "t", tmp_path / "p")
    assert [problem.code for problem in walked.unsafe] == ["path-too-long"]
    assert [entry.path for entry in walked.snapshot.files] == ["ok"]


def test_a_path_that_is_too_long_is_refused_not_tripped_over(tmp_path):
    (tmp_path / "t").mkdir()
    deep = os.open(tmp_path / "t", os.O_RDONLY)
    try:
        for _ in range(12):
            os.mkdir("d" * 250, dir_fd=deep)
            below = os.open("d" * 250, os.O_RDONLY, dir_fd=deep)
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=below))
            os.close(deep)
            deep = below
    finally:
        os.close(deep)
    (tmp_path / "p").mkdir()
    walked = stage(tmp_path / "t", tmp_path / "p")
    assert [problem.code for problem in walked.unsafe] == ["path-too-long"]
    assert len(walked.snapshot.files) == 8
    assert all(len(entry.path) <= walk.MAX_PATH for entry in walked.snapshot.files)


def test_nesting_is_bounded(tmp_path):
    deep = tmp_path / "t"
    for _ in range(70):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert [problem.code for problem in take(tmp_path / "t").unsafe] == ["path-too-long"]


def test_a_copy_that_has_no_room_is_told(tree, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a").write_text("in the way")
    with pytest.raises(UsageError, match="cannot copy"):
        stage(tree, tmp_path / "p")


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (lambda p: p.write_bytes(b"changed"), "changed-while-read"),
        (lambda p: (p.write_bytes(b"0"), os.utime(p, ns=(1, 1))), "changed-while-read"),
        (lambda p: p.chmod(0o600), "changed-while-read"),
    ],
    ids=["rewritten", "rewritten with its old time", "touched by another"],
)
def test_a_file_that_changes_under_the_reader_is_told(tree, tmp_path, monkeypatch, how, code):
    os.utime(tree / "b", ns=(1, 1))
    real = batch.unmoved
    b = (tree / "b").stat().st_ino

    def meanwhile(before, descriptor):
        if before.st_ino == b:
            how(tree / "b")
        return real(before, descriptor)

    monkeypatch.setattr(batch, "unmoved", meanwhile)
    monkeypatch.setattr(walk, "unmoved", meanwhile)
    (tmp_path / "p").mkdir()
    for walked in (take(tree), stage(tree, tmp_path / "p")):
        assert (code, "b") in [(problem.code, problem.path) for problem in walked.unsafe]
        os.utime(tree / "b", ns=(1, 1))


def test_a_file_swapped_for_a_link_between_look_and_opening_is_not_followed(tree, monkeypatch):
    real = walk._look

    def swap(directory, name):
        status = real(directory, name)
        if name == "b":
            (tree / "b").unlink()
            (tree / "b").symlink_to("/etc/hostname")
        return status

    monkeypatch.setattr(walk, "_look", swap)
    walked = take(tree)
    assert ("link", "b") in [(problem.code, problem.path) for problem in walked.unsafe]
    assert "b" not in [entry.path for entry in walked.snapshot.files]


def test_a_file_swapped_for_a_fifo_between_look_and_opening_does_not_hang(tree, monkeypatch):
    real = walk._look

    def swap(directory, name):
        status = real(directory, name)
        if name == "b":
            (tree / "b").unlink()
            os.mkfifo(tree / "b")
        return status

    monkeypatch.setattr(walk, "_look", swap)
    assert ("special-file", "b") in [(problem.code, problem.path) for problem in take(tree).unsafe]


def test_a_file_that_grows_between_look_and_opening_is_not_read(tree, monkeypatch):
    real = walk._look

    def grow(directory, name):
        status = real(directory, name)
        if name == "Z":
            os.truncate(tree / "Z", 1 << 40)
        return status

    monkeypatch.setattr(walk, "_look", grow)
    walked = take(tree, 100)
    assert ("changed-while-read", "Z") in [(p.code, p.path) for p in walked.unsafe]
    assert "Z" not in [entry.path for entry in walked.snapshot.files]


def test_a_large_file_tells_its_chunks_and_a_small_one_is_its_own(tmp_path):
    files(tmp_path / "t", small=b"x", large=bytes(CHUNK) + b"y")
    large, small = take(tmp_path / "t").snapshot.files
    leaves = (hashlib.sha256(bytes(CHUNK)).digest(), hashlib.sha256(b"y").digest())
    assert large.chunks == large.leaves == leaves
    assert large.digest.raw == merkle_root(leaves)
    assert (small.chunks, small.leaves) == ((), (small.digest.raw,))


def test_a_comparison_says_how_each_file_differs():
    def entry(path, data):
        return Entry(path=path, size=len(data), digest=Digest.of(data))

    claimed = [entry(p, b"abc") for p in ("changed", "gone", "grown", "same", "short")]
    found = [
        entry("changed", b"abd"),
        entry("grown", b"abcd"),
        entry("same", b"abc"),
        entry("short", b"ab"),
        entry("extra", b""),
    ]
    told = {difference.path: difference.code for difference in compare(claimed, found)}
    assert told == {
        "changed": "changed-file",
        "gone": "missing-file",
        "grown": "grown-file",
        "short": "truncated-file",
        "extra": "extra-file",
    }
    assert compare(claimed, claimed) == ()
