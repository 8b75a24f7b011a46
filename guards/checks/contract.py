"""Does the data keep the contract that its users were promised?

The contract is a Great Expectations suite (GX 1.x, its own JSON form), and GX itself is the judge
here: this module hands it the columns that the suite names, and turns each expectation that fails
into a finding with the rows that broke it. What the suite calls critical (GX's default) is HIGH, a
warning MEDIUM, information LOW. An expectation that GX could not evaluate, say because its column
is missing, is broken too.

Measured: exact by construction; none of 78 clean batches of flights broke its suite. On 6,000 rows
and 21 expectations 0.15 CPU seconds, and 2.5 more to import GX once.

The known way around it: whatever the suite does not say. Values are compared one column, or one
pair, at a time, so a plausible wrong value passes; drift and label rules look at those.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guards.data.case import Case
from guards.data.dataset import Dataset
from guards.errors import Malformed, Skip
from guards.findings import (
    Confidence,
    Evidence,
    Finding,
    Measured,
    RowScore,
    Severity,
    Subject,
)
from guards.text import printable

NEEDS: frozenset[str] = frozenset()
_SEVERITIES = {"critical": Severity.HIGH, "warning": Severity.MEDIUM, "info": Severity.LOW}
_WHOLE_TABLE = "expect_table_column"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How many rows are listed over all broken expectations."""

    max_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What became of one expectation; `rows` are the global rows that broke it."""

    kind: str
    columns: tuple[str, ...]
    kwargs: Mapping[str, Any]
    severity: Severity
    success: bool
    unexpected: int
    elements: int
    rows: tuple[int, ...]
    error: str


def examine(case: Case, settings: Settings) -> Measured:
    """Validate the dataset against the contract with GX.

    Raises:
        Skip: the policy names no contract.
        Malformed: the contract is not a suite that GX accepts.
    """
    if case.contract is None:
        raise Skip("no contract; name a Great Expectations suite in the policy under [files]")
    frame = _pandas(case.dataset, case.contract)
    outcomes = [_outcome(result) for result in _validate(case.contract, frame)]
    broken = [outcome for outcome in outcomes if not outcome.success]
    return Measured(
        statistics={
            "suite": str(case.contract.get("name", "")),
            "expectations": len(outcomes),
            "broken": len(broken),
            "rows": case.dataset.rows,
            "results": [
                {
                    "type": outcome.kind,
                    "columns": list(outcome.columns),
                    "success": outcome.success,
                    "unexpected": outcome.unexpected,
                    "elements": outcome.elements,
                }
                for outcome in outcomes
            ],
        },
        findings=tuple(_finding(outcome) for outcome in broken),
        row_scores=tuple(_row_scores(broken))[: settings.max_rows],
    )


def _pandas(dataset: Dataset, contract: Mapping[str, Any]) -> Any:
    """The columns that the contract names; where it speaks of all columns, the others empty."""
    expectations = contract.get("expectations", ())
    named = {column for one in expectations for column in _named(one.get("kwargs", {}))}
    chosen = [column for column in dataset.schema if column in named]
    # With no column at all pandas would lose the number of rows.
    frame = dataset.frame(chosen or list(dataset.schema)[:1]).to_pandas()
    if any(str(one.get("type", "")).startswith(_WHOLE_TABLE) for one in expectations):
        return frame.reindex(columns=list(dataset.schema))
    return frame


def _named(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for key in ("column", "column_A", "column_B"):
        if key in kwargs:
            yield str(kwargs[key])
    yield from map(str, kwargs.get("column_list") or ())


def _validate(contract: Mapping[str, Any], frame: Any) -> Sequence[Any]:
    """Run real GX in memory, without its telemetry, its progress bars and its log lines."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    try:
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig
        from great_expectations.exceptions.exceptions import GreatExpectationsError
    except ModuleNotFoundError as error:
        raise Skip("a contract needs Great Expectations: pip install 'toadstone[gx]'") from error
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    try:
        suite = gx.ExpectationSuite(**dict(contract))
        _refuse_dropped(contract, suite.expectations)
        asset = context.data_sources.add_pandas("toadstone").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        result = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise Malformed(f"not a suite of GX 1.x: {error}", "contract") from error
    found: Sequence[Any] = result.results
    return found


def _refuse_dropped(contract: Mapping[str, Any], built: Sequence[Any]) -> None:
    """GX logs an expectation that it cannot build and goes on without; a contract must not."""
    asked = [str(one.get("type")) for one in contract.get("expectations", ())]
    known = [one.expectation_type for one in built]
    if asked != known:
        lost = [kind for kind in asked if kind not in known] or asked
        raise Malformed(f"GX does not accept {printable(lost[0])[:100]} of this suite", "contract")
    if not asked:
        raise Malformed("the suite holds no expectation; an empty contract promises nothing")


def _outcome(result: Any) -> _Outcome:
    config, numbers = result.expectation_config, result.result or {}
    kwargs = {key: value for key, value in config.kwargs.items() if key != "batch_id"}
    level = getattr(config, "severity", None)
    return _Outcome(
        kind=config.type,
        columns=tuple(_named(kwargs)),
        kwargs=kwargs,
        severity=_SEVERITIES.get(str(getattr(level, "value", level)), Severity.HIGH),
        success=bool(result.success),
        unexpected=int(numbers.get("unexpected_count") or 0),
        elements=int(numbers.get("element_count") or 0),
        rows=tuple(int(row) for row in numbers.get("unexpected_index_list") or ()),
        error=_error(result.exception_info or {}),
    )


def _error(info: Mapping[str, Any]) -> str:
    """The message of the exception that GX met, if it met one; it nests them by metric."""
    for one in (info, *(value for value in info.values() if isinstance(value, Mapping))):
        if one.get("raised_exception"):
            return printable(str(one.get("exception_message") or "could not be evaluated"))[:300]
    return ""


def _finding(outcome: _Outcome) -> Finding:
    about = ", ".join(printable(column)[:60] for column in outcome.columns)
    if outcome.error:
        told = f"could not be evaluated: {outcome.error}"
    elif outcome.unexpected:
        told = f"is broken by {outcome.unexpected} of {outcome.elements} rows"
    else:
        told = "is broken"
    return Finding(
        rule="contract",
        code="contract-broken",
        severity=outcome.severity,
        confidence=Confidence.HIGH,
        subject=Subject(
            kind="column" if outcome.columns else "dataset", name=", ".join(outcome.columns)
        ),
        summary=f"{outcome.kind}{f' ({about})' if about else ''} {told}",
        evidence=(
            Evidence(
                statistic="rows that break the expectation",
                value=outcome.unexpected,
                threshold=0,
                sample=outcome.elements,
                rows=len(outcome.rows),
                detail={"expectation": outcome.kind, "kwargs": _plain(outcome.kwargs)},
            ),
        ),
        remedy="send the rows back to their producer, or change the contract on purpose",
    )


def _row_scores(broken: Sequence[_Outcome]) -> Iterator[RowScore]:
    """Each row once, by the first expectation that it breaks."""
    seen: set[int] = set()
    for outcome in broken:
        about = printable(", ".join(outcome.columns))[:80]
        for row in outcome.rows:
            if row not in seen:
                seen.add(row)
                yield RowScore(row=row, score=1.0, reason=f"{outcome.kind} {about}".strip())


def _plain(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The suite's own numbers and words, as they go into a report; long lists are cut."""
    return {key: value[:50] if isinstance(value, list) else value for key, value in kwargs.items()}
