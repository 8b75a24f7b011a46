"""The measures of a picture, against slow versions of them."""

import numpy as np
import pytest

from guards.numerics.looks import CELLS, HORIZONTAL, LOWEST, VERTICAL, looks, spectra


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


def test_spectra_are_roots_of_the_lowest_amplitudes_by_the_sum_that_defines_them():
    """F(u, v) = sum over y, x of g(y, x) exp(-2 pi i (u y / H + v x / W)), and |F|^(1/2)."""
    grey = np.random.default_rng(4).integers(0, 255, (2, 16, 20), np.uint8)
    y, x = np.mgrid[:16, :20]
    light = grey[1] / 255 - grey[1].mean() / 255
    slow = [
        np.sqrt(abs((light * np.exp(-2j * np.pi * (u * y / 16 + v * x / 20))).sum()))
        for u in (*range(LOWEST), *range(-LOWEST, 0))
        for v in range(LOWEST)
    ]
    found = spectra(grey)
    assert found.shape == (2, 2 * LOWEST**2 + 1)
    assert np.allclose(found[1, :-1], slow, atol=1e-6)
    assert found[1, -1] == pytest.approx(8 * grey[1].mean() / 255)


@pytest.mark.parametrize("move", [(0, 3), (5, 0), (-2, 7)])
def test_where_the_subject_stands_is_of_no_account(move):
    grey = np.random.default_rng(5).integers(0, 255, (3, 32, 32), np.uint8)
    assert np.allclose(spectra(np.roll(grey, move, (1, 2))), spectra(grey), atol=1e-6)
    assert not np.allclose(spectra(grey.transpose(0, 2, 1)), spectra(grey), atol=1e-2)


def test_spectra_of_a_picture_are_its_own():
    grey = np.random.default_rng(6).integers(0, 255, (40, 32, 32), np.uint8)
    assert np.allclose(spectra(grey)[7], spectra(grey[7:8])[0], atol=1e-9)
    assert np.isfinite(spectra(np.zeros((2, 32, 32), np.uint8))).all()
