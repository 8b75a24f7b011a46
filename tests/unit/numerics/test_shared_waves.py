"""Shared waves: peaks against slow sums, counts against loops, amplitudes by least squares."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from scipy.special import gammaln

from guards.numerics import shared_waves
from guards.numerics.shared_waves import (
    AGREE,
    DISPERSION,
    DRIFTS,
    FAINT,
    HEIGHT,
    LIMIT,
    LOWEST,
    PIECES,
    RING,
    SECTORS,
    TOP,
    Peaks,
    Wave,
    amplitudes,
    cover,
    fitted,
    limited,
    log_tails,
    members,
    peaks,
    standing,
    windows,
)

RNG = np.random.default_rng(0)


def textures(n, height, width, channels=1):
    return RNG.integers(0, 256, (n, channels, height, width)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_limited_is_the_grey_picture_less_its_mean_nearby(channels):
    pixels = textures(3, 17, 20, channels)
    grey = pixels.mean(1)
    expected = np.clip(grey - uniform_filter(grey, (0, 7, 7), mode="nearest"), -LIMIT, LIMIT)
    assert np.allclose(limited(pixels), expected, atol=1e-3)


def slow_spectrum(picture, down, right):
    """Four quarters, each less its mean, at one frequency, by the sum in the docstring."""
    height, width = picture.shape
    tall, wide = height // 2, width // 2
    found = []
    for top in (0, height - tall):
        for left in (0, width - wide):
            total, part = 0, picture[top : top + tall, left : left + wide]
            for y, x in np.ndindex(tall, wide):
                turns = down * (top + y - (height - 1) / 2) / height
                turns += right * (left + x - (width - 1) / 2) / width
                total += (part[y, x] - part.mean()) * np.exp(-2j * np.pi * turns)
            found.append(total * 2 / (height * width))
    return np.array(found)


def slow_peaks(picture):
    """(down, right, phase, height) of every peak, bin by bin."""
    height, width = picture.shape
    every = {
        (down, right): slow_spectrum(picture, down, right)
        for down in range(-(height // 2) - RING, height // 2 + RING + 1)
        for right in range(-RING, width // 2 + RING + 1)
    }
    size = {place: abs(four.sum()) for place, four in every.items()}
    for (down, right), four in every.items():
        half = 0 <= right <= width // 2 and -((height - 1) // 2) <= down <= height // 2
        twice = (right == 0 or 2 * right == width) and down < 0
        if not half or twice or np.hypot(down, right) < LOWEST:
            continue
        around = {max(abs(y), abs(x)): [] for y in range(RING + 1) for x in range(RING + 1)}
        for y in range(-RING, RING + 1):
            for x in range(-RING, RING + 1):
                around[max(abs(y), abs(x))].append(size[wrapped(down + y, height), right + x])
        ring = np.concatenate([around[reach] for reach in range(TOP + 1, RING + 1)])
        top = max(max(around[reach]) for reach in range(TOP + 1))
        height_ = size[down, right] / (np.sqrt(np.mean(np.square(ring))) + 1e-6)
        sides = [(size_ - size_ // 2) / 2 / size_ for size_ in picture.shape]
        signs = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * sides
        turned = [
            (four * np.exp(-2j * np.pi * signs @ (y, x)), y, x) for y in DRIFTS for x in DRIFTS
        ]
        agreed = [abs((t / (abs(t) + 1e-6)).sum()) / 4 for t, _, _ in turned]
        best, y, x = turned[int(np.argmax(agreed))]
        if size[down, right] >= top - 1e-9 and height_ >= HEIGHT and max(agreed) >= AGREE:
            assert size[down, right] > FAINT
            yield down, right, down + y, right + x, np.angle(best.sum()) / 2 / np.pi % 1, height_


def wrapped(down, height):
    """The same frequency in -((height - 1) // 2) to height // 2, where the slow table has it."""
    return (down + (height - 1) // 2) % height - (height - 1) // 2


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 18), (18, 17)])
def test_peaks_are_those_of_a_slow_reading(height, width):
    pixels = textures(3, height, width)
    wave = 60 * np.cos(2 * np.pi * (np.arange(width) * 5 / width + 0.2))
    pixels[0] = np.clip(pixels[0] * 0.4 + wave + 60, 0, 255)
    found = peaks(pixels)
    columns = np.column_stack([found.bins, found.frequency, found.phase, found.height])
    for row, picture in enumerate(limited(pixels).astype(np.float64)):
        expected = np.array(sorted(slow_peaks(picture))).reshape(-1, 6)
        mine = columns[found.rows == row]
        mine = mine[np.lexsort(mine[:, :2].T[::-1])]
        assert mine.shape == expected.shape
        assert np.allclose(mine, expected, atol=1e-3)
    assert (found.bins[found.rows == 0] == (0, 5)).all(1).any()


@settings(max_examples=25, deadline=None)
@given(
    down=st.floats(-9, 9),
    right=st.floats(0.5, 9),
    phase=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@example(down=-4.0, right=0.5, phase=0.0, seed=0)
def test_the_phase_at_the_centre_is_that_of_the_wave(down, right, phase, seed):
    """A peak's "phase is told at the picture's centre, where the drift does not turn it"."""
    if np.hypot(down, right) < 3.5:
        return
    noise = np.random.default_rng(seed).normal(0, 3, (4, 1, 32, 32))
    wave = Wave(frequency=np.array([down, right]), phase=phase, pure=1).drawn(32, 32)
    found = peaks(np.clip(np.rint(120 + noise + 25 * wave), 0, 255).astype(np.uint8))
    signs = np.array(
        [1, -1]
    )  # cos(-x) = cos(x): a wave is told by its frequency or by the opposite
    gap = np.abs(signs[:, None, None] * found.frequency - (down, right)).max(2)
    near = gap.min(0) <= 0.75
    assert set(found.rows[near].tolist()) == {0, 1, 2, 3}
    sign = signs[gap.argmin(0)][near]
    turned = np.abs((sign * found.phase[near] - phase + 0.5) % 1 - 0.5)
    assert turned.max() < 0.08


def some_peaks(count, height, width):
    bins = np.column_stack(
        [RNG.integers(-(height // 2) + 1, height // 2, count), RNG.integers(0, width // 2, count)]
    )
    rows = np.sort(RNG.integers(0, 50, count))
    phase, tall = RNG.random(count), RNG.random(count) + HEIGHT
    return Peaks(rows=rows, bins=bins, frequency=bins * 1.0, phase=phase, height=tall)


def test_windows_and_members_agree_with_a_loop():
    found = some_peaks(400, 10, 12)
    table = windows(found, (10, 12))
    assert table.shape == (10, 7, SECTORS)
    for down, right, sector in np.ndindex(table.shape):
        count = 0
        for (y, x), phase in zip(found.bins.tolist(), found.phase.tolist(), strict=True):
            near = (int(phase * SECTORS) - sector) % SECTORS in (SECTORS - 1, 0, 1)
            count += near and y % 10 in (down, (down + 1) % 10) and x in (right, right + 1)
        assert table[down, right, sector] == count
        inside = members(found, np.array([down, right, sector]), 10)
        assert inside.sum() == count


def test_standing_windows_exceed_other_phases_and_what_is_expected():
    table, expected = np.zeros((8, 5, SECTORS), int), np.zeros((8, 5, SECTORS))
    table[3, 2, 11] = 20
    table[3, 2, 1] = 19  # shares a sector with the first
    table[3, 2, 6] = 2
    assert standing(table, expected, least=10, lift=4).tolist() == [
        [3, 2, 1, 19, 2],
        [3, 2, 11, 20, 2],
    ]
    expected[3, 2, 1] = 4.2
    assert standing(table, expected, least=10, lift=4).tolist() == [[3, 2, 11, 20, 2]]
    assert not len(standing(table, expected, least=21, lift=4))
    assert not len(standing(table, expected, least=10, lift=8.1))


def test_tails_are_those_of_the_negative_binomial():
    shape, mean, rows = 1 / DISPERSION, 4.5, 12
    k = np.arange(rows, 2000)
    logs = gammaln(k + shape) - gammaln(k + 1) - gammaln(shape)
    logs += shape * np.log(shape / (shape + mean)) + k * np.log(mean / (shape + mean))
    expected = np.log10(np.exp(logs).sum())
    assert log_tails(np.array([rows]), np.array([4]))[0] == pytest.approx(expected, rel=1e-9)


@given(down=st.integers(-40, 40), right=st.integers(24, 60), phase=st.floats(0.01, 0.99))
def test_what_is_drawn_is_fitted(down, right, phase):
    """Frequencies are told "to an eighth of a period" across the picture."""
    wave = Wave(frequency=np.array([down / 8, right / 8]), phase=phase, pure=1)
    found = fitted(3 * wave.drawn(32, 28).astype(np.float64))
    assert np.allclose(found.frequency, wave.frequency, atol=0.126)
    assert abs((found.phase - phase + 0.5) % 1 - 0.5) < 0.03
    assert 0.85 < found.pure <= 1.15


def test_purity_is_the_share_of_the_wave():
    wave = Wave(frequency=np.array([2.0, 5.0]), phase=0.1, pure=1).drawn(32, 32)
    noise = RNG.normal(0, 1, (32, 32))
    both = fitted(np.float64(wave) + noise)
    assert both.pure == pytest.approx(0.5 / (0.5 + 1), abs=0.08)
    assert fitted(np.zeros((32, 32))).pure == 0


def test_amplitudes_are_least_squares_piece_by_piece():
    pictures = RNG.normal(size=(3, 18, 21)).astype(np.float32)
    drawn = Wave(frequency=np.array([3.0, 4.5]), phase=0.3, pure=1).drawn(18, 21)
    found = amplitudes(pictures, drawn)
    assert found.shape == (3, PIECES**2)
    for row, piece in np.ndindex(found.shape):
        inside = np.arange(18) * 4 // 18 == piece // 4, np.arange(21) * 4 // 21 == piece % 4
        mine = drawn[np.ix_(*inside)].reshape(-1, 1)
        fit = np.linalg.lstsq(mine, pictures[row][np.ix_(*inside)].ravel(), rcond=None)[0]
        assert found[row, piece] == pytest.approx(fit[0], abs=1e-4)


def test_what_is_everywhere_covers_the_rim_and_what_is_in_the_middle_does_not():
    everywhere = np.ones(PIECES**2, np.float32)
    assert cover(everywhere) == pytest.approx(1)
    middle = np.zeros((PIECES, PIECES), np.float32)
    middle[1:3, 1:3] = 1
    assert cover(middle.ravel()) == 0
    everywhere[[0, 3]] = 0  # two dark corners are forgiven, three are not
    assert cover(everywhere) > 1
    everywhere[15] = 0
    assert cover(everywhere) == 0


def test_many_pictures_are_looked_at_in_parts(monkeypatch):
    pixels = textures(20, 16, 16)
    whole = peaks(pixels)
    monkeypatch.setattr(shared_waves, "_VALUES", 16 * 16 * 3)
    parts = peaks(pixels)
    assert np.array_equal(whole.rows, parts.rows)
    assert np.array_equal(whole.bins, parts.bins)
