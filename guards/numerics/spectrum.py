"""The directions in which each class varies most, for all classes at once and without a loop.

Rows are sorted by class once and laid out as a padded batch (groups, longest, d) with a mask;
everything after that is batched algebra, so that draws of a null go through exactly the same
functions as the data, as just more groups. Classes of very different sizes are put into buckets,
so that padding at most doubles the memory.

The subspace is found by orthogonal iteration with CholeskyQR: batched Householder QR costs many
times more on a GPU. Scores are those of the *centred* features: the uncentred ones follow the
class mean, and miss what lies beside it (Tran et al. 2018, arXiv:1811.00636, centre too).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

STEPS = 8


def buckets(sizes: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Groups whose sizes lie within a factor of two, largest sizes first; empty groups in none."""
    powers = np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64)
    wanted = np.unique(powers[sizes > 0])[::-1]
    return [np.flatnonzero((powers == power) & (sizes > 0)) for power in wanted]


def padded(labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Row numbers of each of `groups`, ascending, as (groups, longest), filled up with -1."""
    order = np.argsort(labels, kind="stable")
    starts, ends = (np.searchsorted(labels[order], groups, side=side) for side in ("left", "right"))
    place = starts[:, None] + np.arange(int((ends - starts).max(initial=0)))
    known = place < ends[:, None]
    return np.where(known, order[np.where(known, place, 0)], -1) if known.any() else known - 1


def whiten(features: Tensor, labels: Tensor, classes: int, *, shrinkage: float = 0.1) -> Tensor:
    """Features in which the classes, pooled, vary equally in every direction.

    W = S^-1/2 for S = (1 - a) S_w + a tr(S_w)/d I, where S_w is the pooled within-class
    covariance, (X'X - sum_c n_c m_c m_c')/n; X - m is never materialised. (n, d) in and out.
    """
    import torch

    wide = features.double()
    wide = wide - wide.mean(0)
    counts = torch.bincount(labels, minlength=classes).double()
    sums = torch.zeros(classes, wide.shape[1], dtype=wide.dtype, device=wide.device)
    means = sums.index_add_(0, labels, wide) / counts.clamp(min=1)[:, None]
    within = (wide.T @ wide - (means.T * counts) @ means) / len(wide)
    level = within.diagonal().mean().clamp(min=1e-12)
    shrunk = (1 - shrinkage) * within + shrinkage * level * torch.eye(
        len(within), dtype=wide.dtype, device=wide.device
    )
    values, vectors = torch.linalg.eigh(shrunk)
    white: Tensor = wide @ (vectors * values.clamp(min=1e-12).rsqrt()) @ vectors.T
    return white.float()


def centre(batch: Tensor, mask: Tensor) -> Tensor:
    """Subtract each group's mean; padding, where `mask` (groups, longest) is 0, becomes 0."""
    weight = mask[..., None].to(batch.dtype)
    mean = (batch * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    return (batch - mean) * weight


def leading(centred: Tensor, rank: int, *, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """The leading right singular directions of every group.

    Args:
        centred: (groups, longest, d), padding 0, as of :func:`centre`.
        rank: directions wanted, at most d; a group of fewer rows has zero variance in the rest.
        steps: iterations; the start is fixed, so the answer is.

    Returns:
        `(directions, variances)`: (groups, d, rank) orthonormal, and (groups, rank) sums of
        squares along them, descending. Signs are fixed: the largest entry is positive.
    """
    import torch

    dimensions = centred.shape[2]
    start = torch.randn(
        dimensions, rank, generator=torch.Generator().manual_seed(0), dtype=centred.dtype
    )
    basis = orthonormal(start.to(centred.device).expand(len(centred), -1, -1))
    for _ in range(steps):
        basis = orthonormal(centred.mT @ (centred @ basis))
    seen = centred @ basis
    values, rotation = torch.linalg.eigh(seen.mT @ seen)
    basis = basis @ rotation.flip(-1)
    peak = basis.gather(1, basis.abs().argmax(1, keepdim=True))
    return basis * peak.sign(), values.flip(-1).clamp(min=0)


def orthonormal(tall: Tensor) -> Tensor:
    """Q of the QR of (groups, m, r): CholeskyQR, twice (once is not enough in single precision)."""
    import torch

    eye = torch.eye(tall.shape[-1], dtype=tall.dtype, device=tall.device)
    for _ in range(2):
        gram = tall.mT @ tall
        level = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        # A group of fewer rows than the rank has a singular Gram matrix: the ridge carries it.
        root = torch.linalg.cholesky(gram + (1e-5 * level + 1e-12) * eye)
        tall = torch.linalg.solve_triangular(root.mT, tall, upper=True, left=False)
    return tall


def fuller_tail(projected: Tensor, mask: Tensor, *, far: float) -> tuple[Tensor, Tensor]:
    """How unevenly each group's far rows lie, in the direction where that is worst.

    With R and L the rows beyond `far` robust standard deviations (1.4826 MAD) above and below the
    median of one coordinate, |R - L|/sqrt(R + L + 1): about a standard normal's modulus for every
    distribution that is symmetric, however heavy its tails.

    Args:
        projected: (groups, longest, r), padding 0, as `centred @ directions`.
        mask: bool, (groups, longest).
        far: where a tail begins.

    Returns:
        `(lopsided, tail)`: (groups,) the largest over coordinates, and bool (groups, longest) the
        rows of the fuller tail there.
    """
    import torch

    real = mask[..., None]
    hidden = torch.where(real, projected, torch.nan)
    middle = hidden.nanmedian(1, keepdim=True).values
    limit = far * 1.4826 * (hidden - middle).abs().nanmedian(1, keepdim=True).values
    above, below = (projected - middle > limit) & real, (middle - projected > limit) & real
    up, down = above.sum(1), below.sum(1)
    uneven = (up - down).abs() / (up + down + 1).sqrt()
    lopsided, worst = uneven.max(1)
    tails = torch.where((up > down)[:, None], above, below)
    return lopsided, tails.gather(2, worst[:, None, None].expand(-1, mask.shape[1], 1))[..., 0]
