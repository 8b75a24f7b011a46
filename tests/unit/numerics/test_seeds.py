"""Seeds and learnt cells against the sentences that define them, and against slow versions."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from guards.numerics import discriminant, seeds


def test_evidence_is_highest_where_the_blunt_view_alone_denies_the_label() -> None:
    share = np.array([0.0, 0.0, 1.0, 0.0])
    patch_share = np.array([1.0, 1.0, 1.0, 0.0])
    belief = np.array([1.0, 0.0, 1.0, 0.0])
    e = seeds.evidence(share, patch_share, belief, 15)
    planted, flipped, usual, wrong = e
    assert planted > max(flipped, usual, wrong)
    assert planted == pytest.approx(np.log(15.5 / 16) + np.log(1.001) - 2 * np.log(0.5 / 16))


@pytest.mark.parametrize("seed", range(3))
def test_seeds_are_the_top_of_each_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, 400, p=[0.5, 0.3, 0.17, 0.03])
    e = rng.normal(size=400).round(1)
    marks = seeds.choose(e, labels, 4, share=0.1, least=8, smallest=20)
    for label in range(4):
        rows = np.flatnonzero(labels == label)
        wanted = max(8, int(0.1 * len(rows))) if len(rows) >= 20 else 0
        assert marks[:, label].sum() == wanted
        assert not marks[labels != label, label].any()
        if wanted:
            assert e[marks[:, label]].min() >= np.sort(e[rows])[-wanted]
    assert np.array_equal(marks[:, -1], marks[:, :-1].any(1))


def test_ridge_scores_are_those_of_scikit_learn_fold_by_fold() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(300, 6)) * [3, 2, 2, 1, 1, 0.5]
    marks = rng.random((300, 2)) < 0.1
    ours = discriminant.ridge_scores(
        discriminant.whitened(torch.tensor(features), 6),
        torch.tensor(marks),
        np.random.default_rng(1),
    ).numpy()
    folds = np.random.default_rng(1).permutation(300) % discriminant.FOLDS
    centred = features - features.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / 300)
    white = centred @ (vectors / np.sqrt(values))
    theirs = np.zeros((300, 2))
    for fold in range(discriminant.FOLDS):
        held = folds == fold
        model = Ridge(alpha=0.03 * (~held).sum(), fit_intercept=False)
        theirs[held] = model.fit(white[~held], marks[~held]).predict(white[held])
    middle = torch.tensor(theirs).median(0).values.numpy()
    spread = 1.4826 * torch.tensor(np.abs(theirs - middle)).median(0).values.numpy()
    np.testing.assert_allclose(ours, (theirs - middle) / spread, rtol=1e-6, atol=1e-6)


def test_no_seeds_no_scores() -> None:
    rng = np.random.default_rng(0)
    features, none = torch.tensor(rng.normal(size=(50, 3))), torch.zeros((50, 1), dtype=torch.bool)
    assert not discriminant.ridge_scores(discriminant.whitened(features), none, rng).any()


def test_shares_outside_a_cell_are_those_of_a_slow_version() -> None:
    rng = np.random.default_rng(4)
    points, labels = rng.normal(size=(80, 5)), rng.integers(0, 3, 80)
    rows = np.sort(rng.choice(80, 20, replace=False))
    fast = seeds.share_outside(torch.tensor(points), rows, labels, 7)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    others = np.setdiff1d(np.arange(80), rows)
    for row, share in zip(rows, fast, strict=True):
        near = others[np.argsort(-(unit[others] @ unit[row]))[:7]]
        assert share == pytest.approx((labels[near] == labels[row]).mean())


def test_the_turn_rate_counts_only_rows_that_do_not_look_like_the_target() -> None:
    labels, looks = np.array([1, 1, 1, 0, 2]), np.array([1, 0, 2, 0, 2])
    everyone = np.arange(5)
    assert seeds.turn_rate(everyone, 1, labels, looks) == 0.5
    assert seeds.turn_rate(everyone, None, labels, looks) == pytest.approx(0.4)
    assert seeds.turn_rate(everyone[:1], 1, labels, looks) == 0.0
    assert seeds.turn_rate(everyone[:0], None, labels, looks) == 0.0


def rows_and_direction(turned: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray, torch.Tensor]:
    """Three kinds of 100 rows, `turned` of them (of kinds 1 and 2) labelled 0 and set apart."""
    rng = np.random.default_rng(5)
    looks = np.repeat([0, 1, 2], 100)
    points = torch.tensor(np.eye(3)[looks] * 5 + rng.normal(size=(300, 3)) * 0.3)
    labels = looks.copy()
    labels[100 : 100 + turned // 2] = labels[200 : 200 + turned - turned // 2] = 0
    along = rng.normal(size=(300, 4))
    along[labels != looks, 0] += 12
    return points, labels, looks, torch.tensor(along)


def asked(points: torch.Tensor, labels: np.ndarray, looks: np.ndarray, along: torch.Tensor):
    return seeds.learnt_cells(
        [along],
        points,
        labels,
        looks,
        thresholds=(4.0,),
        least=8,
        neighbours=15,
        inconsistent=0.1,
        base=0.15,
        dispersion=0.03,
    )


def test_a_direction_that_turns_labels_is_a_cell_with_a_small_p_value() -> None:
    (cell,) = asked(*rows_and_direction(40))
    assert (cell.target, cell.rows, cell.hits, cell.turn) == (0, 40, 40, 1.0)
    assert cell.p_value < 1e-6
    assert cell.rate == 1.0


def test_rows_that_are_one_anothers_neighbours_are_judged_by_others() -> None:
    """Half of kind 1 is turned: most of their neighbours bear the wrong label as well."""
    points, labels, looks, along = rows_and_direction(0)
    labels[100:150], along[100:150, 0] = 0, 20.0
    (cell,) = asked(points, labels, looks, along)
    assert cell.hits == 50


def test_a_direction_that_meets_its_own_class_or_other_labels_is_none() -> None:
    points, labels, looks, along = rows_and_direction(0)
    along[:30, 0] = 20.0
    assert asked(points, labels, looks, along) == []
    along[100:130, 0] = 20.0
    assert asked(points, labels, looks, along) == []


def test_most_of_a_rare_class_is_no_cell() -> None:
    """Without them nobody of their class is left to vouch for them, planted or not."""
    points, labels, looks, along = rows_and_direction(0)
    labels[:] = np.where(np.arange(300) < 35, 0, np.where(labels == 0, 1, labels))
    along[:25, 0] = 20.0
    assert asked(points, labels, np.maximum(looks, 1), along) == []


def test_fewer_rows_than_asked_for_are_no_cell() -> None:
    assert asked(*rows_and_direction(6)) == []
