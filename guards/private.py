"""Private directories that outlive nobody: copies of data end with their owner, however it ended.

Who is killed takes nothing along, and a copy of somebody's data must not lie about for that. So the
owner holds a lock on the directory, which the kernel lets go when the owner is no more, and whoever
makes the next one beside it removes those that nobody holds. A fork of the owner holds them, too,
and removes nothing when it ends. Where directories cannot be locked none is removed for another,
nor where others may rename: they could give our prefix to a directory that is dear to this user.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from guards.errors import UsageError

# No other name: what has this one, is this user's and is not locked will be removed.
PREFIX = ".toadstone-private-"


@dataclass(frozen=True, slots=True)
class Private:
    """A directory that only this user can look into, and its lock."""

    path: Path
    lock: int
    owner: int

    def end(self) -> None:
        """Remove it with all that is in it, unless a fork of the owner asks."""
        if self.owner == os.getpid():
            discard(self.path)
            self.keep()

    def keep(self) -> None:
        """Let go of it without removing it: it has become something else."""
        os.close(self.lock)


@contextmanager
def private(where: Path | None = None) -> Iterator[Path]:
    """A private directory in `where`, the system's own place unless said, until the block ends."""
    held = hold(where)
    try:
        yield held.path
    finally:
        held.end()


def hold(where: Path | None = None) -> Private:
    """A new private directory in `where`; those that the dead left there are removed.

    Raises:
        UsageError: none can be made there.
    """
    import tempfile

    try:
        home = where if where is not None else Path(tempfile.gettempdir())
        _sweep(home)
        return _made(home)
    except OSError as error:
        told = where if where is not None else "the directory for private copies, TMPDIR"
        raise UsageError(f"cannot write to {told}: {error.strerror}") from error


def _made(home: Path) -> Private:
    import tempfile

    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
        with suppress(FileNotFoundError):  # swept before we held it
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _locked(lock) is not False and _is(path, lock):
                return Private(path, lock, os.getpid())
            os.close(lock)


def discard(path: Path) -> None:
    """Remove a directory of this user, also one whose directories nobody may write to."""
    for directory, names, _ in os.walk(path):
        for name in names:
            below = Path(directory, name)
            with suppress(OSError):
                if not below.is_symlink():
                    below.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def _sweep(home: Path) -> None:
    with suppress(OSError), os.scandir(home) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
        for name in names if _only_we_rename(home.stat()) else ():
            with suppress(OSError):
                _remove_ownerless(home / name)


def _only_we_rename(home: os.stat_result) -> bool:
    """Whether nobody but this user, and root, can rename what is this user's in a directory."""
    shared = home.st_mode & 0o022 and not home.st_mode & stat.S_ISVTX
    return home.st_uid in (0, os.geteuid()) and not shared


def _remove_ownerless(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(lock)
        ours = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
        if ours and _locked(lock) and _is(path, lock):
            discard(path)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool | None:
    """Whether nobody else holds it, and we do now; None where nothing can be held."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is(path: Path, lock: int) -> bool:
    """Whether a directory is still where it was when it was opened."""
    with suppress(OSError):
        return os.path.samestat(path.lstat(), os.fstat(lock))
    return False
