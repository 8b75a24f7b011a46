"""Values at the edge, and what is said of them; counted by hand, beside GX as the oracle."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest
from contract_matrix import answered, source_of, suite_of
from hypothesis import given
from hypothesis import strategies as st

from guards.data.contract import compiled
from guards.data.contract.columns import Delegated
from guards.data.contract.patterns import like, linear
from guards.errors import Malformed

NAN = float("nan")
DAY = 86_400_000_000


def column(values, dtype=None) -> pl.DataFrame:
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


@pytest.mark.parametrize(
    ("frame", "kind", "kwargs", "rows"),
    [
        # NaN is missing, as null is; -0.0 is 0.0; infinities are numbers.
        (column([1.0, NAN, None]), "values_to_not_be_null", {}, (1, 2)),
        (column([NAN, NAN, 0.5]), "values_to_be_unique", {}, ()),
        (column([0.0, -0.0, 1.0]), "values_to_be_unique", {}, (0, 1)),
        (column([-0.0, -1e-300]), "values_to_be_between", {"min_value": 0}, (1,)),
        (column([-0.0, NAN, 2.0]), "values_to_be_in_set", {"value_set": [0]}, (2,)),
        (column([1e308, math.inf]), "values_to_be_between", {"max_value": 1e308}, (1,)),
        (column([1e308, -1e308]), "values_to_be_between", {"min_value": 0}, (1,)),
        # Whole numbers beyond 2^53 stay apart; a bound between two of them is one of them.
        (column([2**53, 2**53 + 1]), "values_to_be_unique", {}, ()),
        (column([1, 2]), "values_to_be_between", {"max_value": 1.5}, (1,)),
        (column([1, 2]), "values_to_be_between", {"min_value": 1.5, "strict_min": True}, (0,)),
        (column([2**64 - 1, 0], pl.UInt64), "values_to_be_between", {"max_value": 9}, (0,)),
        # Decimals compare as the number they are written as.
        (
            column([Decimal("0.10"), Decimal("0.11"), None]),
            "values_to_be_between",
            {"max_value": 0.1},
            (1,),
        ),
        (column([Decimal("1.00"), Decimal("1.0")]), "values_to_be_unique", {}, (0, 1)),
        # Text that looks alike is not; lengths count characters, and none of them is invisible.
        (column(["\u00e9", "e\u0301"]), "values_to_be_unique", {}, ()),
        (column(["ab", "a\u200bb", "\u05d0\u202e"]), "value_lengths_to_equal", {"value": 2}, (1,)),
        (column(["a", "a\u200b"]), "values_to_be_in_set", {"value_set": ["a"]}, (1,)),
        (
            column(["\u05d0\u05d1", "ab"]),
            "values_to_match_regex",
            {"regex": "^[\u05d0-\u05ea]+$"},
            (1,),
        ),
        (column(["", None]), "values_to_match_regex", {"regex": "."}, (0,)),
        # Steps: a missing value is stepped over.
        (column([1, None, 3, 2]), "values_to_be_increasing", {}, (3,)),
        (column([1, None, 1]), "values_to_be_increasing", {"strictly": True}, (2,)),
    ],
)
def test_which_rows_break_it(ask, frame, kind, kwargs, rows):
    result = ask(frame, f"column_{kind}", column="x", **kwargs)
    assert (result.rows, result.unexpected) == (rows, len(rows))
    assert result.success == (not rows)


FAR = column([0, 10_000_000, -10_000_000, 2**31 - 1, -(2**31)], pl.Int32).cast(pl.Date)
MOMENTS = column([0, 2**63 - 1, -(2**63)], pl.Int64)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_a_time_of_a_year_that_no_calendar_has_is_compared_like_any_other(ask, unit, zone):
    frame = MOMENTS.select(pl.col("x").cast(pl.Datetime(unit, zone)))
    end = "2000-01-01T00:00:00" + ("+05:30" if zone else "")
    result = ask(frame, "column_values_to_be_between", column="x", min_value=end)
    assert (result.rows, result.error) == ((0, 2), "")
    result = ask(frame, "column_max_to_be_between", column="x", max_value=end)
    assert not result.success
    assert result.result["observed_value"][:4] in ("2262", "9223")


def test_a_date_of_a_year_that_no_calendar_has_is_compared_like_any_other(ask):
    for end in ("1969-01-01", "1969-01-01T00:00:00"):
        result = ask(FAR, "column_values_to_be_between", column="x", min_value=end)
        assert (result.rows, result.error) == ((2, 4), "")
    result = ask(FAR, "column_min_to_be_between", column="x", min_value="1969-01-01")
    assert result.result["observed_value"] == f"{-(2**31) * DAY * 1000} ns since 1970"


def test_a_bound_is_held_to_the_nanosecond(ask):
    frame = column([0, 1], pl.Int64).select(pl.col("x").cast(pl.Datetime("ns")))
    end = {"max_value": "1970-01-01T00:00:00"}
    assert ask(frame, "column_values_to_be_between", column="x", **end).rows == (1,)


def test_one_moment_in_two_zones_is_one_moment(ask):
    berlin = pl.Series([datetime(2013, 7, 1), datetime(2013, 1, 1)]).dt.replace_time_zone(
        "Europe/Berlin"
    )
    frame = pl.DataFrame({"x": berlin})
    for end in ("2013-06-30T22:00:00Z", "2013-07-01T00:00:00+02:00", "2013-07-01T03:30:00+05:30"):
        kept = ask(frame, "column_max_to_be_between", column="x", min_value=end, max_value=end)
        assert kept.success, end
    mixed = ask(frame, "column_values_to_be_between", column="x", max_value="2013-07-01T00:00:00")
    assert "only one has a time zone" in mixed.error
    assert not mixed.success


@pytest.mark.parametrize(
    ("values", "end"),
    [
        (["a", "b"], 5),
        (["2013-01-01"], "2013-01-01"),
        ([date(2013, 1, 1)], 5),
        ([date(2013, 1, 1)], "2013-01-01T00:00:00Z"),
        ([1, 2], "2013-01-01"),
        ([b"a"], 5),
    ],
)
def test_what_cannot_be_compared_is_broken_and_says_why(ask, values, end):
    result = ask(column(values), "column_values_to_be_between", column="x", min_value=end)
    assert not result.success
    assert "column x" in result.error


@pytest.mark.parametrize("dtype", [pl.String, pl.Float64, pl.Date, pl.Null])
def test_a_column_without_a_value_keeps_every_promise_about_values(ask, dtype):
    for frame in (column([None, None], dtype), column([], dtype)):
        assert ask(frame, "column_values_to_be_between", column="x", min_value=5).success
        assert ask(frame, "column_values_to_be_unique", column="x").success
        assert not ask(frame, "column_max_to_be_between", column="x", max_value=5).success


def test_another_schema_breaks_what_names_a_column_that_is_gone(ask):
    frame = pl.DataFrame({"y": [1]})
    for kind, kwargs in (
        ("column_values_to_not_be_null", {"column": "x"}),
        ("column_mean_to_be_between", {"column": "x", "max_value": 5}),
        ("column_pair_values_to_be_equal", {"column_A": "y", "column_B": "x"}),
        ("compound_columns_to_be_unique", {"column_list": ["y", "x"]}),
    ):
        result = ask(frame, kind, **kwargs)
        assert (result.success, result.error) == (False, "the data has no column x")
    assert not ask(frame, "column_to_exist", column="x").success
    told = ask(frame, "table_columns_to_match_set", column_set=["x"]).result["details"]
    assert told == {"mismatched": {"unexpected": ["y"], "missing": ["x"]}}


def test_a_set_of_5000_words_is_held_and_its_rows_are_bounded():
    words = [f"c{place:04d}" for place in range(5000)]
    frame = column([*words, *(f"d{place}" for place in range(50))])
    asked = ("column_values_to_be_in_set", {"column": "x", "value_set": words})
    (result,) = answered(source_of(frame), [asked], most=7)
    assert result.unexpected == 50
    assert result.rows == tuple(range(5000, 5007))
    assert "c0001" not in str(result.result), "contents stay out of results"


def test_a_name_that_is_a_pattern_for_polars_is_a_name(ask):
    frame = pl.DataFrame({"^x.*$": [1, 9], "x1": [0, 0], "*": [3, 3]})
    assert ask(frame, "column_values_to_be_between", column="^x.*$", max_value=5).rows == (1,)
    assert ask(frame, "column_max_to_be_between", column="*", max_value=3).success


def test_a_condition_on_what_is_not_there_is_left_to_gx():
    where = {"type": "nullity", "column": {"name": "gone"}, "is_null": True}
    asked = ("column_values_to_not_be_null", {"column": "x", "row_condition": where})
    (told,) = answered(source_of(column([1])), [asked])
    assert isinstance(told, Delegated)
    assert "gone" in told.why


SUITE = suite_of(
    ("column_values_to_be_unique", {"column": "x"}),
    ("column_values_to_be_between", {"column": "x", "min_value": 0}),
    ("column_mean_to_be_between", {"column": "x", "min_value": 0}),
    ("column_quantile_values_to_be_between", {
        "column": "x",
        "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]},
    }),
    ("column_most_common_value_to_be_in_set", {"column": "x", "value_set": [1, 2]}),
    ("table_row_count_to_be_between", {"min_value": 3}),
)  # fmt: skip


@given(st.lists(st.none() | st.integers(-3, 3), min_size=1, max_size=12), st.data())
def test_answers_do_not_depend_on_where_shards_are_cut(values, data):
    """`compiled`: aggregates do not depend on the order of rows or on where shards are cut."""
    frame = column(values, pl.Int64)
    cut = data.draw(st.integers(0, len(values)))
    whole = compiled.run(SUITE.expectations, source_of(frame), 100)
    parts = compiled.run(SUITE.expectations, source_of(frame[:cut], frame[cut:]), 100)
    assert parts == whole


@given(st.lists(st.none() | st.floats(-5, 5) | st.just(NAN), max_size=12), st.floats(-5, 5))
def test_a_row_is_kept_or_breaks_as_the_obvious_loop_says(values, end):
    frame = column(values, pl.Float64)
    asked = ("column_values_to_be_between", {"column": "x", "max_value": end, "mostly": 0.7})
    (result,) = answered(source_of(frame), [asked])
    present = [value for value in values if value is not None and not math.isnan(value)]
    bad = sum(value > end for value in present)
    assert result.unexpected == bad
    assert result.result["missing_count"] == len(values) - len(present)
    assert result.success == (not present or (len(present) - bad) / len(present) >= 0.7)


PATTERNS = st.sampled_from(
    [r"^a", r"b$", r"^\d{2,3}$", r"[^ab]", r"(a|b)+c?", r"\bx", r"^.\Z", r"[a\-z]", r"a*?b", r"\."]
)
TEXTS = st.text(st.sampled_from("ab.c1-x \u00e9\u05d0"), max_size=6)


@given(PATTERNS, TEXTS)
def test_a_pattern_means_what_it_means_in_python(pattern, text):
    """GX searches by Python's `re`; texts end in no line break, of which `$` is told apart."""
    found = pl.Series([text]).str.contains(linear(pattern))[0]
    assert found == bool(re.search(pattern, text))


@pytest.mark.parametrize(
    "pattern", [r"(?=a)", r"(?<!a)b", r"(a)\1", "a++", "[a&&b]", "[[a]", "(", "a{2,1}"]
)
def test_a_pattern_that_is_not_linear_or_means_two_things_is_refused(pattern):
    asked = ("column_values_to_match_regex", {"column": "x", "regex": pattern})
    with pytest.raises(Malformed, match=r"expectations\[0\].*regex"):
        answered(source_of(column(["a"])), [asked])


@given(st.text("a%_.*", max_size=5), st.text("ab.%\n", max_size=5))
def test_like_is_what_its_two_signs_say(pattern, text):
    def slow(signs: str, left: str) -> bool:
        if not signs:
            return not left
        if signs[0] == "%":
            return any(slow(signs[1:], left[place:]) for place in range(len(left) + 1))
        return bool(left) and signs[0] in ("_", left[0]) and slow(signs[1:], left[1:])

    assert pl.Series([text]).str.contains(like(pattern, None))[0] == slow(pattern, text)


def test_like_takes_an_escape():
    assert pl.Series(["a%", "ab"]).str.contains(like("a!%", "!")).to_list() == [True, False]
    with pytest.raises(Malformed, match="escape"):
        like("a!", "!")
