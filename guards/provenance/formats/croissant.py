"""Croissant 1.0 and 1.1 (MLCommons): the files of a JSON-LD dataset description.

Read are the `cr:FileObject` of `distribution`, by the compact keys that the specification's own
context gives them. JSON-LD lets a document rename keys; one whose context gives ours another
meaning, or that spells them in full, is refused instead of read in two ways. What a file contains
(record sets, files inside of archives) has no digest in Croissant and is told as such.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
# The keys read here. Contexts disagree on whose some of them are (`containedIn` is schema.org's by
# the context of 1.0, Croissant's by that of 1.1); what they call it has to stay the same.
_TERMS = frozenset(
    {
        *("distribution", "contentUrl", "contentSize", "sha256", "md5"),
        *("isLiveDataset", "containedIn", "conformsTo"),
    }
)
_PREFIXES = {"sc": _SCHEMA, "cr": _CROISSANT, "dct": "http://purl.org/dc/terms/"}
# Some descriptions are long, and none of them is read.
LONG = ("description", "citeAs", "license", "creator", "keywords", "recordSet")
_FILE = frozenset({"cr:FileObject", "sc:FileObject", "FileObject"})
_SET = frozenset({"cr:FileSet", "sc:FileSet", "FileSet"})
_BYTES = re.compile(r"(\d{1,16})(?: ?(?:B|bytes))?")
_ROUNDED = re.compile(r"\d+(?:\.\d+)? ?[kKMGTP]i?B")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def read(data: bytes) -> ForeignClaim:
    """The claim in a Croissant description; paths are relative to where the description lies."""
    top = Node(loads(data, "croissant", long_text=LONG).value, "")
    _refuse_other_meaning(top)
    _refuse_other_spelling(top)
    version = _version(top.of("conformsTo"))
    live = flag.flag() if (flag := top.optional("isLiveDataset")) else False
    distribution = top.optional("distribution")
    nodes = list(_several(distribution)) if distribution else []
    files = listed(_files(nodes))
    return ForeignClaim(
        form=f"croissant {version}",
        files=files,
        limits=UNSIGNED,
        notes=tuple(_notes(nodes, files, live=live)),
    )


def _several(node: Node) -> Iterator[Node]:
    """JSON-LD's way with lists: one value stands for a list of one."""
    yield from node.each() if isinstance(node.value, list) else (node,)


def _version(node: Node) -> str:
    """The version out of `conformsTo`, one text or several, of which one must be Croissant's."""
    found = [VERSIONS[each.text()] for each in _several(node) if each.text() in VERSIONS]
    if len(found) != 1:
        node.refuse(f"must name one of {', '.join(VERSIONS)}")
    return found[0]


def _refuse_other_meaning(top: Node) -> None:
    """Refuse a context that turns a key of ours into another, wherever it stands."""
    context = top.of("@context")
    for part in _several(context):
        if isinstance(part.value, str):
            continue  # a remote context is not fetched; keys have the specification's meaning
        for key, meaning in part.items():
            if key.startswith("@"):
                continue  # JSON-LD's own, of which @vocab alone gives keys a meaning
            if key in _PREFIXES and _one_scheme(meaning.text()) != _one_scheme(_PREFIXES[key]):
                meaning.refuse(f"the prefix {key!r} must stand for {_PREFIXES[key]}")
            iri = _expanded(meaning)
            if key not in _TERMS and _last(iri) in _TERMS:
                meaning.refuse(f"{key!r} would be another name of a key that is read")
            if key in _TERMS and iri not in _meanings(key):
                meaning.refuse(f"the key {key!r} must stand for {' or '.join(_meanings(key))}")
        vocabulary = part.optional("@vocab")
        if vocabulary and _one_scheme(vocabulary.text()) != _one_scheme(_SCHEMA):
            vocabulary.refuse(f"must be {_SCHEMA}")


def _meanings(key: str) -> list[str]:
    return [_one_scheme(prefix + key) for prefix in _PREFIXES.values()]


def _one_scheme(iri: str) -> str:
    """Both schemes are in use for the same names; nothing is fetched from either."""
    return f"https://{iri.removeprefix('http://')}" if iri.startswith("http://") else iri


def _last(iri: str) -> str:
    return re.split(r"[:/#]", iri)[-1]


def _expanded(meaning: Node) -> str:
    """The IRI that a context gives to a key; nothing where it only says how values are written."""
    told = meaning.optional("@id") if isinstance(meaning.value, dict) else meaning
    text = told.text() if told and told.value is not None else ""
    prefix, colon, rest = text.partition(":")
    return _one_scheme(_PREFIXES[prefix] + rest if colon and prefix in _PREFIXES else text)


def _refuse_other_spelling(node: Node) -> None:
    for key in node.mapping():
        if key not in _TERMS and _last(key) in _TERMS:
            node.refuse(f"{key!r} is another spelling of a key; write it without a prefix")


def _files(nodes: list[Node]) -> Iterator[ClaimedFile]:
    for node in nodes:
        _refuse_other_spelling(node)
        if "@context" in node.mapping():
            node.refuse("has a context of its own")
        if _is_file(node) and node.optional("containedIn") is None:
            yield _file(node)


def _is_file(node: Node) -> bool:
    """Whether it is a file and not a set of files; it has to be one of the two."""
    kinds = {each.text() for each in _several(node.of("@type"))}
    if bool(kinds & _FILE) is bool(kinds & _SET):
        node.of("@type").refuse("is neither cr:FileObject nor cr:FileSet, or both")
    return bool(kinds & _FILE)


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
    inside = sum(not _is_file(node) or "containedIn" in node.mapping() for node in nodes)
    if inside:
        yield f"{inside} entries lie inside of others or are sets of files: they have no digest"
