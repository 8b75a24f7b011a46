"""The measures of a picture, against slow versions of them."""

import numpy as np
import pytest

from guards.numerics.looks import CELLS, HORIZONTAL, VERTICAL, looks


def test_cells_are_means_of_grey_and_a_wave_shows_in_its_own_band():
    rng = np.random.default_rng(1)
    pixels = rng.integers(60, 190, (3, 1, 28, 28), np.uint8)
    wave = np.clip(pixels + 30 * np.sin(2 * np.pi * 6 * np.arange(28) / 28), 0, 255).astype(
        np.uint8
    )
    plain, waved = looks(pixels), looks(wave)
    assert plain.shape == (3, CELLS * CELLS + VERTICAL * HORIZONTAL)
    slow = pixels[0, 0].reshape(7, 4, 7, 4).mean((1, 3)).ravel() / 255
    assert np.allclose(plain[0, : CELLS * CELLS], slow, atol=1e-5)
    strongest = int((waved - plain)[:, CELLS * CELLS :].mean(0).argmax())
    assert strongest // HORIZONTAL == VERTICAL // 2, "no vertical frequency"


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 40), (1, 1, 1)])
def test_small_pictures_have_fewer_measures_and_no_gaps(shape):
    found = looks(np.random.default_rng(2).integers(0, 255, (4, *shape), np.uint8))
    assert np.isfinite(found).all()


def test_a_picture_is_looked_at_by_itself():
    pixels = np.random.default_rng(3).integers(0, 255, (5, 3, 16, 16), np.uint8)
    assert np.allclose(looks(pixels)[2], looks(pixels[2:3])[0], atol=1e-5)
