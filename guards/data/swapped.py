"""Which values of which sources stand where the rest of the row speaks for another value.

The reference's pairs say how the rows of each value of a column lie in other columns, and of any
two values which other column tells them apart best. The rows of a value in one source are held
against that (:mod:`guards.numerics.betting`), for every other value that they might be of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.dataset import Dataset
from guards.data.profiles.nouns import OTHER, CategoryColumn, Profile, coarse
from guards.data.profiles.observe import Observed, encoded
from guards.numerics import betting
from guards.numerics.excess import inflation

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Reals = npt.NDArray[np.float64]

LEAST = 8  # rows of a value in a source that are looked at
APART = 0.7  # nats that the rows of the other value lie apart, at least
# log10 of the evidence in all other sources together, or its part of that in the one, that makes it
# theirs as well
_BROAD, _PART = 2.0, 0.4
_ADDED = 2.5  # standard deviations: more rows of both together have come, and were not exchanged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swapped:
    """Of `rows` rows with `value` of `column` in `source` some `moved` look like rows of `other`.

    Told by the column `by`. `log_e` is log10 of the evidence. `value`, `other` and `source` are
    codes of the bins. `chances` (cells,) say for each code of `by` how likely such a row is one.
    """

    column: str
    value: int
    other: int
    source: int
    by: str
    rows: int
    moved: float
    log_e: float
    chances: Reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bets:
    """The bets on a column that `by` decides: on rows of `first` (bets,) being of `second` (bets,).

    `cells` (codes,) is the cell of each code of `by`; `spread` (values, cells) and `sided`
    (sources, cells) are the reference's shares, `margin` those of all rows; `together` its counts
    (values, sources). `rho` is the dispersion between blocks, of `known` rows.
    """

    column: str
    by: str
    first: Ints
    second: Ints
    cells: Ints
    spread: Reals
    sided: Reals
    margin: Reals
    together: Ints
    rho: float
    known: int


def planned(seen: Observed, source: str, columns: Sequence[str]) -> list[Bets]:
    """Of every two values of each column which other column tells them apart best.

    It follows from the reference alone. Columns are those of words; what the profile does not hold
    in their own bins, against each other and the source, is left out.
    """
    tables = _tables(seen.profile)
    among = [name for name in seen.columns if name != source]
    words = [name for name in columns if name != source]
    return [bets for name in words for bets in _bets(seen.profile, tables, name, source, among)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """Counts (down, across) of two columns, and the cell of each of the second's codes."""

    counts: Ints
    cells: Ints
    rho: float


def _tables(profile: Profile) -> dict[tuple[str, str], _Table]:
    """Every pair both ways of which the first column is in its own bins."""
    found = {}
    for pair in profile.pairs:
        counts = np.asarray(pair.counts, np.int64)
        names = (pair.first, pair.second)
        columns = [profile.by_name[name] for name in names]
        cells = [
            np.asarray(coarse(len(c.bins), pair.join, words=isinstance(c, CategoryColumn)))
            for c in columns
        ]
        for here, there, held in ((0, 1, counts), (1, 0, counts.T)):
            if len(held) == len(columns[here].bins):
                key = (names[here], names[there])
                found[key] = _Table(counts=held, cells=cells[there], rho=pair.rho)
    return found


def _bets(
    profile: Profile,
    tables: Mapping[tuple[str, str], _Table],
    column: str,
    source: str,
    among: Sequence[str],
) -> Iterator[Bets]:
    together = tables.get((column, source))
    by = [
        name
        for name in among
        if name != column
        and (column, name) in tables
        and (source, name) in tables
        and np.array_equal(tables[column, name].cells, tables[source, name].cells)
    ]
    if together is None or len(together.cells) != len(profile.by_name[source].bins) or not by:
        return
    spreads = [betting.shares(tables[column, name].counts) for name in by]
    best = np.argmax([betting.worth(spread) for spread in spreads], axis=0)
    for place, (name, spread) in enumerate(zip(by, spreads, strict=True)):
        able = (best == place) & (betting.apart(spread) >= APART)
        # The first code is of what is missing, which is no value.
        able[0], able[:, 0] = False, False
        np.fill_diagonal(able, False)
        first, second = np.nonzero(able)
        if len(first):
            sided = tables[source, name].counts
            yield Bets(
                column=column,
                by=name,
                first=first,
                second=second,
                cells=tables[column, name].cells,
                spread=spread,
                sided=betting.shares(sided),
                margin=sided.sum(axis=0) / max(sided.sum(), 1),
                together=together.counts,
                rho=tables[column, name].rho,
                known=int(sided.sum()),
            )


def counted(dataset: Dataset, profile: Profile, source: str, bets: Sequence[Bets]) -> list[Ints]:
    """Rows of the batch in every cell of (source, value, other column), for each of the bets."""
    names = sorted({source, *(n for one in bets for n in (one.column, one.by))})
    found = [np.zeros((len(one.sided), *one.spread.shape), np.int64) for one in bets]
    for part in encoded(dataset, profile, names):
        codes = {name: held.astype(np.int64) for name, held in part.codes.items()}
        for one, counts in zip(bets, found, strict=True):
            _, values, cells = counts.shape
            place = (codes[source] * values + codes[one.column]) * cells + one.cells[codes[one.by]]
            counts += np.bincount(place, minlength=counts.size).reshape(counts.shape)
    return found


def swapped(
    profile: Profile, source: str, bets: Bets, counts: Ints, least: float
) -> tuple[list[Swapped], int]:
    """For each source and value the other value that it looks most like, and how many were asked.

    `counts` (sources, values, cells) are the batch's. A bet that the other sources win as well,
    all of them together, is none: what moved everywhere is a season, and drift tells it. Nor is one
    where both values have more rows together than an exchange leaves: those have come in addition.
    `least` is how many rows must have moved.
    """
    bins = profile.by_name[source].bins
    asked = [code for code in range(1, len(bins)) if bins[code] != OTHER]
    found, tests, blocks = list[Swapped](), 0, len(profile.blocks)
    rivals = _rivals(bets, counts)
    for code in asked:
        told, ratio, rows = _source(bets, counts[code], code, blocks)
        enough = rows[bets.first] >= LEAST
        tests += int(enough.sum())
        elsewhere = betting.evidence(rivals.sum(axis=0) - rivals[code])
        local = elsewhere < np.maximum(_BROAD, _PART * told)
        for place in np.flatnonzero(enough & local & (told > 0)).tolist():
            one = _told(bets, counts[code], code, place, told, ratio)
            if one.moved >= least and _added(bets, counts[code], code, place) <= _ADDED:
                found.append(one)
    return _best(found), tests


def _rivals(bets: Bets, counts: Ints) -> Reals:
    """What the bets gain in each source by the sharper law, (sources, stakes, bets)."""
    held = [_ratio(bets, code)[0] for code in range(len(counts))]
    return np.array(
        [betting.gains(rows[bets.first], q) for rows, q in zip(counts, held, strict=True)]
    )


def _ratio(bets: Bets, source: int) -> tuple[Reals, Reals]:
    """The ratio q / p (bets, cells) in one source, and the law :func:`betting.joint` of both."""
    law = betting.joint(bets.spread, bets.sided[source], bets.margin)
    return law[bets.second] / law[bets.first], law


def _source(bets: Bets, counts: Ints, source: int, blocks: int) -> tuple[Reals, Reals, Ints]:
    """log10 of the evidence of each bet in one source, its q / p, and the rows of each value."""
    ratio, law = _ratio(bets, source)
    own, of = bets.together[:, source], bets.together
    most = betting.at_most(
        bets.spread,
        bets.sided[source],
        (own + 1) / (of.sum(axis=1) + of.shape[1]),
        (own + 1) / (own.sum() + of.shape[0]),
    )
    rows = counts.sum(axis=1)
    held = betting.capped(counts[bets.first], law[bets.second], ratio)
    wider = np.array([inflation(bets.rho, bets.known, int(many), blocks) for many in rows])
    lost = betting.widening(*betting.misfit(counts, law), bets.first, bets.second)
    sharp = betting.gains(held, ratio) / (lost * wider[bets.first])
    sure = betting.gains(held, law[bets.second] / most[bets.first]) / wider[bets.first]
    return betting.either(betting.evidence(sharp), betting.evidence(sure)), ratio, rows


def _added(bets: Bets, counts: Ints, source: int, place: int) -> float:
    """:func:`betting.added` of a bet in a source, where cells tell the two values apart."""
    ratio, law = _ratio(bets, source)
    telling = ratio[place] >= betting.TELLING
    both = [bets.first[place], bets.second[place]]
    own = bets.together[:, source]
    usual = own[both] / max(own.sum(), 1) * counts.sum()
    return betting.added(
        counts[both][:, telling].sum(axis=1),
        usual * law[both][:, telling].sum(axis=1),
        own.sum() / max(counts.sum(), 1),
    )


def _told(bets: Bets, counts: Ints, source: int, place: int, told: Reals, ratio: Reals) -> Swapped:
    first = int(bets.first[place])
    rows = counts[first]
    share = betting.likeliest(rows, ratio[place])
    return Swapped(
        column=bets.column,
        value=first,
        other=int(bets.second[place]),
        source=source,
        by=bets.by,
        rows=int(rows.sum()),
        moved=share * int(rows.sum()),
        log_e=float(told[place]),
        chances=betting.chances(ratio[place], share)[bets.cells],
    )


def _best(found: Sequence[Swapped]) -> list[Swapped]:
    """Of each source and value the other value that most speaks for."""
    best: dict[tuple[int, int], Swapped] = {}
    for one in sorted(found, key=lambda one: -one.log_e):
        best.setdefault((one.source, one.value), one)
    return list(best.values())


def rows_of(
    dataset: Dataset, profile: Profile, source: str, found: Sequence[Swapped]
) -> list[dict[int, float]]:
    """The global rows of each that are more likely of the other value than not, and how likely."""
    names = sorted({source, *(n for one in found for n in (one.column, one.by))})
    held: list[dict[int, float]] = [{} for _ in found]
    for part in encoded(dataset, profile, names) if found else ():
        for one, rows in zip(found, held, strict=True):
            here = (part.codes[source] == one.source) & (part.codes[one.column] == one.value)
            places = np.flatnonzero(here)
            odds = one.chances[part.codes[one.by][places].astype(np.int64)]
            likely: Any = odds >= 0.5
            rows |= zip((part.start + places[likely]).tolist(), odds[likely].tolist(), strict=True)
    return held
