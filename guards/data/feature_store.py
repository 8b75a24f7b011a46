"""Features that do not fit into memory: float16 rows in an Arrow IPC file, read by memory map.

One file holds a fixed-size list of float16 and a label a row, uncompressed, in record batches as
they were written. Reading maps the file and copies out only the rows that are asked for, so that
memory is what the reader asks for at once; the numerics take :func:`reader` where they take
a tensor in memory, and give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.errors import Unreadable, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Rows = npt.NDArray[np.int64]

FEATURES, LABEL = "features", "label"
BLOCK = 2**26  # bytes that are copied at once when rows are put in order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureStore:
    """An opened store of `labels` (rows,) and `batches`, views (m, width) float16 of the file.

    `starts` are the first row of each batch, and the number of rows.
    """

    labels: Rows
    batches: tuple[npt.NDArray[np.float16], ...]
    starts: Rows

    @property
    def rows(self) -> int:
        """Rows of all batches."""
        return len(self.labels)

    @property
    def width(self) -> int:
        """Features of a row."""
        return int(self.batches[0].shape[1])


def write_features(path: Path, batches: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]) -> int:
    """Write features (m, d) and labels (m,) batch by batch; gives the rows written.

    Raises:
        UsageError: there is no batch, widths differ, or a number is none in float16.
    """
    import pyarrow as pa

    writer, rows, width = None, 0, 0
    try:
        for features, labels in batches:
            halves = _halves(features, rows)
            if writer is None:
                width = halves.shape[1]
                kind = pa.list_(pa.float16(), width)
                schema = pa.schema([(FEATURES, kind), (LABEL, pa.int64())])
                writer = pa.ipc.new_file(path, schema)
            if halves.shape[1] != width:
                raise UsageError(
                    f"features of row {rows} have width {halves.shape[1]}, not {width}"
                )
            flat = pa.array(halves.reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, width)
            codes = pa.array(np.asarray(labels, np.int64))
            writer.write_batch(pa.record_batch([column, codes], schema=schema))
            rows += len(halves)
    finally:
        if writer is not None:
            writer.close()
    if not rows:
        raise UsageError("there are no features to write; give at least one row")
    return rows


def open_features(path: Path) -> FeatureStore:
    """Map a store; nothing but the labels is read.

    Raises:
        Unreadable: the file is not one that :func:`write_features` wrote.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as mapped:
            file = pa.ipc.open_file(mapped)
            found = [file.get_batch(number) for number in range(file.num_record_batches)]
        views = tuple(_view(batch) for batch in found if batch.num_rows)
        labels = [batch.column(LABEL).to_numpy() for batch in found if batch.num_rows]
    except (OSError, KeyError, pa.ArrowException, AttributeError) as error:
        raise Unreadable(f"{path} holds no features: {error}; write it again") from error
    if not views:
        raise Unreadable(f"{path} holds no features: it has no rows; write it again")
    sizes = [len(view) for view in views]
    return FeatureStore(
        labels=np.concatenate(labels),
        batches=views,
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )


def take(store: FeatureStore, rows: Rows) -> npt.NDArray[np.float16]:
    """Copy rows by number, of any shape, as (*shape, width); file order is the fastest."""
    flat = rows.ravel()
    out = np.empty((len(flat), store.width), np.float16)
    of = np.searchsorted(store.starts, flat, side="right") - 1
    for batch in np.unique(of).tolist():
        here = np.flatnonzero(of == batch)
        out[here] = store.batches[batch][flat[here] - store.starts[batch]]
    return out.reshape(*rows.shape, store.width)


def reader(store: FeatureStore, device: str = "cpu") -> Callable[[Rows], Tensor]:
    """Read rows of the store as float16 tensors on a device, as the numerics ask for them."""
    import torch

    def read(rows: Rows) -> Tensor:
        return torch.from_numpy(take(store, rows)).to(device)

    return read


def write_by_class(path: Path, store: FeatureStore) -> int:
    """Write the store again with each class's rows together, so that they are read in one go."""
    order = np.argsort(store.labels, kind="stable")
    blocks = np.array_split(order, -(-len(order) * store.width * 2 // BLOCK))
    return write_features(path, ((take(store, some), store.labels[some]) for some in blocks))


def _halves(features: npt.ArrayLike, row: int) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(features, dtype=np.float16)
    if not np.isfinite(halves).all():
        raise UsageError(
            f"features of row {row} on: a number is missing or beyond 65,504, the most that "
            "float16 holds; scale the features first"
        )
    return halves


def _view(batch: Any) -> npt.NDArray[np.float16]:
    column = batch.column(FEATURES)
    width = column.type.list_size
    flat: npt.NDArray[np.float16] = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(-1, width)
