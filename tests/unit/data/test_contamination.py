"""How much of a batch is unlike its reference: calendars say nothing, clusters are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards.data import contamination
from guards.data.contamination import unlike_reference
from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, observe, read_profile

SAMPLES = Path(__file__).parents[3] / "data_samples"
ROWS = 6000


@pytest.fixture(scope="module")
def reference():
    return read_profile(SAMPLES / "flights.reference.profile")


def month(number: int) -> pl.DataFrame:
    folder = SAMPLES / "flights" / f"2013-{number:02d}"
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])


def seen(folder: Path, frame: pl.DataFrame, profile, shards: int = 1):
    names = [f"{number}.parquet" for number in range(shards)]
    cuts = np.linspace(0, len(frame), shards + 1).astype(int)
    for name, low, high in zip(names, cuts[:-1], cuts[1:], strict=True):
        frame[int(low) : int(high)].write_parquet(folder / name)
    return observe(open_dataset(folder, names), profile)


def routed(frame: pl.DataFrame, rows: int, seed: int = 0) -> pl.DataFrame:
    """So many rows become flights of an airline to a place where it never goes."""
    chosen = np.zeros(len(frame), bool)
    chosen[np.random.default_rng(seed).choice(len(frame), rows, replace=False)] = True
    put = pl.Series(chosen)
    return frame.with_columns(
        carrier=pl.when(put).then(pl.lit("B6")).otherwise("carrier"),
        dest=pl.when(put).then(pl.lit("ATL")).otherwise("dest"),
    )


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_other_days_of_the_calendar_are_no_other_rows(tmp_path, reference, number):
    whole, joint = unlike_reference(seen(tmp_path, month(number), reference))
    assert whole.share < 0.01
    assert joint.share < 0.01


def test_an_impossible_route_is_told_in_a_later_month(tmp_path, reference):
    whole, joint = unlike_reference(seen(tmp_path, routed(month(4), 300), reference))
    for found in (whole, joint):
        assert 0.02 < found.share <= 0.055
        assert set(found.where) <= {"carrier", "dest", "distance", "air_time"}


def test_shards_and_the_order_of_rows_change_nothing(tmp_path, reference):
    frame = routed(month(4), 300)
    known = unlike_reference(seen(tmp_path, frame, reference))
    for place, (other, shards) in enumerate(((frame, 3), (frame.reverse(), 1))):
        folder = tmp_path / f"again{place}"
        folder.mkdir()
        assert unlike_reference(seen(folder, other, reference, shards)) == known


def test_what_is_not_raked_to_the_end_would_not_have_been_told(tmp_path, reference, monkeypatch):
    counted = seen(tmp_path, routed(month(5), 240), reference)
    known = unlike_reference(counted)
    monkeypatch.setattr(contamination, "LOOKED", len(reference.pairs))
    assert unlike_reference(counted) == known


def test_times_that_only_go_on_are_no_other_rows(tmp_path):
    def days(first: int) -> pl.DataFrame:
        rng = np.random.default_rng(first)
        told = pl.Series(first + np.sort(rng.integers(0, 90, ROWS)), dtype=pl.Int32)
        return pl.DataFrame({"when": told.cast(pl.Date), "x": rng.normal(size=ROWS)})

    days(19_000).write_parquet(tmp_path / "a.parquet")
    profile = build_profile(open_dataset(tmp_path, ["a.parquet"]))
    folder = tmp_path / "later"
    folder.mkdir()
    assert unlike_reference(seen(folder, days(19_090), profile))[0].share == 0
