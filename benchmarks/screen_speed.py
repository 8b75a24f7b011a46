"""How long spectral scores and activation clustering of every class take, ours and ART's.

    python benchmarks/screen_speed.py --device cpu --case 50000x512x10 --out speed.jsonl
    python benchmarks/screen_speed.py --device cuda --case 50000x512x10 1280000x2048x1000 --peer no

Features are float16, class means and a decaying spectrum over noise, 1 % of class 0 planted; both
get the same array. In the same run the floor: one pass over the features and one copy of them, on
the same device. *Ours* is the whole of `screen`: whitening, subspaces, scores, splits, silhouettes
and p-values (the null is a table). *ART's* (1.20.1, if installed) are the functions that its
detectors call after their own model gave the activations, in float32 as they come from a model:

    segment_by_class(F, y)                                   both
    SpectralSignatureDefense.spectral_signature_scores(F_c)  of each class
    cluster_activations(F by class, nb_dims=10, reduce="PCA", clustering_method="KMeans")

ART computes on the CPU and has neither null nor p-value. Install it beside the project, not in it:
`pip install --no-deps adversarial-robustness-toolbox==1.20.1`. Each case is a line of JSON in
`--out`; a case whose line is there is not run again. `--peer-classes m` runs ART on the first m
classes only and writes the seconds scaled by k/m as `extrapolated`. On a machine that others use
too take `--clock cpu` with OMP_NUM_THREADS=1: processor seconds of one thread, for both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guards.numerics.screen import in_memory, screen

BLOCK = 16_384
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK = "wall"


def generated(rows: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, width) float16 and labels, class sizes alike, order random."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    means = rng.standard_normal((classes, width), np.float32)
    shape = (np.arange(1, width + 1) ** -0.5).astype(np.float32) * 3 + 0.1
    mark = rng.standard_normal(width, np.float32)
    planted = np.zeros(rows, bool)
    planted[np.flatnonzero(labels == 0)[: max(1, rows // classes // 100)]] = True
    features = np.empty((rows, width), np.float16)
    for start in range(0, rows, BLOCK):
        some = slice(start, start + BLOCK)
        noise = rng.standard_normal((len(labels[some]), width), np.float32) * shape
        features[some] = noise + means[labels[some]] + planted[some, None] * mark
    return features, labels


def seconds(work: Callable[[], Any], repeats: int, device: str) -> float:
    """The best of some runs, everything on the device finished; `--clock` says of which clock."""
    best, clock = np.inf, CLOCKS[CLOCK]
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        started = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - started)
    return round(best, 4)


def floor(features: torch.Tensor, repeats: int, device: str) -> dict[str, float]:
    """One pass over the features, and a copy of them."""
    into = torch.empty_like(features)
    flat = features.view(-1).view(torch.int16)
    return {
        "pass": seconds(lambda: flat.max(), repeats, device),
        "copy": seconds(lambda: into.copy_(features), repeats, device),
    }


def ours(features: torch.Tensor, labels: np.ndarray, classes: int, repeats: int) -> dict[str, Any]:
    """Seconds of the screen and what it said of the planted class."""
    found = []

    def work() -> None:
        rng = np.random.default_rng(0)
        found.append(screen(in_memory(features), labels, classes, rng))

    taken = seconds(work, repeats, features.device.type)
    p_values = found[-1].structure.cluster.p_values
    return {
        "seconds": taken,
        "p_planted": float(p_values[0]),
        "p_least_of_others": float(p_values[1:].min()),
    }


def art(features: np.ndarray, labels: np.ndarray, classes: int, some: int) -> dict[str, float]:
    """Seconds of ART's two detectors, after their activations."""
    from art.defences.detector.poison.activation_defence import cluster_activations
    from art.defences.detector.poison.spectral_signature_defense import SpectralSignatureDefense
    from art.utils import segment_by_class

    kept = np.flatnonzero(labels < some)
    wide = features[kept].astype(np.float32)
    parts: list[np.ndarray] = []
    cut = seconds(lambda: parts.extend(segment_by_class(wide, labels[kept], some)), 1, "cpu")

    def spectral() -> None:
        for part in parts:
            SpectralSignatureDefense.spectral_signature_scores(np.vstack(part))

    def clustering() -> None:
        cluster_activations(parts, nb_clusters=2, nb_dims=10, reduce="PCA")

    taken = {"segment": cut, "spectral": seconds(spectral, 1, "cpu")}
    taken["clustering"] = seconds(clustering, 1, "cpu")
    taken["total"] = round(sum(taken.values()) + cut, 4)  # each detector cuts by class itself
    if some < classes:
        taken["classes"] = some
        taken["extrapolated"] = round(taken["total"] * classes / some, 1)
    return taken


def measured(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """One line."""
    rows, width, classes = map(int, case.split("x"))
    features, labels = generated(rows, width, classes, options.seed)
    there = torch.from_numpy(features).to(options.device)
    line: dict[str, Any] = {
        "case": case,
        "device": options.device,
        "machine": _machine(options.device),
        "load_before": round(os.getloadavg()[0], 1),
        "clock": CLOCK,
        "threads": torch.get_num_threads(),
        "repeats": options.repeats,
        "floor": floor(there, options.repeats, options.device),
        "ours": ours(there, labels, classes, options.repeats),
    }
    del there
    if options.peer == "yes":
        some = min(options.peer_classes or classes, classes)
        try:
            line["art"] = art(features, labels, classes, some)
        except ImportError as error:
            line["art"] = {"missing": f"{error}; see the first lines of this file"}
    line["load_after"] = round(os.getloadavg()[0], 1)
    line["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    return line


def _machine(device: str) -> str:
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()}, {os.cpu_count()} cores"


def table(lines: list[dict[str, Any]]) -> str:
    """Seconds, side by side."""
    head = "| n x d x k | device, clock | one pass | copy | ours "
    head += "| ART spectral | ART clustering | ratio |"
    told = [head, "|" + " --- |" * 8]
    for line in lines:
        peer = line.get("art", {})
        whole = peer.get("extrapolated", peer.get("total"))
        scale = whole / peer["total"] if whole else 0
        spectral, clustering = (
            f"{peer[key] * scale:.2f}" if whole else "-" for key in ("spectral", "clustering")
        )
        ratio = f"{whole / line['ours']['seconds']:.0f}" if whole else "-"
        told.append(
            f"| {line['case']} | {line['device']}, {line['clock']} | {line['floor']['pass']} "
            f"| {line['floor']['copy']} | {line['ours']['seconds']} | {spectral} | {clustering} "
            f"| {ratio}{' (extrapolated)' if 'extrapolated' in peer else ''} |"
        )
    return "\n".join(told)


def main() -> None:
    """Run the cases that are not in `--out` yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", default=["50000x512x10"], help="n x d x k")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--peer", choices=["yes", "no"], default="yes")
    parser.add_argument("--peer-classes", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("screen_speed.jsonl"))
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    options = parser.parse_args()
    global CLOCK
    CLOCK = options.clock
    old = options.out.read_text().splitlines() if options.out.exists() else []
    lines = [json.loads(line) for line in old]
    done = {(line["case"], line["device"], line["clock"]) for line in lines}
    for case in options.case:
        if (case, options.device, options.clock) in done:
            continue
        lines.append(measured(case, options))
        with options.out.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
