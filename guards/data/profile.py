"""A stored reference: what a dataset looked like, small enough to sign and without its rows.

Per column a quantile grid or the counts of the commonest categories; per pair of a grouping
column (label, source, the categorical features of few values) and any other column the counts of
their cells; and beside each how far the blocks of the reference lie from one another, since
without that no later batch can be called unusual. Blocks are shards where there are several
(months, days, producers), else four runs of consecutive rows. Categories of fewer than
`RARE` rows are kept only as a number, so that no single row's value is in the file.

The file is canonical JSON; its sha256 is the profile's digest. Columns are read one at a time, so
memory is one column and one byte per cell of the table; counts add, so profiles of parts could.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.data.dataset import Dataset
from guards.digest import Digest, canonical_json
from guards.errors import Malformed, UsageError
from guards.provenance.strictjson import Node, loads

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Codes = np.ndarray[Any, np.dtype[np.int16]]

SCHEMA = "toadstone-profile/1"
STEPS = 256
BINS = 32
KEPT = 256
RARE = 5
GROUPS = 24
MAX_BLOCKS = 8
MAX_BY = 10
MAX_CELLS = 150_000
_LONG = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericColumn:
    """A column of numbers or times: `grid` holds `STEPS` + 1 quantiles, `edges` cut the cells.

    `spread` is how far one block lies from the others (the largest D), `null_spread` how far the
    missing rates of two blocks lie apart.
    """

    name: str
    count: int
    nulls: int
    grid: tuple[float, ...]
    edges: tuple[float, ...]
    spread: float = 0.0
    null_spread: float = 0.0

    @property
    def bins(self) -> tuple[str, ...]:
        """What the codes of :func:`encode` mean, in order."""
        inner = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(self.edges)]
        return ("missing", f"below {self.edges[0]:.6g}", *inner, f"above {self.edges[-1]:.6g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryColumn:
    """A column of words: the commonest values with their counts, `rest` the rows of all others.

    `spread` is how far one block lies from the others (the largest total variation),
    `new_spread` the largest share of a block whose values no other block has.
    """

    name: str
    count: int
    nulls: int
    values: tuple[str, ...]
    counts: tuple[int, ...]
    rest: int
    spread: float = 0.0
    null_spread: float = 0.0
    new_spread: float = 0.0

    @property
    def bins(self) -> tuple[str, ...]:
        """What the codes of :func:`encode` mean, in order."""
        return ("missing", *self.values[:GROUPS], "any other")


Column = NumericColumn | CategoryColumn


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Counts of `column`'s bins (across) in each group of the categorical column `by` (down).

    `rho` is the dispersion between blocks, `moved` the largest share of each group that changed
    bin between a block and the others.
    """

    column: str
    by: str
    counts: tuple[tuple[int, ...], ...]
    rho: float
    moved: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a dataset looked like; `blocks` are the row counts of its parts."""

    blocks: tuple[int, ...]
    roles: Mapping[str, str]
    columns: tuple[Column, ...]
    cells: tuple[Cells, ...]

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.blocks)

    @cached_property
    def digest(self) -> Digest:
        """The sha256 of the profile's file."""
        return Digest.of(to_bytes(self))


def build_profile(dataset: Dataset) -> Profile:
    """Profile the features, the label and the source of a dataset."""
    import numpy as np

    cuts = _cuts(dataset)
    codes: dict[str, Codes] = {}
    columns: list[Column] = []
    for name in profiled(dataset):
        values = values_of(dataset, name)
        column = _profile_column(name, values, cuts)
        columns.append(column)
        codes[name] = encode(column, values)
    return Profile(
        blocks=tuple(int(rows) for rows in np.diff(cuts)),
        roles={name: role for name, role in dataset.roles.columns().items() if name in codes},
        columns=tuple(columns),
        cells=tuple(_cells(columns, codes, cuts, dataset)),
    )


def profiled(dataset: Dataset) -> tuple[str, ...]:
    """The columns that a profile describes, in order."""
    roles = dataset.roles
    special = [name for name in (roles.label, roles.source) if name]
    return (*special, *roles.features)


def values_of(dataset: Dataset, name: str) -> pl.Series:
    """One column as Float64 or String; label and source are words whatever their type is.

    NaN counts as missing. Values longer than 80 characters are cut and made unique by a digest.
    """
    import polars as pl

    series = dataset.frame([name]).to_series()
    special = name in (dataset.roles.label, dataset.roles.source)
    numeric = series.dtype.is_numeric() or series.dtype.is_temporal()
    if numeric and not special:
        plain = series.to_physical() if series.dtype.is_temporal() else series
        return plain.cast(pl.Float64).fill_nan(None)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    words = series.cast(pl.String)
    if not (words.str.len_chars() > _LONG).any():
        return words
    long = words.filter(words.str.len_chars() > _LONG).unique()
    short = [f"{word[:_LONG]}~{Digest.of(word.encode()).short}" for word in long]
    return words.replace(long, pl.Series(short, dtype=pl.String))


def encode(column: Column, values: pl.Series) -> Codes:
    """Say of each value in which bin of `column` it falls; index into `column.bins`."""
    import numpy as np
    import polars as pl

    if isinstance(column, NumericColumn):
        filled = values.to_numpy()
        code = 1 + np.searchsorted(np.asarray(column.edges), filled, side="left")
        # The lowest edge is the minimum itself: only what is smaller lies below.
        code[filled == column.edges[0]] = 2
        return np.where(values.is_null().to_numpy(), 0, code).astype(np.int16)
    kept = column.values[:GROUPS]
    known = values.replace_strict(
        pl.Series(kept, dtype=pl.String),
        pl.Series(range(1, len(kept) + 1), dtype=pl.Int16),
        default=len(kept) + 1,
        return_dtype=pl.Int16,
    )
    return np.where(values.is_null().to_numpy(), 0, known.to_numpy()).astype(np.int16)


def cell_counts(codes: Codes, by: Codes, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Count rows per (group, bin), shape (groups, bins)."""
    import numpy as np

    flat = by.astype(np.int64) * shape[1] + codes
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def to_bytes(profile: Profile) -> bytes:
    """The profile's file: canonical JSON."""
    return canonical_json(
        {
            "schema": SCHEMA,
            "blocks": profile.blocks,
            "roles": dict(profile.roles),
            "columns": [_describe(column) for column in profile.columns],
            "cells": [
                {
                    "column": cells.column,
                    "by": cells.by,
                    "counts": cells.counts,
                    "rho": cells.rho,
                    "moved": cells.moved,
                }
                for cells in profile.cells
            ],
        }
    )


def write_profile(profile: Profile, path: Path) -> None:
    """Write the profile's file, replacing what is there."""
    path.write_bytes(to_bytes(profile))


def read_profile(path: Path) -> Profile:
    """Read a profile's file; UsageError if there is none, Malformed if it is not one."""
    try:
        return parse_profile(path.read_bytes())
    except OSError as error:
        raise UsageError(f"reference profile {path}: {error.strerror}") from error


def parse_profile(data: bytes) -> Profile:
    """Parse a profile strictly: canonical form, every number in place, every cell accounted for."""
    root = loads(data, "profile").only("schema", "blocks", "roles", "columns", "cells")
    if root.of("schema").text() != SCHEMA:
        root.of("schema").refuse(f"must be {SCHEMA!r}")
    columns = tuple(_parse_column(node) for node in root.of("columns").each())
    named = {column.name: column for column in columns}
    profile = Profile(
        blocks=_integers(root.of("blocks")),
        roles={name: role.text() for name, role in root.of("roles").items()},
        columns=columns,
        cells=tuple(_parse_cells(node, named) for node in root.of("cells").each()),
    )
    if len(named) != len(columns):
        root.of("columns").refuse("a column is described twice")
    for column in columns:
        if column.count + column.nulls != profile.rows:
            root.of("columns").refuse(f"column {column.name!r} has another number of rows")
    if to_bytes(profile) != data:
        raise Malformed("not in canonical form", "profile")
    return profile


def _cuts(dataset: Dataset) -> list[int]:
    """Where the blocks begin and end, in rows: 0, ..., rows."""
    starts = [shard.start for shard in dataset.shards]
    if len(starts) == 1:
        return [dataset.rows * part // 4 for part in range(5)]
    step = -(-len(starts) // MAX_BLOCKS)
    return [*starts[::step], dataset.rows]


def _profile_column(name: str, values: pl.Series, cuts: Sequence[int]) -> Column:
    import polars as pl

    numeric = values.dtype == pl.Float64 and values.is_finite().any()
    if values.dtype == pl.Float64 and not numeric:
        values = values.cast(pl.String)
    return _numeric(name, values, cuts) if numeric else _category(name, values, cuts)


def _numeric(name: str, values: pl.Series, cuts: Sequence[int]) -> NumericColumn:
    import numpy as np

    from guards.numerics.twosample import ks_against_grid, quantile_grid

    held = values.drop_nulls()
    finite = held.filter(held.is_finite()).sort().to_numpy()
    edges = np.unique(quantile_grid(finite, BINS))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    grid = quantile_grid(finite, STEPS)
    return NumericColumn(
        name=name,
        count=len(held),
        nulls=values.null_count(),
        grid=tuple(_written(grid)),
        edges=tuple(_written(edges)),
        spread=_spread(values, cuts, lambda block: ks_against_grid(block.sort().to_numpy(), grid)),
        null_spread=_null_spread(values, cuts),
    )


def _category(name: str, values: pl.Series, cuts: Sequence[int]) -> CategoryColumn:
    import polars as pl

    tally = values.drop_nulls().value_counts(name="\0count").rename({values.name: "\0value"})
    top = (
        tally.filter(pl.col("\0count") >= RARE)
        .sort(["\0count", "\0value"], descending=[True, False])
        .head(KEPT)
    )
    count = len(values) - values.null_count()
    return CategoryColumn(
        name=name,
        count=count,
        nulls=values.null_count(),
        values=tuple(top["\0value"]),
        counts=tuple(top["\0count"]),
        rest=count - int(top["\0count"].sum()),
        spread=_spread(values, cuts, _variation_from(tally, count)),
        null_spread=_null_spread(values, cuts),
        new_spread=_new_spread(values, cuts, tally),
    )


def _spread(
    values: pl.Series, cuts: Sequence[int], distance: Callable[[pl.Series], float]
) -> float:
    """The largest distance of one block from the others together.

    `distance` is from the whole, of which the block is a share w; from the others it is by
    1 / (1 - w) larger, exactly, for D and for total variation alike.
    """
    found, held = [0.0], len(values) - values.null_count()
    for low, high in pairwise(cuts):
        block = values[low:high].drop_nulls()
        if 0 < len(block) < held:
            found.append(distance(block) / (1 - len(block) / held))
    return round(min(max(found), 1.0), 6)


def _variation_from(tally: pl.DataFrame, total: int) -> Callable[[pl.Series], float]:
    import polars as pl

    def distance(block: pl.Series) -> float:
        own = block.value_counts(name="\0own").rename({block.name: "\0value"})
        both = tally.join(own, on="\0value", how="left").fill_null(0)
        gaps = both.select((pl.col("\0count") / total - pl.col("\0own") / len(block)).abs().sum())
        return float(gaps.item()) / 2

    return distance


def _new_spread(values: pl.Series, cuts: Sequence[int], tally: pl.DataFrame) -> float:
    """The largest share of a block whose values are in no other block."""
    import polars as pl

    found = [0.0]
    for low, high in pairwise(cuts):
        own = values[low:high].drop_nulls().value_counts(name="\0own")
        both = tally.join(own.rename({values.name: "\0value"}), on="\0value")
        only = both.filter(pl.col("\0own") == pl.col("\0count"))["\0own"].sum()
        found.append(float(only) / max(high - low, 1))
    return round(max(found), 6)


def _null_spread(values: pl.Series, cuts: Sequence[int]) -> float:
    rates = [
        values[low:high].null_count() / (high - low) for low, high in pairwise(cuts) if high > low
    ]
    return round(max(rates) - min(rates), 6)


def _cells(
    columns: Sequence[Column], codes: Mapping[str, Codes], cuts: Sequence[int], dataset: Dataset
) -> Iterable[Cells]:
    import numpy as np

    from guards.numerics.cells import block_movement

    room = MAX_CELLS
    for by in _groupings(columns, dataset):
        for column in columns:
            shape = (len(by.bins), len(column.bins))
            if column.name == by.name or shape[0] * shape[1] > room:
                continue
            room -= shape[0] * shape[1]
            blocks = np.array(
                [
                    cell_counts(codes[column.name][low:high], codes[by.name][low:high], shape)
                    for low, high in pairwise(cuts)
                ]
            )
            rho, moved = block_movement(blocks)
            yield Cells(
                column=column.name,
                by=by.name,
                counts=tuple(tuple(map(int, row)) for row in blocks.sum(axis=0)),
                rho=round(rho, 6),
                moved=tuple(round(float(share), 4) for share in moved),
            )


def _groupings(columns: Sequence[Column], dataset: Dataset) -> list[CategoryColumn]:
    """Label and source first, then the categorical columns of fewest values."""
    words = [
        column
        for column in columns
        if isinstance(column, CategoryColumn) and column.rest <= column.count / 2
    ]
    special = (dataset.roles.label, dataset.roles.source)
    words.sort(key=lambda column: (column.name not in special, len(column.values)))
    return [column for column in words if len(column.values) > 1][:MAX_BY]


def _describe(column: Column) -> dict[str, Any]:
    shared = {
        "name": column.name,
        "count": column.count,
        "nulls": column.nulls,
        "spread": column.spread,
        "null_spread": column.null_spread,
    }
    match column:
        case NumericColumn():
            return {**shared, "kind": "numeric", "grid": column.grid, "edges": column.edges}
        case CategoryColumn():
            return {
                **shared,
                "kind": "category",
                "values": column.values,
                "counts": column.counts,
                "rest": column.rest,
                "new_spread": column.new_spread,
            }


def _parse_column(node: Node) -> Column:
    shared: dict[str, Any] = {
        "name": node.of("name").text(),
        "count": node.of("count").integer(),
        "nulls": node.of("nulls").integer(),
        "spread": _number(node.of("spread")),
        "null_spread": _number(node.of("null_spread")),
    }
    kind = node.of("kind").text()
    if kind == "numeric":
        return _parse_numeric(node, shared)
    return _parse_category(node, shared) if kind == "category" else node.refuse("unknown kind")


def _parse_numeric(node: Node, shared: dict[str, Any]) -> NumericColumn:
    node.only(*shared, "kind", "grid", "edges")
    grid, edges = _ascending(node.of("grid")), _ascending(node.of("edges"))
    if len(grid) != STEPS + 1 or not 2 <= len(edges) <= BINS + 1:
        node.refuse(f"must have {STEPS + 1} grid points and 2 to {BINS + 1} edges")
    return NumericColumn(**shared, grid=grid, edges=edges)


def _parse_category(node: Node, shared: dict[str, Any]) -> CategoryColumn:
    node.only(*shared, "kind", "values", "counts", "rest", "new_spread")
    values = tuple(item.text() for item in node.of("values").each())
    counts, rest = _integers(node.of("counts")), node.of("rest").integer()
    if len(values) != len(counts) or len(set(values)) != len(values):
        node.refuse("must have one count for each value, and each value once")
    if sum(counts) + rest != shared["count"]:
        node.refuse("the counts do not add up")
    return CategoryColumn(
        **shared,
        values=values,
        counts=counts,
        rest=rest,
        new_spread=_number(node.of("new_spread")),
    )


def _parse_cells(node: Node, columns: Mapping[str, Column]) -> Cells:
    node.only("column", "by", "counts", "rho", "moved")
    cells = Cells(
        column=node.of("column").text(),
        by=node.of("by").text(),
        counts=tuple(_integers(row) for row in node.of("counts").each()),
        rho=_number(node.of("rho")),
        moved=tuple(_number(item) for item in node.of("moved").each()),
    )
    if cells.column not in columns or not isinstance(columns.get(cells.by), CategoryColumn):
        node.refuse("names a column that is not described, or not one of categories")
    down, across = len(columns[cells.by].bins), len(columns[cells.column].bins)
    if len(cells.counts) != down or any(len(row) != across for row in cells.counts):
        node.refuse(f"must have {down} rows of {across} counts")
    if len(cells.moved) != down:
        node.of("moved").refuse(f"must have {down} numbers")
    return cells


def _ascending(node: Node) -> tuple[float, ...]:
    numbers = tuple(_number(item) for item in node.each())
    return numbers if list(numbers) == sorted(numbers) else node.refuse("must not descend")


def _integers(node: Node) -> tuple[int, ...]:
    return tuple(item.integer() for item in node.each())


def _number(node: Node) -> float:
    """An integer or a fraction; strict JSON has made sure that it is finite."""
    found: float = node.value if type(node.value) in (int, float) else node.refuse("not a number")
    return found


def _written(values: Iterable[float]) -> list[float]:
    """Whole numbers as such, which is shorter; never rounded, since ties must stay ties."""
    plain = map(float, values)
    return [int(value) if value.is_integer() and abs(value) < 2**53 else value for value in plain]
