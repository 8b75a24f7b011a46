"""What the tests of the table rules share: months of flights, and cases made of frames."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.profile import Profile, build_profile, read_profile
from guards.provenance.snapshot import Snapshot

sys.path.append(str(Path(__file__).parent))
SAMPLES = Path(__file__).parents[3] / "data_samples"


@pytest.fixture(scope="session")
def flights_month() -> Callable[[int], pl.DataFrame]:
    def read(month: int) -> pl.DataFrame:
        folder = SAMPLES / "flights" / f"2013-{month:02d}"
        return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])

    return read


@pytest.fixture(scope="session")
def flights_profile() -> Profile:
    return read_profile(SAMPLES / "flights.reference.profile")


@pytest.fixture(scope="session")
def flights_contract() -> dict[str, Any]:
    return json.loads((SAMPLES / "flights.contract.json").read_text())


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    numbers = count()

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder

    return make


@pytest.fixture
def table_case(fresh: Callable[[], Path]) -> Callable[..., Case]:
    """Write frames as shards of one dataset and open it as a case."""

    def make(*frames: pl.DataFrame, **inputs: Any) -> Case:
        root = fresh()
        for number, frame in enumerate(frames):
            frame.write_parquet(root / f"{number}.parquet")
        names = [f"{number}.parquet" for number in range(len(frames))]
        dataset = open_dataset(root, names)
        return Case(snapshot=Snapshot(files=()), roles=dataset.roles, opened=dataset, **inputs)

    return make


@pytest.fixture
def profile_of(table_case: Callable[..., Case]) -> Callable[..., Profile]:
    def make(*frames: pl.DataFrame) -> Profile:
        return build_profile(table_case(*frames).dataset)

    return make
