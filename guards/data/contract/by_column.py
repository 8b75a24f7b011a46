"""Expectations about one number of a column: its mean, its largest value, how many are distinct."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from guards.data.contract.columns import (
    NUMBERS,
    TIMES,
    Column,
    Delegated,
    Rows,
    ticks_of,
    unlike,
)
from guards.data.contract.plan import Answer, Compiled, Found, Plan, impossible, within

if TYPE_CHECKING:
    import polars as pl

Kwargs = Mapping[str, Any]
_CLOSE = 1e-4  # GX's relative tolerance where quantiles are held against their ranges


def least(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_min_to_be_between."""
    return _extreme(rows, column, kwargs, lambda values: values.min())


def most(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_max_to_be_between."""
    return _extreme(rows, column, kwargs, lambda values: values.max())


def _extreme(
    rows: Rows, column: Column, kwargs: Kwargs, statistic: Callable[[pl.Expr], pl.Expr]
) -> Compiled:
    if column.kind in TIMES:
        return _moment(rows, column, kwargs, statistic)
    return _number(rows, column, kwargs, statistic)


def mean(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_mean_to_be_between."""
    return _number(rows, column, kwargs, lambda values: values.mean())


def median(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_median_to_be_between."""
    return _number(rows, column, kwargs, lambda values: values.median())


def total(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_sum_to_be_between; 0 where there is no value."""
    import polars as pl

    wide = pl.Int128 if column.kind == "integer" else pl.Float64
    return _number(rows, column, kwargs, lambda values: values.cast(wide).sum())


def deviation(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_stdev_to_be_between: of a sample, so with n - 1."""
    return _number(rows, column, kwargs, lambda values: values.std(ddof=1))


def _number(
    rows: Rows, column: Column, kwargs: Kwargs, statistic: Callable[[pl.Expr], pl.Expr]
) -> Compiled:
    import polars as pl

    end = kwargs.get("min_value", kwargs.get("max_value"))
    if column.kind in TIMES and (end is None or isinstance(end, date)):
        return Delegated(why=f"{column.name} holds times")
    if isinstance(end, date):
        return impossible(f"column {column.name} holds {column.dtype}, which no date can bound")
    if column.kind not in NUMBERS | {"boolean", "null"}:
        return impossible(f"column {column.name} holds {column.dtype}, and no numbers")
    values = column.raw.cast(pl.Float64) if column.kind == "null" else column.plain

    def answer(found: Found) -> Answer:
        value = found["observed"]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return Answer(success=False, result={"observed_value": None})
        return Answer(success=within(value, kwargs), result={"observed_value": value})

    return Plan(wants={"observed": statistic(rows.of(values))}, answer=answer)


def _moment(
    rows: Rows, column: Column, kwargs: Kwargs, statistic: Callable[[pl.Expr], pl.Expr]
) -> Compiled:
    """The first or last of a column of dates or times."""
    ends = {name: kwargs[name] for name in ("min_value", "max_value") if name in kwargs}
    for end in ends.values():
        if not isinstance(end, date):
            return impossible(f"column {column.name} holds times, which no number can bound")
        if why := unlike(column, end):
            return impossible(why)
    bounds = {**kwargs, **{name: ticks_of(end) for name, end in ends.items()}}

    def answer(found: Found) -> Answer:
        seen = found["observed"]
        if seen is None:
            return Answer(success=False, result={"observed_value": None})
        return Answer(success=within(seen, bounds), result={"observed_value": _told(seen)})

    return Plan(wants={"observed": statistic(rows.of(column.ticks))}, answer=answer)


def _told(ticks: int) -> str:
    """A time in ISO 8601, in UTC; one of a year that a calendar does not have as what it is."""
    try:
        return (datetime(1970, 1, 1) + timedelta(microseconds=ticks // 1000)).isoformat()
    except OverflowError:
        return f"{ticks} ns since 1970"


def distinct(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_unique_value_count_to_be_between: how many different values there are."""
    if column.kind == "other":
        return Delegated(why=f"{column.name} is {column.dtype}")
    return Plan(
        wants={"observed": _distinct(rows, column)},
        answer=lambda found: _held(int(found["observed"]), kwargs),
    )


def distinct_share(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_proportion_of_unique_values_to_be_between; 0 where there is no value."""
    if column.kind == "other":
        return Delegated(why=f"{column.name} is {column.dtype}")

    def answer(found: Found) -> Answer:
        present = int(found["present"])
        return _held(int(found["observed"]) / present if present else 0, kwargs)

    wants = {"observed": _distinct(rows, column), "present": rows.hits(column.present)}
    return Plan(wants=wants, answer=answer)


def present_share(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_proportion_of_non_null_values_to_be_between; 0 where there is no row."""

    def answer(found: Found) -> Answer:
        elements = int(found["elements"])
        return _held(int(found["present"]) / elements if elements else 0, kwargs)

    wants = {"elements": rows.count(), "present": rows.hits(column.present)}
    return Plan(wants=wants, answer=answer)


def _distinct(rows: Rows, column: Column) -> pl.Expr:
    return rows.of(column.whole).drop_nulls().n_unique()


def _held(value: float, kwargs: Kwargs) -> Answer:
    return Answer(success=within(value, kwargs), result={"observed_value": value})


def quantiles(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_quantile_values_to_be_between; an end may be missed by 1e-4 of itself."""
    if column.kind not in NUMBERS | {"null"}:
        if column.kind in ("text", *TIMES):
            return impossible(f"column {column.name} holds {column.dtype}, and no numbers")
        return Delegated(why=f"{column.name} is {column.dtype}")
    import polars as pl

    asked = kwargs["quantile_ranges"]
    method = kwargs.get("allow_relative_error", "nearest")
    values = column.raw.cast(pl.Float64) if column.kind == "null" else column.value
    ordered = rows.of(values).drop_nulls().sort()
    wants = {
        f"at{place}": _quantile(ordered, level, method) for place, (level, _, _) in enumerate(asked)
    }

    def answer(found: Found) -> Answer:
        seen = [found[name] for name in wants]
        kept = [_inside(v, low, high) for v, (_, low, high) in zip(seen, asked, strict=True)]
        return Answer(
            success=all(kept),
            result={
                "observed_value": {"quantiles": [one[0] for one in asked], "values": seen},
                "details": {"success_details": kept},
            },
        )

    return Plan(wants=wants, answer=answer)


def _quantile(ordered: pl.Expr, level: float, method: str) -> pl.Expr:
    """The value at (n - 1) q of n sorted ones; between two by `method`, as NumPy takes it."""
    import polars as pl

    place = (ordered.len().cast(pl.Float64) - 1) * level
    low, high = place.floor().cast(pl.Int64), place.ceil().cast(pl.Int64)
    below, above = (ordered.get(at, null_on_oob=True) for at in (low, high))
    match method:
        case "lower":
            return below
        case "higher":
            return above
        case "midpoint":
            return (below + above) / 2
        case "linear":
            return below + (above - below) * (place - low)
        case _:
            nearest = place.round(mode="half_to_even").cast(pl.Int64)
            return ordered.get(nearest, null_on_oob=True)


def _inside(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None or math.isnan(value):
        return False
    ends = [end for end in (low, high) if end is not None]
    near = any(math.isclose(value, end, rel_tol=_CLOSE, abs_tol=1e-8) for end in ends)
    return near or ((low is None or low <= value) and (high is None or value <= high))
