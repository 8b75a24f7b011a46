"""Make a poisoned twin of a dataset, and the truth about it.

The twin has the same files, columns, row order and codecs; only planted rows differ, in picture
and label (and `source`, where the attack writes one). When an attack touches pictures, *every*
row's picture is stored again by its own codec and settings, planted or not, so that nothing but
the attack tells them apart. The pixels of rows that are not planted stay as they were wherever
that codec is lossless. The same dataset, attack and seed give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset, open_dataset
from guards.errors import NothingToExamine, UsageError
from guards.provenance.roles import Roles
from guards.redteam.codec import Change, recode
from guards.redteam.plan import Plan, names, plan
from guards.redteam.shards import read_shard, write_shard

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


def poison(
    dataset: Path,
    attack: str,
    rate: float,
    out: Path,
    *,
    seed: int = 0,
    target: str | None = None,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Path:
    """Write the poisoned twin of `dataset` (a directory or a file) into the new directory `out`.

    `rate` is the share of *all* rows that is planted. `target` and `source` are drawn by `seed`
    when the attack needs them and they are not given; `columns` ({column: role}) overrules the
    inferred roles. Returns the path of the truth beside it, `OUT.truth.parquet`: one line a row
    with `row_id, file, row_in_file, planted, original_label, original_source, attack, target`;
    `target` is the label that was planted, null elsewhere.
    Raises UsageError when the request makes no sense for this dataset; then nothing is written.
    """
    truth = out.with_name(f"{out.name}.truth.parquet")
    for path in (out, truth):
        if path.exists():
            raise UsageError(f"{path} exists already; choose another --out")
    opened = open_path(dataset, columns)
    chosen = plan(opened, attack, rate, seed=seed, target=target, source=source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".toadstone-", dir=out.parent) as scratch:
        twin, told = Path(scratch) / "twin", Path(scratch) / "truth"
        _write_twin(opened, chosen, twin)
        _truth(opened, chosen).write_parquet(told)
        twin.rename(out)
        told.rename(truth)
    return truth


def open_path(dataset: Path, columns: Mapping[str, str] | None = None) -> Dataset:
    """Open a directory or one file as it lies there, unverified; links are not followed.

    `columns` ({column: role}) overrules the inferred roles.
    """
    if not dataset.exists():
        raise UsageError(f"{dataset}: no such dataset")
    root = dataset if dataset.is_dir() else dataset.parent
    opened = open_dataset(root, _files(root) if root == dataset else [dataset.name], given=columns)
    if not opened.rows:
        raise NothingToExamine(f"{dataset}: no rows in it")
    return opened


def _files(root: Path) -> list[str]:
    found = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted((path.relative_to(root).as_posix() for path in found), key=str.encode)


def _write_twin(dataset: Dataset, chosen: Plan, twin: Path) -> None:
    for name in {problem.path for problem in dataset.problems}:
        (twin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.root / name, twin / name)
    for shard in dataset.shards:
        path = dataset.root / shard.path
        table = _edited(read_shard(path, shard.format), shard.start, chosen, dataset.roles)
        write_shard(table, twin / shard.path, path, shard.format)


def _edited(table: pa.Table, start: int, chosen: Plan, roles: Roles) -> pa.Table:
    """One shard's table with its planted rows; `start` is its first global row number."""
    labels = {
        row - start: label
        for row, label in chosen.labels.items()
        if start <= row < start + table.num_rows
    }
    table = _replaced(table, str(roles.label), labels)
    if chosen.source is not None:
        table = _replaced(table, str(roles.source), dict.fromkeys(labels, chosen.source))
    if chosen.change is None:
        return table
    place = table.schema.get_field_index(str(roles.image))
    column = _recoded(table.column(place), labels.keys(), chosen.change)
    return table.set_column(place, table.schema.field(place), column)


def _replaced(table: pa.Table, column: str, texts: Mapping[int, str]) -> pa.Table:
    """Put new values, given as text, into some rows of a column, in the column's own type."""
    import pyarrow as pa

    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    values = table.column(place).to_pylist()
    for row, text in texts.items():
        values[row] = pa.scalar(text).cast(kind).as_py()
    return table.set_column(place, field, pa.array(values, field.type))


def _recoded(column: pa.ChunkedArray, planted: Set[int], change: Change) -> pa.Array:
    """Store every picture of a column again, and change those of the `planted` rows first."""
    import pyarrow as pa

    values = column.to_pylist()
    struct = pa.types.is_struct(column.type)
    stored = [value["bytes"] if struct and value else value for value in values]
    changes = [change if row in planted else None for row in range(len(values))]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        again = list(pool.map(_again, stored, changes))
    if struct:
        for value, data in zip(values, again, strict=True):
            if value:
                value["bytes"] = data
    return pa.array(values if struct else again, column.type)


def _again(data: bytes | None, change: Change | None) -> bytes | None:
    """The picture stored again; what does not decode (never a planted row) stays as it is."""
    try:
        return recode(data, change)
    except Exception:
        if change:
            raise
        return data


def _truth(dataset: Dataset, chosen: Plan) -> pl.DataFrame:
    import polars as pl

    rows = np.arange(dataset.rows)
    sources = names(dataset, "source") if dataset.roles.source else [None] * len(rows)
    return dataset.locate(rows).select(
        "row_id",
        "file",
        "row_in_file",
        pl.Series("planted", np.isin(rows, list(chosen.labels)), pl.Boolean),
        pl.Series("original_label", list(names(dataset, "label")), pl.String),
        pl.Series("original_source", list(sources), pl.String),
        pl.lit(chosen.attack.name).alias("attack"),
        pl.Series("target", [chosen.labels.get(row) for row in rows.tolist()], pl.String),
    )
