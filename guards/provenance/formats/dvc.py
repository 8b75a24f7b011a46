"""What DVC writes: a `.dvc` file, or the `.dir` list of a directory from its cache.

DVC names bytes by md5. It is recorded and held against the files, and never trusted: somebody who
may make both versions can make two with one md5. A `.dvc` file is YAML, of which only the form
that `dvc add` writes is read: mappings and lists by indentation, plain or quoted scalars of one
line. Anchors, tags, flow collections and multi-line scalars are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from guards.errors import Malformed
from guards.provenance.formats.checksums import lines
from guards.provenance.formats.claim import (
    UNSIGNED,
    ClaimedFile,
    ForeignClaim,
    claimed_size,
    flat_digest,
    listed,
    plain_path,
)
from guards.provenance.strictjson import Node, loads

LIMITS = (
    *UNSIGNED,
    "DVC names bytes by md5, of which two versions can be made that have the same",
)
_OUTS = re.compile(r"outs:[ ]*")
_PAIR = re.compile(r"(- |  )([a-z0-9_]{1,40}):(?: (.*))?")
# A scalar that YAML reads as the text it is; what begins with any other character is refused.
_PLAIN = re.compile(r"[A-Za-z0-9_./][^#\t\"'\\]*")
_QUOTED = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_NUMBER = re.compile(r"\d{1,16}")
_KNOWN = frozenset({"path", "md5", "hash", "size", "nfiles", "isexec", "cache", "persist", "desc"})


def read(data: bytes) -> ForeignClaim:
    """The claim in a `.dvc` file or a `.dir` list, which begins with a bracket."""
    if data.lstrip()[:1] == b"[":
        files = listed(_listed(Node(loads(data, "dvc directory").value, "dvc directory")))
    else:
        files = listed(_out(entry, where) for where, entry in _outs(data))
    if not files:
        raise Malformed("lists no output", "dvc")
    return ForeignClaim(form="dvc", files=files, limits=LIMITS)


def _listed(node: Node) -> Iterator[ClaimedFile]:
    for item in node.each():
        path, md5 = item.only("md5", "relpath", "size", "hash").of("relpath"), item.of("md5")
        digest = flat_digest("md5", md5.text(), md5.where)
        yield ClaimedFile(path=plain_path(path.text(), path.where), digests=(digest,))


def _outs(data: bytes) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The entries of `outs`, as keys and texts; other top-level keys are passed by, unread."""
    entry: dict[str, str] = {}
    inside, seen, begun = False, False, ""
    for where, line in lines(data, "dvc"):
        if line.startswith("#"):
            continue
        if not line.startswith((" ", "- ")):
            inside = line.startswith("outs")
            if inside and (seen or not _OUTS.fullmatch(line)):
                raise Malformed(f"{line[:80]!r} is not as `dvc add` writes it", where)
            seen = seen or inside
            continue
        pair = _PAIR.fullmatch(line) if inside else None
        if inside and (pair is None or pair[2] not in _KNOWN or pair[3] is None):
            raise Malformed(f"{line[:80]!r} is not as `dvc add` writes it", where)
        if pair is None:
            continue
        if pair[1] == "- ":
            yield from [(begun, entry)] if begun else []
            entry, begun = {}, where
        if not begun or pair[2] in entry:
            raise Malformed(f"the key {pair[2]!r} stands twice, or in no entry", where)
        entry[pair[2]] = _scalar(pair[3], where)
    yield from [(begun, entry)] if begun else []


def _scalar(text: str, where: str) -> str:
    if quoted := _QUOTED.fullmatch(text):
        return quoted[1] if quoted[1] is not None else quoted[2]
    if not _PLAIN.fullmatch(text) or ": " in text or text.endswith((":", " ")):
        raise Malformed(f"{text[:80]!r} is no plain or quoted scalar of one line", where)
    return text


def _out(entry: Mapping[str, str], where: str) -> ClaimedFile:
    if "path" not in entry:
        raise Malformed("an output without a path", where)
    path, md5 = plain_path(entry["path"], where), entry.get("md5", "")
    if entry.get("hash", "md5") != "md5":
        raise Malformed(f"hash {entry['hash'][:40]!r} is not md5", where)
    if md5.endswith(".dir"):
        digest = flat_digest("md5", md5.removesuffix(".dir"), where)
        told = f"a directory whose list has {digest}; give that list, from DVC's cache, as claim"
        return ClaimedFile(path=path, told=told)
    digests = (flat_digest("md5", md5, where),) if md5 else ()
    size = entry.get("size")
    if size is not None and not _NUMBER.fullmatch(size):
        raise Malformed(f"size {size[:40]!r} is no number of bytes", where)
    return ClaimedFile(
        path=path, size=claimed_size(int(size), where) if size else None, digests=digests
    )
