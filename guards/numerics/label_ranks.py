"""Ranks of rows by how likely their label is wrong: a vote of neighbours, and means of ranks.

The vote (Wilson's edited nearest neighbours, IEEE Transactions SMC 2:408, 1972) asks no model: it
errs where rows of different labels lie together, and not where a model has learnt wrong labels.
Scores of different kinds are put together by their ranks, so that none needs a scale. What that is
worth is measured by benchmarks/label_ranks.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK = 2**22  # distances that are held together
_SAME = 1e-5  # of the largest squared length: distances that are no further apart are one


def neighbour_vote(points: npt.ArrayLike, labels: Ints, asked: Ints, k: int = 20) -> Floats:
    """The share of the k nearest other rows whose label is another, (m,), from 0 to 1.

    Where several rows are equally far and not all are among the k, each has the same part of the
    places that are left, so the order of the rows decides nothing.

    Args:
        points: (n, d), at least two rows; distances are Euclidean.
        labels: int, (n,).
        asked: int, (m,), the rows to be told about.
        k: neighbours; n - 1 where there are fewer.
    """
    space = np.asarray(points, np.float32)
    space = space - space.mean(axis=0)
    squares = np.square(space).sum(axis=1)
    k, slack = min(k, len(space) - 1), _SAME * float(squares.max(initial=0.0))
    votes = np.zeros(len(asked))
    step = max(1, _BLOCK // len(space))
    for start in range(0, len(asked), step):
        block = asked[start : start + step]
        apart = squares[block, None] + squares - 2 * (space[block] @ space.T)
        apart[np.arange(len(block)), block] = np.inf
        last = np.partition(apart, k - 1, axis=1)[:, k - 1 : k]
        nearer = apart < last - slack
        tied = (apart <= last + slack) & ~nearer
        other = labels != labels[block, None]
        left = k - nearer.sum(axis=1)
        share = (other & tied).sum(axis=1) / tied.sum(axis=1)
        votes[start : start + step] = ((other & nearer).sum(axis=1) + left * share) / k
    return votes


def mean_rank(*scores: npt.ArrayLike) -> Floats:
    """The mean over the scores of each row's rank, (n,), from above 0 to 1; equal ones share it."""
    from scipy.stats import rankdata

    ranks = [rankdata(np.asarray(score)) / np.size(score) for score in scores]
    mean: Floats = np.mean(ranks, axis=0)
    return mean
