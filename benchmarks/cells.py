"""The rule `cells` on tables and texts: which planted cells it names, and if clean data is quiet.

    adult      32,561 rows of the census, from `--data` (CC BY 4.0): 4,000 drawn for each run
    flights    the six sample months: 4,000 rows of one of them
    cancer     scikit-learn's breast cancer, 500 of 569 rows of 30 numbers
    digits     scikit-learn's digits as a table of 64 numbers, 1,200 of 1,797 rows
    sms        5,574 short messages, ham and spam, from `--data` (CC BY 4.0): 4,000 drawn

The attacks are the red team's own, by its defaults but for what is said: `one` and `two` columns of
`cell-trigger` (`cover`: as many rows carry the two and keep their label), `word` and `phrase` of
`token-trigger`, `copies` of `near-duplicate` (moved by a twentieth of a deviation where there are
numbers with a fraction). `noise` is flip-uniform at 5 %, which is no attack and must not alarm.
*Named* counts the runs in which an alarm has the right class and says that the planted rows share
their trigger or a part of it, and nothing else; *held* is the share of planted rows in
rows.parquet, a median over the runs with the right class; *others* the most rows held besides in
any run.

    python benchmarks/cells.py --data DIR --out lines.jsonl --seeds 20 --first-seed 100
    python benchmarks/cells.py --table lines.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import polars as pl
import runs

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.findings import Ran, Severity
from guards.provenance.snapshot import take
from guards.redteam.poison import poison
from guards.redteam.truth import Told, read_told

SAMPLES = Path(__file__).parent.parent / "data_samples"
ROWS = {"adult": 4000, "flights": 4000, "cancer": 500, "digits": 1200, "sms": 4000}
RATES = (0.005, 0.01, 0.02, 0.05)
PHRASE = "by the old mill"
ATTACKS = {
    "one": ("cell-trigger", {"width": 1}),
    "two": ("cell-trigger", {"width": 2}),
    "cover": ("cell-trigger", {"width": 2, "cover": 1.0}),
    "word": ("token-trigger", {"word": "cf"}),
    "phrase": ("token-trigger", {"word": PHRASE}),
    "copies": ("near-duplicate", {"jitter": 0.05}),
}
TABLE, TEXT = ("one", "two", "cover", "copies"), ("word", "phrase", "copies")
PLANTED = {"adult": TABLE, "flights": TABLE, "digits": TABLE[:2], "sms": TEXT}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--sets", nargs="+", choices=ROWS)
    parser.add_argument("--what", nargs="+", choices=("clean", "noise", *ATTACKS))
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Seed by seed, so that a run that is cut short has some of everything."""
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in given.sets or ROWS:
            for what in ("clean", "noise", *PLANTED.get(name, ())):
                if given.what and what not in given.what:
                    continue
                for rate in RATES if what in ATTACKS else (0.05,) if what == "noise" else (0.0,):
                    key = f"{name}/{what}/{rate}/{seed}"
                    yield key, partial(scanned, name, what, rate, seed, given.data)


def scanned(name: str, what: str, rate: float, seed: int, data: Path | None) -> runs.Line:
    """A draw of one set, poisoned if that is asked, and what the rule says of it."""
    rng = np.random.default_rng([seed, len(name)])
    frame = load(name, int(rng.integers(6)), data)
    frame = frame[np.sort(rng.permutation(len(frame))[: ROWS[name]])]
    line = {"set": name, "what": what, "rate": rate, "seed": seed, "rows": len(frame)}
    with tempfile.TemporaryDirectory() as directory:
        clean, twin = Path(directory) / "clean", Path(directory) / "twin"
        clean.mkdir()
        frame.write_parquet(clean / "rows.parquet")
        if what == "clean":
            return line | examined(clean, seed)
        attack, settings = ATTACKS.get(what, ("flip-uniform", {}))
        truth = poison(clean, attack, rate, twin, seed=seed, settings=settings)
        found = examined(twin, seed)
        if what == "noise":
            return line | found
        bad = set(np.flatnonzero(pl.read_parquet(truth)["planted"].to_numpy()).tolist())
        told = read_told(truth)
        held = set(found.pop("held"))
        line["mark"] = dict(told.mark)
        right = [one for one in found["alarms"] if one["target"] == told.target]
        return line | {
            **found,
            "target": told.target,
            "right": bool(right),
            "named": any(all(of(part, what, told) for part in one["shared"]) for one in right),
            "held_planted": round(len(held & bad) / len(bad), 4),
            "held_others": len(held - bad),
        }


def of(part: str, what: str, told: Told) -> bool:
    """Whether what an alarm says that rows share is the trigger, or a part of it."""
    match what:
        case "word" | "phrase":
            return part.partition("'")[2][:-1] in str(told.settings["word"])
        case "copies":
            return part.startswith("copies")
    return part.split(" ")[0] in told.mark


def examined(dataset: Path, seed: int) -> dict[str, object]:
    """The alarms of the rule, and which rows it holds."""
    snapshot = take(dataset).snapshot
    opened = open_dataset(dataset, [entry.path for entry in snapshot.files])
    case = Case(snapshot=snapshot, roles=opened.roles, opened=opened, seed=seed)
    began = time.process_time()
    outcome = run("cells", case).outcome
    assert isinstance(outcome, Ran), outcome
    alarms = [one for one in outcome.measured.findings if one.severity >= Severity.MEDIUM]
    return {
        "alarms": [
            {
                "target": one.subject.name,
                "shared": one.evidence[0].detail["shared"],
                "severity": one.severity.name,
                "summary": one.summary,
            }
            for one in alarms
        ],
        "held": [score.row for score in outcome.measured.row_scores],
        "tests": outcome.measured.statistics["tests"],
        "seconds": round(time.process_time() - began, 2),
    }


@cache
def load(name: str, month: int, data: Path | None) -> pl.DataFrame:
    """One set as a frame with a column `label`."""
    if name == "flights":
        folders = sorted(path for path in (SAMPLES / "flights").iterdir() if path.is_dir())
        return pl.read_parquet(folders[month % len(folders)] / "*.parquet")
    if name in ("adult", "sms"):
        if data is None:
            raise SystemExit(f"{name}: give --data")
        found = pl.read_parquet(next(data.rglob(f"{name}*.parquet")))
        return found.rename({"income": "label"}) if name == "adult" else found
    from sklearn.datasets import load_breast_cancer, load_digits

    bunch = load_digits() if name == "digits" else load_breast_cancer()
    names = [f"c{place:02}" for place in range(bunch.data.shape[1])]
    return pl.DataFrame(bunch.data, schema=names).with_columns(
        label=pl.Series([str(code) for code in bunch.target])
    )


def tabulated(lines: list[runs.Line]) -> str:
    """Power by set, attack and rate; and the clean runs."""
    power: dict[tuple[str, str, float], list[runs.Line]] = defaultdict(list)
    quiet: dict[tuple[str, str], list[runs.Line]] = defaultdict(list)
    for line in lines:
        if line["what"] in ATTACKS:
            power[line["set"], line["what"], line["rate"]].append(line)
        else:
            quiet[line["set"], line["what"]].append(line)
    order, kinds = list(ROWS), list(ATTACKS)
    keys = sorted(power, key=lambda key: (order.index(key[0]), kinds.index(key[1]), key[2]))
    head = ("set", "planted", "rate", "runs", "right class", "named", "held", "others")
    first = runs.table(head, [(*key[:2], f"{key[2]:.1%}", *cells(power[key])) for key in keys])
    rows = [
        (
            *key,
            len(group),
            blocks := sum(any(a["severity"] == "HIGH" for a in one["alarms"]) for one in group),
            f"{runs.upper(blocks, len(group)):.3f}",
            sum(bool(one["alarms"]) for one in group) - blocks,
            f"{np.median([one['seconds'] for one in group]):.1f}",
        )
        for key, group in sorted(quiet.items(), key=lambda item: order.index(item[0][0]))
    ]
    head = ("set", "clean", "runs", "BLOCK", "95 % bound", "QUARANTINE", "CPU s")
    return f"{first}\n\n{runs.table(head, rows)}"


def cells(group: list[runs.Line]) -> tuple[object, ...]:
    """Runs, those with the right class, those that name it, rows held, other rows held."""
    right = [line for line in group if line["right"]]
    held = f"{np.median([line['held_planted'] for line in right]):.2f}" if right else "-"
    others = max(line["held_others"] for line in group)
    return len(group), len(right), sum(line["named"] for line in right), held, others


if __name__ == "__main__":
    main()
