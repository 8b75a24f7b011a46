"""Labels as classes: what is told apart, what is refused and why, and labels that were checked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.labelled import MOST_CLASSES, checked_labels, labelled
from guards.errors import Skip


@pytest.fixture
def dataset_of(tmp_path_factory):
    def make(frame):
        root = tmp_path_factory.mktemp("data")
        frame.write_parquet(root / "a.parquet")
        return open_dataset(root, ["a.parquet"])

    return make


def table(labels, **columns):
    return pl.DataFrame({"x": range(len(labels)), "label": labels, **columns})


@pytest.mark.parametrize("classes", [2, 40, MOST_CLASSES])
def test_two_classes_and_ten_thousand(dataset_of, classes):
    labels = [f"c{k:05}" for k in range(classes)] * 5
    found = labelled(dataset_of(table([None, *labels, "rare"])))
    assert found.classes == tuple(labels[:classes])
    assert found.rows.tolist() == list(range(1, 5 * classes + 1))
    assert np.bincount(found.labels).tolist() == [5] * classes
    assert (found.unlabelled, found.too_small) == (1, (("rare", 1),))


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([0.37 * k for k in range(200)], "a quantity, or a name for each row"),
        ([k / 7 for k in range(150)] * 5, "that are not whole: a quantity"),
        ([["a", "b"]] * 60, "several labels a row"),
        (["a"] * 60, "a model needs two"),
        ([k for k in range(MOST_CLASSES + 1) for _ in range(5)], "at most 10,000 are told apart"),
    ],
)
def test_what_is_no_class_is_refused_in_words(dataset_of, labels, why):
    with pytest.raises(Skip, match=why):
        labelled(dataset_of(table(labels)))


def test_whole_numbers_are_classes(dataset_of):
    assert labelled(dataset_of(table([0.0, 1.0] * 20))).classes == ("0.0", "1.0")


def test_a_checked_label_is_found_by_an_id_that_stands_once_on_either_side(dataset_of):
    data = dataset_of(table(["p"] * 6, id=["a", "b", "c", "c", None, "e"]))
    checked = pl.DataFrame(
        {
            "x": range(6),
            "label": ["q", "p", "q", "q", "p", "q"],
            "id": ["b", "a", "c", None, "e", "e"],
        }
    )
    trusted = dataset_of(checked)
    told = checked_labels(data, trusted, np.arange(6))
    assert told.to_list() == ["p", "q", None, None, None, None]
    assert checked_labels(data, trusted, np.array([1, 0])).to_list() == ["q", "p"]


def test_without_trusted_rows_or_ids_nothing_is_checked(dataset_of):
    data, bare = dataset_of(table(["p"] * 3, id=["a", "b", "c"])), dataset_of(table(["p"] * 3))
    assert checked_labels(data, None, np.arange(3)).null_count() == 3
    assert checked_labels(data, bare, np.arange(3)).null_count() == 3
    assert checked_labels(bare, data, np.arange(3)).null_count() == 3
