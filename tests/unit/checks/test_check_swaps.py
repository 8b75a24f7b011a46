"""Values exchanged within one airport, the seasons and new routes that are none, and who hides."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.checks import run, swaps
from guards.errors import Skip
from guards.findings import Inapplicable, Ran, Severity, Skipped


def examine(case, **settings):
    return swaps.examine(case, swaps.Settings(**settings))


def changed(frame: pl.DataFrame, where: pl.Expr, rows: int, column: str, to, seed: int):
    """`to` in `rows` of the rows `where`, and which these are."""
    able = np.flatnonzero(frame.select(where.fill_null(False)).to_series().to_numpy())
    rows = np.sort(np.random.default_rng(seed).choice(able, rows, replace=False))
    new = pl.Series(np.isin(np.arange(len(frame)), rows))
    value = pl.when(new).then(to).otherwise(pl.col(column)).alias(column)
    return frame.with_columns(value), set(rows.tolist())


def exchanged(frame: pl.DataFrame, source: str, rows: int, seed: int):
    """Destinations Miami and Chicago change places in so many rows of one airport."""
    pair = pl.col("dest").is_in(["MIA", "ORD"]) & (pl.col("source") == source)
    other = pl.when(pl.col("dest") == "MIA").then(pl.lit("ORD")).otherwise(pl.lit("MIA"))
    return changed(frame, pair, rows, "dest", other, seed)


@pytest.mark.parametrize("month", [1, 2, 3, 4, 5, 6])
def test_no_season_is_an_exchange(table_case, flights_month, flights_profile, month):
    measured = examine(table_case(flights_month(month), reference=flights_profile))
    assert measured.findings == ()
    assert measured.row_scores == ()
    assert measured.statistics["bets"] > 1_000


@pytest.mark.parametrize("month", [1, 4])
@pytest.mark.parametrize("seed", [101, 102])
def test_destinations_exchanged_in_one_airport_are_found(
    table_case, flights_month, flights_profile, month, seed
):
    frame, planted = exchanged(flights_month(month), "LGA", 60, seed)
    measured = examine(table_case(frame, reference=flights_profile))
    first = measured.findings[0]
    assert {finding.code for finding in measured.findings} == {"swapped-values"}
    assert first.severity == Severity.MEDIUM
    assert {first.evidence[0].detail[k] for k in ("value", "like")} == {"MIA", "ORD"}
    assert first.evidence[0].detail["source"] == "LGA"
    assert "look like rows with" in first.summary
    assert "in source LGA" in first.summary
    assert first.evidence[0].p_value < 1e-6
    held = {score.row for score in measured.row_scores}
    assert len(held & planted) >= 0.8 * len(planted)
    assert len(held & planted) >= 0.8 * len(held)


def test_a_carrier_written_over_by_a_default_is_found(table_case, flights_month, flights_profile):
    """What was there need not stand anywhere else: 60 of Delta's become US Airways'."""
    where = (pl.col("carrier") == "DL") & (pl.col("source") == "JFK")
    frame, planted = changed(flights_month(2), where, 60, "carrier", pl.lit("US"), 103)
    measured = examine(table_case(frame, reference=flights_profile))
    assert measured.findings[0].evidence[0].detail["source"] == "JFK"
    held = {score.row for score in measured.row_scores}
    assert len(held & planted) >= 0.5 * len(planted)


def test_turned_labels_of_one_airport_are_found_with_the_label_that_suits(
    table_case, flights_month, flights_profile
):
    where = (pl.col("label") == "late") & (pl.col("source") == "EWR") & (pl.col("dep_delay") > 20)
    frame, planted = changed(flights_month(1), where, 60, "label", pl.lit("on-time"), 104)
    measured = examine(table_case(frame, reference=flights_profile))
    assert [f.subject.name for f in measured.findings] == ["label"]
    scores = {score.row: score for score in measured.row_scores}
    assert len(scores.keys() & planted) >= 0.5 * len(planted)
    assert len(scores.keys() & planted) >= 0.8 * len(scores)
    assert {score.suggested_label for score in scores.values()} == {"late"}


def test_a_new_route_is_no_exchange(table_case, flights_month, flights_profile):
    """JetBlue begins to fly from La Guardia to Miami, where American flies, with its own planes."""
    frame = flights_month(2)
    known = frame.filter((pl.col("dest") == "MIA") & (pl.col("source") == "LGA"))
    planes = frame.filter(pl.col("carrier") == "B6")["plane_year"].sample(40, seed=3)
    more = known.sample(40, seed=3, with_replacement=True).with_columns(
        carrier=pl.lit("B6"), plane_year=planes, id=pl.Series([f"new-{n}" for n in range(40)])
    )
    measured = examine(table_case(pl.concat([frame, more]), reference=flights_profile))
    assert measured.findings == ()


def test_a_column_that_merely_shifts_is_no_exchange(table_case, profile_of, flights_month):
    """March against January and February: JetBlue's distances at Kennedy are a little others."""
    before = pl.concat([flights_month(1), flights_month(2)])
    measured = examine(table_case(flights_month(3), reference=profile_of(before)))
    assert measured.findings == ()


def test_what_is_exchanged_everywhere_is_for_drift_to_tell(
    table_case, flights_month, flights_profile
):
    frame = flights_month(2)
    renamed = pl.col("dest").replace({"MIA": "ORD", "ORD": "MIA"})
    measured = examine(table_case(frame.with_columns(renamed), reference=flights_profile))
    assert measured.findings == ()


def test_orders_and_shards_of_rows_change_nothing(table_case, flights_month, flights_profile):
    frame, _ = exchanged(flights_month(3), "LGA", 60, 105)
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)
    once = examine(table_case(frame, reference=flights_profile))
    again = examine(table_case(mixed[:1_000], mixed[1_000:], reference=flights_profile))
    assert once.statistics == again.statistics
    assert [f.summary for f in once.findings] == [f.summary for f in again.findings]
    ids = [
        {table[score.row, "id"] for score in measured.row_scores}
        for table, measured in ((frame, once), (mixed, again))
    ]
    assert ids[0] == ids[1]


def test_few_rows_are_not_told(table_case, flights_month, flights_profile):
    frame, _ = exchanged(flights_month(3), "LGA", 8, 106)
    case = table_case(frame, reference=flights_profile)
    assert examine(case).findings == ()
    assert examine(case, min_rows=1, min_share=0).findings != ()


def test_it_needs_a_reference_a_source_and_words(
    table_case, profile_of, flights_month, flights_profile
):
    frame = flights_month(1)
    assert run("swaps", table_case(frame)).outcome == Skipped(
        reason="no reference; give --reference, or pin one in the policy under [files]"
    )
    alone = run("swaps", table_case(frame.drop("source"), reference=flights_profile))
    assert isinstance(alone.outcome, Inapplicable)
    without = profile_of(frame.drop("source"))
    with pytest.raises(Skip, match="no column of words 'source'"):
        examine(table_case(frame, reference=without))


def test_missing_values_and_unknown_words_are_no_bets(table_case, flights_month, flights_profile):
    frame = flights_month(1).with_columns(
        carrier=pl.when(pl.col("carrier") == "DL").then(None).otherwise(pl.col("carrier")),
        dest=pl.when(pl.col("dest") == "ATL").then(pl.lit("‮﷽")).otherwise(pl.col("dest")),
        source=pl.when(pl.col("source") == "JFK").then(pl.lit("new")).otherwise(pl.col("source")),
    )
    outcome = run("swaps", table_case(frame, reference=flights_profile)).outcome
    assert isinstance(outcome, Ran)
    assert all("DL" not in str(told) for told in outcome.measured.statistics["surest"])
