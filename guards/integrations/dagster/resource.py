"""The Dagster resource: a deployment as people configure it, in plain strings."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from guards.integrations.dagster.deployment import Deployment
from guards.provenance.manifest import parse_name


class Toadstone(dg.ConfigurableResource[Any]):
    """Where the data lands, where the work is kept, and whose word counts."""

    dataset: str = Field(description="owner/dataset; each batch is one partition of it")
    training: str = Field(description="owner/dataset under which training sets are signed")
    landing: str = Field(description="the directory in which batches land, manifests beside them")
    work: str = Field(description="runs, the store, the ledger, the state and the models")
    trust: str = Field(description="the verifier's trust directory")
    policy: str = Field(description="the verifier's policy: a built-in name or a TOML file")
    scanner_key: str = Field(description="PEM; signs records and the ledger")
    deriver_key: str = Field(description="PEM; signs the claim on a training set")
    root_digest: str = Field(default="", description="no other trust than this: `trust show`")

    def get_resource_definition(self) -> dg.ResourceDefinition:  # type: ignore[override]
        """This very object: whoever may start a run may not choose whose word counts in it.

        Dagster would let the run's own configuration name another trust, policy or key.
        """
        return _fixed(self)

    def deployment(self) -> Deployment:
        """The same as values that the library works with."""
        return Deployment(
            dataset=parse_name(self.dataset),
            training=parse_name(self.training),
            landing=Path(self.landing),
            work=Path(self.work),
            trust=Path(self.trust),
            policy=self.policy,
            scanner_key=Path(self.scanner_key),
            deriver_key=Path(self.deriver_key),
            root_digest=self.root_digest,
        )


@cache
def _fixed(resource: Toadstone) -> dg.ResourceDefinition:
    """A resource that takes no configuration; Dagster wants the same one each time it asks."""
    return dg.ResourceDefinition(
        resource_fn=lambda context: resource, config_schema={}, description=Toadstone.__doc__
    )
