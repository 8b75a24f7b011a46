"""Do rows crowd together at a place where the reference has next to nothing?

A local two-sample test (:mod:`guards.numerics.crowds`) on the counts of the reference's profile:
rows that lie together in many triples of columns, in cells that hold several times what the
reference leads to expect. Natural change makes crowds too, in one or two things at once: a new
route, a storm. What is copied, generated or planted is tight in everything at once, and so a crowd
alarms only if it is tight in `columns` columns none of which implies another; or in as many *views*
of one column of number lists, its places along fixed directions, none of which follows from others.
One cell must be sure over all cells, unless the crowd is tight in `wide` columns or `views` views.

Texts lie where their smallest tokens are under ten orders (MinHash), and pictures where the
amplitudes of their lowest frequencies are, so near copies of one text or picture are crowds too.

Measured by benchmarks/power.py, benchmarks/embeddings_crowds.py and benchmarks/copies.py; the
tables are in docs/rules.md.

The known way around it: spread the rows over the range of all but two columns; put in less than
`rows` rows; lie where the reference lies already. Of vectors: spread them along the ten directions,
which are public, and keep them close in all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.crowds import Heat, Voters, heat, inside, surest, voters
from guards.data.profiles.nouns import VectorColumn
from guards.data.profiles.values import told_apart
from guards.errors import Skip
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.crowds import apart, grouped, independent, tightness
from guards.text import printable

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

NEEDS: frozenset[str] = frozenset()
_TABLES = 4  # triples that are the least to vote
_WITHIN = 0.05  # a cell with this share of a crowd's rows is where it lies
_TOLD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """When a crowd is one.

    A cell is hot with `cell_rows` rows, `lift` times the expected, at `cell_alpha`; a row votes if
    `votes` of its cells are hot, or `more_votes` where a share of `many` rows would vote, as after
    a season; `rows` voting rows that are tight in `columns` columns, and lie in a cell that is
    sure at `alpha` over all cells, alarm; so do, without such a cell, rows that are tight in `wide`
    columns with `wide_votes` in the mean, or along `views` views of one column. A cell or two that
    are hot by chance make rows tight in the three columns, or along the six views, that they are
    of, not in others. Columns that `moved` are left out.
    """

    alpha: float = 0.001
    cell_alpha: float = 0.001
    cell_rows: int = 5
    lift: float = 2.5
    votes: float = 0.045
    more_votes: float = 0.08
    many: float = 0.02
    rows: int = 12
    columns: int = 3
    wide: int = 4
    wide_votes: float = 0.06
    views: int = 8
    moved: float = 0.25
    max_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    """A group of voting rows; `box` are the cells where it lies, of the columns it is tight in.

    `views` are how many of these are views of each column of vectors.
    """

    size: int
    log_p: float
    votes: float
    box: Mapping[str, tuple[int, ...]]
    views: Mapping[str, int]

    @property
    def columns(self) -> list[str]:
        """The columns it is tight in that are no views."""
        return list(self.box)[sum(self.views.values()) :]


def inapplicable(case: Case, settings: Settings) -> str:
    """Why there is nothing to crowd, by roles and types alone; empty when there is."""
    return "" if told_apart(case.dataset) else "no column says where rows lie"


def examine(case: Case, settings: Settings) -> Measured:
    """Look for crowds, and for the rows of those that are tight."""
    if case.reference is None:
        raise Skip("no reference; give --reference, or pin one in the policy under [files]")
    found = heat(
        case.survey.observed[0],
        moved=settings.moved,
        least=settings.cell_rows,
        lift=settings.lift,
        alpha=settings.cell_alpha,
    )
    if len(found.plan) < _TABLES:
        raise Skip(f"{len(found.plan)} triples of columns to compare; {_TABLES} are the least")
    if found.votes < settings.rows * settings.votes:
        return Measured(statistics=_statistics(found, 0, []))
    voting = voters(case.dataset, found, settings.votes)
    if voting.many > settings.many * case.dataset.rows:
        voting = voting.least(settings.more_votes)
    crowds = list(_crowds(found, voting, settings))
    alarming = [crowd for crowd in crowds if _alarming(crowd, settings)]
    held = [_held(case, found, crowd, settings) for crowd in alarming]
    return Measured(
        statistics=_statistics(found, voting.many, crowds),
        findings=tuple(map(_finding, [found] * len(held), alarming, held)),
        row_scores=_distinct(score for scores in held for score in scores),
    )


def _crowds(found: Heat, voting: Voters, settings: Settings) -> Iterator[_Crowd]:
    """The groups of enough rows, the largest first."""
    if len(voting.rows) < settings.rows:
        return
    group, telling = grouped(voting.cells), found.telling()
    for number in np.flatnonzero(np.bincount(group) >= settings.rows).tolist():
        rows = np.flatnonzero(group == number)
        counts = {name: _counted(found, voting, name, rows) for name in found.names}
        tight = {name: tightness(found.usual(name), held) for name, held in counts.items()}
        views = {name: held for name in found.views if (held := _views(found, name, tight))}
        columns = [(name, share) for name, share in tight.items() if not found.family(name)]
        names = [*(v for held in views.values() for v in held)]
        yield _Crowd(
            size=len(rows),
            log_p=surest(found, voting.cells[rows]),
            votes=round(float(voting.votes[rows].mean()), 4),
            box={
                name: tuple(np.flatnonzero(counts[name] >= _WITHIN * len(rows)).tolist())
                for name in (*names, *independent(columns, telling))
            },
            views={name: len(held) for name, held in views.items()},
        )


def _views(found: Heat, family: str, tight: Mapping[str, float]) -> list[str]:
    """The views of a column of vectors that are tight on their own account."""
    own = found.views[family]
    shares = [(place, tight[name]) for place, name in enumerate(own)]
    return [own[place] for place in apart(shares, found.correlations[family])]


def _counted(found: Heat, voting: Voters, name: str, rows: Ints) -> Ints:
    return np.bincount(voting.codes[name][rows], minlength=len(found.usual(name)))


def _alarming(crowd: _Crowd, settings: Settings) -> bool:
    views, columns = max(crowd.views.values(), default=0), len(crowd.columns)
    wide = columns >= settings.wide and crowd.votes >= settings.wide_votes
    tight = max(columns, views) >= settings.columns
    return wide or views >= settings.views or (tight and crowd.log_p <= np.log10(settings.alpha))


def _held(case: Case, found: Heat, crowd: _Crowd, settings: Settings) -> list[RowScore]:
    rows, votes = inside(case.dataset, found, crowd.box, settings.max_rows)
    return [
        RowScore(row=row, score=round(share, 4), reason=f"in a crowd at {_place(found, crowd, 2)}")
        for row, share in zip(rows.tolist(), votes.tolist(), strict=True)
    ]


def _distinct(scores: Iterator[RowScore]) -> tuple[RowScore, ...]:
    """Each row once, with its highest score."""
    best: dict[int, RowScore] = {}
    for score in scores:
        if score.row not in best or best[score.row].score < score.score:
            best[score.row] = score
    return tuple(best[row] for row in sorted(best))


def _place(found: Heat, crowd: _Crowd, most: int) -> str:
    told = [f"in {_along(found, name, many)}" for name, many in crowd.views.items()]
    told += [
        f"{printable(name)[:60]} {printable(found.meaning(name, crowd.box[name]))[:80]}"
        for name in crowd.columns[:most]
    ]
    return ", ".join(told)


def _along(found: Heat, name: str, many: int) -> str:
    column = found.profile.by_name[name]
    every = len(column.views) if isinstance(column, VectorColumn) else many
    return f"{printable(name)[:60]}, along {many} of its {every} views"


def _finding(found: Heat, crowd: _Crowd, held: list[RowScore]) -> Finding:
    columns = len(crowd.columns) + len(crowd.views)
    wide = f" in {columns} columns" if columns > 1 else ""
    return Finding(
        rule="crowds",
        code="crowd",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="rows"),
        summary=f"{len(held)} rows lie close together{wide}, where the reference has next to "
        f"nothing: {_place(found, crowd, _TOLD)}",
        evidence=(
            Evidence(
                statistic="rows in the surest common cell of three columns",
                value=crowd.size,
                p_value=float(10**crowd.log_p),
                effect=crowd.votes,
                rows=len(held),
                detail={
                    "columns": [*crowd.views, *crowd.columns],
                    "views": dict(crowd.views),
                    "log10_p_value": round(crowd.log_p, 2),
                },
            ),
        ),
        remedy="look at the held rows: are they copies, generated, or of one event? "
        "If they belong, accept a new reference that has them",
    )


def _statistics(found: Heat, voting: int, crowds: list[_Crowd]) -> dict[str, Any]:
    return {
        "triples": len(found.plan),
        "hot": sum(int(cells.sum()) for cells in found.cells),
        "voting": voting,
        "crowds": [
            {"rows": one.size, "votes": one.votes, "tight": list(one.box)} for one in crowds[:20]
        ],
    }
