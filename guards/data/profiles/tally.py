"""How often each word occurs, in each block: exact, until there are too many words.

The dictionary holds 65,536 words. When it overflows the rarer half is dropped, by count and then
by name, so the same rows give the same dictionary; how large the largest of the dropped was is
added to the error of every count that is left (Manku and Motwani 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.coded import Coded
from guards.data.profiles.nouns import KEPT, RARE
from guards.numerics.sketches import REGISTERS, hashed_words, registers

if TYPE_CHECKING:
    import polars as pl

DICTIONARY = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Rows of each word in each block: a frame of `value`, `block`, `count`; None while empty."""

    frame: pl.DataFrame | None = None
    error: int = 0

    @cached_property
    def totals(self) -> pl.DataFrame:
        """Words with their rows over all blocks, the commonest first, ties by name."""
        import polars as pl

        if self.frame is None:
            return pl.DataFrame({"value": [], "count": []}, {"value": pl.String, "count": pl.Int64})
        summed = self.frame.group_by("value").agg(pl.col("count").sum())
        return summed.sort(["count", "value"], descending=[True, False])

    @property
    def size(self) -> int:
        """How many words are in it."""
        return self.totals.height


EMPTY = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The commonest words with their rows; any other has at most `bound`, see `CategoryColumn`."""

    values: tuple[str, ...]
    counts: tuple[int, ...]
    bound: int
    error: int


def counted(words: Coded, block: int) -> pl.DataFrame:
    """The rows of each word of one block."""
    return in_block(words.counts(), block)


def in_block(counts: pl.DataFrame, block: int) -> pl.DataFrame:
    """Words with their rows, all of one block."""
    import polars as pl

    return counts.select(
        "value", pl.lit(block, pl.Int32).alias("block"), pl.col("count").cast(pl.Int64)
    )


def added(known: Tally, parts: Sequence[pl.DataFrame]) -> Tally:
    """The tally with more rows."""
    import polars as pl

    held = [*([known.frame] if known.frame is not None else []), *parts]
    summed = pl.concat(held).group_by("value", "block").agg(pl.col("count").sum())
    grown = Tally(frame=summed, error=known.error)
    if summed.height <= DICTIONARY or grown.size <= DICTIONARY:
        return grown
    kept, dropped = grown.totals[: DICTIONARY // 2], grown.totals[DICTIONARY // 2 :]
    frame = summed.join(kept.select("value"), on="value", how="semi")
    return Tally(frame=frame, error=known.error + int(dropped["count"][0]))


def listed(known: Tally, most: int = KEPT) -> Listed:
    """The commonest words of at least RARE rows."""
    import polars as pl

    common = known.totals.filter(pl.col("count") >= RARE).head(most)
    others = known.totals["count"][common.height :]
    return Listed(
        values=tuple(common["value"]),
        counts=tuple(common["count"]),
        bound=known.error + (int(others[0]) if len(others) else 0),
        error=known.error,
    )


def by_block(known: Tally, values: Sequence[str], blocks: int) -> np.ndarray[Any, Any]:
    """The rows of these words in each block, (blocks, words)."""
    import polars as pl

    found = np.zeros((blocks, len(values)), np.int64)
    if known.frame is not None and values:
        places = pl.DataFrame({"value": values, "place": range(len(values))})
        told = known.frame.join(places, on="value")
        where = (told["block"].to_numpy(), told["place"].to_numpy())
        np.add.at(found, where, told["count"].to_numpy())
    return found


def matrix(known: Tally, blocks: int) -> np.ndarray[Any, Any]:
    """The rows of every word in each block, (blocks, words)."""
    return by_block(known, list(known.totals["value"]), blocks)


def distinct_registers(parts: Sequence[pl.DataFrame]) -> np.ndarray[Any, Any]:
    """The registers of all words in these parts."""
    import polars as pl
    import pyarrow as pa

    words = pl.concat([part["value"] for part in parts]).unique()
    if not len(words):
        return np.zeros(REGISTERS, np.int64)
    array = words.rechunk().to_arrow().cast(pa.large_string())
    _, places, letters = array.buffers()
    offsets = np.frombuffer(places, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(letters, np.uint8) if letters else np.empty(0, np.uint8)
    return registers(hashed_words(data, offsets))
