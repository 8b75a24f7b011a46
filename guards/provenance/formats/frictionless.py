"""Frictionless data packages, versions 1 and 2: `resources` with `path`, `bytes` and `hash`.

`hash` is `algorithm:hex`, and md5 where no algorithm is written. A resource of several files has
one hash for all of them, which the specification does not define further: they count as listed
without a digest.

https://specs.frictionlessdata.io/data-resource/ and https://datapackage.org/standard/data-resource/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guards.provenance.formats.claim import (
    DIGITS,
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

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LONG = ("description", "readme")


def read(data: bytes) -> ForeignClaim:
    """The claim in a `datapackage.json`; paths are relative to where it lies."""
    top = Node(loads(data, "datapackage", long_text=_LONG).value, "")
    resources = list(top.of("resources").each())
    if not resources:
        top.of("resources").refuse("lists no resource")
    inline = sum(1 for each in resources if each.optional("path") is None)
    told = f"{inline} resources have their data inside of the description"
    return ForeignClaim(
        form="frictionless",
        files=listed(file for each in resources for file in _files(each)),
        limits=UNSIGNED,
        notes=(told,) if inline else (),
    )


def _files(node: Node) -> Iterator[ClaimedFile]:
    path = node.optional("path")
    if path is None:
        node.of("data")
        return
    paths = list(path.each()) if isinstance(path.value, list) else [path]
    size, digests = node.optional("bytes"), tuple(_digest(node.optional("hash")))
    if len(paths) != 1:
        told = "one of several files of a resource, which have no digest each"
        for one in paths:
            yield ClaimedFile(path=plain_path(one.text(), one.where), told=told)
        return
    number = claimed_size(size.integer(), size.where) if size else None
    if _REMOTE.match(paths[0].text()):
        told = f"is at {paths[0].text()[:200]}; nothing is fetched"
        yield ClaimedFile(path="", size=number, digests=digests, told=told)
    else:
        found = plain_path(paths[0].text(), paths[0].where)
        yield ClaimedFile(path=found, size=number, digests=digests)


def _digest(node: Node | None) -> Iterator[FlatDigest]:
    if node is not None:
        algorithm, colon, hex_ = node.text().partition(":")
        name = algorithm.lower().replace("-", "") if colon else "md5"
        yield flat_digest(
            name if name in DIGITS else algorithm, hex_ if colon else algorithm, node.where
        )
