"""Labels that nothing explains: found among rows chosen by number, and nowhere else."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.turned import turned
from guards.numerics import turns
from guards.numerics.enrichment import beta_binomial_tail
from guards.provenance.snapshot import Snapshot

ROWS = 2_000


@pytest.fixture
def case_of(tmp_path):
    def make(frame):
        frame.write_parquet(tmp_path / "x.parquet")
        dataset = open_dataset(tmp_path, ["x.parquet"])
        return Case(snapshot=Snapshot(files=()), roles=dataset.roles, opened=dataset)

    return make


def table(turn=(), seed=0, order=None):
    """A label that follows from two columns, in nine rows of ten yes; `turn` bear yes anyway."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, ROWS))
    label = np.where(first + second > 1.8, "no", "yes")
    label[list(turn)] = "yes"
    frame = pl.DataFrame({"first": first, "second": second, "label": label})
    return frame if order is None else frame[order]


def of(frame, label, many=30):
    return np.flatnonzero((frame["label"] == label).to_numpy())[:many].tolist()


def test_rows_turned_to_the_label_that_most_rows_bear(case_of):
    rows = of(table(), "no")
    case = case_of(table(turn=rows))
    (found,) = turned(case, [rows])
    assert (found.label, found.hits, found.rows) == ("yes", 30, 30)
    assert found.expected < 15
    assert found.p_value < 1e-6
    assert found.bearing.tolist() == rows
    places = np.array(rows)
    expected = turns.left_out(case.label_view, places)[:, 1].sum()
    tail = beta_binomial_tail(30, 30, expected / 30, turns.PRIOR) * 2
    assert found.p_value == pytest.approx(tail, rel=0.01)


@pytest.mark.parametrize("least", [-3, 0.5, 1, 1.5])
def test_rows_with_the_labels_they_should_have_are_none(case_of, least):
    """However one-sided: most rows of a large `first` say no, as they should."""
    frame = table()
    rows = np.flatnonzero((frame["first"] > least).to_numpy()).tolist()
    assert turned(case_of(frame), [rows[:50], of(frame, "yes")]) == [None, None]


def test_the_level_is_that_of_all_groups_together(case_of):
    rows = of(table(), "no")
    case = case_of(table(turn=rows))
    (alone,) = turned(case, [rows])
    first, *others = turned(case, [rows, *[list(range(n, n + 50)) for n in range(9)]])
    assert others == [None] * 9
    assert first.p_value == pytest.approx(10 * alone.p_value, rel=0.01)


def test_the_order_of_rows_is_of_no_account(case_of):
    rows = of(table(), "no")
    (one,) = turned(case_of(table(turn=rows)), [rows])
    order = np.random.default_rng(1).permutation(ROWS)
    (other,) = turned(
        case_of(table(turn=rows, order=order)), [np.flatnonzero(np.isin(order, rows))]
    )
    assert (one.label, one.hits, one.expected) == (other.label, other.hits, other.expected)
    assert sorted(order[other.bearing].tolist()) == one.bearing.tolist()


def test_few_rows_all_rows_and_no_rows_say_nothing(case_of):
    rows = of(table(), "no", many=7)
    case = case_of(table(turn=rows))
    assert turned(case, [rows, list(range(ROWS)), []]) == [None] * 3
    assert turned(case, []) == []


def test_without_labels_or_with_too_few_rows_nothing_is_expected(case_of):
    frame = table()
    assert turned(case_of(frame.drop("label")), [[0, 1]]) == [None]
    assert turned(case_of(frame[:150]), [list(range(30))]) == [None]
