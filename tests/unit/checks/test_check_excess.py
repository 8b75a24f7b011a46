"""What stands alone in a batch: found, named and held; what a season or a business does is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.checks import excess, run
from guards.errors import Skip
from guards.findings import Ran, Severity

BATCH = 3_000


def examine(case, **settings):
    return excess.examine(case, excess.Settings(**settings))


def alarms(measured):
    return [f for f in measured.findings if f.severity >= Severity.MEDIUM]


def written(frame, rows, **values):
    """The frame with these values in these rows."""
    changed = [frame[n].scatter(rows, pl.Series([v] * len(rows), dtype=frame[n].dtype))
               if not isinstance(v, list) else frame[n].scatter(rows, v)
               for n, v in values.items()]  # fmt: skip
    return frame.with_columns(changed)


@pytest.fixture(scope="session")
def halves(flights_month):
    """Of three months: 15,000 rows for a reference, and 3,000 others."""
    months = pl.concat([flights_month(month) for month in (1, 2, 3)])
    mixed = months.sample(fraction=1, shuffle=True, seed=12)
    return mixed[BATCH:], mixed[:BATCH]


@pytest.fixture
def asked(table_case, profile_of, halves):
    def ask(change):
        before, batch = halves
        return examine(table_case(change(batch), reference=profile_of(before)))

    return ask


def rows_of(frame, many, seed=0, where=None):
    able = np.arange(len(frame)) if where is None else np.flatnonzero(where.to_numpy())
    return np.sort(np.random.default_rng(seed).choice(able, many, replace=False))


def held(measured):
    return {score.row for score in measured.row_scores}


@pytest.mark.parametrize("month", [1, 2, 3, 4, 5, 6])
def test_seasons_alarm_nothing(table_case, flights_month, flights_profile, month):
    measured = examine(table_case(flights_month(month), reference=flights_profile))
    assert alarms(measured) == []
    assert measured.row_scores == ()


def test_another_draw_of_the_same_months_has_none(asked):
    assert asked(lambda batch: batch).findings == ()


def test_one_value_put_into_one_row_in_a_hundred_with_a_label(asked, halves):
    rows = rows_of(halves[1], 30)
    measured = asked(lambda batch: written(batch, rows, distance=1_234, label="late"))
    found = [f for f in alarms(measured) if "distance near 1" in f.summary]
    assert [finding.code for finding in found] == ["excess-value"]
    assert "nearly all of them have label late" in found[0].summary
    assert set(rows.tolist()) <= held(measured)
    assert len(held(measured)) <= 36
    # Without the label it is what a business does: told, and nothing is held.
    natural = asked(lambda batch: written(batch, rows, distance=1_234))
    assert alarms(natural) == []
    assert "distance near 1" in natural.findings[0].summary


def test_so_many_rows_that_no_number_is_as_small_as_their_chance(
    table_case, profile_of, flights_month
):
    # One carrier's minutes in seconds, in all of its rows of two months.
    batch = pl.concat([flights_month(month) for month in (4, 5)])
    spoilt = batch.with_columns(
        air_time=pl.when(batch["carrier"] == "UA")
        .then(pl.col("air_time") * 60)
        .otherwise("air_time")
    )
    case = table_case(spoilt, reference=profile_of(flights_month(1)))
    assert isinstance(run("excess", case).outcome, Ran)
    found = alarms(examine(case))
    assert "carrier UA" in found[0].summary
    assert found[0].evidence[0].detail["log10_p_value"] < -308


def test_values_beyond_all_of_the_reference_and_who_sent_them(asked, halves):
    rows = rows_of(halves[1], 30, where=halves[1]["carrier"] == "US")
    measured = asked(lambda batch: written(batch, rows, air_time=(
        batch["air_time"].gather(rows) * 60).to_list()))  # fmt: skip
    assert {"air_time", "carrier US"} <= {
        part for f in alarms(measured) for part in ("air_time", "carrier US") if part in f.summary
    }
    missed = halves[1]["air_time"].gather(rows).null_count()
    assert len(set(rows.tolist()) & held(measured)) == 30 - missed
    assert len(held(measured) - set(rows.tolist())) <= 3


def test_nulls_of_one_destination(asked, halves):
    rows = rows_of(halves[1], 20, where=halves[1]["dest"] == "MCO")
    measured = asked(lambda batch: written(batch, rows, hour=None))
    (finding,) = alarms(measured)
    assert "hour missing" in finding.summary
    assert "dest MCO" in finding.summary
    assert held(measured) == set(rows.tolist())


def test_nulls_in_a_column_that_moved_are_news_all_the_same(asked, halves):
    """And a group without a value is no pair of words that meets anew."""
    rows = rows_of(halves[1], 30, where=halves[1]["carrier"] == "US")
    monday = np.flatnonzero((halves[1]["weekday"] == "Mon").to_numpy())[:350]
    measured = asked(lambda batch: written(
        written(batch, monday, weekday="Fri"), rows, weekday=None))  # fmt: skip
    assert any("weekday missing" in finding.summary for finding in alarms(measured))
    assert set(rows.tolist()) <= held(measured)


def test_what_lies_below_all_of_the_reference_is_no_known_value(asked, halves):
    """Minutes early in seconds: thirty rows are below the earliest that there ever was."""
    _, batch = halves
    rows = rows_of(batch, 30, where=batch["dep_delay"] < -3)
    seconds = (batch["dep_delay"].gather(rows) * 60).to_list()
    measured = asked(lambda frame: written(frame, rows, dep_delay=seconds))
    (finding,) = alarms(measured)
    assert finding.code == "excess-value"
    assert f"dep_delay below {halves[0]['dep_delay'].min()}" in finding.summary
    assert held(measured) >= set(rows.tolist())
    assert len(held(measured)) <= 31


def test_a_label_that_most_rows_bear_is_one_sided_where_another_was_due(asked, halves):
    late = (halves[1]["label"] == "late") & (halves[1]["dep_delay"] > 30)
    rows = rows_of(halves[1], 30, where=late.fill_null(False))
    measured = asked(lambda batch: written(batch, rows, distance=1_234, label="on-time"))
    found = [f for f in alarms(measured) if "distance near 1" in f.summary]
    assert len(found) == 1
    assert "are labelled on-time, where everything else about them leads one" in found[0].summary
    assert found[0].evidence[0].detail["labels_p_value"] < 1e-6
    assert set(rows.tolist()) <= held(measured)
    # The same value in rows that are on time anyway is what a business does.
    usual = rows_of(halves[1], 30, where=halves[1]["dep_delay"] < 0)
    natural = asked(lambda batch: written(batch, usual, distance=1_234, label="on-time"))
    assert alarms(natural) == []


def test_two_values_that_hardly_ever_met(asked, halves):
    rows = rows_of(halves[1], 30)
    measured = asked(lambda batch: written(batch, rows, dest="BOS", distance=2_475))
    assert any("dest BOS and distance" in finding.summary for finding in alarms(measured))
    assert set(rows.tolist()) <= held(measured)
    assert len(held(measured)) <= 40


def test_a_new_route_is_told_and_a_new_route_of_one_label_alarms(asked, halves):
    batch = halves[1]
    rows = rows_of(batch, 30, where=batch["carrier"] == "VX")
    natural = asked(lambda frame: written(frame, rows, source="LGA"))
    assert alarms(natural) == []
    told = [f for f in natural.findings if "source LGA" in f.summary and "carrier VX" in f.summary]
    assert [f.severity for f in told] == [Severity.LOW]
    assert natural.row_scores == ()
    planted = asked(lambda frame: written(frame, rows, source="LGA", label="late"))
    assert any("source LGA" in finding.summary for finding in alarms(planted))


def test_a_column_that_moves_in_one_piece_is_drifts_business(asked):
    measured = asked(lambda batch: batch.with_columns(dep_delay=pl.col("dep_delay") + 45))
    assert all("dep_delay near" not in finding.summary for finding in measured.findings)


def test_a_clock_goes_on(table_case, profile_of, flights_month):
    """Days and dates beyond the reference's are what the next batch has."""
    frame = flights_month(1).sort("day")
    before, after = frame.filter(pl.col("day") <= 20), frame.filter(pl.col("day") > 20)
    measured = examine(table_case(after, reference=profile_of(before)))
    assert all("day" not in finding.summary.split(" ") for finding in alarms(measured))


def test_fewer_rows_than_the_least_pass(asked, halves):
    """The known way around it."""
    rows = rows_of(halves[1], 8)
    assert alarms(asked(lambda batch: written(batch, rows, distance=1_234))) == []


def test_order_and_shards_are_of_no_account(table_case, profile_of, halves):
    before, batch = halves
    reference = profile_of(before)
    frame = written(batch, rows_of(batch, 30), distance=1_234)
    one = examine(table_case(frame, reference=reference))
    assert examine(table_case(frame[:777], frame[777:], reference=reference)) == one
    order = np.random.default_rng(0).permutation(len(frame))
    mixed = examine(table_case(frame[order], reference=reference))
    assert mixed.statistics == one.statistics
    assert {order[score.row] for score in mixed.row_scores} == held(one)


def test_without_a_reference_it_did_not_look(table_case, halves):
    with pytest.raises(Skip, match="no reference"):
        examine(table_case(halves[1]))


def test_odd_values_are_read(table_case, profile_of, halves):
    before, batch = halves
    odd = batch.with_columns(
        dep_delay=pl.Series([np.nan, np.inf, -np.inf, 1e308, -0.0] * 600),
        carrier=pl.Series(["\u202etfel", "\u200b", "", None, "x" * 5_000] * 600),
    )
    for frame in (odd, batch[:1], batch.with_columns(pl.lit(None).alias("distance"))):
        outcome = run("excess", table_case(frame, reference=profile_of(before))).outcome
        assert type(outcome).__name__ == "Ran"
        for finding in outcome.measured.findings:
            assert finding.summary.isprintable()
            assert len(finding.summary) < 500
