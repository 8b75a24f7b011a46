"""The nouns of a profile: columns of four kinds, two and three of them together, and blocks.

Everything that is a count adds up exactly when profiles are merged, and everything that is not a
count says by how much it may be off. A new kind of column is a class here with the fields that all
of them have (`name`, `type`, `count`, `nulls`, `bins`, `cells`), an accumulator in
:mod:`guards.data.profiles.gather`, and a place in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from guards.digest import Digest

if TYPE_CHECKING:
    import numpy as np

    from guards.numerics.sketches import Steps

    Ints = np.ndarray[Any, np.dtype[np.int64]]

POINTS = 1024  # of a distribution function, at most
BINS = 32  # cells of a number, beside those below and above
EIGHT = 8  # and about so many where three columns are counted together
VIEWS = 10  # directions along which vectors are counted
GROUPS = 24  # categories that have cells of their own
KEPT = 5_000  # values or tokens that are listed
RARE = 5  # a value of fewer rows is never written, so that no single row's value is in the file
MISSING = "missing"
OTHER = "any other"
JOINS = (1, 2, 3, 4)  # how many neighbouring cells of a number are one cell of a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericColumn:
    """A column of numbers, times or durations: its distribution function, and cells to count in.

    `form` says what the numbers are: `number`, or `moment` (seconds since 1970 in UTC), `clock`
    (seconds of a day) or `duration` (seconds). `count` are finite values; nulls, NaN and `infinite`
    (minus, plus) are counted apart. `points` and `weights` are steps of the distribution function
    (:class:`guards.numerics.sketches.Steps`) from which no rank is off by more than `error` rows;
    `low` and `high` are exact. `edges` cut the cells [e_i, e_i+1), and `cells` are the rows in
    each of `bins`. `distinct` holds the registers of a sketch. `spread` is how far one block lies
    from the others (the largest D), `null_spread` how far the missing rates of two blocks differ.
    """

    name: str
    type: str
    form: str = "number"
    count: int
    nulls: int
    nans: int = 0
    infinite: tuple[int, int] = (0, 0)
    low: float | None = None
    high: float | None = None
    points: tuple[float, ...]
    weights: tuple[int, ...]
    error: int = 0
    edges: tuple[float, ...]
    cells: tuple[int, ...]
    distinct: str
    spread: float = 0.0
    null_spread: float = 0.0

    @property
    def missing(self) -> int:
        """Rows without a value: null or NaN."""
        return self.nulls + self.nans

    @property
    def rows(self) -> int:
        """All rows of the column."""
        return self.count + self.missing + sum(self.infinite)

    @property
    def bins(self) -> tuple[str, ...]:
        """What the codes of a value mean, in order: one more than there are edges, and missing."""
        return (MISSING, *_intervals([written(edge, self.form) for edge in self.edges]))

    @property
    def off(self) -> float:
        """By which share of the rows a rank may be off: subtract it from every distance."""
        return self.error / max(self.count, 1)

    @property
    def steps(self) -> Steps:
        """The distribution function, for :mod:`guards.numerics.sketches`."""
        import numpy as np

        from guards.numerics.sketches import Steps

        return Steps(
            points=np.asarray(self.points, np.float64),
            weights=np.asarray(self.weights, np.int64),
            error=self.error,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryColumn:
    """A column of words, truths or codes: the commonest values with their rows.

    `rest` are the rows of all other values, none of which has more than `bound` rows; a listed
    count is exact or, where the dictionary overflowed or parts were merged, too small by at most
    `error` rows. `groups` are the values with cells of their own, `cells` the rows in each of
    `bins`. `spread` is how far one block lies from the others (the largest total variation),
    `new_spread` the largest share of a block whose values no other block has.
    """

    name: str
    type: str
    count: int
    nulls: int
    values: tuple[str, ...]
    counts: tuple[int, ...]
    rest: int
    bound: int = 0
    error: int = 0
    groups: tuple[str, ...]
    cells: tuple[int, ...]
    distinct: str
    spread: float = 0.0
    null_spread: float = 0.0
    new_spread: float = 0.0

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.nulls

    @property
    def rows(self) -> int:
        """All rows of the column."""
        return self.count + self.nulls

    @property
    def bins(self) -> tuple[str, ...]:
        """What the codes of a value mean, in order."""
        return (MISSING, *self.groups, OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn:
    """A column of running text: lengths in characters, and in how many rows each token stands.

    `length` describes the lengths as a column of numbers would be. `tokens` are the commonest, in
    lower case, with the rows that hold them (`counts`); any other token is in at most `bound` rows,
    a listed one in at most `error` more than listed. `marks` are rows that hold letters of a
    script, or characters that are drawn as nothing or turn the direction of writing. `rho` is the
    dispersion of the tokens' rates between blocks, `spread` the largest change of such a rate.
    """

    name: str
    type: str
    length: NumericColumn
    tokens: tuple[str, ...]
    counts: tuple[int, ...]
    bound: int = 0
    error: int = 0
    marks: Mapping[str, int]
    rho: float = 0.0
    spread: float = 0.0

    @property
    def count(self) -> int:
        """Rows with a text."""
        return self.length.count

    @property
    def missing(self) -> int:
        """Rows without a text."""
        return self.length.nulls

    @property
    def rows(self) -> int:
        """All rows of the column."""
        return self.length.rows

    @property
    def bins(self) -> tuple[str, ...]:
        """What the codes of a text mean: how long it is."""
        return self.length.bins

    @property
    def cells(self) -> tuple[int, ...]:
        """The rows in each of `bins`."""
        return self.length.cells


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where the vectors of a column lie along one direction: cells of about the same rows.

    `edges`, `cells` and `bins` are as of a column of numbers, missing first: rows without a
    vector, or with an odd one. `spread` is how far one block lies from the others.
    """

    name: str
    edges: tuple[float, ...]
    cells: tuple[int, ...]
    spread: float = 0.0

    @property
    def bins(self) -> tuple[str, ...]:
        """What the codes of a place mean, in order."""
        return (MISSING, *_intervals([written(edge, "number") for edge in self.edges]))


def view_name(column: str, number: int) -> str:
    """What the view of a column along direction `number`, from 1 on, is called."""
    return f"{column} view {number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorColumn:
    """A column of number lists of one length, as embeddings are: moments, and Euclidean norms.

    `norm` describes the norms as a column of numbers would be. `mean` and `variance` (d,) are over
    its `count` rows; `odd` are rows whose list has another length or holds no finite number, which
    have no norm. `spread` is how far the mean of one block lies from that of the others, as the
    root mean square over dimensions, in standard deviations. `views` are VIEWS of it.
    """

    name: str
    type: str
    norm: NumericColumn
    odd: int = 0
    mean: tuple[float, ...]
    variance: tuple[float, ...]
    spread: float = 0.0
    views: tuple[View, ...]

    @property
    def count(self) -> int:
        """Rows with a vector."""
        return self.norm.count

    @property
    def missing(self) -> int:
        """Rows without one, or with an odd one."""
        return self.norm.nulls

    @property
    def rows(self) -> int:
        """All rows of the column."""
        return self.norm.rows

    @property
    def bins(self) -> tuple[str, ...]:
        """What the codes of a vector mean: how long it is."""
        return self.norm.bins

    @property
    def cells(self) -> tuple[int, ...]:
        """The rows in each of `bins`."""
        return self.norm.cells


Column = NumericColumn | CategoryColumn | TextColumn | VectorColumn
KINDS: Mapping[type[Column], str] = {
    NumericColumn: "numeric",
    CategoryColumn: "category",
    TextColumn: "text",
    VectorColumn: "vector",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Rows in every two cells of two columns: `counts` of `first` (down) by `second` (across).

    Cells are the columns' bins where `join` is 1; else so many neighbouring bins of a number, or
    the commonest of the groups, are one (:func:`coarse`). `rho` is the dispersion of the cells
    between the blocks of the data, as :func:`guards.numerics.cells.block_movement` defines it.
    """

    first: str
    second: str
    join: int = 1
    counts: tuple[tuple[int, ...], ...]
    rho: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """Rows in every cell of three columns, about EIGHT cells each, the last running fastest.

    Three views of one column of vectors may be such. Which cells, says
    :mod:`guards.data.profiles.triples`. `rho` is the dispersion of the cells
    between the blocks of the data, as of a :class:`Pair`.
    """

    columns: tuple[str, str, str]
    counts: tuple[int, ...]
    rho: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """How the groups of the categorical column `by` moved in `column` between the blocks.

    `rho` is the dispersion within groups, `moved` the largest share of each of `by`'s bins that
    changed bin between a block and the others. The counts are those of the pair of both.
    """

    column: str
    by: str
    rho: float
    moved: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a dataset looked like; `blocks` are the row counts of its parts, in order."""

    blocks: tuple[int, ...]
    roles: Mapping[str, str]
    columns: tuple[Column, ...]
    pairs: tuple[Pair, ...]
    triples: tuple[Triple, ...]
    groups: tuple[Groups, ...]

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.blocks)

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}

    @cached_property
    def countable(self) -> Mapping[str, Column | View]:
        """All that triples may name: the views of the columns, and the columns."""
        return countable(self.columns)

    def owner(self, name: str) -> str:
        """The column that something countable is or is a view of."""
        return self._owners.get(name, name)

    @cached_property
    def _owners(self) -> Mapping[str, str]:
        vectors = (column for column in self.columns if isinstance(column, VectorColumn))
        views = {view.name: column.name for column in vectors for view in column.views}
        return {**views, **{name: name for name in self.by_name}}

    @cached_property
    def digest(self) -> Digest:
        """The sha256 of the profile's file."""
        from guards.data.profiles.file import to_bytes

        return Digest.of(to_bytes(self))

    def table(self, by: str, column: str) -> Ints | None:
        """Rows of each of `by`'s bins (down) in each of `column`'s (across), if they were counted.

        Only a pair that joins no bins has such a table.
        """
        import numpy as np

        place = self.whole.get(frozenset((by, column)))
        if place is None:
            return None
        counts = np.asarray(self.pairs[place].counts, np.int64)
        return counts if self.pairs[place].first == by else counts.T

    @cached_property
    def whole(self) -> Mapping[frozenset[str], int]:
        """The places of the pairs that join no bins, by their columns."""
        places = enumerate(self.pairs)
        return {frozenset((p.first, p.second)): place for place, p in places if p.join == 1}


def countable(columns: Sequence[Column]) -> dict[str, Column | View]:
    """All that triples of these columns may name; a column goes before a view of its name."""
    vectors = (column for column in columns if isinstance(column, VectorColumn))
    views: dict[str, Column | View] = {view.name: view for one in vectors for view in one.views}
    return views | {column.name: column for column in columns}


def coarse(bins: int, join: int, *, words: bool) -> Ints:
    """Which cell of a pair each of a column's bins is in, (bins,), where `join` bins are one.

    Missing, below and above stay apart; of numbers neighbours are joined; of `words` the rarer
    groups become any other.
    """
    import numpy as np

    inner = np.arange(max(bins - (2 if words else 3), 0))
    if words:
        kept = -(-len(inner) // join)
        return np.array([0, *np.minimum(inner, kept) + 1, kept + 1])
    if bins <= 3:
        return np.arange(bins)
    return np.array([0, 1, *(inner // join + 2), 2 + -(-len(inner) // join)])


def coarse_bins(column: Column | View, join: int) -> tuple[str, ...]:
    """What the cells of a pair mean, in order; of joined bins the first and the last."""
    words = isinstance(column, CategoryColumn)
    held: dict[int, list[str]] = {}
    for place, name in zip(
        coarse(len(column.bins), join, words=words).tolist(), column.bins, strict=True
    ):
        held.setdefault(place, []).append(name)
    if words:
        return tuple(OTHER if OTHER in names else names[0] for names in held.values())
    return tuple(_span(names) for names in held.values())


def written(number: float, form: str) -> str:
    """A number for people; a moment as a date where it is one."""
    import numpy as np

    if form != "moment" or abs(number) > 1e14:
        return f"{number:.6g}"
    text = str(np.datetime64(int(number // 1), "s"))
    return text.removesuffix("T00:00:00")


def _intervals(edges: list[str]) -> tuple[str, ...]:
    if not edges:
        return ("any value",)
    inner = (f"{low} to {high}" for low, high in pairwise(edges))
    return (f"below {edges[0]}", *inner, f"{edges[-1]} and above")


def _span(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0].partition(' to ')[0]} to {names[-1].rpartition(' to ')[2]}"
