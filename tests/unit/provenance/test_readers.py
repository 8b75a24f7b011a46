"""Small files are the same whoever reads them: this process, others beside it, or one that died."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest

from guards.provenance import batch, readers
from guards.provenance.batch import RECORD
from guards.provenance.readers import Batch, Readers
from guards.provenance.snapshot import take

FILES = 700


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of many sizes in several directories, and what is no file at the end of one."""
    root = tmp_path / "tree"
    for number in range(FILES):
        path = root / f"{number % 3}" / f"{number:04d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number * (number * number % 30_000))
    (root / "0" / "at most").write_bytes(bytes(batch.SMALL))
    (root / "0" / "above").write_bytes(bytes(batch.SMALL + 1))
    return root


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two others read from the first batches on; their numbers."""
    found: list[int] = []
    real = readers._Reader.__init__

    def counted(self: readers._Reader[object]) -> None:
        real(self)
        found.append(self._process.pid)

    monkeypatch.setattr(readers, "WORTH", 64)
    monkeypatch.setattr(readers, "cores", lambda: 3)
    monkeypatch.setattr(readers._Reader, "__init__", counted)
    return found


def test_who_reads_makes_no_difference(tree, started, monkeypatch):
    walked = take(tree)
    assert len(started) == 2
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    monkeypatch.setattr(readers, "cores", lambda: 1)
    assert take(tree) == walked
    assert len(started) == 2
    by_path = {entry.path: entry.digest.hex for entry in walked.snapshot.files}
    assert len(by_path) == FILES + 2
    for path, digest in by_path.items():
        assert hashlib.sha256((tree / path).read_bytes()).hexdigest() == digest


def test_a_reader_reads_batches_of_its_own(tree, started):
    """None is read here, so that the answers are those of another process."""
    directory = os.open(tree / "0", os.O_RDONLY)
    names = sorted(path.name for path in (tree / "0").iterdir())[:200]
    reader = None
    try:
        reader = readers._Reader[int]()
        for start in range(0, 200, 50):
            asked = Batch[int](directory)
            for name in names[start : start + 50]:
                asked.add(0, name, (tree / "0" / name).stat().st_size)
            assert reader.ask(asked)
        for start in range(0, 200, 50):
            records = list(RECORD.iter_unpack(reader.take() or b""))
            asked = reader.waiting.popleft()
            asked.close()
            assert [outcome for outcome, _, _ in records] == [batch.READ] * 50
            leaves = [
                hashlib.sha256((tree / "0" / name).read_bytes()).digest()
                for name in names[start : start + 50]
            ]
            assert [leaf for _, leaf, _ in records] == leaves
    finally:
        os.close(directory)
        if reader:
            reader.end()


@pytest.mark.parametrize("when", ["at once", "after a while"])
def test_a_reader_that_dies_costs_no_file(tree, started, monkeypatch, when):
    whole = take(tree)
    real = readers._Reader.ask
    asked = 0

    def deadly(self: readers._Reader[object], some: Batch[object]) -> bool:
        nonlocal asked
        taken = real(self, some)
        asked += 1
        if asked == (1 if when == "at once" else 5):
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return taken

    monkeypatch.setattr(readers._Reader, "ask", deadly)
    assert take(tree) == whole
    assert asked


def test_a_reader_that_is_none_costs_no_file(tree, started, monkeypatch):
    """Where Python cannot be started, and where something else is started in its place."""
    whole = take(tree)
    for executable in ("/nowhere/python", "/bin/true"):
        monkeypatch.setattr(sys, "executable", executable)
        assert take(tree) == whole


def test_nothing_is_left_when_the_walk_fails(tree, started):
    from guards.provenance.snapshot import Look

    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    left = 500

    def tick(size: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ZeroDivisionError

    before = opened()
    with pytest.raises(ZeroDivisionError):
        take(tree, None, Look(tick=tick))
    assert opened() == before
    assert len(started) == 2
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("who", ["here", "a reader"])
def test_what_is_no_such_file_any_more_is_not_read(tree, started, who):
    """Between the look and the reading: links are not followed, a fifo does not hang."""
    made = {
        "gone": (None, 2),
        "link": (lambda path: path.symlink_to("/etc/hostname"), 40),
        "fifo": (os.mkfifo, batch.SPECIAL),
        "directory": (Path.mkdir, batch.SPECIAL),
        "grown": (lambda path: path.write_bytes(b"12345"), batch.RESIZED),
        "cut": (lambda path: path.write_bytes(b"123"), batch.RESIZED),
        "good": (lambda path: path.write_bytes(b"1234"), batch.READ),
    }
    asked = Batch[int](directory := os.open(tree / "0", os.O_RDONLY))
    os.close(directory)
    for name, (make, _) in made.items():
        if make:
            make(tree / "0" / name)
        asked.add(0, name, 4)
    if who == "here":
        _, records = Readers[int]()._here(asked)
    else:
        reader = readers._Reader[int]()
        assert reader.ask(asked)
        records = reader.take()
        reader.end()
    told = list(RECORD.iter_unpack(records))
    assert [outcome for outcome, _, _ in told] == [outcome for _, outcome in made.values()]
    assert told[-1][1] == hashlib.sha256(b"1234").digest()
    assert not any(leaf.strip(b"\0") for _, leaf, _ in told[:-1])
