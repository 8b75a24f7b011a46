"""What is left of the differences between blocks once sampling is taken out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.data.profiles.measures import largest_distance, rate_spread, word_variation
from guards.numerics.dispersion import from_distance, from_range, from_variation

BLOCKS = np.full(8, 2000)


def drawn(rng: np.random.Generator, rho: float, cells: int = 20) -> np.ndarray:
    """Counts (blocks, cells) whose shares vary by rho p (1 - p) between blocks."""
    shares = rng.dirichlet(np.full(cells, 2.0))
    if rho:
        many = [rng.dirichlet(shares * (1 - rho) / rho) for _ in BLOCKS]
    else:
        many = [shares] * len(BLOCKS)
    return np.array([rng.multinomial(n, p) for n, p in zip(BLOCKS, many, strict=True)])


def measured(counts: np.ndarray) -> tuple[float, float, float]:
    held = counts.sum(axis=1)
    rate = counts[:, 0].sum() / held.sum()
    return (
        from_distance(largest_distance(np.cumsum(counts, axis=1), held), held),
        from_variation(word_variation(counts, held), held, counts.sum(axis=0)),
        from_range(rate_spread(counts[:, 0], held), held, rate),
    )


def test_blocks_that_differ_by_chance_have_next_to_none():
    found = np.array([measured(drawn(np.random.default_rng(seed), 0.0)) for seed in range(200)])
    assert (np.median(found, axis=0) < 1 / BLOCKS[0]).all()
    assert (found.max(axis=0) < 10 / BLOCKS[0]).all()


@pytest.mark.parametrize("rho", [0.003, 0.03, 0.2])
def test_what_the_blocks_were_drawn_with_is_found_again(rho):
    found = np.array([measured(drawn(np.random.default_rng(seed), rho)) for seed in range(200)])
    assert (np.median(found, axis=0) > 0.5 * rho).all()
    assert (np.median(found, axis=0) < 2 * rho).all()


@given(st.floats(0, 1), st.lists(st.integers(1, 5000), max_size=9), st.lists(st.integers(0, 99)))
def test_it_is_a_part_and_nothing_for_a_single_block(largest, blocks, counts):
    found = (
        from_distance(largest, blocks),
        from_variation(largest, blocks, counts),
        from_range(largest, blocks, largest),
    )
    assert all(0 <= rho <= 1 for rho in found)
    assert len(blocks) > 1 or not any(found)
