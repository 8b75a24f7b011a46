"""The rule `sources`: how often it alarms on honest noise, and which flipped labels it finds.

Three tables, each with a source and a time of every row: flights of one sample month, airports and
hours as they are; Adult and the SMS spam collection with eight sources of unlike sizes and times of
ninety days, drawn (of a message simple counts are the features). Where both are drawn the models,
which see neither, are fitted once for DRAWS runs; flights are fitted for each, so they have a third
of the runs. `--data` is where `adult_train.parquet` and `sms_spam.parquet` lie; a set that is not
there is left out.

    clean    the rows as they are
    sloppy   honest noise: 5 % of all labels become another one, drawn evenly; each source has a
             rate of its own, from almost none to thrice the mean
    source   a share of all rows, of one source and one label, is given another label
    window   a share of all rows, consecutive ones of one label, is given another label

Directions are drawn. *Named* counts the runs whose alarms all name what was planted: the source or
a window, and the pair. *Precision* and *recall* are of the rows held, medians over the runs with an
alarm.

    python benchmarks/sources.py --data DATA --out lines.jsonl
    python benchmarks/sources.py --table lines.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import polars as pl
import runs

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import Dataset, open_dataset
from guards.data.table_features import TableFeatures, table_features
from guards.findings import Ran, Severity
from guards.numerics.intervals import clopper_pearson
from guards.provenance.snapshot import take

SAMPLES = Path(__file__).parent.parent / "data_samples" / "flights"
ROWS = 4_000
NOISE = 0.05
SETS = ("flights", "adult", "sms")
NULLS = ("clean", "sloppy")
FAULTS = ("source", "window")
FIRST = {fault: place for place, fault in enumerate(NULLS + FAULTS)}
DOSES = (0.01, 0.02, 0.05)
SOURCES, DRAWS = 8, 5
MINUTES = 90 * 24 * 60
HEAD = ("fault", "set", "runs", "alarms", "95 % interval", "named", "precision", "recall")
_SPAMMY = ("call", "free", "txt", "www", "win", "claim", "£")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What was changed: the rows (n,), and which source (empty for a window) and pair it was."""

    rows: np.ndarray
    source: str = ""
    true: str = ""
    given: str = ""


NOTHING = Planted(rows=np.zeros(0, int))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--set", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--null", type=int, default=30, help="runs of each set and honest variant")
    parser.add_argument("--power", type=int, default=9, help="runs of each set, fault and dose")
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    there = [name for name in given.set if readable(name, given.data)]
    kinds = [(variant, 0.0, given.null) for variant in NULLS]
    kinds += [(fault, dose, given.power) for fault in FAULTS for dose in DOSES]
    # Seeds outermost: whoever stops early has some of each.
    for seed in range(given.first, given.first + max(given.null, given.power)):
        for fault, dose, wanted in kinds:
            for name in there:
                if seed < given.first + (wanted // 3 if name == "flights" else wanted):
                    key = f"{fault}/{dose:g}/{name}/{seed}"
                    yield key, partial(measure, name, fault, dose, seed, given.data)


def measure(name: str, fault: str, dose: float, seed: int, data: Path | None) -> runs.Line:
    """One table, what was done to it, and what the rule says."""
    if name == "flights":
        frame, planted = flights(fault, dose, np.random.default_rng([seed, FIRST[fault]]))
        found = asked(frame, planted, seed)
    else:
        found = asked(*drawn(name, fault, dose, seed, data))
    return {"set": name, "fault": fault, "dose": dose, "seed": seed, **found}


def asked(
    frame: pl.DataFrame, planted: Planted, seed: int, features: TableFeatures | None = None
) -> runs.Line:
    """Ask the rule, and hold its answer against what was planted."""
    with tempfile.TemporaryDirectory() as directory:
        opened = written(frame, Path(directory))
        snapshot = take(Path(directory)).snapshot
        case = Case(snapshot=snapshot, roles=opened.roles, opened=opened, seed=seed)
        if features is not None:
            vars(case)["table_features"] = features
        examination = run("sources", case)
    assert isinstance(examination.outcome, Ran), examination.outcome
    alarms = [found for found in examination.findings if found.severity >= Severity.MEDIUM]
    held = {score.row for score in examination.outcome.measured.row_scores}
    changed = set(planted.rows.tolist())
    pair = (planted.true, planted.given)
    right = [
        (found.evidence[0].detail["true"], found.evidence[0].detail["given"]) == pair
        and (found.subject.name == planted.source or not planted.source)
        and found.code.endswith("source" if planted.source else "window")
        for found in alarms
    ]
    return {
        "rows": len(frame),
        "planted": len(changed),
        "codes": sorted(found.code for found in examination.findings),
        "told": [found.summary for found in alarms],
        "alarm": bool(alarms),
        "named": bool(alarms) and all(right),
        "precision": len(held & changed) / max(len(held), 1),
        "recall": len(held & changed) / max(len(changed), 1),
    }


def written(frame: pl.DataFrame, folder: Path) -> Dataset:
    frame.write_parquet(folder / "table.parquet")
    return open_dataset(folder, ["table.parquet"])


def readable(name: str, data: Path | None) -> bool:
    return name == "flights" or (data is not None and any(data.rglob(f"{name}_*.parquet")))


def flights(fault: str, dose: float, rng: np.random.Generator) -> tuple[pl.DataFrame, Planted]:
    """A sample of one month in order of time, and what was done to it."""
    months = sorted(path for path in SAMPLES.iterdir() if path.is_dir())
    month = int(rng.integers(len(months)))
    frame = pl.read_parquet(months[month] / "*.parquet")
    when = pl.datetime(2013, int(months[month].name[-2:]), pl.col("day"), pl.col("hour"))
    frame = frame.with_columns(when=when).drop("id", "day", "weekday", "hour")
    frame = sampled(frame, rng).sort("when", maintain_order=True)
    match fault:
        case "source":
            return by_source(frame, dose, rng)
        case "window":
            return by_window(frame, dose, rng)
    return (sloppy(frame, rng) if fault == "sloppy" else frame), NOTHING


@lru_cache(maxsize=32)
def fitted(
    name: str, fault: str, dose: float, block: int, data: Path
) -> tuple[pl.DataFrame, Planted, TableFeatures]:
    """A sample with its changed labels and what models say of it, before sources are drawn."""
    rng = np.random.default_rng([block, SETS.index(name), FIRST[fault]])
    whole = pl.read_parquet(next(data.rglob(f"{name}_*.parquet")))
    frame = sampled(whole.rename({"income": "label"}) if name == "adult" else counts(whole), rng)
    planted = NOTHING
    if fault == "sloppy":
        rows = np.flatnonzero(rng.random(len(frame)) < NOISE)
        frame = frame.with_columns(label=anew(frame, rows, rng))
        planted = Planted(rows=rows)
    elif fault in FAULTS:
        names = sorted(frame["label"].unique())
        true = names[int(rng.integers(len(names)))]
        rows = rng.permutation(np.flatnonzero((frame["label"] == true).to_numpy()))
        wanted = min(round(dose * len(frame)), len(rows) // 3)
        frame, planted = flipped(frame, rows[:wanted], "", true, rng)
    with tempfile.TemporaryDirectory() as directory:
        features = table_features(written(frame, Path(directory)), seed=block)
    return frame, planted, features


def drawn(
    name: str, fault: str, dose: float, seed: int, data: Path | None
) -> tuple[pl.DataFrame, Planted, int, TableFeatures]:
    """Sources and times for the rows, such that what was changed is what `fault` says."""
    assert data is not None
    kind = FAULTS[0] if fault in FAULTS else fault
    frame, planted, features = fitted(name, kind, dose, seed // DRAWS, data)
    rng = np.random.default_rng([seed, SETS.index(name), FIRST[fault], 1])
    shares = rng.dirichlet(np.full(SOURCES, 4.0))
    source, order = rng.choice(SOURCES, len(frame), p=shares), rng.permutation(len(frame))
    if fault == "sloppy":
        # As if each source had a rate of its own: the share of the wrong rows that are its own.
        rates = rng.uniform(0.1, 3.0, SOURCES)
        rates *= NOISE / (shares @ rates)
        own = [shares * (1 - rates) / (1 - NOISE), shares * rates / NOISE]
        source = rng.choice(SOURCES, len(frame), p=own[0])
        source[planted.rows] = rng.choice(SOURCES, len(planted.rows), p=own[1])
        planted = NOTHING
    elif fault == "source":
        chosen = int(rng.choice(SOURCES, p=shares))
        source[planted.rows] = chosen
        planted = replace(planted, source=f"s{chosen}")
    elif fault == "window":
        order = together(order, planted.rows, (frame["label"] == planted.true).to_numpy(), rng)
    minutes = np.empty(len(frame), np.int64)
    minutes[order] = np.sort(rng.integers(0, MINUTES, len(frame)))
    frame = frame.with_columns(
        source=pl.Series([f"s{place}" for place in source]),
        when=pl.datetime(2025, 1, 1) + pl.duration(minutes=pl.Series(minutes)),
    )
    return frame, planted, seed, features


def together(
    order: np.ndarray, rows: np.ndarray, kept: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The order with `rows` next to one another among them and those `kept`, begun anywhere."""
    of_label = kept.copy()
    of_label[rows] = True
    places = np.flatnonzero(of_label[order])
    rest = order[places][kept[order[places]]]
    start = int(rng.integers(len(rest) + 1))
    order = order.copy()
    order[places] = np.concatenate([rest[:start], rng.permutation(rows), rest[start:]])
    return order


def sampled(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    return frame[rng.permutation(len(frame))[:ROWS]]


def counts(messages: pl.DataFrame) -> pl.DataFrame:
    """What can be counted in a message, and its label."""
    text, small = pl.col("text"), pl.col("text").str.to_lowercase()
    length = text.str.len_chars()
    return messages.select(
        "label",
        length=length,
        words=text.str.count_matches(r"\w+"),
        digits=text.str.count_matches(r"\d") / (length + 1),
        capitals=text.str.count_matches(r"[A-Z]") / (length + 1),
        marks=text.str.count_matches(r"[!?*]"),
        **{f"has_{place}": small.str.count_matches(w) for place, w in enumerate(_SPAMMY)},
    )


def sloppy(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Another label, drawn evenly, for NOISE of all rows; each source at a rate of its own."""
    names, codes = np.unique(frame["source"].to_numpy(), return_inverse=True)
    rates = rng.uniform(0.1, 3.0, len(names))
    rates *= NOISE / (np.bincount(codes) / len(codes) * rates).sum()
    wrong = np.flatnonzero(rng.random(len(frame)) < rates[codes])
    return frame.with_columns(label=anew(frame, wrong, rng))


def anew(frame: pl.DataFrame, rows: np.ndarray, rng: np.random.Generator) -> pl.Series:
    """The labels, of these rows another one."""
    classes, labels = np.unique(frame["label"].to_numpy(), return_inverse=True)
    labels[rows] = (labels[rows] + rng.integers(1, len(classes), len(rows))) % len(classes)
    return pl.Series(classes[labels])


def by_source(
    frame: pl.DataFrame, dose: float, rng: np.random.Generator
) -> tuple[pl.DataFrame, Planted]:
    """So many rows of one source and label are given another; a pair that has as many rows."""
    wanted = round(dose * len(frame))
    sizes = frame.group_by("source", "label").len().sort("source", "label")
    # Where no source has as many of a label, the largest gives what it can spare.
    enough = sizes.filter(pl.col("len") >= 1.25 * wanted)
    enough = enough if len(enough) else sizes.sort("len").tail(1)
    source, true, _ = enough.row(int(rng.integers(len(enough))))
    its = ((frame["source"] == source) & (frame["label"] == true)).to_numpy()
    rows = np.flatnonzero(its)
    return flipped(frame, rng.permutation(rows)[: min(wanted, len(rows))], source, true, rng)


def by_window(
    frame: pl.DataFrame, dose: float, rng: np.random.Generator
) -> tuple[pl.DataFrame, Planted]:
    """So many consecutive rows of one label, of all sources, are given another."""
    names = sorted(frame["label"].unique())
    true = names[int(rng.integers(len(names)))]
    rows = np.flatnonzero((frame["label"] == true).to_numpy())
    wanted = min(round(dose * len(frame)), len(rows) // 3)
    start = int(rng.integers(len(rows) - wanted))
    return flipped(frame, rows[start : start + wanted], "", true, rng)


def flipped(
    frame: pl.DataFrame, rows: np.ndarray, source: str, true: str, rng: np.random.Generator
) -> tuple[pl.DataFrame, Planted]:
    others = sorted(set(frame["label"].unique()) - {true})
    given = others[int(rng.integers(len(others)))]
    labels = frame["label"].to_numpy().copy()
    labels[rows] = given
    planted = Planted(rows=rows, source=source, true=true, given=given)
    return frame.with_columns(label=pl.Series(labels)), planted


def tabulated(lines: list[runs.Line]) -> str:
    """Alarms by fault, dose and set, with exact intervals."""
    groups: dict[tuple[int, float, str], list[runs.Line]] = defaultdict(list)
    for line in lines:
        place = FIRST[line["fault"]]
        groups[place, line["dose"], line["set"]].append(line)
        groups[place, line["dose"], "~all"].append(line)
    rows = []
    for place, dose, name in sorted(groups):
        fault = f"{(NULLS + FAULTS)[place]}{f' {dose:.0%}' if dose else ''}"
        rows.append((fault, name.strip("~"), *counted(groups[place, dose, name])))
    return runs.table(HEAD, rows)


def counted(lines: list[runs.Line]) -> Iterator[str]:
    alarms = [line for line in lines if line["alarm"]]
    low, high = clopper_pearson(len(alarms), len(lines))
    yield from (str(len(lines)), str(len(alarms)), f"{low:.3f} to {high:.3f}")
    yield str(sum(line["named"] for line in alarms))
    for what in ("precision", "recall"):
        known = [line[what] for line in alarms if line["planted"]]
        yield f"{np.median(known):.2f}" if known else "-"


if __name__ == "__main__":
    main()
