"""Lists of items, and of numbers of many lengths, in a profile."""

from __future__ import annotations

from collections import Counter
from datetime import date

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, merge_profiles, observe, parse_profile, to_bytes
from guards.data.profiles.nouns import TextColumn, VectorColumn
from guards.data.profiles.values import kinds

ITEMS = {
    "words": ["p", "q", "r", "\u202es", ""],
    "truths": [True, False],
    "numbers": [1, 2, 30],
    "days": [date(2024, 1, 1), date(2024, 2, 29)],
}


def lists(what, rows, seed):
    rng = np.random.default_rng(seed)
    found = [
        [ITEMS[what][i] for i in rng.integers(0, len(ITEMS[what]), n)]
        for n in rng.integers(0, 4, rows)
    ]
    return [None if n % 17 == 0 else one for n, one in enumerate(found)]


def opened(root, frame, cut=None):
    parts = [frame] if cut is None else [frame[:cut], frame[cut:]]
    for number, part in enumerate(parts):
        part.write_parquet(root / f"{number}.parquet")
    return open_dataset(root, [f"{number}.parquet" for number in range(len(parts))])


@pytest.mark.parametrize("what", ITEMS)
def test_items_are_counted_once_a_row_and_lists_by_their_length(tmp_path, what):
    values = lists(what, 700, 1)
    frame = pl.DataFrame({"label": ["a", "b"] * 350, "it": values})
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    profile = build_profile(opened(roots[0], frame))
    assert to_bytes(profile) == to_bytes(build_profile(opened(roots[1], frame, 33)))
    assert parse_profile(to_bytes(profile)) == profile
    column = profile.by_name["it"]
    assert isinstance(column, TextColumn)
    slow = Counter(str(item) for one in values if one for item in set(one))
    told = pl.Series(list(slow)).to_list() if what != "truths" else [w.lower() for w in slow]
    assert dict(zip(column.tokens, column.counts, strict=True)) == dict(
        zip(told, slow.values(), strict=True)
    )
    assert column.missing == values.count(None)
    assert column.length.high == max(len(one) for one in values if one is not None)
    merged = merge_profiles([profile, profile]).profile.by_name["it"]
    assert isinstance(merged, TextColumn)
    assert merged.counts == tuple(2 * n for n in column.counts)


@pytest.mark.parametrize(
    ("values", "noun"),
    [
        ([[1.0, 2.0]] * 95 + [[1.0]] * 5, VectorColumn),
        ([[]] + [[1.0, 2.0]] * 99, VectorColumn),
        ([[1.0] * (n % 5) for n in range(100)], TextColumn),
        ([[n % 7] * (n % 5) for n in range(100)], TextColumn),
        ([None] * 100, VectorColumn),
    ],
    ids=["a few shorter", "the first is empty", "ragged", "ragged whole numbers", "none"],
)
def test_lists_of_numbers_are_vectors_if_nearly_all_have_one_length(tmp_path, values, noun):
    whole = all(isinstance(n, int) for one in values if one for n in one)
    dtype = pl.List(pl.Int64 if whole and values[0] is not None else pl.Float64)
    frame = pl.DataFrame({"label": ["a", "b"] * 50, "v": pl.Series(values, dtype=dtype)})
    profile = build_profile(opened(tmp_path, frame))
    column = profile.by_name["v"]
    assert isinstance(column, noun)
    assert parse_profile(to_bytes(profile)) == profile
    if isinstance(column, VectorColumn):
        assert len(column.mean) in (0, 2), "as long as most, not as the first"
    else:
        assert bool(column.tokens) == whole, "numbers that are not whole are no items"


def test_what_becomes_lists_of_another_kind_is_told(tmp_path):
    for name in ("then", "now"):
        (tmp_path / name).mkdir()
    label = ["a", "b"] * 50
    then = pl.DataFrame({"label": label, "v": [[1.0, 2.0]] * 100, "w": [["x"]] * 100})
    now = pl.DataFrame(
        {"label": label, "v": [[1.0] * (n % 9) for n in range(100)], "w": ["x"] * 100}
    )
    seen = observe(opened(tmp_path / "now", now), build_profile(opened(tmp_path / "then", then)))
    assert set(seen.unlike) == {"v", "w"}


def test_lists_of_what_is_no_item_are_left_alone(tmp_path):
    frame = pl.DataFrame({"label": ["a", "b"], "s": [[{"x": 1}], []], "b": [[b"x"], []]})
    assert set(kinds(opened(tmp_path, frame))) == {"label"}
