"""How much of a batch is not what the reference holds, at least, and where that shows.

Two axes. *Unlike* is the largest bound of any column or pair of columns: seasons count as well as
poison. *Joint* is that of any pair against the reference brought to the batch's own sides
(:mod:`guards.numerics.raking`): what no column shows alone. A season moves columns, so the first is
large and the second is a small part of it; rows that were put in are much of both. Joint takes the
reference's sides as known, so it is close to, and not exactly, of the confidence named.

A calendar cannot bound anything: the batch has other days than the reference, and so had each block
of the reference. Every table is therefore held against one more block, by the dispersion that the
profile keeps of its blocks (:mod:`guards.numerics.dispersion`). What changed within the time of the
reference (its seasons, its mix of sources) is allowed to go on changing as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guards.data.profiles.nouns import CategoryColumn, Column
from guards.data.profiles.observe import Observed, numeric_part
from guards.numerics.contamination import LOOKED, Table, alike, lifted, lower_bound
from guards.numerics.dispersion import from_distance, from_range, from_variation
from guards.numerics.raking import ROUNDS, raked

CONFIDENCE = 0.99
_BOTH = ("then", "now")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """`share` of the rows, at least, are not like the reference; `where` names the columns.

    It shows in `cells`, flat places in the table of these columns, which joins so many bins; the
    reference explains at most the share `usual` of rows there, however the cells were chosen.
    """

    share: float
    where: tuple[str, ...] = ()
    cells: tuple[int, ...] = ()
    join: int = 1
    usual: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """The counts of a column, or of a pair of columns."""

    names: tuple[str, ...]
    table: Table
    join: int = 1


def unlike_reference(seen: Observed) -> tuple[Unlike, Unlike]:
    """The bounds in all, and in what two columns do together; each of CONFIDENCE."""
    single, pairs = _single(seen), _pairs(seen)
    along = _moved_along(_promising(pairs))
    return _bound([*single, *pairs]), _bound(along, among=len(pairs))


def _single(seen: Observed) -> list[_Named]:
    rho = _side_dispersions(seen)
    return [
        _Named(
            names=(name,),
            table=Table(then=np.asarray(one.column.cells, np.int64), now=one.cells, rho=rho[name]),
        )
        for name, one in seen.columns.items()
    ]


def _pairs(seen: Observed) -> list[_Named]:
    sides = _side_dispersions(seen)
    return [
        _Named(
            names=(pair.first, pair.second),
            join=pair.join,
            table=Table(
                then=np.asarray(pair.counts, np.int64),
                now=counts,
                rho=_one_more(pair.rho, seen.profile.blocks),
                sides=(sides[pair.first], sides[pair.second]),
            ),
        )
        for pair, counts in zip(seen.profile.pairs, seen.tables, strict=True)
        if counts is not None
    ]


def _side_dispersions(seen: Observed) -> dict[str, float]:
    blocks = seen.profile.blocks
    return {
        name: _one_more(dispersion_of(one.column, blocks), blocks)
        for name, one in seen.columns.items()
    }


def _one_more(rho: float, blocks: Sequence[int]) -> float:
    """Between one more block, which the batch is, and the mean of those known."""
    return min(rho * (1 + 1 / max(len(blocks), 1)), 1.0)


def dispersion_of(column: Column, blocks: Sequence[int]) -> float:
    """How much blocks differ in one column, by what its profile keeps of that."""
    part = column if isinstance(column, CategoryColumn) else numeric_part(column)
    missing = from_range(part.null_spread, blocks, part.missing / max(part.rows, 1))
    if isinstance(part, CategoryColumn):
        return max(missing, from_variation(part.spread, blocks, [*part.counts, part.rest]))
    return max(missing, from_distance(part.spread, blocks))


def _promising(pairs: Sequence[_Named]) -> list[_Named]:
    """The pairs that differ most after one round of raking; with many columns most do not at all.

    Twice as many as are looked into, since one round is not the last word.
    """
    worth = lifted([pair.table for pair in _moved_along(pairs, rounds=1)])
    order = np.argsort(-worth, kind="stable")[: 2 * LOOKED]
    return [pairs[place] for place in order.tolist()]


def _moved_along(pairs: Sequence[_Named], rounds: int = ROUNDS) -> list[_Named]:
    """The reference of each pair with the batch's sides, which then move nothing any more."""
    tables = [pair.table for pair in pairs]
    found = list(pairs)
    for places in alike(tables):
        then, now = (np.array([getattr(tables[n], part) for n in places]) for part in _BOTH)
        fitted = raked(then, now, rounds)
        rows, known = (held.sum((1, 2), keepdims=True) for held in (fitted, then))
        scaled = np.rint(fitted * (known / np.maximum(rows, 1.0))).astype(np.int64)
        for place, counts in zip(places, scaled, strict=True):
            found[place] = replace(
                pairs[place], table=replace(tables[place], then=counts, sides=())
            )
    return found


def _bound(named: Sequence[_Named], among: int = 0) -> Unlike:
    # The halves are drawn from a fixed seed: the bound follows from the counts alone.
    rng = np.random.default_rng(0)
    tables = [one.table for one in named]
    found = lower_bound(tables, rng, confidence=CONFIDENCE, among=among)
    if not found.share:
        return Unlike(share=0.0)
    return Unlike(
        share=round(found.share, 4),
        where=named[found.table].names,
        cells=tuple(found.cells.tolist()),
        join=named[found.table].join,
        usual=found.usual,
    )
