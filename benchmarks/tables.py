"""Power of the table rules on the flights: what is found, what is named, which rows are held.

Each line plants one fault into each clean sample month, with every carrier or source in turn, and
asks the rule that should see it. *Named* counts the runs in which the alarm names the right
carrier or source and no other one. *Precision* is the share of the rows held that were changed,
*recall* the share of the changed rows that are held, both as medians over the runs with an alarm.

    python benchmarks/tables.py [--seeds 2]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.profile import parse_profile
from guards.demo import tables
from guards.findings import Examination, Ran, Severity
from guards.provenance.snapshot import take
from guards.provenance.strictjson import loads

SAMPLES = Path(__file__).parent.parent / "data_samples"
MONTHS = sorted(path for path in (SAMPLES / "flights").iterdir() if path.is_dir())
SOURCES = ("EWR", "JFK", "LGA")
DOSES = (0.02, 0.05, 0.10, 0.15, 0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One planted fault: was there an alarm, did it name the right one, which rows were held."""

    alarm: bool
    named: bool
    precision: float
    recall: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print("| fault | rule | runs | alarms | named | precision | recall |")
    print("|---|---|---|---|---|---|---|")
    show("none", "drift", list(clean("drift")))
    show("none", "sources", list(clean("sources")))
    show("2 % of the air times are -1", "contract", list(contract()))
    for low, high in ((400, 10_000), (100, 400), (50, 100), (0, 50)):
        show(f"kilometres, carrier of {low} to {high} rows", "drift", list(unit(low, high)))
    for dose in DOSES:
        show(f"{dose:.0%} of late flipped", "sources", list(flips(dose, options.seeds)))


def clean(rule: str) -> Iterator[Run]:
    """Every sample month as it is."""
    for month in MONTHS:
        yield measure(rule, month, set(), "")


def contract() -> Iterator[Run]:
    """The contract broken in every month."""
    for month in MONTHS:
        yield planted("contract", month, tables.break_contract, "air_time")


def unit(low: int, high: int) -> Iterator[Run]:
    """Each carrier of so many rows, in every month, sends kilometres."""
    for month in MONTHS:
        counts = pl.read_parquet(month / "*.parquet")["carrier"].value_counts()
        for carrier, rows in sorted(counts.iter_rows()):
            if low <= rows < high:

                def change(src: Path, out: Path, carrier: str = carrier) -> list[int]:
                    return tables.change_unit(src, out, carrier=carrier)

                yield planted("drift", month, change, f"carrier {carrier}")


def flips(dose: float, seeds: int) -> Iterator[Run]:
    """So many of each source's late flights, in every month, are labelled on time."""
    for month in MONTHS:
        for source in SOURCES:
            for seed in range(seeds):

                def change(
                    src: Path, out: Path, source: str = source, seed: int = seed
                ) -> list[int]:
                    return tables.flip_labels(src, out, source=source, share=dose, seed=seed)

                yield planted("sources", month, change, source)


def planted(
    rule: str, month: Path, change: Callable[[Path, Path], list[int]], expected: str
) -> Run:
    """Plant a fault into a month and ask the rule."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / month.name
        changed = change(month, out)
        return measure(rule, out, set(changed), expected)


def measure(rule: str, dataset: Path, changed: set[int], expected: str) -> Run:
    """Ask one rule, and hold its answer against the rows that were changed."""
    snapshot = take(dataset).snapshot
    opened = open_dataset(dataset, [entry.path for entry in snapshot.files])
    case = Case(
        snapshot=snapshot,
        roles=opened.roles,
        opened=opened,
        reference=parse_profile((SAMPLES / "flights.reference.profile").read_bytes()),
        contract=loads((SAMPLES / "flights.contract.json").read_bytes()).mapping(),
        seed=int(snapshot.root.hex[:8], 16),
    )
    return answered(run(rule, case), changed, expected)


def answered(examination: Examination, changed: set[int], expected: str) -> Run:
    assert isinstance(examination.outcome, Ran), examination.outcome
    alarms = [f for f in examination.findings if f.severity >= Severity.MEDIUM]
    held = {score.row for score in examination.outcome.measured.row_scores}
    right = [finding for finding in alarms if expected and expected in finding.summary]
    return Run(
        alarm=bool(alarms),
        named=bool(right) and len(right) == len(alarms),
        precision=len(held & changed) / max(len(held), 1),
        recall=len(held & changed) / max(len(changed), 1),
    )


def show(fault: str, rule: str, runs: list[Run]) -> None:
    alarms = [run for run in runs if run.alarm]
    named = sum(run.named for run in alarms)
    shares = [
        f"{np.median([getattr(run, what) for run in alarms]):.2f}" if alarms else "-"
        for what in ("precision", "recall")
    ]
    print(
        f"| {fault} | {rule} | {len(runs)} | {len(alarms)} | {named} | {' | '.join(shares)} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
