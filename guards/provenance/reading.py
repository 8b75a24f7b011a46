"""Read what a walk finds: small files by batches, large ones chunk by chunk, all on all cores.

What an index knows of a file is not read again, but for its sample. Each file comes out as a
:class:`Reading` as soon as its last leaf is there, so that whoever takes them holds few.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from guards.digest import CHUNK, Chunks, Digest, Piece, chunk_count, merkle_root
from guards.provenance import batch
from guards.provenance.batch import RECORD, SMALL, stamp
from guards.provenance.index import Contradicted, Index
from guards.provenance.readers import Answer, Batch, Readers
from guards.provenance.tree import Difference, Entry, Snapshot
from guards.provenance.walk import (
    Directory,
    Found,
    Opened,
    fitting,
    moved,
    open_file,
    unreadable,
    walk,
)

_REFUSED = {batch.RESIZED: "changed-while-read", batch.SPECIAL: "special-file"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a dataset is looked at: what was read of it before, and who hears of every chunk's bytes.

    `chunks` are the only ones to be read, by path; without it, all of all files. A file that is as
    it was `claimed` is told by the entry of the claim, so that a million are held once.
    """

    chunks: Mapping[str, Sequence[int]] | None = None
    index: Index | None = None
    tick: Callable[[int], None] = lambda size: None
    claimed: Snapshot = field(default_factory=lambda: Snapshot(files=()))


@dataclass(slots=True)
class Reading:
    """A file, its size when it was opened, and its leaves; of `unread` bytes they were known."""

    path: str
    size: int
    leaves: dict[int, bytes]
    unread: int = 0

    @property
    def entry(self) -> Entry:
        """The file by its digest; all leaves must have come."""
        if self.size <= CHUNK:
            return Entry(path=self.path, size=self.size, digest=Digest(self.leaves[0].hex()))
        chunks = tuple(self.leaves[number] for number in range(chunk_count(self.size)))
        digest = Digest(merkle_root(chunks).hex())
        return Entry(path=self.path, size=self.size, digest=digest, chunks=chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """A plain file under the walk, open for reading; who takes it calls `close` when it is read."""

    path: str
    size: int
    descriptor: int
    close: Callable[[], None]


def read_chunks(
    dataset: Path, most: int | None, look: Look, unsafe: list[Difference]
) -> Iterator[Reading]:
    """Every plain file with the leaves that `look` asks for; refusals go to `unsafe`."""
    run = Run(look, unsafe)
    try:
        with run.readers, run.chunks:
            for found in fitting(walk(dataset, unsafe, look.chunks), most, unsafe):
                yield from run.take(found)
            yield from run.rest()
    finally:
        run.close()  # after those who read from it


def open_files(dataset: Path, unsafe: list[Difference]) -> Iterator[OpenFile]:
    """Every plain file of a dataset, one open after the other; refusals go to `unsafe`."""
    for found in walk(dataset, unsafe):
        if opened := open_file(found, unsafe):
            close = partial(_close, opened, unsafe)
            size, descriptor = opened.status.st_size, opened.descriptor
            yield OpenFile(path=opened.path, size=size, descriptor=descriptor, close=close)


def _close(opened: Opened, unsafe: list[Difference]) -> None:
    unsafe.extend(moved(opened))
    os.close(opened.descriptor)


# A small file, the leaf that the index knows of it, and whether it may be remembered.
_Small = tuple[Found, bytes, bool]


@dataclass(slots=True)
class _Large:
    """A file that is being read: how many leaves were known, which are to come."""

    opened: Opened
    reading: Reading
    known: int
    numbers: Sequence[int]
    steady: bool


class Run:
    """One walk: what is under way. Read within `readers` and `chunks`, and closed after them."""

    def __init__(self, look: Look, unsafe: list[Difference]) -> None:
        self._look, self._unsafe = look, unsafe
        self._index, self._tick = look.index, look.tick
        self.readers: Readers[_Small] = Readers()
        self.chunks = Chunks()
        self._large: dict[int, _Large] = {}
        self._batch: Batch[_Small] | None = None
        self._directory: Directory | None = None

    def take(self, found: Found) -> Iterator[Reading]:
        """Have a file read; yields those that have been."""
        status = found.status
        leaves = self._index.recall(found.path, status) if self._index else []
        again = self._index.again(found.path) if self._index and leaves else frozenset()
        if leaves and not again and len(leaves) == chunk_count(status.st_size):
            self._tick(status.st_size)
            size = status.st_size
            yield Reading(found.path, size, dict(enumerate(leaves)), size)
        elif status.st_size > SMALL:
            yield from self._begin(found, again)
        else:
            steady = self._index.steady(status) if self._index and not leaves else False
            if self._directory is not found.parent:
                yield from self._flush()
                self._directory = found.parent
            if self._batch is None:
                self._batch = Batch(found.parent.descriptor)
            about = (found, leaves[0] if leaves else b"", steady)
            if self._batch.add(about, found.name, status.st_size):
                yield from self._flush()

    def rest(self) -> Iterator[Reading]:
        """The files that are still to come."""
        yield from self._flush()
        for answer in self.readers.rest():
            yield from self._small(answer)
        for piece in self.chunks.rest():
            yield from self._learn(piece)

    def close(self) -> None:
        """Give back what is open."""
        if self._batch:
            self._batch.close()
        for large in self._large.values():
            os.close(large.opened.descriptor)

    def _flush(self) -> Iterator[Reading]:
        if self._batch:
            asked, self._batch = self._batch, None
            for answer in self.readers.read(asked):
                yield from self._small(answer)

    def _small(self, answer: Answer[_Small]) -> Iterator[Reading]:
        """The files of a batch, by what was found when they were read."""
        asked, records = answer
        told = zip(asked.about, RECORD.iter_unpack(records), strict=True)
        for (found, known, steady), (outcome, leaf, opened) in told:
            if outcome not in (batch.READ, batch.MOVED):
                refused = unreadable(found.path, outcome) if outcome > 0 else None
                code = _REFUSED.get(outcome, "")
                self._unsafe.append(refused or Difference(code=code, path=found.path))
                continue
            if outcome == batch.MOVED:
                self._unsafe.append(Difference(code="changed-while-read", path=found.path))
            size = found.status.st_size
            self._tick(size)
            if self._index and opened == stamp(found.status):
                self._remember(found, known, leaf, steady)
            yield Reading(found.path, size, {0: leaf})

    def _remember(self, found: Found, known: bytes, leaf: bytes, steady: bool) -> None:
        assert self._index is not None
        if known and leaf != known:
            self._index.contradict(found.path)
            raise Contradicted(found.path)
        if steady:
            self._index.note(found.path, found.status, 0, [leaf])

    def _begin(self, found: Found, again: frozenset[int]) -> Iterator[Reading]:
        """Open a large file and have those of its chunks read that are not known, or sampled."""
        opened = open_file(found, self._unsafe)
        if opened is None:
            return
        status, leaves = opened.status, []
        count = chunk_count(status.st_size)
        if self._look.chunks is not None:
            numbers: Sequence[int] = [n for n in self._look.chunks[found.path] if n < count] or [0]
        else:
            leaves = self._index.recall(found.path, status) if self._index else []
            sampled = sorted(number for number in again if number < len(leaves))
            numbers = [*sampled, *range(len(leaves), count)] or [0]
        steady = self._index.steady(status) if self._index else False
        reading = Reading(found.path, status.st_size, dict(enumerate(leaves)))
        reading.unread = _bytes(set(range(len(leaves))).difference(numbers), status.st_size)
        self._large[opened.descriptor] = _Large(opened, reading, len(leaves), numbers, steady)
        for piece in self.chunks.put(opened.descriptor, status.st_size, numbers):
            yield from self._learn(piece)

    def _learn(self, piece: Piece) -> Iterator[Reading]:
        """Take a leaf in, and let the file go when it was the last."""
        descriptor, number, leaf = piece
        large = self._large[descriptor]
        reading = large.reading
        self._tick(_bytes({number}, reading.size))
        if self._index and number < large.known:
            if leaf != reading.leaves[number]:
                self._index.contradict(reading.path)
                raise Contradicted(reading.path)
        elif self._index and large.steady:
            self._index.note(reading.path, large.opened.status, number, [leaf])
        reading.leaves[number] = leaf
        if number == large.numbers[-1]:
            del self._large[descriptor]
            _close(large.opened, self._unsafe)
            yield reading


def _bytes(numbers: set[int], size: int) -> int:
    """How many bytes these chunks of a file have."""
    return sum(min(CHUNK, size - number * CHUNK) for number in numbers)
