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


def test_rows_that_bear_the_same_mark_do_not_vouch_for_one_another() -> None:
    points, signs = (torch.from_numpy(RNG.normal(size=(200, 6))) for _ in range(2))
    signs[:8] = signs[0] + 0.01 * signs[:8]
    points[:8] = points[0] + 0.01 * points[:8]
    alone = neighbours.nearest(points, 5)
    assert (alone[:8] < 8).all()
    apart = neighbours.nearest(points, 5, marks=signs)
    assert (apart[:8] >= 8).all()


def test_those_set_apart_are_the_share_nearest_in_the_space_of_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 32)
    points, signs = (torch.from_numpy(RNG.normal(size=(100, 4))) for _ in range(2))
    found = neighbours.nearest(points, 94, marks=signs)
    unit = (signs / signs.norm(dim=1, keepdim=True)).numpy()
    like = unit @ unit.T
    for row in range(100):
        # The five most like it, itself among them, are at the end of what is taken.
        assert set(np.argsort(-like[row])[:5].tolist()) - {row} <= set(range(100)) - set(
            found[row, :90].tolist()
        )


def test_the_share_set_apart_can_be_told_from_a_sample_and_leaves_somebody() -> None:
    points, signs = (torch.from_numpy(RNG.normal(size=(300, 4))) for _ in range(2))
    whole = neighbours.nearest(points, 15, marks=signs)
    drawn = neighbours.nearest(points, 15, marks=signs, sample=RNG.permutation(300)[:150])
    assert np.mean([len(set(a) & set(b)) / 15 for a, b in zip(whole, drawn, strict=True)]) > 0.9
    few = neighbours.nearest(points[:6], 15, marks=torch.ones(6, 2))
    assert [len(set(line)) for line in few.tolist()] == [5] * 6


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
