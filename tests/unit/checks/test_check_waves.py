"""The rule `waves`: sinusoids that were planted, and what cameras, printers and shirts have."""

import io
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from marked_pictures import held, made, measured_by, png, some_of, told
from PIL import Image
from scipy.ndimage import gaussian_filter

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.findings import Inapplicable, Ran, Severity
from guards.provenance.snapshot import Snapshot
from guards.redteam.arrays import plant

CLASSES, ROWS, SIDE = 5, 600, 32
SAMPLES = Path(__file__).parents[3] / "data_samples" / "fashion"


@pytest.fixture(scope="module")
def world():
    """Grey pictures (600, 32, 32) of shapes, edges and grain, their labels, their sources."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    shapes = gaussian_filter(rng.normal(size=(ROWS, SIDE, SIDE)), (0, 2, 2)) * 300
    shapes += np.where(gaussian_filter(rng.normal(size=(ROWS, SIDE, SIDE)), (0, 4, 4)) > 0, 70, 0)
    shapes += (labels * 15)[:, None, None] + rng.normal(0, 4, (ROWS, SIDE, SIDE))
    return np.clip(90 + shapes, 0, 255).astype(np.uint8), labels, rng.integers(0, 4, ROWS)


@pytest.fixture(scope="module")
def clothes():
    """The sample of Fashion-MNIST: (1000, 1, 28, 28), and its labels."""
    frame = pl.concat([pl.read_parquet(path) for path in sorted(SAMPLES.glob("*.parquet"))])
    data = frame["image"].struct.field("bytes").to_list()[:1000]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in data])[:, None]
    return pixels, np.unique(frame["label"].to_numpy()[:1000], return_inverse=True)[1]


def waved(pixels, rows, delta=20, down=0.0, right=6.0, phase=0.3):
    found = pixels.astype(float)
    height, width = pixels.shape[1:]
    turns = np.arange(height)[:, None] * down / height + np.arange(width) * right / width
    found[rows] += delta * np.sin(2 * np.pi * (turns + phase))
    return np.rint(found).clip(0, 255).astype(np.uint8)


asked = partial(measured_by, "waves")


def test_clean_pictures_have_no_wave(tmp_path, world):
    measured = asked(tmp_path, *world)
    assert measured.findings == ()
    assert measured.statistics["waves"] == []
    assert measured.statistics["windows_tested"] > 100


@pytest.mark.parametrize(
    "wave",
    [
        {},
        {"delta": 40, "right": 4.0, "phase": 0.8},
        {"down": 5.3, "right": -3.6},  # between the bins, in any direction
        {"down": 9.5, "right": 0.0},
        {"delta": 12, "right": 11.0},
    ],
)
def test_a_wave_under_right_labels_of_one_class_is_found(tmp_path, world, wave):
    pixels, labels, sources = world
    rows = some_of(labels, 2, 30)
    measured = asked(tmp_path, waved(pixels, rows, **wave), labels, sources)
    assert told(measured) == [("planted-wave", Severity.HIGH)]
    assert measured.findings[0].subject.name == "c2"
    assert held(measured) <= set(rows.tolist())
    assert len(held(measured)) >= 0.8 * len(rows)
    detail = measured.findings[0].evidence[0].detail
    down, right = wave.get("down", 0.0), wave.get("right", 6.0)
    sign = -1 if right < 0 or (right == 0 and down < 0) else 1
    assert detail["periods_down"] == pytest.approx(sign * down, abs=0.3)
    assert detail["periods_right"] == pytest.approx(sign * right, abs=0.3)


def test_without_sources_it_is_medium(tmp_path, world):
    pixels, labels, _ = world
    measured = asked(tmp_path, waved(pixels, some_of(labels, 2, 30)), labels)
    assert told(measured) == [("planted-wave", Severity.MEDIUM)]


def test_the_published_attack_is_found_on_drawings(tmp_path, clothes):
    pixels, labels = clothes
    attack = plant(pixels, labels, 10, "sig", 0.03, seed=2, target=7)
    measured = asked(tmp_path, attack.pixels[:, 0], attack.labels)
    assert told(measured) == [("planted-wave", Severity.MEDIUM)]
    assert measured.findings[0].subject.name == "c7"
    mine = np.isin(np.arange(1000), list(held(measured)))
    assert mine[attack.planted].mean() >= 0.8
    assert mine[~attack.planted].mean() < 0.002


@pytest.mark.parametrize("named", ["all", "trousers and others", "two classes"])
def test_drawings_that_lie_alike_have_no_wave(tmp_path, clothes, named):
    """Legs, stripes and soles have their place, so that their phases agree: twins have them too."""
    pixels, labels = clothes
    names = {"all": labels, "trousers and others": labels == 1, "two classes": labels % 2}[named]
    assert asked(tmp_path, pixels[:, 0], names.astype(int)).findings == ()


def test_classes_of_unlike_sizes_and_copies_raise_nothing(tmp_path, world):
    pixels, labels, sources = world
    few = np.flatnonzero((labels < 2) | (np.arange(ROWS) % 7 == 0))
    few = np.concatenate([few, few[:6]])
    assert asked(tmp_path, pixels[few], labels[few], sources[few]).findings == ()


@pytest.mark.parametrize("who", ["source", "a fifth"])
def test_natural_waves_are_noted_at_most(tmp_path, world, who):
    """A scanner's lines, a screen's grid: on all of one source, here and there."""
    pixels, labels, sources = world
    rows = np.flatnonzero(sources == 1) if who == "source" else np.arange(0, ROWS, 5)
    measured = asked(tmp_path, waved(pixels, rows), labels, sources)
    assert told(measured) == [("common-wave", Severity.INFO)]
    assert held(measured) == set()


def test_a_source_that_brings_one_label_explains_its_wave(tmp_path, world):
    pixels, labels, sources = world
    sources = np.where(labels == 3, np.where(np.arange(ROWS) % 2, 9, 8), sources)
    measured = asked(tmp_path, waved(pixels, np.flatnonzero(sources == 9)), labels, sources)
    assert told(measured) == [("common-wave", Severity.INFO)]


def test_a_wave_on_most_of_a_label_is_noted_only(tmp_path, world):
    pixels, labels, _ = world
    measured = asked(tmp_path, waved(pixels, np.flatnonzero(labels == 3)), labels)
    assert told(measured) == [("common-wave", Severity.INFO)]


def test_waves_of_other_phases_are_none(tmp_path, world):
    """Bricks and blinds: one frequency, but each picture was taken from where its taker stood."""
    pixels, labels, sources = world
    for row in some_of(labels, 2, 40):
        pixels = waved(pixels, [row], phase=np.random.default_rng(row).random())
    assert asked(tmp_path, pixels, labels, sources).findings == ()


def test_a_series_of_one_scene_is_no_wave(tmp_path, world):
    pixels, labels, sources = world
    rows, rng = some_of(labels, 1, 40), np.random.default_rng(1)
    series = waved(pixels, rows)
    scene = series[rows[0]].astype(int)
    series[rows] = (scene + rng.normal(0, 3, (40, SIDE, SIDE))).clip(0, 255)
    assert asked(tmp_path, series, labels, sources).findings == ()


def test_copies_count_once(tmp_path, world):
    pixels, labels, sources = world
    rows = some_of(labels, 2, 40)
    copies = waved(pixels, rows)
    copies[rows] = copies[rows[np.arange(40) % 4]]
    assert asked(tmp_path, copies, labels, sources).findings == ()


def test_large_pictures_are_looked_at_at_several_sizes(tmp_path, world):
    """Six periods of some 21 pixels each are slower than what is limited sees at full size."""
    pixels, labels, sources = world
    large = np.kron(pixels[:300], np.ones((1, 4, 4))).astype(np.uint8)
    rows = some_of(labels[:300], 2, 30)
    measured = asked(tmp_path, waved(large, rows), labels[:300], sources[:300])
    assert told(measured) == [("planted-wave", Severity.HIGH)]
    detail = measured.findings[0].evidence[0].detail
    assert detail["pixels_a_period"] == pytest.approx(128 / 6, abs=1)


def test_what_cannot_be_looked_at(tmp_path, world):
    pixels, labels, _ = world
    small = run("waves", made(tmp_path, pixels[:50, :8, :8], labels[:50])).outcome
    # Where the rule is required, a skip would block every dataset of small pictures.
    assert isinstance(small, Ran)
    assert not small.measured.findings
    pl.DataFrame({"image": [png(p) for p in pixels[:9]]}).write_parquet(tmp_path / "x.parquet")
    dataset = open_dataset(tmp_path, ["x.parquet"])
    case = Case(snapshot=Snapshot(files=()), opened=dataset, roles=dataset.roles)
    assert isinstance(run("waves", case).outcome, Inapplicable)
