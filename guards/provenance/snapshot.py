"""A Snapshot: files at one moment, named by one root digest, taken without trusting the tree.

The walker opens every path component by descriptor with `O_NOFOLLOW`, so nothing that is swapped
in while it walks can lead it elsewhere. Links, specials, hidden names, colliding names and empty
directories are never followed or opened; each is reported as a :class:`Difference`, as data. A
tree can be *staged*: copied to a private directory and hashed there, so that what is examined is
what was hashed, whoever else can write to the original.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guards.digest import Digest, hash_descriptors, tree_root
from guards.errors import NothingToExamine, UsageError
from guards.text import DECEPTIVE, is_control, printable

# A path is read below a private directory, whose own path must fit beside it into PATH_MAX.
MAX_PATH = 2048
MAX_NAME = 255
MAX_DEPTH = 64
WARNINGS = frozenset({"hardlink"})
TOO_LARGE = "too-large"
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Entry:
    """One regular file: its NFC path with `/`, its size in bytes, its digest."""

    path: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Files named by one root digest: a reference that can be proved again, never the data."""

    files: tuple[Entry, ...]

    @property
    def root(self) -> Digest:
        """The name of these bytes under these paths."""
        return tree_root((entry.path, entry.size, entry.digest) for entry in self.files)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(entry.size for entry in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which something is not what it should be: a file, a tree, a claim."""

    code: str
    path: str
    expected: str = ""
    actual: str = ""

    def __str__(self) -> str:
        expected = f", expected {printable(self.expected)}" if self.expected else ""
        actual = f", found {printable(self.actual)}" if self.actual else ""
        return f"{self.code}: {printable(self.path)}{expected}{actual}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What a walk saw: the snapshot of the plain files, and everything that was refused."""

    snapshot: Snapshot
    unsafe: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A regular file under the walk, open for reading."""

    path: str
    descriptor: int
    status: os.stat_result


def take(dataset: Path, most: int | None = None) -> Walked:
    """Name the bytes of a directory or one file as they lie there; nothing is copied.

    No more than `most` bytes are read; see :func:`stage`.
    """
    unsafe: list[Difference] = []
    kept: dict[int, _Opened] = {}

    def pending() -> Iterator[tuple[str, int, int]]:
        for opened in _fitting(_walk(dataset, unsafe), most, unsafe):
            kept[opened.descriptor] = opened
            yield opened.path, opened.descriptor, opened.status.st_size

    def close(descriptor: int) -> None:
        opened = kept.pop(descriptor)
        unsafe.extend(_moved(opened))
        os.close(descriptor)

    sizes: dict[str, int] = {}
    files = []
    for path, digest in hash_descriptors(_noting(pending(), sizes), close):
        files.append(Entry(path=path, size=sizes[path], digest=digest))
    return _walked(files, unsafe)


def stage(dataset: Path, into: Path, most: int | None = None) -> Walked:
    """Copy a dataset's plain files into the private, empty directory `into`; name the copy.

    The copy takes no more than `most` bytes: a file that does not fit is refused unread, so that
    a sparse file of a terabyte, where a megabyte was expected, fills no disk.
    """
    unsafe: list[Difference] = []
    for opened in _fitting(_walk(dataset, unsafe), most, unsafe):
        try:
            _copy(opened, into / opened.path)
            unsafe.extend(_moved(opened))
        except OSError as error:
            told = f"{printable(opened.path)}: {error.strerror}"
            raise UsageError(f"cannot copy {told}; is there room in {into.parent}?") from error
        finally:
            os.close(opened.descriptor)
    copied = take(into) if any(into.iterdir()) else Walked(snapshot=Snapshot(files=()), unsafe=())
    return _walked(copied.snapshot.files, unsafe)


def _copy(opened: _Opened, target: Path) -> None:
    """Copy as many bytes as there were at the look; what grows meanwhile is told by `_moved`."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    left = opened.status.st_size
    with os.fdopen(os.dup(opened.descriptor), "rb") as source, target.open("xb") as copy:
        while block := source.read(min(left, 1 << 20)):
            copy.write(block)
            left -= len(block)


def _fitting(
    walk: Iterator[_Opened], most: int | None, unsafe: list[Difference]
) -> Iterator[_Opened]:
    """Pass on the files that fit into `most` bytes together; the others are refused and closed."""
    left = most
    for opened in walk:
        size = opened.status.st_size
        if left is None or size <= left:
            left = left if left is None else left - size
            yield opened
            continue
        os.close(opened.descriptor)
        wanted, actual = f"no more than {left} bytes", f"{size} bytes, which were not read"
        unsafe.append(Difference(code=TOO_LARGE, path=opened.path, expected=wanted, actual=actual))


def compare(claimed: Iterable[Entry], found: Iterable[Entry]) -> tuple[Difference, ...]:
    """Say how the files found differ from the files claimed, in path order."""
    want = {entry.path: entry for entry in claimed}
    have = {entry.path: entry for entry in found}
    differences = []
    for path in sorted(want.keys() | have.keys()):
        if path not in have:
            differences.append(Difference(code="missing-file", path=path))
        elif path not in want:
            differences.append(Difference(code="extra-file", path=path))
        elif want[path] != have[path]:
            differences.append(_changed(want[path], have[path]))
    return tuple(differences)


def _changed(want: Entry, have: Entry) -> Difference:
    if want.size != have.size:
        code = "truncated-file" if have.size < want.size else "grown-file"
        expected, actual = f"{want.size} bytes", f"{have.size} bytes"
    else:
        code, expected, actual = "changed-file", str(want.digest), str(have.digest)
    return Difference(code=code, path=want.path, expected=expected, actual=actual)


def _noting(
    opened: Iterator[tuple[str, int, int]], sizes: dict[str, int]
) -> Iterator[tuple[str, int, int]]:
    for path, descriptor, size in opened:
        sizes[path] = size
        yield path, descriptor, size


def _walked(files: Iterable[Entry], unsafe: Iterable[Difference]) -> Walked:
    ordered = tuple(sorted(files, key=lambda entry: entry.path.encode()))
    return Walked(
        snapshot=Snapshot(files=ordered), unsafe=tuple(sorted(unsafe, key=lambda d: d.path))
    )


def _moved(opened: _Opened) -> Iterator[Difference]:
    """A file that changed while it was read has no digest that means anything."""
    before, after = opened.status, os.fstat(opened.descriptor)
    keys = ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink")
    if any(getattr(before, key) != getattr(after, key) for key in keys):
        yield Difference(code="changed-while-read", path=opened.path)


def _walk(dataset: Path, unsafe: list[Difference]) -> Iterator[_Opened]:
    """Yield the plain files of a dataset, open; the caller closes. Refusals go to `unsafe`."""
    try:
        resolved = dataset.resolve(strict=True)
        is_file = resolved.is_file()
        top = os.open(resolved.parent if is_file else resolved, _OPEN | os.O_DIRECTORY)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        told = getattr(error, "strerror", "") or "a loop of links"
        raise UsageError(f"dataset {printable(str(dataset))}: {told}") from error
    names = [resolved.name] if is_file else _names(top)
    if not names:
        os.close(top)
        raise NothingToExamine(f"dataset {printable(str(dataset))} is an empty directory")
    yield from _directory(top, "", names, unsafe)


def _directory(
    descriptor: int, prefix: str, names: list[str], unsafe: list[Difference]
) -> Iterator[_Opened]:
    """Walk one directory by its descriptor, which is closed at the end."""
    try:
        refused = set(_twins(names))
        for name in names:
            path = prefix + unicodedata.normalize("NFC", name)
            mode = _mode(descriptor, name)
            code = "name-collision" if name in refused else _refusal(name, path, mode)
            if code:
                unsafe.append(Difference(code=code, path=path))
            elif stat.S_ISDIR(mode):
                yield from _subdirectory(descriptor, name, path, unsafe)
            elif opened := _open(descriptor, name, path, unsafe):
                yield opened
    finally:
        os.close(descriptor)


def _subdirectory(parent: int, name: str, path: str, unsafe: list[Difference]) -> Iterator[_Opened]:
    try:
        descriptor = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=parent)
    except OSError as error:
        unsafe.append(Difference(code="unreadable", path=path, actual=str(error.strerror)))
        return
    names = _names(descriptor)
    if not names:
        unsafe.append(Difference(code="empty-directory", path=path))
    yield from _directory(descriptor, path + "/", names, unsafe)


def _open(parent: int, name: str, path: str, unsafe: list[Difference]) -> _Opened | None:
    try:
        descriptor = os.open(name, _OPEN, dir_fd=parent)
    except OSError as error:
        unsafe.append(Difference(code="unreadable", path=path, actual=str(error.strerror)))
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):  # swapped between the look and the opening
        os.close(descriptor)
        unsafe.append(Difference(code="special-file", path=path))
        return None
    if status.st_nlink > 1:
        unsafe.append(Difference(code="hardlink", path=path, actual=f"{status.st_nlink} names"))
    return _Opened(path, descriptor, status)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries)


def _mode(directory: int, name: str) -> int:
    """The type of an entry without following it; 0, which is no type, once it has gone."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        return 0


def _refusal(name: str, path: str, mode: int) -> str:
    """Why an entry is not to be opened, or nothing; the first reason found."""
    if any(map(is_control, name)):
        return "name-unprintable"
    if any(c in DECEPTIVE for c in name) or name[-1] in ". " or "\\" in name or name[1:2] == ":":
        return "name-deceptive"
    long_name = len(path.rpartition("/")[2].encode()) > MAX_NAME  # NFC can be longer than NFD
    if long_name or len(path.encode()) > MAX_PATH or path.count("/") > MAX_DEPTH:
        return "path-too-long"
    if stat.S_ISLNK(mode):
        return "link"
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "special-file"
    return "hidden" if name.startswith(".") else ""


def _twins(names: Iterable[str]) -> Iterator[str]:
    """Names that another system, or another eye, would take for each other."""
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        seen[unicodedata.normalize("NFC", folded)].append(name)
    for twins in seen.values():
        if len(twins) > 1:
            yield from twins
