"""What is left of a file when rows are taken out is what was there: every cell, type and layout."""

from __future__ import annotations

import datetime as dt
import decimal
import struct
import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.data.dataset import open_dataset
from guards.data.rewrite import write_without
from guards.errors import Unreadable

WORDS = ["", "a", "ü", "日本", 'say "hi"', "x,y", "two\nlines", "e\u0301", "\u202e", None]
FLOATS = [0.0, -0.0, 1.5, float("inf"), float("-inf"), 5e-324, 0.1, None]
MOMENT = dt.datetime(2026, 1, 31, 12, 0, 0, 123456)


def table(rows: int) -> pa.Table:
    """One column of each kind, nulls in all of them."""

    def turn(values):
        return [values[n % len(values)] for n in range(rows)]

    nested = [{"k": [1, None]}, {"k": []}, {"k": None}, None]
    return pa.table(
        {
            "int": pa.array(turn([1, None, -(2**63)]), pa.int64()),
            "small": pa.array(turn([255, 0, None]), pa.uint8()),
            "float": pa.array([*turn(FLOATS)], pa.float64()),
            "half": pa.array(turn([1.5, None]), pa.float16()),
            "text": pa.array(turn(WORDS), pa.string()),
            "large": pa.array(turn(WORDS), pa.large_string()),
            "bytes": pa.array(turn([b"", b"\0\xff", None]), pa.binary()),
            "flag": pa.array(turn([True, False, None]), pa.bool_()),
            "word": pa.array(turn(["q", None, "r", "ü"])).dictionary_encode(),
            "when": pa.array(turn([MOMENT, None]), pa.timestamp("ns", "Europe/Berlin")),
            "day": pa.array(turn([dt.date(1, 1, 1), None]), pa.date32()),
            "money": pa.array(turn([decimal.Decimal("1.10"), None]), pa.decimal128(12, 2)),
            "list": pa.array(turn([[1.0, None], [], None]), pa.list_(pa.float32())),
            "fixed": pa.array(turn([[1, 2], None]), pa.list_(pa.int8(), 2)),
            "nested": pa.array(turn(nested), pa.struct([("k", pa.list_(pa.int32()))])),
            "map": pa.array(turn([[("a", 1)], [], None]), pa.map_(pa.string(), pa.int64())),
            "image": pa.array(
                turn([{"bytes": b"\x89PNG", "path": "ü.png"}, None]),
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
        }
    ).replace_schema_metadata({"huggingface": '{"info": {}}'})


def write(form: str, path: Path, data: pa.Table, group: int) -> None:
    match form:
        case "parquet":
            pq.write_table(data, path, row_group_size=group, compression="zstd")
        case "ipc":
            with pa.ipc.new_file(path, data.schema) as sink:
                sink.write_table(data, max_chunksize=group)
        case _:
            with pa.ipc.new_stream(path, data.schema) as sink:
                sink.write_table(data, max_chunksize=group)


def read(form: str, path: Path) -> pa.Table:
    match form:
        case "parquet":
            return pq.ParquetFile(path).read()
        case "ipc":
            return pa.ipc.open_file(path).read_all()
    return pa.ipc.open_stream(path).read_all()


def cells(data: pa.Table) -> list[bytes]:
    """Every column by its bits: -0.0 is not 0.0, and NaN is itself."""

    def bits(value):
        return struct.pack("<d", value).hex() if isinstance(value, float) else value

    return [repr([bits(value) for value in column.to_pylist()]).encode() for column in data.columns]


@settings(max_examples=25)
@given(
    form=st.sampled_from(["parquet", "ipc", "ipc-stream"]),
    rows=st.integers(1, 40),
    group=st.integers(1, 17),
    picks=st.sets(st.integers(0, 39), max_size=40),
)
def test_arrow_files_keep_every_other_cell_as_it_was(form, rows, group, picks):
    """ "What is kept is copied, never written anew.\""""
    gone = {row for row in picks if row < rows}
    data = table(rows)
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "deeper", "after")
        write(form, before, data, group)
        write_without(before, form, rows, gone, after)
        left = read(form, after)
        whole = read(form, before)
    assert left.schema.equals(whole.schema, check_metadata=True)
    stay = [row for row in range(rows) if row not in gone]
    assert cells(left) == cells(whole.take(pa.array(stay, pa.int64())))


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([w for w in WORDS if w is not None]), st.integers(0, 9)),
        min_size=1,
        max_size=20,
    ),
    picks=st.sets(st.integers(0, 19)),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    bom=st.booleans(),
)
def test_csv_keeps_the_very_bytes_of_every_other_record(rows, picks, end, last, bom):
    """ "The lines of CSV and JSON Lines are the very bytes.\""""

    def record(word, number):
        quoted = '"' + word.replace('"', '""') + '"'
        return f"{quoted},{number}"

    gone = {row for row in picks if row < len(rows)}
    head = ("\ufeff" if bom else "") + "word,number"
    lines = [head, *(record(*row) for row in rows)]
    expected = [head, *(record(*row) for n, row in enumerate(rows) if n not in gone)]
    tail = end if last else ""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "a.csv"), Path(folder, "b.csv")
        before.write_bytes((end.join(lines) + tail).encode())
        write_without(before, "csv", len(rows), gone, after)
        written = after.read_bytes().decode()
    # The end of the line before stays when the last record goes.
    assert written in (end.join(expected) + tail, end.join(expected) + end)


def test_a_csv_is_read_alike_before_and_after(tmp_path):
    text = 'x,label\n1.50,a\n,"b, ""c"""\n"two\nlines",\n0001,ü\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    write_without(tmp_path / "a.csv", "csv", 4, {0}, tmp_path / "b.csv")
    expected = 'x,label\n,"b, ""c"""\n"two\nlines",\n0001,ü\n'
    assert (tmp_path / "b.csv").read_text(encoding="utf-8") == expected


def test_json_lines_keep_their_very_bytes_and_their_blank_lines(tmp_path):
    lines = ['{"x": 1.0, "s": "\\u00fc"}', "", '{"s":"b","x":2}', '{ "x": null , "s":"\\n"}']
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode())
    assert open_dataset(tmp_path, ["a.jsonl"]).rows == 3
    write_without(tmp_path / "a.jsonl", "jsonl", 3, {1}, tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_bytes() == "\n".join([lines[0], "", lines[3]]).encode()


def test_lines_that_are_not_rows_are_refused_and_not_guessed_at(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(Unreadable, match="2 lines were found for 5 rows"):
        write_without(tmp_path / "a.csv", "csv", 5, {0}, tmp_path / "b.csv")


def test_parquet_keeps_its_groups_codecs_and_dictionaries(tmp_path):
    data = pa.table({"x": list(range(10)), "s": ["a"] * 10, "t": ["b"] * 10})
    codecs = {"x": "zstd", "s": "gzip", "t": "none"}
    before, after = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(data, before, row_group_size=4, compression=codecs, use_dictionary=["s"])
    write_without(before, "parquet", 10, {1, 4, 5, 6, 7}, after)
    metadata = pq.ParquetFile(after).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [3, 2]
    columns = [metadata.row_group(0).column(n) for n in range(3)]
    assert [column.compression for column in columns] == ["ZSTD", "GZIP", "UNCOMPRESSED"]
    assert [column.has_dictionary_page for column in columns] == [False, True, False]


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("form", ["ipc", "ipc-stream"])
def test_arrow_files_keep_the_compression_of_their_buffers(tmp_path, form, codec):
    data = pa.table({"x": [0] * 5000})
    opened = pa.ipc.new_file if form == "ipc" else pa.ipc.new_stream
    before, after = tmp_path / "a.arrow", tmp_path / "b.arrow"
    with opened(before, data.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as sink:
        sink.write_table(data)
    write_without(before, form, 5000, {0}, after)
    assert read(form, after).equals(data.slice(1))
    assert abs(after.stat().st_size - before.stat().st_size) < 100


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_what_polars_wrote_with_views_and_categories_is_kept(tmp_path, suffix):
    frame = pl.DataFrame(
        {
            "s": ["a", None, "a text that is longer than a view holds", "ü"],
            "b": [b"", b"\0" * 40, None, b"x"],
            "c": pl.Series(["q", None, "r", "q"], dtype=pl.Categorical),
            "l": [["x" * 20], [], None, [None]],
        }
    )
    before, after = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    (frame.write_parquet if suffix == "parquet" else frame.write_ipc)(before)
    write_without(before, "parquet" if suffix == "parquet" else "ipc", 4, {1}, after)
    opened = (open_dataset(tmp_path, [path.name]) for path in (before, after))
    whole, left = (one.frame(list(one.schema)) for one in opened)
    assert left.equals(whole[[0, 2, 3]])
    assert left.schema == whole.schema
