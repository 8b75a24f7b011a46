"""Writing all at once, and reading what nobody vouches for."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from guards import files
from guards.errors import UsageError
from guards.files import directory_at_once, locked, read_document, write_atomically


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def interrupt(path, interruption):
    path.write_text("half")
    raise interruption


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"one")

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["file"]


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    final = tmp_path / "deep" / "run"
    with directory_at_once(final) as draft:
        (draft / "a").write_text("1")
        assert not final.exists()
    assert names(final) == ["a"]
    for interruption in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(interruption), directory_at_once(final) as draft:
            interrupt(draft / "b", interruption)
    assert names(final) == ["a"]
    assert names(final.parent) == ["run"]


def test_of_two_writers_the_last_one_wins_whole(tmp_path):
    final = tmp_path / "run"
    errors = []

    def write(tag):
        try:
            for _ in range(15):
                with directory_at_once(final) as draft:
                    (draft / "one").write_text(tag)
                    (draft / "two").write_text(tag)
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(str(n),)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not errors
    assert (final / "one").read_text() == (final / "two").read_text()
    assert names(tmp_path) == ["run"]


def test_a_name_as_long_as_names_may_be_has_room_beside_it(tmp_path):
    final = tmp_path / ("n" * 240)
    for _ in range(2):
        with directory_at_once(final):
            pass
    assert names(tmp_path) == ["n" * 240]


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="cannot write"),
        directory_at_once(tmp_path / "file" / "run"),
    ):
        pytest.fail("there is nowhere to write to")


def test_a_lock_keeps_others_out_even_when_its_file_is_taken_away(tmp_path):
    path, inside, most = tmp_path / "lock", [], []

    def enter():
        for _ in range(30):
            with locked(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
                path.unlink(missing_ok=True)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 120


def test_a_document_is_a_plain_file_of_bounded_size(tmp_path, monkeypatch):
    path = tmp_path / "document"
    assert read_document(path) is None
    path.write_bytes(b"{}")
    assert read_document(path) == b"{}"
    monkeypatch.setattr(files, "MAX_DOCUMENT", 10)
    path.write_bytes(b"x" * 11)
    with pytest.raises(UsageError, match="at most 10 bytes"):
        read_document(path)
    os.mkfifo(tmp_path / "fifo")
    for other in (tmp_path / "fifo", tmp_path, path / "below"):
        with pytest.raises(UsageError, match="cannot read"):
            read_document(other)
