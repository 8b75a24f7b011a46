"""What the detectors look at, on real pictures: blunt where it should be, sharp where it should."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.ndimage import median_filter

from guards.data import embedding
from guards.data.dataset import open_dataset
from guards.data.embedding import embed
from guards.data.image_features import ImageFeatures, from_pixels
from guards.data.images import decode
from guards.data.probe import probe
from guards.errors import Skip, UsageError
from guards.redteam.attacks import find, stamp

SAMPLE = Path(__file__).parents[3] / "data_samples" / "fashion"
SMALL, PLANTED = 900, 40


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """The first rows of the sample: pixels (SMALL, 1, 28, 28) and their labels."""
    dataset = open_dataset(SAMPLE, sorted(path.name for path in SAMPLE.iterdir()))
    labels = dataset.frame(["label"])["label"].cast(pl.String).to_numpy().astype(str)
    return decode(dataset).pixels[:SMALL], labels[:SMALL]


@pytest.fixture(scope="module")
def planted(sample: tuple[np.ndarray, np.ndarray]) -> tuple[ImageFeatures, np.ndarray]:
    """Features of the sample with a patch on PLANTED rows under one label, and which rows."""
    pixels, labels = sample[0].copy(), sample[1].copy()
    rows = np.flatnonzero(labels != "bag")[:PLANTED]
    pixels[rows], labels[rows] = stamp(pixels[rows], find("patch"), 0), "bag"
    labels[-5:] = ""
    return from_pixels(pixels, labels, labels, seed=4, device="cpu"), rows


def test_shapes_belong_together(planted: tuple[ImageFeatures, np.ndarray]) -> None:
    features, _ = planted
    n = SMALL - 5
    assert features.rows.tolist() == list(range(n))
    assert features.embedding.shape == (n, 2 * embedding.COMPONENTS)
    assert [layer.shape for layer in features.layers] == [(n, 256), (n, 128), (n, 64)]
    assert all(layer.dtype == np.float16 for layer in features.layers)
    assert features.classes == tuple(sorted(features.classes))
    assert features.sizes.sum() == n
    assert features.source_names == features.classes
    for of in (features.share, features.belief, features.looks_share):
        assert of.shape == (n,)
        assert of.min() >= 0
        assert of.max() <= 1 + 1e-5


def test_planted_rows_are_believed_and_inconsistent(
    planted: tuple[ImageFeatures, np.ndarray],
) -> None:
    features, rows = planted
    clean = np.setdiff1d(np.arange(len(features.rows)), rows)
    assert features.inconsistent[rows].mean() > 0.6
    assert features.inconsistent[clean].mean() < 0.1
    assert features.belief[rows].mean() > 0.6
    assert features.resemblance > 0.65
    assert features.accuracy > 0.8


def test_suggestions_name_what_the_row_looks_like(
    planted: tuple[ImageFeatures, np.ndarray], sample: tuple[np.ndarray, np.ndarray]
) -> None:
    features, rows = planted
    suggested = [features.suggested(int(row)) for row in rows]
    assert np.mean([s == true for s, true in zip(suggested, sample[1][rows], strict=True)]) > 0.5
    same = int(np.flatnonzero(features.looks == features.labels)[0])
    assert features.suggested(same) is None


def test_a_repeat_gives_the_same_bytes_and_leaves_torch_as_it_was(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    pixels, labels = sample[0][:200], sample[1][:200]
    before = torch.get_rng_state()
    first = from_pixels(pixels, labels, seed=1, device="cpu")
    assert torch.equal(before, torch.get_rng_state())
    again = from_pixels(pixels, labels, seed=1, device="cpu")
    other = from_pixels(pixels, labels, seed=2, device="cpu")
    for name in ("belief", "embedding", "share"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first.layers, again.layers, strict=True))
    assert first.belief.tobytes() != other.belief.tobytes()
    assert first.embedding.tobytes() == other.embedding.tobytes()


def test_the_median_is_that_of_scipy() -> None:
    pixels = np.random.default_rng(0).random((3, 2, 9, 7)).astype(np.float32)
    ours = embedding._median(torch.from_numpy(pixels)).numpy()
    assert np.allclose(ours, median_filter(pixels, size=(1, 1, 3, 3), mode="nearest"))


def test_a_small_mark_and_a_change_of_contrast_hardly_move_the_embedding(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    pixels = sample[0][:300]
    marked = stamp(pixels[:20], find("patch"), 0)
    faint = (pixels[20:40] * 0.7).astype(np.uint8)
    points = embed(np.concatenate([pixels, marked, faint]))
    moved = np.linalg.norm(points[300:] - points[:40], axis=1)
    apart = np.linalg.norm(points[:40] - points[40:80], axis=1)
    assert np.median(moved[:20]) < 0.3 * np.median(apart)
    assert np.median(moved[20:]) < 0.2 * np.median(apart)


def test_the_probe_answers_for_other_pictures(sample: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, codes = sample[0], np.unique(sample[1], return_inverse=True)[1]
    trained = probe(pixels[:700], codes[:700], seed=3)
    assert (trained.classify(pixels[700:]) == codes[700:]).mean() > 0.6


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b"] * 20, "at least 100"),
        (["a"] * 150, "one label"),
        (["a", "b"] * 20 + [""] * 200, "at least 100"),
        ([str(row) for row in range(150)], "several rows"),
    ],
)
def test_too_little_to_compare_is_a_skip_that_says_what_is_missing(
    labels: list[str], message: str
) -> None:
    pixels = np.zeros((len(labels), 1, 8, 8), np.uint8)
    with pytest.raises(Skip, match=message):
        from_pixels(pixels, np.array(labels), seed=0, device="cpu")


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 90, 70), (1, 28, 1)])
def test_pictures_of_any_size_are_looked_at(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (129, *shape)).astype(np.uint8)
    labels = rng.choice(["a", "b"], 129)
    features = from_pixels(pixels, labels, seed=0, device="cpu")
    assert np.isfinite(features.embedding).all()
    assert np.isfinite(features.belief).all()
    assert features.inconsistent.mean() < 0.2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(UsageError, match="cuda"):
        from_pixels(np.zeros((4, 1, 8, 8), np.uint8), np.array(list("abab")), seed=0, device="cuda")


def test_the_patch_view_is_where_planted_rows_vouch_for_one_another(
    planted: tuple[ImageFeatures, np.ndarray],
) -> None:
    features, rows = planted
    assert features.patch_share.shape == features.share.shape
    gained = features.patch_share - features.share
    clean = np.setdiff1d(np.arange(len(features.rows)), rows)
    assert gained[rows].mean() > gained[clean].mean() + 0.1


def test_the_patch_view_is_drawn_by_its_seed(sample: tuple[np.ndarray, np.ndarray]) -> None:
    some = sample[0][:200]
    first, again, other = (embedding.embed_patches(some, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 1, 8, 8), (40, 3, 5, 31), (40, 4, 64, 20)])
def test_both_spaces_take_pictures_of_any_shape(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    for points in (embed(pixels), embedding.embed_patches(pixels, 0)):
        assert len(points) == len(pixels)
        assert np.isfinite(points).all()
    assert np.isfinite(embed(np.zeros(shape, np.uint8))).all()
