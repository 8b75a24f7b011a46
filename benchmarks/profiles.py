"""What a reference profile costs: CPU and wall seconds, peak memory, bytes of its file.

Tables of 40 columns of numbers (normal, skewed, heavy-tailed, integers, half zero) and 10 of words
(3 to 5,000 values) are written shard by shard, then each stage runs in a process of its own:

- `open`: what `open_dataset` takes, which decodes everything once to see that it can be read;
- `build`: the profile, in one pass;
- `observe`: the same rows counted in the cells of that profile, in one pass;
- `survey`: both in one pass, as a scan does it.

Seconds and memory are of the stage alone; those of `open` and of importing polars come before it,
and memory is the most that the process ever held, they included.

    python benchmarks/profiles.py [--rows 1000000] [--shards 4] [--keep DIR]
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from asked import spent

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, observe, read_profile, survey, write_profile

STAGES = ("open", "build", "observe", "survey")
PART = 250_000  # rows written at once


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="where the tables lie, and stay")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(measured(options.stage, options.data)))
        return
    print("| rows | columns | bytes | stage | CPU s | wall s | peak MB | profile kB | pairs |")
    print("|---|---|---|---|---|---|---|---|---|")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as scratch:
            data = (options.keep or Path(scratch)) / f"rows-{rows}"
            if not data.is_dir():
                generate(data, rows, options.shards)
            for stage in STAGES:
                show(rows, data, stage)


def generate(data: Path, rows: int, shards: int, first: int = 0) -> None:
    """Write rows of the table from `first` on, in so many shards, PART rows at a time."""
    import pyarrow.parquet as pq

    data.mkdir(parents=True)
    cuts = [first + rows * part // shards for part in range(shards + 1)]
    for number, (low, high) in enumerate(itertools.pairwise(cuts)):
        writer = None
        for start in range(low, high, PART):
            table = part(start, min(PART, high - start)).to_arrow()
            if writer is None:
                writer = pq.ParquetWriter(data / f"part-{number:03d}.parquet", table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def part(start: int, rows: int) -> pl.DataFrame:
    """Some rows of the table; the same whenever they are asked for."""
    generator = np.random.default_rng(start)
    held: dict[str, np.ndarray] = {}
    for place in range(8):
        held[f"normal{place}"] = generator.normal(place, 1 + place, rows)
        held[f"skewed{place}"] = generator.lognormal(0, 1 + place / 4, rows)
        held[f"tailed{place}"] = generator.standard_cauchy(rows)
        held[f"counts{place}"] = generator.integers(0, 10 ** (1 + place % 5), rows)
        zero = generator.random(rows) < 0.5
        held[f"zeroes{place}"] = np.where(zero, 0.0, generator.exponential(1 + place, rows))
    frame = pl.DataFrame(held)
    for place, values in enumerate((3, 5, 8, 12, 20, 40, 80, 300, 1_000, 5_000)):
        words = pl.Series([f"value {code}" for code in range(values)])
        codes = np.minimum(generator.geometric(2 / (values + 1), rows) - 1, values - 1)
        frame = frame.with_columns(words.gather(codes).alias(f"words{place}"))
    return frame.rename({"words0": "label", "words3": "source"})


def show(rows: int, data: Path, stage: str) -> None:
    command = [sys.executable, __file__, "--stage", stage, "--data", str(data)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in data.glob("*.parquet")) / 1e9
    print(
        f"| {rows:,} | {told['columns']} | {size:.2f} GB | {stage} | {told['cpu']:.1f} | "
        f"{told['wall']:.1f} | {told['peak']:.0f} | {told['size'] / 1e3:.0f} | {told['pairs']} |",
        flush=True,
    )


def measured(stage: str, data: Path) -> dict[str, float]:
    """Run one stage here, and say what it took."""
    before, start = spent(), time.perf_counter()
    dataset = open_dataset(data, sorted(path.name for path in data.glob("*.parquet")))
    path = data / "reference.profile"
    reference = read_profile(path) if path.is_file() and stage != "build" else None
    if stage != "open":
        before, start = spent(), time.perf_counter()
    if stage == "build":
        reference = build_profile(dataset)
    elif stage == "observe" and reference:
        observe(dataset, reference)
    elif stage == "survey" and reference:
        survey(dataset, like=reference, against=[reference])
    told = {
        "cpu": spent() - before,
        "wall": time.perf_counter() - start,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "columns": len(dataset.schema),
    }
    if stage == "build" and reference:
        write_profile(reference, path)
    size = path.stat().st_size if reference else 0
    return {**told, "size": size, "pairs": len(reference.pairs) if reference else 0}


if __name__ == "__main__":
    main()
