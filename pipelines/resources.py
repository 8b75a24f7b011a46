"""Where this deployment has its data, its keys and its work.

Every path can be set in the environment, as `TOADSTONE_LANDING`, `TOADSTONE_WORK` and so on. What
stands here are the samples of the repository and their PUBLIC keys: good for looking, for nothing
else.
"""

from __future__ import annotations

import os
from pathlib import Path

from guards.integrations.dagster import Toadstone

HOME = Path(__file__).resolve().parent.parent
SAMPLES = HOME / "data_samples"


def setting(name: str, default: object) -> str:
    """What the environment says, or else the sample's."""
    return os.environ.get(f"TOADSTONE_{name}", str(default))


POLICY = setting("POLICY", SAMPLES / "policies" / "flights.toml")
TOADSTONE = Toadstone(
    dataset=setting("DATASET", "nyc/flights"),
    training=setting("TRAINING", "nyc/flights-training"),
    landing=setting("LANDING", SAMPLES / "flights"),
    work=setting("WORK", HOME / ".dagster" / "toadstone"),
    trust=setting("TRUST", SAMPLES / "trust"),
    policy=POLICY,
    scanner_key=setting("SCANNER_KEY", SAMPLES / "keys" / "scanner" / "key.pem"),
    deriver_key=setting("DERIVER_KEY", SAMPLES / "keys" / "deriver" / "key.pem"),
    root_digest=setting("ROOT_DIGEST", ""),
)
