"""Croissant 1.0 and 1.1 (MLCommons): the files of a JSON-LD dataset description.

Read are the `cr:FileObject` of `distribution`, by the compact keys that the specification's own
context gives them. JSON-LD lets a document rename keys; one whose context gives ours another
meaning, or that spells them in full, is refused instead of read in two ways. What a file contains
(record sets, files inside of archives) has no digest in Croissant and is told as such.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from guards.provenance.formats.claim import (
    UNSIGNED,
    ClaimedFile,
    FlatDigest,
    ForeignClaim,
    claimed_size,
    flat_digest,
    listed,
    plain_path,
)
from guards.provenance.strictjson import Node, loads

VERSIONS = {f"http://mlcommons.org/croissant/{version}": version for version in ("1.0", "1.1")}
_SCHEMA, _CROISSANT = "https://schema.org/", "http://mlcommons.org/croissant/"
# The keys read here, and what each of them has to stand for.
_TERMS = {
    **{key: _SCHEMA + key for key in ("distribution", "contentUrl", "contentSize", "sha256")},
    **{key: _CROISSANT + key for key in ("md5", "isLiveDataset")},
    "containedIn": _SCHEMA + "containedIn",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}
_PREFIXES = {"sc": _SCHEMA, "cr": _CROISSANT, "dct": "http://purl.org/dc/terms/"}
# Some descriptions are long, and none of them is read.
LONG = ("description", "citeAs", "license", "creator", "keywords", "recordSet")
_FILE, _SET = ("cr:FileObject", "sc:FileObject", "FileObject"), ("cr:FileSet", "sc:FileSet")
_BYTES = re.compile(r"(\d{1,16})(?: ?(?:B|bytes))?")
_ROUNDED = re.compile(r"\d+(?:\.\d+)? ?[kKMGTP]i?B")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def read(data: bytes) -> ForeignClaim:
    """The claim in a Croissant description; paths are relative to where the description lies."""
    top = Node(loads(data, "croissant", long_text=LONG).value, "")
    _refuse_other_meaning(top)
    version = _version(top.of("conformsTo"))
    live = flag.flag() if (flag := top.optional("isLiveDataset")) else False
    distribution = top.optional("distribution")
    nodes = list(distribution.each()) if distribution else []
    files = listed(_files(nodes))
    return ForeignClaim(
        form=f"croissant {version}",
        files=files,
        limits=UNSIGNED,
        notes=tuple(_notes(nodes, files, live=live)),
    )


def _version(node: Node) -> str:
    """The version out of `conformsTo`, one text or several, of which one must be Croissant's."""
    told = [node] if isinstance(node.value, str) else list(node.each())
    found = [VERSIONS[each.text()] for each in told if each.text() in VERSIONS]
    if len(found) != 1:
        node.refuse(f"must name one of {', '.join(VERSIONS)}")
    return found[0]


def _refuse_other_meaning(top: Node) -> None:
    """Refuse a context that turns a key of ours into another, wherever it stands."""
    context = top.of("@context")
    for part in context.each() if isinstance(context.value, list) else (context,):
        if isinstance(part.value, str):
            continue  # a remote context is not fetched; keys have the specification's meaning
        for key, meaning in part.items():
            if key in _PREFIXES and meaning.value != _PREFIXES[key]:
                meaning.refuse(f"the prefix {key!r} must stand for {_PREFIXES[key]}")
            if key in _TERMS and _expanded(meaning) != _TERMS[key]:
                meaning.refuse(f"the key {key!r} must stand for {_TERMS[key]}")
        vocabulary = part.optional("@vocab")
        if vocabulary and vocabulary.text() not in (_SCHEMA, "http://schema.org/"):
            vocabulary.refuse(f"must be {_SCHEMA}")


def _expanded(meaning: Node) -> str:
    text = meaning.of("@id").text() if isinstance(meaning.value, dict) else meaning.text()
    prefix, colon, rest = text.partition(":")
    return _PREFIXES[prefix] + rest if colon and prefix in _PREFIXES else text


def _files(nodes: list[Node]) -> Iterator[ClaimedFile]:
    for node in nodes:
        for key in node.mapping():
            if key not in _TERMS and key.rpartition(":")[2].rpartition("/")[2] in _TERMS:
                node.refuse(f"{key!r} is another spelling of a key; write it without a prefix")
        if "@context" in node.mapping():
            node.refuse("has a context of its own")
        kind = node.of("@type").text()
        if kind in _FILE and node.optional("containedIn") is None:
            yield _file(node)
        elif kind not in (*_FILE, *_SET, "FileSet"):
            node.of("@type").refuse("is neither cr:FileObject nor cr:FileSet")


def _file(node: Node) -> ClaimedFile:
    digests = tuple(_digests(node))
    size = _size(node.optional("contentSize"))
    where = node.of("contentUrl")
    if _REMOTE.match(where.text()):
        told = f"is at {where.text()[:200]}; nothing is fetched"
        return ClaimedFile(path="", size=size, digests=digests, told=told)
    path = plain_path(where.text(), where.where)
    return ClaimedFile(path=path, size=size, digests=digests)


def _digests(node: Node) -> Iterator[FlatDigest]:
    for algorithm in ("md5", "sha256"):
        if told := node.optional(algorithm):
            yield flat_digest(algorithm, told.text(), told.where)


def _size(node: Node | None) -> int | None:
    """Bytes, where they are told exactly; `1.2 MB` is a size for people and binds nothing."""
    if node is None:
        return None
    if isinstance(node.value, int):
        return claimed_size(node.integer(), node.where)
    if told := _BYTES.fullmatch(node.text()):
        return claimed_size(int(told[1]), node.where)
    return None if _ROUNDED.fullmatch(node.text()) else node.refuse("is no number of bytes")


def _notes(nodes: list[Node], files: tuple[ClaimedFile, ...], *, live: bool) -> Iterator[str]:
    bare = sum(1 for file in files if not file.digests)
    if live:
        told = f"; {bare} of its files have no checksum" if bare else ""
        yield f"it is a live dataset: whoever publishes it may change it{told}"
    inside = sum(1 for node in nodes if _lies_inside(node.mapping()))
    if inside:
        yield f"{inside} entries lie inside of others or are sets of files: they have no digest"


def _lies_inside(entry: Mapping[str, object]) -> bool:
    return "containedIn" in entry or entry.get("@type") not in _FILE
