"""Do some values, or two values together, hold more rows than the reference leads to expect?

A scan of every listed value and every step of a column's distribution function, of what lies beyond
it and of what is missing, and of every cell of two columns (:mod:`guards.numerics.excess`). Where
drift asks whether a column, or a group in it, has moved, this asks for what stands alone: thirty
rows with one price, one shop's rows without a date, minutes among hours, two values that never met.

A cell alarms if it is beyond chance over all cells together, under the dispersion that the
reference's own blocks show or, if more, that of all cells of its table, holds `lift` times the
expected rows, and `min_share` of the batch beyond them. Its rows are held, and what else nearly all
of them share is told. A known value that becomes common, or two words that meet anew where neither
says much of the other, are what changes as a business does (new aircraft, a carrier that begins to
fly from another airport): that is told, and alarms only if the labels of these rows are one-sided,
or are not what everything else about the rows leads one to expect (:mod:`guards.data.turned`). Of
cells that stand out less, by `asked_lift` at `asked_alpha`, only that is asked.

Measured by benchmarks/power.py; the figures stand in docs/rules.md and docs/statistics.md.

The known way around it: fewer rows than `min_rows` and `min_share`; values and pairs that are
common already, with labels that suit the rows; many values, each a little; a column that moves as a
whole beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.excess import Cell, Gates, cells_of
from guards.data.profile import CategoryColumn, Encoded, Observed, encoded
from guards.data.turned import Turned, turned
from guards.errors import Skip
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.text import printable

if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]

NEEDS = frozenset({"feature"})
_MOST = 64  # cells, the surest, whose rows are looked up
_NEARLY, _USUAL = 0.8, 0.4  # of a cell's rows, and at most of all, have what they are said to share


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`alpha` over all cells, and the effect sizes.

    A cell at the milder `asked_alpha` and `asked_lift` is asked what its rows' labels should be,
    and alarms if they were turned, at `alpha` over those that are asked. Columns that `moved` tell
    of no value, or, if less than `far`, of those at their ends.
    """

    alpha: float = 0.001
    lift: float = 3.0
    asked_alpha: float = 0.05
    asked_lift: float = 2.0
    min_rows: int = 10
    min_share: float = 0.004
    moved: float = 0.1
    far: float = 0.25
    max_rows: int = 10_000


@dataclass(slots=True)
class _Held:
    """The rows of one cell, as they are found; `shared[column]` counts their codes.

    It is `sure` if it stands out by its rows alone; `turned` says to which label they were.
    """

    cell: Cell
    rows: list[int] = field(default_factory=list)
    many: int = 0
    shared: dict[str, Any] = field(default_factory=dict)
    sure: bool = True
    turned: Turned | None = None


def examine(case: Case, settings: Settings) -> Measured:
    """Look for cells that hold too much, and for their rows."""
    if case.reference is None:
        raise Skip("no reference; give --reference, or pin one in the policy under [files]")
    seen = case.survey.observed[0]
    least = max(settings.min_rows, settings.min_share * seen.rows)
    gates = Gates(least=least, lift=settings.asked_lift, moved=settings.moved, far=settings.far)
    cells, tests = cells_of(seen, gates)
    sure = [cell for cell in cells if _sure(cell, tests, settings)]
    held = _distinct(case, seen, _looked_up(case, cells, tests, settings), settings)
    for one in held:
        one.sure = _sure(one.cell, tests, settings)
    _ask(case, held)
    held = [one for one in held if one.sure or _was_turned(one, settings)]
    alarming = [one for one in held if _alarming(one, seen, settings)]
    return Measured(
        statistics={
            "cells": tests,
            "beyond": len(sure),
            "surest": [_told(cell, tests) for cell in cells[:20]],
        },
        findings=tuple(_finding(one, seen, tests, settings, alarming) for one in held),
        row_scores=_scores(alarming, settings),
    )


def _sure(cell: Cell, tests: int, settings: Settings) -> bool:
    """Whether it holds too much by its rows alone."""
    lifted = cell.rows >= settings.lift * cell.expected
    return lifted and cell.log_p <= np.log10(settings.alpha / max(tests, 1))


def _looked_up(case: Case, cells: Sequence[Cell], tests: int, settings: Settings) -> Sequence[Cell]:
    """The cells whose rows are looked up: the surest, and, if labels can be asked, the next."""
    sure = [cell for cell in cells if _sure(cell, tests, settings)][:_MOST]
    limit = np.log10(settings.asked_alpha / max(tests, 1))
    label = case.roles.label
    others = [
        cell
        for cell in cells
        if label and label not in cell.where and cell.log_p <= limit and cell not in sure
    ]
    return [*sure, *others[:_MOST]]


def _ask(case: Case, held: Sequence[_Held]) -> None:
    """Find out of those that alarm by labels alone what these should be."""
    able = [one for one in held if one.cell.loose or not one.sure]
    able = [one for one in able if case.roles.label not in one.cell.where]
    for one, answer in zip(able, turned(case, [one.rows for one in able]), strict=True):
        one.turned = answer


def _was_turned(one: _Held, settings: Settings) -> bool:
    return one.turned is not None and one.turned.p_value <= settings.alpha


def _told(cell: Cell, tests: int) -> dict[str, Any]:
    return {
        "where": printable(cell.told),
        "rows": cell.rows,
        "expected": cell.expected,
        "log10_p_value": _corrected(cell, tests),
    }


def _corrected(cell: Cell, tests: int) -> float:
    """log10 of the p-value over all cells (Bonferroni)."""
    return round(min(cell.log_p + float(np.log10(max(tests, 1))), 0.0), 2)


def _distinct(case: Case, seen: Observed, cells: Sequence[Cell], settings: Settings) -> list[_Held]:
    """The cells, the surest first, without those whose rows are mostly a surer one's; one pass."""
    if not cells:
        return []
    most = settings.max_rows
    held = [_Held(cell) for cell in cells]
    common = np.zeros((len(cells), len(cells)))
    words = [n for n, s in seen.columns.items() if isinstance(s.column, CategoryColumn)]
    names = sorted({name for cell in cells for name in cell.where} | set(words))
    for part in encoded(case.dataset, seen.profile, names):
        masks = np.array([cell.among(part) for cell in cells])
        common += masks.astype(np.float32) @ masks.astype(np.float32).T
        for one, mask in zip(held, masks, strict=True):
            _add(one, part, mask, words, most)
    kept: list[int] = []
    for place in range(len(cells)):
        if all(common[place, other] <= 0.5 * common[place, place] for other in kept):
            kept.append(place)
    return [held[place] for place in kept]


def _add(one: _Held, part: Encoded, mask: Bools, words: Sequence[str], most: int) -> None:
    places = np.flatnonzero(mask)
    one.many += len(places)
    one.rows += (part.start + places[: most - len(one.rows)]).tolist()
    for name in words:
        counts = np.bincount(part.codes[name][places], minlength=256)
        one.shared[name] = one.shared.get(name, 0) + counts


def _shared(one: _Held, seen: Observed) -> list[str]:
    """What nearly all of these rows have and most rows do not, but for what the cell says."""
    found = []
    for name, counts in one.shared.items():
        usual = seen.columns[name].cells / max(seen.rows, 1)
        code = int(np.argmax(counts))
        if name in one.cell.where or counts[code] < _NEARLY * max(one.many, 1):
            continue
        if code < len(usual) and usual[code] <= _USUAL:
            found.append(f"{name} {seen.columns[name].column.bins[code]}")
    return found


def _alarming(one: _Held, seen: Observed, settings: Settings) -> bool:
    if _was_turned(one, settings) or not one.cell.loose:
        return True
    return _one_sided(one, seen) <= settings.alpha


def _one_sided(one: _Held, seen: Observed) -> float:
    """How often chance would give the rows of a cell so many of one label; 1 without labels."""
    from scipy.stats import binom

    name = next((n for n, role in seen.profile.roles.items() if role == "label"), "")
    if name not in one.shared:
        return 1.0
    usual = seen.columns[name].cells / max(seen.rows, 1)
    tails = binom.sf(one.shared[name][: len(usual)] - 1, one.many, usual)
    return float(min(1.0, tails.min() * len(usual)))


def _finding(
    one: _Held, seen: Observed, tests: int, settings: Settings, alarming: Sequence[_Held]
) -> Finding:
    cell, columns = one.cell, list(one.cell.where)
    alarms = any(one is other for other in alarming)
    shared = [printable(what)[:80] for what in _shared(one, seen)[:4]]
    also = f"; nearly all of them have {' and '.join(shared)}" if shared else ""
    if one.turned is not None and _was_turned(one, settings):
        also += f"; {one.turned.hits} are labelled {printable(one.turned.label)[:40]}, where "
        also += f"everything else about them leads one to expect {one.turned.expected:.0f}"
    corrected = _corrected(cell, tests)
    return Finding(
        rule="excess",
        code="excess-pair" if len(columns) > 1 else "excess-value",
        severity=Severity.MEDIUM if alarms else Severity.LOW,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="column", name=columns[0]),
        summary=f"{one.many} rows have {printable(cell.told)}, where the reference leads to "
        f"expect {cell.expected:.3g}{also}",
        evidence=(
            Evidence(
                statistic="rows in the cell",
                value=cell.rows,
                threshold=cell.expected,
                p_value=float(10**corrected),
                effect=round(cell.rows / max(cell.expected, 1e-9), 2),
                sample=seen.rows,
                rows=one.many,
                detail={
                    "columns": columns,
                    "shared": shared,
                    "labels_p_value": one.turned.p_value if one.turned else 1.0,
                    "log10_p_value": corrected,
                    "cells": tests,
                    "lift": settings.lift,
                },
            ),
        ),
        remedy="look at the held rows: a default value, a unit, a wrong join, or rows that were "
        "put in? If they belong, accept a new reference that has them"
        if alarms
        else "",
    )


def _scores(held: Sequence[_Held], settings: Settings) -> tuple[RowScore, ...]:
    """Each row once, with the surest cell that it lies in; its score is the share that is new.

    Of a cell that alarms by its labels the rows that bear the label.
    """
    found: dict[int, RowScore] = {}
    for one in held:
        new = max(0.0, 1 - one.cell.expected / max(one.many, 1))
        reason = f"holds {printable(one.cell.told)}"
        by_label = one.turned is not None and _was_turned(one, settings)
        rows = one.turned.bearing.tolist() if one.turned and by_label else one.rows
        for row in rows:
            found.setdefault(row, RowScore(row=row, score=round(new, 4), reason=reason))
    return tuple(found[row] for row in sorted(found))
