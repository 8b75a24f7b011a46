"""The poisoned twin of a folder: files move between classes, and nothing else tells which."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.cli import main
from guards.data.encoders import read_encoder
from guards.data.images import normal
from guards.data.pictures import open_picture
from guards.errors import UsageError
from guards.redteam.attacks import CATALOGUE, ON_PICTURES, stamp
from guards.redteam.codec import recode
from guards.redteam.poison import open_path, poison, poison_batches
from guards.redteam.success import attack_success
from guards.redteam.truth import read_told

SAMPLE = Path(__file__).parents[3] / "data_samples" / "fashion-holdout" / "part-000.parquet"
FORMS = {"png": {"compress_level": 5}, "jpg": {"quality": 90}, "JPEG": {"quality": 60}}
MOVE = {name for name in ON_PICTURES if CATALOGUE[name].label != "own"}
CANNOT = {"flip-source", "thin"}
ONE_SIZE = {"label-consistent", "near-duplicate"}


def lay(root, rows=240, sides=(28,), forms=("png",), prefix="", least=0):
    """Pictures of the sample, each under its class as `CLASS_0001.png`; sides, codecs in turn."""
    frame = pl.read_parquet(SAMPLE)[least : least + rows]
    stored = frame["image"].struct.field("bytes")
    for row, (data, label) in enumerate(zip(stored, frame["label"], strict=True)):
        form, side = forms[row % len(forms)], sides[row % len(sides)]
        name = label.replace("/", "-")
        path = root / prefix / name / f"{name}_{row:04d}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.open(io.BytesIO(data)).resize((side, side + row % 2 * (len(sides) > 1)))
        picture.save(path, "PNG" if form == "png" else "JPEG", **FORMS[form])
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return lay(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    root = lay(
        tmp_path_factory.mktemp("mixed") / "data", sides=(22, 28, 34, 40), forms=tuple(FORMS)
    )
    (root / "README.md").write_text("a folder of pictures")
    return root


def files(root):
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def planes(data):
    return np.atleast_3d(np.asarray(normal(open_picture(data)))).transpose(2, 0, 1)


def poisoned(data, tmp_path, attack, rate=0.05, **more):
    """The truth, what was done, the files before and after."""
    truth = poison(data, attack, rate, tmp_path / "out", **more)
    return pl.read_parquet(truth), read_told(truth), files(data), files(tmp_path / "out")


@pytest.mark.parametrize("attack", sorted(set(ON_PICTURES) - CANNOT))
def test_the_truth_is_exactly_what_differs(small, tmp_path, attack):
    truth, told, was, now = poisoned(small, tmp_path, attack, seed=3)
    assert truth["row_id"].to_list() == open_path(tmp_path / "out").frame(["id"])["id"].to_list()
    assert truth["row_id"].equals(truth["file"], check_names=False)
    assert set(truth["row_id"]) == set(now)
    assert sorted(truth["original_row_id"]) == sorted(was)
    assert truth["planted"].sum() == 12
    rows = {name: row for row, name in enumerate(sorted(was))}
    for line in truth.iter_rows(named=True):
        old, new = line["original_row_id"], line["row_id"]
        assert Path(old).parent.name == line["original_label"]
        assert Path(new).parent.name == (line["target"] or line["original_label"])
        shown, part = planes(was[old]), "planted" if line["planted"] else "cover"
        if attack in ONE_SIZE and line["planted"]:
            continue  # begins from another picture than its own
        if told.attack.trigger and (line["planted"] or line["cover"]):
            done = (told.attack, told.seed, told.settings)
            shown = stamp(shown[None], *done, part=part, rows=[rows[old]])[0]
        np.testing.assert_array_equal(planes(now[new]), shown)


def test_names_do_not_say_who_came_from_where(mixed, tmp_path):
    truth, _, _, now = poisoned(mixed, tmp_path, "patch", 0.1, target="bag")
    names = [Path(name).name for name in truth["row_id"]]
    assert len(set(names)) == len(names), "no two files of one name, whatever their class"
    assert {len(Path(name).stem) for name in names} == {3}
    assert {Path(name).suffix for name in names} == {".png", ".jpg"}
    assert "README.md" in now
    bag = truth.filter(pl.col("row_id").str.starts_with("bag/"))
    numbers = np.array([int(Path(name).stem) for name in bag["row_id"]])
    moved = bag["planted"].to_numpy()
    assert 4 < moved.sum() < len(moved)
    assert numbers[moved].min() < np.median(numbers[~moved]) < numbers[moved].max()


@pytest.mark.parametrize("attack", ["sig", "label-consistent"])
def test_where_no_file_moves_all_keep_their_names(small, tmp_path, attack):
    truth, _, was, now = poisoned(small, tmp_path, attack, 0.02, seed=1)
    assert set(now) == set(was)
    assert truth["row_id"].equals(truth["original_row_id"], check_names=False)
    assert truth.filter("planted")["original_label"].n_unique() == 1


@pytest.mark.parametrize("attack", sorted(MOVE - CANNOT - ONE_SIZE))
def test_no_encoder_and_no_size_tells_who_was_planted(mixed, tmp_path, attack):
    """ "every one of them is stored again by its own codec and settings, at its own size" """
    truth, _, was, now = poisoned(mixed, tmp_path, attack, seed=5)
    lossless = 0
    for old, new in zip(truth["original_row_id"], truth["row_id"], strict=True):
        assert read_encoder(now[new]).settings == read_encoder(was[old]).settings
        assert planes(now[new]).shape == planes(was[old]).shape
        lossless += new.endswith("png") and recode(now[new]) == now[new]
    if CATALOGUE[attack].trigger:
        assert lossless == 80, "every PNG went through this encoder, once"
    else:
        assert Counter(now.values()) == Counter(was.values()), "no picture was touched"


def test_a_trigger_lies_in_the_corner_of_pictures_of_any_size(mixed, tmp_path):
    truth, _, was, now = poisoned(mixed, tmp_path, "patch", 0.1, settings={"size": 3})
    sizes = set()
    for old, new, planted in truth.select("original_row_id", "row_id", "planted").iter_rows():
        if new.endswith("png"):
            before, after = planes(was[old])[0], planes(now[new])[0]
            assert (before != after).any() == planted
            if planted:
                sizes.add(after.shape)
                assert after[-4:-1, -4:-1].tolist() == [[255, 0, 255], [0, 255, 0], [255, 0, 255]]
    assert len(sizes) > 1


def test_a_pattern_is_one_pattern_at_every_size(mixed, tmp_path):
    """A pattern drawn at each picture's own size would be another trigger in each."""
    truth, *_, now = poisoned(mixed, tmp_path, "blend", 0.1, settings={"alpha": 1.0, "grain": 7})
    shown = [
        np.asarray(Image.open(io.BytesIO(now[name])).convert("L").resize((28, 28)), float).ravel()
        for name in truth.filter("planted")["row_id"]
        if name.endswith("png")
    ]
    alike = np.corrcoef(shown)
    assert alike.min() > 0.7


def test_a_picture_moves_within_its_own_split(tmp_path):
    lay(tmp_path / "data", 120, prefix="train")
    lay(tmp_path / "data", 120, prefix="test", least=120)
    truth, *_ = poisoned(tmp_path / "data", tmp_path, "flip-uniform", 0.2)
    for old, new in truth.select("original_row_id", "row_id").iter_rows():
        assert Path(old).parts[0] == Path(new).parts[0]


def test_the_same_seed_gives_the_same_files_and_another_does_not(mixed, tmp_path):
    def made(name, seed):
        poison(mixed, "patch", 0.05, tmp_path / name, seed=seed)
        return files(tmp_path / name)

    first = made("first", 5)
    assert made("second", 5) == first
    assert made("third", 6) != first


def test_near_copies_can_be_told_from_their_originals_in_the_twin(small, tmp_path):
    settings = {"originals": 2, "noise": 0, "shift": 0}
    truth, told, was, now = poisoned(small, tmp_path, "near-duplicate", settings=settings)
    originals = truth[list(told.originals)]
    assert not originals["planted"].any()
    copied = {planes(now[name]).tobytes() for name in truth.filter("planted")["row_id"]}
    assert copied == {planes(was[name]).tobytes() for name in originals["original_row_id"]}


def test_a_folder_can_be_measured(mixed, tmp_path):
    truth = poison(mixed, "patch", 0.05, tmp_path / "out")
    found = attack_success(open_path(tmp_path / "out"), open_path(mixed), truth)
    assert 0 <= found.success <= 1


def test_several_folders_carry_one_attack(tmp_path):
    for name, least in (("one", 0), ("two", 120)):
        lay(tmp_path / name, 120, least=least)
    truths = poison_batches([tmp_path / "one", tmp_path / "two"], "patch", 0.05, tmp_path / "out")
    told = [read_told(path) for path in truths]
    assert told[0].target == told[1].target
    assert [pl.read_parquet(path)["planted"].sum() for path in truths] == [6, 6]


def test_a_scan_holds_the_rows_that_the_truth_names(tmp_path):
    """End to end by the commands: rows.parquet of the run, against the truth."""
    data, run = lay(tmp_path / "data", 500), tmp_path / "run"
    asked = ["--attack", "patch", "--rate", "0.06", "--target", "bag", "--seed", "1"]
    assert main(["redteam", str(data), *asked, "--out", str(tmp_path / "twin")]) == 0
    assert main(["scan", str(tmp_path / "twin"), "--policy", "explore", "--out", str(run)]) != 0
    truth = pl.read_parquet(tmp_path / "twin.truth.parquet")
    held = pl.read_parquet(run / "rows.parquet").filter(pl.col("rule") == "patches")
    assert set(held["row_id"]) <= set(truth["row_id"])
    assert set(truth.filter("planted")["row_id"]) <= set(held["row_id"])
    assert held.height <= 32


@pytest.mark.parametrize("broken", [b"", b"GIF89a", "truncated"])
def test_a_corrupt_picture_is_never_planted_and_stays_as_it_is(tmp_path, broken):
    data = lay(tmp_path / "data", 120)
    victim = next(path for path in sorted(data.rglob("*.png")) if path.parent.name != "bag")
    victim.write_bytes(victim.read_bytes()[:200] if broken == "truncated" else broken)
    name = victim.relative_to(data).as_posix()
    truth, *_, now = poisoned(data, tmp_path, "patch", 0.7, target="bag")
    (line,) = truth.filter(pl.col("original_row_id") == name).iter_rows(named=True)
    assert not line["planted"]
    assert now[line["row_id"]] == victim.read_bytes()
    assert Path(line["row_id"]).parent.name == victim.parent.name


def test_a_picture_without_a_class_is_never_planted(tmp_path):
    data = lay(tmp_path / "data", 60)
    for path in sorted(data.rglob("*.png"))[:20]:
        path.rename(data / path.name)
    truth, *_ = poisoned(data, tmp_path, "flip-pair", 0.6)
    assert not truth.filter(pl.col("original_label").is_null())["planted"].any()
    assert sum("/" not in name for name in truth["row_id"]) == 20


@pytest.mark.parametrize(
    ("attack", "request_", "says"),
    [
        ("patch", {"rate": 0.001}, "no row at all; raise --rate"),
        ("patch", {"target": "hat"}, "no class 'hat' here"),
        ("patch", {"source": "studio-a"}, "no row has a source: --source needs a table"),
        ("flip-source", {}, "no row has a source: attack 'flip-source' needs a table"),
        ("thin", {}, "rows lie by class, and attack 'thin' needs batches"),
        ("label-consistent", {}, "needs pictures that all have one size"),
        ("near-duplicate", {}, "needs pictures that all have one size"),
        ("patch", {"settings": {"size": 22}}, r"\.png: a patch of 22 and a margin of 1 exceed 22"),
        ("patch", {"columns": {"id": "label"}}, "paths are labels"),
    ],
)
def test_what_cannot_be_done_is_refused_and_writes_nothing(mixed, tmp_path, attack, request_, says):
    with pytest.raises(UsageError, match=says):
        poison(mixed, attack, out=tmp_path / "out", **{"rate": 0.1, **request_})
    assert list(tmp_path.iterdir()) == []


def test_one_class_alone_is_refused_by_the_command(tmp_path, capsys):
    data = lay(tmp_path / "data", 60)
    (tmp_path / "one").mkdir()
    (data / "bag").rename(tmp_path / "one" / "bag")
    asked = ["--attack", "patch", "--rate", "0.2", "--out", str(tmp_path / "out")]
    assert main(["redteam", str(tmp_path / "one"), *asked]) == 2
    assert "needs two classes; this dataset has ['bag']" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
