"""Attack 25: the index says "unchanged" but is not. Whatever is done to it, the bytes decide."""

from __future__ import annotations

import mmap
import os
import shutil
import time
from dataclasses import replace

import pytest

from guards.errors import GateRefused, UsageError
from guards.provenance import index as indices
from guards.provenance.index import opened
from guards.provenance.snapshot import Look, take
from guards.verify import Claimed, verify

FILE = "a.parquet"
TICK = 20_000_000


@pytest.fixture
def indexed(spine, monkeypatch):
    """The signed dataset, verified once with an index, which from then on knows all of it."""
    monkeypatch.setattr(indices, "WINDOW", TICK)
    monkeypatch.setattr(indices, "SETTLED", TICK)
    monkeypatch.setattr(indices, "_NEVER", frozenset())
    monkeypatch.setattr(indices, "_sample", lambda known: {})
    time.sleep(3 * TICK / 1e9)
    claimed = Claimed(
        dataset=spine.batch,
        manifest=spine.manifest,
        trust=spine.trust,
        index=spine.home / "index",
    )
    assert verify(claimed).unread == 0
    done = verify(claimed)
    assert done
    assert done.unread == done.found.size
    return claimed


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_in_place_and_keep_the_times(path):
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_for_a_twin(path):
    """Another file with the same name, size and mtime; its inode and ctime are its own."""
    twin = path.with_name("twin")
    shutil.copy2(path, twin)
    flip_in_place_and_keep_the_times(twin)
    twin.replace(path)


def through_a_second_name(path):
    other = path.parents[1] / "second name"
    os.link(path, other)
    flip_in_place_and_keep_the_times(other)
    other.unlink()


def through_a_map(path):
    before = path.stat()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[len(pages) // 2] ^= 1
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [flip_in_place_and_keep_the_times, swap_for_a_twin, through_a_second_name, through_a_map],
)
def test_other_bytes_under_the_same_size_and_mtime_are_read(indexed, change):
    before = (indexed.dataset / FILE).stat()
    change(indexed.dataset / FILE)
    after = (indexed.dataset / FILE).stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert "changed-file" in {problem.code for problem in verify(indexed).problems}


def rewrite(edit):
    def change(path):
        data = path.read_bytes()
        path.write_bytes(edit(data))

    return change


def reorder(*order):
    def change(data):
        lines = data.splitlines(keepends=True)
        return b"".join(lines[place] for place in order)

    return rewrite(change)


FORGED = {
    "one digit of a digest": rewrite(lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
    "one digit of a code": rewrite(lambda data: data.replace(b"\n", b"\n0", 2)),
    "the first line gone": reorder(0, 2),
    "lines exchanged": reorder(0, 2, 1),
    "a line twice": reorder(0, 1, 2, 2),
    "a line of nonsense": rewrite(lambda data: data + b"x" * 64 + b" []\n"),
    "zeros at the end": rewrite(lambda data: data + bytes(100) + b"\n"),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED.keys())
def test_an_index_that_was_changed_is_not_believed(indexed, change):
    change(indexed.index)
    done = verify(indexed)
    assert done
    assert (done.unread, "not as this user wrote it" in done.told) == (0, True)
    done = verify(indexed)
    assert (done.unread, done.told) == (done.found.size, ""), "and was begun anew"


def test_an_index_that_lies_about_a_changed_file_needs_the_key(indexed):
    """The attacker knows the format and the file's new times, and signs with a key of their own."""
    flip(indexed.dataset / FILE)
    good = {entry.path: entry for entry in take(indexed.dataset).snapshot.files}
    indexed.index.unlink()
    with opened(indexed.index, indexed.dataset, b"a" * 32) as forged:
        status = (indexed.dataset / FILE).stat()
        forged.recall(FILE, status)
        forged.note(FILE, status, 0, [good[FILE].digest.raw])
    done = verify(indexed)
    assert not done
    assert "not as this user wrote it" in done.told


def test_the_index_of_another_directory_is_not_believed(indexed, spine):
    other = spine.home / "other"
    shutil.copytree(indexed.dataset, other)
    flip(other / FILE)
    done = verify(replace(indexed, dataset=other))
    assert not done
    assert (done.unread, "about another dataset" in done.told) == (0, True)


def test_an_old_index_of_the_same_directory_tells_nothing_that_is_not_so(indexed, tmp_path):
    old = indexed.index.read_bytes()
    flip(indexed.dataset / FILE)
    time.sleep(3 * TICK / 1e9)
    verify(indexed)
    indexed.index.write_bytes(old)
    assert not verify(indexed)


@pytest.mark.parametrize("mode", [0o622, 0o660, 0o666])
def test_an_index_that_others_can_write_to_is_not_believed(indexed, mode):
    indexed.index.chmod(mode)
    done = verify(indexed)
    assert (done.unread, "others can write" in done.told) == (0, True)
    assert indexed.index.stat().st_mode & 0o777 == 0o600
    assert verify(indexed).unread > 0


def test_a_secret_that_others_can_read_makes_no_index(indexed, monkeypatch, tmp_path):
    monkeypatch.setenv("TOADSTONE_HOME", str(tmp_path))
    (tmp_path / "secret").write_bytes(b"s" * 32)
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(UsageError, match="others can read it"):
        verify(indexed)


def test_bytes_that_changed_without_their_times_are_found_by_the_sample(indexed, monkeypatch):
    """A disk that rots, or who writes to the device: only reading tells, and then all is read."""
    with opened(indexed.index, indexed.dataset, _key()) as index:
        status = (indexed.dataset / FILE).stat()
        index.recall(FILE, status)
        index.note(FILE, status, 0, [b"\0" * 32])
    assert not verify(indexed), "the index is believed, and the claim is not met"
    monkeypatch.setattr(indices, "_sample", lambda known: {FILE: frozenset({0})})
    done = verify(indexed)
    assert done, "the bytes are good; what was remembered was not"
    assert (done.unread, "its times have not" in done.told) == (0, True)
    monkeypatch.setattr(indices, "_sample", lambda known: {})
    done = verify(indexed)
    assert (bool(done), done.unread) == (True, done.found.size)


@pytest.mark.parametrize("room", [0, 40, 150])
def test_what_was_contradicted_is_forgotten_on_a_full_disk_too(
    indexed, monkeypatch, room, no_file_beyond
):
    """Who fills the disk does not keep a lie alive: the old lines are gone before new ones come."""
    with opened(indexed.index, indexed.dataset, _key()) as index:
        status = (indexed.dataset / FILE).stat()
        index.recall(FILE, status)
        index.note(FILE, status, 0, [b"\0" * 32])
    monkeypatch.setattr(indices, "_sample", lambda known: {FILE: frozenset({0})})
    with no_file_beyond(room):
        done = verify(indexed)
    assert (bool(done), done.unread) == (True, 0)
    assert indexed.index.stat().st_size <= room
    monkeypatch.setattr(indices, "_sample", lambda known: {})
    assert verify(indexed), "nothing of the lie is left"


@pytest.mark.parametrize("room", [0, 1, 22, 23, 60])
def test_an_index_that_had_no_room_is_begun_again(indexed, room, no_file_beyond):
    indexed.index.unlink()
    with no_file_beyond(room):
        done = verify(indexed)
    assert (bool(done), done.told) == (True, "cannot be written to; less is remembered")
    verify(indexed)
    assert verify(indexed).unread == done.found.size


def _key():
    from guards.secret import draw

    return draw(indices.PURPOSE)


def test_full_reads_whatever_the_index_says(indexed):
    done = verify(replace(indexed, full=True))
    assert (bool(done), done.unread) == (True, 0)


def test_the_gate_and_the_scan_know_no_index(indexed, spine, monkeypatch):
    """The index is for looking again; what is trained on is copied and hashed."""

    def never(*_, **__):
        raise AssertionError("the index was asked")

    record = spine.scan().record_path
    for name in ("opened", "_load"):
        monkeypatch.setattr(indices, name, never)
    monkeypatch.setattr(indices.Index, "recall", never)
    assert spine.scan().verdict
    assert spine.gate(record=record)
    flip_in_place_and_keep_the_times(indexed.dataset / FILE)
    with pytest.raises(GateRefused):
        spine.gate(record=record)


def test_whoever_maps_a_file_cannot_write_behind_its_times(spine, monkeypatch):
    """A page that is dirty already is written to without a new ctime; on disk, it is clean."""
    if os.stat(spine.batch).st_dev in indices._timeless():  # noqa: PTH116
        pytest.skip("needs a file system whose times tell")
    monkeypatch.setattr(indices, "_sample", lambda known: {})
    path = spine.batch / FILE
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[0] = pages[0]
        time.sleep(indices.WINDOW / 1e9 + 0.1)
        before = path.stat().st_ctime_ns
        with opened(spine.home / "index", spine.batch, b"k" * 32) as index:
            take(spine.batch, None, Look(index=index))
        pages[len(pages) // 2] ^= 1
        with opened(spine.home / "index", spine.batch, b"k" * 32) as index:
            walked = take(spine.batch, None, Look(index=index))
    assert walked.snapshot == take(spine.batch).snapshot
    assert path.stat().st_ctime_ns != before
