"""Laws of profiles: what they depend on, and what they do not.

Chunks of 2^18 rows would make these tests about waiting; the laws do not depend on their size, so
here a chunk has 64 rows and a strip 16, and data of 300 rows passes through a tree of them.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards.data.dataset import Dataset, open_dataset
from guards.data.profile import (
    CategoryColumn,
    Profile,
    build_profile,
    encode,
    observe,
    survey,
    to_bytes,
)
from guards.data.profiles import chunks
from guards.data.profiles.tables import shape_of
from guards.numerics.sketches import ranks

unhurried = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 64)
    monkeypatch.setattr(chunks, "STRIP", 16)
    monkeypatch.setattr(chunks, "WIDE_STRIP", 8)
    monkeypatch.setattr("guards.data.profiles.gather._ON_THE_WAY", 24)


SHAPES = {
    "normal": lambda g, n: g.normal(size=n),
    "ties": lambda g, n: g.integers(0, 4, n).astype(float),
    "atom": lambda g, n: np.where(g.random(n) < 0.6, -0.0, g.normal(size=n)),
    "extremes": lambda g, n: g.choice([1e308, -1e308, 0.0, 5e-324], n),
    "ascending": lambda g, n: np.arange(n, dtype=float),
    "odd": lambda g, n: g.choice([np.nan, np.inf, -np.inf, 1.0, 2.0], n),
}


def table(seed: int, rows: int, shape: str) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    values, gaps = SHAPES[shape](generator, rows), generator.random(rows) < 0.1
    return pl.DataFrame(
        {
            "label": generator.choice(["a", "b"], rows),
            "x": [None if gap else value for gap, value in zip(gaps, values.tolist(), strict=True)],
            "w": generator.choice([f"w{i}" for i in range(30)], rows),
            "text": generator.choice(["one", "two three", "\u200bfour", ""], rows),
            "v": pl.Series(vectors(generator, rows), dtype=pl.List(pl.Float64)),
        },
        schema_overrides={"x": pl.Float64},
    )


def vectors(generator: Any, rows: int) -> list[Any]:
    """Of few digits, so that many lie at the edge of a cell, and some that are none."""
    found: list[Any] = generator.integers(-9, 9, (rows, 9)) / 10
    odd = [None, [1.0], [np.nan] * 9, [1e308] * 9, []]
    chosen = generator.random(rows) < 0.1
    return [
        odd[place % 5] if o else one
        for place, (o, one) in enumerate(zip(chosen, found.tolist(), strict=True))
    ]


def shards(root: Path, frame: pl.DataFrame, cuts: Any, order: Any = None) -> Dataset:
    """The frame in shards cut at `cuts`; `order` says which part comes first."""
    bounds = sorted({0, *(cut % frame.height for cut in cuts), frame.height})
    parts = [frame[a:b] for a, b in pairwise(bounds)]
    for number, place in enumerate(order(len(parts)) if order else range(len(parts))):
        parts[place].write_parquet(root / f"{number:03d}.parquet", row_group_size=10)
    return open_dataset(root, [f"{number:03d}.parquet" for number in range(len(parts))])


cuts = st.lists(st.integers(1, 10_000), max_size=6)
data = st.tuples(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from(sorted(SHAPES)))


@unhurried
@given(data, cuts)
def test_a_profile_does_not_depend_on_where_shards_are_cut(tmp_path_factory, made, where):
    """The result is a function of the rows and their order: bit for bit."""
    frame = table(*made)
    one = build_profile(shards(tmp_path_factory.mktemp("one"), frame, []))
    many = build_profile(shards(tmp_path_factory.mktemp("many"), frame, where))
    assert to_bytes(one) == to_bytes(many)


@unhurried
@given(data, cuts, st.integers(0, 2**32))
def test_a_batch_looks_the_same_in_any_order_of_any_shards(tmp_path_factory, made, where, seed):
    """Counts of parts add up to those of the whole: bit for bit, sketches included."""
    frame = table(*made)
    reference = build_profile(shards(tmp_path_factory.mktemp("then"), table(1, 200, "normal"), []))
    shuffle = np.random.default_rng(seed).permutation
    one = observe(shards(tmp_path_factory.mktemp("one"), frame, []), reference)
    many = observe(shards(tmp_path_factory.mktemp("many"), frame, where, shuffle), reference)
    assert told(one) == told(many)


@unhurried
@given(data, cuts)
def test_a_batch_counted_alone_is_counted_slowly(tmp_path_factory, made, where):
    """Without texts and vectors a chunk is a strip; its counts are the obvious ones."""
    narrow = ["label", "x", "w"]
    root = tmp_path_factory.mktemp("then")
    reference = build_profile(shards(root, table(1, 200, "normal").select(narrow), []))
    frame = table(*made).select(narrow)
    dataset = shards(tmp_path_factory.mktemp("now"), frame, where)
    seen = observe(dataset, reference)
    assert told(seen) == told(survey(dataset, against=[reference]).observed[0])
    codes = {name: encode(column, frame[name]) for name, column in reference.by_name.items()}
    for name, column in reference.by_name.items():
        one = seen.columns[name]
        bins = len(column.bins)
        assert one.cells.tolist() == [int((codes[name] == code).sum()) for code in range(bins)]
        if isinstance(column, CategoryColumn):
            assert one.listed.tolist() == [(frame[name] == value).sum() for value in column.values]
        else:
            numbers = frame[name].to_numpy()
            finite = numbers[np.isfinite(numbers)]
            assert one.below.tolist() == [int((finite < point).sum()) for point in column.points]
            assert one.upto.tolist() == [int((finite <= point).sum()) for point in column.points]
    for pair, counts in zip(reference.pairs, seen.tables, strict=True):
        slow = np.zeros_like(counts)
        sides = [
            shape_of(reference.by_name[name]).coarse(pair.join)[codes[name]]
            for name in (pair.first, pair.second)
        ]
        for cell in zip(*sides, strict=True):
            slow[cell] += 1
        assert counts.tolist() == slow.tolist()


def plainly(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def told(seen: Any) -> Any:
    """Everything that was observed, as plain values."""
    columns = {
        name: {
            field: [*map(list, value)] if field == "views" else plainly(value)
            for field in column.__slots__
            if (value := getattr(column, field)) is not column.column
        }
        for name, column in seen.columns.items()
    }
    tables = [None if t is None else t.tolist() for t in seen.tables]
    triples = [None if t is None else t.tolist() for t in seen.triples]
    return columns, tables, triples, seen.rows, seen.gone, seen.added, seen.unlike


@unhurried
@given(data, cuts, st.integers(0, 2**32))
def test_counts_of_a_profile_do_not_depend_on_the_order_either(tmp_path_factory, made, where, seed):
    """Given the cells, everything that is a count; and no rank is off by more than the error."""
    frame = table(*made)
    first = build_profile(shards(tmp_path_factory.mktemp("then"), table(1, 200, "normal"), []))
    shuffle = np.random.default_rng(seed).permutation
    one, many = (
        build_profile(shards(tmp_path_factory.mktemp("it"), frame, where, order), like=first)
        for order in (None, shuffle)
    )
    assert counts(one) == counts(many)
    values = frame["x"].to_numpy().astype(float)
    finite = np.sort(values[np.isfinite(values)] + 0.0)
    for profile in (one, many):
        x = profile.by_name["x"]
        where_ = np.concatenate([finite, x.points])
        exact = np.searchsorted(finite, where_, side="right")
        assert np.abs(ranks(x.steps, where_) - exact).max(initial=0) <= x.error
        assert x.count == len(finite)


def counts(profile: Profile) -> Any:
    x, w, text = (profile.by_name[name] for name in ("x", "w", "text"))
    return (
        [(c.name, c.bins, c.cells, c.count) for c in profile.columns],
        [pair.counts for pair in profile.pairs],
        (x.nulls, x.nans, x.infinite, x.low, x.high, x.distinct),
        (w.values, w.counts, w.rest, w.bound, w.distinct),
        (text.tokens, text.counts, dict(text.marks)),
    )
