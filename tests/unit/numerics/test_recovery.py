"""The recovered trigger against the true one: made pictures, where the clean ones are known too."""

from __future__ import annotations

import numpy as np
import pytest

from guards.numerics.recovery import LEAST, recover, stamp

SIDE, ROWS, ALIKE = 20, 80, 4


def scene(rng: np.random.Generator, rows: int, channels: int = 1) -> np.ndarray:
    """Smooth pictures: a few waves each, with a black margin as scans have it."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = np.stack([np.sin(2 * np.pi * (a * x + b * y)) for a in range(3) for b in range(3)])
    mixed = np.einsum("ncw,whv->nchv", rng.normal(size=(rows, channels, 9)), waves)
    pictures = np.clip(110 + 45 * mixed, 0, 255)
    pictures[..., :2, :] = 0
    return pictures.astype(np.uint8)


def cases(seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    like = scene(rng, ROWS * ALIKE, channels).reshape(ROWS, ALIKE, channels, SIDE, SIDE)
    return scene(rng, ROWS, channels), like


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("clean", [0, 12])
def test_a_patch_is_recovered_to_the_pixel_even_with_rows_that_do_not_carry_it(
    channels: int, clean: int
) -> None:
    held, like = cases(1, channels)
    checker = np.where(np.indices((3, 3)).sum(0) % 2 == 0, 255, 0)
    held[clean:, :, 15:18, 14:17] = checker
    found = recover(held, like, np.random.default_rng(0))
    assert found is not None
    assert found.box == (15, 14, 3, 3)
    assert found.mask.sum() == 9
    assert found.opacity > 0.95
    assert np.abs(found.pattern[:, 15:18, 14:17] - checker).max() <= 6
    assert found.agreement > 0.95
    plain = scene(np.random.default_rng(3), 5, channels)
    wanted = plain.copy()
    wanted[:, :, 15:18, 14:17] = checker
    assert np.abs(stamp(plain, found).astype(int) - wanted).mean() < 0.1


@pytest.mark.parametrize(("opacity", "bound"), [(0.2, 0.7), (0.5, 0.95)])
def test_a_blend_is_recovered_over_the_whole_picture(opacity: float, bound: float) -> None:
    held, like = cases(2)
    pattern = np.random.default_rng(8).integers(0, 256, (1, SIDE, SIDE))
    held = np.rint((1 - opacity) * held + opacity * pattern).astype(np.uint8)
    found = recover(held, like, np.random.default_rng(0))
    assert found is not None
    assert found.mask.all()
    assert found.opacity == pytest.approx(opacity, abs=0.1)
    assert np.corrcoef(found.pattern.ravel(), pattern.ravel())[0, 1] > bound
    assert found.agreement > 0.5


def test_pictures_that_carry_nothing_show_nothing() -> None:
    quiet = [recover(*cases(seed), np.random.default_rng(0)) for seed in range(20, 30)]
    assert [found for found in quiet if found is not None and found.agreement > 0.5] == []
    assert sum(found is not None for found in quiet) <= 2


def test_a_pattern_of_its_own_in_every_picture_is_not_shown_as_one() -> None:
    held, like = cases(4)
    rng = np.random.default_rng(5)
    for picture, (top, left) in zip(held, rng.integers(2, 16, (ROWS, 2)), strict=True):
        picture[:, top : top + 3, left : left + 3] = 255
    found = recover(held, like, np.random.default_rng(0))
    assert found is None or found.agreement < 0.5


def test_few_rows_say_nothing_and_the_same_rows_the_same() -> None:
    held, like = cases(6)
    held[:, :, 4:7, 4:7] = 255
    assert recover(held[: LEAST - 1], like[: LEAST - 1], np.random.default_rng(0)) is None
    one, other = (recover(held, like, np.random.default_rng(9)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.added.tobytes() == other.added.tobytes()
    assert one.agreement == other.agreement
