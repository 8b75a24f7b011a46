"""Does the data keep the contract that its users were promised?

The contract is a suite of Great Expectations (GX 1.x, its own JSON). The common types of
expectations are compiled into one lazy polars select; any other, or all of them with
`engine = "gx"`, real GX evaluates. Each expectation that is broken is a finding with the rows that
broke it. What the suite calls critical (GX's default) is HIGH, a warning MEDIUM, information LOW.
An expectation that cannot be evaluated, say because its column is missing, is broken too.

Measured: exact by construction; none of 78 clean batches of flights broke its suite. That both
runners agree is held over all compiled types by tests/unit/data/contract; what each costs is
printed by benchmarks/statistics.py.

The known way around it: whatever the suite does not say. Values are compared one column, or a few
of one row, at a time, so a plausible wrong value passes; drift and label rules look at those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guards.data.case import Case
from guards.data.contract import peer
from guards.data.contract.datadocs import page
from guards.data.contract.result import Result, validation
from guards.data.contract.runner import ENGINES, source_of, validate
from guards.data.contract.suite import Suite, parse_suite
from guards.errors import Skip, UsageError
from guards.findings import (
    Confidence,
    Evidence,
    Exhibit,
    Finding,
    Measured,
    RowScore,
    Severity,
    Subject,
)
from guards.text import printable

NEEDS: frozenset[str] = frozenset()
DATADOCS = "contract.datadocs.html"
SEVERITIES = {"critical": Severity.HIGH, "warning": Severity.MEDIUM, "info": Severity.LOW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How many rows are listed over all broken expectations, and who evaluates them.

    `engine` is `polars`, which leaves to GX what it cannot compile, or `gx`. `datadocs` asks for
    GX's Data Docs among the evidence; `contents` lets texts of the data be shown in results.
    """

    max_rows: int = 10_000
    engine: str = "polars"
    datadocs: bool = False
    contents: bool = False


def examine(case: Case, settings: Settings) -> Measured:
    """Hold the dataset against the contract.

    Raises:
        Skip: the policy names no contract.
        Malformed: the contract is not a suite of GX 1.x; says where.
        UsageError: the settings name an engine that there is not.
    """
    if case.contract is None:
        raise Skip("no contract; name a Great Expectations suite in the policy under [files]")
    if settings.engine not in ENGINES:
        raise UsageError(f"[settings.contract] engine must be one of {', '.join(ENGINES)}")
    suite, source = parse_suite(case.contract), source_of(case.dataset)
    results = validate(
        suite,
        source,
        engine=settings.engine,
        most=settings.max_rows,
        contents=settings.contents,
    )
    broken = [result for result in results if not result.success]
    exhibits, docs = _datadocs(suite, results) if settings.datadocs else ((), "not asked for")
    return Measured(
        statistics={**_statistics(suite, results, case.dataset.rows), "datadocs": docs},
        findings=tuple(_finding(result) for result in broken),
        row_scores=tuple(_row_scores(broken))[: settings.max_rows],
        exhibits=exhibits,
    )


def _statistics(suite: Suite, results: Sequence[Result], rows: int) -> dict[str, Any]:
    asked_gx = any(result.runner == "gx" for result in results)
    return {
        "suite": suite.name,
        "expectations": len(results),
        "broken": sum(not result.success for result in results),
        "rows": rows,
        "great_expectations": peer.version() if asked_gx else None,
        "results": [
            {
                "type": result.expectation.kind,
                "columns": list(result.expectation.columns),
                "severity": result.expectation.severity,
                "success": result.success,
                "unexpected": result.unexpected,
                "elements": result.elements,
                "result": dict(result.result),
                "error": result.error or None,
                "runner": result.runner,
            }
            for result in results
        ],
    }


def _datadocs(suite: Suite, results: Sequence[Result]) -> tuple[tuple[Exhibit, ...], str]:
    """The page that GX renders, and its name; or none, and why."""
    try:
        data = page(validation(suite, results))
    except ModuleNotFoundError:
        return (), f"not made: {peer.MISSING}"
    told = f"Data Docs: every expectation of {printable(suite.name)[:80]}, and its result"
    return (Exhibit(name=DATADOCS, data=data, caption=told),), DATADOCS


def _finding(result: Result) -> Finding:
    expectation, columns = result.expectation, result.expectation.columns
    about = ", ".join(printable(column)[:60] for column in columns)
    return Finding(
        rule="contract",
        code="contract-broken",
        severity=SEVERITIES[expectation.severity],
        confidence=Confidence.HIGH,
        subject=Subject(kind="column" if columns else "dataset", name=", ".join(columns)),
        summary=f"{expectation.kind}{f' ({about})' if about else ''} {result.told}",
        evidence=(
            Evidence(
                statistic="rows that break the expectation",
                value=result.unexpected,
                threshold=0,
                sample=result.elements,
                rows=len(result.rows),
                detail={
                    "expectation": expectation.kind,
                    "kwargs": _plain(expectation.document["kwargs"]),
                },
            ),
        ),
        remedy="send the rows back to their producer, or change the contract on purpose",
    )


def _row_scores(broken: Sequence[Result]) -> Iterator[RowScore]:
    """Each row once, by the first expectation that it breaks."""
    seen: set[int] = set()
    for result in broken:
        about = printable(", ".join(result.expectation.columns))[:80]
        for row in result.rows:
            if row not in seen:
                seen.add(row)
                reason = f"{result.expectation.kind} {about}".strip()
                yield RowScore(row=row, score=1.0, reason=reason)


def _plain(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The suite's own numbers and words, as they go into a report; long lists are cut."""
    return {key: value[:50] if isinstance(value, list) else value for key, value in kwargs.items()}
