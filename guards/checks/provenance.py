"""Did somebody we trust vouch for exactly these bytes, under this name, now?

The answer was worked out by `guards.provenance.proof`; this rule turns it into findings. Nothing
is estimated: a signature verifies or it does not. Known way around: a producer whose key is
trusted and who lies. That is what the other rules are for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guards.data.case import Case
from guards.errors import Skip
from guards.findings import Confidence, Evidence, Finding, Measured, Severity, Subject
from guards.provenance.manifest import Manifest, describe
from guards.provenance.memory import PAST
from guards.provenance.proof import Proof
from guards.provenance.snapshot import Difference
from guards.provenance.strictjson import timestamp
from guards.text import printable

NEEDS: frozenset[str] = frozenset()
SHOWN = 20
_SAYS = {
    "unsigned": ("there is no signed manifest", "have the producer run toadstone sign"),
    "malformed": ("the manifest is not a valid one", "have the producer sign again"),
    "untrusted-key": (
        "not signed by a key trusted for this name",
        "have a trusted producer sign; before toadstone trust add-key, ask the key's owner over "
        "another channel",
    ),
    "too-few-keys": (
        "signed by fewer keys than the trust directory asks for",
        "have another trusted producer add a signature: toadstone sign --add",
    ),
    "stale-trust": (
        "the trust itself is not in force",
        "have its keepers sign that it is fresh, toadstone trust sign, and fetch it again",
    ),
    "clock-turned-back": (
        "the clock is behind the latest time seen",
        "set the clock; if it was ahead once, remove clock.json from the state directory",
    ),
    "wrong-name": ("the manifest is for another dataset", "fetch the manifest of this dataset"),
    "wrong-version": ("not the version that was pinned", "fetch the pinned version"),
    "wrong-profile": (
        "the profile beside the data is not the one that was signed",
        "fetch it again from the producer, or remove it",
    ),
    "expired": ("the manifest has expired", "have the producer sign a current one"),
    "not-yet-valid": ("the manifest is from the future", "check the clocks, or pass --at"),
    "unknown-parent": (
        "made from data that the ledger does not know as its parent",
        "scan the parent into this ledger and release from there",
    ),
    "rollback": ("an older version than one seen before", "fetch the newest version"),
    "fork": ("two different datasets have one version", "ask the producer which one is real"),
    "changed-file": ("changed after signing", "fetch the file again from the producer"),
    "truncated-file": ("shorter than what was signed", "fetch the file again"),
    "grown-file": ("longer than what was signed", "fetch the file again"),
    "missing-file": ("signed, but not there", "fetch the file again"),
    "extra-file": ("there, but not signed", "remove it, or have the producer sign it"),
    "renamed-file": ("there under another name than was signed", "give it its name back"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Nothing to set: what is trusted stands in the trust directory."""


def examine(case: Case, settings: Settings) -> Measured:
    """Report how bytes, claim and trust agree."""
    if case.proof is None:
        raise Skip("no trust directory was given; pass --trust")
    refused_by_walker = set(case.unsafe)
    problems = [p for p in case.proof.refusals if p not in refused_by_walker]
    codes = list(dict.fromkeys(problem.code for problem in problems))
    return Measured(
        statistics=_statistics(case.proof, len(problems)),
        findings=tuple(_finding(code, [p for p in problems if p.code == code]) for code in codes),
    )


def _statistics(proof: Proof, differences: int) -> dict[str, Any]:
    steps = [
        {"rule": s.rule, "input": s.input, "ok": s.ok, "outcome": s.outcome} for s in proof.steps
    ]
    claim = _claim(proof.manifest) if proof.manifest else {}
    past = [str(problem) for problem in proof.problems if problem.code == PAST]
    return {
        "signed": bool(proof.signers),
        "signers": list(proof.signers),
        "history": proof.history,
        "differences": differences,
        "steps": steps,
        **({"asked_of_the_past": past[0]} if past else {}),
        **claim,
    }


def _claim(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name.dataset,
        "partition": manifest.name.partition or None,
        "version": manifest.version,
        "previous": str(manifest.previous) if manifest.previous else None,
        "created": timestamp(manifest.created),
        "expires": timestamp(manifest.expires) if manifest.expires else None,
        "sources": [
            {"uri": s.uri, "retrieved": s.retrieved, "license": s.license} for s in manifest.sources
        ],
        "files": len(manifest.snapshot.files),
        "bytes": manifest.snapshot.size,
        "rows": manifest.rows,
        "profile": str(manifest.profile) if manifest.profile else None,
        "parents": [str(parent) for parent in manifest.parents],
        "derivation": describe(manifest.derivation) if manifest.derivation else None,
    }


def _finding(code: str, found: list[Difference]) -> Finding:
    says, remedy = _SAYS.get(code, (code, "fetch the dataset again"))
    first = found[0]
    files = [printable(difference.path) for difference in found]
    told = ", ".join(files[:3]) + f" and {len(files) - 3} more" * (len(files) > 3)
    detail = [str(difference) for difference in found[:SHOWN]]
    about_claim = first.path in ("manifest", "clock") or code in ("rollback", "fork")
    wanted = f", not {printable(first.expected)}" if code.startswith("wrong-") else ""
    because = f" ({printable(first.actual)}{wanted})" if about_claim and first.actual else ""
    return Finding(
        rule="provenance",
        code=code,
        severity=Severity.HIGH,
        confidence=Confidence.HIGH,
        subject=Subject(kind="manifest" if about_claim else "file", name=files[0]),
        summary=f"{says}{because}" if about_claim else f"{told}: {says}",
        evidence=(
            Evidence(
                statistic="differences from the signed claim",
                value=len(found),
                threshold=0,
                detail={"differences": detail},
            ),
        ),
        remedy=remedy,
    )
