"""A network that is trained for real tells a backdoor that took hold from one that did not."""

from pathlib import Path

import polars as pl
import pytest

from guards.errors import NothingToExamine, UsageError
from guards.redteam.poison import open_path, poison
from guards.redteam.success import IMPLANTED, attack_success

SAMPLES = Path(__file__).parents[3] / "data_samples"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    pl.read_parquet(SAMPLES / "fashion" / "part-000.parquet")[:2000].write_parquet(
        folder / "x.parquet"
    )
    return folder


@pytest.fixture(scope="module")
def holdout():
    return open_path(SAMPLES / "fashion-holdout")


def test_a_patch_implants_and_leaves_accuracy_alone(clean, holdout, tmp_path):
    poison(clean, "patch", 0.05, tmp_path / "out", seed=1, target="bag")
    before = attack_success(open_path(clean), holdout, "patch", "bag", seed=1)
    after = attack_success(open_path(tmp_path / "out"), holdout, "patch", "bag", seed=1)
    assert before[0] < 0.2
    assert after[0] > 0.9 > IMPLANTED
    assert min(before[1], after[1]) > 0.78
    assert abs(before[1] - after[1]) < 0.06


def test_two_trainings_with_one_seed_agree(clean, holdout):
    few = open_path(SAMPLES / "fashion-holdout")
    first = attack_success(few, holdout, "blend", "bag", seed=3)
    assert attack_success(few, holdout, "blend", "bag", seed=3) == first


def test_it_asks_about_triggers_and_known_classes_only(holdout, tmp_path):
    with pytest.raises(UsageError, match="no class 'hat'"):
        attack_success(holdout, holdout, "patch", "hat", seed=0)
    with pytest.raises(UsageError, match="labels alone"):
        attack_success(holdout, holdout, "flip-pair", "bag", seed=0)
    pl.read_parquet(SAMPLES / "fashion-holdout" / "part-000.parquet").with_columns(
        label=pl.lit(None, pl.String)
    ).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(NothingToExamine, match="label"):
        attack_success(open_path(tmp_path), holdout, "patch", "bag", seed=0)
