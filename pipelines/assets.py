"""The assets: flights as they land, what may be used of them, and a model of late arrivals."""

from __future__ import annotations

from guards.integrations.dagster import (
    guarded_dataset,
    guarded_model,
    guarded_training_set,
    plan_for,
)
from pipelines.model import fit
from pipelines.resources import POLICY

PLAN = plan_for(POLICY)
ASSETS = [*guarded_dataset(PLAN), guarded_training_set(PLAN), guarded_model(PLAN, fit)]
