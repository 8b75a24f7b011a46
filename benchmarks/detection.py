"""What is caught, what is named, what is wrongly held, and what the attack is worth afterwards.

Each case draws rows of one set, plants one attack, writes the batch as a real dataset, asks every
rule about pictures, and judges. Then a network is trained on the batch as it is and without the
held rows, and both are asked about held-out pictures that carry the trigger. ART's two detectors,
an isolation forest and, for flipped labels, cleanlab get the same probe's penultimate features.
Planted and clean rows go through one codec. Half of the seeds write all planted rows with one
source, half spread them evenly. An attack that did not implant (success below one half) counts
neither as caught nor as missed.

    python benchmarks/detection.py --suite cpu --out detection.jsonl [--shard i/n]
    python benchmarks/detection.py --suite gpu --data DIR --device cuda --out F --seconds 420
    python benchmarks/detection.py --table detection*.jsonl

The suite `cpu` takes digits and Fashion-MNIST, six attacks and three seeds; `gpu` takes CIFAR-10,
every attack at 0.3, 1 and 5 %, and three seeds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import batches
import numpy as np
import peers
import runs
import sets
from sklearn.metrics import roc_auc_score

import guards
from guards.budget import settings_of
from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.probe import probe
from guards.findings import Examination, Finding, Severity
from guards.provenance.snapshot import take
from guards.redteam.arrays import Planted, plant
from guards.redteam.attacks import CATALOGUE, ON_PICTURES
from guards.verdict import Policy, judge

TABULAR = {"integrity", "provenance", "contract", "drift", "sources"}
ROWS = {"digits": 1_400, "fashion": 6_000, "mnist": 6_000, "cifar10": 20_000}
HELD_OUT = 1_000
SINGLE_SOURCE = "camera-d"
IMPLANTED = 0.5
# Attacks on images alone; `thin` is one attack over many batches and has its own test.
EVERY = [name for name in ON_PICTURES if name not in ("thin", "flip-source")]
CPU = {
    "patch": 0.01,
    "blend": 0.01,
    "tact": 0.02,
    "all-to-all": 0.05,
    "sig": 0.05,
    "flip-pair": 0.05,
}
# The default sinusoid hardly implants in a network of this size.
STRONGER: dict[str, dict[str, float]] = {"sig": {"delta": 80}}
SCARCE, MOST = 3, 0.05  # of so few digits three times the rate, up to so much
MARKS = {Severity.HIGH: "BLOCK", Severity.MEDIUM: "QUARANTINE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One case: what is drawn, what is planted."""

    name: str
    attack: str
    rate: float
    seed: int
    rows: int

    @property
    def key(self) -> str:
        """Names the case among the lines."""
        return f"{self.name}/{self.rows}/{self.attack}/{self.rate:g}/{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """What was drawn and planted, and what was kept aside."""

    pictures: sets.Pictures
    held_out: sets.Pictures
    sources: np.ndarray
    attack: str
    planted: Planted | None

    @property
    def cover(self) -> np.ndarray:
        """(n,), rows with the trigger and their own label: neither right nor wrong to hold."""
        return np.zeros(len(self.sources), bool) if self.planted is None else self.planted.cover

    @property
    def bad(self) -> np.ndarray:
        """(n,), the rows that mean harm."""
        return np.zeros(len(self.sources), bool) if self.planted is None else self.planted.planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--suite", choices=("cpu", "gpu"))
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--attacks", nargs="+")
    parser.add_argument("--rates", nargs="+", type=float)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--no-peers", action="store_true")
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Seed by seed, so that a run that is cut short has some of everything."""
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in given.sets or (["cifar10"] if given.suite == "gpu" else ["digits", "fashion"]):
            for attack, rate in planned(given, name):
                setting = Setting(
                    name=name, attack=attack, rate=rate, seed=seed, rows=given.rows or ROWS[name]
                )
                yield setting.key, partial(measured, setting, given)


def planned(given: argparse.Namespace, name: str) -> list[tuple[str, float]]:
    """The attacks and rates of a suite, the clean batch first."""
    if given.suite == "gpu" or given.rates:
        wanted = given.attacks or ["none", *EVERY]
        rates = given.rates or (0.003, 0.01, 0.05)
        pairs = [(attack, rate) for attack in wanted if attack != "none" for rate in rates]
    else:
        scale = SCARCE if name == "digits" else 1
        wanted = given.attacks or ["none", *CPU]
        pairs = [(a, round(min(CPU[a] * scale, MOST), 4)) for a in wanted if a != "none"]
    return [("none", 0.0), *pairs] if "none" in wanted else pairs


def measured(setting: Setting, given: argparse.Namespace) -> runs.Line:
    """One case from pictures to figures."""
    batch = drawn(setting, given.data)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "batch"
        batches.write(folder, batch.pictures, batch.sources)
        case = opened(folder, setting.seed, given.device)
        examinations, seconds = examined(case)
    verdict = judge(content_only(), case.snapshot.root, examinations)
    held = held_rows(examinations, len(batch.sources))
    line: dict[str, Any] = {
        "set": setting.name,
        "attack": setting.attack,
        "rate": setting.rate,
        "seed": setting.seed,
        "rows": len(batch.sources),
        "planted": int(batch.bad.sum()),
        "verdict": str(verdict.decision),
        "reasons": [f"{reason.rule}/{reason.code}: {reason.text}" for reason in verdict.reasons],
        **named(batch, examinations),
        **rated(held > 0, batch),
        "auroc": auroc(held, batch.bad),
        "rules": {e.rule: one_rule(e, batch) for e in examinations},
        **worth(batch, held > 0, setting.seed, given.device),
        "seconds": seconds,
    }
    if not given.no_peers and batch.bad.any():
        line["peers"] = beside(case, batch, setting)
    return line


def drawn(setting: Setting, data: Path | None) -> Batch:
    """Rows to train on and rows to ask about; the attack on the former."""
    rng = np.random.default_rng(setting.seed)
    whole = sets.load(setting.name, data)
    order = rng.permutation(len(whole.labels))
    pictures = whole.only(order[: setting.rows])
    held_out = whole.only(order[setting.rows :][:HELD_OUT])
    sources = batches.any_source(len(pictures.labels), rng)
    if setting.attack == "none":
        return Batch(
            pictures=pictures, held_out=held_out, sources=sources, attack="none", planted=None
        )
    planted = plant(
        pictures.pixels,
        pictures.labels,
        pictures.classes,
        setting.attack,
        setting.rate,
        seed=setting.seed,
        codec=pictures.codec,
        **STRONGER.get(setting.attack, {}),
    )
    if setting.seed % 2 == 0:
        sources = np.where(planted.planted, SINGLE_SOURCE, sources)
    changed = replace(pictures, pixels=planted.pixels, labels=planted.labels)
    return Batch(
        pictures=changed,
        held_out=held_out,
        sources=sources,
        attack=setting.attack,
        planted=planted,
    )


def opened(folder: Path, seed: int, device: str) -> Case:
    """The case of a dataset that lies there, as a scan makes it."""
    snapshot = take(folder).snapshot
    data = open_dataset(folder, [entry.path for entry in snapshot.files])
    return Case(snapshot=snapshot, roles=data.roles, opened=data, seed=seed, device=device)


def examined(case: Case) -> tuple[list[Examination], dict[str, float]]:
    """Every rule about pictures; and the seconds of each stage."""
    started = time.perf_counter()
    _ = case.images
    decoded = time.perf_counter()
    _ = case.image_features
    seconds = {"decode": decoded - started, "views": time.perf_counter() - decoded}
    policy = content_only()
    examinations = [run(rule, case, settings_of(policy, rule)) for rule in policy.rules]
    seconds |= {examination.rule: examination.run.seconds for examination in examinations}
    return examinations, {name: round(value, 3) for name, value in seconds.items()}


def content_only() -> Policy:
    """The default policy without the rules about bytes and tables."""
    full = guards.load_policy("default")
    rules = tuple(rule for rule in full.rules if rule not in TABULAR)
    return replace(full, admits=False, rules=rules, required=("quality",))


def held_rows(examinations: list[Examination], rows: int) -> np.ndarray:
    """(n,), the highest score that any rule gives a row that it holds; 0 for a row not held."""
    held = np.zeros(rows)
    for examination in examinations:
        for score in row_scores(examination):
            held[score.row] = max(held[score.row], score.score, 1e-6)
    return held


def row_scores(examination: Examination) -> tuple[Any, ...]:
    measured = getattr(examination.outcome, "measured", None)
    return () if measured is None else measured.row_scores


def rated(held: np.ndarray, batch: Batch) -> dict[str, float | None]:
    """Planted rows held, and clean rows held; cover rows count in neither."""
    bad = batch.bad
    return {
        "tpr": round(float(held[bad].mean()), 4) if bad.any() else None,
        "fpr": round(float(held[~bad & ~batch.cover].mean()), 5),
    }


def auroc(scores: np.ndarray, bad: np.ndarray) -> float | None:
    return round(float(roc_auc_score(bad, scores)), 4) if bad.any() else None


def named(batch: Batch, examinations: list[Examination]) -> dict[str, bool | None]:
    """Do the findings name the target class and the source, where there is one?"""
    findings = [f for e in examinations for f in e.findings if f.severity >= Severity.MEDIUM]
    goal = batch.planted.target if batch.planted else None
    single = batch.bad.any() and (batch.sources[batch.bad] == SINGLE_SOURCE).all()
    return {
        "target_named": None if goal is None else any(says(f, f"class-{goal}") for f in findings),
        "source_named": any(says(f, SINGLE_SOURCE) for f in findings) if single else None,
    }


def says(finding: Finding, name: str) -> bool:
    """Is `name` the subject, or among the evidence?"""
    told = [str(finding.subject.name), *(str(e.detail) for e in finding.evidence)]
    return told[0] == name or any(f"'{name}'" in text for text in told[1:])


def one_rule(examination: Examination, batch: Batch) -> dict[str, Any]:
    """What one rule alone would have said and held."""
    worst = max((finding.severity for finding in examination.findings), default=Severity.INFO)
    held = held_rows([examination], len(batch.sources)) > 0
    return {
        "outcome": type(examination.outcome).__name__.lower(),
        "verdict": MARKS.get(worst, "PASS"),
        "codes": sorted({f"{f.code}({f.subject.name})" for f in examination.findings}),
        **rated(held, batch),
        "only": int((held & batch.bad).sum()),
    }


def worth(batch: Batch, held: np.ndarray, seed: int, device: str) -> dict[str, float | None]:
    """Attack success and clean accuracy of a network, before and after the held rows are gone."""
    before = asked(batch, np.ones(len(held), bool), seed, device)
    after = asked(batch, ~held, seed, device) if held.any() else before
    return {
        "success": before[0],
        "success_after": after[0],
        "accuracy": before[1],
        "accuracy_after": after[1],
        "chance": chance(batch),
    }


def asked(batch: Batch, kept: np.ndarray, seed: int, device: str) -> tuple[float | None, float]:
    pictures, aside = batch.pictures, batch.held_out
    net = probe(pictures.pixels[kept], pictures.labels[kept], seed=seed + 7, device=device)
    accuracy = round(float((net.classify(aside.pixels) == aside.labels).mean()), 4)
    if batch.planted is None or CATALOGUE[batch.attack].trigger is None:
        return None, accuracy
    shown, wanted = batch.planted.stamped(aside.pixels, aside.labels)
    return round(float((net.classify(shown) == wanted).mean()), 4), accuracy


def chance(batch: Batch) -> float:
    return round(1 / batch.pictures.classes, 4)


def beside(case: Case, batch: Batch, setting: Setting) -> dict[str, Any]:
    """The peers on the same penultimate features, with their seconds."""
    features = case.image_features.layers[-1].astype(np.float32)
    labels = batch.pictures.labels
    asked_of = {
        "ART spectral": lambda: peers.art_spectral(features, labels, setting.rate),
        "ART clustering": lambda: peers.art_clustering(features, labels),
        "isolation forest": lambda: peers.isolation_forest(
            features, labels, setting.rate, setting.seed
        ),
    }
    if setting.attack.startswith("flip"):
        asked_of["cleanlab"] = lambda: peers.cleanlab_issues(features, labels, setting.seed)
    found = {}
    for name, ask in asked_of.items():
        started = time.perf_counter()
        held = ask()
        found[name] = {**rated(held, batch), "s": round(time.perf_counter() - started, 2)}
    return found


def tabulated(lines: list[runs.Line]) -> str:
    """The three tables: what we say, the peers beside it, and the ablation."""
    groups: dict[tuple[str, str, float], list[runs.Line]] = defaultdict(list)
    for line in lines:
        groups[line["set"], line["attack"], line["rate"]].append(line)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] != "none", item[0]))
    return "\n\n".join([ours(ordered), theirs(ordered), alone(ordered), ablation(lines)])


def ours(ordered: list[tuple[tuple[str, str, float], list[runs.Line]]]) -> str:
    head = (
        "set",
        "attack",
        "rate",
        "runs",
        "implanted",
        "success",
        "after",
        "accuracy",
        "after",
        "BLOCK / QUARANTINE",
        "target",
        "source",
        "TPR",
        "FPR",
        "AUROC",
        "s",
    )
    rows = []
    for (name, attack, rate), group in ordered:
        verdicts = [line["verdict"] for line in group]
        rows.append(
            (
                name,
                attack,
                f"{rate:.1%}",
                len(group),
                f"{sum(line['success'] >= IMPLANTED for line in group)}"
                if group[0]["success"] is not None
                else "-",
                mean(group, "success"),
                mean(group, "success_after"),
                mean(group, "accuracy"),
                mean(group, "accuracy_after"),
                f"{verdicts.count('BLOCK')} / {verdicts.count('QUARANTINE')}",
                share(group, "target_named"),
                share(group, "source_named"),
                mean(group, "tpr"),
                mean(group, "fpr", 4),
                mean(group, "auroc"),
                f"{np.mean([sum(line['seconds'].values()) for line in group]):.0f}",
            )
        )
    return runs.table(head, rows)


def theirs(ordered: list[tuple[tuple[str, str, float], list[runs.Line]]]) -> str:
    names = ("ART spectral", "ART clustering", "isolation forest", "cleanlab")
    rows = []
    for (name, attack, rate), group in ordered:
        if "peers" not in group[0]:
            continue
        cells = [f"{mean(group, 'tpr')} / {mean(group, 'fpr', 4)}"]
        for peer in names:
            told = [line["peers"][peer] for line in group if peer in line.get("peers", {})]
            cells.append(f"{mean(told, 'tpr')} / {mean(told, 'fpr', 4)}" if told else "-")
        rows.append((name, attack, f"{rate:.1%}", *cells))
    return runs.table(("set", "attack", "rate", "toadstone TPR / FPR", *names), rows)


def alone(ordered: list[tuple[tuple[str, str, float], list[runs.Line]]]) -> str:
    """The share of the planted rows that each rule alone holds, those that hold any."""
    lines = [line for _, group in ordered for line in group]
    rules = sorted({rule for line in lines for rule, told in line["rules"].items() if told["tpr"]})
    rows = []
    for (name, attack, rate), group in ordered:
        if attack != "none":
            told = [[line["rules"].get(rule, {}) for line in group] for rule in rules]
            rows.append((name, attack, f"{rate:.1%}", *(mean(one, "tpr") for one in told)))
    return runs.table(("set", "attack", "rate", *rules), rows)


def ablation(lines: list[runs.Line]) -> str:
    """For every rule: the cases it stops alone, and those that only it stops."""
    attacked = [line for line in lines if line["attack"] != "none" and counts(line)]
    clean = [line for line in lines if line["attack"] == "none"]
    rules = sorted({rule for line in lines for rule in line["rules"]})
    rows = []
    for rule in rules:
        stops = [line for line in attacked if stopped(line, {rule})]
        only = [line for line in stops if not stopped(line, set(rules) - {rule})]
        wrong = sum(stopped(line, {rule}) for line in clean)
        told = sorted({f"{line['set']} {line['attack']} {line['rate']:.1%}" for line in only})
        rows.append(
            (
                rule,
                f"{len(stops)} of {len(attacked)}",
                len(only),
                ", ".join(told) or "-",
                f"{wrong} of {len(clean)}",
            )
        )
    return runs.table(("rule", "stops alone", "only it stops", "which", "clean stopped"), rows)


def counts(line: runs.Line) -> bool:
    """Did the attack implant, or is there no success to ask for?"""
    return line["success"] is None or line["success"] >= IMPLANTED


def stopped(line: runs.Line, rules: set[str]) -> bool:
    return any(line["rules"][rule]["verdict"] != "PASS" for rule in rules & set(line["rules"]))


def mean(group: list[Any], name: str, digits: int = 2) -> str:
    values = [line[name] for line in group if line.get(name) is not None]
    return f"{np.mean(values):.{digits}f}" if values else "-"


def share(group: list[runs.Line], name: str) -> str:
    values = [line[name] for line in group if line[name] is not None]
    return f"{sum(values)}/{len(values)}" if values else "-"


if __name__ == "__main__":
    main()
