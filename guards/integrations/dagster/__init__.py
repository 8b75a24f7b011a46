"""Dagster assets that no run can walk around.

    raw -> snapshot -> verdict (its checks are the examinations) -> admitted     per batch
    admitted, all of them -> training_set -> trained_model                       once a day

Dagster's own blocking checks stop the rest of one run; a later run of a downstream asset alone,
or a job without checks, goes past them. So nothing here relies on them: `admitted`, `training_set`
and `trained_model` each prove the signed record for exactly the bytes at hand, and are denied
without it. A green `verdict` says that somebody judged; only a green `admitted` says PASS. ::

    plan = plan_for("default")
    defs = dg.Definitions(
        assets=[*guarded_dataset(plan), guarded_training_set(plan), guarded_model(plan, fit)],
        resources={"toadstone": Toadstone(dataset="acme/flights", ...)},
    )
"""

from __future__ import annotations

from guards.gate import Admitted
from guards.integrations.dagster.assets import (
    Plan,
    guarded_dataset,
    guarded_model,
    guarded_training_set,
    plan_for,
)
from guards.integrations.dagster.deployment import Deployment
from guards.integrations.dagster.landing import landing_sensor
from guards.integrations.dagster.resource import Toadstone

__all__ = [
    "Admitted",
    "Deployment",
    "Plan",
    "Toadstone",
    "guarded_dataset",
    "guarded_model",
    "guarded_training_set",
    "landing_sensor",
    "plan_for",
]
