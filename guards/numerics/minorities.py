"""Does a class hide a minority? Two answers for every class, from one shared subspace.

Features are whitened by the pooled within-class covariance (Tang et al. 2021, arXiv:1908.00686)
and each class's leading directions found; all classes and all draws of the null go through the
same batched functions.

- *Spectral*: along each leading direction, how unevenly the rows beyond FAR robust standard
  deviations of the centred projections lie on the two sides. One elliptical component has as many
  on either; a minority does not. Its rows are the fuller tail.
- *Cluster*: J, the share of variance in the leading directions that a split in two explains. Its
  rows are the smaller cluster.

The p-values are those of the maximum over classes (:mod:`guards.numerics.calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.numerics import calibration, clusters, enrichment, spectrum

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Floats = npt.NDArray[np.float64]

RANK = 8
FAR = 2.5
NULL_RANK = 64  # what lies beyond cannot enter the leading RANK directions of a draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Minorities:
    """One kind of minority in every class.

    `statistic`, `p_values`, `excess` are (classes,), NaN, 1 and 0 where a class has too few rows;
    `excess` is in standard deviations of the null. Where no null was drawn, `p_values` and
    `excess` are NaN. `member` is (n,), the rows of the minorities.
    """

    statistic: Floats
    p_values: Floats
    excess: Floats
    member: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Both kinds of minority, and the exact silhouette of each class's split."""

    spectral: Minorities
    cluster: Minorities
    silhouette: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Concentration:
    """How some property concentrates in the minority of each class; all (classes,).

    `rows` are in the minority, `hits` of them have the property, `rate` is hits/rows, `lift` that
    over the rate of the class's other rows, `p_value` the beta-binomial tail, uncorrected.
    """

    rows: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    rate: Floats
    lift: Floats
    p_value: Floats


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one batch of groups gives: (groups,) statistics, (groups, longest) members."""

    lopsided: Tensor
    tail: Tensor
    explained: Tensor
    smaller: Tensor
    silhouette: Tensor


def class_structure(
    features: Tensor,
    labels: npt.NDArray[np.int64],
    classes: int,
    rng: np.random.Generator,
    *,
    draws: int = 199,
    least: int = 20,
) -> Structure:
    """Look for a minority in every class of at least `least` rows.

    Args:
        features: (n, d) float, on the device to work on.
        labels: (n,) in range(classes).
        classes: how many labels there are.
        rng: draws the null.
        draws: how often; the least p-value is 1/(1 + draws). With 0 nothing is drawn, which is
            most of the work, and the minorities are the same.
        least: rows without which a class is not looked at.
    """
    import torch

    codes = torch.as_tensor(labels, device=features.device)
    white = spectrum.whiten(features, codes, classes)
    sizes = np.bincount(labels, minlength=classes)
    statistics = np.full((3, classes), np.nan)
    null = np.full((2, draws, classes), np.nan)
    members = np.zeros((2, len(labels)), np.bool_)
    for groups in spectrum.buckets(np.where(sizes >= least, sizes, 0)):
        layout = spectrum.padded(labels, groups)
        mask = torch.as_tensor(layout >= 0, device=white.device)
        batch = spectrum.centre(white[torch.as_tensor(layout, device=white.device)], mask)
        seen = _look(batch, mask)
        each = (seen.lopsided, seen.explained, seen.silhouette)
        statistics[:, groups] = [_numpy(statistic) for statistic in each]
        for kind, inside in enumerate((seen.tail, seen.smaller)):
            members[kind, layout[inside.cpu().numpy()]] = True
        if draws:
            null[:, :, groups] = _null(batch, mask, draws, rng)
    spectral, cluster = (
        _minorities(statistics[kind], null[kind], members[kind]) for kind in range(2)
    )
    return Structure(spectral=spectral, cluster=cluster, silhouette=statistics[2])


def concentration(
    member: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64],
    hits: npt.NDArray[np.bool_],
    classes: int,
    *,
    dispersion: float = 0.02,
) -> Concentration:
    """Hold each class's minority against the rest of the same class, all arguments (n,).

    The rest gets half a hit more than it has, so that an absence of hits is no proof of a rate of
    zero. A class without a minority has rate 0, lift 0 and p 1.
    """
    sizes, inside, all_hits, found = (
        np.bincount(labels[of], minlength=classes)
        for of in (np.ones_like(member), member, hits, member & hits)
    )
    base = (all_hits - found + 0.5) / (sizes - inside + 1)
    rate = found / np.maximum(inside, 1)
    tails = [
        enrichment.beta_binomial_tail(h, n, min(p, 1 - 1e-9), dispersion)
        for h, n, p in zip(found, inside, base, strict=True)
    ]
    return Concentration(
        rows=inside, hits=found, rate=rate, lift=rate / base, p_value=np.array(tails)
    )


def _minorities(statistic: Floats, null: Floats, member: npt.NDArray[np.bool_]) -> Minorities:
    known = ~np.isnan(statistic)
    p_values, excess = np.ones(len(statistic)), np.zeros(len(statistic))
    if not len(null):
        p_values[known] = excess[known] = np.nan
        return Minorities(statistic=statistic, p_values=p_values, excess=excess, member=member)
    if known.any():
        p_values[known], excess[known] = calibration.max_null(statistic[known], null[:, known])
    return Minorities(statistic=statistic, p_values=p_values, excess=excess, member=member)


def _look(batch: Tensor, mask: Tensor) -> _Seen:
    """Subspace, tails, split: the one pipeline, for data and for draws."""
    directions, _ = spectrum.leading(batch, min(RANK, batch.shape[2]))
    projected = batch @ directions
    lopsided, tail = spectrum.fuller_tail(projected, mask, far=FAR)
    smaller, explained = clusters.split_two(projected, mask)
    return _Seen(
        lopsided=lopsided,
        tail=tail,
        explained=explained,
        smaller=smaller,
        silhouette=clusters.silhouette_two(projected, mask, smaller),
    )


def _null(batch: Tensor, mask: Tensor, draws: int, rng: np.random.Generator) -> Floats:
    """(2, draws, groups): both statistics of one-component draws.

    A t is rotation invariant but for its spectrum, so each group is drawn in its own principal
    basis, of which only the singular values are needed.
    """
    import torch

    rows = mask.sum(1).clamp(min=2)
    values, vectors = torch.linalg.eigh(batch.mT @ batch / rows[:, None, None])
    values, vectors = values[:, -NULL_RANK:], vectors[..., -NULL_RANK:]
    deviations = values.clamp(min=0).sqrt()
    lengths = (batch @ vectors / (deviations[:, None] + 1e-6)).square().sum(2)
    inside = [line[real].cpu().numpy() for line, real in zip(lengths, mask, strict=True)]
    dimensions = values.shape[1]
    df = torch.tensor([calibration.degrees_of_freedom(line, dimensions) for line in inside])
    out = np.zeros((2, draws, len(batch)))
    for draw in range(draws):
        drawn = spectrum.centre(calibration.draw_t(deviations, df, mask, rng), mask)
        seen = _look(drawn, mask)
        out[:, draw] = [_numpy(seen.lopsided), _numpy(seen.explained)]
    return out


def _numpy(tensor: Tensor) -> Floats:
    values: Floats = tensor.double().cpu().numpy()
    return values
