"""Three columns together: which, in which cells, and that their counts are those of the rows."""

from __future__ import annotations

from collections import Counter
from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, encoded, observe
from guards.data.profiles.nouns import EIGHT
from guards.data.profiles.tables import Shape, shape_of
from guards.data.profiles.triples import MOST, Triples, few, few_bins, planned_triples
from guards.data.profiles.views import EACH


@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 80))
def test_a_plan_has_different_triples_and_every_column_alike(numbers, words, most):
    shapes = {f"n{number}": Shape(levels=35, words=False) for number in range(numbers)}
    shapes |= {f"w{word}": Shape(levels=26, words=True) for word in range(words)}
    plan = planned_triples(shapes, most)
    assert len(plan) == min(most, comb(len(shapes), 3))
    assert len({frozenset(three) for three in plan}) == len(plan)
    assert all(len(set(three)) == 3 and set(three) <= shapes.keys() for three in plan)
    backwards = dict(reversed(shapes.items()))
    assert planned_triples(backwards, most) == plan, "the order of the columns is of no account"
    used = Counter(name for three in plan for name in three)
    if numbers > 9 and most >= numbers:
        assert max(used[f"n{number}"] for number in range(numbers)) <= 3 * most / numbers + 4
    alone = sum(all(name in shapes and not shapes[name].words for name in t) for t in plan)
    assert alone >= min(comb(numbers, 3), 2 * most // 3)


@given(st.integers(3, 35), st.booleans())
def test_a_column_has_about_eight_cells(levels, words):
    cells = few(Shape(levels=levels, words=words))
    assert len(cells) == levels
    assert cells[0] == 0
    assert (np.diff(cells) >= 0).all()
    assert len(set(cells.tolist())) <= EIGHT + 3
    if levels >= 20:
        assert len(set(cells.tolist())) >= EIGHT // 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    rng = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "label": rng.choice(["a", "b"], 900),
            "x": np.where(rng.random(900) < 0.1, np.nan, rng.normal(size=900)),
            "y": rng.integers(0, 5, 900),
            "word": rng.choice(["one", "two", "three"], 900),
            "text": rng.choice(["some words", "other longer words", "and more of them"], 900),
            "v": rng.normal(size=(900, 3)).tolist(),
        }
    )
    root = tmp_path_factory.mktemp("triples")
    frame.write_parquet(root / "a.parquet")
    return open_dataset(root, ["a.parquet"])


def test_counts_are_those_of_the_rows_and_no_label_is_in_them(made):
    profile = build_profile(made)
    assert len(profile.triples) == min(MOST, comb(5, 3)) + 2 * EACH
    assert "label" not in {name for triple in profile.triples for name in triple.columns}
    (part,) = encoded(made, profile, list(profile.countable))
    for triple in profile.triples:
        sides = [few(shape_of(profile.countable[name])) for name in triple.columns]
        sizes = [int(side[-1]) + 1 for side in sides]
        slow = np.zeros(sizes, np.int64)
        own = [side[part.codes[name]] for name, side in zip(triple.columns, sides, strict=True)]
        for cell in zip(*own, strict=True):
            slow[cell] += 1
        assert triple.counts == tuple(slow.ravel().tolist())
        for name, size in zip(triple.columns, sizes, strict=True):
            assert len(few_bins(profile.countable[name])) == size


def test_a_batch_is_counted_in_the_cells_of_the_profile(made):
    profile = build_profile(made)
    for stored, counts in zip(profile.triples, observe(made, profile).triples, strict=True):
        assert counts is not None
        assert tuple(counts.tolist()) == stored.counts


def test_the_cell_of_a_row_is_where_it_is_counted(made):
    profile = build_profile(made)
    shapes = {name: shape_of(column) for name, column in profile.countable.items()}
    triples = Triples([triple.columns for triple in profile.triples], shapes)
    (part,) = encoded(made, profile, list(profile.countable))
    for place, stored in enumerate(profile.triples):
        found = np.bincount(triples.cell(place, part.codes), minlength=len(stored.counts))
        assert found.tolist() == list(stored.counts)


def test_blocks_that_differ_widen_what_is_usual(tmp_path):
    """The dispersion is that of the blocks: none in mixed rows, much in rows that come in order."""
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({name: rng.normal(size=4_000) for name in ("a", "b", "c")})
    spread = {}
    for order, rows in (("mixed", frame), ("sorted", frame.sort("a"))):
        (tmp_path / order).mkdir()
        rows.write_parquet(tmp_path / order / "a.parquet")
        (triple,) = build_profile(open_dataset(tmp_path / order, ["a.parquet"])).triples
        spread[order] = triple.rho
    assert spread["mixed"] < 0.0005
    assert spread["sorted"] > 0.005
