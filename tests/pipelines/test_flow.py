"""The assets run for real, in process: what is made, what is shown, what is tried again."""

from __future__ import annotations

import json
import shutil
import stat

import dagster as dg
import polars as pl
import pytest

from guards.lineage import lineage
from guards.provenance import ledger
from guards.provenance.collection import Collection, Member
from guards.provenance.manifest import parse, parse_name
from guards.provenance.signing import parse_envelope
from guards.provenance.snapshot import take
from guards.provenance.trust import load
from guards.publish import manifest_path

FIRST, SECOND, THIRD = "2013-01", "2013-02", "2013-03"


def test_a_clean_batch_is_admitted_to_a_read_only_store(world):
    result = world.judge()
    assert result.success
    assert world.made(result) == ["raw", "snapshot", "verdict", "admitted"]
    store = world.deployment.store / f"sha256-{world.metadata(result, 'admitted')['root'][7:]}"
    assert take(store).snapshot == take(world.batch()).snapshot
    files = [path for path in store.rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o444]


def test_every_rule_is_a_check_with_its_reason_and_numbers(world):
    result = world.judge()
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert tuple(checks) == world.plan.rules
    assert {check.partition for check in checks.values()} == {FIRST}
    assert all(check.passed for check in checks.values())
    assert checks["quality"].description == "looked, and found nothing"
    shown = checks["quality"].metadata
    assert shown["findings"].value == 0
    assert shown["seconds"].value >= 0
    assert any(
        isinstance(value.value, int | float) for name, value in shown.items() if "row" in name
    )


def test_what_the_pages_show_of_a_batch(world):
    result = world.judge()
    root = str(take(world.batch()).snapshot.root)
    verdict = world.metadata(result, "verdict")
    assert (verdict["decision"], verdict["root"], verdict["version"]) == ("PASS", root, 1)
    assert verdict["record"] == str(world.record())
    assert world.metadata(result, "snapshot")["root"] == root
    assert world.metadata(result, "raw")["files"] == 1
    versions = {
        event.asset_key.to_user_string(): event.materialization.tags["dagster/data_version"]
        for event in result.get_asset_materialization_events()
    }
    assert versions["snapshot"] == versions["admitted"] == root.removeprefix("sha256:")
    assert len(versions["raw"]) == 64


def test_reasons_name_the_file_and_what_to_compare(world):
    world.tamper()
    verdict = world.metadata(world.judge(), "verdict")
    assert verdict["decision"] == "BLOCK"
    assert any("part-0.parquet" in reason for reason in verdict["reasons"])
    assert verdict["findings_count"] == len(verdict["findings"].records) == 1


def test_what_is_only_noted_is_told_and_stops_nothing(world):
    policy = world.home / "policy.toml"
    policy.write_text(policy.read_text() + 'quarantine_at = "high"\n')
    frame = world.flights(FIRST)
    world.land(FIRST, frame.vstack(frame.head(40)), version=2)
    result = world.judge()
    assert result.success
    [check] = [c for c in result.get_asset_check_evaluations() if c.check_name == "quality"]
    assert check.passed
    assert check.description.startswith("noted: ")


def test_the_model_is_trained_on_exactly_the_admitted_batches(world):
    for key in (FIRST, SECOND, THIRD):
        assert world.judge(key).success
    result = world.train()
    assert result.success
    [model] = world.models()
    shown = world.metadata(result, "training_set")
    assert model["trained_on"]["root"] == shown["root"]
    assert model["metrics"]["rows"] == 1200
    assert model["metrics"]["auroc"] > 0.75
    assert len(model["coefficients"]) == len(model["columns"])
    assert shown["members_count"] == 3
    assert shown["left_out"] == []


def test_the_training_set_is_signed_with_its_parents(trained):
    data = trained.deployment.training_data
    manifest = parse(parse_envelope(manifest_path(data).read_bytes()))
    members = tuple(
        Member(
            name=parse_name(f"acme/flights/{key}"),
            version=1,
            snapshot=take(trained.batch(key)).snapshot,
        )
        for key in (FIRST, SECOND, THIRD)
    )
    collection = Collection(members=members)
    assert manifest.snapshot == collection.union == take(data).snapshot
    assert manifest.parents == collection.parents
    assert manifest.roles.label == "label"
    assert (str(manifest.name), manifest.version) == ("acme/flights-training", 1)


def test_every_judgement_is_in_one_ledger(trained, logs):
    names = [
        json.loads(parse_envelope(line).payload)["subject"][0]["name"]
        for line in logs.read(trained.log)
    ]
    batches = [f"acme/flights/{key}" for key in (FIRST, SECOND, THIRD)]
    assert names == [*batches, "acme/flights-training", "acme/flights-training/model"]


def test_the_model_descends_from_every_batch(trained):
    place = trained.deployment
    log = ledger.verify(place.ledger, load(place.trust))
    for key in (FIRST, SECOND, THIRD):
        found = lineage(place.ledger, log, f"acme/flights/{key}")
        [model] = [s.node for s in found.descendants if s.node.kind == "model"]
        assert model.names == ("acme/flights-training/model v1",)
    written = trained.home / "work" / "models"
    assert lineage(place.ledger, log, str(next(written.glob("*.json")))).about == (model,)


def test_training_again_on_the_same_bytes_keeps_the_version(trained):
    result = trained.train()
    assert result.success
    assert trained.metadata(result, "training_set")["version"] == 1


def test_a_new_batch_makes_a_new_version(trained):
    trained.land("2013-04", trained.flights("2013-04"))
    assert trained.judge("2013-04").success
    result = trained.train()
    assert trained.metadata(result, "training_set")["version"] == 2
    [model] = trained.models()
    assert model["metrics"]["rows"] == 1600


def test_admitting_a_batch_twice_changes_nothing(trained):
    before = sorted(trained.deployment.store.rglob("*"))
    assert trained.materialize("admitted", partition=FIRST).success
    assert sorted(trained.deployment.store.rglob("*")) == before


def test_other_bytes_that_were_refused_take_nothing_from_those_that_passed(trained):
    trained.tamper()
    assert not trained.judge().success
    shown = trained.metadata(trained.train(), "training_set")
    assert shown["members_count"] == 3


def test_a_batch_that_passed_but_was_not_admitted_is_told(world):
    world.judge(FIRST)
    world.materialize("raw", "snapshot", "verdict", partition=SECOND)
    shown = world.metadata(world.train(), "training_set")
    assert shown["members_count"] == 1
    assert shown["left_out"] == [f"acme/flights/{SECOND}"]


def test_a_training_set_that_does_not_pass_is_not_made(world):
    # Each batch is clean by itself; one of them twice shows only in the union.
    world.judge(FIRST)
    world.land("again", world.flights(FIRST))
    assert world.judge("again").success
    result = world.train()
    assert not result.success
    told = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert told["quality"] is False
    assert world.made(result) == []
    assert not world.models()


def test_a_batch_without_files_is_an_answer_and_not_a_crash(world):
    shutil.rmtree(world.batch())
    world.batch().mkdir()
    result = world.judge()
    assert "empty directory" in world.refusal(result, "snapshot")


def test_a_batch_that_cannot_be_decoded_is_blocked(world):
    frame = world.flights(FIRST)
    path = world.land("broken", frame) / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:2000])
    result = world.judge("broken")
    assert world.metadata(result, "verdict")["decision"] == "BLOCK"
    assert "admitted" not in world.made(result)


def test_what_broke_is_tried_again(trained):
    calls = []

    def flaky(admitted):
        calls.append(admitted.record.version)
        if len(calls) < 3:
            raise OSError("no space left on device")
        return {"metrics": {"rows": admitted.table().height}}

    result = trained.materialize("trained_model", model=flaky)
    assert result.success
    assert calls == [1, 1, 1]
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 2


def test_what_keeps_breaking_fails(trained):
    def broken(admitted):
        raise OSError("no space left on device")

    result = trained.materialize("trained_model", model=broken)
    assert not result.success
    assert not trained.models()


def test_a_model_is_given_admitted_bytes_and_no_path_around_them(trained):
    given = []

    def curious(admitted):
        given.append(admitted)
        frame = admitted.table()
        assert frame.height == 1200
        (admitted.root / FIRST / "part-0.parquet").write_bytes(b"swapped")
        admitted.table()

    result = trained.materialize("trained_model", model=curious)
    assert "changed after it was admitted" in trained.refusal(result, "trained_model")
    assert [type(admitted).__name__ for admitted in given] == ["Admitted"]


def test_a_range_of_batches_is_judged_batch_by_batch(world):
    keys = (FIRST, SECOND)
    assert [world.judge(key).success for key in keys] == [True, True]
    known = world.instance.get_materialized_partitions(dg.AssetKey("admitted"))
    assert known == set(keys)


@pytest.mark.parametrize("column", ["hour", "distance"])
def test_batches_of_another_schema_refuse(world, column):
    world.judge(FIRST)
    world.land(SECOND, world.flights(SECOND).with_columns(pl.col(column).cast(str)), version=2)
    assert world.judge(SECOND).success
    told = world.refusal(world.materialize("training_set"), "training_set")
    assert f"unlike the other shards: {column}" in told
