"""An opened dataset: the one place that turns verified bytes into columns.

A dataset is one or more shards of Parquet, CSV, Arrow IPC or JSON Lines with one schema, or a
folder of pictures, see `guards.data.folder`. Nothing here holds a whole dataset in memory unless it
is asked for whole columns. What cannot be read is
a :class:`Problem`, told by file, not fatal: the readable shards are still examined, and the
`quality` rule turns problems into findings. Every shard is decoded once, streaming, when it is
opened, so that damage inside a file shows here and not in the middle of a check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.data import folder
from guards.data.decoding import (
    FORMATS,
    ROWS,
    UNTYPED,
    Probed,
    Problem,
    file_of,
    form_of,
    glance,
    lazy_file,
    named,
    streamed,
)
from guards.data.trial import decode_apart, pictures_apart
from guards.data.words import words_of
from guards.digest import canonical_json
from guards.errors import NothingToExamine, Unreadable
from guards.provenance.roles import Roles, infer
from guards.text import printable

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Schema = Mapping[str, pl.DataType]

_CALENDAR = (-718_797, 2_932_531)  # days since 1970: the years 2 to 9998, so that zones fit too
_NEAR = 32 << 20  # bytes of small columns that are read together
# Files of which nothing is said, and that a reader of the directory may take for data all the same.
_LEFT_OUT = frozenset({"unreadable-file", "mixed-schema", "mixed-kinds"})
LONGEST = 200  # characters of the name of a class or source


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One readable file: `path` is relative to the dataset, `start` its first global row.

    Of a folder of pictures it is one directory of them, and `files` are their paths, a row each.
    """

    path: str
    format: str
    rows: int
    start: int
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Readable shards of one schema, in byte order of their paths.

    `unpacked` is what their values weigh, see `guards.data.unpacked`; 0 where nobody counted.
    """

    root: Path
    shards: tuple[Shard, ...]
    schema: Mapping[str, str]
    roles: Roles
    problems: tuple[Problem, ...] = ()
    unpacked: int = 0
    _near: dict[int, pl.DataFrame] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def rows(self) -> int:
        """Rows over all readable shards."""
        return sum(shard.rows for shard in self.shards)

    def lazy(self) -> pl.LazyFrame:
        """All shards under one another as a polars LazyFrame, for streaming queries."""
        import polars as pl

        return pl.concat([self.scan(shard) for shard in self.shards], how="vertical")

    def scan(self, shard: Shard) -> pl.LazyFrame:
        """One shard, in the dataset's column order and types."""
        if shard.format == folder.FORMAT:
            return folder.scan(self.root, shard.files)
        types = _types(self.schema) if shard.format in UNTYPED else {}
        return lazy_file(file_of(self.root, shard.path), shard.format, types).select(
            named(self.schema)
        )

    def columns(self, *names: str) -> pl.LazyFrame:
        """The named columns of every row, in global row order, for streaming queries."""
        return self.lazy().select(named(names))

    def batches(self, column: str, size: int, most: int) -> Iterator[pl.Series]:
        """One column in global row order, a few rows at a time: some `most` bytes, `size` rows.

        Every file is read once, from its start to its end, and little of it is held.
        """
        for shard in self.shards:
            path = file_of(self.root, shard.path)
            if shard.files:
                yield from folder.batches(self.root, shard.files, column, size, most)
            elif shard.format in UNTYPED:
                whole = self.scan(shard).select(named([column])).collect()
                yield from (part.to_series() for part in whole.iter_slices(size))
            else:
                rows = max(1, min(size, most * shard.rows // max(path.stat().st_size, 1)))
                yield from streamed(path, shard.format, column, rows)

    def frame(self, columns: Sequence[str]) -> pl.DataFrame:
        """The named columns of every row, in global row order."""
        if len(columns) == 1 and (near := self._neighbours(columns[0])) is not None:
            return near.select(named(columns))
        return self.columns(*columns).collect()

    def _neighbours(self, column: str) -> pl.DataFrame | None:
        """A column with those beside it, where they are small; the last ones asked for are kept.

        Rules go from column to column, and each file would be opened, or parsed whole, for each.
        """
        names = list(self.schema)
        many = _NEAR * len(names) // max(self.unpacked, 1) if self.unpacked else 0
        if many < 2 or column not in self.schema:
            return None
        start = names.index(column) // many * many
        if start not in self._near:
            read = self.columns(*names[start : start + many]).collect()
            self._near.clear()
            if read.estimated_size() > 4 * _NEAR:
                return read
            self._near[start] = read
        return self._near[start]

    def locate(self, rows: Sequence[int] | np.ndarray) -> pl.DataFrame:
        """Say which rows these are: `row, row_id, file, row_in_file, row_digest, label`.

        One line per distinct global row, in ascending order. `row_id` is the `id` column's value
        as a string, or `file#row_in_file` where there is none; `row_digest` see
        :func:`row_digest`; `label` is the given label as a string, or null.
        """
        import polars as pl

        wanted = sorted({int(row) for row in rows})
        lines = [line for shard in self.shards for line in self._lines(shard, wanted)]
        return pl.DataFrame(
            lines,
            schema={
                "row": pl.Int64,
                "row_id": pl.String,
                "file": pl.String,
                "row_in_file": pl.Int64,
                "row_digest": pl.String,
                "label": pl.String,
            },
            orient="row",
        )

    def _lines(self, shard: Shard, wanted: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        inside = [row - shard.start for row in wanted if 0 <= row - shard.start < shard.rows]
        for local, record in self._records(shard, inside):
            own, label = (record.get(role or "") for role in (self.roles.id, self.roles.label))
            # A picture of a folder is a file of its own, and the only row in it.
            file, place = (shard.files[local], 0) if shard.files else (shard.path, local)
            yield (
                shard.start + local,
                f"{file}#{place}" if own is None else str(own),
                file,
                place,
                row_digest(record),
                None if label is None else str(label),
            )

    def _records(self, shard: Shard, inside: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Some rows of a shard, by their number in it, ascending."""
        import polars as pl

        if shard.files:
            for local in inside:
                yield local, folder.record(self.root, shard.files[local])
        elif inside:
            scan = self.scan(shard).with_row_index(ROWS)
            found = scan.filter(pl.col(ROWS).is_in(inside)).sort(ROWS).collect()
            tame, far = _tamed(found)
            for place, record in enumerate(tame.iter_rows(named=True)):
                yield record.pop(ROWS), {**record, **far.get(place, {})}


def open_dataset(
    root: Path,
    files: Sequence[str],
    roles: Roles | None = None,
    *,
    given: Mapping[str, str] | None = None,
) -> Dataset:
    """Open the data files among `files` (relative to `root`); without any, the pictures.

    Roles are inferred when not handed in; `given` ({column: role}) then overrules the conventions.

    The schema is the one that most shards share (the first such, in path order).

    Raises:
        NothingToExamine: there is no data file among `files`, or none holds a row.
        Unreadable: no data file can be read, or `roles` names a column that the data lacks.
    """
    ordered, pictures = _kinds(files)
    tried = decode_apart(root, ordered)
    problems = [found for found in tried.values() if isinstance(found, Problem)]
    read = {name: found for name, found in tried.items() if isinstance(found, Probed)}
    if pictures and not any(form_of(name) for name in ordered):
        return _folder(root, pictures, problems, roles, given)
    if pictures:
        problems.append(_mixed_kinds(pictures))
    if not read:
        raise _nothing(problems)
    schema = _common_schema(list(read.values()))
    shards: list[Shard] = []
    for name, probed in read.items():
        if problem := _unfit(name, probed, schema):
            problems.append(problem)
        else:
            start = sum(shard.rows for shard in shards)
            shards.append(Shard(path=name, format=probed.format, rows=probed.rows, start=start))
    if not shards:
        raise NothingToExamine(f"{len(read)} data file(s), and not one row in them")
    return Dataset(
        root=root,
        shards=tuple(shards),
        schema={column: str(dtype) for column, dtype in schema.items()},
        roles=infer_roles(schema, given) if roles is None else _held(roles, schema),
        problems=tuple(sorted(problems, key=lambda problem: problem.path.encode())),
        unpacked=sum(probed.unpacked for probed in read.values()),
    )


def whole(dataset: Dataset) -> Dataset:
    """The same; Unreadable if a file of it could not be looked at, and so is not in its rows."""
    left = next((problem for problem in dataset.problems if problem.code in _LEFT_OUT), None)
    if left is not None:
        raise Unreadable(f"{printable(left.path)} cannot be examined: {left.message}")
    return dataset


def open_alone(root: Path, name: str) -> Dataset:
    """One table that nobody read yet, for a process that is itself apart and reads it once.

    Its rows are those that the file declares, 0 where it declares none.

    Raises:
        Unreadable: it is none, or its columns cannot be told.
    """
    found = glance(root, name)
    if isinstance(found, Problem):
        raise Unreadable(f"{printable(found.path)}: {found.message}")
    schema = _common_schema([found])
    return Dataset(
        root=root,
        shards=(Shard(path=name, format=found.format, rows=found.rows, start=0),),
        schema={column: str(dtype) for column, dtype in schema.items()},
        roles=infer_roles(schema),
    )


def _kinds(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that are no pictures, and the pictures, each in byte order of their paths."""
    ordered = sorted(files, key=str.encode)
    pictures = [name for name in ordered if folder.is_picture(name)]
    return [name for name in ordered if not folder.is_picture(name)], pictures


def _mixed_kinds(pictures: Sequence[str]) -> Problem:
    told = f"{len(pictures)} picture(s) beside data files, which were not examined"
    return Problem(code="mixed-kinds", path=pictures[0], message=told)


def _folder(
    root: Path,
    pictures: Sequence[str],
    problems: Sequence[Problem],
    roles: Roles | None,
    given: Mapping[str, str] | None,
) -> Dataset:
    """A dataset of pictures in directories: each directory of them is a shard."""
    shards: list[Shard] = []
    harmful = pictures_apart(root, pictures)
    good = [name for name in pictures if name not in harmful]
    if not good:
        raise _nothing([*problems, *harmful.values()])
    for path, names in folder.directories(good).items():
        start = shards[-1].start + shards[-1].rows if shards else 0
        shards.append(
            Shard(path=path, format=folder.FORMAT, rows=len(names), start=start, files=names)
        )
    schema = folder.schema()
    return Dataset(
        root=root,
        shards=tuple(shards),
        schema={column: str(dtype) for column, dtype in schema.items()},
        roles=infer_roles(schema, given) if roles is None else _held(roles, schema),
        problems=(*problems, *harmful.values()),
    )


def infer_roles(schema: Schema, given: Mapping[str, str] | None = None) -> Roles:
    """Roles by convention for a polars schema; `given` ({column: role}) overrules.

    `image` is a column of bytes or of struct{bytes, path}; a single struct of that shape has the
    role whatever its name is.
    """
    chosen = dict(given or {})
    pictures = [column for column, dtype in schema.items() if _is_picture(dtype)]
    taken = "image" in chosen.values() or "image" in schema
    if len(pictures) == 1 and not taken:
        chosen.setdefault(pictures[0], "image")
    if "image" in schema and not (_is_picture(schema["image"]) or _is_bytes(schema["image"])):
        chosen.setdefault("image", "feature" if is_scalar(schema["image"]) else "ignore")
    return infer({column: is_scalar(dtype) for column, dtype in schema.items()}, chosen)


def is_scalar(dtype: pl.DataType) -> bool:
    """Tell whether one value of this type is one number, word, truth or time."""
    import polars as pl

    plain = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    return dtype.is_numeric() or dtype.is_temporal() or isinstance(dtype, plain)


def row_digest(record: Mapping[str, Any]) -> str:
    """Name the contents of one row: sha256 over its canonical encoding, as `sha256:<hex>`.

    The encoding is the canonical JSON (sorted keys, no spaces, UTF-8) of `{column: value}`. Null,
    booleans, integers and strings stand for themselves; a float is `{"float": hex form}`, bytes
    are `{"bytes": their sha256}`, times and decimals `{"text": ISO or decimal form}`, a struct is
    `{"struct": {...}}` and a list a list. So no two different rows share an encoding, and one row
    has one name in every file format that keeps its types.
    """
    from guards.digest import Digest

    return str(Digest.of(canonical_json({name: _plain(value) for name, value in record.items()})))


def _common_schema(probed: Sequence[Probed]) -> Schema:
    """The schema of most shards; types of untyped formats are widened to hold all of them."""
    filled = [shard for shard in probed if shard.rows] or list(probed)
    votes = Counter(map(_key, filled))
    winner = max(votes, key=lambda key: votes[key])
    agreeing = [shard for shard in filled if _key(shard) == winner]
    first = agreeing[0].schema
    if agreeing[0].format not in UNTYPED:
        return first
    return {column: _widest([shard.schema[column] for shard in agreeing]) for column in first}


def _key(shard: Probed) -> tuple[str, ...]:
    if shard.format in UNTYPED:
        return tuple(shard.schema)
    return tuple(f"{column}\0{dtype}" for column, dtype in shard.schema.items())


def _widest(dtypes: Sequence[pl.DataType]) -> pl.DataType:
    import polars as pl

    kinds = {dtype for dtype in dtypes if dtype != pl.Null}
    if len(kinds) <= 1:
        return next(iter(kinds), pl.String())
    return pl.Float64() if all(kind.is_numeric() for kind in kinds) else pl.String()


def _unfit(name: str, probed: Probed, schema: Schema) -> Problem | None:
    if probed.rows == 0:
        return Problem(code="zero-rows", path=name, message="the file holds no row")
    if probed.format in UNTYPED:
        fits = set(probed.schema) == set(schema)
    else:
        fits = dict(probed.schema) == dict(schema)
    if fits:
        return None
    return Problem(code="mixed-schema", path=name, message=_schema_difference(probed, schema))


def _schema_difference(probed: Probed, schema: Schema) -> str:
    told = []
    for column in dict.fromkeys([*schema, *probed.schema]):
        here, there = probed.schema.get(column), schema.get(column)
        if here != there:
            told.append(f"{printable(column)[:60]} is {here or 'absent'}, not {there or 'absent'}")
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    return "unlike the other shards: " + "; ".join(told[:5]) + more


def _nothing(problems: Sequence[Problem]) -> NothingToExamine | Unreadable:
    broken = [problem for problem in problems if problem.code == "unreadable-file"]
    if broken:
        first = broken[0]
        return Unreadable(
            f"{len(broken)} data file(s), none readable; {printable(first.path)}: {first.message}"
        )
    if any(problem.code == "zero-rows" for problem in problems):
        return NothingToExamine("the data files hold no rows")
    known = " ".join(FORMATS)
    return NothingToExamine(f"no data file among {len(problems)} file(s); known are {known}")


def _held(roles: Roles, schema: Schema) -> Roles:
    if missing := [column for column in roles.columns() if column not in schema]:
        raise Unreadable(
            f"the data has no column {', '.join(map(repr, missing[:5]))}, to which a role is given"
        )
    return roles


def _types(schema: Mapping[str, str]) -> Schema:
    """The polars types of the columns of an untyped format; nested ones are left to polars."""
    import polars as pl

    kinds = {
        "Int64": pl.Int64(),
        "Float64": pl.Float64(),
        "String": pl.String(),
        "Boolean": pl.Boolean(),
    }
    return {column: kinds[name] for column, name in schema.items() if name in kinds}


def short_words(values: pl.Series) -> pl.Series:
    """Values as strings; one longer than LONGEST by its beginning and its digest.

    NumPy gives every string the room of the longest: one label of a megabyte would take gigabytes.
    """
    from guards.digest import Digest

    found = words_of(values)
    long = found.filter(found.str.len_chars() > LONGEST).unique().to_list()
    if not long:
        return found
    short = [f"{w[: LONGEST // 2]}… {Digest.of(w.encode()).hex[:16]}" for w in long]
    return found.replace(long, short)


def _is_bytes(dtype: pl.DataType) -> bool:
    import polars as pl

    return dtype == pl.Binary


def _is_picture(dtype: pl.DataType) -> bool:
    import polars as pl

    fields = {field.name: field.dtype for field in getattr(dtype, "fields", ())}
    return fields.get("bytes") == pl.Binary


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": value.hex()}
        case bytes():
            from guards.digest import Digest

            return {"bytes": Digest.of(value).hex}
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {"struct": {name: _plain(item) for name, item in value.items()}}
        case _:
            return {"text": str(value)}


def _tamed(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, dict[str, str]]]:
    """A frame that Python can read, and by row the dates and times of no year from 2 to 9998.

    Python has no such objects, and polars panics where it should make one; they become texts.
    """
    import polars as pl

    day = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
    far: dict[int, dict[str, str]] = {}
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Date | pl.Datetime):
            ticks, unit = frame[name].to_physical(), getattr(dtype, "time_unit", "day")
            beyond = ~(ticks // day.get(unit, 1)).is_between(*_CALENDAR)
            for place in beyond.fill_null(False).arg_true():
                far.setdefault(place, {})[name] = f"{ticks[place]} {unit} since 1970"
            if beyond.any():
                frame = frame.with_columns(pl.when(~beyond).then(pl.col(name)).alias(name))
    return frame, far


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return printable(f"{type(error).__name__}: {text}")[:300]
