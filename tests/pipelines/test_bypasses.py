"""Every way around the gate that Dagster offers, or that a writer to the disk has: all refuse.

Dagster's own blocking checks are no gate: a later run of the downstream asset alone, and any run
without checks, goes past them. Here each such run is made, and each time no model comes of it.
"""

from __future__ import annotations

import json
import shutil

import dagster as dg
import pytest

import guards
from guards.integrations.dagster import deployment
from guards.provenance.manifest import parse
from guards.provenance.signing import generate, load_private, parse_envelope, sign
from guards.provenance.trust import TrustedKey, create, to_pin
from guards.publish import Claim, manifest_path, publish

FIRST, SECOND = "2013-01", "2013-02"


def test_a_model_cannot_be_had_before_anything_was_judged(world):
    result = world.materialize("trained_model")
    assert "has not passed" in world.refusal(result, "trained_model")
    assert not world.models()


@pytest.mark.parametrize("asset", ["training_set", "admitted"])
def test_nor_can_what_it_would_read(world, asset):
    partition = FIRST if asset == "admitted" else None
    result = world.materialize(asset, partition=partition)
    assert "has not passed" in world.refusal(result, asset)


def test_a_changed_batch_is_stopped_by_its_checks(world):
    world.tamper()
    result = world.judge()
    assert world.made(result) == ["raw", "snapshot", "verdict"]
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["integrity"].passed
    assert not checks["provenance"].passed
    assert checks["provenance"].severity is dg.AssetCheckSeverity.ERROR
    assert "part-0.parquet" in checks["provenance"].description
    # Bytes that nobody vouches for are not decoded; nobody looked is not the same as all is well.
    assert not checks["quality"].passed
    assert "not examined" in checks["quality"].description


def test_admitting_it_in_a_later_run_of_its_own_refuses(world):
    world.tamper()
    world.judge()
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "the verdict is BLOCK" in told
    assert not world.deployment.store.exists() or not any(world.deployment.store.iterdir())


def test_a_run_without_checks_judges_all_the_same_and_refuses(world):
    world.tamper()
    result = world.judge(checks=False)
    assert not result.get_asset_check_evaluations()
    assert world.metadata(result, "verdict")["decision"] == "BLOCK"
    assert "the verdict is BLOCK" in world.refusal(result, "admitted")


def test_a_warning_does_not_let_a_quarantined_batch_through(world):
    # Dagster lets a failed check of severity WARN pass even when it blocks.
    policy = world.home / "policy.toml"
    policy.write_text(policy.read_text() + 'quarantine_at = "info"\n')
    frame = world.flights(FIRST)
    world.land(FIRST, frame.vstack(frame.head(40)), version=2)
    result = world.judge()
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert {check.severity for check in failed} == {dg.AssetCheckSeverity.WARN}
    assert "the verdict is QUARANTINE" in world.refusal(result, "admitted")


def test_a_blocked_batch_is_not_in_the_training_set(world):
    world.tamper()
    for key in (FIRST, SECOND):
        world.judge(key)
    result = world.train()
    assert result.success
    members = world.metadata(result, "training_set")["members"]
    assert [member["name"] for member in members] == [f"acme/flights/{SECOND}"]
    [model] = world.models()
    assert model["metrics"]["rows"] == 400


def test_files_swapped_between_verdict_and_admission_refuse(world):
    world.materialize("raw", "snapshot", "verdict", partition=FIRST)
    world.tamper()
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "other bytes" in told


def test_files_swapped_for_those_of_another_signed_batch_refuse(world):
    world.materialize("raw", "snapshot", "verdict", partition=FIRST)
    for suffix in ("", ".manifest.json"):
        source = world.batch(SECOND).with_name(SECOND + suffix)
        target = world.batch(FIRST).with_name(FIRST + suffix)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target, **({"dirs_exist_ok": True} if source.is_dir() else {}))
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "other bytes" in told
    assert "verdict" in world.made(world.judge())
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "the verdict is BLOCK" in told
    assert "another dataset" in told


def test_another_manifest_than_the_one_judged_refuses(world):
    world.materialize("raw", "snapshot", "verdict", partition=FIRST)
    frame = world.flights(FIRST)
    world.land(FIRST, frame, version=2, columns={"dep_delay": "label", "label": "feature"})
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "not the one that was judged" in told


def test_files_swapped_in_the_store_refuse(trained):
    [file] = _stored(trained, FIRST).glob("*.parquet")
    trained.flip(file)
    told = trained.refusal(trained.materialize("training_set"), "training_set")
    assert f"acme/flights/{FIRST}: these are other bytes" in told
    # Admitting the batch again does not make good what lies there in its place.
    told = trained.refusal(trained.materialize("admitted", partition=FIRST), "admitted")
    assert "is not what its name says" in told


def test_a_version_that_was_refused_still_supersedes_the_one_before(trained):
    # The producer has said that version 1 is not the newest; nobody trains on it in silence.
    frame = trained.flights(FIRST)
    trained.land(FIRST, frame.vstack(frame.head(40)), version=2)
    assert "admitted" not in trained.made(trained.judge())
    told = trained.refusal(trained.materialize("training_set"), "training_set")
    assert f"acme/flights/{FIRST}: version 1 is older than version 2" in told
    trained.land(FIRST, frame.head(300), version=3)
    assert trained.judge().success
    assert trained.train().success


def test_files_added_to_the_store_refuse(trained):
    shutil.copy(trained.batch(SECOND) / "part-0.parquet", _stored(trained, FIRST) / "more.parquet")
    told = trained.refusal(trained.materialize("training_set"), "training_set")
    assert "other bytes" in told


def test_a_manifest_swapped_in_the_store_refuses(trained):
    for kept in (trained.deployment.store / "manifests").iterdir():
        kept.chmod(0o644)
        kept.write_bytes(manifest_path(trained.batch(SECOND)).read_bytes())
    told = trained.refusal(trained.materialize("training_set"), "training_set")
    assert "not the one that was judged" in told


def test_files_swapped_in_the_training_set_refuse(trained):
    trained.flip(trained.deployment.training_data / FIRST / "part-0.parquet")
    told = trained.refusal(trained.materialize("trained_model"), "trained_model")
    assert "other bytes" in told
    assert not trained.models()


def test_files_swapped_while_the_training_set_is_written_refuse(trained, monkeypatch):
    lay_out = deployment._lay_out

    def with_an_intruder(place, entries, draft):
        yield from lay_out(place, entries, draft)
        trained.flip(draft / FIRST / "part-0.parquet")

    monkeypatch.setattr(deployment, "_lay_out", with_an_intruder)
    told = trained.refusal(trained.materialize("training_set"), "training_set")
    assert "changed while it was written" in told


@pytest.mark.parametrize("field", ["trust", "policy", "scanner_key", "work", "root_digest"])
def test_who_starts_a_run_does_not_choose_whose_word_counts(world, field):
    given = {**world.toadstone.model_dump(), field: str(world.home / "mine")}
    with pytest.raises(dg.DagsterInvalidConfigError):
        world.materialize("trained_model", config={"toadstone": {"config": given}})
    assert not world.models()


def test_a_trust_that_was_exchanged_refuses_where_it_is_pinned(trained):
    """Whoever swaps the whole directory decides else who may sign, and for what."""
    pinned = trained.toadstone.model_copy(
        update={"root_digest": str(to_pin(trained.deployment.trust))}
    )
    place = pinned.deployment()
    assert deployment.examine_training_set(place).verdict
    assert place.terms(place.training).trust == place.trusted()
    shutil.rmtree(place.trust)
    key = generate(trained.home / "stranger")
    create(place.trust, TrustedKey(key=key, roles=("producer", "scanner"), names=("acme/*",)))
    for ask in (place.trusted, lambda: place.terms(place.training)):
        with pytest.raises(guards.GuardError, match="was pinned"):
            ask()
    with pytest.raises(guards.GuardError, match="was pinned"):
        deployment.examine_training_set(place)


def test_a_training_set_of_other_files_refuses_whoever_signed_it(trained):
    # The deriver's own key, the parents that passed, and one file changed.
    place = trained.deployment
    trained.flip(place.training_data / FIRST / "part-0.parquet")
    manifest = parse(parse_envelope(manifest_path(place.training_data).read_bytes()))
    claim = Claim(name=manifest.name, version=9, parents=manifest.parents)
    publish(place.training_data, claim, load_private(place.deriver_key))
    assert deployment.examine_training_set(place).verdict
    told = trained.refusal(trained.materialize("trained_model"), "trained_model")
    assert f"{FIRST}: not a parent that passed" in told


def test_a_training_set_without_its_own_manifest_refuses(trained):
    manifest_path(trained.deployment.training_data).write_bytes(b"{}")
    told = trained.refusal(trained.materialize("trained_model"), "trained_model")
    assert "not the one that was judged" in told


def test_deleted_records_refuse(trained):
    (trained.deployment.training_run / "record.json").unlink()
    assert "has not passed" in trained.refusal(
        trained.materialize("trained_model"), "trained_model"
    )
    trained.record().unlink()
    told = trained.refusal(trained.materialize("admitted", partition=FIRST), "admitted")
    assert "has not passed" in told
    shutil.rmtree(trained.deployment.ledger / "records")
    told = trained.refusal(trained.materialize("training_set"), "training_set")
    assert "has not passed" in told


def test_an_edited_record_refuses(world):
    world.tamper()
    world.judge()
    _edit(world.record(), lambda p: p["predicate"].update(decision="PASS", reasons=[]))
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "no trusted key signed this record" in told


def test_an_edited_record_signed_by_a_stranger_refuses(world):
    world.tamper()
    world.judge()
    stranger = load_private(world.key("stranger"))
    _edit(world.record(), lambda p: p["predicate"].update(decision="PASS", reasons=[]), stranger)
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "no trusted key signed this record" in told


def test_a_record_signed_by_a_key_of_another_role_refuses(world):
    world.judge()
    _edit(world.record(), lambda p: None, load_private(world.key("producer")))
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "has not the role scanner" in told


def test_a_good_record_of_other_bytes_refuses(world):
    world.judge(SECOND)
    world.tamper()
    world.judge()
    shutil.copy(world.record(SECOND), world.record(FIRST))
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert f"the record is about acme/flights/{SECOND}" in told


def test_an_older_version_with_its_own_good_record_refuses(world):
    world.judge()
    old = world.home / "old"
    shutil.copytree(world.batch(), old / "batch")
    shutil.copy(world.record(), old / "record.json")
    shutil.copy(manifest_path(world.batch()), old / "manifest.json")
    world.land(FIRST, world.flights(FIRST).head(390), version=2)
    assert world.judge().success
    shutil.rmtree(world.batch())
    shutil.copytree(old / "batch", world.batch())
    shutil.copy(old / "record.json", world.record())
    shutil.copy(old / "manifest.json", manifest_path(world.batch()))
    told = world.refusal(world.materialize("admitted", partition=FIRST), "admitted")
    assert "superseded: version 2" in told
    assert "older than version 2, seen before" in told


def test_an_older_training_set_with_its_own_good_record_refuses(trained):
    old = trained.home / "old"
    shutil.copytree(trained.home / "work" / "training", old)
    trained.land("2013-04", trained.flights("2013-04"))
    assert trained.judge("2013-04").success
    assert trained.materialize("training_set").success
    shutil.rmtree(trained.home / "work" / "training")
    shutil.copytree(old, trained.home / "work" / "training")
    told = trained.refusal(trained.materialize("trained_model"), "trained_model")
    assert "superseded: version 2" in told


@pytest.mark.parametrize("how", ["edit", "drop", "reorder", "empty", "delete"])
def test_a_tampered_ledger_refuses(trained, how, logs):
    lines = logs.read(trained.log)
    entry = json.loads(lines[0])
    entry["payload"] = json.loads(lines[1])["payload"]
    changed = {
        "edit": [json.dumps(entry).encode(), *lines[1:]],
        "drop": lines[1:],
        "reorder": [lines[1], lines[0], *lines[2:]],
        "empty": [],
    }
    if how == "delete":
        shutil.rmtree(trained.deployment.ledger)
    else:
        logs.write(trained.log, changed[how])
    for asset in ("admitted", "training_set", "trained_model"):
        partition = FIRST if asset == "admitted" else None
        told = trained.refusal(trained.materialize(asset, partition=partition), asset)
        assert "ledger" in told or "no batch was admitted" in told
    assert not trained.models()


def test_another_policy_than_the_records_refuses(trained):
    policy = trained.home / "policy.toml"
    policy.write_text(policy.read_text() + 'quarantine_at = "low"\n')
    for asset in ("admitted", "training_set", "trained_model"):
        partition = FIRST if asset == "admitted" else None
        told = trained.refusal(trained.materialize(asset, partition=partition), asset)
        assert "judged under another policy" in told


def test_a_producer_whose_key_was_taken_away_takes_the_data_along(trained):
    toml = trained.home / "trust" / "trust.toml"
    toml.write_text(toml.read_text().replace('["acme/flights"]', '["acme/trains"]'))
    told = trained.refusal(trained.materialize("training_set"), "training_set")
    assert "no producer of acme/flights" in told


def test_a_parent_that_falls_takes_the_training_set_along(trained):
    policy = trained.home / "stricter.toml"
    text = (trained.home / "policy.toml").read_text().replace('"quality"', '"drift"')
    policy.write_text(text.replace('"provenance"]\n', '"provenance", "drift"]\n'))
    place = trained.deployment
    scanned = guards.scan(
        trained.batch(),
        trust=place.trust,
        policy=policy,
        key=place.scanner_key,
        ledger=place.ledger,
        out=trained.home / "elsewhere",
    )
    assert scanned.verdict.decision is guards.Decision.BLOCK
    told = trained.refusal(trained.materialize("trained_model"), "trained_model")
    assert f"parent acme/flights/{FIRST} was judged BLOCK since" in told
    again = trained.materialize("training_set")
    assert trained.metadata(again, "training_set")["members_count"] == 2


def test_dagsters_own_word_for_it_is_not_enough(world):
    world.tamper()
    world.judge()
    for asset in ("verdict", "admitted"):
        forged = dg.AssetMaterialization(asset, partition=FIRST)
        world.instance.report_runless_asset_event(forged)
    assert "no batch was admitted" in world.refusal(
        world.materialize("training_set"), "training_set"
    )


def test_a_training_set_without_parents_refuses(trained):
    place = trained.deployment
    manifest_path(place.training_data).unlink()
    guards.sign(place.training_data, key=place.deriver_key, name="acme/flights-training", version=9)
    scanned = guards.scan(
        place.training_data,
        trust=place.trust,
        policy=place.policy,
        key=place.scanner_key,
        ledger=place.ledger,
        state=place.state,
        out=place.training_run,
    )
    assert scanned.verdict
    told = trained.refusal(trained.materialize("trained_model"), "trained_model")
    assert "names no parents" in told


def test_batches_that_disagree_on_the_label_refuse(world):
    world.judge(FIRST)
    roles = {"weekday": "label", "label": "feature"}
    world.land(SECOND, world.flights(SECOND), version=2, columns=roles)
    assert world.judge(SECOND).success
    told = world.refusal(world.materialize("training_set"), "training_set")
    assert f"acme/flights/{SECOND}: its columns have other roles" in told


@pytest.mark.parametrize("key", ["../landing/2013-01", "..", ".hidden", "A", "x" * 101])
def test_a_partition_key_that_is_no_batch_name_leads_nowhere(world, key):
    result = world.judge(key)
    assert not result.success
    assert not world.made(result)
    assert not world.deployment.work.exists()


def _stored(world, key):
    payload = json.loads(parse_envelope(world.record(key).read_bytes()).payload)
    return world.deployment.store / f"sha256-{payload['subject'][0]['digest']['sha256']}"


def _edit(record, edit, key=None):
    envelope = parse_envelope(record.read_bytes())
    document = json.loads(envelope.payload)
    edit(document)
    payload = json.dumps(document).encode()
    forged = sign(payload, key) if key else None
    text = (forged or _repacked(envelope, payload)).to_json()
    record.write_bytes(text)


def _repacked(envelope, payload):
    return type(envelope)(
        payload_type=envelope.payload_type, payload=payload, signatures=envelope.signatures
    )
