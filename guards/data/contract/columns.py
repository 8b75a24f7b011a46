"""A column as expectations see it: when a value is missing, and how values compare.

NaN is missing, as it is in pandas; words of a category are words; a decimal compares as the number
that it is written as. `kind` is what decides which expectations make sense.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from guards.data.contract.conditions import Compare, Condition, Missing, Value

if TYPE_CHECKING:
    import polars as pl

NUMBERS = frozenset({"integer", "float", "decimal"})
TIMES = frozenset({"date", "datetime"})
INT64 = 2**63
_NANOSECONDS = {"ns": 1, "us": 1000, "ms": 1_000_000, "day": 86_400_000_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated:
    """No plan can answer this as GX does; `why` says what is unusual about it."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its name, its type, what kind of values that is, and the expression of it."""

    name: str
    dtype: pl.DataType
    kind: str
    raw: pl.Expr

    @property
    def whole(self) -> pl.Expr:
        """Its values as they are told apart; null where missing."""
        return self.raw.fill_nan(None) if self.kind == "float" else self.raw

    @property
    def value(self) -> pl.Expr:
        """Its values as they are compared with others; null where missing."""
        import polars as pl

        match self.kind:
            case "float" | "decimal":
                return self.whole.cast(pl.Float64)
            case "text":
                return self.raw.cast(pl.String)
            case "integer" if self.dtype == pl.UInt64:
                return self.raw.cast(pl.Int128)
            case _:
                return self.raw

    @property
    def plain(self) -> pl.Expr:
        """Its values as numbers where they are truths, 0 and 1, and else as they are compared."""
        import polars as pl

        return self.raw.cast(pl.Int64) if self.kind == "boolean" else self.value

    @property
    def ticks(self) -> pl.Expr:
        """Its dates or times as nanoseconds since 1970: whole numbers, so no year is too far."""
        import polars as pl

        unit = getattr(self.dtype, "time_unit", "day")
        return self.raw.to_physical().cast(pl.Int128) * _NANOSECONDS[unit]

    @property
    def present(self) -> pl.Expr:
        """Whether a value is there."""
        if self.kind == "float":
            return self.raw.is_not_nan().fill_null(False)
        return self.raw.is_not_null()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns by name, in their order, and the number of rows."""

    columns: Mapping[str, Column]
    rows: int


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows an expectation speaks of: all of them, or those where `where` holds."""

    where: pl.Expr | None = None

    def count(self) -> pl.Expr:
        """How many there are."""
        import polars as pl

        return pl.len() if self.where is None else self.where.sum()

    def only(self, mask: pl.Expr) -> pl.Expr:
        """Whether a row is one of them and `mask` holds; null counts as no."""
        return mask if self.where is None else mask & self.where

    def hits(self, mask: pl.Expr) -> pl.Expr:
        """In how many of them `mask` holds."""
        return self.only(mask).sum()

    def of(self, values: pl.Expr) -> pl.Expr:
        """The values that they have."""
        return values if self.where is None else values.filter(self.where)

    def masked(self, values: pl.Expr) -> pl.Expr:
        """The values that they have, and null in every other row."""
        import polars as pl

        return values if self.where is None else pl.when(self.where).then(values)


def unlike(column: Column, end: date) -> str:
    """Why a column and a date or time that bounds it cannot be compared; empty where they can."""
    if column.kind not in TIMES:
        return f"column {column.name} holds {column.dtype}, which no date can bound"
    zoned = getattr(column.dtype, "time_zone", None) is not None
    if zoned == (isinstance(end, datetime) and end.tzinfo is not None):
        return ""
    return f"of column {column.name} and its bound only one has a time zone"


def ticks_of(end: date) -> int:
    """A date or time as nanoseconds since 1970, as `Column.ticks` has them."""
    moment = end if isinstance(end, datetime) else datetime(end.year, end.month, end.day)
    since = datetime(1970, 1, 1, tzinfo=moment.tzinfo)
    return (moment - since) // timedelta(microseconds=1) * 1000


def kind_of(dtype: pl.DataType) -> str:
    """What a type holds, in one lower-case word; `other` for what is nested or has no order."""
    import polars as pl

    if dtype.is_integer():
        return "other" if dtype in (pl.Int128, pl.UInt128) else "integer"
    if dtype.is_float():
        return "float"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    kinds = (pl.Decimal, pl.Boolean, pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.Binary, pl.Null)
    return next((str(one.__name__).lower() for one in kinds if dtype == one), "other")


def matching(column: Column, values: Collection[Any]) -> pl.Series | Delegated:
    """Those of `values` that the plain values of a column can be at all, each once."""
    import polars as pl

    if column.kind == "text":
        return pl.Series([v for v in values if isinstance(v, str)], dtype=pl.String).unique()
    numbers = {v for v in values if isinstance(v, int | float)}
    match column.kind:
        case "float":
            return pl.Series([float(v) for v in numbers], dtype=pl.Float64)
        case "integer":
            wide = column.dtype == pl.UInt64
            most = 2 * INT64 if wide else INT64
            whole = [int(v) for v in numbers if v == int(v) and abs(v) < most]
            return pl.Series(whole, dtype=pl.Int128 if wide else pl.Int64)
        case "boolean":
            return pl.Series([int(v) for v in numbers if v in (0, 1)], dtype=pl.Int64)
        case "null":
            return pl.Series([], dtype=pl.Null)
        case _:
            return Delegated(why=f"{column.name} is {column.dtype}, and the set holds plain values")


def rows_of(condition: Condition | None, table: Table) -> Rows | Delegated:
    """The rows that a condition chooses; a column it names must be one that compares plainly."""
    if condition is None:
        return Rows()
    found = _chosen(condition, table)
    return found if isinstance(found, Delegated) else Rows(found)


def _chosen(condition: Condition, table: Table) -> pl.Expr | Delegated:
    import polars as pl

    if isinstance(condition, Missing | Compare):
        column = table.columns.get(condition.column)
        if column is None:
            return Delegated(why=f"its row condition names {condition.column}, which is no column")
        if isinstance(condition, Missing):
            return ~column.present if condition.is_null else column.present
        return _compared(condition, column)
    parts: list[pl.Expr] = []
    for part in condition.parts:
        found = _chosen(part, table)
        if isinstance(found, Delegated):
            return found
        parts.append(found)
    return pl.all_horizontal(parts) if condition.every else pl.any_horizontal(parts)


def _compared(condition: Compare, column: Column) -> pl.Expr | Delegated:
    """As pandas compares: a missing value differs from everything, and is neither more nor less."""
    if not all(_comparable(value, column) for value in condition.values):
        return Delegated(why=f"its row condition compares {column.name} with another kind of value")
    value, one = column.value, condition.values[0] if condition.values else 0
    match condition.operator:
        case "==":
            return (value == one).fill_null(False)
        case "!=":
            return (value != one).fill_null(True)
        case "<":
            return (value < one).fill_null(False)
        case "<=":
            return (value <= one).fill_null(False)
        case ">":
            return (value > one).fill_null(False)
        case ">=":
            return (value >= one).fill_null(False)
        case _:
            return _among(condition, column)


def _among(condition: Compare, column: Column) -> pl.Expr | Delegated:
    import polars as pl

    found = matching(column, condition.values)
    if isinstance(found, Delegated):
        return found
    inside = column.plain.is_in(pl.lit(found).implode()).fill_null(False)
    return inside if condition.operator == "IN" else ~inside


def _comparable(value: Value, column: Column) -> bool:
    if isinstance(value, bool):
        return column.kind == "boolean"
    if isinstance(value, str):
        return column.kind == "text"
    return column.kind in ("integer", "float")
