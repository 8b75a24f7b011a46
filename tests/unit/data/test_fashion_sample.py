"""The committed Fashion-MNIST samples are what their page says, and are made the same each time."""

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards.data.images import decode
from guards.redteam.poison import open_path

SAMPLES = Path(__file__).parents[3] / "data_samples"
PARTS = [("fashion", 600, 2), ("fashion-holdout", 50, 1)]


def maker():
    spec = importlib.util.spec_from_file_location("make_fashion", SAMPLES / "make_fashion.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("folder", "per_class", "shards"), PARTS)
def test_classes_are_balanced_and_every_picture_decodes(folder, per_class, shards):
    dataset = open_path(SAMPLES / folder)
    frame = dataset.frame(["id", "label", "source"])
    assert len(dataset.shards) == shards
    assert set(frame["label"].value_counts()["count"]) == {per_class}
    assert frame["label"].n_unique() == 10
    assert frame["id"].n_unique() == len(frame)
    images = decode(dataset)
    assert images.failed == ()
    assert images.pixels.shape == (per_class * 10, 1, 28, 28)
    assert len(set(images.digests.tolist())) == per_class * 10


def test_sources_have_nothing_to_do_with_labels():
    from scipy.stats import chi2_contingency

    frame = open_path(SAMPLES / "fashion").frame(["label", "source"])
    counts = frame.to_dummies("source").group_by("label").sum().drop("label").to_numpy()
    assert counts.shape == (10, 5)
    assert chi2_contingency(counts).pvalue > 0.01


def test_no_holdout_picture_is_trained_on():
    train, held = (decode(open_path(SAMPLES / folder)) for folder, *_ in PARTS)
    assert not set(train.digests.tolist()) & set(held.digests.tolist())


def test_the_script_makes_what_is_committed(tmp_path):
    """Pixels, labels, sources and ids agree; so do bytes, for the same versions of libraries."""
    make = maker()
    if not make.ORIGIN.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    images = make.idx(make.ORIGIN / "t10k-images-idx3-ubyte.gz")
    labels = make.idx(make.ORIGIN / "t10k-labels-idx1-ubyte.gz")
    for name in ("one", "two"):
        make.write(make.table(images, labels, "t10k", 50), tmp_path / name, 1)
    first, second = (tmp_path / name / "part-000.parquet" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    committed, made = open_path(SAMPLES / "fashion-holdout"), open_path(first.parent)
    columns = ["id", "label", "source"]
    assert made.frame(columns).equals(committed.frame(columns))
    np.testing.assert_array_equal(decode(made).pixels, decode(committed).pixels)


def test_sizes_stay_small():
    folders = [SAMPLES / folder for folder, *_ in PARTS]
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < 3_200_000
    assert (
        pl.scan_parquet(SAMPLES / "fashion" / "*.parquet").select(pl.len()).collect().item() == 6000
    )
