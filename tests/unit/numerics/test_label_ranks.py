"""The vote of neighbours against a slow one and scikit-learn's; ranks against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from guards.numerics import label_ranks
from guards.numerics.label_ranks import mean_rank, neighbour_vote


def slow_vote(points, labels, k):
    """Row by row; rows that are equally far share the places that are left."""
    votes = []
    for row, point in enumerate(points):
        others = [r for r in range(len(points)) if r != row]
        apart = [float(((points[r] - point) ** 2).sum()) for r in others]
        last = sorted(apart)[min(k, len(others)) - 1]
        nearer = [labels[r] != labels[row] for r, d in zip(others, apart, strict=True) if d < last]
        tied = [labels[r] != labels[row] for r, d in zip(others, apart, strict=True) if d == last]
        left = min(k, len(others)) - len(nearer)
        votes.append((sum(nearer) + left * np.mean(tied)) / min(k, len(others)))
    return votes


# Small whole numbers: many rows are equally far, and distances are exact.
tables = st.integers(2, 14).flatmap(
    lambda rows: st.tuples(
        st.lists(st.tuples(*[st.integers(-2, 2)] * 2), min_size=rows, max_size=rows),
        st.lists(st.integers(0, 2), min_size=rows, max_size=rows),
        st.integers(1, 20),
    )
)


@given(tables)
def test_the_vote_is_the_slow_one(table):
    points, labels, k = np.array(table[0]), np.array(table[1]), table[2]
    found = neighbour_vote(points, labels, np.arange(len(points)), k)
    assert found == pytest.approx(slow_vote(points, labels, k))


def test_the_vote_is_that_of_sklearns_neighbours():
    from sklearn.neighbors import NearestNeighbors

    generator = np.random.default_rng(100)
    points, labels = generator.normal(size=(300, 5)), generator.integers(0, 4, 300)
    near = NearestNeighbors(n_neighbors=10).fit(points).kneighbors(return_distance=False)
    expected = (labels[near] != labels[:, None]).mean(axis=1)
    assert neighbour_vote(points, labels, np.arange(300), 10) == pytest.approx(expected)


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(table, random):
    points, labels, k = np.array(table[0]), np.array(table[1]), table[2]
    order = np.array(random.sample(range(len(points)), len(points)))
    found = neighbour_vote(points, labels, order, k)
    again = neighbour_vote(points[order], labels[order], np.arange(len(points)), k)
    assert again == pytest.approx(found)


def test_blocks_change_nothing(monkeypatch):
    generator = np.random.default_rng(101)
    points, labels = generator.normal(size=(90, 3)), generator.integers(0, 2, 90)
    asked = generator.permutation(90)[:50]
    whole = neighbour_vote(points, labels, asked)
    monkeypatch.setattr(label_ranks, "_BLOCK", 200)
    assert neighbour_vote(points, labels, asked) == pytest.approx(whole)


@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 3), min_size=1, max_size=30))
def test_the_mean_rank_is_that_of_scipys_ranks(rows):
    scores = np.array(rows).T
    expected = sum(rankdata(score) for score in scores) / (3 * len(rows))
    assert mean_rank(*scores) == pytest.approx(expected)
    assert mean_rank(*scores[:, ::-1])[::-1] == pytest.approx(expected)
    assert mean_rank(10.0 + scores[0] * 7).tolist() == mean_rank(scores[0]).tolist()
