"""Which pairs are counted, and how finely: a plan that keeps to its room."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.data.profiles.measures import (
    block_moments,
    largest_distance,
    lettered,
    plainly,
    rate_spread,
    short,
    unlettered,
    word_novelty,
    word_variation,
)
from guards.data.profiles.nouns import JOINS
from guards.data.profiles.tables import (
    Shape,
    Tables,
    _around,
    dispersions,
    finished,
    groupings,
    planned,
)
from guards.numerics.cells import block_movement

shapes = st.dictionaries(
    st.sampled_from([f"c{i}" for i in range(30)]),
    st.builds(Shape, levels=st.integers(3, 35), words=st.booleans()),
    min_size=2,
    max_size=14,
)


@given(shapes, st.integers(0, 3), st.integers(1, 10**8), st.integers(100, 500_000))
def test_a_plan_names_each_pair_once_and_keeps_to_its_room(columns, many, rows, room):
    by = sorted(columns)[:many]
    plan = planned(columns, by, rows, room)
    pairs = [frozenset((a, b)) for a, b, _ in plan]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 for pair in pairs)
    assert {join for *_, join in plan} <= set(JOINS)
    cells = sum(columns[a].cells(join) * columns[b].cells(join) for a, b, join in plan)
    assert 2 * cells <= room, "each count takes a digit and a comma"
    whole = sum(one.cells(1) * other.cells(1) for one, other in combinations(columns.values(), 2))
    if 20 * whole < room and rows < 1000:
        assert len(pairs) == len(columns) * (len(columns) - 1) // 2, "there was room for all"


@pytest.mark.parametrize("many", [0, 1, 2, 5, 8])
def test_pairs_come_by_how_far_apart_they_are_in_a_ring(many):
    """The slow way is to sort all of them."""

    def apart(pair):
        far = pair[1] - pair[0]
        return min(far, many - far), pair

    slow = sorted(combinations(range(many), 2), key=apart)
    assert list(_around(range(many))) == slow


def test_many_columns_are_planned_without_all_their_pairs():
    """Of 20,000 columns there are two hundred million pairs, which take gigabytes to list."""
    one = Shape(levels=5, words=False)
    plan = planned({f"c{place}": one for place in range(20_000)}, ["c7"], 20)
    assert 1000 < len(plan) < 100_000
    assert plan[0][0] == "c7"


def test_label_and_source_come_first_and_then_every_column_alike():
    columns = {f"n{i}": Shape(levels=35, words=False) for i in range(40)}
    columns |= {"label": Shape(levels=4, words=True), "source": Shape(levels=6, words=True)}
    plan = planned(columns, ["label", "source"], 1_000_000, 200_000)
    assert {plan[i][0] for i in range(41)} == {"label"}
    assert all(join == 1 for *_, join in plan[:80])
    rest = Counter(name for a, b, join in plan if join > 1 for name in (a, b))
    numbers = [rest[f"n{i}"] for i in range(40)]
    assert max(numbers) - min(numbers) <= 3


def test_the_finest_cells_that_fit_are_taken():
    columns = {f"n{i}": Shape(levels=35, words=False) for i in range(6)}
    joins = [planned(columns, [], 1000, room)[0][2] for room in (200_000, 20_000, 10_000)]
    assert joins == sorted(joins)
    assert joins[0] == 1
    assert joins[-1] > 1


def test_groupings_are_of_few_values_and_mostly_listed():
    columns = {
        "label": ([0, 50, 40, 10], 40),
        "narrow": ([0, 90, 5, 5], 2),
        "wide": ([0, 30, 40, 30], 300),
        "unlisted": ([0, 10, 10, 80], 3),
        "constant": ([0, 100, 0], 1),
    }
    assert groupings(columns, ["label"]) == ["label", "narrow", "wide"]
    many = {f"w{i:02d}": ([0, 1, 1, 0], i) for i in range(20)}
    assert groupings(many, []) == [f"w{i:02d}" for i in range(10)]


def filled(seed: int = 0) -> Tables:
    generator = np.random.default_rng(seed)
    columns = {"a": Shape(levels=4, words=True), "b": Shape(levels=9, words=False)}
    tables = Tables([("a", "b", 1), ("b", "a", 2)], columns, blocks=3)
    for start in range(0, 300, 100):
        codes = {"a": generator.integers(0, 4, 100), "b": generator.integers(0, 9, 100)}
        tables.add(codes, ((start // 100, 0, 100),))
    return tables


def test_counts_are_those_of_each_block_and_pairs_their_sum():
    tables = filled()
    assert [counts.sum(axis=(1, 2)).tolist() for counts in tables.counts] == [[100] * 3] * 2
    fine, joined = finished(tables)
    assert np.array(fine.counts).tolist() == tables.counts[0].sum(axis=0).tolist()
    assert np.array(fine.counts).sum(axis=1).tolist() != []
    assert np.array(joined.counts).shape == (6, 3)
    assert fine.rho == round(block_movement(tables.counts[0].reshape(3, 1, -1))[0], 6)


def test_what_takes_more_room_than_was_thought_is_left_out():
    tables = filled()
    first, _ = finished(tables)
    size = len(json.dumps(first.counts, separators=(",", ":")))
    assert finished(tables, size) == (first,)
    assert finished(tables, size - 1) == ()


def test_dispersions_are_told_both_ways():
    tables = filled()
    pairs = finished(tables)
    (groups,) = dispersions(tables, ["a"], pairs)
    rho, moved = block_movement(tables.counts[0])
    assert (groups.by, groups.column) == ("a", "b")
    assert groups.rho == round(rho, 6)
    assert groups.moved == pytest.approx(moved, abs=1e-4)
    (turned,) = dispersions(tables, ["b"], pairs)
    assert len(turned.moved) == 9


class TestMeasures:
    def test_the_largest_distance_of_a_block(self):
        upto, held = np.array([[1, 2], [4, 4]]), np.array([2, 4])
        assert largest_distance(upto, held) == 0.5
        assert largest_distance(upto[:1], held[:1]) == 0.0

    def test_words_between_blocks(self):
        rows, held = np.array([[4, 0], [0, 4]]), np.array([4, 8])
        assert word_variation(rows, held) == 1.0
        assert word_novelty(rows, held) == 1.0
        assert word_novelty(rows[:1], held[:1]) == 0.0, "a single block is new to nobody"
        same = np.array([[2, 2], [2, 2]])
        assert word_variation(same, np.array([4, 4])) == word_novelty(same, held) == 0.0

    def test_rates_of_blocks(self):
        assert rate_spread(np.array([1, 0, 5]), np.array([2, 0, 5])) == 0.5
        assert rate_spread(np.array([0]), np.array([0])) == 0.0

    @given(st.integers(0, 2**32), st.integers(1, 4))
    def test_moments_are_those_of_all_rows(self, seed, blocks):
        generator = np.random.default_rng(seed)
        parts = [
            generator.normal(block, 1, (generator.integers(1, 9), 3)) for block in range(blocks)
        ]
        count = np.array([len(part) for part in parts])
        total = np.array([part.sum(axis=0) for part in parts])
        squares = np.array([(part**2).sum(axis=0) for part in parts])
        mean, variance, spread = block_moments(count, total, squares)
        whole = np.concatenate(parts)
        assert mean == pytest.approx(whole.mean(axis=0))
        assert variance == pytest.approx(whole.var(axis=0), abs=1e-9)
        apart = [0.0]
        for place, part in enumerate(parts if blocks > 1 else []):
            others = np.concatenate(parts[:place] + parts[place + 1 :])
            gap = (part.mean(axis=0) - others.mean(axis=0)) ** 2 / whole.var(axis=0)
            apart.append(float(np.sqrt(gap.mean())))
        assert spread == pytest.approx(max(apart), rel=1e-4, abs=1e-6)

    def test_numbers_are_written_plainly(self):
        assert repr(plainly(-0.0)) == repr(plainly(0)) == "0"
        assert repr(plainly(3.0)) == "3"
        assert repr(plainly(2.0**60)) == "1.152921504606847e+18"
        assert repr(short(1 / 3)) == "0.3333333"

    @given(st.lists(st.integers(0, 54), min_size=1024, max_size=1024))
    def test_registers_are_letters(self, values):
        assert unlettered(lettered(np.array(values))).tolist() == values
