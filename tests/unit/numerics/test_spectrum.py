"""The batched subspace against numpy's SVD of one class at a time."""

import numpy as np
import pytest
import torch
from scipy.stats import median_abs_deviation

from guards.numerics import spectrum

RNG = np.random.default_rng(11)
SIZES = (50, 31, 40)
classes_of_rows = RNG.permutation(np.repeat(np.arange(3), SIZES))
FEATURES = RNG.normal(size=(121, 9)) * np.linspace(3, 0.2, 9) + classes_of_rows[:, None]


def laid_out() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    layout = spectrum.padded(classes_of_rows, np.arange(3))
    mask = torch.from_numpy(layout >= 0)
    batch = spectrum.centre(torch.from_numpy(FEATURES)[torch.from_numpy(layout)], mask)
    return batch, mask, layout


def test_padding_holds_every_row_once_and_centres_to_zero() -> None:
    batch, mask, layout = laid_out()
    assert sorted(layout[layout >= 0].tolist()) == list(range(121))
    assert batch[~mask].abs().max() == 0
    assert batch.sum(1).abs().max() < 1e-9
    for group in range(3):
        own = FEATURES[classes_of_rows == group]
        assert np.allclose(batch[group][mask[group]].numpy(), own - own.mean(0))


def test_leading_directions_are_those_of_the_svd() -> None:
    batch, _, _ = laid_out()
    directions, variances = spectrum.leading(batch, 3, steps=60)
    for group in range(3):
        own = FEATURES[classes_of_rows == group]
        _, singular, right = np.linalg.svd(own - own.mean(0), full_matrices=False)
        assert np.allclose(variances[group].numpy(), singular[:3] ** 2, rtol=1e-4)
        alike = np.abs(np.sum(directions[group].numpy() * right[:3].T, axis=0))
        assert np.allclose(alike, 1, atol=1e-3)


def test_few_steps_already_hold_most_of_the_variance() -> None:
    batch, _, _ = laid_out()
    few, many = (spectrum.leading(batch, 3, steps=s)[1].sum(1) for s in (spectrum.STEPS, 60))
    assert (few / many > 0.99).all()


def test_directions_are_orthonormal_in_single_precision_and_signs_are_fixed() -> None:
    batch, _, _ = laid_out()
    directions, _ = spectrum.leading(batch.float(), 4)
    gram = directions.mT @ directions
    assert (gram - torch.eye(4)).abs().max() < 1e-4
    again, _ = spectrum.leading(batch.float(), 4)
    assert torch.equal(directions, again)
    peaks = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    assert (peaks > 0).all()


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_a_class_of_hardly_any_rows_gives_finite_answers(rows: int) -> None:
    mask = torch.arange(30)[None] < rows
    batch = spectrum.centre(torch.from_numpy(RNG.normal(size=(1, 30, 8))), mask)
    directions, variances = spectrum.leading(batch, 6)
    assert torch.isfinite(directions).all()
    assert torch.isfinite(variances).all()


def test_constant_features_give_finite_answers() -> None:
    flat = torch.ones(40, 5)
    white = spectrum.whiten(flat, torch.zeros(40, dtype=torch.int64), 1)
    directions, _ = spectrum.leading(spectrum.centre(white[None], torch.ones(1, 40) > 0), 2)
    assert torch.isfinite(directions).all()


def test_whitening_is_the_formula_with_the_means_taken_out_by_hand() -> None:
    labels = torch.from_numpy(classes_of_rows)
    white = spectrum.whiten(torch.from_numpy(FEATURES), labels, 3, shrinkage=0.1).double().numpy()
    centred = (
        FEATURES
        - np.stack([FEATURES[classes_of_rows == c].mean(0) for c in range(3)])[classes_of_rows]
    )
    within = centred.T @ centred / len(centred)
    shrunk = 0.9 * within + 0.1 * np.trace(within) / 9 * np.eye(9)
    values, vectors = np.linalg.eigh(shrunk)
    expected = (FEATURES - FEATURES.mean(0)) @ vectors / np.sqrt(values) @ vectors.T
    assert np.allclose(white, expected, atol=1e-4)


def test_buckets_hold_sizes_within_a_factor_of_two_and_drop_empty_groups() -> None:
    sizes = np.array([600, 0, 3, 590, 1000, 4, 1, 33])
    found = spectrum.buckets(sizes)
    assert sorted(np.concatenate(found).tolist()) == [0, 2, 3, 4, 5, 6, 7]
    assert all(sizes[group].max() <= 2 * sizes[group].min() for group in found)
    assert sizes[found[0]].max() == 1000


def test_the_fuller_tail_is_counted_as_one_would() -> None:
    batch, mask, _ = laid_out()
    batch[0, :8, 1] += 40 * mask[0, :8]
    lopsided, tail = spectrum.fuller_tail(batch, mask, far=2.0)
    for group in range(3):
        own = batch[group][mask[group]].numpy()
        middle = np.sort(own, axis=0)[(len(own) - 1) // 2]
        limit = 2 * 1.4826 * np.sort(np.abs(own - middle), axis=0)[(len(own) - 1) // 2]
        up, down = (own - middle > limit).sum(0), (middle - own > limit).sum(0)
        uneven = np.abs(up - down) / np.sqrt(up + down + 1)
        assert lopsided[group].item() == pytest.approx(uneven.max(), rel=1e-5)
        assert tail[group].sum() == max(up[uneven.argmax()], down[uneven.argmax()])
    assert tail[0, :8].all()
    assert not (tail & ~mask).any()
    # torch's median is the lower of the two middle rows; scipy's differs by less than a tenth.
    own = batch[1][mask[1]].numpy()
    middle = np.sort(own, axis=0)[(len(own) - 1) // 2]
    ours = np.sort(np.abs(own - middle), axis=0)[(len(own) - 1) // 2]
    assert np.allclose(ours, median_abs_deviation(own), rtol=0.1)
