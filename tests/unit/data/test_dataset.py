from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from guards.data.dataset import infer_roles, open_dataset, row_digest
from guards.errors import NothingToExamine, Unreadable
from guards.provenance.roles import from_columns

FLIGHTS = Path(__file__).parents[3] / "data_samples" / "flights"
FRAME = pl.DataFrame(
    {"id": ["a", "b", "c"], "x": [1, 2, 3], "y": [0.5, None, 1.5], "label": ["p", "q", "p"]}
)


def write(frame: pl.DataFrame, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".csv":
            frame.write_csv(path)
        case ".jsonl":
            frame.write_ndjson(path)
        case ".feather":
            frame.write_ipc_stream(path)
        case _:
            frame.write_ipc(path)
    return path.name


def test_the_sample_opens_whole_and_in_order():
    files = [p.relative_to(FLIGHTS).as_posix() for p in FLIGHTS.rglob("*.parquet")]
    dataset = open_dataset(FLIGHTS, files)
    assert dataset.rows == 36_000
    assert not dataset.problems
    assert [shard.path for shard in dataset.shards] == sorted(files)
    assert dataset.roles.label == "label"
    assert dataset.roles.source == "source"
    assert dataset.roles.id == "id"
    assert "dep_delay" in dataset.roles.features
    last = dataset.frame(["id"])["id"][-1]
    assert dataset.locate([35_999])["row_id"].to_list() == [last]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow", ".feather", ".ipc"])
def test_every_format_gives_the_same_rows_and_names(tmp_path, suffix):
    name = write(FRAME, tmp_path / f"x{suffix}")
    dataset = open_dataset(tmp_path, [name])
    assert dataset.frame(["x", "y"]).equals(FRAME.select("x", "y"))
    found = dataset.locate([2, 0])
    assert found["row_id"].to_list() == ["a", "c"]
    assert found["label"].to_list() == ["p", "p"]
    assert found["row_digest"].to_list() == [row_digest(FRAME.row(i, named=True)) for i in (0, 2)]


def test_one_file_may_be_the_root(tmp_path):
    name = write(FRAME, tmp_path / "x.csv")
    assert open_dataset(tmp_path / "x.csv", [name]).rows == 3


def test_row_digest_is_the_documented_encoding():
    row = {"b": 1.5, "a": "ä", "c": b"\x00", "d": {"z": None}, "e": [True, 2]}
    parts = [
        '"a":"ä"',
        f'"b":{{"float":"{(1.5).hex()}"}}',
        f'"c":{{"bytes":"{hashlib.sha256(bytes(1)).hexdigest()}"}}',
        '"d":{"struct":{"z":null}}',
        '"e":[true,2]',
    ]
    text = "{" + ",".join(parts) + "}"
    assert row_digest(row) == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    json.loads(text)


@pytest.mark.parametrize("change", [{"x": 2}, {"x": 1.0}, {"x": "1"}, {"x": None}, {"x": True}])
def test_no_two_different_rows_share_a_digest(change):
    assert row_digest({"x": 1} | change) != row_digest({"x": 1})


def test_rows_without_id_are_named_by_file_and_place(tmp_path):
    for part in ("a", "b"):
        write(FRAME.drop("id"), tmp_path / part / "p.parquet")
    dataset = open_dataset(tmp_path, ["b/p.parquet", "a/p.parquet"])
    found = dataset.locate([4])
    assert found["row_id"].to_list() == ["b/p.parquet#1"]
    assert found["row_in_file"].to_list() == [1]
    assert found["file"].to_list() == ["b/p.parquet"]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_a_truncated_shard_is_a_problem_and_the_rest_is_read(tmp_path, suffix):
    write(FRAME, tmp_path / f"good{suffix}")
    long = pl.concat([FRAME] * 2000)
    write(long, tmp_path / f"bad{suffix}")
    whole = (tmp_path / f"bad{suffix}").read_bytes()
    (tmp_path / f"bad{suffix}").write_bytes(whole[: len(whole) // 2])
    dataset = open_dataset(tmp_path, [f"good{suffix}", f"bad{suffix}"])
    assert dataset.rows == 3
    assert [(p.code, p.path) for p in dataset.problems] == [("unreadable-file", f"bad{suffix}")]
    with pytest.raises(Unreadable, match="bad"):
        open_dataset(tmp_path, [f"bad{suffix}"])


def test_damage_inside_a_page_is_seen_at_opening(tmp_path):
    frame = pl.DataFrame({"x": [f"value {i}" for i in range(5000)]})
    frame.write_parquet(tmp_path / "x.parquet", compression="zstd")
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    for place in range(200, 260):
        data[place] ^= 0xFF
    (tmp_path / "x.parquet").write_bytes(bytes(data))
    write(FRAME.select(x=pl.col("label")), tmp_path / "y.parquet")
    dataset = open_dataset(tmp_path, ["x.parquet", "y.parquet"])
    assert [problem.path for problem in dataset.problems] == ["x.parquet"]


def test_shards_of_another_schema_are_left_out_and_told(tmp_path):
    for number in range(2):
        write(FRAME, tmp_path / f"{number}.parquet")
    write(FRAME.with_columns(pl.col("x").cast(pl.String)), tmp_path / "0-odd.parquet")
    dataset = open_dataset(tmp_path, ["0.parquet", "1.parquet", "0-odd.parquet"])
    assert dataset.rows == 6
    (problem,) = dataset.problems
    assert problem.code == "mixed-schema"
    assert problem.path == "0-odd.parquet"
    assert "x is String, not Int64" in problem.message


def test_untyped_shards_are_reconciled_without_losing_text(tmp_path):
    (tmp_path / "a.csv").write_text("zip,n\n007,1\n010,2\n")
    (tmp_path / "b.csv").write_text("zip,n\nX12,1.5\n")
    dataset = open_dataset(tmp_path, ["a.csv", "b.csv"])
    assert not dataset.problems
    assert dataset.frame(["zip"])["zip"].to_list() == ["007", "010", "X12"]
    assert dataset.frame(["n"])["n"].to_list() == [1.0, 2.0, 1.5]


def test_zero_rows_are_told_and_alone_are_nothing(tmp_path):
    write(FRAME, tmp_path / "a.parquet")
    write(FRAME.head(0), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("")
    dataset = open_dataset(tmp_path, ["a.parquet", "b.parquet", "c.csv"])
    assert [problem.code for problem in dataset.problems] == ["zero-rows", "zero-rows"]
    for files in (["b.parquet"], ["c.csv"], [], ["README.md"]):
        with pytest.raises(NothingToExamine):
            open_dataset(tmp_path, files)


def test_other_files_are_named(tmp_path):
    write(FRAME, tmp_path / "a.parquet")
    (tmp_path / "README.md").write_text("hello")
    (problem,) = open_dataset(tmp_path, ["a.parquet", "README.md"]).problems
    assert (problem.code, problem.path) == ("not-data", "README.md")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_unicode_long_and_pattern_like_names(tmp_path, suffix):
    long, odd = "ü" * 2000, "spalte\u202e\nzwei"
    frame = FRAME.rename({"x": long, "y": odd})
    name = f"k=1/[a]*?ä{suffix}"
    write(frame, tmp_path / name)
    dataset = open_dataset(tmp_path, [name])
    assert set(dataset.schema) == {"id", long, odd, "label"}
    assert dataset.frame([long])[long].to_list() == [1, 2, 3]
    assert dataset.locate([1])["row_id"].to_list() == ["b"]


def test_a_role_for_a_missing_column_is_refused(tmp_path):
    write(FRAME, tmp_path / "a.parquet")
    with pytest.raises(Unreadable, match="klass"):
        open_dataset(tmp_path, ["a.parquet"], from_columns({"klass": "label"}))


def test_pictures_get_their_role_by_shape():
    picture = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})
    assert infer_roles({"img": picture, "label": pl.Int64()}).image == "img"
    assert infer_roles({"image": pl.Binary(), "x": pl.Int64()}).image == "image"
    named = infer_roles({"image": pl.String(), "img": picture})
    assert named.image is None
    assert "image" in named.features
    assert infer_roles({"image": picture}, {"image": "ignore"}).image is None
