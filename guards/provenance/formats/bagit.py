"""BagIt bags (RFC 8493, and 0.97 before it): payload below `data/`, manifests beside it.

Read from the bytes of the bag's tag files, nothing else. Every payload manifest has to list the
same files, as version 1.0 asks; tag manifests bind the tag files that they list. What `fetch.txt`
names is never fetched: it is there already, or it is missing.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from guards.digest import Digest, tree_root
from guards.errors import Malformed
from guards.provenance.formats.claim import (
    UNSIGNED,
    ClaimedFile,
    FlatDigest,
    ForeignClaim,
    flat_digest,
    listed,
    plain_path,
)

DECLARATION = "bagit.txt"
FETCH = "fetch.txt"
VERSIONS = ("0.93", "0.94", "0.95", "0.96", "0.97", "1.0")
# Beside the declaration and the manifests themselves, what a tag manifest need not list.
_TAG_FILES = frozenset({DECLARATION, "bag-info.txt", FETCH})
_MANIFEST = re.compile(r"(tag)?manifest-([a-z0-9-]{1,40})\.txt")
_ENTRY = re.compile(r"([0-9A-Za-z]+)[ \t]+\*?(.+)")
_FETCH_LINE = re.compile(r"(\S+)[ \t]+(\d{1,16}|-)[ \t]+(.+)")
_PERCENT = re.compile(r"%(0[aA]|0[dD]|25)?")
_ENCODINGS = {"UTF-8": "utf-8", "UTF-16": "utf-16", "ISO-8859-1": "latin-1"}


@dataclass(frozen=True, slots=True)
class _Tags:
    """How a bag's tag files are read."""

    version: str
    encoding: str

    def lines(self, name: str, data: bytes) -> Iterator[tuple[str, str]]:
        """The lines of a tag file that are not empty, with their numbers."""
        try:
            text = data.decode(_ENCODINGS[self.encoding])
        except UnicodeError as error:
            raise Malformed(f"not {self.encoding} text: {error}", name) from error
        for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
            if line:
                yield f"{name} line {number}", line

    def path(self, text: str, where: str) -> str:
        """A path with its percent signs read as its version writes them."""
        if self.version != "1.0":
            return plain_path(text, where)
        if any(not code for code in _PERCENT.findall(text)):
            raise Malformed(f"{text[:80]!r} has a percent sign that stands for nothing", where)
        return plain_path(_PERCENT.sub(lambda m: chr(int(m[1], 16)), text), where)


def is_tag_file(name: str) -> bool:
    """Whether a file at the top of a bag is one that :func:`read` wants to see."""
    return name in (DECLARATION, FETCH) or bool(_MANIFEST.fullmatch(name))


def read(tags: Mapping[str, bytes]) -> ForeignClaim:
    """The claim of a bag, from its tag files by name: those for which :func:`is_tag_file`."""
    how = _declaration(tags.get(DECLARATION))
    payload, beside = _manifests(tags, how, tag=False), _manifests(tags, how, tag=True)
    if not payload:
        raise Malformed("a bag has a payload manifest, manifest-<algorithm>.txt", DECLARATION)
    _refuse_disagreement(payload)
    for name, entries in payload.items():
        if outside := [path for path in entries if not path.startswith("data/")]:
            raise Malformed(f"{outside[0]!r} does not lie in data/", name)
    for name, entries in beside.items():
        if inside := [path for path in entries if path.startswith("data/")]:
            raise Malformed(f"{inside[0]!r} is no tag file", name)
    fetched = _fetch(tags.get(FETCH), how, next(iter(payload.values())))
    files = listed([*_files(payload, fetched), *_files(beside, {})])
    told = [f"fetch.txt names {len(fetched)} files; nothing is fetched"] if fetched else []
    own = _TAG_FILES.union(name for name in tags if is_tag_file(name))
    return ForeignClaim(
        form=f"bagit {how.version}",
        files=files,
        own=own - {file.path for file in files},
        limits=UNSIGNED,
        notes=tuple(told),
        digest=tree_root((name, len(data), Digest.of(data)) for name, data in tags.items()),
    )


def _declaration(data: bytes | None) -> _Tags:
    """`bagit.txt`: two lines, in UTF-8, without a byte-order mark or a blank before the colon."""
    if data is None:
        raise Malformed("a bag has this file", DECLARATION)
    if data.startswith(codecs.BOM_UTF8):
        raise Malformed("begins with a byte-order mark", DECLARATION)
    found = [line for _, line in _Tags("1.0", "UTF-8").lines(DECLARATION, data)]
    labels = ("BagIt-Version: ", "Tag-File-Character-Encoding: ")
    if len(found) != 2 or not all(map(str.startswith, found, labels)):
        raise Malformed(f"must have two lines, {labels[0]!r} and {labels[1]!r}", DECLARATION)
    version, encoding = found[0].removeprefix(labels[0]), found[1].removeprefix(labels[1])
    if version not in VERSIONS:
        raise Malformed(f"version {version[:20]!r} is none of {', '.join(VERSIONS)}", DECLARATION)
    if encoding not in _ENCODINGS:
        told = f"encoding {encoding[:20]!r} is none of {', '.join(_ENCODINGS)}"
        raise Malformed(told, DECLARATION)
    return _Tags(version, encoding)


def _manifests(
    tags: Mapping[str, bytes], how: _Tags, *, tag: bool
) -> dict[str, dict[str, FlatDigest]]:
    """Manifest by name, in it digests by path."""
    found = {}
    for name in sorted(tags):
        told = _MANIFEST.fullmatch(name)
        if told and bool(told[1]) is tag:
            found[name] = _entries(name, told[2], tags[name], how)
    return found


def _entries(name: str, algorithm: str, data: bytes, how: _Tags) -> dict[str, FlatDigest]:
    entries: dict[str, FlatDigest] = {}
    for where, line in how.lines(name, data):
        parts = _ENTRY.fullmatch(line)
        if parts is None:
            raise Malformed(f"{line[:80]!r} is not `<hex> path`", where)
        path = how.path(parts[2], where)
        if path in entries:
            raise Malformed(f"{path!r} is listed twice", where)
        # "The hex-encoded checksum MAY use uppercase and/or lowercase letters" (RFC 8493, 2.1.3).
        entries[path] = flat_digest(algorithm, parts[1].lower(), where)
    return entries


def _refuse_disagreement(payload: Mapping[str, Mapping[str, FlatDigest]]) -> None:
    first, *others = payload
    for other in others:
        if difference := payload[first].keys() ^ payload[other].keys():
            path = min(difference)
            raise Malformed(f"{path!r} is listed in {first} or here, not in both", other)


def _fetch(data: bytes | None, how: _Tags, listed_files: Iterable[str]) -> dict[str, int | None]:
    """Files that somebody was to fetch, with the sizes told; each has to be in the manifests."""
    found: dict[str, int | None] = {}
    known = frozenset(listed_files)
    for where, line in how.lines(FETCH, data or b""):
        parts = _FETCH_LINE.fullmatch(line)
        if parts is None:
            raise Malformed(f"{line[:80]!r} is not `URL length path`", where)
        path = how.path(parts[3], where)
        if path in found or path not in known:
            raise Malformed(f"{path!r} is in no manifest, or here twice", where)
        found[path] = None if parts[2] == "-" else int(parts[2])
    return found


def _files(
    manifests: Mapping[str, Mapping[str, FlatDigest]], fetched: Mapping[str, int | None]
) -> Iterator[ClaimedFile]:
    for path in sorted({path for entries in manifests.values() for path in entries}):
        digests = [entries[path] for entries in manifests.values() if path in entries]
        yield ClaimedFile(
            path=path,
            size=fetched.get(path),
            digests=tuple(sorted(digests)),
            told="fetch.txt names it; nothing is fetched" if path in fetched else "",
        )
