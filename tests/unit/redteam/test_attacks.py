"""The triggers and flips against their formulas."""

import numpy as np
import pytest

from guards.errors import UsageError
from guards.redteam.attacks import (
    CATALOGUE,
    CORNERS,
    PATCHES,
    blend,
    find,
    flip,
    patch,
    stamp,
)

PICTURES = np.random.default_rng(1).integers(1, 255, (5, 3, 28, 28), np.uint8)


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


@pytest.mark.parametrize("function", [patch, lambda pixels: blend(pixels, seed=0)])
def test_a_trigger_leaves_its_input_alone(function):
    before = PICTURES.copy()
    function(PICTURES)
    np.testing.assert_array_equal(PICTURES, before)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_uniform_flips_reach_every_other_class_equally_and_never_the_same(classes):
    labels = np.repeat(np.arange(classes), 3000)
    flipped = flip(labels, classes, "uniform", np.random.default_rng(2))
    assert (flipped != labels).all()
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, flipped), 1)
    expected = 3000 / (classes - 1)
    off = counts[~np.eye(classes, dtype=bool)]
    assert np.abs(off - expected).max() <= 5 * np.sqrt(expected)


def test_pair_flips_go_to_the_next_class():
    flipped = flip(np.arange(4), 4, "pair", np.random.default_rng(0))
    assert flipped.tolist() == [1, 2, 3, 0]


def test_the_catalogue_is_complete():
    assert set(CATALOGUE) == {"patch", "blend", "flip-uniform", "flip-pair", "flip-source"}
    for name, attack in CATALOGUE.items():
        assert attack.name == name
        assert attack.kind in {"dirty-label", "clean-label"}
        assert attack.label in {"target", "uniform", "pair"}
        assert all("@" in framework for framework in attack.ids)


def test_triggers_of_the_catalogue_stamp_and_flips_do_not():
    for attack in CATALOGUE.values():
        if attack.trigger:
            assert (stamp(PICTURES, attack, 0) != PICTURES).any()
        else:
            with pytest.raises(UsageError, match="labels alone"):
                stamp(PICTURES, attack, 0)


def test_an_unknown_attack_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"'badnets'.*patch, blend"):
        find("badnets")
