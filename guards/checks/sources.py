"""Were labels flipped in one source? Poison told from honest noise by its concentration.

Formula: take the rows that out-of-fold models are surest of (the surer half of those predicted to
be of each class), and count N[source, given, predicted]. For each pair given != predicted the
share of the source's sure rows is held against the pooled share of the *other* sources, raised by
the source's own carelessness in all other pairs, by a beta-binomial tail whose dispersion comes
from the other sources (:mod:`guards.numerics.enrichment`), corrected by Benjamini and Hochberg
over all cells. An alarm needs a p-value, a lift and a number of rows. Honest errors sit near the
boundary between classes, where few rows are sure, are as frequent elsewhere, or go in all
directions: a source that is careless as a whole is told (LOW) and stops nothing.

Measured by benchmarks/tables.py on flights out of New York (6,000 rows, 3 sources): no alarm on
the six clean months. Late flights of one source labelled on time, 36 runs a dose: the source found,
and it alone named, in 1, 18, 31, 35 and 36 runs at 2, 5, 10, 15 and 25 %. Nine in ten of the rows
held were flipped ones (medians), and two in five of those flipped were held.

The known way around it: flip labels alike in all sources, or in all directions in one (then it
counts as careless, which is only noted); flip few rows; make the features agree with the wrong
label; declare many small sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.data.case import Case
from guards.errors import Skip
from guards.findings import (
    Confidence,
    Evidence,
    Finding,
    Measured,
    RowScore,
    Severity,
    Subject,
)
from guards.text import printable

if TYPE_CHECKING:
    import numpy as np

    from guards.data.table_features import TableFeatures

NEEDS = frozenset({"label", "source", "feature"})
# Between honest sources the sure rows differ little: measured on the flights, rho 0.001.
_PRIOR_DISPERSION = 0.003
# Two or three peers with a handful of hits each say next to nothing about it.
_PRIOR_CELLS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Level after correction, and the effects without which significance says nothing.

    `sure` is the quantile of the winning probability, within each predicted class, from which a
    row counts; `min_sure_rows` is what a source must have of them; `max_sources` are examined,
    the largest first.
    """

    alpha: float = 0.01
    min_lift: float = 3.0
    min_rows: int = 8
    sure: float = 0.5
    min_sure_rows: int = 20
    max_sources: int = 2_000
    max_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """The sure rows, counted: `table` has shape (sources, given, predicted)."""

    names: tuple[str, ...]
    source: np.ndarray[Any, Any]
    predicted: np.ndarray[Any, Any]
    winning: np.ndarray[Any, Any]
    table: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One source, given label `given` where the features say `true`."""

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
        return self.hits / self.lift


def examine(case: Case, settings: Settings) -> Measured:
    """Look for a source whose labels are wrong in one direction, more than its peers'."""
    features = case.table_features
    counted = _count(case, features, settings)
    cells = _corrected(list(_cells(counted, settings)))
    alarming = [
        cell
        for cell in cells
        if cell.p_value <= settings.alpha
        and cell.lift >= settings.min_lift
        and cell.hits - cell.expected >= settings.min_rows
    ]
    alarming.sort(key=lambda cell: (cell.p_value, -cell.lift))
    return Measured(
        statistics=_statistics(counted, features, cells),
        findings=(
            *(_finding(cell, counted, features, settings) for cell in alarming),
            *_careless(counted, settings, [cell.source for cell in alarming]),
        ),
        row_scores=tuple(_row_scores(alarming, counted, features))[: settings.max_rows],
    )


def _count(case: Case, features: TableFeatures, settings: Settings) -> _Counted:
    import numpy as np
    import polars as pl

    column = case.dataset.roles.source or ""
    words = case.dataset.frame([column]).to_series().cast(pl.String)[features.rows]
    top = words.drop_nulls().value_counts(name="\0count").rename({words.name: "\0value"})
    top = top.sort(["\0count", "\0value"], descending=[True, False]).head(settings.max_sources)
    names = tuple(top["\0value"])
    if len(names) < 2:
        raise Skip(f"{len(names)} source(s); what is usual can only be told from other sources")
    codes = words.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
    source = codes.fill_null(-1).to_numpy()
    predicted = features.probabilities.argmax(axis=1)
    winning = features.probabilities.max(axis=1)
    cuts = [
        np.quantile(winning[predicted == one], settings.sure) if (predicted == one).any() else 1.0
        for one in range(len(features.classes))
    ]
    sure = (winning >= np.asarray(cuts)[predicted]) & (source >= 0)
    shape = (len(names), len(features.classes), len(features.classes))
    flat = np.ravel_multi_index((source[sure], features.labels[sure], predicted[sure]), shape)
    return _Counted(
        names=names,
        source=source,
        predicted=predicted,
        winning=winning,
        table=np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape),
    )


def _cells(counted: _Counted, settings: Settings) -> Iterator[_Cell]:
    """Test every (source, given, true) in which some source has enough rows to matter."""
    import numpy as np

    from guards.numerics.enrichment import enriched

    table = counted.table
    wrong = table * (1 - np.eye(table.shape[1], dtype=np.int64))
    for given, true in zip(*np.nonzero(wrong.max(axis=0) >= settings.min_rows), strict=True):
        hits, sizes = wrong[:, given, true], table[:, :, true].sum(axis=1)
        careless = _carelessness(
            wrong.sum(axis=(1, 2)) - hits,
            table.sum(axis=(1, 2)) - sizes,
            (hits.sum() - hits + 0.5) / (sizes.sum() - sizes + 1.0) * (table.shape[1] - 1),
        )
        p_values, lifts = enriched(
            hits,
            sizes,
            scale=careless,
            prior_dispersion=_PRIOR_DISPERSION,
            prior_cells=_PRIOR_CELLS,
        )
        for source in np.flatnonzero((sizes >= settings.min_sure_rows) & (hits > 0)):
            yield _Cell(
                source=int(source),
                given=int(given),
                true=int(true),
                hits=int(hits[source]),
                size=int(sizes[source]),
                lift=float(lifts[source]),
                carelessness=float(careless[source]),
                p_value=float(p_values[source]),
            )


def _carelessness(
    hits: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any], usual: np.ndarray[Any, Any]
) -> Any:
    """By what each source's expected rate is raised, judged by all other pairs; at least 1.

    A careless source errs more often where all err (a factor of up to 5, shrunk by ten expected
    hits), and at random (its surplus rate, shared out over the other classes; `usual` is the
    peers' rate in this pair times their number). Never below 1: care elsewhere is no evidence of
    poison here.
    """
    import numpy as np

    expected = (hits.sum() - hits + 0.5) / (sizes.sum() - sizes + 1.0) * sizes
    factor = np.clip((hits + 10.0) / (expected + 10.0), 1.0, 5.0)
    # Only what chance does not explain, or half of all honest sources would be excused a little.
    surplus = np.maximum(hits - expected - 2 * np.sqrt(expected + 1), 0.0) / np.maximum(sizes, 1)
    return factor + surplus / usual


def _careless(counted: _Counted, settings: Settings, poisoned: Sequence[int]) -> Iterator[Finding]:
    """Sources contradicted more often than the others, all directions together."""
    import numpy as np

    from guards.numerics.enrichment import enriched, holm

    sizes = counted.table.sum(axis=(1, 2))
    hits = sizes - np.trace(counted.table, axis1=1, axis2=2)
    p_values, lifts = enriched(
        hits, sizes, prior_dispersion=_PRIOR_DISPERSION, prior_cells=_PRIOR_CELLS
    )
    p_values = holm(p_values)
    bad = (p_values <= settings.alpha) & (lifts >= 2) & (hits - hits / np.maximum(lifts, 1) >= 8)
    for source in np.flatnonzero(bad):
        if source not in poisoned:
            yield _careless_finding(
                counted.names[source],
                (int(hits[source]), int(sizes[source])),
                (float(lifts[source]), float(p_values[source])),
            )


def _careless_finding(name: str, counts: tuple[int, int], measured: tuple[float, float]) -> Finding:
    (hits, size), (lift, p_value) = counts, measured
    return Finding(
        rule="sources",
        code="careless-source",
        severity=Severity.LOW,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="source", name=name),
        summary=f"source {printable(name)[:80]} is contradicted in {hits} of {size} sure rows, "
        f"{lift:.1f} times as often as the others, and in more than one direction",
        evidence=(
            Evidence(
                statistic="lift of contradicted sure rows over the other sources",
                value=round(lift, 3),
                threshold=2.0,
                p_value=float(f"{p_value:.3g}"),
                sample=size,
                rows=hits,
            ),
        ),
        remedy="look at how this source labels",
    )


def _corrected(cells: Sequence[_Cell]) -> list[_Cell]:
    from dataclasses import replace

    from guards.numerics.twosample import benjamini_hochberg

    adjusted = benjamini_hochberg([cell.p_value for cell in cells])
    return [replace(cell, p_value=float(p)) for cell, p in zip(cells, adjusted, strict=True)]


def _finding(
    cell: _Cell, counted: _Counted, features: TableFeatures, settings: Settings
) -> Finding:
    given, true = features.classes[cell.given], features.classes[cell.true]
    source = counted.names[cell.source]
    share, flipped = _extent(cell, counted, features)
    summary = (
        f"in source {printable(source)[:80]} about {flipped} labels {printable(true)[:40]} were "
        f"turned into {printable(given)[:40]} ({share:.0%} of them); "
        f"{cell.lift:.1f} times as many as in the other sources"
    )
    return Finding(
        rule="sources",
        code="labels-flipped-in-source",
        severity=Severity.MEDIUM,
        confidence=Confidence.HIGH if cell.p_value <= settings.alpha / 10 else Confidence.MEDIUM,
        subject=Subject(kind="source", name=source),
        summary=summary,
        evidence=(
            Evidence(
                statistic="lift of contradicted sure rows over the other sources",
                value=round(cell.lift, 3),
                threshold=settings.min_lift,
                p_value=float(f"{cell.p_value:.3g}"),
                effect=round(share, 4),
                sample=cell.size,
                rows=flipped,
                detail={
                    "given": given,
                    "true": true,
                    "sure_rows_contradicted": cell.hits,
                    "expected": round(cell.expected, 2),
                    "carelessness": round(cell.carelessness, 3),
                },
            ),
        ),
        remedy=f"have the rows of {printable(source)[:80]} labelled again, or leave them out",
    )


def _extent(cell: _Cell, counted: _Counted, features: TableFeatures) -> tuple[float, int]:
    """The share of the source's `true` rows that were flipped, and how many rows that is.

    Among the sure rows the surplus rate is the share flipped; the `true` rows still labelled so
    are the rest of them.
    """
    share = min((cell.hits - cell.expected) / cell.size, 0.99)
    kept = int(((counted.source == cell.source) & (features.labels == cell.true)).sum())
    return share, round(share * kept / (1 - share))


def _row_scores(
    cells: Sequence[_Cell], counted: _Counted, features: TableFeatures
) -> Iterator[RowScore]:
    """The rows of each cell, where more than half are beyond what the other sources have.

    Within four bands of the winning probability, the score is 1 - (rate elsewhere) / (rate here).
    """
    import numpy as np

    for cell in cells:
        among = (counted.predicted == cell.true) & (counted.source >= 0)
        here = among & (counted.source == cell.source)
        wrong = features.labels == cell.given
        edges = np.quantile(counted.winning[among], [0.25, 0.5, 0.75])
        band = np.searchsorted(edges, counted.winning, side="right")
        for number in range(4):
            inside = band == number
            now = (here & wrong & inside).sum() / max((here & inside).sum(), 1)
            peers = among & ~here & inside
            usual = ((peers & wrong).sum() + 0.5) / (peers.sum() + 1) * cell.carelessness
            score = 1 - usual / max(now, 1e-9)
            if score < 0.5:
                continue
            for place in np.flatnonzero(here & wrong & inside):
                yield RowScore(
                    row=int(features.rows[place]),
                    score=round(float(score * counted.winning[place]), 5),
                    p_value=cell.p_value,
                    suggested_label=features.classes[cell.true],
                    reason=f"flipped in {printable(counted.names[cell.source])[:80]}",
                )


def _statistics(
    counted: _Counted, features: TableFeatures, cells: Sequence[_Cell]
) -> dict[str, Any]:
    import numpy as np

    table = counted.table
    sure = table.sum(axis=(1, 2))
    contradicted = sure - np.trace(table, axis1=1, axis2=2)
    largest = sorted(cells, key=lambda cell: (cell.p_value, -cell.lift))[:50]
    return {
        "sources": [
            {
                "source": name,
                "rows": int((counted.source == number).sum()),
                "sure": int(sure[number]),
                "contradicted": int(contradicted[number]),
                "rate": round(float(contradicted[number] / max(sure[number], 1)), 5),
            }
            for number, name in enumerate(counted.names[:200])
        ],
        "cells_tested": len(cells),
        "cells": [
            {
                "source": counted.names[cell.source],
                "given": features.classes[cell.given],
                "predicted": features.classes[cell.true],
                "hits": cell.hits,
                "sure": cell.size,
                "lift": round(cell.lift, 3),
                "p_value": float(f"{cell.p_value:.3g}"),
            }
            for cell in largest
        ],
    }
