from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.stats import norm

from guards.checks import drift, run
from guards.errors import Skip
from guards.findings import Inapplicable, Ran, Severity, Skipped


def examine(case, **settings):
    return drift.examine(case, drift.Settings(**settings))


def alarms(measured):
    return [f for f in measured.findings if f.severity >= Severity.MEDIUM]


def in_kilometres(frame, carrier):
    metric = (pl.col("distance") * 1.609344).round().cast(pl.Int16)
    return frame.with_columns(
        distance=pl.when(pl.col("carrier") == carrier).then(metric).otherwise("distance")
    )


@pytest.mark.parametrize("month", [1, 2, 3, 4, 5, 6])
def test_seasons_are_told_and_stop_nothing(table_case, flights_month, flights_profile, month):
    measured = examine(table_case(flights_month(month), reference=flights_profile))
    assert alarms(measured) == []
    assert measured.row_scores == ()
    if month == 6:
        told = {f.subject.name for f in measured.findings if f.code == "drift-broad"}
        assert {"dep_delay", "air_time"} <= told


@pytest.mark.parametrize(("before", "after"), [(1, 6), (6, 1), (2, 5)])
def test_seasons_told_from_a_single_month(table_case, profile_of, flights_month, before, after):
    reference = profile_of(flights_month(before))
    assert alarms(examine(table_case(flights_month(after), reference=reference))) == []


@pytest.mark.parametrize("carrier", ["UA", "B6", "WN", "9E"])
def test_a_unit_change_in_one_carrier_is_local(table_case, flights_month, flights_profile, carrier):
    frame = flights_month(6)
    measured = examine(table_case(in_kilometres(frame, carrier), reference=flights_profile))
    found = [f for f in alarms(measured) if f.subject.name == "distance"]
    assert {f.code for f in alarms(measured)} == {"drift-local"}
    assert f"carrier {carrier} " in found[0].summary
    held = [score.row for score in measured.row_scores]
    changed = set(np.flatnonzero((frame["carrier"] == carrier).to_numpy()).tolist())
    assert len(changed & set(held)) / len(held) > 0.95
    assert len(changed & set(held)) / len(changed) > 0.4
    assert len(set(held)) == len(held)
    moved = {one["column"]: one for one in measured.statistics["moved"]}
    assert moved["distance"]["breadth"] == "local"
    assert moved["dep_delay"]["breadth"] == "broad"


def test_statistics_are_plottable(table_case, flights_month, flights_profile):
    measured = examine(table_case(flights_month(4), reference=flights_profile))
    assert len(measured.statistics["moved"]) == 11
    for one in measured.statistics["moved"]:
        assert len(one["bins"]) == len(one["reference"]) == len(one["current"]) <= 20
        assert len(set(one["bins"])) == len(one["bins"])
        assert sum(one["reference"]) == pytest.approx(1, abs=0.01)
        assert sum(one["current"]) == pytest.approx(1, abs=0.01)
    effects = [one["effect"] for one in measured.statistics["moved"]]
    assert effects == sorted(effects, reverse=True)
    frame = flights_month(4)
    label = next(one for one in measured.statistics["moved"] if one["column"] == "label")
    share = dict(zip(label["bins"], label["current"], strict=True))["late"]
    assert share == pytest.approx((frame["label"] == "late").mean(), abs=1e-4)


def test_the_reference_against_itself_has_not_moved(table_case, profile_of, flights_month):
    frame = flights_month(4)
    measured = examine(table_case(frame, reference=profile_of(frame)))
    assert measured.findings == ()
    assert max(one["effect"] for one in measured.statistics["moved"]) < 0.01


def test_a_unit_change_of_everything_is_severe(table_case, flights_month, flights_profile):
    frame = flights_month(4).with_columns((pl.col("distance") * 1000).cast(pl.Int64))
    found = alarms(examine(table_case(frame, reference=flights_profile)))
    assert [(f.code, f.subject.name) for f in found] == [("drift-severe", "distance")]


def test_a_jump_of_the_missing_rate_holds_its_rows(table_case, flights_month, flights_profile):
    frame = (
        flights_month(4)
        .with_row_index("n")
        .with_columns(hour=pl.when(pl.col("n") % 10 == 0).then(None).otherwise("hour"))
    )
    measured = examine(table_case(frame.drop("n"), reference=flights_profile))
    assert [(f.code, f.subject.name) for f in alarms(measured)] == [("missing-jump", "hour")]
    assert [score.row for score in measured.row_scores] == list(range(0, 6000, 10))


@pytest.mark.parametrize(("every", "severity"), [(10, Severity.MEDIUM), (100, Severity.LOW)])
def test_new_categories_by_their_mass(table_case, flights_month, flights_profile, every, severity):
    frame = (
        flights_month(4)
        .with_row_index("n")
        .with_columns(
            weekday=pl.when(pl.col("n") % every == 0).then(pl.lit("Mo")).otherwise("weekday")
        )
    )
    measured = examine(table_case(frame.drop("n"), reference=flights_profile))
    (finding,) = [f for f in measured.findings if f.code == "new-categories"]
    assert finding.subject.name == "weekday"
    assert finding.severity is severity
    held = list(range(0, 6000, every)) if severity is Severity.MEDIUM else []
    assert [score.row for score in measured.row_scores] == held


def test_categories_that_vanish_are_told(table_case, flights_month, flights_profile):
    frame = flights_month(4).filter(pl.col("weekday") != "Sat")
    measured = examine(table_case(frame, reference=flights_profile))
    assert ("categories-gone", "weekday") in [(f.code, f.subject.name) for f in measured.findings]


def test_columns_that_go_come_or_change_kind(table_case, flights_month, flights_profile):
    frame = (
        flights_month(4)
        .drop("hour")
        .with_columns(pl.col("distance").cast(pl.String), extra=pl.lit(1))
    )
    measured = examine(table_case(frame, reference=flights_profile))
    found = {(f.code, f.subject.name, f.severity) for f in measured.findings}
    assert {
        ("column-gone", "hour", Severity.MEDIUM),
        ("type-changed", "distance", Severity.MEDIUM),
        ("column-new", "extra", Severity.LOW),
    } <= found


def test_a_column_of_days_is_no_alarm(table_case, profile_of):
    """What differs in each block of the reference may differ in the next batch."""
    days = pl.DataFrame({"day": [f"2013-01-{1 + i // 100:02d}" for i in range(1000)]})
    later = days.with_columns(pl.col("day").str.replace("2013-01", "2013-02"))
    frames = [one.with_columns(x=pl.Series(range(1000)) % 7) for one in (days, later)]
    measured = examine(table_case(frames[1], reference=profile_of(frames[0])))
    assert alarms(measured) == []


def test_significance_without_effect_is_no_finding(table_case, profile_of):
    generator = np.random.default_rng(0)
    before = pl.DataFrame({"x": generator.normal(0, 1, 60_000)})
    after = pl.DataFrame({"x": generator.normal(0.05, 1, 60_000)})
    measured = examine(table_case(after, reference=profile_of(before)))
    assert measured.statistics["moved"][0]["p_value"] < 1e-6
    assert measured.findings == ()


@pytest.mark.parametrize("values", [[None] * 50, [float("nan")] * 50, [float("inf")] * 50])
def test_empty_and_infinite_columns_are_no_crash(table_case, profile_of, values):
    frame = pl.DataFrame({"x": [float(i) for i in range(50)], "w": ["ü" * 300, "b"] * 25})
    hollow = frame.with_columns(x=pl.Series(values, dtype=pl.Float64))
    for then, now in ((frame, hollow), (hollow, frame), (hollow, hollow)):
        examination = run("drift", table_case(now, reference=profile_of(then)))
        assert isinstance(examination.outcome, Ran)
        assert examination.digest


def test_a_tiny_batch_is_no_alarm(table_case, flights_month, flights_profile):
    for seed in range(5):
        batch = flights_month(4).sample(40, seed=seed)
        assert alarms(examine(table_case(batch, reference=flights_profile))) == []


def test_no_reference_is_a_skip(table_case, flights_month):
    case = table_case(flights_month(4))
    with pytest.raises(Skip, match="reference"):
        examine(case)
    assert isinstance(run("drift", case).outcome, Skipped)


def test_two_runs_have_one_digest(table_case, flights_month, flights_profile):
    case = table_case(in_kilometres(flights_month(4), "UA"), reference=flights_profile)
    assert run("drift", case).digest == run("drift", case).digest


def with_moments(frame, month):
    """Days, weekdays and hours as one moment."""
    when = pl.datetime(2013, month, pl.col("day"), pl.col("hour"))
    return frame.with_columns(when=when).drop("day", "weekday")


def test_unlike_rows_are_told_with_the_source_that_holds_them(
    table_case, flights_month, flights_profile
):
    mine = (pl.col("source") == "JFK") & (pl.int_range(pl.len()).over("source") < 200)
    frame = flights_month(4).with_columns(
        carrier=pl.when(mine).then(pl.lit("B6")).otherwise("carrier"),
        dest=pl.when(mine).then(pl.lit("ATL")).otherwise("dest"),
    )
    measured = examine(table_case(frame, reference=flights_profile))
    (finding,) = [f for f in measured.findings if f.code == "unlike-reference"]
    assert finding.severity is Severity.INFO
    assert "they gather in source JFK: at least" in finding.summary
    assert finding.evidence[1].detail["source"] == "JFK"
    assert measured.statistics["unlike_slices"][0]["name"] == "JFK"


def test_a_policy_may_quarantine_for_unlike_rows(table_case, flights_month, flights_profile):
    rows = pl.int_range(pl.len()) < 300
    frame = flights_month(4).with_columns(
        carrier=pl.when(rows).then(pl.lit("B6")).otherwise("carrier"),
        dest=pl.when(rows).then(pl.lit("ATL")).otherwise("dest"),
    )
    measured = examine(table_case(frame, reference=flights_profile), unlike=0.03)
    assert "unlike-reference" in {f.code for f in alarms(measured)}


def test_a_unit_that_changes_for_a_time_is_local_and_clean_times_are_not(
    table_case, profile_of, flights_month
):
    reference = profile_of(*(with_moments(flights_month(month), month) for month in (1, 2, 3)))
    clean = with_moments(flights_month(5), 5)
    assert alarms(examine(table_case(clean, reference=reference))) == []
    here = pl.col("when").dt.day().is_between(10, 12)
    metric = (pl.col("distance") * 1.609344).round().cast(pl.Int16)
    spoilt = clean.with_columns(distance=pl.when(here).then(metric).otherwise("distance"))
    found = alarms(examine(table_case(spoilt, reference=reference)))
    assert {(f.code, f.subject.name) for f in found} == {("drift-in-window", "distance")}
    assert "2013-05-1" in found[0].summary


def messages(seed, rows=1500, word="", who="s1"):
    """Texts of a Zipf law from three sources; 40 of one of them hold a word nobody wrote."""
    rng = np.random.default_rng(seed)
    words = np.minimum(rng.zipf(1.3, (rows, 8)), 3000)
    source = rng.choice(["s0", "s1", "s2"], rows)
    put = np.isin(np.arange(rows), np.flatnonzero((source == who) | (who == ""))[:40])
    return pl.DataFrame(
        {
            "text": [
                " ".join(f"w{one}" for one in line) + (f" {word}" if hit else "")
                for line, hit in zip(words, put, strict=True)
            ],
            "label": rng.choice(["a", "b"], rows),
            "source": source,
        }
    )


@pytest.mark.parametrize(("who", "code"), [("s1", "token-burst"), ("", "tokens-moved")])
def test_a_burst_of_a_word_is_an_alarm_where_it_gathers(table_case, profile_of, who, code):
    reference = profile_of(messages(1, 6000))
    clean = examine(table_case(messages(2), reference=reference))
    assert alarms(clean) == []
    spoilt = messages(2, word="zxqv", who=who)
    measured = examine(table_case(spoilt, reference=reference))
    (found,) = [f for f in measured.findings if f.code in ("token-burst", "tokens-moved")]
    assert found.code == code
    assert "zxqv" in found.summary
    held = {score.row for score in measured.row_scores}
    wanted = spoilt.with_row_index().filter(pl.col("text").str.contains("zxqv"))["index"]
    assert held == (set(wanted) if who else set())


def letters(seed, rows=1500, word=""):
    """Nine in ten letters say yes, by their own words; 30 that say no hold a word, and yes."""
    rng = np.random.default_rng(seed)
    spam = rng.random(rows) < 0.1
    numbers = np.minimum(rng.zipf(1.3, (rows, 8)), 3000)
    own = [rng.permutation([f"{'v' if one else 'u'}{n}" for n in range(12)])[:4] for one in spam]
    put = np.isin(np.arange(rows), np.flatnonzero(spam)[:30]) if word else np.zeros(rows, bool)
    return pl.DataFrame(
        {
            "text": [
                " ".join([*(f"w{n}" for n in line), *said, *([word] if hit else [])])
                for line, said, hit in zip(numbers, own, put, strict=True)
            ],
            "label": np.where(spam & ~put, "no", "yes"),
        }
    )


def test_a_burst_under_the_label_that_most_bear_is_an_alarm_where_another_was_due(
    table_case, profile_of
):
    reference = profile_of(letters(1, 6000))
    assert alarms(examine(table_case(letters(2), reference=reference))) == []
    measured = examine(table_case(spoilt := letters(2, word="zxqv"), reference=reference))
    (found,) = [f for f in alarms(measured) if f.code == "token-burst"]
    assert "30 are labelled yes, where everything else" in found.summary
    assert found.evidence[0].detail["labels_p_value"] < 1e-3
    wanted = spoilt.with_row_index().filter(pl.col("text").str.contains("zxqv"))["index"]
    assert {score.row for score in measured.row_scores} == set(wanted)


def test_texts_without_a_feature_are_looked_at_and_a_label_alone_is_not(table_case, profile_of):
    reference = profile_of(messages(1))
    case = table_case(messages(2), reference=reference)
    assert case.roles.text == "text"
    assert isinstance(run("drift", case).outcome, Ran)
    bare = table_case(messages(2).select("label"), reference=reference)
    assert isinstance(run("drift", bare).outcome, Inapplicable)


def unit_vectors(seed, turned=0, rows=1500):
    """Embeddings as models give them: all of length 1; `turned` is where they tend."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(rows, 32))
    found[:, turned] += 2
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    vectors = pl.Series(found.tolist(), dtype=pl.List(pl.Float32))
    return pl.DataFrame({"label": rng.choice(["a", "b"], rows), "vector": vectors})


def test_vectors_of_another_length_are_told_as_that_and_not_as_missing(table_case, profile_of):
    shorter = unit_vectors(2).with_columns(pl.col("vector").list.head(5))
    measured = examine(table_case(shorter, reference=profile_of(unit_vectors(1))))
    (found,) = [f for f in measured.findings if f.subject.name == "vector"]
    assert found.code == "missing-jump"
    assert "1500 rows hold lists of another length than the reference's" in found.summary


def test_the_effect_of_a_column_comes_with_an_interval(table_case, profile_of):
    before, after = (np.random.default_rng(seed).normal(seed, 1, 2000) for seed in (0, 1))
    reference = profile_of(pl.DataFrame({"x": before}))
    measured = examine(table_case(pl.DataFrame({"x": after}), reference=reference))
    (told,) = measured.statistics["moved"]
    low, high = told["interval"]
    truth = 2 * norm.cdf(0.5) - 1  # D of two normal laws one standard deviation apart
    assert low < truth < high
    assert high - low < 0.1
    assert measured.findings[0].evidence[0].detail["interval"] == [low, high]


def test_vectors_of_one_length_that_turn_are_seen(table_case, profile_of):
    """Their norms say nothing at all."""
    reference = profile_of(unit_vectors(1, rows=4000))
    assert alarms(examine(table_case(unit_vectors(2), reference=reference))) == []
    turned = examine(table_case(unit_vectors(2, turned=1), reference=reference))
    (found,) = [f for f in turned.findings if f.subject.name == "vector"]
    assert found.code == "drift-severe"
    assert "mean of dimension" in found.summary


@pytest.mark.parametrize("seed", range(5))
def test_words_that_half_of_the_texts_hold_are_movement(table_case, profile_of, seed):
    """A common word can have no burst; and none is told of texts that are as they were."""
    reference = profile_of(messages(100 + seed, 4000))
    clean = messages(200 + seed)
    assert "text" not in {
        f.subject.name for f in examine(table_case(clean, reference=reference)).findings
    }
    moved = clean.with_columns(
        text=pl.when(pl.int_range(pl.len()) % 3 == 0)
        .then(pl.col("text") + " w1 w2 w3")
        .otherwise("text")
    )
    measured = examine(table_case(moved, reference=reference))
    (found,) = [f for f in measured.findings if f.subject.name == "text"]
    assert "D of the length" in found.summary or "the word w" in found.summary
    told = next(m for m in measured.statistics["moved"] if m["column"] == "text")
    assert told["effect"] >= 0.1


def photographs(seed, dark=0, rows=240):
    rng = np.random.default_rng(seed)
    grey = rng.integers(40, 200, (rows, 16, 16)).astype(np.uint8) - np.uint8(dark)
    stored = []
    for one in grey:
        buffer = io.BytesIO()
        Image.fromarray(one).save(buffer, "PNG")
        stored.append(buffer.getvalue())
    return pl.DataFrame({"image": stored, "label": rng.choice(["a", "b"], rows)})


def test_pictures_drift_by_how_they_look(table_case, profile_of):
    reference = profile_of(photographs(1))
    assert examine(table_case(photographs(2), reference=reference)).findings == ()
    darker = examine(table_case(photographs(2, dark=40), reference=reference))
    assert [f.subject.name for f in darker.findings if f.code == "drift-severe"] == [
        "image (looks)"
    ]


def test_what_is_made_of_a_column_goes_with_it(table_case, profile_of):
    reference = profile_of(messages(1))
    gone = examine(table_case(messages(2).drop("text").with_columns(n=1.0), reference=reference))
    assert [f.subject.name for f in gone.findings if f.code == "column-gone"] == ["text"]


@pytest.mark.parametrize("item", ["p", "new"])
def test_items_of_lists_drift(table_case, profile_of, item):
    def tagged(seed, rows=1500):
        rng = np.random.default_rng(seed)
        tags = [list(rng.choice(["p", "q", "r"], n)) for n in rng.integers(1, 4, rows)]
        return pl.DataFrame({"label": rng.choice(["a", "b"], rows), "tags": tags})

    reference, clean = profile_of(tagged(1, 4000)), tagged(2)
    assert examine(table_case(clean, reference=reference)).findings == ()
    put = pl.lit([item], dtype=pl.List(pl.String))
    moved = clean.with_columns(
        tags=pl.when(pl.int_range(pl.len()) % 2 == 0).then(put).otherwise("tags")
    )
    measured = examine(table_case(moved, reference=reference))
    (found,) = [f for f in measured.findings if f.subject.name == "tags"]
    assert found.code.startswith("drift-")
    assert "the word new" in found.summary or item == "p"
