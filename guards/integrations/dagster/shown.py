"""What Dagster's pages show: examinations as check results, verdicts and snapshots as metadata.

The list of checks there adds up partitions, so each result carries its whole reason. Text that
comes out of the data goes into text, tables and JSON only, never into Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from guards.findings import Evidence, Examination, Failed, Finding, Inapplicable, Ran, Skipped
from guards.gate import Admitted
from guards.provenance.snapshot import Walked
from guards.scan import Scanned
from guards.verdict import Decision, Verdict

NUMBERS = 40
DEPTH = 3
SHOWN = 3
Metadata = dict[str, Any]


def check_results(
    scanned: Scanned, asset: dg.AssetKey, wanted: Sequence[str]
) -> Iterator[dg.AssetCheckResult]:
    """One result for each rule that was asked for, whether or not the policy asked it."""
    looked = {examination.rule: examination for examination in scanned.examinations}
    for rule in wanted:
        decision = _decision(scanned.verdict, rule)
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=rule,
            passed=decision is Decision.PASS and _was_answered(looked.get(rule)),
            severity=_severity(decision),
            description=_description(scanned.verdict, rule, looked.get(rule)),
            metadata=_numbers(looked[rule]) if rule in looked else {},
        )


def verdict_metadata(scanned: Scanned) -> Metadata:
    """What was decided, why, and where the page is."""
    verdict = scanned.verdict
    findings = [_row(finding) for e in scanned.examinations for finding in e.findings]
    return {
        "decision": str(verdict.decision),
        "reasons": dg.MetadataValue.json([f"{r.rule}: {r.text}" for r in verdict.reasons]),
        "findings": dg.MetadataValue.table(findings, schema=_COLUMNS),
        "findings_count": len(findings),
        "seconds": round(sum(e.run.seconds for e in scanned.examinations), 2),
        "root": str(verdict.snapshot),
        "policy": f"{scanned.record.policy_name} {verdict.policy}",
        "version": scanned.record.version,
        "record": dg.MetadataValue.path(scanned.record_path),
        "report": dg.MetadataValue.path(scanned.run_dir / "report.html"),
    }


def snapshot_metadata(walked: Walked) -> Metadata:
    """Which bytes these are, and what was refused while they were named."""
    files = walked.snapshot.files
    return {
        "root": str(walked.snapshot.root),
        "files": len(files),
        "bytes": walked.snapshot.size,
        "unsafe": dg.MetadataValue.json([str(problem) for problem in walked.unsafe]),
        "named": dg.MetadataValue.json(
            [{"path": e.path, "size": e.size, "digest": str(e.digest)} for e in files]
        ),
    }


def admitted_metadata(admitted: Admitted) -> Metadata:
    """Which bytes were let through, on which record."""
    return {
        "root": str(admitted.record.root),
        "version": admitted.record.version,
        "files": len(admitted.snapshot.files),
        "bytes": admitted.snapshot.size,
        "judged": admitted.record.time.isoformat(),
        "producers": dg.MetadataValue.json(list(admitted.record.producers)),
    }


def _decision(verdict: Verdict, rule: str) -> Decision:
    return max((r.decision for r in verdict.reasons if r.rule == rule), default=Decision.PASS)


def _was_answered(examination: Examination | None) -> bool:
    """A rule that did not look shows as a warning: nobody looked is not the same as all is well."""
    return examination is not None and isinstance(examination.outcome, Ran | Inapplicable)


def _severity(decision: Decision) -> dg.AssetCheckSeverity:
    blocks = decision is Decision.BLOCK
    return dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN


def _description(verdict: Verdict, rule: str, examination: Examination | None) -> str:
    match examination.outcome if examination else None:
        case None:
            return "not examined: the policy does not ask for it"
        case Skipped(reason):
            return f"not examined: {reason}"
        case Failed(error):
            return f"could not look: {error}"
        case Inapplicable(reason):
            return f"nothing to look at: {reason}"
        case Ran(measured):
            told = [_sentence(finding) for finding in measured.findings]
            return _joined(told, _decision(verdict, rule))


def _joined(told: list[str], decision: Decision) -> str:
    if not told:
        return "looked, and found nothing"
    follows = "noted" if decision is Decision.PASS else str(decision)
    more = f"; and {len(told) - SHOWN} more" * (len(told) > SHOWN)
    return f"{follows}: {'; '.join(told[:SHOWN])}{more}"


def _sentence(finding: Finding) -> str:
    because = [_compared(evidence) for evidence in finding.evidence if evidence.value is not None]
    return f"{finding.summary} ({because[0]})" if because else finding.summary


def _compared(evidence: Evidence) -> str:
    against = f", held against {evidence.threshold}" if evidence.threshold is not None else ""
    return f"{evidence.statistic} {evidence.value}{against}"


def _numbers(examination: Examination) -> Metadata:
    """The numbers of an examination, which Dagster plots over the partitions."""
    outcome = examination.outcome
    statistics = outcome.measured.statistics if isinstance(outcome, Ran) else {}
    held = len(outcome.measured.row_scores) if isinstance(outcome, Ran) else 0
    numbers = dict(list(_flat(statistics, "", DEPTH))[:NUMBERS])
    return {
        **numbers,
        "findings": len(examination.findings),
        "rows_held": held,
        "seconds": round(examination.run.seconds, 3),
    }


def _flat(statistics: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in statistics.items():
        match value:
            case bool():
                continue
            case int() | float():
                yield f"{prefix}{key}", value
            case Mapping() if depth > 1:
                yield from _flat(value, f"{prefix}{key}.", depth - 1)


def _row(finding: Finding) -> dg.TableRecord:
    first = finding.evidence[0] if finding.evidence else Evidence(statistic="")
    return dg.TableRecord(
        {
            "rule": finding.rule,
            "severity": str(finding.severity),
            "subject": str(finding.subject),
            "summary": finding.summary,
            "statistic": first.statistic,
            "value": str(first.value),
            "threshold": str(first.threshold),
        }
    )


_COLUMNS = dg.TableSchema(
    [
        dg.TableColumn(name)
        for name in ("rule", "severity", "subject", "summary", "statistic", "value", "threshold")
    ]
)
