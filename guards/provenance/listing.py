"""The list of a large dataset's files, which lies beside its manifest: one JSON object a line.

    DATASET.manifest.json            signed; says how many lines and bytes, and names them by digest
    DATASET.manifest.files.jsonl     a line a file, in byte order of the paths

A million files make a manifest that nobody wants to hold in memory four times over. So the list is
written and read as a stream. Its digest is that of every file here (chunks of 8 MiB under a Merkle
root), and the manifest has the chunks too: each is held against what was signed before a byte of
it is parsed, and what was hashed is what is parsed. Where the list lies is said by whoever reads
the manifest, never by the manifest: :class:`Signed` are its bytes with that place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

from guards.digest import CHUNK, Digest, Hasher, canonical_json, chunk_count, merkle_root
from guards.errors import Malformed
from guards.files import draft_of, read_document
from guards.provenance.entries import described, parse_entry, usual_entries
from guards.provenance.strictjson import Node, loads
from guards.provenance.tree import Entry, Listed

SUFFIX = ".files.jsonl"
MAX_ENTRIES = 4_000_000
MAX_BYTES = 1 << 30
MAX_LINE = 1 << 21
# So many bytes of lines are made values at a time.
_TOGETHER = 1 << 20
# So many lines are written at a time.
_LINES = 1000


class Signed(bytes):
    """A claim's envelope as it was read, and where the list of its files would lie.

    They are bytes, since those are what is hashed, verified and kept; the list is bound by them.
    Of a claim that was read before, and whose index says so, `proved` are the root and the size.
    """

    listing: Path | None = None
    proved: tuple[Digest, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a manifest signs of its list: the number of files, the bytes, digest and chunks."""

    entries: int
    size: int
    digest: Digest
    chunks: tuple[bytes, ...]

    def describe(self) -> dict[str, Any]:
        """As JSON, in the form that is signed."""
        return {
            "entries": self.entries,
            "size": self.size,
            "sha256": self.digest.hex,
            "chunks": [leaf.hex() for leaf in self.chunks],
        }


def manifest_path(dataset: Path) -> Path:
    """`DATASET.manifest.json`, beside the dataset; a trailing slash changes nothing."""
    return beside(dataset, ".manifest.json")


def profile_path(dataset: Path) -> Path:
    """`DATASET.profile`, beside the dataset."""
    return beside(dataset, ".profile")


def beside(dataset: Path, suffix: str) -> Path:
    """The path of what lies beside a dataset; a trailing slash changes nothing."""
    resolved = dataset if dataset.name not in ("", "..") else dataset.resolve()
    return resolved.with_name(resolved.name + suffix)


def listing_path(manifest: Path) -> Path:
    """`DATASET.manifest.files.jsonl`, beside `DATASET.manifest.json`."""
    return manifest.with_name(manifest.name.removesuffix(".json") + SUFFIX)


def read_claim(manifest: Path) -> Signed | None:
    """The bytes of a manifest, or None where there is none, with the place of its list."""
    if (data := read_document(manifest)) is None:
        return None
    signed = Signed(data)
    signed.listing = listing_path(manifest)
    return signed


def copy_listing(signed: bytes, manifest: Path) -> None:
    """Put the list of a claim beside a copy of it at `manifest`, if it has one."""
    source = getattr(signed, "listing", None)
    if source is not None and source.is_file():
        draft = draft_of(manifest)
        try:
            shutil.copyfile(source, draft, follow_symlinks=False)
            draft.replace(listing_path(manifest))
        finally:
            draft.unlink(missing_ok=True)


def write_listing(files: Iterable[Entry], draft: Path) -> Listing:
    """Write the list of these files, which are in byte order of their paths, to `draft`."""
    hasher, count = Hasher(), 0
    with draft.open("xb") as file:
        told = described(files)
        while lines := [canonical_json(entry) + b"\n" for entry in islice(told, _LINES)]:
            data = b"".join(lines)
            hasher.update(data)
            file.write(data)
            count += len(lines)
        file.flush()
        os.fsync(file.fileno())
    return Listing(entries=count, size=hasher.size, digest=hasher.digest(), chunks=hasher.leaves)


def parse_listing(node: Node) -> Listing:
    """Read what a manifest says of its list."""
    node.only("entries", "size", "sha256", "chunks")
    entries, size = node.of("entries").integer(), node.of("size").integer()
    if entries > MAX_ENTRIES or size > MAX_BYTES:
        node.refuse(f"more than {MAX_ENTRIES} files or {MAX_BYTES} bytes")
    chunks = tuple(leaf.digest().raw for leaf in node.of("chunks").each())
    digest = node.of("sha256").digest()
    if len(chunks) != chunk_count(size) or merkle_root(chunks) != digest.raw:
        node.of("chunks").refuse("are not those of the digest")
    return Listing(entries=entries, size=size, digest=digest, chunks=chunks)


def known_listing(listing: Listing, path: Path | None, root: Digest, size: int) -> Listed:
    """The files of a list that was read before; its bytes are proved, and parsed when asked for.

    Raises:
        Malformed: there is no list, or it is not the one that was signed.
    """
    for _ in _chunks(listing, path, path.name if path else SUFFIX):
        pass
    load = partial(_all, listing, path)
    return Listed(root=root, size=size, number=listing.entries, load=load)


def _all(listing: Listing, path: Path | None) -> tuple[Entry, ...]:
    return tuple(read_listing(listing, path))


def read_listing(listing: Listing, path: Path | None) -> Iterator[Entry]:
    """The files of a list, read once; every chunk is proved before it is parsed.

    Raises:
        Malformed: there is no list, it is not the one that was signed, or it is no such list.
    """
    where = path.name if path else SUFFIX
    count, before = 0, ""
    for lines in _lines(listing, path, where):
        for entry in usual_entries(lines) or _parsed(lines, where, count):
            count += 1
            if entry.path <= before:  # as text, whose order is that of its bytes in UTF-8
                raise Malformed(
                    "not in byte order of the paths, each once", f"{where} line {count}"
                )
            before = entry.path
            yield entry
    if count != listing.entries:
        raise Malformed(f"has {count} files where {listing.entries} were signed", where)


def _parsed(lines: Sequence[bytes], where: str, count: int) -> Iterator[Entry]:
    """Each line as the JSON object it holds; joining them changes nothing."""
    values = list(loads(b"[" + b",".join(lines) + b"]", where).each())
    if len(values) != len(lines):
        raise Malformed("not one file a line", where)
    for number, value in enumerate(values, count + 1):
        yield parse_entry(Node(value.value, f"{where} line {number}"))


def _lines(listing: Listing, path: Path | None, where: str) -> Iterator[list[bytes]]:
    """Whole lines, some at a time; each holds one object, so that joining them changes nothing."""
    rest, waiting, size = b"", [], 0
    for chunk in _chunks(listing, path, where):
        whole, _, last = chunk.rpartition(b"\n")
        lines = (rest + whole).split(b"\n") if b"\n" in chunk else []
        rest = last if lines else rest + chunk
        for line in lines:
            if not (line.startswith(b"{") and line.endswith(b"}")) or len(line) > MAX_LINE:
                raise Malformed("a line is no object, or too long", where)
            waiting.append(line)
            size += len(line)
            if size >= _TOGETHER:
                yield waiting
                waiting, size = [], 0
        if len(rest) > MAX_LINE:
            raise Malformed("a line is too long", where)
    if rest:
        raise Malformed("does not end with a line", where)
    if waiting:
        yield waiting


def _chunks(listing: Listing, path: Path | None, where: str) -> Iterator[bytes]:
    """The bytes, 8 MiB at a time, each held against its signed digest before it is handed on."""
    try:
        # A fifo must not make us wait.
        opened = FileIO(path or "", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    except OSError as error:
        told = "cannot be read: the manifest's list of files has to lie beside it"
        raise Malformed(told, where) from error
    with opened as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != listing.size:
            raise Malformed(f"not a plain file of the {listing.size} bytes that were signed", where)
        for leaf in listing.chunks:
            chunk = _read(file, CHUNK)
            if hashlib.sha256(chunk).digest() != leaf:
                raise Malformed("not the list that was signed; fetch it again", where)
            yield chunk


def _read(file: FileIO, size: int) -> bytes:
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
