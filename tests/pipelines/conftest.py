"""A deployment in a directory of its own: real flights, real keys, the real assets, run in process.

`world` starts with three signed batches and nothing done; `trained` is one in which everything has
been done once. Both are copies, so a test may do to them what an attacker would.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from guards.integrations.dagster import (
    Plan,
    Toadstone,
    guarded_dataset,
    guarded_model,
    guarded_training_set,
)
from guards.integrations.dagster.deployment import Deployment
from guards.provenance import trust
from guards.provenance.manifest import parse_name
from guards.provenance.signing import generate, load_private, load_public
from guards.publish import Claim, publish
from guards.verdict import load_policy
from pipelines.model import fit

REPOSITORY = Path(__file__).resolve().parents[2]
FLIGHTS = REPOSITORY / "data_samples" / "flights"
KEYS = ("2013-01", "2013-02", "2013-03")
ROWS = 400
POLICY = 'rules = ["integrity", "provenance", "quality"]\nrequired = ["integrity", "provenance"]\n'
WHO = {
    "producer": (("producer",), ("acme/flights",)),
    "scanner": (("scanner",), ("acme/*",)),
    "deriver": (("producer", "deriver"), ("acme/flights-training",)),
}
BATCH = ("raw", "snapshot", "verdict", "admitted")


@dataclass(frozen=True)
class World:
    """A deployment, an instance of Dagster, and what people do with them."""

    home: Path
    instance: dg.DagsterInstance

    @property
    def deployment(self) -> Deployment:
        return self.toadstone.deployment()

    @property
    def toadstone(self) -> Toadstone:
        return Toadstone(
            dataset="acme/flights",
            training="acme/flights-training",
            landing=str(self.home / "landing"),
            work=str(self.home / "work"),
            trust=str(self.home / "trust"),
            policy=str(self.home / "policy.toml"),
            scanner_key=str(self.key("scanner")),
            deriver_key=str(self.key("deriver")),
        )

    @property
    def plan(self) -> Plan:
        quick = dg.RetryPolicy(max_retries=2, delay=0)
        return Plan(rules=load_policy(self.home / "policy.toml").rules, retries=quick)

    def key(self, who: str) -> Path:
        return self.home / "keys" / who / "key.pem"

    def batch(self, key: str = KEYS[0]) -> Path:
        return self.home / "landing" / key

    def record(self, key: str = KEYS[0]) -> Path:
        return self.deployment.run(key) / "record.json"

    @property
    def log(self) -> Path:
        return self.deployment.ledger

    def models(self) -> list[dict[str, Any]]:
        found = sorted((self.home / "work" / "models").glob("*.json"))
        return [json.loads(path.read_bytes()) for path in found]

    def land(self, key: str, frame: pl.DataFrame, *, version: int = 1, **claim: Any) -> Path:
        """Put a batch there as a producer does: the files, then the signed manifest."""
        batch = self.batch(key)
        batch.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(batch / "part-0.parquet")
        name = parse_name(f"acme/flights/{key}")
        producer = load_private(self.key("producer"))
        publish(batch, Claim(name=name, version=version, **claim), producer)
        return batch

    def tamper(self, key: str = KEYS[0]) -> None:
        """Turn every label of a landed batch, without a new signature."""
        self.flip(self.batch(key) / "part-0.parquet")

    def materialize(
        self,
        *selected: str,
        partition: str | None = None,
        checks: bool = True,
        model: Any = fit,
        config: dict[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run the assets named, for real, as the UI would."""
        if partition is not None:
            self.instance.add_dynamic_partitions("batches", [partition])
        selection = dg.AssetSelection.assets(*selected)
        return dg.materialize(
            [
                *guarded_dataset(self.plan),
                guarded_training_set(self.plan),
                guarded_model(self.plan, model),
            ],
            selection=selection if checks else selection.without_checks(),
            resources={"toadstone": self.toadstone},
            run_config={"resources": config} if config else None,
            partition_key=partition,
            instance=self.instance,
            raise_on_error=False,
        )

    def judge(self, key: str = KEYS[0], **more: Any) -> dg.ExecuteInProcessResult:
        return self.materialize(*BATCH, partition=key, **more)

    def train(self, **more: Any) -> dg.ExecuteInProcessResult:
        return self.materialize("training_set", "trained_model", **more)

    def flights(self, key: str) -> pl.DataFrame:
        return flights(key)

    def made(self, result: dg.ExecuteInProcessResult) -> list[str]:
        """The assets that were materialised."""
        events = result.get_asset_materialization_events()
        return [event.asset_key.to_user_string() for event in events if event.asset_key]

    def refusal(self, result: dg.ExecuteInProcessResult, step: str) -> str:
        """Why a step refused; it must have failed, once, and not have been tried again."""
        assert not result.success
        assert step not in self.made(result)
        assert not [event for event in result.all_events if event.is_step_up_for_retry]
        [failure] = [e for e in result.all_events if e.is_step_failure and e.step_key == step]
        told = failure.step_failure_data.user_failure_data
        assert told is not None, failure.step_failure_data.error
        return str(told.description)

    def metadata(self, result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
        """What an asset showed."""
        [event] = [
            event
            for event in result.get_asset_materialization_events()
            if event.asset_key == dg.AssetKey(asset)
        ]
        return {name: value.value for name, value in event.materialization.metadata.items()}

    def flip(self, path: Path) -> None:
        """Turn the labels of one file, whoever owns it."""
        late = pl.col("label") == "late"
        turned = pl.when(late).then(pl.lit("on-time")).otherwise(pl.lit("late"))
        frame = pl.read_parquet(path).with_columns(turned.alias("label"))
        path.chmod(0o644)
        frame.write_parquet(path)


def flights(key: str) -> pl.DataFrame:
    """Some rows of one month of the samples."""
    return pl.read_parquet(FLIGHTS / key / "*.parquet").head(ROWS)


@pytest.fixture(scope="session")
def _landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("landed") / "world"
    for who in (*WHO, "stranger"):
        generate(home / "keys" / who)
    for index, (who, (roles, names)) in enumerate(WHO.items()):
        public = load_public(home / "keys" / who / "key.pub")
        key = trust.TrustedKey(key=public, roles=roles, names=names)
        (trust.add if index else trust.create)(home / "trust", key)
    (home / "policy.toml").write_text(POLICY)
    with dg.DagsterInstance.ephemeral() as instance:
        for key in KEYS:
            World(home, instance).land(key, flights(key))
    return home


@pytest.fixture(scope="session")
def _trained(_landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained") / "world"
    shutil.copytree(_landed, home)
    patch = pytest.MonkeyPatch()
    patch.setenv("TOADSTONE_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(home, instance)
        assert all(world.judge(key).success for key in KEYS)
        assert world.train().success
    patch.undo()
    return home


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made_here:
        yield made_here


@pytest.fixture
def world(_landed: Path, tmp_path: Path, instance: dg.DagsterInstance) -> World:
    """Three signed batches have landed, and nobody has looked yet."""
    shutil.copytree(_landed, tmp_path / "world")
    return World(tmp_path / "world", instance)


@pytest.fixture
def trained(_trained: Path, tmp_path: Path, instance: dg.DagsterInstance) -> World:
    """Everything was done once, and the model was trained."""
    shutil.copytree(_trained, tmp_path / "world")
    shutil.rmtree(tmp_path / "world" / "work" / "models")
    return World(tmp_path / "world", instance)
