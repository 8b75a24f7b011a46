"""Shared windows: the codes against a slow reading, the counts against a loop, the tail by sum."""

import numpy as np
import pytest
from scipy.special import gammaln

from guards.numerics.shared_windows import (
    CONTRAST,
    DISPERSION,
    carried,
    counts,
    elsewhere,
    log_tails,
    sharp,
    window_codes,
)

RNG = np.random.default_rng(0)


def slow(picture, top, left):
    """The code of one window, pixel by pixel."""
    window = np.rint(picture.mean(0))[top : top + 3, left : left + 3]
    if window.max() - window.min() < CONTRAST:
        return -1
    return int("".join("1" if value > window.mean() else "0" for value in window.ravel()), 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_codes_are_those_of_a_slow_reading(channels):
    pixels = RNG.integers(0, 256, (4, channels, 7, 6)).astype(np.uint8)
    found = window_codes(pixels)
    assert found.shape == (4, 5, 4)
    for row, top, left in np.ndindex(found.shape):
        assert found[row, top, left] == slow(pixels[row], top, left)


def test_counts_and_carriers_agree_with_a_loop():
    pixels = RNG.choice([0, 255], (40, 1, 5, 5)).astype(np.uint8)
    groups = RNG.integers(0, 2, 40)
    table = counts(pixels, groups, 2)
    assert table.shape == (3, 3, 512, 2)
    for row, picture in enumerate(pixels):
        for top, left in np.ndindex(3, 3):
            code = slow(picture, top, left)
            if code >= 0:
                table[top, left, code, groups[row]] -= 1
    assert not table.any()
    cells = np.array([[1, 2, slow(pixels[0], 1, 2)]])
    assert carried(pixels, cells)[:, 0].tolist() == [slow(p, 1, 2) == cells[0, 2] for p in pixels]


def test_sharp_cells_stand_above_all_places_around_and_off_the_rim():
    table = np.zeros((9, 9, 512, 1), np.int64)
    table[4, 4, 7] = 30
    table[6, 2, 7] = 1  # two away: 30 >= 20 * 1.5 still
    table[0, 4, 9] = 30  # the rim
    assert sharp(table, least=10, lift=20.0).tolist() == [[4, 4, 7, 0, 30, 1]]
    table[6, 2, 7] = 2
    assert not len(sharp(table, least=10, lift=20.0))
    table[6, 2, 7], table[7, 4, 7] = 0, 29  # three away
    assert len(sharp(table, least=10, lift=20.0)) == 2
    assert not len(sharp(table, least=31, lift=20.0))


def test_elsewhere_counts_rows_that_have_the_code_beside_and_not_here():
    """ "the most that have it beside that place alone", by a loop over rows, places and steps."""
    pixels = RNG.choice([0, 255], (60, 1, 6, 7), p=[0.2, 0.8]).astype(np.uint8)
    groups = RNG.integers(0, 2, 60)
    table, around = elsewhere(pixels, groups, 2)
    assert table.shape == around.shape == (4, 5, 512, 3)
    np.testing.assert_array_equal(table[..., :2], counts(pixels, groups, 2))
    np.testing.assert_array_equal(table[..., 2], table[..., :2].sum(3))
    codes = window_codes(pixels)
    for top, left, code in np.argwhere(table[..., 2] > 0):
        here = codes[:, top, left] == code
        for group, mine in enumerate((groups == 0, groups == 1, groups >= 0)):
            most = 0
            for y in range(max(top - 2, 0), min(top + 3, 4)):
                for x in range(max(left - 2, 0), min(left + 3, 5)):
                    most = max(most, int((mine & ~here & (codes[:, y, x] == code)).sum()))
            assert around[top, left, code, group] == most


def test_a_mark_that_grows_from_its_corner_is_sharp_there_and_a_moving_edge_is_not():
    pixels = np.full((60, 1, 12, 12), 90, np.uint8)
    for row in range(30):  # a checkered square of 3 to 6 pixels, its lower right end fixed
        side = 3 + row % 4
        square = np.where(np.indices((side, side)).sum(0) % 2, 0, 255)
        pixels[row, 0, 10 - side : 10, 10 - side : 10] = square
    for row in range(30, 60):  # the upper left end of a light square, anywhere
        pixels[row, 0, row % 5 :, row % 6 :] = 250
    groups = np.zeros(60, np.int64)
    table, around = elsewhere(pixels, groups, 1)
    found = sharp(table, around=around, least=10, lift=20.0)
    assert [7, 7] in found[:, :2].tolist()
    assert set(found[:, 4]) <= {22, 30}
    plain = sharp(counts(pixels, groups, 1), least=10, lift=20.0)
    assert plain[:, :2].tolist() == [[8, 8]], "its very end, and only on a plain ground"


def test_tails_are_those_of_the_negative_binomial():
    shape, mean, rows = 1 / DISPERSION, 4.5, 12
    k = np.arange(rows, 2000)
    logs = gammaln(k + shape) - gammaln(k + 1) - gammaln(shape)
    logs += shape * np.log(shape / (shape + mean)) + k * np.log(mean / (shape + mean))
    expected = np.log10(np.exp(logs).sum())
    assert log_tails(np.array([rows]), np.array([4]))[0] == pytest.approx(expected, rel=1e-9)
