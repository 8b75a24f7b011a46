"""Several profiles as one: of shards, of partitions, of the versions before.

Counts add. Cells are coarsened to the edges and groups that all parts have, which is exact, and
what that lost is told; profiles built `like` one another lose nothing. Distribution functions are
joined, and their errors with them. How far blocks lie apart is the most that any part had within
it, or that the parts show among themselves. The order in which the parts are named is of no
account: they are merged in the order of their digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from guards.data.profiles.measures import (
    block_moments,
    lettered,
    plainly,
    rate_spread,
    short,
    unlettered,
    word_novelty,
    word_variation,
)
from guards.data.profiles.nouns import (
    KEPT,
    POINTS,
    CategoryColumn,
    Column,
    Groups,
    NumericColumn,
    Pair,
    Profile,
    TextColumn,
    Triple,
    VectorColumn,
    View,
    countable,
)
from guards.data.profiles.views import view_spread
from guards.errors import UsageError
from guards.numerics.cells import block_dispersion, block_movement
from guards.numerics.sketches import joined, steps_distance, thinned

_SLACK = 1 / 8
Ints = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The profile of all parts, and what it is coarser by.

    `edges` is how many edges and groups of each column not all parts had, `columns` are those left
    out (not in all parts, or of another kind there), `pairs` and `triples` how many were left out.
    """

    profile: Profile
    edges: Mapping[str, int]
    columns: tuple[str, ...]
    pairs: int
    triples: int

    @property
    def told(self) -> str:
        """What was lost, in a few words; empty if nothing was."""
        lost = [
            (sum(self.edges.values()), "edges that not all parts have"),
            (len(self.columns), "columns that not all parts have"),
            (self.pairs, "pairs that are not counted alike"),
            (self.triples, "triples that are not counted alike"),
        ]
        return ", ".join(f"{many} {what}" for many, what in lost if many)


def merge_profiles(profiles: Sequence[Profile]) -> Merged:
    """One profile of all the rows; UsageError without one, or without a column that all have."""
    parts = sorted(profiles, key=lambda profile: profile.digest)
    if not parts:
        raise UsageError("there is no profile to merge; name at least one")
    names = [n for n in parts[0].by_name if all(_alike(parts, n))]
    if not names:
        raise UsageError("the profiles have no column of one name and kind in common")
    columns = {name: _column([part.by_name[name] for part in parts]) for name in names}
    maps = [{n: _mapping(part.by_name[n], columns[n]) for n in names} for part in parts]
    pairs = [pair for pair in parts[0].pairs if {pair.first, pair.second} <= columns.keys()]
    tables = {pair: _tables(pair, parts, maps) for pair in pairs}
    kept = {pair: found for pair, found in tables.items() if found is not None}
    threes = tuple(_triples(parts, columns))
    every = {name for part in parts for name in part.by_name}
    return Merged(
        profile=Profile(
            blocks=tuple(rows for part in parts for rows in part.blocks),
            roles={n: role for n, role in parts[0].roles.items() if n in columns},
            columns=tuple(columns.values()),
            pairs=tuple(_pair(pair, parts, found) for pair, found in kept.items()),
            triples=threes,
            groups=tuple(_all_groups(parts, maps, kept)),
        ),
        edges={name: lost for name in names if (lost := _lost(parts, columns[name]))},
        columns=tuple(sorted(every - columns.keys())),
        pairs=max(len(part.pairs) for part in parts) - len(kept),
        triples=max(len(part.triples) for part in parts) - len(threes),
    )


def _alike(parts: Sequence[Profile], name: str) -> list[bool]:
    """Of each part, whether it has this column, and of the kind that the first has."""
    first = parts[0].by_name[name]
    return [_kind(part.by_name.get(name)) == _kind(first) for part in parts]


def _kind(column: Column | None) -> tuple[Any, ...]:
    match column:
        case NumericColumn():
            return (NumericColumn, column.form)
        case VectorColumn():
            return (VectorColumn, len(column.mean))
    return (type(column),)


def _column(parts: Sequence[Any]) -> Column:
    match parts[0]:
        case NumericColumn():
            return _numeric(parts)
        case CategoryColumn():
            return _category(parts)
        case TextColumn():
            return _text(parts)
    return _vector(parts)


def _numeric(parts: Sequence[NumericColumn]) -> NumericColumn:
    steps = [part.steps for part in parts]
    whole = joined(steps)
    kept = thinned(whole, POINTS, slack=_SLACK)
    edges = sorted(set.intersection(*(set(part.edges) for part in parts)))
    merged = replace(parts[0], edges=tuple(edges))
    held = np.array([part.count for part in parts])
    apart = [
        steps_distance(part, whole) / (1 - part.rows / whole.rows)
        for part in steps
        if 0 < part.rows < whole.rows
    ]
    return replace(
        merged,
        type=_types(parts),
        count=int(held.sum()),
        nulls=sum(part.nulls for part in parts),
        nans=sum(part.nans for part in parts),
        infinite=(sum(p.infinite[0] for p in parts), sum(p.infinite[1] for p in parts)),
        low=min((part.low for part in parts if part.low is not None), default=None),
        high=max((part.high for part in parts if part.high is not None), default=None),
        points=tuple(map(plainly, kept.points)),
        weights=tuple(kept.weights.tolist()),
        error=kept.error,
        cells=_cells(parts, merged),
        distinct=_registers(parts),
        spread=_most(parts, "spread", *apart),
        null_spread=_most(parts, "null_spread", _missing_spread(parts)),
    )


def _category(parts: Sequence[CategoryColumn]) -> CategoryColumn:
    listed = _listing(
        [(p.values, p.counts, p.bound, p.error) for p in parts], sum(p.count for p in parts)
    )
    merged = replace(parts[0], groups=_common_groups(parts, listed["values"]), **listed)
    matrix = _listed_rows(parts, listed["values"])
    held = np.array([part.count for part in parts])
    return replace(
        merged,
        type=_types(parts),
        count=int(held.sum()),
        nulls=sum(part.nulls for part in parts),
        rest=int(held.sum()) - sum(listed["counts"]),
        cells=_cells(parts, merged),
        distinct=_registers(parts),
        spread=_most(parts, "spread", word_variation(matrix, held)),
        null_spread=_most(parts, "null_spread", _missing_spread(parts)),
        new_spread=_most(
            parts, "new_spread", word_novelty(matrix, np.array([p.rows for p in parts]))
        ),
    )


def _common_groups(parts: Sequence[CategoryColumn], listed: Sequence[str]) -> tuple[str, ...]:
    """The groups that all parts have: in their order if that is one, else the commonest first."""
    if len({part.groups for part in parts}) == 1:
        return parts[0].groups
    common = set.intersection(*(set(part.groups) for part in parts))
    ordered = [value for value in listed if value in common]
    return (*ordered, *sorted(common - set(ordered)))


def _text(parts: Sequence[TextColumn]) -> TextColumn:
    listed = _listing(
        [(p.tokens, p.counts, p.bound, p.error) for p in parts], sum(p.count for p in parts)
    )
    tokens = listed.pop("values")
    rows = _listed_rows(parts, tokens)
    others = np.maximum(np.array([p.count for p in parts])[:, None] - rows, 0)
    rho, moved = block_movement(np.stack([rows, others], axis=2))
    return replace(
        parts[0],
        type=_types(parts),
        length=_numeric([part.length for part in parts]),
        tokens=tokens,
        **listed,
        marks={name: sum(part.marks[name] for part in parts) for name in parts[0].marks},
        rho=_most(parts, "rho", rho),
        spread=_most(parts, "spread", float(moved.max(initial=0.0))),
    )


def _vector(parts: Sequence[VectorColumn]) -> VectorColumn:
    count = np.array([part.count for part in parts])
    means, variances = (
        np.array([getattr(p, what) for p in parts]) for what in ("mean", "variance")
    )
    squares = (variances + means**2) * count[:, None]
    mean, variance, spread = block_moments(count, means * count[:, None], squares)
    return replace(
        parts[0],
        type=_types(parts),
        norm=_numeric([part.norm for part in parts]),
        odd=sum(part.odd for part in parts),
        mean=tuple(map(short, mean)),
        variance=tuple(map(short, variance)),
        spread=round(max(spread, *(part.spread for part in parts)), 6),
        views=tuple(map(_view, zip(*(part.views for part in parts), strict=True))),
    )


def _view(parts: Sequence[View]) -> View:
    edges = sorted(set.intersection(*(set(part.edges) for part in parts)))
    merged = replace(parts[0], edges=tuple(edges))
    rows = [np.bincount(_steps(p, merged), p.cells, minlength=len(merged.bins)) for p in parts]
    return replace(
        merged,
        cells=tuple(int(held) for held in np.sum(rows, axis=0)),
        spread=_most(parts, "spread", view_spread(np.array(rows))),
    )


def _listing(
    parts: Sequence[tuple[Sequence[str], Sequence[int], int, int]], rows: int
) -> dict[str, Any]:
    """The commonest words of all parts, and what their counts may be off by.

    A part is `(words, counts, bound, error)`. A word that it does not list may have `bound` rows
    there; one that it lists `error` more than it says.
    """
    summed: dict[str, int] = {}
    doubt: dict[str, int] = {}
    unknown = sum(bound for _, _, bound, _ in parts)
    for words, counts, bound, error in parts:
        for word, count in zip(words, counts, strict=True):
            summed[word] = summed.get(word, 0) + count
            doubt[word] = doubt.get(word, unknown) - bound + error
    ordered = sorted(summed, key=lambda word: (-summed[word], word))
    kept, dropped = ordered[:KEPT], ordered[KEPT:]
    bound = max([unknown, *(summed[word] + doubt[word] for word in dropped)])
    return {
        "values": tuple(kept),
        "counts": tuple(summed[word] for word in kept),
        "bound": min(bound, rows),
        "error": min(max((doubt[word] for word in kept), default=0), rows),
    }


def _listed_rows(parts: Sequence[Any], words: Sequence[str]) -> Ints:
    """The rows of each word in each part, (parts, words); 0 where it is not listed."""
    places = {word: place for place, word in enumerate(words)}
    found = np.zeros((len(parts), len(words)), np.int64)
    for line, part in enumerate(parts):
        listed = part.tokens if isinstance(part, TextColumn) else part.values
        for word, count in zip(listed, part.counts, strict=True):
            if word in places:
                found[line, places[word]] = count
    return found


def _cells(parts: Sequence[Any], merged: Column) -> tuple[int, ...]:
    bins = len(merged.bins)
    found = sum(
        np.bincount(_mapping(part, merged), weights=part.cells, minlength=bins) for part in parts
    )
    return tuple(int(rows) for rows in np.asarray(found))


def _mapping(part: Column, merged: Column) -> Ints:
    """In which bin of the merged column each of the part's bins lies."""
    match part, merged:
        case CategoryColumn(), CategoryColumn():
            known = {value: place for place, value in enumerate(merged.groups, start=1)}
            other = len(merged.groups) + 1
            return np.array([0, *(known.get(v, other) for v in part.groups), other])
        case TextColumn(), TextColumn():
            return _mapping(part.length, merged.length)
        case VectorColumn(), VectorColumn():
            return _mapping(part.norm, merged.norm)
        case NumericColumn(), NumericColumn():
            return _steps(part, merged)
    raise UsageError(f"column {merged.name!r} is of two kinds")


def _steps(part: NumericColumn | View, merged: NumericColumn | View) -> Ints:
    starts = np.searchsorted(merged.edges, part.edges, side="right")
    return np.array([0, 1, *(1 + starts)])


def _tables(
    pair: Pair, parts: Sequence[Profile], maps: Sequence[Mapping[str, Ints]]
) -> Ints | None:
    """The counts of a pair in each part, (parts, down, across); None where they are not alike.

    In bins of their own they are coarsened to the common ones; joined bins have to be the same.
    """
    shape = tuple(int(maps[0][name].max()) + 1 for name in (pair.first, pair.second))
    found = []
    for part, mapping in zip(parts, maps, strict=True):
        own = next(
            (p for p in part.pairs if {p.first, p.second} == {pair.first, pair.second}), None
        )
        if own is None or own.join != pair.join:
            return None
        counts = np.array(own.counts)
        counts = counts if own.first == pair.first else counts.T
        down, across = mapping[pair.first], mapping[pair.second]
        if pair.join > 1:
            if any((m != np.arange(len(m))).any() for m in (down, across)):
                return None
            found.append(counts)
            continue
        table = np.zeros(shape, np.int64)
        np.add.at(table, (down[:, None], across[None, :]), counts)
        found.append(table)
    return np.array(found)


def _pair(pair: Pair, parts: Sequence[Profile], tables: Ints) -> Pair:
    rho = block_dispersion(tables.reshape(len(tables), 1, -1))
    same = {frozenset((pair.first, pair.second))}
    held = [p.rho for part in parts for p in part.pairs if frozenset((p.first, p.second)) in same]
    counts = tuple(map(tuple, tables.sum(axis=0).tolist()))
    return replace(pair, counts=counts, rho=round(max(rho, *held), 6))


def _triples(parts: Sequence[Profile], columns: Mapping[str, Column]) -> Iterator[Triple]:
    """The triples that all parts have, of columns that have the same cells in all of them."""
    same = {
        name
        for name, one in countable(tuple(columns.values())).items()
        if all(name in part.countable and part.countable[name].bins == one.bins for part in parts)
    }
    known = [{triple.columns: triple for triple in part.triples} for part in parts]
    for three in known[0]:
        if set(three) <= same and all(three in held for held in known):
            counts = np.array([held[three].counts for held in known])
            rho = max(block_dispersion(counts[:, None]), *(held[three].rho for held in known))
            yield Triple(
                columns=three, counts=tuple(counts.sum(axis=0).tolist()), rho=round(rho, 6)
            )


def _all_groups(
    parts: Sequence[Profile],
    maps: Sequence[Mapping[str, Ints]],
    kept: Mapping[Pair, Ints],
) -> list[Groups]:
    """The dispersions that all parts know of, at their largest."""
    known = [{(g.column, g.by): g for g in part.groups} for part in parts]
    found = []
    for pair, tables in kept.items():
        for by, column in ((pair.first, pair.second), (pair.second, pair.first)):
            if pair.join > 1 or not all((column, by) in part for part in known):
                continue
            rho, moved = block_movement(tables if by == pair.first else tables.transpose(0, 2, 1))
            for part, mapping in zip(known, maps, strict=True):
                np.maximum.at(moved, mapping[by], part[column, by].moved)
            held = [part[column, by].rho for part in known]
            told = tuple(round(float(share), 4) for share in moved)
            found.append(Groups(column=column, by=by, rho=round(max(rho, *held), 6), moved=told))
    return found


def _lost(parts: Sequence[Profile], merged: Column) -> int:
    """How many edges or groups that some part has are gone."""
    every: set[Any] = set()
    for part in parts:
        every |= set(_cuts(part.by_name[merged.name]))
    return len(every - set(_cuts(merged)))


def _cuts(column: Column) -> Sequence[Any]:
    match column:
        case CategoryColumn():
            return column.groups
        case TextColumn():
            return column.length.edges
        case VectorColumn():
            views = ((view.name, edge) for view in column.views for edge in view.edges)
            return (*column.norm.edges, *views)
    return column.edges


def _types(parts: Sequence[Any]) -> str:
    return " or ".join(sorted({one for part in parts for one in part.type.split(" or ")}))


def _registers(parts: Sequence[Any]) -> str:
    return lettered(np.maximum.reduce([unlettered(part.distinct) for part in parts]))


def _missing_spread(parts: Sequence[Any]) -> float:
    return rate_spread(np.array([p.missing for p in parts]), np.array([p.rows for p in parts]))


def _most(parts: Sequence[Any], what: str, *more: float) -> float:
    found: list[float] = [getattr(part, what) for part in parts]
    return round(min(max(*found, *more, 0.0), 1.0), 6)
