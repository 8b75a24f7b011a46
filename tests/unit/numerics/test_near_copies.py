"""Near copies: families against a slow comparison of every pair at every move."""

import numpy as np
from scipy.ndimage import gaussian_filter

from guards.numerics.near_copies import SHIFT, _apart, families

RNG = np.random.default_rng(0)


def scenes(count):
    shapes = gaussian_filter(RNG.normal(size=(count, 1, 24, 24)), (0, 0, 2, 2)) * 400 + 128
    return shapes.clip(0, 255).astype(np.uint8)


def test_distances_are_those_of_a_slow_comparison():
    pixels = scenes(3)
    found = _apart(pixels, np.arange(3), np.array([[1, 2], [0, 2], [0, 1]]))
    for row, others in enumerate([[1, 2], [0, 2], [0, 1]]):
        core = pixels[row, 0, SHIFT:-SHIFT, SHIFT:-SHIFT].astype(float)
        for place, other in enumerate(others):
            moves = [
                np.sqrt(np.mean((pixels[other, 0, y : y + 20, x : x + 20] - core) ** 2))
                for y in range(5)
                for x in range(5)
            ]
            assert np.isclose(found[row, place], min(moves) / core.std(), rtol=1e-4)


def test_moved_and_noisy_copies_are_one_family_and_others_are_alone():
    pixels = scenes(80)
    copies = np.roll(pixels[[0, 0, 0, 0, 1]], 1, 3) + RNG.integers(0, 3, (5, 1, 24, 24))
    found = families(np.concatenate([pixels, copies.clip(0, 255).astype(np.uint8)]))
    assert len(set(found[[0, 80, 81, 82, 83]])) == 1
    assert len(set(found)) == 81  # a single copy is a likeness like any other


def test_one_picture_is_its_own_family():
    assert families(scenes(1)).tolist() == [0]
