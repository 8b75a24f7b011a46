"""What somebody else's format says about files: the one noun that all of its readers make.

A foreign claim is evidence, never a verdict. It lists files by path, with a size where it has one
and digests by algorithm; which of them are strong is decided here and not by the format; and it
says itself what it does not bind. Everything in it has been parsed: paths are plain and relative,
digests have the length and the letters of their algorithm, no file is listed twice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from guards.digest import Digest
from guards.errors import Malformed
from guards.provenance.entries import is_plain
from guards.provenance.manifest import Name
from guards.provenance.snapshot import MAX_PATH

# Hexadecimal digits of each algorithm that a claim may name.
DIGITS = {
    "md5": 32,
    "sha1": 40,
    "sha224": 56,
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
    "blake2b": 128,
}
# The others are recorded and never trusted: two files of one md5 or sha1 can be made on purpose.
STRONG = frozenset({"sha256", "sha384", "sha512", "blake2b"})
MAX_SIZE = 2**53 - 1
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class FlatDigest:
    """A plain hash of bytes as they are, by its algorithm; no tree, unlike our own `Digest`."""

    algorithm: str
    hex: str

    @property
    def strong(self) -> bool:
        """Whether it names bytes, or only what somebody may have made to look alike."""
        return self.algorithm in STRONG

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Shard:
    """The digest of the bytes from `start` up to and without `end`."""

    start: int
    end: int
    digest: FlatDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedFile:
    """One file: a plain relative path, and whatever is said of its bytes, all of which must hold.

    A `path` that is empty is not known: a remote file, which its digest alone finds. `told` adds
    what stands behind a digest that is missing.
    """

    path: str
    size: int | None = None
    digests: tuple[FlatDigest, ...] = ()
    shards: tuple[Shard, ...] = ()
    told: str = ""

    @property
    def strong(self) -> bool:
        """Whether its bytes are named so that nobody can put others in their place."""
        return any(digest.strong for digest in self.digests) or bool(self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignClaim:
    """A claim in somebody else's format; `form` names it, with its version.

    `own` are files of the format itself that nothing has to list. `root` binds the whole dataset,
    where a claim has our own root. `name` and `version` are None where the format binds none.
    `refused` says why no bytes can make this claim hold; `limits` what it cannot bind, and `notes`
    what else was met in it, both for people.
    """

    form: str
    files: tuple[ClaimedFile, ...]
    root: Digest | None = None
    name: Name | None = None
    version: int | None = None
    own: frozenset[str] = frozenset()
    refused: str = ""
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digest: Digest = field(default_factory=lambda: Digest.of(b""))

    @property
    def strengths(self) -> Mapping[str, int]:
        """How many of the files are named by a strong digest, by weak ones only, and by none."""
        strong = sum(file.strong for file in self.files)
        bare = sum(not (file.digests or file.shards) for file in self.files)
        return {"strong": strong, "weak": len(self.files) - strong - bare, "bare": bare}


UNSIGNED = (
    "it is not signed: whoever can write beside the data can write it",
    "it binds no name, version or expiry: an older one fits older data",
)


def flat_digest(algorithm: str, text: str, where: str) -> FlatDigest:
    """A digest as it is written; Malformed for an unknown algorithm, length or letter."""
    if algorithm not in DIGITS:
        raise Malformed(
            f"{algorithm[:40]!r} is none of the digests read here: {', '.join(DIGITS)}", where
        )
    if len(text) != DIGITS[algorithm] or not _HEX.fullmatch(text):
        told = f"{DIGITS[algorithm]} lower-case hexadecimal digits"
        raise Malformed(f"{text[:80]!r} is no {algorithm}, which has {told}", where)
    return FlatDigest(algorithm, text)


def plain_path(text: str, where: str) -> str:
    """A path as the walker spells it: NFC, without the leading `./` that many tools write.

    Malformed for what could lead out of the dataset, or be taken for another path.
    """
    if len(text) > MAX_PATH:
        raise Malformed(f"a path of more than {MAX_PATH} characters", where)
    path = unicodedata.normalize("NFC", text.removeprefix("./"))
    if not is_plain(path):
        raise Malformed(f"{text[:200]!r} is not a plain relative path", where)
    return path


def claimed_size(value: int, where: str) -> int:
    """A number of bytes; Malformed for one that no file has."""
    if not 0 <= value <= MAX_SIZE:
        raise Malformed(f"{value} is no size of a file", where)
    return value


def listed(files: Iterable[ClaimedFile]) -> tuple[ClaimedFile, ...]:
    """The files in path order; Malformed where a path stands twice, with the same digest or not."""
    found = tuple(files)
    seen: set[str] = set()
    for file in found:
        if file.path and file.path in seen:
            raise Malformed("is listed twice", file.path)
        seen.add(file.path)
    return tuple(sorted(found, key=lambda file: file.path.encode()))
