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


def nearest(points: Tensor, k: int, *, cells: Tensor | None = None) -> npt.NDArray[np.int64]:
    """The k rows nearest to each row by cosine similarity, nearest first.

    Args:
        points: float, (n, d); rows of length 0 are near to nothing in particular.
        k: neighbours wanted; n - 1 are given where there are fewer.
        cells: int, (n,), rows of one cell are no neighbours of each other, unless fewer than k
            others are left. A planted trigger makes planted rows one another's neighbours; with
            the trigger as the cell they are judged by rows that do not carry it.

    Returns:
        int64, (n, k); a row is never its own neighbour.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(points.float(), dim=1)
    everyone = torch.arange(len(unit), device=unit.device)
    found = []
    for block in torch.split(everyone, BLOCK):
        near = unit[block] @ unit.T
        if cells is not None:
            near -= 2.0 * (cells[block][:, None] == cells[None, :])
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
    places = np.arange(rows)[:, None] * classes + labels[neighbours]
    votes = np.bincount(places.ravel(), minlength=rows * classes).reshape(rows, classes)
    shares = (votes / k).astype(np.float32)
    majority = votes.argmax(1)
    everyone = np.arange(rows)
    return shares[everyone, labels], majority, shares[everyone, majority]
