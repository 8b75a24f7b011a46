"""Waivers on their way: signed from a finished run, and handed in to the next scan.

An approver reads a run and waives what it found: :func:`waive` takes the name, the version, the
bytes and the severity from the run itself, so nobody accepts more than was seen. The scan that gets
the file looks again, finds the same, and lets it not count, as long as :mod:`.provenance.waivers`
and the policy agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from guards.digest import Digest
from guards.errors import Untrusted, UsageError
from guards.files import read_document, write_atomically
from guards.findings import Severity
from guards.provenance.manifest import UNNAMED
from guards.provenance.proof import Proof
from guards.provenance.signing import (
    PAYLOAD_TYPE,
    Envelope,
    Signer,
    add_signature,
    parse_envelope,
)
from guards.provenance.trust import Trust
from guards.provenance.waivers import ROLE, Presented, Waiver, checked, parse, payload, weigh
from guards.record import Record, WaiverUsed, believed
from guards.report.finished import open_run
from guards.verdict import Accepted, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Waivers:
    """Those handed in to a scan, each with what became of it, and the files as they were signed."""

    presented: tuple[Presented, ...] = ()
    documents: Mapping[Digest, bytes] = field(default_factory=dict)

    @property
    def accepted(self) -> list[Accepted]:
        """What they let not count."""
        return [
            Accepted(
                rule=one.waiver.rule,
                code=one.waiver.code,
                severity=Severity[one.waiver.severity.upper()],
                waiver=one.digest,
            )
            for one in self.presented
            if one and one.waiver
        ]

    def used(self, verdict: Verdict) -> tuple[WaiverUsed, ...]:
        """Those without which the verdict would be another."""
        by = {one.waiver for one in verdict.waived}
        return tuple(
            WaiverUsed(
                digest=one.digest,
                rule=one.waiver.rule,
                code=one.waiver.code,
                severity=one.waiver.severity,
                reason=one.waiver.reason,
                expires=one.waiver.expires,
                approvers=one.approvers,
            )
            for one in self.presented
            if one.waiver and one.digest in by
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an approver wants to waive: a rule's findings, all or those of one code, until when."""

    rule: str
    code: str = ""
    reason: str
    created: datetime
    expires: datetime


def handed_in(
    paths: Iterable[Path], trust: Trust | None, proof: Proof | None, at: datetime
) -> Waivers:
    """Hold waivers against the trust, the time, and the data that `proof` is about."""
    documents = {}
    for path in _files(paths):
        if (signed := read_document(path)) is None:
            raise UsageError(f"--waiver {path}: there is no such file")
        documents[Digest.of(signed)] = signed
    manifest = proof.manifest if proof is not None and proof.signers else None
    about = (manifest.name, manifest.version, manifest.snapshot.root) if manifest else None
    presented = tuple(weigh(signed, trust, at, about) for signed in documents.values())
    return Waivers(presented=presented, documents=documents)


def waive(
    run: Path, wish: Wish, keys: Sequence[Signer], out: Path, trust: Trust | None = None
) -> Waiver:
    """Sign a waiver of what a run found into `out`.

    Raises:
        UsageError: the run found no such thing, is not what its record binds, or is about data that
            nobody vouched for; or a key may not waive by `trust`.
        Untrusted: no scanner whom `trust` takes for that name signed the run's record; without
            `trust`, nobody did.
    """
    finished = open_run(run)
    record = finished.record
    if record is None or not finished.proven:
        raise UsageError(f"{run}: is not what its record binds; scan again")
    _refuse_strangers_run(run, record, trust)
    if record.name == UNNAMED or not record.producers:
        raise UsageError(f"{run}: nobody vouched for this data, so it has no name to waive under")
    waiver = _waiver(record, finished.report, wish)
    made = Envelope(payload_type=PAYLOAD_TYPE, payload=payload(checked(waiver)), signatures=())
    _sign(made, waiver, keys, out, trust)
    return waiver


def _refuse_strangers_run(run: Path, record: Record, trust: Trust | None) -> None:
    """A run that nobody answers for may say anything of what was found in it."""
    signed = read_document(run / "record.json") or b""
    if trust is None:
        if not parse_envelope(signed, "record.json").signatures:
            raise Untrusted(f"{run}: nobody signed what this run found; scan again with --key")
    elif believed(signed, trust, f"{run}/record.json") != record:
        raise Untrusted(f"{run}/record.json: changed while it was read")


def countersign(path: Path, keys: Sequence[Signer], trust: Trust | None = None) -> Waiver:
    """Add signatures to a waiver that is there."""
    if (signed := read_document(path)) is None:
        raise UsageError(f"--add {path}: there is no such file")
    envelope = parse_envelope(signed, "waiver")
    waiver = parse(envelope)
    _sign(envelope, waiver, keys, path, trust)
    return waiver


def _sign(
    envelope: Envelope, waiver: Waiver, keys: Sequence[Signer], out: Path, trust: Trust | None
) -> None:
    for key in keys:
        about = (key.public, ROLE, waiver.name, waiver.created)
        if trust is not None and (why := trust.refusal(*about)):
            told = f"an {ROLE} of {waiver.name} signs its waivers"
            raise UsageError(f"--key {key.public.keyid[:12]} {why} by --trust; {told}")
        envelope = add_signature(envelope, key)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, envelope.to_json())
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error


def _waiver(record: Record, report: Mapping[str, Any], wish: Wish) -> Waiver:
    found = [finding for told in report["examinations"] for finding in told.get("findings", ())]
    meant = [f for f in found if f["rule"] == wish.rule and wish.code in ("", f["code"])]
    if not meant:
        told = ", ".join(sorted({f"{f['rule']}/{f['code']}" for f in found})) or "nothing"
        raise UsageError(f"the run found no {wish.rule}/{wish.code or '*'}; it found {told}")
    return Waiver(
        name=record.name,
        version=record.version,
        root=record.root,
        rule=wish.rule,
        code=wish.code,
        severity=str(max(Severity[finding["severity"].upper()] for finding in meant)),
        reason=wish.reason,
        created=wish.created,
        expires=wish.expires,
    )


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files, and those that lie in directories."""
    for path in paths:
        yield from sorted(path.glob("*.json")) if path.is_dir() else [path]
