"""What values weigh is what a slow count over Python's own values says."""

from __future__ import annotations

import datetime

import polars as pl
import pytest

from guards.data.unpacked import LONG, TEXT, unpacked


def weight(frame: pl.DataFrame) -> int:
    return frame.lazy().select(unpacked(frame.schema)).collect(engine="streaming").item()


@pytest.mark.parametrize(
    ("values", "dtype", "bytes_"),
    [
        ([1, None, 3], pl.Int8, 3),
        ([1, None, 3], pl.Float64, 24),
        ([True, False], pl.Boolean, 2),
        ([datetime.date(2026, 1, 1)], pl.Date, 4),
        ([None, None], pl.Null, 2),
        (["abc", None, "ü"], pl.String, 3 * 16 + 5),
        (["abc", None, "b"], pl.Categorical, 3 * 16 + 4),
        (["a", "a"], pl.Enum(["a"]), 2 * 16 + 2),
        ([b"abc", None], pl.Binary, 2 * 16 + 3),
        ([[1, 2], None, []], pl.List(pl.Int16), 3 * 16 + 2 * 2),
        ([[1.0, 2.0]], pl.Array(pl.Float32, 2), 16 + 8),
        ([["ab", "c"], ["d"]], pl.List(pl.String), 2 * 16 + 3 * 16 + 4),
        ([[["ab"], ["c"]]], pl.List(pl.List(pl.String)), 16 + 2 * 16 + 2 * 16 + 3),
        ([{"a": "xy", "b": 1}], pl.Struct({"a": pl.String, "b": pl.Int64}), 1 + 16 + 2 + 8),
        ([[{"a": "xy"}] * 3], pl.List(pl.Struct({"a": pl.String})), 16 + 3 + 3 * 16 + 6),
    ],
)
def test_each_kind_of_column(values, dtype, bytes_):
    assert weight(pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=False)})) == bytes_


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_long_texts_count_for_what_they_cost(dtype):
    texts = pl.Series(["x" * (LONG + 1)] * 10).cast(dtype)
    assert weight(pl.DataFrame({"x": texts})) == 10 * 16 + TEXT * 10 * (LONG + 1)


def test_values_that_share_their_bytes_count_each_time():
    """Views of one buffer, and a dictionary, are as long as what they stand for."""
    frame = pl.DataFrame({"x": pl.Series(["x" * 50]).new_from_index(0, 1000)})
    assert weight(frame) == 1000 * (16 + 50)


def test_names_are_taken_literally_and_a_frame_may_be_empty():
    frame = pl.DataFrame({"*": ["ab"], "^a.*$": ["c"], "x": [1]})
    assert weight(frame) == 16 + 2 + 16 + 1 + 8
    assert weight(frame.clear()) == 0


def test_the_sum_of_lengths_does_not_wrap():
    """Lengths are 32 bits wide; their sum is not."""
    lengths = pl.DataFrame({"x": pl.Series(["x" * (1 << 20)]).new_from_index(0, 5000)})
    assert weight(lengths) == 5000 * 16 + TEXT * 5000 * (1 << 20)
