"""A folder of pictures: a row a file, labelled by its directory, read when it is asked for."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.data import folder
from guards.data.dataset import open_dataset, row_digest
from guards.data.images import batches, decode
from guards.errors import NothingToExamine, Unreadable

RNG = np.random.default_rng(0)
FORMS = {".png": "PNG", ".jpg": "JPEG", ".JPEG": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}


def picture(form="PNG", side=8):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (side, side), np.uint8)).save(buffer, form)
    return buffer.getvalue()


def lay(root, *names):
    """Pictures under these names; returns the names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        suffix = "." + name.rpartition(".")[2]
        (root / name).write_bytes(picture(FORMS.get(suffix, "PNG")))
    return list(names)


def test_a_directory_is_the_label_of_what_lies_in_it(tmp_path):
    names = lay(tmp_path, "dog/b.png", "cat/a.jpg", "train/dog/c.webp", "train/cat/ü.bmp")
    opened = open_dataset(tmp_path, names)
    frame = opened.frame(["id", "image", "label"])
    assert frame["id"].to_list() == [
        "cat/a.jpg",
        "dog/b.png",
        "train/cat/ü.bmp",
        "train/dog/c.webp",
    ]
    assert frame["label"].to_list() == ["cat", "dog", "cat", "dog"]
    assert frame["image"].to_list() == [(tmp_path / name).read_bytes() for name in frame["id"]]
    assert opened.schema == {"id": "String", "image": "Binary", "label": "String"}
    roles = opened.roles
    assert (roles.id, roles.image, roles.label, roles.features) == ("id", "image", "label", ())


def test_every_known_suffix_counts_in_any_case(tmp_path):
    names = lay(tmp_path, *(f"c/{n}{suffix}" for n, suffix in enumerate(FORMS)))
    opened = open_dataset(tmp_path, names)
    assert opened.rows == len(FORMS)
    assert len(decode(opened).rows) == len(FORMS)


def test_a_picture_at_the_top_has_no_label(tmp_path):
    opened = open_dataset(tmp_path, lay(tmp_path, "stray.png", "cat/a.png"))
    assert opened.frame(["label"]).to_series().to_list() == [None, "cat"]


def test_a_row_is_located_by_its_own_file(tmp_path):
    names = lay(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png")
    opened = open_dataset(tmp_path, names)
    located = opened.locate([1, 2])
    assert located["row_id"].to_list() == located["file"].to_list() == ["cat/b.png", "dog/c.png"]
    assert located["row_in_file"].to_list() == [0, 0]
    assert located["label"].to_list() == ["cat", "dog"]
    record = opened.frame(["id", "image", "label"]).row(1, named=True)
    assert located["row_digest"][0] == row_digest(record)


def test_pictures_are_not_read_before_they_are_asked_for(tmp_path, monkeypatch):
    names = lay(tmp_path, *(f"{name}/{n}.png" for name in ("cat", "dog") for n in range(9)))
    asked = []
    read = folder._bytes

    def counted(root, name):
        asked.append(name)
        return read(root, name)

    monkeypatch.setattr(folder, "_bytes", counted)
    opened = open_dataset(tmp_path, names)
    opened.frame(["id", "label"])
    assert asked == []
    opened.locate([3])
    assert asked == ["cat/3.png"]
    asked.clear()
    whole = sum(path.stat().st_size for path in tmp_path.rglob("*.png"))
    parts = list(opened.batches("image", 4, whole))
    assert [len(part) for part in parts] == [4, 4, 1, 4, 4, 1]
    assert asked == sorted(names)
    one = len((tmp_path / names[0]).read_bytes())
    assert max(len(part) for part in opened.batches("image", 4096, 3 * one)) == 3


def test_what_does_not_decode_is_told_by_row(tmp_path):
    names = lay(tmp_path, "cat/a.png", "cat/b.png", "cat/c.png")
    (tmp_path / "cat/a.png").write_bytes(b"")
    (tmp_path / "cat/b.png").write_bytes(b"GIF89a")
    images = decode(open_dataset(tmp_path, names))
    assert [row for row, _ in images.failed] == [0, 1]
    assert images.rows.tolist() == [2]


@pytest.mark.parametrize("other", ["data.parquet", "labels.csv", "metadata.jsonl"])
def test_pictures_beside_data_files_are_told_once_and_not_examined(tmp_path, other):
    names = lay(tmp_path, "cat/a.png", "cat/b.png")
    frame = pl.DataFrame({"x": [1, 2]})
    write = {"parquet": "write_parquet", "csv": "write_csv", "jsonl": "write_ndjson"}
    getattr(frame, write[other.rpartition(".")[2]])(tmp_path / other)
    opened = open_dataset(tmp_path, [*names, other])
    assert opened.rows == 2
    assert list(opened.schema) == ["x"]
    (problem,) = opened.problems
    assert (problem.code, problem.path) == ("mixed-kinds", "cat/a.png")
    assert "2 picture(s)" in problem.message


def test_a_broken_data_file_does_not_make_the_pictures_the_dataset(tmp_path):
    names = lay(tmp_path, "cat/a.png")
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(Unreadable, match="none readable"):
        open_dataset(tmp_path, [*names, "data.parquet"])


def test_other_files_are_told_and_documentation_is_too(tmp_path):
    names = lay(tmp_path, "cat/a.png")
    (tmp_path / "README.md").write_text("hello")
    opened = open_dataset(tmp_path, [*names, "README.md"])
    assert [(problem.code, problem.path) for problem in opened.problems] == [
        ("not-data", "README.md")
    ]


def test_no_picture_and_no_data_is_nothing_to_examine(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(NothingToExamine):
        open_dataset(tmp_path, ["a.gif"])


def test_a_folder_is_decoded_like_a_table_of_the_same_pictures(tmp_path):
    names = lay(tmp_path / "f", *(f"{name}/{n}.png" for name in "ab" for n in range(20)))
    opened = open_dataset(tmp_path / "f", names)
    opened.frame(["id", "image", "label"]).write_parquet(tmp_path / "t.parquet", row_group_size=7)
    table = open_dataset(tmp_path, ["t.parquet"])
    one, other = decode(opened), decode(table)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.digests, other.digests)
    assert opened.locate(range(40))["row_digest"].equals(table.locate(range(40))["row_digest"])


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream"])
def test_pictures_of_a_table_come_in_order_and_in_parts(tmp_path, form):
    """ "Every file is read once, from its start to its end.\""""
    frame = pl.DataFrame({"image": [bytes([n]) * 50 for n in range(100)], "x": range(100)})
    path = tmp_path / ("a.parquet" if form == "parquet" else "a.arrow")
    if form == "parquet":
        frame.write_parquet(path, row_group_size=33)
    elif form == "arrow":
        frame.write_ipc(path)
    else:
        frame.write_ipc_stream(path)
    opened = open_dataset(tmp_path, [path.name])
    parts = list(opened.batches("image", 30, 1 << 20))
    assert max(map(len, parts)) == 30
    assert pl.concat(parts).to_list() == frame["image"].to_list()
    assert next(start for start, _ in batches(opened)) == 0
