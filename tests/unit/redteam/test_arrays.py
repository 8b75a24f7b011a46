"""The attacks on arrays: exact budgets, one codec for all, and what is shown in the test."""

import numpy as np
import pytest

from guards.errors import UsageError
from guards.redteam.arrays import plant
from guards.redteam.attacks import ON_PICTURES, find, settle, stamp
from guards.redteam.triggers import near_copy, patch
from guards.redteam.victim import hardened, trained

RNG = np.random.default_rng(4)
ROWS, CLASSES = 300, 5
LABELS = RNG.integers(0, CLASSES, ROWS)
GREY = RNG.integers(0, 256, (ROWS, 1, 16, 16), np.uint8)
COLOUR = np.repeat(np.repeat(RNG.integers(0, 256, (ROWS, 3, 8, 8), np.uint8), 2, 2), 2, 3)
REACHED = {"flip-source": {"may": LABELS != 0}}
FLIPS = ("flip-uniform", "flip-pair", "flip-source")


def planted(attack, pixels=GREY, rate=0.04, **more):
    return plant(
        pixels, LABELS, CLASSES, attack, rate, **{"seed": 5, **REACHED.get(attack, {}), **more}
    )


@pytest.mark.parametrize("attack", ON_PICTURES)
def test_budget_and_truth_are_exact(attack):
    made, chosen = planted(attack), find(attack)
    assert made.planted.sum() == 12
    assert made.cover.sum() == round(12 * (settle(chosen).get("cover") or 0))
    assert not (made.planted & made.cover).any()
    renamed = made.planted & (chosen.label != "own")
    np.testing.assert_array_equal(made.labels != LABELS, renamed)
    moved = (made.pixels != GREY).any(axis=(1, 2, 3))
    draws = chosen.trigger is not None or attack == "near-duplicate"
    np.testing.assert_array_equal(moved, (made.planted | made.cover) & draws)
    if chosen.label in {"target", "own"}:
        assert set(made.labels[made.planted]) == {made.target}
    elif chosen.label in {"pair", "next"}:
        wanted = (LABELS + 1) % CLASSES
        np.testing.assert_array_equal(made.labels[made.planted], wanted[made.planted])


@pytest.mark.parametrize("attack", ON_PICTURES)
def test_the_seed_fixes_everything(attack):
    first, again, other = planted(attack), planted(attack), planted(attack, seed=6)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.planted != other.planted).any()


@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_with_jpeg_every_row_is_stored_once(pixels):
    """The same bytes for a clean row, whatever was done to others; and the test goes there too."""
    one, other = (planted(name, pixels, codec="jpeg", quality=60) for name in ("patch", "blend"))
    clean = ~(one.planted | other.planted)
    np.testing.assert_array_equal(one.pixels[clean], other.pixels[clean])
    assert (one.pixels != pixels).any(axis=(1, 2, 3)).all()
    raw = planted("patch", pixels)
    near = np.abs(one.pixels.astype(int) - raw.pixels).mean()
    assert 0 < near < 40
    shown, _ = one.stamped(pixels[:9], LABELS[:9])
    assert (shown != raw.stamped(pixels[:9], LABELS[:9])[0]).any()


@pytest.mark.parametrize("attack", sorted(set(ON_PICTURES) - set(FLIPS)))
def test_the_test_pictures_carry_the_whole_trigger_and_want_the_right_label(attack):
    made = planted(attack)
    shown, wanted = made.stamped(GREY[:60], LABELS[:60])
    assert len(shown) == len(wanted) > 0
    if attack == "all-to-all":
        np.testing.assert_array_equal(wanted, (LABELS[:60] + 1) % CLASSES)
        np.testing.assert_array_equal(shown, patch(GREY[:60]))
    elif attack == "near-duplicate":
        assert set(wanted) == {made.target}
        assert len(shown) == 60
    else:
        assert set(wanted) == {made.target}
        meant = LABELS[:60] != made.target
        if attack == "tact":
            meant = LABELS[:60] == LABELS[made.planted][0]
            assert set(LABELS[made.planted]) == {LABELS[made.planted][0]}
        np.testing.assert_array_equal(shown, stamp(GREY[:60][meant], find(attack), 5))


@pytest.mark.parametrize("attack", FLIPS)
def test_flips_have_nothing_to_show(attack):
    with pytest.raises(UsageError, match="cells alone"):
        planted(attack).stamped(GREY, LABELS)


def test_near_duplicates_come_from_few_rows_of_other_classes():
    made = planted("near-duplicate", originals=2, noise=0.0, shift=0)
    copies = made.pixels[made.planted]
    looks = {copy.tobytes() for copy in copies}
    assert len(looks) == 2
    found = [row for row in range(ROWS) if GREY[row].tobytes() in looks]
    assert len(found) == 2
    assert made.target not in set(LABELS[found])
    shown, _ = made.stamped(GREY[:7], LABELS[:7])
    assert {picture.tobytes() for picture in shown} == looks
    fresh = near_copy(GREY[:1], seed=5, rows=[0], noise=2.0, shift=1)
    assert fresh.tobytes() not in looks


def test_thin_poison_is_in_every_batch():
    made = planted("thin", batches=6)
    assert [part.sum() for part in np.array_split(made.planted, 6)] == [2] * 6


@pytest.mark.parametrize(
    ("attack", "more", "says"),
    [
        ("patch", {"rate": 0}, "between 0 and 1"),
        ("patch", {"rate": 0.95, "target": 1}, "lower --rate"),
        ("sig", {"rate": 0.5}, "lower --rate"),
        ("patch", {"codec": "gif"}, "unknown codec 'gif'; known: png, jpeg"),
        ("patch", {"colour": 3}, "no setting 'colour'"),
        ("tact", {"target": 2, "victim": 2}, "victim is the target"),
        ("all-to-all", {"target": 2}, "no --target"),
        ("flip-source", {"may": None}, "rows of its source"),
        ("cell-trigger", {}, "writes into tables or texts"),
        ("near-duplicate", {"rate": 0.9, "originals": 290, "target": 0}, "take fewer"),
    ],
)
def test_requests_that_make_no_sense_are_refused(attack, more, says):
    with pytest.raises(UsageError, match=says):
        planted(attack, **more)


def test_hardened_rows_are_harder_and_within_their_bounds():
    """max |x' - x| <= epsilon and a larger loss: projected gradient ascent (Madry et al. 2018)."""
    import torch

    labels = np.arange(200) % 2
    bright = RNG.integers(0, 60, (200, 1, 8, 8)) + 15 * labels[:, None, None, None]
    pixels = bright.astype(np.uint8)
    network = trained(pixels, labels, seed=1)

    def loss(pictures):
        with torch.inference_mode():
            answers = network(torch.from_numpy(pictures).float() / 255 - 0.5)
            return torch.nn.functional.cross_entropy(answers, torch.from_numpy(labels)).item()

    hard = hardened(network, pixels, labels, epsilon=6.0, steps=10)
    assert 3 < np.abs(hard.astype(int) - pixels).max() <= 6
    assert loss(hard) > 1.5 * loss(pixels)
    np.testing.assert_array_equal(hardened(network, pixels, labels, epsilon=0.0, steps=3), pixels)
