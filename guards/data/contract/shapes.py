"""Which arguments each compiled type of expectation takes, and how each of them is read.

The names and their meaning are those of GX 1.x. What GX would silently turn into something else (a
number in quotes, `true` for 1, 3.7 for 3) is refused here, by the place in the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from guards.data.contract.conditions import condition
from guards.provenance.strictjson import Node

Reader = Callable[[Node], Any]
Scalar = bool | int | float | str | None
PAIR_ROWS = ("both_values_are_missing", "either_value_is_missing", "neither")
LIST_ROWS = ("all_values_are_missing", "any_value_is_missing", "never")
INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The arguments of one type: those it must have, and those it may have."""

    needs: Mapping[str, Reader] = field(default_factory=dict)
    takes: Mapping[str, Reader] = field(default_factory=dict)


def number(node: Node) -> float:
    """A finite number that is no truth value."""
    if type(node.value) not in (int, float):
        node.refuse("must be a number")
    found: float = node.value
    return found


def count(node: Node) -> int:
    """A whole number; 3.0 is one, as GX itself writes it."""
    value = number(node)
    return int(value) if value == int(value) else node.refuse("must be a whole number")


def share(node: Node) -> float:
    """A share from 0 to 1."""
    value = number(node)
    return value if 0 <= value <= 1 else node.refuse("must lie between 0 and 1")


def bound(node: Node) -> float | date | datetime:
    """A number, or a date or time in ISO 8601 as text."""
    if type(node.value) is not str:
        return number(node)
    text = node.value
    try:
        return date.fromisoformat(text) if len(text) <= 10 else _moment(text)
    except (ValueError, OverflowError):
        return node.refuse("must be a number, or a date or time like 2013-01-31T00:00:00")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def scalar(node: Node) -> Scalar:
    """A text, a number, true, false or null."""
    if isinstance(node.value, list | dict):
        node.refuse("must be a text or a number")
    found: Scalar = node.value
    return found


def scalars(node: Node) -> tuple[Scalar, ...]:
    """A list of values, not empty: an empty set would be a promise that nothing can keep."""
    return tuple(scalar(item) for item in node.each()) or node.refuse("must not be empty")


def texts(node: Node) -> tuple[str, ...]:
    """A list of texts, not empty."""
    return tuple(item.text() for item in node.each()) or node.refuse("must not be empty")


def names(node: Node) -> tuple[str, ...]:
    """A list of columns, none of them twice."""
    found = texts(node)
    return found if len(set(found)) == len(found) else node.refuse("names a column twice")


def several(node: Node) -> tuple[str, ...]:
    """Two columns or more."""
    found = names(node)
    return found if len(found) > 1 else node.refuse("must name at least two columns")


def pairs(node: Node) -> tuple[tuple[Scalar, Scalar], ...]:
    """A list of pairs of values, not empty."""
    found = [tuple(scalar(item) for item in pair.each()) for pair in node.each()]
    if not found or any(len(pair) != 2 for pair in found):
        node.refuse("must be a list of pairs")
    return tuple((first, second) for first, second in found)


def one_of(*words: str) -> Reader:
    """One of these words."""

    def read(node: Node) -> str:
        text = node.text()
        return text if text in words else node.refuse(f"must be one of {', '.join(words)}")

    return read


def interpolation(node: Node) -> str:
    """How a quantile between two values is taken; false is GX's default, the nearest."""
    return "nearest" if node.value is False else one_of(*INTERPOLATIONS)(node)


def quantiles(node: Node) -> tuple[tuple[float, float | None, float | None], ...]:
    """Quantiles, each with the range in which it must lie."""
    node.only("quantiles", "value_ranges")
    levels = [share(item) for item in node.of("quantiles").each()]
    ranges = [tuple(_end(item) for item in one.each()) for one in node.of("value_ranges").each()]
    if not levels or len(levels) != len(ranges) or any(len(one) != 2 for one in ranges):
        node.refuse("must give each quantile a range of two ends")
    return tuple((level, low, high) for level, (low, high) in zip(levels, ranges, strict=True))


def _end(node: Node) -> float | None:
    return None if node.value is None else number(node)


def character(node: Node) -> str:
    """One character."""
    text = node.text()
    return text if len(text) == 1 else node.refuse("must be one character")


def _flag(node: Node) -> bool:
    return node.flag()


def _text(node: Node) -> str:
    return node.text()


_WHERE: Mapping[str, Reader] = {"row_condition": condition}
_MOSTLY: Mapping[str, Reader] = {"mostly": share, **_WHERE}
_STRICT: Mapping[str, Reader] = {"strict_min": _flag, "strict_max": _flag}
_RANGE: Mapping[str, Reader] = {"min_value": bound, "max_value": bound, **_STRICT}
_NUMBERS: Mapping[str, Reader] = {"min_value": number, "max_value": number, **_STRICT}
_COUNTS: Mapping[str, Reader] = {"min_value": count, "max_value": count, **_STRICT}
_COLUMN: Mapping[str, Reader] = {"column": _text}
_PAIR: Mapping[str, Reader] = {"column_A": _text, "column_B": _text}
_PAIR_ROWS: Mapping[str, Reader] = {"ignore_row_if": one_of(*PAIR_ROWS), **_MOSTLY}
_LIST: Mapping[str, Reader] = {"column_list": several}
_LIST_ROWS: Mapping[str, Reader] = {"ignore_row_if": one_of(*LIST_ROWS), **_MOSTLY}


def _rows(takes: Mapping[str, Reader] | None = None, **needs: Reader) -> Shape:
    return Shape(needs={**_COLUMN, **needs}, takes={**_MOSTLY, **(takes or {})})


def _whole(takes: Mapping[str, Reader] | None = None, **needs: Reader) -> Shape:
    return Shape(needs={**_COLUMN, **needs}, takes={**_WHERE, **(takes or {})})


SHAPES: Mapping[str, Shape] = {
    "expect_column_values_to_not_be_null": _rows(),
    "expect_column_values_to_be_null": _rows(),
    "expect_column_values_to_be_unique": _rows(),
    "expect_column_values_to_be_between": _rows(_RANGE),
    "expect_column_values_to_be_in_set": _rows(value_set=scalars),
    "expect_column_values_to_not_be_in_set": _rows(value_set=scalars),
    "expect_column_values_to_match_regex": _rows(regex=_text),
    "expect_column_values_to_not_match_regex": _rows(regex=_text),
    "expect_column_values_to_match_like_pattern": _rows({"escape": character}, like_pattern=_text),
    "expect_column_values_to_not_match_like_pattern": _rows(
        {"escape": character}, like_pattern=_text
    ),
    "expect_column_value_lengths_to_be_between": _rows(_COUNTS),
    "expect_column_value_lengths_to_equal": _rows(value=count),
    "expect_column_values_to_be_increasing": _rows({"strictly": _flag}),
    "expect_column_values_to_be_decreasing": _rows({"strictly": _flag}),
    "expect_column_values_to_be_of_type": _rows(type_=_text),
    "expect_column_values_to_be_in_type_list": _rows(type_list=texts),
    "expect_column_min_to_be_between": _whole(_RANGE),
    "expect_column_max_to_be_between": _whole(_RANGE),
    "expect_column_mean_to_be_between": _whole(_RANGE),
    "expect_column_median_to_be_between": _whole(_RANGE),
    "expect_column_sum_to_be_between": _whole(_RANGE),
    "expect_column_stdev_to_be_between": _whole(_NUMBERS),
    "expect_column_unique_value_count_to_be_between": _whole(_COUNTS),
    "expect_column_proportion_of_unique_values_to_be_between": _whole(_NUMBERS),
    "expect_column_proportion_of_non_null_values_to_be_between": _whole(_NUMBERS),
    "expect_column_quantile_values_to_be_between": _whole(
        {"allow_relative_error": interpolation}, quantile_ranges=quantiles
    ),
    "expect_column_distinct_values_to_be_in_set": _whole(value_set=scalars),
    "expect_column_distinct_values_to_contain_set": _whole(value_set=scalars),
    "expect_column_distinct_values_to_equal_set": _whole(value_set=scalars),
    "expect_column_most_common_value_to_be_in_set": _whole({"ties_okay": _flag}, value_set=scalars),
    "expect_column_pair_values_to_be_equal": Shape(needs=_PAIR, takes=_PAIR_ROWS),
    "expect_column_pair_values_a_to_be_greater_than_b": Shape(
        needs=_PAIR, takes={"or_equal": _flag, **_PAIR_ROWS}
    ),
    "expect_column_pair_values_to_be_in_set": Shape(
        needs={**_PAIR, "value_pairs_set": pairs}, takes=_PAIR_ROWS
    ),
    "expect_compound_columns_to_be_unique": Shape(needs=_LIST, takes=_LIST_ROWS),
    "expect_select_column_values_to_be_unique_within_record": Shape(needs=_LIST, takes=_LIST_ROWS),
    "expect_multicolumn_sum_to_equal": Shape(
        needs={**_LIST, "sum_total": number}, takes=_LIST_ROWS
    ),
    "expect_column_to_exist": Shape(needs=_COLUMN, takes={"column_index": count}),
    "expect_table_columns_to_match_ordered_list": Shape(needs={"column_list": names}),
    "expect_table_columns_to_match_set": Shape(
        needs={"column_set": names}, takes={"exact_match": _flag}
    ),
    "expect_table_column_count_to_equal": Shape(needs={"value": count}),
    "expect_table_column_count_to_be_between": Shape(
        takes={"min_value": count, "max_value": count}
    ),
    "expect_table_row_count_to_equal": Shape(needs={"value": count}, takes=_WHERE),
    "expect_table_row_count_to_be_between": Shape(takes={**_COUNTS, **_WHERE}),
}
