"""Expectations about every value of one column: a row keeps them or breaks them.

As in GX a missing value neither keeps nor breaks an expectation, but for those about missing ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from guards.data.contract.columns import (
    INT64,
    NUMBERS,
    TIMES,
    Column,
    Delegated,
    Rows,
    matching,
    ticks_of,
    unlike,
)
from guards.data.contract.patterns import like, linear
from guards.data.contract.plan import Answer, Compiled, Found, Plan, by_row, impossible, mapped
from guards.data.contract.types import in_pandas, same_type

if TYPE_CHECKING:
    import polars as pl

Kwargs = Mapping[str, Any]


def not_null(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_not_be_null."""
    return _all_rows(rows, ~column.present, kwargs)


def null(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_null."""
    return _all_rows(rows, column.present, kwargs)


def _all_rows(rows: Rows, bad: pl.Expr, kwargs: Kwargs) -> Plan:
    def answer(found: Found) -> Answer:
        every = {**found, "present": found["elements"]}
        return mapped(every, kwargs.get("mostly", 1.0), missing=False)

    wants = {"elements": rows.count(), "unexpected": rows.hits(bad)}
    return Plan(wants=wants, answer=answer, broken=rows.only(bad))


def unique(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_unique: every row of a value that occurs twice breaks it."""
    if column.kind == "other":
        return Delegated(why=f"{column.name} is {column.dtype}")
    values = rows.masked(column.whole)
    return Plan(
        wants={
            "elements": rows.count(),
            "present": rows.hits(column.present),
            "distinct": values.drop_nulls().n_unique(),
        },
        answer=lambda found: mapped(found, kwargs.get("mostly", 1.0)),
        broken=values.is_duplicated() & values.is_not_null(),
        unless=("distinct", "present"),
    )


def between(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_between."""
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    ok: pl.Expr | None = None
    for end, below in ((low, True), (high, False)):
        if end is None:
            continue
        strict = bool(kwargs.get("strict_min" if below else "strict_max"))
        one = _held(column, end, below=below, strict=strict)
        if isinstance(one, str):
            return _unless_empty(rows, column, one)
        ok = one if ok is None else ok & one
    assert ok is not None, "a suite without either end is not parsed"
    return by_row(rows, column, ok, kwargs.get("mostly", 1.0))


def _held(column: Column, end: Any, *, below: bool, strict: bool) -> pl.Expr | str:
    """Whether values lie on the right side of an end, or why the two cannot be compared."""
    import polars as pl

    if column.kind == "null":
        return column.raw.cast(pl.Boolean)
    if isinstance(end, date):
        if why := unlike(column, end):
            return why
        values, other = column.ticks, pl.lit(ticks_of(end), dtype=pl.Int128)
    elif column.kind in NUMBERS or column.kind == "boolean":
        values, whole = column.plain, column.kind == "integer"
        other = pl.lit(_integral(end, below=below, strict=strict) if whole else end)
    else:
        return f"column {column.name} holds {column.dtype}, which no number can bound"
    if below:
        return values > other if strict else values >= other
    return values < other if strict else values <= other


def _integral(end: float, *, below: bool, strict: bool) -> float:
    """The whole number that bounds whole numbers as `end` does: no rounding of large ones."""
    if abs(end) >= INT64 or end == int(end):
        return int(end) if abs(end) < INT64 else float(end)
    # x > 1.5 and x >= 1.5 are x > 1 and x >= 2.
    return math.ceil(end) if below != strict else math.floor(end)


def _unless_empty(rows: Rows, column: Column, why: str) -> Plan:
    """A column without a value keeps every promise about its values, whatever its type."""

    def answer(found: Found) -> Answer:
        return impossible(why) if found["present"] else mapped({**found, "unexpected": 0}, 1.0)

    wants = {"elements": rows.count(), "present": rows.hits(column.present)}
    return Plan(wants=wants, answer=answer)


def in_set(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_in_set."""
    inside = members(column, kwargs["value_set"])
    if isinstance(inside, Delegated):
        return inside
    return by_row(rows, column, inside, kwargs.get("mostly", 1.0))


def not_in_set(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_not_be_in_set."""
    inside = members(column, kwargs["value_set"])
    if isinstance(inside, Delegated):
        return inside
    return by_row(rows, column, ~inside, kwargs.get("mostly", 1.0))


def members(column: Column, values: Collection[Any]) -> pl.Expr | Delegated:
    """Whether values are in a set; null where missing. Words are no numbers and match none."""
    import polars as pl

    found = matching(column, values)
    if isinstance(found, Delegated):
        return found
    return pl.when(column.present).then(column.plain.is_in(pl.lit(found).implode()))


def matches(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_match_regex: somewhere in the value."""
    pattern = linear(kwargs["regex"])
    return _worded(rows, column, kwargs, lambda words: words.str.contains(pattern))


def matches_not(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_not_match_regex."""
    pattern = linear(kwargs["regex"])
    return _worded(rows, column, kwargs, lambda words: ~words.str.contains(pattern))


def is_like(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_match_like_pattern: the whole value, letter case included."""
    pattern = like(kwargs["like_pattern"], kwargs.get("escape"))
    return _worded(rows, column, kwargs, lambda words: words.str.contains(pattern))


def is_not_like(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_not_match_like_pattern."""
    pattern = like(kwargs["like_pattern"], kwargs.get("escape"))
    return _worded(rows, column, kwargs, lambda words: ~words.str.contains(pattern))


def lengths_between(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_value_lengths_to_be_between: of characters, not bytes."""
    import polars as pl

    # Lengths are whole, so a strict end is the next number.
    least = _length(kwargs.get("min_value", 0) + bool(kwargs.get("strict_min")))
    most = _length(kwargs.get("max_value", INT64) - bool(kwargs.get("strict_max")))

    def ok(words: pl.Expr) -> pl.Expr:
        return words.str.len_chars().cast(pl.Int64).is_between(least, most)

    return _worded(rows, column, kwargs, ok)


def lengths_equal(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_value_lengths_to_equal."""
    wanted = _length(kwargs["value"])
    return _worded(rows, column, kwargs, lambda words: words.str.len_chars() == wanted)


def _length(end: int) -> int:
    """A length; one that no text can have is told by the nearest such that an engine can hold."""
    return min(max(end, -1), INT64 - 1)


def _worded(
    rows: Rows, column: Column, kwargs: Kwargs, ok: Callable[[pl.Expr], pl.Expr]
) -> Compiled:
    """Values as words: text as it is, and whole numbers in digits."""
    import polars as pl

    if column.kind not in ("text", "integer", "null"):
        return Delegated(why=f"{column.name} is {column.dtype}, which pandas writes in its own way")
    return by_row(rows, column, ok(column.raw.cast(pl.String)), kwargs.get("mostly", 1.0))


def increasing(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_increasing: no less than the value before, missing ones aside."""
    return _ordered(rows, column, kwargs, up=True)


def decreasing(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_decreasing."""
    return _ordered(rows, column, kwargs, up=False)


def _ordered(rows: Rows, column: Column, kwargs: Kwargs, *, up: bool) -> Compiled:
    if column.kind == "text":
        return impossible(f"column {column.name} holds {column.dtype}, which has no steps")
    if column.kind not in NUMBERS | TIMES | {"duration", "null"}:
        return Delegated(why=f"{column.name} is {column.dtype}")
    values = rows.masked(column.value)
    before = values.forward_fill().shift(1)
    low, high = (before, values) if up else (values, before)
    ok = high > low if kwargs.get("strictly") else high >= low
    return by_row(rows, column, ok, kwargs.get("mostly", 1.0))


def of_type(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_of_type: the type that the column has in pandas."""
    return _typed(column, (kwargs["type_"],))


def in_type_list(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_values_to_be_in_type_list."""
    return _typed(column, kwargs["type_list"])


def _typed(column: Column, names: tuple[str, ...]) -> Compiled:
    if column.kind not in ("integer", "float", "boolean", "text"):
        return Delegated(why=f"{column.name} is {column.dtype}, an object in pandas")

    def answer(found: Found) -> Answer | Delegated:
        nulls = bool(found["nulls"])
        if column.kind == "boolean" and nulls:
            return Delegated(why=f"{column.name} has missing values, and is an object in pandas")
        name = in_pandas(column, nulls=nulls)
        kept = any(same_type(name, one) for one in names)
        return Answer(success=kept, result={"observed_value": name})

    return Plan(wants={"nulls": column.raw.null_count()}, answer=answer)
