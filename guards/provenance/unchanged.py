"""Tell that nothing has changed since the index saw all of a claim, without looking at the claim.

An index that has seen every file of a tree is sealed: it keeps the root of what it saw. Whatever
is claimed under that root is these very files. So where each file has the place and the times at
which it was read, none is missing and none is new, what is found is what is claimed, and neither
has to be put together. Everything else goes the long way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from guards.provenance.index import Index
from guards.provenance.reading import Look, Reading, Run
from guards.provenance.tree import Difference, Walked, by_path
from guards.provenance.walk import fitting, walk


def as_before(dataset: Path, most: int | None, look: Look) -> Walked | None:
    """What is claimed, if the index knows every file and its sample has those bytes; else None.

    Raises:
        Contradicted: the sample has other bytes.
    """
    index, seal = look.index, look.index.sealed if look.index else None
    if index is None or seal is None or seal.root != look.claimed.root:
        return None
    unsafe: list[Difference] = []
    run = Run(replace(look, tick=lambda size: None), unsafe)
    try:
        with run.readers, run.chunks:
            read = _read(dataset, most, index, run, unsafe)
    finally:
        run.close()
    if read is None:
        return None
    index.saw_all()
    look.tick(seal.size)
    told = tuple(sorted(unsafe, key=by_path))
    return Walked(snapshot=look.claimed, unsafe=told, unread=seal.size - read)


def _read(
    dataset: Path, most: int | None, index: Index, run: Run, unsafe: list[Difference]
) -> int | None:
    """How many bytes were read as a sample of a tree that is as it was; None if it is not."""
    files = asked = same = read = 0

    def hold(readings: Iterator[Reading]) -> None:
        nonlocal same, read
        for reading in readings:
            same += index.has(reading.path, reading.leaves)
            read += reading.size - reading.unread

    for found in fitting(walk(dataset, unsafe), most, unsafe):
        if not index.knows(found.path, found.status):
            return None
        files += 1
        if index.again(found.path):
            asked += 1
            hold(run.take(found))
    hold(run.rest())
    return read if (files, same) == (index.count, asked) else None
