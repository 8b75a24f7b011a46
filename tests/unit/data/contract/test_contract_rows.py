"""Expectations about rows, one column and several: held to loops over the rows in plain Python."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date

import polars as pl
import pytest
from contract_matrix import answered, source_of
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.data.contract.columns import Delegated
from guards.errors import Malformed

NAN, INF = math.nan, math.inf
FEW = settings(max_examples=40, deadline=None)
WHOLE = st.lists(st.none() | st.integers(-3, 3), max_size=9)
REAL = st.lists(st.none() | st.sampled_from([0.0, -0.0, 0.5, 1.0, NAN, INF, -INF]), max_size=9)


def told(frame, kind, **kwargs):
    (result,) = answered(source_of(frame), [(kind, kwargs)])
    return result


def broken(frame, kind, **kwargs):
    result = told(frame, kind, **kwargs)
    assert result.error == ""
    assert result.unexpected == len(result.rows)
    return list(result.rows)


def lacking(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def one(values, dtype=None):
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


def two(first, second, kinds=(pl.Int64, pl.Int64)):
    rows = min(len(first), len(second))
    columns = zip("ab", (first[:rows], second[:rows]), kinds, strict=True)
    return pl.DataFrame({name: pl.Series(v, dtype=dtype) for name, v, dtype in columns})


@given(REAL)
@FEW
def test_a_value_that_occurs_twice_breaks_uniqueness_in_all_its_rows(values):
    """`unique`: "every row of a value that occurs twice breaks it"; a missing value is none."""
    counted = Counter(value for value in values if not lacking(value))
    wanted = [row for row, v in enumerate(values) if not lacking(v) and counted[v] > 1]
    assert broken(one(values, pl.Float64), "column_values_to_be_unique", column="x") == wanted


@given(REAL)
@FEW
def test_null_and_not_null_part_the_rows(values):
    frame = one(values, pl.Float64)
    empty = broken(frame, "column_values_to_not_be_null", column="x")
    full = broken(frame, "column_values_to_be_null", column="x")
    assert empty == [row for row, value in enumerate(values) if lacking(value)]
    assert sorted(empty + full) == [*range(len(values))]


@given(REAL, st.lists(st.sampled_from([0, 0.5, 1, True, "a", 2**53, 1e300]), min_size=1))
@FEW
def test_a_set_and_its_complement_part_the_values_that_are_there(values, wanted):
    frame = one(values, pl.Float64)
    outside = broken(frame, "column_values_to_be_in_set", column="x", value_set=wanted)
    inside = broken(frame, "column_values_to_not_be_in_set", column="x", value_set=wanted)
    present = [row for row, value in enumerate(values) if not lacking(value)]
    assert inside == [row for row in present if values[row] in wanted]
    assert sorted(inside + outside) == present


@given(WHOLE, st.booleans(), st.booleans())
@FEW
def test_steps_are_held_against_the_last_value_that_was_there(values, up, strictly):
    before, wanted = None, []
    for row, value in enumerate(values):
        if value is None:
            continue
        if before is not None:
            step = (value - before) * (1 if up else -1)
            wanted += [row] if step < 0 or (strictly and step == 0) else []
        before = value
    kind = f"column_values_to_be_{'increasing' if up else 'decreasing'}"
    assert broken(one(values, pl.Int64), kind, column="x", strictly=strictly) == wanted


@given(
    WHOLE,
    st.none() | st.floats(-3, 3),
    st.none() | st.floats(-3, 3),
    st.booleans(),
    st.booleans(),
)
@FEW
def test_whole_numbers_between_ends_that_are_none(values, low, high, above, below):
    if (low is None and high is None) or (None not in (low, high) and low > high):
        return
    ends = {"min_value": low, "max_value": high, "strict_min": above, "strict_max": below}
    kept = [
        v is None
        or (
            (low is None or (v > low if above else v >= low))
            and (high is None or (v < high if below else v <= high))
        )
        for v in values
    ]
    wanted = [row for row, fine in enumerate(kept) if not fine]
    asked = {name: end for name, end in ends.items() if end is not None}
    frame = one(values, pl.Int64)
    assert broken(frame, "column_values_to_be_between", column="x", **asked) == wanted


LONG = ["", "a", "\u05d0\u05d1\u05d2", "e\u0301", "\U0001f600", "x" * 100_000, None]


@pytest.mark.parametrize(
    ("ends", "rows"),
    [
        ({"min_value": 1}, [0]),
        ({"max_value": 1e300}, []),
        ({"max_value": 0}, [1, 2, 3, 4, 5]),
        ({"min_value": -1e300, "max_value": 3}, [5]),
        ({"min_value": 1e300}, [0, 1, 2, 3, 4, 5]),
        ({"min_value": 1, "max_value": 3, "strict_min": True, "strict_max": True}, [0, 1, 2, 4, 5]),
        ({"max_value": -1e300}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_lengths_are_of_characters_and_no_end_is_too_far(ends, rows):
    assert broken(one(LONG), "column_value_lengths_to_be_between", column="x", **ends) == rows


@pytest.mark.parametrize(("value", "rows"), [(3.0, [0, 1, 3, 4, 5]), (1e300, [*range(6)])])
def test_a_length_that_is_wanted_exactly(value, rows):
    assert broken(one(LONG), "column_value_lengths_to_equal", column="x", value=value) == rows


def test_whole_numbers_are_as_long_as_their_digits():
    frame = one([7, -7, None, 10**18])
    assert broken(frame, "column_value_lengths_to_equal", column="x", value=1) == [1, 3]
    result = told(one([0.5]), "column_value_lengths_to_equal", column="x", value=3)
    assert isinstance(result, Delegated)


def test_sets_of_numbers_reach_as_far_as_the_column():
    frame = one([2**63, 2**64 - 2048, 1, None], pl.UInt64)
    wanted = [float(2**63), float(2**64 - 2048), 1e300, -1, 1.5]
    assert broken(frame, "column_values_to_be_in_set", column="x", value_set=wanted) == [2]
    frame = one([2**53, 2**53 + 1])
    assert broken(frame, "column_values_to_be_in_set", column="x", value_set=[2**53]) == [1]


@pytest.mark.parametrize(
    ("values", "dtype", "asked", "kept"),
    [
        ([1], pl.UInt8, "uint8", True),
        ([1], pl.UInt8, "int64", False),
        ([1, None], pl.Int64, "float64", True),
        ([1, None], pl.Int64, "int64", False),
        ([1.0], pl.Float32, "float32", True),
        ([True], pl.Boolean, "bool", True),
        (["a", None], pl.String, "str", True),
        (["a"], pl.String, "no such type", False),
        ([1], pl.Int64, "no such type", False),
        (["a"], pl.Categorical, "CategoricalDtypeType", True),
        ([], pl.Int64, "int64", True),
    ],
)
def test_a_type_is_the_one_that_pandas_has(values, dtype, asked, kept):
    frame = one(values, dtype)
    assert told(frame, "column_values_to_be_of_type", column="x", type_=asked).success == kept
    several = ["datetime64[ns]", asked]
    found = told(frame, "column_values_to_be_in_type_list", column="x", type_list=several)
    assert found.success == kept


@pytest.mark.parametrize(
    ("values", "kind", "kwargs"),
    [
        ([[1], [2]], "values_to_be_unique", {}),
        ([b"a"], "values_to_be_increasing", {}),
        ([b"a"], "value_lengths_to_equal", {"value": 1}),
        ([date(2013, 1, 1)], "values_to_be_in_set", {"value_set": ["2013-01-01"]}),
        ([date(2013, 1, 1)], "values_to_be_of_type", {"type_": "str"}),
        ([True, None], "values_to_be_of_type", {"type_": "bool"}),
    ],
)
def test_what_no_plan_answers_is_left_to_gx_and_says_why(values, kind, kwargs):
    result = told(one(values), f"column_{kind}", column="x", **kwargs)
    assert isinstance(result, Delegated)
    assert result.why.startswith("x is") or "x has missing values" in result.why


def test_words_have_no_steps():
    result = told(one(["a", "b"]), "column_values_to_be_increasing", column="x")
    assert (result.success, "no steps" in result.error) == (False, True)


@pytest.mark.parametrize("mostly", [0, 0.5, 0.75, 0.76, 1])
def test_mostly_is_a_share_of_the_values_that_are_there(mostly):
    frame = one([1, 1, 1, 9, None, None])
    asked = {"column": "x", "max_value": 5, "mostly": mostly}
    assert told(frame, "column_values_to_be_between", **asked).success == (mostly <= 0.75)


IGNORED = {
    "both_values_are_missing": lambda a, b: lacking(a) and lacking(b),
    "either_value_is_missing": lambda a, b: lacking(a) or lacking(b),
    "neither": lambda a, b: False,
}


@given(WHOLE, WHOLE, st.sampled_from([*IGNORED]), st.booleans())
@FEW
def test_pairs_are_compared_row_by_row(first, second, ignored, or_equal):
    """ "a missing value equals nothing", and is neither more nor less."""
    frame, skips = two(first, second), IGNORED[ignored]
    pairs = [(row, a, b) for row, (a, b) in enumerate(frame.iter_rows()) if not skips(a, b)]
    asked = {"column_A": "a", "column_B": "b", "ignore_row_if": ignored}
    unequal = [row for row, a, b in pairs if None in (a, b) or a != b]
    assert broken(frame, "column_pair_values_to_be_equal", **asked) == unequal
    less = [row for row, a, b in pairs if None in (a, b) or not (a >= b if or_equal else a > b)]
    found = broken(frame, "column_pair_values_a_to_be_greater_than_b", or_equal=or_equal, **asked)
    assert found == less


@given(WHOLE, WHOLE, st.lists(st.tuples(*[st.none() | st.integers(-3, 3)] * 2), min_size=1))
@FEW
def test_pairs_in_a_set_of_pairs(first, second, pairs):
    frame = two(first, second)
    wanted = [
        row
        for row, pair in enumerate(frame.iter_rows())
        if pair != (None, None) and pair not in pairs
    ]
    asked = {"column_A": "a", "column_B": "b", "value_pairs_set": [[*pair] for pair in pairs]}
    assert broken(frame, "column_pair_values_to_be_in_set", **asked) == wanted


@given(WHOLE, REAL)
@FEW
def test_compound_keys_are_unique_as_tuples_are(first, second):
    frame = two(first, second, (pl.Int64, pl.Float64))
    keys = [(a, None if lacking(b) else b) for a, b in frame.iter_rows()]
    counted = Counter(keys)
    wanted = [row for row, k in enumerate(keys) if counted[k] > 1 and k != (None, None)]
    found = broken(frame, "compound_columns_to_be_unique", column_list=["a", "b"])
    assert found == wanted


@given(WHOLE, WHOLE)
@FEW
def test_values_of_a_row_are_unlike_one_another(first, second):
    """`unlike_in_row`: "missing values are alike", in rows that are not ignored."""
    frame = two(first, second)
    wanted = [row for row, (a, b) in enumerate(frame.iter_rows()) if a == b]
    kind = "select_column_values_to_be_unique_within_record"
    assert broken(frame, kind, column_list=["a", "b"], ignore_row_if="never") == wanted


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.Int8, pl.Int32, pl.Int64, pl.UInt64])
def test_sums_of_small_numbers_do_not_wrap_around(dtype):
    """200 and 100 are 44 in eight bits, and 300 here."""
    top = {pl.UInt8: 255, pl.Int8: 127, pl.Int32: 2**31 - 1}.get(dtype, 2**53 - 2)
    frame = two([top, 1, None], [top, 1, 1], (dtype, dtype))
    kind = "multicolumn_sum_to_equal"
    assert broken(frame, kind, column_list=["a", "b"], sum_total=2.0 * top) == [1, 2]
    assert broken(frame, kind, column_list=["a", "b"], sum_total=2) == [0, 2]
    assert broken(frame, kind, column_list=["a", "b"], sum_total=-2) == [0, 1, 2]


@given(WHOLE, REAL, st.sampled_from([0, 0.5, 1, 2.5]))
@FEW
def test_sums_with_a_missing_part_are_none(first, second, total):
    frame = two(first, second, (pl.Int64, pl.Float64))
    wanted = [
        row
        for row, (a, b) in enumerate(frame.iter_rows())
        if not (lacking(a) and lacking(b)) and (lacking(a) or lacking(b) or a + b != total)
    ]
    asked = {"column_list": ["a", "b"], "sum_total": total}
    assert broken(frame, "multicolumn_sum_to_equal", **asked) == wanted


def test_columns_that_do_not_compare_are_left_to_gx():
    frame = pl.DataFrame(
        {"n": [1], "w": ["a"], "l": [[1]], "c": pl.Series(["a"], dtype=pl.Categorical)}
    )
    for kind, columns in (
        ("column_pair_values_to_be_equal", {"column_A": "n", "column_B": "w"}),
        ("column_pair_values_a_to_be_greater_than_b", {"column_A": "c", "column_B": "c"}),
        ("multicolumn_sum_to_equal", {"column_list": ["n", "w"], "sum_total": 1}),
        ("compound_columns_to_be_unique", {"column_list": ["n", "l"]}),
        ("select_column_values_to_be_unique_within_record", {"column_list": ["n", "w"]}),
        (
            "column_pair_values_to_be_in_set",
            {"column_A": "n", "column_B": "l", "value_pairs_set": [[1, 1]]},
        ),
    ):
        assert isinstance(told(frame, kind, **columns), Delegated), kind


def test_only_the_rows_of_the_condition_count():
    frame = pl.DataFrame({"x": [1, 1, 2, None, 2], "y": [5, 0, 5, 5, None]})
    where = {"type": "comparison", "column": {"name": "y"}, "operator": "==", "parameter": 5}
    for kind, kwargs, rows in (
        ("column_values_to_be_unique", {"column": "x"}, []),
        ("column_values_to_not_be_null", {"column": "x"}, [3]),
        ("column_values_to_be_decreasing", {"column": "x"}, [2]),
        ("compound_columns_to_be_unique", {"column_list": ["x", "y"]}, []),
        ("column_pair_values_to_be_equal", {"column_A": "x", "column_B": "y"}, [0, 2, 3]),
    ):
        assert broken(frame, kind, row_condition=where, **kwargs) == rows, kind


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_moment_outside_of_every_calendar_is_refused_in_words(end):
    with pytest.raises(Malformed, match="must be a number, or a date or time"):
        told(one([date(2013, 1, 1)]), "column_values_to_be_between", column="x", min_value=end)
