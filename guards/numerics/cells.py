"""Did one group move where its peers did not? Local change told from broad change.

A table of counts has a row for each group (a carrier, a source) and a column for each bin of some
other quantity. Seasons move all groups: shorter days, more delays. Poison and broken producers
move one. For group v let p and q be its shares over the bins now and in the reference; then

    S_v  =  1/2 sum_b |p_b - q_b|  -  its mean under sampling alone      (share of rows that moved)
    L_v  =  S_v  -  2 Q80(S_u, u != v)                                   (what peers do not share)

The second line is robust: one group that moved much does not make its peers look as if they had
moved the other way, as tilting expected counts by the peers' movement does. Chance is judged by
Pearson's X^2 with the dispersion that the blocks of the reference show among themselves, since
between months groups differ by more than a multinomial allows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def moved_shares(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """S: the share of each group's rows that changed bin, shape (groups,), in [0, 1].

    `reference` and `current` are counts, shape (groups, bins); an empty group has moved 0. The
    mean under sampling is that of the folded normal, bin by bin.
    """
    p, q, pooled, effective = _compared(reference, current)
    noise = np.sqrt(2 / np.pi * pooled * (1 - pooled) / effective).sum(axis=1) / 2
    moved: Floats = np.maximum(np.abs(p - q).sum(axis=1) / 2 - noise, 0.0)
    return np.where(np.isfinite(effective[:, 0]), moved, 0.0)


def local_excess(shares: npt.ArrayLike, solid: npt.ArrayLike) -> Floats:
    """L: each group's movement beyond twice the 80 % quantile of its peers', shape (groups,).

    Only groups marked `solid` (enough rows to tell) are peers; a group without a peer gets 0,
    since nothing says what is usual.
    """
    moved, held = np.asarray(shares, np.float64), np.asarray(solid, bool)
    excess = np.zeros(len(moved))
    groups = np.flatnonzero(held)
    if len(groups) > 1:
        order = groups[np.argsort(moved[groups])]
        excess[order] = moved[order] - 2 * _others_quantile(moved[order], 0.8)
    return np.maximum(excess, 0.0)


def _others_quantile(ordered: Floats, share: float) -> Floats:
    """Of each ascending value the quantile of all others, as numpy interpolates it, (n,)."""
    place = share * (len(ordered) - 2)
    low, own = int(place), np.arange(len(ordered))
    high = min(low + 1, len(ordered) - 2)
    below, above = ordered[low + (own <= low)], ordered[high + (own <= high)]
    part = place - low
    between: Floats = (
        above - (above - below) * (1 - part) if part >= 0.5 else (below + (above - below) * part)
    )
    return between


def moved_p_values(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, rho: float, blocks: int
) -> Floats:
    """P(movement by chance) of each group, shape (groups,).

    X^2 of the two rows of counts is deflated by 1 + n_eff rho (1 + 1 / blocks), where n_eff is
    n N / (n + N): the current rows are one more block, the reference the mean of `blocks`.
    """
    from scipy.stats import chi2

    squares, freedom, effective = _pearson(reference, current)
    inflation = 1 + effective * rho * (1 + 1 / max(blocks, 1))
    p_values: Floats = np.asarray(chi2.sf(squares / inflation, np.maximum(freedom, 1)))
    return np.where(effective > 0, p_values, 1.0)


def block_movement(blocks: npt.ArrayLike) -> tuple[float, Floats]:
    """What the blocks of one reference show among themselves; gives `(rho, moved)`.

    `blocks` are counts, shape (blocks, groups, bins). Each block in turn is held against the
    others. `rho` solves E sum X^2 = sum df (1 + n_eff rho (1 + 1 / others)), clipped to [0, 1];
    `moved`, shape (groups,), is the largest S of a group. Both are 0 for a single block.
    """
    counts = np.asarray(blocks, np.float64)
    many, groups, bins = counts.shape
    if many < 2:
        return 0.0, np.zeros(groups)
    # One row for each group in each block: all blocks are compared at once.
    rows, others = counts.reshape(-1, bins), (counts.sum(axis=0) - counts).reshape(-1, bins)
    moved: Floats = moved_shares(others, rows).reshape(many, groups).max(axis=0)
    return _dispersion(rows, others, many), moved


def block_dispersion(blocks: npt.ArrayLike) -> float:
    """The `rho` of :func:`block_movement` alone, of counts of shape (blocks, groups, bins)."""
    counts = np.asarray(blocks, np.float64)
    if len(counts) < 2:
        return 0.0
    bins = counts.shape[2]
    others = counts.sum(axis=0) - counts
    return _dispersion(counts.reshape(-1, bins), others.reshape(-1, bins), len(counts))


def _dispersion(rows: Floats, others: Floats, blocks: int) -> float:
    squares, freedom, effective = _pearson(others, rows)
    surplus = float((squares - freedom).sum())
    room = float((freedom * effective).sum()) * (1 + 1 / (blocks - 1))
    return float(np.clip(surplus / room, 0.0, 1.0)) if room > 0 else 0.0


def _pearson(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """X^2, its degrees of freedom and n_eff of each group; 0, 0, 0 for a group without rows."""
    p, q, pooled, effective = _compared(reference, current)
    size = np.where(np.isfinite(effective[:, 0]), effective[:, 0], 0.0)
    terms = np.divide((p - q) ** 2, pooled, out=np.zeros_like(p), where=pooled > 0)
    freedom = np.maximum((pooled > 0).sum(axis=1) - 1.0, 0.0) * (size > 0)
    return size * terms.sum(axis=1), freedom, size


def _compared(
    reference: npt.ArrayLike, current: npt.ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Shares now, shares before, pooled shares, and n N / (n + N) (infinite for no rows)."""
    ref, cur = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    rows, known = (counts.sum(axis=1, keepdims=True) for counts in (cur, ref))
    both = np.maximum(rows + known, 1.0)
    effective = np.where(rows * known > 0, rows * known / both, np.inf)
    return cur / np.maximum(rows, 1.0), ref / np.maximum(known, 1.0), (cur + ref) / both, effective
