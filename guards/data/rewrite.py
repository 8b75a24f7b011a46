"""A data file without some of its rows, and else as it was: cells, order, types, layout.

What is kept is copied, never written anew: Arrow and Parquet columns are put together of slices of
what was read, in the record batches and row groups in which they lay; the lines of CSV and JSON
Lines are the very bytes, with their quotes, escapes and line ends. Parquet keeps each column's
compression and dictionary encoding and the file's own metadata; Arrow files keep the compression of
their buffers. Statistics, page sizes and compression levels are the writer's.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.errors import Unreadable
from guards.text import printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ARROW_MAGIC = b"ARROW1"
_CODECS = ("lz4", "zstd")  # of flatbuffers' enum CompressionType


def write_without(source: Path, form: str, rows: int, held: Collection[int], target: Path) -> None:
    """Write the file `source` of `rows` rows to `target` without the rows in `held`.

    `form` is that of a Shard. Raises Unreadable for a text file whose lines cannot be told apart.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    gone = frozenset(held)
    match form:
        case "parquet":
            _parquet(source, gone, target)
        case "ipc" | "ipc-stream":
            _ipc(source, form, gone, target)
        case "csv":
            header, *records = _records(source.read_bytes())
            target.write_bytes(header + b"".join(_kept(records, rows, gone, source)))
            _require_same(source, target, gone)
        case _:
            lines = source.read_bytes().splitlines(keepends=True)
            target.write_bytes(b"".join(_kept(lines, rows, gone, source)))


def _runs(start: int, count: int, gone: Collection[int]) -> Iterator[tuple[int, int]]:
    """The stretches `(offset, length)` that stay of rows `start` to `start + count`."""
    first = 0
    for row in range(count + 1):
        if row == count or start + row in gone:
            if row > first:
                yield first, row - first
            first = row + 1


def _without(batch: pa.RecordBatch, start: int, gone: Collection[int]) -> pa.RecordBatch | None:
    """What stays of a record batch, whose first row in the file is `start`; None for nothing."""
    import pyarrow as pa

    # Slices and not a filter: there is no filter for string views.
    parts = [batch.slice(offset, count) for offset, count in _runs(start, len(batch), gone)]
    return pa.concat_batches(parts) if len(parts) > 1 else next(iter(parts), None)


def _parquet(source: Path, gone: Collection[int], target: Path) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        settings = _settings(file.metadata)
        with pq.ParquetWriter(target, file.schema_arrow, **settings) as sink:
            start = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                kept = [table.slice(*run) for run in _runs(start, len(table), gone)]
                start += len(table)
                if kept:
                    _write_group(sink, kept)


def _write_group(sink: pq.ParquetWriter, parts: Sequence[pa.Table]) -> None:
    import pyarrow as pa

    table = pa.concat_tables(parts)
    sink.write_table(table, row_group_size=len(table))


def _settings(metadata: pq.FileMetaData) -> dict[str, Any]:
    """How the columns of a Parquet file are stored, as its first row group has it."""
    if not metadata.num_row_groups:
        return {}
    group = metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    codecs = {column.path_in_schema: column.compression.lower() for column in columns}
    return {
        "compression": {
            path: "none" if codec == "uncompressed" else codec for path, codec in codecs.items()
        },
        "use_dictionary": [c.path_in_schema for c in columns if c.has_dictionary_page],
    }


def _ipc(source: Path, form: str, gone: Collection[int], target: Path) -> None:
    import pyarrow as pa

    opened = pa.ipc.new_file if form == "ipc" else pa.ipc.new_stream
    options = pa.ipc.IpcWriteOptions(compression=_codec(source))
    with ExitStack() as stack:
        file = stack.enter_context(pa.memory_map(str(source)))
        reader = pa.ipc.open_file(file) if form == "ipc" else pa.ipc.open_stream(file)
        sink = stack.enter_context(opened(str(target), reader.schema, options=options))
        start = 0
        for batch in _batches(reader, form):
            if (kept := _without(batch, start, gone)) is not None:
                sink.write_batch(kept)
            start += len(batch)


def _batches(reader: Any, form: str) -> Iterator[pa.RecordBatch]:
    if form == "ipc":
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader


def _codec(source: Path) -> str | None:
    """How the buffers of the first record batch are compressed: lz4, zstd or not at all."""
    import pyarrow as pa

    with pa.memory_map(str(source)) as file:
        if file.read(len(_ARROW_MAGIC)) == _ARROW_MAGIC:
            start = _first_batch(file)
            if start is None:
                return None
            file.seek(start)
            return _compression(pa.ipc.read_message(file).metadata.to_pybytes())
        file.seek(0)
        for message in pa.ipc.MessageReader.open_stream(file):
            if message.type == "record batch":
                return _compression(message.metadata.to_pybytes())
    return None


def _first_batch(file: pa.NativeFile) -> int | None:
    """Where the first record batch of an Arrow file starts: field 3 of its Footer, a vector."""
    file.seek(file.size() - 10)
    length = struct.unpack("<i", file.read(4))[0]
    file.seek(file.size() - 10 - length)
    footer = file.read(length)
    if not (blocks := _field(footer, struct.unpack_from("<I", footer)[0], 3)):
        return None
    vector = _follow(footer, blocks)
    count = struct.unpack_from("<I", footer, vector)[0]
    # A Block is a struct of 24 bytes, aligned to 8, whose first member is the offset.
    return struct.unpack_from("<q", footer, vector + 4)[0] if count else None


def _compression(message: bytes) -> str | None:
    """The codec in a record batch's flatbuffer: field 2 of Message, 3 of RecordBatch, 0 of it.

    Source: Message.fbs and File.fbs of the Arrow format; no function of pyarrow shows it.
    """
    batch = _field(message, struct.unpack_from("<I", message)[0], 2)
    body = _field(message, _follow(message, batch), 3)
    if not body:
        return None
    codec = _field(message, _follow(message, body), 0)
    return _CODECS[message[codec] if codec else 0]


def _field(buffer: bytes, table: int, number: int) -> int:
    """Where a flatbuffer's table keeps a field; 0 where it has its default."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    entry = 4 + 2 * number
    if entry >= struct.unpack_from("<H", buffer, vtable)[0]:
        return 0
    offset: int = struct.unpack_from("<H", buffer, vtable + entry)[0]
    return table + offset if offset else 0


def _follow(buffer: bytes, place: int) -> int:
    target: int = place + struct.unpack_from("<I", buffer, place)[0]
    return target


def _records(data: bytes) -> list[bytes]:
    """The records of a CSV, line ends included; a line end inside quotes belongs to the cell."""
    records: list[bytes] = []
    pending: list[bytes] = []
    inside = False
    for line in data.split(b"\n"):
        pending.append(line)
        # Each line is counted once: a quote that never ends would make it every line for each.
        inside ^= line.count(b'"') % 2 == 1
        if not inside:
            records.append(b"\n".join(pending) + b"\n")
            pending = []
    # What follows the last line end is a record without one; nothing is no record.
    last = b"\n".join(pending) + b"\n" if pending else records.pop()
    return [*records, last[:-1]] if last != b"\n" else records


def _kept(
    records: Sequence[bytes], rows: int, gone: Collection[int], source: Path
) -> Iterator[bytes]:
    """The records that stay; blank lines stay, too, and count only where they are rows."""
    filled = sum(bool(record.strip()) for record in records)
    if rows not in (filled, len(records)):
        told = f"{len(records)} lines were found for {rows} rows"
        raise Unreadable(f"{printable(source.name)}: {told}, so no row of it can be taken out")
    row = -1
    for record in records:
        row += rows == len(records) or bool(record.strip())
        if row not in gone or (rows != len(records) and not record.strip()):
            yield record


def _require_same(source: Path, target: Path, gone: Collection[int]) -> None:
    """A dialect of CSV in which lines part elsewhere must not go unnoticed."""
    import polars as pl

    before, after = (pl.read_csv(path, glob=False, infer_schema=False) for path in (source, target))
    stay = pl.Series([row not in gone for row in range(before.height)], dtype=pl.Boolean)
    if not before.filter(stay).equals(after):
        told = "its rows cannot be told apart by their lines, so none of them can be taken out"
        raise Unreadable(f"{printable(source.name)}: {told}")
