r"""`SHA256SUMS` and its like, as coreutils writes them: a line for each file.

    <hex>  path        read as text; a second blank, or
    <hex> *path        read as binary, which is the same bytes
    SHA256 (path) = <hex>            the BSD form, `--tag`

A line that begins with a backslash has a path in which `\\`, `\n` and `\r` are escapes. Of an
untagged digest the number of digits tells the algorithm, so what `b2sum` writes without `--tag`
is read as sha512, and does not hold: a refusal, never a false yes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guards.errors import Malformed
from guards.provenance.formats.claim import (
    DIGITS,
    UNSIGNED,
    ClaimedFile,
    FlatDigest,
    ForeignClaim,
    flat_digest,
    listed,
    plain_path,
)

_UNTAGGED = re.compile(r"([0-9A-Za-z]+) [ *](.+)")
_TAGGED = re.compile(r"([A-Za-z0-9-]{1,40}) \((.+)\) = ([0-9A-Za-z]+)")
_TAGS = {
    **{"MD5": "md5", "SHA1": "sha1", "SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384"},
    **{"SHA512": "sha512", "BLAKE2b": "blake2b"},
}
_BY_DIGITS = {digits: name for name, digits in DIGITS.items() if name != "blake2b"}
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def read(data: bytes) -> ForeignClaim:
    """The claim in a file of checksums; one file may have several algorithms, on a line each."""
    found: dict[str, dict[str, FlatDigest]] = {}
    for where, line in lines(data, "checksums"):
        path, digest = _line(line, where)
        if digest.algorithm in found.setdefault(path, {}):
            raise Malformed(f"{path!r} has a {digest.algorithm} already", where)
        found[path][digest.algorithm] = digest
    files = listed(
        ClaimedFile(path=path, digests=tuple(sorted(digests.values())))
        for path, digests in found.items()
    )
    if not files:
        raise Malformed("lists no file", "checksums")
    return ForeignClaim(form="checksums", files=files, limits=UNSIGNED)


def lines(data: bytes, what: str) -> Iterator[tuple[str, str]]:
    """The lines of a text with their numbers; split at line feeds only, as coreutils does."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 text: {error}", what) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.removesuffix("\r"):
            yield f"{what} line {number}", line.removesuffix("\r")


def _line(line: str, where: str) -> tuple[str, FlatDigest]:
    escaped = line.startswith("\\")
    body = line[1:] if escaped else line
    if tagged := _TAGGED.fullmatch(body):
        tag, path, hex_ = tagged.groups()
        algorithm = _TAGS.get(tag, tag)
    elif untagged := _UNTAGGED.fullmatch(body):
        hex_, path = untagged.groups()
        algorithm = _BY_DIGITS.get(len(hex_), f"a digest of {len(hex_)} digits")
    else:
        raise Malformed(
            f"{line[:80]!r} is neither `<hex>  path` nor `SHA256 (path) = <hex>`", where
        )
    return plain_path(_unescaped(path, where) if escaped else path, where), flat_digest(
        algorithm, hex_, where
    )


def _unescaped(path: str, where: str) -> str:
    parts = re.split(r"(\\.?)", path)
    if unknown := [part for part in parts[1::2] if part not in _ESCAPES]:
        raise Malformed(f"{unknown[0]!r} is no escape", where)
    return "".join(_ESCAPES.get(part, part) for part in parts)
