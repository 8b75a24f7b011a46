"""Expectations about a column as a whole, its set of values, and the table: NumPy and loops say."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from itertools import product

import numpy as np
import polars as pl
import pytest
from contract_matrix import answered, source_of
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.data.contract.columns import Delegated, kind_of

NAN, INF = math.nan, math.inf
FEW = settings(max_examples=40, deadline=None)
FINITE = st.lists(st.none() | st.just(NAN) | st.floats(-99, 99), max_size=9)
WHOLE = st.lists(st.none() | st.integers(-3, 3), max_size=9)


def told(frame, kind, **kwargs):
    (result,) = answered(source_of(frame), [(kind, kwargs)])
    return result


def one(values, dtype=None):
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


def observed(values, kind, dtype=pl.Float64):
    """The number itself, which any range lets through where there is one."""
    frame = one(values, dtype)
    result = told(frame, f"column_{kind}_to_be_between", column="x", min_value=-1e308)
    value = result.result["observed_value"]
    assert result.success == (value is not None)
    return value


NUMPY = {
    "min": np.min,
    "max": np.max,
    "mean": np.mean,
    "median": np.median,
    "stdev": lambda values: np.std(values, ddof=1) if len(values) > 1 else None,
}


@given(FINITE, st.sampled_from([*NUMPY]))
@FEW
def test_statistics_are_those_of_numpy_over_what_is_there(values, kind):
    present = [value for value in values if value is not None and not math.isnan(value)]
    wanted = NUMPY[kind](present) if present else None
    found = observed(values, kind)
    assert found == (None if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-9))


@given(FINITE)
@FEW
def test_a_sum_of_nothing_is_nought(values):
    present = [value for value in values if value is not None and not math.isnan(value)]
    assert observed(values, "sum") == pytest.approx(math.fsum(present), abs=1e-9)


def test_a_sum_of_whole_numbers_is_exact_and_never_wraps():
    top = 2**63 - 1
    for dtype, values in ((pl.Int64, [top, top, None]), (pl.UInt64, [2 * top + 1] * 3)):
        wanted = sum(value for value in values if value)
        result = told(one(values, dtype), "column_sum_to_be_between", column="x", min_value=wanted)
        assert result.success
        over = told(one(values, dtype), "column_sum_to_be_between", column="x", max_value=top)
        assert not over.success
    assert observed([200] * 3, "sum", pl.UInt8) == 600


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        ([INF, 1.0], "max", "inf"),  # as JSON can write it
        ([INF, -INF], "mean", None),
        ([INF, -INF], "sum", None),
        ([INF, 1.0], "stdev", None),
        ([5.0], "stdev", None),
        ([-0.0], "min", 0.0),
        ([NAN, NAN], "max", None),
    ],
)
def test_what_is_no_number_is_none_and_keeps_no_promise(values, kind, wanted):
    assert observed(values, kind) == wanted


@given(WHOLE)
@FEW
def test_how_many_are_distinct_and_how_many_are_there(values):
    present = [value for value in values if value is not None]
    share = len(set(present)) / len(present) if present else 0
    assert observed(values, "unique_value_count", pl.Int64) == len(set(present))
    assert observed(values, "proportion_of_unique_values", pl.Int64) == pytest.approx(share)
    share = len(present) / len(values) if values else 0
    assert observed(values, "proportion_of_non_null_values", pl.Int64) == pytest.approx(share)


METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


@given(
    st.lists(st.floats(-99, 99), min_size=1, max_size=12),
    st.floats(0, 1),
    st.sampled_from(METHODS),
)
@FEW
def test_quantiles_are_those_of_numpy(values, level, method):
    wanted = float(np.quantile(values, level, method=method))
    near = [wanted - abs(wanted) * 1e-6 - 1e-9, wanted + abs(wanted) * 1e-6 + 1e-9]
    asked = {"quantiles": [level], "value_ranges": [near]}
    kind, how = "column_quantile_values_to_be_between", {"allow_relative_error": method}
    frame = one([*values, NAN, None], pl.Float64)
    result = told(frame, kind, column="x", quantile_ranges=asked, **how)
    assert result.success
    assert result.result["observed_value"]["values"][0] == pytest.approx(wanted, abs=1e-9)
    far = {"quantiles": [level], "value_ranges": [[near[1] + 1, None]]}
    assert not told(frame, kind, column="x", quantile_ranges=far, **how).success


def test_every_quantile_has_to_lie_in_its_range_and_nothing_has_none():
    kind = "column_quantile_values_to_be_between"
    ranges = {"quantiles": [0.0, 0.5, 1.0], "value_ranges": [[1, None], [None, 2], [9, 9]]}
    result = told(one([1, 2, 3]), kind, column="x", quantile_ranges=ranges)
    assert result.result["details"]["success_details"] == [True, True, False]
    assert not result.success
    for dtype in (pl.Float64, pl.Null):
        assert not told(one([], dtype), kind, column="x", quantile_ranges=ranges).success
    assert "no numbers" in told(one(["a"]), kind, column="x", quantile_ranges=ranges).error
    found = told(one([True]), kind, column="x", quantile_ranges=ranges)
    assert isinstance(found, Delegated)


@pytest.mark.parametrize(("low", "kept"), [(100.001, True), (100.1, False)])
def test_an_end_of_a_quantile_may_be_missed_by_a_ten_thousandth(low, kept):
    ranges = {"quantiles": [0.5], "value_ranges": [[low, None]]}
    kind = "column_quantile_values_to_be_between"
    assert told(one([100.0]), kind, column="x", quantile_ranges=ranges).success == kept


SETS = st.lists(st.integers(-3, 3), min_size=1, max_size=5)


@given(WHOLE, SETS)
@FEW
def test_sets_of_values_are_sets(values, wanted):
    frame = one(values, pl.Int64)
    here = {value for value in values if value is not None}
    for kind, kept in (
        ("be_in", here <= {*wanted}),
        ("contain", here >= {*wanted}),
        ("equal", here == {*wanted}),
    ):
        result = told(frame, f"column_distinct_values_to_{kind}_set", column="x", value_set=wanted)
        assert result.success == kept, kind
        outside, absent = len(here - {*wanted}), len({*wanted} - here)
        assert result.result.get("unexpected_count", outside) == outside
        assert result.result.get("missing_count", absent) == absent


@given(WHOLE, SETS, st.booleans())
@FEW
def test_the_commonest_value_and_its_ties(values, wanted, ties):
    counted = Counter(value for value in values if value is not None)
    modes = {value for value, n in counted.items() if n == max(counted.values())}
    kept = bool(modes & {*wanted}) and (ties or len(modes) == 1)
    result = told(
        one(values, pl.Int64),
        "column_most_common_value_to_be_in_set",
        column="x",
        value_set=wanted,
        ties_okay=ties,
    )
    assert result.success == kept
    assert result.result["modes"] == len(modes)


def test_a_truth_is_one_and_a_word_is_no_number():
    equal = "column_distinct_values_to_equal_set"
    assert told(one([True, False]), equal, column="x", value_set=[1, 0.0]).success
    assert told(one([1.0, 0.0]), equal, column="x", value_set=[True, False]).success
    assert not told(one(["1"]), equal, column="x", value_set=[1]).success
    assert not told(one(["a", None]), equal, column="x", value_set=["a", "\u200ba"]).success
    result = told(one([datetime(2013, 1, 1)]), equal, column="x", value_set=["2013-01-01"])
    assert isinstance(result, Delegated)


TABLE = pl.DataFrame({"a": [1], "b": [2], "\u202ec": [3]})


@pytest.mark.parametrize(
    ("place", "column", "kept"),
    [
        *((None, "a", True), (None, "z", False), (0, "a", True), (1, "a", False)),
        *((-1, "\u202ec", True), (-3, "a", True), (-4, "a", False), (3, "a", False)),
        *((2.0, "\u202ec", True), (1e300, "a", False)),
    ],
)
def test_a_column_exists_at_a_place_from_either_end(place, column, kept):
    asked = {} if place is None else {"column_index": place}
    assert told(TABLE, "column_to_exist", column=column, **asked).success == kept


@pytest.mark.parametrize(
    ("names", "order", "exact", "some"),
    [
        (["a", "b", "\u202ec"], True, True, True),
        (["b", "a", "\u202ec"], False, True, True),
        (["a", "b"], False, False, True),
        (["a", "b", "c", "d"], False, False, False),
    ],
)
def test_columns_in_order_as_a_set_and_among_others(names, order, exact, some):
    ordered = told(TABLE, "table_columns_to_match_ordered_list", column_list=names)
    assert ordered.success == order
    assert bool(ordered.result.get("details")) != order
    for strict, kept in ((True, exact), (False, some)):
        asked = {"column_set": names, "exact_match": strict}
        assert told(TABLE, "table_columns_to_match_set", **asked).success == kept


@given(st.integers(0, 5), st.integers(0, 5), st.booleans())
@FEW
def test_rows_and_columns_are_counted(rows, wanted, strict):
    frame = one([*range(rows)], pl.Int64)
    assert told(frame, "table_row_count_to_equal", value=wanted).success == (rows == wanted)
    found = told(frame, "table_row_count_to_be_between", min_value=wanted, strict_min=strict)
    assert found.success == (rows > wanted if strict else rows >= wanted)
    assert told(frame, "table_column_count_to_equal", value=wanted).success == (wanted == 1)
    assert told(frame, "table_column_count_to_be_between", max_value=wanted).success == (wanted > 0)
    where = {"type": "comparison", "column": {"name": "x"}, "operator": ">=", "parameter": 2}
    found = told(frame, "table_row_count_to_equal", value=wanted, row_condition=where)
    assert found.success == (max(rows - 2, 0) == wanted)


KINDS = {
    "integer": [pl.Int8, pl.UInt64],
    "float": [pl.Float32, pl.Float64],
    "text": [pl.String, pl.Categorical, pl.Enum(["a"])],
    "decimal": [pl.Decimal(10, 2)],
    "datetime": [pl.Datetime("ns", "UTC")],
    "other": [pl.Int128, pl.List(pl.Int8), pl.Struct({"a": pl.Int8}), pl.Array(pl.Int8, 2)],
    **{name: [dtype] for name, dtype in (("date", pl.Date), ("time", pl.Time), ("null", pl.Null))},
}


@pytest.mark.parametrize(("kind", "dtype"), [(k, d) for k, some in KINDS.items() for d in some])
def test_a_type_is_of_one_kind(kind, dtype):
    assert kind_of(pl.Series([], dtype=dtype).dtype) == kind


def comparison(column, operator, parameter):
    named = {"name": column}
    return {"type": "comparison", "column": named, "operator": operator, "parameter": parameter}


def chosen(frame, condition):
    """The rows that a condition chooses, as those which break a promise that no row keeps."""
    asked = {"column": "row", "value_set": [-1], "row_condition": condition}
    result = told(frame.with_row_index("row"), "column_values_to_be_in_set", **asked)
    assert not isinstance(result, Delegated), result
    return list(result.rows)


COMPARE = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@given(
    st.lists(st.none() | st.sampled_from([0.0, -0.0, 0.5, 1.0, NAN, INF, -INF]), max_size=9),
    st.sampled_from([*COMPARE]),
    st.sampled_from([0, 1, 0.5, -1, 2**53, 1e300]),
)
@FEW
def test_a_missing_value_differs_from_everything_and_is_neither_more_nor_less(values, sign, end):
    def holds(value):
        if value is None or math.isnan(value):
            return sign == "!="
        return COMPARE[sign](value, end)

    wanted = [row for row, value in enumerate(values) if holds(value)]
    assert chosen(one(values, pl.Float64), comparison("x", sign, end)) == wanted


PARAMETERS = ([], [1], [2.0], [1, 2.5], [2.5, 1], [1e300, -1, 1.0], [2**53])


@pytest.mark.parametrize(
    ("dtype", "parameter"),
    [*product([pl.Int64, pl.UInt8, pl.UInt64, pl.Float32, pl.Float64], PARAMETERS)],
)
def test_lists_of_whole_and_other_numbers_choose_rows_of_any_number(dtype, parameter):
    values = [1, 2, None, 3]
    frame = one(values, dtype)
    inside = [row for row, value in enumerate(values) if value in parameter]
    assert chosen(frame, comparison("x", "IN", parameter)) == inside
    outside = [row for row in range(4) if row not in inside]
    assert chosen(frame, comparison("x", "NOT_IN", parameter)) == outside


def test_words_and_truths_choose_rows():
    frame = pl.DataFrame({"w": ["a", "\u05d0", None], "t": [True, None, False]})
    assert chosen(frame, comparison("w", "IN", ["a", "\u05d0"])) == [0, 1]
    assert chosen(frame, comparison("w", ">", "a")) == [1]
    assert chosen(frame, comparison("t", "IN", [True])) == [0]
    assert chosen(frame, comparison("t", "==", False)) == [2]
    assert chosen(frame, comparison("t", "NOT_IN", [True])) == [1, 2]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=4), st.booleans())
@FEW
def test_conditions_are_joined_as_sets_are(parts, every):
    frame = pl.DataFrame({"x": [0, 1, 2, None], "y": [None, 1, 1, 1]})
    values = frame["x"].to_list()
    conditions, sets = [], []
    for nullity, end in parts:
        if nullity:
            conditions.append({"type": "nullity", "column": {"name": "y"}, "is_null": end > 1})
            sets.append({0} if end > 1 else {1, 2, 3})
        else:
            conditions.append(comparison("x", ">=", end))
            sets.append({row for row, v in enumerate(values) if v is not None and v >= end})
    joined = set.intersection(*sets) if every else set.union(*sets)
    condition = {"type": "and" if every else "or", "conditions": conditions}
    assert chosen(frame, condition) == sorted(joined)


@pytest.mark.parametrize(
    ("column", "parameter"), [("x", "1"), ("x", True), ("w", 1), ("t", 1), ("d", "2013-01-01")]
)
def test_another_kind_of_value_is_left_to_gx(column, parameter):
    day = datetime(2013, 1, 1)
    frame = pl.DataFrame({"x": [1], "w": ["1"], "t": [True], "d": [day]})
    asked = {"column": "x", "row_condition": comparison(column, "==", parameter)}
    result = told(frame, "column_values_to_not_be_null", **asked)
    assert isinstance(result, Delegated)
    assert "another kind of value" in result.why
