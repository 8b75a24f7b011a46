"""Features on disk: what is written is read, and the screen gives the answer it gives in memory."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from guards.data.feature_store import open_features, reader, take, write_by_class, write_features
from guards.errors import Unreadable, UsageError
from guards.numerics.screen import in_memory, screen

RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat(np.arange(6), [3, 700, 90, 200, 40, 17]))
FEATURES = RNG.normal(size=(len(LABELS), 20)).astype(np.float16)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "features.arrow"
    cuts = [0, 400, 401, 401, 1000, len(LABELS)]
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    assert write_features(path, ((FEATURES[s], LABELS[s]) for s in parts)) == len(LABELS)
    return path


def test_rows_come_back_in_any_order_and_shape(stored: Path) -> None:
    store = open_features(stored)
    assert (store.rows, store.width) == FEATURES.shape
    assert np.array_equal(store.labels, LABELS)
    rows = RNG.integers(0, len(LABELS), (7, 5))
    assert np.array_equal(take(store, rows), FEATURES[rows])


def test_the_file_is_an_arrow_table_that_others_read(stored: Path) -> None:
    table = pa.ipc.open_file(pa.memory_map(str(stored))).read_all()
    assert table.schema.field("features").type == pa.list_(pa.float16(), 20)
    assert table.num_rows == len(LABELS)


def test_views_are_of_the_file_and_not_copies(stored: Path) -> None:
    assert not any(
        view.flags.owndata or view.flags.writeable for view in open_features(stored).batches
    )


@pytest.mark.parametrize("room", [None, 2**12])
def test_the_screen_of_the_store_is_that_of_the_array(stored: Path, room: int | None) -> None:
    store = open_features(stored)
    there = screen(in_memory(torch.from_numpy(FEATURES)), LABELS, 6, np.random.default_rng(2))
    here = screen(reader(store), store.labels, 6, np.random.default_rng(2), room=room)
    assert np.allclose(there.scores, here.scores, rtol=1e-2, atol=1e-2)
    for a, b in (
        (there.structure.spectral, here.structure.spectral),
        (there.structure.cluster, here.structure.cluster),
    ):
        assert np.allclose(a.statistic, b.statistic, atol=1e-2, equal_nan=True)
        assert (a.member != b.member).mean() < 0.005


def test_rows_are_put_together_by_class(stored: Path, tmp_path: Path) -> None:
    store = open_features(stored)
    assert write_by_class(tmp_path / "sorted.arrow", store) == store.rows
    ordered = open_features(tmp_path / "sorted.arrow")
    assert np.array_equal(ordered.labels, np.sort(LABELS))
    order = np.argsort(LABELS, kind="stable")
    assert np.array_equal(take(ordered, np.arange(store.rows)), FEATURES[order])


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="65,504"):
        write_features(tmp_path / "a", [(np.full((2, 3), 1e6), [0, 1])])
    with pytest.raises(UsageError, match="65,504"):
        write_features(tmp_path / "b", [(np.full((2, 3), np.nan), [0, 1])])
    with pytest.raises(UsageError, match="width 4, not 3"):
        write_features(tmp_path / "c", [(np.zeros((2, 3)), [0, 1]), (np.zeros((2, 4)), [0, 1])])
    with pytest.raises(UsageError, match="at least one row"):
        write_features(tmp_path / "d", [])


def test_a_file_that_is_no_store_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no")
    with pytest.raises(Unreadable, match="holds no features"):
        open_features(tmp_path / "text")
    with pytest.raises(Unreadable, match="holds no features"):
        open_features(tmp_path / "absent")
    table = pa.table({"x": [1, 2]})
    with pa.ipc.new_file(tmp_path / "other", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(Unreadable, match="holds no features"):
        open_features(tmp_path / "other")
