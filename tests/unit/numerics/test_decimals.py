"""Simple numbers, and the edges made of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from guards.numerics.decimals import cell_edges, codes_of, simplest
from guards.numerics.sketches import exact_steps

BINS = 24
plain = st.integers(-99_999, 99_999).map(lambda n: n / 100)
wild = st.floats(allow_nan=False, allow_infinity=False)


def digits(number: float) -> int:
    mantissa = f"{abs(number):.17e}".partition("e")[0].replace(".", "")
    short = next(p for p in range(18) if float(f"{number:.{p}e}") == number)
    return min(len(mantissa.rstrip("0")), short + 1) if number else 0


def slowly(low: float, high: float) -> float:
    """Every multiple of every power of ten between the bounds, in exact fractions."""
    if low <= 0 < high:
        return 0.0
    least, most = Fraction(low), Fraction(high)
    for place in range(6, -6, -1):
        unit = Fraction(10) ** place
        first = -((-least) // unit)
        held = [n for n in range(int(first), int(first) + 12) if least <= n * unit < most]
        held = [n for n in held if len(str(abs(n))) == min(len(str(abs(m))) for m in held)]
        if held:
            rank = [(0 if n % 5 == 0 else 1 if n % 2 == 0 else 2, abs(n)) for n in held]
            return float(held[rank.index(min(rank))] * unit)
    return low


@given(plain, plain)
def test_the_simplest_number_is_that_of_a_slow_search(one, other):
    low, high = sorted((one, other))
    (found,) = simplest([low], [high])
    if low == high:
        assert found == low
        return
    assert low <= found < high
    assert digits(found) <= digits(slowly(low, high))
    assert found == pytest.approx(slowly(low, high)) or digits(found) == digits(slowly(low, high))


@given(wild, wild)
@example(-1.7976931348623157e308, 1.7976931348623157e308)
@example(5e-324, 1e-323)
@example(0.1, 0.30000000000000004)
def test_it_lies_between_its_bounds_whatever_they_are(one, other):
    low, high = sorted((one, other))
    (found,) = simplest([low], [high])
    assert low <= found < high or found == low


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        *((95, 105, 100), (0.5, 3, 2), (1.23456, 1.23467, 1.2346), (-0.7, -0.6, -0.7), (-3, 1, 0)),
        *((7, 8, 7), (3, 8, 5), (0.1, 0.2, 0.1), (-105, -95, -100)),
    ],
)
def test_examples(low, high, expected):
    assert simplest([low], [high]).tolist() == [expected]


HOSTILE = {
    "normal": lambda g: g.normal(10, 3, 5000),
    "heavy tail": lambda g: g.standard_cauchy(5000),
    "half are zero": lambda g: np.where(g.random(5000) < 0.5, 0, g.normal(size=5000)),
    "hours": lambda g: g.integers(0, 24, 5000).astype(float),
    "one value": lambda g: np.full(50, 1.5),
    "two values": lambda g: np.array([0.0, 1.0] * 50),
    "huge": lambda g: np.array([-1e308, 0, 1e308] * 9),
    "the greatest": lambda g: np.full(3, np.finfo(float).max),
    "tiny": lambda g: np.array([1e-310, 2e-310]),
    "one in a thousand": lambda g: np.array([0.0] * 1000 + [1.0]),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("error")
def test_edges_ascend_and_hold_nearly_equal_rows(name):
    values = HOSTILE[name](np.random.default_rng(0))
    steps = exact_steps(np.sort(values))
    edges = cell_edges(steps.points, steps.weights, BINS)
    assert (np.diff(edges) > 0).all()
    assert 1 <= len(edges) <= BINS + 1
    counts = np.bincount(codes_of(values, edges), minlength=len(edges) + 1)
    heaviest = steps.weights.max()
    assert counts.max() <= max(1.75 * len(values) / BINS, heaviest + 0.75 * len(values) / BINS) or (
        name in ("huge", "the greatest", "tiny")
    )
    if name not in ("huge", "the greatest"):
        assert counts[0] == counts[-1] == 0, "all rows lie within the outer edges"


def test_no_rows_have_no_edges():
    assert cell_edges([], [], BINS).tolist() == []


def test_a_heavy_value_has_a_cell_of_nearly_its_own():
    values = HOSTILE["half are zero"](np.random.default_rng(1))
    steps = exact_steps(np.sort(values))
    edges = cell_edges(steps.points, steps.weights, BINS)
    counts = np.bincount(codes_of(values, edges))
    own = counts[codes_of(np.zeros(1), edges)[0]]
    assert own <= (values == 0).sum() + len(values) / BINS


@pytest.mark.parametrize("shape", ["normal", "lognormal"])
def test_two_samples_of_one_quantity_share_most_edges(shape):
    """Figures of this test, not of the docs: seeds 100 to 105, 100,000 rows each."""
    made = []
    for seed in range(100, 106):
        generator = np.random.default_rng(seed)
        values = generator.normal(100, 15, 100_000)
        steps = exact_steps(np.sort(values if shape == "normal" else np.exp(values / 15)))
        made.append(set(cell_edges(steps.points, steps.weights, BINS).tolist()))
    assert min(len(made[0] & other) for other in made[1:]) >= 0.75 * len(made[0])


@given(st.lists(wild, max_size=30), st.lists(wild, max_size=6))
def test_codes_are_those_of_a_binary_search(values, edges):
    assume(len(set(edges)) == len(edges))
    ordered = sorted(edge + 0.0 for edge in edges)
    told = np.array([*values, np.inf, -np.inf])
    expected = np.searchsorted(ordered, told, side="right")
    assert (codes_of(told, ordered) == expected).all()
    assert codes_of(np.array([np.nan]), ordered).tolist() == [0]
