"""Six hundred labels through every rule that asks about them, or says why it does not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.checks import labels, run
from guards.data.turned import turned
from guards.errors import Skip
from guards.findings import Ran, Skipped
from guards.numerics.likely import Likely

CLASSES, EACH = 600, 8


@pytest.fixture(scope="module")
def flipped():
    """A table of 600 labels, 5 % of them wrong; the true ones, and where they are not given."""
    rng = np.random.default_rng(3)
    true = rng.permutation(np.arange(CLASSES * EACH) % CLASSES)
    points = rng.normal(size=(CLASSES, 6))[true] + 0.15 * rng.normal(size=(len(true), 6))
    wrong = rng.random(len(true)) < 0.05
    given = np.where(wrong, (true + rng.integers(1, CLASSES, len(true))) % CLASSES, true)
    names = np.array([f"item-{place:03d}" for place in range(CLASSES)])
    frame = pl.DataFrame({f"x{place}": column for place, column in enumerate(points.T)})
    frame = frame.with_columns(
        label=pl.Series(names[given]),
        source=pl.Series([f"shop-{place % 5}" for place in range(len(true))]),
    )
    return frame, names[true], np.flatnonzero(wrong)


def test_wrong_labels_among_six_hundred_are_listed_with_the_right_ones(table_case, flipped):
    frame, true, wrong = flipped
    case = table_case(frame)
    measured = labels.examine(case, labels.Settings())
    assert isinstance(case.table_features.probabilities, Likely)
    rows = [score.row for score in measured.row_scores]
    assert len(set(rows) & set(wrong.tolist())) > 0.7 * len(wrong)
    assert len(set(rows[: len(wrong) // 2]) - set(wrong.tolist())) < 5
    right = [score.suggested_label == true[score.row] for score in measured.row_scores]
    assert np.mean(right[: len(wrong) // 2]) > 0.9
    told = measured.statistics["classes"]
    assert len(told) == 200
    assert [one["class"] for one in told] == sorted(one["class"] for one in told)
    spread = set(true[wrong]) | {frame["label"][int(row)] for row in wrong}
    assert len(spread) > 200, "more labels than are told of have to do with a wrong one"
    assert sum(one["flagged"] for one in told) > 0.9 * measured.statistics["flagged"]
    low, high = measured.statistics["interval"]
    assert low <= measured.statistics["rate"] <= high
    assert 0.03 < measured.statistics["rate"] < 0.1


@pytest.mark.parametrize("rule", ["labels", "sources", "features", "history", "quality"])
def test_rules_that_ask_about_labels_answer_for_six_hundred(table_case, flipped, rule):
    assert isinstance(run(rule, table_case(flipped[0])).outcome, Ran)


def test_cells_of_too_many_labels_are_skipped_and_it_is_said_why(table_case, flipped):
    case = table_case(flipped[0])
    outcome = run("cells", case).outcome
    assert isinstance(outcome, Skipped)
    assert "600 labels; cells are held against at most 500" in outcome.reason
    assert turned(case, [range(20)]) == [None]
    with pytest.raises(Skip):
        _ = case.label_view


def test_a_source_that_flips_one_label_is_named_among_six_hundred(table_case, flipped):
    """A tenth of the rows bear one label, and one shop calls a third of them by another."""
    frame, true, _ = flipped
    rng = np.random.default_rng(4)
    common = rng.random(len(frame)) < 0.4
    shop = (frame["source"] == "shop-2").to_numpy()
    points = {
        f"x{place}": pl.when(pl.Series(common))
        .then(pl.lit(9.0) + pl.Series(0.15 * rng.normal(size=len(frame))))
        .otherwise(pl.col(f"x{place}"))
        for place in range(6)
    }
    names = np.where(common, "item-007", true)
    planted = common & shop & (rng.random(len(frame)) < 0.33)
    names = np.where(planted, "item-300", names)
    case = table_case(frame.with_columns(**points, label=pl.Series(names)))
    found = run("sources", case).findings
    assert [(one.code, one.subject.name) for one in found if one.code.startswith("labels")] == [
        ("labels-flipped-in-source", "shop-2")
    ]
