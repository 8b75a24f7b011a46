"""Copies against groups of equal tuples, and MinHash against the Jaccard index."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guards.numerics.copies import HASHES, minima, mix, repeated, similar


def grouped(columns, least):
    found = defaultdict(list)
    for row, key in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        found[key].append(row)
    return {tuple(rows) for rows in found.values() if len(rows) >= least}


@given(st.integers(0, 500), st.integers(2, 4))
@example(78, 3)  # a group that is another one and row 0
@settings(max_examples=25, deadline=None)
def test_repeated_rows_are_those_of_equal_tuples_but_for_one_column(seed, width):
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, 3, 40) for _ in range(width)]
    found = {tuple(rows.tolist()) for rows in repeated(columns, least=3, most=1.0)}
    slow = grouped(columns, 3)
    if width > 2:
        for out in range(width):
            slow |= grouped([c for place, c in enumerate(columns) if place != out], 3)
    assert found == slow


def test_a_table_of_repetitions_has_no_copies():
    assert repeated([np.zeros(20, np.int64), np.arange(20) % 2], least=3, most=0.5) == []
    assert repeated([], least=3, most=1.0) == []


def shingles(numbers):
    return np.array(sorted(numbers), np.uint64)


@pytest.mark.parametrize("common", [0, 50, 100, 150, 200])
def test_minima_agree_as_often_as_the_jaccard_index(common):
    """Broder 1997, within four standard deviations of a binomial."""
    one, two = set(range(200)), {*range(common), *range(1000, 1200 - common)}
    exact = len(one & two) / len(one | two)
    signs = minima([shingles(one), shingles(two)], seed=0)
    spread = 4 * (exact * (1 - exact) / HASHES) ** 0.5
    assert (signs[0] == signs[1]).mean() == pytest.approx(exact, abs=spread + 1e-9)


def test_families_of_near_copies_are_found_and_others_are_not():
    rng = np.random.default_rng(1)
    texts = [set(rng.integers(0, 10_000, 30).tolist()) for _ in range(60)]
    for row in range(10, 20):
        texts[row] = {*sorted(texts[10])[:28], 20_000 + row}
    signs = minima([shingles(text) for text in [*texts, set()]], seed=3)
    assert [rows.tolist() for rows in similar(signs, least=5)] == [[*range(10, 20)]]
    assert similar(minima([], seed=0), least=1) == []


def test_mixing_is_one_to_one_and_scatters():
    values = np.arange(4096, dtype=np.uint64)
    mixed = mix(values, 5)
    assert len(np.unique(mixed)) == 4096
    bits = (mixed[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(0) - 0.5).max() < 0.05
    assert (mix(values, 6) != mixed).all()
