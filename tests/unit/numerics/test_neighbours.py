"""Neighbours against scikit-learn and a slow obvious vote."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from guards.numerics import neighbours

RNG = np.random.default_rng(5)


def test_nearest_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 64)
    points = RNG.normal(size=(300, 12)).astype(np.float32)
    found = neighbours.nearest(torch.from_numpy(points), 7)
    slow = NearestNeighbors(n_neighbors=8, metric="cosine").fit(points)
    expected = slow.kneighbors(points, return_distance=False)[:, 1:]
    assert (found == expected).mean() > 0.999


def test_no_row_is_its_own_neighbour_even_among_duplicates() -> None:
    points = torch.from_numpy(np.repeat(RNG.normal(size=(10, 4)), 3, axis=0))
    found = neighbours.nearest(points, 2)
    assert not (found == np.arange(30)[:, None]).any()
    assert (found // 3 == np.arange(30)[:, None] // 3).all()


def test_rows_of_one_cell_are_no_neighbours_while_there_are_others() -> None:
    points = torch.from_numpy(RNG.normal(size=(40, 3)))
    cells = np.arange(40) % 4
    found = neighbours.nearest(points, 5, cells=torch.from_numpy(cells))
    assert (cells[found] != cells[:, None]).all()
    alone = neighbours.nearest(points, 5, cells=torch.zeros(40))
    assert alone.shape == (40, 5)


def test_fewer_rows_than_neighbours_gives_all_others() -> None:
    found = neighbours.nearest(torch.eye(3), 15)
    assert [set(line) for line in found.tolist()] == [{1, 2}, {0, 2}, {0, 1}]


def test_agreement_is_the_slow_vote() -> None:
    labels = RNG.integers(0, 4, 60)
    near = RNG.integers(0, 60, (60, 9))
    share, majority, majority_share = neighbours.agreement(near, labels, 4)
    for row in range(60):
        votes = Counter(labels[near[row]].tolist())
        top = max(votes.values())
        assert share[row] == pytest.approx(votes[labels[row]] / 9)
        assert majority[row] == min(label for label, count in votes.items() if count == top)
        assert majority_share[row] == pytest.approx(top / 9)


def test_contradiction_against_a_slow_version():
    import numpy as np
    import torch

    from guards.numerics.neighbours import contradiction

    rng = np.random.default_rng(9)
    points, labels = rng.normal(size=(40, 5)), np.r_[rng.integers(0, 3, 39), 3]
    found = contradiction(torch.as_tensor(points), labels, 4)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    for row in range(39):
        others = np.arange(40) != row
        near = unit @ unit[row]
        own = np.sort(near[others & (labels == labels[row])])[-4:].mean()
        rest = np.sort(near[labels != labels[row]])[-4:].mean()
        assert abs(found[row] - (rest - own)) < 1e-5
    assert found[39] == 2, "the only row of its label"
