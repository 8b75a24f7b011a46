"""What do the rows outside of a cell that lie nearest to its rows say of their labels?

The rows of a planted cell are ordinary rows of another class with something put in: leave out what
they share, and ordinary rows lie as near to them as to anybody. The rows of a natural cell (a
species of mushroom, the thin kind of a handwritten 1) are a kind of their own: outside of it
nothing is near, and nobody can say what they should have been called.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
NEIGHBOURS, NEAR = 15, 5
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Around:
    """For each of m rows the `share` (m,) of its nearest that bear a label, and how far they are.

    `distance` (m,) is the one to the NEAR-th nearest.
    """

    share: Floats
    distance: Floats


def around(points: Points, cell: Ints, labels: Ints, target: int, own: Points) -> Around:
    """Ask the NEIGHBOURS nearest (Euclid) of some rows that are not in their cell.

    Args:
        points: (n, d), NEIGHBOURS of them at least outside of the cell.
        cell: rows that are nobody's neighbour.
        labels: (n,).
        target: the label in question.
        own: (m, d), where those lie that are asked about.
    """
    rest = np.ones(len(points), np.bool_)
    rest[cell] = False
    others, answers = points[rest], labels[rest] == target
    squares = (others * others).sum(1)
    shares, distances = [], []
    for start in range(0, len(own), _AT_ONCE):
        some = own[start : start + _AT_ONCE]
        far: Points = squares[None] - 2 * some @ others.T + (some * some).sum(1)[:, None]
        near = np.argpartition(far, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        shares.append(answers[near].mean(1))
        found = np.take_along_axis(far, near, 1)
        distances.append(np.partition(found, NEAR - 1, axis=1)[:, NEAR - 1])
    return Around(
        share=np.concatenate(shares) if shares else np.zeros(0),
        distance=np.sqrt(np.maximum(np.concatenate(distances), 0)) if shares else np.zeros(0),
    )


def usual_distance(points: Points, rng: np.random.Generator, quantile: float) -> float:
    """How far the NEAR-th nearest row is from an ordinary one, at a quantile over 400 of them."""
    drawn = rng.choice(len(points), min(400, len(points)), replace=False)
    far = _apart(points, drawn)
    nearest = np.partition(far, min(NEAR, far.shape[1]) - 1, axis=1)[:, min(NEAR, far.shape[1]) - 1]
    return float(np.sqrt(max(float(np.quantile(nearest, quantile)), 0.0)))


def shares(points: Points, rows: Ints, labels: Ints, target: int) -> Floats:
    """The share of the NEIGHBOURS nearest to each of some rows that bear a label, (m,)."""
    near = np.argpartition(_apart(points, rows), NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    found: Floats = (labels[near] == target).mean(1)
    return found


def _apart(points: Points, rows: Ints) -> Points:
    """Squared distances (m, n) of some rows to all, from themselves infinite."""
    squares = (points * points).sum(1)
    far: Points = squares[None] - 2 * points[rows] @ points.T + squares[rows][:, None]
    far[np.arange(len(rows)), rows] = np.inf
    return far
