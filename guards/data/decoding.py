"""Where a data file becomes columns: what is known of formats, and the libraries that decode them.

Everything that is handed in here may be hostile. The first to decode a file is therefore a process
of its own, see `guards.data.trial`; what came to no harm there is decoded here again as often as it
is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from guards.data.unpacked import unpacked
from guards.text import printable

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    Schema = Mapping[str, pl.DataType]

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
# Text formats carry no types, so those of their shards are reconciled instead of compared.
UNTYPED = frozenset({"csv", "jsonl"})
# polars has no way to take such a JSON Lines path literally.
_PATTERN = frozenset("*?[")
# polars unpacks these behind one's back, as other readers do not; what is small can be made huge.
_DISGUISES = {
    b"\x1f\x8b": "compressed with gzip",
    b"\x78\x01": "compressed with zlib",
    b"\x78\x9c": "compressed with zlib",
    b"\x78\xda": "compressed with zlib",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\xff\xfe": "UTF-16, not UTF-8",
    b"\xfe\xff": "UTF-16, not UTF-8",
}
# A CSV whose one column is named with one of these is a table to other readers.
_SEPARATORS = frozenset(";\t|")
# The last record of a zip archive and the longest comment after it.
_ZIP_END = 22 + 0xFFFF
# What a Parquet file may declare: row groups; and for its size, once it is much, bytes and values.
_GROUPS, _UNPACKED, _VALUES, _RATIO = 100_000, 1 << 33, 1 << 33, 1000
# Of a compressed column chunk, which is read piece by piece.
_BUFFER = 1 << 20
# Pictures whose bytes are held together.
_PICTURES = 64
# Bytes that are decoded together, and rows: as many as these, and no more than those.
_AT_ONCE, _FEW, _MANY = 1 << 26, 1 << 10, 1 << 16
# For the count and the row number beside people's columns, whose names may not hold a NUL.
ROWS = "\0rows"
_UNPACKS = "\0unpacked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that keeps a file from being examined with the others."""

    code: str  # unreadable-file | mixed-schema | mixed-kinds | zero-rows | not-data
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Probed:
    """What one readable file turned out to hold; `unpacked` as `guards.data.unpacked` counts."""

    format: str
    rows: int
    schema: Schema
    unpacked: int


def probe(root: Path, name: str) -> Probed | Problem:
    """Decode one file from end to end, holding little of it; say what is in it or why not."""
    return _looked_at(root, name, through=True)


def glance(root: Path, name: str) -> Probed | Problem:
    """The format and the columns of a file, of whose rows none is read that need not be.

    It is for a process that decodes the file itself, and has bounds of its own.
    """
    return _looked_at(root, name, through=False)


def _looked_at(root: Path, name: str, *, through: bool) -> Probed | Problem:
    import polars as pl
    import pyarrow as pa

    form = form_of(name)
    if form is None:
        return Problem(code="not-data", path=name, message="not a format that is examined")
    path = file_of(root, name)
    try:
        if path.stat().st_size == 0 and form in UNTYPED:
            return Problem(code="zero-rows", path=name, message="the file is empty")
        if form in UNTYPED and (disguise := _disguise(path)):
            return Problem(code="unreadable-file", path=name, message=f"the file is {disguise}")
        if _is_archive(path):
            told = "the file is a zip archive, too: what is examined is not all that it can be"
            return Problem(code="unreadable-file", path=name, message=told)
        if form == "parquet" and (told := _decode_parquet(path, through=through)):
            return Problem(code="unreadable-file", path=name, message=told)
        form = "ipc-stream" if form == "ipc" and _is_stream(path) else form
        frame = lazy_file(path, form)
        schema = frame.collect_schema()
        if told := _unfit_names(form, schema):
            return Problem(code="unreadable-file", path=name, message=told)
        if through:
            _try_pictures(path, form, schema)
        return (
            _counted(form, frame, schema) if through else Probed(form, _declared(path), schema, 0)
        )
    except MemoryError:
        told = "decoding it takes more memory than is allowed"
        return Problem(code="unreadable-file", path=name, message=told)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError, UnicodeError) as error:
        return Problem(code="unreadable-file", path=name, message=_first_line(error))
    except pl.exceptions.PanicException as error:
        return Problem(code="unreadable-file", path=name, message=_first_line(error))


def _declared(path: Path) -> int:
    """The rows that the footer of a Parquet file declares; 0 for other files."""
    import pyarrow.parquet as pq

    parquet = form_of(path.name) == "parquet"
    return int(pq.read_metadata(path).num_rows) if parquet else 0


def _unfit_names(form: str, schema: Schema) -> str:
    """What is wrong with the names of the columns, or nothing."""
    if any("\0" in column for column in schema):
        return "the name of a column holds a NUL"
    if form == "csv" and len(schema) == 1 and _SEPARATORS & set(*schema):
        return "the columns are separated by something else than a comma"
    return ""


def _counted(form: str, frame: pl.LazyFrame, schema: Schema) -> Probed:
    import polars as pl

    weight = unpacked(schema).alias(_UNPACKS)
    counted = frame.select(pl.len().alias(ROWS), weight, pl.all().null_count()).collect(
        engine="streaming"
    )
    return Probed(form, counted[ROWS][0] if len(schema) else 0, schema, counted[_UNPACKS][0])


def _disguise(path: Path) -> str:
    """What a text file is instead, or nothing."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((told for magic, told in _DISGUISES.items() if start.startswith(magic)), "")


def _try_pictures(path: Path, form: str, schema: Schema) -> None:
    """Decode every picture once: where that is done again only their pixels are bounded."""
    from guards.data.pictures import picture_columns, stored_bytes, try_out

    for column in picture_columns(schema) if form not in UNTYPED else ():
        for part in streamed(path, form, column, _PICTURES):
            for data in stored_bytes(part):
                try_out(data)


def _is_archive(path: Path) -> bool:
    """Whether the end of the file is that of a zip archive, wherever the archive begins."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - _ZIP_END)
        file.seek(start)
        tail = file.read(_ZIP_END)
        at = tail.rfind(b"PK\5\6")
        size = int.from_bytes(tail[at + 12 : at + 16], "little")
        if at < 0 or not 0 < size <= start + at:
            return False
        file.seek(start + at - size)
        return file.read(4) == b"PK\1\2"


def _decode_parquet(path: Path, *, through: bool) -> str:
    """Read every page, `through`: footers and statistics alone would vouch for damaged pages.

    What the footer declares is looked at first; says why the pages were not read, if they were not.
    Words are read as such: read as dictionaries, which costs less, Arrow checks no place in them.
    """
    with opened(path) as file:
        told = _beyond_all(file.metadata, path.stat().st_size)
        for _ in file.iter_batches(_rows_at_once(file.metadata)) if through and not told else ():
            pass
    return told


def _rows_at_once(declared: pq.FileMetaData) -> int:
    """How many rows are decoded together: many cost less, and few of them hold little."""
    width = max(_declared_bytes(declared) // max(declared.num_rows, 1), 16 * declared.num_columns)
    return min(max(int(_AT_ONCE // max(width, 1)), _FEW), _MANY)


def opened(path: Path | str, words: Iterable[str] = ()) -> pq.ParquetFile:
    """A Parquet file to be read piece by piece; columns of `words` come as dictionaries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept, usual = list(words), pa.default_memory_pool()
    # A reader keeps the pool that it was made with. Arrow's own gives pages back and asks for new
    # ones all the time, which takes as long as the decoding.
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        return pq.ParquetFile(path, read_dictionary=kept, pre_buffer=False, buffer_size=_BUFFER)
    finally:
        pa.set_memory_pool(usual)


def _beyond_all(declared: pq.FileMetaData, size: int) -> str:
    """What no honest file declares: more than the last limit of each kind, for its size."""
    groups = declared.num_row_groups
    if groups > _GROUPS:
        return f"it declares {groups} row groups; more than {_GROUPS} are not decoded"
    unpacked = _declared_bytes(declared)
    if unpacked > _UNPACKED and unpacked > _RATIO * size:
        return f"it declares {unpacked} bytes unpacked, {unpacked // size} times its size"
    values = declared.num_rows * declared.num_columns
    if values > _VALUES and values > _RATIO * size:
        return f"it declares {values} values, {values // size} for each of its bytes"
    return ""


def _declared_bytes(declared: pq.FileMetaData) -> int:
    groups = range(declared.num_row_groups)
    return sum(int(declared.row_group(group).total_byte_size) for group in groups)


def lazy_file(path: Path, form: str, types: Schema | None = None) -> pl.LazyFrame:
    """A shard as a LazyFrame; names are taken literally, never as patterns or partitions.

    `types` are those to give to the columns of a format that carries none.
    """
    import polars as pl

    match form:
        case "parquet":
            return pl.scan_parquet(path, glob=False, hive_partitioning=False)
        case "ipc":
            return pl.scan_ipc(path, glob=False, hive_partitioning=False)
        case "ipc-stream":
            return pl.read_ipc_stream(path, use_pyarrow=True).lazy()
        case "csv":
            return pl.scan_csv(
                path, glob=False, infer_schema_length=None, schema_overrides=dict(types or {})
            )
        case _:
            source = path.read_bytes() if _PATTERN & set(str(path)) else path
            return pl.scan_ndjson(source, infer_schema_length=None, schema_overrides=types)


def streamed(path: Path, form: str, column: str, rows: int) -> Iterator[pl.Series]:
    """One column of a Parquet or Arrow file, at most `rows` rows at a time."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pl.Series]:
        for batch in batches:
            values = pl.Series(column, pl.from_arrow(batch.column(column)))
            yield from (values.slice(start, rows) for start in range(0, len(values), rows))

    if form == "parquet":
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield from parts(file.iter_batches(rows, columns=[column]))
    elif form == "ipc":
        with pa.memory_map(str(path)) as source:
            opened = pa.ipc.open_file(source)
            yield from parts(map(opened.get_batch, range(opened.num_record_batches)))
    else:
        with pa.memory_map(str(path)) as source:
            yield from parts(pa.ipc.open_stream(source))


def named(columns: Iterable[str]) -> pl.Expr:
    """Columns by name alone; polars takes a plain `*` or `^...$` for a pattern over the others."""
    import polars.selectors as cs

    return cs.by_name(list(columns)).as_expr()


def _is_stream(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) != b"ARROW1"


def file_of(root: Path, name: str) -> Path:
    """A file of a dataset that is a directory, or the one that it is."""
    return root if root.is_file() else root / name


def form_of(name: str) -> str | None:
    """The format that a name stands for, or None if it is not examined."""
    return FORMATS.get(PurePosixPath(name).suffix.lower())


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return printable(f"{type(error).__name__}: {text}")[:300]
