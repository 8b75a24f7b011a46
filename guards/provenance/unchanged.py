"""Tell that nothing has changed since the index saw all of a claim, without looking at the claim.

An index that has seen every file of a tree is sealed: it keeps the root of what it saw. Whatever
is claimed under that root is these very files. So where each file has the place and the times at
which it was read, none is missing and none is new, what is found is what is claimed, and neither
has to be put together.

This holds a tree against what is known and judges nothing: the names are those that were judged
when they were read, and where there is anything else, be it a link, another name, an empty
directory or a second name of a file, the answer is None, and the walk has to be gone that tells
what it is.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from guards.provenance.batch import OPEN
from guards.provenance.index import Index
from guards.provenance.reading import Look, Reading, Run
from guards.provenance.tree import Difference, Walked
from guards.provenance.walk import MAX_DEPTH, Directory, Found


def as_before(dataset: Path, look: Look) -> Walked | None:
    """What is claimed, if the index knows every file and its sample has those bytes; else None.

    Raises:
        Contradicted: the sample has other bytes.
    """
    index, seal = look.index, look.index.sealed if look.index else None
    if index is None or seal is None or seal.root != look.claimed.root:
        return None
    unsafe: list[Difference] = []
    held = _Held(index, Run(replace(look, tick=lambda size: None), unsafe))
    try:
        with held.run.readers, held.run.chunks, suppress(OSError):
            top = os.open(dataset.resolve(strict=True), OPEN | os.O_DIRECTORY)
            held.directory(top, "", 0)
            held.take(held.run.rest())
    finally:
        held.run.close()
    if unsafe or not held.same or held.asked or held.files != seal.files:
        return None
    index.saw_all()
    look.tick(seal.size)
    return Walked(snapshot=look.claimed, unsafe=(), unread=seal.size - held.read)


class _Held:
    """How far a tree is as it was: the files, those of the sample still to come, the bytes read."""

    def __init__(self, index: Index, run: Run) -> None:
        self.index, self.run = index, run
        self.files = self.asked = self.read = 0
        self.same = False  # until the last directory has been seen

    def directory(self, descriptor: int, prefix: str, depth: int) -> None:
        """Hold one directory, which is closed then; `same` is whether all in it are known."""
        index, before = self.index, self.files
        try:
            here = Directory(descriptor)
            for name in os.listdir(descriptor):
                path = prefix + (name if name.isascii() else unicodedata.normalize("NFC", name))
                self.same = False
                if path not in index:
                    if depth == MAX_DEPTH:
                        return
                    below = os.open(name, OPEN | os.O_DIRECTORY, dir_fd=descriptor)
                    self.directory(below, path + "/", depth + 1)
                    if not self.same:
                        return
                    continue
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if status.st_nlink > 1 or not index.knows(path, status):
                    return
                self.files += 1
                if index.again(path):
                    self.asked += 1
                    self.take(self.run.take(Found(path, here, name, status)))
            self.same = self.files > before
        finally:
            os.close(descriptor)

    def take(self, readings: Iterable[Reading]) -> None:
        """Count off those of the sample that have the leaves that are known."""
        for reading in readings:
            self.asked -= self.index.has(reading.path, reading.leaves)
            self.read += reading.size - reading.unread
