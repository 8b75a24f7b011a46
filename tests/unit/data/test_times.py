"""When a row happened: which column says so, and as what numbers."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.times import time_column, times_of, told
from guards.errors import Skip

DAY = date(2013, 2, 3)
SECONDS = 1359849600.0  # of that day, in UTC


@pytest.fixture
def opened(tmp_path):
    moments = [datetime(2013, 2, 3, 4, 5), None, datetime(1969, 12, 31)]
    frame = pl.DataFrame(
        {
            "label": ["a", "b", "a"],
            "number": [3, 1, None],
            "word": ["x", "y", "z"],
            "moment": pl.Series(moments, dtype=pl.Datetime("ms")),
            "abroad": pl.Series(moments, dtype=pl.Datetime("ns", "UTC")),
            "day": [DAY, None, date(1970, 1, 1)],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    return open_dataset(tmp_path, ["a.parquet"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("moment", [SECONDS + 4 * 3600 + 300, np.nan, -86400.0]),
        ("abroad", [SECONDS + 4 * 3600 + 300, np.nan, -86400.0]),
        ("day", [SECONDS, np.nan, 0.0]),
        ("number", [3.0, 1.0, np.nan]),
    ],
)
def test_times_are_seconds_and_numbers_are_themselves(opened, name, expected):
    assert times_of(opened, name) == pytest.approx(np.array(expected), nan_ok=True)


def test_the_first_feature_by_name_of_dates_is_taken_or_the_one_declared(opened):
    assert time_column(opened) == "abroad"
    assert time_column(opened, "number") == "number"


@pytest.mark.parametrize(("name", "why"), [("word", "holds String"), ("none", "is not there")])
def test_a_declared_column_that_holds_no_times_is_refused(opened, name, why):
    with pytest.raises(Skip, match=why):
        time_column(opened, name)


def test_a_moment_is_told_as_people_write_it(opened):
    assert told(opened, "moment", SECONDS + 300) == "2013-02-03 00:05"
    assert told(opened, "day", SECONDS) == "2013-02-03"
    assert told(opened, "number", 17.0) == "17"
    assert told(opened, "moment", 1e18) == "1e+18 s"
