"""How many clean subsamples raise an alarm? The goal is none.

Each run draws at random a part of one of the sample sets (for the flights: of one month, held
against the stored reference; for the images: with a natural imbalance of classes), scans it with
every content rule, and counts a verdict other than PASS as an alarm. The subsamples of one set
overlap, so the interval printed, which takes them as independent, is too narrow.

    python benchmarks/false_alarms.py [--runs 20] [--set flights|fashion] [--first-seed 0]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import beta

import guards
from guards.verdict import Policy

SAMPLES = Path(__file__).parent.parent / "data_samples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--set", choices=("flights", "fashion"), action="append")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.runs)
    print("| set | clean runs | alarms | 95 % upper bound of the rate | seconds a run |")
    print("|---|---|---|---|---|")
    for name in options.set or ("flights", "fashion"):
        draw, policy = SETS[name]
        report(name, [scan_one(draw, content_only(policy), seed) for seed in seeds])


def flights(seed: int) -> pl.DataFrame:
    """Between half and nine tenths of the rows of one month."""
    rng = np.random.default_rng(seed)
    months = sorted(path for path in (SAMPLES / "flights").iterdir() if path.is_dir())
    month = pl.read_parquet(months[int(rng.integers(len(months)))] / "*.parquet")
    return month.sample(fraction=rng.uniform(0.5, 0.9), seed=seed)


def fashion(seed: int) -> pl.DataFrame:
    """Between a third and all of each class, so that classes are of unlike sizes."""
    rng = np.random.default_rng(seed)
    images = pl.read_parquet(SAMPLES / "fashion" / "*.parquet")
    parts = [
        part.sample(fraction=rng.uniform(0.33, 1.0), seed=seed)
        for part in images.partition_by("label", maintain_order=True)
    ]
    return pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=seed)


def content_only(policy: str) -> Policy:
    """The policy without the rules about bytes: a subsample has no manifest."""
    full = guards.load_policy(policy)
    rules = tuple(rule for rule in full.rules if rule != "provenance")
    return replace(full, admits=False, rules=rules, required=("integrity", "quality"))


def scan_one(
    draw: Callable[[int], pl.DataFrame], policy: Policy, seed: int
) -> tuple[int, list[str], float]:
    """Scan one subsample; returns the seed, the alarms, the seconds."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "subsample"
        data.mkdir()
        draw(seed).write_parquet(data / "part-0.parquet")
        started = time.perf_counter()
        verdict = guards.scan(data, policy=policy, out=Path(directory) / "run").verdict
        seconds = time.perf_counter() - started
    return (
        seed,
        [f"{reason.rule}/{reason.code}: {reason.text}" for reason in verdict.reasons],
        seconds,
    )


def report(name: str, runs: list[tuple[int, list[str], float]]) -> None:
    """Print a row of the table, and as JSON what each alarm was."""
    alarms = [(seed, reasons) for seed, reasons, _ in runs if reasons]
    upper = (
        beta.ppf(0.95, len(alarms) + 1, len(runs) - len(alarms)) if len(alarms) < len(runs) else 1
    )
    seconds = float(np.median([seconds for _, _, seconds in runs]))
    print(f"| {name} | {len(runs)} | {len(alarms)} | {upper:.3f} | {seconds:.1f} |", flush=True)
    for seed, reasons in alarms:
        print(json.dumps({"set": name, "seed": seed, "alarms": reasons}))


SETS: dict[str, tuple[Callable[[int], pl.DataFrame], str]] = {
    "flights": (flights, str(SAMPLES / "policies" / "flights.toml")),
    "fashion": (fashion, "default"),
}

if __name__ == "__main__":
    main()
