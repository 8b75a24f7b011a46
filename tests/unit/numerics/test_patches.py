"""Cells of pictures against loops that anyone can read."""

import numpy as np
import pytest

from guards.numerics import patches

RNG = np.random.default_rng(8)


def quantised(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels / (255 / (patches.LEVELS - 1))).astype(int)


def test_two_rows_share_a_code_exactly_when_they_share_the_window() -> None:
    pixels = (RNG.integers(0, 2, (60, 5, 4)) * 255).astype(np.uint8)
    codes = patches.windows(pixels)
    assert codes.shape == (60, 3, 2)
    for top in range(3):
        for left in range(2):
            here = pixels[:, top : top + 3, left : left + 3].reshape(60, -1)
            same = (here[:, None] == here[None]).all(2)
            at = codes[:, top, left]
            assert ((at[:, None] == at[None]) == same).all()


def test_black_and_white_stay_apart_from_nothing_near_them() -> None:
    shades = np.array([0, 18, 19, 127, 236, 237, 255], np.uint8)
    pixels = np.broadcast_to(shades[:, None, None], (7, 3, 3))
    codes = patches.windows(pixels).ravel()
    assert codes[0] == codes[1] != codes[2]
    assert codes[5] == codes[6] != codes[4]
    assert codes.max() == patches.LEVELS ** (patches.SIDE**2) - 1


@pytest.mark.parametrize("shape", [(2, 9), (9, 2), (1, 1)])
def test_pictures_smaller_than_a_window_have_no_cells(shape: tuple[int, int]) -> None:
    codes = patches.windows(np.zeros((4, *shape), np.uint8))
    whom = np.zeros(4, np.int64)
    table = patches.turn_rates(codes, whom, whom, whom > 0, least=1)
    assert table.shape == (0, len(patches.COLUMNS))
    assert (patches.carried(codes, table) == 0).all()


def test_turn_rates_are_the_slow_count() -> None:
    codes = RNG.integers(0, 3, (80, 2, 2))
    labels, looks = RNG.integers(0, 4, 80), RNG.integers(0, 4, 80)
    turned = RNG.random(80) < 0.3
    found = {
        tuple(line[:4]): tuple(line[4:])
        for line in patches.turn_rates(codes, labels, looks, turned, least=5).tolist()
    }
    slow = {}
    for top, left, code, goal in np.ndindex(2, 2, 3, 4):
        inside = codes[:, top, left] == code
        hits = inside & turned & (labels == goal)
        rows = inside & ((looks != goal) | hits)
        if rows.sum() >= 5:
            slow[top, left, code, goal] = (int(rows.sum()), int(hits.sum()))
    assert found == slow


def test_carried_is_the_share_of_cells() -> None:
    codes = RNG.integers(0, 2, (30, 2, 2))
    cells = np.array([[0, 0, 1, 3, 9, 9], [1, 1, 0, 3, 9, 9]])
    expected = ((codes[:, 0, 0] == 1).astype(int) + (codes[:, 1, 1] == 0)) / 2
    assert np.allclose(patches.carried(codes, cells), expected)


def test_the_box_is_that_of_the_stamp() -> None:
    ordinary = RNG.integers(0, 256, (200, 12, 14)).astype(np.uint8)
    stamped = ordinary[:50].copy()
    stamped[:, 7:10, 2:6] = np.array([[255, 0, 255, 0]] * 3)
    assert patches.box(stamped, ordinary[50:], (7, 2)) == (7, 2, 3, 4)


def test_without_fixed_pixels_the_box_is_the_window() -> None:
    ordinary = RNG.integers(0, 256, (100, 12, 14)).astype(np.uint8)
    assert patches.box(ordinary[:50], ordinary[50:], (4, 5)) == (4, 5, 3, 3)
    assert quantised(ordinary).max() == patches.LEVELS - 1
