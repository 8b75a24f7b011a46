"""What somebody with a deriver's key, or with an old release, could try; and what comes of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import polars as pl
import pytest

import guards
from guards.errors import UsageError
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse, parse_name
from guards.provenance.memory import Memory
from guards.provenance.signing import generate, load_private, load_public, parse_envelope, sign
from guards.publish import Claim, manifest_path, publish
from guards.release import Wanted
from guards.verdict import Decision, load_policy

POLICY = """name = "q"
rules = ["integrity", "provenance", "quality"]
required = ["integrity", "provenance", "quality"]
"""
OTHER = "sha256:" + "1" * 64


@pytest.fixture(scope="session")
def insider(tmp_path_factory):
    """A key that may derive under acme/*, in the attacker's hand."""
    home = tmp_path_factory.mktemp("insider")
    generate(home / "key")
    return home / "key"


@pytest.fixture
def place(spine, insider):
    frame = pl.read_parquet(spine.batch / "a.parquet").with_row_index("n")
    label = pl.when(pl.col("n") == 5).then(None).otherwise(pl.col("label"))
    frame.with_columns(label=label).drop("n").write_parquet(spine.batch / "a.parquet")
    spine.manifest.unlink()
    spine.sign()
    key = trusts.TrustedKey(
        key=load_public(insider / "key.pub"), roles=("deriver",), names=("acme/*",)
    )
    trusts.add(spine.trust_dir, key)
    (spine.home / "q.toml").write_text(POLICY)
    return replace(spine, policy=load_policy(spine.home / "q.toml"))


@pytest.fixture
def released(place, insider):
    """The release, as a dataset that can be scanned; the parent's scan is in the ledger."""
    wanted = Wanted(out=place.home / "clean", key=load_private(insider / "key.pem"))
    scanned = place.scan(release=wanted, ledger=place.home / "ledger")
    assert scanned.released.removed == 1
    return replace(place, batch=place.home / "clean")


def again(released, **more):
    return released.scan(out=released.home / "again", ledger=released.home / "ledger", **more)


def codes(scanned):
    return {reason.code for reason in scanned.verdict.reasons}


def forge(released, insider, edit):
    """The deriver's own key under a claim that the library would not write."""
    path = released.manifest
    document = json.loads(parse_envelope(path.read_bytes()).payload)
    edit(document["predicate"])
    signed = sign(json.dumps(document).encode(), load_private(insider / "key.pem"))
    path.write_bytes(signed.to_json())


def test_the_honest_release_passes(released):
    assert again(released).verdict.decision is Decision.PASS


def test_a_deriver_does_not_sign_an_original(place, insider):
    place.manifest.unlink()
    claim = Claim(name=parse_name("acme/flights/2013-01"), version=2)
    publish(place.batch, claim, load_private(insider / "key.pem"))
    scanned = place.scan()
    assert scanned.verdict.decision is Decision.BLOCK
    assert codes(scanned) >= {"untrusted-key"}
    assert place.codes() == ["untrusted-key"]


def test_a_deriver_does_not_derive_under_other_names(released, insider):
    def rename(predicate):
        predicate["dataset"]["name"] = "umbrella/flights"

    document = json.loads(parse_envelope(released.manifest.read_bytes()).payload)
    rename(document["predicate"])
    document["subject"][0]["name"] = "umbrella/flights/2013-01"
    signed = sign(json.dumps(document).encode(), load_private(insider / "key.pem"))
    released.manifest.write_bytes(signed.to_json())
    assert released.codes() == ["untrusted-key"]


@pytest.mark.parametrize("which", ["parents", "derivation"])
def test_a_parent_that_contradicts_its_derivation_is_no_manifest(released, insider, which):
    def edit(predicate):
        if which == "parents":
            predicate["dataset"]["parents"] = [OTHER]
        else:
            predicate["derivation"]["parent"] = OTHER

    forge(released, insider, edit)
    assert released.codes() == ["malformed"]


def test_another_parent_than_the_scanned_one_is_unknown_to_the_ledger(released, insider):
    def edit(predicate):
        predicate["dataset"]["parents"] = [OTHER]
        predicate["derivation"]["parent"] = OTHER

    forge(released, insider, edit)
    scanned = again(released)
    assert scanned.verdict.decision is Decision.BLOCK
    assert codes(scanned) >= {"unknown-parent"}


def test_another_record_than_the_parents_is_unknown_to_the_ledger(released, insider):
    forge(released, insider, lambda predicate: predicate["derivation"].update(record=OTHER))
    assert codes(again(released)) >= {"unknown-parent"}


def test_without_a_derivation_the_parent_still_has_to_be_known(released, insider):
    def edit(predicate):
        del predicate["derivation"]
        predicate["dataset"]["parents"] = [OTHER]

    forge(released, insider, edit)
    assert codes(again(released)) >= {"unknown-parent"}


def test_an_empty_ledger_knows_no_parent(released):
    scanned = released.scan(out=released.home / "again", ledger=released.home / "other")
    assert codes(scanned) >= {"unknown-parent"}


def test_nothing_is_its_own_parent(released, insider):
    root = str(parse(parse_envelope(released.manifest.read_bytes())).snapshot.root)

    def edit(predicate):
        predicate["dataset"]["parents"] = [root]
        predicate["derivation"]["parent"] = root

    forge(released, insider, edit)
    assert released.codes() == ["malformed"]


def test_one_byte_changed_after_the_release_is_seen(released):
    path = released.batch / "a.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    scanned = again(released)
    assert scanned.verdict.decision is Decision.BLOCK
    assert codes(scanned) >= {"changed-file"}


def test_the_row_put_back_after_the_release_is_seen(place, released):
    shutil.copyfile(place.batch / "a.parquet", released.batch / "a.parquet")
    assert codes(again(released)) >= {"grown-file"}


def test_the_record_of_the_parent_admits_no_release(released):
    with pytest.raises(guards.GateRefused) as refused:
        released.gate()
    told = "; ".join(refused.value.reasons)
    assert "the verdict is QUARANTINE" in told


def test_the_parents_own_pass_admits_no_release_either(place, insider):
    """A row that is only noted is held, and the parent passes all the same."""
    policy = place.home / "lax.toml"
    policy.write_text(POLICY + 'quarantine_at = "high"\n')
    lax = replace(place, policy=load_policy(policy))
    wanted = Wanted(out=place.home / "clean", key=load_private(insider / "key.pem"))
    scanned = lax.scan(release=wanted)
    assert scanned.verdict.decision is Decision.PASS
    assert scanned.released.removed == 1
    lax.gate()
    with pytest.raises(guards.GateRefused, match="other bytes"):
        replace(lax, batch=place.home / "clean").gate(record=lax.record)


def test_the_parent_under_the_releases_manifest_is_refused(place, released):
    """The claim of the release laid beside the poisoned parent."""
    swapped = replace(place, batch=place.home / "swapped")
    shutil.copytree(place.batch, swapped.batch)
    shutil.copyfile(manifest_path(released.batch), swapped.manifest)
    assert swapped.codes() == ["grown-file"]


def test_a_release_is_not_replayed_over_a_newer_version(place, released):
    state = Memory(place.home / "state")
    assert again(released, state=state).verdict.decision is Decision.PASS
    place.sign(version=3)
    place.verify(state=state)
    assert codes(again(released, state=state)) >= {"rollback"}


def test_the_poisoned_parent_is_not_replayed_over_its_release(place, released):
    state = Memory(place.home / "state")
    assert again(released, state=state).verdict.decision is Decision.PASS
    assert place.codes(state=state) == ["rollback"]


def test_a_release_by_another_key_than_the_trusts_is_not_begun(place):
    wanted = Wanted(out=place.home / "clean", key=place.keys.private("stranger"))
    with pytest.raises(UsageError, match="is not in it"):
        place.scan(release=wanted)
    assert not (place.home / "clean").exists()


def test_a_link_at_out_is_not_written_through(place, insider):
    (place.home / "elsewhere").mkdir()
    (place.home / "clean").symlink_to(place.home / "elsewhere")
    wanted = Wanted(out=place.home / "clean", key=load_private(insider / "key.pem"))
    with pytest.raises(UsageError, match="exists already"):
        place.scan(release=wanted)
    assert not list((place.home / "elsewhere").iterdir())
