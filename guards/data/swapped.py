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
LIKELY = 0.5  # that a row is of the other value: such rows are held
APART = 0.7  # nats that the rows of the other value lie apart, at least
# log10 of the evidence in all other sources together, or its part of that in the one, that makes it
# theirs as well
_BROAD, _PART = 2.0, 0.4
_SHOWN = 1 / 3  # of the rows that moved are each more likely of the other value than not
_ADDED = 2.5  # standard deviations: more rows of both together have come, and were not exchanged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swapped:
    """Of `rows` rows with `value` of `column` in `source` some `moved` look like rows of `other`.

    Told by the column `by`. `log_e` is log10 of the evidence. `value`, `other` and `source` are
    codes of the bins. `chances` (cells,) say for each code of `by` how likely such a row is one;
    `shown` are the rows of which that is more likely than not.
    """

    column: str
    value: int
    other: int
    source: int
    by: str
    rows: int
    moved: float
    shown: int
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
            np.asarray(coarse(len(c.cells), pair.join, words=isinstance(c, CategoryColumn)))
            for c in columns
        ]
        for here, there, held in ((0, 1, counts), (1, 0, counts.T)):
            if len(held) == len(columns[here].cells):
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
    sources = len(profile.by_name[source].cells)
    if together is None or together.counts.shape[1] != sources or not by:
        return
    spreads = [betting.shares(tables[column, name].counts) for name in by]
    best = np.argmax([betting.worth(spread) for spread in spreads], axis=0)
    # Neither what is missing is a value, nor all others together.
    told = np.array(
        [place > 0 and word != OTHER for place, word in enumerate(profile.by_name[column].bins)]
    )
    for place, (name, spread) in enumerate(zip(by, spreads, strict=True)):
        able = (best == place) & (betting.apart(spread) >= APART) & np.outer(told, told)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    """`counts` (sources, values, cells) of the batch beside `laws`, what is expected of each value.

    `ratios` (sources, bets, cells) are how much more usual each cell is among rows of the second
    value, `squares` and `freedom` (sources, values) how far counts and laws are apart, and `moved`
    (bets,) how far the batch as a whole is from the reference, but for the two values of a bet.
    """

    counts: Ints
    laws: Reals
    ratios: Reals
    squares: Reals
    freedom: Reals
    moved: Reals


def _held(bets: Bets, counts: Ints) -> _Held:
    laws = np.array([betting.joint(bets.spread, sided, bets.margin) for sided in bets.sided])
    apart = [betting.misfit(rows, law) for rows, law in zip(counts, laws, strict=True)]
    season = betting.misfit(counts.sum(axis=0), bets.spread)
    return _Held(
        counts=counts,
        laws=laws,
        ratios=laws[:, bets.second] / laws[:, bets.first],
        squares=np.array([squares for squares, _ in apart]),
        freedom=np.array([freedom for _, freedom in apart]),
        moved=betting.widening(*season, bets.first, bets.second),
    )


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
    held = _held(bets, counts)
    rows = counts[:, bets.first]
    won = np.array([betting.gains(*both) for both in zip(rows, held.ratios, strict=True)])
    by_all = won.sum(axis=0)
    found, tests = list[Swapped](), 0
    for code in asked:
        told = _evidence(bets, held, code, len(profile.blocks))
        enough = rows[code].sum(axis=1) >= LEAST
        tests += int(enough.sum())
        elsewhere = betting.evidence(by_all - won[code])
        local = elsewhere < np.maximum(_BROAD, _PART * told)
        for place in np.flatnonzero(enough & local & (told > 0)).tolist():
            one = _told(bets, held, code, place, float(told[place]))
            if _stands(one, least) and _added(bets, held, code, place) <= _ADDED:
                found.append(one)
    return _best(found), tests


def _stands(one: Swapped, least: float) -> bool:
    """Whether enough rows moved, and can be shown: of a column that merely shifts none can."""
    return one.moved >= least and one.shown >= _SHOWN * one.moved


def _evidence(bets: Bets, held: _Held, source: int, blocks: int) -> Reals:
    """log10 of the evidence of each bet in one source, (bets,)."""
    ratio, law, own = held.ratios[source], held.laws[source], bets.together[:, source]
    most = betting.at_most(
        bets.spread,
        bets.sided[source],
        (own + 1) / (bets.together.sum(axis=1) + bets.together.shape[1]),
        (own + 1) / (own.sum() + len(own)),
    )
    rows = held.counts[source]
    counts = betting.capped(rows[bets.first], law[bets.second], ratio)
    by_blocks = [inflation(bets.rho, bets.known, int(many), blocks) for many in rows.sum(axis=1)]
    wider = np.array(by_blocks)[bets.first]
    sharp = betting.gains(counts, ratio) / (wider * _misfit(bets, held, source))
    sure = betting.gains(counts, law[bets.second] / most[bets.first]) / (wider * held.moved)
    return betting.either(betting.evidence(sharp), betting.evidence(sure))


def _misfit(bets: Bets, held: _Held, source: int) -> Reals:
    """How far the law is from the batch, (bets,): of other values, and in other sources.

    What the two values themselves are in the source is what the bet is about.
    """
    here = betting.widening(held.squares[source], held.freedom[source], bets.first, bets.second)
    others = np.arange(len(held.counts)) != source
    squares, freedom = held.squares[others].sum(axis=0), held.freedom[others].sum(axis=0)
    both = (told[bets.first] + told[bets.second] for told in (squares, freedom))
    return np.asarray(np.maximum(here, betting.wider(*both)))


def _added(bets: Bets, held: _Held, source: int, place: int) -> float:
    """:func:`betting.added` of a bet in a source, where cells tell the two values apart."""
    telling = held.ratios[source][place] >= betting.TELLING
    both = [bets.first[place], bets.second[place]]
    own, counts = bets.together[:, source], held.counts[source]
    usual = own[both] / max(own.sum(), 1) * counts.sum()
    return betting.added(
        counts[both][:, telling].sum(axis=1),
        usual * held.laws[source][both][:, telling].sum(axis=1),
        own.sum() / max(counts.sum(), 1),
    )


def _told(bets: Bets, held: _Held, source: int, place: int, log_e: float) -> Swapped:
    first = int(bets.first[place])
    rows, ratio = held.counts[source][first], held.ratios[source][place]
    share, many = betting.likeliest(rows, ratio), int(rows.sum())
    chances = betting.chances(ratio, share)
    return Swapped(
        column=bets.column,
        value=first,
        other=int(bets.second[place]),
        source=source,
        by=bets.by,
        rows=many,
        moved=share * many,
        shown=int(rows[chances >= LIKELY].sum()),
        log_e=log_e,
        chances=chances[bets.cells],
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
            likely: Any = odds >= LIKELY
            rows |= zip((part.start + places[likely]).tolist(), odds[likely].tolist(), strict=True)
    return held
