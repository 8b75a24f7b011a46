"""Rows attributed to slices: never too many, and gathered only where they gather."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact

from guards.numerics.slices import gathered


def test_p_values_are_those_of_fishers_exact_test():
    inside, rows = np.array([9, 3, 0]), np.array([60, 80, 40])
    seen = gathered(inside, rows, 0.05)
    for place in range(3):
        others = inside.sum() - inside[place]
        table = [
            [inside[place], rows[place] - inside[place]],
            [others, rows.sum() - rows[place] - others],
        ]
        wanted = min(3 * fisher_exact(table, alternative="greater").pvalue, 1)
        assert seen.p_value[place] == pytest.approx(wanted)


def test_the_bound_is_what_no_slice_can_owe_to_the_reference():
    seen = gathered([30, 5], [100, 900], 0.01, alpha=0.01)
    explained = binom.isf(0.01, 1000, 0.01)
    assert seen.unlike.tolist() == [(30 - explained) / 100, 0.0]
    assert seen.share.tolist() == [0.3, 5 / 900]
    assert seen.elsewhere.tolist() == [5 / 900, 0.3]


def test_no_share_is_overstated_even_where_all_that_is_usual_lies_in_one_slice():
    over = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        rows, usual = np.array([500, 3000, 2500]), 0.02
        planted = 25
        inside = np.array([planted + rng.binomial(6000 - planted, usual), 0, 0])
        over += gathered(inside, rows, usual).unlike[0] > planted / 500
    assert over <= 9


def test_rows_without_a_slice_of_their_own_gather_nowhere():
    alarms = 0
    for seed in range(300):
        rng = np.random.default_rng([1, seed])
        rows = rng.integers(50, 800, 9)
        inside = rng.multivariate_hypergeometric(rows, 200)
        alarms += (gathered(inside, rows, 0.0).p_value <= 0.01).any()
    assert alarms <= 9


@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), max_size=9),
    st.floats(0, 1),
    st.randoms(),
)
def test_the_order_of_slices_is_no_matter_and_nothing_is_nothing(counts, usual, random):
    pairs = [(some, some + more) for some, more in counts]
    mixed = random.sample(pairs, len(pairs))
    one, other = (
        gathered([p[0] for p in part], [p[1] for p in part], usual) for part in (pairs, mixed)
    )
    assert sorted(one.unlike.tolist()) == sorted(other.unlike.tolist())
    assert sorted(one.p_value.tolist()) == sorted(other.p_value.tolist())
    assert ((one.unlike >= 0) & (one.unlike <= 1)).all()
