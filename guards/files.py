"""Writing so that no reader, and no crash, ever meets half a file."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guards.errors import UsageError

# The most that an untrusted document may weigh; its parser refuses at the same size.
MAX_DOCUMENT = 64 * 1024 * 1024


def read_document(path: Path) -> bytes | None:
    """The bytes of a regular file, or None where there is none; a fifo must not make us wait."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_DOCUMENT + 1) if plain else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if not plain or len(data) > MAX_DOCUMENT:
        raise UsageError(f"cannot read {path}: not a plain file of at most {MAX_DOCUMENT} bytes")
    return data


def draft_of(path: Path) -> Path:
    """A hidden name beside `path`, of nobody else's draft, for what will become it."""
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}")


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put `data` at `path` all at once, on disk before this returns."""
    draft = draft_of(path)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _settle(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def directory_on_disk(path: Path) -> None:
    """Make a directory and what it lies in, so that their names outlive a loss of power."""
    if path.is_dir():
        return
    directory_on_disk(path.parent)
    path.mkdir(exist_ok=True)
    _settle(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, between processes, for as long as the block runs.

    Whoever holds the lock may unlink its file as the last thing: those who wait then start again.
    """
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                yield
                return


@contextmanager
def directory_at_once(final: Path) -> Iterator[Path]:
    """Give a draft directory that becomes `final` when the block ends well, and else vanishes.

    A directory that stands at `final` is replaced; of two writers the last one wins, whole.
    """
    draft = draft_of(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
    except OSError as error:
        raise UsageError(
            f"cannot write to {final}: {error.strerror}; choose another --out"
        ) from error
    try:
        yield draft
        try:
            _swap(draft, final)
        except OSError as error:  # say, a link to nowhere stands there
            told = f"cannot write to {final}: {error.strerror}; choose another --out"
            raise UsageError(told) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _swap(draft: Path, final: Path) -> None:
    old, lock = draft.with_name(f"{draft.name}x"), final.with_name(f".{final.name}.lock")
    with locked(lock):
        if final.exists():
            final.rename(old)
        draft.rename(final)
        lock.unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def _settle(directory: Path) -> None:
    """Put a directory's own entries on disk: without it a new name can be lost with the power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
