"""What became of an expectation, in the shape of GX's own results and without contents of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from guards.data.contract.suite import Expectation, Suite
from guards.provenance.strictjson import MAX_INTEGER
from guards.text import printable

PARTIAL = 20  # rows named in a result, as in GX
WITHHELD = "(text)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Whether one expectation is kept; `rows` are global numbers of rows that break it, bounded.

    `result` is GX's, `runner` is `polars` or `gx`, `error` why it could not be evaluated.
    """

    expectation: Expectation
    success: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[int, ...] = ()
    error: str = ""
    runner: str = "polars"

    @property
    def unexpected(self) -> int:
        """Rows that break it; 0 where it is not about rows."""
        return int(self.result.get("unexpected_count") or 0)

    @property
    def elements(self) -> int:
        """Rows it speaks of; 0 where it is not about rows."""
        return int(self.result.get("element_count") or 0)

    @property
    def told(self) -> str:
        """What is wrong, to follow the name of the expectation."""
        if self.success:
            return "is kept"
        if self.error:
            return f"could not be evaluated: {self.error}"
        if self.elements:
            told = f" by {self.unexpected} of {self.elements} rows"
        else:
            told = _observed(self.result)
        return f"is broken{told}{_asked(self.expectation.document['kwargs'])}"

    @property
    def document(self) -> dict[str, Any]:
        """As GX writes it: an ExpectationValidationResult in JSON."""
        written, rows = self.expectation.document, list(self.rows[:PARTIAL])
        told = {**self.result, "partial_unexpected_index_list": rows} if rows else self.result
        return {
            "success": self.success,
            "expectation_config": {
                "type": self.expectation.kind,
                "kwargs": dict(written["kwargs"]),
                "meta": dict(written.get("meta") or {}),
                "severity": self.expectation.severity,
            },
            "result": dict(told),
            "meta": {},
            "exception_info": {
                "raised_exception": bool(self.error),
                "exception_traceback": None,
                "exception_message": self.error or None,
            },
        }


def validation(suite: Suite, results: Sequence[Result]) -> dict[str, Any]:
    """The whole of it as GX writes it: an ExpectationSuiteValidationResult in JSON."""
    kept = sum(result.success for result in results)
    return {
        "success": kept == len(results),
        "results": [result.document for result in results],
        "suite_name": suite.name,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": kept,
            "unsuccessful_expectations": len(results) - kept,
            "success_percent": kept / len(results) * 100,
        },
        "meta": {},
        "id": None,
    }


def _observed(result: Mapping[str, Any]) -> str:
    """What was seen of a whole table or column: one value, or the columns that differ."""
    observed = result.get("observed_value")
    if isinstance(observed, bool | int | float | str):
        return f": observed {printable(str(observed))[:80]}"
    apart = (result.get("details") or {}).get("mismatched")
    if not isinstance(apart, Mapping):
        return ""
    told = (f"{kind} {', '.join(map(str, names))}" for kind, names in sorted(apart.items()))
    return f": {printable('; '.join(told))[:200]}"


def _asked(kwargs: Mapping[str, Any]) -> str:
    """The limits that an expectation sets, as far as they are numbers or words."""
    said = {name: value for name, value in kwargs.items() if not name.startswith("column")}
    limits = [f"{k} {v}" for k, v in said.items() if isinstance(v, int | float | str)]
    return f" (asked: {printable(', '.join(limits))[:120]})" if limits else ""


def plain(value: Any, *, texts: bool = True) -> Any:
    """A value as JSON has it: numbers that every reader of JSON has, times as text, no objects.

    Without `texts` a text is only told to be one.
    """
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) <= MAX_INTEGER else float(value)
        case str():
            return value if texts else WITHHELD
        case Mapping():
            return {str(key): plain(inner, texts=texts) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(inner, texts=texts) for inner in value]
        case date():
            return value.isoformat() if value == value else None
        case float():
            return value if math.isfinite(value) else str(value)
    if hasattr(value, "item"):
        return plain(value.item(), texts=texts)
    return plain(float(value), texts=texts) if isinstance(value, Decimal) else WITHHELD
