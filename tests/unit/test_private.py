"""Private directories end with their owner, however it ended; what is held is nobody else's."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from guards.errors import UsageError
from guards.private import PREFIX, discard, hold, private

HOLD = (
    "import sys, time; from pathlib import Path; from guards.private import hold\n"
    "held = hold(Path(sys.argv[1])); (held.path / 'row').write_text('1'); print(held.path.name)\n"
    "sys.stdout.flush(); time.sleep(600)"
)


def names(home):
    return sorted(path.name for path in home.iterdir())


def test_that_there_is_no_place_for_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="private copies, TMPDIR: No such file"), private():
        pass
    with pytest.raises(UsageError, match="cannot write to /dev/null: Not a directory"):
        hold(Path("/dev/null"))


@pytest.fixture
def other(tmp_path):
    """Another process that holds a private directory; its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_it_is_this_users_alone_and_ends_with_the_block(tmp_path):
    with private(tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "deep" / "er").mkdir(parents=True)
        assert names(tmp_path) == [path.name]
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_what_a_killed_owner_left_is_removed_by_the_next(tmp_path, other, number):
    process, name = other
    process.send_signal(number)
    process.wait()
    assert names(tmp_path) == [name], "nothing removes it when the owner is killed"
    with private(tmp_path) as path:
        assert names(tmp_path) == [path.name]


def test_what_somebody_holds_is_left_alone(tmp_path, other):
    _, name = other
    with private(tmp_path) as path:
        assert names(tmp_path) == sorted([name, path.name])
        with private(tmp_path):
            assert path.is_dir(), "nor is what this process holds"


def test_a_fork_holds_it_and_does_not_remove_it(tmp_path):
    held = hold(tmp_path)
    if not (child := os.fork()):
        held.end()
        os._exit(0)
    os.waitpid(child, 0)
    assert held.path.is_dir()
    held.end()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "swept"),
    [(0o700, True), (0o755, True), (0o1777, True), (0o775, False), (0o777, False)],
)
def test_nothing_is_removed_where_others_may_rename(tmp_path, mode, swept):
    """They could give the prefix to a directory that is dear to this user."""
    home = tmp_path / "shared"
    home.mkdir()
    (home / "dear").mkdir(mode=0o700)
    home.chmod(mode)
    (home / "dear").rename(home / f"{PREFIX}dear")
    with private(home):
        pass
    assert (home / f"{PREFIX}dear").exists() is not swept


@pytest.mark.parametrize(
    "plant",
    [
        lambda home: (home / f"{PREFIX}x").mkdir(mode=0o755),
        lambda home: (home / f"{PREFIX}x").symlink_to(home / "mine"),
        lambda home: (home / f"{PREFIX}x").write_text("mine"),
        lambda home: (home / ".toadstone-x").mkdir(mode=0o700),
        lambda home: os.mkfifo(home / f"{PREFIX}x"),
    ],
    ids=["that others may see", "a link", "a file", "of another name", "a fifo"],
)
def test_what_was_not_made_here_is_left_alone(tmp_path, plant):
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "mine" / "row").write_text("1")
    plant(tmp_path)
    before = names(tmp_path)
    with private(tmp_path):
        pass
    assert names(tmp_path) == before
    assert (tmp_path / "mine" / "row").exists()


def test_what_nobody_may_write_to_is_removed_as_well(tmp_path):
    """By a user for whom modes count: in a child, since tests may be run by root."""
    tmp_path.chmod(0o777)
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            os.chdir(tmp_path)  # whose parents that user may not enter
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            held = Path("held")
            (held / "more" / "less").mkdir(parents=True)
            (held / "more" / "less" / "a.csv").write_text("1")
            for path in (held / "more" / "less", held / "more"):
                path.chmod(0o555)
            discard(held)
            os.write(write, b"1" if not held.exists() else b"0")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 1) == b"1"


def test_a_link_within_is_removed_and_not_followed(tmp_path):
    (tmp_path / "mine").mkdir(mode=0o500)
    held = hold(tmp_path)
    (held.path / "link").symlink_to(tmp_path / "mine")
    held.end()
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o500
