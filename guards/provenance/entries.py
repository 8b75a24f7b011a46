"""A file as a claim lists it: the same JSON object in a manifest and in a list beside one.

    {"contentDigest": "...", "path": "a.parquet", "rows": 12, "sha256": "...", "size": 345}

`chunks` are the leaves of a file of several; `rows` and `contentDigest` say what is in a table and
are the producer's word about it, where `size` and `sha256` name the bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from guards.digest import Digest, chunk_count, merkle_root
from guards.provenance.strictjson import MAX_INTEGER, Node
from guards.provenance.tree import Entry
from guards.text import DECEPTIVE, is_control

# Listed in one claim, of all its files; 1.6 TB. Files beyond are proved whole or not at all.
MAX_CHUNKS = 200_000
_PLAIN_PATH = re.compile(r"\w[\w.+=-]*(?:/\w[\w.+=-]*)*", re.ASCII)
_LINE = re.compile(
    r'^{"path":"(?=[^"]{1,4096}")(\w[\w.+=-]*(?:/\w[\w.+=-]*)*)","sha256":"([0-9a-f]{64})","size":(0|[1-9]\d{0,14})}$',
    re.ASCII | re.MULTILINE,
)
_NEEDED = frozenset({"path", "size", "sha256"})
_USUAL = _NEEDED | {"rows", "contentDigest"}


def described(files: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """The files, and of large ones the chunks, by which a part can be proved; never too many."""
    room = MAX_CHUNKS
    for entry in files:
        file: dict[str, Any] = {"path": entry.path, "size": entry.size, "sha256": entry.digest.hex}
        room -= len(entry.chunks)
        if entry.chunks and room >= 0:
            file["chunks"] = [leaf.hex() for leaf in entry.chunks]
        if entry.rows is not None:
            file["rows"] = entry.rows
        if entry.content is not None:
            file["contentDigest"] = entry.content.hex
        yield file


def usual_entries(lines: Sequence[bytes]) -> list[Entry] | None:
    """The files of lines that are all as we write them, at a third of the cost; None otherwise.

    Such a line has one reading, which is that of any JSON parser: no escapes, no other keys, no
    other order, a size without a sign or a leading zero.
    """
    found = _LINE.findall(b"\n".join(lines).decode("latin-1"))
    if len(found) != len(lines):
        return None
    return [Entry(path=path, size=int(size), digest=Digest(digest)) for path, digest, size in found]


def parse_entry(item: Node) -> Entry:
    """Read one file of a list; Malformed says what is wrong with it."""
    return _usual(item.value) or _entry(item)


def _usual(value: Any) -> Entry | None:
    """A file that is as most are, read at a tenth of the cost; nothing for all that is not."""
    if type(value) is not dict or not _NEEDED <= value.keys() <= _USUAL:
        return None
    path, size, digest = value["path"], value["size"], value["sha256"]
    usual = type(path) is str and type(size) is int and type(digest) is str and size >= 0
    if not usual or not _PLAIN_PATH.fullmatch(path):
        return None
    try:
        if len(value) == len(_NEEDED):
            return Entry(path=path, size=size, digest=Digest(digest))
        rows, content = value.get("rows"), value.get("contentDigest")
        if (rows is not None and type(rows) is not int) or not 0 <= (rows or 0) <= MAX_INTEGER:
            return None
        named = Digest(content) if type(content) is str else None
        if named is None and "contentDigest" in value:
            return None
        return Entry(path=path, size=size, digest=Digest(digest), rows=rows, content=named)
    except ValueError:
        return None


def _entry(item: Node) -> Entry:
    item.only("path", "size", "sha256", "chunks", "rows", "contentDigest")
    path = item.of("path").text()
    if not is_plain(path):
        item.of("path").refuse("not a plain relative path")
    size, digest = item.of("size").integer(), item.of("sha256").digest()
    listed = item.optional("chunks")
    chunks = tuple(leaf.digest().raw for leaf in listed.each()) if listed else ()
    if listed and (len(chunks) != chunk_count(size) or merkle_root(chunks) != digest.raw):
        listed.refuse("are not those of the digest")
    rows, content = item.optional("rows"), item.optional("contentDigest")
    return Entry(
        path=path,
        size=size,
        digest=digest,
        chunks=chunks if len(chunks) > 1 else (),
        rows=rows.integer() if rows else None,
        content=content.digest() if content else None,
    )


def is_plain(path: str) -> bool:
    """Whether a path is relative, in NFC, and the same to every eye and system."""
    parts = path.split("/")
    return (
        not any(part in ("", ".", "..") or part[1:2] == ":" for part in parts)
        and not any(is_control(c) or c in DECEPTIVE or c == "\\" for c in path)
        and unicodedata.normalize("NFC", path) == path
    )
