"""Expectations about the set of values that a column holds: which there are, and the commonest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guards.data.contract.by_row import members
from guards.data.contract.columns import Column, Delegated, Rows, matching
from guards.data.contract.plan import Answer, Compiled, Found, Plan

Kwargs = Mapping[str, Any]


def distinct_in_set(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_distinct_values_to_be_in_set."""
    return _sets(rows, column, kwargs, inside=True, complete=False)


def distinct_contain(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_distinct_values_to_contain_set."""
    return _sets(rows, column, kwargs, inside=False, complete=True)


def distinct_equal(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_distinct_values_to_equal_set."""
    return _sets(rows, column, kwargs, inside=True, complete=True)


def _sets(rows: Rows, column: Column, kwargs: Kwargs, *, inside: bool, complete: bool) -> Compiled:
    """Values outside of the set, if none may be; values of it that are absent, if none may be."""
    among = members(column, kwargs["value_set"])
    possible = matching(column, kwargs["value_set"])
    if isinstance(among, Delegated) or isinstance(possible, Delegated):
        return Delegated(why=f"{column.name} is {column.dtype}")
    # As Python tells values apart: 1, 1.0 and true are one.
    values, wanted = rows.of(column.plain), len(set(kwargs["value_set"]))

    def answer(found: Found) -> Answer:
        outside, absent = int(found["outside"]), wanted - int(found["held"])
        kept = not (inside and outside) and not (complete and absent)
        told = {"unexpected_count": outside} if inside else {}
        told |= {"missing_count": absent} if complete else {}
        return Answer(success=kept, result={"observed_value": None, **told})

    kept = rows.of(among)
    return Plan(
        wants={
            "outside": values.filter(~kept).n_unique(),
            "held": values.filter(kept).n_unique(),
        },
        answer=answer,
    )


def most_common(rows: Rows, column: Column, kwargs: Kwargs) -> Compiled:
    """expect_column_most_common_value_to_be_in_set; a tie is one only if `ties_okay`."""
    import polars as pl

    possible = matching(column, kwargs["value_set"])
    if isinstance(possible, Delegated):
        return possible
    modes = rows.of(column.plain).drop_nulls().mode()

    def answer(found: Found) -> Answer:
        commonest, inside = int(found["commonest"]), int(found["inside"])
        kept = inside > 0 and (bool(kwargs.get("ties_okay")) or commonest == 1)
        result = {"observed_value": None, "modes": commonest, "modes_in_set": inside}
        return Answer(success=kept, result=result)

    return Plan(
        wants={
            "commonest": modes.len(),
            "inside": modes.is_in(pl.lit(possible).implode()).sum(),
        },
        answer=answer,
    )
