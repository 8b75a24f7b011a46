"""Read one shard whole and write it again as it lay: format, types, metadata, compression.

The library proper only ever reads; the adversary is its one writer of data files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def read_shard(path: Path, form: str) -> pa.Table:
    """The shard as an Arrow table; the columns of CSV stay text, so that none is reformatted."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    match form:
        case "parquet":
            return pq.ParquetFile(path).read()
        case "ipc":
            return pa.ipc.open_file(path).read_all()
        case "ipc-stream":
            return pa.ipc.open_stream(path).read_all()
        case "csv":
            return pl.read_csv(path, glob=False, infer_schema=False).to_arrow()
    return pl.read_ndjson(path.read_bytes(), infer_schema_length=None).to_arrow()


def write_shard(table: pa.Table, path: Path, like: Path, form: str) -> None:
    """Write `table` to `path` in the format, row groups and compression of the file `like`."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    match form:
        case "parquet":
            pq.write_table(table, path, **_parquet_layout(like))
        case "ipc" | "ipc-stream":
            opened = pa.ipc.new_file if form == "ipc" else pa.ipc.new_stream
            with opened(path, table.schema) as sink:
                sink.write_table(table)
        case "csv":
            pl.DataFrame(pl.from_arrow(table)).write_csv(path)
        case _:
            pl.DataFrame(pl.from_arrow(table)).write_ndjson(path)


def _parquet_layout(like: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    metadata = pq.ParquetFile(like).metadata
    group = metadata.row_group(0)
    codec = group.column(0).compression.lower()
    return {
        "compression": "none" if codec == "uncompressed" else codec,
        "row_group_size": group.num_rows,
    }
