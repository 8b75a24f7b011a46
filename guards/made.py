"""What was made of judged data, and where that is written: a release, or a model trained on it.

The gate hands out bytes and sees nothing of what becomes of them. Whoever trains says so
afterwards: the digest of the model, and the records by which its data was admitted, signed by a
deriver as an entry of the ledger. From then on the log answers which models a poisoned source is
in (:mod:`guards.lineage`). It is the deriver's word: a model that nobody recorded is in no log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guards.digest import Digest
from guards.errors import GateRefused, UnsafeTree, UsageError
from guards.provenance import ledger
from guards.provenance.ledger import Log
from guards.provenance.lines import Entry, Made, Material
from guards.provenance.manifest import Name
from guards.provenance.signing import Signer
from guards.provenance.snapshot import WARNINGS, take
from guards.provenance.trust import Trust

PASSED = "PASS"


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """What was made: a `dataset` or a `model`, under which name and version, when (now)."""

    kind: str
    name: Name
    version: int
    at: datetime | None = None


def log_model(
    model: Path, what: What, records: Sequence[Digest], directory: Path, trust: Trust, key: Signer
) -> Made:
    """Log that a model, a file or a directory, was trained on what these records admitted.

    Raises:
        GateRefused: a record is not in the ledger, or did not pass, or was contradicted since.
        UsageError: the key is no deriver's by the trust.
        NothingToExamine, UnsafeTree: there is no model, or not all of it would have a digest.
    """
    walked = take(model)
    if unsafe := [problem for problem in walked.unsafe if problem.code not in WARNINGS]:
        raise UnsafeTree(f"model {model} is not all in its digest: {unsafe[0]}")
    return log_made(directory, trust, what, walked.snapshot.root, records, key, passed=True)


def log_made(
    directory: Path,
    trust: Trust,
    what: What,
    root: Digest,
    records: Sequence[Digest],
    key: Signer,
    *,
    passed: bool = False,
) -> Made:
    """Log that `root` was made of what these records judged; with `passed`, of what they admitted.

    Raises: as :func:`log_model`.
    """
    at = what.at or datetime.now(UTC).replace(microsecond=0)
    if why := trust.refusal(key.public, "deriver", what.name, at):
        raise UsageError(
            f"--key {key.public.keyid[:12]} {why} by --trust; a deriver of {what.name} says what "
            "was made"
        )
    log = ledger.verify(directory, trust)
    materials = tuple(_material(log, record, passed) for record in dict.fromkeys(records))
    if not materials:
        raise UsageError(f"{what.name}: name the record of what it was made from")
    made = Made(
        kind=what.kind,
        name=what.name,
        version=what.version,
        root=root,
        materials=materials,
        time=at,
    )
    ledger.add(directory, made, key, since=log.checkpoint)
    return made


def _material(log: Log, record: Digest, passed: bool) -> Material:
    position = log.find(record)
    if position is None:
        raise GateRefused([f"record {record.short} is not in the ledger; scan with --ledger"])
    entry = log.entries[position]
    if passed and (why := _fallen(log, entry, position)):
        raise GateRefused([why])
    return Material(record=record, name=entry.name, version=entry.version, root=entry.root)


def _fallen(log: Log, entry: Entry, position: int) -> str:
    """Why nothing may have been trained on what this entry judged, or nothing."""
    for later in log.entries[position:]:
        if later.root == entry.root and later.decision != PASSED:
            since = "" if later is entry else ", since"
            return f"{entry.name} v{entry.version} was judged {later.decision}{since}"
    return ""
