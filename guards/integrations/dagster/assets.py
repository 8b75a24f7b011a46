"""The factories: a guarded dataset, its training set, and a model that reads through the gate."""

# No postponed annotations here: Dagster reads those of `context` and the resource as objects.

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from guards.digest import Digest, canonical_json
from guards.errors import REFUSALS, GateRefused, NothingToExamine
from guards.files import write_atomically
from guards.gate import Admitted
from guards.integrations.dagster import deployment as work
from guards.integrations.dagster.landing import look
from guards.integrations.dagster.resource import Toadstone
from guards.integrations.dagster.shown import (
    admitted_metadata,
    check_results,
    snapshot_metadata,
    verdict_metadata,
)
from guards.provenance.snapshot import take
from guards.scan import Scanned
from guards.verdict import load_policy

Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]
Fit = Callable[[Admitted], Mapping[str, Any]]
ADMITTED = dg.AssetKey("admitted")
VERDICT = dg.AssetKey("verdict")
TRAINING_SET = dg.AssetKey("training_set")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the assets of one guarded dataset share.

    `rules` are shown as asset checks: those of the policy. `pool` bounds how many examinations
    run at once, which is what a GPU wants. A refusal is final; only what broke is tried again.
    """

    rules: tuple[str, ...]
    batches: dg.DynamicPartitionsDefinition = field(
        default_factory=lambda: dg.DynamicPartitionsDefinition(name="batches")
    )
    retries: dg.RetryPolicy = field(
        default_factory=lambda: dg.RetryPolicy(
            max_retries=2, delay=1, backoff=dg.Backoff.EXPONENTIAL
        )
    )
    pool: str = "gpu"


def plan_for(policy: str) -> Plan:
    """The plan for a policy, a built-in name or a TOML file: its rules become the checks."""
    return Plan(rules=load_policy(policy).rules)


def guarded_dataset(plan: Plan) -> list[dg.AssetsDefinition]:
    """The four assets of every batch: `raw`, `snapshot`, `verdict`, `admitted`."""
    return [_raw(plan), _snapshot(plan), _verdict(plan), _admitted(plan)]


def guarded_training_set(plan: Plan) -> dg.AssetsDefinition:
    """All admitted batches as one dataset, signed, scanned and gated; green only on PASS."""

    @dg.multi_asset(
        name="training_set",
        specs=[
            dg.AssetSpec(
                TRAINING_SET,
                deps=[ADMITTED],
                group_name="training",
                description="Every admitted batch, proved again, and judged as a whole.",
            )
        ],
        check_specs=_check_specs(plan, TRAINING_SET, None),
        can_subset=True,
        pool=plan.pool,
        retry_policy=plan.retries,
    )
    def training_set(context: dg.AssetExecutionContext, toadstone: Toadstone) -> Events:
        place = toadstone.deployment()
        with _final():
            assembled = work.assemble_training_set(place)
            scanned = work.examine_training_set(place)
        yield from _selected_checks(context, scanned, TRAINING_SET, plan.rules)
        with _final():
            admitted = work.admit_training_set(place)
        if TRAINING_SET in context.selected_asset_keys:
            yield _training_result(assembled, scanned, admitted)

    return training_set


def guarded_model(plan: Plan, fit: Fit) -> dg.AssetsDefinition:
    """The model that `fit` makes of the admitted training set, which is all that it is given.

    `fit` returns JSON; its `metrics` are shown. What it was trained on is written beside them.
    """

    @dg.asset(
        name="trained_model",
        deps=[TRAINING_SET],
        group_name="model",
        description="Trained on what passed, read through the gate, and on nothing else.",
        retry_policy=plan.retries,
    )
    def trained_model(toadstone: Toadstone) -> dg.MaterializeResult[Any]:
        place = toadstone.deployment()
        with _final():
            admitted = work.admit_training_set(place)
            fitted = dict(fit(admitted))
        document = {**fitted, "trained_on": _lineage(admitted)}
        path = place.work / "models" / f"{admitted.record.root.short}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, canonical_json(document) + b"\n")
        work.record_model(place, path, admitted)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(Digest.of(path.read_bytes()).hex),
            metadata={
                **fitted.get("metrics", {}),
                **admitted_metadata(admitted),
                "model": dg.MetadataValue.path(path),
            },
        )

    return trained_model


def _raw(plan: Plan) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=plan.batches,
        group_name="landed",
        description="The batch as it landed: in quarantine, vouched for by nobody.",
        retry_policy=plan.retries,
    )
    def raw(context: dg.AssetExecutionContext, toadstone: Toadstone) -> dg.MaterializeResult[Any]:
        landed = look(toadstone.deployment().batch(context.partition_key))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(landed.fingerprint),
            metadata={
                "path": dg.MetadataValue.path(landed.path),
                "manifest": dg.MetadataValue.path(landed.manifest),
                "files": len(landed.sizes),
                "bytes": sum(landed.sizes.values()),
            },
        )

    return raw


def _snapshot(plan: Plan) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=plan.batches,
        deps=["raw"],
        group_name="landed",
        description="The same bytes by name: one root digest over every file.",
        retry_policy=plan.retries,
    )
    def snapshot(
        context: dg.AssetExecutionContext, toadstone: Toadstone
    ) -> dg.MaterializeResult[Any]:
        with _final():
            walked = take(toadstone.deployment().batch(context.partition_key))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(walked.snapshot.root.hex),
            metadata=snapshot_metadata(walked),
        )

    return snapshot


def _verdict(plan: Plan) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="verdict",
        specs=[
            dg.AssetSpec(
                VERDICT,
                deps=["snapshot"],
                group_name="judged",
                partitions_def=plan.batches,
                description="What was found and what follows, signed. Green is judged, not PASS.",
            )
        ],
        check_specs=_check_specs(plan, VERDICT, plan.batches),
        can_subset=True,  # so that a run without checks still examines and judges
        pool=plan.pool,
        retry_policy=plan.retries,
    )
    def verdict(context: dg.AssetExecutionContext, toadstone: Toadstone) -> Events:
        with _final():
            scanned = work.examine_batch(toadstone.deployment(), context.partition_key)
        if VERDICT in context.selected_asset_keys:
            yield dg.MaterializeResult(
                asset_key=VERDICT,
                data_version=dg.DataVersion(_record_digest(scanned)),
                metadata=verdict_metadata(scanned),
            )
        yield from _selected_checks(context, scanned, VERDICT, plan.rules)

    return verdict


def _admitted(plan: Plan) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=plan.batches,
        deps=[VERDICT],
        group_name="admitted",
        description="The bytes that passed, in the read-only store. It exists only on PASS.",
        retry_policy=plan.retries,
    )
    def admitted(
        context: dg.AssetExecutionContext, toadstone: Toadstone
    ) -> dg.MaterializeResult[Any]:
        with _final():
            let_in = work.admit_batch(toadstone.deployment(), context.partition_key)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(let_in.record.root.hex),
            metadata={
                **admitted_metadata(let_in),
                "store": dg.MetadataValue.path(let_in.root),
            },
        )

    return admitted


def _check_specs(
    plan: Plan, asset: dg.AssetKey, batches: dg.DynamicPartitionsDefinition | None
) -> list[dg.AssetCheckSpec]:
    with warnings.catch_warnings():
        # A preview in Dagster 1.13; without it a result does not say which batch it is about.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(rule, asset=asset, blocking=True, partitions_def=batches)
            for rule in plan.rules
        ]


def _selected_checks(
    context: dg.AssetExecutionContext, scanned: Scanned, asset: dg.AssetKey, rules: Sequence[str]
) -> Iterator[dg.AssetCheckResult]:
    selected = {key.name for key in context.selected_asset_check_keys}
    yield from check_results(scanned, asset, [rule for rule in rules if rule in selected])


def _training_result(
    assembled: work.Assembled, scanned: Scanned, admitted: Admitted
) -> dg.MaterializeResult[Any]:
    collection = assembled.collection
    members = [
        {"name": str(m.name), "version": m.version, "root": str(m.snapshot.root)}
        for m in collection.members
    ]
    return dg.MaterializeResult(
        asset_key=TRAINING_SET,
        data_version=dg.DataVersion(admitted.record.root.hex),
        metadata={
            **verdict_metadata(scanned),
            **admitted_metadata(admitted),
            "collection": str(collection.root),
            "members": dg.MetadataValue.json(members),
            "members_count": len(members),
            "left_out": dg.MetadataValue.json(list(assembled.left_out)),
        },
    )


def _lineage(admitted: Admitted) -> dict[str, Any]:
    record = admitted.record
    return {
        "name": str(record.name),
        "version": record.version,
        "root": str(record.root),
        "policy": str(record.policy),
        "manifest": str(record.manifest),
    }


def _record_digest(scanned: Scanned) -> str:
    return Digest.of(scanned.record_path.read_bytes()).hex


@contextmanager
def _final() -> Iterator[None]:
    """A refusal is an answer: it fails the step for good, with every reason."""
    try:
        yield
    except GateRefused as refused:
        raise _failure(refused, refused.reasons) from refused
    except (*REFUSALS, NothingToExamine) as refused:
        raise _failure(refused, (str(refused),)) from refused


def _failure(error: Exception, reasons: Sequence[str]) -> dg.Failure:
    return dg.Failure(
        description=f"refused: {error}",
        metadata={"reasons": dg.MetadataValue.json(list(reasons))},
        allow_retries=False,
    )
