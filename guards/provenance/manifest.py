"""What a producer claims about a dataset, and signs: in-toto Statement v1 in a DSSE envelope.

Parsed once into frozen values; after :func:`parse` nothing is checked again. The root digest is
recomputed from the files listed, so a manifest cannot say one thing in its subject and another
in its list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from guards.digest import Digest, digest_json
from guards.errors import GuardError, Malformed, UsageError
from guards.provenance.entries import described, parse_entry
from guards.provenance.listing import Listing, known_listing, parse_listing, read_listing
from guards.provenance.roles import Roles, from_columns
from guards.provenance.signing import Envelope, make_statement, statement
from guards.provenance.strictjson import Node, timestamp
from guards.provenance.tree import Snapshot
from guards.text import DECEPTIVE, is_control

PREDICATE = "https://toadstone.dev/dataset-manifest/v1"
# Of more files, or chunks of large ones, the list lies beside the manifest.
INLINE = 10_000
_PART = re.compile(r"[^/\\]{1,255}")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """`owner/dataset`, or `owner/dataset/partition`; the rest follows the second slash."""

    dataset: str
    partition: str = ""

    def __str__(self) -> str:
        return f"{self.dataset}/{self.partition}" if self.partition else self.dataset

    def covers(self, other: Name) -> bool:
        """Whether one who expects this name accepts `other`: the same, or a partition of it."""
        return self.dataset == other.dataset and self.partition in ("", other.partition)


UNNAMED = Name("unsigned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the data was taken from and when, as the producer says; `digest` names its bytes.

    One with a `claim` is a document in that foreign format, named by the `digest` of its bytes,
    against which the producer held the data.
    """

    uri: str
    retrieved: str = ""
    license: str = ""
    digest: Digest | None = None
    claim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """How a dataset was made from its one parent: by what method, and on whose word.

    `parent` is the parent's root; `manifest`, `record` and `policy` name the claim on it, the
    judgement that the method follows and the policy of that; `removed` counts the rows that were
    left out, and `rows` names the bytes of the file that lists them.
    """

    method: str
    parent: Digest
    manifest: Digest
    record: Digest
    policy: Digest
    removed: int
    rows: Digest
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The claim: these files, under this name and version, with these roles.

    One with `parents` was made from those, and a deriver may sign it; an original is a producer's.
    `profile` is the digest of the file that says what the data looks like, if one was claimed.
    """

    name: Name
    version: int
    snapshot: Snapshot
    created: datetime
    expires: datetime | None = None
    previous: Digest | None = None
    parents: tuple[Digest, ...] = ()
    derivation: Derivation | None = None
    sources: tuple[Source, ...] = ()
    roles: Roles = field(default_factory=Roles)
    schema: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    label_counts: Mapping[str, int] = field(default_factory=dict)
    profile: Digest | None = None

    @property
    def schema_digest(self) -> Digest:
        """One name for the columns and their types, whatever their order."""
        return digest_json(dict(self.schema))

    @property
    def is_large(self) -> bool:
        """Whether the list of files lies beside the manifest, and not in it."""
        files = self.snapshot.files
        return len(files) > INLINE or sum(len(entry.chunks) for entry in files) > INLINE


def parse_name(text: str) -> Name:
    """Read a dataset's name; UsageError for one that could be mistaken for another."""
    parts = text.split("/", 2)
    for part in "/".join(parts).split("/"):
        bad = part in ("", ".", "..") or part != part.strip() or not _PART.fullmatch(part)
        if bad or any(is_control(c) or c in DECEPTIVE for c in part):
            raise UsageError(f"name {text[:80]!r}: not of the form owner/dataset[/partition]")
    if unicodedata.normalize("NFC", text) != text:
        raise UsageError(f"name {text[:80]!r}: not in Unicode's NFC form")
    return Name("/".join(parts[:2]), parts[2] if len(parts) > 2 else "")


def payload(manifest: Manifest, listing: Listing | None = None) -> bytes:
    """The bytes to be signed; with `listing` they name the list of files and do not hold it."""
    optional: dict[str, Any] = {
        "expires": timestamp(manifest.expires) if manifest.expires else None,
        "previous": str(manifest.previous) if manifest.previous else None,
        "parents": [str(parent) for parent in manifest.parents],
    }
    predicate: dict[str, Any] = {
        "dataset": {
            "name": manifest.name.dataset,
            "partition": manifest.name.partition or None,
            "version": manifest.version,
            "created": timestamp(manifest.created),
            **optional,
        },
        "files": listing.describe() if listing else list(described(manifest.snapshot.files)),
        "sources": [_described(source) for source in manifest.sources],
        "columns": manifest.roles.columns(),
        "schema": dict(manifest.schema),
        "stats": {"rows": manifest.rows, "labelCounts": dict(manifest.label_counts)},
    }
    if manifest.derivation is not None:
        predicate["derivation"] = describe(manifest.derivation)
    if manifest.profile is not None:
        predicate["profile"] = str(manifest.profile)
    return make_statement(str(manifest.name), manifest.snapshot.root.hex, PREDICATE, predicate)


def _described(source: Source) -> dict[str, str]:
    """A source as JSON; what it does not have adds nothing, so what was signed before stands."""
    more = {"digest": str(source.digest or ""), "claim": source.claim}
    told = {"uri": source.uri, "retrieved": source.retrieved, "license": source.license}
    return {**told, **{key: text for key, text in more.items() if text}}


def describe(derivation: Derivation) -> dict[str, Any]:
    """A derivation as JSON, in the form that is signed."""
    return {
        "method": derivation.method,
        "parent": str(derivation.parent),
        "manifest": str(derivation.manifest),
        "record": str(derivation.record),
        "policy": str(derivation.policy),
        "removed": derivation.removed,
        "rows": str(derivation.rows),
        "code": derivation.code,
    }


def parse(envelope: Envelope, like: Snapshot | None = None) -> Manifest:
    """Read a manifest out of an envelope whose signatures have been verified.

    Files that are as in `like` are told by its entries, so that a million are held once.
    """
    top = statement(envelope, PREDICATE)
    predicate = top.of("predicate")
    predicate.only(
        *("dataset", "files", "sources", "columns", "schema", "stats", "derivation", "profile")
    )
    dataset = predicate.of("dataset").only(
        "name", "partition", "version", "created", "expires", "previous", "parents"
    )
    manifest = Manifest(
        name=_name(dataset),
        version=dataset.of("version").integer(),
        created=dataset.of("created").time(),
        expires=expires.time() if (expires := dataset.optional("expires")) else None,
        previous=previous.digest() if (previous := dataset.optional("previous")) else None,
        parents=tuple(parent.digest() for parent in dataset.of("parents").each()),
        derivation=_derivation(made) if (made := predicate.optional("derivation")) else None,
        snapshot=_files(predicate.of("files"), envelope, like),
        sources=tuple(_source(source) for source in predicate.of("sources").each()),
        roles=_roles(predicate.of("columns")),
        schema={key: node.text() for key, node in predicate.of("schema").items()},
        profile=profile.digest() if (profile := predicate.optional("profile")) else None,
        **_stats(predicate.of("stats")),
    )
    _refuse_other_subject(next(iter(top.of("subject").each())), manifest)
    _refuse_other_lineage(dataset, manifest)
    return manifest


def _refuse_other_subject(subject: Node, manifest: Manifest) -> None:
    if subject.of("name").text() != str(manifest.name):
        subject.of("name").refuse("is not the name in the predicate")
    if subject.of("digest").of("sha256").digest() != manifest.snapshot.root:
        subject.of("digest").refuse("is not the root of the files listed")


def _refuse_other_lineage(dataset: Node, manifest: Manifest) -> None:
    if manifest.snapshot.root in manifest.parents:
        dataset.of("parents").refuse("names these very files: nothing is its own parent")
    if manifest.derivation and manifest.parents != (manifest.derivation.parent,):
        dataset.of("parents").refuse("must name the parent of the derivation, and no other")


def _derivation(node: Node) -> Derivation:
    node.only("method", "parent", "manifest", "record", "policy", "removed", "rows", "code")
    return Derivation(
        method=node.of("method").text(),
        parent=node.of("parent").digest(),
        manifest=node.of("manifest").digest(),
        record=node.of("record").digest(),
        policy=node.of("policy").digest(),
        removed=node.of("removed").integer(),
        rows=node.of("rows").digest(),
        code=node.of("code").text(),
    )


def _name(dataset: Node) -> Name:
    partition = dataset.optional("partition")
    name = dataset.of("name").text() + (f"/{partition.text()}" if partition else "")
    try:
        parsed = parse_name(name)
    except UsageError as error:
        dataset.of("name").refuse(str(error))
    return parsed if parsed != UNNAMED else dataset.of("name").refuse("stands for no name at all")


def _files(node: Node, envelope: Envelope, like: Snapshot | None) -> Snapshot:
    """The files, out of the manifest or out of the list beside it."""
    if isinstance(node.value, dict):
        place = envelope.listing
        if envelope.proved:
            return Snapshot(files=known_listing(parse_listing(node), place, *envelope.proved))
        known = iter(like.files if like else ())
        read = read_listing(parse_listing(node), place)
        return Snapshot(files=tuple(k if (k := next(known, e)) == e else e for e in read))
    entries = []
    seen: set[str] = set()
    for item in node.each():
        entry = parse_entry(item)
        if entry.path in seen:
            item.of("path").refuse("listed twice")
        seen.add(entry.path)
        entries.append(entry)
    return Snapshot(files=tuple(entries))


def _source(node: Node) -> Source:
    node.only("uri", "retrieved", "license", "digest", "claim")
    digest, claim = node.optional("digest"), node.optional("claim")
    if claim and not digest:
        node.refuse("has a claim without its digest")
    return Source(
        uri=node.of("uri").text(),
        retrieved=node.of("retrieved").text(),
        license=node.of("license").text(),
        digest=digest.digest() if digest else None,
        claim=claim.text() if claim else "",
    )


def _roles(node: Node) -> Roles:
    try:
        return from_columns({column: role.text() for column, role in node.items()})
    except GuardError as error:
        if isinstance(error, Malformed):
            raise
        node.refuse(str(error))


def _stats(node: Node) -> dict[str, Any]:
    node.only("rows", "labelCounts")
    rows = node.optional("rows")
    return {
        "rows": rows.integer() if rows else None,
        "label_counts": {key: count.integer() for key, count in node.of("labelCounts").items()},
    }
