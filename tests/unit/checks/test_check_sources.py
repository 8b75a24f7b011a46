from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.checks import run, sources
from guards.errors import Skip
from guards.findings import Inapplicable, Severity, Skipped


def examine(case, **settings):
    return sources.examine(case, sources.Settings(**settings))


def flipped(frame, source, true, given, share, seed=0):
    rows = np.flatnonzero(((frame["source"] == source) & (frame["label"] == true)).to_numpy())
    picked = np.random.default_rng(seed).permutation(rows)[: round(share * len(rows))]
    marked = pl.Series(np.isin(np.arange(len(frame)), picked))
    wrong = pl.when(marked).then(pl.lit(given)).otherwise("label").alias("label")
    return frame.with_columns(wrong), picked.tolist()


@pytest.mark.parametrize("month", [1, 2, 3, 4, 5, 6])
def test_clean_months_have_no_finding(table_case, flights_month, month):
    measured = examine(table_case(flights_month(month)))
    assert measured.findings == ()
    assert measured.row_scores == ()
    assert {one["source"] for one in measured.statistics["sources"]} == {"EWR", "JFK", "LGA"}


@pytest.mark.parametrize(
    ("month", "source", "true", "given"),
    [
        (4, "JFK", "late", "on-time"),
        (5, "JFK", "late", "on-time"),
        (6, "LGA", "late", "on-time"),
        (5, "EWR", "on-time", "late"),
    ],
)
def test_labels_flipped_in_one_source(table_case, flights_month, month, source, true, given):
    frame, picked = flipped(flights_month(month), source, true, given, 0.15)
    measured = examine(table_case(frame))
    (finding,) = measured.findings
    assert finding.code == "labels-flipped-in-source"
    assert finding.severity is Severity.MEDIUM
    assert finding.subject.name == source
    assert finding.evidence[0].detail["true"] == true
    assert finding.evidence[0].detail["given"] == given
    assert finding.evidence[0].rows == pytest.approx(len(picked), rel=0.5)
    held = [score.row for score in measured.row_scores]
    assert len(set(held) & set(picked)) / len(held) > 0.7
    assert len(set(held) & set(picked)) / len(picked) > 0.2
    assert {score.suggested_label for score in measured.row_scores} == {true}


def test_noise_alike_in_all_sources_is_no_finding(table_case, flights_month):
    frame = flights_month(4)
    for source in ("EWR", "JFK", "LGA"):
        frame, _ = flipped(frame, source, "late", "on-time", 0.15)
    assert examine(table_case(frame)).findings == ()


def test_a_careless_source_is_not_a_poisoned_one(table_case, flights_month):
    """Errors in both directions are carelessness; that is told, and does not alarm."""
    frame, _ = flipped(flights_month(4), "JFK", "late", "on-time", 0.1, seed=1)
    frame, _ = flipped(frame, "JFK", "on-time", "late", 0.1, seed=2)
    measured = examine(table_case(frame))
    rates = {entry["source"]: entry["rate"] for entry in measured.statistics["sources"]}
    assert rates["JFK"] > 2 * max(rates["EWR"], rates["LGA"])
    assert [(f.code, f.severity, f.subject.name) for f in measured.findings] == [
        ("careless-source", Severity.LOW, "JFK")
    ]


def test_one_of_many_sources(table_case):
    """The published setting: many sources, honest noise by class, a few rows of one cell."""
    generator = np.random.default_rng(3)
    rows, classes, many = 12_000, 6, 30
    true = generator.integers(0, classes, rows)
    x = generator.normal(true, 0.25)
    source = generator.integers(0, many, rows)
    noisy = generator.random(rows) < 0.05
    labels = np.where(noisy, (true + 1) % classes, true)
    planted = np.flatnonzero((source == 11) & (true == 2))[:25]
    labels[planted] = 5
    frame = pl.DataFrame(
        {"x": x, "label": [f"c{k}" for k in labels], "source": [f"s{k}" for k in source]}
    )
    measured = examine(table_case(frame))
    (finding,) = measured.findings
    assert finding.subject.name == "s11"
    assert finding.evidence[0].detail["given"] == "c5"
    assert finding.evidence[0].detail["true"] == "c2"
    held = {score.row for score in measured.row_scores}
    assert len(held & set(planted.tolist())) / len(held) > 0.8


def blurred(rows, many, seed):
    """Two labels that overlap, and sources of unlike sizes."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 2, rows)
    source = generator.choice(many, rows, p=generator.dirichlet(np.full(many, 4.0)))
    columns = {f"x{place}": generator.normal(1.2 * true, 1.0) for place in range(3)}
    labels = pl.Series(np.array(["no", "yes"])[true])
    return pl.DataFrame({**columns, "label": labels, "source": [f"s{k}" for k in source]})


def test_labels_that_go_one_way_are_told_where_few_rows_are_sure(table_case):
    """Without the cells of sure rows (no lift is enough for them)."""
    frame, picked = flipped(blurred(4000, 6, 1), "s2", "yes", "no", 0.2)
    measured = examine(table_case(frame), min_lift=1e9)
    (finding,) = measured.findings
    assert (finding.code, finding.severity) == ("labels-flipped-in-source", Severity.MEDIUM)
    assert finding.subject.name == "s2"
    (evidence,) = finding.evidence
    assert (evidence.detail["true"], evidence.detail["given"]) == ("yes", "no")
    assert evidence.rows == pytest.approx(len(picked), rel=0.5)
    for figure in ("s2", "yes", "no", f"{evidence.value:.1f} times", "p = "):
        assert figure in finding.summary
    held = {score.row for score in measured.row_scores}
    assert len(held & set(picked)) / len(held) > 0.6
    assert len(held & set(picked)) / len(picked) > 0.4
    assert all(0.5 <= score.score <= 1 for score in measured.row_scores)
    assert {score.suggested_label for score in measured.row_scores} == {"yes"}
    told = measured.statistics["flows"][0]
    assert (told["source"], told["given"], told["predicted"]) == ("s2", "no", "yes")


def test_a_source_that_errs_both_ways_is_not_told_by_either(table_case):
    frame, _ = flipped(blurred(4000, 6, 2), "s2", "yes", "no", 0.1, seed=1)
    frame, _ = flipped(frame, "s2", "no", "yes", 0.1, seed=2)
    alarms = [f for f in examine(table_case(frame)).findings if f.severity >= Severity.MEDIUM]
    assert alarms == []


def test_one_source_only_is_a_skip(table_case, flights_month):
    case = table_case(flights_month(4).with_columns(source=pl.lit("JFK")))
    with pytest.raises(Skip, match="other sources"):
        examine(case)
    assert isinstance(run("sources", case).outcome, Skipped)


def with_times(frame, month):
    when = pl.datetime(2013, month, pl.col("day"), pl.col("hour"))
    return frame.with_columns(when=when).drop("day", "hour").sort("when", maintain_order=True)


@pytest.mark.parametrize("month", [2, 6])
def test_clean_months_have_no_window(table_case, flights_month, month):
    measured = examine(table_case(with_times(flights_month(month), month)))
    assert [f for f in measured.findings if f.severity > Severity.INFO] == []
    assert measured.row_scores == ()
    assert measured.statistics["time"] == "when"
    assert measured.statistics["windows_tested"] > 100


def test_labels_flipped_for_a_time_in_all_sources(table_case, flights_month):
    """Found without any source, and told by its statistics; nobody is accused."""
    frame = with_times(flights_month(1), 1).drop("source", "id")
    late = np.flatnonzero((frame["label"] == "late").to_numpy())[400:520]
    labels = frame["label"].to_numpy().copy()
    labels[late] = "on-time"
    case = table_case(frame.with_columns(label=pl.Series(labels)))
    measured = examine(case)
    (finding,) = [f for f in measured.findings if f.severity > Severity.INFO]
    assert (finding.code, finding.severity) == ("labels-flipped-in-window", Severity.MEDIUM)
    (evidence,) = finding.evidence
    assert (evidence.detail["true"], evidence.detail["given"]) == ("late", "on-time")
    assert evidence.value <= evidence.threshold
    assert evidence.rows == pytest.approx(len(late), rel=0.5)
    held = {score.row for score in measured.row_scores}
    assert len(held & set(late.tolist())) / len(held) > 0.8
    assert str(frame["when"][int(late[60])].date())[:7] in finding.subject.name
    for figure in (str(evidence.sample), f"{evidence.effect:.1f} times", "p = "):
        assert figure in finding.summary
    accusing = ("attack", "poison", "malicious", "hostile", "tamper", "fraud")
    assert not any(word in (finding.summary + finding.remedy).lower() for word in accusing)


def test_a_column_of_times_that_is_none_is_a_skip(table_case, flights_month):
    case = table_case(flights_month(4))
    outcome = run("sources", case, {"time": "carrier"}).outcome
    assert isinstance(outcome, Skipped)
    assert "holds String" in outcome.reason


def test_no_source_is_inapplicable(table_case, flights_month):
    outcome = run("sources", table_case(flights_month(4).drop("source"))).outcome
    assert isinstance(outcome, Inapplicable)


def test_missing_long_and_odd_source_names(table_case, flights_month):
    frame = flights_month(4).with_columns(
        source=pl.col("source").replace({"JFK": "ü" * 3000, "LGA": None, "EWR": "a\u202eb"})
    )
    examination = run("sources", table_case(frame))
    assert examination.findings == ()
    assert examination.digest


@pytest.mark.parametrize("poisoned", [False, True])
def test_texts_have_sources_as_well(table_case, poisoned):
    rng = np.random.default_rng(5)
    label, source = rng.choice(["ham", "spam"], 1500), rng.choice(list("abcdef"), 1500)
    own = {"ham": ["later", "home", "ok"], "spam": ["win", "prize", "call"]}
    said = [
        " ".join([*(f"w{n}" for n in rng.integers(0, 60, 6)), rng.choice(own[one])])
        for one in label
    ]
    rows = np.flatnonzero((label == "spam") & (source == "b"))[:40]
    if poisoned:
        label[rows] = "ham"
    frame = pl.DataFrame({"text": said, "label": label, "source": source})
    measured = examine(table_case(frame))
    assert [f.code for f in measured.findings if f.severity >= Severity.MEDIUM] == (
        ["labels-flipped-in-source"] if poisoned else []
    )
    held = {score.row for score in measured.row_scores}
    assert len(held & set(rows.tolist())) >= (36 if poisoned else 0)
    assert len(held) <= 42
