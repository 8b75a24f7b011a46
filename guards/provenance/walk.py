"""The walk over a dataset, which trusts nothing about the tree.

Every path component is opened by descriptor with `O_NOFOLLOW`, so nothing that is swapped in while
it walks can lead it elsewhere. Links, specials, hidden names, colliding names and empty
directories are never followed or opened; each is reported as a :class:`Difference`, as data.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from guards.errors import NothingToExamine, UsageError
from guards.provenance.batch import OPEN, unmoved
from guards.provenance.tree import TOO_LARGE, Difference
from guards.text import DECEPTIVE, is_control, printable

# A path is read below a private directory, whose own path must fit beside it into PATH_MAX.
MAX_PATH = 2048
MAX_NAME = 255
MAX_DEPTH = 64
# Names that nobody could object to, and most are; all others are looked at letter by letter.
_PLAIN = re.compile(r"\w(?:[\w .+=-]*[\w+=-])?", re.ASCII)
# So many characters have at most four times as many bytes, and no more slashes than may be.
_SHORT = min(MAX_NAME // 4, MAX_DEPTH)


class Directory(NamedTuple):
    """A directory under the walk, open as long as the walk is in it."""

    descriptor: int


class Found(NamedTuple):
    """A regular file under the walk, not yet open; `parent` is its directory, which is."""

    path: str
    parent: Directory
    name: str
    status: os.stat_result


class Opened(NamedTuple):
    """A regular file under the walk, open for reading."""

    path: str
    descriptor: int
    status: os.stat_result


def walk(
    dataset: Path, unsafe: list[Difference], only: Collection[str] | None = None
) -> Iterator[Found]:
    """Yield the plain files of a dataset, or `only` those; refusals go to `unsafe`."""
    try:
        resolved = dataset.resolve(strict=True)
        is_file = resolved.is_file()
        top = os.open(resolved.parent if is_file else resolved, OPEN | os.O_DIRECTORY)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        told = getattr(error, "strerror", "") or "a loop of links"
        raise UsageError(f"dataset {printable(str(dataset))}: {told}") from error
    names = [resolved.name] if is_file else _names(top)
    if not names:
        os.close(top)
        raise NothingToExamine(f"dataset {printable(str(dataset))} is an empty directory")
    yield from _directory(top, "", names, unsafe, None if only is None else _with_parents(only))


def fitting(
    found_files: Iterator[Found], most: int | None, unsafe: list[Difference]
) -> Iterator[Found]:
    """Pass on the files that fit into `most` bytes together; the others are refused unopened."""
    if most is None:
        yield from found_files
        return
    left = most
    for found in found_files:
        size = found.status.st_size
        if size <= left:
            left -= size
            yield found
            continue
        wanted, actual = f"no more than {left} bytes", f"{size} bytes, which were not read"
        unsafe.append(Difference(code=TOO_LARGE, path=found.path, expected=wanted, actual=actual))


def open_file(found: Found, unsafe: list[Difference]) -> Opened | None:
    """Open what was found, while its directory is; nothing if it is not that any more."""
    try:
        descriptor = os.open(found.name, OPEN, dir_fd=found.parent.descriptor)
    except OSError as error:
        unsafe.append(unreadable(found.path, error.errno or 0))
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size == found.status.st_size:
        return Opened(found.path, descriptor, status)
    os.close(descriptor)
    code = "changed-while-read" if stat.S_ISREG(status.st_mode) else "special-file"
    unsafe.append(Difference(code=code, path=found.path))
    return None


def unreadable(path: str, number: int) -> Difference:
    """A file that could not be opened or read, by the number of the error."""
    code = "link" if number == errno.ELOOP else "unreadable"
    return Difference(code=code, path=path, actual=os.strerror(number))


def moved(opened: Opened) -> Iterator[Difference]:
    """A file that changed while it was read has no digest that means anything."""
    if not unmoved(opened.status, opened.descriptor):
        yield Difference(code="changed-while-read", path=opened.path)


def _with_parents(paths: Collection[str]) -> frozenset[str]:
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return frozenset([*paths, *parents])


def _directory(
    descriptor: int,
    prefix: str,
    names: list[str],
    unsafe: list[Difference],
    only: frozenset[str] | None,
) -> Iterator[Found]:
    """Walk one directory by its descriptor, which is closed at the end."""
    here = Directory(descriptor)
    try:
        refused = set(twins(names))
        for name in names:
            path = prefix + (name if name.isascii() else unicodedata.normalize("NFC", name))
            if only is not None and path not in only:
                continue
            status = _look(descriptor, name)
            mode = status.st_mode if status else 0
            code = "name-collision" if name in refused else name_refusal(name, path, mode)
            if code:
                unsafe.append(Difference(code=code, path=path))
            elif stat.S_ISDIR(mode):
                yield from _subdirectory(descriptor, name, path, unsafe, only)
            elif status:
                yield Found(path, here, name, status)
                if status.st_nlink > 1:
                    told = f"{status.st_nlink} names"
                    unsafe.append(Difference(code="hardlink", path=path, actual=told))
    finally:
        os.close(descriptor)


def _subdirectory(
    parent: int, name: str, path: str, unsafe: list[Difference], only: frozenset[str] | None
) -> Iterator[Found]:
    try:
        descriptor = os.open(name, OPEN | os.O_DIRECTORY, dir_fd=parent)
    except OSError as error:
        unsafe.append(Difference(code="unreadable", path=path, actual=str(error.strerror)))
        return
    names = _names(descriptor)
    if not names:
        unsafe.append(Difference(code="empty-directory", path=path))
    yield from _directory(descriptor, path + "/", names, unsafe, only)


def _names(directory: int) -> list[str]:
    return sorted(os.listdir(directory))


def _look(directory: int, name: str) -> os.stat_result | None:
    """The status of an entry without following it; None once it has gone."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None


def name_refusal(name: str, path: str, mode: int) -> str:
    """Why an entry is not to be opened, or nothing; the first reason found.

    `name` is the last part of `path`, and `mode` its kind as in a status.
    """
    plain = _PLAIN.fullmatch(name)
    if plain and len(path) <= _SHORT and stat.S_ISREG(mode):
        return ""
    if not plain and any(map(is_control, name)):
        return "name-unprintable"
    if not plain and _is_deceptive(name):
        return "name-deceptive"
    if len(path) > _SHORT and _is_too_long(path):
        return "path-too-long"
    if stat.S_ISLNK(mode):
        return "link"
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "special-file"
    return "hidden" if name.startswith(".") else ""


def _is_too_long(path: str) -> bool:
    long_name = len(path.rpartition("/")[2].encode()) > MAX_NAME  # NFC can be longer than NFD
    return long_name or len(path.encode()) > MAX_PATH or path.count("/") > MAX_DEPTH


def _is_deceptive(name: str) -> bool:
    if not name:
        return True
    hidden_in_it = any(c in DECEPTIVE for c in name) or "\\" in name
    return hidden_in_it or name[-1] in ". " or name[1:2] == ":"


def twins(names: Sequence[str]) -> Iterator[str]:
    """Names that another system, or another eye, would take for each other."""
    if all(map(str.isascii, names)) and len({name.lower() for name in names}) == len(names):
        return
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        seen[unicodedata.normalize("NFC", folded)].append(name)
    for twins in seen.values():
        if len(twins) > 1:
            yield from twins
