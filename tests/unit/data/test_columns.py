"""Columns as a design and as cells: held to plain filters, on values at the edge of a file."""

from __future__ import annotations

import math
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from guards.data.columns import BINS, LEAST, PAIRED, STEPS, Part, columns_of
from guards.data.dataset import open_dataset
from guards.data.profile import values_of

RNG = np.random.default_rng(11)
INF, NAN = math.inf, math.nan


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    def make(**columns):
        root = tmp_path_factory.mktemp("data")
        rows = max(len(values) for values in columns.values())
        frame = pl.DataFrame(
            {**columns, "label": ["yes", "no"] * (rows // 2) + ["no"] * (rows % 2)}
        )
        frame.write_parquet(root / "a.parquet")
        return open_dataset(root, ["a.parquet"])

    return make


def all_columns(dataset):
    return columns_of(dataset, np.arange(dataset.rows))


def assert_told(dataset):
    """Every cell and every code holds the rows that a filter by its name finds, and no other."""
    found = all_columns(dataset)
    assert np.isfinite(found.design).all()
    for family in found.families:
        values = values_of(dataset, family.column)
        assert len(family.names) == len(family.groups) == len(family.exact)
        for place, part in enumerate(family.names):
            wanted = np.flatnonzero(part.among(values)).tolist()
            assert sorted(family.groups.of(place).tolist()) == wanted, part.told
    for name, coded in found.pairing.items():
        values = values_of(dataset, name)
        assert set(coded.codes.tolist()) <= {-1, *range(len(coded.parts))}
        for code, part in enumerate(coded.parts):
            wanted = np.flatnonzero(part.among(values)).tolist()
            assert np.flatnonzero(coded.codes == code).tolist() == wanted, part.told
    return found


NUMBERS = {
    "two values, and a few that are missing": [0.0, 1.0] * 60 + [None] * 3,
    "two values, and a few that are none": [0.0, 1.0] * 60 + [NAN] * 3,
    "two values, and a few without an end": [0.0, 1.0] * 60 + [INF, -INF, INF],
    "both zeros": [0.0, -0.0] * 30 + [1.0] * 60,
    "many values, and both infinities": [float(n % 150) for n in range(900)] + [INF, -INF] * 9,
    "all but one missing": [None] * 119 + [1.0],
    "more than a float tells apart": [2.0**53 + n for n in range(120)],
    "the ends of what a float can be": [1e308, -1e308, 5e-324, -5e-324] * 30,
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_at_the_edge_fall_in_the_cells_that_are_told(opened, values):
    with np.errstate(over="ignore", invalid="ignore"):
        assert_told(opened(x=values))


SIGNS = ("", " ", "a", "A", "\u00e9", "e\u0301", "\u05d0", "\u200b", "\0", "null", "NaN")
WORDY = {
    "right to left": ["\u05e9\u05dc\u05d5\u05dd", "\u202eabc", "abc"] * 40,
    "very long": ["a" * 100_000, "a" * 100_001, "b"] * 40,
    "nothing, and no value": ["", None, " "] * 40,
    "composed and not": ["\u00e9", "e\u0301", "e"] * 40,
    "a name for each row": [f"row {n}" for n in range(120)],
    "truths": [True, False, None] * 40,
}


@pytest.mark.parametrize("values", WORDY.values(), ids=WORDY.keys())
def test_words_at_the_edge_fall_in_the_cells_that_are_told(opened, values):
    assert_told(opened(x=values))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_far_away_fall_in_the_cells_that_are_told(opened, unit):
    ends = {"ms": datetime(9999, 12, 31), "us": datetime(9999, 12, 31), "ns": datetime(2262, 1, 1)}
    moments = pl.Series([datetime(1970, 1, 1), ends[unit], None] * 40, dtype=pl.Datetime(unit))
    days = pl.Series([0, 2**31 - 1, -(2**31)] * 40, dtype=pl.Int32).cast(pl.Date)
    assert_told(opened(moment=moments, day=days))


@given(
    st.lists(
        st.none() | st.sampled_from([0.0, -0.0, 1.0, INF, -INF, NAN]) | st.floats(-9, 9, width=16),
        min_size=40,
        max_size=120,
    )
)
@settings(max_examples=20, deadline=None)
def test_any_column_of_numbers_falls_in_the_cells_that_are_told(opened, values):
    assert_told(opened(x=[*values, 3.0, 4.0]))


@given(st.lists(st.none() | st.sampled_from(SIGNS) | st.characters(), min_size=40, max_size=99))
@settings(max_examples=20, deadline=None)
def test_any_column_of_words_falls_in_the_cells_that_are_told(opened, values):
    assert_told(opened(x=[*values, "one", "two"]))


def test_a_step_says_whether_a_number_lies_above_a_quantile(opened):
    values = RNG.normal(size=400)
    found = all_columns(opened(x=values))
    steps = found.design[:, found.blocks["x"]]
    assert set(np.unique(steps)) == {0.0, 1.0}
    order = np.argsort(values)
    assert (np.diff(steps[order], axis=0) >= 0).all(), "no step goes down as the number goes up"
    shares = steps.mean(0)
    wanted = 1 - np.arange(1, len(shares) + 1) / (len(shares) + 1)
    np.testing.assert_allclose(np.sort(shares)[::-1], wanted, atol=0.01)


@given(st.integers(-9, 9), st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_no_unit_decides(opened, power, seed):
    """`columns`: "so that no unit and no outlier decides"."""
    values = np.random.default_rng(seed).normal(size=200)
    one, two = (all_columns(opened(x=values * unit)) for unit in (1.0, 2.0**power))
    np.testing.assert_array_equal(one.design, two.design)
    np.testing.assert_array_equal(one.space, two.space)


def test_no_outlier_decides(opened):
    values = RNG.normal(size=200)
    far = np.where(values == values.max(), 1e300, values)
    one, two = (all_columns(opened(x=each)) for each in (values, far))
    np.testing.assert_array_equal(one.design, two.design)


def test_the_range_of_a_number_is_as_far_as_another_word(opened):
    numbers, words = np.linspace(0, 1, 200), ["a", "b"] * 100
    found = all_columns(opened(number=numbers, word=words))
    space = {name: found.space[:, block] for name, block in found.blocks.items()}
    assert np.linalg.norm(space["number"][0] - space["number"][-1]) == pytest.approx(1)
    assert np.linalg.norm(space["word"][0] - space["word"][1]) == pytest.approx(1)


def test_what_is_missing_has_a_column_of_its_own_and_no_side(opened):
    values = [None if n % 4 == 0 else float(n) for n in range(200)]
    found = all_columns(opened(x=values))
    lacking = np.array([value is None for value in values])
    assert (found.design[:, -1] == lacking).all()
    assert (found.design[lacking, :-1] == 0.5).all()


def test_constants_and_their_like_shape_nothing(opened):
    found = all_columns(opened(same=[1.0] * 50, none=[None] * 50, word=["a"] * 50))
    assert found.design.shape == (50, 0)
    assert found.space.shape == (50, 0)
    assert (found.families, dict(found.pairing), dict(found.blocks)) == ((), {}, {})


def test_the_commonest_words_have_a_column_and_ties_are_in_order(opened):
    words = [f"w{n:02}" for n in range(STEPS + 9) for _ in range(3)]
    one, two = (all_columns(opened(x=each)) for each in (words, words[::-1]))
    assert one.design.shape[1] == STEPS
    np.testing.assert_array_equal(one.design, two.design[::-1])


def test_only_large_cells_of_at_most_half_the_rows_are_peers(opened):
    words = ["half"] * 100 + ["more"] * (LEAST - 1) + ["some"] * LEAST + ["rest"] * 85
    (family,) = all_columns(opened(x=words)).families
    assert [part.value for part in family.names] == ["half", "rest", "some"]
    (family,) = all_columns(opened(x=["most"] * 101 + ["rest"] * 99)).families
    assert [part.value for part in family.names] == ["rest"]


def test_a_number_of_many_values_is_cut_into_fine_bins(opened):
    found = all_columns(opened(x=RNG.normal(size=BINS[0] * LEAST)))
    (bins,) = [family for family in found.families if family.kind == "bin"]
    assert len(bins.groups) == BINS[0]
    assert set(bins.groups.sizes.tolist()) == {LEAST}
    assert bins.exact.all()
    few = all_columns(opened(x=[*range(BINS[0])] * LEAST)).families
    assert [family.kind for family in few] == ["value"]


def test_pairing_has_room_for_few_values_and_none_is_lost(opened):
    values = [float(n) for n in range(PAIRED + 20) for _ in range(LEAST)]
    coded = all_columns(opened(x=values)).pairing["x"]
    assert (coded.codes >= 0).all()
    assert sum(part.value is not None for part in coded.parts) == PAIRED
    assert len(np.unique(coded.exact)) == PAIRED + 20
    words = [f"w{n}" for n in values]
    coded = all_columns(opened(x=words)).pairing["x"]
    assert (len(coded.parts), (coded.codes < 0).sum()) == (PAIRED, 20 * LEAST)


def test_a_single_row_and_no_row_are_no_reason_to_fail(opened):
    dataset = opened(x=[1.0, 2.0, 3.0], word=["a", "b", None])
    for rows in ([1], []):
        found = columns_of(dataset, np.array(rows, np.int64))
        assert found.design.shape == (len(rows), 0)
        assert found.families == ()


SERIES = pl.Series([1.0, 2.0, 3.0, None, INF, -INF, -0.0])


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        (Part(column="x"), [3]),
        (Part(column="x", value=0.0), [6]),
        (Part(column="x", value=INF), [4]),
        (Part(column="x", low=1.0), [1, 2, 4]),
        (Part(column="x", high=1.0), [0, 5, 6]),
        (Part(column="x", low=1.0, high=3.0), [1, 2]),
        (Part(column="x", low=0.0, but=(2.0, INF)), [0, 2]),
        (Part(column="x", high=0.0, but=(0.0,)), [5]),
    ],
)
def test_a_range_holds_its_upper_end_and_not_its_lower(part, rows):
    assert np.flatnonzero(part.among(SERIES)).tolist() == rows


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Part(column="x\u202ey", value="a\nb"), r"x\u202ey = a\nb"),
        (Part(column="x" * 99, value="v" * 99), f"{'x' * 60} = {'v' * 60}"),
        (Part(column="x", value=-INF), "x = -inf"),
        (Part(column="x", high=0.5), "x up to 0.5"),
        (Part(column="x", low=1e-9), "x above 1e-09"),
    ],
)
def test_parts_are_told_harmlessly(part, told):
    assert part.told == told


def test_dates_are_cells_of_days(opened):
    days = [date(2013, 1, 1 + n % 3) for n in range(90)]
    found = assert_told(opened(day=days))
    assert [len(family.groups) for family in found.families] == [3]


def test_ranks_are_those_of_scipy_and_the_middle_one_where_none_is(opened):
    numbers = {
        "a": [3.0, NAN, 3.0, 1.0, None, 9.0] * 4,
        "b": list(range(24)),
        "c": RNG.normal(size=24).tolist(),
    }
    ranks = all_columns(opened(**numbers, word=["x", "y"] * 12)).ranks
    assert ranks.shape == (24, 3)
    for place, values in enumerate(numbers.values()):
        known = np.array([NAN if value is None else value for value in values], float)
        held = np.isfinite(known)
        assert ranks[held, place] * 24 == pytest.approx(rankdata(known[held]), rel=1e-5)
        assert ranks[~held, place] == pytest.approx(12.5 / 24)


def test_ranks_are_none_without_words_and_of_few_numbers(opened):
    numbers = {name: RNG.normal(size=24).tolist() for name in "abc"}
    assert all_columns(opened(**numbers)).ranks.shape == (24, 0)
    few = {name: numbers[name] for name in "ab"}
    assert all_columns(opened(**few, word=["x", "y"] * 12)).ranks.shape == (24, 0)
