"""`scan --release-clean`: the dataset without the rows held, signed, and not yet admitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

import guards.release
from guards.cli import main
from guards.digest import Digest
from guards.errors import Unreadable, UsageError
from guards.provenance import ledger
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse, parse_name
from guards.provenance.signing import generate, load_private, load_public, parse_envelope
from guards.publish import Claim, manifest_path, publish
from guards.release import Wanted, removed_path
from guards.verdict import Decision, load_policy

POLICY = """name = "q"
rules = ["integrity", "provenance", "quality"]
required = ["integrity", "provenance", "quality"]
"""
HELD = {"a.parquet": {3, 17}, "more/b.parquet": {39}}


@pytest.fixture(scope="session")
def deriver(tmp_path_factory):
    """The directory of a key that may derive and nothing else."""
    home = tmp_path_factory.mktemp("deriver")
    generate(home / "deriver")
    return home / "deriver"


@pytest.fixture
def place(spine, deriver):
    """The spine, with three rows that lack a label, a policy that holds those, and a deriver."""
    for file, rows in HELD.items():
        frame = (
            pl.read_parquet(spine.batch / file)
            .with_row_index("n")
            .with_columns(
                label=pl.when(pl.col("n").is_in(list(rows))).then(None).otherwise(pl.col("label")),
            )
        )
        frame.drop("n").write_parquet(spine.batch / file)
    (spine.batch / "README.md").write_text("what this is\n")
    spine.manifest.unlink()
    spine.sign()
    key = trusts.TrustedKey(
        key=load_public(deriver / "key.pub"), roles=("deriver",), names=("acme/*",)
    )
    trusts.add(spine.trust_dir, key)
    (spine.home / "q.toml").write_text(POLICY)
    return replace(spine, policy=load_policy(spine.home / "q.toml"))


def wanted(place, deriver, **more):
    key = load_private(deriver / "key.pem")
    return replace(Wanted(out=place.home / "clean", key=key), **more)


def manifest_of(out):
    return parse(parse_envelope(manifest_path(out).read_bytes()))


def claim(place, frame, name="batch", **more):
    """Replace the batch by one file of this frame, and sign it."""
    target = place.home / name
    frame.write_parquet(target)
    given = {"name": parse_name("acme/other"), "version": 1, **more}
    publish(target, Claim(**given), place.keys.private("producer"))
    return target


def test_the_release_is_the_dataset_without_the_rows_held(place, deriver):
    scanned = place.scan(release=wanted(place, deriver))
    assert scanned.verdict.decision is Decision.QUARANTINE
    out = place.home / "clean"
    assert scanned.released.out == out
    assert scanned.released.removed == 3
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert found == ["README.md", "a.parquet", "more/b.parquet"]
    assert (out / "README.md").read_bytes() == (place.batch / "README.md").read_bytes()
    for file, rows in HELD.items():
        whole, left = pq.read_table(place.batch / file), pq.read_table(out / file)
        stay = [row for row in range(whole.num_rows) if row not in rows]
        assert left.equals(whole.take(stay), check_metadata=True)


def test_what_went_is_told_by_row_and_never_by_its_contents(place, deriver):
    place.scan(release=wanted(place, deriver))
    held = pl.read_parquet(place.home / "run" / "rows.parquet")
    gone = pl.read_parquet(removed_path(place.home / "clean"))
    columns = ["row_id", "file", "row_in_file", "row_digest", "rules", "reasons"]
    assert gone.columns == columns
    assert gone["row_id"].to_list() == ["a.parquet#3", "a.parquet#17", "more/b.parquet#39"]
    assert set(gone["row_digest"]) == set(held["row_digest"])
    assert gone["rules"].to_list() == [["quality"]] * 3
    assert gone["reasons"].to_list() == [["missing-labels"]] * 3


def test_the_manifest_names_what_the_release_was_made_from(place, deriver):
    scanned = place.scan(release=wanted(place, deriver))
    made, parent = manifest_of(place.home / "clean"), manifest_of(place.batch)
    assert (made.name, made.version) == (parent.name, parent.version + 1)
    assert made.parents == (parent.snapshot.root,)
    assert made.roles == parent.roles
    how = made.derivation
    assert how.method == "release-clean"
    assert how.parent == scanned.record.root == parent.snapshot.root
    assert how.record == Digest.of(scanned.record_path.read_bytes())
    assert how.manifest == Digest.of(place.manifest.read_bytes())
    assert how.policy == place.policy.digest
    assert how.removed == 3
    assert how.rows == Digest.of(removed_path(place.home / "clean").read_bytes())
    assert made.rows == 77


def test_no_gate_opens_before_the_release_is_scanned_itself(place, deriver):
    place.scan(release=wanted(place, deriver), ledger=place.home / "ledger")
    clean = replace(place, batch=place.home / "clean")
    [made] = ledger.verify(place.ledger, place.trust).made
    assert (made.kind, made.root) == ("dataset", manifest_of(clean.batch).snapshot.root)
    assert [m.record for m in made.materials] == [Digest.of(place.record.read_bytes())]
    with pytest.raises(guards.GateRefused, match="the verdict is QUARANTINE"):
        clean.gate()
    again = clean.scan(out=place.home / "again", ledger=place.home / "ledger")
    assert again.verdict.decision is Decision.PASS, again.verdict.reasons
    assert again.record.parents == manifest_of(clean.batch).parents
    record = place.home / "again" / "record.json"
    admitted = clean.gate(record=record, ledger=place.home / "ledger")
    assert admitted.table().height == 77
    with pytest.raises(guards.GateRefused, match="other bytes"):
        place.gate(record=record)
    statistics = json.loads((place.home / "again" / "report.json").read_text())
    told = next(e for e in statistics["examinations"] if e["rule"] == "provenance")["statistics"]
    assert told["derivation"]["record"] == str(Digest.of(place.record.read_bytes()))


def test_a_deriver_who_is_trusted_no_more_takes_the_release_along(place, deriver):
    place.scan(release=wanted(place, deriver))
    clean = replace(place, batch=place.home / "clean")
    clean.scan(out=place.home / "again")
    keys = [key for key in place.trust.keys if "deriver" not in key.roles]
    with pytest.raises(guards.GateRefused, match="no producer"):
        clean.gate(
            record=place.home / "again" / "record.json", trust=trusts.Trust(keys=tuple(keys))
        )


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow", "jsonl"])
def test_a_dataset_of_one_file_has_a_release_of_one_file(place, deriver, suffix):
    frame = pl.DataFrame({"x": range(20), "label": [*"abab" * 4, None, "b", "a", "b"]})
    source, out = place.home / f"one.{suffix}", place.home / f"two.{suffix}"
    ways = {"csv": "write_csv", "arrow": "write_ipc", "jsonl": "write_ndjson"}
    getattr(frame, ways.get(suffix, "write_parquet"))(source)
    publish(source, Claim(name=parse_name("acme/one"), version=4), place.keys.private("producer"))
    one = replace(place, batch=source)
    scanned = one.scan(release=wanted(place, deriver, out=out))
    assert scanned.released.removed == 1, scanned.released.told
    again = replace(place, batch=out).scan(out=place.home / "again")
    assert again.verdict.decision is Decision.PASS, again.verdict.reasons
    assert again.record.version == 5
    with pytest.raises(UsageError, match=f"must end in .{suffix}"):
        one.scan(release=wanted(place, deriver, out=place.home / "two"))


def test_a_name_and_a_version_can_be_chosen(place, deriver):
    name = parse_name("acme/clean-flights")
    place.scan(release=wanted(place, deriver, name=name, version=0))
    made = manifest_of(place.home / "clean")
    assert (made.name, made.version) == (name, 0)


def test_a_file_of_which_every_row_is_held_is_left_out(place, deriver):
    pl.DataFrame({"x": [1, 2], "label": [None, None], "source": ["JFK"] * 2}).cast(
        pl.read_parquet_schema(place.batch / "a.parquet")
    ).write_parquet(place.batch / "c.parquet")
    place.sign(version=2)
    scanned = place.scan(release=wanted(place, deriver))
    assert scanned.released.removed == 5
    assert not (place.home / "clean" / "c.parquet").exists()
    again = replace(place, batch=place.home / "clean").scan(out=place.home / "again")
    assert again.verdict


def nothing(place, told, scanned):
    """Nothing was released, and nothing but the run was written."""
    assert told in scanned.released.told
    assert scanned.released.out is None
    assert not [path.name for path in place.home.iterdir() if "clean" in path.name]
    assert scanned.record_path.is_file()


def test_nothing_held_is_nothing_to_remove(place, deriver):
    for file in HELD:
        frame = pl.read_parquet(place.batch / file)
        frame.with_columns(pl.col("label").fill_null(0)).write_parquet(place.batch / file)
    place.sign(version=2)
    scanned = place.scan(release=wanted(place, deriver))
    assert scanned.verdict.decision is Decision.PASS
    nothing(place, "nothing to remove", scanned)


def test_nothing_is_released_of_what_nobody_vouches_for(place, deriver):
    (place.batch / "a.parquet").write_bytes((place.batch / "a.parquet").read_bytes() + b"x")
    scanned = place.scan(release=wanted(place, deriver))
    assert scanned.verdict.decision is Decision.BLOCK
    nothing(place, "the provenance was refused", scanned)


def test_nothing_is_released_when_half_of_the_rows_would_go(place, deriver):
    frame = pl.DataFrame({"x": range(20), "label": [None] * 11 + list("ababababa")})
    source = claim(place, frame, "most.parquet")
    out = place.home / "clean.parquet"
    scanned = replace(place, batch=source).scan(release=wanted(place, deriver, out=out))
    nothing(place, "11 of 20 rows are held", scanned)


def test_nothing_is_released_when_a_class_would_vanish(place, deriver):
    frame = pl.DataFrame(
        {"x": [float(n) for n in range(19)] + [float("inf")], "label": ["a", "b"] * 9 + ["a", "c"]}
    )
    source = claim(place, frame, "class.parquet")
    out = place.home / "clean.parquet"
    scanned = replace(place, batch=source).scan(release=wanted(place, deriver, out=out))
    nothing(place, "every row labelled 'c' is held", scanned)


def test_what_cannot_come_true_is_told_before_anything_is_looked_at(place, deriver):
    ask = wanted(place, deriver)
    for told, more in {
        "needs --trust": {"trust": None},
        "needs --key": {"key": None},
        "overlaps": {"release": replace(ask, out=place.batch / "clean")},
        "exists already": {"release": replace(ask, out=place.home / "trust")},
        "only rise": {"release": replace(ask, version=1)},
        "has not the role deriver": {"release": replace(ask, key=place.keys.private("scanner"))},
        "is not in it": {"release": replace(ask, key=place.keys.private("stranger"))},
        "is not trusted for other/x": {"release": replace(ask, name=parse_name("other/x"))},
    }.items():
        with pytest.raises(UsageError, match=told):
            place.scan(**{"release": ask, **more})
        assert not (place.home / "run").exists()
    removed_path(ask.out).write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        place.scan(release=ask)
    assert removed_path(ask.out).read_bytes() == b"mine"


def test_a_crash_leaves_nothing_behind(place, deriver, monkeypatch):
    """Whichever step dies: of dataset, manifest and list of rows there is none or all."""
    rename = Path.rename
    for last in ("clean.removed.parquet", "clean.manifest.json", "clean"):

        def dies(self, target, last=last):
            if Path(target).name == last:
                raise RuntimeError("power")
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", dies)
            with pytest.raises(RuntimeError, match="power"):
                place.scan(release=wanted(place, deriver))
        left = [path.name for path in place.home.iterdir()]
        assert not [name for name in left if "clean" in name or name.startswith(".toad")]


def test_the_command_releases_and_keeps_the_exit_status_of_the_verdict(place, deriver, capsys):
    out = place.home / "clean"
    line = ["scan", str(place.batch), "--trust", str(place.trust_dir), "--format", "json"]
    line += ["--policy", str(place.home / "q.toml"), "--key", str(place.keys.pem("scanner"))]
    line += ["--out", str(place.home / "run"), "--release-clean", str(out)]
    assert main(line) == 2
    assert "give one with the role deriver" in capsys.readouterr().out
    assert main([*line, "--release-key", str(deriver / "key.pem")]) == 11
    told = capsys.readouterr()
    assert json.loads(told.out)["release"]["removed"] == 3
    assert "scan it before it is trained on" in told.err
    assert main(["scan", str(out), "--release-name", "acme/x", "--quiet"]) == 2


def test_the_python_face_does_the_same(place, deriver):
    done = guards.scan(
        place.batch,
        trust=place.trust_dir,
        policy=place.home / "q.toml",
        key=place.keys.pem("scanner"),
        out=place.home / "run",
        release_clean=place.home / "clean",
        release_key=deriver / "key.pem",
        release_name="acme/flights/clean",
        release_version=7,
    )
    assert done.released.removed == 3
    assert str(manifest_of(place.home / "clean").name) == "acme/flights/clean"


@pytest.fixture
def gallery(place):
    """A signed folder of pictures, of which two do not decode; a policy that holds those."""
    root = place.home / "gallery"
    for label, shade in (("cat", 40), ("dog", 200)):
        (root / "train" / label).mkdir(parents=True)
        for number in range(12):
            path = root / "train" / label / f"{number:02}.png"
            Image.new("L", (8 + number % 3, 8), shade + number).save(path)
    (root / "train/cat/03.png").write_bytes(b"no picture")
    (root / "train/dog/11.png").write_bytes(b"")
    (place.home / "g.toml").write_text(POLICY.replace('"quality"', '"quality", "images"'))
    gallery = replace(place, batch=root, policy=load_policy(place.home / "g.toml"))
    gallery.sign(name="acme/pets")
    return gallery


def test_a_folder_of_pictures_is_signed_scanned_released_and_admitted(gallery, deriver):
    assert gallery.verify()
    claimed = manifest_of(gallery.batch)
    assert claimed.roles.columns() == {"id": "id", "image": "image", "label": "label"}
    assert claimed.label_counts == {"cat": 12, "dog": 12}
    held = {"train/cat/03.png", "train/dog/11.png"}
    blank = replace(gallery.policy, settings={"images": {"unreadable": 0.5, "blank": 1.0}})
    gallery = replace(gallery, policy=blank)
    scanned = gallery.scan(release=wanted(gallery, deriver))
    told = pl.read_parquet(gallery.home / "run" / "rows.parquet")
    unreadable = told.filter(pl.col("reason").str.starts_with("unreadable"))
    assert set(unreadable["row_id"]) == set(unreadable["file"]) == held
    assert unreadable["row_in_file"].to_list() == [0, 0]
    # Every picture here is of one shade, and a blank picture is held like any other.
    assert scanned.released.out is None
    assert "of 24 rows are held" in scanned.released.told


def test_a_release_of_a_folder_leaves_the_files_of_the_rows_held_out(gallery, deriver):
    for number, path in enumerate(sorted(gallery.batch.rglob("*.png"))):
        if path.stat().st_size > 20:
            picture = Image.open(path).copy()
            picture.putpixel((number % 8, number // 8), 255)
            picture.save(path)
    gallery.manifest.unlink()
    gallery.sign(name="acme/pets")
    scanned = gallery.scan(release=wanted(gallery, deriver))
    assert scanned.released.removed == 2, scanned.released.told
    out = gallery.home / "clean"
    names = {path.relative_to(gallery.batch).as_posix() for path in gallery.batch.rglob("*.png")}
    left = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}
    assert left.keys() == names - {"train/cat/03.png", "train/dog/11.png"}
    assert all((gallery.batch / name).read_bytes() == data for name, data in left.items())
    clean = replace(gallery, batch=out)
    again = clean.scan(out=gallery.home / "again")
    assert again.verdict.decision is Decision.PASS, again.verdict.reasons
    statistics = again.examinations[-1].outcome.measured.statistics
    assert statistics["working_size"] == "9x8"
    assert statistics["resized"] == sum(
        n for size, n in statistics["sizes"].items() if size != "9x8"
    )
    admitted = clean.gate(record=gallery.home / "again" / "record.json")
    assert admitted.table().height == 22


def test_what_lies_wrong_in_a_folder_of_pictures_is_a_finding(gallery):
    (gallery.batch / "train" / "empty").mkdir()
    (gallery.batch / "train" / "cat" / ".hidden.png").write_bytes(b"x")
    pl.DataFrame({"x": [1]}).write_csv(gallery.batch / "labels.csv")
    explore = replace(gallery.policy, admits=False, required=())
    scanned = gallery.scan(trust=None, key=None, policy=explore)
    assert {reason.code for reason in scanned.verdict.reasons} >= {
        "empty-directory",
        "hidden",
        "mixed-kinds",
    }
    (gallery.batch / "train" / "empty").rmdir()
    (gallery.batch / "train" / "cat" / ".hidden.png").unlink()
    with pytest.raises(Unreadable, match="beside data files"):
        publish(
            gallery.batch,
            Claim(name=parse_name("acme/mixed"), version=1),
            gallery.keys.private("producer"),
            gallery.home / "mixed.manifest.json",
        )
