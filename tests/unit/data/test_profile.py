from __future__ import annotations

import hashlib
import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import (
    STEPS,
    CategoryColumn,
    NumericColumn,
    build_profile,
    encode,
    parse_profile,
    read_profile,
    to_bytes,
    values_of,
    write_profile,
)
from guards.errors import Malformed, UsageError

SAMPLES = Path(__file__).parents[3] / "data_samples"


def dataset_of(tmp_path, *frames):
    for number, frame in enumerate(frames):
        frame.write_parquet(tmp_path / f"{number}.parquet")
    return open_dataset(tmp_path, [f"{number}.parquet" for number in range(len(frames))])


def column(profile, name):
    return next(one for one in profile.columns if one.name == name)


def cells(profile, name, by):
    return next(one for one in profile.cells if (one.column, one.by) == (name, by))


@pytest.fixture(scope="module")
def flights():
    folder = SAMPLES / "flights"
    files = [
        path.relative_to(folder).as_posix()
        for month in ("2013-01", "2013-02", "2013-03")
        for path in sorted((folder / month).glob("*.parquet"))
    ]
    return open_dataset(folder, files)


def test_the_stored_reference_is_the_profile_of_the_first_three_months(flights):
    stored = read_profile(SAMPLES / "flights.reference.profile")
    assert stored.digest == build_profile(flights).digest
    assert stored.rows == 18_000
    assert len(stored.blocks) == 4


def test_the_file_is_small_and_its_sha256_is_the_digest():
    path = SAMPLES / "flights.reference.profile"
    data = path.read_bytes()
    assert len(data) < 100_000
    assert str(read_profile(path).digest) == "sha256:" + hashlib.sha256(data).hexdigest()


def test_numbers_are_the_columns_own(flights):
    profile = build_profile(flights)
    frame = flights.frame(["air_time", "plane_year", "carrier", "source", "label"])
    air = column(profile, "air_time")
    exact = np.quantile(
        frame["air_time"].to_numpy(), np.arange(STEPS + 1) / STEPS, method="inverted_cdf"
    )
    assert np.allclose(air.grid, exact)
    assert column(profile, "plane_year").nulls == frame["plane_year"].null_count()
    carrier = column(profile, "carrier")
    known = dict(zip(carrier.values, carrier.counts, strict=True))
    expected = dict(frame["carrier"].value_counts().iter_rows())
    assert known == {name: rows for name, rows in expected.items() if rows >= 5}
    assert carrier.rest == sum(rows for rows in expected.values() if rows < 5)


def test_cells_are_the_cross_table(flights):
    profile = build_profile(flights)
    found = cells(profile, "label", "source")
    frame = flights.frame(["source", "label"])
    for row, group in zip(found.counts, column(profile, "source").bins, strict=True):
        for counted, value in zip(row, column(profile, "label").bins, strict=True):
            expected = frame.filter(source=group, label=value).height
            assert counted == expected


def test_encode_puts_every_value_in_its_bin(tmp_path):
    values = [1.0, 2.0, 3.0, 4.0, None, float("nan")] * 40
    frame = pl.DataFrame({"x": values, "w": ["a", "b", None, "c", "a", "a"] * 40})
    dataset = dataset_of(tmp_path, frame)
    profile = build_profile(dataset)
    x = column(profile, "x")
    assert isinstance(x, NumericColumn)
    assert x.nulls == 80
    told = pl.Series([None, 0.5, 1.0, 1.5, 4.0, 4.5, float("inf")], dtype=pl.Float64)
    names = [x.bins[code] for code in encode(x, told)]
    assert names[0] == "missing"
    assert names[1] == "below 1"
    assert names[2] == names[3] == "1 to 2"
    assert names[4] == "3 to 4"
    assert names[5] == names[6] == "above 4"
    w = column(profile, "w")
    assert isinstance(w, CategoryColumn)
    assert [w.bins[code] for code in encode(w, pl.Series(["a", None, "zzz"]))] == [
        "a",
        "missing",
        "any other",
    ]


def test_spread_is_the_distance_of_a_block_from_the_others(tmp_path):
    from scipy.stats import ks_2samp

    generator = np.random.default_rng(0)
    parts = [generator.normal(shift, size=3000) for shift in (0.0, 0.1, 0.5)]
    dataset = dataset_of(tmp_path, *(pl.DataFrame({"x": part}) for part in parts))
    exact = max(
        ks_2samp(parts[i], np.concatenate(parts[:i] + parts[i + 1 :])).statistic for i in range(3)
    )
    assert column(build_profile(dataset), "x").spread == pytest.approx(exact, abs=0.01)


def test_one_shard_is_cut_in_four(tmp_path):
    frame = pl.DataFrame({"day": [f"d{i // 50}" for i in range(200)], "x": range(200)})
    profile = build_profile(dataset_of(tmp_path, frame))
    assert profile.blocks == (50, 50, 50, 50)
    day = column(profile, "day")
    assert day.spread == pytest.approx(1.0)
    assert day.new_spread == pytest.approx(1.0)


def test_rare_values_are_not_written(tmp_path):
    words = ["common"] * 50 + [f"secret {i}" for i in range(20)]
    profile = build_profile(dataset_of(tmp_path, pl.DataFrame({"w": words, "x": range(70)})))
    assert b"secret" not in to_bytes(profile)
    assert column(profile, "w").rest == 20


def test_types_of_every_kind(tmp_path):
    rows = 60
    frame = pl.DataFrame(
        {
            "label": [1, 0] * 30,
            "flag": [True, False] * 30,
            "when": [date(2013, 1, 1) + timedelta(i) for i in range(rows)],
            "none": pl.Series([None] * rows, dtype=pl.Float64),
            "same": [1.5] * rows,
            "inf": [float("inf"), 1.0, -1.0] * 20,
            "third": [1 / 3, 2 / 3] * 30,
            "ü" * 500: ["y" * 500 + str(i % 2) for i in range(rows)],
        }
    )
    profile = build_profile(dataset_of(tmp_path, frame))
    assert parse_profile(to_bytes(profile)).digest == profile.digest
    kinds = {one.name: type(one).__name__ for one in profile.columns}
    assert kinds["label"] == kinds["flag"] == kinds["none"] == "CategoryColumn"
    assert kinds["when"] == kinds["same"] == kinds["inf"] == kinds["third"] == "NumericColumn"
    assert column(profile, "third").grid[0] == 1 / 3
    long = profile.columns[-1]
    assert all(len(value) < 100 for value in long.values)
    assert len(long.values) == 2


def test_wide_tables_stay_below_a_megabyte(tmp_path):
    generator = np.random.default_rng(1)
    numbers = {f"n{i}": generator.normal(size=2000) for i in range(40)}
    words = {f"w{i}": generator.choice([f"v{k}" for k in range(30)], 2000) for i in range(10)}
    profile = build_profile(dataset_of(tmp_path, pl.DataFrame({**numbers, **words})))
    assert len(to_bytes(profile)) < 1_000_000
    assert profile.cells


def test_written_and_read_again(tmp_path):
    frame = pl.DataFrame({"x": range(100), "w": ["a", "b"] * 50})
    profile = build_profile(dataset_of(tmp_path, frame))
    write_profile(profile, tmp_path / "p.profile")
    assert read_profile(tmp_path / "p.profile").columns == profile.columns
    with pytest.raises(UsageError):
        read_profile(tmp_path / "absent.profile")


def spoil(change):
    document = json.loads((SAMPLES / "flights.reference.profile").read_text())
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(schema="toadstone-profile/2"),
        lambda d: d.update(extra=1),
        lambda d: d.pop("cells"),
        lambda d: d["columns"].pop(),
        lambda d: d["columns"].append(d["columns"][0]),
        lambda d: d["columns"][0].update(kind="other"),
        lambda d: d["columns"][0].update(count=d["columns"][0]["count"] - 1),
        lambda d: d["columns"][0].update(rest=7),
        lambda d: d["columns"][0]["values"].append("more"),
        lambda d: next(c for c in d["columns"] if c["kind"] == "numeric")["grid"].pop(),
        lambda d: next(c for c in d["columns"] if c["kind"] == "numeric")["grid"].reverse(),
        lambda d: next(c for c in d["columns"] if c["kind"] == "numeric").update(edges=[1]),
        lambda d: next(c for c in d["columns"] if c["kind"] == "numeric").update(grid=["a"] * 257),
        lambda d: d["cells"][0].update(column="absent"),
        lambda d: d["cells"][0].update(by="distance"),
        lambda d: d["cells"][0]["counts"].pop(),
        lambda d: d["cells"][0]["counts"][0].pop(),
        lambda d: d["cells"][0]["moved"].pop(),
        lambda d: d["cells"][0].update(rho="0"),
        lambda d: d.update(blocks=[-1]),
    ],
)
def test_anything_but_a_profile_is_malformed(change):
    with pytest.raises(Malformed):
        parse_profile(spoil(change))


def test_only_the_canonical_form_is_read():
    data = (SAMPLES / "flights.reference.profile").read_bytes()
    parse_profile(data)
    for other in (data + b"\n", data.replace(b",", b", ", 1), b"", b"[]", data[:-1], b"\xff"):
        with pytest.raises(Malformed):
            parse_profile(other)


def test_values_of_special_roles_are_words(flights):
    assert values_of(flights, "source").dtype == pl.String
    assert values_of(flights, "distance").dtype == pl.Float64
