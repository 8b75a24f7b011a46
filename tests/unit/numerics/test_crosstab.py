from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.numerics.crosstab import FEW, cross_counts


def slow(a, b, shape):
    found = np.zeros(shape, int)
    for one, two in zip(a, b, strict=True):
        found[one, two] += 1
    return found


@given(
    st.lists(st.integers(1, FEW + 4), min_size=2, max_size=7),
    st.integers(0, 40),
    st.integers(0, 2**32),
)
def test_tables_are_the_slow_ones(levels, rows, seed):
    generator = np.random.default_rng(seed)
    codes = [generator.integers(0, count, rows).astype(np.uint8) for count in levels]
    wanted = [*combinations(range(len(levels)), 2), *[(b, a) for a, b in ((0, 1),)]]
    wanted = [wanted[i] for i in generator.permutation(len(wanted))]
    for (a, b), found in zip(wanted, cross_counts(codes, levels, wanted), strict=True):
        assert (found == slow(codes[a], codes[b], (levels[a], levels[b]))).all()


def test_parts_add_up():
    generator = np.random.default_rng(0)
    levels = (3, 30, 12, 5, 2)
    codes = [generator.integers(0, count, 1000) for count in levels]
    wanted = list(combinations(range(5), 2))
    whole = cross_counts(codes, levels, wanted)
    parts = [
        cross_counts([c[s] for c in codes], levels, wanted)
        for s in np.split(np.arange(1000), 3 * [0] + [10, 700])
    ]
    for place, table in enumerate(whole):
        assert (sum(part[place] for part in parts) == table).all()


def test_rows_of_many_slices_are_counted():
    generator = np.random.default_rng(1)
    levels = (3, 35, 4)
    codes = [generator.integers(0, count, 70_000).astype(np.uint8) for count in levels]
    wanted = list(combinations(range(3), 2))
    for (a, b), found in zip(wanted, cross_counts(codes, levels, wanted), strict=True):
        both = codes[a].astype(int) * levels[b] + codes[b]
        expected = np.bincount(both, minlength=levels[a] * levels[b])
        assert found.ravel().tolist() == expected.tolist()


@pytest.mark.parametrize("wanted", [[], [(1, 0)]])
def test_only_what_is_wanted(wanted):
    found = cross_counts([[0, 1, 1], [2, 2, 0]], (2, 3), wanted)
    assert len(found) == len(wanted)
    assert not found or found[0].tolist() == [[0, 1], [0, 0], [1, 1]]
