"""A dataset's rows a block at a time: several columns, in global row order, little of it held.

Parquet and Arrow files are read once from start to end, whatever their row groups are; formats
without types are parsed a shard at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    import pyarrow as pa

    from guards.data.dataset import Dataset, Shard

BLOCK = 2**16


def blocks(
    dataset: Dataset, columns: Sequence[str], size: int = BLOCK
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The named columns of every row as `(first global row, frame of at most size rows)`."""
    for shard in dataset.shards:
        start = shard.start
        for frame in _frames(dataset, shard, list(columns), size):
            yield start, frame
            start += len(frame)


def _frames(
    dataset: Dataset, shard: Shard, columns: list[str], size: int
) -> Iterator[pl.DataFrame]:
    import polars as pl
    import polars.selectors as cs

    # A dataset of one file is that file.
    path = dataset.root if dataset.root.is_file() else dataset.root / shard.path
    if shard.format not in ("parquet", "ipc"):
        whole = dataset.scan(shard).select(cs.by_name(columns)).collect()
        yield from whole.iter_slices(size)
        return
    for batch in _batches(path, shard.format, columns, size):
        frame = pl.DataFrame([pl.Series(name, batch.column(name)) for name in columns])
        yield from frame.iter_slices(size)


def _batches(path: Path, form: str, columns: list[str], size: int) -> Iterable[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form == "parquet":
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield from file.iter_batches(size, columns=columns)
    else:
        with pa.memory_map(str(path)) as source:
            opened = pa.ipc.open_file(source)
            yield from map(opened.get_batch, range(opened.num_record_batches))
