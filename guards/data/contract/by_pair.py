"""Expectations about several columns of one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import combinations
from operator import add, and_, or_
from typing import TYPE_CHECKING, Any

from guards.data.contract.by_row import members
from guards.data.contract.columns import Column, Delegated, Rows
from guards.data.contract.plan import Compiled, Plan, mapped

if TYPE_CHECKING:
    import polars as pl

Kwargs = Mapping[str, Any]
_PLAIN = frozenset({"integer", "float", "boolean"})


def equal(rows: Rows, columns: Sequence[Column], kwargs: Kwargs) -> Compiled:
    """expect_column_pair_values_to_be_equal; a missing value equals nothing."""
    return _compared(rows, columns, kwargs, lambda a, b: a == b)


def greater(rows: Rows, columns: Sequence[Column], kwargs: Kwargs) -> Compiled:
    """expect_column_pair_values_a_to_be_greater_than_b."""
    if any(column.dtype != "String" and column.kind == "text" for column in columns):
        return Delegated(why="categories have no order")
    if kwargs.get("or_equal"):
        return _compared(rows, columns, kwargs, lambda a, b: a >= b)
    return _compared(rows, columns, kwargs, lambda a, b: a > b)


def _compared(
    rows: Rows,
    columns: Sequence[Column],
    kwargs: Kwargs,
    ok: Callable[[pl.Expr, pl.Expr], pl.Expr],
) -> Compiled:
    first, second = columns
    if not _alike(columns):
        return Delegated(why=f"{first.name} is {first.dtype}, {second.name} is {second.dtype}")
    values = [column.plain for column in columns]
    return _rows(rows, columns, kwargs, ok(values[0], values[1]).fill_null(False))


def _alike(columns: Sequence[Column]) -> bool:
    """Whether values of these columns compare plainly: all numbers, all words, or of one type."""
    kinds = {column.kind for column in columns}
    same = len({str(column.dtype) for column in columns}) == 1
    return kinds <= _PLAIN or kinds == {"text"} or (same and kinds <= {"date", "datetime"})


def _rows(rows: Rows, columns: Sequence[Column], kwargs: Kwargs, ok: pl.Expr) -> Plan:
    """A plan for the rows that `ignore_row_if` leaves; `ok` is never null."""
    counted = rows.only(_counted(columns, kwargs.get("ignore_row_if", "both")))
    bad = counted & ~ok
    wants = {"elements": rows.count(), "present": counted.sum(), "unexpected": bad.sum()}
    mostly = kwargs.get("mostly", 1.0)
    return Plan(wants=wants, answer=lambda found: mapped(found, mostly), broken=bad)


def _counted(columns: Sequence[Column], ignored: str) -> pl.Expr:
    present = [column.present for column in columns]
    match ignored.partition("_")[0]:
        case "either" | "any":
            return reduce(and_, present)
        case "neither" | "never":
            return present[0].is_not_null()  # of every row, where a literal would be one value
        case _:
            return reduce(or_, present)


def pair_in_set(rows: Rows, columns: Sequence[Column], kwargs: Kwargs) -> Compiled:
    """expect_column_pair_values_to_be_in_set; null in a pair is a missing value."""
    import polars as pl

    by_first: dict[Any, list[Any]] = {}
    for one, other in kwargs["value_pairs_set"]:
        by_first.setdefault(one, []).append(other)
    chosen: list[pl.Expr] = []
    for one, others in by_first.items():
        first, second = _among(columns[0], [one]), _among(columns[1], others)
        if isinstance(first, Delegated):
            return first
        if isinstance(second, Delegated):
            return second
        chosen.append(first & second)
    return _rows(rows, columns, kwargs, pl.any_horizontal(chosen))


def _among(column: Column, values: Sequence[Any]) -> pl.Expr | Delegated:
    found = members(column, tuple(value for value in values if value is not None))
    if isinstance(found, Delegated):
        return found
    inside = found.fill_null(False)
    return inside | ~column.present if None in values else inside


def compound_unique(rows: Rows, columns: Sequence[Column], kwargs: Kwargs) -> Compiled:
    """expect_compound_columns_to_be_unique: missing values are alike."""
    import polars as pl

    if strange := next((c for c in columns if c.kind == "other"), None):
        return Delegated(why=f"{strange.name} is {strange.dtype}")
    counted = rows.only(_counted(columns, kwargs.get("ignore_row_if", "all")))
    together = pl.struct([column.whole for column in columns])
    kept = pl.when(counted).then(together)
    return Plan(
        wants={
            "elements": rows.count(),
            "present": counted.sum(),
            "distinct": together.filter(counted).n_unique(),
        },
        answer=lambda found: mapped(found, kwargs.get("mostly", 1.0)),
        broken=kept.is_duplicated() & counted,
        unless=("distinct", "present"),
    )


def unlike_in_row(rows: Rows, columns: Sequence[Column], kwargs: Kwargs) -> Compiled:
    """expect_select_column_values_to_be_unique_within_record: missing values are alike."""
    if not _alike(columns):
        return Delegated(why="the columns are of several types")
    values = [column.plain for column in columns]
    same = [a.eq_missing(b) for a, b in combinations(values, 2)]
    return _rows(rows, columns, kwargs, ~reduce(or_, same))


def sum_equal(rows: Rows, columns: Sequence[Column], kwargs: Kwargs) -> Compiled:
    """expect_multicolumn_sum_to_equal; with a missing value there is no sum."""
    import polars as pl

    if not all(column.kind in _PLAIN for column in columns):
        return Delegated(why="not all of the columns hold plain numbers")
    # Small whole numbers would wrap around: 200 and 100 are 44 in eight bits.
    real = any(column.kind == "float" for column in columns)
    total = reduce(
        add, [column.plain.cast(pl.Float64 if real else pl.Int128) for column in columns]
    )
    return _rows(rows, columns, kwargs, (total == kwargs["sum_total"]).fill_null(False))
