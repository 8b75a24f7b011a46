from __future__ import annotations

from itertools import combinations
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.numerics import crosstab
from guards.numerics.crosstab import CELLS, Crosstab


def slow(columns, shape):
    found = np.zeros(shape, int)
    for cell in zip(*columns, strict=True):
        found[cell] += 1
    return found


@given(
    st.lists(st.integers(1, 16), min_size=3, max_size=8),
    st.integers(0, 40),
    st.integers(0, 2**32),
)
def test_tables_are_the_slow_ones(levels, rows, seed):
    generator = np.random.default_rng(seed)
    codes = [generator.integers(0, count, rows).astype(np.uint8) for count in levels]
    every = [(1, 0), (0, 1), *combinations(range(len(levels)), 2)]
    every += [(2, 0, 1), *combinations(range(len(levels)), 3)]
    some = generator.permutation(len(every))[: generator.integers(0, len(every) + 1)]
    wanted = [every[i] for i in some]
    counted = Crosstab(levels, wanted)
    counted.add(codes)
    for columns, found in zip(wanted, counted.taken(), strict=True):
        shape = [levels[column] for column in columns]
        assert found.shape == tuple(shape)
        assert (found == slow([codes[column] for column in columns], shape)).all()
    assert not any(found.any() for found in counted.taken()), "taken is taken"


@given(
    st.lists(st.integers(2, 40), min_size=2, max_size=30),
    st.integers(0, 2**32),
)
def test_every_tuple_has_a_set_and_no_set_is_too_large(levels, seed):
    generator = np.random.default_rng(seed)
    pairs = list(combinations(range(len(levels)), 2))
    pairs = [pairs[i] for i in generator.permutation(len(pairs))[:200]]
    threes = list(combinations(range(min(len(levels), 9)), 3))[:20]
    sets = Crosstab(levels, [*pairs, *threes]).sets
    assert len(set(sets)) == len(sets) <= len(pairs) + len(threes)
    for columns in [*pairs, *threes]:
        assert any(set(columns) <= set(held) for held in sets)
    for held in sets:
        size = prod(levels[column] for column in held)
        largest = max(
            (prod(levels[c] for c in t) for t in threes if set(t) <= set(held)), default=0
        )
        assert size <= max(CELLS, largest)


def test_columns_of_few_codes_are_counted_together():
    """Fifty columns of a dozen codes, each with twenty others, take a quarter of the counting."""
    wanted = [(a, (a + step) % 50) for a in range(50) for step in range(1, 11)]
    assert len(Crosstab([12] * 50, wanted).sets) <= len(wanted) / 4


def test_parts_add_up(monkeypatch):
    monkeypatch.setattr(crosstab, "_AT_ONCE", 64)
    generator = np.random.default_rng(0)
    levels = (3, 30, 12, 5, 2)
    codes = [generator.integers(0, count, 1000) for count in levels]
    wanted = [*combinations(range(5), 2), (4, 1, 0)]
    whole, parts = Crosstab(levels, wanted), Crosstab(levels, wanted)
    whole.add(codes)
    for rows in np.split(np.arange(1000), [0, 0, 0, 10, 700]):
        parts.add([column[rows] for column in codes])
    for columns, one, other in zip(wanted, whole.taken(), parts.taken(), strict=True):
        shape = [levels[column] for column in columns]
        assert (one == other).all()
        assert (one == slow([codes[column] for column in columns], shape)).all()


def test_more_cells_than_sixteen_bits_count():
    generator = np.random.default_rng(1)
    codes = [generator.integers(0, 200, 5_000).astype(np.uint8) for _ in range(3)]
    counted = Crosstab((200, 200, 200), [(0, 1, 2), (2, 1)])
    counted.add(codes)
    three, two = counted.taken()
    assert three.sum() == two.sum() == 5_000
    assert (two == three.sum(axis=0).T).all()
    rows = np.ravel_multi_index(codes, (200, 200, 200))
    assert (three.ravel()[rows] > 0).all()


@pytest.mark.parametrize("wanted", [[], [(1, 0)]])
def test_only_what_is_wanted(wanted):
    counted = Crosstab((2, 3), wanted)
    counted.add([np.array([0, 1, 1]), np.array([2, 2, 0])])
    found = counted.taken()
    assert len(found) == len(wanted)
    assert not found or found[0].tolist() == [[0, 1], [0, 0], [1, 1]]
