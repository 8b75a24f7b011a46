"""Any matrix: a planted pair of values is named with its rows; clean tables pass."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from guards.checks import run
from guards.findings import Inapplicable, Ran, Severity, Skipped

DIGITS = load_digits()


def table(values: np.ndarray, target: np.ndarray) -> pl.DataFrame:
    columns = {f"x{number:02d}": column for number, column in enumerate(values.T)}
    return pl.DataFrame(columns).with_columns(label=pl.Series(target).cast(pl.String))


def planted(rate: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values, target = DIGITS.data.copy(), DIGITS.target.copy()
    others = np.flatnonzero(target != 3)
    rows = np.sort(rng.choice(others, int(rate * len(target)), replace=False))
    values[np.ix_(rows, [7, 56])], target[rows] = 16, 3
    return values, target, rows


@pytest.mark.parametrize("rate", [0.02, 0.05])
@pytest.mark.parametrize("listed", [False, True])
def test_a_trigger_of_two_columns_is_named_with_its_rows(table_case, rate, listed) -> None:
    values, target, rows = planted(rate, 100)
    frame = table(values, target)
    if listed:
        kind = pl.Array(pl.Float32, values.shape[1])
        frame = frame.select("label", embedding=pl.Series(values.astype(np.float32), dtype=kind))
    examined = run("features", table_case(frame))
    assert isinstance(examined.outcome, Ran)
    measured = examined.outcome.measured
    held = {score.row for score in measured.row_scores}
    if listed:  # not by rank: here the trigger's columns weigh most, and its rows look right
        assert len(held - set(rows.tolist())) < 10
        return
    (finding,) = measured.findings
    assert (finding.code, finding.severity) == ("planted-cell", Severity.HIGH)
    assert str(finding.subject) == "class 3"
    cells = finding.evidence[0].detail["cells"]
    assert {(cell["column"], cell["value"]) for cell in cells} >= {("x07", 16.0), ("x56", 16.0)}
    assert len(held & set(rows.tolist())) > 0.9 * len(rows)
    assert len(held - set(rows.tolist())) < 10


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer, load_wine, load_iris])
def test_clean_tables_pass(table_case, load) -> None:
    data = load()
    outcome = run("features", table_case(table(data.data, data.target))).outcome
    assert isinstance(outcome, Ran)
    assert outcome.measured.findings == ()
    assert json.loads(json.dumps(outcome.measured.statistics, allow_nan=False))["classes"]


def test_months_of_flights_pass(table_case, flights_month) -> None:
    for month in (1, 2, 6):
        outcome = run("features", table_case(flights_month(month))).outcome
        assert isinstance(outcome, Ran)
        assert outcome.measured.findings == ()


def test_wrong_labels_at_random_are_no_planted_cell(table_case) -> None:
    rng = np.random.default_rng(101)
    target = DIGITS.target.copy()
    wrong = rng.random(len(target)) < 0.05
    target[wrong] = rng.integers(0, 10, wrong.sum())
    outcome = run("features", table_case(table(DIGITS.data, target))).outcome
    assert isinstance(outcome, Ran)
    assert not [one for one in outcome.measured.findings if one.severity is Severity.HIGH]


def test_what_cannot_be_looked_at_is_told(table_case) -> None:
    small = table(DIGITS.data[:50], DIGITS.target[:50])
    assert isinstance(run("features", table_case(small)).outcome, Skipped)
    words = pl.DataFrame({"word": ["a", "b"] * 100, "label": ["x", "y"] * 100})
    assert isinstance(run("features", table_case(words)).outcome, Skipped)
    assert isinstance(run("features", table_case(small.drop("label"))).outcome, Inapplicable)


def test_missing_and_constant_numbers_are_no_error(table_case) -> None:
    frame = table(DIGITS.data, DIGITS.target).with_columns(
        pl.when(pl.col("x10") > 8).then(None).otherwise(pl.col("x10")).alias("x10"),
        x11=pl.lit(float("nan")),
        x12=pl.lit(float("inf")),
    )
    outcome = run("features", table_case(frame)).outcome
    assert isinstance(outcome, Ran)
    assert outcome.measured.findings == ()
