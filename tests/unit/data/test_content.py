"""The content digest: the same for the same rows however they are written, and for no others."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import struct
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from guards.data import content
from guards.data.content import Rows, content_digest
from guards.data.dataset import open_dataset
from guards.digest import Digest
from guards.errors import Unreadable, UsageError


def digest(table: pa.Table, at_once: int = 100) -> Digest:
    with Rows() as rows:
        for start in range(0, table.num_rows, at_once):
            rows.add(table.slice(start, at_once))
        return rows.digest(table.schema.names)


def of_file(path: Any) -> Digest:
    dataset = open_dataset(path.parent, [path.name])
    return content_digest(dataset, dataset.shards[0])


def slow(rows: list[dict[str, Any]], names: list[str]) -> str:
    """The definition of the module's docstring, cell by cell, for kinds that Python has."""

    def cell(value: Any) -> tuple[bytes, bytes]:
        if value is None:
            return bytes(13), b""
        if isinstance(value, bool):
            return b"b" + struct.pack(">q", value) + bytes(4), b""
        if isinstance(value, int):
            tag, kind = (b"i", ">q") if value < 2**63 else (b"u", ">Q")
            return tag + struct.pack(kind, value) + bytes(4), b""
        if isinstance(value, float):
            bits = (
                bytes.fromhex("7ff8000000000000") if math.isnan(value) else struct.pack(">d", value)
            )
            return b"f" + bits + bytes(4), b""
        if isinstance(value, list):
            behind, tag = b"".join(b"".join(cell(item)) for item in value), b"l"
        elif isinstance(value, dict):
            behind, tag = b"", b"m"
            for name in sorted(value, key=str.encode):
                behind += struct.pack(">I", len(name.encode())) + name.encode()
                behind += b"".join(cell(value[name]))
        else:
            behind, tag = (value.encode(), b"s") if isinstance(value, str) else (value, b"x")
        return tag + struct.pack(">q", len(behind)) + bytes(4), behind

    hashed = []
    for row in rows:
        cells = [cell(row[name]) for name in sorted(names, key=str.encode)]
        whole = b"".join(head for head, _ in cells) + b"".join(tail for _, tail in cells)
        hashed.append(hashlib.sha256(whole).digest())
    told = json.dumps(sorted(names, key=str.encode), separators=(",", ":"), ensure_ascii=False)
    head = b"toadstone rows 1\n" + told.encode() + b"\n%d\n" % len(rows)
    return hashlib.sha256(head + b"".join(sorted(hashed))).hexdigest()


SCHEMA = pa.schema(
    {
        "i": pa.int16(),
        "u": pa.uint64(),
        "f": pa.float64(),
        "b": pa.bool_(),
        "s": pa.string(),
        "x": pa.binary(),
        "l": pa.list_(pa.string()),
        "v": pa.list_(pa.list_(pa.int8())),
        "m": pa.struct({"é": pa.string(), "a": pa.int64()}),
    }
)
WORDS = st.text(st.characters(codec="utf-8"), max_size=5)
VALUES = {
    "i": st.integers(-(2**15), 2**15 - 1),
    "u": st.integers(0, 2**64 - 1),
    "f": st.floats(),
    "b": st.booleans(),
    "s": WORDS,
    "x": st.binary(max_size=5),
    "l": st.lists(st.none() | WORDS, max_size=3),
    "v": st.lists(st.lists(st.integers(-128, 127), max_size=3), max_size=2),
    "m": st.fixed_dictionaries({"é": st.none() | WORDS, "a": st.integers(-9, 9)}),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), max_size=6
)


@given(ROWS, st.randoms(use_true_random=False))
def test_it_is_what_the_slow_definition_gives_in_any_order_and_cut_anywhere(rows, random):
    expected = slow(rows, SCHEMA.names)
    assert digest(pa.Table.from_pylist(rows, SCHEMA)).hex == expected
    mixed = random.sample(rows, len(rows))
    assert digest(pa.Table.from_pylist(mixed, SCHEMA), at_once=2).hex == expected


@given(ROWS, ROWS)
def test_no_two_multisets_of_rows_share_it(one, other):
    same = slow(one, SCHEMA.names) == slow(other, SCHEMA.names)
    assert same == (
        digest(pa.Table.from_pylist(one, SCHEMA)) == digest(pa.Table.from_pylist(other, SCHEMA))
    )


def many() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "n": rng.integers(-1000, 1000, 5000),
            "x": rng.normal(size=5000),
            "word": [None if i % 7 == 0 else f"wörd {i % 40}" for i in range(5000)],
            "flag": rng.integers(0, 2, 5000).astype(bool),
        }
    )


def test_every_encoding_of_the_same_rows_has_one_digest(tmp_path):
    frame = many()
    frame.write_parquet(tmp_path / "a.parquet")
    frame.sample(fraction=1, shuffle=True, seed=1).write_parquet(
        tmp_path / "b.parquet", compression="gzip", row_group_size=700
    )
    frame.select("word", "flag", "x", "n").write_parquet(tmp_path / "c.parquet")
    frame.write_csv(tmp_path / "d.csv")
    frame.write_ndjson(tmp_path / "e.jsonl")
    frame.write_ipc(tmp_path / "f.arrow", compression="zstd")
    frame.write_ipc_stream(tmp_path / "g.arrow")
    narrow = frame.with_columns(pl.col("n").cast(pl.Int16), pl.col("word").cast(pl.Categorical))
    narrow.write_parquet(tmp_path / "h.parquet")
    found = {path.name: of_file(path) for path in sorted(tmp_path.iterdir())}
    assert len(found) == 8
    assert len(set(found.values())) == 1, found


def test_one_cell_one_row_one_name_or_one_kind_is_another_digest(tmp_path):
    frame = many()
    others = [
        frame.with_columns(x=pl.Series([0.5, *frame["x"][1:]])),
        frame.head(4999),
        pl.concat([frame, frame.head(1)]),
        pl.concat([frame.head(4999), frame.head(1)]),
        frame.rename({"n": "N"}),
        frame.rename({"n": "word", "word": "n"}),
        frame.with_columns(pl.col("n").cast(pl.Float64)),
        frame.with_columns(pl.col("n").cast(pl.String)),
        frame.with_columns(pl.col("word").fill_null("")),
        frame.drop("flag"),
    ]
    digests = {digest(other.to_arrow()) for other in [frame, *others]}
    assert len(digests) == len(others) + 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (pa.array([0.0]), pa.array([-0.0]), False),
        (pa.array([math.nan]), pa.array(np.array([0x7FF800000000BEEF], "u8").view("f8")), True),
        (pa.array([math.nan]), pa.array([None], pa.float64()), False),
        (pa.array([1.5], pa.float32()), pa.array([1.5]), True),
        (pa.array([np.float16(1.5)], pa.float16()), pa.array([1.5]), True),
        (pa.array([1]), pa.array([1.0]), False),
        (pa.array([1]), pa.array([True]), False),
        (pa.array([None], pa.int64()), pa.nulls(1), True),
        (pa.array([None], pa.string()), pa.array([""]), False),
        (pa.array(["a"]), pa.array([b"a"]), False),
        (pa.array(["é"]), pa.array(["e\u0301"]), False),
        (pa.array(["a"]), pa.array(["a"]).dictionary_encode(), True),
        (pa.array(["a"]), pa.array(["a"], pa.large_string()), True),
        (pa.array(["a"]), pa.array(["a"], pa.string_view()), True),
        (pa.array([b"ab"]), pa.array([b"ab"], pa.binary(2)), True),
        (pa.array([Decimal("1.50")]), pa.array([Decimal("1.5")]), False),
        (
            pa.array([Decimal("1.5")], pa.decimal128(5, 1)),
            pa.array([Decimal("1.5")], pa.decimal256(40, 1)),
            True,
        ),
        (pa.array([5], pa.timestamp("s")), pa.array([5_000_000_000], pa.timestamp("ns")), True),
        (pa.array([-1], pa.timestamp("ms")), pa.array([-1000], pa.timestamp("us")), True),
        (pa.array([5], pa.timestamp("s")), pa.array([5], pa.timestamp("s", "UTC")), False),
        (
            pa.array([5], pa.timestamp("s", "Europe/Berlin")),
            pa.array([5], pa.timestamp("s", "UTC")),
            True,
        ),
        (pa.array([2], pa.date32()), pa.array([2 * 86_400_000], pa.date64()), True),
        (pa.array([2], pa.time32("s")), pa.array([2_000_000_000], pa.time64("ns")), True),
        (pa.array([2], pa.duration("s")), pa.array([2], pa.timestamp("s")), False),
        (pa.array([[1, 2]]), pa.array([[1, 2]], pa.list_(pa.int64(), 2)), True),
        (pa.array([[1, 2]]), pa.array([[2, 1]]), False),
        (pa.array([[]], pa.list_(pa.int64())), pa.array([None], pa.list_(pa.int64())), False),
        (pa.array([[[1], []]]), pa.array([[[], [1]]]), False),
        (pa.array([{"a": 1, "b": 2}]), pa.array([{"b": 2, "a": 1}]), True),
        (pa.array([{"a": None}], pa.struct({"a": pa.int64()})), pa.array([None]), False),
        (
            pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            pa.array([[{"key": "k", "value": 1}]]),
            True,
        ),
    ],
)
def test_what_counts_as_the_same_value(one, other, same):
    assert (digest(pa.table({"x": one})) == digest(pa.table({"x": other}))) == same


def test_columns_are_told_apart_by_the_lengths_of_what_is_in_them():
    """Without lengths `ab, c` and `a, bc` would be the same bytes."""
    one, other = pa.table({"x": ["ab"], "y": ["c"]}), pa.table({"x": ["a"], "y": ["bc"]})
    assert digest(one) != digest(other)
    nested = pa.table({"x": [["a"], ["b", "c"]]}), pa.table({"x": [["a", "b"], ["c"]]})
    assert digest(nested[0]) != digest(nested[1])


@pytest.mark.parametrize("name", ["l", "m", "map", "v", "s"])
def test_a_slice_is_what_it_shows(name):
    """Arrow's slices keep the whole of what they are cut from."""
    kinds = {
        "l": pa.array([[1, 2], None, [3], []]),
        "m": pa.array([{"a": 1, "b": "x"}, None, {"a": 3, "b": None}, {"a": 4, "b": ""}]),
        "map": pa.array(
            [[("k", 1)], None, [("j", 2), ("i", 3)], []], pa.map_(pa.string(), pa.int8())
        ),
        "v": pa.array([[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
        "s": pa.array(["a", None, "b", "c"]),
    }
    column = kinds[name]
    cut = pa.table({"x": column}).slice(1, 2)
    again = pa.table({"x": pa.array(column.to_pylist()[1:3], column.type)})
    assert digest(cut) == digest(again)


def test_many_rows_are_sorted_on_disk_to_the_same_digest(monkeypatch):
    table = many().to_arrow()
    expected = digest(table)
    monkeypatch.setattr(content, "_AT_ONCE", 300)
    assert digest(table) == expected
    assert digest(table.slice(0, 4999)) != expected


@pytest.mark.parametrize("room", [0, 100])
def test_no_room_for_many_rows_is_told(monkeypatch, no_file_beyond, room):
    monkeypatch.setattr(content, "_AT_ONCE", 300)
    with (
        no_file_beyond(room),
        pytest.raises(UsageError, match="cannot name the rows: File too large; is there room in /"),
    ):
        digest(many().to_arrow())


def test_what_has_no_canonical_form_is_told():
    months = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    with pytest.raises(Unreadable, match="no content digest"):
        digest(pa.table({"x": months}))
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(Unreadable, match="two fields of one name"):
        digest(pa.table({"x": twice}))


def test_a_far_time_and_a_far_number_have_a_form():
    table = pa.table(
        {
            "t": pa.array([2**62], pa.timestamp("s")),
            "u": pa.array([2**64 - 1], pa.uint64()),
            "d": pa.array([datetime.date(9999, 12, 31)]),
        }
    )
    assert digest(table) != digest(table.set_column(1, "u", pa.array([-1])))


def test_a_parquet_file_of_pyarrow_and_one_of_polars_agree(tmp_path):
    frame = many().with_columns(
        when=pl.datetime(2020, 1, 1, time_zone="UTC"), day=pl.date(2020, 1, 2)
    )
    frame.write_parquet(tmp_path / "a.parquet")
    pq.write_table(frame.to_arrow(), tmp_path / "b.parquet", use_dictionary=True)
    assert of_file(tmp_path / "a.parquet") == of_file(tmp_path / "b.parquet")
