"""What in-toto statements of others and ours have in common: subjects, and resources by digest.

A whole dataset is no file, so its root is no `sha256` of anything that another tool could hash. It
stands under an algorithm of its own, `toadstoneTree1`, beside the plain sha256 of every file, which
any tool can check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guards.digest import Digest, canonical_json
from guards.errors import UsageError
from guards.provenance.formats.claim import (
    DIGITS,
    ClaimedFile,
    FlatDigest,
    flat_digest,
    listed,
    plain_path,
)
from guards.provenance.manifest import UNNAMED, Name, parse_name
from guards.provenance.signing import STATEMENT_TYPE
from guards.provenance.strictjson import Node

TREE = "toadstoneTree1"
MAX_SUBJECTS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """What a statement is about: files, and the root of the dataset that they are, if it says."""

    files: tuple[ClaimedFile, ...]
    name: Name | None = None
    root: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something named by digest; `tree` is one of our roots, `digests` are plain hashes."""

    name: str = ""
    uri: str = ""
    tree: Digest | None = None
    digests: tuple[FlatDigest, ...] = ()

    def __str__(self) -> str:
        told = [f"{TREE}:{self.tree.hex}"] if self.tree else []
        return " ".join([self.name or self.uri, *told, *map(str, self.digests)])


def of_file(name: str, digest: Digest) -> Resource:
    """A document by the sha256 of its bytes."""
    return Resource(name=name, digests=(FlatDigest("sha256", digest.hex),))


def written(resource: Resource) -> dict[str, Any]:
    """A resource as an in-toto ResourceDescriptor."""
    tree = {TREE: resource.tree.hex} if resource.tree else {}
    named = {"name": resource.name, "uri": resource.uri}
    digest = {**tree, **{digest.algorithm: digest.hex for digest in resource.digests}}
    return {**{key: text for key, text in named.items() if text}, "digest": digest}


def resource(node: Node) -> Resource:
    """A ResourceDescriptor; digests by algorithms that are not read here are passed by."""
    name, uri, digests = (node.optional(key) for key in ("name", "uri", "digest"))
    tree = digests.optional(TREE) if digests else None
    return Resource(
        name=name.text() if name else "",
        uri=uri.text() if uri else "",
        tree=tree.digest() if tree else None,
        digests=tuple(_digests(digests)) if digests else (),
    )


def _digests(node: Node) -> Iterator[FlatDigest]:
    for algorithm, text in node.items():
        if algorithm in DIGITS:
            yield flat_digest(algorithm, text.text(), text.where)


def make(subjects: Iterable[Resource], predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a statement."""
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [written(subject) for subject in subjects],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def subjects(top: Node) -> Subjects:
    """The subjects of a statement, of which at most one is a dataset by its root."""
    name, root, files = None, None, []
    for node in top.of("subject").each():
        found = resource(node)
        if found.tree is None:
            path = plain_path(found.name, node.where)
            files.append(ClaimedFile(path=path, digests=found.digests))
            continue
        if root is not None:
            node.refuse("is a second dataset; a statement is about one")
        name, root = read_name(node.of("name")), found.tree
    return Subjects(files=listed(files), name=name, root=root)


def read_name(node: Node) -> Name:
    """A dataset's name; Malformed for one that could be mistaken for another."""
    try:
        found = parse_name(node.text())
    except UsageError as error:
        node.refuse(str(error))
    return found if found != UNNAMED else node.refuse("stands for no name at all")
