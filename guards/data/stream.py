"""Columns of a dataset as they pass by: a few rows at a time, in global row order, never all.

Where the frames are cut is the caller's choice, not that of the shards or their row groups; so
what is computed from the frames is the same however the rows were spread over files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from guards.data import folder
from guards.data.dataset import Dataset, Shard

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

# Of a compressed column chunk, which is read piece by piece.
_BUFFER = 1 << 20


def frames(
    dataset: Dataset, columns: Sequence[str], size: int, cuts: Iterable[int] = ()
) -> Iterator[pl.DataFrame]:
    """The columns of all rows, cut at every multiple of `size` and at `cuts` (global rows).

    Memory is some frames of `size` rows, and what one row group or one batch of a file needs.
    """
    import polars as pl

    ends = iter(sorted({*range(size, dataset.rows, size), *cuts, dataset.rows} - {0}))
    held: list[pl.DataFrame] = []
    done, waiting, end = 0, 0, next(ends, 0)
    for shard in dataset.shards:
        for part in parts(dataset, shard, columns, size):
            held.append(part)
            waiting += part.height
            while waiting and done + waiting >= end:
                whole = pl.concat(held) if len(held) > 1 else held[0]
                yield whole[: end - done]
                rest = whole[end - done :]
                held, waiting = ([rest] if rest.height else []), rest.height
                done, end = end, next(ends, dataset.rows + 1)


def parts(
    dataset: Dataset, shard: Shard, columns: Sequence[str], size: int
) -> Iterator[pl.DataFrame]:
    """One shard's columns, at most some `size` rows at a time, to the end of the file."""
    import polars as pl

    names = list(columns)
    if shard.format in ("parquet", "ipc", "ipc-stream"):
        path = dataset.root if dataset.root.is_file() else dataset.root / shard.path
        for batch in _batches(str(path), shard.format, names, size):
            table = batch.select(names)
            for start in range(0, table.num_rows, size):
                frame = pl.DataFrame(pl.from_arrow(table.slice(start, size)))
                frame.columns = names  # polars makes up a name where a column has the empty one
                yield frame
        return
    scan = dataset.scan(shard)
    if shard.format == folder.FORMAT:
        yield scan.collect().select(names)
        return
    yield from scan.select(names).collect_batches(
        chunk_size=size, maintain_order=True, engine="streaming"
    )


def _batches(path: str, form: str, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form == "parquet":
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
            yield from file.iter_batches(size, columns=columns)
        return
    with pa.memory_map(path) as source:
        if form == "ipc":
            opened = pa.ipc.open_file(source)
            yield from map(opened.get_batch, range(opened.num_record_batches))
        else:
            yield from pa.ipc.open_stream(source)
