"""What a changed suite demands more or less; held to what data says of both."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from contract_matrix import answered, source_of, suite_of
from hypothesis import given
from hypothesis import strategies as st

from guards.data.contract.diff import difference
from guards.data.contract.result import Result
from guards.errors import Malformed


def changes(old: dict[str, Any], new: dict[str, Any], kind: str = "column_values_to_be_between"):
    both = [suite_of((kind, {"column": "x", **kwargs})) for kwargs in (old, new)]
    return [(one.change, one.parameter) for one in difference(*both)]


IN_SET = "column_values_to_be_in_set"
NOT_IN_SET = "column_values_to_not_be_in_set"
CONTAIN = "column_distinct_values_to_contain_set"


@pytest.mark.parametrize(
    ("old", "new", "kind", "expected"),
    [
        ({"max_value": 1}, {"max_value": 1}, "", []),
        ({"max_value": 1}, {"max_value": 2}, "", [("loosened", "max_value")]),
        ({"max_value": 1}, {"max_value": 1, "min_value": 0}, "", [("tightened", "min_value")]),
        ({"max_value": 1, "min_value": 0}, {"max_value": 1}, "", [("loosened", "min_value")]),
        ({"max_value": 1}, {"max_value": 1, "mostly": 0.9}, "", [("loosened", "mostly")]),
        ({"max_value": 1, "mostly": 0.9}, {"max_value": 1}, "", [("tightened", "mostly")]),
        ({"max_value": 1}, {"max_value": 1, "mostly": 1.0}, "", []),
        ({"max_value": 1}, {"max_value": 1, "strict_max": False}, "", []),
        ({"max_value": 1}, {"max_value": 1, "strict_max": True}, "", [("tightened", "strict_max")]),
        (
            {"max_value": "2013-01-01"},
            {"max_value": "2013-02-01"},
            "",
            [("loosened", "max_value")],
        ),
        ({"max_value": 5}, {"max_value": "2013-02-01"}, "", [("changed", "max_value")]),
        ({"value_set": [1]}, {"value_set": [1, 2]}, IN_SET, [("loosened", "value_set")]),
        ({"value_set": [1, 2]}, {"value_set": [2, 1]}, IN_SET, []),
        ({"value_set": [1]}, {"value_set": [2]}, IN_SET, [("changed", "value_set")]),
        ({"value_set": [1]}, {"value_set": [1, 2]}, NOT_IN_SET, [("tightened", "value_set")]),
        ({"value_set": [1]}, {"value_set": [1, 2]}, CONTAIN, [("tightened", "value_set")]),
        (
            {"regex": "^a$"},
            {"regex": "^b$"},
            "column_values_to_match_regex",
            [("changed", "regex")],
        ),
    ],
)
def test_each_argument_has_its_direction(old, new, kind, expected):
    assert changes(old, new, kind or "column_values_to_be_between") == expected


def test_expectations_come_and_go_and_change_their_weight():
    old = suite_of(("column_to_exist", {"column": "a"}), ("column_to_exist", {"column": "b"}))
    new = suite_of(
        ("column_to_exist", {"column": "b"}),
        ("column_values_to_not_be_null", {"column": "b"}),
        severity="warning",
    )
    assert [str(one) for one in difference(old, new)] == [
        "removed   expect_column_to_exist (a)",
        "loosened  expect_column_to_exist (b) severity: 'critical' -> 'warning'",
        "added     expect_column_values_to_not_be_null (b)",
    ]


def test_a_condition_makes_another_expectation():
    where = {"type": "nullity", "column": {"name": "y"}, "is_null": False}
    asked = ("column_values_to_not_be_null", {"column": "x"})
    old, new = suite_of(asked), suite_of((asked[0], {**asked[1], "row_condition": where}))
    assert [one.change for one in difference(old, new)] == ["removed", "added"]


def test_of_two_alike_the_equal_one_is_the_partner():
    low, high = ({"column": "x", "max_value": end} for end in (1, 9))
    kind = "column_values_to_be_between"
    old, new = suite_of((kind, low), (kind, high)), suite_of((kind, high), (kind, low))
    assert difference(old, new) == ()


ENDS = st.none() | st.integers(-3, 3)
RANGES = st.fixed_dictionaries(
    {
        "min_value": ENDS,
        "max_value": ENDS,
        "mostly": st.sampled_from([0.25, 0.5, 1]),
        "strict_min": st.booleans(),
        "strict_max": st.booleans(),
    }
)
SETS = st.fixed_dictionaries(
    {"value_set": st.lists(st.integers(-3, 3), min_size=1, max_size=4, unique=True)}
)
KINDS = {
    "column_values_to_be_between": RANGES,
    IN_SET: SETS,
    NOT_IN_SET: SETS,
    CONTAIN: SETS,
}


@given(st.sampled_from(sorted(KINDS)), st.data(), st.lists(st.integers(-3, 3), max_size=5))
def test_loosened_means_that_what_kept_the_old_one_keeps_the_new_one(kind, data, values):
    """`diff`: loosened (whatever kept the old one keeps the new one) or tightened (the reverse)."""
    old, new = ({"column": "x", **data.draw(KINDS[kind])} for _ in range(2))
    try:
        told = {one.change for one in difference(suite_of((kind, old)), suite_of((kind, new)))}
    except Malformed:
        return  # two ends that cross, or none: there is no such suite
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Int64)})
    before, after = answered(source_of(frame), [(kind, old), (kind, new)])
    assert isinstance(before, Result)
    assert isinstance(after, Result)
    if told <= {"loosened"} and before.success:
        assert after.success
    if told <= {"tightened"} and after.success:
        assert before.success
