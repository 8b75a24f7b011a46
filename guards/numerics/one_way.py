"""Do labels of one source go over from one to another, beyond errors that go both ways?

Of the rows labelled a or b, BINS bins of what a model says of b against a have each a rate of b
among the *other* sources, r, made monotone (isotonic regression). Of a source it is asked whether

    P(labelled b) = r' + (share + noise) (1 - r') - noise r',    logit r' = logit r + tilt

needs a `share` of rows of a that are called b, or whether a source of its own frequency (`tilt`,
normal, sd TILT) that errs both ways alike (`noise`, exponential, mean NOISE, since a source with
few rows of b says little about errors that go the other way) says it as well. Twice the gain in
log-likelihood, over the misfit of the other sources under no share (Pearson's chi-squared over its
degrees of freedom, never below 1, worth MISFIT_PRIOR degrees), is half a chi-squared of one degree
(Self and Liang 1987: the share is at its edge). p-values are adjusted by Holm over all cells.

Counting the rows that a model is surest of (:mod:`guards.numerics.flips`) throws the others away.
This uses every row for what it is worth. Chosen on 50 flips of 1 % and 184 honest batches of three
sets, 84 of them with sources as sloppy as .5 to 15 %; what came of it on others is measured by
benchmarks/power.py and benchmarks/sources.py.

The known way around it: flip as many of b to a, in proportion; flip rows that are as likely b.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from guards.numerics.enrichment import holm
from guards.numerics.flips import grouped
from guards.numerics.likely import Probabilities, at, likeliest

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

BINS = 20
TILT, NOISE = 0.2, 0.03
MISFIT_PRIOR, PEERS = 20.0, 50
_FLOOR, _PRIOR_ROWS = 0.005, 5.0
_TILTS = np.linspace(-1.5, 1.5, 31)
_NOISES = np.array([0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2])
_SHARES = np.array([0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """One source, rows of `true` labelled `given`: a `share` of them, `rows` in all.

    `lift` is how often rows are labelled `given` beside what the other sources lead to expect, each
    row by how much it tells; `p_value` is adjusted over all cells. `members` (m,) are the rows of
    the source labelled `given`, `odds` (m,) how likely each is one of those.
    """

    source: int
    given: int
    true: int
    share: float
    rows: float
    lift: float
    p_value: float
    members: Ints
    odds: Reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pair:
    """The rows labelled one of two labels, in `bins`; tables are (sources, bins)."""

    rows: Ints
    bins: Ints
    size: Reals
    hits: Reals
    told: Reals


def flows(
    labels: Ints, probabilities: Probabilities, sources: Ints, count: int, *, rows: int, least: int
) -> tuple[Flow, ...]:
    """Every cell with some share, p-values adjusted for all that were looked at.

    Args:
        labels: (n,) codes of the labels as given.
        probabilities: (n, classes) by models that did not see the rows.
        sources: (n,) in range(count); below 0 for rows of no source.
        count: number of sources.
        rows: contradicted rows in one source without which a pair is not looked at.
        least: rows of the pair that a source must have.
    """
    kept = np.flatnonzero(sources >= 0)
    predicted, _ = likeliest(probabilities)
    of_label = {label: kept[places] for label, places in grouped(labels[kept])}
    found: list[Flow] = []
    tests = 0
    for true, given, many in _contradicted(labels, predicted, sources, count, kept):
        if many.max() < rows or true not in of_label:
            continue
        among = np.concatenate([of_label[true], of_label[given]])
        among = np.sort(among[np.isin(predicted[among], (true, given))])
        pair = _pair(among, labels, probabilities, sources, count, true, given)
        tests += int((pair.size.sum(axis=1) >= least).sum())
        for source in np.flatnonzero((many >= rows) & (pair.size.sum(axis=1) >= least)):
            flow = _flow(pair, int(source), labels, sources, true, given, rows)
            found += [flow] if flow is not None else []
    adjusted = holm(np.array([flow.p_value for flow in found] + [1.0] * (tests - len(found))))
    return tuple(replace(flow, p_value=float(p)) for flow, p in zip(found, adjusted, strict=False))


def _contradicted(
    labels: Ints, predicted: Ints, sources: Ints, count: int, kept: Ints
) -> Iterator[tuple[int, int, Ints]]:
    """Each pair (predicted, given) that occurs, with its rows in each source."""
    wrong = kept[labels[kept] != predicted[kept]]
    for true, of_true in grouped(predicted[wrong]):
        for given, here in grouped(labels[wrong[of_true]]):
            own = sources[wrong[of_true[here]]]
            yield true, given, np.bincount(own, minlength=count)


def _pair(
    among: Ints,
    labels: Ints,
    probabilities: Probabilities,
    sources: Ints,
    count: int,
    true: int,
    given: int,
) -> _Pair:
    one, other = (at(probabilities, among, label).astype(np.float64) for label in (given, true))
    told = one / np.maximum(one + other, 1e-9)
    edges = np.unique(np.quantile(told, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, told, side="right")
    width = len(edges) + 1
    place = sources[among] * width + bins
    weights = (np.ones(len(among)), (labels[among] == given).astype(np.float64), told)
    size, hits, sums = (
        np.bincount(place, weight, minlength=count * width).reshape(count, width).astype(np.float64)
        for weight in weights
    )
    return _Pair(rows=among, bins=bins, size=size, hits=hits, told=sums)


def _flow(
    pair: _Pair, source: int, labels: Ints, sources: Ints, true: int, given: int, rows: int
) -> Flow | None:
    """What the source's labels gain by some share; None if nothing speaks for one."""
    size, hits = pair.size[source], pair.hits[source]
    rates = _rates(
        *(table.sum(axis=0) - table[source] for table in (pair.size, pair.hits, pair.told))
    )
    # What lies beyond the usual among the rows that are surest not `given`, as far up as it grows.
    if np.cumsum((hits - size * rates)[rates < 0.5]).max(initial=0.0) < rows / 2:
        return None
    fits, chances = _likelihoods(size, hits, rates, _SHARES)
    tilt, noise, step = np.unravel_index(fits.argmax(), fits.shape)
    if not step:
        return None
    gain = float(fits.max() - fits[:, :, 0].max())
    share, own = float(_SHARES[step]), _tilted(rates, _TILTS[tilt])
    lost = share * (1 - own)
    its = pair.rows[sources[pair.rows] == source]
    bins = pair.bins[sources[pair.rows] == source]
    bears = labels[its] == given
    weight = np.log1p(share * (1 - rates) / rates)
    return Flow(
        source=source,
        given=given,
        true=true,
        share=share,
        rows=float(size @ lost),
        lift=float((weight @ hits) / (weight @ (size * rates))),
        p_value=_tail(gain / _misfit(pair, source, rates)),
        members=its[bears],
        odds=(lost / chances[tilt, noise, step])[bins[bears]],
    )


def _rates(size: Reals, hits: Reals, told: Reals) -> Reals:
    """The rate of each bin, ascending, drawn to what the model says, and never quite 0 or 1."""
    from scipy.optimize import isotonic_regression

    said = (told + 5e-4) / (size + 1e-3)
    drawn = (hits + _PRIOR_ROWS * said) / (size + _PRIOR_ROWS)
    ascending = isotonic_regression(drawn, weights=size + 1).x
    rates: Reals = np.clip(ascending, np.maximum(_FLOOR, 0.5 / (size + 1)), 1 - _FLOOR)
    return rates


def _tilted(rates: Reals, tilt: float | Reals) -> Reals:
    from scipy.special import expit, logit

    tilted: Reals = expit(logit(rates) + tilt)
    return tilted


def _likelihoods(size: Reals, hits: Reals, rates: Reals, shares: Reals) -> tuple[Reals, Reals]:
    """The penalised log-likelihood (tilts, noises, shares), and the chances, with bins beside."""
    own = _tilted(rates, _TILTS[:, None])[:, None, None, :]
    noise, share = _NOISES[None, :, None, None], shares[None, None, :, None]
    over = np.minimum(share + noise, 0.95)
    chances = np.clip(own + over * (1 - own) - noise * own, 1e-4, 1 - 1e-4)
    fits = np.log(chances) @ hits + np.log1p(-chances) @ (size - hits)
    unlikely = (_TILTS**2 / (2 * TILT**2))[:, None, None] + (_NOISES / NOISE)[None, :, None]
    penalised: Reals = fits - unlikely
    return penalised, chances


def _misfit(pair: _Pair, source: int, rates: Reals) -> float:
    """How much wider the other sources, the largest of them, lie than their own fits allow."""
    totals = pair.size.sum(axis=1)
    largest = np.argsort(-totals, kind="stable")[: PEERS + 1]
    squares, freedom = 0.0, 0
    for peer in largest[(largest != source) & (totals[largest] > 0)]:
        size, hits = pair.size[peer], pair.hits[peer]
        fits, chances = _likelihoods(size, hits, rates, _SHARES[:1])
        chance = chances[(*np.unravel_index(fits.argmax(), fits.shape),)]
        spread = size * chance * (1 - chance)
        told = spread > 0.5
        squares += float(((hits - size * chance)[told] ** 2 / spread[told]).sum())
        freedom += max(int(told.sum()) - 2, 0)
    return max(1.0, (squares + MISFIT_PRIOR) / (freedom + MISFIT_PRIOR))


def _tail(gain: float) -> float:
    from scipy.stats import chi2

    return float(chi2.sf(2 * max(gain, 0.0), 1)) / 2
