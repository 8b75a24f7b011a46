"""Arguments, conditions and patterns as they are written: each is read as what it is or refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.data.contract import shapes
from guards.data.contract.conditions import (
    MOST,
    OPERATORS,
    Compare,
    Joined,
    Missing,
    columns,
    condition,
)
from guards.data.contract.patterns import like, linear
from guards.errors import Malformed
from guards.provenance.strictjson import Node


def at(value):
    return Node(value, "kwargs.it")


@pytest.mark.parametrize(
    ("reader", "value", "wanted"),
    [
        (shapes.number, -0.0, 0.0),
        (shapes.count, 3.0, 3),
        (shapes.count, 1e300, int(1e300)),
        (shapes.share, 1, 1),
        (shapes.bound, 5, 5),
        (shapes.bound, "2013-01-31", date(2013, 1, 31)),
        (shapes.bound, "0001-01-01", date(1, 1, 1)),
        (shapes.bound, "9999-12-31T23:59:59", datetime(9999, 12, 31, 23, 59, 59)),
        (
            shapes.bound,
            "2013-01-31T00:00:00+05:30",
            datetime(2013, 1, 30, 18, 30, tzinfo=UTC),
        ),
        (shapes.scalar, None, None),
        (shapes.scalars, [1, "a", None, True, 0.5], (1, "a", None, True, 0.5)),
        (shapes.names, ["b", "a"], ("b", "a")),
        (shapes.several, ["b", "a"], ("b", "a")),
        (shapes.pairs, [[1, None], ["a", True]], ((1, None), ("a", True))),
        (shapes.one_of("a", "b"), "b", "b"),
        (shapes.interpolation, False, "nearest"),
        (shapes.interpolation, "linear", "linear"),
        (
            shapes.quantiles,
            {"quantiles": [0, 1], "value_ranges": [[None, 1], [1, None]]},
            ((0, None, 1), (1, 1, None)),
        ),
        (shapes.character, "\u202e", "\u202e"),
    ],
)
def test_an_argument_is_read_as_what_it_is(reader, value, wanted):
    found = reader(at(value))
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("reader", "values"),
    [
        (shapes.number, ["5", True, None, [], {}]),
        (shapes.count, [1.5, "1", False]),
        (shapes.share, [-0.1, 1.1, "0.5", True]),
        (
            shapes.bound,
            [
                *("", "5", "2013-02-30", "10000-01-01", " 2013-01-01", "2013-01-01T25:00:00"),
                *("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2013-1-1", True),
                *(None, [], "\u0662\u0660\u0661\u0663-01-01x", "2013-01-01" * 9999),
            ],
        ),
        (shapes.scalar, [[], {}]),
        (shapes.scalars, [[], [[1]], "abc", None]),
        (shapes.texts, [[], [1], "abc"]),
        (shapes.names, [["a", "a"], []]),
        (shapes.several, [["a"], ["a", "a"], []]),
        (shapes.pairs, [[], [[1]], [[1, 2, 3]], [1], [[[1], 2]]]),
        (shapes.one_of("a", "b"), ["c", "", 1, "A"]),
        (shapes.interpolation, [True, "cubic", None]),
        (
            shapes.quantiles,
            [
                {"quantiles": [], "value_ranges": []},
                {"quantiles": [0.5], "value_ranges": [[1]]},
                {"quantiles": [0.5], "value_ranges": [["1", 2]]},
                {"quantiles": [1.5], "value_ranges": [[1, 2]]},
                {"quantiles": [0.5]},
                {"quantiles": [0.5], "value_ranges": [[1, 2]], "more": 1},
            ],
        ),
        (shapes.character, ["", "ab", 1]),
    ],
)
def test_what_gx_would_turn_into_something_else_is_refused_by_its_place(reader, values):
    for value in values:
        with pytest.raises(Malformed, match=r"^kwargs\.it"):
            reader(at(value))


@given(st.datetimes(timezones=st.none() | st.just(UTC)))
def test_any_moment_is_read_as_it_is_written(moment):
    found = shapes.bound(at(moment.isoformat()))
    assert found == moment
    assert found.tzinfo == moment.tzinfo


@given(st.dates())
def test_any_day_is_read_as_it_is_written(day):
    found = shapes.bound(at(day.isoformat()))
    assert type(found) is date
    assert found == day


def test_every_type_takes_a_column_or_speaks_of_the_table():
    for kind, shape in shapes.SHAPES.items():
        assert kind.startswith("expect_")
        assert not shape.needs.keys() & shape.takes.keys(), kind
        named = {"column", "column_A", "column_list", "column_set"} & shape.needs.keys()
        assert named or kind.startswith("expect_table_"), kind


def comparison(operator, parameter, column="x"):
    named = {"name": column}
    return {"type": "comparison", "column": named, "operator": operator, "parameter": parameter}


NULLITY = {"type": "nullity", "column": {"name": "y"}, "is_null": True}


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_comparison_is_with_one_value_or_with_a_list(operator):
    many = operator in ("IN", "NOT_IN")
    found = condition(at(comparison(operator, [1, "a"] if many else 1)))
    assert found == Compare(column="x", operator=operator, values=(1, "a") if many else (1,))
    with pytest.raises(Malformed, match=r"parameter"):
        condition(at(comparison(operator, 1 if many else [1])))


LEAVES = st.builds(comparison, st.just("=="), st.integers(), st.sampled_from("xyz")) | st.just(
    NULLITY
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "conditions": st.lists(inner, min_size=1)}
    ),
    max_leaves=12,
)


def written(found):
    match found:
        case Compare():
            return comparison(found.operator, found.values[0], found.column)
        case Missing():
            named = {"name": found.column}
            return {"type": "nullity", "column": named, "is_null": found.is_null}
        case Joined():
            kind = "and" if found.every else "or"
            return {"type": kind, "conditions": [written(part) for part in found.parts]}


def named(document):
    if "conditions" in document:
        return [name for part in document["conditions"] for name in named(part)]
    return [document["column"]["name"]]


@given(NESTED)
def test_a_condition_says_what_is_written_and_names_its_columns(document):
    found = condition(at(document))
    assert written(found) == document
    assert columns(found) == tuple(dict.fromkeys(named(document)))


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ('col("x") > 0', "is code for pandas or Spark, which is never run"),
        ({}, "required key 'type'"),
        ({"type": "pass_through", "pass_through_filter": "x"}, "other types are code"),
        ({"type": "and", "conditions": []}, "joins no condition"),
        ({"type": "or", "conditions": NULLITY}, "must be a list"),
        ({**NULLITY, "is_null": 1}, "is_null: must be true or false"),
        ({**NULLITY, "column": "y"}, "column: must be an object"),
        ({**NULLITY, "column": {"name": "y", "more": 1}}, "unknown key 'more'"),
        ({**NULLITY, "parameter": 1}, "unknown key 'parameter'"),
        (comparison("~", 1), "operator: must be one of"),
        (comparison("==", None), "required key 'parameter'"),
        (comparison("==", {}), "must be a text, a number"),
        (comparison("IN", [None]), r"parameter\[0\]: must be a text, a number"),
        ({"type": "or", "conditions": [NULLITY] * (MOST + 1)}, "more than 100 comparisons"),
    ],
)
def test_what_is_no_condition_is_refused_by_its_place(document, told):
    with pytest.raises(Malformed, match=r"^kwargs\.it.*" + told):
        condition(at(document))


def test_as_many_comparisons_as_gx_takes_are_taken():
    found = condition(at({"type": "or", "conditions": [NULLITY] * MOST}))
    assert len(found.parts) == MOST


@given(st.text(max_size=6))
def test_any_text_is_a_pattern_of_both_languages_or_refused(pattern):
    try:
        translated = linear(pattern)
    except Malformed:
        return
    text = "ab 1\u05d0"
    assert pl.Series([text]).str.contains(translated)[0] == bool(re.search(pattern, text))


@given(st.text(max_size=5))
def test_a_like_pattern_without_signs_is_the_text_itself(text):
    plain = text.replace("%", "").replace("_", "")
    others = [plain, plain + "x", "x" + plain, plain.swapcase() + "x"]
    assert pl.Series(others).str.contains(like(plain, None)).to_list() == [
        True,
        *(other == plain for other in others[1:]),
    ]


@pytest.mark.parametrize("sign", ["%", "_", "!", ".", "\\"])
def test_what_is_escaped_is_the_sign_itself(sign):
    pattern = like(f"a!{sign}b", "!")
    found = pl.Series([f"a{sign}b", "axb", f"a!{sign}b"]).str.contains(pattern)
    assert found.to_list() == [True, False, False]


def test_a_pattern_of_exponential_time_elsewhere_takes_none_here():
    text = "a" * 100_000 + "\u05d0"
    assert not pl.Series([text]).str.contains(linear(r"^(a+)+$"))[0]
    assert not pl.Series([text]).str.contains(like("%a" * 50 + "x", None))[0]
