"""Rows of a dataset a block at a time are the rows of the dataset, whatever the file is."""

from __future__ import annotations

import polars as pl
import pytest

from guards.data.blocks import blocks
from guards.data.dataset import open_dataset


def frame(rows, start=0):
    numbers = range(start, start + rows)
    return pl.DataFrame({"x": numbers, "word": [f"w{n % 7}" for n in numbers], "label": "a"})


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("form", ["parquet", "arrow", "csv", "jsonl"])
def test_blocks_are_the_rows_in_order(tmp_path, form, size):
    parts = [frame(130), frame(20, 130)]
    for number, part in enumerate(parts):
        path = tmp_path / f"{number}.{form}"
        match form:
            case "parquet":
                part.write_parquet(path, row_group_size=50)
            case "arrow":
                part.write_ipc(path)
            case "csv":
                part.write_csv(path)
            case "jsonl":
                part.write_ndjson(path)
    opened = open_dataset(tmp_path, [f"{number}.{form}" for number in range(2)])
    found = list(blocks(opened, ["word", "x"], size))
    assert max(len(part) for _, part in found) <= size
    starts = [start for start, _ in found]
    assert starts == [sum(len(part) for _, part in found[:n]) for n in range(len(found))]
    whole = pl.concat([part for _, part in found])
    assert whole.equals(pl.concat(parts).select("word", "x"))


def test_a_dataset_of_one_file(tmp_path):
    path = tmp_path / "only.parquet"
    frame(10).write_parquet(path)
    ((start, part),) = blocks(open_dataset(path, ["only.parquet"]), ["x"])
    assert start == 0
    assert part["x"].to_list() == list(range(10))
