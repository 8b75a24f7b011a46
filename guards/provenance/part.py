"""Prove a part of a dataset: some files, or some bytes of them, by the chunks they lie in.

A claim lists the chunks of its large files, and the digest is their root, so one chunk is proved
by itself. What nobody listed is proved by its whole file. Where files were asked for by a pattern,
nothing unclaimed may match it. A part says nothing of the rest: its result is a :class:`Part`,
which is neither true nor false.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from guards.digest import CHUNK, chunk_count
from guards.errors import UsageError
from guards.provenance.manifest import Manifest
from guards.provenance.snapshot import (
    WARNINGS,
    Difference,
    Entry,
    Look,
    Reading,
    Snapshot,
    read_chunks,
    resized,
)
from guards.provenance.walk import walk


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Range:
    """Bytes of one file. In a list of repairs, no bytes at an offset: the file ends there."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was proved of a claim. Whether that `holds` has to be asked; it is never the whole."""

    manifest: Manifest
    files: int
    size: int
    problems: tuple[Difference, ...]
    damage: tuple[Range, ...]
    strict: bool = False

    @property
    def refusals(self) -> tuple[Difference, ...]:
        """The problems that are more than a warning; all, where `strict` was asked for."""
        told = frozenset() if self.strict else WARNINGS
        return tuple(problem for problem in self.problems if problem.code not in told)

    @property
    def holds(self) -> bool:
        """Whether the bytes that were asked for, and only they, are those that were signed."""
        return self.files > 0 and not self.refusals

    def __bool__(self) -> bool:
        raise TypeError("a part proves nothing of the whole; ask whether it `holds`")


def parse_range(text: str) -> Range:
    """Read `FILE:OFFSET:LENGTH`; the file may hold colons."""
    path, offset, length = ["", "", *text.rsplit(":", 2)][-3:]
    if not path or not all(n.isascii() and n.isdigit() and len(n) < 17 for n in (offset, length)):
        raise UsageError(f"--range {text!r}: must be FILE:OFFSET:LENGTH, as in a.bin:0:1048576")
    return Range(path=path, offset=int(offset), length=int(length))


def chosen(
    snapshot: Snapshot, patterns: Iterable[str], ranges: Iterable[Range]
) -> Mapping[str, Sequence[int]]:
    """The chunks to read of each file: all of those that match, where `*` stands for anything.

    Raises:
        UsageError: a range is of no claimed file, or does not lie in it.
    """
    patterns = tuple(patterns)
    found: dict[str, set[int]] = {
        entry.path: set(range(chunk_count(entry.size)))
        for entry in snapshot.files
        if _matches(entry.path, patterns)
    }
    files = {entry.path: entry for entry in snapshot.files}
    for asked in ranges:
        entry, end = files.get(asked.path), asked.offset + asked.length
        if entry is None or asked.length < 1 or end > entry.size:
            told = f"must lie in its {entry.size} bytes" if entry else "is of no claimed file"
            raise UsageError(f"--range {asked.path}:{asked.offset}:{asked.length}: {told}")
        numbers = range(asked.offset // CHUNK, (end - 1) // CHUNK + 1)
        all_of_it = range(chunk_count(entry.size))  # where the chunks were not listed
        found.setdefault(asked.path, set()).update(numbers if entry.leaves else all_of_it)
    return {path: sorted(numbers) for path, numbers in found.items()}


def bytes_of(snapshot: Snapshot, chunks: Mapping[str, Sequence[int]]) -> int:
    """How many bytes these chunks have."""
    return sum(
        _span(entry, number).length
        for entry in snapshot.files
        for number in chunks.get(entry.path, ())
    )


def hold(
    dataset: Path, manifest: Manifest, chunks: Mapping[str, Sequence[int]], look: Look
) -> Part:
    """Read these chunks of a dataset, and nothing else, and hold them against the claim."""
    unsafe: list[Difference] = []
    claimed = {entry.path: entry for entry in manifest.snapshot.files if entry.path in chunks}
    found = {
        reading.path: reading
        for reading in read_chunks(dataset, None, replace(look, chunks=chunks), unsafe)
    }
    refused = {problem.path for problem in unsafe}
    missing = [
        Difference(code="missing-file", path=path)
        for path in claimed
        if path not in found and path not in refused
    ]
    damage = {p: _differing(e, found.get(p), chunks[p]) for p, e in claimed.items()}
    changed = [
        problem
        for path, reading in found.items()
        for problem in _problems(claimed[path], reading, damage[path])
    ]
    return Part(
        manifest=manifest,
        files=len(claimed),
        size=bytes_of(manifest.snapshot, chunks),
        problems=tuple(sorted([*unsafe, *missing, *changed], key=lambda problem: problem.path)),
        damage=tuple(piece for pieces in damage.values() for piece in pieces),
    )


def unclaimed(dataset: Path, snapshot: Snapshot, patterns: Sequence[str]) -> list[Difference]:
    """What matches the patterns in the tree and in no claim; nothing of it is opened."""
    if not patterns:
        return []
    claimed = {entry.path for entry in snapshot.files}
    unsafe: list[Difference] = []
    extra = [
        Difference(code="extra-file", path=found.path)
        for found in walk(dataset, unsafe)
        if found.path not in claimed
    ]
    return [problem for problem in (*extra, *unsafe) if _matches(problem.path, patterns)]


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def damage(claimed: Entry, found: Entry | None) -> Iterator[Range]:
    """What of a claimed file has to be fetched again: exactly the chunks that differ.

    A file whose chunks nobody listed is fetched as one. What is longer than was claimed ends in a
    range without bytes, where it is to be cut.
    """
    if found == claimed:
        return
    if not claimed.leaves:
        yield Range(path=claimed.path, offset=0, length=claimed.size)
    have = found.leaves if found else ()
    for number, leaf in enumerate(claimed.leaves):
        if have[number : number + 1] != (leaf,):
            yield _span(claimed, number)
    if found and found.size > claimed.size:
        yield Range(path=claimed.path, offset=claimed.size, length=0)


def _differing(claimed: Entry, found: Reading | None, numbers: Sequence[int]) -> tuple[Range, ...]:
    have = found.leaves if found else {}
    if not claimed.leaves:
        whole = Range(path=claimed.path, offset=0, length=claimed.size)
        return () if found and found.size == claimed.size and found.entry == claimed else (whole,)
    differ = [number for number in numbers if have.get(number) != claimed.leaves[number]]
    cut = [Range(path=claimed.path, offset=claimed.size, length=0)]
    longer = found is not None and found.size > claimed.size
    return tuple([_span(claimed, number) for number in differ] + (cut if longer else []))


def _problems(claimed: Entry, found: Reading, pieces: Sequence[Range]) -> Iterator[Difference]:
    if found.size != claimed.size:
        yield resized(claimed, found.size)
    elif pieces:
        told = f"other bytes in {len(pieces)} piece(s), the first at offset {pieces[0].offset}"
        yield Difference(code="changed-file", path=claimed.path, actual=told)


def _span(entry: Entry, number: int) -> Range:
    offset = number * CHUNK
    return Range(path=entry.path, offset=offset, length=min(CHUNK, entry.size - offset))
