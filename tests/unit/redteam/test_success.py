"""A network that is trained for real tells a backdoor that took hold from one that did not."""

import json
from pathlib import Path

import polars as pl
import pytest

from guards.cli import main
from guards.errors import NothingToExamine, Unreadable, UsageError
from guards.redteam.attacks import CATALOGUE, ON_PICTURES
from guards.redteam.poison import open_path, poison
from guards.redteam.success import IMPLANTED, Success, as_document, as_line, attack_success

SAMPLES = Path(__file__).parents[3] / "data_samples"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    pl.read_parquet(SAMPLES / "fashion" / "part-000.parquet")[:1200].write_parquet(
        folder / "x.parquet"
    )
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    pl.read_parquet(SAMPLES / "fashion" / "part-000.parquet")[:200].write_parquet(
        folder / "x.parquet"
    )
    return folder


@pytest.fixture(scope="module")
def holdout():
    return open_path(SAMPLES / "fashion-holdout")


def measured(clean, holdout, out, attack, rate, **more):
    truth = poison(clean, attack, rate, out, **more)
    return attack_success(open_path(out), holdout, truth, clean=open_path(clean))


def test_a_patch_implants_and_leaves_accuracy_alone(clean, holdout, tmp_path):
    found = measured(clean, holdout, tmp_path / "out", "patch", 0.05, seed=1, target="bag")
    assert found.unharmed < 0.3
    assert found.success > 0.9 > IMPLANTED
    assert found.implanted
    assert min(found.accuracy, found.accuracy_before) > 0.75
    assert abs(found.drop) < 0.07


def test_a_source_class_means_its_own_rows_alone(clean, holdout, tmp_path):
    settings = {"victim": "sneaker", "style": "white", "size": 5}
    truth = poison(clean, "tact", 0.05, tmp_path / "out", seed=1, target="bag", settings=settings)
    assert attack_success(open_path(tmp_path / "out"), holdout, truth).success > 0.7


def test_a_flip_has_no_success_and_costs_accuracy(few, holdout, tmp_path):
    found = measured(few, holdout, tmp_path / "out", "flip-uniform", 0.8, seed=1)
    assert found.success is None
    assert found.implanted is None
    assert found.drop > 0.05


@pytest.mark.parametrize("attack", ON_PICTURES)
def test_every_attack_can_be_measured_end_to_end(few, holdout, tmp_path, attack):
    truth = poison(few, attack, 0.04, tmp_path / "out", seed=2)
    found = attack_success(open_path(tmp_path / "out"), holdout, truth)
    assert 0 <= found.accuracy <= 1
    assert (found.success is None) is attack.startswith("flip")
    assert found.drop is None
    if attack == "patch":
        assert attack_success(open_path(tmp_path / "out"), holdout, truth) == found, "repeatable"


def test_what_did_not_implant_is_told_as_such():
    told = as_line(Success(success=0.3, accuracy=0.9))
    assert told.startswith("NOT IMPLANTED: counts neither as caught nor missed")
    both = Success(success=0.5, accuracy=0.9, unharmed=0.1, accuracy_before=0.91)
    assert as_line(both).startswith("implanted: attack success 0.500 (0.100 without the attack)")
    assert as_document(both)["implanted"] is True
    assert as_line(Success(success=None, accuracy=0.7)).startswith("no trigger to measure")


def test_it_asks_about_pictures_and_known_classes_only(few, holdout, tmp_path):
    truth = poison(few, "patch", 0.05, tmp_path / "out")
    twin = open_path(tmp_path / "out")
    frame = pl.read_parquet(SAMPLES / "fashion-holdout" / "part-000.parquet")
    for name, label, error, says in (
        ("hat", pl.lit("hat"), UsageError, "no class 'hat'"),
        ("null", pl.lit(None, pl.String), NothingToExamine, "label"),
    ):
        (tmp_path / name).mkdir()
        frame.with_columns(label=label).write_parquet(tmp_path / name / "x.parquet")
        with pytest.raises(error, match=says):
            attack_success(twin, open_path(tmp_path / name), truth)
    (tmp_path / "table").mkdir()
    frame.drop("image").write_parquet(tmp_path / "table" / "x.parquet")
    with pytest.raises(NothingToExamine, match="needs pictures"):
        attack_success(twin, open_path(tmp_path / "table"), truth)
    with pytest.raises(Unreadable, match="no truth of a poisoned twin"):
        attack_success(twin, holdout, few / "x.parquet")


def test_the_command_prints_the_catalogue_and_measures(few, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["redteam", "--list"])
    assert stopped.value.code == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in CATALOGUE)
    line = ["redteam", str(few), "--attack", "blend", "--rate", "0.1", "--format", "json"]
    out = ["--set", "alpha=0.5", "--set", "grain=2", "--out", str(tmp_path / "out")]
    held = ["--measure", str(SAMPLES / "fashion-holdout")]
    assert main([*line, *out, *held]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["measured"]) >= {"success", "implanted", "accuracy", "drop"}
    assert Path(told["truth"]).is_file()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--set", "alpha"], "must be NAME=VALUE"),
        (["--set", "alpha=2"], "alpha lies in 0 to 1"),
        (["--set", "size=2"], "has no setting 'size'"),
        (["--measure", "no"], "no such dataset"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(few, tmp_path, capsys, more, says):
    line = ["redteam", str(few), "--attack", "blend", "--rate", "0.1"]
    assert main([*line, "--out", str(tmp_path / "out"), *more]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
