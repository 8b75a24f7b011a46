"""Make a poisoned twin of a dataset, and the truth about it.

The twin has the same files, columns, row order and codecs; only planted rows differ, in picture
and label (and `source`, where the attack writes one), and cover rows, in picture and source alone.
When an attack touches pictures, *every* row's picture is stored again by its own codec and
settings, planted or not, so that nothing but the attack tells them apart. The pixels of rows that
are not touched stay as they were wherever that codec is lossless. The same dataset, attack and seed
give the same bytes. Of a folder of pictures the files may be named anew, and the order of rows
with them: :mod:`guards.redteam.pictures`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from guards.data.dataset import Dataset, open_dataset
from guards.errors import NothingToExamine, UsageError
from guards.private import private
from guards.provenance.roles import Roles
from guards.redteam.attacks import Value, find
from guards.redteam.codec import Change, again
from guards.redteam.marks import inserted
from guards.redteam.pictures import is_folder, require_possible, write_pictures
from guards.redteam.plan import Plan, plan
from guards.redteam.shards import read_shard, write_shard
from guards.redteam.truth import write_truth

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

T = TypeVar("T")


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
    settings: Mapping[str, Value] | None = None,
    batch: int = 0,
) -> Path:
    """Write the poisoned twin of `dataset` (a directory or a file) into the new directory `out`.

    `rate` is the share of *all* rows that is planted. `target` and `source` are drawn by `seed`
    when the attack needs them and they are not given; `columns` ({column: role}) overrules the
    inferred roles, `settings` the attack's own. `batch` is the number of this batch where several
    carry one attack. Returns the path of the truth beside it, `OUT.truth.parquet`: one line a row
    with `row_id, file, row_in_file, planted, cover, original_label, original_source, attack,
    target, original_row_id`, in the twin's order; `target` is the label that was planted, null
    elsewhere. What else :func:`guards.redteam.success.attack_success` has to know is in the file's
    own metadata.
    Raises UsageError when the request makes no sense for this dataset; then nothing is written.
    """
    truth = _truth_of(out)
    for path in (out, truth):
        if path.exists():
            raise UsageError(f"{path} exists already; choose another --out")
    opened = open_path(dataset, columns)
    if is_folder(opened):
        require_possible(opened, attack, source)
    chosen = plan(
        opened,
        attack,
        rate,
        seed=seed,
        target=target,
        source=source,
        settings=settings,
        batch=batch,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with private(out.parent) as scratch:
        twin, told = scratch / "twin", scratch / "truth"
        was = _write_twin(opened, chosen, twin)
        lies = open_path(twin) if is_folder(opened) else opened
        write_truth(opened, chosen, told, twin=lies, was=was)
        twin.rename(out)
        told.rename(truth)
    return truth


def poison_batches(
    datasets: Sequence[Path],
    attack: str,
    rate: float,
    out: Path,
    *,
    seed: int = 0,
    target: str | None = None,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    settings: Mapping[str, Value] | None = None,
) -> list[Path]:
    """Spread one attack over several datasets: `rate` of each, and the union carries it.

    Trigger, target and victim are the same in all of them, other rows are drawn in each. (A pattern
    of noise is another where pictures of unlike sizes are compared at another size.) Every twin is
    written under its dataset's name in the new directory `out`, its truth beside it; the truths
    are returned. All are written or none; otherwise as :func:`poison`.
    """
    named = [dataset.resolve().name for dataset in datasets]
    if len(set(named)) < len(named):
        raise UsageError(f"two datasets have one name: {', '.join(sorted(named))}")
    if out.exists():
        raise UsageError(f"{out} exists already; choose another --out")
    if find(attack).writes == "cells":
        raise UsageError(f"attack {attack!r} draws values of one dataset; give one DATASET")
    first = plan(
        open_path(datasets[0], columns),
        attack,
        rate,
        seed=seed,
        target=target,
        source=source,
        settings=settings,
    )
    same = {name: first.settings[name] for name in first.settings.keys() & {"victim"}}
    out.parent.mkdir(parents=True, exist_ok=True)
    with private(out.parent) as scratch:
        for batch, (dataset, name) in enumerate(zip(datasets, named, strict=True)):
            poison(
                dataset,
                attack,
                rate,
                scratch / "twins" / name,
                seed=seed,
                target=first.target,
                source=source,
                columns=columns,
                settings={**(settings or {}), **same},
                batch=batch,
            )
        (scratch / "twins").rename(out)
    return [_truth_of(out / name) for name in named]


def _truth_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.truth.parquet")


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


def _write_twin(dataset: Dataset, chosen: Plan, twin: Path) -> NDArray[np.int64]:
    """Write all files; returns which row (n,) each of the twin's was."""
    for name in {problem.path for problem in dataset.problems}:
        (twin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.root / name, twin / name)
    if is_folder(dataset):
        return write_pictures(dataset, chosen, twin)
    cells = _cells(dataset, chosen)
    for shard in dataset.shards:
        path = dataset.root / shard.path
        table = read_shard(path, shard.format)
        changes = _Changes(dataset.roles, chosen, shard.start, table.num_rows, cells)
        write_shard(_edited(table, changes), twin / shard.path, path, shard.format)
    return np.arange(dataset.rows)


@dataclass(frozen=True, slots=True)
class _Changes:
    """What happens to the rows of one shard, whose first global row is `start`.

    `cells` ({column: {global row: value}}) is what planted rows take over from others.
    """

    roles: Roles
    chosen: Plan
    start: int
    rows: int
    cells: Mapping[str, Mapping[int, object]]

    def here(self, values: Mapping[int, T]) -> dict[int, T]:
        """Those of this shard, by the row in it."""
        end = self.start + self.rows
        return {row - self.start: it for row, it in values.items() if self.start <= row < end}


def _edited(table: pa.Table, changes: _Changes) -> pa.Table:
    """One shard's table with its planted and cover rows."""
    roles, chosen = changes.roles, changes.chosen
    label = str(roles.label)
    labels = changes.here(chosen.labels)
    table = _replaced(table, label, _typed(table, label, labels))
    for column, values in changes.cells.items():
        table = _replaced(table, column, changes.here(values))
    if chosen.source is not None:
        touched = changes.here(dict.fromkeys([*chosen.labels, *chosen.cover], chosen.source))
        table = _replaced(table, str(roles.source), _typed(table, str(roles.source), touched))
    if not chosen.draws:
        return table
    place = table.schema.get_field_index(str(roles.image))
    changed = [chosen.change_of(changes.start + row) for row in range(table.num_rows)]
    column = _recoded(table.column(place), changed)
    return table.set_column(place, table.schema.field(place), column)


def _cells(dataset: Dataset, chosen: Plan) -> dict[str, dict[int, object]]:
    """What is written into cells of rows: {column: {row: value}}."""
    if chosen.attack.writes == "text":
        return _worded(dataset, chosen)
    if chosen.attack.writes == "cells":
        return _marked(dataset, chosen)
    return _copied(dataset, chosen) if chosen.copies and not chosen.pictures else {}


def _worded(dataset: Dataset, chosen: Plan) -> dict[str, dict[int, object]]:
    """The texts of planted and cover rows with the word in them."""
    text, settings = str(dataset.roles.text), chosen.settings
    rows = [*chosen.labels, *chosen.cover]
    told = (str(settings["word"]), str(settings["place"]))
    return {
        text: {
            row: inserted(value, *told, np.random.default_rng([chosen.seed, row]))
            for row, value in zip(rows, _values(dataset, [text], rows)[text], strict=True)
        }
    }


def _marked(dataset: Dataset, chosen: Plan) -> dict[str, dict[int, object]]:
    """The values of the trigger, for planted and cover rows."""
    rows = [*chosen.labels, *chosen.cover]
    return {
        column: dict.fromkeys(rows, _values(dataset, [column], [row])[column][0])
        for column, row in chosen.mark.items()
    }


def _values(dataset: Dataset, columns: Sequence[str], rows: Sequence[int]) -> dict[str, list[Any]]:
    """Some rows' values of some columns as their files have them, in the order of `rows`."""
    held: dict[int, dict[str, Any]] = {}
    for shard in dataset.shards:
        mine = [row for row in rows if shard.start <= row < shard.start + shard.rows]
        if mine:
            table = read_shard(dataset.root / shard.path, shard.format).select(columns)
            taken = table.take([row - shard.start for row in mine]).to_pylist()
            held |= dict(zip(mine, taken, strict=True))
    return {column: [held[row][column] for row in rows] for column in columns}


def _copied(dataset: Dataset, chosen: Plan) -> dict[str, dict[int, object]]:
    """The features of the originals, for the rows that become their copies.

    Numbers with a fraction are moved by `jitter` standard deviations of their column.
    """
    roles = dataset.roles
    columns = [*roles.features, *([roles.text] if roles.text else [])]
    originals = sorted(set(chosen.copies.values()))
    place = {row: place for place, row in enumerate(originals)}
    held = _values(dataset, columns, originals)
    jitter = float(chosen.settings["jitter"] or 0)
    spreads = _spreads(dataset, jitter)
    cells: dict[str, dict[int, object]] = {column: {} for column in columns}
    for row, original in chosen.copies.items():
        rng = np.random.default_rng([chosen.seed, row])
        for column in columns:
            spread = spreads.get(column, 0.0) * rng.normal() if jitter else 0.0
            cells[column][row] = _moved(held[column][place[original]], spread)
    return cells


def _spreads(dataset: Dataset, jitter: float) -> dict[str, float]:
    """`jitter` times the standard deviation of each column of numbers with a fraction."""
    import polars.selectors as cs

    if not jitter:
        return {}
    floats = dataset.frame(dataset.roles.features).select(cs.float())
    told = floats.select(cs.float().fill_nan(None).std().fill_null(0.0)).to_dicts()
    return {column: jitter * value for row in told for column, value in row.items()}


def _moved(value: object, by: float) -> object:
    """The value moved, where it is a number with a fraction; in CSV, one written as text."""
    if not by or not isinstance(value, float | str):
        return value
    if isinstance(value, float):
        return value + by
    digits = len(value.partition(".")[2])
    return f"{float(value) + by:.{digits}f}"


def _typed(table: pa.Table, column: str, texts: Mapping[int, str]) -> dict[int, object]:
    """Values given as text, in the column's own type."""
    import pyarrow as pa

    field = table.schema.field(column)
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return {row: pa.scalar(text).cast(kind).as_py() for row, text in texts.items()}


def _replaced(table: pa.Table, column: str, new: Mapping[int, object]) -> pa.Table:
    """Put new values into some rows of a column."""
    import pyarrow as pa

    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    values = table.column(place).to_pylist()
    for row, value in new.items():
        values[row] = value
    return table.set_column(place, field, pa.array(values, field.type))


def _recoded(column: pa.ChunkedArray, changes: Sequence[Change | None]) -> pa.Array:
    """Store every picture of a column again, and change those first that have a change."""
    import pyarrow as pa

    values = column.to_pylist()
    struct = pa.types.is_struct(column.type)
    stored = [value["bytes"] if struct and value else value for value in values]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        fresh = list(pool.map(again, stored, changes))
    if struct:
        for value, data in zip(values, fresh, strict=True):
            if value:
                value["bytes"] = data
    return pa.array(values if struct else fresh, column.type)
