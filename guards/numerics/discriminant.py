"""From a few seeds to a score for every row: ridge linear discriminant, scored out of fold.

Seeds are the rows of a class that some other evidence made suspect. The discriminant learns what
they have in common in feature space, and so finds the rows like them that the evidence missed; no
row is scored by a discriminant that saw it. `seed_scores` looks inside one class; `ridge_scores`
holds the seeds of every class against all rows of all classes, every class at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

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


def whitened(features: Tensor, rank: int = 64) -> Tensor:
    """The principal components of the rows that vary most, each scaled to variance 1.

    Args:
        features: float (n, d), on the device to work on.
        rank: how many are kept, at most d.

    Returns:
        double (n, min(rank, d)).
    """
    import torch

    wide = features.float()
    wide = wide - wide.mean(0)
    values, vectors = torch.linalg.eigh((wide.T @ wide).double() / len(wide))
    keep = slice(-min(rank, wide.shape[1]), None)
    floor = float(values[-1]) * 1e-6 + 1e-12
    white: Tensor = wide.double() @ (vectors[:, keep] * values[keep].clamp(min=floor).rsqrt())
    return white


def ridge_scores(
    white: Tensor, seeds: Tensor, rng: np.random.Generator, *, ridge: float = 0.03
) -> Tensor:
    """How like each set of seeds every row is, in robust standard deviations of all rows.

    For two groups of which one is small, ridge regression on the indicator is the linear
    discriminant, up to scale, with the covariance of *all* rows: what tells one class from another
    counts as noise, and a direction along which whole classes differ is a bad one. The Gram matrix
    is shared by all sets of seeds and, less its own rows, by all folds.

    Args:
        white: double (n, d), as of :func:`whitened`.
        seeds: bool (n, m), one column a set; a set of none gets zeros.
        rng: assigns the folds.
        ridge: added to the diagonal of their covariance.

    Returns:
        double (n, m): (x'w - median)/(1.4826 MAD) with w = (X'X/n + ridge I)^-1 X'y/n, X and y
        those of the other folds.
    """
    import torch

    marks = seeds.to(white.dtype)
    folds = torch.as_tensor(rng.permutation(len(white)) % FOLDS, device=white.device)
    gram, sums = white.T @ white, white.T @ marks
    level = ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    scores = torch.zeros_like(marks)
    for fold in range(FOLDS):
        held = folds == fold
        rows, rest = white[held], max(int((~held).sum()), 1)
        weights = torch.linalg.solve(
            (gram - rows.T @ rows) / rest + level, (sums - rows.T @ marks[held]) / rest
        )
        scores[held] = rows @ weights
    middle = scores.median(0).values
    scale = 1.4826 * (scores - middle).abs().median(0).values
    return (scores - middle) / (scale + 1e-12)


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
