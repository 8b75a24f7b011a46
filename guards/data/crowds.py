"""The rows of a batch that vote for a crowd, and where the crowd lies.

Counts alone say which cells are hot; which rows lie in them takes a pass over the batch, and it is
made only if so many hot cells could add up to enough votes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset
from guards.data.profiles.nouns import Profile
from guards.data.profiles.observe import Encoded, Observed, encoded, steady, steady_views
from guards.data.profiles.tables import shape_of
from guards.data.profiles.triples import Triples, few, few_bins
from guards.numerics.crowds import hot, implied, scored_correlation
from guards.numerics.excess import expected_values, inflation, log_tails

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

MOST = 2_000  # rows that vote, those with most votes, among which groups are looked for


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Which cells of which triples are hot: `cells[i]` of the triple `plan[i]`, with its counts.

    `inflation` is how much wider than chance the counts of each triple are by nature.

    Triples of a column that moved as a whole, or is a clock, are left out: a month is no crowd.
    Those of columns are one family, called "", those of the views of each column of vectors another
    that bears its name; what one family tells of another nobody counted, so each stands alone.
    """

    profile: Profile
    plan: tuple[tuple[str, str, str], ...]
    then: tuple[Ints, ...]
    now: tuple[Ints, ...]
    inflation: tuple[float, ...]
    cells: tuple[Bools, ...]

    @property
    def votes(self) -> float:
        """The votes of all rows together, of the family that has most."""
        held = [int(now[hot].sum()) for now, hot in zip(self.now, self.cells, strict=True)]
        sums = (np.mean([held[place] for place in own]) for own in self.families.values())
        return float(max(sums, default=0.0))

    @cached_property
    def families(self) -> Mapping[str, list[int]]:
        """The places of each family's triples in `plan`."""
        found: dict[str, list[int]] = {}
        for place, three in enumerate(self.plan):
            found.setdefault(self.family(three[0]), []).append(place)
        return found

    def family(self, name: str) -> str:
        """The family of a column, or of a view."""
        return "" if name in self.profile.by_name else self.profile.owner(name)

    def shares(self, cells: Ints) -> Floats:
        """Each row's votes, (n,): the most of a family's tables in which its cell is hot.

        `cells` (n, tables) are the rows' hot cells, -1 for none.
        """
        found = [(cells[:, own] >= 0).mean(axis=1) for own in self.families.values()]
        return np.asarray(np.max(found, axis=0))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns that are looked at, in order."""
        return tuple(sorted({name for three in self.plan for name in three}))

    @cached_property
    def triples(self) -> Triples:
        """Says in which cell of each triple a row lies."""
        shapes = {name: shape_of(self.profile.countable[name]) for name in self.names}
        return Triples(self.plan, shapes)

    @cached_property
    def few(self) -> Mapping[str, Ints]:
        """The coarse cell of each code of a column."""
        return {name: few(shape_of(self.profile.countable[name])) for name in self.names}

    def usual(self, name: str) -> Ints:
        """The reference's rows in each coarse cell of a column."""
        return np.bincount(self.few[name], weights=self.profile.countable[name].cells).astype(int)

    def meaning(self, name: str, cells: Sequence[int]) -> str:
        """What coarse cells of a column mean, in words."""
        bins = few_bins(self.profile.countable[name])
        return " or ".join(bins[cell] for cell in cells)

    def telling(self) -> dict[frozenset[str], float]:
        """How much of one column another tells, for every pair that is in the profile."""
        return {
            frozenset((pair.first, pair.second)): implied(pair.counts)
            for pair in self.profile.pairs
            if {pair.first, pair.second} <= set(self.names)
        }

    @cached_property
    def views(self) -> Mapping[str, list[str]]:
        """The views of each column of vectors that are looked at."""
        own = {name: [n for n in self.names if self.family(n) == name] for name in self.families}
        return {name: views for name, views in own.items() if name}

    @cached_property
    def correlations(self) -> Mapping[str, Floats]:
        """Those of a column's `views` in the reference, (views, views); NaN if not counted."""
        return {name: self._correlated(views) for name, views in self.views.items()}

    def _correlated(self, views: Sequence[str]) -> Floats:
        found = np.full((len(views), len(views)), np.nan)
        np.fill_diagonal(found, 1.0)
        for three, counts in zip(self.plan, self.then, strict=True):
            if not set(three) <= set(views):
                continue
            table = counts.reshape([int(self.few[name][-1]) + 1 for name in three])
            for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
                one, two = (views.index(three[other]) for other in others)
                # What is missing has no place on a line.
                found[one, two] = scored_correlation(table.sum(axis=axis)[1:, 1:])
                found[two, one] = found[one, two]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Voters:
    """Rows with votes: `rows` (n,) global numbers, `cells` (n, tables) hot cells or -1.

    `votes` (n,) are :meth:`Heat.shares`, `codes[column]` (n,) coarse cells; `many` is how many rows
    there were, before MOST.
    """

    rows: Ints
    cells: Ints
    votes: Floats
    codes: Mapping[str, Ints]
    many: int

    def least(self, votes: float) -> Voters:
        """Those with at least that share of votes."""
        kept = self.votes >= votes
        return Voters(
            rows=self.rows[kept],
            cells=self.cells[kept],
            votes=self.votes[kept],
            codes={name: codes[kept] for name, codes in self.codes.items()},
            many=int(kept.sum()),
        )


def heat(seen: Observed, *, moved: float, least: int, lift: float, alpha: float) -> Heat:
    """The hot cells of a batch, in triples of columns that have not moved by so much."""
    views = [name for column in seen.columns.values() for name in steady_views(column, moved)]
    still = {*(set(views) - seen.columns.keys())}
    still |= {name for name, column in seen.columns.items() if steady(column, moved)}
    kept = [
        (stored, np.asarray(stored.counts, np.int64), now)
        for stored, now in zip(seen.profile.triples, seen.triples, strict=True)
        if now is not None and set(stored.columns) <= still
    ]
    wider = [
        inflation(stored.rho, int(then.sum()), int(now.sum()), len(seen.profile.blocks))
        for stored, then, now in kept
    ]
    return Heat(
        profile=seen.profile,
        plan=tuple(stored.columns for stored, _, _ in kept),
        then=tuple(then for _, then, _ in kept),
        now=tuple(now for _, _, now in kept),
        inflation=tuple(wider),
        cells=tuple(
            hot(then, now, least=least, lift=lift, alpha=alpha, inflation=width)
            for (_, then, now), width in zip(kept, wider, strict=True)
        ),
    )


def voters(dataset: Dataset, found: Heat, votes: float) -> Voters:
    """The rows with at least that share of votes; one pass."""
    parts = list(_voting(dataset, found, votes))
    cells = np.concatenate([part.cells for part in parts])
    rows, shares = (np.concatenate([getattr(p, what) for p in parts]) for what in ("rows", "votes"))
    order = np.lexsort((rows, -shares))[:MOST]
    kept = np.sort(order)
    return Voters(
        rows=rows[kept],
        cells=cells[kept],
        votes=shares[kept],
        codes={n: np.concatenate([part.codes[n] for part in parts])[kept] for n in found.names},
        many=len(rows),
    )


def _voting(dataset: Dataset, found: Heat, votes: float) -> Iterator[Voters]:
    for part in encoded(dataset, found.profile, found.names):
        cells = _cells(found, part)
        shares = found.shares(cells)
        ours = np.flatnonzero(shares >= votes)
        yield Voters(
            rows=part.start + ours,
            cells=cells[ours],
            votes=shares[ours],
            codes={name: found.few[name][part.codes[name][ours]] for name in found.names},
            many=len(ours),
        )


def _cells(found: Heat, part: Encoded) -> Ints:
    """The hot cell of each row in each triple, -1 where its cell is not hot, (rows, tables)."""
    rows = len(next(iter(part.codes.values())))
    cells = np.full((rows, len(found.plan)), -1)
    for place, hot_ones in enumerate(found.cells):
        if hot_ones.any():
            own = found.triples.cell(place, part.codes)
            cells[:, place] = np.where(hot_ones[own], own.astype(np.int64), -1)
    return cells


def inside(
    dataset: Dataset, found: Heat, box: Mapping[str, Sequence[int]], most: int
) -> tuple[Ints, Floats]:
    """The first rows that lie in the given coarse cells of each column, and their votes."""
    rows, votes = [np.zeros(0, np.int64)], [np.zeros(0)]
    for part in encoded(dataset, found.profile, found.names):
        in_box = np.ones(len(part.codes[found.names[0]]), np.bool_)
        for name, cells in box.items():
            in_box &= np.isin(found.few[name][part.codes[name]], list(cells))
        rows.append(part.start + np.flatnonzero(in_box))
        votes.append(found.shares(_cells(found, part)[in_box]))
    return np.concatenate(rows)[:most], np.concatenate(votes)[:most]


def surest(found: Heat, cells: Ints) -> float:
    """log10 of the p-value of the surest cell that most of a group share, over all cells.

    `cells` (n, tables) are the hot cells of the group's rows.
    """
    best, tests = 0.0, sum(len(counts) for counts in found.now)
    for place in range(cells.shape[1]):
        own = cells[cells[:, place] >= 0, place]
        if 2 * len(own) >= len(cells):
            cell = int(np.bincount(own).argmax())
            best = min(best, _log_tail(found, place, cell))
    return min(best + float(np.log10(tests)), 0.0)


def _log_tail(found: Heat, place: int, cell: int) -> float:
    then, now = found.then[place], found.now[place]
    expected = expected_values(then, int(then.sum()), int(now.sum()))
    return float(log_tails(now, expected, then, found.inflation[place])[cell])
