"""Are labels contradicted in one source, or for a short time, as honest errors are not?

Of the rows that out-of-fold models are surest of, the surer half of those predicted to be of each
class, N[source, given, predicted] is counted, and each pair given != predicted is held against the
*other* sources and the source's own carelessness (:mod:`guards.numerics.flips`). Beside that all
rows, each for what it is worth, are asked whether a share of one label goes over to another in one
source, as a frequency of its own and errors that go both ways would not have it
(:mod:`guards.numerics.one_way`). Each of the two is asked at half of `alpha`. Where a column says
when a row happened, the same pairs are scanned for short windows, over all rows and in each source
(:mod:`guards.numerics.bursts`). Honest errors sit near the boundary between classes, where few rows
are sure, are as frequent elsewhere, or go in all directions: a source that is careless as a whole
is told (LOW) and stops nothing.

What happens in the world comes in bursts too: in a storm the flights that should be on time are
late. So a window alarms only where the labels are else contradicted rarely (`window_usual`) and
evenly (tail under thrice the dispersion of the other windows, `window_alpha`), no other window
comes near (`window_over_peers`) and the features look as at other times (`window_unlike`); a burst
that is beyond chance and not all of this is noted (INFO).

Measured by benchmarks/sources.py and benchmarks/tables.py; the figures stand in docs/rules.md.

The known way around it: flip labels alike in all sources and at all times, or in all directions in
one source (then it counts as careless, which is only noted); flip few rows, or in a direction in
which the world comes in bursts; make the features agree with the wrong label; declare many sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guards.data.case import Case
from guards.data.sourced import Sourced, sourced, tallied
from guards.data.times import time_column, told
from guards.data.wide import unmodelled
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

    from guards.numerics.bursts import Burst
    from guards.numerics.flips import Careless, Cell
    from guards.numerics.one_way import Flow

    Array = np.ndarray[Any, Any]

NEEDS = frozenset({"label"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Levels after correction, and the effects without which significance says nothing.

    `sure` is the quantile of the winning probability, within each predicted class, from which a
    row counts; `min_sure_rows` is what a source must have of them; `max_sources` are examined,
    the largest first. `time` names the column that says when a row happened; where it is empty,
    the first feature, by name, that holds dates is. `window_...` are about windows in time. Where
    labels go over from one to another, `flow_share` of the rows have to and `flow_lift` be reached:
    every row counts there, also those that are else as often called so.
    """

    alpha: float = 0.01
    min_lift: float = 3.0
    min_rows: int = 8
    sure: float = 0.5
    min_sure_rows: int = 20
    max_sources: int = 2_000
    max_rows: int = 10_000
    time: str = ""
    window_alpha: float = 1e-4
    window_usual: float = 0.1
    window_over_peers: float = 2.0
    window_unlike: float = 2.0
    flow_share: float = 0.03
    flow_lift: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """Where `given` stands too often for `true`; `here` and its `peers` mark rows (n,)."""

    given: int
    true: int
    expected: float
    carelessness: float
    p_value: float
    here: Array
    peers: Array
    reason: str


def inapplicable(case: Case, settings: Settings) -> str:
    """Why there is nothing to hold rows against, by roles and types alone; empty when there is."""
    if why := unmodelled(case.dataset):
        return why
    if case.dataset.roles.source or time_column(case.dataset, settings.time):
        return ""
    return "no column has the role source, and none holds dates"


def examine(case: Case, settings: Settings) -> Measured:
    """Look for a source, or a time, whose labels are wrong in one direction more than elsewhere."""
    looked = sourced(case, time=settings.time, sure=settings.sure, most=settings.max_sources)
    cells, others = _by_source(looked, settings)
    flows = _one_way(looked, settings)
    waves, tests = _by_time(looked, settings)
    alarming = [cell for cell in cells if _alarms(cell, settings)]
    alarming.sort(key=lambda cell: (cell.p_value, -cell.lift))
    streams = [flow for flow in flows if _streams(flow, settings)]
    known, turned = (
        {(one.source, one.given, one.true) for one in few} for few in (alarming, streams)
    )
    also = [flow for flow in streams if (flow.source, flow.given, flow.true) not in known]
    kept = _apart([burst for burst in waves if _stands_out(burst, settings)])
    bursts = _apart([burst for burst in waves if burst.window.p_value <= settings.window_alpha])
    noted = [burst for burst in bursts if burst not in kept]
    places = [
        *(
            _of_source(looked, cell)
            for cell in alarming
            if (cell.source, cell.given, cell.true) not in turned
        ),
        *(_of_time(case, looked, burst) for burst in kept),
    ]
    return Measured(
        statistics=_statistics(case, looked, cells, flows, waves, tests),
        findings=(
            *(_source_finding(looked, cell, settings) for cell in alarming),
            *(_flow_finding(looked, flow, settings) for flow in also),
            *(_window_finding(case, looked, burst, settings) for burst in kept),
            *_careless(
                looked,
                others,
                settings,
                {one[0] for one in known | turned},
            ),
            *(_burst_finding(case, looked, burst, settings) for burst in noted),
        ),
        row_scores=(*_turned_rows(looked, streams), *_row_scores(looked, places))[
            : settings.max_rows
        ],
    )


def _by_source(
    looked: Sourced, settings: Settings
) -> tuple[tuple[Cell, ...], tuple[Careless, ...]]:
    from guards.numerics.flips import careless, flipped_cells

    labels, count = looked.features.labels, len(looked.names)
    if count < 2:
        return (), ()
    cells = flipped_cells(
        labels,
        looked.seen,
        looked.source,
        count,
        len(looked.features.classes),
        rows=settings.min_rows,
        sure_rows=settings.min_sure_rows,
    )
    doubled = tuple(replace(cell, p_value=min(2 * cell.p_value, 1.0)) for cell in cells)
    return doubled, careless(labels, looked.seen, looked.source, count)


def _one_way(looked: Sourced, settings: Settings) -> tuple[Flow, ...]:
    from guards.numerics.one_way import flows

    if len(looked.names) < 2:
        return ()
    found = flows(
        looked.features.labels,
        looked.features.probabilities,
        looked.source,
        len(looked.names),
        rows=settings.min_rows,
        least=settings.min_sure_rows,
    )
    doubled = (replace(flow, p_value=min(2 * flow.p_value, 1.0)) for flow in found)
    return tuple(sorted(doubled, key=lambda flow: (flow.p_value, -flow.lift)))


def _by_time(looked: Sourced, settings: Settings) -> tuple[tuple[Burst, ...], int]:
    from guards.numerics.bursts import bursts

    if looked.column is None:
        return (), 0
    return bursts(
        looked.features.labels,
        looked.seen,
        looked.times,
        looked.source,
        lift=settings.min_lift,
        least=settings.min_rows,
    )


def _alarms(cell: Cell, settings: Settings) -> bool:
    return (
        cell.p_value <= settings.alpha
        and cell.lift >= settings.min_lift
        and cell.hits - cell.expected >= settings.min_rows
    )


def _streams(flow: Flow, settings: Settings) -> bool:
    return (
        flow.p_value <= settings.alpha
        and flow.rows >= settings.min_rows
        and flow.share >= settings.flow_share
        and flow.lift >= settings.flow_lift
    )


def _stands_out(burst: Burst, settings: Settings) -> bool:
    return not _against(burst, settings)


def _against(burst: Burst, settings: Settings) -> list[str]:
    """What speaks against an alarm: that the world may have done it."""
    window = burst.window
    reasons = {
        "as much would come of bursts of three times their dispersion": (
            window.burst > settings.window_alpha
        ),
        f"{window.usual:.0%} of such rows are contradicted at all times": (
            window.usual > settings.window_usual
        ),
        f"another window has {window.peers:.0%} of them": (
            window.rate < settings.window_over_peers * window.peers
        ),
        "the rows look unlike those of other times": abs(burst.unlike) >= settings.window_unlike,
    }
    return [told for told, holds in reasons.items() if holds]


def _apart(waves: Sequence[Burst]) -> list[Burst]:
    """Of windows that share rows, the one that is least likely by chance."""
    kept: list[Burst] = []
    for burst in sorted(waves, key=lambda one: (one.window.burst, one.window.p_value, one.source)):
        if not any(set(burst.rows.tolist()) & set(one.rows.tolist()) for one in kept):
            kept.append(burst)
    return kept


def _of_source(looked: Sourced, cell: Cell) -> _Place:
    among = (looked.seen.predicted == cell.true) & (looked.source >= 0)
    here = among & (looked.source == cell.source)
    return _Place(
        given=cell.given,
        true=cell.true,
        expected=cell.expected / cell.size,
        carelessness=cell.carelessness,
        p_value=cell.p_value,
        here=here,
        peers=among & ~here,
        reason=f"labels contradicted in {_name(looked, cell.source)}",
    )


def _of_time(case: Case, looked: Sourced, burst: Burst) -> _Place:
    first, last = looked.times[burst.rows[0]], looked.times[burst.rows[-1]]
    among = looked.seen.predicted == burst.true
    if burst.source >= 0:
        among &= looked.source == burst.source
    here = among & (looked.times >= first) & (looked.times <= last)
    return _Place(
        given=burst.given,
        true=burst.true,
        expected=burst.window.usual,
        carelessness=1.0,
        p_value=burst.window.burst,
        here=here,
        peers=among & ~here,
        reason=f"labels contradicted {_when(case, looked, burst)}",
    )


def _row_scores(looked: Sourced, places: Sequence[_Place]) -> Iterator[RowScore]:
    """The rows of each place, where more than half are beyond what its peers have.

    Within four bands of the winning probability, the score is 1 - (rate elsewhere) / (rate here).
    """
    import numpy as np

    winning = looked.seen.winning
    for place in places:
        wrong = looked.features.labels == place.given
        edges = np.quantile(winning[place.here | place.peers], [0.25, 0.5, 0.75])
        band = np.searchsorted(edges, winning, side="right")
        for number in range(4):
            here, peers = place.here & (band == number), place.peers & (band == number)
            now = (here & wrong).sum() / max(here.sum(), 1)
            usual = ((peers & wrong).sum() + 0.5) / (peers.sum() + 1) * place.carelessness
            score = 1 - usual / max(now, 1e-9)
            if score < 0.5:
                continue
            for row in np.flatnonzero(here & wrong):
                yield RowScore(
                    row=int(looked.features.rows[row]),
                    score=round(float(score * winning[row]), 5),
                    p_value=place.p_value,
                    suggested_label=looked.features.classes[place.true],
                    reason=place.reason,
                )


def _turned_rows(looked: Sourced, flows: Sequence[Flow]) -> Iterator[RowScore]:
    """The rows that are more likely turned than not."""
    for flow in flows:
        for row, odds in zip(flow.members, flow.odds, strict=True):
            if odds >= 0.5:
                yield RowScore(
                    row=int(looked.features.rows[row]),
                    score=round(float(odds), 5),
                    p_value=flow.p_value,
                    suggested_label=looked.features.classes[flow.true],
                    reason=f"labels contradicted in {_name(looked, flow.source)}",
                )


def _extent(looked: Sourced, place: _Place, rate: float) -> tuple[float, int]:
    """The share of the place's `true` rows labelled `given`, and how many rows that is.

    Among the sure rows the surplus rate is that share; the `true` rows still labelled so are the
    rest of them. Where hardly one is, it is the rows labelled `given` beyond the usual.
    """
    share = min(rate - place.expected, 0.99)
    kept, wrong = (
        int((place.here & (looked.features.labels == label)).sum())
        for label in (place.true, place.given)
    )
    beyond = wrong - place.expected * int(place.here.sum())
    return share, round(max(share * kept / (1 - share), beyond))


def _source_finding(looked: Sourced, cell: Cell, settings: Settings) -> Finding:
    given, true = looked.features.classes[cell.given], looked.features.classes[cell.true]
    rate, source = cell.hits / cell.size, _name(looked, cell.source)
    share, rows = _extent(looked, _of_source(looked, cell), rate)
    return Finding(
        rule="sources",
        code="labels-flipped-in-source",
        severity=Severity.MEDIUM,
        confidence=Confidence.HIGH if cell.p_value <= settings.alpha / 10 else Confidence.MEDIUM,
        subject=Subject(kind="source", name=looked.names[cell.source]),
        summary=f"in source {source}, of {cell.size} rows that the features surely call "
        f"{printable(true)[:40]}, {cell.hits} are labelled {printable(given)[:40]}: "
        f"{cell.lift:.1f} times the share of the other sources (p = {cell.p_value:.1g}); "
        f"about {rows} rows in all, {share:.0%} of such rows",
        evidence=(
            Evidence(
                statistic="lift of contradicted sure rows over the other sources",
                value=round(cell.lift, 3),
                threshold=settings.min_lift,
                p_value=float(f"{cell.p_value:.3g}"),
                effect=round(share, 4),
                sample=cell.size,
                rows=rows,
                detail={
                    "given": given,
                    "true": true,
                    "sure_rows_contradicted": cell.hits,
                    "expected": round(cell.expected, 2),
                    "carelessness": round(cell.carelessness, 3),
                },
            ),
        ),
        remedy=f"have the rows of {source} labelled again, or leave them out; ask what changed",
    )


def _flow_finding(looked: Sourced, flow: Flow, settings: Settings) -> Finding:
    given, true = looked.features.classes[flow.given], looked.features.classes[flow.true]
    source, rows = _name(looked, flow.source), round(flow.rows)
    return Finding(
        rule="sources",
        code="labels-flipped-in-source",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="source", name=looked.names[flow.source]),
        summary=f"in source {source}, labels say {printable(given)[:40]} where the features say "
        f"{printable(true)[:40]} {flow.lift:.1f} times as often as in the other sources, rows "
        f"weighed by what they tell, and hardly the other way round (p = {flow.p_value:.1g}); "
        f"about {rows} rows in all, {flow.share:.0%} of such rows",
        evidence=(
            Evidence(
                statistic="likelihood that labels go over one way, beside errors both ways",
                value=round(flow.lift, 3),
                threshold=settings.flow_lift,
                p_value=float(f"{flow.p_value:.3g}"),
                effect=flow.share,
                sample=int((looked.source == flow.source).sum()),
                rows=rows,
                detail={"given": given, "true": true},
            ),
        ),
        remedy=f"have the rows of {source} labelled again, or leave them out; ask what changed",
    )


def _window_finding(case: Case, looked: Sourced, burst: Burst, settings: Settings) -> Finding:
    window = burst.window
    share, rows = _extent(looked, _of_time(case, looked, burst), window.rate)
    return Finding(
        rule="sources",
        code="labels-flipped-in-window",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="rows", name=_when(case, looked, burst)),
        summary=f"{_contradicted(case, looked, burst)} (p = {window.burst:.1g}, though bursts of "
        f"three times their dispersion are allowed for); no other window comes near; about {rows} "
        f"rows in all, {share:.0%} of such rows",
        evidence=(_window_evidence(looked, burst, settings.window_alpha, rows),),
        remedy="have the rows of this time labelled again, or leave them out; ask what changed",
    )


def _burst_finding(case: Case, looked: Sourced, burst: Burst, settings: Settings) -> Finding:
    doubts = _against(burst, settings) or ["it shares rows with a surer window"]
    return Finding(
        rule="sources",
        code="contradicted-for-a-time",
        severity=Severity.INFO,
        confidence=Confidence.LOW,
        subject=Subject(kind="rows", name=_when(case, looked, burst)),
        summary=f"{_contradicted(case, looked, burst)} (p = {burst.window.p_value:.1g}); something "
        f"in the world may have done that: {' and '.join(doubts)}",
        evidence=(_window_evidence(looked, burst, None, burst.window.hits),),
        remedy="ask what happened then; nothing is held for it",
    )


def _contradicted(case: Case, looked: Sourced, burst: Burst) -> str:
    window, classes = burst.window, looked.features.classes
    given, true = (printable(classes[code])[:40] for code in (burst.given, burst.true))
    return (
        f"{_when(case, looked, burst)}, of {window.size} rows that the features surely call "
        f"{true}, {window.hits} are labelled {given}: {window.lift:.1f} times the share of "
        "other times"
    )


def _window_evidence(looked: Sourced, burst: Burst, alpha: float | None, rows: int) -> Evidence:
    window = burst.window
    return Evidence(
        statistic="tail of contradicted sure rows in a window of time, over all windows",
        value=float(f"{window.burst:.3g}"),
        threshold=alpha,
        p_value=float(f"{window.p_value:.3g}"),
        effect=round(window.lift, 3),
        sample=window.size,
        rows=rows,
        detail={
            "given": looked.features.classes[burst.given],
            "true": looked.features.classes[burst.true],
            "sure_rows_contradicted": window.hits,
            "usual": round(window.usual, 5),
            "highest_elsewhere": round(window.peers, 5),
            "unlike": round(burst.unlike, 2),
        },
    )


def _careless(
    looked: Sourced, others: Sequence[Careless], settings: Settings, named: set[int]
) -> Iterator[Finding]:
    """Sources contradicted more often than the others, all directions together."""
    for one in others:
        surplus = one.hits - one.hits / max(one.lift, 1.0)
        bad = one.p_value <= settings.alpha and one.lift >= 2 and surplus >= 8
        if not bad or one.source in named:
            continue
        yield Finding(
            rule="sources",
            code="careless-source",
            severity=Severity.LOW,
            confidence=Confidence.MEDIUM,
            subject=Subject(kind="source", name=looked.names[one.source]),
            summary=f"source {_name(looked, one.source)} is contradicted in {one.hits} of "
            f"{one.size} sure rows, {one.lift:.1f} times as often as the others "
            f"(p = {one.p_value:.1g}), and in more than one direction",
            evidence=(
                Evidence(
                    statistic="lift of contradicted sure rows over the other sources",
                    value=round(one.lift, 3),
                    threshold=2.0,
                    p_value=float(f"{one.p_value:.3g}"),
                    sample=one.size,
                    rows=one.hits,
                ),
            ),
            remedy="look at how this source labels",
        )


def _name(looked: Sourced, source: int) -> str:
    return printable(looked.names[source])[:80]


def _when(case: Case, looked: Sourced, burst: Burst) -> str:
    first, last = (
        told(case.dataset, looked.column or "", float(looked.times[burst.rows[place]]))
        for place in (0, -1)
    )
    where = f" in source {_name(looked, burst.source)}" if burst.source >= 0 else ""
    return f"from {first} to {last}{where}"


def _statistics(
    case: Case,
    looked: Sourced,
    cells: Sequence[Cell],
    flows: Sequence[Flow],
    waves: Sequence[Burst],
    tests: int,
) -> dict[str, Any]:
    largest = sorted(cells, key=lambda cell: (cell.p_value, -cell.lift))[:50]
    classes = looked.features.classes
    return {
        "sources": tallied(looked),
        "cells_tested": len(cells),
        "cells": [
            {
                "source": looked.names[cell.source],
                "given": classes[cell.given],
                "predicted": classes[cell.true],
                "hits": cell.hits,
                "sure": cell.size,
                "lift": round(cell.lift, 3),
                "p_value": float(f"{cell.p_value:.3g}"),
            }
            for cell in largest
        ],
        "flows": [
            {
                "source": looked.names[flow.source],
                "given": classes[flow.given],
                "predicted": classes[flow.true],
                "share": flow.share,
                "rows": round(flow.rows, 1),
                "lift": round(flow.lift, 3),
                "p_value": float(f"{flow.p_value:.3g}"),
            }
            for flow in flows[:50]
        ],
        "time": looked.column,
        "windows_tested": tests,
        "windows": [
            {
                "when": _when(case, looked, burst),
                "given": classes[burst.given],
                "predicted": classes[burst.true],
                "hits": burst.window.hits,
                "sure": burst.window.size,
                "lift": round(burst.window.lift, 3),
                "p_value": float(f"{burst.window.p_value:.3g}"),
                "burst": float(f"{burst.window.burst:.3g}"),
            }
            for burst in _apart(waves)[:20]
        ],
    }
