"""Did the data move away from a stored reference, and is that a season or a fault?

Formula: per column Kolmogorov-Smirnov's D against the steps of the reference's distribution
function, less their own error (numbers; of texts the lengths, of vectors the norms), or total
variation less its mean under sampling (words); the p-values are
corrected by Benjamini and Hochberg over columns, and nothing is told without an effect size
beside. Then, for each group of a categorical column, the share of its rows that changed bin in
another column is held against that of its peers and against the blocks of the reference among
themselves (:mod:`guards.numerics.cells`). *Broad* movement, shared by the groups, is what seasons
do: it is told (LOW) and stops nothing. *Local* movement is what a broken producer or a planted
cluster does: it is MEDIUM, names the group, and holds its rows. So are jumps of the missing rate,
a large mass of new categories, a broad movement far beyond anything within the reference, a column
that moved in one window of time alone (:mod:`guards.data.time_windows`), and a word in a burst from
one source or under one label, or whose rows bear a label that nothing else about them explains
(:mod:`guards.data.token_bursts`). Beside it stands how much of the
batch is unlike the reference at least, and in which slice (:mod:`guards.data.contamination`,
:mod:`guards.data.slices`). What moved as in the same season before is told as that, if it is broad.

Measured by benchmarks/tables.py on flights out of New York (batches of 6,000 against the stored
profile of three months): no alarm on the six clean months. One carrier's distances in kilometres,
each carrier of each month in turn: found, and the carrier alone named, 36 of 36 times for carriers
of 400 rows and more, 20 of 20 from 100 to 400 rows, 7 of 10 from 50 to 100, never below. Only
changed rows were held, and nine in ten of them (the median). By benchmarks/unlike.py: no claim of
unlike rows in 6 clean months and 30 halves, no window in 36 months; kilometres for three days found
15 of 15 times. By benchmarks/bursts.py: a word in 1 % of 2,787 messages of one source 49 of 50.

The known way around it: move every group alike, or slowly enough that no batch differs from the
reference by the minimum effect (keep the reference pinned, never roll it); a cluster of less than
`min_rows` rows; values moved within one of 32 quantile bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from guards.data.case import Case
from guards.data.contamination import Unlike, unlike_reference
from guards.data.moved import Moved, compared, corrected
from guards.data.profile import (
    CategoryColumn,
    Encoded,
    Groups,
    Observed,
    Seen,
    encoded,
    observe,
)
from guards.data.profiles.values import source_of, told_apart
from guards.data.slices import Slice, slices
from guards.data.time_windows import MovedWindow, moved_windows, windows
from guards.data.token_bursts import Limits, TokenBurst, labels_asked, token_bursts
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
from guards.movement import (
    Seasonal,
    broad_finding,
    column_finding,
    mass_finding,
    seasonal_finding,
    token_findings,
    unlike_findings,
    window_finding,
    word_of,
)
from guards.text import printable

if TYPE_CHECKING:
    import numpy as np

NEEDS: frozenset[str] = frozenset()
_SUSPECTS = 64  # groups, the largest first, whose rows are looked up
_SLICES = 20
_BY_VALUE = ("missing-jump", "new-categories")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Significance, and the effects without which significance says nothing.

    `min_effect` is D or total variation of a column; `severe_effect` and `severe_ratio` (against
    the spread within the reference) make broad movement alarming; `local_effect` is the share of
    a group's rows, beyond its peers' movement, that makes local movement alarming, of at least
    `min_rows` rows and `min_share` of the batch; `missing_jump` and `new_mass` are shares of rows.
    A word's `burst_...` are the level over all words, times its usual rate, rows, and times that
    rate from which the labels of its rows are asked about, at `alpha`.
    That at least so many rows are unlike the reference is `told`, and alarms from `unlike` on: not
    at all unless a policy says otherwise, since seasons beyond those of the reference are unlike.
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
    burst_alpha: float = 0.05
    burst_lift: float = 5.0
    burst_rows: int = 8
    burst_asked: float = 2.5
    told: float = 0.01
    unlike: float = 1.0
    max_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Local:
    """One group that moved where its peers did not; `scores` are those of the column's bins.

    `held` counts the group's rows in bins of which half and more is new; `rows` are the first of
    them, by global number, with their scores.
    """

    column: str
    by: str
    group: str
    code: int
    size: int
    moved: float
    excess: float
    p_value: float
    scores: np.ndarray[Any, Any]
    held: int
    rows: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """The bounds of unlike rows and the slices that hold them, windows that moved alone, columns
    that moved as their season does, how far columns that moved lie from the versions before, and
    words that came in a burst.
    """

    unlike: tuple[Unlike, Unlike]
    slices: tuple[Slice, ...]
    windows: tuple[MovedWindow, ...]
    seasonal: Mapping[str, Seasonal]
    lately: Mapping[str, float]
    words: tuple[TokenBurst, ...]


def inapplicable(case: Case, settings: Settings) -> str:
    """Why there is nothing to hold against a reference, by roles alone; empty when there is."""
    known = told_apart(case.dataset)
    return "" if known else "no column has the role feature, text or image, or holds number lists"


def examine(case: Case, settings: Settings) -> Measured:
    """Hold every column, and every group of rows, against the reference profile."""
    if case.reference is None:
        raise Skip("no reference; give --reference, or pin one in the policy under [files]")
    seen = case.survey.observed[0]
    moved = corrected([compared(one) for one in seen.columns.values()])
    suspects = sorted(_local_moves(seen, settings), key=lambda one: -_size(one))[:_SUSPECTS]
    jumped = [
        finding
        for move in moved
        for finding in _column_findings(move, settings, None)
        if finding.severity >= Severity.MEDIUM and finding.code in _BY_VALUE
    ]
    local, single = _rows_of(case, seen, suspects, jumped, settings.max_rows)
    beside = _beside(case, seen, moved, {one.column for one in suspects}, settings)
    findings = [
        *_schema_findings(seen),
        *(
            finding
            for move in moved
            for finding in _column_findings(
                move, settings, beside.seasonal.get(move.name), beside.lately.get(move.name)
            )
        ),
        *(_local_finding(found, seen, settings) for found in local),
        *(window_finding(found, settings.local_effect) for found in beside.windows),
        *token_findings(beside.words),
        *unlike_findings(beside.unlike, beside.slices, seen.rows, (settings.told, settings.unlike)),
    ]
    held = _row_scores(local, [*single, *_held_by_word(beside.words)])
    return Measured(
        statistics=_statistics(seen, moved, local, beside),
        findings=tuple(findings),
        row_scores=tuple(islice(held, settings.max_rows)),
    )


def _beside(
    case: Case, seen: Observed, moved: Sequence[Moved], narrow: set[str], settings: Settings
) -> _Beside:
    """What is found beside columns and groups; `narrow` are the columns that moved in a group."""
    whole, joint = unlike_reference(seen)
    own, told = case.survey.profile, whole.share >= settings.told
    timed = _timed(case, seen, moved, settings)
    limits = Limits(
        alpha=settings.burst_alpha,
        lift=settings.burst_lift,
        rows=settings.burst_rows,
        held=settings.max_rows,
        asked=settings.burst_asked,
    )
    return _Beside(
        unlike=(whole, joint),
        slices=slices(case.dataset, seen, own, whole) if told else (),
        windows=tuple(timed),
        seasonal=_seasonal(case, seen, moved, narrow | {one.column for one in timed}, settings),
        lately=_lately(case, moved, settings),
        words=labels_asked(
            case, token_bursts(case.dataset, _texts(seen), limits), limits, settings.alpha
        ),
    )


def _texts(seen: Observed) -> Observed:
    """Without lists of items: bursts are looked for in running text."""
    columns = {n: c for n, c in seen.columns.items() if not c.column.type.startswith("List(")}
    return replace(seen, columns=columns)


def _held_by_word(bursts: Sequence[TokenBurst]) -> Iterator[RowScore]:
    """The rows of the words that gather, or of which labels were turned."""
    for burst in (burst for burst in bursts if burst.by or burst.turned):
        score = round(min(1.0, max(0.0, 1 - burst.expected / burst.rows)), 4)
        reason = f"{printable(burst.column)[:40]} holds {word_of(burst.token)}"
        for row in burst.places if burst.turned is None else burst.turned.bearing.tolist():
            yield RowScore(row=row, score=score, reason=reason)


def _seasonal(
    case: Case, seen: Observed, moved: Sequence[Moved], local: set[str], settings: Settings
) -> dict[str, Seasonal]:
    """Columns that moved from the reference, broadly, and not from their own season.

    Whoever got a movement admitted a year ago would have it taken for the season, so nothing is
    that moved locally, that has lost values, or that holds what the reference never saw.
    """
    able = [
        move.name
        for move in moved
        if move.name not in local
        and _broadly(move, settings)
        and max(move.new, move.beyond) < settings.new_mass
        and move.missing < settings.missing_jump
    ]
    earlier = case.season if able and case.history.profiles else None
    if earlier is None or earlier.profile.digest == seen.profile.digest:
        return {}
    then = observe(case.dataset, earlier.profile)
    again = corrected([compared(one) for name, one in then.columns.items() if name in able])
    return {
        move.name: Seasonal(version=earlier, effect=move.effect)
        for move in again
        if not _broadly(move, settings)
    }


def _lately(case: Case, moved: Sequence[Moved], settings: Settings) -> dict[str, float]:
    """How far each column that moved lies from the rolling profile of the versions before.

    Nothing is judged by it: what moved far from the reference and not from there came bit by bit.
    """
    names = {move.name for move in moved if _broadly(move, settings)}
    rolling = case.history.rolling() if names else None
    if rolling is None:
        return {}
    then = observe(case.dataset, rolling.profile)
    return {name: compared(one).effect for name, one in then.columns.items() if name in names}


def _broadly(move: Moved, settings: Settings) -> bool:
    return move.p_value <= settings.alpha and move.effect >= settings.min_effect


def _timed(
    case: Case, seen: Observed, moved: Sequence[Moved], settings: Settings
) -> list[MovedWindow]:
    """The windows of time in which a column moved alone, held to the limits of a group."""
    cut = windows(seen, case.survey.profile)
    names = [move.name for move in moved if move.p_value <= settings.alpha]
    if cut is None or not names:
        return []
    least = max(settings.min_rows, settings.min_share * seen.rows)
    found = [
        one
        for one in moved_windows(case.dataset, seen, cut, names)
        if one.rows >= settings.min_rows
        and one.excess >= settings.local_effect
        and one.moved >= settings.severe_ratio * one.spread
        and one.moved * one.rows >= least
        and one.p_value <= settings.alpha
    ]
    return sorted(found, key=lambda one: -one.excess)


def _local_moves(seen: Observed, settings: Settings) -> Iterator[_Local]:
    import numpy as np

    from guards.numerics.cells import local_excess, moved_p_values, moved_shares

    profile = seen.profile
    least = max(settings.min_rows, settings.min_share * seen.rows)
    for known in profile.groups:
        then = profile.table(known.by, known.column)
        now = seen.table(known.by, known.column)
        if then is None or now is None:
            continue
        shares, sizes = moved_shares(then, now), now.sum(axis=1)
        solid = (sizes >= settings.min_rows) & (then.sum(axis=1) >= settings.min_rows)
        excess = local_excess(shares, solid)
        usual = settings.severe_ratio * np.asarray(known.moved)
        large = (excess >= settings.local_effect) & (shares >= usual) & (shares * sizes >= least)
        if not large.any():
            continue
        # Bonferroni over the cells' groups; the effect gates are what keeps the count small.
        chance = moved_p_values(then, now, rho=known.rho, blocks=len(profile.blocks))
        chance = np.minimum(chance * len(shares) * len(profile.groups), 1.0)
        for group in np.flatnonzero(large & (chance <= settings.alpha)).tolist():
            measured = (float(shares[group]), float(excess[group]), float(chance[group]))
            yield _suspect(seen, known, group, (then[group], now[group]), measured)


def _suspect(
    seen: Observed,
    known: Groups,
    group: int,
    counts: tuple[Any, Any],
    measured: tuple[float, float, float],
) -> _Local:
    """The group, and which bins hold twice what they should; score: the share that is new."""
    import numpy as np

    then, now = counts
    expected = now.sum() * (then + 0.5) / (then.sum() + 0.5 * len(then))
    scores = np.clip(1 - expected / np.maximum(now, 1), 0, 1)
    return _Local(
        column=known.column,
        by=known.by,
        group=seen.profile.by_name[known.by].bins[group],
        code=group,
        size=int(now.sum()),
        moved=measured[0],
        excess=measured[1],
        p_value=measured[2],
        scores=scores,
        held=int(now[scores >= 0.5].sum()),
    )


def _rows_of(
    case: Case,
    seen: Observed,
    suspects: Sequence[_Local],
    findings: Sequence[Finding],
    most: int,
) -> tuple[list[_Local], list[RowScore]]:
    """The distinct groups with their first rows, and the rows of the jumps: one more pass."""
    names = {name for one in suspects for name in (one.column, one.by)}
    names |= {finding.subject.name for finding in findings}
    held: list[list[tuple[int, float]]] = [[] for _ in suspects]
    shared: Any = 0
    single: list[RowScore] = []
    for part in encoded(case.dataset, seen.profile, sorted(names)):
        mine, groups = _masks(part, suspects)
        for rows, mask, one in zip(held, mine, suspects, strict=True):
            places = mask.nonzero()[0][: most - len(rows)]
            scores = one.scores[part.codes[one.column][places]]
            rows += zip((part.start + places).tolist(), scores.tolist(), strict=True)
        shared = shared + _shared(mine, groups, suspects)
        for finding in findings:
            single += _held_by_value(finding, seen.columns[finding.subject.name], part, most)
    found = [replace(one, rows=tuple(rows)) for one, rows in zip(suspects, held, strict=True)]
    return _distinct(found, shared), single


def _masks(part: Encoded, suspects: Sequence[_Local]) -> tuple[Any, Any]:
    """The rows that each suspect holds, and all rows of its group, (suspects, rows) each."""
    import numpy as np

    if not suspects:
        return (), ()
    groups = np.array([part.codes[one.by] == one.code for one in suspects])
    new = np.array([(one.scores >= 0.5)[part.codes[one.column]] for one in suspects])
    return groups & new, groups


def _shared(mine: Any, groups: Any, suspects: Sequence[_Local]) -> Any:
    """How many rows of each suspect repeat another: of its group, or held by it in a column."""
    import numpy as np

    if not suspects:
        return 0
    columns = np.array([one.column for one in suspects])
    rows = mine.astype(np.float32)
    within, both = rows @ groups.astype(np.float32).T, rows @ rows.T
    return np.where(columns[:, None] == columns, within, both).astype(np.float64)


def _distinct(found: Sequence[_Local], shared: Any) -> list[_Local]:
    """Largest first, without those whose rows are mostly those of a larger one."""
    kept: list[int] = []
    for place in sorted(range(len(found)), key=lambda i: -_size(found[i])):
        own = shared[place, place]
        if own and all(shared[place, other] <= 0.5 * own for other in kept):
            kept.append(place)
    return [found[place] for place in kept]


def _size(found: _Local) -> float:
    return found.moved * found.size


def _schema_findings(seen: Observed) -> Iterator[Finding]:
    # What is made of a column comes and goes with it, and an older profile did not have it.
    gone, added = (
        sorted(name for name in names if source_of(name) == name)
        for names in (seen.gone, seen.added)
    )
    for name in gone:
        yield column_finding(
            "column-gone", Severity.MEDIUM, name, "is in the reference, and not here"
        )
    for name in sorted(seen.unlike):
        yield column_finding("type-changed", Severity.MEDIUM, name, "has another kind of values")
    for name in added:
        yield column_finding("column-new", Severity.LOW, name, "is not in the reference")


def _column_findings(
    move: Moved, settings: Settings, seasonal: Seasonal | None, lately: float | None = None
) -> Iterator[Finding]:
    column = move.column
    if _broadly(move, settings):
        limit = max(settings.severe_effect, settings.severe_ratio * move.spread)
        severe = move.effect >= limit
        yield (
            seasonal_finding(move, limit, seasonal)
            if seasonal
            else broad_finding(move, limit, severe=severe, lately=lately)
        )
    usual = max(settings.missing_jump, settings.severe_ratio * move.null_spread)
    if move.missing_p <= settings.alpha and move.missing >= usual:
        yield mass_finding(
            "missing-jump", Severity.MEDIUM, move, (move.missing, usual, move.missing_p)
        )
    if isinstance(column, CategoryColumn) and move.new_p <= settings.alpha:
        usual = max(settings.new_mass, settings.severe_ratio * column.new_spread)
        severity = Severity.MEDIUM if move.new >= usual else Severity.LOW
        yield mass_finding("new-categories", severity, move, (move.new, usual, move.new_p))
    if move.gone:
        told = ", ".join(printable(value)[:40] for value in move.gone[:5])
        yield column_finding("categories-gone", Severity.LOW, move.name, f"no longer holds {told}")


def _local_finding(local: _Local, seen: Observed, settings: Settings) -> Finding:
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
                rows=local.held,
                detail={"by": local.by, "group": local.group, "reference_rows": seen.profile.rows},
            ),
        ),
        remedy=f"ask who makes the rows of {by} {group} whether a unit, scale or code changed",
    )


def _row_scores(local: Sequence[_Local], single: Sequence[RowScore]) -> Iterator[RowScore]:
    """Each row once, by the first finding that holds it: the groups that moved, then the rest."""
    seen: set[int] = set()
    for score in (*(score for found in local for score in _held_locally(found)), *single):
        if score.row not in seen:
            seen.add(score.row)
            yield score


def _held_locally(found: _Local) -> Iterator[RowScore]:
    column, by, group = (printable(text)[:40] for text in (found.column, found.by, found.group))
    reason = f"{column} moved in {by} {group}"
    return (RowScore(row=row, score=round(score, 4), reason=reason) for row, score in found.rows)


def _held_by_value(finding: Finding, seen: Seen, part: Encoded, most: int) -> Iterator[RowScore]:
    """The rows of a chunk whose value is missing, or not in the reference."""
    column, values = seen.column, part.values[seen.column.name]
    missing, name = values.is_null(), printable(column.name)[:80]
    if finding.code == "missing-jump":
        if values.dtype.is_float():
            missing |= values.is_nan().fill_null(False)
        rows, many, reason = missing, seen.missing, f"{name} is missing"
    else:
        rows = ~values.is_in(list(getattr(column, "values", ()))) & ~missing
        many, reason = seen.unlisted, f"{name} has a value unknown to the reference"
    effect = finding.evidence[0].effect or 0.0
    score = round(min(1.0, effect * int(seen.cells.sum()) / max(many, 1)), 4)
    for row in rows.arg_true().to_list()[:most]:
        yield RowScore(row=part.start + row, score=score, reason=reason)


def _statistics(
    seen: Observed, moves: Sequence[Moved], local: Sequence[_Local], beside: _Beside
) -> dict[str, Any]:
    narrow = {found.column for found in local}
    whole, joint = beside.unlike
    ordered = sorted(moves, key=lambda move: -move.effect)
    return {
        "reference_rows": seen.profile.rows,
        "reference_blocks": len(seen.profile.blocks),
        "rows": seen.rows,
        "unlike_reference": {"at_least": whole.share, "where": list(whole.where)},
        "unlike_jointly": {"at_least": joint.share, "where": list(joint.where)},
        "bursts": [_without_places(one) for one in beside.words],
        "seasonal": {name: round(one.effect, 4) for name, one in beside.seasonal.items()},
        "from_versions_before": {name: round(far, 4) for name, far in beside.lately.items()},
        "unlike_slices": [asdict(one) for one in beside.slices[:_SLICES]],
        "moved_windows": [asdict(one) for one in beside.windows],
        "columns": len(moves),
        "cells": sum(len(p.counts) * len(p.counts[0]) for p in seen.profile.pairs),
        "moved": [
            {
                "column": move.name,
                "kind": "categorical" if isinstance(move.column, CategoryColumn) else "numeric",
                "effect": round(move.effect, 4),
                "interval": [round(end, 4) for end in move.interval],
                "js": round(move.js, 4),
                "p_value": float(f"{move.p_value:.3g}"),
                "spread": move.spread,
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


def _without_places(burst: TokenBurst) -> dict[str, Any]:
    told = asdict(replace(burst, places=(), turned=None))
    return {name: value for name, value in told.items() if name not in ("places", "turned")}
