"""Words that come in a burst: false alarms and power of `token-burst` on short messages.

Random splits of 5,574 messages (SMS Spam Collection, CC BY 4.0, from `--data`) into a reference and
a batch, halves and four fifths against one. Planted is one word that nobody wrote, into a share of
the batch's messages, in messages drawn at random: all of them then called spam (`spam`) or ham
(`ham`), or all of one of four sources and of any label (`source`), or of any label and no source
(`broad`: not to alarm). *Told* counts any finding with the word, *alarms* those that are MEDIUM.
`in order` are consecutive quarters, and eighths, of the collection, each against the one before it.

    python benchmarks/bursts.py --data DIR [--runs 100] [--power 50]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from guards.data.dataset import Dataset, open_dataset
from guards.data.profile import Profile, build_profile, observe
from guards.data.token_bursts import Limits, TokenBurst, token_bursts
from guards.provenance.roles import Roles

LIMITS = Limits(alpha=0.05, lift=5.0, rows=8, held=10_000)
SHARES = (0.005, 0.01, 0.02)
WORD = "zxqv"
FIRST = 100  # settings were chosen on other splits
SPLITS = {"half and half": 0.5, "four fifths and one": 0.8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--power", type=int, default=50)
    options = parser.parse_args()
    path = next(options.data.rglob("sms_spam.parquet"))
    messages = pl.read_parquet(path)
    sources = np.random.default_rng(0).integers(4, size=len(messages))
    messages = messages.with_columns(source=pl.Series([f"s{code}" for code in sources]))
    print("| split | planted | share | runs | told | alarms |\n|---|---|---|---|---|---|")
    for parts in (4, 8):
        show(f"{parts} parts in order", "nothing", 0.0, list(ordered(messages, parts)))
    for name, part in SPLITS.items():
        splits = [split(messages, part, FIRST + seed) for seed in range(options.runs)]
        show(name, "nothing", 0.0, [answered(batch, known) for known, batch in splits])
        for kind in ("spam", "ham", "source", "broad"):
            for share in SHARES:
                runs = [
                    answered(planted(batch, kind, share, seed), known, WORD)
                    for seed, (known, batch) in enumerate(splits[: options.power])
                ]
                show(name, kind, share, runs)


def ordered(messages: pl.DataFrame, parts: int) -> Iterator[tuple[bool, bool]]:
    """Each part against the one before it, as they stand in the collection."""
    cuts = [len(messages) * part // parts for part in range(parts + 1)]
    pieces = [messages[low:high] for low, high in pairwise(cuts)]
    for before, after in pairwise(pieces):
        yield answered(after, profiled(before))


def split(messages: pl.DataFrame, part: float, seed: int) -> tuple[Profile, pl.DataFrame]:
    order, cut = np.random.default_rng(seed).permutation(len(messages)), int(part * len(messages))
    return profiled(messages[order[:cut].tolist()]), messages[order[cut:].tolist()]


def planted(batch: pl.DataFrame, kind: str, share: float, seed: int) -> pl.DataFrame:
    """The word in so many messages, which then are of one label or of one source."""
    rng = np.random.default_rng([seed, 1])
    able = np.flatnonzero((batch["source"] == "s0").to_numpy()) if kind == "source" else len(batch)
    chosen = np.zeros(len(batch), bool)
    chosen[rng.choice(able, int(share * len(batch)), replace=False)] = True
    put = pl.when(pl.Series(chosen))
    marked = batch.with_columns(text=put.then(pl.col("text") + f" {WORD}").otherwise("text"))
    if kind not in ("spam", "ham"):
        return marked
    return marked.with_columns(label=put.then(pl.lit(kind)).otherwise("label"))


def answered(batch: pl.DataFrame, known: Profile, word: str = "") -> tuple[bool, bool]:
    """Whether any burst is told, of this word if one is given, and whether one is an alarm."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = opened(batch, Path(folder))
        found = token_bursts(dataset, observe(dataset, known), LIMITS)
    mine: list[TokenBurst] = [one for one in found if not word or one.token == word]
    return bool(mine), any(one.by for one in mine)


def profiled(messages: pl.DataFrame) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        return build_profile(opened(messages, Path(folder)))


def opened(messages: pl.DataFrame, folder: Path) -> Dataset:
    messages.write_parquet(folder / "a.parquet")
    return open_dataset(folder, ["a.parquet"], Roles(label="label", source="source", text="text"))


def show(split: str, kind: str, share: float, runs: list[tuple[bool, bool]]) -> None:
    told, alarms = (sum(column) for column in zip(*runs, strict=True))
    print(f"| {split} | {kind} | {share:.1%} | {len(runs)} | {told} | {alarms} |", flush=True)


if __name__ == "__main__":
    main()
