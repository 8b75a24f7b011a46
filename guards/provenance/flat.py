"""Plain hashes of the files of a dataset, in other people's algorithms, each byte read once.

A foreign claim names bytes by sha256, sha512, md5 ... of the whole file, or of ranges of it. All
that is asked of a file is computed in one pass together with our own digest, so that what was held
against the claim has the root that a manifest of ours binds.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guards.digest import CHUNK, Digest, Hasher
from guards.provenance.snapshot import Difference, Entry, OpenFile, open_files

_BUFFER = 1 << 18
# Files that are read at a time; the caller's thread reads those of one buffer itself.
_WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to compute of one file: algorithms of the whole, and `(start, end, algorithm)` of parts.

    The parts are in order, and none overlaps the next.
    """

    algorithms: tuple[str, ...] = ()
    parts: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """A file with its own entry in our snapshot, and the hexadecimal hashes that were asked for."""

    entry: Entry
    whole: Mapping[str, str]
    parts: Mapping[tuple[int, int, str], str]


def read(
    dataset: Path,
    wanted: Callable[[str, int], Wanted],
    unsafe: list[Difference],
    tick: Callable[[int], None] = lambda size: None,
) -> Iterator[Flat]:
    """Every plain file of a dataset; `wanted` says by path and size what to compute of it.

    What the walk refuses goes to `unsafe`; `tick` hears of the bytes of each file that was read.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        window: deque[tuple[OpenFile, Future[Flat]]] = deque()
        try:
            for file in open_files(dataset, unsafe):
                window.append((file, _begun(pool, file, wanted)))
                if len(window) > 2 * _WORKERS:
                    yield _taken(window, tick)
            while window:
                yield _taken(window, tick)
        finally:
            for file, job in window:
                if not job.cancel():
                    job.exception()  # waits: nothing may read from a descriptor that is closed
                file.close()


def _begun(
    pool: ThreadPoolExecutor, file: OpenFile, wanted: Callable[[str, int], Wanted]
) -> Future[Flat]:
    """The reading of a file: by another thread, or of a small one done here and now."""
    if file.size > _BUFFER:
        return pool.submit(_read, file, wanted)
    done = Future[Flat]()
    try:
        done.set_result(_read(file, wanted))
    except Exception as error:
        done.set_exception(error)
    return done


def _taken(window: deque[tuple[OpenFile, Future[Flat]]], tick: Callable[[int], None]) -> Flat:
    found = window[0][1].result()
    window.popleft()[0].close()
    tick(found.entry.size)
    return found


def _read(file: OpenFile, asked: Callable[[str, int], Wanted]) -> Flat:
    """Hash one file; one that shrank ends early, and closing it tells that it moved."""
    wanted = asked(file.path, file.size)
    whole = {name: hashlib.new(name) for name in dict.fromkeys((*wanted.algorithms, "sha256"))}
    tree = Hasher() if file.size > CHUNK else None
    parts = _Parts(wanted.parts)
    buffer, offset = memoryview(bytearray(_BUFFER)), 0
    while offset < file.size:
        count = os.preadv(file.descriptor, [buffer[: file.size - offset]], offset)
        if not count:
            break
        data = buffer[:count]
        for hasher in whole.values():
            hasher.update(data)
        if tree:
            tree.update(data)
        parts.update(data, offset)
        offset += count
    digest = tree.digest() if tree else Digest(whole["sha256"].hexdigest())
    return Flat(
        entry=Entry(path=file.path, size=file.size, digest=digest),
        whole={name: hasher.hexdigest() for name, hasher in whole.items()},
        parts=parts.found,
    )


class _Parts:
    """Hashes of ranges in order, as the bytes pass by."""

    def __init__(self, wanted: Sequence[tuple[int, int, str]]) -> None:
        self.found: dict[tuple[int, int, str], str] = {}
        self._left = deque(wanted)
        self._open: Any = None

    def update(self, data: memoryview, offset: int) -> None:
        """Take the bytes at `offset`; a range that ends in them is done."""
        end = offset + len(data)
        while self._left and self._left[0][0] < end:
            start, stop, algorithm = self._left[0]
            self._open = self._open or hashlib.new(algorithm)
            self._open.update(data[max(0, start - offset) : stop - offset])
            if stop > end:
                return
            self.found[self._left.popleft()] = self._open.hexdigest()
            self._open = None
