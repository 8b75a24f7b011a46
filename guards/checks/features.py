"""Do a few rows of a table share a label, rare values, and a look that belongs to another label?

Spectral scores and activation clustering (:mod:`guards.numerics.screen`: Hayase et al. 2021,
arXiv:2104.11315; Chen et al. 2018, arXiv:1811.03728) on any matrix: a column of number lists, or
the numeric columns by rank. They find in each class a minority that stands apart, at `alpha` over
all classes. Natural sub-classes stand apart too, so that decides nothing; HIGH only if besides

- the minority lies among rows of other labels, some of it as it is, and most once it is left out
  as neighbours itself (planted rows are each other's); natural sub-classes are their own company;
- its rows agree on a value of some column that their class and the class they look like hardly
  have. Columns and values are the trigger, and the class's rows that carry all of them are held.

Measured on scikit-learn's digits as 64 columns, two corner pixels of the planted rows at 16, ten
seeds (200 to 209) a rate: the trigger and its class named in 10 of 10 at 1 %, 8 at 2 %, 7 at 5 %;
where named all planted rows are held, and no other row in any run. Clean, no alarm: 12 subsamples
of 1,200 digits, 6 months of flights, 6 samples of 5,000 rows of adult, breast cancer, wine, iris.
The rule was drawn up on seeds 100 to 111 of the same sets (9, 8, 5 of 10) and the same months.
Either half alone alarms: without the labels as they are on natural kinds of 1 and 9
(2 of 12 subsamples), without the rare value on flights (2 of 6 months).
Known ways around it: clean-label poison; a trigger of values that are common, or of continuous
noise; so many planted rows that they are mostly each other's neighbours; fewer than `rows` rows
of a class; on a column of lists, a trigger in entries that hardly vary otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.matrix import INCONSISTENT, share_outside
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.enrichment import beta_binomial_tail
from guards.numerics.minorities import concentration

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.matrix import Matrix
    from guards.numerics.minorities import Minorities

    Bools = npt.NDArray[np.bool_]

NEEDS = frozenset({"label"})
CARRIED, RARE = 0.8, 0.1
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`alpha` over all classes, of the null and of the concentration; and the effect sizes.

    Of the minority `least` lies among rows of other labels as it is, `rate` once it is left out
    itself; each is `lift` times that of the rest of the class, and at least `rows` rows.
    """

    alpha: float = 0.01
    rows: int = 8
    least: float = 0.2
    rate: float = 0.5
    lift: float = 4.0


@dataclass(frozen=True, slots=True)
class _Opened:
    """A class that both witnesses accuse: its rows, and the (column, value) pairs they share."""

    group: int
    rows: npt.NDArray[np.int64]
    cells: tuple[tuple[int, float], ...]
    p_value: float
    excess: float


def examine(case: Case, settings: Settings) -> Measured:
    """Screen every class of the matrix and hold the minorities against their neighbours."""
    import torch

    from guards.numerics.screen import in_memory, screen

    table = case.matrix
    k = len(table.classes)
    read = in_memory(torch.from_numpy(table.space).to(case.device))
    structure = screen(read, table.labels, k, np.random.default_rng([case.seed, 5])).structure
    opened: dict[int, _Opened] = {}
    for minority in (structure.cluster, structure.spectral):
        for found in _opened(table, minority, settings):
            before = opened.get(found.group)
            if before is None or len(found.cells) > len(before.cells):
                opened[found.group] = found
    return Measured(
        statistics=_statistics(table, structure.spectral, structure.cluster),
        findings=tuple(_finding(table, found, settings) for found in opened.values()),
        row_scores=tuple(score for found in opened.values() for score in _scores(table, found)),
    )


def _opened(table: Matrix, minority: Minorities, settings: Settings) -> list[_Opened]:
    outside = minority.member & (share_outside(table, minority.member) < INCONSISTENT)
    wrong = outside | table.inconsistent
    found = []
    least = _accused(table, minority, table.inconsistent, settings.least, settings)
    for group in np.flatnonzero(least & _accused(table, minority, wrong, settings.rate, settings)):
        suspects = np.flatnonzero(minority.member & wrong & (table.labels == group))
        if cells := _cells(table, int(group), suspects, settings):
            rows = _carriers(table, int(group), cells)
            p_value, excess = float(minority.p_values[group]), float(minority.excess[group])
            found.append(_Opened(int(group), rows, cells, p_value, excess))
    return found


def _accused(
    table: Matrix, minority: Minorities, wrong: Bools, rate: float, settings: Settings
) -> Bools:
    """Classes whose minority is that wrong, and far more than the rest of them."""
    k = len(table.classes)
    inside = concentration(minority.member, table.labels, wrong, k)
    accused: Bools = (
        (minority.p_values <= settings.alpha)
        & (inside.hits >= settings.rows)
        & (inside.rate >= rate)
        & (inside.lift >= settings.lift)
        & (inside.p_value * k * 2 <= settings.alpha)
    )
    return accused


def _cells(
    table: Matrix, group: int, suspects: npt.NDArray[np.int64], settings: Settings
) -> tuple[tuple[int, float], ...]:
    """Columns in which the suspects agree on a value that neither class leads to expect."""
    own = table.labels == group
    own[suspects] = False
    like = np.bincount(table.looks[suspects], minlength=len(table.classes)) / len(suspects)
    like[group] = 0.0
    cells = []
    for column in range(len(table.columns)):
        values, counts = np.unique(table.values[suspects, column], return_counts=True)
        value, hits = float(values[counts.argmax()]), int(counts.max())
        if hits < CARRIED * len(suspects):
            continue
        has = table.values[:, column] == value
        elsewhere = np.bincount(table.labels, has, len(like)) / np.bincount(table.labels)
        usual = max(float(has[own].mean()), float(elsewhere @ like) / max(like.sum(), 1e-9))
        usual = max(usual, 1 / len(has))
        tail = beta_binomial_tail(hits, len(suspects), min(usual, 1 - 1e-9), 0.02)
        tests = len(table.columns) * len(table.classes)
        if usual <= RARE and tail * tests <= settings.alpha:
            cells.append((column, value))
    return tuple(cells)


def _carriers(
    table: Matrix, group: int, cells: tuple[tuple[int, float], ...]
) -> npt.NDArray[np.int64]:
    """The class's rows that carry every cell."""
    carries = table.labels == group
    for column, value in cells:
        carries &= table.values[:, column] == value
    return np.flatnonzero(carries)


def _finding(table: Matrix, found: _Opened, settings: Settings) -> Finding:
    name, n = table.classes[found.group], len(found.rows)
    shared = [{"column": table.columns[c], "value": value} for c, value in found.cells]
    words = " and ".join(f"{one['column']} = {one['value']:g}" for one in shared[:SHOWN])
    told = f"share {words}"
    return Finding(
        rule="features",
        code="planted-cell",
        severity=Severity.HIGH,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="class", name=name),
        summary=f"{n} rows labelled {name} {told}, and lie among rows of other labels",
        evidence=(
            Evidence(
                statistic="minority of the class, over all classes",
                value=round(found.excess, 2),
                p_value=found.p_value,
                effect=round(n / int((table.labels == found.group).sum()), 4),
                sample=int((table.labels == found.group).sum()),
                rows=n,
                detail={"cells": shared, "alpha": settings.alpha},
            ),
        ),
        remedy="Do not train on this batch before the held rows have been explained.",
    )


def _scores(table: Matrix, found: _Opened) -> list[RowScore]:
    name = table.classes[found.group]
    return [
        RowScore(
            row=int(table.rows[row]),
            score=round(float(1 - table.share[row]), 4),
            suggested_label=(
                None if table.looks[row] == found.group else table.classes[table.looks[row]]
            ),
            reason=f"carries the values of a minority in {name}, among rows of other labels",
        )
        for row in found.rows.tolist()
    ]


def _statistics(table: Matrix, spectral: Minorities, cluster: Minorities) -> dict[str, Any]:
    """What was seen, with the figures of the classes that stand apart most."""
    first = np.argsort(np.minimum(spectral.p_values, cluster.p_values), kind="stable")[:100]
    return {
        "rows": len(table.rows),
        "columns": len(table.columns),
        "inconsistent": round(float(table.inconsistent.mean()), 4),
        "too_small": int(np.isnan(cluster.statistic).sum()),
        "classes": {
            table.classes[c]: {
                "unevenness_p": float(spectral.p_values[c]),
                "silhouette": round(float(np.nan_to_num(cluster.statistic[c])), 4),
                "silhouette_p": float(cluster.p_values[c]),
            }
            for c in first.tolist()
        },
    }
