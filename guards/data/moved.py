"""How far each column of a batch lies from a stored profile: effects, p-values, plotted shares.

Numbers by Kolmogorov-Smirnov's D less what the stored distribution function may be off by, words by
total variation less its mean under sampling; missing values and unknown words by exact binomials.
Of texts beside the lengths the shares of rows that hold each listed token, of vectors beside the
norms the places along each of their views and the mean of each dimension; what moved most is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from guards.data.profiles.nouns import (
    CategoryColumn,
    Column,
    NumericColumn,
    TextColumn,
    VectorColumn,
    coarse,
    coarse_bins,
)
from guards.data.profiles.observe import Seen, numeric_part

_PLOTTED = 18
_LEVEL = 0.001  # below it something of a column has moved
Distance = tuple[str, float, float]  # of what, how far, p-value


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One column, now and then: `effect` is the distance that `what` names.

    Beside it the `interval` where that lies with 95 % confidence, as far as the draw of the rows
    goes, p-values, and `missing` and `new` (shares of rows beyond the reference); `beyond` is the
    share of numbers outside of all that the reference has seen; shares are over the plotted `bins`.
    `odd` of the missing rows hold lists of another length than the reference's, or with a number
    that is none.
    """

    column: Column
    rows: int
    what: str
    effect: float
    interval: tuple[float, float]
    js: float
    p_value: float
    missing: float
    missing_p: float
    new: float
    new_p: float
    beyond: float
    odd: int
    gone: tuple[str, ...]
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name

    @property
    def spread(self) -> float:
        """How far one block of the reference lies from the others, at most."""
        own = spread_source(self.column).spread
        match self.column:
            case TextColumn():
                return max(own, self.column.spread)
            case VectorColumn():
                return max(own, *(view.spread for view in self.column.views))
        return own

    @property
    def null_spread(self) -> float:
        """How far the missing rates of two blocks of the reference differ."""
        return spread_source(self.column).null_spread


def compared(seen: Seen) -> Moved:
    """Hold a column of a batch against the stored one; p-values are not corrected yet."""
    from guards.numerics.twosample import (
        binomial_excess_p_value,
        distance_interval,
        jensen_shannon,
    )

    column = seen.column
    rows, then = int(seen.cells.sum()), column.rows
    bins, before, now = _plotted(column, seen)
    what, effect, p_value = _distance(seen)
    new, new_p, gone = _categories(seen)
    return Moved(
        column=column,
        rows=rows,
        what=what,
        effect=effect,
        interval=distance_interval(effect, seen.count, column.count),
        js=jensen_shannon(column.cells, seen.cells),
        p_value=p_value,
        missing=seen.missing / rows - column.missing / then,
        missing_p=binomial_excess_p_value(seen.missing, rows, (column.missing + 1) / (then + 1)),
        new=new,
        new_p=new_p,
        beyond=_beyond(seen),
        odd=seen.odd,
        gone=gone,
        bins=bins,
        reference=before,
        current=now,
    )


def _distance(seen: Seen) -> Distance:
    """What moved most, by how much less what the sketch or sampling explain, and its p-value."""
    from guards.numerics.cells import moved_shares
    from guards.numerics.twosample import homogeneity_p_value, ks_against_steps, ks_p_value

    column = seen.column
    if isinstance(column, CategoryColumn):
        if not seen.count or not column.count:
            return "total variation", 0.0, 1.0
        then, now = _tallies(column, seen)
        effect = float(moved_shares([then], [now])[0])
        return "total variation", effect, homogeneity_p_value(then, now)
    if not seen.count or not column.count:
        return "D", 0.0, 1.0
    stored = numeric_part(column)
    exact = ks_against_steps(stored.weights, seen.below, seen.upto, seen.count)
    effect = max(0.0, exact - stored.off)
    p_value = ks_p_value(effect, seen.count, column.count)
    match column:
        case TextColumn():
            own = [("D of the length", effect, p_value)]
            return _most(own, _tokens(column, seen), _unlisted(column, seen))
        case VectorColumn():
            own = [("D of the norm", effect, p_value)]
            return _most(own, _views(column, seen), _means(column, seen))
    return "D", effect, p_value


def _most(*families: Sequence[Distance]) -> Distance:
    """Of what moved beyond chance the largest move, else the surest.

    Each family of tests, whatever their number, has the same share of the p-values' correction.
    """
    found = [
        (what, effect, min(1.0, p_value * len(family) * len(families)))
        for family in families
        for what, effect, p_value in family
    ]
    sure = [one for one in found if one[2] <= _LEVEL]
    return max(sure or found, key=lambda one: (one[1] if sure else -one[2], one[1]))


def _tokens(column: TextColumn, seen: Seen) -> list[Distance]:
    """The share of rows with each listed token, now less then, beyond what its count may be off."""
    from guards.numerics.twosample import rates_apart

    rows = column.count, seen.count
    effects, p_values = rates_apart(column.counts, seen.listed, rows, error=column.error)
    told = zip(column.tokens, effects.tolist(), p_values.tolist(), strict=True)
    return [(f"share of rows with the word {token}", *moved) for token, *moved in told]


def _unlisted(column: TextColumn, seen: Seen) -> list[Distance]:
    """The same of the commonest other tokens, which are in `bound` rows of the reference at most.

    They were picked out of all that are new, and are corrected for as many.
    """
    from guards.numerics.twosample import rates_apart

    then, now = [column.bound] * len(seen.commonest), [rows for _, rows in seen.commonest]
    effects, p_values = rates_apart(then, now, (column.count, seen.count))
    picked = max(seen.new, 1) / max(len(now), 1)
    return [
        (f"share of rows with the word {token}", effect, min(1.0, p_value * picked))
        for (token, rows), effect, p_value in zip(
            seen.commonest, effects.tolist(), p_values.tolist(), strict=True
        )
        if rows * column.count > column.bound * seen.count
    ]


def _views(column: VectorColumn, seen: Seen) -> list[Distance]:
    """The places along each direction; without what is missing, of which there is a test."""
    from guards.numerics.cells import moved_shares
    from guards.numerics.twosample import homogeneity_p_value

    cells = [(view.cells[1:], now[1:]) for view, now in zip(column.views, seen.views, strict=True)]
    return [
        (
            f"total variation of view {number}",
            float(moved_shares([then], [now])[0]),
            homogeneity_p_value(then, now),
        )
        for number, (then, now) in enumerate(cells, start=1)
    ]


def _means(column: VectorColumn, seen: Seen) -> list[Distance]:
    from guards.numerics.twosample import means_apart

    moments = (column.mean, column.variance), (seen.mean, seen.variance)
    effects, p_values = means_apart(*moments, (column.count, seen.count))
    told = enumerate(zip(effects.tolist(), p_values.tolist(), strict=True))
    return [(f"D by the mean of dimension {place}", *moved) for place, moved in told]


def _beyond(seen: Seen) -> float:
    if isinstance(seen.column, CategoryColumn) or not seen.count or not len(seen.below):
        return 0.0
    return 1 - float(seen.upto[-1] - seen.below[0]) / seen.count


def _tallies(column: CategoryColumn, seen: Seen) -> tuple[list[int], list[int]]:
    """Counts of the listed values and of all others, then and now."""
    return [*column.counts, column.rest], [*seen.listed.tolist(), seen.unlisted]


def _categories(seen: Seen) -> tuple[float, float, tuple[str, ...]]:
    """The mass of unknown values beyond the expected, its p-value, and what has vanished."""
    from guards.numerics.twosample import binomial_excess_p_value

    column = seen.column
    if not isinstance(column, CategoryColumn) or not seen.count:
        return 0.0, 1.0, ()
    rate = (column.rest + 1) / (column.count + 1)
    common = zip(column.values, column.counts, seen.listed.tolist(), strict=True)
    gone = tuple(
        value for value, before, after in common if not after and before >= 0.05 * column.count
    )
    p_value = binomial_excess_p_value(seen.unlisted, seen.count, rate)
    return seen.unlisted / seen.count - rate, p_value, gone


def corrected(moves: Sequence[Moved]) -> list[Moved]:
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


def spread_source(column: Column) -> CategoryColumn | NumericColumn:
    """What knows how far blocks lie apart: the column, its lengths or its norms."""
    return column if isinstance(column, CategoryColumn) else numeric_part(column)


def _plotted(column: Column, seen: Seen) -> tuple[tuple[str, ...], Any, Any]:
    """At most `_PLOTTED` + 2 bins: neighbours joined for numbers, the rarest for words."""
    import numpy as np

    words = isinstance(column, CategoryColumn)
    join = 1 if words else -(-len(column.bins) // _PLOTTED)
    places = coarse(len(column.bins), join, words=words)
    names = coarse_bins(column, join)
    if words and len(names) > _PLOTTED + 2:
        places = np.where(places > _PLOTTED, _PLOTTED + 1, places)
        names = (*names[: _PLOTTED + 1], names[-1])
    merged = [np.bincount(places, weights=counts) for counts in (column.cells, seen.cells)]
    return names, _shares(merged[0]), _shares(merged[1])


def _shares(counts: Any) -> tuple[float, ...]:
    total = max(float(sum(counts)), 1.0)
    return tuple(round(float(count) / total, 5) for count in counts)
