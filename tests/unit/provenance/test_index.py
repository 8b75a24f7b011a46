"""The index: it never changes a verdict, it costs what changed, and what is torn is read again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.digest import CHUNK, Digest
from guards.errors import UsageError
from guards.provenance import index as indices
from guards.provenance import reading
from guards.provenance.index import Seal, opened
from guards.provenance.snapshot import Look, Snapshot, Walked, take

KEY = b"k" * 32
TICK = 20_000_000  # ns: more than a tick of the clock by which files are stamped


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Files of a moment ago count as old: what is tested is not patience."""
    monkeypatch.setattr(indices, "WINDOW", TICK)
    monkeypatch.setattr(indices, "SETTLED", TICK)
    monkeypatch.setattr(indices, "_NEVER", frozenset())


@dataclass
class Kept:
    """A tree, and the index of it."""

    tree: Path
    index: Path

    def look(self, *, full: bool = False, key: bytes = KEY) -> tuple[Walked, str]:
        with opened(self.index, self.tree, key, full=full) as index:
            walked = take(self.tree, None, Look(index=index))
        return walked, index.told

    def hold(self, claimed: Snapshot, ticks: list[int] | None = None) -> Walked:
        """As `verify` does: what is found as it was claimed is sealed."""
        with opened(self.index, self.tree, KEY) as index:
            tick = (ticks if ticks is not None else []).append
            walked = take(self.tree, None, Look(index=index, claimed=claimed, tick=tick))
            if walked.snapshot == claimed:
                index.seal(sealed(claimed))
        return walked

    @property
    def seal(self) -> Seal | None:
        with opened(self.index, self.tree, KEY) as index:
            return index.sealed


def sealed(claimed: Snapshot) -> Seal:
    return Seal(
        root=claimed.root, claim=Digest.of(b""), size=claimed.size, files=len(claimed.files)
    )


def build(home: Path) -> Kept:
    tree = home / "tree"
    (tree / "more").mkdir(parents=True)
    for name, data in (("a", b"1" * 10), ("b", b"2" * 10), ("more/c", b""), ("more/d", b"4" * 9)):
        (tree / name).write_bytes(data)
    return Kept(tree, home / "index")


@pytest.fixture
def kept(tmp_path):
    made = build(tmp_path)
    time.sleep(3 * TICK / 1e9)
    return made


@pytest.fixture
def unsampled(monkeypatch):
    monkeypatch.setattr(indices, "_sample", lambda known: {})


def test_the_second_time_nothing_is_read_but_the_sample(kept):
    first, told = kept.look()
    assert (first, told) == (take(kept.tree), "")
    assert first.unread == 0
    again, told = kept.look()
    assert (again.snapshot, again.unsafe, told) == (first.snapshot, first.unsafe, "")
    assert 18 <= again.unread <= 29, "all but the one chunk that was drawn"
    assert kept.index.stat().st_mode & 0o777 == 0o600


def test_full_reads_all_and_writes_what_it_learns(kept, unsampled):
    assert kept.look(full=True)[0].unread == 0
    assert kept.look()[0].unread == 29
    assert kept.look(full=True)[0].unread == 0
    assert kept.look()[0].unread == 29


def test_what_changed_is_read_and_the_rest_is_not(kept, unsampled):
    kept.look()
    (kept.tree / "b").write_bytes(b"3" * 10)
    walked, _ = kept.look()
    assert walked.snapshot == take(kept.tree).snapshot
    assert walked.unread == 19


def edit(path: Path) -> None:
    """Other bytes of the same number, and the times put back: only the ctime tells."""
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


EDITS = {
    "edit": edit,
    "replace": replace,
    "grow": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "empty": lambda path: path.write_bytes(b""),
    "remove": lambda path: path.unlink(),
    "touch": lambda path: os.utime(path),
    "link": lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
    "second name": lambda path: os.link(
        path, path.with_name(f"z{len(list(path.parent.iterdir()))}")
    ),
}
OTHERS = {
    **EDITS,
    "second name elsewhere": lambda path: os.link(
        path, path.parents[1 + (path.parent.name == "more")] / f"second {time.monotonic_ns()}"
    ),
    "twin": lambda path: path.with_name(path.name.upper()).write_bytes(b""),
    "hide": lambda path: path.rename(path.with_name(f".{path.name}")),
    "rename": lambda path: path.rename(path.with_name(f"{path.name}x")),
    "fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "directory": lambda path: (path.unlink(), path.mkdir()),
    "empty directory": lambda path: (path.parent / "nothing").mkdir(exist_ok=True),
    "hidden directory": lambda path: (path.parent / ".git").mkdir(exist_ok=True),
    "directory for a link": lambda path: (
        path.parent.rename(path.parent.with_name("moved")),
        path.parent.symlink_to("moved"),
    ),
}
moves = st.lists(
    st.tuples(st.sampled_from(sorted(EDITS)), st.sampled_from(["a", "b", "more/c", "more/d"])),
    max_size=4,
)


@settings(max_examples=25)
@given(rounds=st.lists(moves, min_size=1, max_size=3))
def test_the_index_never_changes_what_is_seen(rounds):
    """Whatever is done to the files between the runs: with the index and without is the same."""
    with tempfile.TemporaryDirectory() as home:
        kept = build(Path(home))
        for round_ in rounds:
            time.sleep(2 * TICK / 1e9)
            kept.look()
            for what, name in round_:
                if (kept.tree / name).is_file() and not (kept.tree / name).is_symlink():
                    EDITS[what](kept.tree / name)
                    (kept.tree / "more" / "e").write_bytes(b"there is always something")
            if not any(kept.tree.iterdir()):
                return
            plain = take(kept.tree)
            walked, told = kept.look()
            assert (walked.snapshot, walked.unsafe, told) == (plain.snapshot, plain.unsafe, "")


@pytest.mark.parametrize("name", ["a", "b", "more/c", "more/d"])
@pytest.mark.parametrize("what", sorted(OTHERS))
def test_a_seal_never_changes_what_is_seen(kept, unsampled, what, name):
    """All that is known was sealed as what is claimed; then one thing is another."""
    if what == "directory for a link" and "/" not in name:
        pytest.skip("the directory of the dataset may be a link")
    claimed = take(kept.tree).snapshot
    assert kept.hold(claimed).unread == 0
    assert kept.hold(claimed).unread == 29
    time.sleep(2 * TICK / 1e9)
    OTHERS[what](kept.tree / name)
    plain, walked = take(kept.tree), kept.hold(claimed)
    assert (walked.snapshot, walked.unsafe) == (plain.snapshot, plain.unsafe)


def test_a_sealed_tree_that_is_as_it_was_is_neither_walked_nor_compared(kept, monkeypatch):
    claimed, ticks = take(kept.tree).snapshot, []
    kept.hold(claimed)
    assert kept.seal == sealed(claimed)
    monkeypatch.setattr(reading, "walk", None)
    walked = kept.hold(claimed, ticks)
    assert walked.snapshot is claimed
    assert 18 <= walked.unread <= 29, "but its sample is read"
    assert ticks == [29]


def test_the_sample_of_a_sealed_tree_tells_other_bytes(kept, monkeypatch):
    claimed = take(kept.tree).snapshot
    kept.hold(claimed)
    with opened(kept.index, kept.tree, KEY) as index:
        index.note("b", (kept.tree / "b").stat(), 0, [bytes(32)])
        index.recall("b", (kept.tree / "b").stat())
        index._seen.update(index._known)
        index.seal(sealed(claimed))
    assert kept.seal == sealed(claimed)
    monkeypatch.setattr(indices, "_sample", lambda known: {"b": frozenset({0})})
    assert kept.hold(claimed).unread == 0
    monkeypatch.setattr(indices, "_sample", lambda known: {})
    assert kept.hold(claimed).unread == 29, "all was read, and is known and sealed again"


def test_what_is_not_known_in_full_is_not_sealed(kept, unsampled, monkeypatch):
    """A file that is too young to be remembered, after an older one of its name that was."""
    kept.hold(take(kept.tree).snapshot)
    replace(kept.tree / "b")
    monkeypatch.setattr(indices, "WINDOW", 3600 * 10**9)
    claimed = take(kept.tree).snapshot
    assert kept.hold(claimed).snapshot == claimed
    seal = kept.seal
    assert seal is None or seal.root != claimed.root


def test_what_is_learnt_after_the_seal_breaks_it(kept, unsampled):
    kept.hold(take(kept.tree).snapshot)
    assert kept.seal is not None
    (kept.tree / "e").write_bytes(b"5")
    time.sleep(3 * TICK / 1e9)
    kept.look()
    assert kept.seal is None
    (kept.tree / "e").unlink()
    claimed = take(kept.tree).snapshot
    kept.hold(claimed)
    assert kept.seal == sealed(claimed), "what is gone was dropped"
    assert kept.hold(claimed).unread == 29


def test_what_was_written_a_moment_ago_is_not_remembered(kept, monkeypatch):
    """Racy-clean, as in git: a second write in the same tick would leave the same times."""
    monkeypatch.setattr(indices, "WINDOW", 3600 * 10**9)
    kept.look()
    assert kept.look()[0].unread == 0


def test_a_time_in_the_future_is_not_believed(kept, unsampled, monkeypatch):
    real = time.time_ns
    monkeypatch.setattr(indices.time, "time_ns", lambda: real() - 3600 * 10**9)
    kept.look()
    assert kept.look()[0].unread == 0


def test_dirty_pages_are_put_on_disk_once_before_a_young_file_is_believed(kept, monkeypatch):
    """Who has a dirty page mapped writes on without a new ctime, until it has been on disk."""
    calls = []
    monkeypatch.setattr(indices, "SETTLED", 600 * 10**9)
    monkeypatch.setattr(indices, "_put_on_disk", lambda: calls.append(1))
    kept.look()
    assert calls == [1]
    assert kept.look()[0].unread > 0, "they were older than that moment"


def test_no_use_is_made_of_it_where_times_do_not_tell(kept, monkeypatch):
    device = kept.tree.stat().st_dev
    monkeypatch.setattr(indices, "_timeless", lambda: frozenset({device}))
    kept.look()
    walked, told = kept.look()
    assert walked.unread == 0
    assert "does not tell every change" in told


def test_memory_is_a_file_system_whose_times_do_not_tell(monkeypatch):
    monkeypatch.setattr(indices, "_NEVER", frozenset({"tmpfs"}))
    shm = Path("/dev/shm")
    if not shm.is_dir() or " /dev/shm " not in Path("/proc/self/mountinfo").read_text():
        pytest.skip("needs /dev/shm")
    assert shm.stat().st_dev in indices._timeless(), "and its mapped pages are never written"


def test_a_sample_is_one_in_a_hundred_and_never_none():
    known = {str(n): bytes(indices._KEY.size + 32) for n in range(1000)}
    assert sum(map(len, indices._sample(known).values())) == 10
    large = {"large": bytes(indices._KEY.size + 32 * 512)}
    [(path, numbers)] = indices._sample(large).items()
    assert path == "large"
    assert len(numbers) == 6
    assert max(numbers) < 512
    assert sum(map(len, indices._sample({"one": bytes(indices._KEY.size + 32)}).values())) == 1
    assert indices._sample({}) == {}


def test_a_line_that_was_cut_off_is_dropped_and_the_rest_believed(kept, unsampled):
    kept.look()
    (kept.tree / "b").write_bytes(b"5" * 10)
    time.sleep(3 * TICK / 1e9)
    kept.look()
    whole = kept.index.read_bytes()
    kept.index.write_bytes(whole[:-20])
    walked, told = kept.look()
    assert (walked.unread, told) == (19, "")
    assert kept.look()[0].unread == 29


def test_the_file_does_not_grow_for_ever(kept, monkeypatch):
    monkeypatch.setattr(indices, "_TOGETHER", 8)
    for _ in range(12):
        kept.look(full=True)
    assert len(kept.index.read_bytes().splitlines()) < 8


STOPPED = """
import os, signal, sys
from pathlib import Path
from guards.provenance import index as indices, snapshot
indices.WINDOW = indices.SETTLED = 20_000_000
indices._NEVER, indices._SECONDS = frozenset(), 0.0
left = int(sys.argv[3])
def tick(size):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
with indices.opened(Path(sys.argv[2]), Path(sys.argv[1]), b"k" * 32) as index:
    snapshot.take(Path(sys.argv[1]), None, snapshot.Look(index=index, tick=tick))
"""


@pytest.mark.parametrize("what", ["one large file", "many files"])
def test_who_is_killed_goes_on_where_it_stopped(tmp_path, unsampled, what):
    tree = tmp_path / "tree"
    tree.mkdir()
    if what == "many files":
        for number in range(20):
            (tree / f"{number:02d}").write_bytes(b"x" * (number + 1))
        done, size = sum(range(1, 14)), 210
    else:
        with (tree / "large").open("wb") as file:
            file.truncate(5 * CHUNK + 1)
        done, size = 3 * CHUNK, 5 * CHUNK + 1
    time.sleep(3 * TICK / 1e9)
    stop = "13" if what == "many files" else "3"
    command = [sys.executable, "-c", STOPPED, str(tree), str(tmp_path / "index"), stop]
    killed = subprocess.run(command, check=False, env={**os.environ}, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    kept = Kept(tree, tmp_path / "index")
    walked, told = kept.look()
    assert (walked.unread, told) == (done, "")
    assert walked.snapshot == take(tree).snapshot
    assert kept.look()[0].unread == size


def test_one_file_is_a_dataset_too(kept, unsampled):
    one = Kept(kept.tree / "a", kept.index)
    one.look()
    assert one.look()[0].unread == 10
    shutil.copy(kept.tree / "a", kept.tree / "a2")
    assert "another dataset" in Kept(kept.tree / "a2", kept.index).look()[1]


@pytest.mark.parametrize("what", ["other file", "directory", "fifo", "link", "inside", "nowhere"])
def test_what_is_no_index_is_left_alone(kept, what):
    path = {"inside": kept.tree / "index", "nowhere": kept.tree / "a" / "b" / "i"}.get(
        what, kept.index
    )
    match what:
        case "other file":
            path.write_bytes(b"the only copy of something")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            (kept.tree.parent / "precious").write_bytes(b"")
            path.symlink_to("precious")
    with pytest.raises(UsageError, match="another --index"):
        Kept(kept.tree, path).look()
    if what == "other file":
        assert path.read_bytes() == b"the only copy of something"


def test_two_runs_do_not_write_to_one_index(kept):
    kept.look()
    with opened(kept.index, kept.tree, KEY):
        walked, told = kept.look()
    assert (walked.unread, "in use" in told) == (0, True)


def test_nothing_is_lost_when_the_run_fails(kept, unsampled):
    left = 2

    def tick(size: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ZeroDivisionError

    def run() -> None:
        with opened(kept.index, kept.tree, KEY) as index:
            take(kept.tree, None, Look(index=index, tick=tick))

    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ZeroDivisionError):
        run()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert kept.look()[0].unread == 20
