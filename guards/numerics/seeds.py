"""From three views of every row to suspects, and from suspects to a direction that turns labels.

q is the share of a row's neighbours that bear its label in a space that does not see a trigger,
q_c the same in a space that sees little else, p the probability that a short training gives the
label. What somebody planted is denied by the first and vouched for by the other two:

    e = log q_c + log p - 2 log q

The rows of highest e of every class are its *seeds*. Whoever is far out along the discriminant of
the seeds against everybody (:func:`guards.numerics.discriminant.ridge_scores`, out of fold) is in
a *learnt cell*, as a window of pixels is a cell. A natural direction leads to rows of other labels
too, and to rows that look as they should; a trigger's leads to rows that have one label and do
not look like it, and to hardly anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.numerics.enrichment import beta_binomial_tail

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Floats = npt.NDArray[np.floating]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The rows beyond one threshold along one direction.

    `target` is the label the direction was learnt for, None for all labels together. Of its
    `rows`, `hits` bear that label though hardly anything outside the cell that looks like them
    does; `turn` is the share of those that do not look like the target which bear its label.
    `p_value` is corrected over all that was asked.
    """

    target: int | None
    layer: int
    threshold: float
    rows: int
    hits: int
    turn: float
    p_value: float

    @property
    def rate(self) -> float:
        """Hits of rows; 0 of none."""
        return self.hits / max(self.rows, 1)


def evidence(share: Floats, patch_share: Floats, belief: Floats, neighbours: int) -> Floats:
    """The evidence e of every row, (n,); shares get half a neighbour more, a belief .001."""
    q, q_c = ((neighbours * each + 0.5) / (neighbours + 1) for each in (share, patch_share))
    found: Floats = np.log(q_c) + np.log(belief + 1e-3) - 2 * np.log(q)
    return found


def choose(
    evidence: Floats, labels: Ints, classes: int, *, share: float, least: int, smallest: int
) -> Bools:
    """The seeds, (n, classes + 1): the top `share` of each class, `least` rows at least.

    The last column holds the seeds of all classes; a class of fewer than `smallest` rows has none.
    """
    order = np.lexsort((-evidence, labels))
    sizes = np.bincount(labels, minlength=classes)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = np.where(sizes >= smallest, np.maximum(least, (share * sizes).astype(np.int64)), 0)
    taken = order[place < wanted[labels[order]]]
    seeds = np.zeros((len(labels), classes + 1), np.bool_)
    seeds[taken, labels[taken]] = seeds[taken, -1] = True
    return seeds


def share_outside(points: Tensor, rows: Ints, labels: Ints, k: int) -> Floats:
    """The share of each row's k nearest by cosine with its label, none of `rows` among them.

    The rows of a cell are one another's neighbours if whoever planted them took them from one
    class; judged by rows outside it they are not.

    Args:
        points: float (n, d).
        rows: which to judge, (m,), fewer than n - k.
        labels: int in range(classes), (n,).
        k: neighbours.
    """
    import torch
    from torch.nn.functional import normalize

    unit, where = normalize(points.float(), dim=1), torch.as_tensor(rows, device=points.device)
    near = unit[where] @ unit.T
    near[:, where] = -4.0
    found = near.topk(k, dim=1).indices.cpu().numpy()
    shares = (labels[found] == labels[rows][:, None]).mean(1)
    return np.asarray(shares, np.float32)


def learnt_cells(
    scores: Sequence[Tensor],
    points: Tensor,
    labels: Ints,
    looks: Ints,
    *,
    thresholds: Sequence[float],
    least: int,
    neighbours: int,
    inconsistent: float,
    base: float,
    dispersion: float,
) -> list[Cell]:
    """Every cell of `least` rows in which a direction turns half of what it meets.

    A cell with more than half of its class, or one that leaves fewer rows of it than three times
    the neighbours, is none: rows of a rare class, its peers left out, always look like others.

    Args:
        scores: of each layer, (n, classes + 1), as of `ridge_scores`.
        points: (n, d), the space that does not see a trigger.
        labels: int in range(classes), (n,).
        looks: the label that most of a row's neighbours there bear, (n,).
        thresholds: where a cell begins, in robust standard deviations.
        least: rows without which a cell is none.
        neighbours: by how many of them a row's label is judged.
        inconsistent: the share of them below which it is a hit.
        base: the highest rate of hits that is natural.
        dispersion: between natural cells, for the beta-binomial tail.
    """
    classes = scores[0].shape[1] - 1
    asked, found = len(scores) * len(thresholds) * (classes + 1), []
    for layer, line in enumerate(scores):
        for threshold in thresholds:
            beyond = (line >= threshold).cpu().numpy()
            for column in np.flatnonzero(beyond.sum(0) >= least).tolist():
                rows = np.flatnonzero(beyond[:, column])
                target = column if column < classes else None
                turn = turn_rate(rows, target, labels, looks)
                bears = np.ones(len(rows), np.bool_) if target is None else labels[rows] == target
                size = len(labels) if target is None else int((labels == target).sum())
                left = size - int(bears.sum())
                # Too few rows left to be anybody's neighbours would make the cell look wrong.
                if turn < 0.5 or 2 * left < size or left < 3 * neighbours:
                    continue
                share = share_outside(points, rows, labels, neighbours)
                hits = int((bears & (share < inconsistent)).sum())
                tail = beta_binomial_tail(hits, len(rows), base, dispersion)
                found.append(
                    Cell(
                        target=target,
                        layer=layer,
                        threshold=threshold,
                        rows=len(rows),
                        hits=hits,
                        turn=turn,
                        p_value=min(1.0, tail * asked),
                    )
                )
    return found


def turn_rate(rows: Ints, target: int | None, labels: Ints, looks: Ints) -> float:
    """Of `rows`, those that do not look like the target: the share that bears its label.

    Without a target, the share of all that does not look like its own label.
    """
    if target is None:
        return float((looks[rows] != labels[rows]).mean()) if len(rows) else 0.0
    unlike = rows[looks[rows] != target]
    return float((labels[unlike] == target).mean()) if len(unlike) else 0.0
