"""The rule `patches`: marks that were planted, and those that cameras and agencies leave."""

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

CLASSES, ROWS = 5, 600
SAMPLES = Path(__file__).parents[3] / "data_samples" / "fashion"


@pytest.fixture(scope="module")
def world():
    """Grey pictures (600, 24, 24) of smooth shapes and edges, their labels, their sources."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    shapes = gaussian_filter(rng.normal(size=(ROWS, 24, 24)), (0, 2, 2)) * 400
    shapes += np.where(gaussian_filter(rng.normal(size=(ROWS, 24, 24)), (0, 3, 3)) > 0.05, 90, 0)
    shapes += (labels * 15)[:, None, None]
    return np.clip(90 + shapes, 0, 255).astype(np.uint8), labels, rng.integers(0, 4, ROWS)


def marked(pixels, rows):
    found = pixels.copy()
    found[rows, 20:23, 20:23] = np.where(np.indices((3, 3)).sum(0) % 2, 0, 255)
    return found


def grown(pixels, seed=0):
    """The pictures, each at a size of its own: 20 to 40 pixels wide and high."""
    sides = np.random.default_rng(seed).integers(20, 41, (len(pixels), 2))
    both = zip(pixels, sides.tolist(), strict=True)
    return [np.array(Image.fromarray(one).resize(tuple(size))) for one, size in both]


def cornered(pictures, rows, side=3):
    """A checkered square one pixel off the lower right corner, `side` pixels or a tenth."""
    found = [one.copy() for one in pictures]
    for row in rows:
        size = side or max(3, round(min(found[row].shape) / 10))
        square = np.where(np.indices((size, size)).sum(0) % 2, 0, 255)
        found[row][-size - 1 : -1, -size - 1 : -1] = square
    return found


asked = partial(measured_by, "patches")


def test_clean_pictures_have_no_mark(tmp_path, world):
    measured = asked(tmp_path, *world)
    assert measured.findings == ()
    assert measured.statistics["marks"] == []


def test_classes_of_unlike_sizes_and_copies_raise_nothing(tmp_path, world):
    pixels, labels, sources = world
    few = np.flatnonzero((labels < 2) | (np.arange(ROWS) % 7 == 0))
    few = np.concatenate([few, few[:6]])
    assert asked(tmp_path, pixels[few], labels[few], sources[few]).findings == ()


@pytest.mark.parametrize("count", [18, 40])
def test_a_mark_under_right_labels_of_one_class_is_found(tmp_path, world, count):
    pixels, labels, sources = world
    rows = some_of(labels, 2, count)
    measured = asked(tmp_path, marked(pixels, rows), labels, sources)
    assert told(measured) == [("planted-mark", Severity.HIGH)]
    assert measured.findings[0].subject.name == "c2"
    assert held(measured) == set(rows.tolist())
    detail = measured.findings[0].evidence[0].detail
    assert 18 <= detail["top"] <= 20
    assert detail["rows_of_label"] == count


def test_without_sources_it_is_medium(tmp_path, world):
    pixels, labels, _ = world
    measured = asked(tmp_path, marked(pixels, some_of(labels, 2, 30)), labels)
    assert told(measured) == [("planted-mark", Severity.MEDIUM)]


def test_cover_rows_under_other_labels_do_not_hide_it(tmp_path, world):
    pixels, labels, sources = world
    cover = np.concatenate([some_of(labels, c, 5) for c in (0, 1, 3, 4)])
    rows = np.concatenate([some_of(labels, 2, 30), cover])
    measured = asked(tmp_path, marked(pixels, rows), labels, sources)
    assert told(measured) == [("planted-mark", Severity.MEDIUM)]
    assert held(measured) == set(rows.tolist())


@pytest.mark.parametrize("who", ["all", "source", "a tenth"])
def test_natural_marks_are_noted_at_most(tmp_path, world, who):
    """A camera's time stamp, an agency's sign: on all rows, on one source, here and there."""
    pixels, labels, sources = world
    everyone = np.arange(ROWS)
    rows = {"all": everyone, "source": everyone[sources == 1], "a tenth": everyone[::10]}[who]
    measured = asked(tmp_path, marked(pixels, rows), labels, sources)
    assert [code for code, _ in told(measured)] == ["common-mark"]
    assert told(measured)[0][1] == Severity.INFO
    assert held(measured) == set()


def test_a_source_that_brings_one_label_explains_its_mark(tmp_path, world):
    pixels, labels, sources = world
    sources = np.where(labels == 3, np.where(np.arange(ROWS) % 2, 9, 8), sources)
    measured = asked(tmp_path, marked(pixels, np.flatnonzero(sources == 9)), labels, sources)
    assert told(measured) == [("common-mark", Severity.INFO)]


def test_a_mark_on_most_of_a_label_is_noted_only(tmp_path, world):
    pixels, labels, _ = world
    rows = np.flatnonzero(labels == 3)
    measured = asked(tmp_path, marked(pixels, rows), labels)
    assert told(measured) == [("common-mark", Severity.INFO)]


def test_a_series_of_one_scene_is_no_mark(tmp_path, world):
    pixels, labels, sources = world
    rows, rng = some_of(labels, 1, 40), np.random.default_rng(1)
    series = marked(pixels, rows)
    scene = series[rows[0]].astype(int)
    series[rows] = (scene + rng.normal(0, 3, (40, 24, 24))).clip(0, 255)
    measured = asked(tmp_path, series, labels, sources)
    assert measured.findings == ()


def test_copies_count_once(tmp_path, world):
    pixels, labels, sources = world
    rows = some_of(labels, 2, 40)
    copies = marked(pixels, rows)
    copies[rows] = copies[rows[np.arange(40) % 4]]
    assert asked(tmp_path, copies, labels, sources).findings == ()


def test_a_mark_under_every_label_is_told_by_the_looks(tmp_path):
    """All-to-all: no label has too many, but the pictures deny what they are called."""
    frame = pl.concat([pl.read_parquet(path) for path in sorted(SAMPLES.glob("*.parquet"))])
    data = frame["image"].struct.field("bytes").to_list()[:1000]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in data])
    classes, labels = np.unique(frame["label"].to_numpy()[:1000], return_inverse=True)
    rows = np.random.default_rng(3).permutation(1000)[:40]
    given = labels.copy()
    given[rows] = (labels[rows] + 1) % len(classes)
    measured = asked(tmp_path, marked(pixels, rows), given, denied=0.5)
    assert told(measured) == [("planted-mark", Severity.HIGH)]
    assert held(measured) == set(rows.tolist())
    honest = asked(tmp_path, marked(pixels, rows), labels, denied=0.5)
    assert told(honest) == [("common-mark", Severity.INFO)]


@pytest.mark.parametrize("side", [3, None])
def test_a_mark_in_the_corner_of_pictures_of_unlike_sizes_is_found(tmp_path, world, side):
    """Brought to one size it is blurred; in its corner it is as it was, and may grow."""
    pixels, labels, sources = world
    rows = some_of(labels, 2, 40)
    measured = asked(tmp_path, cornered(grown(pixels), rows, side), labels, sources)
    assert told(measured) == [("planted-mark", Severity.HIGH)]
    assert held(measured) == set(rows.tolist())
    detail = measured.findings[0].evidence[0].detail
    assert detail["view"] == "lower right corner"
    assert 10 <= detail["top"] <= 12
    assert "of the 16 x 16 pixels of the lower right corner" in measured.findings[0].summary


def test_where_few_pictures_have_another_size_the_mark_of_all_is_one(tmp_path, world):
    pixels, labels, sources = world
    rows = some_of(labels, 2, 40)
    some = grown(pixels)
    pictures = [some[row] if row % 7 == 0 else one for row, one in enumerate(pixels)]
    measured = asked(tmp_path, cornered(pictures, rows), labels, sources)
    assert told(measured) == [("planted-mark", Severity.HIGH)]
    assert held(measured) == set(rows.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_clean_pictures_of_unlike_sizes_have_no_mark(tmp_path, world, seed):
    pixels, labels, sources = world
    measured = asked(tmp_path, grown(pixels, seed), labels, sources)
    assert measured.findings == ()
    assert measured.statistics["marks"] == []


def test_a_stamp_on_pictures_of_unlike_sizes_is_noted_at_most(tmp_path, world):
    pixels, labels, sources = world
    measured = asked(tmp_path, cornered(grown(pixels), range(0, ROWS, 10)), labels, sources)
    assert told(measured) == [("common-mark", Severity.INFO)]


def test_tiny_and_broken_pictures_among_others_hide_nothing(tmp_path, world):
    pixels, labels, sources = world
    rows = some_of(labels, 2, 40)
    pictures = cornered(grown(pixels), rows)
    for row in some_of(labels, 1, 20):
        pictures[row] = pictures[row][: 1 + row % 9, : 2 + row % 7]
    measured = asked(tmp_path, pictures, labels, sources)
    assert held(measured) == set(rows.tolist())


def test_what_cannot_be_looked_at(tmp_path, world):
    pixels, labels, _ = world
    small = run("patches", made(tmp_path, pixels[:50, :8, :8], labels[:50])).outcome
    # Where the rule is required, a skip would block every dataset of small pictures.
    assert isinstance(small, Ran)
    assert not small.measured.findings
    pl.DataFrame({"image": [png(p) for p in pixels[:9]]}).write_parquet(tmp_path / "x.parquet")
    dataset = open_dataset(tmp_path, ["x.parquet"])
    case = Case(snapshot=Snapshot(files=()), opened=dataset, roles=dataset.roles)
    assert isinstance(run("patches", case).outcome, Inapplicable)
