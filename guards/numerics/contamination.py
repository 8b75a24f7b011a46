"""At least how much of a batch is not what the reference holds?

If a share pi of the batch comes from anywhere else and the rest from the reference, then for every
set A of cells new(A) <= (1 - pi) ref(A) + pi, and so

    pi  >=  (new(A) - ref(A)) / (1 - ref(A)).

A is chosen on one half of the rows of both and judged on the other half, by Clopper and Pearson's
bounds of both shares, so that the choice costs nothing but rows. Counts suffice: a random half of
the rows is a multivariate hypergeometric draw of the counts. The bound is one-sided and holds for
any other distribution; that nothing can be shown, 0, does not mean that nothing is there.

What the reference holds is not one distribution where its own blocks differ: a batch of one month
has other days than the quarter before it, and no row of it is strange for that. So ref(A) stands
for the share of one more block, whose law is Beta with the reference's mean and the dispersion rho
of its blocks, and its upper bound is taken there. Halves of one batch share the block's own
movement, so here the choice of A costs what it must: k cells of K can be chosen in fewer than K^k
ways, and the level is divided by that. With rho = 0 nothing changes; a table whose blocks have
hardly a cell in common bounds nothing.

Of two columns a side may move as a whole (the date goes on), which moves A by what A holds of each
row: with a_i the share of row i that is in A, the law of total variance adds
rho_side Var(a) / (p (1 - p)) to rho, all of it for whole rows and next to nothing for a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]

SETS = 24  # sizes of A that are tried
LOOKED = 16  # tables that are looked into, those that differ most; the rest bound nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """`share` of the batch that is not reference-like, at least; `table` and `cells` (of it) say
    where: the set A, by flat index. At most `usual` is the reference's share there, whatever A.
    """

    share: float
    table: int
    cells: Ints
    usual: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Counts in the reference and in the batch, of one shape, (cells,) or (a, b).

    `rho` is the dispersion of the cells between one more block of the reference and the mean of
    those known, and `sides` those of the two sides; 0 and none where the reference is of one make.
    """

    then: Counts
    now: Counts
    rho: float = 0.0
    sides: tuple[float, ...] = ()


def lower_bound(
    tables: Sequence[Table],
    rng: np.random.Generator,
    *,
    confidence: float = 0.99,
    among: int = 0,
) -> Bound:
    """The largest bound that any of several tables gives, corrected for their number.

    Args:
        tables: counts in the reference and in the batch.
        rng: draws the halves.
        confidence: that the share is not overstated, over all tables together.
        among: how many tables these were chosen from by their counts, if from more.
    """
    alpha = (1 - confidence) / max(2 * len(tables), 2 * among, 1)
    surplus = lifted(tables)
    order = np.argsort(-surplus, kind="stable")[:LOOKED].tolist()
    best = Bound(share=0.0, table=-1, cells=np.zeros(0, np.int64))
    for place in (place for place in order if surplus[place] > 0):
        for share, cells in _both_ways(tables[place], rng, alpha):
            if share > best.share:
                best = Bound(share=share, table=place, cells=cells)
    if best.table < 0:
        return best
    return replace(best, usual=_usual(tables[best.table], best.cells, alpha))


def lifted(tables: Sequence[Table]) -> Floats:
    """The share of each table's rows in cells beyond what those can have had: is it worth a look?

    (tables,); those of one shape are looked at together.
    """
    found = np.zeros(len(tables))
    for places in alike(tables):
        some = [tables[place] for place in places]
        then, now = np.array([one.then for one in some]), np.array([one.now for one in some])
        rho = _rho_of_cells(
            then + now, np.array([one.rho for one in some]), np.array([one.sides for one in some])
        )
        least, most = _lifts(*(held.reshape(len(some), -1) for held in (then, now, rho)))
        found[places] = np.maximum(least - most, 0).sum(axis=1)
    return found


def alike(tables: Sequence[Table]) -> list[list[int]]:
    """The places of the tables of each shape."""
    found: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for place, table in enumerate(tables):
        found.setdefault((table.now.shape, len(table.sides)), []).append(place)
    return list(found.values())


def _lifts(then: Counts, now: Counts, rho: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The share of each cell that is at least there now, and the one that was at most there.

    All are (..., cells).
    """
    rows, known = (np.maximum(held.sum(-1, keepdims=True), 1) for held in (now, then))
    least = np.maximum(now - 2 * np.sqrt(now), 0) / rows
    most = (then + 2 * np.sqrt(then) + 1) / known
    # One block is about so many rows of its own: what a Poisson number of them may come to.
    each = np.divide(rho, np.maximum(np.subtract(1, rho), 1e-9))
    return least, most + 2 * np.sqrt(most * each) + 3 * each


def _rho_of_cells(counts: Counts, own: Floats, sides: Floats) -> Floats:
    """The dispersion of each single cell, (tables, *shape) as `counts`, of what it is `own`
    (tables,), and what its sides bring, (tables, axes).
    """
    both = counts.astype(np.float64)
    wide = (slice(None), *[None] * (both.ndim - 1))
    rho = np.zeros(both.shape) + own[wide]
    for axis, side in enumerate(sides.T):
        rho += side[wide] * both / np.maximum(both.sum(2 - axis, keepdims=True), 1)
    held: Floats = np.clip(rho, 0.0, 1.0)
    return held


def _rho_of_sets(table: Table, members: npt.NDArray[np.bool_]) -> Floats:
    """The dispersion of sets of cells, (sets, *shape): their own, and what their sides bring."""
    both = (table.then + table.now).astype(np.float64)
    inside = np.where(members, both, 0)
    share = inside.reshape(len(members), -1).sum(1) / max(both.sum(), 1)
    rho = np.full(len(members), table.rho)
    for axis, side in enumerate(table.sides):
        rows = inside.sum(2 - axis) ** 2 / np.maximum(both.sum(1 - axis), 1)
        variance = rows.sum(1) / max(both.sum(), 1) - share**2
        rho += side * np.clip(variance / np.maximum(share * (1 - share), 1e-12), 0, 1)
    held: Floats = np.clip(rho, 0.0, 1.0)
    return held


def _both_ways(table: Table, rng: np.random.Generator, alpha: float) -> list[tuple[float, Ints]]:
    """A bound by each half of the rows, with the cells that the other half chose."""
    then, now = (np.ravel(counts).astype(np.int64) for counts in (table.then, table.now))
    if then.sum() < 2 or now.sum() < 2:
        return []
    held = _halves(then, rng), _halves(now, rng)
    found = []
    for choose, judge in ((0, 1), (1, 0)):
        cells = _chosen(held[0][choose], held[1][choose], table, alpha)
        if len(cells):
            found.append((_bound(held[0][judge], held[1][judge], cells, table, alpha), cells))
    return found


def _halves(counts: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    first = rng.multivariate_hypergeometric(counts, counts.sum() // 2, method="marginals")
    return first, counts - first


def _chosen(then: Ints, now: Ints, table: Table, alpha: float) -> Ints:
    """The cells, those of highest lift first, whose bound on these same rows is largest."""
    whole = (table.then + table.now)[None]
    rho = _rho_of_cells(whole, np.array([table.rho]), np.array([table.sides]))
    least, most = _lifts(then, now, rho.ravel())
    order = np.argsort(-least / most, kind="stable")
    order = order[(least > 0)[order]]
    if not len(order):
        return order
    sizes = np.unique(np.geomspace(1, len(order), SETS).astype(np.int64))
    # So many of so many cells look good by luck: each that is taken costs a choice among all.
    strict = _strict(alpha, sizes, len(then))
    before, after = np.cumsum(then[order])[sizes - 1], np.cumsum(now[order])[sizes - 1]
    rho = _rho_of_sets(table, _members(table, [order[:size] for size in sizes]))
    bounds = _bounds((before, then.sum()), (after, now.sum()), strict, rho, strict)
    best = int(bounds.argmax())
    return np.sort(order[: sizes[best]]) if bounds[best] > 0 else order[:0]


def _bound(then: Ints, now: Ints, cells: Ints, table: Table, alpha: float) -> float:
    held = (then[cells].sum(), then.sum()), (now[cells].sum(), now.sum())
    rho = _rho_of_sets(table, _members(table, [cells]))
    return float(_bounds(*held, alpha, rho, _strict(alpha, len(cells), len(then)))[0])


def _usual(table: Table, cells: Ints, alpha: float) -> float:
    """What one more block has in these cells at most, on all rows and for any choice of them."""
    strict = _strict(alpha, len(cells), table.then.size)
    held = table.then.ravel()[cells].sum(), int(table.then.sum())
    rho = _rho_of_sets(table, _members(table, [cells]))
    return float(_of_one_block(_upper(held, strict), rho, strict)[0])


def _members(table: Table, sets: Sequence[Ints]) -> npt.NDArray[np.bool_]:
    """Sets of flat places as masks of the table's shape, (sets, *shape)."""
    members = np.zeros((len(sets), table.now.size), np.bool_)
    for mask, cells in zip(members, sets, strict=True):
        mask[cells] = True
    return members.reshape(len(sets), *table.now.shape)


def _strict(alpha: float, sizes: npt.ArrayLike, cells: int) -> Floats:
    """The level divided by the ways to choose so many of so many cells.

    Over all sizes together that is sum_k C(K, k) / K^k < e - 1 < 2.
    """
    ways = np.asarray(sizes, np.float64) * np.log(cells)
    levels: Floats = np.maximum(alpha / 2 * np.exp(-ways), 1e-200)
    return levels


def _bounds(
    then: tuple[npt.ArrayLike, int],
    now: tuple[npt.ArrayLike, int],
    alpha: npt.ArrayLike,
    rho: npt.ArrayLike = 0.0,
    chosen: npt.ArrayLike = 1.0,
) -> Floats:
    """The bound on pi from so many rows in A of so many; each of its shares is wrong by its part
    of `alpha`, and the movement of a block by its part of `chosen`.
    """
    parts = 3 if np.any(rho) else 2
    upper = _upper(then, np.divide(alpha, parts))
    upper = _of_one_block(upper, np.asarray(rho, np.float64), np.divide(chosen, parts))
    lower = _lower(now, np.divide(alpha, parts))
    found: Floats = np.clip((lower - upper) / np.maximum(1 - upper, 1e-12), 0, 1)
    return found


def _upper(held: tuple[npt.ArrayLike, int], alpha: npt.ArrayLike) -> Floats:
    from scipy.stats import beta

    some, rows = np.asarray(held[0], np.float64), held[1]
    bound = beta.isf(alpha, some + 1, np.maximum(rows - some, 1e-9))
    return np.where(some < rows, bound, 1)


def _lower(held: tuple[npt.ArrayLike, int], alpha: npt.ArrayLike) -> Floats:
    from scipy.stats import beta

    some, rows = np.asarray(held[0], np.float64), held[1]
    return np.where(some > 0, beta.ppf(alpha, np.maximum(some, 1e-9), rows - some + 1), 0)


def _of_one_block(share: Floats, rho: Floats, alpha: npt.ArrayLike) -> Floats:
    """The most that one block has where all have `share`: of (1 - rho) / rho rows of its own."""
    from scipy.stats import beta

    size = np.maximum((1 - rho) / np.maximum(rho, 1e-300), 1e-9)
    some = np.where(rho > 0, size, 1.0)
    bound = beta.isf(alpha, share * some + 1, np.maximum((1 - share) * some, 1e-9))
    return np.where((share < 1) & (rho > 0), np.maximum(bound, share), share)
