"""What follows: one pure judgement over what was seen. It knows no detector.

:func:`judge` is total and fails closed: a required examination that is missing, skipped, failed
or of other bytes blocks, and so does an empty list. It is monotone: more findings never give a
milder verdict. The policy belongs to the verifier, never to the producer of the data. What an
approver accepted does not count, and stands in the verdict with the waiver that says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import Any

from guards.digest import Digest, digest_json
from guards.errors import UsageError
from guards.findings import (
    Confidence,
    Examination,
    Failed,
    Finding,
    Inapplicable,
    Ran,
    Severity,
    Skipped,
)

BUILTIN = Path(__file__).parent / "policies"
# Who could waive these could let through bytes that nobody vouched for.
UNWAIVABLE = frozenset({"integrity", "provenance"})
STEERING = frozenset({"contract", "reference", "trusted_rows", "model"})


class Decision(IntEnum):
    """Ordered by strictness."""

    PASS = 0
    QUARANTINE = 1
    BLOCK = 2

    def __str__(self) -> str:
        return self.name

    @property
    def exit_status(self) -> int:
        """What the command line returns: 0, 11 or 12; never what a crash returns."""
        return (0, 11, 12)[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is looked at, what is required, and what follows from it.

    `rules` are run, in this order; `required` must have looked, unless the signed roles leave a
    rule nothing to look at, which `applicable` forbids for those it names. `pins` name by digest
    what may steer a check (`contract`, `reference`, `trusted_rows`, `model`); `files` where it is,
    relative to the policy, and `model` how weights become a network. `settings` overrides the
    settings of a rule. `false_alarm_budget` is the share of clean scans that may raise an alarm.
    `waivable` are the rules whose findings an approver may accept; unless it is said, all but
    `integrity` and `provenance`.
    """

    name: str
    rules: tuple[str, ...]
    required: tuple[str, ...]
    applicable: tuple[str, ...] = ()
    admits: bool = True
    quarantine_at: Severity = Severity.MEDIUM
    block_at: Severity = Severity.HIGH
    min_confidence: Confidence = Confidence.LOW
    false_alarm_budget: float = 0.01
    pictures: bool = True
    pins: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    waivable: tuple[str, ...] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """Everything that steers the verdict, as JSON; where files lie does not."""
        document = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "files"}
        if self.waivable is None:  # as policies were before there were waivers: the same digest
            del document["waivable"]
        return {**document, "settings": {k: dict(v) for k, v in self.settings.items()}}

    def may_waive(self, rule: str) -> bool:
        """Whether an approver may accept what this rule finds."""
        return rule not in UNWAIVABLE if self.waivable is None else rule in self.waivable

    @property
    def digest(self) -> Digest:
        """Names everything that steers the verdict: the sha256 of the document's canonical form."""
        return digest_json(self.document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why the verdict is not PASS: `code` is stable, `text` is for people."""

    rule: str
    code: str
    decision: Decision
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A waiver that counts: findings of a rule (all, or those of a code) up to a severity."""

    rule: str
    code: str
    severity: Severity
    waiver: Digest

    def covers(self, finding: Finding) -> bool:
        """Whether this finding was accepted; one that is worse than what was seen then is not."""
        of_it = finding.rule == self.rule and self.code in ("", finding.code)
        return of_it and finding.severity <= self.severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived:
    """A reason that does not count, and the waiver by which it does not."""

    reason: Reason
    waiver: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement, and by digest everything it stands on; true only for PASS."""

    decision: Decision
    reasons: tuple[Reason, ...]
    snapshot: Digest
    policy: Digest
    examinations: tuple[Digest, ...]
    waived: tuple[Waived, ...] = ()

    def __bool__(self) -> bool:
        return self.decision is Decision.PASS


def judge(
    policy: Policy,
    snapshot: Digest,
    examinations: Sequence[Examination],
    accepted: Sequence[Accepted] = (),
) -> Verdict:
    """Say what follows from `examinations` of `snapshot` under `policy`; pure and total.

    What was `accepted` does not count where the policy lets it be waived. That nobody looked is no
    finding, and cannot be accepted.
    """
    found, waived = _from_findings(policy, examinations, accepted)
    reasons = [*found, *_from_gaps(policy, snapshot, examinations)]
    # Stable: within one decision the findings, what is wrong, come before what was not looked at.
    reasons.sort(key=lambda reason: -reason.decision)
    return Verdict(
        decision=max((reason.decision for reason in reasons), default=Decision.PASS),
        reasons=tuple(reasons),
        snapshot=snapshot,
        policy=policy.digest,
        examinations=tuple(examination.digest for examination in examinations),
        waived=tuple(waived),
    )


def load_policy(name_or_path: str | Path) -> Policy:
    """Read a policy by built-in name (`default`, `explore`) or from a TOML file."""
    builtin = BUILTIN / f"{name_or_path}.toml"
    path = builtin if builtin.is_file() else Path(name_or_path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(p.stem for p in BUILTIN.glob("*.toml")))
        raise UsageError(f"policy {name_or_path}: {error}; built-in policies: {known}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"policy {path}: not TOML: {error}") from error
    return _parse_policy(document, path)


def _parse_policy(document: dict[str, Any], path: Path) -> Policy:
    unknown = document.keys() - {f.name for f in fields(Policy)}
    if unknown:
        raise UsageError(f"policy {path}: unknown keys {sorted(unknown)}")
    document.setdefault("name", path.stem)
    base = path.parent
    try:
        document["files"] = {k: str(base / v) for k, v in document.get("files", {}).items()}
        for key, scale in (("quarantine_at", Severity), ("block_at", Severity)):
            if key in document:
                document[key] = scale[document[key].upper()]
        if "min_confidence" in document:
            document["min_confidence"] = Confidence[document["min_confidence"].upper()]
        document["pins"] = {k: str(Digest.parse(v)) for k, v in document.get("pins", {}).items()}
        document["rules"] = tuple(document["rules"])
        document["required"] = tuple(document["required"])
        document["applicable"] = tuple(document.get("applicable", ()))
        if "waivable" in document:
            document["waivable"] = tuple(document["waivable"])
        policy = Policy(**document)
        policy.digest  # noqa: B018  a setting that JSON cannot hold shows here, not in a scan
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"policy {path}: missing or wrong value {error}") from error
    _refuse_contradictions(policy, path)
    return policy


def _refuse_contradictions(policy: Policy, path: Path) -> None:
    if type(policy.name) is not str or type(policy.false_alarm_budget) not in (int, float):
        raise UsageError(f"policy {path}: `name` is a text, `false_alarm_budget` a number")
    if not 0 < policy.false_alarm_budget < 1:
        # At 0 or below nothing would ever alarm, and nobody would know.
        raise UsageError(f"policy {path}: `false_alarm_budget` lies between 0 and 1, as 0.01 does")
    if not policy.rules:
        raise UsageError(f"policy {path}: `rules` is empty; a policy that looks at nothing is none")
    for key, known in (("pins", STEERING), ("files", STEERING), ("settings", set(policy.rules))):
        # What is misspelt would steer nothing, and nobody would know.
        if strange := set(getattr(policy, key)) - known:
            raise UsageError(f"policy {path}: [{key}] has no {sorted(strange)}: {sorted(known)}")
    if missing := set(policy.required) - set(policy.rules):
        raise UsageError(f"policy {path}: required but not in `rules`: {sorted(missing)}")
    if strange := set(policy.applicable) - set(policy.required):
        raise UsageError(f"policy {path}: applicable but not in `required`: {sorted(strange)}")
    if strange := set(policy.waivable or ()) - set(policy.rules):
        raise UsageError(f"policy {path}: waivable but not in `rules`: {sorted(strange)}")
    if not isinstance(policy.admits, bool) or not isinstance(policy.pictures, bool):
        raise UsageError(f"policy {path}: `admits` and `pictures` are true or false, unquoted")
    if policy.admits and (lacking := {"integrity", "provenance"} - set(policy.required)):
        told = " and ".join(sorted(lacking))
        raise UsageError(f"policy {path}: a policy that admits must require {told}")
    if policy.quarantine_at > policy.block_at:
        raise UsageError(f"policy {path}: quarantine_at is above block_at")


def _from_findings(
    policy: Policy, examinations: Sequence[Examination], accepted: Sequence[Accepted]
) -> tuple[list[Reason], list[Waived]]:
    """What the findings lead to: the reasons that count, and those that were waived."""
    reasons, waived = [], []
    for finding in (finding for examination in examinations for finding in examination.findings):
        decision = _weigh(policy, finding)
        if decision is Decision.PASS:
            continue
        reason = Reason(
            rule=finding.rule, code=finding.code, decision=decision, text=finding.summary
        )
        may = policy.may_waive(finding.rule)
        by = next((one.waiver for one in accepted if may and one.covers(finding)), None)
        if by is None:
            reasons.append(reason)
        else:
            waived.append(Waived(reason=reason, waiver=by))
    return reasons, waived


def _weigh(policy: Policy, finding: Finding) -> Decision:
    if finding.confidence < policy.min_confidence or finding.severity < policy.quarantine_at:
        return Decision.PASS
    return Decision.BLOCK if finding.severity >= policy.block_at else Decision.QUARANTINE


def _from_gaps(
    policy: Policy, snapshot: Digest, examinations: Sequence[Examination]
) -> list[Reason]:
    by_rule: dict[str, list[Examination]] = {}
    for examination in examinations:
        by_rule.setdefault(examination.rule, []).append(examination)
    gaps = [
        _blocked(examination.rule, "other-bytes", f"examined other bytes, {examination.snapshot}")
        for examination in examinations
        if examination.snapshot != snapshot
    ]
    for rule in policy.required:
        gaps += [gap for e in by_rule.get(rule, ()) if (gap := _gap(policy, e))]
        if rule not in by_rule:
            gaps.append(_blocked(rule, "missing", "required, and not examined"))
    if not any(isinstance(examination.outcome, Ran) for examination in examinations):
        gaps.append(_blocked("policy", "nothing-examined", "no rule looked at the data"))
    return gaps


def _gap(policy: Policy, examination: Examination) -> Reason | None:
    match examination.outcome:
        case Skipped(reason):
            return _blocked(examination.rule, "skipped", f"required, but not examined: {reason}")
        case Failed(error):
            return _blocked(examination.rule, "failed", f"required, but could not look: {error}")
        case Inapplicable(reason) if examination.rule in policy.applicable:
            told = f"the policy wants something for it to look at: {reason}"
            return _blocked(examination.rule, "inapplicable", told)
        case Ran() | Inapplicable():
            return None


def _blocked(rule: str, code: str, text: str) -> Reason:
    return Reason(rule=rule, code=code, decision=Decision.BLOCK, text=text)
