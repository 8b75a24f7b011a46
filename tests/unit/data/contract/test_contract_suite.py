"""A suite as it is written: read strictly, refused by the place in the document."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contract_matrix import suite_of
from hypothesis import given
from hypothesis import strategies as st

from guards.data.contract.suite import parse_suite
from guards.errors import Malformed

COLUMN = {"column": "x"}


def one(kind: str, kwargs: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"name": "s", "expectations": [{"type": kind, "kwargs": kwargs, **extra}]}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "contract: not a suite of GX 1.x"),
        ({"expectation_suite_name": "old", "expectations": []}, "a suite of GX 0.x"),
        ({"name": "s", "expectations": []}, "an empty contract promises nothing"),
        ({"name": "", "expectations": [{"type": "t", "kwargs": {}}]}, "name: must not be empty"),
        ({"name": "s", "expectations": {}}, "expectations: must be a list"),
        ({"name": "s", "expectations": [7]}, r"expectations\[0\]: must be an object"),
        ({"name": "s", "expectations": [{"kwargs": {}}]}, r"\[0\]: required key 'type'"),
        ({"name": "s", "expectations": [{"type": "t"}]}, r"\[0\]: required key 'kwargs'"),
        ({"name": "s", "expectations": [], "more": 1}, "unknown key 'more'"),
        (
            {"name": "s", "expectations": [], "suite_parameters": {"a": 1}},
            "suite_parameters: are not supported",
        ),
        (one("expect_column_to_exist", {}), r"kwargs: required key 'column' is missing"),
        (one("expect_column_to_exist", COLUMN, severity="dire"), "severity: must be one of"),
        (one("expect_column_to_exist", COLUMN, windows=[1]), "need GX Cloud"),
        (one("expect_column_to_exist", {"column": 7}), "column: must be a string"),
        (one("expect_column_to_exist", {**COLUMN, "column_index": 1.5}), "must be a whole number"),
    ],
)
def test_what_is_no_suite_is_refused_by_its_place(document, told):
    with pytest.raises(Malformed, match=told):
        parse_suite(document)


@pytest.mark.parametrize(
    ("kind", "kwargs", "told"),
    [
        ("values_to_be_between", {}, "needs min_value, max_value or both"),
        ("values_to_be_between", {"min_value": None}, "needs min_value, max_value or both"),
        ("values_to_be_between", {"min_value": "5"}, "min_value: must be a number, or a date"),
        ("values_to_be_between", {"min_value": True}, "min_value: must be a number"),
        ("values_to_be_between", {"min_value": "2013-02-30"}, "must be a number, or a date"),
        ("values_to_be_between", {"min_value": "99999-01-01"}, "must be a number, or a date"),
        ("values_to_be_between", {"min_value": 2, "max_value": 1}, "min_value lies above"),
        ("values_to_be_between", {"min_value": 2, "max_value": "2013-01-01"}, "of two kinds"),
        (
            "values_to_be_between",
            {"min_value": "2013-01-01T00:00:00", "max_value": "2014-01-01T00:00:00Z"},
            "of two kinds",
        ),
        ("values_to_be_between", {"max_value": 1, "mostly": 1.5}, "must lie between 0 and 1"),
        ("values_to_be_between", {"max_value": 1, "mostly": "0.9"}, "mostly: must be a number"),
        ("values_to_be_between", {"max_value": 1, "most": 0.9}, "unknown key 'most'"),
        ("values_to_be_in_set", {"value_set": []}, "value_set: must not be empty"),
        ("values_to_be_in_set", {"value_set": [[1]]}, r"value_set\[0\]: must be a text or"),
        ("values_to_match_regex", {"regex": 5}, "regex: must be a string"),
        (
            "quantile_values_to_be_between",
            {"quantile_ranges": {"quantiles": [0.5], "value_ranges": []}},
            "must give each quantile a range",
        ),
    ],
)
def test_arguments_are_read_strictly(kind, kwargs, told):
    with pytest.raises(Malformed, match=told) as refused:
        suite_of((f"column_{kind}", {**COLUMN, **kwargs}))
    assert refused.value.where.startswith("contract.expectations[0].kwargs")
    assert f"expect_column_{kind}" in str(refused.value)


@pytest.mark.parametrize(
    "where",
    [
        'col("x") > 0',
        {"type": "pass_through", "pass_through_filter": "x > 0"},
        {"type": "comparison", "column": {"name": "x"}, "operator": "~", "parameter": 1},
        {"type": "comparison", "column": {"name": "x"}, "operator": ">", "parameter": None},
        {"type": "and", "conditions": []},
        {"type": "nullity", "column": "x", "is_null": True},
    ],
)
@pytest.mark.parametrize("kind", ["values_to_not_be_null", "values_to_be_dateutil_parseable"])
def test_a_condition_that_is_code_is_never_run(kind, where):
    known = kind == "values_to_not_be_null"
    if not known and not isinstance(where, str) and where["type"] != "pass_through":
        assert suite_of((f"column_{kind}", {**COLUMN, "row_condition": where}))  # left to GX
        return
    with pytest.raises(Malformed, match="row_condition"):
        suite_of((f"column_{kind}", {**COLUMN, "row_condition": where}))


@pytest.mark.parametrize("parser", ["pandas", "spark"])
def test_a_parser_that_makes_text_code_is_refused(parser):
    asked = {**COLUMN, "condition_parser": parser}
    with pytest.raises(Malformed, match="never run"):
        suite_of(("column_values_to_not_be_null", asked))


def test_what_is_not_compiled_is_kept_as_it_is_written():
    asked = {**COLUMN, "partition_object": {"bins": [0, 1]}, "threshold": 0.1}
    (expectation,) = suite_of(("column_kl_divergence_to_be_less_than", asked)).expectations
    assert (expectation.known, expectation.kwargs) == (False, asked)
    assert expectation.columns == ("x",)


def test_the_columns_of_a_condition_are_read_too():
    where = {"type": "nullity", "column": {"name": "y"}, "is_null": False}
    for kind in ("column_values_to_not_be_null", "column_values_to_be_dateutil_parseable"):
        (one,) = suite_of((kind, {**COLUMN, "row_condition": where})).expectations
        assert (one.columns, one.needs) == (("x",), ("x", "y"))


def test_what_gx_itself_writes_is_read():
    """`ExpectationSuite.to_json_dict()` writes what nobody asked for beside what was."""
    written = one(
        "expect_column_values_to_be_between",
        {"column": "x", "min_value": 0.0, "max_value": None, "strict_min": False},
        id=None,
        meta={},
        severity="warning",
        rendered_content=[],
    )
    suite = parse_suite({**written, "id": None, "meta": {"great_expectations_version": "1.24"}})
    (expectation,) = suite.expectations
    assert expectation.kwargs == {"column": "x", "min_value": 0.0, "strict_min": False}
    assert expectation.severity == "warning"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ax0-", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ax", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
KINDS = st.sampled_from(
    ["values_to_be_between", "values_to_be_in_set", "quantile_values_to_be_between", "to_exist"]
)
ARGUMENTS = st.sampled_from(
    ["min_value", "value_set", "mostly", "row_condition", "quantile_ranges", "column_index"]
)


@given(KINDS, st.dictionaries(ARGUMENTS, JSON, max_size=3))
def test_any_json_is_a_suite_or_refused(kind, kwargs):
    """Nothing but Malformed is raised, whatever somebody writes."""
    try:
        suite = suite_of((f"column_{kind}", {**COLUMN, **kwargs}))
    except Malformed as refused:
        assert refused.where.startswith("contract")  # noqa: PT017, both ends are right
    else:
        assert json.loads(json.dumps(suite.document)) == suite.document
