"""TUF's metadata: python-tuf itself takes what is written, and finds whom we find; changes wait."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from tuf.api.exceptions import RepositoryError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from guards.errors import GuardError, Malformed, Untrusted, UsageError
from guards.provenance import rootchanges, rootkeeping, tufdata
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse_name
from guards.provenance.memory import Memory, SeenTrust
from guards.provenance.rooted import evaluate, files
from guards.provenance.signing import generate, load_private

DAY = timedelta(days=1)


def peer(documents, pieces=()) -> TrustedMetadataSet:
    """What python-tuf's own client makes of the same documents, in its order."""
    found = TrustedMetadataSet(documents["1.root.json"], EnvelopeType.SIMPLE)
    while f"{found.root.version + 1}.root.json" in documents:
        found.update_root(documents[f"{found.root.version + 1}.root.json"])
    found.update_timestamp(documents["timestamp.json"])
    version = found.timestamp.snapshot_meta.version
    found.update_snapshot(documents[f"{version}.snapshot.json"])
    for name, delegator in (("targets", "root"), *pieces):
        version = found.snapshot.meta[f"{name}.json"].version
        found.update_delegated_targets(documents[f"{version}.{name}.json"], name, delegator)
    return found


def documents(rooted):
    return files(rooted.metadata)


@pytest.fixture
def deep(rooted):
    """A rotation, a team that delegates on, every kind of key."""
    keys = rooted.public("root-1"), rooted.public("root-4")
    by = rooted.terms("root-1", "root-2", "root-4")
    rootkeeping.rotate_root(rooted.directory, by, *keys, "left")
    inner = {"source": "umbrella", "terminating": True, "names": ("umbrella/flights",)}
    rooted.delegate("inner", "second", by=("neighbour", "root-4"), **inner)
    return rooted


def test_python_tuf_takes_what_we_write(deep):
    found = peer(documents(deep), [("umbrella", "targets")])
    ours = evaluate(documents(deep))
    assert found.root.version == ours.root.version == 2
    for name in ("timestamp", "snapshot", "targets", "umbrella"):
        assert found[name].to_dict() == ours.pieces[name].signed.to_dict()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256", "ecdsa-p384", "rsa-pss-3072"])
def test_python_tuf_takes_keys_of_each_kind(kind, tmp_path, rooted):
    generate(tmp_path / "k", kind)
    key = load_private(tmp_path / "k" / "key.pem")
    terms = rootkeeping.Terms(signers=(key,), at=rooted.moment)
    rootkeeping.start(tmp_path / "t", [key.public], 1, terms)
    assert peer(files(tmp_path / "t" / "metadata")).root.version == 1
    assert trusts.load(tmp_path / "t").standing


@pytest.mark.parametrize(
    "name",
    ["1.root.json", "2.root.json", "timestamp.json", "snapshot", "targets", "1.umbrella.json"],
)
@pytest.mark.parametrize(
    "who", [("root-2",), ("stranger",), ("root-1", "root-2"), ("root-4", "root-3")]
)
def test_what_python_tuf_refuses_we_refuse(deep, name, who):
    """Each piece signed again by others. What both take is the same; nobody is more lenient."""
    held = documents(deep)
    newest = max((n for n in held if n.endswith(f".{name}.json")), default=name)
    deep.resign(newest, lambda document: None, *who)
    held = documents(deep)
    try:
        peer(held, [("umbrella", "targets")])
        theirs = True
    except (RepositoryError, KeyError):
        theirs = False
    name = parse_name("umbrella/flights")
    try:
        trust = evaluate(held).trust
        ours = bool(trust.authorise([deep.public("second")], "producer", name, deep.moment))
    except GuardError:
        ours = False
    assert ours == theirs


def test_a_path_covers_what_it_covers_in_tuf():
    tuf = tufdata.model()
    names = ["a/b", "a/b/c", "a/b/c/d", "a", "ab/c", "a/B", "a/[b]"]
    for pattern in ("a/*", "*/*", "a/b", "a/b/*", "a/?", "a/[b]", "*", "a/*/c", "a/b/*/*"):
        role = tuf.DelegatedRole("x", ["k"], 1, False, paths=[f"producer/{pattern}"])
        (scope,) = tufdata.scopes(role, "here")
        for text in names:
            name = parse_name(text)
            wanted = any(
                role.is_delegated_path(f"producer/{one}") for one in (name.dataset, str(name))
            )
            assert scope.covers("producer", name) is wanted, (pattern, text)
            assert not scope.covers("scanner", name)


def test_a_star_for_all_names_is_two_of_tufs_patterns():
    assert tufdata.paths(["producer"], ["*", "a/b"]) == [
        *("producer/*", "producer/*/*", "producer/a/b")
    ]


def test_the_small_form_loads_nothing_of_tuf(spine):
    line = ["verify", str(spine.batch), "--trust", str(spine.trust_dir), "--quiet"]
    code = (
        f"import sys\nfrom guards.cli import main\nassert main({line!r}) == 0\n"
        "print({m.split('.')[0] for m in sys.modules} & {'tuf', 'securesystemslib', 'urllib3'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


class TestKeeping:
    def test_changes_wait_and_are_signed_by_one_after_the_other(self, rooted):
        before = documents(rooted)
        kept = rooted.delegate("more", "second", by=("root-1",))
        assert kept.waiting == ("targets has 1 of 2 signatures",)
        assert documents(rooted) == before
        rooted.delegate("also", "stranger", by=("root-1",))
        kept = rootkeeping.countersign(rooted.directory, rooted.terms("root-3"))
        assert kept.in_force == ("targets",)
        assert {one.where for one in trusts.load(rooted.directory).delegations} >= {"more", "also"}
        assert not (rooted.directory / "pending").exists()

    def test_a_change_to_a_draft_drops_the_signatures_on_it(self, rooted):
        rooted.delegate("more", "second", by=("root-1",))
        kept = rooted.delegate("also", "stranger", by=("root-2",))
        assert kept.waiting == ("targets has 1 of 2 signatures",)

    def test_a_trust_that_waits_is_none(self, rooted, tmp_path):
        where = tmp_path / "t"
        keys = [rooted.public(each) for each in ("root-1", "root-2")]
        assert rootkeeping.start(where, keys, 2, rooted.terms("root-1")).waiting
        with pytest.raises(UsageError, match="waits for signatures"):
            trusts.load(where)
        assert rootkeeping.countersign(where, rooted.terms("root-2")).in_force
        assert trusts.load(where).standing

    def test_keys_kept_online_say_that_it_is_fresh_and_nothing_else(self, rooted, tmp_path):
        where = tmp_path / "t"
        roots = [rooted.public(each) for each in ("root-1", "root-2")]
        both = rooted.terms("root-1", "root-2")
        online = [rooted.public("scanner")]
        kept = rootkeeping.start(where, roots, 2, both, online)
        assert "needs a signature by a key out of" in kept.waiting[0]
        assert rootkeeping.countersign(where, rooted.terms("scanner")).in_force
        later = rooted.terms("scanner", at=rooted.moment + DAY)
        assert rootkeeping.countersign(where, later).in_force == ("timestamp",)
        with pytest.raises(UsageError, match="none of the keys"):
            rootkeeping.change(where, later, "targets", lambda keys, roles: None)

    def test_a_rotation_of_one_root_key_signs_the_delegations_again(self, deep):
        found = evaluate(documents(deep))
        ids = {key.keyid for key in found.pieces["targets"].signed_by}
        assert deep.public("root-4").keyid in ids
        [gone] = found.root.unrecognized_fields["x-toadstone"]["rotated"]
        assert gone["keyid"] == deep.public("root-1").keyid
        assert gone["reason"] == "left"

    def test_key_dates_and_reasons_are_kept(self, rooted):
        key = trusts.TrustedKey(
            key=rooted.public("second"),
            roles=("producer",),
            names=("acme/*",),
            valid_from=rooted.moment,
            expires=rooted.moment + DAY,
            comment="of the night shift",
        )
        rooted.change(rootchanges.adding(key))
        gone = trusts.Revocation(since=rooted.moment, reason='a "lost" one')
        rooted.change(rootchanges.revoking(key.key, gone))
        listed = [k for one in trusts.load(rooted.directory).delegations for k in one.keys]
        [found] = [one for one in listed if one.key == key.key]
        assert (found.valid_from, found.expires) == (key.valid_from, key.expires)
        assert (found.revoked, found.comment) == (gone, key.comment)

    def test_a_key_added_with_the_same_rights_stands_beside_the_others(self, rooted):
        key = trusts.TrustedKey(key=rooted.public("second"), roles=("producer",), names=("acme/*",))
        rooted.change(rootchanges.adding(key))
        asked = trusts.Threshold(role="producer", names=("acme/*",), threshold=2)
        rooted.change(rootchanges.requiring(asked))
        assert rooted.spine.codes() == ["too-few-keys"]
        with pytest.raises(UsageError, match="cannot be met by 2 keys"):
            rooted.change(rootchanges.requiring(replace(asked, threshold=3)))
        with pytest.raises(UsageError, match="may do that already"):
            rooted.change(rootchanges.adding(key))

    @pytest.mark.parametrize("name", ["root", "targets", "Big", "../x", "", ".hidden", "a/b"])
    def test_a_delegation_has_a_plain_name(self, rooted, name):
        with pytest.raises(UsageError, match="a name is of small letters"):
            rooted.delegate(name, "second")

    def test_thresholds_that_nobody_can_meet_are_refused(self, rooted, tmp_path):
        with pytest.raises(UsageError, match="2 cannot be met by 1 keys"):
            rooted.delegate("x", "second", threshold=2)
        keys = [rooted.public("root-1")] * 3
        with pytest.raises(UsageError, match="2 of 1 root keys"):
            rootkeeping.start(tmp_path / "t", keys, 2, rooted.terms("root-1"))

    def test_what_has_one_signature_takes_one_key(self):
        rootchanges.countable(["producer", "approver"], 2)
        rootchanges.countable(["scanner"], 1)
        with pytest.raises(UsageError, match="for scanner: what they sign has one signature"):
            rootchanges.countable(["producer", "scanner"], 2)

    def test_the_digest_names_who_may_do_what_and_not_when_it_was_said_to_be_fresh(self, rooted):
        before = trusts.load(rooted.directory).digest
        at = rooted.moment + DAY
        rootkeeping.countersign(rooted.directory, rooted.terms("root-1", at=at))
        assert trusts.load(rooted.directory).digest == before
        rooted.delegate("more", "second")
        assert trusts.load(rooted.directory).digest != before


class TestReading:
    def test_what_was_seen_is_kept_and_read_again(self, rooted, tmp_path):
        memory = Memory(tmp_path / "state")
        assert memory.recall_trust() is None
        trusts.load(rooted.directory, memory)
        seen = memory.recall_trust()
        assert seen == evaluate(documents(rooted)).seen
        memory.remember_trust(SeenTrust(root=1, digest=seen.digest, timestamp=1))
        assert memory.recall_trust() == seen, "it is only ever raised"

    def test_a_state_from_before_a_rotation_follows_it(self, rooted, tmp_path):
        memory = Memory(tmp_path / "state")
        trusts.load(rooted.directory, memory)
        keys = rooted.public("root-1"), rooted.public("root-4")
        by = rooted.terms("root-1", "root-2", "root-4")
        rootkeeping.rotate_root(rooted.directory, by, *keys, "left")
        (rooted.metadata / "1.root.json").rename(tmp_path / "kept.json")
        with pytest.raises(Untrusted, match="another than was seen"):
            trusts.load(rooted.directory, memory)
        (tmp_path / "kept.json").rename(rooted.metadata / "1.root.json")
        trusts.load(rooted.directory, memory)
        assert memory.recall_trust().root == 2

    def test_metadata_without_root_is_told(self, rooted):
        shutil.rmtree(rooted.metadata)
        rooted.metadata.mkdir()
        with pytest.raises(UsageError, match="trust init --root-key"):
            trusts.load(rooted.directory)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda d: d.update(version="1"),
            lambda d: d.update(version=0),
            lambda d: d.update(_type="targets"),
            lambda d: d.update(spec_version="2.0.0"),
            lambda d: d.update(expires="soon"),
            lambda d: d["roles"].pop("timestamp"),
            lambda d: d["roles"]["root"].update(threshold=0),
            lambda d: d["roles"]["root"].update(threshold=9),
            lambda d: d["roles"]["root"].update(threshold=True),
            lambda d: d["roles"]["root"].update(keyids=["a" * 64]),
            lambda d: d["roles"].update(root=[]),
            lambda d: d["keys"].update({"b" * 64: {}}),
            lambda d: [key.update(scheme="rsassa-pss-sha256") for key in d["keys"].values()],
            lambda d: [key["keyval"].update(public="00" * 32) for key in d["keys"].values()],
            lambda d: [key["keyval"].update(public="zz") for key in d["keys"].values()],
        ],
    )
    def test_a_root_that_is_none_is_refused_and_nothing_else_happens(self, rooted, edit):
        rooted.resign("1.root.json", edit, "root-1", "root-2", "root-3")
        with pytest.raises((Malformed, Untrusted)):
            trusts.load(rooted.directory)
