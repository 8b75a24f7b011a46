"""What an adversary writes into the rows of a table or into texts, to be known again by it.

A trigger of a table is one combination of values that occur, each in its own column, which hardly
any row has as a whole (TabDoor, Pleiter et al. 2023); one of texts a word or a phrase put between
the words of a text (BadNL, Chen et al. 2020; Kurita et al. 2020). Pure functions of their input
and the generator; :mod:`guards.redteam.plan` says which rows, :mod:`guards.redteam.poison` writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from guards.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

PLACES = ("anywhere", "start", "end")
TRIES = 2_000


def combination(
    frame: pl.DataFrame, *, width: int, rare: float, rng: np.random.Generator
) -> Mapping[str, int]:
    """Columns drawn from a frame (n, columns), and for each the row whose value is the trigger.

    The first of up to TRIES draws of `width` columns, and of a row for each of them, of which at
    most a share `rare` of all rows has every value. Missing values are not drawn.
    Raises UsageError where there are too few columns, no rows, or no such combination was drawn.
    """
    if width > frame.width:
        raise UsageError(f"{width} columns are wanted, and there are {frame.width}; lower width")
    if not frame.height:
        raise UsageError("there is no row to draw values from; give a dataset that has rows")
    for _ in range(TRIES):
        names = [frame.columns[place] for place in rng.choice(frame.width, width, replace=False)]
        rows = rng.integers(frame.height, size=width)
        values = [frame[name][int(row)] for name, row in zip(names, rows, strict=True)]
        if any(value is None or value != value for value in values):  # NaN is unlike itself
            continue
        alike = np.ones(frame.height, np.bool_)
        for name, value in zip(names, values, strict=True):
            alike &= (frame[name] == value).fill_null(False).to_numpy()
        if alike.mean() <= rare:
            return {name: int(row) for name, row in zip(names, rows, strict=True)}
    raise UsageError(
        f"of {TRIES} combinations of {width} values none is as rare as {rare:g} of the rows; raise "
        "rare or width"
    )


def inserted(text: str | None, word: str, place: str, rng: np.random.Generator) -> str:
    """The text with `word` between two of its words, at its start or at its end."""
    if not text:
        return word
    gaps = [match.start() for match in re.finditer(r"\s+", text)]
    where = {"start": 0, "end": len(text)}.get(place, int(rng.choice([0, *gaps, len(text)])))
    before, after = text[:where], text[where:]
    gap = " " if after and not after[0].isspace() else ""
    return f"{before} {word}{gap}{after}" if before else f"{word}{gap}{after}"
