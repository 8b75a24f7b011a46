from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from guards.checks import labels, run
from guards.errors import Skip
from guards.findings import Inapplicable, Ran, Severity, Skipped


def examine(case, **settings):
    return labels.examine(case, labels.Settings(**settings))


def with_noise(frame, share, seed=0):
    picked = np.random.default_rng(seed).random(len(frame)) < share
    other = pl.when(pl.col("label") == "late").then(pl.lit("on-time")).otherwise(pl.lit("late"))
    noisy = pl.when(pl.Series(picked)).then(other).otherwise("label").alias("label")
    return frame.with_columns(noisy), np.flatnonzero(picked)


@pytest.fixture
def month(flights_month):
    return flights_month(4)


def test_the_rate_follows_the_noise_and_never_alarms(table_case, month):
    rates = []
    for share in (0.0, 0.1, 0.3):
        measured = examine(table_case(with_noise(month, share)[0]))
        rates.append(measured.statistics["rate"])
        low, high = measured.statistics["interval"]
        assert low <= rates[-1] <= high
        assert all(finding.severity is Severity.INFO for finding in measured.findings)
    assert rates[0] < rates[1] - 0.04 < rates[2] - 0.08


def test_planted_errors_come_first(table_case, month):
    noisy, planted = with_noise(month, 0.05)
    measured = examine(table_case(noisy))
    scores = [score.score for score in measured.row_scores]
    assert scores == sorted(scores, reverse=True)
    top = [score.row for score in measured.row_scores[:100]]
    assert len(set(top) & set(planted.tolist())) > 60
    first = measured.row_scores[0]
    assert first.suggested_label == month["label"][first.row]


def test_rows_that_lie_among_other_labels_come_before_those_that_do_not(table_case, month):
    """The order is the mean of three ranks, the third of which asks the neighbours."""
    scores = examine(table_case(with_noise(month, 0.05)[0])).row_scores
    shares = [int(re.search(r"; (\d+)% of the rows nearest", s.reason)[1]) for s in scores]
    third = len(shares) // 3
    assert np.mean(shares[:third]) > np.mean(shares[-third:]) + 20
    assert all(0 < score.score <= 1 for score in scores)


def test_without_a_place_for_every_row_models_alone_decide(table_case, month, monkeypatch):
    monkeypatch.setattr("guards.data.row_space.MOST_ROWS", 1_000)
    noisy, planted = with_noise(month, 0.05)
    scores = examine(table_case(noisy)).row_scores
    assert {score.reason for score in scores} == {"the features say otherwise"}
    assert len({score.row for score in scores[:100]} & set(planted.tolist())) > 60


def test_labels_of_trusted_rows_override_the_given_ones(table_case, fresh, month):
    """The rate then rests on what somebody saw, and no row that was found right is listed."""
    noisy, planted = with_noise(month, 0.1)
    picked = np.random.default_rng(1).permutation(len(month))[:1500]
    trusted = table_case(month[picked]).opened
    measured = examine(table_case(noisy, trusted=trusted), max_rows=6000)
    statistics, wrong = measured.statistics, set(picked.tolist()) & set(planted.tolist())
    assert (statistics["checked"], statistics["checked_wrong"]) == (1500, len(wrong))
    low, high = statistics["interval"]
    assert low <= len(planted) / len(month) <= high
    assert high - low < 0.06
    first = measured.row_scores[: len(wrong)]
    assert {score.row for score in first} == wrong
    assert all(score.score == 1 for score in first)
    assert all(score.suggested_label == month["label"][score.row] for score in first)
    assert not {score.row for score in measured.row_scores[len(wrong) :]} & set(picked.tolist())
    assert "by 1500 checked rows" in measured.findings[0].summary


def test_sources_and_classes_are_broken_down(table_case, month):
    statistics = examine(table_case(month)).statistics
    assert sum(one["rows"] for one in statistics["sources"]) == 6000
    assert sum(one["flagged"] for one in statistics["sources"]) == statistics["flagged"]
    assert sum(one["flagged"] for one in statistics["classes"]) == statistics["flagged"]
    assert {one["source"] for one in statistics["sources"]} == {"EWR", "JFK", "LGA"}


def test_rows_are_capped_and_the_seed_decides(table_case, month):
    case = table_case(month)
    assert len(examine(case, max_rows=10).row_scores) == 10
    assert run("labels", case).digest == run("labels", table_case(month)).digest


def test_one_class_only_is_a_skip(table_case, month):
    case = table_case(month.with_columns(label=pl.lit("late")))
    with pytest.raises(Skip, match="two"):
        examine(case)
    assert isinstance(run("labels", case).outcome, Skipped)


def test_no_label_is_inapplicable(table_case, month):
    assert isinstance(run("labels", table_case(month.drop("label"))).outcome, Inapplicable)


def test_nan_labels_and_rare_classes_are_counted(table_case, month):
    odd = month.with_row_index("n").with_columns(
        label=pl.when(pl.col("n") < 3)
        .then(pl.lit("rare"))
        .when(pl.col("n") < 10)
        .then(None)
        .otherwise("label")
    )
    examination = run("labels", table_case(odd.drop("n")))
    assert isinstance(examination.outcome, Ran)
    statistics = examination.outcome.measured.statistics
    assert statistics["unlabelled"] == 7
    assert statistics["too_small"] == [["rare", 3]]
    assert statistics["rows"] == 5990


def messages(rows, seed):
    """Of 600 words each label has some of its own, and every text one of these."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["ham", "spam"], rows, p=[0.7, 0.3])
    own = {"ham": ["later", "home", "ok"], "spam": ["win", "prize", "call"]}
    said = [
        " ".join([*(f"w{n}" for n in rng.integers(0, 40, 5)), *rng.choice(own[one], 2)])
        for one in label
    ]
    return pl.DataFrame({"text": said, "label": label, "source": rng.choice(["a", "b", "c"], rows)})


def test_labels_of_texts_are_looked_at_as_those_of_tables(table_case):
    clean = messages(900, 1)
    flipped = np.random.default_rng(2).permutation(900)[:45]
    other = {"ham": "spam", "spam": "ham"}
    labels = clean["label"].scatter(flipped, [other[clean["label"][int(row)]] for row in flipped])
    measured = examine(table_case(clean.with_columns(label=labels)))
    listed = [score.row for score in measured.row_scores]
    assert len(set(flipped.tolist()) & set(listed)) >= 36
    assert len(set(flipped.tolist()) & set(listed[:30])) >= 25
    for score in [s for s in measured.row_scores if s.row in flipped]:
        assert score.suggested_label == clean["label"][score.row]
