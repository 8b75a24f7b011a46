"""What runs by itself: a batch when it has landed, the training set and the model each night."""

from __future__ import annotations

import dagster as dg

from guards.integrations.dagster import landing_sensor
from pipelines.assets import PLAN

judge_batch = dg.define_asset_job(
    "judge_batch",
    selection=["raw", "snapshot", "verdict", "admitted"],
    description="One batch, from where it landed to the store, if it passes.",
)
train = dg.define_asset_job(
    "train",
    selection=["training_set", "trained_model"],
    description="Every admitted batch gated again, the whole judged, the model trained on it.",
)
nightly = dg.ScheduleDefinition(
    name="nightly_training", job=train, cron_schedule="0 3 * * *", execution_timezone="UTC"
)
new_batches = landing_sensor("judge_batch", PLAN.batches)
