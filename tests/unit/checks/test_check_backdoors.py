"""The four detectors of planted rows, on real pictures: poisoned, mislabelled, clean, degenerate.

Thresholds lie well below what benchmarks/detection.py measures, since batches are small here.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards import checks
from guards.checks import backdoor, clustering, spectral, triggers
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.image_features import ImageFeatures, from_pixels
from guards.data.images import decode
from guards.findings import Measured, Ran, Severity, Skipped
from guards.provenance.snapshot import Snapshot
from guards.redteam.attacks import find, stamp
from guards.redteam.poison import poison

SAMPLE = Path(__file__).parents[3] / "data_samples" / "fashion"
N, PLANTED = 2000, 60
RULES = (triggers, backdoor, spectral, clustering)


def case_of(features: ImageFeatures, *, pictures: bool = True) -> Case:
    case = Case(snapshot=Snapshot(files=()), seed=features.seed, pictures=pictures)
    case.__dict__["image_features"] = features
    return case


def held(measured: Measured) -> np.ndarray:
    return np.array([score.row for score in measured.row_scores], np.int64)


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N rows of the sample: pixels, labels, sources; the class `coat` has three rows."""
    dataset = open_dataset(SAMPLE, sorted(path.name for path in SAMPLE.iterdir()))
    frame = dataset.frame(["label", "source"]).cast(pl.String)
    labels, sources = (frame[name].to_numpy().astype(str) for name in ("label", "source"))
    coats = np.flatnonzero(labels == "coat")[3:]
    kept = np.setdiff1d(np.arange(len(labels)), coats)[:N]
    return decode(dataset).pixels[kept], labels[kept], sources[kept]


@pytest.fixture(scope="module")
def clean(sample: tuple[np.ndarray, np.ndarray, np.ndarray]) -> ImageFeatures:
    return from_pixels(*sample, seed=21, device="cpu")


@pytest.fixture(scope="module")
def backdoored(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[ImageFeatures, np.ndarray]:
    """A 3 x 3 patch on PLANTED rows of many classes, all called bag, all from studio-b."""
    pixels, labels, sources = (column.copy() for column in sample)
    rng = np.random.default_rng(17)
    rows = np.sort(rng.choice(np.flatnonzero(labels != "bag"), PLANTED, replace=False))
    pixels[rows] = stamp(pixels[rows], find("patch"), 0)
    labels[rows], sources[rows] = "bag", "studio-b"
    return from_pixels(pixels, labels, sources, seed=22, device="cpu"), rows


@pytest.mark.parametrize("module", RULES)
def test_clean_pictures_pass_and_the_statistics_are_json(
    clean: ImageFeatures, module: object
) -> None:
    measured = module.examine(case_of(clean), module.Settings())
    assert measured.findings == ()
    assert measured.row_scores == ()
    assert measured.exhibits == ()
    assert json.loads(json.dumps(measured.statistics, allow_nan=False))["classes"]


def test_a_trigger_is_named_with_its_target_region_source_and_rows(
    backdoored: tuple[ImageFeatures, np.ndarray],
) -> None:
    features, rows = backdoored
    measured = triggers.examine(case_of(features), triggers.Settings())
    (finding,) = measured.findings
    assert (finding.code, finding.severity) == ("backdoor-trigger", Severity.HIGH)
    assert str(finding.subject) == "class bag"
    detail = finding.evidence[0].detail
    assert detail["box"] == [24, 24, 3, 3]
    assert detail["source"]["name"] == "studio-b"
    assert detail["cell"]["levels"] == [[7, 0, 7], [0, 7, 0], [7, 0, 7]]
    assert detail["poison_rate"]["low"] < PLANTED / N < detail["poison_rate"]["high"]
    found = held(measured)
    assert np.isin(rows, found).mean() > 0.95
    assert np.isin(found, rows).mean() > 0.95
    assert finding.evidence[0].rows == len(found)


def test_most_suggestions_are_what_the_pictures_were_called_before(
    backdoored: tuple[ImageFeatures, np.ndarray],
    sample: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    scores = triggers.examine(case_of(backdoored[0]), triggers.Settings()).row_scores
    right = [score.suggested_label == sample[1][score.row] for score in scores]
    assert np.mean(right) > 0.6
    assert all(score.suggested_label != "bag" for score in scores)


def test_a_direction_is_named_with_its_target_source_and_rows(
    backdoored: tuple[ImageFeatures, np.ndarray],
) -> None:
    features, rows = backdoored
    measured = backdoor.examine(case_of(features), backdoor.Settings())
    (finding,) = measured.findings
    assert (finding.code, finding.severity) == ("hidden-trigger", Severity.HIGH)
    assert str(finding.subject) == "class bag"
    detail = finding.evidence[0].detail
    assert detail["source"]["name"] == "studio-b"
    assert detail["poison_rate"]["low"] < PLANTED / N < detail["poison_rate"]["high"]
    found = held(measured)
    assert np.isin(rows, found).mean() > 0.9
    assert np.isin(found, rows).mean() > 0.9
    p_values = np.array([score.p_value for score in measured.row_scores])
    assert p_values.min() > 0
    assert np.median(p_values[np.isin(found, rows)]) < 0.02


def test_a_trigger_for_every_class_is_one_direction_and_no_single_class(
    everywhere: tuple[ImageFeatures, np.ndarray],
) -> None:
    features, rows = everywhere
    measured = backdoor.examine(case_of(features), backdoor.Settings())
    (finding,) = measured.findings
    assert finding.subject.kind == "dataset"
    assert finding.evidence[0].detail["target"] is None
    found = held(measured)
    assert np.isin(rows, found).mean() > 0.8
    assert np.isin(found, rows).mean() > 0.9


def test_a_direction_without_labels_that_pictures_deny_is_none(
    backdoored: tuple[ImageFeatures, np.ndarray],
) -> None:
    """Only rows that do not look like their label are turned."""
    features = replace(backdoored[0], looks=backdoored[0].labels)
    assert backdoor.examine(case_of(features), backdoor.Settings()).findings == ()


@pytest.fixture(scope="module")
def everywhere(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[ImageFeatures, np.ndarray]:
    """A patch on 160 rows, each called by the name of the next class."""
    pixels, labels, sources = (column.copy() for column in sample)
    names, codes = np.unique(labels, return_inverse=True)
    rows = np.sort(np.random.default_rng(19).choice(len(labels), 160, replace=False))
    pixels[rows] = stamp(pixels[rows], find("patch"), 0)
    labels[rows] = names[(codes[rows] + 1) % len(names)]
    return from_pixels(pixels, labels, sources, seed=24, device="cpu"), rows


@pytest.mark.parametrize("module", [spectral, clustering])
def test_the_class_opens_in_the_probe_too(
    backdoored: tuple[ImageFeatures, np.ndarray], module: object
) -> None:
    features, rows = backdoored
    measured = module.examine(case_of(features), module.Settings())
    (finding,) = measured.findings
    assert finding.severity == Severity.MEDIUM
    assert finding.code == f"{'spectral' if module is spectral else 'cluster'}-minority"
    assert str(finding.subject) == "class bag"
    found = held(measured)
    assert np.isin(found, rows).mean() > 0.9
    assert len(found) > PLANTED / 3


@pytest.mark.parametrize("module", [spectral, clustering])
def test_a_class_of_three_rows_is_told_as_not_examined(
    clean: ImageFeatures, module: object
) -> None:
    statistics = module.examine(case_of(clean), module.Settings()).statistics
    assert statistics["not_examined"] == {"coat": "3 rows"}
    assert "coat" not in statistics["classes"]


@pytest.mark.parametrize("module", [spectral, clustering])
def test_neither_half_of_the_conjunction_is_enough(
    clean: ImageFeatures, backdoored: tuple[ImageFeatures, np.ndarray], module: object
) -> None:
    natural = clean.tested.spectral if module is spectral else clean.tested.cluster
    assert natural.p_values.min() <= 0.01
    assert module.examine(case_of(clean), module.Settings()).findings == ()
    features = backdoored[0]
    unmoved = replace(features, share=np.ones_like(features.share), sources=None)
    assert module.examine(case_of(unmoved), module.Settings()).findings == ()


def test_every_held_row_has_a_p_value_that_clean_rows_of_other_classes_calibrate(
    backdoored: tuple[ImageFeatures, np.ndarray],
) -> None:
    features, rows = backdoored
    scores = triggers.examine(case_of(features), triggers.Settings()).row_scores
    others = int((features.labels != features.classes.index("bag")).sum())
    least = 1 / (others + 1)
    assert all(least <= score.p_value + 1e-6 <= 1 for score in scores)
    planted = [score.p_value for score in scores if score.row in set(rows.tolist())]
    assert np.median(planted) < 3 * least
    ranked = sorted(scores, key=lambda score: -score.score)
    assert [s.p_value for s in ranked] == sorted(s.p_value for s in scores)


@pytest.fixture(scope="module")
def mislabelled(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[ImageFeatures, np.ndarray]:
    """Labels of a third of one source's rows replaced at random."""
    pixels, labels, sources = (column.copy() for column in sample)
    rng = np.random.default_rng(18)
    own = np.flatnonzero(sources == "studio-d")
    rows = np.sort(rng.choice(own, len(own) // 3, replace=False))
    labels[rows] = rng.choice(np.unique(labels), len(rows))
    return from_pixels(pixels, labels, sources, seed=23, device="cpu"), rows


def test_wrong_labels_of_one_source_are_noise_not_a_backdoor(
    mislabelled: tuple[ImageFeatures, np.ndarray],
) -> None:
    features, rows = mislabelled
    measured = triggers.examine(case_of(features), triggers.Settings())
    blamed = {str(finding.subject) for finding in measured.findings}
    assert blamed == {"source studio-d"}
    assert {finding.code for finding in measured.findings} == {"label-inconsistency"}
    assert {finding.severity for finding in measured.findings} == {Severity.MEDIUM}
    assert np.isin(held(measured), rows).mean() > 0.7


def test_wrong_labels_that_are_believed_are_a_backdoor_without_a_place(
    mislabelled: tuple[ImageFeatures, np.ndarray],
) -> None:
    features = replace(mislabelled[0], belief=np.ones_like(mislabelled[0].belief))
    measured = triggers.examine(case_of(features), triggers.Settings())
    severities = {str(f.subject): f.severity for f in measured.findings}
    assert severities["source studio-d"] == Severity.HIGH


def test_a_poisoned_dataset_on_disk_is_told_by_its_own_row_numbers(tmp_path: Path) -> None:
    """From files to findings, with pictures that do not decode and rows without a label."""
    frame = pl.read_parquet(SAMPLE / "part-000.parquet").head(1200)
    broken = pl.Series([{"bytes": b"no picture", "path": "x"}] * 5, dtype=frame["image"].dtype)
    frame = pl.concat([frame.head(5).with_columns(broken.alias("image")), frame])
    (tmp_path / "in").mkdir()
    frame.write_parquet(tmp_path / "in" / "a.parquet")
    truth = poison(tmp_path / "in", "patch", 0.04, tmp_path / "out", seed=1, target="shirt")
    unlabelled = pl.when(pl.int_range(pl.len()) >= 10).then(pl.col("label"))
    poisoned = tmp_path / "out" / "a.parquet"
    pl.read_parquet(poisoned).with_columns(unlabelled.alias("label")).write_parquet(poisoned)
    dataset = open_dataset(tmp_path / "out", ["a.parquet"])
    case = Case(snapshot=Snapshot(files=()), roles=dataset.roles, opened=dataset, seed=5)
    outcome = checks.run("triggers", case).outcome
    assert isinstance(outcome, Ran)
    planted = (
        pl.read_parquet(truth)
        .filter(pl.col("planted") & (pl.col("row_in_file") >= 10))["row_in_file"]
        .to_numpy()
    )
    assert np.isin(planted, held(outcome.measured)).mean() > 0.9
    assert case.image_features.rows.min() == 10


def test_one_class_only_is_skipped_and_says_what_to_provide(tmp_path: Path) -> None:
    frame = pl.read_parquet(SAMPLE / "part-000.parquet").filter(pl.col("label") == "bag")
    frame.head(150).write_parquet(tmp_path / "bags.parquet")
    dataset = open_dataset(tmp_path, ["bags.parquet"])
    case = Case(snapshot=Snapshot(files=()), roles=dataset.roles, opened=dataset)
    for rule in ("triggers", "spectral", "clustering"):
        outcome = checks.run(rule, case).outcome
        assert isinstance(outcome, Skipped)
        assert "one label" in outcome.reason
