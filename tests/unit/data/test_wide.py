"""Texts and number lists as numbers for models: the same by the slow way, and what has no place."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.table_features import table_features
from guards.data.wide import DIRECTIONS, unmodelled, wide, wide_names
from guards.errors import Skip


def opened(root, frame):
    frame.write_parquet(root / "a.parquet")
    return open_dataset(root, ["a.parquet"])


def texts(rows, seed=0):
    """Ham and spam share most of their words, and each has some that the other seldom has."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["ham", "spam"], rows)
    own = {"ham": ["later", "home", "ok"], "spam": ["win", "prize", "call"]}
    found = [
        " ".join([*(f"w{n}" for n in rng.integers(0, 40, 5)), rng.choice(own[one])])
        for one in label
    ]
    return pl.DataFrame({"text": found, "label": label})


def test_models_read_texts(tmp_path):
    found = table_features(opened(tmp_path, texts(600)), seed=1)
    assert (found.probabilities.argmax(axis=1) == found.labels).mean() > 0.9


def test_no_text_has_a_say_in_its_own_probability(tmp_path):
    frame = texts(600).with_columns(label=pl.Series(["p", "q"] * 300).shuffle(seed=3))
    found = table_features(opened(tmp_path, frame), seed=1)
    assert abs((found.probabilities.argmax(axis=1) == found.labels).mean() - 0.5) < 0.1


@pytest.mark.parametrize("width", [5, 90])
def test_models_read_number_lists(tmp_path, width):
    rng = np.random.default_rng(width)
    label = rng.choice(["p", "q"], 600)
    vectors = rng.normal(size=(600, width)) + 3 * (label == "p")[:, None]
    frame = pl.DataFrame({"v": vectors.tolist(), "label": label})
    found = table_features(opened(tmp_path, frame), seed=1)
    assert (found.probabilities.argmax(axis=1) == found.labels).mean() > 0.95
    assert np.array_equal(
        found.probabilities, table_features(opened(tmp_path, frame), seed=1).probabilities
    )


def test_a_vector_lies_along_the_principal_directions():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(300, 60)) @ np.diag(np.linspace(9, 0.1, 60))
    found = wide(pl.Series("v", values.tolist()), seed=0)
    assert found is not None
    assert found.width == DIRECTIONS
    centred = values - values.mean(axis=0)
    exact = np.linalg.svd(centred, full_matrices=False)[1][:5]
    spread = np.sqrt(np.square(found.places(pl.Series(values.tolist()))).sum(axis=0))
    assert spread[:5] == pytest.approx(exact, rel=0.01)


def test_rows_without_a_text_or_a_vector_have_no_place():
    odd = pl.Series(
        "v", [[1.0, 2.0], [3.0, 5.0], [4.0, 1.0], [1.0], [], None, [np.nan, 1.0], [1e308, 1e308]]
    )
    found = wide(odd, seed=0)
    assert found is not None
    assert np.isnan(found.places(odd)).all(axis=1).tolist() == [False] * 3 + [True] * 5
    said = pl.Series("text", ["one two", "one three", None, "two", ""])
    told = wide(said, seed=0)
    assert told is not None
    assert np.isnan(told.places(said)).all(axis=1).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("text", ["a b"] * 9),
        pl.Series("text", [f"w{n}" for n in range(9)]),
        pl.Series("text", [None] * 9, dtype=pl.String),
        pl.Series("v", [[]] * 9, dtype=pl.List(pl.Float64)),
        pl.Series("v", [None] * 9, dtype=pl.List(pl.Float64)),
        pl.Series("v", [[np.nan]] * 9),
    ],
    ids=["one text", "no word twice", "no text", "empty lists", "no list", "no number"],
)
def test_what_tells_no_rows_apart_has_no_directions(tmp_path, values):
    assert wide(values, seed=0) is None
    frame = pl.DataFrame([values]).with_columns(label=pl.Series(["p", "q", "p"] * 3))
    dataset = opened(tmp_path, pl.concat([frame] * 4))
    if len(values.unique()) == 9:
        return  # of four times the same texts each word is in four
    with pytest.raises(Skip, match="constant"):
        table_features(dataset, seed=0)


def test_a_label_alone_is_no_business_of_models(tmp_path):
    alone = opened(tmp_path, pl.DataFrame({"label": ["a", "b"], "nested": [{"x": 1}] * 2}))
    assert "text" in unmodelled(alone)
    assert wide_names(alone) == ()
