"""Is one label given in the place of another in one source, more than its peers lead to expect?

Of the rows that a model is surest of, N[source, given, predicted] is counted. For each pair given
!= predicted the share of a source's sure rows is held against the pooled share of the *other*
sources, raised by the source's own carelessness in all other pairs, by a beta-binomial tail whose
dispersion comes from the other sources (:mod:`guards.numerics.enrichment`), corrected by Benjamini
and Hochberg over all cells. Only pairs that occur are counted, so that ten thousand labels take no
table of labels by labels.

What the rule `sources` finds by it is measured by benchmarks/sources.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from guards.numerics.enrichment import enriched, holm
from guards.numerics.likely import Probabilities, likeliest
from guards.numerics.twosample import benjamini_hochberg

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]
Reals = npt.NDArray[np.float64]

# Between honest sources the sure rows differ little: measured on the flights, rho 0.001.
PRIOR_DISPERSION = 0.003
# Two or three peers with a handful of hits each say next to nothing about it.
PRIOR_CELLS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sure:
    """What a model says, and of which rows it is surest; all (n,).

    `predicted` is the label it gives, `winning` the probability of that, and `sure` marks the rows
    at or above a quantile of `winning` among those of the same `predicted`.
    """

    predicted: Ints
    winning: Floats
    sure: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One source, label `given` where the features say `true`: `hits` of `size` sure rows.

    `lift` is their share over the one expected, `carelessness` what the peers' share was raised by,
    `p_value` adjusted over all cells.
    """

    source: int
    given: int
    true: int
    hits: int
    size: int
    lift: float
    carelessness: float
    p_value: float

    @property
    def expected(self) -> float:
        """How many hits the other sources lead one to expect."""
        return self.hits / self.lift


@dataclass(frozen=True, slots=True, kw_only=True)
class Careless:
    """A source contradicted more often than the others in all: `hits` of `size` sure rows."""

    source: int
    hits: int
    size: int
    lift: float
    p_value: float


def surest(probabilities: Probabilities, quantile: float) -> Sure:
    """The rows that count: (n, classes) probabilities by models that did not see the rows."""
    predicted, winning = likeliest(probabilities)
    cuts = np.ones(probabilities.shape[1], winning.dtype)
    for label, rows in grouped(predicted):
        cuts[label] = np.quantile(winning[rows], quantile)
    return Sure(predicted=predicted, winning=winning, sure=winning >= cuts[predicted])


def flipped_cells(
    labels: Ints, seen: Sure, sources: Ints, count: int, classes: int, *, rows: int, sure_rows: int
) -> tuple[Cell, ...]:
    """Every cell of the pairs in which some source has `rows` hits, p-values adjusted.

    Args:
        labels: (n,) in range(classes), as given.
        seen: what the model says.
        sources: (n,) in range(count); below 0 for rows of no source.
        count: number of sources.
        classes: number of labels.
        rows: hits in one source without which a pair is not looked at.
        sure_rows: sure rows of the predicted label that a source must have.
    """
    kept = np.flatnonzero(seen.sure & (sources >= 0))
    given, true, source = labels[kept], seen.predicted[kept], sources[kept]
    wrong = given != true
    hits, sizes = (np.bincount(source[rows_], minlength=count) for rows_ in (wrong, slice(None)))
    found: list[Cell] = []
    for label, among in grouped(true):
        of_label = np.bincount(source[among], minlength=count)
        bad = among[wrong[among]]
        for other, here in grouped(given[bad]):
            in_cell = np.bincount(source[bad[here]], minlength=count)
            if in_cell.max() >= rows:
                cells = _cells(in_cell, of_label, hits, sizes, classes)
                found += [
                    replace(cell, given=other, true=label)
                    for cell in cells
                    if cell.hits and cell.size >= sure_rows
                ]
    adjusted = benjamini_hochberg([cell.p_value for cell in found])
    return tuple(replace(cell, p_value=float(p)) for cell, p in zip(found, adjusted, strict=True))


def careless(labels: Ints, seen: Sure, sources: Ints, count: int) -> tuple[Careless, ...]:
    """How often each source is contradicted beside the others, adjusted by Holm."""
    kept = seen.sure & (sources >= 0)
    wrong = kept & (labels != seen.predicted)
    hits, sizes = (np.bincount(sources[rows], minlength=count) for rows in (wrong, kept))
    p_values, lifts = enriched(
        hits, sizes, prior_dispersion=PRIOR_DISPERSION, prior_cells=PRIOR_CELLS
    )
    return tuple(
        Careless(source=place, hits=int(h), size=int(n), lift=float(lift), p_value=float(p))
        for place, (h, n, lift, p) in enumerate(
            zip(hits, sizes, lifts, holm(p_values), strict=True)
        )
    )


def _cells(hits: Ints, sizes: Ints, all_hits: Ints, all_sizes: Ints, classes: int) -> list[Cell]:
    """The cells of one pair, a source each, with p-values as they are; the pair is filled in."""
    usual = (hits.sum() - hits + 0.5) / (sizes.sum() - sizes + 1.0) * (classes - 1)
    raised = _carelessness(all_hits - hits, all_sizes - sizes, usual)
    p_values, lifts = enriched(
        hits,
        sizes,
        scale=raised,
        prior_dispersion=PRIOR_DISPERSION,
        prior_cells=PRIOR_CELLS,
    )
    return [
        Cell(
            source=source,
            given=-1,
            true=-1,
            hits=int(hits[source]),
            size=int(sizes[source]),
            lift=float(lifts[source]),
            carelessness=float(raised[source]),
            p_value=float(p_values[source]),
        )
        for source in range(len(hits))
    ]


def _carelessness(hits: Ints, sizes: Ints, usual: Reals) -> Reals:
    """By what each source's expected rate is raised, judged by all other pairs; at least 1.

    A careless source errs more often where all err (a factor of up to 5, shrunk by ten expected
    hits), and at random (its surplus rate, shared out over the other classes; `usual` is the
    peers' rate in this pair times their number). Never below 1: care elsewhere is no evidence of
    poison here.
    """
    expected = (hits.sum() - hits + 0.5) / (sizes.sum() - sizes + 1.0) * sizes
    factor = np.clip((hits + 10.0) / (expected + 10.0), 1.0, 5.0)
    # Only what chance does not explain, or half of all honest sources would be excused a little.
    surplus = np.maximum(hits - expected - 2 * np.sqrt(expected + 1), 0.0) / np.maximum(sizes, 1)
    raised: Reals = factor + surplus / usual
    return raised


def grouped(codes: Ints) -> Iterator[tuple[int, Ints]]:
    """Each code that occurs, with the places where, ascending."""
    order = np.argsort(codes, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(places):
            yield int(codes[places[0]]), places
