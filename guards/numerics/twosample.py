"""Did this sample come from where the reference came from? Distances, and what chance allows.

The reference is not at hand as rows but as steps of its distribution function or as counts, so
every function takes those. Each test gives an effect size beside its p-value: at a million rows
every difference is significant and few matter. Sources: Smirnov 1948 for D, Lin 1991 for the
Jensen-Shannon distance, Pearson 1900, Benjamini and Hochberg 1995.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_GRAIN = 1e-6  # of a mean that is stored to seven digits


def ks_against_steps(
    weights: npt.ArrayLike, below: npt.ArrayLike, upto: npt.ArrayLike, rows: int
) -> float:
    """Kolmogorov-Smirnov's D of a sample against the steps of a reference, ties exactly.

    `weights` (m,) are the reference's rows at its points, `below` and `upto` (m,) the sample's
    rows less than each point and at most it, of `rows` in all. D is off by no more than the steps
    are, as a share of the reference's rows; so what is left when that is subtracted is a lower
    bound, and the one to test and to gate on.
    """
    reached = np.cumsum(np.asarray(weights, np.float64))
    if not len(reached) or not rows:
        return 0.0
    before = np.concatenate([[0.0], reached[:-1]]) / reached[-1]
    gaps = [before - np.asarray(below) / rows, reached / reached[-1] - np.asarray(upto) / rows]
    return float(np.abs(gaps).max())


def ks_p_value(distance: float, rows: int, reference_rows: int) -> float:
    """P(D >= distance) for two samples of these sizes, by the exact law of the effective size."""
    from scipy.stats import kstwo

    if distance <= 0 or not rows or not reference_rows:
        return 1.0
    effective = max(1, round(rows * reference_rows / (rows + reference_rows)))
    return float(kstwo.sf(min(distance, 1.0), effective))


def distance_interval(
    distance: float, rows: int, reference_rows: int, level: float = 0.95
) -> tuple[float, float]:
    """An interval of D, of a total variation, or of how far two rates lie apart: [low, high].

    Another row in the place of one changes such a distance by 1 / n at most, so it leaves its mean
    by more than sqrt(log(2 / (1 - level)) / 2 (1 / n + 1 / m)) as rarely as 1 - `level`, whatever
    the law of the rows (McDiarmid, On the method of bounded differences, 1989). That is of rows
    drawn one by one; how blocks of rows differ is not in it.
    """
    if not rows or not reference_rows:
        return 0.0, 1.0
    half = np.sqrt(np.log(2 / (1 - level)) / 2 * (1 / rows + 1 / reference_rows))
    return float(max(0.0, distance - half)), float(min(1.0, distance + half))


def jensen_shannon(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The Jensen-Shannon distance in [0, 1] of two count arrays: root of the divergence in bits."""
    p, q = (_shares(counts) for counts in (first, second))
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(np.clip(divergence, 0.0, 1.0)))


def total_variation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The share of rows in [0, 1] that would have to move to make two count arrays alike."""
    return float(np.abs(_shares(first) - _shares(second)).sum() / 2)


def homogeneity_p_value(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Pearson's chi-squared test that two count arrays have one distribution.

    Categories of fewer than 5 expected rows are pooled, without which the law does not hold.
    """
    from scipy.stats import chi2_contingency

    table = np.array([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    totals = table.sum(axis=1)
    if not totals.all():
        return 1.0
    small = table.sum(axis=0) * totals.min() / totals.sum() < 5
    pooled = np.column_stack([table[:, ~small], table[:, small].sum(axis=1)])
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    return float(chi2_contingency(pooled, correction=False).pvalue) if pooled.shape[1] > 1 else 1.0


def binomial_excess_p_value(hits: int, rows: int, rate: float) -> float:
    """P(H >= hits) for a binomial of `rows` trials at `rate`: the exact one-sided test."""
    from scipy.stats import binom

    return float(binom.sf(hits - 1, rows, min(max(rate, 0.0), 1.0))) if hits > 0 else 1.0


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """Adjust p-values so that the share of false ones among the alarms is held."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def rates_apart(
    then: npt.ArrayLike, now: npt.ArrayLike, rows: tuple[int, int], *, error: int = 0
) -> tuple[Floats, Floats]:
    """How far each of some rates has moved, and p-values that it has not; (words,) each.

    Args:
        then: rows of the reference with each word, (words,), too small by at most `error`.
        now: rows of the batch with it, (words,).
        rows: all rows of the reference and of the batch, both more than 0.
        error: by how many rows `then` may be too small.

    Returns:
        The difference of the rates, less what `error` may make of it, and the two-sided p-values of
        the pooled z-test with Yates's correction, which is on the safe side where rows are few.
    """
    from scipy.stats import norm

    before, after = (np.asarray(one, np.float64) for one in (then, now))
    gap = np.abs(after / rows[1] - before / rows[0])
    effect = np.maximum(gap - error / rows[0], 0.0)
    pooled = (before + after) / sum(rows)
    width = 1 / rows[0] + 1 / rows[1]
    deviation = np.sqrt(np.maximum(pooled * (1 - pooled), 0.0) * width)
    beyond = np.maximum(effect - width / 2, 0.0)
    z = np.divide(beyond, deviation, out=np.zeros_like(beyond), where=deviation > 0)
    p_values: Floats = np.asarray(2 * norm.sf(z))
    return effect, np.minimum(p_values, 1.0)


def means_apart(
    then: tuple[npt.ArrayLike, npt.ArrayLike],
    now: tuple[npt.ArrayLike, npt.ArrayLike],
    rows: tuple[int, int],
) -> tuple[Floats, Floats]:
    """How far the mean of each dimension has moved, as D, and p-values that it has not; (d,) each.

    `then` and `now` are means and variances, (d,) each, of so many `rows`. A shift by s standard
    deviations (the pooled one) is told as 2 Phi(s / 2) - 1, which is D of two normal samples so far
    apart, so that it can be held against other distances. The test is Welch's, with the normal law.
    Dimensions that vary in neither have not moved if they are equal, and else have wholly. One row
    says nothing of how rows vary, so beside it nothing has moved.
    """
    from scipy.stats import norm

    if min(rows) < 2:
        return np.zeros(np.shape(then[0])), np.ones(np.shape(then[0]))

    (mean_then, var_then), (mean_now, var_now) = (
        tuple(np.asarray(one, np.float64) for one in both) for both in (then, now)
    )
    gap = np.abs(mean_now - mean_then)
    gap = np.where(gap <= _GRAIN * (np.abs(mean_now) + np.abs(mean_then)), 0.0, gap)
    pooled = np.sqrt((rows[0] * var_then + rows[1] * var_now) / sum(rows))
    deviation = np.sqrt(var_then / rows[0] + var_now / rows[1])
    still = (pooled <= 0) | (deviation <= 0)
    moved = np.where(gap > 0, np.inf, 0.0)
    shift = np.divide(gap, pooled, out=moved.copy(), where=~still)
    z = np.divide(gap, deviation, out=moved, where=~still)
    return 2 * norm.cdf(shift / 2) - 1, np.minimum(2 * norm.sf(z), 1.0)


def _shares(counts: npt.ArrayLike) -> Floats:
    values = np.asarray(counts, dtype=np.float64)
    shares: Floats = values / max(values.sum(), 1e-300)
    return shares


def _relative_entropy(p: Floats, q: Floats) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log2(p[held] / q[held])))
