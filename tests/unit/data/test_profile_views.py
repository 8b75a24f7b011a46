"""Views of vectors: their cells by a slow reading, which of them are counted, and who has none."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, encoded, observe, parse_profile, to_bytes
from guards.data.profiles.nouns import EIGHT, VIEWS, view_name
from guards.data.profiles.views import EACH, MOST_OF_VIEWS, planned_views
from guards.numerics.directions import signs

ROWS = 900
ODD = [None, [1.0], [float("nan")] * 5, [float("inf")] * 5, []]


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(3).normal(size=(ROWS, 5)) * [4, 2, 1, 1, 1]


def opened(root, **columns):
    pl.DataFrame(columns).write_parquet(root / "a.parquet")
    return open_dataset(root, ["a.parquet"])


@pytest.fixture(scope="module")
def made(tmp_path_factory, vectors):
    lists = pl.Series(vectors.tolist()[:-5] + ODD, dtype=pl.List(pl.Float64))
    return opened(tmp_path_factory.mktemp("views"), v=lists)


def test_cells_are_those_of_the_places_along_the_directions(made, vectors):
    profile = build_profile(made)
    places = vectors[:-5] @ signs(5, VIEWS) / np.sqrt(5)
    views = profile.by_name["v"].views
    assert [view.name for view in views] == [view_name("v", n) for n in range(1, VIEWS + 1)]
    for view, own in zip(views, places.T, strict=True):
        assert view.cells[0] == len(ODD), "a vector of another length, or not finite, is missing"
        inner = np.histogram(own, [-np.inf, *view.edges, np.inf])[0]
        assert list(view.cells[1:]) == inner.tolist()
        assert EIGHT // 2 <= len(view.edges) <= EIGHT + 1
    assert parse_profile(to_bytes(profile)) == profile


def test_the_same_rows_are_in_the_same_cells(made):
    profile = build_profile(made)
    seen = observe(made, profile).columns["v"]
    for view, now in zip(profile.by_name["v"].views, seen.views, strict=True):
        assert now.tolist() == list(view.cells)
    (part,) = encoded(made, profile, ["v view 2"])
    assert list(part.codes) == ["v view 2"]
    assert np.bincount(part.codes["v view 2"]).tolist()[0] == len(ODD)


def test_like_another_profile_cells_are_the_same(tmp_path, made):
    first = build_profile(made)
    other = opened(tmp_path, v=np.random.default_rng(8).normal(2, 1, (50, 5)).tolist())
    again = build_profile(other, like=first)
    for one, two in zip(first.by_name["v"].views, again.by_name["v"].views, strict=True):
        assert one.edges == two.edges
    assert [t.columns for t in again.triples] == [t.columns for t in first.triples]


def test_only_triples_are_of_views(made):
    profile = build_profile(made)
    assert not profile.pairs
    assert {name for triple in profile.triples for name in triple.columns} == {
        view_name("v", number) for number in range(1, VIEWS + 1)
    }


def test_every_two_views_of_a_column_are_counted_about_as_often():
    plan = planned_views(["v"])
    assert len(set(plan)) == len(plan) == EACH
    used = Counter(frozenset(pair) for three in plan for pair in combinations(three, 2))
    assert len(used) == VIEWS * (VIEWS - 1) // 2
    assert max(used.values()) - min(used.values()) <= 1
    many = planned_views([f"v{number}" for number in range(20)])
    assert len(many) == MOST_OF_VIEWS


def test_a_column_with_the_name_of_a_view_goes_before_it(tmp_path, vectors):
    named = {"v": vectors.tolist(), "v view 1": [1.0, 2.0, 3.0] * (ROWS // 3)}
    dataset = opened(tmp_path, **named)
    profile = build_profile(dataset)
    assert profile.countable["v view 1"] is profile.by_name["v view 1"]
    assert profile.owner("v view 1") == "v view 1"
    assert parse_profile(to_bytes(profile)) == profile
    seen = observe(dataset, profile)
    for stored, counts in zip(profile.triples, seen.triples, strict=True):
        assert counts.tolist() == list(stored.counts)


def test_without_a_vector_all_is_missing(tmp_path, made):
    nothing = pl.Series([None] * 20, dtype=pl.Null)
    seen = observe(opened(tmp_path, v=nothing), build_profile(made)).columns["v"]
    assert all(now[0] == 20 == now.sum() for now in seen.views)
    (tmp_path / "none").mkdir()
    empty = opened(tmp_path / "none", v=nothing.cast(pl.List(pl.Float64)))
    profile = build_profile(empty)
    assert all(view.cells == (20, 0) for view in profile.by_name["v"].views)
    assert parse_profile(to_bytes(profile)) == profile
    observe(made, profile)


def test_blocks_that_lie_apart_are_a_spread(tmp_path, vectors):
    ordered = vectors[np.argsort(vectors[:, 0])]
    views = build_profile(opened(tmp_path, v=ordered.tolist())).by_name["v"].views
    (tmp_path / "mixed").mkdir()
    mixed = build_profile(opened(tmp_path / "mixed", v=vectors.tolist())).by_name["v"].views
    assert min(view.spread for view in views) > 0.5 > max(view.spread for view in mixed)
