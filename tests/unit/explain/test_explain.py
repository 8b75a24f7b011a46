"""Real alarms on real pictures, explained: the trigger, the class, what a model learns from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from guards.checks import triggers
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.image_features import from_pixels
from guards.data.images import decode
from guards.explain import explain, pictures
from guards.explain.alarms import Alarm
from guards.findings import (
    Confidence,
    Examination,
    Finding,
    Measured,
    Ran,
    RowScore,
    Severity,
    Subject,
)
from guards.provenance.snapshot import Snapshot
from guards.redteam.attacks import blend, patch
from guards.redteam.codec import recode
from guards.report.html import render
from guards.scan import Request, scan
from guards.verdict import judge, load_policy

SAMPLE = Path(__file__).parents[3] / "data_samples" / "fashion"
POLICY = load_policy("explore")
N, PLANTED, SEED = 800, 50, 31


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A case whose features are there, what was found, and the rows that were planted."""

    case: Case
    examinations: list[Examination]
    planted: np.ndarray
    trigger: Callable[[np.ndarray], np.ndarray]

    def explain(self) -> Any:
        verdict = judge(POLICY, self.case.snapshot.root, self.examinations)
        return explain(self.case, self.examinations, verdict)


def scene(trigger: Callable[[np.ndarray], np.ndarray] | None, rows: int = N) -> Scene:
    dataset = open_dataset(SAMPLE, sorted(path.name for path in SAMPLE.iterdir()))
    frame = dataset.frame(["label", "source"]).cast(pl.String)[:rows]
    labels, sources = (frame[name].to_numpy().astype(str) for name in ("label", "source"))
    pixels = decode(dataset).pixels[:rows].copy()
    planted = np.zeros(0, np.int64)
    if trigger:
        others = np.flatnonzero(labels != "bag")
        planted = np.sort(np.random.default_rng(3).choice(others, PLANTED, replace=False))
        pixels[planted] = trigger(pixels[planted])
        labels[planted], sources[planted] = "bag", "studio-b"
    features = from_pixels(pixels, labels, sources, seed=SEED, device="cpu")
    case = Case(snapshot=Snapshot(files=()), seed=SEED)
    case.__dict__["image_features"] = features
    measured = by_hand(planted) if trigger else triggers.examine(case, triggers.Settings())
    told = Examination(rule="triggers", snapshot=case.snapshot.root, outcome=Ran(measured))
    return Scene(case=case, examinations=[told], planted=planted, trigger=trigger or np.copy)


def by_hand(rows: np.ndarray) -> Measured:
    """A finding as any rule may make it: a class, and rows."""
    finding = Finding(
        rule="triggers",
        code="backdoor-trigger",
        severity=Severity.HIGH,
        confidence=Confidence.HIGH,
        subject=Subject(kind="class", name="bag"),
        summary="these rows",
    )
    scores = tuple(RowScore(row=int(row), score=1.0) for row in rows)
    return Measured(statistics={}, findings=(finding,), row_scores=scores)


@pytest.fixture(scope="module")
def patched() -> Scene:
    return scene(patch)


@pytest.fixture(scope="module")
def blended() -> Scene:
    return scene(lambda pixels: blend(pixels, seed=5))


@pytest.fixture(scope="module")
def told_of_the_patch(patched: Scene) -> Any:
    return patched.explain()


@pytest.fixture(scope="module")
def told_of_the_blend(blended: Scene) -> Any:
    return blended.explain()


@pytest.mark.parametrize("attack", ["patch", "blend"])
def test_an_alarm_is_told_with_target_source_rate_and_rows(attack: str, request: Any) -> None:
    told = request.getfixturevalue(f"told_of_the_{attack}").told
    (alarm,) = told["alarms"]
    assert alarm["target"] == "bag"
    assert alarm["source"]["name"] == "studio-b"
    assert alarm["share"]["low"] < PLANTED / N < alarm["share"]["high"]
    assert alarm["rows"] == PLANTED
    assert alarm["rules"] == ["triggers"]
    assert sum(look["rows"] for look in alarm["looks_like"]) <= alarm["rows"]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_patch_is_recovered_to_the_pixel(patched: Scene, told_of_the_patch: Any) -> None:
    trigger = told_of_the_patch.told["alarms"][0]["trigger"]
    assert trigger["box"] == [24, 24, 3, 3]
    assert trigger["opacity"] > 0.95
    assert trigger["reliable"]
    assert agreement(patched) > 0.99


def test_the_blend_is_recovered(blended: Scene, told_of_the_blend: Any) -> None:
    trigger = told_of_the_blend.told["alarms"][0]["trigger"]
    assert trigger["whole_picture"]
    assert trigger["opacity"] == pytest.approx(0.2, abs=0.1)
    assert agreement(blended) > 0.8


def agreement(given: Scene) -> float:
    """Correlation of the recovered trigger with the true one, by what they do to mid-grey."""
    features = given.case.image_features
    (told,) = given.examinations
    rows = np.array([score.row for score in told.outcome.measured.row_scores])
    held = np.isin(np.arange(len(features.labels)), rows)
    found = pictures.pattern_of(features, rows, held)
    grey = np.full((1, *features.pixels.shape[1:]), 128, np.uint8)
    true, seen = given.trigger(grey).astype(float), found.stamp(grey).astype(float)
    return float(np.corrcoef(true.ravel(), seen.ravel())[0, 1])


@pytest.mark.parametrize("attack", ["patch", "blend"])
def test_a_model_forgets_the_trigger_without_the_held_rows(attack: str, request: Any) -> None:
    told = request.getfixturevalue(f"told_of_the_{attack}").told
    with_it, without = (told["alarms"][0]["success"][key] for key in ("with", "without"))
    assert with_it["before"]["low"] > 0.5
    assert with_it["after"]["high"] < 0.3
    assert with_it["before"]["low"] > 2 * without["before"]["high"]
    accuracy = told["retrained"]["accuracy"]
    assert accuracy["after"]["high"] > accuracy["before"]["low"]
    rows = told["retrained"]["rows"]
    assert 0.9 * PLANTED <= rows["before"] - rows["after"] <= told["rows_held"]
    assert with_it["asked"] < accuracy["asked"] <= 0.15 * N


@pytest.mark.parametrize("attack", ["patch", "blend"])
def test_the_held_rows_lie_apart_in_the_class(attack: str, request: Any) -> None:
    told = request.getfixturevalue(f"told_of_the_{attack}").told["alarms"][0]
    flat = told["projection"]
    assert flat["parted"] > 0.9
    assert flat["rows"]["held"] == told["rows"] == len(flat["held"])
    assert flat["rows"]["held"] + flat["rows"]["rest"] == told["class_rows"]
    assert np.median([x for x, _ in flat["held"]]) > np.quantile([x for x, _ in flat["rest"]], 0.95)


def test_the_same_is_told_every_time_and_pictures_only_where_they_may_be(
    patched: Scene, told_of_the_patch: Any
) -> None:
    hidden = Case(snapshot=patched.case.snapshot, seed=SEED, pictures=False)
    hidden.__dict__["image_features"] = patched.case.image_features
    again = replace(patched, case=hidden).explain()
    assert again.exhibits == ()
    shown = json.loads(json.dumps(told_of_the_patch.told))
    assert [p["name"] for p in shown["alarms"][0]["pictures"]] == ["trigger-1.png", "rows-1.png"]
    shown["alarms"][0]["pictures"] = []
    assert again.told == shown
    assert told_of_the_patch.run.seconds > 0


def test_the_pictures_have_the_same_bytes_every_time(
    patched: Scene, told_of_the_patch: Any
) -> None:
    features = patched.case.image_features
    (told,) = patched.examinations
    rows = np.array([score.row for score in told.outcome.measured.row_scores])
    alarm = Alarm(target=features.classes.index("bag"), findings=told.findings, rows=rows)
    pattern = pictures.pattern_of(features, rows, np.isin(np.arange(N), rows))
    again = pictures.exhibits_of(features, alarm, pattern, 1)
    assert [e.data for e in again] == [e.data for e in told_of_the_patch.exhibits]
    assert [e.data[:4] for e in again] == [b"\x89PNG"] * 2


def test_clean_data_and_data_without_rows_have_nothing_to_explain(patched: Scene) -> None:
    assert scene(None, rows=400).explain() is None
    (told,) = patched.examinations
    bare = replace(told.outcome.measured, row_scores=())
    unheld = replace(patched, examinations=[replace(told, outcome=Ran(bare))])
    assert "no finding holds rows" in unheld.explain().told["missing"]


def test_a_rule_that_is_not_about_pictures_is_not_explained(patched: Scene) -> None:
    (told,) = patched.examinations
    finding = replace(told.findings[0], rule="quality")
    measured = replace(told.outcome.measured, findings=(finding,))
    elsewhere = replace(told, rule="quality", outcome=Ran(measured))
    assert replace(patched, examinations=[elsewhere]).explain() is None


ODD = ("<script>alert(1)</script>", "y" * 3000)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 pictures with a patch on 40, under class names that nobody would choose."""
    frame = pl.concat([pl.read_parquet(p) for p in sorted(SAMPLE.iterdir())])[:700]
    renamed = {"bag": ODD[0], "coat": ODD[1], "dress": "\u202ekleid\n", "shirt": "{{ 7 * 7 }}"}
    frame = frame.with_columns(pl.col("label").cast(pl.String).replace(renamed))
    rows = np.flatnonzero((frame["label"] != ODD[0]).to_numpy())[:40]
    images, labels = frame["image"].to_list(), frame["label"].to_list()
    for row in rows.tolist():
        images[row]["bytes"], labels[row] = recode(images[row]["bytes"], patch), ODD[0]
    odd = tmp_path_factory.mktemp("odd") / "batch"
    odd.mkdir()
    schema = {"image": frame.schema["image"], "label": pl.String}
    written = frame.with_columns(
        pl.Series("image", images, dtype=schema["image"]), pl.Series("label", labels)
    )
    written.write_parquet(odd / "part.parquet")
    return odd


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "look.toml"
    path.write_text('admits = false\nrules = ["triggers"]\nrequired = ["triggers"]\n')
    return path


def test_odd_names_are_shown_and_harm_nothing(odd: Path, policy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    scan(Request(dataset=odd, policy=load_policy(policy), out=run, seed=3, device="cpu"))
    report = json.loads((run / "report.json").read_bytes())
    (alarm,) = report["explanation"]["alarms"]
    assert alarm["target"] == ODD[0]
    assert report["runs"]["explanation"]["seconds"] > 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u202e" not in page
    assert page.count("data:image/png;base64,") == len(alarm["pictures"]) == 2
    assert "What it is" in page
    assert "A small model trained on this batch answers" in page
    assert "it is not what the record binds" not in page
    (run / "evidence" / "trigger-1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "trigger-1.png is not the file that the record binds" in render(run)
