"""From a few seeds to a score for every row: ridge linear discriminant, scored out of fold.

Seeds are the rows of a class that some other evidence made suspect. The discriminant learns what
they have in common in feature space, and so finds the rows like them that the evidence missed; no
row is scored by a discriminant that saw it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

FOLDS = 5


def seed_scores(
    features: npt.ArrayLike,
    seeds: Bools,
    rng: np.random.Generator,
    *,
    rank: int = 64,
    ridge: float = 0.1,
) -> Floats:
    """How like the seeds each row is, in robust standard deviations of the rows that are not.

    Args:
        features: (n, d), one class.
        seeds: (n,) bool, at least FOLDS of either kind.
        rng: assigns the folds, stratified by `seeds`.
        rank: principal components kept.
        ridge: share of the mean variance added to the diagonal of the pooled covariance.

    Returns:
        (n,): (w'x - median)/(1.4826 MAD) with w = (S + ridge tr(S)/r I)^-1 (m_seed - m_rest),
        median, MAD, S and the means over the other folds.
    """
    wide = np.asarray(features, np.float64)
    folds, scores = _folds(seeds, rng), np.zeros(len(wide))
    for fold in range(FOLDS):
        held = folds == fold
        scores[held] = _scored(wide[~held], seeds[~held], wide[held], rank, ridge)
    return scores


def area_under_curve(scores: npt.ArrayLike, positive: Bools) -> float:
    """The chance that a positive row scores above a negative one, ties counting half."""
    from scipy.stats import rankdata

    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return 0.5
    ranks = rankdata(np.asarray(scores, np.float64))
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _folds(seeds: Bools, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    folds = np.zeros(len(seeds), np.int64)
    for kind in (seeds, ~seeds):
        rows = rng.permutation(np.flatnonzero(kind))
        folds[rows] = np.arange(len(rows)) % FOLDS
    return folds


def _scored(train: Floats, seeds: Bools, held: Floats, rank: int, ridge: float) -> Floats:
    mean = train.mean(0)
    _, vectors = np.linalg.eigh((train - mean).T @ (train - mean))
    basis = vectors[:, -rank:]
    inside, rest = (train[seeds] - mean) @ basis, (train[~seeds] - mean) @ basis
    spread = np.cov(inside.T, bias=True) * len(inside) + np.cov(rest.T, bias=True) * len(rest)
    spread = np.atleast_2d(spread) / len(train)
    level = ridge * np.trace(spread) / len(spread) + 1e-12
    weight = np.linalg.solve(spread + level * np.eye(len(spread)), inside.mean(0) - rest.mean(0))
    along = rest @ weight
    middle = np.median(along)
    scale = 1.4826 * np.median(np.abs(along - middle)) + 1e-12
    scores: Floats = ((held - mean) @ basis @ weight - middle) / scale
    return scores
