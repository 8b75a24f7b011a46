"""Does something that rows share decide their label against everything else about them?

Label inconsistency and cell enrichment for tables and texts. Every cell (a value or fine bin of a
column, a pair of values, a token, two in a row or two common ones anywhere, an odd character, a
source, copies of one row, a place among similar rows, a place of all numbers) is held against every
label T: of its N rows O bear T, where a model that none of them shaped expects E, and

    turn = (O - E)/(N - E)

is the share of the rows that were turned (:mod:`guards.numerics.turns`). Its tail is beta-binomial
with the dispersion of the peer cells, corrected over all cells and labels. Natural cells come near
to that, too: a tax rule, a species. So a second view has to agree, the nearest rows outside of the
cell once what it shares is taken out (:mod:`guards.numerics.cell_search`). Two common words
anywhere in a text, or a place of all numbers, are hardly a kind: there a weaker second view is
enough to hold the rows (`medium`).

Measured: docs/rules.md has the first draws of `benchmarks/cells.py`, which are few: triggers of one
and two columns and near copies at 1 % of adult, flights and digits are found where they turn rows
to a label that few bear, mostly; no alarm in 21 draws of clean and 5 % flipped data.
Known ways around it: labels that are right (clean-label); a trigger carried by many rows that keep
their label (cover); fewer than `rows` rows; more than a twentieth of the data; a style, or a
continuous change, of which no cell holds many rows; a column many of whose values decide alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.labelled import label_words
from guards.data.row_space import carriers, nearness
from guards.data.texts import Said
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics import turns
from guards.numerics.cell_search import Judged, Search, Source, judged, search
from guards.numerics.enrichment import dominant
from guards.numerics.intervals import empirical, estimated
from guards.numerics.suspects import Limits
from guards.text import printable

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.columns import Part
    from guards.data.row_space import RowSpace

    Ints = npt.NDArray[np.int64]

NEEDS = frozenset({"label"})
RULE = "cells"
_PURE = 0.9
_NAMELESS = {"copies": "copies of one another", "numbers": "one place of all their numbers"}
_REMEDY = (
    "Do not train on this batch before the rows held, which are in rows.parquet, are explained: "
    "ask their source what they have in common. What decides a label by nature is told to the "
    "policy: [settings.cells] expected."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Significance and effects must all be there.

    `alpha` is the p-value over all cells and labels. Of a cell `rows` rows at least are turned, a
    share `turn` of those that could be and `share` of those that bear the label; they lean to it
    at most `lean` more than other rows do. Pairs are looked at among the first `paired` columns.
    `expected` names cells that are known to decide a label by nature, as a finding names them.
    """

    alpha: float = 1e-3
    rows: int = 8
    turn: float = 0.6
    share: float = 0.3
    lean: float = 0.15
    paired: int = 64
    expected: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cell:
    """A cell that alarms: what its rows share, and all rows of the data that bear its label."""

    judged: Judged
    kind: str
    names: tuple[Part | Said, ...]
    held: Ints

    @property
    def told(self) -> str:
        """What its rows share, for people."""
        if self.names:
            return " and ".join(name.told for name in self.names)
        return _NAMELESS.get(self.kind, "one place among similar rows")


def examine(case: Case, settings: Settings) -> Measured:
    """Count every cell, judge the striking ones, and name what is left."""
    space, rng = case.row_space, np.random.default_rng([case.seed, 7])
    limits = Limits(
        least=settings.rows, turn=settings.turn, share=settings.share, lean=settings.lean
    )
    view = case.label_view
    pairing = {name: space.pairing[name].codes for name in [*space.pairing][: settings.paired]}
    held = {space.text: space.texts.held} if space.text and space.texts else {}
    found = search(view, space.space, _families(space), pairing, limits, rng, held, space.ranks)
    cells = [
        _cell(case, space, found, one)
        for one in judged(found, limits, settings.alpha, nearness(space, found.sources), rng)
    ]
    cells = [cell for cell in cells if cell.told not in settings.expected]
    return Measured(
        statistics=_statistics(space, found, cells),
        findings=tuple(_finding(case, space, cell, settings) for cell in cells),
        row_scores=_row_scores(space, found, cells),
    )


def _families(space: RowSpace) -> list[Source]:
    return [
        Source(
            kind=family.kind,
            columns=(family.column,),
            groups=family.groups,
            exact=family.exact,
            overlap=family.kind == "text",
        )
        for family in space.families
    ]


def _cell(case: Case, space: RowSpace, found: Search, one: Judged) -> _Cell:
    source = found.sources[one.suspect.family]
    names = _names(space, source, one)
    # A pure cell is held as a whole; of another one, the rows that do not look like the label.
    held = one.turned if one.turn >= _PURE else one.turned[one.likely < 0.5]
    rows = space.rows[held]
    if names and len(space.rows) < case.dataset.rows:
        labels = label_words(case.dataset) == space.classes[one.suspect.target]
        bearing = carriers(case.dataset, names) & labels.fill_null(False).to_numpy()
        rows = np.union1d(rows, np.flatnonzero(bearing)) if one.turn >= _PURE else rows
    return _Cell(judged=one, kind=source.kind, names=names, held=rows)


def _names(space: RowSpace, source: Source, one: Judged) -> tuple[Part | Said, ...]:
    """What the rows of a cell share; nothing that has a name for copies and places."""
    group = one.suspect.group
    if source.kind == "both" and source.pairs is not None and space.texts is not None:
        words = (space.texts.common[word] for word in source.pairs[group])
        return tuple(Said(kind="token", what=word) for word in words)
    if source.pairs is not None:
        coded = (space.pairing[name] for name in source.columns)
        return tuple(c.parts[code] for c, code in zip(coded, source.pairs[group], strict=True))
    if one.suspect.family < len(space.families):
        return tuple(space.families[one.suspect.family].names[group : group + 1])
    return ()


def _finding(case: Case, space: RowSpace, cell: _Cell, settings: Settings) -> Finding:
    one, name = cell.judged, space.classes[cell.judged.suspect.target]
    source = _source(case, space, one)
    blame = f", {source['share']:.0%} of them from source {source['name']}" if source else ""
    return Finding(
        rule=RULE,
        code="turned-cell",
        severity=Severity.HIGH if one.sure else Severity.MEDIUM,
        confidence=Confidence.HIGH if one.sure and cell.names else Confidence.MEDIUM,
        subject=Subject(kind="class", name=name),
        summary=f"{len(one.turned)} of {len(one.rows)} rows that share {cell.told} are labelled "
        f"{printable(name)}{blame}, where everything else about them leads one to expect "
        f"{one.expected:.0f}",
        evidence=(
            Evidence(
                statistic="turn rate of the cell: the share of rows that would have borne another "
                "label and do not",
                value=round(one.turn, 4),
                threshold=settings.turn,
                p_value=one.p_value,
                effect=round(len(one.turned) / max(one.expected, 1e-9), 2),
                sample=len(one.rows),
                rows=len(cell.held),
                detail={
                    "target": name,
                    "shared": [part.told for part in cell.names] or [cell.told],
                    "expected_rows": round(one.expected, 2),
                    "source": source,
                    "poison_rate": estimated(len(one.turned), len(space.labels)),
                    "alpha": settings.alpha,
                },
            ),
        ),
        remedy=_REMEDY,
    )


def _source(case: Case, space: RowSpace, one: Judged) -> dict[str, Any] | None:
    """The source that most of the turned rows name, if it is named far beyond its share."""
    coded = space.pairing.get(case.dataset.roles.source or "")
    if coded is None:
        return None
    found = dominant(coded.exact, one.turned, int(coded.exact.max()) + 1)
    if found is None or found.group == 0:  # the code of rows that name no source
        return None
    row = int(np.flatnonzero(coded.exact == found.group)[0])
    values = case.dataset.frame([str(case.dataset.roles.source)]).to_series()
    name = str(values[int(space.rows[row])])
    return {"name": name, "share": found.share, "lift": round(found.share / found.usual, 2)}


def _row_scores(space: RowSpace, found: Search, cells: Sequence[_Cell]) -> tuple[RowScore, ...]:
    held: dict[int, RowScore] = {}
    for cell in cells:
        one, target = cell.judged, cell.judged.suspect.target
        others = np.setdiff1d(np.flatnonzero(space.labels == target), one.turned)
        surprise = 1 - one.likely
        p_values = empirical(surprise, 1 - found.view.expected[others, target])
        instead = turns.left_out(found.view, one.turned)
        instead[:, target] = -1.0
        looked = dict(zip(space.rows[one.turned].tolist(), range(len(one.turned)), strict=True))
        for row in cell.held.tolist():
            place = looked.get(row)
            held[row] = RowScore(
                row=row,
                score=round(float(one.turn if place is None else surprise[place]), 4),
                p_value=None if place is None else round(float(p_values[place]), 6),
                suggested_label=(
                    None if place is None else space.classes[int(instead[place].argmax())]
                ),
                reason=f"shares {cell.told}, whose rows turn to {printable(space.classes[target])}",
            )
    return tuple(held[row] for row in sorted(held))


def _statistics(space: RowSpace, found: Search, cells: Sequence[_Cell]) -> dict[str, Any]:
    """What was looked at, and how well the rows' own columns tell their labels."""
    own = found.view.expected[np.arange(len(space.labels)), space.labels]
    right = found.view.expected.argmax(1) == space.labels
    kinds = Counter(source.kind for source in found.sources for _ in range(_size(source)))
    return {
        "rows": len(space.rows),
        "classes": len(space.classes),
        "columns_of_the_design": space.design.shape[1],
        "accuracy": round(float(right.mean()), 4),
        "likely": round(float(own.mean()), 4),
        "tests": found.tests,
        "cells": dict(sorted(kinds.items())),
        "striking": len(found.suspects),
        "planted": [
            {
                "target": space.classes[cell.judged.suspect.target],
                "shared": cell.told,
                "rows": len(cell.judged.turned),
                "turn_rate": round(cell.judged.turn, 4),
            }
            for cell in cells
        ],
    }


def _size(source: Source) -> int:
    """How many cells a source has; places are counted as one."""
    if source.groups is not None:
        return len(source.groups)
    return 1 if source.pairs is None else len(source.pairs)
