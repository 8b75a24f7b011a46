"""Which cells might be triggers: every cell is counted, few are judged with all care.

Counting takes one pass over the rows of a family. What is left of it are cells in which one label
has most of the rows, though not most of that label's; what is expected there comes first from a
model that knew the rows, and only for the most striking cells from one that did not. So the choice
of cells has no say in their p-values: these are corrected over every cell that was counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics.turns import Counted, Ragged, View, peer_dispersion, turn

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What makes a cell worth judging: effects, none of them a p-value.

    `least` rows in excess; a `turn` rate; the excess as a `share` of the rows that bear the label;
    at most `of_class` of the label's rows and `of_all` of all rows; rows that lean to the label
    at most `lean` more than others do. In a wild family, such as a
    column many of whose values decide the label alone, the dispersion counts as `tamed` at most
    for a cell whose excess is `alone` times that of any other.
    """

    least: int = 8
    turn: float = 0.6
    share: float = 0.3
    of_class: float = 0.5
    of_all: float = 0.08
    lean: float = 0.15
    alone: float = 3.0
    tamed: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suspect:
    """One cell and the label that its rows gather under, as first counted.

    `family` and `group` say where it is from, `rho` is the dispersion of its peers, `excess` is
    in standard deviations.
    """

    family: int
    group: int
    target: int
    rho: float
    excess: float


def suspects(
    view: View, counts: Counted, limits: Limits, *, family: int, floor: Floats | None = None
) -> Iterator[Suspect]:
    """The striking cells of one family; `floor` (g,) is a dispersion that they have at least."""
    rows, hits, expected = counts.rows[:, None], counts.hits, counts.expected
    striking = (
        _gathered(view, counts, limits)
        & (hits - expected >= limits.least / 2)
        & (turn(hits, expected, rows) >= limits.turn / 2)
    )
    if not striking.any():
        return
    rho = peer_dispersion(counts)
    if floor is not None:
        rho = np.maximum(rho, floor[:, None])
    rho = np.where(_alone(counts, limits), np.minimum(rho, limits.tamed), rho)
    rate = np.clip(expected / rows, 1e-3, 1 - 1e-3)
    spread = np.sqrt(rows * rate * (1 - rate) * (1 + (rows - 1) * rho))
    for group, target in zip(*np.nonzero(striking), strict=True):
        yield Suspect(
            family=family,
            group=int(group),
            target=int(target),
            rho=float(rho[group, target]),
            excess=float((hits - expected)[group, target] / spread[group, target]),
        )


def _alone(counts: Counted, limits: Limits) -> Bools:
    """Cells that no other cell of their family comes near to, (g, k)."""
    excess = np.maximum(counts.hits - counts.expected, 0.0)
    if len(excess) < 2:
        return np.ones(excess.shape, np.bool_)
    second, first = np.sort(excess, axis=0)[-2:]
    others = np.where(excess == first, second, first)
    found: Bools = excess >= limits.alone * others
    return found


def _gathered(view: View, counts: Counted, limits: Limits) -> Bools:
    """Cells most of whose rows bear one label, and that are no large part of it; (g, k)."""
    hits = counts.hits
    gathered: Bools = (
        (hits >= limits.least)
        & (hits >= limits.turn * counts.rows[:, None])
        & (hits <= limits.of_class * view.sizes)
        & (hits <= limits.of_all * len(view.labels))
    )
    return gathered


def median_dispersion(counts: Counted) -> float:
    """What the cells of one family typically differ by beyond chance, over cells and labels."""
    return float(np.median(peer_dispersion(counts))) if len(counts.rows) else 0.0


def crossed(
    view: View, first: Ints, second: Ints, limits: Limits
) -> tuple[Counted, npt.NDArray[np.int64]]:
    """Count the pairs of two columns' codes (n,), those below 0 left out.

    Gives the counts of pairs of at least `least` rows and at most half of all, and their codes
    (pairs, 2). Where no label gathers at all, what is expected is left at 0, since nobody asks.
    """
    width, classes = int(second.max(initial=0)) + 1, len(view.sizes)
    cells = (int(first.max(initial=0)) + 1) * width
    inside = (first >= 0) & (second >= 0)
    keys = np.where(inside, first * width + second, cells)
    places = keys * classes + view.labels
    hits = np.bincount(places, minlength=(cells + 1) * classes).reshape(-1, classes)[:cells]
    rows = hits.sum(1)
    large = np.flatnonzero((rows >= limits.least) & (rows * 2 <= len(keys)))
    found = Counted(
        rows=rows[large].astype(float),
        hits=hits[large].astype(float),
        expected=np.zeros((len(large), classes)),
    )
    for target in np.flatnonzero(_gathered(view, found, limits).any(0)):
        sums = np.bincount(keys, view.expected[:, target], minlength=cells + 1)
        found.expected[:, target] = sums[large]
    return found, np.stack([large // width, large % width], axis=1)


def together(view: View, held: Bools, limits: Limits) -> tuple[Counted, npt.NDArray[np.int64]]:
    """Count any two of the things that rows hold, (n, w): as :func:`crossed`, w (w - 1) / 2 pairs.

    Counts are exact below 2**24 rows.
    """
    holds = held.astype(np.float32)
    pairs = np.stack(np.triu_indices(held.shape[1], 1), axis=1)

    def of(weights: npt.NDArray[np.float32]) -> Floats:
        return (holds.T @ (holds * weights[:, None]))[pairs[:, 0], pairs[:, 1]].astype(np.float64)

    rows = of(np.ones(len(held), np.float32))
    large = (rows >= limits.least) & (rows * 2 <= len(held))
    pairs, rows = pairs[large], rows[large]
    hits = [of((view.labels == label).astype(np.float32)) for label in range(len(view.sizes))]
    counts = Counted(
        rows=rows, hits=np.stack(hits, axis=1), expected=np.zeros((len(rows), len(hits)))
    )
    for target in np.flatnonzero(_gathered(view, counts, limits).any(0)):
        counts.expected[:, target] = of(view.expected[:, target].astype(np.float32))
    return counts, pairs


def members(first: Ints, second: Ints, pair: Ints) -> Ints:
    """The rows that have both codes."""
    return np.flatnonzero((first == pair[0]) & (second == pair[1]))


def joined(groups: list[Ints]) -> Ragged:
    """Groups that were found one by one."""
    starts = np.cumsum([0, *map(len, groups)])
    rows = np.concatenate(groups) if groups else np.zeros(0, np.int64)
    return Ragged(starts=starts.astype(np.int64), rows=rows.astype(np.int64))
