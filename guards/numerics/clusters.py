"""Two clusters in every group at once: 2-means, what the split explains, and its silhouette.

Groups come as the padded batch of :mod:`guards.numerics.spectrum`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 12
FEW = 6
AXES = 4


def split_two(points: Tensor, mask: Tensor, *, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """2-means (Lloyd) in each group, from the best of several fixed starts.

    Every start cuts the group at one extreme of one coordinate, since small and distant
    minorities are what is looked for and a cut at the mean runs into the wrong optimum.

    Args:
        points: (groups, longest, r) centred, padding 0; the first coordinates lead.
        mask: bool, (groups, longest).
        steps: Lloyd iterations.

    Returns:
        `(minority, explained)`: bool (groups, longest), the smaller cluster, and (groups,) the
        share J = 1 - SSE_2/SSE_1 of the variance that the split explains.
    """
    import torch

    best = torch.zeros(len(points), dtype=points.dtype, device=points.device) - 1
    chosen = torch.zeros_like(mask)
    total = points.square().sum((1, 2)).clamp(min=1e-12)
    for axis in range(min(2, points.shape[2])):
        for sign in (1.0, -1.0):
            side = _lloyd(points, mask, _far_side(sign * points[..., axis], mask), steps)
            between = _between(points, mask, side) / total
            better = between > best
            best = torch.where(better, between, best)
            chosen = torch.where(better[:, None], side, chosen)
    smaller = chosen.sum(1) * 2 <= mask.sum(1)
    return torch.where(smaller[:, None], chosen, mask & ~chosen), best.clamp(0, 1)


def split_apart(points: Tensor, mask: Tensor, *, steps: int = FEW) -> tuple[Tensor, Tensor]:
    """2-means as :func:`split_two`, but of its starts the one of the greatest silhouette.

    The explained variance prefers to cut one blob in the middle to cutting off a few distant rows;
    the silhouette does not. Starts at both extremes of the first AXES coordinates. Gives
    `(minority, silhouette)`, bool (groups, longest) and (groups,).
    """
    import torch

    best = torch.full(points.shape[:1], -2.0, dtype=points.dtype, device=points.device)
    chosen = torch.zeros_like(mask)
    for axis in range(min(AXES, points.shape[2])):
        for sign in (1.0, -1.0):
            side = _lloyd(points, mask, _far_side(sign * points[..., axis], mask), steps)
            found = silhouette_two(points, mask, side)
            better = found > best
            best = torch.where(better, found, best)
            chosen = torch.where(better[:, None], side, chosen)
    smaller = chosen.sum(1) * 2 <= mask.sum(1)
    return torch.where(smaller[:, None], chosen, mask & ~chosen), best


def silhouette_two(points: Tensor, mask: Tensor, side: Tensor) -> Tensor:
    """The exact mean silhouette of a two-cluster split of each group, for squared distances, O(n).

    With W_g the mean of ||x - m_g||^2, a row x of cluster A has
    a = n_A/(n_A - 1) (||x - m_A||^2 + W_A), b = ||x - m_B||^2 + W_B, s = (b - a)/max(a, b):
    the sums over all pairs collapse into the two means. A cluster of one row has s = 0.
    Shapes as in :func:`split_two`; gives (groups,).
    """
    import torch

    own, other = _squares(points, mask & side), _squares(points, mask & ~side)
    s_in, s_out = _silhouette(own, other), _silhouette(other, own)
    rows = torch.where(side, s_in, s_out) * mask
    mean: Tensor = rows.sum(1) / mask.sum(1).clamp(min=1)
    return mean


def _far_side(along: Tensor, mask: Tensor) -> Tensor:
    """Rows beyond 1.5 standard deviations of one coordinate; the farthest one at least."""
    deviation = (along.square().sum(1) / mask.sum(1).clamp(min=1)).sqrt()
    limit = (1.5 * deviation).minimum((along * mask).amax(1))
    return (along >= limit[:, None]) & mask


def _lloyd(points: Tensor, mask: Tensor, side: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        a, b = _mean(points, side), _mean(points, mask & ~side)
        # ||x - a|| < ||x - b||, without a (groups, longest, 2, r) array.
        lean = (points @ (a - b)[..., None])[..., 0]
        side = (lean > ((a.square() - b.square()).sum(-1) / 2)[:, None]) & mask
    return side


def _mean(points: Tensor, members: Tensor) -> Tensor:
    weight = members[..., None].to(points.dtype)
    return (points * weight).sum(1) / weight.sum(1).clamp(min=1)


def _between(points: Tensor, mask: Tensor, side: Tensor) -> Tensor:
    """SSE_1 - SSE_2 = n_A n_B / n ||m_A - m_B||^2."""
    inside, outside = side.sum(1), (mask & ~side).sum(1)
    gap = (_mean(points, side) - _mean(points, mask & ~side)).square().sum(-1)
    # Integers divided would be single precision whatever the points are.
    return inside * outside * gap / (inside + outside).clamp(min=1)


def _squares(points: Tensor, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distances to the cluster's mean (groups, longest), their mean inside, the count."""
    distance = (points - _mean(points, members)[:, None]).square().sum(-1)
    count = members.sum(1)[:, None].to(points.dtype)
    inside = (distance * members).sum(1, keepdim=True) / count.clamp(min=1)
    return distance, inside, count


def _silhouette(own: tuple[Tensor, Tensor, Tensor], other: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The silhouette of every row, as if it belonged to `own`."""
    count = own[2]
    a = count / (count - 1).clamp(min=1) * (own[0] + own[1])
    b = other[0] + other[1]
    return (b - a) / a.maximum(b).clamp(min=1e-12) * (count > 1)
