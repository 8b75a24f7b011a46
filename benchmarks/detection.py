"""Detection of planted rows in Fashion-MNIST: verdict, names, rows found, rows wrongly held.

Every line is a fresh random subsample (class-balanced, `source` drawn at random from five), one
attack, one seed: the tables of docs/rules.md are means of these lines. Planted rows are written
with one source; pixels are compared losslessly, so no codec gives them away. *Success* asks a
probe trained on that very batch about 1,000 held-out pictures that carry the trigger: an attack
that did not implant counts neither as caught nor as missed.

    python benchmarks/detection.py --seeds 5 --attacks none patch blend --rates 0.005 0.01 0.02

needs Debian's package dataset-fashion-mnist, or --origin.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guards.checks import clustering, spectral, triggers
from guards.data.case import Case
from guards.data.image_features import from_pixels
from guards.data.probe import probe
from guards.findings import Measured, Severity
from guards.provenance.snapshot import Snapshot
from guards.redteam.attacks import find, stamp

CLASSES, SOURCES, SOURCE = 10, 5, "source-3"
HELD_OUT = 1000
RULES = {"triggers": triggers, "spectral": spectral, "clustering": clustering}
TRIGGERED = ("patch", "blend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One subsample after the attack; `planted` (n,) marks the rows that it changed."""

    pixels: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    planted: np.ndarray
    target: int


def idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def read(origin: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    pixels = idx(origin / f"{part}-images-idx3-ubyte.gz")[:, None]
    return pixels, idx(origin / f"{part}-labels-idx1-ubyte.gz").astype(np.int64)


def subsample(
    pixels: np.ndarray, labels: np.ndarray, sizes: list[int], rng: np.random.Generator
) -> np.ndarray:
    rows = [
        rng.choice(np.flatnonzero(labels == c), size, replace=False) for c, size in enumerate(sizes)
    ]
    return rng.permutation(np.concatenate(rows))


def attacked(pixels: np.ndarray, labels: np.ndarray, attack: str, rate: float, seed: int) -> Batch:
    """The attack on `rate` of the rows, from every class but the target, written by one source."""
    rng = np.random.default_rng([seed, 1])
    pixels, labels = pixels.copy(), labels.copy()
    sources = np.array([f"source-{s}" for s in rng.integers(0, SOURCES, len(labels))])
    target = int(rng.integers(0, CLASSES))
    planted = np.zeros(len(labels), np.bool_)
    if attack == "none":
        return Batch(pixels=pixels, labels=labels, sources=sources, planted=planted, target=target)
    may = np.ones_like(planted) if attack.startswith("flip-uniform") else labels != target
    may &= (sources == SOURCE) | (not attack.endswith("source"))
    rows = rng.choice(np.flatnonzero(may), round(rate * len(labels)), replace=False)
    planted[rows] = True
    if attack.startswith("flip-uniform"):
        labels[rows] = (labels[rows] + rng.integers(1, CLASSES, len(rows))) % CLASSES
    else:
        labels[rows] = target
    if attack in TRIGGERED:
        sources[rows] = SOURCE
        pixels[rows] = stamp(pixels[rows], find(attack), seed)
    return Batch(pixels=pixels, labels=labels, sources=sources, planted=planted, target=target)


def examined(batch: Batch, seed: int, device: str) -> tuple[dict[str, Measured], dict[str, float]]:
    """Every rule's answer, and the seconds of each stage."""
    seconds, start = {}, time.perf_counter()
    names = np.array([f"class-{c}" for c in range(CLASSES)])[batch.labels]
    features = from_pixels(batch.pixels, names, batch.sources, seed=seed, device=device)
    seconds["features"] = time.perf_counter() - start
    case = Case(snapshot=Snapshot(files=()), seed=seed, device=device)
    case.__dict__["image_features"] = features  # what Case would have computed from files
    answers = {}
    for rule, module in RULES.items():
        start = time.perf_counter()
        answers[rule] = module.examine(case, module.Settings())
        seconds[rule] = time.perf_counter() - start
    return answers, seconds


def success(batch: Batch, attack: str, held: tuple[np.ndarray, np.ndarray], seed: int) -> float:
    if attack not in TRIGGERED:
        return float("nan")
    others = held[0][held[1] != batch.target][:HELD_OUT]
    trained = probe(batch.pixels, batch.labels, seed=seed)
    return float((trained.classify(stamp(others, find(attack), seed)) == batch.target).mean())


def line(batch: Batch, answers: dict[str, Measured]) -> dict[str, object]:
    """What was decided, what was named, and what was held."""
    findings = [finding for answer in answers.values() for finding in answer.findings]
    worst = max((finding.severity for finding in findings), default=Severity.INFO)
    told = answers["triggers"].statistics["triggers"]
    out: dict[str, object] = {
        "verdict": {Severity.HIGH: "BLOCK", Severity.MEDIUM: "QUARANTINE"}.get(worst, "PASS"),
        "target": any(str(f.subject.name) == f"class-{batch.target}" for f in findings),
        "source": any(t["source"] == SOURCE for t in told)
        or any(f.subject.name == SOURCE for f in findings),
        "codes": sorted({f"{f.code}({f.subject})" for f in findings}),
    }
    for rule, answer in answers.items():
        held = np.zeros(len(batch.planted), np.bool_)
        held[[score.row for score in answer.row_scores]] = True
        out[f"{rule}_found"] = held[batch.planted].mean() if batch.planted.any() else float("nan")
        out[f"{rule}_wrong"] = held[~batch.planted].mean()
    return out


def sizes_of(n: int, shape: str, rng: np.random.Generator) -> list[int]:
    if shape == "balanced":
        return [n // CLASSES] * CLASSES
    weights = rng.dirichlet(np.full(CLASSES, 2.0))
    return [max(3, int(n * weight)) for weight in weights]


def main() -> None:
    """Print a line a run, and the means by attack and rate."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--origin", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--attacks", nargs="+", default=["none", "patch", "blend", "flip-target"])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.005, 0.01, 0.02])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=400)
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--shape", choices=["balanced", "dirichlet"], default="balanced")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if not given.origin.is_dir():
        parser.error(f"{given.origin}: no Fashion-MNIST there; apt install dataset-fashion-mnist")
    pixels, labels = read(given.origin, "train")
    held = read(given.origin, "t10k")
    table = defaultdict(list)
    for attack in given.attacks:
        for rate in given.rates if attack != "none" else [0.0]:
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                rng = np.random.default_rng([seed, 0])
                rows = subsample(pixels, labels, sizes_of(given.n, given.shape, rng), rng)
                batch = attacked(pixels[rows], labels[rows], attack, rate, seed)
                answers, seconds = examined(batch, seed, given.device)
                found = line(batch, answers)
                found["success"] = success(batch, attack, held, seed)
                found["seconds"] = sum(seconds.values())
                table[attack, rate].append(found)
                print(
                    attack,
                    rate,
                    seed,
                    shown(found),
                    {k: round(v, 1) for k, v in seconds.items()},
                    flush=True,
                )
    for (attack, rate), lines in table.items():
        print(f"{attack:15} {rate:6.1%} {summary(lines)}")


def shown(found: dict[str, object]) -> str:
    return " ".join(
        f"{name}={value:.4f}" if isinstance(value, float) else f"{name}={value}"
        for name, value in found.items()
    )


def summary(lines: list[dict[str, object]]) -> str:
    means = {
        name: float(np.mean([entry[name] for entry in lines]))
        for name, value in lines[0].items()
        if name not in ("verdict", "codes")
    }
    verdicts = [entry["verdict"] for entry in lines]
    counts = {verdict: verdicts.count(verdict) for verdict in ("PASS", "QUARANTINE", "BLOCK")}
    return f"{counts} " + " ".join(f"{name} {value:.4f}" for name, value in means.items())


if __name__ == "__main__":
    main()
