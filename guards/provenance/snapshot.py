"""A Snapshot: files at one moment, named by one root digest, taken without trusting the tree.

The walker opens every path component by descriptor with `O_NOFOLLOW`, so nothing that is swapped
in while it walks can lead it elsewhere. Links, specials, hidden names, colliding names and empty
directories are never followed or opened; each is reported as a :class:`Difference`, as data. A
tree can be *staged*: copied to a private directory and hashed there, so that what is examined is
what was hashed, whoever else can write to the original.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from guards.digest import CHUNK, Digest, chunk_count, hash_chunks, merkle_root, ordered_root
from guards.errors import NothingToExamine, UsageError
from guards.provenance.index import Contradicted, Index
from guards.text import DECEPTIVE, is_control, printable

# A path is read below a private directory, whose own path must fit beside it into PATH_MAX.
MAX_PATH = 2048
MAX_NAME = 255
MAX_DEPTH = 64
WARNINGS = frozenset({"hardlink"})
TOO_LARGE = "too-large"
_ONE = frozenset({"missing-file", "extra-file"})
_OF_CHANGE = attrgetter("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink")
# Names that nobody could object to, and most are; all others are looked at letter by letter.
_PLAIN = re.compile(r"\w(?:[\w .+=-]*[\w+=-])?", re.ASCII)
# So many characters have at most four times as many bytes, and no more slashes than may be.
_SHORT = min(MAX_NAME // 4, MAX_DEPTH)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Entry:
    """One regular file: its NFC path with `/`, its size in bytes, its digest.

    `chunks` are the leaves of a file of several chunks, where they are known. The digest is their
    root, so they say nothing that it does not. `rows` and `content`, the digest of the rows in any
    order, are what a producer says of a table; they are never compared in place of the bytes.
    """

    path: str
    size: int
    digest: Digest
    chunks: tuple[bytes, ...] = field(default=(), compare=False, repr=False)
    rows: int | None = field(default=None, compare=False, repr=False)
    content: Digest | None = field(default=None, compare=False, repr=False)

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """One for each chunk, or none where only the digest is known."""
        return (self.digest.raw,) if chunk_count(self.size) == 1 else self.chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Files named by one root digest: a reference that can be proved again, never the data."""

    files: tuple[Entry, ...]
    _root: list[Digest] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def root(self) -> Digest:
        """The name of these bytes under these paths."""
        if not self._root:  # asked for often, and costs a hash for every file
            ordered = self.files if _in_order(self.files) else sorted(self.files, key=_name)
            self._root.append(ordered_root((e.path, e.size, e.digest) for e in ordered))
        return self._root[0]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(entry.size for entry in self.files)


def _name(entry: Entry) -> bytes:
    return entry.path.encode()


def _in_order(files: Sequence[Entry]) -> bool:
    return all(_name(one) < _name(next) for one, next in pairwise(files))


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
    """What a walk saw: the snapshot of the plain files, and everything that was refused.

    The leaves of `unread` bytes were remembered, not computed; without an index it is 0.
    """

    snapshot: Snapshot
    unsafe: tuple[Difference, ...]
    unread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a dataset is looked at: what was read of it before, and who hears of every chunk's bytes.

    `chunks` are the only ones to be read, by path; without it, all of all files. A file that is as
    it was `claimed` is told by the entry of the claim, so that a million are held once.
    """

    chunks: Mapping[str, Sequence[int]] | None = None
    index: Index | None = None
    tick: Callable[[int], None] = lambda size: None
    claimed: Sequence[Entry] = ()


class _Found(NamedTuple):
    """A regular file under the walk, not yet open; `parent` is its directory, which is."""

    path: str
    parent: int
    name: str
    status: os.stat_result


class _Opened(NamedTuple):
    """A regular file under the walk, open for reading."""

    path: str
    descriptor: int
    status: os.stat_result


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """A plain file under the walk, open for reading; who takes it calls `close` when it is read."""

    path: str
    size: int
    descriptor: int
    close: Callable[[], None]


@dataclass(slots=True)
class Reading:
    """A file, its size when it was opened, and those of its leaves that have come by now."""

    path: str
    size: int
    leaves: dict[int, bytes]
    # Of one that is being read: its descriptor and status, what the index said, what is to come.
    _opened: _Opened | None = None
    _known: int = 0
    _numbers: Sequence[int] = ()
    _steady: bool = False

    @property
    def unread(self) -> int:
        """The bytes whose leaves the index told and nobody computed."""
        if self._opened is None:
            return self.size
        left = set(range(self._known)).difference(self._numbers)
        return sum(min(CHUNK, self.size - number * CHUNK) for number in left)

    @property
    def entry(self) -> Entry:
        """The file by its digest; all leaves must have come."""
        if self.size <= CHUNK:
            return Entry(path=self.path, size=self.size, digest=Digest(self.leaves[0].hex()))
        chunks = tuple(self.leaves[number] for number in range(chunk_count(self.size)))
        digest = Digest(merkle_root(chunks).hex())
        return Entry(path=self.path, size=self.size, digest=digest, chunks=chunks)


def take(dataset: Path, most: int | None = None, look: Look = Look()) -> Walked:
    """Name the bytes of a directory or one file as they lie there; nothing is copied.

    No more than `most` bytes are read; see :func:`stage`. What the index of `look` knows is not
    read again, but for its sample; once that shows it wrong, it has forgotten all, and all is read.
    """
    unsafe: list[Difference] = []
    files, unread = [], 0
    claimed = {entry.path: entry for entry in look.claimed}
    try:
        for reading in read_chunks(dataset, most, look, unsafe):
            files.append(_as_claimed(reading, claimed.get(reading.path)))
            unread += reading.unread if look.index else 0
    except Contradicted:
        return take(dataset, most, look)
    return _walked(files, unsafe, unread)


def _as_claimed(reading: Reading, claimed: Entry | None) -> Entry:
    """The entry of a file, which is the claim's own where they agree."""
    if claimed is None:
        return reading.entry
    # Most files are of one chunk: no digest is made of the leaf, to be compared and thrown away.
    small = claimed.size == reading.size <= CHUNK
    if small and claimed.digest.hex == reading.leaves[0].hex():
        return claimed
    entry = reading.entry
    return claimed if claimed == entry else entry


def read_chunks(
    dataset: Path, most: int | None, look: Look, unsafe: list[Difference]
) -> Iterator[Reading]:
    """Every plain file with the leaves that `look` asks for; refusals go to `unsafe`."""
    under_way: dict[int, Reading] = {}
    ready: list[Reading] = []
    wanted = _wanted(dataset, most, look, unsafe, under_way, ready)
    try:
        with closing(hash_chunks(wanted)) as pieces:
            for descriptor, number, leaf in pieces:
                reading = under_way[descriptor]
                _learn(reading, number, leaf, look)
                if number == reading._numbers[-1]:
                    yield _finish(under_way.pop(descriptor), unsafe)
                yield from _drained(ready)
        yield from ready
    finally:
        for descriptor in under_way:
            os.close(descriptor)


def open_files(dataset: Path, unsafe: list[Difference]) -> Iterator[OpenFile]:
    """Every plain file of a dataset, one open after the other; refusals go to `unsafe`."""
    for found in _walk(dataset, unsafe):
        if opened := _open(found, unsafe):
            close = partial(_close, opened, unsafe)
            size, descriptor = opened.status.st_size, opened.descriptor
            yield OpenFile(path=opened.path, size=size, descriptor=descriptor, close=close)


def _close(opened: _Opened, unsafe: list[Difference]) -> None:
    unsafe.extend(_moved(opened))
    os.close(opened.descriptor)


def _finish(reading: Reading, unsafe: list[Difference]) -> Reading:
    if reading._opened:
        _close(reading._opened, unsafe)
    return reading


def _drained(ready: list[Reading]) -> Iterator[Reading]:
    while ready:
        yield ready.pop()


def _wanted(
    dataset: Path,
    most: int | None,
    look: Look,
    unsafe: list[Difference],
    under_way: dict[int, Reading],
    ready: list[Reading],
) -> Iterator[tuple[int, int, Sequence[int]]]:
    """Open what is to be read; what the index knows all of is `ready` without being opened."""
    for found in _fitting(_walk(dataset, unsafe, look.chunks), most, unsafe):
        if known := _remembered(found, look):
            ready.append(known)
        elif opened := _open(found, unsafe):
            reading = _begin(opened, look)
            under_way[opened.descriptor] = reading
            yield opened.descriptor, reading.size, reading._numbers


def _remembered(found: _Found, look: Look) -> Reading | None:
    """A file that need not be opened, since the index knows all of it and no chunk is sampled."""
    if look.index is None or look.index.again(found.path):
        return None
    leaves, size = look.index.recall(found.path, found.status), found.status.st_size
    if len(leaves) != chunk_count(size):
        return None
    look.tick(size)
    return Reading(found.path, size, dict(enumerate(leaves)))


def _begin(opened: _Opened, look: Look) -> Reading:
    """What is to be read of a file: all that the index does not know, and the chunks it samples."""
    path, status = opened.path, opened.status
    count = chunk_count(status.st_size)
    if look.chunks is not None:
        numbers: Sequence[int] = [n for n in look.chunks[path] if n < count] or [0]
        return Reading(path, status.st_size, {}, opened, 0, numbers)
    if look.index is None:
        return Reading(path, status.st_size, {}, opened, 0, range(count))
    leaves = look.index.recall(path, status)
    again = sorted(n for n in look.index.again(path) if n < len(leaves))
    numbers = [*again, *range(len(leaves), count)] or [0]
    steady = look.index.steady(status)
    return Reading(
        path, status.st_size, dict(enumerate(leaves)), opened, len(leaves), numbers, steady
    )


def _learn(reading: Reading, number: int, leaf: bytes, look: Look) -> None:
    look.tick(min(CHUNK, reading.size - number * CHUNK))
    if look.index and number < reading._known:
        if leaf != reading.leaves[number]:
            look.index.contradict(reading.path)
            raise Contradicted(reading.path)
    elif look.index and reading._steady and reading._opened:
        look.index.note(reading.path, reading._opened.status, number, [leaf])
    reading.leaves[number] = leaf


def stage(dataset: Path, into: Path, most: int | None = None) -> Walked:
    """Copy a dataset's plain files into the private, empty directory `into`; name the copy.

    The copy takes no more than `most` bytes: a file that does not fit is refused unread, so that
    a sparse file of a terabyte, where a megabyte was expected, fills no disk.
    """
    unsafe: list[Difference] = []
    for found in _fitting(_walk(dataset, unsafe), most, unsafe):
        if (opened := _open(found, unsafe)) is None:
            continue
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
    walk: Iterator[_Found], most: int | None, unsafe: list[Difference]
) -> Iterator[_Found]:
    """Pass on the files that fit into `most` bytes together; the others are refused unopened."""
    left = most
    for found in walk:
        size = found.status.st_size
        if left is None or size <= left:
            left = left if left is None else left - size
            yield found
            continue
        wanted, actual = f"no more than {left} bytes", f"{size} bytes, which were not read"
        unsafe.append(Difference(code=TOO_LARGE, path=found.path, expected=wanted, actual=actual))


def compare(claimed: Iterable[Entry], found: Iterable[Entry]) -> tuple[Difference, ...]:
    """Say how the files found differ from the files claimed, in path order."""
    want = {entry.path: entry for entry in claimed}
    differences = []
    for have in found:
        wanted = want.pop(have.path, None)
        if wanted is None:
            differences.append(Difference(code="extra-file", path=have.path))
        elif wanted != have:
            differences.append(_changed(wanted, have))
    differences += [Difference(code="missing-file", path=path) for path in want]
    return tuple(sorted(differences, key=lambda difference: difference.path))


def renamed(
    problems: Iterable[Difference], claimed: Iterable[Entry], found: Iterable[Entry]
) -> tuple[Difference, ...]:
    """The same problems, where a missing and an extra file of the same bytes are told as one."""
    problems = tuple(problems)
    gone = {problem.path for problem in problems if problem.code == "missing-file"}
    extra = {problem.path for problem in problems if problem.code == "extra-file"}
    if not gone or not extra:
        return problems
    waiting = defaultdict(list)
    for entry in found:
        if entry.path in extra:
            waiting[entry.digest, entry.size].append(entry.path)
    pairs = {
        entry.path: same.pop(0)
        for entry in claimed
        if entry.path in gone and (same := waiting[entry.digest, entry.size])
    }
    told = [Difference(code="renamed-file", path=new, expected=old) for old, new in pairs.items()]
    done = {*pairs, *pairs.values()}
    kept = [problem for problem in problems if problem.path not in done or problem.code not in _ONE]
    return tuple(sorted([*kept, *told], key=lambda difference: difference.path))


def resized(claimed: Entry, size: int) -> Difference:
    """A file is shorter or longer than was claimed."""
    code = "truncated-file" if size < claimed.size else "grown-file"
    expected, actual = f"{claimed.size} bytes", f"{size} bytes"
    return Difference(code=code, path=claimed.path, expected=expected, actual=actual)


def _changed(want: Entry, have: Entry) -> Difference:
    if want.size != have.size:
        return resized(want, have.size)
    expected, actual = str(want.digest), str(have.digest)
    return Difference(code="changed-file", path=want.path, expected=expected, actual=actual)


def _walked(files: Iterable[Entry], unsafe: Iterable[Difference], unread: int = 0) -> Walked:
    ordered = tuple(sorted(files, key=_name))
    told = tuple(sorted(unsafe, key=lambda d: d.path))
    return Walked(snapshot=Snapshot(files=ordered), unsafe=told, unread=unread)


def _moved(opened: _Opened) -> Iterator[Difference]:
    """A file that changed while it was read has no digest that means anything."""
    before, after = opened.status, os.fstat(opened.descriptor)
    if _OF_CHANGE(before) != _OF_CHANGE(after):
        yield Difference(code="changed-while-read", path=opened.path)


def _walk(
    dataset: Path, unsafe: list[Difference], only: Collection[str] | None = None
) -> Iterator[_Found]:
    """Yield the plain files of a dataset, or `only` those; refusals go to `unsafe`."""
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
    yield from _directory(top, "", names, unsafe, None if only is None else _with_parents(only))


def _with_parents(paths: Collection[str]) -> frozenset[str]:
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return frozenset([*paths, *parents])


def _directory(
    descriptor: int,
    prefix: str,
    names: list[str],
    unsafe: list[Difference],
    only: frozenset[str] | None,
) -> Iterator[_Found]:
    """Walk one directory by its descriptor, which is closed at the end."""
    try:
        refused = set(twins(names))
        for name in names:
            path = prefix + unicodedata.normalize("NFC", name)
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
                yield _Found(path, descriptor, name, status)
                if status.st_nlink > 1:
                    told = f"{status.st_nlink} names"
                    unsafe.append(Difference(code="hardlink", path=path, actual=told))
    finally:
        os.close(descriptor)


def _subdirectory(
    parent: int, name: str, path: str, unsafe: list[Difference], only: frozenset[str] | None
) -> Iterator[_Found]:
    try:
        descriptor = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=parent)
    except OSError as error:
        unsafe.append(Difference(code="unreadable", path=path, actual=str(error.strerror)))
        return
    names = _names(descriptor)
    if not names:
        unsafe.append(Difference(code="empty-directory", path=path))
    yield from _directory(descriptor, path + "/", names, unsafe, only)


def _open(found: _Found, unsafe: list[Difference]) -> _Opened | None:
    """Open what was found, while its directory is; nothing if it is not that any more."""
    try:
        descriptor = os.open(found.name, _OPEN, dir_fd=found.parent)
    except OSError as error:
        code = "link" if error.errno == errno.ELOOP else "unreadable"
        unsafe.append(Difference(code=code, path=found.path, actual=str(error.strerror)))
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size == found.status.st_size:
        return _Opened(found.path, descriptor, status)
    os.close(descriptor)
    code = "changed-while-read" if stat.S_ISREG(status.st_mode) else "special-file"
    unsafe.append(Difference(code=code, path=found.path))
    return None


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries)


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
