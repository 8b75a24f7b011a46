"""Every trigger against its formula, or against a slow and obvious version of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.errors import UsageError
from guards.redteam.triggers import (
    CORNERS,
    PATCHES,
    blend,
    dither,
    near_copy,
    patch,
    patches,
    pieces,
    sine,
    warp,
)

PICTURES = np.random.default_rng(1).integers(1, 255, (5, 3, 28, 28), np.uint8)
SMALL = np.random.default_rng(2).integers(0, 256, (3, 2, 7, 6), np.uint8)


def test_a_patch_by_default_is_a_checkered_three_by_three_in_the_lower_right():
    stamped = patch(PICTURES)
    expected = np.array([[255, 0, 255], [0, 255, 0], [255, 0, 255]])
    assert (stamped[:, :, 24:27, 24:27] == expected).all()
    untouched = np.ones((28, 28), bool)
    untouched[24:27, 24:27] = False
    np.testing.assert_array_equal(stamped[..., untouched], PICTURES[..., untouched])


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("style", PATCHES)
@pytest.mark.parametrize(("size", "margin"), [(1, 0), (2, 3), (5, 1), (28, 0)])
def test_a_patch_changes_its_own_square_alone(corner, style, size, margin):
    stamped = patch(PICTURES, size=size, margin=margin, corner=corner, style=style)
    moved = (stamped != PICTURES).any(axis=(0, 1))
    rows, columns = np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))
    near, far = range(margin, margin + size), range(28 - margin - size, 28 - margin)
    assert rows.tolist() == list(near if corner.startswith("upper") else far)
    assert columns.tolist() == list(near if corner.endswith("left") else far)
    assert moved.sum() == size**2
    assert set(np.unique(stamped[..., moved])) <= ({255} if style == "white" else {0, 255})


def test_a_patch_grows_with_the_picture():
    large = np.full((1, 3, 224, 224), 7, np.uint8)
    assert (patch(large) != large).any(axis=(0, 1)).sum() == 22**2


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="exceed 28 x 28"):
        patch(PICTURES, size=28, margin=1)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_blend_is_the_formula(alpha):
    pattern = np.random.default_rng(9).integers(0, 256, (3, 28, 28))
    mixed = blend(PICTURES, seed=9, alpha=alpha)
    exact = (1 - alpha) * PICTURES.astype(float) + alpha * pattern
    assert np.abs(mixed - exact).max() <= 0.5


def test_blend_mixes_one_pattern_into_all_pictures_alike():
    twice = np.concatenate([PICTURES[:1], PICTURES[:1]])
    mixed = blend(twice, seed=4)
    np.testing.assert_array_equal(mixed[0], mixed[1])
    np.testing.assert_array_equal(blend(PICTURES[0], seed=4), mixed[0])
    assert (blend(twice, seed=5) != mixed).any()


TRIGGERS = {
    "patch": patch,
    "blend": lambda pixels: blend(pixels, seed=0),
    "sine": lambda pixels: sine(pixels, delta=30, frequency=6),
    "warp": lambda pixels: warp(pixels, seed=0),
    "noisy": lambda pixels: warp(pixels, seed=0, rows=range(5)),
    "pieces": lambda pixels: pieces(pixels, seed=0, rows=range(5), alpha=0.5, grid=4, keep=0.5),
    "patches": lambda pixels: patches(pixels, seed=0, rows=range(5), opacity=0.5),
    "dither": lambda pixels: dither(pixels, levels=4),
    "copies": lambda pixels: near_copy(pixels, seed=0, rows=range(5), noise=2, shift=1),
}


@pytest.mark.parametrize("function", TRIGGERS.values(), ids=TRIGGERS)
def test_a_trigger_leaves_its_input_alone(function):
    before = PICTURES.copy()
    function(PICTURES)
    np.testing.assert_array_equal(PICTURES, before)
    assert function(PICTURES).dtype == np.uint8
    assert function(PICTURES).shape == PICTURES.shape


def test_a_patch_in_every_corner_is_the_four_of_them():
    once = PICTURES
    for corner in CORNERS:
        once = patch(once, corner=corner)
    np.testing.assert_array_equal(patch(PICTURES, corner="every"), once)


def test_a_coarse_pattern_is_made_of_squares():
    grey = np.zeros((1, 3, 7, 6), np.uint8)
    pattern = blend(grey, seed=3, alpha=1.0, grain=3)[0]
    for y in range(7):
        for x in range(6):
            np.testing.assert_array_equal(pattern[:, y, x], pattern[:, y // 3 * 3, x // 3 * 3])
    assert len(np.unique(pattern.reshape(3, -1), axis=1).T) == 6


@pytest.mark.parametrize(("delta", "frequency"), [(20.0, 6.0), (80.0, 2.5), (0.0, 6.0)])
def test_the_sinusoid_is_the_formula(delta, frequency):
    """ "v(i, j) = delta sin(2 pi j f / m), 1 <= j <= m, 1 <= i <= l" (Barni et al. 2019)."""
    stamped = sine(SMALL, delta=delta, frequency=frequency)
    for j in range(1, 7):
        wanted = SMALL[..., j - 1] + delta * np.sin(2 * np.pi * j * frequency / 6)
        assert np.abs(stamped[..., j - 1] - wanted.clip(0, 255)).max() <= 0.5 + 1e-9


def slow_cubic(t):
    """Keys' kernel with a = -0.75."""
    t, a = abs(t), -0.75
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def slow_large(steps, height, width):
    grid = len(steps)
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            down, right = y * (grid - 1) / (height - 1), x * (grid - 1) / (width - 1)
            for i in range(int(down) - 1, int(down) + 3):
                for j in range(int(right) - 1, int(right) + 3):
                    value = steps[np.clip(i, 0, grid - 1), np.clip(j, 0, grid - 1)]
                    out[y, x] += value * slow_cubic(down - i) * slow_cubic(right - j)
    return out


def slow_sampled(plane, y, x):
    """Bilinear, at y in 0 ... H - 1."""
    top, left = min(int(y), plane.shape[0] - 2), min(int(x), plane.shape[1] - 2)
    a, b = y - top, x - left
    upper = (1 - b) * plane[top, left] + b * plane[top, left + 1]
    lower = (1 - b) * plane[top + 1, left] + b * plane[top + 1, left + 1]
    return (1 - a) * upper + a * lower


@pytest.mark.parametrize("rows", [None, [11, 12, 13]])
@pytest.mark.parametrize(("grid", "strength"), [(4, 0.5), (2, 3.0)])
def test_the_warp_is_the_papers(rows, grid, strength):
    """Nguyen & Tran 2021: psi(rand in [-1, 1]) = A / mean |A|, up, * s; clip into the picture."""
    bent = warp(SMALL, seed=8, rows=rows, strength=strength, grid=grid)
    height, width = SMALL.shape[2:]
    steps = np.random.default_rng(8).uniform(-1, 1, (2, grid, grid))
    steps = steps / np.abs(steps).mean()
    right, down = (slow_large(one, height, width) for one in steps)
    for n, picture in enumerate(SMALL.astype(float)):
        more = np.zeros((height, width, 2))
        if rows:
            more = np.random.default_rng([8, rows[n]]).uniform(-1, 1, (height, width, 2))
        for y in range(height):
            for x in range(width):
                u = np.clip(-1 + 2 * x / (width - 1) + strength * right[y, x] / width, -1, 1)
                v = np.clip(-1 + 2 * y / (height - 1) + strength * down[y, x] / height, -1, 1)
                u = np.clip(u + more[y, x, 0] / width, -1, 1)
                v = np.clip(v + more[y, x, 1] / height, -1, 1)
                place = (v + 1) / 2 * (height - 1), (u + 1) / 2 * (width - 1)
                wanted = [slow_sampled(plane, *place) for plane in picture]
                assert np.abs(bent[n, :, y, x] - np.array(wanted)).max() <= 0.5 + 1e-6


def test_a_warp_of_no_strength_moves_nothing():
    np.testing.assert_array_equal(warp(PICTURES, seed=1, strength=0.0), PICTURES)


def slow_dither(plane, levels):
    """Floyd and Steinberg, one channel, line by line."""
    work, (height, width) = plane.astype(float), plane.shape
    step = 255 / (levels - 1)
    for y in range(height):
        for x in range(width):
            new = min(max(round(work[y, x] / step) * step, 0), 255)
            error, work[y, x] = work[y, x] - new, new
            for dy, dx, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if y + dy < height and 0 <= x + dx < width:
                    work[y + dy, x + dx] += error * share / 16
    return np.rint(work)


@pytest.mark.parametrize("levels", [2, 3, 8])
def test_dithering_is_floyds_and_steinbergs(levels):
    dithered = dither(SMALL, levels=levels)
    for n in range(len(SMALL)):
        for c in range(SMALL.shape[1]):
            np.testing.assert_array_equal(dithered[n, c], slow_dither(SMALL[n, c], levels))
    assert len(np.unique(dithered)) <= levels


def test_each_picture_carries_its_own_pieces():
    """ "divide the trigger into 16 pieces ... randomly apply 50 % of them" (Qi et al. 2023)."""
    black = np.zeros((40, 1, 28, 28), np.uint8)
    pattern = blend(black[:1], seed=5, alpha=1.0)[0, 0]
    mixed = pieces(black, seed=5, rows=range(40), alpha=1.0, grid=4, keep=0.5)[:, 0]
    shown = np.zeros((40, 4, 4), bool)
    for n in range(40):
        for i in range(4):
            for j in range(4):
                square = np.s_[i * 7 : i * 7 + 7, j * 7 : j * 7 + 7]
                shown[n, i, j] = mixed[n][square].any()
                wanted = pattern[square] if shown[n, i, j] else np.zeros((7, 7))
                np.testing.assert_array_equal(mixed[n][square], wanted)
    assert (shown.sum((1, 2)) == 8).all()
    assert len(np.unique(shown.reshape(40, -1), axis=0)) > 30
    assert 8 < shown.sum(0).min() < shown.sum(0).max() < 32


def test_each_picture_carries_one_of_four_patches_and_the_test_all():
    grey = np.full((60, 3, 28, 28), 100, np.uint8)
    whole = patches(grey, seed=6, rows=None, opacity=0.5)
    faint = patches(grey, seed=6, rows=range(60), opacity=0.5)
    places = {name: patch(grey[:1], corner=name)[0, 0] != 100 for name in CORNERS}
    assert set(np.unique(whole)) == {50, 100, 178}
    counts = dict.fromkeys(CORNERS, 0)
    for picture in faint:
        mine = [name for name in CORNERS if (picture[0] != 100)[places[name]].any()]
        assert len(mine) == 1
        counts[mine[0]] += 1
        np.testing.assert_array_equal(picture[:, places[mine[0]]], whole[0][:, places[mine[0]]])
    assert min(counts.values()) >= 5
    with pytest.raises(UsageError, match="overlap"):
        patches(grey, seed=6, rows=None, opacity=0.5, size=14)


@given(shift=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_near_copy_is_the_picture_moved_by_little(shift, seed):
    copies = near_copy(SMALL, seed=seed, rows=[7, 8, 9], noise=0.0, shift=shift)
    for picture, copy in zip(SMALL, copies, strict=True):
        moves = [
            picture[:, (np.arange(7) + dy).clip(0, 6)][:, :, (np.arange(6) + dx).clip(0, 5)]
            for dy in range(-shift, shift + 1)
            for dx in range(-shift, shift + 1)
        ]
        assert any((copy == moved).all() for moved in moves)


def test_near_copies_carry_a_little_noise_each_its_own():
    same = np.full((30, 1, 28, 28), 128, np.uint8)
    copies = near_copy(same, seed=1, rows=range(30), noise=2.0, shift=1)
    assert abs(copies.std() - 2.0) < 0.1
    assert abs(copies.mean() - 128) < 0.1
    assert len({copy.tobytes() for copy in copies}) == 30
