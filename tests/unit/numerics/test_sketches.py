"""Sketches against what they stand for: exact ranks, exact sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.numerics import sketches
from guards.numerics.sketches import (
    FAN,
    REGISTERS,
    Steps,
    collapsed,
    counted,
    distinct,
    exact_steps,
    hashed_numbers,
    hashed_words,
    joined,
    largest_gap,
    push,
    quantiles,
    ranks,
    registers,
    steps_distance,
    thinned,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
# Few values and many ties, or anything at all.
samples = st.one_of(
    st.lists(st.integers(-4, 4).map(float), max_size=120), st.lists(finite, max_size=120)
)

HOSTILE = {
    "normal": lambda g, n: g.normal(size=n),
    "cauchy": lambda g, n: g.standard_cauchy(n),
    "sorted": lambda g, n: np.arange(n, dtype=float),
    "reversed": lambda g, n: np.arange(n, dtype=float)[::-1],
    "one value": lambda g, n: np.full(n, -0.0),
    "an atom in noise": lambda g, n: np.where(g.random(n) < 0.7, 3.0, g.normal(3, 1, n)),
    "two atoms": lambda g, n: g.choice([0.0, 1e308], n),
    "extremes": lambda g, n: g.choice([-1e308, -1e-308, 0.0, 1e-308, 1e308], n) * g.random(n),
    "integers": lambda g, n: g.integers(0, 50, n).astype(float),
    "drifting": lambda g, n: g.normal(np.linspace(0, 9, n)),
    "powers": lambda g, n: 2.0 ** g.integers(-1000, 1000, n),
}


def off(steps: Steps, values: np.ndarray) -> int:
    """The most rows by which any rank is off, asked at every point and value."""
    ordered = np.sort(values + 0.0)
    where = np.concatenate([ordered, steps.points])
    exact = np.searchsorted(ordered, where, side="right")
    return int(np.abs(ranks(steps, where) - exact).max(initial=0))


@given(samples)
def test_exact_steps_have_exact_ranks(values):
    steps = exact_steps(np.sort(values))
    assert off(steps, np.array(values)) == steps.error == 0
    assert steps.rows == len(values)
    assert (np.diff(steps.points) > 0).all()


@given(samples, st.integers(1, 20), st.sampled_from([0.0, 0.125]))
def test_no_rank_is_off_by_more_than_the_error(values, most, slack):
    exact = exact_steps(np.sort(values))
    thin = thinned(exact, most, slack=slack)
    assert len(thin.points) <= max(most, 0)
    assert thin.rows == len(values)
    assert off(thin, np.array(values)) <= thin.error
    # "The middle row of each group: off by half a group and no more", and by the slack.
    assert thin.error <= (0.5 + slack) * len(values) / most + 1


@given(samples, samples, samples)
def test_joining_is_associative_and_commutative(one, two, three):
    a, b, c = (exact_steps(np.sort(values)) for values in (one, two, three))
    made = [joined([joined([a, b]), c]), joined([a, joined([b, c])]), joined([c, b, a])]
    for steps in made:
        assert steps.points.tolist() == made[0].points.tolist()
        assert steps.weights.tolist() == made[0].weights.tolist()
    assert off(made[0], np.array(one + two + three)) == 0


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("chunks", [1, 2, FAN, FAN + 1, 3 * FAN])
@pytest.mark.filterwarnings("error")
def test_a_tree_of_parts_keeps_its_word(name, chunks):
    generator = np.random.default_rng(100)
    values = HOSTILE[name](generator, 400 * chunks)
    levels: tuple[tuple[Steps, ...], ...] = ()
    for part in np.split(values, chunks):
        levels = push(levels, thinned(exact_steps(np.sort(part)), 64), 64)
    whole = thinned(collapsed(levels), 64, slack=0.125)
    assert whole.rows == len(values)
    assert off(whole, values) <= whole.error
    deep = 1 + np.ceil(np.log(chunks) / np.log(FAN))
    assert whole.error / whole.rows <= (deep + 1) * 0.625 / 64 + deep / 400
    assert whole.points[0] >= values.min()
    assert whole.points[-1] <= values.max()


def test_points_with_slack_are_short_to_write():
    values = np.sort(np.random.default_rng(0).normal(size=100_000))
    plain, short = (thinned(exact_steps(values), 1024, slack=slack) for slack in (0.0, 0.125))
    letters = [sum(len(repr(float(point))) for point in steps.points) for steps in (plain, short)]
    assert letters[1] < 0.5 * letters[0]
    assert not set(short.points) & set(values)
    assert short.error < 0.64 * 100_000 / 1024


@given(samples, samples)
def test_gap_and_distance_are_those_at_every_value(one, two):
    a, b = exact_steps(np.sort(one)), exact_steps(np.sort(two))
    where = np.array([*one, *two])
    below = [np.array([(np.array(v) <= x).sum() for x in where]) for v in (one, two)]
    assert largest_gap(a, b) == np.abs(below[0] - below[1]).max(initial=0)
    if one and two:
        expected = np.abs(below[0] / len(one) - below[1] / len(two)).max()
        assert steps_distance(a, b) == pytest.approx(expected)
    else:
        assert steps_distance(a, b) == 0.0


@given(samples.filter(bool), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantiles_are_the_lower_ones(values, shares):
    found = quantiles(exact_steps(np.sort(values)), shares)
    for share, point in zip(shares, found, strict=True):
        place = max(int(np.ceil(share * len(values))) - 1, 0)
        assert point == np.sort(values)[place]


@given(samples, st.lists(finite, max_size=6), st.integers(0, 120))
def test_counts_of_parts_are_the_counts(values, points, cut):
    where = np.sort(points)
    both = [counted(np.sort(part), where) for part in (values[:cut], values[cut:])]
    below, upto = counted(np.sort(values), where)
    assert (both[0][0] + both[1][0] == below).all()
    assert (both[0][1] + both[1][1] == upto).all()
    assert below.tolist() == [sum(v < p for v in values) for p in where]
    assert upto.tolist() == [sum(v <= p for v in values) for p in where]


@given(st.lists(st.text(max_size=12), max_size=30))
def test_words_are_hashed_as_a_slow_loop_does(words):
    raw = [word.encode() for word in words]
    data = np.frombuffer(b"\0" + b"".join(raw), np.uint8)
    offsets = np.cumsum([1, *map(len, raw)])
    found = hashed_words(data, offsets)
    mask, multiplier = 2**64 - 1, int(sketches._MULTIPLIER)
    for word, bits in zip(raw, found.tolist(), strict=True):
        power, total = multiplier, len(word)
        for letter in word:
            total += (letter + 1) * power
            power = power * multiplier & mask
        mixed = total * int(sketches._GOLDEN) & mask
        for _ in range(2):
            mixed = (mixed ^ mixed >> 32) * multiplier & mask
        assert bits == mixed ^ mixed >> 32


def test_zero_and_minus_zero_are_one_value():
    assert len(set(hashed_numbers([0.0, -0.0, 1.0]).tolist())) == 2
    assert exact_steps([-0.0, 0.0]).points.tolist() == [0.0]
    assert str(exact_steps([-0.0]).points[0]) == "0.0"


@given(st.lists(st.integers(0, 2**63), max_size=60))
def test_registers_hold_the_most_leading_zeros(values):
    hashes = np.array(values, np.uint64) * np.uint64(3)
    expected = [0] * REGISTERS
    for bits in hashes.tolist():
        rest = bits & (2**53 - 1)
        expected[bits >> 54] = max(expected[bits >> 54], 53 - rest.bit_length() + 1)
    assert registers(hashes).tolist() == expected


@pytest.mark.parametrize("values", [50_000, 40, 1])
def test_registers_of_many_hashes_are_those_of_their_parts(values):
    """If every register has a hash of a few leading zeros, no other hash could change it."""
    generator = np.random.default_rng(3)
    hashes = hashed_numbers(generator.integers(0, values, 120_000))
    parts = [registers(part) for part in np.array_split(hashes, 12)]
    assert registers(hashes).tolist() == np.maximum.reduce(parts).tolist()


@pytest.mark.parametrize("many", [0, 1, 10, 300, 5_000, 200_000])
@pytest.mark.parametrize("seed", [100, 101, 102])
def test_distinct_values_within_four_standard_errors(many, seed):
    values = np.random.default_rng(seed).normal(size=many)
    found = distinct(registers(hashed_numbers(values)))
    assert abs(found - many) <= max(4 * 1.04 / np.sqrt(REGISTERS) * many, 0.5)


def test_registers_of_parts_join_by_their_maximum():
    """Two sets of registers join by their maximum, so counting twice changes nothing."""
    generator = np.random.default_rng(0)
    values = generator.integers(0, 4000, 9000).astype(float)
    one, two = values[:5000], values[3000:]
    parts = [registers(hashed_numbers(part)) for part in (one, two)]
    assert np.maximum(*parts).tolist() == registers(hashed_numbers(values)).tolist()
