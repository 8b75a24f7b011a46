"""One pass over a dataset: its profile, and how it looks against others, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guards.data.dataset import Dataset
from guards.data.profiles.chunks import Chunk, block_cuts, chunks
from guards.data.profiles.gather import Gatherer, Vectors, Words, gatherer
from guards.data.profiles.nouns import Profile, VectorColumn
from guards.data.profiles.observe import Observed, Observer
from guards.data.profiles.tables import (
    PAIR_BYTES,
    Planned,
    Shape,
    Tables,
    dispersions,
    finished,
    groupings,
    planned,
)
from guards.data.profiles.triples import Names, finished_triples, planned_triples
from guards.data.profiles.values import Kind, kinds, source_of
from guards.data.profiles.views import planned_views


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one pass found: the dataset's own profile, and its counts in the cells of others."""

    profile: Profile
    observed: tuple[Observed, ...] = ()


def build_profile(
    dataset: Dataset, *, like: Profile | None = None, room: int = PAIR_BYTES
) -> Profile:
    """Profile the label, source, features, text and vectors of a dataset, in one pass.

    With `like`, cells are cut as in that profile wherever the columns are of one kind, so that
    both merge without loss. `room` is what the pairs may take, in bytes of the file.

    The result is a function of the rows and their order, of `like` and `room`, and of nothing
    else: not of the number of shards, nor of where they were cut.
    """
    return survey(dataset, like=like, room=room).profile


def observe(dataset: Dataset, profile: Profile) -> Observed:
    """Count a dataset in the cells of a stored profile, in one pass; exact in any row order."""
    return _passed(dataset, None, (Observer(profile, kinds(dataset)),))[0]


def survey(
    dataset: Dataset,
    *,
    like: Profile | None = None,
    against: Sequence[Profile] = (),
    room: int = PAIR_BYTES,
) -> Survey:
    """Profile a dataset, and count it in the cells of other profiles, in one pass over it."""
    found = kinds(dataset)
    builder = _Builder(dataset, found, like, room)
    observed = _passed(dataset, builder, [Observer(profile, found) for profile in against])
    return Survey(profile=builder.finish(), observed=observed)


def _passed(
    dataset: Dataset, builder: _Builder | None, observers: Sequence[Observer]
) -> tuple[Observed, ...]:
    found = kinds(dataset)
    wanted = set(found) if builder else {n for watcher in observers for n in watcher.names}
    columns = [kind for kind in found.values() if kind.name in wanted]
    profiles = [*([builder.like] if builder and builder.like else [])]
    profiles += [watcher.profile for watcher in observers]
    small = builder is None and not any(kind.wide for kind in columns)
    for chunk in chunks(dataset, columns, _widths(profiles), small=small) if columns else ():
        if builder:
            builder.add(chunk)
        for watcher in observers:
            watcher.add(chunk)
    return tuple(watcher.finish(dataset.rows) for watcher in observers)


class _Builder:
    """Gathers a profile."""

    def __init__(
        self, dataset: Dataset, found: Mapping[str, Kind], like: Profile | None, room: int
    ) -> None:
        self.like, self._room, self._rows = like, room, dataset.rows
        self._roles = dataset.roles.columns()
        self._special = [name for name in (dataset.roles.label, dataset.roles.source) if name]
        self._cuts = block_cuts(dataset.rows)
        known = like.by_name if like else {}
        self._columns: dict[str, Gatherer] = {
            name: gatherer(kind, len(self._cuts) - 1, dataset.rows, known.get(name))
            for name, kind in found.items()
        }
        self._views = [c.views for c in self._columns.values() if isinstance(c, Vectors)]
        self._by: list[str] = []
        self._threes: list[Names] = []
        self._tables: Tables | None = None

    def add(self, chunk: Chunk) -> None:
        codes = {name: column.add(chunk) for name, column in self._columns.items()}
        views = {name: held for one in self._views for name, held in one.add(chunk).items()}
        if self._tables is None:
            self._tables = self._planned()
        self._tables.add({**views, **codes}, chunk.blocks)

    def finish(self) -> Profile:
        columns = tuple(column.finish() for column in self._columns.values())
        pairs = finished(self._tables, self._room) if self._tables else ()
        moved = dispersions(self._tables, self._by, pairs) if self._tables else ()
        cuts = zip(self._cuts, self._cuts[1:], strict=False)
        return Profile(
            blocks=tuple(high - low for low, high in cuts),
            roles={n: role for n, role in self._roles.items() if n in self._columns},
            columns=columns,
            pairs=pairs,
            triples=finished_triples(self._threes, self._tables.triples) if self._tables else (),
            groups=tuple(moved),
        )

    def _shapes(self) -> dict[str, Shape]:
        return {
            name: Shape(levels=column.levels, words=isinstance(column, Words))
            for name, column in self._columns.items()
        }

    def _own(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Without what is made of texts and pictures, whose views are counted and nothing else."""
        return {name: shape for name, shape in shapes.items() if source_of(name) == name}

    def _planned(self) -> Tables:
        """What is counted together, as the first chunk shows the columns."""
        shapes = self._shapes()
        views = {name: shape for one in self._views for name, shape in one.shapes.items()}
        every = {**views, **shapes}
        if self.like:
            self._threes = [t.columns for t in self.like.triples if set(t.columns) <= every.keys()]
        else:
            # Not the label: what crowds, crowds whatever it is called.
            own = self._own(shapes)
            others = {n: s for n, s in own.items() if self._roles.get(n) != "label"}
            self._threes = planned_triples(others) + planned_views(one.name for one in self._views)
        return Tables(self._pairs(shapes), every, len(self._cuts) - 1, self._threes)

    def _pairs(self, shapes: Mapping[str, Shape]) -> list[Planned]:
        words: dict[str, Any] = {
            name: (column.cells.tolist(), column.values)
            for name, column in self._columns.items()
            if isinstance(column, Words)
        }
        self._by = groupings(words, self._special)
        if self.like:
            self._by = [n for n in dict.fromkeys(g.by for g in self.like.groups) if n in words]
            return [
                (p.first, p.second, p.join) for p in self.like.pairs if self._has(p.first, p.second)
            ]
        return planned(self._own(shapes), self._by, self._rows, self._room)

    def _has(self, *names: str) -> bool:
        return all(name in self._columns for name in names)


def _widths(profiles: Sequence[Profile]) -> dict[str, int]:
    """The lengths of vectors, as the first profile that knows of any has it."""
    found: dict[str, int] = {}
    for profile in profiles:
        for column in profile.columns:
            if isinstance(column, VectorColumn) and column.mean:
                found.setdefault(column.name, len(column.mean))
    return found
