"""Seasons out of a real ledger: what they soften, and what nobody can hide behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, to_bytes
from guards.digest import Digest
from guards.scan import Scanned
from guards.verdict import Decision, Policy

RULES = ("integrity", "provenance")
BLIND = Policy(name="blind", rules=RULES, required=RULES)
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 2400
WARM = 7


def readings(month: str, seed: int, change: pl.Expr | None = None) -> pl.DataFrame:
    """Temperatures of four makers: cold in January, warm in July; `change` is done to all."""
    rng = np.random.default_rng(seed)
    warmth = 20.0 if int(month[-2:]) == WARM else 0.0
    frame = pl.DataFrame(
        {
            "x": np.round(rng.normal(warmth, 8, ROWS), 2),
            "y": np.round(rng.normal(0, 1, ROWS), 3),
            "source": rng.choice(["s0", "s1", "s2", "s3"], ROWS),
            "label": rng.choice(["a", "b"], ROWS),
        }
    )
    return frame if change is None else frame.with_columns(change)


@pytest.fixture
def looking(spine) -> Policy:
    """Drift against a profile of a whole year, mostly winter, that the policy pins."""
    folder = spine.home / "year"
    folder.mkdir()
    frames = [readings("01", seed) for seed in range(40, 47)]
    # Now and then it was warm: nothing about July is beyond what the reference has seen.
    some = [readings("07", seed)[:120] for seed in range(47, 54)]
    parts = [pl.concat(pair) for pair in zip(frames, some, strict=True)]
    pl.concat(parts).write_parquet(folder / "a.parquet")
    data = to_bytes(build_profile(open_dataset(folder, ["a.parquet"])))
    path = spine.home / "year.profile"
    path.write_bytes(data)
    rules = (*RULES, "drift")
    return Policy(
        name="looking",
        rules=rules,
        required=RULES,
        files={"reference": str(path)},
        pins={"reference": str(Digest.of(data))},
    )


@pytest.fixture
def publish(spine) -> Callable[..., Scanned]:
    """Sign and scan a month into the ledger."""
    days = count()

    def make(
        month: str, frame: pl.DataFrame, policy: Policy, dataset: str = "acme/r", version: int = 1
    ) -> Scanned:
        for path in spine.batch.rglob("*.parquet"):
            path.unlink()
        for folder in spine.batch.iterdir():
            folder.rmdir()
        spine.manifest.unlink(missing_ok=True)
        frame.write_parquet(spine.batch / "a.parquet")
        moment = START + timedelta(days=next(days))
        spine.sign(name=f"{dataset}/{month}", version=version, created=moment)
        return spine.scan(ledger=spine.home / "ledger", policy=policy, at=moment)

    return make


def drift_of(scanned: Scanned) -> dict[str, set[str]]:
    """The codes of what drift told about each column."""
    found: dict[str, set[str]] = {}
    for examination in scanned.examinations:
        for finding in examination.findings:
            if finding.rule == "drift":
                found.setdefault(finding.subject.name or "", set()).add(finding.code)
    return found


def inputs(scanned: Scanned) -> dict[str, str]:
    return next(dict(e.inputs) for e in scanned.examinations if e.rule == "drift")


def test_a_july_is_severe_at_first_and_seasonal_after_a_july(publish, looking):
    first = publish("2024-07", readings("2024-07", 1), looking)
    assert first.verdict.decision is Decision.QUARANTINE
    assert "drift-severe" in drift_of(first)["x"]
    assert "history" not in inputs(first)
    # What was held is no season: the next July is severe as well.
    again = publish("2025-07", readings("2025-07", 2), looking)
    assert "drift-severe" in drift_of(again)["x"]
    # Somebody looked at it, and let it pass.
    assert publish("2025-07", readings("2025-07", 2), BLIND).verdict.decision is Decision.PASS
    third = publish("2026-07", readings("2026-07", 3), looking)
    assert drift_of(third)["x"] == {"drift-seasonal"}
    assert third.verdict.decision is Decision.PASS
    assert "history" in inputs(third)
    (told,) = [f for e in third.examinations for f in e.findings if f.code == "drift-seasonal"]
    assert "version 1 of acme/r/2025-07" in told.summary
    assert told.evidence[0].effect > 0.5, "how far it is from the anchor stays told"


def test_what_creeps_is_far_from_the_reference_and_near_to_the_versions_before(publish, looking):
    months = ["2026-01", "2026-02", "2026-03", "2026-04"]
    creeping = [
        publish(month, readings(month, n, pl.col("y") + 0.2 * (n + 1)), looking)
        for n, month in enumerate(months)
    ]
    assert [one.verdict.decision for one in creeping] == [Decision.PASS] * 4
    told = [next(f for e in one.examinations for f in e.findings if f.subject.name == "y")
            for one in creeping]  # fmt: skip
    assert {finding.code for finding in told} == {"drift-broad"}
    far = [finding.evidence[0].value for finding in told]
    assert far == sorted(far)
    assert far[-1] > 0.25, "all the steps, against the reference that nobody moved"
    assert "versions before" not in told[0].summary
    near = told[-1].evidence[0].detail["from_versions_before"]
    assert 0 < near < 0.75 * far[-1]
    assert f"and by {near:.2f} from the admitted versions before" in told[-1].summary


@pytest.mark.parametrize("month", ["2025-06", "2026-07"])
def test_another_month_and_the_same_year_are_no_season(publish, looking, month):
    publish(month, readings("07", 1), BLIND)
    found = publish("2026-07", readings("07", 2), looking, version=2)
    assert "drift-severe" in drift_of(found)["x"]


def test_what_differs_from_its_season_too_keeps_its_severity(publish, looking):
    publish("2025-07", readings("07", 1), BLIND)
    warmer = readings("07", 2, pl.col("x") + 6)
    assert "drift-severe" in drift_of(publish("2026-07", warmer, looking))["x"]


class TestAttacks:
    """A year ago somebody had a fault admitted, so that it is the season today."""

    def attack(self, publish, looking, change: pl.Expr) -> Scanned:
        publish("2025-07", readings("07", 1, change), BLIND)
        return publish("2026-07", readings("07", 2, change), looking)

    def test_a_unit_of_one_source_stays_local(self, publish, looking):
        mine = pl.when(pl.col("source") == "s0").then(pl.col("y") * 1.8 + 1).otherwise("y")
        found = self.attack(publish, looking, mine.alias("y"))
        assert "drift-local" in drift_of(found)["y"]
        assert "drift-seasonal" not in drift_of(found)["y"]
        assert found.verdict.decision is Decision.QUARANTINE

    def test_a_unit_of_everything_beyond_the_reference_stays_severe(self, publish, looking):
        found = self.attack(publish, looking, (pl.col("x") * 1.8 + 32).alias("x"))
        assert "drift-severe" in drift_of(found)["x"]
        assert found.verdict.decision is Decision.QUARANTINE

    def test_missing_values_stay_a_jump(self, publish, looking):
        gone = pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise("x")
        found = self.attack(publish, looking, gone.alias("x"))
        assert "missing-jump" in drift_of(found)["x"]
        assert "drift-seasonal" not in drift_of(found)["x"]

    def test_new_words_stay_new(self, publish, looking):
        new = pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("c")).otherwise("label")
        found = self.attack(publish, looking, new.alias("label"))
        assert "new-categories" in drift_of(found)["label"]
        assert "drift-seasonal" not in drift_of(found)["label"]

    def test_another_dataset_lends_no_season(self, publish, looking):
        publish("2025-07", readings("07", 1), BLIND, "acme/other")
        found = publish("2026-07", readings("07", 2), looking)
        assert "drift-severe" in drift_of(found)["x"]

    def test_what_passed_without_a_rule_that_is_required_now_is_no_season(self, publish, looking):
        publish("2025-07", readings("07", 1), BLIND)
        strict = replace(looking, required=(*RULES, "drift"))
        assert "drift-severe" in drift_of(publish("2026-07", readings("07", 2), strict))["x"]
