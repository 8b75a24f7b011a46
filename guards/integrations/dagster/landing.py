"""What lies in the landing directory, and the sensor that asks for runs of it.

A batch is a directory; its signed manifest, `BATCH.manifest.json` beside it, is written last and
says that it is whole. Until the files have the sizes that the manifest names a batch counts as
half-landed, but not for ever: once nothing has moved for a minute it is judged as it is, so that
a truncated batch is told as such and not overlooked. Nothing here is believed; the manifest's
signature is checked by the scan.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

import dagster as dg

from guards.digest import digest_json
from guards.errors import REFUSALS, UsageError
from guards.integrations.dagster.deployment import BATCH, Deployment
from guards.integrations.dagster.resource import Toadstone
from guards.provenance.listing import listing_path, manifest_path, read_claim
from guards.provenance.manifest import parse
from guards.provenance.signing import parse_envelope
from guards.text import printable

PATIENCE_NS = 60 * 10**9
PER_TICK = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """One batch as it lies there: size and change time of each file, the manifest's too."""

    path: Path
    sizes: dict[str, int]
    changed: dict[str, int]
    manifest: Path

    @property
    def fingerprint(self) -> str:
        """Changes when any file is written, added or removed; it proves nothing."""
        return digest_json([self.sizes, self.changed]).hex

    @property
    def newest(self) -> int:
        """When it last changed, in nanoseconds."""
        return max(self.changed.values(), default=0)


def look(path: Path) -> Landed:
    """What lies at a landed batch, from the directory alone; links are not followed."""
    manifest = manifest_path(path)
    found = {str(file.relative_to(path)): file.lstat() for file in _files(path)}
    claim = (manifest, listing_path(manifest))
    beside = {path.name: path.lstat() for path in claim if path.is_file()}
    return Landed(
        path=path,
        sizes={name: status.st_size for name, status in found.items()},
        # The change time, unlike the modification time, is not the writer's to choose.
        changed={name: status.st_ctime_ns for name, status in {**beside, **found}.items()},
        manifest=manifest,
    )


def waits_for(landed: Landed, now_ns: int) -> str:
    """Why a batch is not looked at yet, or nothing."""
    if not BATCH.fullmatch(landed.path.name):
        return "its name must be of a-z, 0-9, and _ . - between them"
    try:
        signed = read_claim(landed.manifest)
        if signed is None:
            return f"there is no {landed.manifest.name} yet"
        claimed = parse(parse_envelope(signed)).snapshot.files
    except (*REFUSALS, UsageError):
        return ""  # a broken manifest will not mend itself: let the scan tell
    whole = {entry.path: entry.size for entry in claimed} == landed.sizes
    still = now_ns - landed.newest >= PATIENCE_NS
    return "" if whole or still else "its files are not yet those of its manifest"


def landing_sensor(job: str, batches: dg.DynamicPartitionsDefinition) -> dg.SensorDefinition:
    """A sensor that registers new batches as partitions and asks for a run of `job` for each."""

    @dg.sensor(
        job_name=job,
        name="new_batches",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sees batches that have landed with their manifest, and has them judged.",
    )
    def new_batches(context: dg.SensorEvaluationContext, toadstone: Toadstone) -> dg.SensorResult:
        return evaluate(toadstone.deployment(), batches, context.cursor, time_ns())

    return new_batches


def evaluate(
    deployment: Deployment,
    batches: dg.DynamicPartitionsDefinition,
    cursor: str | None,
    now_ns: int,
) -> dg.SensorResult:
    """One tick: whatever changed since the cursor, and is whole, is to be judged."""
    seen: dict[str, str] = json.loads(cursor or "{}")
    waiting: list[str] = []
    fresh: dict[str, str] = {}
    for landed in _batches(deployment.landing):
        key = landed.path.name
        if why := waits_for(landed, now_ns):
            waiting.append(f"{printable(key)}: {why}")
        elif seen.get(key) != landed.fingerprint and len(fresh) < PER_TICK:
            fresh[key] = landed.fingerprint
    told = "; ".join(waiting) or "nothing new has landed"
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{key}@{mark}", partition_key=key) for key, mark in fresh.items()
        ],
        dynamic_partitions_requests=[batches.build_add_request(list(fresh))] if fresh else [],
        cursor=json.dumps({**seen, **fresh}),
        skip_reason=None if fresh else dg.SkipReason(told),
    )


def _batches(landing: Path) -> Iterator[Landed]:
    if not landing.is_dir():
        return
    for path in sorted(landing.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield look(path)


def _files(path: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(path):
        yield from (Path(directory, name) for name in sorted(names))
