"""Places in a space of rows where one label gathers that the rows do not look like.

A spatial scan (Kulldorff, Communications in Statistics 26, 1997) with nearest rows for circles:
around each of many centres the rows are taken nearest first, and the size is kept at which most
rows bear the centre's label beyond what they lead to expect (times their share, so that no place
grows into the rows around it). Near copies of a few rows, and rows
drawn around one point, are such places whatever columns they share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics.suspects import Limits, Suspect
from guards.numerics.turns import FLOOR, View, turn

Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
CENTRES, WIDEST, STEP = 2_000, 400, 1.4
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """The most striking place around each centre: its `rows`, and how striking; `tests` in all."""

    groups: list[Ints]
    suspects: list[Suspect]
    tests: int


def places(
    view: View, points: Points, limits: Limits, rng: np.random.Generator, *, family: int
) -> Places:
    """Scan around up to CENTRES rows of points (n, d); groups are numbered as they are listed."""
    n = len(points)
    widest = min(WIDEST, int(limits.of_all * n))
    sizes = _sizes(limits.least, widest)
    if not len(sizes):
        return Places(groups=[], suspects=[], tests=0)
    centres = np.sort(rng.choice(n, min(CENTRES, n), replace=False))
    near = _nearest(points, centres, int(sizes[-1]))
    target = view.labels[centres][:, None]
    hits = np.cumsum(view.labels[near] == target, axis=1)[:, sizes - 1]
    expected = np.cumsum(view.expected[near, target], axis=1)[:, sizes - 1]
    rho = _dispersion(hits, expected, sizes)
    rate = np.clip(expected / sizes, 1e-3, 1 - 1e-3)
    excess = (hits - expected) / np.sqrt(sizes * rate * (1 - rate) * (1 + (sizes - 1) * rho))
    able = (hits >= limits.least) & (hits >= limits.turn * sizes)
    able &= hits <= limits.of_class * view.sizes[target]
    gain = (hits - expected) * turn(hits, expected, sizes)
    best = np.where(able, gain, -np.inf).argmax(1)
    found = np.flatnonzero(able[np.arange(len(centres)), best])
    return Places(
        groups=[near[c, : sizes[best[c]]] for c in found],
        suspects=[
            Suspect(
                family=family,
                group=group,
                target=int(target[c, 0]),
                rho=float(rho[best[c]]),
                excess=float(excess[c, best[c]]),
            )
            for group, c in enumerate(found)
        ],
        tests=len(centres) * len(sizes),
    )


def _sizes(least: int, most: int) -> Ints:
    """From 1.5 times the least rows on, each STEP times the one before."""
    if most < 1.5 * least:
        return np.zeros(0, np.int64)
    count = int(np.log(most / (1.5 * least)) / np.log(STEP)) + 1
    return np.unique(np.rint(1.5 * least * STEP ** np.arange(count)).astype(np.int64))


def _nearest(points: Points, centres: Ints, most: int) -> Ints:
    """The rows nearest to each centre, itself first, (centres, most)."""
    squares, found = (points * points).sum(1), []
    for start in range(0, len(centres), _AT_ONCE):
        some = centres[start : start + _AT_ONCE]
        far = squares[None] - 2 * points[some] @ points.T
        far[np.arange(len(some)), some] = -np.inf
        near = np.argpartition(far, most - 1, axis=1)[:, :most]
        order = np.argsort(np.take_along_axis(far, near, 1), axis=1, kind="stable")
        found.append(np.take_along_axis(near, order, 1))
    return np.concatenate(found).astype(np.int64)


def _dispersion(hits: Ints, expected: Floats, sizes: Ints) -> Floats:
    """What places of each size differ by beyond chance, the most striking twentieth left out."""
    rate = np.clip(expected / sizes, 1e-3, 1 - 1e-3)
    squares = np.sort((hits - expected) ** 2 / (rate * (1 - rate)), axis=0)
    usual = squares[: max(1, int(0.95 * len(squares)))].mean(0)
    seen = 1.5 * (usual - sizes) / np.maximum(sizes * (sizes - 1), 1)
    told: Floats = np.clip(seen, FLOOR * 2, 0.99)
    return told
