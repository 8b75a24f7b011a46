"""Texts and pictures as vectors, so that a profile can say where they lie: nothing is learnt.

*Words*: a text is the set of its tokens, and lies where its smallest tokens are under VIEWS orders
(:mod:`guards.numerics.minhash`). Near copies of one text have most of them in common.
*Looks*: a picture is brought to SIDE x SIDE grey pixels, and lies at the roots of its lowest
amplitudes (:func:`guards.numerics.looks.spectra`), which moving its subject leaves as they are.
Both are functions of one row alone, the same in any shard and any batch.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.profiles.nouns import VIEWS
from guards.data.profiles.values import LOOKS, token_lists
from guards.data.words import words_of

if TYPE_CHECKING:
    import polars as pl

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Ints = np.ndarray[Any, np.dtype[np.int64]]

SIDE = 32
_DIGITS = 4  # of a look: the last bits of a sum depend on how many pictures are summed at once


def vectors_of(series: pl.Series, made: str) -> tuple[Floats, Ints]:
    """The vectors (n, d) of a strip of texts or pictures, and which rows they are of, (n,)."""
    return _looks(series) if made == LOOKS else _words(series)


def _words(texts: pl.Series) -> tuple[Floats, Ints]:
    from guards.numerics.minhash import smallest

    tokens = token_lists(words_of(texts))
    sizes = tokens.list.len().fill_null(0).to_numpy()
    rows = np.flatnonzero(sizes)
    held = tokens.gather(rows).explode() if len(rows) else tokens.clear().explode()
    distinct = held.unique()
    named = np.array([_named(token) for token in distinct], np.uint64)
    places = held.replace_strict(distinct, np.arange(len(distinct))) if len(held) else held
    members = named[places.to_numpy()] if len(held) else np.zeros(0, np.uint64)
    starts = np.cumsum(sizes[rows]) - sizes[rows]
    return smallest(members, starts.astype(np.int64), VIEWS).astype(np.float64), rows


@lru_cache(maxsize=1 << 16)
def _named(token: str) -> int:
    """64 bits that are the same in every process, as Python's own hash is not."""
    return int.from_bytes(blake2b(token.encode(), digest_size=8).digest(), "big")


def _looks(pictures: pl.Series) -> tuple[Floats, Ints]:
    from guards.data.images import greyed
    from guards.data.pictures import stored_bytes
    from guards.numerics.looks import spectra

    told = greyed(stored_bytes(pictures), SIDE)
    rows = np.array([row for row, one in enumerate(told) if one is not None], np.int64)
    if not len(rows):
        return np.zeros((0, 0)), rows
    pixels = np.stack([one for one in told if one is not None])
    return np.round(spectra(pixels), _DIGITS), rows
