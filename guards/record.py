"""The Record: a verdict as a signed statement that an auditor can check without us.

It names by digest everything the verdict stands on and everything that was written beside it, and
carries what a gate needs to decide again: the policy, the examinations, who had signed the data,
until when, and where the ledger stood. Scan writes it; the gate and the page read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from guards.digest import Digest
from guards.errors import Malformed, Untrusted, UsageError
from guards.files import read_document
from guards.provenance.checkpoint import Checkpoint, read_checkpoint
from guards.provenance.lines import Entry
from guards.provenance.manifest import Name, parse_name
from guards.provenance.signing import Envelope, make_statement, parse_envelope, signers, statement
from guards.provenance.strictjson import Node, timestamp
from guards.provenance.trust import Trust
from guards.provenance.waivers import SEVERITIES
from guards.verdict import Decision

# What a ledger keeps of a run beside its record, and in which directory, see `Record.normal`.
KEPT = {"statistics.json": "statistics", "profile.json": "profiles"}
PREDICATE = "https://toadstone.dev/scan-record/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One examination as the record names it."""

    rule: str
    outcome: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverUsed:
    """A waiver without which the verdict would be another: what it says, and who signed it."""

    digest: Digest
    rule: str
    code: str
    severity: str
    reason: str
    expires: datetime
    approvers: tuple[str, ...]

    @property
    def told(self) -> str:
        """For people: what is accepted, until when, and why."""
        until = timestamp(self.expires)
        return f"{self.rule}/{self.code or '*'} is waived until {until}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was decided, of which bytes, on what grounds, by which code, when."""

    name: Name
    version: int
    root: Digest
    size: int | None = None
    decision: Decision
    reasons: tuple[str, ...]
    policy: Digest
    policy_name: str
    admits: bool
    seed: int
    replay: bool
    code: str
    time: datetime
    producers: tuple[str, ...] = ()
    parents: tuple[Digest, ...] = ()
    sources: tuple[str, ...] = ()
    expires: datetime | None = None
    trust: Digest | None = None
    manifest: Digest | None = None
    checkpoint: Checkpoint | None = None
    examinations: tuple[Examined, ...] = ()
    bindings: Mapping[str, str] = field(default_factory=dict)
    waivers: tuple[WaiverUsed, ...] = ()

    @property
    def normal(self) -> bool:
        """Whether what was seen in this data is what later data may be held against.

        It passed, under a policy that admits, by a seed that was drawn; and what somebody accepted
        is not what is normal.
        """
        passed = self.decision is Decision.PASS and self.admits and not self.replay
        return passed and not self.waivers


def payload(record: Record) -> bytes:
    """The bytes to be signed."""
    predicate: dict[str, Any] = {
        "version": record.version,
        "bytes": record.size,
        "decision": str(record.decision),
        "reasons": list(record.reasons),
        "policy": {
            "name": record.policy_name,
            "digest": str(record.policy),
            "admits": record.admits,
        },
        "seed": record.seed,
        "replay": record.replay,
        "code": record.code,
        "time": timestamp(record.time),
        "producers": list(record.producers),
        **({"parents": [str(parent) for parent in record.parents]} if record.parents else {}),
        **({"sources": list(record.sources)} if record.sources else {}),
        "expires": timestamp(record.expires) if record.expires else None,
        "trust": str(record.trust) if record.trust else None,
        "manifest": str(record.manifest) if record.manifest else None,
        "checkpoint": record.checkpoint.text if record.checkpoint else None,
        "examinations": [
            {"rule": e.rule, "outcome": e.outcome, "digest": str(e.digest)}
            for e in record.examinations
        ],
        "bindings": dict(record.bindings),
        **({"waivers": [_describe(one) for one in record.waivers]} if record.waivers else {}),
    }
    return make_statement(str(record.name), record.root.hex, PREDICATE, predicate)


def missing_documents(directory: Path, entries: Iterable[Entry]) -> Iterator[str]:
    """Say of each document that a ledger keeps beside its records what is gone, or was changed.

    Later data is held against these, so who drops one decides what they are held against. Of a
    record that is itself not the one logged, see `ledger.missing_records`, nothing is said.
    """
    for entry in entries:
        data = read_document(directory / "records" / f"{entry.record.hex}.json")
        if data is None or Digest.of(data) != entry.record:
            continue
        try:
            record = parse(parse_envelope(data, f"record {entry.record.short}"))
        except Malformed as error:
            yield f"record {entry.record.short} of {entry.name} is none: {error}"
            continue
        for name, kind in KEPT.items() if record.normal else ():
            if name in record.bindings:
                told = f"{kind} of {entry.name} version {entry.version}"
                yield from _amiss(directory / kind, record.bindings[name], told)


def _amiss(where: Path, bound: str, told: str) -> Iterator[str]:
    digest = Digest.parse(bound)
    data = read_document(where / f"{digest.hex}.json")
    if data is None:
        yield f"the {told} are missing: {digest.short}"
    elif Digest.of(data) != digest:
        yield f"the {told} were changed: {digest.short}"


def believed(data: bytes, trust: Trust, what: str, at: datetime | None = None) -> Record:
    """The record in an envelope that a scanner signed whom `trust` takes for its name.

    As of the record's own time, unless `at` is said.

    Raises:
        Malformed: it is no such envelope, or no record is in it.
        Untrusted: no key of the trust signed it, or none that may.
    """
    envelope = parse_envelope(data, "record")
    made_by = signers(envelope, trust.public)
    if not made_by:
        raise Untrusted(f"{what}: no key of the trust directory signed it")
    record = parse(envelope)
    authority = trust.authorise(made_by, "scanner", record.name, at or record.time)
    if not authority:
        raise Untrusted(f"{what}: {authority.why_not or authority.count.outcome}")
    return record


def parse(envelope: Envelope) -> Record:
    """Read a record out of an envelope; call `signers` first, and believe it only then."""
    top = statement(envelope, PREDICATE)
    subject = next(iter(top.of("subject").each()))
    node = top.of("predicate")
    policy = node.of("policy").only("name", "digest", "admits")
    expires, trust = node.optional("expires"), node.optional("trust")
    manifest, log = node.optional("manifest"), node.optional("checkpoint")
    size, parents = node.optional("bytes"), node.optional("parents")
    sources = node.optional("sources")
    waivers = node.optional("waivers")
    return Record(
        name=_name(subject.of("name")),
        version=node.of("version").integer(),
        root=subject.of("digest").of("sha256").digest(),
        size=size.integer() if size else None,
        decision=_decision(node.of("decision")),
        reasons=tuple(reason.text() for reason in node.of("reasons").each()),
        policy=policy.of("digest").digest(),
        policy_name=policy.of("name").text(),
        admits=policy.of("admits").flag(),
        seed=node.of("seed").integer(),
        replay=node.of("replay").flag(),
        code=node.of("code").text(),
        time=node.of("time").time(),
        producers=tuple(keyid.text() for keyid in node.of("producers").each()),
        parents=tuple(parent.digest() for parent in parents.each()) if parents else (),
        sources=tuple(uri.text() for uri in sources.each()) if sources else (),
        expires=expires.time() if expires else None,
        trust=trust.digest() if trust else None,
        manifest=manifest.digest() if manifest else None,
        checkpoint=_checkpoint(log) if log else None,
        examinations=tuple(_examined(item) for item in node.of("examinations").each()),
        bindings={key: value.digest().hex for key, value in node.of("bindings").items()},
        waivers=tuple(_waiver(one) for one in waivers.each()) if waivers else (),
    )


def _describe(used: WaiverUsed) -> dict[str, Any]:
    return {
        "digest": str(used.digest),
        "rule": used.rule,
        "code": used.code,
        "severity": used.severity,
        "reason": used.reason,
        "expires": timestamp(used.expires),
        "approvers": list(used.approvers),
    }


def _waiver(node: Node) -> WaiverUsed:
    node.only("digest", "rule", "code", "severity", "reason", "expires", "approvers")
    if node.of("severity").text() not in SEVERITIES:
        node.of("severity").refuse(f"must be one of {', '.join(SEVERITIES)}")
    return WaiverUsed(
        digest=node.of("digest").digest(),
        rule=node.of("rule").text(),
        code=node.of("code").text(),
        severity=node.of("severity").text(),
        reason=node.of("reason").text(),
        expires=node.of("expires").time(),
        approvers=tuple(keyid.text() for keyid in node.of("approvers").each()),
    )


def _name(node: Node) -> Name:
    try:
        return parse_name(node.text())
    except UsageError as error:
        node.refuse(str(error))


def _decision(node: Node) -> Decision:
    text = node.text()
    return Decision[text] if text in Decision.__members__ else node.refuse("not a decision")


def _checkpoint(node: Node) -> Checkpoint:
    return read_checkpoint(node.text().encode(), node.where)


def _examined(node: Node) -> Examined:
    node.only("rule", "outcome", "digest")
    return Examined(
        rule=node.of("rule").text(),
        outcome=node.of("outcome").text(),
        digest=node.of("digest").digest(),
    )
