"""Near copies of one text or picture in a batch: power by dose, and false alarms.

Two sets: the SMS Spam Collection (halves of 2,787 messages) and 6,000 pictures of Fashion-MNIST
(halves of 3,000). A trial splits the rows in halves at random: the reference, of which the rules
get the stored profile, and the batch, whose rows are label and text, or label and picture, and
nothing else. Planted are near copies of one row of the batch that take the place of others, which
keep their labels: of a text of eight words and more, in which `words` words of each copy are
exchanged for others of the set; of a picture, moved by at most a pixel each way, with noise of
four grey levels. `none` plants nothing.

*Alarm* is QUARANTINE by `crowds` or `drift`; precision and recall are of the rows held, medians
over alarms. Nothing was chosen on these trials.

    python benchmarks/copies.py --data DATA --out lines.jsonl
    python benchmarks/copies.py --table lines.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import batches
import numpy as np
import polars as pl
import runs
import sets

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.profile import Profile, build_profile
from guards.findings import Severity
from guards.numerics.intervals import clopper_pearson
from guards.provenance.snapshot import Snapshot

DOSES = (0.005, 0.01, 0.02, 0.05)
PICTURES, WORDS = 6_000, (0, 1, 2)
RULES = ("crowds", "drift")
NOISE = 4.0
_LEAST_WORDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    runs.options(parser)
    parser.add_argument("--first", type=int, default=100, help="the first trial")
    parser.add_argument("--trials", type=int, default=20, help="of each kind and dose")
    parser.add_argument("--nulls", type=int, default=100)
    parser.add_argument("--sets", nargs="+", default=["sms", "fashion"])
    parser.add_argument("--doses", nargs="+", type=float, default=DOSES)
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Trial by trial, so that a run that is cut short has some of everything."""
    for trial in range(max(given.trials, given.nulls)):
        for name in given.sets:
            kinds = WORDS if name == "sms" else (0,)
            planted = [(words, dose) for words in kinds for dose in given.doses]
            for words, dose in [(0, 0.0), *planted]:
                if trial < (given.trials if dose else given.nulls):
                    key = f"{name} {words} {dose} {given.first + trial}"
                    yield key, partial(measured, name, words, dose, given.first + trial, given.data)


def measured(name: str, words: int, dose: float, trial: int, data: Path) -> runs.Line:
    """One trial: what the rules say of the batch."""
    rng = np.random.default_rng([trial, 11])
    rows = texts(data) if name == "sms" else pictures(trial)
    rows = rows[rng.permutation(len(rows))]
    reference, batch = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    planted = np.sort(rng.permutation(len(batch))[: round(dose * len(batch))])
    if len(planted):
        column = "text" if name == "sms" else "image"
        copies = near_texts(batch, words, len(planted), rng) if name == "sms" else []
        copies = copies or near_pictures(batch, len(planted), rng)
        batch = batch.with_columns(batch[column].scatter(planted, pl.Series(copies)))
    held, codes = looked_at(profile_of(reference), batch)
    mine = set(planted.tolist())
    return {
        "set": name,
        "words": words,
        "dose": dose,
        "alarm": bool(codes),
        "codes": codes,
        "precision": len(held & mine) / len(held) if held else None,
        "recall": len(held & mine) / len(mine) if mine else None,
    }


def texts(data: Path) -> pl.DataFrame:
    frame = pl.read_parquet(next(data.rglob("sms_spam.parquet")))
    text, label = ("sms" if "sms" in frame.columns else "text"), "label"
    return frame.select(pl.col(text).alias("text"), pl.col(label).cast(pl.String))


def pictures(trial: int) -> pl.DataFrame:
    whole = sets.load("fashion")
    drawn = np.random.default_rng([trial, 3]).permutation(len(whole.labels))[:PICTURES]
    some = whole.only(np.sort(drawn))
    stored = batches.encoded(some.pixels, some.codec)
    return pl.DataFrame({"image": stored, "label": [f"class-{label}" for label in some.labels]})


def near_texts(batch: pl.DataFrame, words: int, many: int, rng: np.random.Generator) -> list[str]:
    """Copies of one text of eight words and more, some words of each exchanged for others."""
    read = [text.split() for text in batch["text"].to_list()]
    long = [text for text in read if len(text) >= _LEAST_WORDS]
    one, known = long[rng.integers(len(long))], [word for text in read for word in text]
    copies = []
    for _ in range(many):
        copy = list(one)
        for place in rng.permutation(len(copy))[:words]:
            copy[place] = known[rng.integers(len(known))]
        copies.append(" ".join(copy))
    return copies


def near_pictures(batch: pl.DataFrame, many: int, rng: np.random.Generator) -> list[bytes]:
    """Copies of one picture, each moved by a pixel at most, with its own noise."""
    import io

    from PIL import Image

    stored = batch["image"][int(rng.integers(len(batch)))]
    one = np.asarray(Image.open(io.BytesIO(stored)).convert("L"), np.float64)
    moved = [np.roll(one, rng.integers(-1, 2, 2), (0, 1)) for _ in range(many)]
    noisy = [np.clip(np.rint(m + rng.normal(0, NOISE, m.shape)), 0, 255) for m in moved]
    return batches.encoded(np.array(noisy).astype(np.uint8)[:, None], "png")


def profile_of(frame: pl.DataFrame) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "a.parquet")
        return build_profile(open_dataset(Path(folder), ["a.parquet"]))


def looked_at(reference: Profile, batch: pl.DataFrame) -> tuple[set[int], list[str]]:
    """The rows that the rules hold, and the codes of their alarms."""
    held: set[int] = set()
    codes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        batch.write_parquet(Path(folder) / "a.parquet")
        opened = open_dataset(Path(folder), ["a.parquet"])
        case = Case(
            snapshot=Snapshot(files=()), roles=opened.roles, opened=opened, reference=reference
        )
        for rule in RULES:
            found = run(rule, case)
            alarms = [f.code for f in found.findings if f.severity >= Severity.MEDIUM]
            if alarms:
                codes += alarms
                held |= {score.row for score in found.outcome.measured.row_scores}  # type: ignore[union-attr]
    return held, codes


def tabulated(lines: list[runs.Line]) -> str:
    """The table, planted lines first."""
    groups: dict[tuple[str, int, float], list[runs.Line]] = defaultdict(list)
    for line in lines:
        groups[line["set"], line["words"], line["dose"]].append(line)
    rows = []
    for (name, words, dose), some in sorted(
        groups.items(), key=lambda item: (-item[0][2] > -1e-9, item[0])
    ):
        hits = [line for line in some if line["alarm"]]
        low, high = clopper_pearson(len(hits), len(some), 0.95)
        shown = [
            f"{np.median([line[what] for line in hits if line[what] is not None]):.2f}"
            if hits and dose
            else ""
            for what in ("precision", "recall")
        ]
        rows.append(
            (name, words, f"{dose:.1%}", len(some), len(hits), f"{low:.3f} to {high:.3f}", *shown)
        )
    return runs.table(
        ("set", "words", "dose", "runs", "alarm", "95 %", "precision", "recall"), rows
    )


if __name__ == "__main__":
    main()
