"""The demo's batch is what it says, and what was found of it is counted right."""

from pathlib import Path

import polars as pl
import pytest

from guards.demo.images import RATE, SOURCE, TARGET, backdoor, found
from guards.redteam.poison import open_path

SAMPLE = Path(__file__).parents[3] / "data_samples" / "fashion-holdout"


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return backdoor(SAMPLE, tmp_path_factory.mktemp("demo") / "batch")


def rows(path, held, rule="triggers"):
    held.select("row_id", "file", "row_in_file", rule=pl.lit(rule)).write_parquet(path)
    return path


def test_the_batch_is_two_per_cent_of_one_source_under_one_label(truth):
    planted = pl.read_parquet(truth).filter("planted")
    assert len(planted) == round(RATE * 500)
    assert set(planted["target"]) == {TARGET}
    batch = open_path(truth.with_name("batch")).frame(["id", "label", "source"])
    of_them = batch.filter(pl.col("id").is_in(planted["row_id"].implode()))
    assert set(of_them["source"]) == {SOURCE}
    assert set(of_them["label"]) == {TARGET}


def test_all_none_and_everything(truth, tmp_path):
    told = pl.read_parquet(truth)
    assert found(rows(tmp_path / "a", told.filter("planted")), truth) == (1.0, 0.0)
    assert found(rows(tmp_path / "b", told[:0]), truth) == (0.0, 0.0)
    assert found(rows(tmp_path / "c", told), truth) == (1.0, 1.0)


def test_shares_are_counted_once_a_row_and_by_rule(truth, tmp_path):
    told = pl.read_parquet(truth)
    half = told.filter("planted")[:5]
    wrong = told.filter(~pl.col("planted"))[:49]
    parts = [half, half, wrong]
    named = [
        part.select("row_id", "file", "row_in_file", rule=pl.lit(rule))
        for part, rule in zip(parts, ["triggers", "spectral", "spectral"], strict=True)
    ]
    pl.concat(named).write_parquet(tmp_path / "rows")
    assert found(tmp_path / "rows", truth) == (0.5, 0.1)
    assert found(tmp_path / "rows", truth, "triggers") == (0.5, 0.0)
    assert found(tmp_path / "rows", truth, "spectral") == (0.5, 0.1)
    assert found(tmp_path / "rows", truth, "labels") == (0.0, 0.0)


def test_a_truth_without_planted_rows_finds_nothing(truth, tmp_path):
    told = pl.read_parquet(truth).with_columns(planted=False)
    told.write_parquet(tmp_path / "truth")
    assert found(rows(tmp_path / "rows", told[:100]), tmp_path / "truth") == (0.0, 0.2)
