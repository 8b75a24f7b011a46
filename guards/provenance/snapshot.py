"""A Snapshot: files at one moment, named by one root digest, taken without trusting the tree.

What lies in it is said by :mod:`guards.provenance.walk`, what its bytes are by
:mod:`guards.provenance.reading`; the nouns are those of :mod:`guards.provenance.tree`. A tree can
be *staged*: copied to a private directory and hashed there, so that what is examined is what was
hashed, whoever else can write to the original.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from guards.errors import UsageError
from guards.provenance.index import Contradicted
from guards.provenance.reading import Look, OpenFile, Reading, open_files, read_chunks
from guards.provenance.tree import (
    TOO_LARGE,
    WARNINGS,
    Difference,
    Entry,
    Listed,
    Snapshot,
    Walked,
    by_path,
    compare,
    renamed,
    resized,
)
from guards.provenance.unchanged import as_before
from guards.provenance.walk import (
    MAX_PATH,
    Opened,
    fitting,
    moved,
    name_refusal,
    open_file,
    twins,
    walk,
)
from guards.text import printable

__all__ = [
    "MAX_PATH",
    "TOO_LARGE",
    "WARNINGS",
    "Difference",
    "Entry",
    "Listed",
    "Look",
    "OpenFile",
    "Reading",
    "Snapshot",
    "Walked",
    "capacity",
    "compare",
    "name_refusal",
    "open_files",
    "read_chunks",
    "renamed",
    "resized",
    "stage",
    "take",
    "twins",
]

_ALL = Look()


def take(dataset: Path, most: int | None = None, look: Look = _ALL) -> Walked:
    """Name the bytes of a directory or one file as they lie there; nothing is copied.

    No more than `most` bytes are read; see :func:`stage`. What the index of `look` knows is not
    read again, but for its sample; once that shows it wrong, it has forgotten all, and all is read.
    """
    unsafe: list[Difference] = []
    files, unread = [], 0
    try:
        if (same := as_before(dataset, look)) is not None:
            return same
        claimed = {entry.path: entry for entry in look.claimed.files}
        for reading in read_chunks(dataset, most, look, unsafe):
            files.append(_as_claimed(reading, claimed.get(reading.path)))
            unread += reading.unread
    except Contradicted:
        return take(dataset, most, look)
    return _walked(files, unsafe, unread)


def _as_claimed(reading: Reading, claimed: Entry | None) -> Entry:
    """The entry of a file, which is the claim's own where they agree."""
    if claimed is None:
        return reading.entry
    # Most files are of one chunk: no digest is made of the leaf, to be compared and thrown away.
    if not claimed.chunks and reading.size == claimed.size and len(reading.leaves) == 1:
        same = claimed.digest.hex == reading.leaves[0].hex()
        return claimed if same else reading.entry
    entry = reading.entry
    return claimed if claimed == entry else entry


def capacity(path: Path) -> int | None:
    """The bytes that the disk under `path` has in all, None where it does not say.

    Files of more than that are mostly holes: nothing on the disk, and days to read.
    """
    try:
        disk = os.statvfs(path)
    except OSError:
        return None
    return disk.f_blocks * disk.f_frsize or None


def stage(dataset: Path, into: Path, most: int | None = None) -> Walked:
    """Copy a dataset's plain files into the private, empty directory `into`; name the copy.

    The copy takes no more than `most` bytes: a file that does not fit is refused unread, so that
    a sparse file of a terabyte, where a megabyte was expected, fills no disk. Nor does one where
    nobody knows what to expect: what has no room there is not begun.

    Raises:
        UsageError: there is no room for the copy, or it cannot be written.
    """
    unsafe: list[Difference] = []
    left = _room(into)
    for found in fitting(walk(dataset, unsafe), most, unsafe):
        left -= found.status.st_size
        if left < 0:
            told = f"{printable(found.path)}: {found.status.st_size} bytes"
            raise UsageError(f"cannot copy {told}; there is no room for them in {into.parent}")
        if (opened := open_file(found, unsafe)) is None:
            continue
        try:
            _copy(opened, into / opened.path)
            unsafe.extend(moved(opened))
        except OSError as error:
            told = f"{printable(opened.path)}: {error.strerror}"
            raise UsageError(f"cannot copy {told}; is there room in {into.parent}?") from error
        finally:
            os.close(opened.descriptor)
    copied = take(into) if any(into.iterdir()) else Walked(snapshot=Snapshot(files=()), unsafe=())
    return _walked(copied.snapshot.files, unsafe)


def _room(into: Path) -> float:
    """Bytes that may be written there; a sixteenth of those that are free is left to others."""
    if capacity(into) is None:
        return math.inf
    disk = os.statvfs(into)
    return disk.f_bavail * disk.f_frsize * 15 / 16


def _copy(opened: Opened, target: Path) -> None:
    """Copy as many bytes as there were at the look; what grows meanwhile is told by `moved`."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    left = opened.status.st_size
    with os.fdopen(os.dup(opened.descriptor), "rb") as source, target.open("xb") as copy:
        while block := source.read(min(left, 1 << 20)):
            copy.write(block)
            left -= len(block)


def _walked(files: Iterable[Entry], unsafe: Iterable[Difference], unread: int = 0) -> Walked:
    ordered = tuple(sorted(files, key=by_path))
    told = tuple(sorted(unsafe, key=by_path))
    return Walked(snapshot=Snapshot(files=ordered), unsafe=told, unread=unread)
