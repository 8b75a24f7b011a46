"""Twins against a greedy loop over all pairs, and blurring against a mean of blocks."""

import numpy as np
import pytest

from guards.numerics.twins import NEAREST, blurred, twins

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_blurred_is_the_mean_of_blocks(channels):
    pixels = RNG.integers(0, 256, (5, channels, 18, 21)).astype(np.uint8)
    found = blurred(pixels)
    assert found.shape == (5, 16)
    for row, down, right in np.ndindex(5, 4, 4):
        block = pixels[row, :, down * 4 : down * 4 + 4, right * 5 : right * 5 + 5]
        assert found[row, down * 4 + right] == pytest.approx(block.mean(), abs=1e-3)


def test_nearest_pairs_first_and_nobody_twice():
    mine, others = RNG.normal(size=(12, 3)), RNG.normal(size=(NEAREST, 3))
    found = dict(
        zip(*(side.tolist() for side in twins(*map(np.float32, (mine, others)))), strict=True)
    )
    far = {(a, b): np.square(mine[a] - others[b]).sum() for a in range(12) for b in range(NEAREST)}
    slow: dict[int, int] = {}
    for a, b in sorted(far, key=far.get):
        if a not in slow and b not in slow.values():
            slow[a] = b
    assert found == slow


def test_with_too_few_others_some_have_no_twin():
    mine, others = np.zeros((5, 2), np.float32), np.float32([[0, 0], [9, 9]])
    first, second = twins(mine, others)
    assert len(first) == 2
    assert sorted(second.tolist()) == [0, 1]
    assert [len(side) for side in twins(mine[:0], others)] == [0, 0]
    assert [len(side) for side in twins(mine, others[:0])] == [0, 0]
