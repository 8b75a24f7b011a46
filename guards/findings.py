"""What we saw: the nouns that every check speaks and every report prints.

"Found nothing", "could not look", "was told not to look" and "there is nothing of that kind
here" are four different types, so that none of them can be mistaken for another. Nothing in
this module knows a detector, a file format or a policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from guards.digest import Digest, digest_json


class Severity(IntEnum):
    """How bad it would be if it is true."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3

    def __str__(self) -> str:
        return self.name.lower()


class Confidence(IntEnum):
    """How sure we are that it is true; an axis of its own."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a finding is about: `kind` is file, column, class, source, rows, manifest or dataset."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Enough to recompute the claim; never the contents of a row.

    `statistic` names what was computed, `value` is what came out, `threshold` what it was held
    against, `effect` its size in the unit that `statistic` implies, `sample` the rows looked at,
    `rows` the rows concerned (the ids are in `rows.parquet`), `detail` anything else that helps.
    """

    statistic: str
    value: float | int | str | None = None
    threshold: float | int | str | None = None
    p_value: float | None = None
    effect: float | None = None
    sample: int | None = None
    rows: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong: `code` is its stable kebab-case name inside `rule`."""

    rule: str
    code: str
    severity: Severity
    confidence: Confidence
    subject: Subject
    summary: str
    evidence: tuple[Evidence, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScore:
    """One row that a finding holds; `row` counts over the whole dataset, in shard order."""

    row: int
    score: float
    p_value: float | None = None
    suggested_label: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A picture or table for people, kept in `evidence/` only if the policy allows."""

    name: str
    data: bytes
    caption: str

    @property
    def digest(self) -> Digest:
        """Of its bytes."""
        return Digest.of(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a check returns: statistics always (the null of tomorrow's scan), findings if any.

    `statistics` is JSON: nested dicts and lists of str, int, finite float, bool and None.
    """

    statistics: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    row_scores: tuple[RowScore, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """The check looked, and this is what it saw."""

    measured: Measured


@dataclass(frozen=True, slots=True)
class Skipped:
    """The check did not look: an input was missing, or it was told not to."""

    reason: str


@dataclass(frozen=True, slots=True)
class Inapplicable:
    """By the dataset's declared roles there is nothing here for this check to look at."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The check could not look; `error` says why."""

    error: str


Outcome = Ran | Skipped | Inapplicable | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """How the examination went; outside its digest, so that a repeat gives the same bytes.

    `threads` are torch's: sums in another order give other last digits, so a repeat needs as many.
    """

    seconds: float = 0.0
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One rule applied to one Snapshot, with the digests of everything that steered it."""

    rule: str
    snapshot: Digest
    outcome: Outcome
    inputs: Mapping[str, str] = field(default_factory=dict)
    run: RunInfo = field(default=RunInfo(), compare=False)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found; empty also when nobody looked, so never a reason to pass."""
        return self.outcome.measured.findings if isinstance(self.outcome, Ran) else ()

    @property
    def digest(self) -> Digest:
        """Names the examination: rule, snapshot, inputs and outcome, without `run`."""
        return digest_json(describe(self))


def describe(examination: Examination) -> dict[str, Any]:
    """The examination as JSON, in the form that is hashed and put into `report.json`."""
    outcome = examination.outcome
    document: dict[str, Any] = {
        "rule": examination.rule,
        "snapshot": str(examination.snapshot),
        "inputs": dict(examination.inputs),
        "outcome": type(outcome).__name__.lower(),
    }
    match outcome:
        case Ran(measured):
            document["statistics"] = measured.statistics
            document["findings"] = [describe_finding(finding) for finding in measured.findings]
            document["exhibits"] = [
                {"name": e.name, "digest": str(e.digest), "caption": e.caption}
                for e in measured.exhibits
            ]
            document["rows"] = len(measured.row_scores)
        case Failed(error):
            document["error"] = error
        case Skipped(reason) | Inapplicable(reason):
            document["reason"] = reason
    return document


def describe_finding(finding: Finding) -> dict[str, Any]:
    """One finding as JSON; absent evidence fields are left out."""
    return {
        "rule": finding.rule,
        "code": finding.code,
        "severity": str(finding.severity),
        "confidence": str(finding.confidence),
        "subject": {"kind": finding.subject.kind, "name": finding.subject.name},
        "summary": finding.summary,
        "evidence": [_describe_evidence(evidence) for evidence in finding.evidence],
        "remedy": finding.remedy,
    }


def _describe_evidence(evidence: Evidence) -> dict[str, Any]:
    fields = ("statistic", "value", "threshold", "p_value", "effect", "sample", "rows")
    found = {name: getattr(evidence, name) for name in fields}
    kept = {name: value for name, value in found.items() if value is not None}
    return {**kept, "detail": dict(evidence.detail)} if evidence.detail else kept
