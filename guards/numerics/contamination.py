"""At least how much of a batch is not what the reference holds?

If a share pi of the batch comes from anywhere else and the rest from the reference, then for every
set A of cells new(A) <= (1 - pi) ref(A) + pi, and so

    pi  >=  (new(A) - ref(A)) / (1 - ref(A)).

A is chosen on one half of the rows of both and judged on the other half, by Clopper and Pearson's
bounds of both shares, so that the choice costs nothing but rows. Counts suffice: a random half of
the rows is a multivariate hypergeometric draw of the counts. The bound is one-sided and holds for
any other distribution; that nothing can be shown, 0, does not mean that nothing is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SETS = 24  # sizes of A that are tried
LOOKED = 16  # tables that are looked into, those that differ most; the rest bound nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """`share` of the batch that is not reference-like, at least; `table` and `cells` (of it) say
    where: the set A, by flat index.
    """

    share: float
    table: int
    cells: Ints


def lower_bound(
    pairs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    rng: np.random.Generator,
    *,
    confidence: float = 0.99,
) -> Bound:
    """The largest bound that any of several tables of counts gives, corrected for their number.

    Args:
        pairs: counts in the reference and in the batch, of one shape each.
        rng: draws the halves.
        confidence: that the share is not overstated, over all tables together.
    """
    alpha = (1 - confidence) / max(2 * len(pairs), 1)
    counts = [
        (np.ravel(then).astype(np.int64), np.ravel(now).astype(np.int64)) for then, now in pairs
    ]
    surplus = [float(np.maximum(np.subtract(*_lifts(*both)), 0).sum()) for both in counts]
    order = np.argsort(-np.array(surplus), kind="stable")[:LOOKED].tolist()
    best = Bound(share=0.0, table=-1, cells=np.zeros(0, np.int64))
    for table in (place for place in order if surplus[place] > 0):
        for share, cells in _both_ways(counts[table][0], counts[table][1], rng, alpha):
            if share > best.share:
                best = Bound(share=share, table=table, cells=cells)
    return best


def _lifts(then: Ints, now: Ints) -> tuple[Floats, Floats]:
    """The share of each cell that is at least there now, and the one that was at most there."""
    least = np.maximum(now - 2 * np.sqrt(now), 0) / max(now.sum(), 1)
    most = (then + 2 * np.sqrt(then) + 1) / max(then.sum(), 1)
    return least, most


def _both_ways(
    then: Ints, now: Ints, rng: np.random.Generator, alpha: float
) -> list[tuple[float, Ints]]:
    """A bound by each half of the rows, with the cells that the other half chose."""
    if then.sum() < 2 or now.sum() < 2:
        return []
    held = _halves(then, rng), _halves(now, rng)
    found = []
    for choose, judge in ((0, 1), (1, 0)):
        cells = _chosen(held[0][choose], held[1][choose], alpha)
        if len(cells):
            found.append((_bound(held[0][judge], held[1][judge], cells, alpha), cells))
    return found


def _halves(counts: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    first = rng.multivariate_hypergeometric(counts, counts.sum() // 2, method="marginals")
    return first, counts - first


def _chosen(then: Ints, now: Ints, alpha: float) -> Ints:
    """The cells, those of highest lift first, whose bound on these same rows is largest."""
    least, most = _lifts(then, now)
    order = np.argsort(-least / most, kind="stable")
    order = order[(least > 0)[order]]
    if not len(order):
        return order
    sizes = np.unique(np.geomspace(1, len(order), SETS).astype(np.int64))
    # So many of so many cells look good by luck: each that is taken costs a choice among all.
    strict = np.maximum(alpha * np.exp(-sizes * np.log(len(then))), 1e-200)
    before, after = np.cumsum(then[order])[sizes - 1], np.cumsum(now[order])[sizes - 1]
    bounds = _bounds(before, then.sum(), after, now.sum(), strict)
    best = int(bounds.argmax())
    return np.sort(order[: sizes[best]]) if bounds[best] > 0 else order[:0]


def _bound(then: Ints, now: Ints, cells: Ints, alpha: float) -> float:
    return float(_bounds(then[cells].sum(), then.sum(), now[cells].sum(), now.sum(), alpha))


def _bounds(
    then: npt.ArrayLike, rows_then: int, now: npt.ArrayLike, rows_now: int, alpha: npt.ArrayLike
) -> Floats:
    """The bound on pi from so many rows in A of so many; both shares are wrong by alpha / 2."""
    from scipy.stats import beta

    before, after, half = (np.asarray(x, np.float64) for x in (then, now, np.divide(alpha, 2)))
    upper = np.where(
        before < rows_then,
        beta.isf(half, before + 1, np.maximum(rows_then - before, 1e-9)),
        1,
    )
    lower = np.where(after > 0, beta.ppf(half, np.maximum(after, 1e-9), rows_now - after + 1), 0)
    found: Floats = np.clip((lower - upper) / np.maximum(1 - upper, 1e-12), 0, 1)
    return found
