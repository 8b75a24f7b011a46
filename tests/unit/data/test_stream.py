"""Frames as they pass by are the rows of the dataset, wherever they are cut."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.data.dataset import open_dataset
from guards.data.stream import frames

ROWS = 25


def table(start: int, rows: int) -> pl.DataFrame:
    numbers = range(start, start + rows)
    words = [None if n % 7 == 3 else f"w{n}" for n in numbers]
    held = {"n": numbers, "w": words, "x": [n / 4 for n in numbers]}
    return pl.DataFrame(held, schema_overrides={"w": pl.String})


def write(frame: pl.DataFrame, path: Path) -> None:
    match path.suffix:
        case ".parquet":
            frame.write_parquet(path, row_group_size=4)
        case ".csv":
            frame.write_csv(path)
        case ".jsonl":
            frame.write_ndjson(path)
        case ".arrow":
            frame.write_ipc(path)
        case ".feather":
            kinds = {"n": pa.int64(), "w": pa.string(), "x": pa.float64()}
            stream = frame.to_arrow().cast(pa.schema(kinds))
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, stream.schema) as out:
                out.write_table(stream, max_chunksize=3)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow", ".feather"])
@pytest.mark.parametrize("size", [1, 4, 7, 25, 100])
def test_every_format_gives_its_rows_in_order(tmp_path, suffix, size):
    for number, (start, rows) in enumerate(((0, 11), (11, 14))):
        write(table(start, rows), tmp_path / f"{number}{suffix}")
    dataset = open_dataset(tmp_path, [f"0{suffix}", f"1{suffix}"])
    found = list(frames(dataset, ["w", "n"], size))
    assert [frame.height for frame in found[:-1]] == [size] * (len(found) - 1)
    assert pl.concat(found).equals(table(0, ROWS).select("w", "n"))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(1, 12),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_cuts_are_where_they_are_asked_for(tmp_path_factory, shards, size, cuts):
    root = tmp_path_factory.mktemp("cuts")
    start = 0
    for number, rows in enumerate(shards):
        table(start, rows).write_parquet(root / f"{number}.parquet")
        start += rows
    dataset = open_dataset(root, [f"{number}.parquet" for number in range(len(shards))])
    inside = {cut for cut in cuts if cut < start}
    found = list(frames(dataset, ["n"], size, inside))
    ends = [int(frame["n"][-1]) + 1 for frame in found]
    assert ends == sorted({*range(size, start, size), *inside, start} - {0})
    assert pl.concat(found)["n"].to_list() == list(range(start))


def test_a_single_file_is_its_own_root(tmp_path):
    table(0, 5).write_parquet(tmp_path / "one.parquet")
    dataset = open_dataset(tmp_path / "one.parquet", ["one.parquet"])
    assert pl.concat(frames(dataset, ["x"], 2))["x"].to_list() == [0, 0.25, 0.5, 0.75, 1]
