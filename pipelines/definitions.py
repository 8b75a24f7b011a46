"""What Dagster loads: `dagster dev -w workspace.yaml`, or `dagster dev` from pyproject.toml."""

from __future__ import annotations

import dagster as dg

from pipelines.assets import ASSETS
from pipelines.automation import judge_batch, new_batches, nightly, train
from pipelines.resources import TOADSTONE

defs = dg.Definitions(
    assets=ASSETS,
    jobs=[judge_batch, train],
    schedules=[nightly],
    sensors=[new_batches],
    resources={"toadstone": TOADSTONE},
    # A new Python for every step would cost more than the steps do.
    executor=dg.in_process_executor,
)
