"""The digest of a table's rows, in any order and any encoding: what a re-encoded file still has.

A row is the cells of all columns in byte order of their names. A cell is 13 bytes, a tag and twelve
of value or length, so that a null is the same in a column of any type; what has no fixed size
stands behind the cells of its row. The digest is the sha256 of the columns' names, the number of
rows and the sorted sha256 of the rows, so two tables that share it are the same rows but for a
collision of sha256, whoever made them. It is sorted in pieces on disk: memory is bounded.

    tag  value                             of Arrow's
    0    nothing                           null in a column of any type
    b    0 or 1                            bool
    i u  int64; uint64 beyond it           integers of any width
    f    float64, one NaN; -0.0 is not 0.0 floats of any width
    d    digits and scale, as text         decimals: 1.5 and 1.50 differ
    D    days since 1970                   date32, date64
    T    nanoseconds of a day              times
    t z  seconds and nanoseconds           timestamps without a zone; instants, of any zone
    p    seconds and nanoseconds           durations
    s x  bytes behind the row              text as UTF-8, not normalised; binary
    l    cells behind the row              lists of any kind
    m    cells by name, behind the row     structs; a map is a list of them

Dictionaries count as their values and extensions as their storage. CSV and JSON Lines carry no
types, so a copy in them is the same where their reader finds the same kinds: integers, floats,
words and truths, no dates. Nothing trusts this digest: bytes are named by the digest of bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

import numpy as np

from guards.data.dataset import Dataset, Shard
from guards.data.stream import parts
from guards.digest import Digest, canonical_json
from guards.errors import Unreadable, UsageError

TITLE = b"toadstone rows 1\n"
CELL = 13
# Rows whose digests are sorted in memory, 32 bytes each; of more, each sixty-fourth part by itself.
_AT_ONCE = 1 << 20
_PARTS = 64
_BATCH = 1 << 14
_NAN = np.uint64(0x7FF8000000000000)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

# The 13 bytes of each cell, and what stands behind the row, if anything does.
Cells = tuple["np.ndarray[Any, np.dtype[np.uint8]]", "list[bytes] | None"]


def content_digest(dataset: Dataset, shard: Shard) -> Digest:
    """Name the rows of one file of a table.

    Raises:
        Unreadable: a column is of a kind that has no canonical form, or rows are missing.
    """
    with Rows() as rows:
        for frame in parts(dataset, shard, list(dataset.schema), _BATCH):
            rows.add(frame.to_arrow())
        if shard.rows and rows.count != shard.rows:
            raise Unreadable(f"{shard.path}: {rows.count} rows, where {shard.rows} are declared")
        return rows.digest(dataset.schema)


class Rows:
    """A multiset of rows under way; memory is bounded, the rest is in a temporary file."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[bytes] = []
        self._parts: list[IO[bytes]] = []
        self._open = ExitStack()

    @property
    def count(self) -> int:
        """How many rows there are so far."""
        return self._count

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what had no room before has none now
            self._open.close()

    def add(self, batch: Any) -> None:
        """Take the rows of a pyarrow table, all at once; the columns' order does not matter."""
        names = sorted(batch.schema.names, key=str.encode)
        cells = [_cells(batch.column(name)) for name in names]
        self._waiting += _hashed(cells, batch.num_rows)
        self._count += batch.num_rows
        if len(self._waiting) >= _AT_ONCE:
            self._spill()

    def digest(self, columns: Iterable[str]) -> Digest:
        """The digest of all rows so far, under these columns."""
        names = canonical_json(sorted(columns, key=str.encode))
        final = hashlib.sha256(TITLE + names + b"\n%d\n" % self._count)
        if self._parts:
            self._spill()
            for part in self._parts:
                with _room():
                    part.seek(0)
                    data = part.read()
                final.update(_ordered(data))
        else:
            final.update(_ordered(b"".join(self._waiting)))
        return Digest(final.hexdigest())

    def _spill(self) -> None:
        if not self._parts:
            with _room():
                for _ in range(_PARTS):
                    file = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                    self._parts.append(file)
        ordered = _ordered(b"".join(self._waiting))
        self._waiting = []
        first = np.frombuffer(ordered, np.uint8)[::32] // (256 // _PARTS)
        ends = np.searchsorted(first, np.arange(_PARTS + 1)) * 32
        with _room():
            for number, part in enumerate(self._parts):
                part.write(ordered[ends[number] : ends[number + 1]])


@contextmanager
def _room() -> Iterator[None]:
    """Say where there is no room.

    Raises:
        UsageError: the system's place for temporary files takes no more.
    """
    try:
        yield
    except OSError as error:
        where = tempfile.tempdir or "the directory for temporary files"
        told = f"is there room in {where}? TMPDIR names another place"
        raise UsageError(f"cannot name the rows: {error.strerror}; {told}") from error


def _ordered(digests: bytes) -> bytes:
    """Digests of 32 bytes, sorted."""
    words = np.frombuffer(digests, ">u8").reshape(-1, 4)
    order = np.lexsort(words.T[::-1])
    return words[order].tobytes()


def _hashed(cells: list[Cells], count: int) -> list[bytes]:
    sha256 = hashlib.sha256
    heads = np.concatenate([head for head, _ in cells], axis=1) if cells else None
    if heads is None:
        return [sha256(b"").digest()] * count
    rows = _split(heads)
    tails = [tail for _, tail in cells if tail is not None]
    if not tails:
        return [sha256(row).digest() for row in rows]
    return [sha256(b"".join(parts)).digest() for parts in zip(rows, *tails, strict=True)]


def _split(heads: np.ndarray[Any, Any]) -> list[bytes]:
    """The rows of a matrix of bytes, each as bytes."""
    width, data = heads.shape[1], heads.tobytes()
    return [data[at : at + width] for at in range(0, len(data), width)]


def _cells(array: Any) -> Cells:
    """The cells of a column: of each row 13 bytes and what stands behind it."""
    import pyarrow as pa

    array = _plain(array)
    kind = array.type
    encode = next((encode for fits, encode in _kinds() if fits(kind)), None)
    if encode is None:
        raise Unreadable(f"columns of {kind} have no content digest; sign without one")
    if isinstance(array, pa.NullArray):
        return np.zeros((len(array), CELL), np.uint8), None
    heads, tails = encode(array)
    if array.null_count:
        empty = np.asarray(array.is_null())
        heads[empty] = 0
        tails = tails and [b"" if null else tail for null, tail in zip(empty, tails, strict=True)]
    return heads, tails


def _plain(array: Any) -> Any:
    """An array without a dictionary, an extension, runs or views."""
    import pyarrow as pa

    types = pa.types
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        array = pc.run_end_decode(array)
    if types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    return array.cast(pa.large_binary()) if types.is_binary_view(array.type) else array


def _kinds() -> Iterator[tuple[Callable[[Any], bool], Callable[[Any], Cells]]]:
    import pyarrow as pa

    types = pa.types
    yield types.is_null, _truths
    yield types.is_boolean, _truths
    yield types.is_integer, _integers
    yield types.is_floating, _floats
    yield types.is_decimal, lambda array: _bytes(array.cast(pa.string()).cast(pa.binary()), b"d")
    yield types.is_date, lambda array: _numbers(array.cast(pa.date32()).cast(pa.int32()), b"D")
    yield types.is_time, lambda array: _numbers(array.cast(pa.time64("ns")).cast(pa.int64()), b"T")
    yield types.is_timestamp, lambda array: _moments(array, b"z" if array.type.tz else b"t")
    yield types.is_duration, lambda array: _moments(array, b"p")
    yield lambda kind: types.is_string(kind) or types.is_large_string(kind), _words
    yield lambda kind: types.is_binary(kind) or types.is_large_binary(kind), _blobs
    yield types.is_fixed_size_binary, _blobs
    yield types.is_map, _maps
    yield lambda kind: types.is_list(kind) or types.is_large_list(kind), _lists
    yield types.is_fixed_size_list, _vectors
    yield types.is_struct, _structs


def _tagged(tag: bytes, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Cells of eight bytes of value, big end first; the last four are left to the caller."""
    heads = np.zeros((len(values), CELL), np.uint8)
    heads[:, 0] = tag[0]
    heads[:, 1:9] = values.astype(values.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, 8)
    return heads


def _filled(array: Any, zero: Any = 0) -> np.ndarray[Any, Any]:
    filled: np.ndarray[Any, Any] = array.fill_null(zero).to_numpy(zero_copy_only=False)
    return filled


def _truths(array: Any) -> Cells:
    return _tagged(b"b", _filled(array, False).astype(np.int64)), None


def _numbers(array: Any, tag: bytes) -> Cells:
    return _tagged(tag, _filled(array).astype(np.int64)), None


def _integers(array: Any) -> Cells:
    import pyarrow as pa

    if array.type != pa.uint64():
        return _numbers(array, b"i")
    values = _filled(array)
    heads = _tagged(b"i", values)
    heads[values > np.uint64(2**63 - 1), 0] = b"u"[0]
    return heads, None


def _floats(array: Any) -> Cells:
    import pyarrow as pa

    values = _filled(array.cast(pa.float64()), 0.0)
    bits = values.view(np.uint64).copy()
    bits[np.isnan(values)] = _NAN
    return _tagged(b"f", bits), None


def _moments(array: Any, tag: bytes) -> Cells:
    import pyarrow as pa

    unit = _PER_SECOND[array.type.unit]
    ticks = _filled(array.cast(pa.int64())).astype(np.int64)
    heads = _tagged(tag, ticks // unit)
    rest = (ticks % unit * (10**9 // unit)).astype(">u4")
    heads[:, 9:] = rest.view(np.uint8).reshape(-1, 4)
    return heads, None


def _words(array: Any) -> Cells:
    import pyarrow as pa

    return _bytes(array.cast(pa.large_string()).cast(pa.large_binary()), b"s")


def _blobs(array: Any) -> Cells:
    return _bytes(array, b"x")


def _bytes(array: Any, tag: bytes) -> Cells:
    import pyarrow as pa

    return _behind(array.cast(pa.large_binary()).fill_null(b"").to_pylist(), tag)


def _behind(tails: list[bytes], tag: bytes) -> Cells:
    return _tagged(tag, np.fromiter(map(len, tails), np.int64, len(tails))), tails


def _lists(array: Any) -> Cells:
    import pyarrow as pa

    wide = pa.large_list(array.type.value_field)
    array = array.cast(wide)
    offsets = _filled(array.offsets).astype(np.int64)
    return _nested(array.values, offsets, np.asarray(array.is_null()))


def _vectors(array: Any) -> Cells:
    width = array.type.list_size
    first = array.offset * width
    offsets = first + np.arange(len(array) + 1, dtype=np.int64) * width
    return _nested(array.values, offsets, np.asarray(array.is_null()))


def _nested(values: Any, offsets: np.ndarray[Any, Any], empty: np.ndarray[Any, Any]) -> Cells:
    """Lists, by where each begins among the values of all; what lies under a null is left out."""
    heads, tails = _cells(values)
    ends = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), empty.tolist(), strict=True))
    if tails is None:
        data = heads.tobytes()
        return _behind([b"" if no else data[s * CELL : e * CELL] for s, e, no in ends], b"l")
    whole = [head + tail for head, tail in zip(_split(heads), tails, strict=True)]
    return _behind([b"" if no else b"".join(whole[s:e]) for s, e, no in ends], b"l")


def _maps(array: Any) -> Cells:
    import pyarrow as pa

    entries = pa.StructArray.from_arrays([array.keys, array.items], names=["key", "value"])
    offsets = _filled(array.offsets).astype(np.int64)
    return _nested(entries, offsets, np.asarray(array.is_null()))


def _structs(array: Any) -> Cells:
    known = {field.name: array.field(number) for number, field in enumerate(array.type)}
    if len(known) != array.type.num_fields:
        raise Unreadable("a struct has two fields of one name; sign without content digests")
    names = sorted(known, key=str.encode)
    fields = [_cells(known[name]) for name in names]
    parts: list[list[bytes]] = []
    for name, (heads, tails) in zip(names, fields, strict=True):
        title = len(name.encode()).to_bytes(4, "big") + name.encode()
        parts += [[title] * len(array), _split(heads), *([tails] if tails is not None else [])]
    joined = [b"".join(row) for row in zip(*parts, strict=True)] if parts else [b""] * len(array)
    return _behind(joined, b"m")
