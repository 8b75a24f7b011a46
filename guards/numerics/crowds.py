"""Do rows of a batch crowd together where the reference has next to nothing?

A local two-sample test on counts. Rows are seen through many small tables (triples of columns,
coarsely); a cell is *hot* if it holds far more of the batch than the reference leads to expect, and
a row's *votes* are the share of the tables in which its cell is hot. A crowd is a group of rows
with votes that have most of their hot cells in common. The idea of counting a density in many
random partitions instead of keeping rows is that of Coleman and Shrivastava (RACE, 2020).

What has moved by nature crowds as well: a new route is a crowd in destination, distance and
carrier, which are one thing said three times, and is spread over all else. So a crowd is told by
the columns in which it is *tight*: few of the cells that rows usually lie in, and unusual ones,
each column counted only if none counted before implies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from guards.numerics.excess import expected_values, log_tails

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TIGHT = 0.5  # of a column's entropy is gone within the group
UNUSUAL = 1.0  # nats that the group's cells diverge from the usual ones
IMPLIED = 0.3  # of a column's entropy is what another tells of it
LINEAR = 0.7  # of a view's variance is what others tell of it: IMPLIED for eight cells of a normal


def hot(
    then: npt.ArrayLike,
    now: npt.ArrayLike,
    *,
    least: int,
    lift: float,
    alpha: float,
    inflation: float = 1.0,
) -> Bools:
    """Cells with `least` rows now, `lift` times the expected ones, at p <= `alpha` each."""
    after = np.asarray(now, np.int64)
    expected = expected_values(then, int(np.sum(then)), int(after.sum()))
    found: Bools = (after >= least) & (after >= lift * expected)
    if found.any():
        found &= log_tails(after, expected, then, inflation) <= np.log10(alpha)
    return found


def grouped(cells: Ints, *, alike: float = 0.5) -> Ints:
    """Rows with hot cells in common: a group for each row, (n,), the largest group being 0.

    Args:
        cells: (n, tables), the number of the hot cell of each row in each table, -1 for none.
        alike: two rows are together if that share of the hot cells of the one with more is
            common to both; groups are what hangs together by that.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, tables = np.nonzero(cells >= 0)
    width = int(cells.max(initial=0)) + 1
    named, places = np.unique(tables * width + cells[rows, tables], return_inverse=True)
    held = coo_array((np.ones(len(rows)), (rows, places)), (len(cells), len(named))).tocsr()
    common = (held @ held.T).tocoo()
    votes = np.maximum((cells >= 0).sum(axis=1), 1)
    near = common.data >= alike * np.maximum(votes[common.row], votes[common.col])
    graph = coo_array((near[near], (common.row[near], common.col[near])), (len(cells),) * 2)
    _, found = connected_components(graph, directed=False)
    _, first, sizes = np.unique(found, return_index=True, return_counts=True)
    rank = np.empty(len(sizes), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    placed: Ints = rank[found]
    return placed


def tightness(usual: npt.ArrayLike, group: npt.ArrayLike) -> float:
    """How much of a column's spread is gone within a group, from counts of both over its cells.

    1 - H(group) / H(usual), and 0 where the group's cells are not unusual: where its divergence
    (Kullback and Leibler 1951) from the usual, half a row added to each cell, is below UNUSUAL.
    """
    before, after = (np.asarray(counts, np.float64) for counts in (usual, group))
    if not after.sum() or not before.sum():
        return 0.0
    p, q = after / after.sum(), (before + 0.5) / (before + 0.5).sum()
    own = entropy(before)
    held = p > 0
    divergence = float((p[held] * np.log(p[held] / q[held])).sum())
    return 1 - entropy(after) / own if own > 0 and divergence >= UNUSUAL else 0.0


def entropy(counts: npt.ArrayLike) -> float:
    """In nats, of the shares that counts of any shape have."""
    shares = np.asarray(counts, np.float64).ravel()
    shares = shares[shares > 0] / max(shares.sum(), 1e-300)
    return float(-(shares * np.log(shares)).sum())


def implied(table: npt.ArrayLike) -> float:
    """How much of the less spread of two columns the other tells: I(a; b) / min(H(a), H(b)).

    0 for columns that have nothing to do with each other, 1 where one follows from the other.
    """
    counts = np.asarray(table, np.float64)
    down, across = entropy(counts.sum(axis=1)), entropy(counts.sum(axis=0))
    told = down + across - entropy(counts)
    return float(np.clip(told / max(min(down, across), 1e-12), 0.0, 1.0))


def independent(
    tight: Sequence[tuple[str, float]], telling: Mapping[frozenset[str], float]
) -> list[str]:
    """The columns that are tight on their own account, the tightest first.

    Args:
        tight: columns and their tightness.
        telling: :func:`implied` of pairs of columns; 0 for a pair that is not named.
    """
    found: list[str] = []
    for name, share in sorted(tight, key=lambda one: (-one[1], one[0])):
        pairs = (frozenset((name, other)) for other in found)
        if share >= TIGHT and all(telling.get(pair, 0.0) < IMPLIED for pair in pairs):
            found.append(name)
    return found


def apart(tight: Sequence[tuple[int, float]], correlations: Floats) -> list[int]:
    """The views that are tight on their own account, the tightest first.

    Directions drawn at random are at right angles, but vectors may lie in few dimensions, and then
    one view follows from some others. A view counts if those counted before tell less than LINEAR
    of its variance, together; `correlations` (views, views) are those of the reference.
    """
    found: list[int] = []
    for one, share in sorted(tight, key=lambda held: (-held[1], held[0])):
        if share >= TIGHT and conditional(correlations, found, one) < LINEAR:
            found.append(one)
    return found


def conditional(correlations: Floats, known: Sequence[int], one: int) -> float:
    """R^2: how much of quantity `one` the `known` ones tell, linearly, by their correlations.

    A correlation that is not known (NaN) is taken to tell everything.
    """
    if not known:
        return 0.0
    among, own = correlations[np.ix_(known, known)], correlations[known, one]
    if not (np.isfinite(among).all() and np.isfinite(own).all()):
        return 1.0
    return float(np.clip(own @ np.linalg.pinv(among, hermitian=True) @ own, 0.0, 1.0))


def scored_correlation(table: npt.ArrayLike) -> float:
    """The correlation of two quantities, from counts of both in cells of ascending order.

    Each cell stands for the mean of a standard normal between its sides' quantiles (normal scores;
    van der Waerden 1952). NaN where a side has one cell only.
    """
    counts = np.asarray(table, np.float64)
    shares = counts / max(counts.sum(), 1.0)
    down, across = _normal_scores(shares.sum(axis=1)), _normal_scores(shares.sum(axis=0))
    size = np.sqrt((shares.sum(axis=1) @ down**2) * (shares.sum(axis=0) @ across**2))
    return float(down @ shares @ across / size) if size > 1e-12 else float("nan")


def _normal_scores(shares: Floats) -> Floats:
    from scipy.stats import norm

    heights = norm.pdf(norm.ppf(np.clip(np.concatenate([[0], np.cumsum(shares)]), 0, 1)))
    scores = np.divide(-np.diff(heights), shares, out=np.zeros(len(shares)), where=shares > 0)
    return np.asarray(scores)
