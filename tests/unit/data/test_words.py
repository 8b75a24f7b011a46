"""Columns of any type as words."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.labelled import label_words
from guards.data.profile import build_profile
from guards.data.words import words_of
from guards.errors import Skip


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pl.Series([1, None, 2]), ["1", None, "2"]),
        (pl.Series([True, False]), ["true", "false"]),
        (pl.Series([["a", "b"], [], None]), ['["a", "b"]', "[]", None]),
        (pl.Series([{"x": 1, "y": b"\xff"}]), ['{"x": 1, "y": "ff"}']),
        (pl.Series([[date(2024, 2, 29)]]), ['["2024-02-29"]']),
        (pl.Series([b"caf\xc3\xa9", b"\xff\x00", None]), ["caf\u00e9", "ff00", None]),
        (pl.Series(["a", "b"]).cast(pl.Enum(["a", "b"])), ["a", "b"]),
        (pl.Series([], dtype=pl.List(pl.Int8)), []),
    ],
)
def test_every_value_is_a_word(values, words):
    found = words_of(values.alias("it"))
    assert found.name == "it"
    assert found.dtype == pl.String
    assert found.to_list() == words


@pytest.mark.parametrize(
    "labels",
    [[["a"], ["a", "b"]], [{"k": 1}, {"k": 2}], [b"\xff", b"\x00"]],
    ids=["lists", "structs", "bytes"],
)
def test_a_label_of_any_type_is_profiled_and_models_say_why_not(tmp_path, labels):
    frame = pl.DataFrame({"label": labels * 30, "x": range(60)})
    frame.write_parquet(tmp_path / "a.parquet")
    opened = open_dataset(tmp_path, ["a.parquet"])
    assert len(build_profile(opened).by_name["label"].values) == 2
    if isinstance(labels[0], bytes):
        assert label_words(opened).n_unique() == 2
        return
    with pytest.raises(Skip, match="several labels a row"):
        label_words(opened)


def test_a_column_without_a_name_is_read(tmp_path):
    """polars makes up a name for such a column where it takes it from Arrow."""
    frame = pl.DataFrame({"label": ["a", "b"] * 30, "": range(60)})
    frame.write_parquet(tmp_path / "a.parquet")
    assert build_profile(open_dataset(tmp_path, ["a.parquet"])).by_name[""].count == 60
