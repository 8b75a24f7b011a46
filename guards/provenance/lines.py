"""What the entries of a log say: a judgement, or that something was made from judged data.

Each is a DSSE envelope around an in-toto Statement, signed by whoever the trust gives the role:
a scanner for a judgement, a deriver for a dataset or a model that was made. Each names the log,
and the size and root of the tree that it was added to. So every signature in the log stands over
all that is before it: with the key of another name nobody can drop, change or move an entry and
sign the tree anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from guards.digest import Digest
from guards.errors import Malformed, Untrusted, UsageError
from guards.provenance.checkpoint import Checkpoint
from guards.provenance.manifest import Name, parse_name
from guards.provenance.signing import (
    Envelope,
    Signer,
    make_statement,
    parse_envelope,
    sign,
    signers,
    statement,
)
from guards.provenance.strictjson import Node, timestamp
from guards.provenance.trust import Trust

JUDGED = "https://toadstone.dev/ledger-entry/v1"
MADE = "https://toadstone.dev/made-from/v1"
MOST_MATERIALS = 200
KINDS = ("dataset", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A judgement: which record, about which bytes of which dataset, and what was decided."""

    record: Digest
    name: Name
    version: int
    root: Digest
    decision: str
    policy: Digest
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Something judged that was used: the judgement's record, and what that was about."""

    record: Digest
    name: Name
    version: int
    root: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A `kind` of KINDS that was made from judged data: a release, or a model trained on it.

    `root` is the digest of what was made, of a model as of a dataset: that of its file or files.
    """

    kind: str
    name: Name
    version: int
    root: Digest
    materials: tuple[Material, ...]
    time: datetime


Line = Entry | Made


def role(line: Line) -> str:
    """Who may sign such an entry."""
    return "scanner" if isinstance(line, Entry) else "deriver"


def write_line(line: Line, before: Checkpoint, key: Signer) -> bytes:
    """The signed entry, as the one after `before`."""
    predicate: dict[str, Any] = {
        "log": {"origin": before.origin, "size": before.size, "root": str(before.root)},
        "version": line.version,
        "time": timestamp(line.time),
    }
    if isinstance(line, Entry):
        predicate |= {"record": str(line.record), "decision": line.decision}
        predicate |= {"policy": str(line.policy)}
    else:
        predicate |= {"kind": line.kind, "materials": [_described(m) for m in line.materials]}
    kind = JUDGED if isinstance(line, Entry) else MADE
    statement_ = make_statement(str(line.name), line.root.hex, kind, predicate)
    return sign(statement_, key).to_json()


def read_line(data: bytes, before: Checkpoint, trust: Trust, where: str) -> Line:
    """An entry that somebody with the role signed, as the one after `before`.

    A key counts as it stood at the time the entry names, which is the signer's own word.

    Raises:
        Malformed: it is none, or was written for another place or another log.
        Untrusted: nobody who may write it has signed it.
    """
    envelope = parse_envelope(data, where)
    made_by = signers(envelope, trust.public)
    if not made_by:
        raise Untrusted(f"{where}: not signed by any trusted key, or changed since")
    try:
        line = _parse(envelope, before)
    except Malformed as error:
        raise error.inside(where) from error
    authority = trust.authorise(made_by, role(line), line.name, line.time)
    if not authority.able:  # how many keys a manifest needs is not asked here
        raise Untrusted(f"{where}: {authority.why_not}")
    return line


def _parse(envelope: Envelope, before: Checkpoint) -> Line:
    made = f'"predicateType":"{MADE}"'.encode() in envelope.payload
    top = statement(envelope, MADE if made else JUDGED)
    subject = next(iter(top.of("subject").each()))
    predicate = top.of("predicate")
    _place(predicate.of("log").only("origin", "size", "root"), before)
    about: dict[str, Any] = {
        "name": _name(subject.of("name")),
        "version": predicate.of("version").integer(),
        "root": subject.of("digest").of("sha256").digest(),
        "time": predicate.of("time").time(),
    }
    if made:
        predicate.only("log", "version", "time", "kind", "materials")
        return Made(kind=_kind(predicate.of("kind")), materials=_materials(predicate), **about)
    predicate.only("log", "version", "time", "record", "decision", "policy")
    return Entry(
        record=predicate.of("record").digest(),
        decision=predicate.of("decision").text(),
        policy=predicate.of("policy").digest(),
        **about,
    )


def _place(log: Node, before: Checkpoint) -> None:
    """Refuse an entry that was written for another place."""
    if log.of("origin").text() != before.origin:
        log.of("origin").refuse(f"is of another log than {before.origin}")
    if log.of("size").integer() != before.size:
        log.of("size").refuse(f"must be {before.size}: an entry was dropped, added or moved")
    if log.of("root").digest() != before.root:
        log.of("root").refuse("does not name the tree before it")


def _materials(predicate: Node) -> tuple[Material, ...]:
    found = tuple(_material(one) for one in predicate.of("materials").each())
    if not 0 < len(found) <= MOST_MATERIALS:
        predicate.of("materials").refuse(f"must be 1 to {MOST_MATERIALS}")
    return found


def _material(node: Node) -> Material:
    node.only("record", "name", "version", "root")
    return Material(
        record=node.of("record").digest(),
        name=_name(node.of("name")),
        version=node.of("version").integer(),
        root=node.of("root").digest(),
    )


def _described(material: Material) -> dict[str, Any]:
    return {
        "record": str(material.record),
        "name": str(material.name),
        "version": material.version,
        "root": str(material.root),
    }


def _name(node: Node) -> Name:
    try:
        return parse_name(node.text())
    except UsageError as error:
        node.refuse(str(error))


def _kind(node: Node) -> str:
    return node.text() if node.text() in KINDS else node.refuse(f"none of {', '.join(KINDS)}")
