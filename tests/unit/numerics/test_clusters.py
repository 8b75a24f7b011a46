"""The batched split against scikit-learn's, and the O(n) silhouette against the O(n^2) one."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from guards.numerics import clusters

RNG = np.random.default_rng(3)


def groups(minority: int, gap: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two groups of 200 and 150 rows, the first with a minority at a distance."""
    points = RNG.normal(size=(2, 200, 4))
    points[0, :minority, 0] += gap
    mask = torch.arange(200)[None] < torch.tensor([200, 150])[:, None]
    batch = torch.from_numpy(points) * mask[..., None]
    mean = batch.sum(1, keepdim=True) / mask.sum(1)[:, None, None]
    return (batch - mean) * mask[..., None], mask


def test_a_distant_minority_is_the_smaller_cluster() -> None:
    points, mask = groups(20, 9.0)
    minority, explained = clusters.split_two(points, mask)
    assert minority[0, :20].all()
    assert not minority[0, 20:].any()
    assert explained[0] > 2 * explained[1]


def test_the_split_is_as_good_as_the_best_of_many_of_scikit_learn() -> None:
    points, mask = groups(60, 4.0)
    minority, explained = clusters.split_two(points, mask, steps=50)
    for group in range(2):
        own = points[group][mask[group]].numpy()
        best = KMeans(2, n_init=20, random_state=0).fit(own)
        assert explained[group].item() >= 1 - best.inertia_ / (own**2).sum() - 0.02
    assert (minority.sum(1) * 2 <= mask.sum(1)).all()
    assert not (minority & ~mask).any()


def test_explained_is_one_less_the_ratio_of_sums_of_squares() -> None:
    points, mask = groups(60, 4.0)
    minority, explained = clusters.split_two(points, mask)
    for group in range(2):
        side, rest = minority[group], mask[group] & ~minority[group]
        parts = [points[group][part].numpy() for part in (side, rest)]
        within = sum(((part - part.mean(0)) ** 2).sum() for part in parts)
        total = (points[group][mask[group]].numpy() ** 2).sum()
        assert explained[group].item() == pytest.approx(1 - within / total, abs=1e-9)


@pytest.mark.parametrize(("minority", "gap"), [(20, 9.0), (60, 2.0), (1, 30.0)])
def test_silhouette_is_that_of_scikit_learn_for_squared_distances(
    minority: int, gap: float
) -> None:
    points, mask = groups(minority, gap)
    side = torch.zeros_like(mask)
    side[0, :minority] = True
    side[1, :50] = True
    found = clusters.silhouette_two(points, mask, side)
    for group in range(2):
        own, which = points[group][mask[group]].numpy(), side[group][mask[group]].numpy()
        slow = silhouette_score(own, which, metric="sqeuclidean")
        assert found[group].item() == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_groups_too_small_to_split_give_finite_answers(rows: int) -> None:
    mask = torch.arange(6)[None] < rows
    points = torch.from_numpy(RNG.normal(size=(1, 6, 3))) * mask[..., None]
    minority, explained = clusters.split_two(points, mask)
    assert not (minority & ~mask).any()
    assert torch.isfinite(explained).all()
    assert torch.isfinite(clusters.silhouette_two(points, mask, minority)).all()


def test_identical_rows_explain_nothing() -> None:
    _, explained = clusters.split_two(torch.zeros(1, 30, 2), torch.ones(1, 30) > 0)
    assert explained.item() == 0
