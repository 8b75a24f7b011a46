"""Edge data and questions: what both runners are asked, and where they are known to differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import polars as pl

from guards.data.contract import compiled
from guards.data.contract.columns import Delegated
from guards.data.contract.compiled import Source
from guards.data.contract.result import Result
from guards.data.contract.suite import Suite, parse_suite

Asked = tuple[str, dict[str, Any]]
BIG = 2**53


def suite_of(*asked: Asked, **extra: Any) -> Suite:
    """A suite of (type, kwargs) pairs, the types without their `expect_`."""
    expectations = [{"type": f"expect_{kind}", "kwargs": kwargs, **extra} for kind, kwargs in asked]
    return parse_suite({"name": "small", "expectations": expectations})


def source_of(*frames: pl.DataFrame) -> Source:
    """Frames under one another, as one source that is read lazily."""
    lazy = pl.concat([one.lazy() for one in frames])
    rows = sum(one.height for one in frames)
    return Source(frame=lazy, schema=dict(frames[0].schema), rows=rows)


def answered(source: Source, asked: Sequence[Asked], most: int = 1000) -> list[Result | Delegated]:
    """What the compiled runner says to each."""
    told = compiled.run(suite_of(*asked).expectations, source, most)
    return [told[place] for place in range(len(asked))]


EDGES = pl.DataFrame(
    {
        "whole": [1, 2, 3, 2, BIG],
        "gaps": [1, 2, None, 40, 2],
        "big": [BIG, BIG + 1, None, 5, 5],
        "tiny": pl.Series([1, 2, 3, 4, 4], dtype=pl.UInt8),
        "huge": pl.Series([1, 2, 2**64 - 1, 0, 2], dtype=pl.UInt64),
        "real": [0.1, float("nan"), None, -0.0, 1e308],
        "plain": [0.0, 1.5, -1e308, float("inf"), 1.5],
        "single": pl.Series([0.1, 0.25, None, 3, 0.1], dtype=pl.Float32),
        "truth": [True, False, True, True, False],
        "maybe": [True, None, False, True, True],
        "word": ["a", "b", None, "e\u0301\u200b", "\u05d0\u202e\u05d1"],
        "mixed": ["1", "a", "x\n", "\u0661", ""],
        "kind": pl.Series(["a", "b", None, "a", "c"], dtype=pl.Categorical),
        "day": [date(2013, 1, 1), date(2014, 1, 1), None, date(2500, 1, 1), date(1, 1, 1)],
        "moment": [
            datetime(2013, 1, 1),
            datetime(2014, 1, 1, 5),
            None,
            *[datetime(9999, 12, 31)] * 2,
        ],
        "zoned": pl.Series(
            [datetime(2013, 1, 1), datetime(2014, 1, 1, 5), None, *[datetime(2013, 7, 1)] * 2]
        ).dt.replace_time_zone("Europe/Berlin"),
        "exact": pl.Series(["0.10", "2.50", None, "3", "3"]).cast(pl.Decimal(10, 2)),
        "span": pl.Series([1, 5, None, 7, 7]).cast(pl.Duration("us")),
        "clock": [time(1), time(2), None, time(3), time(3)],
        "bytes": [b"a", b"b", None, b"c", b"c"],
        "nothing": pl.Series([None] * 5, dtype=pl.Null),
        "no_real": pl.Series([None] * 5, dtype=pl.Float64),
        "no_word": pl.Series([None] * 5, dtype=pl.String),
    }
)
_WORDS = [f"c{place:04d}" for place in range(5000)]
FRAMES: Mapping[str, pl.DataFrame] = {
    "edges": EDGES,
    "empty": EDGES.clear(),
    "all-null": EDGES.select(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in EDGES.schema.items()
    ).select(pl.all().repeat_by(3).explode()),
    "many-words": pl.DataFrame(
        {"word": [*_WORDS, *_WORDS[:10]], "whole": range(5010), "real": [0.5] * 5010}
    ),
}

BETWEEN = (
    {"min_value": 0, "max_value": 2},
    {"min_value": 0, "max_value": 2, "strict_min": True, "mostly": 0.5},
    {"max_value": 2.5, "strict_max": True},
    {"min_value": 1.5},
    {"min_value": "2013-01-01", "max_value": "2014-06-01"},
    {"min_value": "2013-01-01T00:00:00", "strict_min": True},
    {"max_value": "2013-01-01T00:00:00+01:00"},
)
RANGES = tuple({k: v for k, v in one.items() if k != "mostly"} for one in BETWEEN)
SETS = (
    {"value_set": [1, 2, "a", 0.1, 40]},
    {"value_set": ["a", "b", "c", "c0001"]},
    {"value_set": [0, 1, 2.5, True]},
    {"value_set": [None, 1, 0.5]},
)
OF_COLUMN: Mapping[str, tuple[dict[str, Any], ...]] = {
    "values_to_not_be_null": ({}, {"mostly": 0.8}),
    "values_to_be_null": ({}, {"mostly": 0.2}),
    "values_to_be_unique": ({}, {"mostly": 0.5}),
    "values_to_be_between": BETWEEN,
    "values_to_be_in_set": (*SETS, {"value_set": ["2013-01-01"]}),
    "values_to_not_be_in_set": (*SETS, {"value_set": ["2013-01-01"]}),
    "values_to_match_regex": tuple(
        {"regex": one} for one in (r"^\w$", r"\d", r"^[a-z]\d+$", r"(?i)^A", r"a|b", r"^.{1,3}\Z")
    ),
    "values_to_not_match_regex": ({"regex": "[ab]"}, {"regex": r"^\d+$"}),
    "value_lengths_to_be_between": (
        {"min_value": 1, "max_value": 2, "strict_max": True},
        {"min_value": 1, "strict_min": True},
        {"max_value": 1},
    ),
    "value_lengths_to_equal": ({"value": 1}, {"value": 5.0}),
    "values_to_be_increasing": ({}, {"strictly": True}),
    "values_to_be_decreasing": ({}, {"strictly": True}),
    "values_to_be_of_type": tuple(
        {"type_": one} for one in ("int64", "float", "str", "bool", "int", "object", "nonsense")
    ),
    "values_to_be_in_type_list": (
        {"type_list": ["int64", "float64"]},
        {"type_list": ["str", "bool"]},
        {"type_list": ["nonsense"]},
    ),
    "min_to_be_between": RANGES,
    "max_to_be_between": RANGES,
    "mean_to_be_between": ({}, *RANGES[:3]),
    "median_to_be_between": RANGES[:3],
    "sum_to_be_between": (RANGES[0], RANGES[3]),
    "stdev_to_be_between": (RANGES[0], RANGES[3]),
    "unique_value_count_to_be_between": ({"min_value": 3, "max_value": 3}, {"max_value": 4}),
    "proportion_of_unique_values_to_be_between": ({"min_value": 0.75, "strict_min": True},),
    "proportion_of_non_null_values_to_be_between": ({"max_value": 0.8, "strict_max": True},),
    "quantile_values_to_be_between": (
        {
            "quantile_ranges": {
                "quantiles": [0, 0.25, 0.5, 1],
                "value_ranges": [[0, 3], [None, 3], [1, None], [40, 40.001]],
            }
        },
        *(
            {
                "quantile_ranges": {"quantiles": [0.3], "value_ranges": [[0, 3]]},
                "allow_relative_error": one,
            }
            for one in ("linear", "midpoint", "lower", "higher")
        ),
    ),
    "distinct_values_to_be_in_set": SETS[:3],
    "distinct_values_to_contain_set": ({"value_set": [1, 2]}, {"value_set": ["a"]}),
    "distinct_values_to_equal_set": ({"value_set": [1, 2, 40]}, {"value_set": [True, False]}),
    "most_common_value_to_be_in_set": (
        {"value_set": [2, True, "a", 0.1]},
        {"value_set": [2, True, "a", 0.0, "c0003"], "ties_okay": True},
    ),
}
PAIRS = (
    *(("whole", "gaps"), ("gaps", "real"), ("real", "plain"), ("word", "mixed"), ("day", "day")),
    *(("moment", "moment"), ("zoned", "zoned"), ("truth", "maybe"), ("word", "whole")),
    *(("nothing", "no_real"), ("kind", "word"), ("day", "moment"), ("tiny", "huge")),
    *(("exact", "exact"), ("single", "real")),
)
VALUE_PAIRS = [[1, 1], [2, 2], [None, 3], ["a", "1"], ["b", "a"], [True, True], [0.1, 0.0]]


def _compare(column: str, operator: str, parameter: Any) -> dict[str, Any]:
    return {
        "type": "comparison",
        "column": {"name": column},
        "operator": operator,
        "parameter": parameter,
    }


def _missing(column: str, is_null: bool) -> dict[str, Any]:
    return {"type": "nullity", "column": {"name": column}, "is_null": is_null}


CONDITIONS = (
    *(_compare("gaps", one, 2) for one in ("==", "!=", "<", "<=", ">", ">=")),
    _compare("word", "==", "a"),
    _compare("word", "!=", "a"),
    _compare("word", "IN", ["a", "b"]),
    _compare("word", "NOT_IN", ["a"]),
    _compare("gaps", "NOT_IN", [1, 2]),
    _compare("truth", "==", True),
    _compare("maybe", "==", True),
    _compare("kind", "==", "a"),
    _compare("real", "<", 1),
    _compare("plain", ">=", 1.5),
    _compare("gaps", ">", 1000),
    _compare("huge", ">", 1),
    _compare("exact", ">", 1),
    _compare("day", ">", "2013-06-01"),
    _missing("gaps", True),
    _missing("word", False),
    _missing("real", True),
    _missing("nothing", False),
    {"type": "and", "conditions": [_compare("gaps", ">", 0), _missing("word", False)]},
    {"type": "or", "conditions": [_compare("gaps", ">", 5), _compare("word", "==", "a")]},
)
UNDER_CONDITION: tuple[Asked, ...] = (
    ("column_values_to_not_be_null", {"column": "real"}),
    ("column_values_to_be_between", {"column": "whole", "max_value": 2}),
    ("column_values_to_be_unique", {"column": "whole"}),
    ("column_values_to_be_increasing", {"column": "gaps"}),
    ("column_max_to_be_between", {"column": "gaps", "max_value": 2}),
    ("column_median_to_be_between", {"column": "whole", "max_value": 2}),
    ("column_unique_value_count_to_be_between", {"column": "word", "max_value": 1}),
    ("column_most_common_value_to_be_in_set", {"column": "word", "value_set": ["a"]}),
    ("column_distinct_values_to_be_in_set", {"column": "word", "value_set": ["a"]}),
    ("column_pair_values_to_be_equal", {"column_A": "gaps", "column_B": "whole"}),
    ("compound_columns_to_be_unique", {"column_list": ["gaps", "whole"]}),
    ("table_row_count_to_be_between", {"max_value": 2}),
)
OF_TABLE: tuple[Asked, ...] = (
    ("column_to_exist", {"column": "whole"}),
    ("column_to_exist", {"column": "gone"}),
    ("column_to_exist", {"column": "whole", "column_index": 0}),
    ("column_to_exist", {"column": "real", "column_index": 2}),
    ("column_to_exist", {"column": "real", "column_index": -1}),
    ("column_to_exist", {"column": "whole", "column_index": 99}),
    ("table_columns_to_match_set", {"column_set": ["whole"], "exact_match": False}),
    ("table_columns_to_match_set", {"column_set": ["whole"]}),
    ("table_columns_to_match_set", {"column_set": ["word", "whole", "real"]}),
    ("table_columns_to_match_ordered_list", {"column_list": ["word", "whole", "real"]}),
    ("table_columns_to_match_ordered_list", {"column_list": ["whole", "gone"]}),
    ("table_column_count_to_equal", {"value": 3}),
    ("table_column_count_to_be_between", {"max_value": 4}),
    ("table_row_count_to_equal", {"value": 5}),
    ("table_row_count_to_be_between", {"min_value": 5, "strict_min": True}),
    ("table_row_count_to_be_between", {}),
)


# Those by which the known differences are met, and what was once wrong, asked always.
_OF_EDGES: tuple[Asked, ...] = (
    ("column_values_to_match_regex", {"column": "gaps", "regex": "^[a-z]?\\d$"}),
    ("column_values_to_match_regex", {"column": "mixed", "regex": r"^\w$"}),
    ("column_values_to_be_in_type_list", {"column": "word", "type_list": ["str", "bool"]}),
    ("column_to_exist", {"column": "word", "column_index": 0}),
    ("compound_columns_to_be_unique", {"column_list": ["big", "truth"]}),
    ("column_values_to_be_unique", {"column": "big"}),
    ("column_values_to_be_between", {"column": "moment", "min_value": "2013-01-01"}),
    ("column_sum_to_be_between", {"column": "exact", "max_value": 9}),
    (
        "column_quantile_values_to_be_between",
        {
            "column": "exact",
            "quantile_ranges": {"quantiles": [0.3], "value_ranges": [[0, 3]]},
            "allow_relative_error": "linear",
        },
    ),
    (
        "column_pair_values_a_to_be_greater_than_b",
        {"column_A": "truth", "column_B": "maybe", "ignore_row_if": "neither"},
    ),
    ("column_values_to_be_increasing", {"column": "huge"}),
    ("column_sum_to_be_between", {"column": "huge", "max_value": 5}),
    ("column_max_to_be_between", {"column": "mixed", "min_value": "2013-01-01T00:00:00"}),
    ("column_mean_to_be_between", {"column": "span"}),
)
_OF_NOTHING: tuple[Asked, ...] = (
    ("column_min_to_be_between", {"column": "day", "min_value": "2013-01-01"}),
    ("column_sum_to_be_between", {"column": "clock", "min_value": 0}),
    ("column_values_to_be_between", {"column": "zoned", "max_value": "2013-01-01T00:00:00"}),
    ("column_values_to_be_between", {"column": "word", "max_value": 5}),
    ("column_values_to_be_increasing", {"column": "gaps"}),
)
ALWAYS: Mapping[str, tuple[Asked, ...]] = {
    "edges": _OF_EDGES,
    "empty": _OF_NOTHING,
    "all-null": _OF_NOTHING,
}


def chosen(name: str, *, whole: bool) -> list[Asked]:
    """What is asked of a frame: everything, or of every type some.

    GX takes some 20 ms for a question, so all of them take minutes.
    """
    asked = list(questions(FRAMES[name]))
    if whole:
        return asked
    by_kind: dict[str, list[Asked]] = {}
    for one in asked:
        by_kind.setdefault(one[0], []).append(one)
    # No step divides the number of variants, so that columns and variants turn.
    step = {"edges": 17, "many-words": 7}.get(name, 31)
    thin = [
        one
        for place, alike in enumerate(by_kind.values())
        for one in alike[place % min(step, len(alike)) :: step]
    ]
    return [*thin, *ALWAYS.get(name, ())]


def questions(frame: pl.DataFrame) -> Iterator[Asked]:
    """Every compiled type asked of a frame, with every variant of the arguments."""
    for kind, variants in OF_COLUMN.items():
        for column in frame.columns:
            for kwargs in variants:
                yield f"column_{kind}", {"column": column, **kwargs}
    yield from OF_TABLE
    pairs = [pair for pair in PAIRS if set(pair) <= set(frame.columns)]
    for first, second in pairs:
        yield from _of_pair(first, second)
        yield from _of_list([first, second] if first != second else [first, "whole"])
    if "gaps" in frame.columns:
        for condition in CONDITIONS:
            for kind, kwargs in UNDER_CONDITION:
                yield kind, {**kwargs, "row_condition": condition}


def _of_pair(first: str, second: str) -> Iterator[Asked]:
    for ignored in ("both_values_are_missing", "either_value_is_missing", "neither"):
        pair = {"column_A": first, "column_B": second, "ignore_row_if": ignored}
        yield "column_pair_values_to_be_equal", pair
        yield "column_pair_values_a_to_be_greater_than_b", pair
        yield "column_pair_values_a_to_be_greater_than_b", {**pair, "or_equal": True}
        yield "column_pair_values_to_be_in_set", {**pair, "value_pairs_set": VALUE_PAIRS}


def _of_list(columns: list[str]) -> Iterator[Asked]:
    for ignored in ("all_values_are_missing", "any_value_is_missing", "never"):
        listed = {"column_list": columns, "ignore_row_if": ignored}
        yield "compound_columns_to_be_unique", listed
        yield "select_column_values_to_be_unique_within_record", listed
        yield "multicolumn_sum_to_equal", {**listed, "sum_total": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A place where the two runners are known to differ, and why that is on purpose."""

    why: str
    holds: Callable[[str, Mapping[str, Any], pl.DataFrame], bool]


def _type_of(kwargs: Mapping[str, Any], frame: pl.DataFrame) -> pl.DataType:
    return frame.schema.get(kwargs.get("column", ""), pl.Null())


def _digits(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    worded = "regex" in kind or "lengths" in kind
    return worded and _type_of(kwargs, frame).is_integer() and bool(_nulls(kwargs, frame))


def _nulls(kwargs: Mapping[str, Any], frame: pl.DataFrame) -> int:
    return frame[kwargs["column"]].null_count()


def _line_end(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    return "regex" in kind and kwargs["regex"].endswith("$") and kwargs["column"] == "mixed"


def _text_in_list(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    listed = "str" in kwargs.get("type_list", ())
    return listed and _type_of(kwargs, frame) == pl.String


def _first_place(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    return kind == "column_to_exist" and kwargs.get("column_index") == 0


def _beyond(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    return "big" in (kwargs.get("column"), *kwargs.get("column_list", ()))


def _round_again(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    wide = "huge" in (kwargs.get("column"), *kwargs.get("column_list", ()))
    return wide and ("creasing" in kind or "sum" in kind)


def _words_as_dates(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    dated = any(str(kwargs.get(end)).startswith("2013") for end in ("min_value", "max_value"))
    return kind.startswith(("column_min", "column_max")) and dated and kwargs["column"] == "mixed"


def _no_number(kind: str, kwargs: Mapping[str, Any], frame: pl.DataFrame) -> bool:
    total = kind.startswith(("column_sum", "column_mean"))
    return total and _type_of(kwargs, frame) in (pl.Duration, pl.Time, pl.Binary)


# Both answer, and not alike.
DIFFERENCES: Mapping[str, Difference] = {
    "digits": Difference(
        why="a column of whole numbers with a missing one is of floats in pandas, so GX reads 1.0",
        holds=_digits,
    ),
    "line-end": Difference(
        why="`$` is the end of the text here; for Python also the place before a last line break",
        holds=_line_end,
    ),
    "text-in-list": Difference(
        why="GX finds `str` in no list of types, since the type that pandas 3 has is no class",
        holds=_text_in_list,
    ),
    "first-place": Difference(
        why="GX takes the place 0 for none, so a column may stand anywhere", holds=_first_place
    ),
    "beyond-2^53": Difference(
        why="GX compares whole numbers as floats where one is missing, so large ones become equal",
        holds=_beyond,
    ),
    "round-again": Difference(
        why="GX adds and subtracts unsigned numbers in their own width, where they begin anew at 0",
        holds=_round_again,
    ),
    "words-as-dates": Difference(
        why="GX reads words as dates where the bound is one, so that 1 is a day of this month",
        holds=_words_as_dates,
    ),
    "no-number": Difference(
        why="GX has a mean of spans without bounds, and 0 for the sum of no times or bytes",
        holds=_no_number,
    ),
}
# GX meets an exception, and here there is an answer.
ONLY_HERE: Mapping[str, str] = {
    "Cannot compare Timestamp with datetime.date": "a bound that is a date, for a column of times",
    "Cannot compare NaT with datetime.date": "the least of no days, which lies in no bounds",
    "Invalid comparison between dtype=datetime64": "a column with a time zone and nothing in it",
    "float() argument must be a string or a real number": "a sum of decimals, one of them missing",
    "unsupported operand type(s) for *: 'decimal.Decimal'": "a quantile of decimals",
    "not supported between instances of 'bool' and 'NoneType'": "a truth beside a missing one",
}
