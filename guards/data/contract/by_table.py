"""Expectations about the table: its columns, their order, and the number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from guards.data.contract.columns import Rows, Table
from guards.data.contract.plan import Answer, Compiled, Plan, within

Kwargs = Mapping[str, Any]


def column_exists(rows: Rows, table: Table, kwargs: Kwargs) -> Compiled:
    """expect_column_to_exist, at a place if one is given; negative places count from the end."""
    names, place = list(table.columns), kwargs.get("column_index")
    if place is None:
        return Answer(success=kwargs["column"] in names)
    inside = -len(names) <= place < len(names)
    return Answer(success=inside and names[place] == kwargs["column"])


def columns_in_order(rows: Rows, table: Table, kwargs: Kwargs) -> Compiled:
    """expect_table_columns_to_match_ordered_list."""
    names, asked = list(table.columns), list(kwargs["column_list"])
    if names == asked:
        return Answer(success=True, result={"observed_value": names})
    mismatched = [
        {"Expected Column Position": place, "Expected": one, "Found": other}
        for place, (one, other) in enumerate(zip_longest(asked, names))
        if one != other
    ]
    result = {"observed_value": names, "details": {"mismatched": mismatched}}
    return Answer(success=False, result=result)


def columns_in_set(rows: Rows, table: Table, kwargs: Kwargs) -> Compiled:
    """expect_table_columns_to_match_set; others are allowed only if not `exact_match`."""
    names, asked = set(table.columns), set(kwargs["column_set"])
    strange = sorted(names - asked) if kwargs.get("exact_match", True) else []
    absent = sorted(asked - names)
    result: dict[str, Any] = {"observed_value": sorted(names)}
    told = {"unexpected": strange, "missing": absent}
    if strange or absent:
        result["details"] = {"mismatched": {key: found for key, found in told.items() if found}}
    return Answer(success=not (strange or absent), result=result)


def column_count(rows: Rows, table: Table, kwargs: Kwargs) -> Compiled:
    """expect_table_column_count_to_equal and _to_be_between."""
    return _held(len(table.columns), kwargs)


def row_count(rows: Rows, table: Table, kwargs: Kwargs) -> Compiled:
    """expect_table_row_count_to_equal and _to_be_between."""
    if rows.where is None:
        return _held(table.rows, kwargs)
    return Plan(
        wants={"observed": rows.count()},
        answer=lambda found: _held(int(found["observed"]), kwargs),
    )


def _held(value: int, kwargs: Kwargs) -> Answer:
    kept = value == kwargs["value"] if "value" in kwargs else within(value, kwargs)
    return Answer(success=kept, result={"observed_value": value})
