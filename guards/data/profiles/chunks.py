"""One pass over a dataset in canonical chunks: the same whatever the shards, and a few at a time.

Rows are read in strips and handed on in chunks of CHUNK rows, both cut at multiples of their size
and at the ends of the blocks, so a chunk is a function of the rows and their order alone. What is
large in a row (a text, a vector) is reduced to a few numbers and sums while its strip is at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from guards.data.coded import Coded, coded, joined
from guards.data.dataset import Dataset
from guards.data.profiles.nouns import VIEWS
from guards.data.profiles.places import vectors_of
from guards.data.profiles.values import (
    MARKS,
    WORDS,
    Kind,
    brief,
    items,
    marks,
    plain,
    token_lists,
    tokens,
)
from guards.data.stream import Strip, strips
from guards.data.words import words_of
from guards.numerics.directions import projected

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Singles = np.ndarray[Any, np.dtype[np.float32]]

CHUNK = 1 << 18
STRIP = 1 << 16
WIDE_STRIP = 1 << 9
BLOCKS, FEW_BLOCKS, SMALL = 8, 4, 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of one strip of texts, of one block: `tally` is (value, count)."""

    block: int
    tally: pl.DataFrame
    marks: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The sums and sums of squares, (d,), of the vectors in one strip of one block."""

    block: int
    count: int
    odd: int
    total: Floats
    squares: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some rows, from global row `start` on; `blocks` are (block, first row, end) within them.

    `numbers` are the columns as :func:`guards.data.profiles.values.plain` gives them, of texts the
    lengths and of vectors the norms; `strips` holds what else is kept of those. `words` are the
    categories. `views` are where vectors lie along VIEWS directions, (rows, VIEWS), NaN for a row
    without one.
    """

    start: int
    rows: int
    blocks: tuple[tuple[int, int, int], ...]
    numbers: Mapping[str, pl.Series]
    words: Mapping[str, Coded]
    strips: Mapping[str, tuple[Tokens | Moments, ...]]
    views: Mapping[str, Singles]

    def series(self, name: str) -> pl.Series:
        """The plain values of a column."""
        return self.words[name].series(name) if name in self.words else self.numbers[name]

    def coded(self, name: str) -> Coded:
        """The plain values of a column as words."""
        import polars as pl

        return self.words.get(name) or coded(self.numbers[name].cast(pl.String))


def block_cuts(rows: int) -> list[int]:
    """Where the blocks of a dataset begin and end: 0, ..., rows."""
    many = min(BLOCKS if rows >= SMALL else FEW_BLOCKS, max(rows, 1))
    return [rows * part // many for part in range(many + 1)]


def one_chunk(rows: int) -> bool:
    """Whether so many rows are a single chunk, of which nothing has to be thinned."""
    return rows <= CHUNK


def chunks(
    dataset: Dataset,
    columns: Sequence[Kind],
    widths: Mapping[str, int] | None = None,
    *,
    small: bool = False,
) -> Iterator[Chunk]:
    """The rows of a dataset, CHUNK at a time; `widths` are the lengths that vectors must have.

    With `small` a chunk is a strip, all of one block: for what counts, and sorts no more than that.
    Of a vector column that it does not name, the first strip with a list says how long all have to
    be: as most of them are there.
    """
    cuts = [0, dataset.rows] if small else block_cuts(dataset.rows)
    size = WIDE_STRIP if any(kind.wide for kind in columns) else STRIP
    known = dict(widths or {})
    names = list(dict.fromkeys(kind.column for kind in columns))
    texts = {kind.column for kind in columns if kind.kind != "category"}
    words = {n for n in names if dataset.schema[n] == "String" and n not in texts}
    held: list[_Strip] = []
    start = done = 0
    for parts in strips(dataset, names, words, size, cuts):
        held += [_reduced(part, columns, _block(cuts, done), known) for part in parts]
        done += sum(part.height for part in parts)
        if small or done % CHUNK == 0 or done == dataset.rows:
            yield _chunk(held, start)
            held, start = [], done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strip:
    block: int
    rows: int
    numbers: Mapping[str, pl.Series]
    words: Mapping[str, pl.Series | Coded]
    extras: Mapping[str, Tokens | Moments]
    views: Mapping[str, Singles]


def _block(cuts: Sequence[int], row: int) -> int:
    return next(block for block, (low, high) in enumerate(pairwise(cuts)) if low <= row < high)


def _chunk(held: Sequence[_Strip], start: int) -> Chunk:
    import numpy as np
    import polars as pl

    blocks: list[tuple[int, int, int]] = []
    end = 0
    for strip in held:
        first = blocks.pop()[1] if blocks and blocks[-1][0] == strip.block else end
        end += strip.rows
        blocks.append((strip.block, first, end))
    return Chunk(
        start=start,
        rows=end,
        blocks=tuple(blocks),
        numbers={name: pl.concat([s.numbers[name] for s in held]) for name in held[0].numbers},
        words={name: joined([s.words[name] for s in held]) for name in held[0].words},
        strips={name: tuple(s.extras[name] for s in held) for name in held[0].extras},
        views={name: np.concatenate([s.views[name] for s in held]) for name in held[0].views},
    )


def _reduced(strip: Strip, columns: Sequence[Kind], block: int, widths: dict[str, int]) -> _Strip:
    import polars as pl

    values: dict[str, pl.Series] = {}
    told: dict[str, pl.Series | Coded] = {}
    extras: dict[str, Tokens | Moments] = {}
    views: dict[str, Singles] = {}
    for kind in columns:
        if kind.column in strip.words:
            told[kind.name] = brief(strip.words[kind.column])
            continue
        series = strip.frame[kind.column]
        match kind.kind:
            case "text" if kind.form == "list":
                values[kind.name] = _lengths(series)
                held = tokens(items(series.drop_nulls()))
                extras[kind.name] = Tokens(block=block, tally=held, marks=dict.fromkeys(MARKS, 0))
            case "text":
                words = words_of(series)
                values[kind.name] = words.str.len_chars().cast(pl.Float64)
                held = tokens(token_lists(words.drop_nulls()))
                extras[kind.name] = Tokens(block=block, tally=held, marks=marks(words))
            case "vector":
                vectors, rows = (
                    vectors_of(series, kind.made) if kind.made else _vectors(series, widths)
                )
                values[kind.name], views[kind.name] = _placed(kind, strip.height, vectors, rows)
                odd = len(series) - series.null_count() - len(vectors)
                extras[kind.name] = _moments(vectors, block, odd)
            case "category":
                told[kind.name] = plain(series, kind)
            case _:
                values[kind.name] = plain(series, kind)
    return _Strip(
        block=block, rows=strip.height, numbers=values, words=told, extras=extras, views=views
    )


def _lengths(lists: pl.Series) -> pl.Series:
    import polars as pl

    inner: Any = getattr(lists.dtype, "inner", pl.Null())
    return lists.cast(pl.List(inner)).list.len().cast(pl.Float64)


def _vectors(series: pl.Series, widths: dict[str, int]) -> tuple[Floats, Any]:
    """The vectors of a strip, (n, d), without lists of another length or with odd numbers.

    Also which rows they are of, (n,). A number is odd if no norm with it is finite.
    """
    import numpy as np
    import polars as pl

    lists = series.cast(pl.List(pl.Float64))
    lengths = lists.list.len()
    if series.name not in widths and (held := lengths.drop_nulls()).len():
        widths[series.name] = int(held.mode().max() or 0)  # type: ignore[arg-type]
    width = widths.get(series.name, 0)
    if not width:
        return np.zeros((0, 0)), np.zeros(0, np.int64)
    fits = (lengths == width).fill_null(False)
    flat = lists.filter(fits).explode().to_numpy().reshape(-1, width)
    with np.errstate(over="ignore", invalid="ignore"):
        good = np.isfinite(np.square(flat).sum(axis=1))
    return flat[good], fits.arg_true().to_numpy()[good]


def _placed(kind: Kind, height: int, vectors: Floats, rows: Any) -> tuple[pl.Series, Singles]:
    """The norm of every row of a strip, null without a vector, and its places, (rows, VIEWS)."""
    import numpy as np
    import polars as pl

    norms = np.full(height, np.nan)
    norms[rows] = np.sqrt(np.square(vectors).sum(axis=1))
    places = np.full((height, VIEWS), np.nan, np.float32)
    # Where the words of a text are is a place already.
    places[rows] = vectors if kind.made == WORDS else projected(vectors, VIEWS)
    return pl.Series(kind.name, norms, nan_to_null=True), places


def _moments(vectors: Floats, block: int, odd: int) -> Moments:
    import numpy as np

    return Moments(
        block=block,
        count=len(vectors),
        odd=odd,
        total=vectors.sum(axis=0),
        squares=np.square(vectors).sum(axis=0),
    )
