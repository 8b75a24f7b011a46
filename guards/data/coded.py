"""A column of words as the list of its distinct ones, and of each row the place in that list.

Files keep words like this, and most of what is asked of many words needs only the few: so a column
is read, cut and counted in this form, and becomes strings again only where somebody wants those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    Places = np.ndarray[Any, np.dtype[np.integer[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """Words: `known` are the distinct ones, none of them null; `places` (rows,) says which.

    A row without a word has the place after the last.
    """

    known: pl.Series
    places: Places

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.places)

    def part(self, first: int, end: int) -> Coded:
        """Some of the rows, with the same words."""
        return Coded(known=self.known, places=self.places[first:end])

    def each(self) -> Coded:
        """Every distinct word once, and then a row without one."""
        return Coded(known=self.known, places=np.arange(len(self.known) + 1))

    def counts(self) -> pl.DataFrame:
        """The rows of each word that there is: columns `value` and `count`."""
        return self.counted(np.bincount(self.places, minlength=len(self.known) + 1))

    def counted(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> pl.DataFrame:
        """As :attr:`counts`, where `rows` (words + 1,) have been counted by place."""
        import polars as pl

        there = np.flatnonzero(rows[: len(self.known)])
        return pl.DataFrame({"value": self.known.gather(there), "count": rows[there]})

    def missing(self) -> int:
        """How many rows have no word."""
        return int(np.count_nonzero(self.places == len(self.known)))

    def series(self, name: str) -> pl.Series:
        """The words themselves, (rows,)."""
        import polars as pl

        padded = pl.concat([self.known, pl.Series([None], dtype=pl.String)])
        return padded.gather(self.places).alias(name)


def coded(words: pl.Series) -> Coded:
    """Strings in this form."""
    import pyarrow as pa

    return _of_arrow(words.rechunk().to_arrow().cast(pa.large_string()).dictionary_encode())


def joined(parts: Sequence[Coded | pl.Series]) -> Coded:
    """The rows of all parts, one after the other; strings that are neighbours are coded at once."""
    import polars as pl

    held: list[Coded] = []
    for whole, some in groupby(parts, lambda part: isinstance(part, Coded)):
        if whole:
            held += [part for part in some if isinstance(part, Coded)]
        else:
            held.append(coded(pl.concat([part for part in some if isinstance(part, pl.Series)])))
    return held[0] if len(held) == 1 else _unified(held)


def read_coded(column: pa.DictionaryArray) -> Coded:
    """A column as Arrow has it in this form; its list may hold a word twice, or a null."""
    return _unified([_of_arrow(column)])


def renamed(words: Coded, known: pl.Series) -> Coded:
    """The same rows with each of the distinct words exchanged for the one at its place."""
    return _unified([Coded(known=known, places=words.places)])


def _of_arrow(column: pa.DictionaryArray) -> Coded:
    import polars as pl
    import pyarrow.compute as pc

    known = pl.Series("value", column.dictionary, dtype=pl.String)
    indices = column.indices
    if indices.null_count:
        indices = pc.fill_null(indices, len(known))
    return Coded(known=known, places=pl.Series(indices).to_numpy())


def _unified(parts: Sequence[Coded]) -> Coded:
    """The rows of all parts in places of one list, in which every word is once and none is null."""
    import polars as pl

    if len(parts) == 1 and _distinct(parts[0].known):
        return parts[0]
    whole = coded(pl.concat([part.known for part in parts]))
    held, start = [], 0
    for part in parts:
        places = whole.places[start : start + len(part.known)]
        held.append(np.append(places, len(whole.known)).astype(np.int32)[part.places])
        start += len(part.known)
    return Coded(known=whole.known, places=np.concatenate(held))


def _distinct(known: pl.Series) -> bool:
    return not known.null_count() and known.n_unique() == len(known)
