"""The catalogue: its order, its words, its settings; and the flips."""

import numpy as np
import pytest

from guards.errors import UsageError
from guards.redteam.attacks import CATALOGUE, COVER, PLANTED, find, flip, listed, settle, stamp
from guards.redteam.triggers import blend

PICTURES = np.random.default_rng(1).integers(1, 255, (5, 3, 28, 28), np.uint8)
ORDER = [
    "patch",
    "blend",
    "sig",
    "wanet",
    "tact",
    "adaptive-blend",
    "adaptive-patch",
    "all-to-all",
    "label-consistent",
    "sample-specific",
    "flip-uniform",
    "flip-pair",
    "flip-source",
    "near-duplicate",
    "thin",
    "cell-trigger",
    "token-trigger",
]


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


def test_the_catalogue_and_its_order_are_fixed():
    assert list(CATALOGUE) == ORDER


@pytest.mark.parametrize("name", ORDER)
def test_every_attack_says_what_it_is_what_it_needs_and_who_published_it(name):
    attack = CATALOGUE[name]
    assert attack.name == name
    assert attack.kind == ("clean-label" if attack.label == "own" else "dirty-label")
    assert attack.label in {"target", "own", "uniform", "pair", "next"}
    assert attack.ids[0].startswith("NIST AI 100-2@e2025 NISTAML.0")
    assert "MITRE ATLAS@5.6 AML.T0020" in attack.ids
    assert ("MITRE ATLAS@5.6 AML.T0043.004" in attack.ids) is bool(attack.trigger or attack.writes)
    assert "%" in attack.budget
    assert attack.knowledge
    assert "20" in attack.reference
    assert f"{name}: {attack.summary}" in listed()
    assert settle(attack) == settle(attack, settle(attack)), "the defaults are allowed"


def test_the_list_is_in_the_order_of_the_catalogue():
    heads = [line.split(":")[0] for line in listed().splitlines() if line[:1].strip()]
    assert heads == ORDER


@pytest.mark.parametrize("part", ["planted", "cover", "test"])
def test_triggers_of_the_catalogue_stamp_and_flips_do_not(part):
    for attack in CATALOGUE.values():
        if attack.trigger:
            stamped = stamp(PICTURES, attack, 0, part=part, rows=range(5))
            assert (stamped != PICTURES).any(axis=(1, 2, 3)).all()
        else:
            with pytest.raises(UsageError, match="labels or cells alone"):
                stamp(PICTURES, attack, 0)


def test_the_adaptive_attacks_show_a_part_in_training_and_the_whole_in_the_test():
    adaptive = find("adaptive-blend")
    told = settle(adaptive, {"alpha": 0.1, "test_alpha": 0.3})
    whole = stamp(PICTURES, adaptive, 7, told)
    np.testing.assert_array_equal(whole, blend(PICTURES, seed=7, alpha=0.3))
    part = stamp(PICTURES, adaptive, 7, told, part=PLANTED, rows=range(5))
    faint = blend(PICTURES, seed=7, alpha=0.1)
    shown = (part == faint).all(axis=1)
    assert 0.5 <= shown.mean() < 0.6
    np.testing.assert_array_equal(part, np.where(shown[:, None], faint, PICTURES))
    patches = find("adaptive-patch")
    moved = stamp(PICTURES, patches, 7, part=COVER, rows=range(5)) != PICTURES
    assert (moved.any(1).sum((1, 2)) <= 9).all(), "one of the four"
    assert ((stamp(PICTURES, patches, 7) != PICTURES).any(1).sum((1, 2)) == 36).all()


def test_the_cover_rows_of_a_warp_are_warped_otherwise_each_in_its_own_way():
    wanet = find("wanet")
    same = np.repeat(PICTURES[:1], 3, 0)
    planted = stamp(same, wanet, 3, part=PLANTED, rows=[4, 5, 6])
    np.testing.assert_array_equal(planted, stamp(same, wanet, 3))
    cover = stamp(same, wanet, 3, part=COVER, rows=[4, 5, 6])
    assert len({picture.tobytes() for picture in (*cover, *planted)}) == 4


def test_settings_are_read_as_text_or_as_values():
    patch = find("patch")
    assert settle(patch, {"size": "4", "corner": "every"}) == {
        "size": 4,
        "margin": 1,
        "corner": "every",
        "style": "checker",
    }
    assert settle(patch, {"size": "auto"}) == settle(patch)
    assert settle(find("blend"), {"alpha": "1e-1"})["alpha"] == 0.1


@pytest.mark.parametrize(
    ("attack", "given", "says"),
    [
        ("patch", {"alpha": 0.1}, r"no setting 'alpha'; it has: size, margin, corner, style"),
        ("flip-pair", {"size": 3}, "it has: none"),
        ("patch", {"size": "big"}, "size is int"),
        ("patch", {"size": 2.5}, "whole number"),
        ("patch", {"size": 0}, "size lies in 1 to"),
        ("patch", {"corner": "middle"}, "corner is one of lower-right"),
        ("blend", {"alpha": "1.5"}, "alpha lies in 0 to 1"),
        ("blend", {"alpha": "nan"}, "alpha lies in 0 to 1"),
        ("blend", {"alpha": None}, "alpha is float"),
        ("wanet", {"grid": "inf"}, "grid is int"),
        ("sig", {"frequency": "inf"}, "frequency lies in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(attack, given, says):
    with pytest.raises(UsageError, match=says):
        settle(find(attack), given)


def test_an_unknown_attack_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"'badnets'.*patch, blend"):
        find("badnets")
