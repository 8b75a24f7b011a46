"""Do rows of one source bear a value where the rest of the row speaks for another?

Values that were exchanged, or written over, within a source: two columns joined wrongly, a default
that a broken form fills in, labels that somebody turned. Nothing need be seldom about them, and
each value may be as frequent as ever; but Widowed rows of one clinic are suddenly as young as the
single ones, and flights of one carrier go where only another flies.

For every source, and every two values of a column of words, the rows of the one are held against
how the reference's rows of both lie in that other column which tells them apart best
(:mod:`guards.data.swapped`), the label being such a column as well. What somebody gains who bets
on the other value is evidence that needs no asymptotics (:mod:`guards.numerics.betting`); `alpha`
is shared out over all bets. A bet counts less where values and sources have more to say together
than in pairs, or blocks of the reference differ; not at all where the other sources win it as well,
as after a season, or where such rows came in addition to all that were to be expected; and no
single cell counts for more than befits the other value, so that a new route is not taken for
exchanged carriers. An alarm needs `min_rows` rows, and `min_share` of the batch, that look like the
other value, a third of them rows that can be shown: each more likely of that value than not.

Measured by benchmarks/power.py; the figures stand in docs/rules.md and docs/statistics.md.

The known way around it: exchange values that no single other column tells apart; take few rows of
many sources, or all sources alike; have no column of sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guards.data.case import Case
from guards.data.profile import CategoryColumn, Observed
from guards.data.swapped import Swapped, counted, planned, rows_of, swapped
from guards.errors import Skip
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.text import printable

NEEDS = frozenset({"source"})
_MOST = 32  # of what stands out, whose rows are looked up
_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`alpha` over all bets, and the rows, in number and as a share of the batch, that alarm."""

    alpha: float = 0.001
    min_rows: int = 6
    min_share: float = 0.002
    max_rows: int = 10_000


def examine(case: Case, settings: Settings) -> Measured:
    """Bet on every two values of every column of words in every source."""
    if case.reference is None:
        raise Skip("no reference; give --reference, or pin one in the policy under [files]")
    seen, source = case.survey.observed[0], case.roles.source or ""
    if not _words(seen, source):
        raise Skip(f"the reference has no column of words {printable(source)!r} as source")
    found, tests = _standing(case, seen, source, settings)
    held = rows_of(case.dataset, seen.profile, source, found)
    kept = _distinct(found, held)
    return Measured(
        statistics={
            "bets": tests,
            "surest": [_statistic(seen, source, found[place]) for place in kept[:_TOLD]],
        },
        findings=tuple(_finding(seen, source, found[n], held[n], tests) for n in kept),
        row_scores=_scores(seen, [(found[n], held[n]) for n in kept], settings),
    )


def _words(seen: Observed, name: str) -> bool:
    return name in seen.columns and isinstance(seen.columns[name].column, CategoryColumn)


def _standing(
    case: Case, seen: Observed, source: str, settings: Settings
) -> tuple[list[Swapped], int]:
    """What stands out over all bets, the surest first; and how many these are."""
    bets = planned(seen, source, [name for name in seen.columns if _words(seen, name)])
    least = max(settings.min_rows, settings.min_share * seen.rows)
    found, tests = list[Swapped](), 0
    for one, counts in zip(bets, counted(case.dataset, seen.profile, source, bets), strict=True):
        told, asked = swapped(seen.profile, source, one, counts, least)
        found, tests = [*found, *told], tests + asked
    limit = float(np.log10(max(tests, 1) / settings.alpha))
    sure = [one for one in found if one.log_e >= limit]
    return sorted(sure, key=lambda one: (-one.log_e, one.column, one.value))[:_MOST], tests


def _distinct(found: Sequence[Swapped], held: Sequence[Mapping[int, float]]) -> list[int]:
    """The places of those whose rows are not mostly a surer one's: one exchange has many signs."""
    kept: list[int] = []
    for place, rows in enumerate(held):
        if rows and all(len(rows.keys() & held[k].keys()) <= 0.5 * len(rows) for k in kept):
            kept.append(place)
    return kept


def _named(seen: Observed, column: str, code: int) -> str:
    return printable(seen.profile.by_name[column].bins[code])[:60]


def _statistic(seen: Observed, source: str, one: Swapped) -> dict[str, Any]:
    return {
        "column": printable(one.column),
        "value": _named(seen, one.column, one.value),
        "like": _named(seen, one.column, one.other),
        "source": _named(seen, source, one.source),
        "by": printable(one.by),
        "rows": one.rows,
        "moved": round(one.moved, 1),
        "log10_e": round(one.log_e, 2),
    }


def _finding(
    seen: Observed, source: str, one: Swapped, held: Mapping[int, float], tests: int
) -> Finding:
    told = _statistic(seen, source, one)
    return Finding(
        rule="swaps",
        code="swapped-values",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="column", name=one.column),
        summary=f"{len(held)} of the {one.rows} rows with {told['column']} {told['value']} in "
        f"{printable(source)} {told['source']} look like rows with {told['like']} by their "
        f"{told['by']}, and not so in other sources",
        evidence=(
            Evidence(
                statistic="log10 of what a bet on the other value gains",
                value=round(one.log_e, 2),
                p_value=float(min(1.0, 10.0 ** min(0.0, np.log10(tests) - one.log_e))),
                effect=round(one.moved / max(one.rows, 1), 4),
                sample=one.rows,
                rows=len(held),
                detail={**told, "bets": tests},
            ),
        ),
        remedy="look at the held rows: was a column joined wrongly, a default filled in, or a "
        "value changed? If the source really is like this now, accept a new reference that has it",
    )


def _scores(
    seen: Observed, told: Sequence[tuple[Swapped, Mapping[int, float]]], settings: Settings
) -> tuple[RowScore, ...]:
    """Each row once, for the surest of what it was held for."""
    label = next((name for name, role in seen.profile.roles.items() if role == "label"), None)
    found: dict[int, RowScore] = {}
    for one, held in told:
        other = _named(seen, one.column, one.other)
        reason = f"{printable(one.column)[:60]} looks like {other} by {printable(one.by)[:60]}"
        surest = sorted(held.items(), key=lambda item: (-item[1], item[0]))[: settings.max_rows]
        for row, chance in surest:
            score = RowScore(
                row=row,
                score=round(chance, 4),
                suggested_label=other if one.column == label else None,
                reason=reason,
            )
            found.setdefault(row, score)
    return tuple(found[row] for row in sorted(found))
