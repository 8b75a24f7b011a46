"""How many clean scans raise an alarm? The goal is at most one in a hundred.

Each run draws a part of one set at random, with a size, an imbalance of the classes and a few
natural duplicates of its own, writes it as a real dataset, scans it with every content rule, and
notes the verdict. Three variants: `clean`; `noise`, in which 5 % of the labels are wrong at
random, evenly over all sources, where QUARANTINE may be right but no backdoor is; and `drift`, in
which one source is darker and of less contrast than the others (tables: a later month against an
earlier reference), with the same rule.

Runs of one set overlap, so beside the pooled exact interval each set has its own line, and the
last line takes every set as one draw (the worst it can be).

    python benchmarks/false_alarms.py --out false_alarms.jsonl [--data DIR] [--shard i/n]
    python benchmarks/false_alarms.py --table false_alarms*.jsonl
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import batches
import numpy as np
import polars as pl
import runs
import sets

import guards
from guards.numerics.intervals import clopper_pearson
from guards.verdict import Policy

SAMPLES = Path(__file__).parent.parent / "data_samples"
FLIGHTS = str(SAMPLES / "policies" / "flights.toml")
TABLES = ("flights", "adult", "digits-table", "cancer")
VARIANTS = ("clean", "noise", "drift")
NOISE = 0.05
# What a reason says when it accuses somebody, where there is only nature.
ACCUSING = ("backdoor", "planted", "trigger")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--runs", type=int, default=60, help="clean runs of each set")
    parser.add_argument("--others", type=int, default=10, help="runs of each other variant")
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--sets", nargs="+")
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Set by set in turn, so that a run that is cut short has some of each."""
    names = given.sets or [*sets.available(given.data), *tables(given.data)]
    for place in range(max(given.runs, given.others)):
        for name in names:
            for variant in VARIANTS:
                if place < (given.runs if variant == "clean" else given.others):
                    seed = given.first_seed + place
                    key = f"{name}/{variant}/{seed}"
                    yield key, partial(scanned, name, variant, seed, given.data, given.device)


def tables(data: Path | None) -> list[str]:
    """The tables that are on this machine."""
    there = data is not None and any(data.rglob("adult_train.parquet"))
    return [name for name in TABLES if name != "adult" or there]


def scanned(name: str, variant: str, seed: int, data: Path | None, device: str) -> runs.Line:
    """Scan one drawn dataset for real."""
    rng = np.random.default_rng([seed, VARIANTS.index(variant)])
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "batch"
        if name in TABLES:
            frame = table(name, variant, rng, data)
            folder.mkdir()
            frame.write_parquet(folder / "part-0.parquet")
            rows = len(frame)
        else:
            pictures, sources = drawn(name, variant, rng, data)
            batches.write(folder, pictures, sources)
            rows = len(sources)
        policy = content_only(FLIGHTS if name == "flights" else "default")
        run = guards.scan(folder, policy=policy, out=Path(directory) / "run", device=device)
        report = json.loads((run.run_dir / "report.json").read_text())
    return {
        "set": name,
        "variant": variant,
        "seed": seed,
        "rows": rows,
        "verdict": str(run.verdict.decision),
        "alarms": sorted({f"{reason.rule}/{reason.code}" for reason in run.verdict.reasons}),
        "text": [reason.text for reason in run.verdict.reasons],
        "outcomes": Counter(e["outcome"] for e in report["examinations"]),
    }


def content_only(policy: str) -> Policy:
    """The policy without the rules about bytes: a subsample has no manifest."""
    full = guards.load_policy(policy)
    rules = tuple(rule for rule in full.rules if rule != "provenance")
    return replace(full, admits=False, rules=rules, required=("integrity", "quality"))


def drawn(
    name: str, variant: str, rng: np.random.Generator, data: Path | None
) -> tuple[sets.Pictures, np.ndarray]:
    """A part of a set of pictures, its classes of unlike sizes, 1 % of its rows twice."""
    whole = sets.load(name, data)
    size = int(rng.integers(800, min(3_000, len(whole.labels)) + 1))
    weights = rng.dirichlet(np.full(whole.classes, 8.0))
    parts = [
        rng.permutation(np.flatnonzero(whole.labels == label))[: max(20, int(size * weight))]
        for label, weight in enumerate(weights)
    ]
    rows = np.concatenate(parts)
    rows = rng.permutation(np.concatenate([rows, rng.choice(rows, len(rows) // 100)]))
    chosen, sources = whole.only(rows), batches.any_source(len(rows), rng)
    if variant == "noise":
        chosen = noisy(chosen, rng)
    if variant == "drift":
        chosen = darker(chosen, sources == batches.SOURCES[1])
    return chosen, sources


def noisy(pictures: sets.Pictures, rng: np.random.Generator) -> sets.Pictures:
    """Every label wrong with probability NOISE, any other class alike."""
    labels = pictures.labels.copy()
    wrong = rng.random(len(labels)) < NOISE
    labels[wrong] = (labels[wrong] + rng.integers(1, pictures.classes, wrong.sum())) % (
        pictures.classes
    )
    return replace(pictures, labels=labels)


def darker(pictures: sets.Pictures, which: np.ndarray) -> sets.Pictures:
    """The pictures of one source at 80 % of their brightness."""
    pixels = pictures.pixels.copy()
    pixels[which] = np.rint(pixels[which] * 0.8).astype(np.uint8)
    return replace(pictures, pixels=pixels)


def table(name: str, variant: str, rng: np.random.Generator, data: Path | None) -> pl.DataFrame:
    """A part of a table; with noise 5 % of its labels are another row's."""
    frame = tabular(name, variant, rng, data)
    frame = frame.sample(fraction=rng.uniform(0.4, 0.9), seed=int(rng.integers(2**31)))
    if variant == "noise":
        labels = frame["label"].to_numpy().copy()
        wrong = np.flatnonzero(rng.random(len(labels)) < NOISE)
        labels[wrong] = rng.permutation(labels[wrong])
        frame = frame.with_columns(pl.Series("label", labels))
    return frame


def tabular(name: str, variant: str, rng: np.random.Generator, data: Path | None) -> pl.DataFrame:
    """One whole table, with a column `label`."""
    from sklearn import datasets

    if name == "flights":
        months = sorted(path for path in (SAMPLES / "flights").iterdir() if path.is_dir())
        late = variant == "drift"
        month = months[-1 if late else int(rng.integers(len(months)))]
        return pl.read_parquet(month / "*.parquet")
    if name == "adult" and data is not None:
        frame = pl.read_parquet(next(data.rglob("adult_train.parquet")))
        last = frame.columns[-1]
        frame = frame.rename({last: "label"}) if "label" not in frame.columns else frame
        older = pl.col("age") > frame["age"].median() if "age" in frame.columns else pl.lit(True)
        return frame.filter(older) if variant == "drift" else frame
    found = datasets.load_digits() if name == "digits-table" else datasets.load_breast_cancer()
    values = found.data * (1.1 if variant == "drift" else 1.0)
    columns = {f"x{place}": values[:, place] for place in range(values.shape[1])}
    return pl.DataFrame({**columns, "label": found.target})


def tabulated(lines: list[runs.Line]) -> str:
    """Alarms by set and variant, with exact intervals."""
    groups: dict[tuple[str, str], list[runs.Line]] = defaultdict(list)
    for line in lines:
        groups[line["variant"], line["set"]].append(line)
        groups[line["variant"], "all sets"].append(line)
    order = sorted(groups, key=lambda key: (VARIANTS.index(key[0]), key[1] == "all sets", key[1]))
    head = ("variant", "set", "runs", "BLOCK", "95 % interval", "QUARANTINE", "says backdoor")
    rows = [(*key, *counted(groups[key])) for key in order]
    hit = {line["set"] for line in lines if line["variant"] == "clean" and blocked(line)}
    all_sets = {line["set"] for line in lines if line["variant"] == "clean"}
    last = (
        f"Sets with any false block: {len(hit)} of {len(all_sets)}; taking each set as one draw, "
        f"the one-sided 95 % bound is {runs.upper(len(hit), max(len(all_sets), 1)):.2f}."
    )
    pooled = groups["clean", "all sets"]
    blocks = sum(map(blocked, pooled))
    bound = f"Pooled, as if independent: at most {runs.upper(blocks, len(pooled)):.4f} (95 %)."
    alarms = Counter(alarm for line in pooled for alarm in line["alarms"])
    return "\n\n".join([runs.table(head, rows), bound, last, f"Clean alarms: {dict(alarms)}"])


def blocked(line: runs.Line) -> bool:
    return bool(line["verdict"] == "BLOCK")


def counted(lines: list[runs.Line]) -> list[object]:
    blocks = sum(map(blocked, lines))
    low, high = clopper_pearson(blocks, len(lines))
    accused = sum(any(word in text for text in line["text"] for word in ACCUSING) for line in lines)
    held = sum(line["verdict"] == "QUARANTINE" for line in lines)
    return [len(lines), blocks, f"{low:.4f} to {high:.4f}", held, accused]


if __name__ == "__main__":
    main()
