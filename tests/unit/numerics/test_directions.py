"""Directions that are the same everywhere, and places along them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.numerics.directions import projected, signs


def test_the_signs_are_what_they_were() -> None:
    """Profiles keep no directions, so these must never change."""
    found = signs(9, 3).astype(int).T
    assert found[0].tolist() == [1, 1, 1, -1, 1, -1, 1, -1, 1]
    assert found[1].tolist() == [-1, 1, 1, 1, 1, 1, 1, -1, -1]
    assert found[2].tolist() == [-1, -1, 1, -1, 1, 1, 1, -1, -1]


@given(st.integers(1, 70), st.integers(1, 12))
def test_a_direction_is_signs_and_depends_on_its_number_and_the_dimension_alone(
    width, many
) -> None:
    found = signs(width, many)
    assert found.shape == (width, many)
    assert set(np.unique(found)) <= {-1.0, 1.0}
    assert (found == signs(width, 12)[:, :many]).all()


def test_any_two_are_nearly_at_right_angles() -> None:
    cosines = signs(512, 40).T @ signs(512, 40) / 512
    apart = cosines[np.triu_indices(40, 1)]
    assert np.abs(apart).max() < 5 / np.sqrt(512)
    assert apart.std() == pytest.approx(1 / np.sqrt(512), rel=0.1)


def test_places_are_in_any_order_of_the_rows() -> None:
    """Of numbers of few digits as well, of which sums differ in the last bits."""
    rng = np.random.default_rng(0)
    rows = rng.integers(-99, 99, (700, 33)) / 100
    order = rng.permutation(700)
    assert (projected(rows, 10)[order] == projected(rows[order], 10)).all()
    assert (projected(rows[5:6], 10)[0] == projected(rows, 10)[5]).all()
    slow = [[sum(row * sign) / np.sqrt(33) for sign in signs(33, 10).T] for row in rows[:5]]
    assert projected(rows[:5], 10) == pytest.approx(np.array(slow), abs=1e-6)


def test_what_adds_up_to_nothing_is_nothing() -> None:
    """0 is the simplest number, and so the edge of many a cell; 0.1 + 0.2 - 0.3 is not 0."""
    rows = signs(9, 1)[:, 0] * [0.1, 0.2, -0.3, 0.7, -0.6, -0.1, 0.4, -0.3, -0.1]
    assert projected(rows[None], 1)[0, 0] == 0


def test_no_vectors_and_huge_ones_have_places() -> None:
    assert projected(np.zeros((0, 0)), 4).shape == (0, 4)
    assert not np.isnan(projected(np.full((2, 3), 1e150), 4)).any()
