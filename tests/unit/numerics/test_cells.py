from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from guards.numerics.cells import (
    block_dispersion,
    block_movement,
    local_excess,
    moved_p_values,
    moved_shares,
)

GROUPS, BINS = 8, 12


def draw(generator, rows=400, shift=0.0, groups=GROUPS):
    """Multinomial counts whose shares tilt with the bin by `shift`, alike in every group."""
    weights = np.exp(shift * np.arange(BINS) / BINS)
    base = np.random.default_rng(0).dirichlet(np.full(BINS, 2.0), size=groups) * weights
    return np.array([generator.multinomial(rows, row / row.sum()) for row in base])


def slow_share(reference, current):
    n, big = sum(current), sum(reference)
    moved = noise = 0.0
    for r, c in zip(reference, current, strict=True):
        pooled = (r + c) / (n + big)
        moved += abs(c / n - r / big) / 2
        noise += np.sqrt(2 / np.pi * pooled * (1 - pooled) * (1 / n + 1 / big)) / 2
    return max(moved - noise, 0.0)


def test_moved_shares_against_the_slow_formula():
    generator = np.random.default_rng(1)
    reference, current = draw(generator, 900), draw(generator, 300, shift=1.5)
    expected = [slow_share(r, c) for r, c in zip(reference, current, strict=True)]
    assert moved_shares(reference, current) == pytest.approx(expected)


def test_unmoved_groups_show_about_nothing():
    generator = np.random.default_rng(2)
    shares = [moved_shares(draw(generator), draw(generator)).mean() for _ in range(50)]
    assert np.mean(shares) < 0.01


def test_empty_groups_have_not_moved():
    reference, current = np.array([[0, 0], [5, 5]]), np.array([[3, 4], [0, 0]])
    assert moved_shares(reference, current).tolist() == [0.0, 0.0]
    assert moved_p_values(reference, current, rho=0.0, blocks=1).tolist() == [1.0, 1.0]


def test_one_group_that_moved_is_local_and_all_that_moved_are_not():
    generator = np.random.default_rng(3)
    reference = draw(generator, 1000)
    alone = draw(generator)
    alone[2] = alone[2][::-1]
    solid = np.full(GROUPS, True)
    excess = local_excess(moved_shares(reference, alone), solid)
    assert excess[2] > 0.2
    assert np.delete(excess, 2).max() < 0.1
    together = draw(generator, shift=4.0)
    shares = moved_shares(reference, together)
    assert shares.min() > 0.2
    assert local_excess(shares, solid).max() == 0.0


def test_local_excess_by_hand():
    shares = [0.5, 0.1, 0.2, 0.0]
    excess = local_excess(shares, [True, True, True, False])
    assert excess[0] == pytest.approx(0.5 - 2 * np.quantile([0.1, 0.2], 0.8))
    assert excess[3] == 0.0
    assert local_excess([0.9], [True]).tolist() == [0.0]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.35, 0.9]), st.booleans()), max_size=9))
def test_local_excess_is_beyond_twice_the_quantile_of_the_others(groups):
    shares, solid = np.array([s for s, _ in groups]), np.array([h for _, h in groups], bool)
    expected = []
    for place, (share, held) in enumerate(groups):
        peers = [s for other, (s, h) in enumerate(groups) if h and other != place]
        beyond = share - 2 * np.quantile(peers, 0.8) if held and peers else 0.0
        expected.append(max(beyond, 0.0))
    assert local_excess(shares, solid) == pytest.approx(expected)


def test_p_values_without_dispersion_are_pearsons():
    generator = np.random.default_rng(4)
    reference, current = draw(generator), draw(generator, shift=0.5)
    expected = [
        stats.chi2_contingency([r, c], correction=False).pvalue
        for r, c in zip(reference, current, strict=True)
    ]
    found = moved_p_values(reference, current, rho=0.0, blocks=1)
    assert found == pytest.approx(expected, rel=1e-6)


def test_dispersion_between_blocks_is_recovered_and_makes_the_test_honest():
    generator = np.random.default_rng(5)
    rho, rows = 0.01, 500
    base = generator.dirichlet(np.full(BINS, 2.0), size=GROUPS)

    def block():
        shares = [generator.dirichlet(row * (1 / rho - 1)) for row in base]
        return np.array([generator.multinomial(rows, share) for share in shares])

    blocks = np.array([block() for _ in range(6)])
    found, moved = block_movement(blocks)
    assert found == pytest.approx(rho, rel=0.5)
    assert moved.shape == (GROUPS,)
    assert moved.max() < 0.2
    whole = blocks.sum(axis=0)
    tested = [block() for _ in range(60)]
    plain = np.array([moved_p_values(whole, one, rho=0.0, blocks=6) for one in tested])
    told = np.array([moved_p_values(whole, one, rho=found, blocks=6) for one in tested])
    assert (plain < 0.01).mean() > 0.3
    assert (told < 0.01).mean() < 0.08


def test_one_block_says_nothing():
    rho, moved = block_movement(draw(np.random.default_rng(6))[None])
    assert rho == 0.0
    assert not moved.any()


@given(st.integers(1, 5), st.integers(1, 4), st.integers(2, 5), st.integers(0, 2**32))
def test_blocks_at_once_are_blocks_in_turn(blocks, groups, bins, seed):
    """Each block held against the others by a loop, as the definition has it."""
    counts = np.random.default_rng(seed).integers(0, 30, (blocks, groups, bins))
    rho, moved = block_movement(counts)
    surplus = room = 0.0
    expected = np.zeros(groups)
    for block in counts if blocks > 1 else ():
        others = counts.sum(axis=0) - block
        for group in range(groups):
            now, then = block[group], others[group]
            if not now.sum() or not then.sum():
                continue
            pooled = (now + then) / (now + then).sum()
            size = now.sum() * then.sum() / (now.sum() + then.sum())
            held = pooled > 0
            gap = (then / then.sum() - now / now.sum())[held]
            freedom = held.sum() - 1
            surplus += size * (gap**2 / pooled[held]).sum() - freedom
            room += freedom * size * (1 + 1 / (blocks - 1))
        expected = np.maximum(expected, moved_shares(others, block))
    assert moved == pytest.approx(expected)
    assert rho == pytest.approx(np.clip(surplus / room, 0, 1) if room > 0 else 0.0)
    assert block_dispersion(counts) == rho
