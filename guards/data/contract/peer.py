"""The other runner: real Great Expectations, on the columns that the expectations name.

It is asked for what cannot be compiled, or for all of a suite; and it is the oracle of the tests.
GX is imported here and nowhere else, which takes it some seconds; its telemetry is switched off
before. Contents of rows are left out by GX itself (`exclude_unexpected_values`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from guards.data.contract.compiled import Source
from guards.data.contract.result import Result, plain
from guards.data.contract.suite import Expectation
from guards.errors import Malformed
from guards.text import printable

MISSING = "it needs Great Expectations: pip install 'toadstone[gx]'"
_WHOLE_TABLE = "expect_table_column"
_PLACE = "toadstone_place"
# What these observe are names of columns and types, and no contents.
_OF_NAMES = (
    *("expect_table", "expect_column_type", "expect_column_values_to_be_of_type"),
    "expect_column_values_to_be_in_type_list",
)


def run(
    expectations: Sequence[Expectation], source: Source, most: int, *, contents: bool = False
) -> dict[int, Result]:
    """Ask GX, by the place in the suite; each result lists at most `most` rows.

    Texts that GX observed, and its own messages, which may quote them, are told only with
    `contents`. Where GX is not installed, or a column has no form in pandas, nothing is evaluated,
    and so every expectation is broken.

    Raises:
        Malformed: GX does not accept an expectation.
    """
    if not expectations:
        return {}
    if not version():
        return {one.place: _unanswered(one, MISSING) for one in expectations}
    try:
        read = frame(expectations, source)
    except (TypeError, ValueError) as error:
        why = f"its columns have no form in pandas ({type(error).__name__})"
        return {one.place: _unanswered(one, why) for one in expectations}
    found = _validate(expectations, read)
    by_place = {one.expectation_config.meta[_PLACE]: one for one in found}
    return {
        one.place: _result(one, by_place[one.place], most, contents=contents)
        for one in expectations
    }


def version() -> str:
    """The release of GX that is installed; empty when there is none."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    try:
        return of("great_expectations")
    except PackageNotFoundError:
        return ""


def _validate(expectations: Sequence[Expectation], read: Any) -> Sequence[Any]:
    """Run GX in memory, without its telemetry, its progress bars and its log lines."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.exceptions.exceptions import GreatExpectationsError

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    try:
        suite = gx.ExpectationSuite(
            name="contract", expectations=[_placed(one) for one in expectations]
        )
        _refuse_dropped(expectations, suite.expectations)
        asset = context.data_sources.add_pandas("toadstone").add_dataframe_asset("rows")
        whole = asset.add_batch_definition_whole_dataframe("all")
        batch = whole.get_batch({"dataframe": read})
        form = {"result_format": "COMPLETE", "exclude_unexpected_values": True}
        found: Sequence[Any] = batch.validate(suite, result_format=form).results
    except (GreatExpectationsError, TypeError, ValueError) as error:
        told = printable(str(error))[:300]
        raise Malformed(f"not a suite of GX 1.x: {told}", "contract") from error
    return found


def _placed(one: Expectation) -> dict[str, Any]:
    """As it is written, and which one it is: GX gives results in an order of its own."""
    meta = {**(one.document.get("meta") or {}), _PLACE: one.place}
    return {**one.document, "meta": meta}


def _refuse_dropped(asked: Sequence[Expectation], built: Sequence[Any]) -> None:
    """GX logs an expectation that it cannot build and goes on without; a contract must not."""
    kept = {one.meta[_PLACE] for one in built}
    if lost := next((one for one in asked if one.place not in kept), None):
        raise Malformed(
            f"GX does not accept {printable(lost.kind)[:100]} of this suite",
            f"contract.expectations[{lost.place}]",
        )


def frame(expectations: Sequence[Expectation], source: Source) -> Any:
    """The columns that the expectations name; where one is about all columns, the others empty."""
    import polars.selectors as cs

    named = {column for one in expectations for column in one.needs}
    chosen = [column for column in source.schema if column in named]
    # With no column at all pandas would lose the number of rows.
    read = cs.by_name(chosen or list(source.schema)[:1]).as_expr()
    found = source.frame.select(read).collect().to_pandas()
    if any(one.kind.startswith(_WHOLE_TABLE) for one in expectations):
        return found.reindex(columns=list(source.schema))
    return found


def _result(one: Expectation, said: Any, most: int, *, contents: bool) -> Result:
    told = said.result or {}
    named = contents or one.kind.startswith(_OF_NAMES)
    error = _error(said.exception_info or {}, contents=contents)
    return Result(
        expectation=one,
        success=bool(said.success),
        result={} if error else {k: plain(v, texts=named) for k, v in told.items() if _kept(k)},
        rows=() if said.success else _rows(told, most),
        error=error,
        runner="gx",
    )


def _rows(told: Mapping[str, Any], most: int) -> tuple[int, ...]:
    return tuple(int(row) for row in (told.get("unexpected_index_list") or ())[:most])


def _kept(key: str) -> bool:
    """Counts, shares and what was observed; lists of values or of rows are not."""
    return not key.startswith("partial_") and "list" not in key and "query" not in key


def _unanswered(one: Expectation, why: str) -> Result:
    return Result(expectation=one, success=False, error=why, runner="gx")


def _error(info: Mapping[str, Any], *, contents: bool) -> str:
    """What GX met, if it met an exception; it nests them by metric. Messages may quote values."""
    for one in (info, *(value for value in info.values() if isinstance(value, Mapping))):
        if one.get("raised_exception"):
            told = str(one.get("exception_message") or "")
            if contents or "does not exist" in told:
                return printable(told)[:300]
            last = str(one.get("exception_traceback") or "").strip().rpartition("\n")[2]
            return f"GX raised {printable(last.partition(':')[0])[:80] or 'an error'}"
    return ""
