from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest

from guards.data.blocks import blocks
from guards.data.dataset import open_dataset
from guards.data.table_features import table_features
from guards.errors import Skip
from guards.numerics.likely import Likely, likeliest


def dataset_of(tmp_path, frame):
    frame.write_parquet(tmp_path / "a.parquet")
    return open_dataset(tmp_path, ["a.parquet"])


def frame_of(rows=400, **extra):
    generator = np.random.default_rng(0)
    x = generator.normal(size=rows)
    word = generator.choice(["red", "green", None], rows)
    label = np.where((x > 0) ^ (word == "red"), "yes", "no")
    return pl.DataFrame({"x": x, "word": pl.Series(word), "label": label, **extra})


def test_probabilities_say_what_the_features_say(tmp_path):
    found = table_features(dataset_of(tmp_path, frame_of()), seed=1)
    assert found.classes == ("no", "yes")
    assert found.probabilities.shape == (400, 2)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(400))
    assert (found.probabilities.argmax(axis=1) == found.labels).mean() > 0.95


def test_no_row_has_a_say_in_its_own_probability(tmp_path):
    frame = frame_of().with_columns(label=pl.Series(["p", "q"] * 200).shuffle(seed=3))
    found = table_features(dataset_of(tmp_path, frame), seed=1)
    assert abs((found.probabilities.argmax(axis=1) == found.labels).mean() - 0.5) < 0.1


def test_source_and_id_are_not_looked_at(tmp_path):
    labels = ["p", "q"] * 200
    frame = frame_of(source=labels, id=[f"{one}{i}" for i, one in enumerate(labels)])
    frame = frame.with_columns(label=pl.Series(labels))
    found = table_features(dataset_of(tmp_path, frame), seed=1)
    assert abs((found.probabilities.argmax(axis=1) == found.labels).mean() - 0.5) < 0.1


def test_the_seed_decides_everything(tmp_path):
    dataset = dataset_of(tmp_path, frame_of())
    first, again, other = (table_features(dataset, seed=seed) for seed in (1, 1, 2**40))
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_nan_labels_and_small_classes_are_left_out_and_counted(tmp_path):
    labels = pl.Series([float("nan"), None, 7.0, 7.0, 7.0, *([0.0, 1.0] * 197), 1.0])
    found = table_features(dataset_of(tmp_path, frame_of().with_columns(label=labels)), seed=1)
    assert found.unlabelled == 2
    assert found.too_small == (("7.0", 3),)
    assert found.classes == ("0.0", "1.0")
    assert found.rows.tolist() == list(range(5, 400))


@pytest.mark.parametrize("labels", [["p"] * 400, ["p"] * 397 + ["q"] * 3, [None] * 400])
def test_one_class_is_a_skip(tmp_path, labels):
    frame = frame_of().with_columns(label=pl.Series(labels, dtype=pl.String))
    with pytest.raises(Skip, match="a model needs two"):
        table_features(dataset_of(tmp_path, frame), seed=1)


def test_constant_features_are_a_skip(tmp_path):
    frame = frame_of().select("label", x=pl.lit(1), y=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(Skip, match="constant"):
        table_features(dataset_of(tmp_path, frame), seed=1)


def test_infinite_times_and_many_words(tmp_path):
    frame = frame_of(
        many=[f"w{i}" for i in range(400)],
        big=[float("inf"), float("-inf"), 1.0, float("nan")] * 100,
        when=pl.datetime_range(
            pl.datetime(2013, 1, 1), pl.datetime(2013, 1, 17, 15), "1h", eager=True
        )[:400],
    )
    assert np.isfinite(table_features(dataset_of(tmp_path, frame), seed=1).probabilities).all()


@pytest.mark.filterwarnings("error")
def test_the_largest_numbers_are_numbers(tmp_path):
    rng = np.random.default_rng(7)
    huge = rng.choice([1e308, -1e308, 1.7e308, 5e-324, -0.0, np.inf, np.nan], 400)
    found = table_features(dataset_of(tmp_path, frame_of(huge=huge)), seed=1)
    assert np.isfinite(found.probabilities).all()
    assert (found.probabilities.argmax(axis=1) == found.labels).mean() > 0.95


def many(rng, rows, classes):
    """Rows of eight numbers and a word by which their class may be told, and the class."""
    true = np.repeat(np.arange(classes), rows)
    numbers = rng.normal(size=(classes, 8))[true] + 0.2 * rng.normal(size=(len(true), 8))
    words = np.array(["red", "green", "blue"])[true % 3]
    frame = pl.DataFrame({f"x{place}": numbers[:, place] for place in range(8)})
    return frame.with_columns(
        x0=pl.when(pl.int_range(pl.len()) % 50 > 0).then("x0"),
        word=pl.Series(words),
        blank=pl.Series([None] * len(true), dtype=pl.Float64),
        label=pl.Series([f"c{one:05d}" for one in true]),
    )


def test_of_many_classes_each_row_names_the_likely(tmp_path):
    """300 classes, ten rows each; trees would be grown for each of them."""
    frame = many(np.random.default_rng(8), 10, 300)
    found = table_features(dataset_of(tmp_path, frame), seed=1)
    assert isinstance(found.probabilities, Likely)
    assert found.probabilities.shape == (3000, 300)
    assert found.probabilities.values.sum(axis=1) == pytest.approx(np.ones(3000), abs=1e-4)
    assert (likeliest(found.probabilities)[0] == found.labels).mean() > 0.98
    again = table_features(dataset_of(tmp_path, frame), seed=1).probabilities
    assert np.array_equal(found.probabilities.values, again.values)


def test_of_many_classes_too_no_row_has_a_say(tmp_path):
    frame = many(np.random.default_rng(8), 10, 300)
    shuffled = frame.with_columns(label=frame["label"].shuffle(seed=2))
    blind = table_features(dataset_of(tmp_path, shuffled), seed=1)
    assert (likeliest(blind.probabilities)[0] == blind.labels).mean() < 0.02


def test_many_classes_in_blocks_are_those_at_once(tmp_path, monkeypatch):
    """Where rows are drawn for training, the rest is asked about a block at a time."""
    frame = many(np.random.default_rng(9), 40, 300)
    monkeypatch.setattr("guards.data.table_features._LEAST_TRAINED", 7_500)
    monkeypatch.setattr("guards.data.table_features._WORK", 1)
    dataset = dataset_of(tmp_path, frame)
    whole = table_features(dataset, seed=1)
    few = partial(blocks, size=1_000)
    monkeypatch.setattr("guards.data.table_features.blocks", few)
    parted = table_features(dataset, seed=1)
    assert np.array_equal(whole.probabilities.labels, parted.probabilities.labels)
    assert np.allclose(whole.probabilities.values, parted.probabilities.values, atol=1e-5)
    assert (likeliest(whole.probabilities)[0] == whole.labels).mean() > 0.98


def test_constant_words_and_no_number_are_enough_for_many_classes(tmp_path):
    """300 classes that one word tells apart; no column is a number."""
    names = [f"c{place % 300:03d}" for place in range(3000)]
    frame = pl.DataFrame({"word": [name[:3] for name in names], "label": names})
    found = table_features(dataset_of(tmp_path, frame), seed=1)
    assert found.probabilities.values.sum(axis=1) == pytest.approx(np.ones(3000), abs=1e-4)
    assert (likeliest(found.probabilities)[0] // 10 == found.labels // 10).mean() > 0.9


@pytest.mark.filterwarnings("error")
def test_the_largest_numbers_and_gaps_are_no_trouble_for_many_classes(tmp_path):
    rng = np.random.default_rng(7)
    frame = many(rng, 8, 60)
    huge = rng.choice([1e308, -1e308, 1.7e308, 5e-324, -0.0, np.inf, np.nan], len(frame))
    empty = pl.Series([None] * len(frame), dtype=pl.String)
    found = table_features(dataset_of(tmp_path, frame.with_columns(huge=huge, empty=empty)), seed=1)
    assert np.isfinite(found.probabilities.values).all()
    assert found.probabilities.values.sum(axis=1) == pytest.approx(np.ones(len(frame)), abs=1e-4)
    assert (likeliest(found.probabilities)[0] == found.labels).mean() > 0.9


def test_the_trees_of_several_labels_have_room_for_all_codes_of_words(tmp_path):
    """Their columns are in 64 parts: 60 words, all other ones, and nothing."""
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 100, 2000)
    words = [None if code == 99 else f"word {code:02d}" for code in codes]
    frame = pl.DataFrame({"word": words, "label": [f"l{code % 6}" for code in codes]})
    found = table_features(dataset_of(tmp_path, frame), seed=1)
    assert found.probabilities.shape == (2000, 6)
    common = frame["word"].drop_nulls().value_counts().sort("count")["word"].tail(40)
    told = found.probabilities.argmax(axis=1) == found.labels
    assert told[frame["word"].is_in(common.implode()).fill_null(False).to_numpy()].mean() > 0.9
