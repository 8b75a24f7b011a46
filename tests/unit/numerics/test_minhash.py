"""Smallest members: by the slow definition, in any order, and how often they are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.numerics.copies import mix
from guards.numerics.minhash import smallest

sets = st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def flat(members):
    sizes = [len(one) for one in members]
    joined = np.array([member for one in members for member in one], np.uint64)
    return joined, np.cumsum([0, *sizes[:-1]]).astype(np.int64)


@given(sets, st.integers(1, 6))
def test_each_is_the_least_of_the_mixed_members(members, many):
    found = smallest(*flat(members), many)
    assert found.shape == (len(members), many)
    assert ((found >= 0) & (found < 1)).all()
    for one, own in zip(members, found, strict=True):
        for order, value in enumerate(own):
            mixed = mix(np.array(one, np.uint64), order + 1)
            assert value == min(int(m) >> 40 for m in mixed) / 2**24


@given(sets, st.randoms())
def test_neither_the_order_nor_the_number_of_members_matters_only_which_there_are(members, random):
    again = [random.sample([*one, one[0]], len(one) + 1) for one in members]
    assert (smallest(*flat(members), 4) == smallest(*flat(again), 4)).all()


@pytest.mark.parametrize(("common", "own"), [(9, 1), (5, 5), (1, 9), (0, 5)])
def test_two_sets_share_as_many_as_their_jaccard_index_says(common, own):
    """P(h(A) = h(B)) = |A and B| / |A or B|."""
    rng = np.random.default_rng(common)
    drawn = rng.integers(0, 2**63, common + 2 * own).tolist()
    one, other = drawn[: common + own], drawn[:common] + drawn[common + own :]
    many = 2_000
    first, second = smallest(*flat([one, other]), many)
    jaccard = common / (common + 2 * own)
    assert abs((first == second).mean() - jaccard) <= 4 * np.sqrt(0.25 / many)


def test_no_sets_have_no_places():
    assert smallest(*flat([[1]]), 3).shape == (1, 3)
    assert smallest(np.zeros(0, np.uint64), np.zeros(0, np.int64), 3).shape == (0, 3)


def test_the_orders_are_what_they_were():
    """Profiles keep no orders, so these must never change."""
    found = smallest(np.array([1, 2, 3], np.uint64), np.array([0]), 3)
    assert (found * 2**24).astype(int).tolist() == [[1903380, 11748975, 9993148]]
