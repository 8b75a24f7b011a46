"""Where unlike rows gather, and what moved in one window of time alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards.data.contamination import unlike_reference
from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, observe
from guards.data.slices import slices
from guards.data.time_windows import moved_windows, windows

SAMPLES = Path(__file__).parents[3] / "data_samples"


def timed(number: int) -> pl.DataFrame:
    """A month of flights with the hour of departure as a moment, and no other calendar."""
    folder = SAMPLES / "flights" / f"2013-{number:02d}"
    frame = pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    when = pl.datetime(2013, number, pl.col("day"), pl.col("hour"))
    return frame.with_columns(when=when).drop("day", "weekday")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    pl.concat([timed(1), timed(2), timed(3)]).write_parquet(folder / "a.parquet")
    return build_profile(open_dataset(folder, ["a.parquet"]))


def opened(folder: Path, *frames: pl.DataFrame):
    folder.mkdir()
    names = [f"{number}.parquet" for number in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        frame.write_parquet(folder / name)
    return open_dataset(folder, names)


def routed(frame: pl.DataFrame, where: pl.Expr, rows: int) -> pl.DataFrame:
    """So many of those rows become flights of an airline to a place where it never goes."""
    able = np.flatnonzero(frame.select(where).to_series().to_numpy())
    chosen = np.zeros(len(frame), bool)
    chosen[np.random.default_rng(0).choice(able, rows, replace=False)] = True
    put = pl.Series(chosen)
    return frame.with_columns(
        carrier=pl.when(put).then(pl.lit("B6")).otherwise("carrier"),
        dest=pl.when(put).then(pl.lit("ATL")).otherwise("dest"),
    )


def in_kilometres(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    metric = (pl.col("distance") * 1.609344).round().cast(pl.Int16)
    here = pl.col("when").dt.day().is_between(first, last)
    return frame.with_columns(distance=pl.when(here).then(metric).otherwise("distance"))


def sliced(dataset, reference):
    seen = observe(dataset, reference)
    return slices(dataset, seen, build_profile(dataset), unlike_reference(seen)[0])


def test_the_source_that_holds_the_strange_rows_is_named(tmp_path, reference):
    frame = routed(timed(4), pl.col("source") == "JFK", 180)
    found = sliced(opened(tmp_path / "a", frame), reference)
    first = found[0]
    assert (first.by, first.name) == ("source", "JFK")
    many = (frame["source"] == "JFK").sum()
    assert first.rows == many
    assert 0.6 * 180 / many < first.unlike <= 180 / many
    assert first.share >= 10 * first.elsewhere
    assert first.p_value < 1e-20


def test_the_time_that_holds_them_is_named(tmp_path, reference):
    frame = routed(timed(4), pl.col("when").dt.day().is_between(11, 12), 180)
    found = sliced(opened(tmp_path / "a", frame), reference)
    assert found[0].by == "time"
    assert "2013-04-1" in found[0].name
    assert found[0].unlike > 0.1
    assert all(one.unlike <= 180 / one.rows for one in found)


def test_the_file_that_holds_them_is_named(tmp_path, reference):
    frame = timed(4).sample(fraction=1.0, shuffle=True, seed=1)
    parts = [frame[:2000], routed(frame[2000:4000], pl.col("source").is_not_null(), 180)]
    found = sliced(opened(tmp_path / "a", *parts, frame[4000:]), reference)
    assert (found[0].by, found[0].name) == ("file", "1.parquet")


def test_spread_rows_gather_nowhere(tmp_path, reference):
    frame = routed(timed(4), pl.col("source").is_not_null(), 300)
    found = sliced(opened(tmp_path / "a", frame), reference)
    assert found
    assert all(one.p_value > 0.001 for one in found)


def test_order_and_shards_change_neither_sources_nor_times(tmp_path, reference):
    frame = routed(timed(4), pl.col("source") == "JFK", 180)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=3)
    known, other = (
        [one for one in sliced(data, reference) if one.by != "file"]
        for data in (
            opened(tmp_path / "a", frame),
            opened(tmp_path / "b", mixed[:700], mixed[700:]),
        )
    )
    assert known == other


def moved(dataset, reference):
    seen = observe(dataset, reference)
    cut = windows(seen, build_profile(dataset))
    assert cut is not None
    return sorted(
        moved_windows(dataset, seen, cut, list(seen.columns)), key=lambda one: -one.excess
    )


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_no_window_of_a_clean_month_moved_alone(tmp_path, reference, number):
    assert moved(opened(tmp_path / "a", timed(number)), reference)[0].excess < 0.1


def test_a_unit_that_changes_for_three_days_is_that_windows(tmp_path, reference):
    first = moved(opened(tmp_path / "a", in_kilometres(timed(5), 10, 12)), reference)[0]
    assert (first.column, first.excess > 0.2) == ("distance", True)
    assert "2013-05-1" in first.window
    assert first.p_value < 1e-9


def test_windows_are_those_of_the_rows_in_any_order(tmp_path, reference):
    frame = in_kilometres(timed(5), 10, 12)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=3)
    one = moved(opened(tmp_path / "a", frame), reference)
    other = moved(opened(tmp_path / "b", mixed[:99], mixed[99:]), reference)
    assert one == other


def test_a_single_moment_and_none_are_no_crash(tmp_path, reference):
    frame = timed(4)[:200]
    same = frame.with_columns(when=pl.lit(frame["when"][0]))
    assert max(one.excess for one in moved(opened(tmp_path / "a", same), reference)) == 0
    none = opened(tmp_path / "b", frame.with_columns(when=pl.lit(None, pl.Datetime)))
    assert windows(observe(none, reference), build_profile(none)) is None
