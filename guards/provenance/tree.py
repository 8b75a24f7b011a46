"""Files named by one root: what one is, what they are together, and how two trees differ.

The files of a claim that was read before are :class:`Listed`: proved by their root, and parsed only
when somebody asks for one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import overload

from guards.digest import Digest, chunk_count, ordered_root
from guards.text import printable

WARNINGS = frozenset({"hardlink"})
TOO_LARGE = "too-large"
_ONE = frozenset({"missing-file", "extra-file"})
# The order of code points is that of the bytes in UTF-8.
by_path = attrgetter("path")


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


@dataclass(slots=True, kw_only=True, eq=False)
class Listed(Sequence[Entry]):
    """Files whose root, size and number are proved; each is read when somebody asks for one."""

    root: Digest
    size: int
    number: int
    load: Callable[[], tuple[Entry, ...]]
    _loaded: tuple[Entry, ...] | None = None

    def _files(self) -> tuple[Entry, ...]:
        if self._loaded is None:
            self._loaded = self.load()
        return self._loaded

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Entry]: ...
    def __getitem__(self, place: int | slice) -> Entry | Sequence[Entry]:
        return self._files()[place]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._files())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Listed):
            return self.root == other.root
        return isinstance(other, tuple) and self._files() == other

    def __hash__(self) -> int:
        return hash(self._files())


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Files named by one root digest: a reference that can be proved again, never the data."""

    files: Sequence[Entry]
    _root: list[Digest] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def root(self) -> Digest:
        """The name of these bytes under these paths."""
        if isinstance(self.files, Listed):
            return self.files.root
        if not self._root:  # asked for often, and costs a hash for every file
            ordered = self.files if _in_order(self.files) else sorted(self.files, key=by_path)
            self._root.append(ordered_root((e.path, e.size, e.digest) for e in ordered))
        return self._root[0]

    @property
    def size(self) -> int:
        """Bytes in all."""
        if isinstance(self.files, Listed):
            return self.files.size
        return sum(entry.size for entry in self.files)


def _in_order(files: Sequence[Entry]) -> bool:
    return all(one < next for one, next in pairwise(map(by_path, files)))


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
