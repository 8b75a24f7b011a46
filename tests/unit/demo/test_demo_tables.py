from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from guards.demo.tables import break_contract, change_unit, flip_labels
from guards.errors import NothingToExamine

MAY = Path(__file__).parents[3] / "data_samples" / "flights" / "2013-05"


def read(folder):
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])


@pytest.mark.parametrize(
    ("make", "column"),
    [(break_contract, "air_time"), (change_unit, "distance"), (flip_labels, "label")],
)
def test_one_column_changes_in_the_rows_that_are_told(tmp_path, make, column):
    rows = make(MAY, tmp_path / "out")
    clean, changed = read(MAY), read(tmp_path / "out")
    assert changed.schema == clean.schema
    assert changed.drop(column).equals(clean.drop(column))
    differs = (changed[column] != clean[column]).arg_true().to_list()
    assert differs == rows
    assert rows
    names = [
        sorted(p.name for p in folder.iterdir() if p.suffix == ".parquet")
        for folder in (MAY, tmp_path / "out")
    ]
    assert names[0] == names[1] == ["part-0.parquet", "part-1.parquet"]


@pytest.mark.parametrize("make", [break_contract, change_unit, flip_labels])
def test_a_repeat_gives_the_same_bytes(tmp_path, make):
    for name in ("one", "two"):
        make(MAY, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_doses(tmp_path):
    clean = read(MAY)
    late = ((clean["source"] == "LGA") & (clean["label"] == "late")).sum()
    rows = flip_labels(MAY, tmp_path / "a", source="LGA", share=0.25)
    assert len(rows) == round(late * 0.25)
    rows = change_unit(MAY, tmp_path / "b", carrier="WN")
    assert len(rows) == (clean["carrier"] == "WN").sum()
    assert len(break_contract(MAY, tmp_path / "c")) == 120


def test_nothing_to_make_a_story_of(tmp_path):
    with pytest.raises(NothingToExamine):
        change_unit(tmp_path, tmp_path / "out")
