"""A folder of pictures as a table: a row a file, labelled by the directory that it lies in.

    DATASET/cat/001.png      id `cat/001.png`, label `cat`
    DATASET/train/dog/a.jpg  id `train/dog/a.jpg`, label `dog`: the nearest directory counts
    DATASET/stray.png        no label, which the `quality` rule holds against it

This is the convention of torchvision's ImageFolder and of the Hub's `imagefolder`. The columns are
`id`, `image` (the bytes as they lie there) and `label`; the bytes of a picture are read when they
are asked for, and not before. What a file's name says of its format is not believed: it is decoded
by its bytes, in `guards.data.images`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

FORMAT = "pictures"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
ID, IMAGE, LABEL = "id", "image", "label"


def is_picture(name: str) -> bool:
    """Whether a path, by its name, is that of a picture."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def label_of(name: str) -> str | None:
    """The name of the directory that a picture lies in; None at the top."""
    return PurePosixPath(name).parent.name or None


def directories(pictures: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The pictures by the directory that holds them, both in byte order."""
    grouped: dict[str, list[str]] = {}
    for name in sorted(pictures, key=str.encode):
        grouped.setdefault(str(PurePosixPath(name).parent), []).append(name)
    return {path: tuple(grouped[path]) for path in sorted(grouped, key=str.encode)}


def schema() -> Mapping[str, pl.DataType]:
    """The columns and their polars types."""
    import polars as pl

    return {ID: pl.String(), IMAGE: pl.Binary(), LABEL: pl.String()}


def scan(root: Path, names: Sequence[str]) -> pl.LazyFrame:
    """These pictures as a LazyFrame; files are read where the column `image` is asked for."""
    import polars as pl

    def read(paths: pl.Series) -> pl.Series:
        return pl.Series(paths.name, [_bytes(root, name) for name in paths], pl.Binary)

    frame = pl.LazyFrame({ID: list(names), LABEL: [label_of(name) for name in names]}, _types())
    stored = pl.col(ID).map_batches(read, return_dtype=pl.Binary(), is_elementwise=True)
    return frame.select(ID, stored.alias(IMAGE), LABEL)


def record(root: Path, name: str) -> dict[str, Any]:
    """One row, as the other formats give theirs."""
    return {ID: name, IMAGE: _bytes(root, name), LABEL: label_of(name)}


def batches(
    root: Path, names: Sequence[str], column: str, size: int, most: int
) -> Iterator[pl.Series]:
    """One column, at most `size` rows at a time, and not many more than `most` bytes."""
    import polars as pl

    held: list[Any] = []
    weight = 0
    for name in names:
        value = record(root, name)[column]
        held.append(value)
        weight += len(value or "")
        if len(held) == size or weight >= most:
            yield pl.Series(column, held, schema()[column])
            held, weight = [], 0
    if held:
        yield pl.Series(column, held, schema()[column])


def _types() -> Mapping[str, pl.DataType]:
    return {name: dtype for name, dtype in schema().items() if name != IMAGE}


def _bytes(root: Path, name: str) -> bytes:
    # A dataset may be one file, and is then its own root.
    return (root if root.is_file() else root / name).read_bytes()
