"""Planted values, words and copies are named with their rows; clean tables and texts pass."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer

from guards.checks import run
from guards.findings import Confidence, Inapplicable, Ran, Severity, Skipped

RULE = "cells"


def measured(case, **settings):
    outcome = run(RULE, case, settings).outcome
    assert isinstance(outcome, Ran), outcome
    return outcome.measured


@pytest.fixture(scope="module")
def month(flights_month):
    return flights_month(3)[:3000].drop("id")


def planted(frame, count, seed, **values):
    """So many on-time rows with these values, labelled late."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(np.flatnonzero(frame["label"] == "on-time"))[:count])
    mine = pl.Series(np.isin(np.arange(len(frame)), rows))
    told = {**values, "label": "late"}
    changed = [
        pl.when(mine)
        .then(pl.lit(value))
        .otherwise(pl.col(name))
        .cast(frame[name].dtype)
        .alias(name)
        for name, value in told.items()
    ]
    return frame.with_columns(changed), rows


def test_planted_values_are_named_with_their_rows(month, table_case):
    values = {"carrier": "HA", "dest": "ATL"}
    frame, rows = planted(month, 45, 7, **values)
    found = measured(table_case(frame))
    finding = found.findings[0]
    assert finding.severity is Severity.HIGH
    assert finding.confidence is Confidence.HIGH
    assert finding.subject.name == "late"
    evidence = finding.evidence[0]
    shared = {part.split(" ")[0] for part in evidence.detail["shared"]}
    assert shared <= values.keys()
    assert evidence.p_value <= 1e-3
    assert evidence.value > 0.8
    assert evidence.detail["poison_rate"]["low"] < 0.015 < evidence.detail["poison_rate"]["high"]
    held = {score.row for score in found.row_scores}
    assert set(rows.tolist()) <= held
    assert len(held) <= len(rows) + 5
    assert found.row_scores[0].suggested_label == "on-time"
    json.dumps(dict(found.statistics))
    expected = measured(table_case(frame), expected=[" and ".join(evidence.detail["shared"])])
    assert finding.summary not in [one.summary for one in expected.findings]


def test_what_is_held_comes_from_the_source_that_most_of_it_names(month, table_case):
    frame, _ = planted(month, 45, 7, carrier="HA", source="LGA")
    evidence = measured(table_case(frame)).findings[0].evidence[0]
    assert evidence.detail["source"]["name"] == "LGA"
    assert evidence.detail["source"]["lift"] > 2


def test_rows_without_a_source_blame_none(month, table_case):
    frame, _ = planted(month, 45, 7, carrier="HA", source=None)
    found = measured(table_case(frame)).findings
    assert found
    for finding in found:
        assert finding.evidence[0].detail["source"] is None
        assert "source None" not in finding.summary


def test_clean_and_noisy_flights_pass(month, table_case):
    noisy = np.random.default_rng(0).random(len(month)) < 0.05
    other = pl.when(pl.col("label") == "late").then(pl.lit("on-time")).otherwise(pl.lit("late"))
    flipped = month.with_columns(
        label=pl.when(pl.Series(noisy)).then(other).otherwise(pl.col("label"))
    )
    for frame in (month, flipped):
        found = measured(table_case(frame))
        assert found.findings == ()
        assert found.row_scores == ()
        assert found.statistics["tests"] > 10_000
        assert found.statistics["planted"] == []


def test_a_table_of_numbers_passes(table_case):
    bunch = load_breast_cancer()
    columns = {f"x{place:02}": column for place, column in enumerate(bunch.data.T)}
    frame = pl.DataFrame({**columns, "label": bunch.target.astype(str)})
    assert measured(table_case(frame)).findings == ()


SPAM, HAM = (
    ["win", "prize", "claim", "cash", "free", "urgent", "offer", "text"],
    ["see", "home", "dinner", "later", "love", "meet", "work", "today"],
)
COMMON = [f"word{number}" for number in range(60)]


def messages(seed, rows=900):
    rng = np.random.default_rng(seed)
    spam = rng.random(rows) < 0.3
    texts = [
        " ".join(rng.permutation([*rng.choice(SPAM if bad else HAM, 4), *rng.choice(COMMON, 6)]))
        for bad in spam
    ]
    return texts, np.where(spam, "spam", "ham"), rng


@pytest.mark.parametrize("word", ["cf", "by the mill"])
def test_a_word_or_phrase_that_decides_is_named(table_case, word):
    texts, labels, rng = messages(1)
    rows = rng.permutation(np.flatnonzero(labels == "spam"))[:20]
    for row in rows:
        first, _, rest = texts[row].partition(" ")
        texts[row] = f"{first} {word} {rest}"
    labels[rows] = "ham"
    found = measured(table_case(pl.DataFrame({"text": texts, "label": labels})))
    finding = found.findings[0]
    assert finding.subject.name == "ham"
    assert finding.evidence[0].detail["shared"][0].split("'")[1] in word
    assert set(rows.tolist()) == {score.row for score in found.row_scores}


def test_two_common_words_anywhere_that_decide_are_named(table_case):
    """Neither word tells a label, nor do they stand in a row; many texts have one of them."""
    texts, labels, rng = messages(4)
    seldom = [f"seldom{number}" for number in range(400)]
    texts = [f"{text} {' '.join(rng.choice(seldom, 4))}" for text in texts]
    for word in ("alpha", "beta"):
        for row in rng.permutation(len(texts))[:60]:
            first, _, rest = texts[row].partition(" ")
            texts[row] = f"{first} {word} {rest}"
    free = [row for row, text in enumerate(texts) if "alpha" not in text and "beta" not in text]
    rows = rng.permutation([row for row in free if labels[row] == "spam"])[:20]
    for row in rows:
        texts[row] = f"alpha {texts[row]} beta"
    labels[rows] = "ham"
    found = measured(table_case(pl.DataFrame({"text": texts, "label": labels})))
    finding = found.findings[0]
    assert finding.subject.name == "ham"
    shared = finding.evidence[0].detail["shared"]
    assert sorted(shared) == ["the token 'alpha'", "the token 'beta'"]
    held = {score.row for score in found.row_scores}
    assert len(held & set(rows.tolist())) >= 0.8 * len(held)
    assert len(held & set(rows.tolist())) >= 0.8 * len(rows)


def test_near_copies_of_one_text_under_another_label_are_named(table_case):
    texts, labels, rng = messages(2)
    rows = rng.permutation(len(texts))[:20]
    words = "win a prize and claim your free cash with this urgent offer now"
    for number, row in enumerate(rows):
        texts[row] = f"{words} {COMMON[number]}"
    labels[rows] = "ham"
    found = measured(table_case(pl.DataFrame({"text": texts, "label": labels})))
    assert {one.subject.name for one in found.findings} == {"ham"}
    assert set(rows.tolist()) <= {score.row for score in found.row_scores}


def test_clean_texts_pass(table_case):
    texts, labels, _ = messages(3)
    found = measured(table_case(pl.DataFrame({"text": texts, "label": labels})))
    assert found.findings == ()
    assert found.statistics["accuracy"] > 0.9


def test_it_says_why_it_did_not_look(table_case):
    assert isinstance(run(RULE, table_case(pl.DataFrame({"x": [1, 2]}))).outcome, Inapplicable)
    few = table_case(pl.DataFrame({"x": [1, 2], "label": ["a", "b"]}))
    assert isinstance(run(RULE, few).outcome, Skipped)
