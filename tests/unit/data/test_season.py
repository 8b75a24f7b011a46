"""Which earlier version is of the same season, by name and by the times of its rows."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.earlier import EarlierProfile
from guards.data.profile import Profile, build_profile
from guards.data.season import same_season, season_of
from guards.digest import Digest
from guards.provenance.manifest import parse_name

NOTHING = Profile(blocks=(1,), roles={}, columns=(), pairs=(), triples=(), groups=())
ROOT = Digest.of(b"")


def version(name: str, profile: Profile = NOTHING, number: int = 1) -> EarlierProfile:
    return EarlierProfile(
        name=parse_name(name), version=number, root=ROOT, record=ROOT, profile=profile
    )


@pytest.fixture
def rows_of(tmp_path):
    def make(first: str, hours: int) -> Profile:
        start = np.datetime64(first, "us")
        when = start + np.linspace(0, hours * 3600, 50).astype("timedelta64[s]")
        pl.DataFrame({"when": when, "x": range(50)}).write_parquet(tmp_path / "a.parquet")
        return build_profile(open_dataset(tmp_path, ["a.parquet"]))

    return make


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        ("2014-04", ("month", 4, date(2014, 4, 1))),
        ("eu/2014-04-07", ("weekday", 0, date(2014, 4, 7))),
        ("part-2014-04-v2", ("month", 4, date(2014, 4, 1))),
        ("2013-01/2014-12", ("month", 12, date(2014, 12, 1))),
        ("2014-13", None),
        ("0000-00", None),
        ("2014-02-30", None),
        ("12014-04", None),
        ("april", None),
        ("", None),
    ],
)
def test_a_name_tells_a_month_or_a_day(partition, told):
    found = season_of(partition, NOTHING)
    assert (found and (found.kind, found.number, found.day)) == told


@pytest.mark.parametrize(
    ("first", "hours", "told"),
    [
        ("2014-04-02T00:00", 24 * 27, ("month", 4)),
        ("2014-04-07T00:00", 24, ("weekday", 0)),
        ("2014-04-07T08:00", 1, ("weekday", 0)),
        ("2014-01-01T00:00", 24 * 90, None),
    ],
)
def test_rows_tell_it_by_their_middle_and_span(rows_of, first, hours, told):
    found = season_of("", rows_of(first, hours))
    assert (found and (found.kind, found.number)) == told


def test_the_newest_version_of_the_same_month_of_an_earlier_year():
    names = ["2012-04", "2013-04", "2013-05", "2014-03", "2014-04", "2015-04"]
    known = [version(f"acme/f/{name}") for name in names]
    found = same_season("2014-04", NOTHING, known)
    assert found is not None
    assert found.name.partition == "2013-04"
    assert same_season("2014-06", NOTHING, known) is None
    assert same_season("2014-04-07", NOTHING, known) is None


def test_the_newest_version_of_the_same_weekday():
    known = [version(f"acme/f/2014-04-{day:02d}") for day in range(1, 15)]
    found = same_season("2014-04-15", NOTHING, known)
    assert found is not None
    assert found.name.partition == "2014-04-08"


def test_names_are_held_against_names_and_rows_against_rows(rows_of):
    april, former = rows_of("2014-04-02", 24 * 20), rows_of("2013-04-05", 24 * 20)
    assert same_season("2014-04", april, [version("acme/f", former)]) is None
    found = same_season("", april, [version("acme/f", rows_of("2013-05-05", 240), 3),
                                    version("acme/f", former, 2)])  # fmt: skip
    assert found is not None
    assert found.version == 2
    assert same_season("", former, [version("acme/f", april)]) is None, "a year to come"
