"""The table batches of the story: a clean sample in, one thing wrong out.

Each function copies the dataset `src`, shard by shard, to the new directory `out` with one change
that a producer, careless or hostile, might make, and says which rows it changed, as global rows in
shard order. Nothing is drawn at random that a fixed seed does not fix.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from guards.errors import NothingToExamine

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

KM_PER_MILE = 1.609344
SEED = 13


def break_contract(src: Path, out: Path) -> list[int]:
    """An export that writes -1 where it has no air time: 1 row in 50."""
    import polars as pl

    def change(frame: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
        hit = _some(len(frame), 0.02)
        broken = pl.when(pl.Series(hit)).then(pl.lit(-1)).otherwise(pl.col("air_time"))
        return frame.with_columns(broken.cast(frame.schema["air_time"]).alias("air_time")), hit

    return _rewrite(src, out, change)


def change_unit(src: Path, out: Path, *, carrier: str = "UA") -> list[int]:
    """One carrier sends its distances in kilometres; the column is in miles."""
    import polars as pl

    def change(frame: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
        hit = frame["carrier"] == carrier
        metric = (pl.col("distance") * KM_PER_MILE).round()
        mixed = pl.when(hit).then(metric).otherwise(pl.col("distance"))
        kind = frame.schema["distance"]
        return frame.with_columns(mixed.cast(kind).alias("distance")), hit.to_numpy()

    return _rewrite(src, out, change)


def flip_labels(
    src: Path, out: Path, *, source: str = "JFK", share: float = 0.15, seed: int = SEED
) -> list[int]:
    """A share of one airport's late flights are labelled on time."""
    import polars as pl

    def change(frame: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
        late = ((frame["source"] == source) & (frame["label"] == "late")).to_numpy()
        hit = late.copy()
        hit[late] = _some(int(late.sum()), share, seed)
        flipped = pl.when(pl.Series(hit)).then(pl.lit("on-time")).otherwise(pl.col("label"))
        return frame.with_columns(flipped.alias("label")), hit

    return _rewrite(src, out, change)


def _some(count: int, share: float, seed: int = SEED) -> np.ndarray:
    """Mark round(share * count) places, shape (count,), drawn with the seed."""
    import numpy as np

    marked = np.zeros(count, dtype=bool)
    chosen = np.random.default_rng(seed).permutation(count)[: round(share * count)]
    marked[chosen] = True
    return marked


def _rewrite(
    src: Path, out: Path, change: Callable[[pl.DataFrame], tuple[pl.DataFrame, np.ndarray]]
) -> list[int]:
    """Apply `change` to the whole and write it in the shards of `src`; gives the changed rows."""
    import numpy as np
    import polars as pl

    paths = sorted(src.rglob("*.parquet"), key=lambda path: path.relative_to(src).as_posix())
    if not paths:
        raise NothingToExamine(f"no Parquet file under {src}")
    shards = [pl.read_parquet(path, glob=False, hive_partitioning=False) for path in paths]
    changed, hit = change(pl.concat(shards))
    start = 0
    for path, shard in zip(paths, shards, strict=True):
        target = out / path.relative_to(src)
        target.parent.mkdir(parents=True, exist_ok=True)
        changed[start : start + len(shard)].write_parquet(target, compression="zstd")
        start += len(shard)
    return [int(row) for row in np.flatnonzero(hit)]
