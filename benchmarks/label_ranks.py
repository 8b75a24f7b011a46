"""Which order of rows puts wrong labels first: by a model, by neighbours, or by both?

Sets: `flights` (6,000 rows of a month, late or not), `carriers` (2,000 of them, whose carrier is
the label: 10 and more classes), `digits` (1,797 rows of 64 numbers, ten classes), and with `--data`
the folder of `adult_train.parquet`, `adult` (6,000 rows drawn, two classes). Noise: `uniform`, 5 %
of the labels, each to any other; `pair`, of one class 20 % to one other (of two classes 10 %);
`source`, 20 % of the rows of one source, to any other (where no column says, one of four parts).

Orders: cleanlab's self-confidence and normalized margin on the out-of-fold probabilities that the
rules have, of one cut in folds; `stages`, the margin of the logits averaged over the stages of
those models, as the area under the margin is over the epochs of a network (Pleiss and others 2020),
here of rows that they did not see; `vote`, the share of 20 neighbours with another label in the
space of rule `cells`; and means of ranks. Told are average precision over all rows, the
precision among as many rows as labels are wrong, and the average precision among the rows that
confident learning flags, ranked among themselves, which is what the rule lists; means over the
seeds. Wrong labels that were in the data count as right.

    python benchmarks/label_ranks.py --out build/bench/label_ranks.jsonl [--seeds 20] [--data DIR]
    python benchmarks/label_ranks.py --table build/bench/label_ranks.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import runs

from guards.data import table_features
from guards.data.dataset import open_dataset
from guards.data.row_space import row_space
from guards.numerics.confidence import label_issues, normalized_margin
from guards.numerics.label_ranks import mean_rank, neighbour_vote

FLIGHTS = Path(__file__).parents[1] / "data_samples" / "flights"
FIRST_SEED = 100
NOISES = ("uniform", "pair", "source")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    runs.options(parser)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", nargs="+", default=["flights", "adult", "carriers", "digits"])
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Every seed by every set and noise, so that a run cut short has some of each."""
    for seed, name in product(range(FIRST_SEED, FIRST_SEED + given.seeds), given.sets):
        if name != "adult" or given.data is not None:
            for noise in NOISES:
                yield (
                    f"{name}/{noise}/{seed}",
                    lambda name=name, noise=noise, seed=seed: {
                        "set": name,
                        "noise": noise,
                        **judged(drawn(name, seed, given.data), noise, seed),
                    },
                )


def drawn(name: str, seed: int, data: Path | None) -> pl.DataFrame:
    """The rows of a set, with a column `label`, and perhaps `source`."""
    if name == "digits":
        from sklearn.datasets import load_digits

        found = load_digits()
        pixels = pl.DataFrame(found.data, schema=[f"x{place}" for place in range(64)])
        return pixels.with_columns(label=pl.Series(found.target).cast(pl.String))
    if name == "adult":
        whole = pl.read_parquet(next((data or Path()).rglob("adult_train.parquet")))
        chosen = whole.sample(6_000, seed=seed)
        return chosen if "label" in chosen.columns else chosen.rename({chosen.columns[-1]: "label"})
    months = sorted(path for path in FLIGHTS.iterdir() if path.is_dir())
    month = pl.read_parquet(months[seed % len(months)] / "*.parquet").drop("id")
    if name == "flights":
        return month
    return month.drop("label").rename({"carrier": "label"}).sample(2_000, seed=seed)


def judged(frame: pl.DataFrame, noise: str, seed: int) -> dict[str, Any]:
    """Average precision, and precision among as many as are wrong, of every order."""
    from sklearn.metrics import average_precision_score

    noisy, wrong = planted(frame, noise, np.random.default_rng([seed, NOISES.index(noise)]))
    scores, rows, flagged = scored(noisy, seed)
    bad, many = wrong[rows], int(wrong[rows].sum())
    listed = orders({name: score[flagged] for name, score in scores.items()})
    everywhere = orders(scores)
    first = {name: np.argsort(-score, kind="stable")[:many] for name, score in everywhere.items()}
    return {
        "wrong": many,
        "flagged": int(flagged.sum()),
        "ap": {name: float(average_precision_score(bad, s)) for name, s in everywhere.items()},
        "top": {name: float(bad[places].mean()) for name, places in first.items()},
        "listed": {
            name: float(average_precision_score(bad[flagged], s)) for name, s in listed.items()
        },
    }


def orders(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scores by themselves, and the mean ranks of some."""
    together = (
        ("margin", "vote"),
        ("margin", "stages", "vote"),
        ("self-confidence", "margin", "vote"),
    )
    return dict(scores) | {
        ", ".join(names): mean_rank(*(scores[name] for name in names)) for names in together
    }


def planted(
    frame: pl.DataFrame, noise: str, rng: np.random.Generator
) -> tuple[pl.DataFrame, np.ndarray]:
    """The rows with some labels changed, and which."""
    names, labels = np.unique(frame["label"].to_numpy().astype(str), return_inverse=True)
    many, rows = len(names), len(labels)
    if noise == "uniform":
        wrong = rng.random(rows) < 0.05
    elif noise == "pair":
        common = np.flatnonzero(np.bincount(labels) >= rows / (2 * many))
        wrong = (labels == rng.choice(common)) & (rng.random(rows) < (0.2 if many > 2 else 0.1))
    else:
        known = (
            frame["source"].to_numpy() if "source" in frame.columns else rng.integers(4, size=rows)
        )
        wrong = (known == rng.choice(np.unique(known))) & (rng.random(rows) < 0.2)
    steps = np.full(rows, rng.integers(1, many)) if noise == "pair" else rng.integers(1, many, rows)
    given = np.where(wrong, (labels + steps) % many, labels)
    return frame.with_columns(label=pl.Series(names[given])), wrong


def scored(frame: pl.DataFrame, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Every score, the most suspect highest; the global rows that they are of; who is flagged."""
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "rows.parquet")
        dataset = open_dataset(Path(folder), ["rows.parquet"])
        table, stages = looked_over(dataset, seed)
        space = row_space(dataset, seed=seed)
    labels = table.labels
    points = space.space[np.searchsorted(space.rows, table.rows)]
    everyone = np.arange(len(labels))
    own = table.probabilities[everyone, labels]
    scores = {
        "self-confidence": 1 - own,
        "margin": normalized_margin(labels, table.probabilities),
        "stages": stages,
        "vote": neighbour_vote(points, labels, everyone),
    }
    return scores, table.rows, label_issues(labels, table.probabilities)


def looked_over(dataset: Any, seed: int) -> tuple[table_features.TableFeatures, np.ndarray]:
    """The probabilities, and how far logits speak against the label, by the same models."""
    against = np.zeros(dataset.rows)
    table_features.REPEATS = 1  # orders are held against one another; a third of the time is enough
    ask, labels = table_features._ask, table_features.labelled(dataset).labels

    def asked(models: Any, held: np.ndarray, places: np.ndarray, table: Any, told: Any) -> None:
        ask(models, held, places, table, told)
        for fold, model in enumerate(models):
            inside = held[places] == fold
            numbers = np.where(model.blank, 0.0, table[inside])
            against[places[inside]] += against_label(model.fitted, numbers, labels[places[inside]])

    table_features._ask = asked
    try:
        table = table_features.table_features(dataset, seed=seed)
    finally:
        table_features._ask = ask
    return table, against[: len(labels)]


def against_label(model: Any, numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The best other logit less that of the label, a mean over the stages, (n,)."""
    stages, at = list(model.staged_decision_function(numbers)), np.arange(len(labels))
    total = np.zeros(len(labels))
    for stage in stages:
        logits = np.stack([-stage / 2, stage / 2], axis=1) if stage.ndim == 1 else stage.copy()
        own = logits[at, labels]
        logits[at, labels] = -np.inf
        total += logits.max(axis=1) - own
    mean: np.ndarray = total / len(stages)
    return mean


def tabulated(lines: list[runs.Line]) -> str:
    """One row for each set and noise, with both figures of every order."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in sorted(lines, key=lambda line: line["key"]):
        groups.setdefault((line["set"], line["noise"]), []).append(line)
    names = list(lines[0]["ap"])
    rows = []
    for (name, noise), held in groups.items():
        means = [
            [np.mean([line[figure][order] for line in held]) for figure in ("ap", "top", "listed")]
            for order in names
        ]
        wrong = f"{np.mean([line['wrong'] for line in held]):.0f}"
        rows.append(
            [
                name,
                noise,
                len(held),
                wrong,
                *(" / ".join(f"{value:.3f}" for value in told) for told in means),
            ]
        )
    return runs.table(["set", "noise", "seeds", "wrong", *names], rows)


if __name__ == "__main__":
    main()
