"""The past of a class, on pictures drawn here: a clean-label wave is named, its rows are held."""

import numpy as np
import pytest

from guards.checks import history
from guards.data.case import Case
from guards.data.earlier import Earlier, History
from guards.digest import Digest
from guards.findings import Measured
from guards.provenance.manifest import Name
from guards.provenance.roles import Roles
from guards.provenance.snapshot import Snapshot

CLASSES, EACH, SIDE = 5, 160, 16
LEVEL = history.Settings(alpha=0.00125)


class Features:
    """What the rule takes of the features of pictures: real pixels, no network."""

    def __init__(self, rng: np.random.Generator, *, bright: float = 0.0, wave: int = 0) -> None:
        self.labels = np.repeat(np.arange(CLASSES), EACH)
        self.classes = tuple("abcde")
        self.rows = np.arange(len(self.labels))
        self.sizes = np.bincount(self.labels)
        self.sources, self.source_names = None, ()
        shape = np.random.default_rng(0).integers(60, 180, (CLASSES, SIDE, SIDE))
        raw = shape[self.labels] + rng.normal(0, 25, (len(self.labels), SIDE, SIDE)) + bright
        self.planted = np.isin(np.arange(len(raw)), np.flatnonzero(self.labels == 2)[:wave])
        raw[self.planted] += 20 * np.sin(2 * np.pi * 4 * np.arange(SIDE) / SIDE)
        self.pixels = np.clip(raw, 0, 255).astype(np.uint8)[:, None]
        self.inconsistent = rng.random(len(raw)) < 0.05
        self.believed = np.zeros(len(raw), bool)

    def suggested(self, row: int) -> str | None:
        return None


def seen(features: Features, past: list[Earlier]) -> Measured:
    case = Case(
        snapshot=Snapshot(files=()),
        roles=Roles(label="label", image="image"),
        history=History(versions=tuple(past)),
    )
    case.__dict__["image_features"] = features
    return history.examine(case, LEVEL)


def admitted(number: int, **more: float) -> Earlier:
    measured = seen(Features(np.random.default_rng(number), **more), [])
    root = Digest.of(bytes([number]))
    rules = {"history": measured.statistics["watched"]}
    return Earlier(name=Name("a/b"), version=number, root=root, record=root, rules=rules)


@pytest.fixture(scope="module")
def past() -> list[Earlier]:
    return [admitted(number) for number in range(4)]


def test_a_clean_label_wave_is_named_and_its_rows_are_held(past):
    features = Features(np.random.default_rng(50), wave=80)
    measured = seen(features, past)
    assert [(f.code, f.subject.name) for f in measured.findings] == [("moved-class", "c")]
    held = np.array([score.row for score in measured.row_scores])
    assert features.planted[held].mean() > 0.9
    assert len(np.intersect1d(held, np.flatnonzero(features.planted))) > 60


def test_no_alarm_in_forty_clean_versions(past):
    found = [seen(Features(np.random.default_rng(100 + n)), past).findings for n in range(40)]
    assert not any(found)


def test_what_all_classes_move_by_is_not_this_rules_business(past):
    assert seen(Features(np.random.default_rng(60), bright=15.0), past).findings == ()


@pytest.mark.parametrize("versions", [0, 1, 2])
def test_fewer_than_three_versions_judge_nothing(past, versions):
    measured = seen(Features(np.random.default_rng(50), wave=60), past[:versions])
    assert measured.findings == ()
    assert measured.statistics["judged"] == 0
    assert "at least 3 earlier versions are needed" in measured.statistics["note"]


def test_classes_of_another_size_are_not_compared(past):
    features = Features(np.random.default_rng(51), wave=60)
    kept = np.arange(len(features.labels)) % 3 == 0
    for name in ("labels", "rows", "pixels", "inconsistent", "believed", "planted"):
        setattr(features, name, getattr(features, name)[kept])
    features.sizes = np.bincount(features.labels)
    assert seen(features, past).statistics["judged"] == 0


def test_a_rise_of_denied_labels_is_told_and_a_fall_is_not(past):
    features = Features(np.random.default_rng(52))
    features.inconsistent = features.inconsistent | (
        (features.labels == 1) & (np.arange(len(features.labels)) % 4 == 0)
    )
    assert [f.subject.name for f in seen(features, past).findings] == ["b"]
    features.inconsistent[:] = False
    assert seen(features, past).findings == ()
