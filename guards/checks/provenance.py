"""Did somebody we trust vouch for exactly these bytes, under this name, now?

The answer was worked out by `guards.provenance.proof`; this rule turns it into findings. Nothing
is estimated: a signature verifies or it does not. Known way around: a producer whose key is
trusted and who lies. That is what the other rules are for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from guards.data.case import Case
from guards.errors import Skip, UsageError
from guards.findings import Confidence, Evidence, Finding, Measured, Severity, Subject
from guards.provenance.manifest import Manifest, describe
from guards.provenance.memory import GAP, PAST
from guards.provenance.proof import CLAIM, Proof
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
    GAP: (
        "versions between were never seen here",
        "ask the producer for them, or what this version follows",
    ),
    "no-source": (
        "it does not say where it is from",
        "have the producer sign with --source, or [[source]] in DATASET.dataset.toml",
    ),
    "strange-source": (
        "it is from where the policy lets nothing come from",
        "fetch it from a place that [settings.provenance] sources names, or add this one",
    ),
    "source-without-digest": (
        "what it was made from is not named by a digest, and may be another thing tomorrow",
        "have the producer add digest to the [[source]] in DATASET.dataset.toml",
    ),
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
    """What the verifier asks of origins and versions; who is trusted stands in the trust directory.

    `sources` are the places that data may come from, as `https://example.org/flights`: that scheme,
    that host and what lies below that path. With `source_digests` each is to be named by its
    digest. With `chain` a version follows what was seen before, with none missed between.
    """

    sources: Sequence[str] = ()
    source_digests: bool = False
    chain: bool = False

    def __post_init__(self) -> None:
        for source in self.sources:
            _place(source)


def examine(case: Case, settings: Settings) -> Measured:
    """Report how bytes, claim and trust agree."""
    if case.proof is None:
        raise Skip("no trust directory was given; pass --trust")
    refused_by_walker = set(case.unsafe)
    problems = [p for p in case.proof.refusals if p not in refused_by_walker]
    problems += _unproven(case.proof, settings)
    codes = list(dict.fromkeys(problem.code for problem in problems))
    return Measured(
        statistics=_statistics(case.proof, len(problems)),
        findings=tuple(_finding(code, [p for p in problems if p.code == code]) for code in codes),
    )


def _unproven(proof: Proof, settings: Settings) -> Iterator[Difference]:
    """What this verifier asks for beyond a signature: a chain of versions, and known origins."""
    if settings.chain:
        yield from (problem for problem in proof.problems if problem.code == GAP)
    manifest, places = proof.manifest, [_place(one) for one in settings.sources]
    if manifest is None or not (places or settings.source_digests):
        return
    origins = [source for source in manifest.sources if not source.claim]
    if not origins:
        yield Difference(code="no-source", path=CLAIM)
    for source in origins:
        if places and not any(_below(source.uri, place) for place in places):
            yield Difference(code="strange-source", path=CLAIM, actual=source.uri)
        if settings.source_digests and source.digest is None:
            yield Difference(code="source-without-digest", path=CLAIM, actual=source.uri)


def _place(text: str) -> SplitResult:
    """A place that data may come from.

    Raises:
        UsageError: it names no host, and so any.
    """
    place = urlsplit(text)
    if not (place.scheme and place.netloc) or place.query or place.fragment:
        raise UsageError(f"[settings.provenance] sources: {text!r} is not like https://host/path")
    return place


def _below(uri: str, place: SplitResult) -> bool:
    """Whether a URI lies below a place; one that could be read as lying elsewhere does not."""
    try:
        found = urlsplit(uri)
    except ValueError:
        return False
    steps = [unquote(step) for step in found.path.split("/")]
    odd = any(step in (".", "..") or set(step) & set("/\\") for step in steps)
    same = (found.scheme, found.netloc.lower()) == (place.scheme, place.netloc.lower())
    inside = f"{found.path}/".startswith(f"{place.path.rstrip('/')}/")
    return same and inside and not odd


def _statistics(proof: Proof, differences: int) -> dict[str, Any]:
    steps = [
        {"rule": s.rule, "input": s.input, "ok": s.ok, "outcome": s.outcome} for s in proof.steps
    ]
    claim = _claim(proof.manifest) if proof.manifest else {}
    told = {p.code: str(p) for p in proof.problems if p.code in (GAP, PAST)}
    return {
        "signed": bool(proof.signers),
        "signers": list(proof.signers),
        "history": proof.history,
        "differences": differences,
        "steps": steps,
        **({"asked_of_the_past": told[PAST]} if PAST in told else {}),
        **({"version_gap": told[GAP]} if GAP in told else {}),
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
    about_claim = first.path in (CLAIM, "clock") or code in ("rollback", "fork", GAP)
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
