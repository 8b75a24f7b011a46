"""Attack 20 by pictures: the first to decode one is a process with limits, and it alone is hurt.

Each picture is a real one, within all that a header is refused for. The limits are lowered, so that
a test takes seconds.
"""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.data import trial
from guards.data.dataset import open_dataset
from guards.data.decoding import Problem
from guards.data.images import decode
from guards.data.trial import MIB, Limits, decode_apart, pictures_apart
from guards.errors import Unreadable

LITTLE = Limits(memory=600 * MIB, most=600 * MIB)
SIDE = 8192


def encoded(picture: Image.Image, form: str, **options) -> bytes:
    held = io.BytesIO()
    picture.save(held, form, **options)
    return held.getvalue()


def ordinary(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return encoded(Image.fromarray(pixels), "PNG")


@pytest.fixture(scope="module")
def wide() -> bytes:
    """Two hundred megabytes of one colour with transparency, and as much again as RGB."""
    return encoded(Image.new("RGBA", (SIDE, SIDE)), "PNG", compress_level=1)


@pytest.fixture(scope="module")
def slow() -> bytes:
    """Seconds of the processor in a few hundred kilobytes."""
    return encoded(Image.new("RGB", (SIDE, SIDE)), "JPEG", progressive=True)


def stored(home, *pictures: bytes) -> None:
    frame = pl.DataFrame({"image": pictures, "label": ["a"] * len(pictures)})
    frame.write_parquet(home / "a.parquet")
    frame.head(1).write_parquet(home / "b.parquet")


def told(home, limits: Limits) -> str:
    """What is said of the first table; the one beside it is read all the same."""
    found = decode_apart(home, ["a.parquet", "b.parquet"], limits)
    assert not isinstance(found["b.parquet"], Problem)
    assert isinstance(found["a.parquet"], Problem)
    return found["a.parquet"].message


def test_a_picture_that_takes_more_memory_than_there_is_ends_its_file(tmp_path, wide):
    stored(tmp_path, ordinary(1), wide)
    assert len(wide) < 8 * MIB
    assert "memory" in told(tmp_path, LITTLE)
    assert not isinstance(decode_apart(tmp_path, ["a.parquet"])["a.parquet"], Problem)


def test_a_picture_that_takes_too_long_ends_its_file(tmp_path, slow):
    stored(tmp_path, ordinary(1), *[slow] * 30)
    least = Limits(memory=2048 * MIB, seconds=1, rate=1 << 40)
    assert "seconds of the processor" in told(tmp_path, least)


def test_an_arrow_file_and_a_struct_are_no_way_around(tmp_path, wide):
    frame = pl.DataFrame({"image": [{"bytes": wide, "path": "x.png"}], "label": ["a"]})
    frame.write_ipc(tmp_path / "a.arrow")
    found = decode_apart(tmp_path, ["a.arrow"], LITTLE)["a.arrow"]
    assert isinstance(found, Problem)
    assert "memory" in found.message


def test_of_a_folder_the_one_that_does_harm_is_named_and_no_other(tmp_path, wide):
    names = []
    for place in range(9):
        path = tmp_path / ("cat" if place % 2 else "dog") / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wide if place == 5 else ordinary(place))
        names.append(str(path.relative_to(tmp_path)))
    found = pictures_apart(tmp_path, names, LITTLE)
    assert list(found) == ["cat/5.png"]
    assert found["cat/5.png"].code == "unreadable-file"
    assert "memory" in found["cat/5.png"].message


def folder(home) -> list[str]:
    (home / "cat").mkdir()
    for place in range(4):
        (home / "cat" / f"{place}.png").write_bytes(ordinary(place))
    return [f"cat/{place}.png" for place in range(4)]


def test_what_did_harm_is_a_problem_of_the_dataset_and_not_decoded_here(
    tmp_path, wide, monkeypatch
):
    names = folder(tmp_path)
    (tmp_path / names[2]).write_bytes(wide)
    monkeypatch.setattr(trial, "default_limits", lambda: LITTLE)
    dataset = open_dataset(tmp_path, names)
    assert [problem.path for problem in dataset.problems] == [names[2]]
    assert len(decode(dataset).rows) == 3


def test_a_folder_of_nothing_else_is_unreadable(tmp_path, wide, monkeypatch):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.png").write_bytes(wide)
    monkeypatch.setattr(trial, "default_limits", lambda: LITTLE)
    with pytest.raises(Unreadable, match=r"cat/0\.png"):
        open_dataset(tmp_path, ["cat/0.png"])


def test_what_is_merely_no_picture_is_told_by_row(tmp_path):
    names = folder(tmp_path)
    (tmp_path / names[1]).write_bytes(b"no picture")
    (tmp_path / names[3]).write_bytes(ordinary(3)[:60])
    dataset = open_dataset(tmp_path, names)
    assert not dataset.problems
    assert [row for row, _ in decode(dataset).failed] == [1, 3]
