"""The rule `codec`: careless attackers on real files, careful ones, and natural mixtures."""

import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.findings import Inapplicable, Ran, Severity, Skipped
from guards.provenance.snapshot import Snapshot
from guards.redteam.poison import poison

CLASSES, EACH, PLANTED = 5, 120, 12
ALARMS = {"odd-encoder-in-label", "broken-compression-in-label"}


def scene(rng, label):
    """A picture of smooth shapes, its colour that of its class, nothing clipped."""
    shape = gaussian_filter(rng.normal(size=(3, 32, 32)), (0, 2, 2)) * 150
    shape += gaussian_filter(rng.normal(size=(3, 32, 32)), (0, 0.6, 0.6)) * 15
    tint = np.array([40, 0, -40]) * ((label + np.arange(3)) % CLASSES - 2) / 2
    return np.clip(128 + shape + tint[:, None, None], 20, 235).astype(np.uint8).transpose(1, 2, 0)


def encoded(pixels, form, **settings):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **settings)
    return buffer.getvalue()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def world():
    """JPEG pictures and labels, rows in random order; the planted ones look like other classes."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), EACH))
    data = [encoded(scene(rng, label), "JPEG") for label in labels]
    planted = rng.permutation(np.flatnonzero(labels != 2))[:PLANTED]
    given = labels.copy()
    given[planted] = 2
    return data, labels, given, set(planted.tolist())


def veiled(data):
    pattern = np.random.default_rng(9).integers(0, 256, (32, 32, 3))
    return np.rint(0.85 * decoded(data) + 0.15 * pattern).astype(np.uint8)


def stamped(data):
    pixels = decoded(data).copy()
    pixels[27:30, 27:30] = np.where(np.indices((3, 3)).sum(0)[..., None] % 2, 250, 5)
    return pixels


def made(tmp_path, data, labels, sources=None):
    frame = {"image": pl.Series(data, dtype=pl.Binary), "label": [f"c{x}" for x in labels]}
    if sources is not None:
        frame["source"] = [f"s{x}" for x in sources]
    pl.DataFrame(frame).write_parquet(tmp_path / "x.parquet")
    dataset = open_dataset(tmp_path, ["x.parquet"])
    return Case(snapshot=Snapshot(files=()), opened=dataset, roles=dataset.roles)


def asked(case, **settings):
    # The second witness trains a probe; those tests ask for it that are about it.
    outcome = run("codec", case, {"denied": 0.0, **settings}).outcome
    assert isinstance(outcome, Ran), outcome
    json.dumps(outcome.measured.statistics, allow_nan=False)
    return outcome.measured


def alarms(measured):
    return {f.code: f for f in measured.findings if f.code in ALARMS}


def held(measured):
    return {score.row for score in measured.row_scores}


def test_clean_pictures_raise_nothing(tmp_path, world):
    data, labels, _, _ = world
    measured = asked(made(tmp_path, data, labels))
    assert measured.findings == ()
    assert measured.statistics["on_a_lattice"] == 1


CARELESS = {
    "png": lambda data: encoded(stamped(data), "PNG"),
    "quality 90": lambda data: encoded(stamped(data), "JPEG", quality=90),
    "webp": lambda data: encoded(stamped(data), "WEBP"),
}


@pytest.mark.parametrize("way", CARELESS)
def test_planted_rows_stored_by_another_encoder_are_all_held(tmp_path, world, way):
    data, _, given, planted = world
    again = [CARELESS[way](x) if row in planted else x for row, x in enumerate(data)]
    measured = asked(made(tmp_path, again, given))
    finding = alarms(measured)["odd-encoder-in-label"]
    assert finding.subject.name == "c2"
    assert finding.severity >= Severity.MEDIUM
    assert held(measured) == planted
    assert {f.code for f in measured.findings} >= {"mixed-encoders"}


def test_planted_rows_of_many_encoders_are_taken_together(tmp_path, world):
    data, _, given, planted = world
    order = {row: place for place, row in enumerate(sorted(planted))}
    again = [
        encoded(stamped(x), "JPEG", quality=80 + order[row]) if row in planted else x
        for row, x in enumerate(data)
    ]
    measured = asked(made(tmp_path, again, given))
    assert "odd-encoder-in-label" in alarms(measured)
    assert held(measured) == planted


@pytest.mark.parametrize("edit", [veiled, stamped])
def test_edits_show_when_all_rows_are_stored_losslessly(tmp_path, world, edit):
    data, _, given, planted = world
    again = [
        encoded(edit(x) if row in planted else decoded(x), "PNG") for row, x in enumerate(data)
    ]
    measured = asked(made(tmp_path, again, given))
    finding = alarms(measured)["broken-compression-in-label"]
    assert finding.subject.name == "c2"
    assert held(measured) >= planted
    assert len(held(measured)) <= len(planted) + 2


def test_labels_that_the_pictures_deny_make_it_high(tmp_path, world):
    data, _, given, planted = world
    again = [CARELESS["png"](x) if row in planted else x for row, x in enumerate(data)]
    case = made(tmp_path, again, given)
    if case.image_features.inconsistent[sorted(planted)].mean() < 0.5:
        pytest.skip("the label-free space does not tell these classes apart")
    finding = alarms(asked(case, denied=1.5))["odd-encoder-in-label"]
    assert finding.severity == Severity.HIGH
    assert "deny" in finding.summary


def test_right_labels_make_it_medium(tmp_path, world):
    data, labels, _, _ = world
    chosen = set(np.flatnonzero(labels == 2)[:PLANTED].tolist())
    again = [CARELESS["png"](x) if row in chosen else x for row, x in enumerate(data)]
    measured = asked(made(tmp_path, again, labels), denied=1.5)
    assert alarms(measured)["odd-encoder-in-label"].severity == Severity.MEDIUM
    assert held(measured) == chosen


def test_a_careful_attacker_leaves_nothing_to_see(tmp_path, world):
    data, labels, _, _ = world
    made(tmp_path, data, labels)
    poison(tmp_path / "x.parquet", "blend", 0.02, tmp_path / "twin", seed=1)
    dataset = open_dataset(tmp_path / "twin", ["x.parquet"])
    case = Case(snapshot=Snapshot(files=()), opened=dataset, roles=dataset.roles)
    assert not alarms(asked(case))


@pytest.mark.parametrize("declared", [True, False])
def test_sources_with_cameras_of_their_own_raise_nothing(tmp_path, world, declared):
    data, labels, _, _ = world
    rng = np.random.default_rng(3)
    sources = rng.choice(3, len(labels), p=[0.6, 0.25, 0.15])
    sources[(labels == 2) & (rng.random(len(labels)) < 0.8)] = 2
    quality = [75, 90, 60]
    again = [
        encoded(decoded(x), "JPEG", quality=quality[s]) for x, s in zip(data, sources, strict=True)
    ]
    measured = asked(made(tmp_path, again, labels, sources if declared else None))
    assert [(f.code, f.severity) for f in measured.findings] == [("mixed-encoders", Severity.INFO)]
    assert measured.row_scores == ()


def test_an_odd_encoder_inside_a_source_is_found_though_another_source_has_it(tmp_path, world):
    data, _, given, planted = world
    sources = np.arange(len(given)) % 2
    sources[sorted(planted)] = 0
    again = [
        encoded(decoded(x), "PNG") if sources[row] else CARELESS["png"](x) if row in planted else x
        for row, x in enumerate(data)
    ]
    measured = asked(made(tmp_path, again, given, sources))
    assert alarms(measured)["odd-encoder-in-label"].evidence[0].detail["source"] == "s0"
    assert held(measured) == planted


def test_a_label_that_was_collected_apart_is_noted_only(tmp_path, world):
    data, labels, _, _ = world
    again = [encoded(decoded(x), "PNG") if labels[row] == 2 else x for row, x in enumerate(data)]
    assert not alarms(asked(made(tmp_path, again, labels)))


def test_odd_rows_spread_over_the_labels_raise_nothing(tmp_path, world):
    data, labels, _, _ = world
    again = [encoded(decoded(x), "PNG") if row % 20 == 0 else x for row, x in enumerate(data)]
    assert not alarms(asked(made(tmp_path, again, labels)))


def test_grey_pictures_of_one_label_are_no_other_encoder(tmp_path, world):
    data, labels, _, _ = world
    grey = [
        encoded(decoded(x)[..., 0], "JPEG") if labels[row] == 2 and row % 2 else x
        for row, x in enumerate(data)
    ]
    assert not alarms(asked(made(tmp_path, grey, labels)))


def test_too_few_rows_or_none_that_can_be_read(tmp_path, world):
    data, labels, _, _ = world
    few = asked(made(tmp_path, data[:40], labels[:40]))
    assert few.statistics["groups"] == 0
    nothing = run("codec", made(tmp_path, [b"a", None], ["a", "b"]))
    assert isinstance(nothing.outcome, Skipped)


def test_pictures_without_labels_are_not_its_matter(tmp_path):
    pl.DataFrame({"image": pl.Series([b"a"], dtype=pl.Binary)}).write_parquet(
        tmp_path / "x.parquet"
    )
    dataset = open_dataset(tmp_path, ["x.parquet"])
    case = Case(snapshot=Snapshot(files=()), opened=dataset, roles=dataset.roles)
    assert isinstance(run("codec", case).outcome, Inapplicable)
