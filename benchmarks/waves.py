"""What the rule `waves` finds and what it lets pass, on parts of real sets.

Power: SIG (Barni et al. 2019), generalised to a sinusoid of any direction, frequency and phase,
which the seed draws: a third has six periods across as in the paper, a third a whole number of 3
to 11, a third any frequency of 3 to 12 in any direction. Labels stay right (`own`), or rows of
other classes are called the target (`dirty`), or carriers of all labels keep theirs (`every`),
which accuses nobody. Clean: sizes of 800 to 6,000, half with unequal classes, 1 % copies; `whole`
labels, several classes called by one name (`merged`), and two classes alone (`pair`). All rows are
stored by the set's own codec, in half of the runs with five sources. The looks are not asked.

    python benchmarks/waves.py --out waves.jsonl [--data DIR] [--seeds 8] [--shard i/n]
    python benchmarks/waves.py --table waves*.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import batches
import numpy as np
import runs
import sets

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.findings import Severity
from guards.provenance.snapshot import take

DELTAS, RATES, ROWS = (20, 40, 80), (0.01, 0.02, 0.05), 4000
CLEAN = {"whole": 4, "merged": 1, "pair": 1}  # runs of each for two seeds
MARKS = {Severity.MEDIUM: "MEDIUM", Severity.HIGH: "HIGH"}
load = cache(sets.load)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--sets", nargs="+")
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Seed by seed, so that a run that is cut short has some of everything."""
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in given.sets or sets.available(given.data):
            for variant, count in CLEAN.items():
                for part in range(count):
                    key = f"{name}/{variant}/{seed}/{part}"
                    yield key, partial(clean, name, variant, seed, part, given.data)
            if name == "digits":  # too small for the rule, which says so
                continue
            for rate in RATES:
                for delta in DELTAS:
                    for labels in ("own",) if delta != 40 else ("own", "dirty", "every"):
                        key = f"{name}/{labels}/{rate}/{delta}/{seed}"
                        yield key, partial(planted, name, labels, rate, delta, seed, given.data)


def planted(
    name: str, labels: str, rate: float, delta: float, seed: int, data: Path | None
) -> runs.Line:
    """One part of a set with a wave in it, scanned."""
    rng = np.random.default_rng([seed, int(1000 * rate), int(delta)])
    whole = load(name, data)
    pictures = whole.only(rng.permutation(len(whole.labels))[:ROWS])
    target = int(rng.integers(pictures.classes))
    may = {"own": pictures.labels == target, "dirty": pictures.labels != target}
    rows = np.flatnonzero(may.get(labels, np.ones(ROWS, bool)))
    rows = rng.permutation(rows)[: round(rate * ROWS)]
    down, right = frequency(rng, seed)
    pixels, named = pictures.pixels.copy(), pictures.labels.copy()
    pixels[rows] = waved(pixels[rows], delta, down, right, rng.uniform(0, 2 * np.pi))
    if labels == "dirty":
        named[rows] = target
    bad = np.isin(np.arange(ROWS), rows)
    line = scanned(replace(pictures, pixels=pixels, labels=named), rng, seed, bad)
    wanted = f"class-{target}" in line["subjects"]
    settings = {"variant": labels, "rate": rate, "delta": delta, "seed": seed}
    return {"set": name, **settings, "down": down, "right": right, "wanted": wanted, **line}


def frequency(rng: np.random.Generator, seed: int) -> tuple[float, float]:
    """Periods down and across."""
    if seed % 3 < 2:
        return 0.0, 6.0 if seed % 3 == 0 else float(rng.integers(3, 12))
    pitch, angle = rng.uniform(3, 12), rng.uniform(0, np.pi)
    return float(pitch * np.sin(angle)), float(pitch * np.cos(angle))


def waved(pixels: np.ndarray, delta: float, down: float, right: float, phase: float) -> np.ndarray:
    """Pictures (n, C, H, W) with delta sin(2 pi (i down / H + j right / W) + phase) on top."""
    height, width = pixels.shape[2:]
    i, j = np.arange(1, height + 1)[:, None], np.arange(1, width + 1)
    wave = delta * np.sin(2 * np.pi * (i * down / height + j * right / width) + phase)
    return np.rint(pixels + wave).clip(0, 255).astype(np.uint8)


def clean(name: str, variant: str, seed: int, part: int, data: Path | None) -> runs.Line:
    """One part of a set as it is, scanned."""
    rng = np.random.default_rng([seed, part, ord(variant[0])])
    whole = load(name, data)
    if variant == "pair":
        pair = rng.permutation(whole.classes)[:2] if name != "fashion" else np.array([1, 6])
        whole = whole.only(np.flatnonzero(np.isin(whole.labels, pair)))
    size = min(int(rng.choice([800, 2000, 4000, 6000])), len(whole.labels))
    weights = rng.dirichlet(np.full(whole.classes, 1.0 if (seed + part) % 2 else 1e6))
    rows = np.concatenate(
        [
            rng.permutation(np.flatnonzero(whole.labels == label))[: int(size * weight)]
            for label, weight in enumerate(weights)
        ]
    )
    rows = rng.permutation(np.concatenate([rows, rng.choice(rows, len(rows) // 100)]))
    pictures = whole.only(rows)
    if variant == "merged":
        names = rng.integers(0, int(rng.integers(2, 6)), whole.classes)
        pictures = replace(pictures, labels=names[pictures.labels])
    line = scanned(pictures, rng, seed + part, np.zeros(len(rows), bool))
    return {"set": name, "variant": variant, "seed": seed, "rows": len(rows), **line}


def scanned(
    pictures: sets.Pictures, rng: np.random.Generator, seed: int, bad: np.ndarray
) -> runs.Line:
    """What the rule says of a real dataset; in every other run without sources."""
    sources = batches.any_source(len(bad), rng)
    with tempfile.TemporaryDirectory() as directory:
        folder = batches.write(Path(directory) / "batch", pictures, sources)
        snapshot = take(folder).snapshot
        dataset = open_dataset(folder, [entry.path for entry in snapshot.files])
        roles = dataset.roles if seed % 2 else replace(dataset.roles, source=None)
        case = Case(snapshot=snapshot, roles=roles, opened=replace(dataset, roles=roles))
        decoded = len(case.images.rows)
        began = time.process_time()
        examination = run("waves", case, {"denied": 0.0})
        seconds = time.process_time() - began
    measured = examination.outcome.measured
    loud = [one for one in measured.findings if one.severity > Severity.INFO]
    held = np.isin(np.arange(len(bad)), [score.row for score in measured.row_scores])
    return {
        "decoded": decoded,
        "alarms": [MARKS[one.severity] for one in loud],
        "noted": len(measured.findings) - len(loud),
        "subjects": [one.subject.name for one in loud],
        "stands": [one["stands"] for one in measured.statistics["waves"]],
        "held": round(float(held[bad].mean()), 4) if bad.any() else None,
        "held_clean": round(float(held[~bad].mean()), 5),
        "seconds": round(seconds, 2),
    }


def tabulated(lines: list[runs.Line]) -> str:
    """Power by set, variant, rate and delta; by frequency; and the clean runs."""
    groups: dict[tuple[str, ...], list[runs.Line]] = defaultdict(list)
    pitches: dict[tuple[str, str], list[runs.Line]] = defaultdict(list)
    quiet: dict[tuple[str, str], list[runs.Line]] = defaultdict(list)
    for line in lines:
        if line["variant"] in CLEAN:
            quiet[line["set"], line["variant"]].append(line)
            continue
        key = line["set"], line["variant"], f"{line['rate']:.0%}", str(line["delta"])
        groups[key].append(line)
        if line["variant"] == "own":
            pitch = np.hypot(line["down"], line["right"])
            pitches[line["set"], "below 5" if pitch < 5 else "5 and more"].append(line)
    head = ("set", "labels", "rate", "delta", "alarm", "HIGH", "noted", "held", "clean held")
    power = runs.table(head, [(*key, *cells(groups[key])) for key in sorted(groups, key=ordered)])
    head = ("set", "periods", "alarm", "HIGH", "noted", "held", "clean held")
    by_pitch = runs.table(head, [(*key, *cells(group)) for key, group in sorted(pitches.items())])
    return "\n\n".join([power, by_pitch, calm(quiet)])


def ordered(key: tuple[str, ...]) -> tuple[object, ...]:
    name, labels, rate, delta = key
    return name, ("own", "dirty", "every").index(labels), rate, int(delta)


def cells(group: list[runs.Line]) -> tuple[object, ...]:
    """How many runs named the target; with HIGH; noted alone; rows held where there is an alarm."""
    loud = [line for line in group if line["wanted"]]
    held = f"{np.mean([line['held'] for line in loud]):.2f}" if loud else "-"
    return (
        f"{len(loud)}/{len(group)}",
        sum("HIGH" in line["alarms"] for line in loud),
        sum(line["noted"] > 0 and not line["alarms"] for line in group),
        held,
        f"{max(line['held_clean'] for line in group):.4f}",
    )


def calm(quiet: dict[tuple[str, str], list[runs.Line]]) -> str:
    rows = [
        (
            *key,
            len(group),
            sum(bool(line["alarms"]) for line in group),
            sum(line["noted"] > 0 for line in group),
            f"{1e4 * np.mean([line['seconds'] / line['rows'] for line in group]):.1f}",
        )
        for key, group in sorted(quiet.items())
    ]
    return runs.table(("set", "clean", "runs", "alarms", "noted", "s per 10,000"), rows)


if __name__ == "__main__":
    main()
