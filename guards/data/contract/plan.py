"""How one expectation is answered: what one select must compute, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guards.data.contract.columns import Column, Delegated, Rows

if TYPE_CHECKING:
    import polars as pl

Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether an expectation is kept, GX's result without contents, or why it has no answer."""

    success: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The numbers that an expectation `wants`, and how they are read.

    `broken` holds for the rows that break it, where it speaks of rows. Counting them may take a
    second look: then `unless` names two wanted numbers whose equality says that there are none.
    """

    wants: Mapping[str, pl.Expr]
    answer: Callable[[Found], Answer | Delegated]
    broken: pl.Expr | None = None
    unless: tuple[str, str] | None = None


Compiled = Plan | Delegated | Answer


def impossible(message: str) -> Answer:
    """The answer where the data cannot be held against an expectation at all: it is broken."""
    return Answer(success=False, error=message)


def by_row(
    rows: Rows,
    column: Column,
    ok: pl.Expr,
    mostly: float = 1.0,
) -> Plan:
    """A plan for rows of which `ok` says true or false, and null where the value is missing."""
    bad = ~ok
    return Plan(
        wants={
            "elements": rows.count(),
            "present": rows.hits(column.present),
            "unexpected": rows.hits(bad),
        },
        answer=lambda found: mapped(found, mostly),
        broken=rows.only(bad),
    )


def mapped(found: Found, mostly: float, *, missing: bool = True) -> Answer:
    """GX's answer for rows: kept if none is left, or if at least `mostly` of them are right.

    Of the `elements` those `present` count; without `missing` the others are not told.
    """
    elements, present, bad = (int(found[name]) for name in ("elements", "present", "unexpected"))
    success = not (elements and present) or (float(present) - bad) / present >= mostly
    result: dict[str, Any] = {
        "element_count": elements,
        "unexpected_count": bad,
        "unexpected_percent": _percent(bad, present),
    }
    if missing:
        result |= {
            "missing_count": elements - present,
            "missing_percent": _percent(elements - present, elements),
            "unexpected_percent_total": _percent(bad, elements),
            "unexpected_percent_nonmissing": _percent(bad, present),
        }
    return Answer(success=success, result=result)


def _percent(part: int, whole: int) -> float | None:
    return part / whole * 100 if whole else None


def within(value: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a number lies between `min_value` and `max_value`, which may be strict."""
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = low is None or (value > low if kwargs.get("strict_min") else value >= low)
    below = high is None or (value < high if kwargs.get("strict_max") else value <= high)
    return bool(above and below)
