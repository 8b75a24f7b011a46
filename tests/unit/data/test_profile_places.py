"""Texts and pictures as vectors: by a slow reading, in any shards, and which rows have none."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, observe, parse_profile, to_bytes
from guards.data.profiles.nouns import VIEWS, VectorColumn
from guards.data.profiles.places import SIDE, vectors_of
from guards.data.profiles.values import LOOKS, WORDS, kinds, source_of, told_apart
from guards.numerics.copies import mix
from guards.numerics.looks import spectra

TEXTS = [
    "Win a prize, win!",
    "win A prize",
    None,
    "",
    "  ...  ",
    "\u200b",
    "l\u0301e \u05e9\u05dc\u05d5\u05dd 99",
]


def png(pixels, mode="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, mode)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(2)
    found = [png(rng.integers(0, 255, (SIDE, SIDE), np.uint8)) for _ in range(40)]
    return [*found, None, b"", b"no picture", found[0][:60]]


def opened(root, *frames):
    for number, frame in enumerate(frames):
        frame.write_parquet(root / f"{number}.parquet")
    return open_dataset(root, [f"{number}.parquet" for number in range(len(frames))])


def test_a_text_lies_at_its_smallest_tokens():
    from hashlib import blake2b

    vectors, rows = vectors_of(pl.Series("text", TEXTS), WORDS)
    assert rows.tolist() == [0, 1, 6], "no token, no place"
    named = [
        int.from_bytes(blake2b(w.encode(), digest_size=8).digest(), "big")
        for w in ("win", "a", "prize")
    ]
    slow = [
        min(int(m) >> 40 for m in mix(np.array(named, np.uint64), n + 1)) / 2**24
        for n in range(VIEWS)
    ]
    assert vectors[0].tolist() == vectors[1].tolist() == slow, "neither case nor order matters"


def test_a_picture_lies_at_its_amplitudes(pictures):
    vectors, rows = vectors_of(pl.Series("image", pictures), LOOKS)
    assert rows.tolist() == list(range(40))
    exact = np.asarray(Image.open(io.BytesIO(pictures[3])))
    assert vectors[3] == pytest.approx(spectra(exact[None])[0], abs=1e-4)


@pytest.mark.parametrize("made", [WORDS, LOOKS])
def test_a_strip_without_any_has_none(made):
    values = pl.Series("it", [None, None], dtype=pl.Binary if made == LOOKS else pl.String)
    vectors, rows = vectors_of(values, made)
    assert len(vectors) == len(rows) == 0


@pytest.mark.parametrize("column", ["text", "image"])
def test_what_is_made_of_a_column_is_in_the_profile_whatever_the_shards(tmp_path, pictures, column):
    values = pictures if column == "image" else TEXTS * 6
    frame = pl.DataFrame(
        {"label": ["a", "b"] * (len(values) // 2), column: values[: len(values) // 2 * 2]}
    )
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        root.mkdir()
    one, two = opened(roots[0], frame), opened(roots[1], frame[:9], frame[9:10], frame[10:])
    profile = build_profile(one)
    assert to_bytes(profile) == to_bytes(build_profile(two))
    assert parse_profile(to_bytes(profile)) == profile
    name = f"{column} ({LOOKS if column == 'image' else WORDS})"
    made = profile.by_name[name]
    assert isinstance(made, VectorColumn)
    assert name in told_apart(one)
    assert made.rows == frame.height
    assert made.count == len(vectors_of(frame[column], kinds(one)[name].made)[1])
    again = observe(two, profile).columns[name]
    assert [now.tolist() for now in again.views] == [list(view.cells) for view in made.views]
    # Neither pairs nor triples of columns are of it: its views are counted, and nothing else.
    assert all(name not in (pair.first, pair.second) for pair in profile.pairs)
    assert all(name not in triple.columns for triple in profile.triples)


def test_a_column_of_that_name_goes_before_it(tmp_path):
    frame = pl.DataFrame({"text": ["one two"] * 9, "text (words)": range(9)})
    found = kinds(opened(tmp_path, frame))
    assert found["text (words)"].kind == "numeric"
    assert source_of("text (words)") == "text"
    assert source_of("words") == "words"
