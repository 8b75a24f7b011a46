"""How much of a batch `drift` shows to be unlike the reference: clean flights, and planted ones.

Clean: every month against the profile of the first three, and random halves of a month against each
other, blocks being runs of days. Planted into each later month: flights on a route never flown
(`route`), near copies of one flight (`copies`), flights in kilometres and slower, on all routes
(`spread`). Printed are the runs in which any share is claimed, the median claimed, and the runs in
which it was overstated; and how often the right source is named where the rows are of one.

Windows: the hour of departure as a moment. Clean months against all three and against each other
single month; one to four days in which every distance is in kilometres.

Seasons: half of the flights of a later month, a year before, are the earlier version, and the other
half is looked at: how many columns that moved from the first three months are told as seasonal,
with all distances a third longer this year, or a year ago as well
(what can be hidden so).

    python benchmarks/unlike.py [--seeds 8] [--halves 30]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from guards.checks import drift
from guards.data.case import Case
from guards.data.contamination import unlike_reference
from guards.data.dataset import Dataset, open_dataset
from guards.data.earlier import EarlierProfile, History
from guards.data.profile import Profile, build_profile, observe, read_profile
from guards.findings import Finding
from guards.provenance.manifest import Name
from guards.provenance.snapshot import Snapshot

SAMPLES = Path(__file__).parent.parent / "data_samples"
SHARES = (0.01, 0.02, 0.05)
LATER = (4, 5, 6)
Rng = np.random.Generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--halves", type=int, default=30)
    options = parser.parse_args()
    reference = read_profile(SAMPLES / "flights.reference.profile")
    print("| batch | planted | runs | claimed | median | overstated | jointly | median |")
    print("|---|---|---|---|---|---|---|---|")
    show("months", 0.0, [claimed(month(number), reference) for number in range(1, 7)])
    show("halves", 0.0, list(halves(options.halves)))
    for name, plant in (("route", route), ("copies", copies), ("spread", spread)):
        for share in SHARES:
            show(name, share, list(planted(plant, share, reference, options.seeds)))
    print("\n| rows of JFK on routes never flown | runs | named |\n|---|---|---|")
    for share in SHARES:
        print(f"| {share:.0%} | {options.seeds * 3} | {named(share, reference, options.seeds)} |")
    print("\n| windows of time | runs | alarms | right |\n|---|---|---|---|")
    print(f"| clean | {' | '.join(map(str, clean_windows()))} |")
    for days in (1, 2, 3, 4):
        print(f"| kilometres for {days} days | {' | '.join(map(str, spoilt_windows(days)))} |")
    print("\n| seasons | columns moved | told as seasonal | severe |\n|---|---|---|---|")
    for name, then, now in (("as it was", 1.0, 1.0), ("longer now", 1.0, 1.3), ("both", 1.3, 1.3)):
        print(f"| {name} | {' | '.join(map(str, seasons(then, now)))} |")


def halves(runs: int) -> Iterator[tuple[float, float]]:
    """A random half of a month, or of three, against the other half."""
    wholes = [pl.concat([month(number) for number in (1, 2, 3)]), *map(month, LATER)]
    for seed in range(runs):
        frame = wholes[seed % len(wholes)]
        first = np.random.default_rng(seed).permutation(len(frame)) < len(frame) // 2
        yield claimed(frame.filter(pl.Series(~first)), profiled(frame.filter(pl.Series(first))))


def planted(
    plant: Callable[[pl.DataFrame, int, Rng], pl.DataFrame],
    share: float,
    reference: Profile,
    seeds: int,
) -> Iterator[tuple[float, float]]:
    """So many rows of each later month are planted ones."""
    for number in LATER:
        for seed in range(seeds):
            rng = np.random.default_rng([seed, number])
            frame = month(number)
            rows = int(share * len(frame))
            gone = rng.choice(len(frame), rows, replace=False)
            rest = frame.with_row_index("place").filter(~pl.col("place").is_in(gone)).drop("place")
            strange = plant(frame[gone.tolist()], rows, rng).select(frame.columns)
            yield claimed(pl.concat([rest, strange]), reference)


def route(frame: pl.DataFrame, rows: int, rng: Rng) -> pl.DataFrame:
    return frame.with_columns(carrier=pl.lit("B6"), dest=pl.lit("ATL"))


def copies(frame: pl.DataFrame, rows: int, rng: Rng) -> pl.DataFrame:
    changes = {"distance": 20, "air_time": 5, "dep_delay": 3}
    return pl.concat([frame[:1]] * rows).with_columns(
        (pl.col(name) + pl.Series(rng.integers(-most, most + 1, rows))).cast(pl.Int16)
        for name, most in changes.items()
    )


def spread(frame: pl.DataFrame, rows: int, rng: Rng) -> pl.DataFrame:
    return frame.with_columns(
        (pl.col("distance") * 1.609).cast(pl.Int16), (pl.col("air_time") * 1.6).cast(pl.Int16)
    )


def claimed(frame: pl.DataFrame, reference: Profile) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        whole, joint = unlike_reference(observe(opened(frame, Path(folder)), reference))
    return whole.share, joint.share


def named(share: float, reference: Profile, seeds: int) -> int:
    """In how many runs JFK is named, and no other source, where its rows are strange."""
    right = 0
    for number in LATER:
        for seed in range(seeds):
            frame = month(number)
            able = np.flatnonzero((frame["source"] == "JFK").to_numpy())
            rng = np.random.default_rng([seed, number])
            rows = rng.choice(able, int(share * len(frame)), replace=False)
            put = pl.Series(np.isin(np.arange(len(frame)), rows))
            strange = {"carrier": "B6", "dest": "ATL"}
            frame = frame.with_columns(
                pl.when(put).then(pl.lit(value)).otherwise(name).alias(name)
                for name, value in strange.items()
            )
            told = [f.summary for f in findings(frame, reference) if f.code == "unlike-reference"]
            right += any("gather in source JFK" in summary for summary in told)
    return right


def clean_windows() -> tuple[int, int, str]:
    """Runs and alarms of clean months."""
    three = profiled(*(timed(number) for number in (1, 2, 3)))
    pairs = [(three, number) for number in range(1, 7)]
    single = {number: profiled(timed(number)) for number in range(1, 7)}
    pairs += [(single[a], b) for a in single for b in single if a != b]
    alarms = [bool(in_windows(timed(number), reference)) for reference, number in pairs]
    return len(alarms), sum(alarms), "-"


def spoilt_windows(days: int) -> tuple[int, int, int]:
    """Runs, alarms, and those that name the distance and nothing else."""
    reference = profiled(*(timed(number) for number in (1, 2, 3)))
    found = []
    for number in LATER:
        for first in (3, 8, 13, 18, 23):
            here = pl.col("when").dt.day().is_between(first, first + days - 1)
            metric = (pl.col("distance") * 1.609).cast(pl.Int16)
            frame = timed(number).with_columns(
                distance=pl.when(here).then(metric).otherwise("distance")
            )
            found.append({f.subject.name for f in in_windows(frame, reference)})
    return len(found), sum(map(bool, found)), sum(one == {"distance"} for one in found)


def seasons(then: float, now: float) -> tuple[int, str, str]:
    """Columns that moved in later months, and those told as seasonal, and as severe, by name."""
    reference = profiled(*(timed(number) for number in (1, 2, 3)))
    codes: dict[str, list[str]] = {}
    for number in LATER:
        frame = timed(number)
        first = pl.Series(np.random.default_rng(number).permutation(len(frame)) < len(frame) // 2)
        before, after = frame.filter(first), frame.filter(~first)
        before = before.with_columns(when=pl.col("when").dt.offset_by("-1y"))
        longer = [
            part.with_columns((pl.col("distance") * factor).cast(pl.Int16))
            for part, factor in ((before, then), (after, now))
        ]
        for finding in findings(longer[1], reference, history(profiled(longer[0]))):
            codes.setdefault(finding.code, []).append(finding.subject.name or "")
    moved = sum(len(codes.get(f"drift-{code}", [])) for code in ("broad", "severe", "seasonal"))
    told = [f"{len(codes.get(code, []))}: {', '.join(sorted(set(codes.get(code, []))))}"
            for code in ("drift-seasonal", "drift-severe")]  # fmt: skip
    return moved, told[0], told[1]


def history(profile: Profile) -> History:
    """A version that was admitted, of which nothing but the profile is known."""
    name = Name("acme/flights")
    version = EarlierProfile(
        name=name, version=1, root=profile.digest, record=profile.digest, profile=profile
    )
    return History(profiles=(version,))


def in_windows(frame: pl.DataFrame, reference: Profile) -> list[Finding]:
    return [f for f in findings(frame, reference) if f.code == "drift-in-window"]


def findings(
    frame: pl.DataFrame, reference: Profile, known: History | None = None
) -> tuple[Finding, ...]:
    """What the rule tells."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = opened(frame, Path(folder))
        case = Case(
            snapshot=Snapshot(files=()),
            roles=dataset.roles,
            opened=dataset,
            reference=reference,
            history=known or History(),
        )
        return drift.examine(case, drift.Settings()).findings


def timed(number: int) -> pl.DataFrame:
    """A month with its departures as moments, and no other calendar."""
    when = pl.datetime(2013, number, pl.col("day"), pl.col("hour"))
    return month(number).with_columns(when=when).drop("day", "weekday")


def profiled(*frames: pl.DataFrame) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        return build_profile(opened(pl.concat(frames), Path(folder)))


def month(number: int) -> pl.DataFrame:
    folder = SAMPLES / "flights" / f"2013-{number:02d}"
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])


def opened(frame: pl.DataFrame, folder: Path) -> Dataset:
    frame.write_parquet(folder / "a.parquet")
    return open_dataset(folder, ["a.parquet"])


def show(name: str, share: float, runs: list[tuple[float, float]]) -> None:
    whole, joint = (np.array(shares) for shares in zip(*runs, strict=True))
    print(
        f"| {name} | {share:.0%} | {len(runs)} | {(whole > 0).sum()} | {np.median(whole):.4f} "
        f"| {(whole > share).sum()} | {(joint > 0).sum()} | {np.median(joint):.4f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
