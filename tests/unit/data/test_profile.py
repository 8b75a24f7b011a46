"""Profiles of real and of odd data: what is exact is exact, and what is not says by how much."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import (
    CategoryColumn,
    NumericColumn,
    TextColumn,
    VectorColumn,
    build_profile,
    coarse,
    coarse_bins,
    encode,
    encoded,
    observe,
    parse_profile,
    read_profile,
    survey,
    to_bytes,
    values_of,
    write_profile,
)
from guards.data.profiles import chunks as passing
from guards.data.profiles.measures import unlettered
from guards.data.profiles.values import marks, plain, token_lists, tokens
from guards.errors import UsageError
from guards.numerics.sketches import distinct

SAMPLES = Path(__file__).parents[3] / "data_samples"


def dataset_of(tmp_path, *frames, **given):
    for number, frame in enumerate(frames):
        frame.write_parquet(tmp_path / f"{number}.parquet")
    files = [f"{number}.parquet" for number in range(len(frames))]
    return open_dataset(tmp_path, files, **given)


@pytest.fixture(scope="module")
def flights():
    folder = SAMPLES / "flights"
    files = [
        path.relative_to(folder).as_posix()
        for month in ("2013-01", "2013-02", "2013-03")
        for path in sorted((folder / month).glob("*.parquet"))
    ]
    return open_dataset(folder, files)


@pytest.fixture(scope="module")
def flights_profile(flights):
    return build_profile(flights)


class TestFlights:
    def test_the_stored_reference_is_that_of_the_first_three_months(self, flights_profile):
        stored = read_profile(SAMPLES / "flights.reference.profile")
        assert stored.digest == flights_profile.digest
        assert stored.rows == 18_000
        assert stored.blocks == (2250,) * 8

    def test_the_file_is_small_and_its_sha256_is_the_digest(self):
        path = SAMPLES / "flights.reference.profile"
        data = path.read_bytes()
        assert len(data) < 300_000
        assert str(read_profile(path).digest) == "sha256:" + hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize("name", ["air_time", "dep_delay", "distance", "hour", "plane_year"])
    def test_ranks_of_numbers_are_exact(self, flights, flights_profile, name):
        values = np.sort(flights.frame([name]).to_series().drop_nulls().to_numpy())
        column = flights_profile.by_name[name]
        assert column.error == 0
        assert column.points == tuple(sorted(set(values.tolist())))
        assert np.cumsum(column.weights).tolist() == [(values <= p).sum() for p in column.points]
        assert (column.low, column.high) == (values[0], values[-1])
        assert column.nulls == flights.frame([name]).to_series().null_count()
        found = distinct(unlettered(column.distinct))
        assert found == pytest.approx(len(column.points), rel=0.1)

    def test_cells_are_half_open_intervals(self, flights, flights_profile):
        column = flights_profile.by_name["distance"]
        values = flights.frame(["distance"]).to_series().to_numpy()
        edges = [-np.inf, *column.edges, np.inf]
        rows = [((low <= values) & (values < high)).sum() for low, high in pairwise(edges)]
        assert list(column.cells[1:]) == rows
        assert column.bins[:3] == ("missing", "below 60", "60 to 185")
        assert column.bins[-1] == "5000 and above"

    def test_categories_are_counted(self, flights, flights_profile):
        carrier = flights_profile.by_name["carrier"]
        known = dict(zip(carrier.values, carrier.counts, strict=True))
        expected = dict(flights.frame(["carrier"]).to_series().value_counts().iter_rows())
        assert known == {name: rows for name, rows in expected.items() if rows >= 5}
        assert carrier.rest == sum(rows for rows in expected.values() if rows < 5)
        assert carrier.bound == max((r for r in expected.values() if r < 5), default=0)
        assert carrier.error == 0

    def test_every_pair_is_its_cross_table(self, flights, flights_profile):
        names = list(flights_profile.by_name)
        assert {frozenset((p.first, p.second)) for p in flights_profile.pairs} == {
            frozenset(pair) for pair in combinations(names, 2)
        }
        frame = flights.frame(["source", "label"])
        table = flights_profile.table("label", "source")
        label, source = (flights_profile.by_name[n].bins for n in ("label", "source"))
        for row, given in zip(table, label, strict=True):
            for counted, where in zip(row, source, strict=True):
                assert counted == frame.filter(source=where, label=given).height
        assert (flights_profile.table("source", "label") == table.T).all()
        assert flights_profile.table("source", "absent") is None

    def test_what_the_groups_show_among_blocks(self, flights_profile):
        by = [groups.by for groups in flights_profile.groups]
        assert by[0] == "label"
        assert set(by) == {"label", "source", "weekday", "carrier", "dest"}
        assert len(by) == 50
        assert all(0 <= groups.rho <= 1 for groups in flights_profile.groups)

    def test_observed_against_itself_it_is_the_same(self, flights, flights_profile):
        seen = observe(flights, flights_profile)
        for name, column in flights_profile.by_name.items():
            one = seen.columns[name]
            assert one.cells.tolist() == list(column.cells)
            assert one.count == column.count
            if isinstance(column, NumericColumn):
                assert one.upto.tolist() == np.cumsum(column.weights).tolist()
            else:
                assert one.listed.tolist() == list(column.counts)
                assert one.unlisted == column.rest
        for pair, table in zip(flights_profile.pairs, seen.tables, strict=True):
            assert table.tolist() == [list(row) for row in pair.counts]
        assert (seen.gone, seen.added, seen.unlike) == ((), (), ())


class TestKinds:
    def test_types_of_every_kind(self, tmp_path):
        rows = 60
        moments = [datetime(2013, 1, 1) + timedelta(hours=i) for i in range(rows)]
        frame = pl.DataFrame(
            {
                "label": [1, 0] * 30,
                "flag": [True, False] * 30,
                "when": [date(2013, 1, 1) + timedelta(i) for i in range(rows)],
                "at": pl.Series(moments).cast(pl.Datetime("ms")),
                "zoned": pl.Series(moments).dt.replace_time_zone("Europe/Paris"),
                "clock": [time(i % 24) for i in range(rows)],
                "lasts": [timedelta(seconds=i) for i in range(rows)],
                "price": pl.Series([Decimal(i) / 8 for i in range(rows)], dtype=pl.Decimal(10, 3)),
                "none": pl.Series([None] * rows, dtype=pl.Float64),
                "nothing": pl.Series([None] * rows),
                "same": [1.5] * rows,
                "inf": [float("inf"), 1.0, -1.0] * 20,
                "third": [1 / 3, 2 / 3] * 30,
                "huge": pl.Series([2**63 - 1, -(2**63)] * 30, dtype=pl.Int64),
                "kind": pl.Series(["a", "b"] * 30, dtype=pl.Enum(["a", "b"])),
                "ü" * 500: ["y" * 500 + str(i % 2) for i in range(rows)],
            }
        )
        profile = build_profile(dataset_of(tmp_path, frame))
        assert parse_profile(to_bytes(profile)).digest == profile.digest
        kinds = {one.name: type(one).__name__ for one in profile.columns}
        words = {name for name, kind in kinds.items() if kind == "CategoryColumn"}
        assert words == {"label", "flag", "nothing", "kind", "ü" * 500}
        forms = {c.name: c.form for c in profile.columns if isinstance(c, NumericColumn)}
        assert {forms[n] for n in ("when", "at", "zoned")} == {"moment"}
        assert (forms["clock"], forms["lasts"], forms["price"]) == ("clock", "duration", "number")
        column = profile.by_name
        start = (datetime(2013, 1, 1) - datetime(1970, 1, 1)).total_seconds()
        assert column["at"].low == column["when"].low == start
        assert column["zoned"].low == start - 3600, "Paris is an hour ahead of UTC"
        assert column["when"].bins[1:3] == ("below 2013-01-01", "2013-01-01 to 2013-01-03")
        assert column["at"].bins[1] == "below 2013-01-01"
        assert column["price"].high == 59 / 8
        assert column["inf"].infinite == (0, 20)
        assert column["none"].bins == ("missing", "any value")
        assert column["none"].low is None
        assert column["third"].points[0] == 1 / 3
        assert column["huge"].high == 2.0**63
        long = profile.columns[-1]
        assert all(len(value) < 100 for value in long.values)
        assert len(long.values) == 2

    def test_nan_is_missing_and_told_from_null(self, tmp_path):
        values = [1.0, None, float("nan"), -0.0, 0.0, float("-inf")] * 20
        column = build_profile(dataset_of(tmp_path, pl.DataFrame({"x": values}))).by_name["x"]
        assert (column.nulls, column.nans, column.infinite, column.count) == (20, 20, (20, 0), 60)
        assert column.cells[0] == column.missing == 40
        assert column.points == (0, 1)
        assert str(column.points[0]) == "0"

    def test_a_file_in_milliseconds_and_one_in_nanoseconds_are_alike(self, tmp_path):
        moments = pl.Series("at", [datetime(2013, 1, 1) + timedelta(i) for i in range(50)])
        made = []
        for unit in ("ms", "ns"):
            (tmp_path / unit).mkdir()
            frame = pl.DataFrame({"at": moments.cast(pl.Datetime(unit))})
            made.append(build_profile(dataset_of(tmp_path / unit, frame)).by_name["at"])
        assert made[0].points == made[1].points

    def test_rare_values_are_not_written(self, tmp_path):
        words = ["common"] * 50 + [f"secret {i}" for i in range(20)] + ["pair"] * 4
        frame = pl.DataFrame({"w": words, "x": range(74)})
        profile = build_profile(dataset_of(tmp_path, frame))
        assert b"secret" not in to_bytes(profile)
        column = profile.by_name["w"]
        assert (column.rest, column.bound) == (24, 4)
        assert distinct(unlettered(column.distinct)) == pytest.approx(22, abs=1)

    def test_five_thousand_categories(self, tmp_path):
        generator = np.random.default_rng(0)
        words = [f"category {i}" for i in generator.integers(0, 5000, 60_000)]
        profile = build_profile(
            dataset_of(tmp_path, pl.DataFrame({"w": words, "x": range(60_000)}))
        )
        column = profile.by_name["w"]
        expected = {w: c for w, c in pl.Series(words).value_counts().iter_rows() if c >= 5}
        assert dict(zip(column.values, column.counts, strict=True)) == expected
        assert len(column.groups) == 24
        assert len(to_bytes(profile)) < 200_000

    def test_an_overflowing_dictionary_says_what_it_lost(self, tmp_path, monkeypatch):
        monkeypatch.setattr("guards.data.profiles.tally.DICTIONARY", 64)
        monkeypatch.setattr(passing, "CHUNK", 512)
        monkeypatch.setattr(passing, "STRIP", 256)
        generator = np.random.default_rng(1)
        words = [f"w{i}" for i in np.minimum(generator.geometric(0.03, 8000), 200)]
        column = build_profile(dataset_of(tmp_path, pl.DataFrame({"w": words}))).by_name["w"]
        assert 0 < column.error < 8000 / 32
        exact = dict(pl.Series(words).value_counts().iter_rows())
        for value, count in zip(column.values, column.counts, strict=True):
            assert count <= exact[value] <= count + column.error
        others = [count for value, count in exact.items() if value not in column.values]
        assert max(others) <= column.bound
        assert column.rest == 8000 - sum(column.counts)

    def test_values_of_special_roles_are_words(self, flights):
        assert values_of(flights, "source").dtype == pl.String
        assert values_of(flights, "distance").dtype == pl.Float64

    def test_only_columns_with_a_role_are_in_it(self, tmp_path):
        frame = pl.DataFrame({"id": ["a", "b"] * 9, "x": range(18), "b": [b"."] * 18})
        assert [c.name for c in build_profile(dataset_of(tmp_path, frame)).columns] == ["x"]


class TestText:
    TEXTS = ("Hello hello WORLD", "привет мир", "a\u200bb", None, "", "日本語", "x\x00 \u202ey")

    def test_tokens_lengths_and_marks(self, tmp_path):
        texts = [*self.TEXTS] * 10
        profile = build_profile(dataset_of(tmp_path, pl.DataFrame({"text": texts})))
        column = profile.by_name["text"]
        assert isinstance(column, TextColumn)
        assert (column.count, column.missing) == (60, 10)
        assert column.length.points == tuple(sorted({len(t) for t in self.TEXTS if t is not None}))
        known = dict(zip(column.tokens, column.counts, strict=True))
        assert known == dict.fromkeys(
            ("hello", "world", "привет", "мир", "a", "b", "日本語", "x", "y"), 10
        )
        told = {name: rows for name, rows in column.marks.items() if rows}
        assert told == dict(
            {"latin": 30, "cyrillic": 10, "han": 10, "zero-width": 10, "direction": 10},
            control=10,
            empty=10,
        )
        assert parse_profile(to_bytes(profile)) == profile

    def test_a_token_counts_once_a_text_and_long_ones_are_cut(self):
        texts = pl.Series(["a A a", "a", "z" * 300, None])
        found = dict(tokens(token_lists(texts)).iter_rows())
        assert found.pop("a") == 2
        ((long, rows),) = found.items()
        assert len(long) < 100
        assert rows == 1

    def test_marks_of_no_texts(self):
        assert set(marks(pl.Series([None], dtype=pl.String)).values()) == {0}

    def test_a_batch_against_it(self, tmp_path):
        then = dataset_of(tmp_path, pl.DataFrame({"text": ["good day", "bad day"] * 30}))
        profile = build_profile(then)
        (tmp_path / "now").mkdir()
        batch = pl.DataFrame({"text": ["good night", "cf trigger day"] * 20})
        seen = observe(dataset_of(tmp_path / "now", batch), profile).columns["text"]
        listed = dict(zip(profile.by_name["text"].tokens, seen.listed.tolist(), strict=True))
        assert listed == {"day": 20, "good": 20, "bad": 0}
        assert set(seen.commonest) == {("night", 20), ("cf", 20), ("trigger", 20)}
        assert seen.new == 3
        assert seen.marks["latin"] == 40


class TestVectors:
    def test_moments_and_norms(self, tmp_path):
        generator = np.random.default_rng(0)
        vectors = generator.normal(size=(300, 6)).astype(np.float32)
        lists = [None, [1.0], [float("nan")] * 6, *vectors.tolist()]
        frame = pl.DataFrame({"v": pl.Series(lists, dtype=pl.List(pl.Float32))})
        dataset = dataset_of(tmp_path, frame[3:].vstack(frame[:3]))
        profile = build_profile(dataset)
        column = profile.by_name["v"]
        assert isinstance(column, VectorColumn)
        assert column.mean == pytest.approx(vectors.mean(axis=0, dtype=float), abs=1e-6)
        assert column.variance == pytest.approx(vectors.var(axis=0, dtype=float), rel=1e-5)
        assert (column.count, column.missing, column.odd) == (300, 3, 2)
        norms = np.sort(np.linalg.norm(vectors.astype(float), axis=1))
        assert column.norm.low == pytest.approx(norms[0])
        assert column.norm.high == pytest.approx(norms[-1])
        assert parse_profile(to_bytes(profile)) == profile
        seen = observe(dataset, profile).columns["v"]
        assert seen.mean.tolist() == list(column.mean)
        assert (seen.count, seen.odd) == (300, 2)

    def test_the_shift_of_a_block(self, tmp_path):
        vectors = np.random.default_rng(1).normal(size=(400, 3))
        vectors[300:] += 2.0
        frame = pl.DataFrame({"v": pl.Series(vectors.tolist(), dtype=pl.Array(pl.Float64, 3))})
        assert build_profile(dataset_of(tmp_path, frame)).by_name["v"].spread > 1

    def test_another_width_is_odd(self, tmp_path):
        then = pl.DataFrame({"v": [[1.0, 2.0]] * 20})
        profile = build_profile(dataset_of(tmp_path, then))
        (tmp_path / "now").mkdir()
        now = dataset_of(tmp_path / "now", pl.DataFrame({"v": [[1.0, 2.0, 3.0]] * 20}))
        seen = observe(now, profile).columns["v"]
        assert (seen.count, seen.odd) == (0, 20)


class TestBlocks:
    def test_spread_is_the_distance_of_a_block_from_the_others(self, tmp_path):
        from scipy.stats import ks_2samp

        generator = np.random.default_rng(0)
        parts = [generator.normal(shift, size=3000) for shift in (0.0, 0.0, 0.1, 0.5)]
        dataset = dataset_of(tmp_path, *(pl.DataFrame({"x": part}) for part in parts))
        exact = max(
            ks_2samp(parts[i], np.concatenate(parts[:i] + parts[i + 1 :])).statistic
            for i in range(4)
        )
        profile = build_profile(dataset)
        assert profile.blocks == (3000,) * 4
        assert profile.by_name["x"].spread == pytest.approx(exact, abs=0.01)

    def test_days_are_new_in_every_block(self, tmp_path):
        frame = pl.DataFrame({"day": [f"d{i // 50}" for i in range(200)], "x": range(200)})
        profile = build_profile(dataset_of(tmp_path, frame))
        assert profile.blocks == (50, 50, 50, 50)
        day = profile.by_name["day"]
        assert day.spread == day.new_spread == pytest.approx(1.0)

    @pytest.mark.parametrize("rows", [1, 2, 3, 5])
    def test_a_handful_of_rows(self, tmp_path, rows):
        frame = pl.DataFrame({"x": range(rows), "w": ["a"] * rows, "text": ["b"] * rows})
        profile = build_profile(dataset_of(tmp_path, frame))
        assert profile.rows == rows
        assert parse_profile(to_bytes(profile)) == profile

    def test_missing_rates_of_blocks(self, tmp_path):
        frame = pl.DataFrame({"x": [None] * 20 + [1.0] * 180})
        assert build_profile(dataset_of(tmp_path, frame)).by_name["x"].null_spread == 0.4


class TestCells:
    def test_encode_puts_every_value_in_its_bin(self, tmp_path):
        values = [1.0, 2.0, 3.0, 4.0, None, float("nan")] * 40
        frame = pl.DataFrame({"x": values, "w": ["a", "b", None, "c", "a", "a"] * 40})
        profile = build_profile(dataset_of(tmp_path, frame))
        x, w = profile.by_name["x"], profile.by_name["w"]
        told = pl.Series([None, 0.5, 1.0, 1.5, 4.0, 4.5, 5.0, float("inf"), float("-inf")])
        names = [x.bins[code] for code in encode(x, told)]
        assert names[:4] == ["missing", "below 1", "1 to 2", "1 to 2"]
        assert names[4:] == ["4 to 5", "4 to 5", "5 and above", "5 and above", "below 1"]
        assert isinstance(w, CategoryColumn)
        given = pl.Series(["a", None, "zzz"])
        assert [w.bins[code] for code in encode(w, given)] == ["a", "missing", "any other"]

    def test_encoded_rows_are_those_of_the_dataset(self, flights, flights_profile):
        (part,) = encoded(flights, flights_profile, ["carrier", "distance"])
        carrier = flights_profile.by_name["carrier"]
        names = flights.frame(["carrier"]).to_series().to_list()
        assert [carrier.bins[code] for code in part.codes["carrier"]] == names
        assert part.start == 0
        assert (
            part.values["distance"].to_list() == flights.frame(["distance"]).to_series().to_list()
        )

    @pytest.mark.parametrize("join", [1, 2, 3, 4])
    @pytest.mark.parametrize("bins", [2, 3, 4, 10, 35])
    def test_coarse_cells_join_neighbours_and_keep_the_outer_ones(self, bins, join):
        places = coarse(bins, join, words=False).tolist()
        assert places[0] == 0
        assert sorted(set(places)) == list(range(max(places) + 1))
        assert places == sorted(places)
        if bins > 3:
            assert places.count(places[1]) == places.count(places[-1]) == 1
            inner = [places.count(p) for p in sorted(set(places[2:-1]))]
            assert all(many == join for many in inner[:-1])
        words = coarse(bins, join, words=True).tolist()
        assert words[0] == 0
        assert words[-1] == max(words)
        assert max(words) - 1 == -(-(bins - 2) // join)

    def test_names_of_coarse_cells(self, flights_profile):
        hour, carrier = flights_profile.by_name["hour"], flights_profile.by_name["carrier"]
        assert coarse_bins(hour, 1) == hour.bins
        assert coarse_bins(hour, 4)[:4] == ("missing", "below 5", "5 to 9", "9 to 13")
        assert coarse_bins(carrier, 4)[-1] == "any other"
        assert coarse_bins(carrier, 4)[:3] == ("missing", *carrier.groups[:2])

    def test_like_another_the_cells_are_the_others(self, tmp_path, flights_profile):
        month = SAMPLES / "flights" / "2013-06"
        dataset = open_dataset(month, [path.name for path in sorted(month.glob("*.parquet"))])
        both = survey(dataset, like=flights_profile, against=[flights_profile])
        own, (seen,) = both.profile, both.observed
        for name, column in flights_profile.by_name.items():
            assert own.by_name[name].bins == column.bins
            assert own.by_name[name].cells == tuple(seen.columns[name].cells)
        for mine, theirs, table in zip(own.pairs, flights_profile.pairs, seen.tables, strict=True):
            assert (mine.first, mine.second) == (theirs.first, theirs.second)
            assert table.tolist() == [list(row) for row in mine.counts]
        assert own != build_profile(dataset)

    def test_columns_that_go_come_or_change(self, tmp_path):
        then = pl.DataFrame({"a": range(50), "b": ["x"] * 50, "c": range(50), "n": range(50)})
        profile = build_profile(dataset_of(tmp_path, then))
        (tmp_path / "now").mkdir()
        now = then.select("b", pl.col("c").cast(pl.String), pl.lit(None).alias("n"), d="a")
        seen = observe(dataset_of(tmp_path / "now", now), profile)
        assert (seen.gone, seen.added, seen.unlike) == (("a",), ("d",), ("c",))
        assert set(seen.columns) == {"b", "n"}, "nothing but nulls is like any other column"
        assert seen.columns["n"].nulls == 50
        assert seen.table("b", "c") is None


class TestSize:
    def test_wide_tables_stay_below_a_megabyte(self, tmp_path):
        generator = np.random.default_rng(1)
        numbers = {f"n{i}": generator.normal(size=20_000) for i in range(40)}
        words = {f"w{i}": generator.choice([f"v{k}" for k in range(30)], 20_000) for i in range(10)}
        profile = build_profile(dataset_of(tmp_path, pl.DataFrame({**numbers, **words})))
        assert len(to_bytes(profile)) < 1_000_000
        assert len(profile.pairs) > 500
        many = Counter(name for pair in profile.pairs for name in (pair.first, pair.second))
        assert len(many) == 50
        assert min(many.values()) > 10, "every column is in some pairs"
        small = build_profile(open_dataset(tmp_path, ["0.parquet"]), room=50_000)
        assert len(small.pairs) < len(profile.pairs)
        assert small.columns == profile.columns

    def test_written_and_read_again(self, tmp_path):
        frame = pl.DataFrame({"x": range(100), "w": ["a", "b"] * 50})
        profile = build_profile(dataset_of(tmp_path, frame))
        write_profile(profile, tmp_path / "p.profile")
        assert read_profile(tmp_path / "p.profile") == profile
        with pytest.raises(UsageError, match="no such file"):
            read_profile(tmp_path / "absent.profile")


def test_seconds_are_exact():
    kinds = pl.Series([datetime(2013, 1, 1, 0, 0, 0, 123456)])
    from guards.data.profiles.values import Kind

    kind = Kind(name="t", type="Datetime", kind="numeric", form="moment")
    assert plain(kinds, kind)[0] == 1356998400.123456
