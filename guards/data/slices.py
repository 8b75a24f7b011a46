"""Where in a batch the rows lie that are unlike the reference: by source, time and shard.

One more pass over the columns of one table, and over source and time. Times are the first column
of moments that the batch has, cut into windows of like many rows; of files there are few or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.data.contamination import CONFIDENCE, Unlike
from guards.data.dataset import Dataset
from guards.data.profiles.nouns import CategoryColumn, Profile, coarse
from guards.data.profiles.observe import Encoded, Observed, encoded
from guards.data.time_windows import Windows, windows
from guards.data.words import words_of
from guards.numerics.slices import gathered

if TYPE_CHECKING:
    import polars as pl

SHARDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Of the `rows` of one slice at least the share `unlike` is not like the reference.

    `by` is source, time or file; `share` of its rows lie in the cells that tell, and `elsewhere`
    of all others; `p_value` is that so many gather there.
    """

    by: str
    name: str
    rows: int
    unlike: float
    share: float
    elsewhere: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cuts:
    """How the rows are cut: by source, by time (None: not), and by the first rows of files."""

    source: str | None
    time: Windows | None
    starts: tuple[int, ...]


def slices(dataset: Dataset, seen: Observed, own: Profile, found: Unlike) -> tuple[Slice, ...]:
    """The slices with rows in the cells of `found`, those with the largest unlike share first.

    `own` is the profile of the batch itself, which says when its rows are.
    """
    if not found.cells:
        return ()
    cuts = _cuts(dataset, seen, own)
    names = {*found.where, *([cuts.source] if cuts.source else [])}
    names |= {cuts.time.time} if cuts.time else set()
    parts = [_marked(p, seen, found, cuts) for p in encoded(dataset, seen.profile, sorted(names))]
    told = [
        one
        for by, counts in _counted(parts).items()
        if len(counts) > 1
        for one in _slices(by, counts, _named(dataset, cuts, by), found.usual)
    ]
    return tuple(sorted(told, key=lambda one: (-one.unlike, one.p_value, one.by, one.name)))


def _cuts(dataset: Dataset, seen: Observed, own: Profile) -> _Cuts:
    source = dataset.roles.source
    few = len(dataset.shards) <= SHARDS
    return _Cuts(
        source=source if source in seen.columns else None,
        time=windows(seen, own),
        starts=tuple(shard.start for shard in dataset.shards) if few else (0,),
    )


def _marked(part: Encoded, seen: Observed, found: Unlike, cuts: _Cuts) -> pl.DataFrame:
    """Of each row whether it is in the cells that tell, and which slices it is of."""
    import polars as pl

    inside = _inside(part, seen.profile, found)
    place = part.start + np.arange(len(inside))
    held = {
        "inside": inside,
        "file": np.searchsorted(cuts.starts, place, side="right").astype(np.int64) - 1,
    }
    if cuts.time:
        held["time"] = cuts.time.codes(part.values[cuts.time.time].to_numpy())
    frame = pl.DataFrame(held)
    if cuts.source:
        frame = frame.with_columns(words_of(part.values[cuts.source]).alias("source"))
    return frame


def _inside(part: Encoded, profile: Profile, found: Unlike) -> np.ndarray[tuple[int], np.dtype]:
    """Which rows are in the cells."""
    places = np.zeros(0, np.int64)
    cells = 1
    for number, name in enumerate(found.where):
        column = profile.by_name[name]
        words = isinstance(column, CategoryColumn)
        mapped = coarse(len(column.bins), found.join, words=words)
        cells = int(mapped[-1]) + 1
        codes = mapped[part.codes[name]]
        places = codes if not number else places * cells + codes
    return np.isin(places, found.cells)


def _counted(parts: Sequence[pl.DataFrame]) -> Mapping[str, list[tuple[str | int, int, int]]]:
    """Of each way to cut, the slices with their rows and those inside, in order of name."""
    import polars as pl

    if not parts:
        return {}
    found = {}
    for by in (name for name in parts[0].columns if name != "inside"):
        counts = [
            part.group_by(by).agg(pl.len().alias("rows"), pl.col("inside").sum()) for part in parts
        ]
        whole = pl.concat(counts).drop_nulls().group_by(by).agg(pl.col("rows", "inside").sum())
        found[by] = list(whole.sort(by).iter_rows())
    return found


def _slices(
    by: str, counts: Sequence[tuple[str | int, int, int]], names: Mapping[int, str], usual: float
) -> Iterator[Slice]:
    rows, inside = ([one[place] for one in counts] for place in (1, 2))
    seen = gathered(inside, rows, usual, alpha=1 - CONFIDENCE)
    for place, (code, many, some) in enumerate(counts):
        if some:
            yield Slice(
                by=by,
                name=code if isinstance(code, str) else names[code],
                rows=many,
                unlike=round(float(seen.unlike[place]), 4),
                share=round(float(seen.share[place]), 4),
                elsewhere=round(float(seen.elsewhere[place]), 4),
                p_value=float(f"{seen.p_value[place]:.3g}"),
            )


def _named(dataset: Dataset, cuts: _Cuts, by: str) -> Mapping[int, str]:
    """What the numbered slices are called."""
    if by == "file":
        return {place: shard.path for place, shard in enumerate(dataset.shards)}
    return {-1: "no time", **dict(enumerate(cuts.time.names if cuts.time else ()))}
