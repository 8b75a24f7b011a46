"""The rule `images`: what it holds on damaged pictures, and that clean ones raise nothing."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.checks import images as rule
from guards.checks import run
from guards.checks.images import NEEDS, Settings, examine
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.findings import Inapplicable, Ran, Severity
from guards.provenance.roles import Roles
from guards.provenance.snapshot import Snapshot
from guards.redteam.poison import open_path, poison

SAMPLES = Path(__file__).parents[3] / "data_samples"
RNG = np.random.default_rng(0)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def noise(count, shape=(28, 28)):
    return [png(RNG.integers(0, 256, shape)) for _ in range(count)]


def case(dataset):
    return Case(snapshot=Snapshot(files=()), opened=dataset, roles=dataset.roles)


def made(tmp_path, pictures, labels=None):
    frame = {"image": pl.Series(pictures, dtype=pl.Binary)}
    if labels is not None:
        frame["label"] = labels
    pl.DataFrame(frame).write_parquet(tmp_path / "x.parquet")
    return case(open_dataset(tmp_path, ["x.parquet"]))


def examined(tmp_path, pictures, labels=None, **settings):
    return examine(made(tmp_path, pictures, labels), Settings(**settings))


def codes(measured):
    return {finding.code: finding.severity for finding in measured.findings}


def held(measured):
    return [score.row for score in measured.row_scores]


@pytest.mark.parametrize("folder", ["fashion", "fashion-holdout"])
def test_clean_samples_raise_nothing(folder):
    measured = examine(case(open_path(SAMPLES / folder)), Settings())
    assert measured.findings == ()
    assert measured.row_scores == ()
    assert measured.statistics["decoded"] == measured.statistics["rows"] > 0


def test_forty_clean_subsamples_raise_nothing(tmp_path):
    frame = pl.read_parquet(SAMPLES / "fashion-holdout" / "part-000.parquet")
    for seed in range(40):
        frame.sample(150, seed=seed).write_parquet(tmp_path / "x.parquet")
        assert examine(case(open_dataset(tmp_path, ["x.parquet"])), Settings()).findings == ()


@pytest.mark.parametrize(
    ("broken", "severity"), [(1, Severity.MEDIUM), (5, Severity.MEDIUM), (6, Severity.HIGH)]
)
def test_unreadable_rows_are_told_one_by_one(tmp_path, broken, severity):
    pictures = [*noise(100 - broken), *[b"broken"] * broken]
    measured = examined(tmp_path, pictures)
    assert codes(measured) == {"unreadable-images": severity}
    assert held(measured) == list(range(100 - broken, 100))
    assert all("not a PNG" in score.reason for score in measured.row_scores)
    assert measured.findings[0].evidence[0].rows == broken


def test_nothing_decodes(tmp_path):
    measured = examined(tmp_path, [b"a", None, b""])
    assert codes(measured) == {"unreadable-images": Severity.HIGH}
    assert held(measured) == [0, 1, 2]
    json.dumps(measured.statistics, allow_nan=False)


def test_a_few_conflicting_duplicates_are_noted_and_many_weigh(tmp_path):
    same = noise(1) * 2
    few = examined(tmp_path, [*noise(98), *same], ["a"] * 99 + ["b"])
    assert codes(few) == {"conflicting-duplicates": Severity.LOW}
    assert held(few) == [98, 99]
    many = examined(tmp_path, [*noise(80), *noise(10) * 2], ["a"] * 90 + ["b"] * 10)
    assert codes(many)["conflicting-duplicates"] == Severity.MEDIUM
    assert held(many) == list(range(80, 100))
    assert "a, b" in many.row_scores[0].reason


def test_duplicates_are_found_under_another_encoding(tmp_path):
    pixels = RNG.integers(0, 256, (28, 28)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    measured = examined(tmp_path, [png(pixels), buffer.getvalue()], ["a", "b"])
    assert held(measured) == [0, 1]


def test_duplicates_under_one_label_or_none_are_no_conflict(tmp_path):
    assert codes(examined(tmp_path, noise(5) * 2, ["a"] * 10)) == {}
    assert codes(examined(tmp_path, noise(5) * 2, ["a"] * 5 + [None] * 5)) == {}
    assert codes(examined(tmp_path, noise(5) * 2)) == {}


def test_a_flood_of_one_picture_is_noted(tmp_path):
    measured = examined(tmp_path, [*noise(1) * 20, *noise(80)], ["a"] * 100)
    assert codes(measured) == {"repeated-images": Severity.LOW}
    assert measured.findings[0].evidence[0].detail == {"most repeated": 20}
    assert measured.statistics["repeated"] == 19


@pytest.mark.parametrize(
    ("blank", "severity"), [(1, Severity.LOW), (5, Severity.LOW), (12, Severity.MEDIUM)]
)
def test_blank_pictures_are_held_and_are_no_conflict(tmp_path, blank, severity):
    pictures = [*[png(np.full((28, 28), 3))] * blank, *noise(100 - blank)]
    measured = examined(tmp_path, pictures, ["a", "b"] * 50)
    assert codes(measured) == {"blank-images": severity}
    assert held(measured) == list(range(blank))


def test_a_colour_picture_is_blank_only_when_each_channel_is(tmp_path):
    red = np.zeros((28, 28, 3), np.uint8)
    red[..., 0] = 200
    half = red.copy()
    half[:14, :, 1] = 9
    assert held(examined(tmp_path, [png(red), png(half)])) == [0]


def test_mixed_sizes_and_modes_are_noted_only(tmp_path):
    pictures = [*noise(30), *noise(3, (20, 40)), *noise(2, (28, 28, 3))]
    measured = examined(tmp_path, pictures)
    assert codes(measured) == {"mixed-sizes": Severity.LOW, "mixed-modes": Severity.LOW}
    assert measured.findings[0].evidence[0].detail == {"28 x 28": 32, "40 x 20": 3}
    assert measured.row_scores == ()


def test_each_row_is_held_once(tmp_path):
    pictures = [b"broken", png(np.zeros((28, 28))), png(np.zeros((28, 28))), *noise(1) * 2]
    measured = examined(tmp_path, pictures, ["a", "a", "b", "a", "b"])
    assert sorted(held(measured)) == [0, 1, 2, 3, 4]


def test_statistics_are_repeatable_json(tmp_path):
    opened = made(tmp_path, [*noise(10), b"broken"], ["a"] * 11)
    first, second = (examine(opened, Settings()) for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(first.statistics, allow_nan=False)) == first.statistics


def test_a_backdoor_is_not_this_rules_business(tmp_path):
    """The docstring's own words: "a picture that decodes can still be of anything"."""
    poison(SAMPLES / "fashion-holdout", "patch", 0.1, tmp_path / "out", seed=1)
    assert examine(case(open_path(tmp_path / "out")), Settings()).findings == ()


def test_it_runs_by_its_name_and_only_where_there_are_pictures(tmp_path):
    assert {"image"} == NEEDS
    outcome = run("images", made(tmp_path, noise(3))).outcome
    assert isinstance(outcome, Ran)
    table = Case(snapshot=Snapshot(files=()), roles=Roles(features=("x",)))
    assert isinstance(run("images", table).outcome, Inapplicable)
    assert rule.__doc__


def scenes(count):
    """Smooth pictures, none like another, and a near copy of any: moved, and a little noise."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(5)
    shapes = gaussian_filter(rng.normal(size=(count, 28, 28)), (0, 2, 2)) * 400 + 128
    shapes = shapes.clip(0, 255)

    def copy(row):
        moved = np.roll(shapes[row], rng.integers(-1, 2, 2), (0, 1))
        return png((moved + rng.normal(0, 2, moved.shape)).clip(0, 255))

    return [png(shape) for shape in shapes], copy


def test_near_copies_of_few_pictures_under_one_label_are_held(tmp_path):
    pictures, copy = scenes(300)
    labels = [f"c{row % 5}" for row in range(300)] + ["c2"] * 24
    copies = [copy(row % 3) for row in range(24)]
    measured = examined(tmp_path, [*pictures, *copies], labels)
    assert codes(measured) == {"near-copies": Severity.LOW}
    assert set(held(measured)) - {2} == set(range(300, 324))


def test_near_copies_spread_over_pictures_and_labels_raise_nothing(tmp_path):
    pictures, copy = scenes(300)
    labels = [f"c{row % 5}" for row in range(300)]
    pairs = examined(tmp_path, [*pictures, *[copy(row) for row in range(20)]], labels + labels[:20])
    assert codes(pairs) == {}
    spread = [copy(row % 3) for row in range(25)]
    assert codes(examined(tmp_path, [*pictures, *spread], labels + labels[:25])) == {}


def test_a_set_made_of_series_raises_nothing(tmp_path):
    pictures, copy = scenes(60)
    series = [copy(row) for row in range(12) for _ in range(6)]
    labels = [f"c{row % 5}" for row in range(60)] + ["c1"] * 72
    assert "near-copies" not in codes(examined(tmp_path, [*pictures, *series], labels))
