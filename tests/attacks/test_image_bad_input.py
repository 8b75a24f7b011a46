"""Whole scans of hostile and broken pictures: told by row, judged, nothing lost or opened."""

import io
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import guards
from guards import Decision

SAMPLE = Path(__file__).parents[2] / "data_samples" / "fashion-holdout" / "part-000.parquet"
POLICY = guards.Policy(
    name="pictures",
    rules=("integrity", "quality", "images"),
    required=("integrity", "quality", "images"),
    admits=False,
)
DEEP = replace(POLICY, rules=(*POLICY.rules, "triggers", "spectral", "clustering"))


def encode(pixels, form="PNG", mode=None):
    buffer = io.BytesIO()
    picture = Image.fromarray(np.asarray(pixels, np.uint8))
    picture.convert(mode or picture.mode).save(buffer, form)
    return buffer.getvalue()


def bomb():
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def many_scans(side, scans):
    """A progressive JPEG of zeros: 117 bytes make a decoder go through all pixels once more."""

    def part(kind, body):
        return b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body

    def table(which, symbol):
        return part(0xC4, bytes([which]) + bytes([1]) + bytes(15) + bytes([symbol]))

    def scan(first, last, bits):
        bits += "1" * (-len(bits) % 8)
        coded = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
        return part(0xDA, bytes([1, 1, 0, first, last, 0])) + coded.replace(b"\xff", b"\xff\0")

    blocks = (side // 8) ** 2
    runs = "0" * 15 * -(-blocks // 16384)  # each says that 16384 blocks have nothing more
    size = part(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    head = b"\xff\xd8" + part(0xDB, bytes(1) + b"\1" * 64) + size + table(0, 0) + table(16, 0xE0)
    return head + scan(0, 0, "0" * blocks) + scan(1, 63, runs) * scans + b"\xff\xd9"


def test_a_jpeg_of_many_scans_is_not_gone_through(tmp_path):
    """Some megabytes of them keep a processor busy for days, in a call that no clock ends."""
    usual, many = many_scans(512, 10), many_scans(4096, 200)
    assert Image.open(io.BytesIO(many), formats=["JPEG"]).size == (4096, 4096)
    Image.open(io.BytesIO(usual)).load()
    dataset = written(tmp_path / "data", {5: (usual, "a.jpg"), 6: (many, "b.jpg")})
    _, _, rows = scanned(dataset)
    told = dict(of_images(rows).select("row_in_file", "reason").iter_rows())
    assert "in 201 scans" in told[6]
    assert told[5].startswith("blank picture"), "and is read"


def written(folder, change=None, frame=None, name="part-000.parquet"):
    """The sample (500 rows) with `change`, `{row: (bytes, path)}`, in its pictures."""
    frame = pl.read_parquet(SAMPLE) if frame is None else frame
    pictures = frame["image"].to_list()
    for row, (data, path) in (change or {}).items():
        pictures[row] = {"bytes": data, "path": path}
    folder.mkdir(exist_ok=True)
    changed = frame.with_columns(pl.Series("image", pictures, frame.schema["image"]))
    changed.write_parquet(folder / name)
    return folder


def scanned(dataset, policy=POLICY):
    result = guards.scan(dataset, policy=policy, out=dataset.with_name("run"), seed=3)
    report = json.loads((result.run_dir / "report.json").read_text())
    return result, report, pl.read_parquet(result.run_dir / "rows.parquet")


def outcomes(result):
    return {each.rule: type(each.outcome).__name__ for each in result.examinations}


def of_images(rows):
    return rows.filter(rule="images").sort("file", "row_in_file")


def test_a_few_hostile_pictures_quarantine_and_are_named(tmp_path):
    good = pl.read_parquet(SAMPLE)["image"][7]["bytes"]
    hostile = {
        3: (b"\x89PNG\r\n\x1a\n", "a.png"),
        7: (good[:200], "b.png"),
        11: (bomb(), "c.png"),
        12: (None, "/etc/passwd"),
        13: (b"%PDF-1.7", "d.pdf"),
        14: (b"", None),
    }
    result, _, rows = scanned(written(tmp_path / "data", hostile), DEEP)
    assert result.verdict.decision is Decision.QUARANTINE
    assert outcomes(result)["images"] == "Ran"
    assert of_images(rows)["row_in_file"].to_list() == sorted(hostile)
    assert (
        of_images(rows)["row_id"].to_list()
        == pl.read_parquet(SAMPLE)["id"][sorted(hostile)].to_list()
    )
    assert of_images(rows)["reason"].str.starts_with("unreadable picture").all()
    assert "Failed" not in outcomes(result).values()


def test_many_of_them_block(tmp_path):
    broken = dict.fromkeys(range(0, 500, 10), (b"no picture", None))
    result, _, rows = scanned(written(tmp_path / "data", broken))
    assert result.verdict.decision is Decision.BLOCK
    assert len(of_images(rows)) == 50


def test_no_picture_at_all_blocks_with_its_reason(tmp_path):
    frame = pl.read_parquet(SAMPLE)[:60]
    broken = dict.fromkeys(range(60), (b"no picture", None))
    result, report, _ = scanned(written(tmp_path / "data", broken, frame), DEEP)
    assert result.verdict.decision is Decision.BLOCK
    assert "60 of 60 rows do not decode" in json.dumps(report)


def test_mixed_sizes_and_modes_do_not_stop_a_batch(tmp_path):
    rng = np.random.default_rng(0)
    odd = {
        1: encode(rng.integers(0, 256, (64, 32))),
        2: encode(rng.integers(0, 256, (28, 28, 3))),
        3: encode(rng.integers(0, 256, (28, 28, 3)), mode="P"),
        4: encode(rng.integers(0, 256, (28, 28, 4))),
        5: encode(rng.integers(0, 256, (28, 28)), mode="I;16"),
        6: encode(rng.integers(0, 256, (28, 28, 3)), "JPEG", "CMYK"),
        8: encode(rng.integers(0, 256, (1, 1))),
    }
    data = written(tmp_path / "data", {row: (stored, None) for row, stored in odd.items()})
    result, report, _ = scanned(data, DEEP)
    images = next(e for e in report["examinations"] if e["rule"] == "images")
    assert images["statistics"]["decoded"] == 500
    assert {finding["code"] for finding in images["findings"]} >= {"mixed-sizes", "mixed-modes"}
    assert {finding["severity"] for finding in images["findings"]} == {"low"}
    assert "Failed" not in outcomes(result).values()
    assert result.verdict.decision is Decision.PASS


def test_paths_of_a_struct_are_claims_and_are_not_opened(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(pl.read_parquet(SAMPLE)["image"][0]["bytes"])
    paths = [
        str(secret),
        "../secret.png",
        "../../../../etc/passwd",
        "\0",
        "http://127.0.0.1:9/x.png",
    ]
    change = {row: (None, path) for row, path in enumerate(paths)}
    _, report, rows = scanned(written(tmp_path / "data", change))
    assert of_images(rows)["row_in_file"].to_list() == list(range(len(paths)))
    assert set(of_images(rows)["reason"]) == {"unreadable picture: no bytes"}
    assert str(secret) not in json.dumps(report)


@pytest.mark.parametrize("labels", ["one-class", "three-rows", "nulls", "all-null"])
def test_odd_labels_are_no_crash(tmp_path, labels):
    frame = pl.read_parquet(SAMPLE)
    row = pl.int_range(pl.len())
    changed = {
        "one-class": pl.lit("bag"),
        "three-rows": pl.when(row < 3).then(pl.lit("rare")).otherwise("label"),
        "nulls": pl.when(row % 9 == 0).then(None).otherwise("label"),
        "all-null": pl.lit(None, pl.String),
    }[labels]
    data = written(tmp_path / "data", frame=frame.with_columns(label=changed))
    result, _, _ = scanned(data, DEEP)
    assert outcomes(result)["images"] == "Ran"
    assert "Failed" not in outcomes(result).values()


def test_names_are_unicode_and_long(tmp_path):
    name = "снимки-" + "长" * 60 + ".parquet"
    result, _, rows = scanned(written(tmp_path / "data", {5: (b"x", "é" * 3000)}, name=name))
    assert of_images(rows)["file"].to_list() == [name]
    assert result.verdict.decision is Decision.QUARANTINE


def test_a_truncated_shard_loses_itself_and_not_the_others(tmp_path):
    data = written(tmp_path / "data")
    written(data, {9: (b"x", None)}, name="part-001.parquet")
    whole = (data / "part-000.parquet").read_bytes()
    (data / "part-000.parquet").write_bytes(whole[: len(whole) // 2])
    result, _, rows = scanned(data)
    assert result.verdict.decision >= Decision.QUARANTINE
    assert of_images(rows)["file"].to_list() == ["part-001.parquet"]
    assert of_images(rows)["row_in_file"].to_list() == [9]


def test_the_same_scan_says_the_same(tmp_path):
    data = written(tmp_path / "data", {3: (b"x", None), 4: (bomb(), None)})
    first = guards.scan(data, policy=POLICY, out=tmp_path / "one", seed=3)
    second = guards.scan(data, policy=POLICY, out=tmp_path / "two", seed=3)
    assert first.verdict == second.verdict
    assert [e.digest for e in first.examinations] == [e.digest for e in second.examinations]
    one, two = ((tmp_path / run / "rows.parquet").read_bytes() for run in ("one", "two"))
    assert one == two
