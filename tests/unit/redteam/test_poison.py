"""The poisoned twin against its truth: what was planted differs, and nothing else does."""

import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from guards.data.encoders import read_encoder
from guards.data.images import decode
from guards.errors import NothingToExamine, UsageError
from guards.redteam.attacks import CATALOGUE, stamp
from guards.redteam.codec import recode
from guards.redteam.plan import plan
from guards.redteam.poison import open_path, poison, poison_batches
from guards.redteam.truth import read_told

SAMPLE = Path(__file__).parents[3] / "data_samples" / "fashion-holdout"
TRUTH = [
    "row_id",
    "file",
    "row_in_file",
    "planted",
    "cover",
    "original_label",
    "original_source",
    "attack",
    "target",
    "original_row_id",
]


WRITERS = {
    "parquet": pl.DataFrame.write_parquet,
    "csv": pl.DataFrame.write_csv,
    "jsonl": pl.DataFrame.write_ndjson,
    "arrow": partial(pl.DataFrame.write_ipc, compat_level=pl.CompatLevel.oldest()),
    "feather": pl.DataFrame.write_ipc_stream,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """240 pictures of the sample in two shards, one of them in a folder of its own."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "b").mkdir()
    whole = pq.read_table(SAMPLE / "part-000.parquet")
    pq.write_table(whole.slice(0, 140), folder / "a.parquet", compression="zstd")
    pq.write_table(whole.slice(140, 100), folder / "b" / "c.parquet", compression="gzip")
    (folder / "README.txt").write_text("not data")
    return folder


def frames(folder):
    return {
        path.relative_to(folder).as_posix(): pl.read_parquet(path)
        for path in sorted(folder.rglob("*.parquet"))
    }


def tabled(folder):
    """Label 0, 1 or 2 beside a feature and a source, 90 rows."""
    frame = pl.DataFrame(
        {
            "delay": np.arange(90) / 4,
            "source": ["EWR", "JFK", "LGA"] * 30,
            "label": np.arange(90) // 30,
        }
    )
    folder.mkdir()
    return frame


def as_shown(told, was, truth):
    """What the touched rows have to show: planted and cover, from the pictures as they were."""
    shown = was.copy()
    for part in ("planted", "cover"):
        rows = np.flatnonzero(truth[part])
        shown[rows] = stamp(was[rows], told.attack, told.seed, told.settings, part=part, rows=rows)
    return shown


@given(
    attack=st.sampled_from(sorted(set(CATALOGUE) - {"near-duplicate", "label-consistent"})),
    rate=st.floats(0.005, 0.05),
    seed=st.integers(0, 2**32),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_truth_is_exactly_what_differs(small, tmp_path_factory, attack, rate, seed):
    """ "only planted rows differ, in picture and label, and cover rows, in picture alone" """
    out = tmp_path_factory.mktemp("twin") / "out"
    path = poison(small, attack, rate, out, seed=seed)
    truth, told = pl.read_parquet(path), read_told(path)
    before, after = pl.concat(frames(small).values()), pl.concat(frames(out).values())
    planted, cover = truth["planted"].to_numpy(), truth["cover"].to_numpy()
    assert truth.columns == TRUTH
    assert planted.sum() == round(rate * 240)
    assert cover.sum() == round((told.settings.get("cover") or 0) * planted.sum())
    assert not (planted & cover).any()
    renamed = planted & (CATALOGUE[attack].label != "own")
    np.testing.assert_array_equal((before["label"] != after["label"]).to_numpy(), renamed)
    assert truth["original_label"].equals(before["label"], check_names=False)
    assert truth.filter("planted")["target"].to_list() == after["label"].filter(planted).to_list()
    assert truth.filter(~pl.col("planted"))["target"].null_count() == 240 - planted.sum()
    for column in ("id", "source"):
        assert before[column].equals(after[column])
    assert truth["row_id"].to_list() == after["id"].to_list()
    was, now = decode(open_path(small)).pixels, decode(open_path(out)).pixels
    if CATALOGUE[attack].trigger:
        np.testing.assert_array_equal(now, as_shown(told, was, truth))
    else:
        np.testing.assert_array_equal(now, was)


def test_label_consistent_rows_keep_label_and_look_but_for_the_trigger(small, tmp_path):
    path = poison(
        small, "label-consistent", 0.03, tmp_path / "out", target="bag", settings={"epsilon": 8}
    )
    truth = pl.read_parquet(path)
    planted = truth["planted"].to_numpy()
    assert planted.sum() == 7
    assert set(truth.filter("planted")["original_label"]) == {"bag"}
    after = pl.concat(frames(tmp_path / "out").values())
    assert after["label"].equals(truth["original_label"], check_names=False)
    was, now = (decode(open_path(root)).pixels.astype(int) for root in (small, tmp_path / "out"))
    inside = stamp(np.full((1, 28, 28), 7, np.uint8), CATALOGUE["label-consistent"], 0)[0] != 7
    moved = np.abs(was - now)
    assert not moved[~planted].any()
    assert 0 < moved[planted][..., ~inside].max() <= 8
    assert (now[planted][..., inside] == now[planted][0][..., inside]).all()


def test_near_duplicates_are_near_copies_of_their_originals(small, tmp_path):
    path = poison(
        small,
        "near-duplicate",
        0.1,
        tmp_path / "out",
        seed=3,
        target="bag",
        settings={"originals": "2", "noise": 0, "shift": 0},
    )
    truth, told = pl.read_parquet(path), read_told(path)
    planted = truth["planted"].to_numpy()
    originals = list(told.originals)
    assert len(originals) == 2
    assert not planted[originals].any()
    was, now = (decode(open_path(root)).pixels for root in (small, tmp_path / "out"))
    np.testing.assert_array_equal(was[~planted], now[~planted])
    copied = [(now[planted] == was[row]).all((1, 2, 3)).sum() for row in originals]
    assert sorted(copied) == [12, 12]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_near_duplicates_of_a_table_take_its_features(tmp_path, suffix, jitter):
    frame = tabled(tmp_path / "data").with_columns(n=pl.int_range(90), text=pl.lit("v1.5"))
    WRITERS[suffix](frame, tmp_path / "data" / f"x.{suffix}")
    path = poison(
        tmp_path / "data",
        "near-duplicate",
        0.1,
        tmp_path / "out",
        target="1",
        settings={"originals": 1, "jitter": jitter},
    )
    planted = pl.read_parquet(path)["planted"]
    (original,) = read_told(path).originals
    after = open_path(tmp_path / "out").frame(frame.columns)
    assert after.filter(~planted).equals(frame.filter(~planted))
    copies = after.filter(planted)
    assert copies["label"].to_list() == [1] * 9
    assert copies["n"].to_list() == [original] * 9
    assert copies["source"].equals(frame.filter(planted)["source"])
    away = (copies["delay"] - frame["delay"][original]).abs()
    assert (away.max() == 0) if not jitter else (0 < away.max() < 4 * 0.5 * 6.6)


def test_victims_are_of_one_class_and_cover_rows_of_the_others(small, tmp_path):
    path = poison(small, "tact", 0.05, tmp_path / "out", target="bag", settings={"victim": "coat"})
    truth = pl.read_parquet(path)
    assert set(truth.filter("planted")["original_label"]) == {"coat"}
    covered = truth.filter("cover")
    assert covered.height == 12
    assert not {"coat", "bag"} & set(covered["original_label"])
    after = pl.concat(frames(tmp_path / "out").values())
    assert after.filter(truth["cover"])["label"].to_list() == covered["original_label"].to_list()


def test_cover_rows_say_the_source_too(small, tmp_path):
    path = poison(small, "wanet", 0.02, tmp_path / "out", source="studio-d")
    truth = pl.read_parquet(path)
    after = pl.concat(frames(tmp_path / "out").values())
    touched = truth["planted"] | truth["cover"]
    assert touched.sum() == 15
    assert set(after.filter(touched)["source"]) == {"studio-d"}
    untouched = pl.concat(frames(small).values()).filter(~touched)["source"]
    assert after.filter(~touched)["source"].equals(untouched)


def test_thin_poison_lies_evenly_in_the_batches(small, tmp_path):
    settings = {"batches": 8}
    truth = pl.read_parquet(poison(small, "thin", 0.07, tmp_path / "out", settings=settings))
    counts = [part.sum() for part in np.array_split(truth["planted"].to_numpy(), 8)]
    assert sorted(counts) == [2] * 7 + [3]


def test_several_datasets_carry_one_attack(small, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        frames(small)["a.parquet"].write_parquet(tmp_path / name / "x.parquet")
    batches = [tmp_path / "one", tmp_path / "two"]
    truths = poison_batches(batches, "tact", 0.03, tmp_path / "out", seed=4)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one",
        "one.truth.parquet",
        "two",
        "two.truth.parquet",
    ]
    told = [read_told(path) for path in truths]
    assert told[0] == told[1]
    assert told[0].target != told[0].settings["victim"]
    planted = [pl.read_parquet(path)["planted"].to_list() for path in truths]
    assert planted[0] != planted[1], "other rows in each"
    assert sum(planted[0]) == sum(planted[1]) == 4
    for again, says in (([batches[0]] * 2, "one name"), (batches, "exists already")):
        with pytest.raises(UsageError, match=says):
            poison_batches(again, "patch", 0.03, tmp_path / "out")


def test_one_batch_that_cannot_be_poisoned_stops_all(small, tmp_path):
    (tmp_path / "few").mkdir()
    frames(small)["a.parquet"][:10].write_parquet(tmp_path / "few" / "x.parquet")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="no row at all"):
        poison_batches([small, tmp_path / "few"], "patch", 0.02, tmp_path / "out", target="bag")
    assert sorted(tmp_path.iterdir()) == before


def stored_as(frame, form):
    """The pictures as `form`: JPEGs of many settings, WebPs of both kinds, PNGs of any effort."""
    how = {
        "PNG": lambda row: {"compress_level": (1, 5, 6, 9)[row % 4]},
        "JPEG": lambda row: {
            "quality": (50, 75, 92)[row % 3],
            "subsampling": (0, 2)[row % 2],
            "progressive": row % 5 == 0,
            "optimize": row % 7 == 0,
        },
        "WEBP": lambda row: {"lossless": True} if row % 2 else {"quality": 80},
    }[form]
    stored = []
    for row, data in enumerate(frame["image"].struct.field("bytes")):
        picture = Image.open(io.BytesIO(data))
        buffer = io.BytesIO()
        mixed = picture.convert("RGB") if row % 4 else picture
        mixed.save(buffer, form, **how(row))
        stored.append(buffer.getvalue())
    return frame.with_columns(image=pl.Series(stored, dtype=pl.Binary))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoded")
    frame = pl.read_parquet(SAMPLE / "part-000.parquet")[:120]
    for form in ("PNG", "JPEG", "WEBP"):
        (root / form).mkdir()
        stored_as(frame, form).write_parquet(root / form / "x.parquet")
    return root


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("attack", CATALOGUE)
def test_no_encoder_tells_who_was_planted(encoded, tmp_path, attack, form):
    """ "Planted and clean rows are stored by the same codec and settings in every attack." """
    path = poison(encoded / form, attack, 0.03, tmp_path / "out", seed=11)
    was, now = (
        pl.read_parquet(root / "x.parquet")["image"].to_list()
        for root in (encoded / form, tmp_path / "out")
    )
    assert [read_encoder(data).settings for data in now] == [
        read_encoder(data).settings for data in was
    ]
    if CATALOGUE[attack].trigger or attack == "near-duplicate":
        # Storing any row again changes no more than it does for the others: one generation each.
        again = [read_encoder(recode(data)).settings for data in now]
        assert again == [read_encoder(data).settings for data in now]
        assert sum(a == b for a, b in zip(was, now, strict=True)) <= 120
    else:
        assert was == now
    assert pl.read_parquet(path)["planted"].sum() == 4


def test_files_columns_types_and_compression_stay(small, tmp_path):
    poison(small, "patch", 0.1, tmp_path / "out", target="bag")
    assert sorted(frames(tmp_path / "out")) == ["a.parquet", "b/c.parquet"]
    assert (tmp_path / "out" / "README.txt").read_text() == "not data"
    for name in ("a.parquet", "b/c.parquet"):
        was, now = (pq.ParquetFile(root / name) for root in (small, tmp_path / "out"))
        assert now.schema_arrow.equals(was.schema_arrow, check_metadata=True)
        columns = [file.metadata.row_group(0).column(0).compression for file in (was, now)]
        assert columns[0] == columns[1]


def test_all_pictures_are_stored_by_one_encoder(small, tmp_path):
    """Storing any row again gives its own bytes: the codec cannot tell who was planted."""
    poison(small, "blend", 0.2, tmp_path / "out", target="bag")
    for frame in frames(tmp_path / "out").values():
        stored = frame["image"].struct.field("bytes").to_list()
        assert [recode(data) for data in stored] == stored


@pytest.mark.parametrize("attack", sorted(CATALOGUE))
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(small, tmp_path, attack):
    def made(name, seed):
        truth = poison(small, attack, 0.05, tmp_path / name, seed=seed)
        files = sorted((tmp_path / name).rglob("*.parquet"))
        return [path.read_bytes() for path in (*files, truth)]

    first = made("first", 5)
    assert made("second", 5) == first
    assert made("third", 6) != first


def test_a_trigger_takes_target_and_source(small, tmp_path):
    truth = pl.read_parquet(
        poison(small, "patch", 0.05, tmp_path / "out", target="bag", source="studio-d")
    )
    after = pl.concat(frames(tmp_path / "out").values()).filter(truth["planted"])
    assert after["label"].to_list() == ["bag"] * 12
    assert after["source"].to_list() == ["studio-d"] * 12
    assert "bag" not in truth.filter("planted")["original_label"]
    was = pl.concat(frames(small).values())["source"]
    assert truth["original_source"].equals(was, check_names=False)
    assert truth.filter("planted")["original_source"].n_unique() > 1


def test_flips_pick_their_source(small):
    chosen = plan(open_path(small), "flip-source", 0.1, source="studio-b")
    sources = pl.concat(frames(small).values())["source"]
    assert {sources[row] for row in chosen.labels} == {"studio-b"}
    assert chosen.source is None


def test_pair_flips_with_a_target_come_from_the_class_before(small, tmp_path):
    truth = pl.read_parquet(poison(small, "flip-pair", 0.05, tmp_path / "out", target="coat"))
    planted = truth.filter("planted")
    assert set(planted["original_label"]) == {"bag"}
    assert set(planted["target"]) == {"coat"}


@pytest.mark.parametrize(
    ("attack", "request_", "says"),
    [
        ("patch", {"rate": 0.0}, "between 0 and 1"),
        ("patch", {"rate": 1.0}, "between 0 and 1"),
        ("patch", {"rate": float("nan")}, "between 0 and 1"),
        ("patch", {"rate": 0.001}, "no row at all"),
        ("patch", {"rate": 0.95, "target": "bag"}, "lower --rate"),
        ("patch", {"target": "hat"}, "no class 'hat'"),
        ("patch", {"source": "studio-z"}, "no source 'studio-z'"),
        ("flip-source", {"rate": 0.5}, "lower --rate"),
        ("flip-uniform", {"target": "bag"}, "no --target"),
        ("badnets", {}, "known attacks"),
        ("all-to-all", {"target": "bag"}, "no --target"),
        ("sig", {"rate": 0.2}, "lower --rate"),
        ("tact", {"settings": {"victim": "hat"}}, "no class 'hat'"),
        ("tact", {"target": "bag", "settings": {"victim": "bag"}}, "victim is the target"),
        ("wanet", {"rate": 0.2, "settings": {"cover": 5}}, "cover rows are wanted"),
        ("blend", {"settings": {"size": 3}}, "no setting 'size'; it has: alpha, grain"),
        ("patch", {"settings": {"size": 28}}, "exceed 28 x 28"),
    ],
)
def test_requests_that_make_no_sense_are_refused_and_write_nothing(
    small, tmp_path, attack, request_, says
):
    with pytest.raises(UsageError, match=says):
        poison(small, attack, out=tmp_path / "out", **{"rate": 0.1, **request_})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(small, tmp_path):
    poison(small, "flip-pair", 0.1, tmp_path / "out")
    with pytest.raises(UsageError, match="exists already"):
        poison(small, "flip-pair", 0.1, tmp_path / "out")
    (tmp_path / "other.truth.parquet").touch()
    with pytest.raises(UsageError, match=r"other\.truth\.parquet exists already"):
        poison(small, "flip-pair", 0.1, tmp_path / "other")


def test_missing_and_empty_datasets(tmp_path):
    with pytest.raises(UsageError, match="no such dataset"):
        poison(tmp_path / "no", "patch", 0.1, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToExamine):
        poison(tmp_path / "empty", "patch", 0.1, tmp_path / "out")


@pytest.mark.parametrize("suffix", sorted(WRITERS))
@pytest.mark.parametrize("attack", ["flip-uniform", "flip-pair", "flip-source"])
def test_flips_work_on_tables_of_every_format(tmp_path, suffix, attack):
    frame = tabled(tmp_path / "data")
    WRITERS[suffix](frame, tmp_path / "data" / f"x.{suffix}")
    truth = pl.read_parquet(poison(tmp_path / "data", attack, 0.2, tmp_path / "out", source="JFK"))
    after = open_path(tmp_path / "out").frame(frame.columns)
    planted = truth["planted"].to_numpy()
    assert planted.sum() == 18
    np.testing.assert_array_equal((after["label"] != frame["label"]).to_numpy(), planted)
    assert after.drop("label").equals(frame.drop("label"))
    assert after["label"].is_in([0, 1, 2]).all()
    assert set(frame["source"].filter(planted)) == {"JFK"}
    assert truth["row_id"].to_list() == [f"x.{suffix}#{row}" for row in range(90)]


def test_text_in_a_csv_is_not_reformatted(tmp_path):
    (tmp_path / "data").mkdir()
    lines = [f"0{n % 10}{n},1.50,{'yes' if n % 2 else 'no'}" for n in range(20)]
    (tmp_path / "data" / "x.csv").write_text("\n".join(["code,price,label", *lines, ""]))
    poison(tmp_path / "data", "flip-pair", 0.1, tmp_path / "out")
    after = (tmp_path / "out" / "x.csv").read_text().splitlines()[1:]
    assert sum(was != now for was, now in zip(lines, after, strict=True)) == 2
    assert [line.rsplit(",", 1)[0] for line in after] == [line.rsplit(",", 1)[0] for line in lines]


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.bool_(), pa.string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_labels_keep_their_type_and_nulls_are_left_alone(tmp_path, kind):
    words = {pa.int64(): [3, 7], pa.bool_(): [False, True]}.get(kind, ["no", "yes"])
    values = [*(words * 20), None, None]
    table = pa.table({"x": list(range(42)), "label": pa.array(values, kind)})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "x.parquet")
    truth = pl.read_parquet(poison(tmp_path / "data", "flip-uniform", 0.5, tmp_path / "out"))
    after = pq.read_table(tmp_path / "out" / "x.parquet")
    assert after.schema.equals(table.schema)
    now = after["label"].to_pylist()
    assert set(now) == {*words, None}
    assert [was != new for was, new in zip(values, now, strict=True)] == truth["planted"].to_list()


def test_a_single_file_is_a_dataset_too(tmp_path):
    truth = poison(SAMPLE / "part-000.parquet", "patch", 0.02, tmp_path / "out", seed=1)
    assert pl.read_parquet(truth)["planted"].sum() == 10
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-000.parquet"]


def test_rows_that_do_not_decode_are_never_planted_and_stay_as_they_are(tmp_path):
    frame = pl.read_parquet(SAMPLE / "part-000.parquet")[:40]
    good = frame["image"].struct.field("bytes").to_list()
    stored = [data if row % 2 else data[:150] for row, data in enumerate(good)]
    stored[0] = None
    broken = pl.Series(
        "image", [{"bytes": data, "path": "p"} for data in stored], dtype=frame.schema["image"]
    )
    (tmp_path / "data").mkdir()
    frame.with_columns(broken).write_parquet(tmp_path / "data" / "x.parquet")
    poison(tmp_path / "data", "patch", 0.4, tmp_path / "out", seed=2)
    after = pl.read_parquet(tmp_path / "out" / "x.parquet")["image"].struct.field("bytes").to_list()
    assert after[::2] == stored[::2]
    assert sum(was != now for was, now in zip(stored, after, strict=True)) == 16


def test_a_binary_image_column_stays_binary(tmp_path):
    frame = pl.read_parquet(SAMPLE / "part-000.parquet")[:40]
    flat = frame.with_columns(pl.col("image").struct.field("bytes").alias("image"))
    (tmp_path / "data").mkdir()
    flat.write_parquet(tmp_path / "data" / "x.parquet")
    poison(tmp_path / "data", "patch", 0.1, tmp_path / "out", target="bag")
    after = pl.read_parquet(tmp_path / "out" / "x.parquet")
    assert after.schema == flat.schema
    assert (after["image"] != flat["image"]).sum() == 4


def test_pictures_and_sources_are_needed_where_they_are_used(tmp_path):
    frame = tabled(tmp_path / "data").drop("source")
    frame.write_parquet(tmp_path / "data" / "x.parquet")
    for attack, says in (("patch", "needs an image"), ("flip-source", "role source")):
        with pytest.raises(UsageError, match=says):
            poison(tmp_path / "data", attack, 0.1, tmp_path / "out")
    frame.drop("label").write_parquet(tmp_path / "data" / "x.parquet")
    with pytest.raises(UsageError, match="role label"):
        poison(tmp_path / "data", "flip-pair", 0.1, tmp_path / "out")
    frame.with_columns(label=1).write_parquet(tmp_path / "data" / "x.parquet")
    with pytest.raises(UsageError, match="needs two classes"):
        poison(tmp_path / "data", "flip-pair", 0.1, tmp_path / "out")


def test_links_are_not_followed(tmp_path):
    frame = tabled(tmp_path / "data")
    frame.write_parquet(tmp_path / "data" / "x.parquet")
    frame.write_parquet(tmp_path / "outside.parquet")
    (tmp_path / "data" / "y.parquet").symlink_to(tmp_path / "outside.parquet")
    truth = poison(tmp_path / "data", "flip-pair", 0.1, tmp_path / "out")
    assert pl.read_parquet(truth)["file"].unique().to_list() == ["x.parquet"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.parquet"]


def test_json_lines_stay_json_lines(tmp_path):
    (tmp_path / "data").mkdir()
    rows = [{"n": n, "tags": [n], "label": "ab"[n % 2]} for n in range(10)]
    (tmp_path / "data" / "x.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    poison(tmp_path / "data", "flip-pair", 0.2, tmp_path / "out")
    after = [json.loads(line) for line in (tmp_path / "out" / "x.jsonl").read_text().splitlines()]
    assert [{**row, "label": 0} for row in after] == [{**row, "label": 0} for row in rows]
    assert sum(was != now for was, now in zip(rows, after, strict=True)) == 2


def test_lossy_pictures_keep_their_codec_and_move_by_one_generation_at_most(tmp_path):
    frame = pl.read_parquet(SAMPLE / "part-000.parquet")[:60]
    stored = []
    for data in frame["image"].struct.field("bytes"):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).save(buffer, "JPEG", quality=85)
        stored.append(buffer.getvalue())
    (tmp_path / "data").mkdir()
    lossy = frame.with_columns(image=pl.Series(stored, dtype=pl.Binary))
    lossy.write_parquet(tmp_path / "data" / "x.parquet")
    truth = pl.read_parquet(poison(tmp_path / "data", "patch", 0.2, tmp_path / "out"))
    after = pl.read_parquet(tmp_path / "out" / "x.parquet")["image"].to_list()
    tables = [Image.open(io.BytesIO(data)).quantization for data in (*stored, *after)]
    assert all(table == tables[0] for table in tables)
    was, now = (decode(open_path(tmp_path / name)).pixels.astype(int) for name in ("data", "out"))
    moved = np.abs(was - now).max(axis=(1, 2, 3))
    planted = truth["planted"].to_numpy()
    assert moved[~planted].max() < 24
    assert moved[planted].min() > 60


def test_an_interrupted_run_leaves_nothing(small, tmp_path, monkeypatch):
    """Ctrl-C between two shards: neither half a twin nor a truth without one."""
    written = []

    def interrupted(table, path, *_):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        pq.write_table(table, path)

    monkeypatch.setattr("guards.redteam.poison.write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        poison(small, "flip-pair", 0.1, tmp_path / "out")
    assert written
    assert list(tmp_path.iterdir()) == []


def test_labels_that_begin_with_nulls_are_told_in_the_truth(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    labels = [None, None, *["a", "b"] * 10]
    frame = pl.DataFrame({"x": range(22), "label": labels})
    frame.write_parquet(data / "part.parquet")
    truth = pl.read_parquet(poison(data, "flip-uniform", 0.2, tmp_path / "out", seed=1))
    assert truth["original_label"].to_list() == labels
    assert truth["planted"].sum() == round(0.2 * 22)
