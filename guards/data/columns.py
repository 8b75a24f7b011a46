"""The columns of a table as something to compare rows by, and the cells that the rows fall in.

*Design*: a number becomes steps (is it above this quantile?), a word one column for each common
value, and what is missing a column of its own, so that no unit and no outlier decides and a sum of
columns can follow any curve. *Space*: the same columns, scaled so that the whole range of a number
and another word are equally far. *Families of cells*: the exact values of a column, and fine
quantile bins of a number; `pairing` has coarser codes, of which two columns make a family. Sources
are cells and are in neither the design nor the space: who knows the source would learn its errors.
*Ranks* are where rows lie by their numbers alone, in a table that has words as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset
from guards.data.profile import values_of
from guards.numerics.turns import Ragged, ragged
from guards.text import printable

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

    from guards.data.texts import Said

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

WIDTH = 400  # columns of the design that are aimed at
STEPS, WORDS = 16, 24
BINS = (64, 512)
LEAST = 8
PAIRED, PAIRED_BINS = 48, 16
_SHOWN = 60
_NUMBERS = 3  # columns of numbers of which ranks are a place


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What rows of a cell share in one column: a value, a range (low, high], or that it lacks.

    Of a range the values `but` are left out, as they are parts of their own.
    """

    column: str
    value: str | float | None = None
    low: float | None = None
    high: float | None = None
    but: tuple[float, ...] = ()

    @property
    def told(self) -> str:
        """For people, such as `age = 49.5`."""
        name = printable(self.column)[:_SHOWN]
        if self.low is not None or self.high is not None:
            ends = [("above", self.low), ("up to", self.high)]
            return f"{name} " + " and ".join(f"{w} {x:g}" for w, x in ends if x is not None)
        if self.value is None:
            return f"{name} is missing"
        return f"{name} = {_shown(self.value)}"

    def among(self, values: pl.Series) -> Bools:
        """The rows that share it, of that column as :func:`guards.data.profile.values_of`."""
        found = values.is_null()
        if self.low is not None or self.high is not None:
            above = values > self.low if self.low is not None else values.is_not_null()
            found = above & (values <= self.high) if self.high is not None else above
            found = found & ~values.is_in(self.but)
        elif self.value is not None:
            found = values == self.value
        return found.fill_null(False).to_numpy()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Family:
    """Cells of one kind that are one another's peers; `exact` (cells,) shape the design itself.

    `names` say what the rows of each cell share.
    """

    kind: str  # value | bin | text | copies
    column: str
    groups: Ragged
    names: Sequence[Part | Said]
    exact: Bools


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """One column's codes (n,), each a part, -1 for none; `exact` (n,) all values, 0 if missing."""

    codes: Ints
    parts: Sequence[Part]
    exact: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Everything about some rows: `design` (n, p), `space` (n, p) float32, `blocks` by column.

    `ranks` (n, d) float32 in 0 to 1; no column where there are no words or few numbers.
    """

    design: Floats
    space: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float32]
    blocks: Mapping[str, slice]
    families: tuple[Family, ...]
    pairing: Mapping[str, Coded]


def columns_of(dataset: Dataset, rows: Ints) -> Columns:
    """Read the feature columns, and the source, of some rows (ascending global numbers)."""
    features = {name: values_of(dataset, name)[rows] for name in dataset.roles.features}
    features = {name: values for name, values in features.items() if values.n_unique() > 1}
    steps = int(np.clip(WIDTH // max(len(features), 1), 1, STEPS))
    built = {name: _design(values, steps) for name, values in features.items()}
    ends = np.cumsum([0, *(block.shape[1] for block in built.values())])
    spaces = [_even(block, features[name]) for name, block in built.items()]
    everything = dict(features)
    if source := dataset.roles.source:
        everything[source] = values_of(dataset, source)[rows]
    return Columns(
        design=_joined([*built.values()], len(rows)),
        space=_joined(spaces, len(rows)).astype(np.float32),
        ranks=_ranks([*features.values()], len(rows)),
        blocks={
            name: slice(int(low), int(high))
            for name, low, high in zip(built, ends[:-1], ends[1:], strict=True)
        },
        families=tuple(
            family for name, values in everything.items() for family in _families(name, values)
        ),
        pairing={name: _paired(name, values) for name, values in everything.items()},
    )


def _joined(blocks: Sequence[Floats], rows: int) -> Floats:
    return np.hstack(blocks) if blocks else np.zeros((rows, 0))


def _ranks(features: Sequence[pl.Series], rows: int) -> npt.NDArray[np.float32]:
    """The mean ranks of numbers, over the rows, of what is missing the middle one."""
    import polars as pl

    numbers = [values for values in features if values.dtype.is_numeric()]
    if len(numbers) < _NUMBERS or len(numbers) == len(features):
        return np.zeros((rows, 0), np.float32)
    ranks = [
        values.cast(pl.Float64).fill_nan(None).rank("average").fill_null((rows + 1) / 2) / rows
        for values in numbers
    ]
    return np.column_stack([one.to_numpy() for one in ranks]).astype(np.float32)


def _design(values: pl.Series, steps: int) -> Floats:
    """Steps of a number, common values of a word, and what is missing; (n, some columns)."""
    numbers = _numbers(values)
    if numbers is None:
        common = _common(values, max(steps, 8))
        shown = [(values == value).fill_null(False).to_numpy() for value in common]
    else:
        cuts = _cuts(numbers, steps + 1).tolist()
        shown = [np.where(np.isnan(numbers), 0.5, numbers > cut) for cut in cuts]
    lacking = values.is_null().to_numpy()
    columns = [*shown, *([lacking] if lacking.any() else [])]
    useful = [np.asarray(column, np.float64) for column in columns if np.ptp(column * 1.0) > 0]
    return np.column_stack(useful) if useful else np.zeros((len(values), 0))


def _even(block: Floats, values: pl.Series) -> Floats:
    """The same scaled for distances: the full range of a number is 1, and so is another word."""
    return block * (2**-0.5 if _numbers(values) is None else max(block.shape[1], 1) ** -0.5)


def _cuts(numbers: Floats, bins: int) -> Floats:
    """The finite quantiles that part numbers into so many bins, each once; none for no number."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return finite
    return np.unique(np.quantile(finite, np.arange(1, bins) / bins))


def _numbers(values: pl.Series) -> Floats | None:
    """The column as floats, missing as NaN; None for words."""
    return values.to_numpy().astype(np.float64) if values.dtype.is_numeric() else None


def _common(values: pl.Series, most: int) -> list[str]:
    counted = values.drop_nulls().value_counts(name="\0count").rename({values.name: "\0value"})
    ordered = counted.sort(["\0count", "\0value"], descending=[True, False])
    return ordered["\0value"].head(most).to_list()


def _families(name: str, values: pl.Series) -> list[Family]:
    numbers, n = _numbers(values), len(values)
    codes = values.rank("dense").cast(int).fill_null(0).to_numpy().astype(np.int64)
    groups = _large(ragged(codes), n)
    firsts = groups.rows[groups.starts[:-1]]
    held = values.gather(firsts).to_list()
    small = len(groups) <= BINS[0] or numbers is None
    found = [
        Family(
            kind="value",
            column=name,
            groups=groups,
            names=[Part(column=name, value=value) for value in held],
            exact=_shaping(groups, small, numbers is None),
        )
    ]
    if numbers is not None and len(np.unique(codes)) > 1.5 * BINS[0]:
        found += [_binned(name, numbers, bins) for bins in BINS if n / bins >= LEAST]
    return [family for family in found if len(family.groups)]


def _shaping(groups: Ragged, small: bool, words: bool) -> Bools:
    """Cells that the design may have a column for, so that their own rows shape what is expected.

    Of a number, the values if there are few; of words, the commonest.
    """
    if not words:
        return np.full(len(groups), small)
    order = np.argsort(-groups.sizes, kind="stable")[: WORDS + 1]
    return np.isin(np.arange(len(groups)), order)


def _binned(name: str, numbers: Floats, bins: int) -> Family:
    cuts = _cuts(numbers, bins)
    codes = np.where(np.isnan(numbers), -1, np.searchsorted(cuts, numbers, side="left"))
    groups = ragged(codes)
    places = codes[groups.rows[groups.starts[:-1]]]
    ends = [None, *cuts.tolist(), None]
    parts = [Part(column=name, low=ends[place], high=ends[place + 1]) for place in places]
    wide = groups.sizes >= LEAST
    return Family(
        kind="bin",
        column=name,
        groups=_only(groups, wide),
        names=[part for part, kept in zip(parts, wide, strict=True) if kept],
        exact=np.full(int(wide.sum()), bins == BINS[0]),
    )


def _large(groups: Ragged, rows: int) -> Ragged:
    """The groups of at least LEAST rows and at most half of all."""
    return _only(groups, (groups.sizes >= LEAST) & (groups.sizes * 2 <= rows))


def _only(groups: Ragged, kept: Bools) -> Ragged:
    inside = np.repeat(kept, groups.sizes)
    starts = np.concatenate([[0], np.cumsum(groups.sizes[kept])])
    return Ragged(starts=starts, rows=groups.rows[inside])


def _paired(name: str, values: pl.Series) -> Coded:
    """The commonest values, each a code; the other numbers in bins, the other words together."""
    numbers = _numbers(values)
    ranks = values.rank("dense").cast(int).fill_null(0).to_numpy().astype(np.int64)
    sizes = np.bincount(ranks)
    order = np.argsort(-sizes, kind="stable")[:PAIRED]
    top = order[sizes[order] >= LEAST]
    codes = np.full(len(sizes), -1)
    codes[top] = np.arange(len(top))
    coded = codes[ranks]
    firsts = np.unique(ranks, return_index=True)
    place = dict(zip(firsts[0].tolist(), firsts[1].tolist(), strict=True))
    parts = [Part(column=name, value=values[place[int(rank)]]) for rank in top]
    rest = coded < 0
    cuts = np.zeros(0) if numbers is None else _cuts(numbers[rest], PAIRED_BINS)
    if numbers is not None and len(cuts):
        known = rest & ~np.isnan(numbers)
        coded[known] = len(top) + np.searchsorted(cuts, numbers[known], side="left")
        but = tuple(part.value for part in parts if isinstance(part.value, float))
        parts += [
            Part(column=name, low=low, high=high, but=but)
            for low, high in pairwise([None, *cuts.tolist(), None])
        ]
    return Coded(codes=coded, parts=parts, exact=ranks)


def _shown(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else printable(value)[:_SHOWN]
