"""Nearest neighbours by cosine, and how far their labels agree with a row's own.

Brute force in blocks of rows: one matrix product a block, on whatever device the points lie.
At the sizes where a probe network is trained anyway this is not the part that takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

BLOCK = 1024
_NEVER = -4.0  # below every cosine


def nearest(
    points: Tensor,
    k: int,
    *,
    marks: Tensor | None = None,
    apart: float = 0.05,
    sample: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """The k rows nearest to each row by cosine similarity, nearest first.

    A planted trigger makes planted rows one another's neighbours, and wrong labels then agree.
    With `marks`, a space in which rows of the same mark lie together, no row is vouched for by the
    share `apart` of all rows that are most like it there: planted rows are judged by rows that do
    not carry their trigger, as long as they are no larger a share.

    Args:
        points: float, (n, d); rows of length 0 are near to nothing in particular.
        k: neighbours wanted; n - 1 are given where there are fewer.
        marks: float, (n, e).
        apart: the share of all rows that a row is set apart from.
        sample: int, (m,), the rows by which it is estimated how near that share lies; all rows
            where it is not given. Whoever supplied the rows must not be able to foresee it.

    Returns:
        int64, (n, k); a row is never its own neighbour.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(points.float(), dim=1)
    signs = None if marks is None else normalize(marks.float(), dim=1)
    some = None if signs is None or sample is None else signs[torch.as_tensor(sample)]
    everyone = torch.arange(len(unit), device=unit.device)
    found = []
    for block in torch.split(everyone, BLOCK):
        near = unit[block] @ unit.T
        if signs is not None:
            like = signs[block] @ signs.T
            drawn = like if some is None else signs[block] @ some.T
            limit = drawn.topk(max(1, round(apart * drawn.shape[1])), dim=1).values[:, -1:]
            near -= 2.0 * (like >= limit)
        near[torch.arange(len(block)), block] = _NEVER
        found.append(near.topk(min(k, len(unit) - 1), dim=1).indices.cpu())
    return torch.cat(found).numpy()


def agreement(
    neighbours: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """How the labels of the neighbours compare with a row's own.

    Args:
        neighbours: int, (n, k), as of :func:`nearest`.
        labels: int in range(classes), (n,).
        classes: number of labels.

    Returns:
        `(share, majority, majority_share)`, each (n,): the share of neighbours with the row's own
        label, the label that most neighbours have (the lowest one in a tie), and its share.
    """
    rows, k = neighbours.shape
    share, most = np.empty(rows, np.float32), np.empty(rows, np.float32)
    majority = np.empty(rows, np.int64)
    for start in range(0, rows, BLOCK):
        part = slice(start, start + BLOCK)
        near = labels[neighbours[part]]
        share[part] = (near == labels[part, None]).sum(1) / k
        # Counted among the neighbours themselves, so that ten thousand classes take no more.
        votes = (near[:, :, None] == near[:, None, :]).sum(2)
        highest = votes.max(1)
        majority[part] = np.where(votes == highest[:, None], near, classes).min(1)
        most[part] = highest / k
    return share, majority, most


def contradiction(points: Tensor, labels: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.float32]:
    """How much nearer to a row its neighbours of other labels are than those of its own, (n,).

    The mean cosine of the k nearest rows of other labels less that of the k nearest other rows of
    its own label (fewer where there are fewer), in [-2, 2]. Unlike :func:`agreement` it has no
    ties. Every row is treated alike and is no neighbour of itself, so it may be calibrated on some
    of the rows (:mod:`guards.numerics.conformal`).

    Args:
        points: float, (n, d), on the device to work on.
        labels: int, (n,), of at least two kinds; one row without another of its label gets 2.
        k: neighbours of either kind.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(points.float(), dim=1)
    codes = torch.as_tensor(labels, device=unit.device)
    everyone = torch.arange(len(unit), device=unit.device)
    found = []
    for block in torch.split(everyone, BLOCK):
        near = unit[block] @ unit.T
        own = codes[block][:, None] == codes[None, :]
        other = _mean_of_top(near.masked_fill(own, _NEVER), k)
        own[torch.arange(len(block)), block] = False
        found.append((other - _mean_of_top(near.masked_fill(~own, _NEVER), k)).cpu())
    gaps: npt.NDArray[np.float32] = torch.cat(found).nan_to_num(nan=2.0).numpy()
    return gaps


def _mean_of_top(near: Tensor, k: int) -> Tensor:
    """The mean of each line's k highest values that are cosines; NaN where there is none."""
    top = near.topk(min(k, near.shape[1]), dim=1).values
    real = top > _NEVER
    return (top * real).sum(1) / real.sum(1)
