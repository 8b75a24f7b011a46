"""Columns of a dataset as they pass by: a few rows at a time, in global row order, never all.

Where the frames are cut is the caller's choice, not that of the shards or their row groups; so
what is computed from the frames is the same however the rows were spread over files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.data import folder
from guards.data.coded import Coded, read_coded
from guards.data.dataset import Dataset, Shard
from guards.data.decoding import opened

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Some rows: a frame, and beside it columns of `words` that never were strings."""

    frame: pl.DataFrame
    words: Mapping[str, Coded]
    height: int

    def part(self, first: int, end: int) -> Strip:
        """Some of the rows."""
        return Strip(
            frame=self.frame[first:end],
            words={name: held.part(first, end) for name, held in self.words.items()},
            height=min(end, self.height) - first,
        )


def frames(
    dataset: Dataset, columns: Sequence[str], size: int, cuts: Iterable[int] = ()
) -> Iterator[pl.DataFrame]:
    """The columns of all rows, cut at every multiple of `size` and at `cuts` (global rows).

    Memory is some frames of `size` rows, and what one row group or one batch of a file needs.
    """
    import polars as pl

    for held in _cut(dataset, columns, (), size, cuts):
        yield pl.concat([part.frame for part in held]) if len(held) > 1 else held[0].frame


def strips(
    dataset: Dataset, columns: Sequence[str], words: Collection[str], size: int, cuts: Iterable[int]
) -> Iterator[list[Strip]]:
    """As :func:`frames`, each in as many pieces as it is read in.

    Of the columns that are named in `words` a piece has those in its `words` that their file keeps
    so, and the others in its frame.
    """
    return _cut(dataset, columns, words, size, cuts)


def _cut(
    dataset: Dataset, columns: Sequence[str], words: Collection[str], size: int, cuts: Iterable[int]
) -> Iterator[list[Strip]]:
    ends = iter(sorted({*range(size, dataset.rows, size), *cuts, dataset.rows} - {0}))
    held: list[Strip] = []
    done, waiting, end = 0, 0, next(ends, 0)
    for shard in dataset.shards:
        for part in _parts(dataset, shard, columns, words, size):
            held.append(part)
            waiting += part.height
            while waiting and done + waiting >= end:
                rest = done + waiting - end
                inside = held[-1].height - rest
                yield [*held[:-1], held[-1].part(0, inside)]
                held = [held[-1].part(inside, held[-1].height)] if rest else []
                done, waiting, end = end, rest, next(ends, dataset.rows + 1)


def parts(
    dataset: Dataset, shard: Shard, columns: Sequence[str], size: int
) -> Iterator[pl.DataFrame]:
    """One shard's columns, at most some `size` rows at a time, to the end of the file."""
    return (part.frame for part in _parts(dataset, shard, columns, (), size))


def _parts(
    dataset: Dataset, shard: Shard, columns: Sequence[str], words: Collection[str], size: int
) -> Iterator[Strip]:
    """One shard's columns, at most some `size` rows at a time."""
    names = list(columns)
    if shard.format in ("parquet", "ipc", "ipc-stream"):
        path = dataset.root if dataset.root.is_file() else dataset.root / shard.path
        for batch in _batches(str(path), shard.format, names, words, size):
            table = batch.select(names)
            for start in range(0, table.num_rows, size):
                yield _strip(table.slice(start, size), words)
        return
    scan = dataset.scan(shard)
    if shard.format == folder.FORMAT:
        parts = iter([scan.collect().select(names)])
    else:
        parts = scan.select(names).collect_batches(
            chunk_size=size, maintain_order=True, engine="streaming"
        )
    yield from (Strip(frame=frame, words={}, height=frame.height) for frame in parts)


def _strip(batch: pa.RecordBatch, words: Collection[str]) -> Strip:
    import polars as pl
    import pyarrow as pa

    kept = [
        field.name
        for field in batch.schema
        if field.name in words and pa.types.is_dictionary(field.type)
    ]
    others = [name for name in batch.schema.names if name not in kept]
    frame = pl.DataFrame(pl.from_arrow(batch.select(others)) if others else None)
    frame.columns = others  # polars makes up a name where a column has the empty one
    told = {name: read_coded(batch.column(name)) for name in kept}
    return Strip(frame=frame, words=told, height=batch.num_rows)


def _batches(
    path: str, form: str, columns: list[str], words: Collection[str], size: int
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    if form == "parquet":
        with opened(path, words) as file:
            yield from file.iter_batches(size, columns=columns)
        return
    with pa.memory_map(path) as source:
        if form == "ipc":
            file = pa.ipc.open_file(source)
            yield from map(file.get_batch, range(file.num_record_batches))
        else:
            yield from pa.ipc.open_stream(source)
