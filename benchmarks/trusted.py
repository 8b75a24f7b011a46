"""What do rows that somebody checked buy? The rule `trusted` on planted and clean batches.

Each case draws a batch and, from the rest of the set, trusted rows; plants one attack in the batch
(never in the trusted rows), and asks the one rule `trusted` at the policy's own level. Printed: how
often it alarms and names the target, planted and clean rows held, and whether the conformal
p-values of clean rows are valid, as the share of them that are at most .05.

    python benchmarks/trusted.py --data DIR --sets fashion cifar10 --seeds 3 --out trusted.jsonl
    python benchmarks/trusted.py --table trusted.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import batches
import detection
import numpy as np
import runs
import sets

from guards.budget import settings_of
from guards.checks import run
from guards.findings import Ran, Severity

ATTACKS = {"none": 0.0, "patch": 0.01, "blend": 0.01, "tact": 0.02, "sig": 0.05, "flip-pair": 0.02}
ROWS, TRUSTED = 4_000, 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--sets", nargs="+", default=["fashion"])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=100)
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in given.sets:
            for attack in given.attacks:
                yield f"{name}/{attack}/{seed}", partial(measured, name, attack, seed, given)


def measured(name: str, attack: str, seed: int, given: argparse.Namespace) -> runs.Line:
    """One batch beside its trusted rows."""
    setting = detection.Setting(
        name=name, attack=attack, rate=ATTACKS[attack], seed=seed, rows=ROWS
    )
    batch = detection.drawn(setting, given.data)
    with tempfile.TemporaryDirectory() as directory:
        scanned, checked = Path(directory) / "batch", Path(directory) / "trusted"
        batches.write(scanned, batch.pictures, batch.sources)
        rows = trusted_rows(name, seed, given.data)
        batches.write(checked, rows, batches.any_source(TRUSTED, np.random.default_rng(seed)))
        case = detection.opened(scanned, seed, given.device)
        beside = detection.opened(checked, seed, given.device)
        case = replace(case, trusted=beside.opened, trusted_root=str(beside.snapshot.root))
        examination = run("trusted", case, settings_of(detection.content_only(), "trusted"))
    held = detection.held_rows([examination], len(batch.sources)) > 0
    stopped = [f for f in examination.findings if f.severity >= Severity.MEDIUM]
    return {
        "set": name,
        "attack": attack,
        "rate": ATTACKS[attack],
        "seed": seed,
        "outcome": type(examination.outcome).__name__.lower(),
        "alarms": sorted({finding.code for finding in stopped}),
        "seconds": round(examination.run.seconds, 1),
        "small_p": small_p(examination.outcome),
        **detection.named(batch, [examination]),
        **detection.rated(held, batch),
    }


def trusted_rows(name: str, seed: int, data: Path | None) -> sets.Pictures:
    """Rows of the set behind those of the batch and those held out."""
    whole = sets.load(name, data)
    order = np.random.default_rng(seed).permutation(len(whole.labels))
    return whole.only(order[ROWS + detection.HELD_OUT :][:TRUSTED])


def small_p(outcome: Any) -> dict[str, float]:
    """By kind of suspicion, the share of scanned rows with a p-value of at most .05."""
    if not isinstance(outcome, Ran):
        return {}
    kinds = outcome.measured.statistics["kinds"]
    return {kind: told["below_a_twentieth"] for kind, told in kinds.items()}


def tabulated(lines: list[runs.Line]) -> str:
    groups: dict[tuple[str, str, float], list[runs.Line]] = defaultdict(list)
    for line in lines:
        groups[line["set"], line["attack"], line["rate"]].append(line)
    head = ("set", "attack", "rate", "runs", "alarm", "target", "TPR", "FPR", "p <= .05", "s")
    rows = []
    for (name, attack, rate), mine in groups.items():
        planted = [line["tpr"] for line in mine if line["tpr"] is not None]
        named = [line["target_named"] for line in mine if line["target_named"] is not None]
        small = [max(line["small_p"].values(), default=0.0) for line in mine]
        rows.append(
            (
                name,
                attack,
                f"{rate:.1%}",
                len(mine),
                sum(bool(line["alarms"]) for line in mine),
                f"{sum(named)}/{len(named)}" if named else "-",
                f"{np.mean(planted):.2f}" if planted else "-",
                f"{np.mean([line['fpr'] for line in mine]):.4f}",
                f"{np.mean(small):.3f}",
                f"{np.mean([line['seconds'] for line in mine]):.0f}",
            )
        )
    return runs.table(head, rows)


if __name__ == "__main__":
    main()
