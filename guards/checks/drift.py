"""Did the data move away from a stored reference, and is that a season or a fault?

Formula: per column Kolmogorov-Smirnov's D against the reference's quantile grid, less the grid's
own error (numbers), or total variation less its mean under sampling (words); the p-values are
corrected by Benjamini and Hochberg over columns, and nothing is told without an effect size
beside. Then, for each group of a categorical column, the share of its rows that changed bin in
another column is held against that of its peers and against the blocks of the reference among
themselves (:mod:`guards.numerics.cells`). *Broad* movement, shared by the groups, is what seasons
do: it is told (LOW) and stops nothing. *Local* movement is what a broken producer or a planted
cluster does: it is MEDIUM, names the group, and holds its rows. So are jumps of the missing rate,
a large mass of new categories, and a broad movement far beyond anything within the reference.

Measured by benchmarks/tables.py on flights out of New York (batches of 6,000 against the stored
profile of three months): no alarm on the six clean months. One carrier's distances in kilometres,
each carrier of each month in turn: found, and the carrier alone named, 36 of 36 times for carriers
of 400 rows and more, 20 of 20 from 100 to 400 rows, 7 of 10 from 50 to 100, never below. Only
changed rows were held, and nine in ten of them.

The known way around it: move every group alike, or slowly enough that no batch differs from the
reference by the minimum effect (keep the reference pinned, never roll it); a cluster of less than
`min_rows` rows; values moved within one of 32 quantile bins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from guards.data.case import Case
from guards.data.dataset import Dataset
from guards.data.profile import (
    CategoryColumn,
    Cells,
    Column,
    NumericColumn,
    Profile,
    cell_counts,
    encode,
    profiled,
    values_of,
)
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
    import polars as pl

NEEDS = frozenset({"feature"})
_PLOTTED = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Significance, and the effects without which significance says nothing.

    `min_effect` is D or total variation of a column; `severe_effect` and `severe_ratio` (against
    the spread within the reference) make broad movement alarming; `local_effect` is the share of
    a group's rows, beyond its peers' movement, that makes local movement alarming, of at least
    `min_rows` rows and `min_share` of the batch; `missing_jump` and `new_mass` are shares of rows.
    """

    alpha: float = 0.001
    min_effect: float = 0.05
    severe_effect: float = 0.5
    severe_ratio: float = 3.0
    local_effect: float = 0.2
    min_rows: int = 30
    min_share: float = 0.008
    missing_jump: float = 0.05
    new_mass: float = 0.05
    max_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moved:
    """One column, now and then; counts are over the plotted bins."""

    column: Column
    rows: int
    effect: float
    js: float
    p_value: float
    missing: float
    missing_p: float
    new: float
    new_p: float
    gone: tuple[str, ...]
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]

    @property
    def name(self) -> str:
        return self.column.name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Local:
    """One group that moved where its peers did not; `rows` are global, `scores` theirs."""

    column: str
    by: str
    group: str
    size: int
    moved: float
    excess: float
    p_value: float
    rows: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]


def examine(case: Case, settings: Settings) -> Measured:
    """Hold every column, and every group of rows, against the reference profile."""
    if case.reference is None:
        raise Skip("no reference; give --reference, or pin one in the policy under [files]")
    dataset, profile = case.dataset, case.reference
    present = [column for column in profile.columns if column.name in profiled(dataset)]
    values = {column.name: values_of(dataset, column.name) for column in present}
    alike = [column for column in present if _kind(values[column.name]) == _kind_of(column)]
    codes = {column.name: encode(column, values[column.name]) for column in alike}
    moved = _corrected([_compare(column, values[column.name], codes) for column in alike])
    local = _distinct(_local_moves(profile, codes, settings, dataset.rows))
    findings = [
        *_schema_findings(profile, dataset, alike),
        *(finding for move in moved for finding in _column_findings(move, settings)),
        *(_local_finding(found, profile, settings) for found in local),
    ]
    return Measured(
        statistics=_statistics(profile, dataset, moved, local),
        findings=tuple(findings),
        row_scores=tuple(islice(_row_scores(local, findings, values, alike), settings.max_rows)),
    )


def _kind(values: pl.Series) -> str:
    return "numeric" if values.dtype.is_numeric() else "categorical"


def _kind_of(column: Column) -> str:
    return "numeric" if isinstance(column, NumericColumn) else "categorical"


def _compare(column: Column, values: pl.Series, codes: Mapping[str, Any]) -> _Moved:
    import numpy as np

    from guards.numerics.twosample import binomial_excess_p_value, jensen_shannon

    rows, nulls = len(values), values.null_count()
    total = column.count + column.nulls
    then, now = _binned(column), np.bincount(codes[column.name], minlength=len(column.bins))
    # The bins of the cells are many; a plot wants few.
    plotted = _plotted(column, then, now)
    effect, p_value = _distance(column, values)
    new, new_p, gone = _categories(column, values)
    return _Moved(
        column=column,
        rows=rows,
        effect=effect,
        js=jensen_shannon(then, now),
        p_value=p_value,
        missing=nulls / rows - column.nulls / total,
        missing_p=binomial_excess_p_value(nulls, rows, (column.nulls + 1) / (total + 1)),
        new=new,
        new_p=new_p,
        gone=gone,
        bins=plotted[0],
        reference=_shares(plotted[1]),
        current=_shares(plotted[2]),
    )


def _distance(column: Column, values: pl.Series) -> tuple[float, float]:
    """The effect, less what the grid or sampling explain, and its p-value."""
    from guards.numerics.cells import moved_shares
    from guards.numerics.twosample import homogeneity_p_value, ks_against_grid, ks_p_value

    held = values.drop_nulls()
    if not len(held) or not column.count:
        return 0.0, 1.0
    if isinstance(column, NumericColumn):
        exact = ks_against_grid(held.sort().to_numpy(), column.grid)
        effect = max(0.0, exact - 1 / (len(column.grid) - 1))
        return effect, ks_p_value(effect, len(held), column.count)
    then, now = _tallies(column, held)
    return float(moved_shares([then], [now])[0]), homogeneity_p_value(then, now)


def _tallies(column: CategoryColumn, held: pl.Series) -> tuple[list[int], list[int]]:
    """Counts of the known values and of all others, then and now."""
    counted = dict(held.value_counts(name="\0count").iter_rows())
    now = [int(counted.get(value, 0)) for value in column.values]
    return [*column.counts, column.rest], [*now, len(held) - sum(now)]


def _categories(column: Column, values: pl.Series) -> tuple[float, float, tuple[str, ...]]:
    """The mass of unknown values beyond the expected, its p-value, and what has vanished."""
    from guards.numerics.twosample import binomial_excess_p_value

    held = values.drop_nulls()
    if isinstance(column, NumericColumn) or not len(held):
        return 0.0, 1.0, ()
    _, now = _tallies(column, held)
    rate = (column.rest + 1) / (column.count + 1)
    common = zip(column.values, column.counts, now, strict=False)
    gone = tuple(
        value for value, before, after in common if not after and before >= 0.05 * column.count
    )
    return now[-1] / len(held) - rate, binomial_excess_p_value(now[-1], len(held), rate), gone


def _corrected(moves: Sequence[_Moved]) -> list[_Moved]:
    """The same with p-values corrected over all columns and all three tests."""
    from guards.numerics.twosample import benjamini_hochberg

    if not moves:
        return []
    raw = [p for move in moves for p in (move.p_value, move.missing_p, move.new_p)]
    adjusted = benjamini_hochberg(raw).reshape(-1, 3).tolist()
    return [
        replace(move, p_value=p, missing_p=missing, new_p=new)
        for move, (p, missing, new) in zip(moves, adjusted, strict=True)
    ]


def _local_moves(
    profile: Profile, codes: Mapping[str, Any], settings: Settings, rows: int
) -> Iterator[_Local]:
    import numpy as np

    from guards.numerics.cells import local_excess, moved_p_values, moved_shares

    columns = {column.name: column for column in profile.columns}
    least = max(settings.min_rows, settings.min_share * rows)
    for cells in profile.cells:
        if cells.column not in codes or cells.by not in codes:
            continue
        then = np.array(cells.counts)
        now = cell_counts(codes[cells.column], codes[cells.by], then.shape)
        shares, sizes = moved_shares(then, now), now.sum(axis=1)
        solid = (sizes >= settings.min_rows) & (then.sum(axis=1) >= settings.min_rows)
        excess = local_excess(shares, solid)
        usual = settings.severe_ratio * np.asarray(cells.moved)
        # Bonferroni over the cells' groups; the effect gates are what keeps the count small.
        chance = moved_p_values(then, now, rho=cells.rho, blocks=len(profile.blocks))
        chance = np.minimum(chance * len(shares) * len(profile.cells), 1.0)
        alarming = (
            (excess >= settings.local_effect)
            & (shares >= usual)
            & (shares * sizes >= least)
            & (chance <= settings.alpha)
        )
        for group in np.flatnonzero(alarming):
            held, scores = _concerned(cells, codes, (then[group], now[group]), int(group))
            yield _Local(
                column=cells.column,
                by=cells.by,
                group=columns[cells.by].bins[group],
                size=int(sizes[group]),
                moved=float(shares[group]),
                excess=float(excess[group]),
                p_value=float(chance[group]),
                rows=held,
                scores=scores,
            )


def _concerned(
    cells: Cells, codes: Mapping[str, Any], counts: tuple[Any, Any], group: int
) -> tuple[Any, Any]:
    """The group's rows in bins that hold twice what they should; score: the share that is new."""
    import numpy as np

    then, now = counts
    expected = now.sum() * (then + 0.5) / (then.sum() + 0.5 * len(then))
    score = np.clip(1 - expected / np.maximum(now, 1), 0, 1)
    mine = codes[cells.by] == group
    rows = np.flatnonzero(mine & (score >= 0.5)[codes[cells.column]])
    return rows, score[codes[cells.column][rows]]


def _distinct(found: Iterable[_Local]) -> list[_Local]:
    """Largest first, without those that mostly repeat rows of a larger one."""
    import numpy as np

    kept: list[_Local] = []
    for local in sorted(found, key=lambda item: -item.moved * item.size):
        seen = np.concatenate([np.empty(0, np.int64), *(other.rows for other in kept)])
        if len(local.rows) and np.isin(local.rows, seen).mean() <= 0.5:
            kept.append(local)
    return kept


def _schema_findings(
    profile: Profile, dataset: Dataset, alike: Sequence[Column]
) -> Iterator[Finding]:
    known = {column.name for column in profile.columns}
    now = set(profiled(dataset))
    same = {column.name for column in alike}
    for name in sorted(known - now):
        yield _finding("column-gone", Severity.MEDIUM, name, "is in the reference, and not here")
    for name in sorted((known & now) - same):
        yield _finding("type-changed", Severity.MEDIUM, name, "has another kind of values")
    for name in sorted(now - known):
        yield _finding("column-new", Severity.LOW, name, "is not in the reference")


def _column_findings(move: _Moved, settings: Settings) -> Iterator[Finding]:
    column = move.column
    if move.p_value <= settings.alpha and move.effect >= settings.min_effect:
        limit = max(settings.severe_effect, settings.severe_ratio * column.spread)
        severe = move.effect >= limit
        name = "D" if isinstance(column, NumericColumn) else "total variation"
        yield _finding(
            "drift-severe" if severe else "drift-broad",
            Severity.MEDIUM if severe else Severity.LOW,
            move.name,
            f"moved by {move.effect:.2f} ({name}; within the reference {column.spread:.2f})",
            Evidence(
                statistic=name,
                value=round(move.effect, 4),
                threshold=round(min(limit, 1.0), 4),
                p_value=move.p_value,
                effect=round(move.effect, 4),
                sample=move.rows,
            ),
        )
    usual = max(settings.missing_jump, settings.severe_ratio * column.null_spread)
    if move.missing_p <= settings.alpha and move.missing >= usual:
        yield _mass("missing-jump", Severity.MEDIUM, move, (move.missing, usual, move.missing_p))
    if isinstance(column, CategoryColumn) and move.new_p <= settings.alpha:
        usual = max(settings.new_mass, settings.severe_ratio * column.new_spread)
        severity = Severity.MEDIUM if move.new >= usual else Severity.LOW
        yield _mass("new-categories", severity, move, (move.new, usual, move.new_p))
    if move.gone:
        told = ", ".join(printable(value)[:40] for value in move.gone[:5])
        yield _finding("categories-gone", Severity.LOW, move.name, f"no longer holds {told}")


def _mass(
    code: str, severity: Severity, move: _Moved, measured: tuple[float, float, float]
) -> Finding:
    value, threshold, p_value = measured
    told = (
        f"is missing in {value:.1%} more rows than in the reference"
        if code == "missing-jump"
        else f"holds values that the reference does not list, in {value:.1%} more rows than usual"
    )
    return _finding(
        code,
        severity,
        move.name,
        told,
        Evidence(
            statistic="share of rows above the reference",
            value=round(value, 4),
            threshold=round(threshold, 4),
            p_value=p_value,
            effect=round(value, 4),
        ),
    )


def _finding(code: str, severity: Severity, column: str, told: str, *evidence: Evidence) -> Finding:
    alarming = severity >= Severity.MEDIUM
    return Finding(
        rule="drift",
        code=code,
        severity=severity,
        confidence=Confidence.HIGH,
        subject=Subject(kind="column", name=column),
        summary=f"column {printable(column)[:80]} {told}",
        evidence=evidence,
        remedy="compare with the producer's last change; renew the reference if it is meant"
        if alarming
        else "",
    )


def _local_finding(local: _Local, profile: Profile, settings: Settings) -> Finding:
    column, by, group = (printable(text)[:80] for text in (local.column, local.by, local.group))
    return Finding(
        rule="drift",
        code="drift-local",
        severity=Severity.MEDIUM,
        confidence=Confidence.HIGH,
        subject=Subject(kind="column", name=local.column),
        summary=f"column {column} moved in the rows of {by} {group} and not in the others: "
        f"{local.moved:.0%} of {local.size} rows",
        evidence=(
            Evidence(
                statistic="share of the group's rows moved, beyond its peers",
                value=round(local.excess, 4),
                threshold=settings.local_effect,
                p_value=local.p_value,
                effect=round(local.moved, 4),
                sample=local.size,
                rows=len(local.rows),
                detail={"by": local.by, "group": local.group, "reference_rows": profile.rows},
            ),
        ),
        remedy=f"ask who makes the rows of {by} {group} whether a unit, scale or code changed",
    )


def _row_scores(
    local: Sequence[_Local],
    findings: Sequence[Finding],
    values: Mapping[str, pl.Series],
    columns: Sequence[Column],
) -> Iterator[RowScore]:
    """Each row once, by the first finding that holds it: the groups that moved, then the rest."""
    seen: set[int] = set()
    by_name = {column.name: column for column in columns}
    for rows, scores, reason in (
        *(_held_locally(found) for found in local),
        *(
            _held_by_value(finding, by_name[finding.subject.name], values[finding.subject.name])
            for finding in findings
            if finding.code in ("missing-jump", "new-categories")
            and finding.severity >= Severity.MEDIUM
        ),
    ):
        for row, score in zip(rows, scores, strict=True):
            if row not in seen:
                seen.add(row)
                yield RowScore(row=row, score=round(score, 4), reason=reason)


def _held_locally(found: _Local) -> tuple[list[int], list[float], str]:
    column, by, group = (printable(text)[:40] for text in (found.column, found.by, found.group))
    return found.rows.tolist(), found.scores.tolist(), f"{column} moved in {by} {group}"


def _held_by_value(
    finding: Finding, column: Column, values: pl.Series
) -> tuple[list[int], list[float], str]:
    """The rows whose value is missing, or not in the reference."""
    missing = values.is_null()
    name = printable(column.name)[:80]
    if finding.code == "missing-jump":
        rows, reason = missing.arg_true().to_list(), f"{name} is missing"
    else:
        unknown = ~values.is_in(list(getattr(column, "values", ()))) & ~missing
        rows, reason = unknown.arg_true().to_list(), f"{name} has a value unknown to the reference"
    effect = finding.evidence[0].effect or 0.0
    return rows, [min(1.0, effect * len(values) / max(len(rows), 1))] * len(rows), reason


def _statistics(
    profile: Profile, dataset: Dataset, moves: Sequence[_Moved], local: Sequence[_Local]
) -> dict[str, Any]:
    narrow = {found.column for found in local}
    ordered = sorted(moves, key=lambda move: -move.effect)
    return {
        "reference_rows": profile.rows,
        "reference_blocks": len(profile.blocks),
        "rows": dataset.rows,
        "columns": len(moves),
        "cells": sum(len(cells.counts) * len(cells.counts[0]) for cells in profile.cells),
        "moved": [
            {
                "column": move.name,
                "kind": _kind_of(move.column),
                "effect": round(move.effect, 4),
                "js": round(move.js, 4),
                "p_value": float(f"{move.p_value:.3g}"),
                "spread": move.column.spread,
                "missing": round(move.missing, 4),
                "breadth": "local" if move.name in narrow else "broad",
                "bins": list(move.bins),
                "reference": list(move.reference),
                "current": list(move.current),
            }
            for move in ordered
        ],
        "local": [
            {
                "column": found.column,
                "by": found.by,
                "group": found.group,
                "rows": found.size,
                "moved": round(found.moved, 4),
                "excess": round(found.excess, 4),
            }
            for found in local
        ],
    }


def _binned(column: Column) -> Any:
    """The reference's counts in the bins of its codes."""
    import numpy as np

    if isinstance(column, CategoryColumn):
        top = column.counts[: len(column.bins) - 2]
        return np.array([column.nulls, *top, column.count - sum(top)])
    cut = np.searchsorted(column.grid, column.edges, side="right") / len(column.grid)
    cut[0] = 0.0
    return np.array([column.nulls, 0, *np.diff(cut) * column.count, 0])


def _plotted(column: Column, then: Any, now: Any) -> tuple[tuple[str, ...], Any, Any]:
    """At most `_PLOTTED` + 2 bins: neighbours joined for numbers, the rarest for words."""
    import numpy as np

    bins, inner = column.bins, len(column.bins) - 2
    step = -(-inner // _PLOTTED)
    if isinstance(column, CategoryColumn):
        group = np.minimum(np.arange(inner), _PLOTTED)
        names = bins[1 : 1 + min(inner, _PLOTTED)]
        last = len(names) + 1
    else:
        group = np.arange(inner) // max(step, 1)
        edges = column.edges
        cuts = [*edges[:-1:step], edges[-1]] if inner else []
        names = tuple(f"{low:.6g} to {high:.6g}" for low, high in pairwise(cuts))
        last = len(names) + 1
    groups = np.concatenate([[0], group + 1, [last]])
    merged = [np.bincount(groups, weights=counts, minlength=last + 1) for counts in (then, now)]
    return (bins[0], *names, bins[-1]), merged[0], merged[1]


def _shares(counts: Any) -> tuple[float, ...]:
    total = max(float(sum(counts)), 1.0)
    return tuple(round(float(count) / total, 5) for count in counts)
