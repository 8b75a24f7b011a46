"""Attacks on a trust that root keys sign, and on the time: each is built for real.

Metadata is edited and signed again by whoever the attacker has, files are put back, exchanged or
taken away, and the result is held to `verify`, the scan and the gate. Numbers 14 to 17 of the list.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from guards.digest import Digest
from guards.errors import GateRefused, GuardError, Malformed, Untrusted, UsageError
from guards.provenance import rootchanges, rootkeeping, tufdata
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse_name
from guards.provenance.memory import Memory
from guards.provenance.rooted import files
from guards.provenance.signing import load_public, parse_envelope, sign
from guards.publish import countersign
from guards.verdict import Decision

FLIGHTS = parse_name("acme/flights/2013-01")
HOUR = timedelta(hours=1)


def rotate(rooted, old="root-1", new="root-4", by=("root-1", "root-2", "root-4")):
    keys = rooted.public(old), rooted.public(new)
    return rootkeeping.rotate_root(rooted.directory, rooted.terms(*by), *keys, "left")


def may(rooted, *who, role="producer", name=FLIGHTS, at=None):
    trust = trusts.load(rooted.directory)
    return trust.authorise([rooted.public(w) for w in who], role, name, at or rooted.moment)


def hexed(data: bytes) -> str:
    return Digest.of(data).hex


def relist(rooted, name: str, *who: str) -> None:
    """Let whoever has the online keys list a file as it lies there now."""
    trust_files = rooted.metadata
    stamp = max(int(p.name.split(".")[0]) for p in trust_files.glob("*.snapshot.json"))
    data = (trust_files / name).read_bytes()

    def edit(document):
        meta = document["meta"][name.split(".", 1)[1]]
        meta.update(length=len(data), hashes={"sha256": hexed(data)})

    rooted.resign(f"{stamp}.snapshot.json", edit, *who)
    listed = (trust_files / f"{stamp}.snapshot.json").read_bytes()

    def point(document):
        meta = document["meta"]["snapshot.json"]
        meta.update(length=len(listed), hashes={"sha256": hexed(listed)})

    rooted.resign("timestamp.json", point, *who)


def newest(rooted, role: str) -> str:
    versions = [int(p.name.split(".")[0]) for p in rooted.metadata.glob(f"*.{role}.json")]
    return f"{max(versions)}.{role}.json"


def test_the_full_form_admits_what_the_small_one_does(rooted):
    spine = rooted.spine
    proof = spine.verify()
    assert proof
    assert {step.rule for step in proof.steps} == {
        *("metadata", "delegation", "producer-key", "threshold")
    }
    assert spine.scan().verdict.decision is Decision.PASS
    assert spine.gate()


class TestRoots:
    def test_a_rotated_out_key_signs_nothing_any_more(self, rooted):
        rotate(rooted)
        with pytest.raises(UsageError, match="none of the keys"):
            rooted.delegate("mine", "stranger", by=("root-1",))
        name = newest(rooted, "targets")
        rooted.resign(name, lambda d: d.update(version=d["version"]), "root-1", "root-3")
        relist(rooted, name, "root-3")
        with pytest.raises(Untrusted, match="signed by 1 of the 2 keys of targets"):
            rooted.spine.verify()

    def test_a_rotation_signed_by_the_new_root_alone_is_refused(self, rooted):
        """Two strangers make themselves root: their own signatures are good, and not enough."""

        def take_over(document):
            keys = {each: rooted.public(each).keyid for each in ("root-4", "stranger")}
            told = next(iter(document["keys"].values()))
            document["version"] = 2
            document["keys"] = {
                keyid: {**told, "keyval": {"public": rooted.public(who).spki[-32:].hex()}}
                for who, keyid in keys.items()
            }
            for role in document["roles"].values():
                role["keyids"] = list(keys.values())

        shutil.copy(rooted.metadata / "1.root.json", rooted.metadata / "2.root.json")
        rooted.resign("2.root.json", take_over, "root-4", "stranger")
        with pytest.raises(Untrusted, match=r"signed by 0 of the 2 keys of root version 1"):
            rooted.spine.verify()

    def test_a_rotation_that_the_new_root_did_not_sign_is_refused(self, rooted):
        """Else the old keys could name a root that nobody holds."""
        rotate(rooted)
        rooted.resign("2.root.json", lambda document: None, "root-1", "root-2")
        with pytest.raises(Untrusted, match=r"signed by 1 of the 2 keys of root version 2"):
            rooted.spine.verify()

    def test_too_few_of_the_old_root_wait(self, rooted):
        kept = rotate(rooted, by=("root-1", "root-4"))
        assert "root has 1 of 2 signatures" in kept.waiting
        assert may(rooted, "producer"), "until then everything is as it was"
        assert not (rooted.metadata / "2.root.json").exists()

    def test_one_key_under_two_ids_does_not_make_two_of_two(self, rooted):
        """securesystemslib 1.6 counts key ids; here a key is its bytes."""

        def twin(document):
            role = document["roles"]["root"]
            first = role["keyids"][0]
            document["version"] = 2
            document["keys"]["f" * 64] = dict(document["keys"][first])
            role["keyids"] = [first, "f" * 64]

        shutil.copy(rooted.metadata / "1.root.json", rooted.metadata / "2.root.json")
        rooted.resign("2.root.json", twin, "root-1", "root-2", "root-3")
        with pytest.raises(Untrusted, match="one key is listed under two key ids"):
            rooted.spine.verify()

    def test_a_root_left_out_of_the_chain_is_missed(self, rooted):
        rotate(rooted)
        rotate(rooted, "root-4", "root-1", by=("root-4", "root-1", "root-2"))
        (rooted.metadata / "2.root.json").unlink()
        with pytest.raises(Untrusted, match="root version 2 is missing"):
            rooted.spine.verify()

    def test_a_frozen_root_runs_out(self, rooted):
        at = rooted.moment + rootkeeping.LONG + HOUR
        assert [p.code for p in rooted.spine.verify(at=at).refusals] == ["stale-trust"]
        assert "root version 1 expired" in str(rooted.spine.verify(at=at).refusals[0])


class TestDelegations:
    def test_a_delegated_key_signs_inside_its_names_only(self, rooted):
        assert may(rooted, "neighbour", name=parse_name("umbrella/sales"))
        rooted.spine.sign("neighbour", version=2)
        assert rooted.spine.codes() == ["untrusted-key"]
        assert rooted.spine.scan().verdict.decision is Decision.BLOCK

    def test_who_delegates_on_gives_no_more_than_they_have(self, rooted):
        """umbrella's keeper names a producer of acme, and signs it well."""
        rooted.delegate("theirs", "second", by=("neighbour", "root-1"), source="umbrella")
        assert not may(rooted, "second")
        wide = {"names": ("*",), "roles": ("*",), "source": "umbrella"}
        rooted.delegate("all", "second", by=("neighbour", "root-1"), **wide)
        assert not may(rooted, "second")
        assert may(rooted, "second", name=parse_name("umbrella/sales"))
        assert not may(rooted, "second", role="scanner", name=parse_name("umbrella/sales"))

    def test_after_a_terminating_delegation_nobody_is_asked(self, rooted):
        rooted.delegate("flights", "second", names=("umbrella/flights",), terminating=True)
        rooted.delegate("late", "stranger", names=("umbrella/*",))
        name = parse_name("umbrella/flights")
        assert may(rooted, "neighbour", name=name), "asked before"
        assert may(rooted, "second", name=name)
        assert not may(rooted, "stranger", name=name)
        assert may(rooted, "stranger", name=parse_name("umbrella/sales"))

    def test_a_terminating_delegation_below_another_ends_the_search_too(self, rooted):
        inner = {"by": ("neighbour", "root-1"), "source": "umbrella", "terminating": True}
        rooted.delegate("inner", "second", names=("umbrella/flights",), **inner)
        rooted.delegate("late", "stranger", names=("umbrella/*",))
        assert not may(rooted, "stranger", name=parse_name("umbrella/flights"))

    def test_metadata_taken_away_does_not_open_what_it_closed(self, rooted):
        """Without the file, those after a closed delegation would be asked."""
        inner = {"by": ("neighbour", "root-1"), "source": "umbrella", "terminating": True}
        rooted.delegate("inner", "second", names=("umbrella/flights",), **inner)
        rooted.delegate("late", "stranger", names=("umbrella/*",))
        (rooted.metadata / "1.umbrella.json").unlink()
        assert not may(rooted, "stranger", name=parse_name("umbrella/flights"))
        assert "is missing" in may(rooted, "stranger", name=parse_name("umbrella/flights")).why_not
        assert may(rooted, "producer"), "and nobody else's names are touched"

    @pytest.mark.parametrize("harm", ["garbage", "a stranger's", "another version"])
    def test_broken_metadata_of_a_team_harms_only_what_it_covers(self, rooted, harm):
        inner = {"by": ("neighbour", "root-1"), "source": "umbrella"}
        rooted.delegate("inner", "second", names=("umbrella/flights",), **inner)
        path = rooted.metadata / "1.umbrella.json"
        if harm == "garbage":
            path.write_bytes(b"{}")
        elif harm == "a stranger's":
            rooted.resign(path.name, lambda document: None, "stranger")
        else:
            rooted.resign(path.name, lambda document: document.update(version=7), "neighbour")
        relist(rooted, path.name, "root-1")
        assert not may(rooted, "second", name=parse_name("umbrella/flights"))
        assert may(rooted, "producer")

    def test_one_key_under_two_ids_does_not_fill_a_delegation(self, rooted):
        def twin(document):
            told = document["delegations"]
            role = told["roles"][0]
            told["keys"]["e" * 64] = dict(told["keys"][role["keyids"][0]])
            role.update(keyids=[role["keyids"][0], "e" * 64], threshold=2)

        name = newest(rooted, "targets")
        rooted.resign(name, twin, "root-1", "root-2")
        relist(rooted, name, "root-1")
        with pytest.raises(Untrusted, match="one key is listed under two key ids"):
            rooted.spine.verify()

    def test_a_threshold_counts_keys_and_not_signatures(self, rooted):
        rooted.delegate("acme", "producer", "second", threshold=2, terminating=True)
        rooted.spine.sign(version=2)
        assert rooted.spine.codes() == ["too-few-keys"]
        countersign(rooted.spine.batch, [rooted.spine.keys.private("second")])
        assert rooted.spine.verify()
        assert len(rooted.spine.verify().signers) == 2

    def test_keys_of_two_delegations_do_not_add_up(self, rooted):
        rooted.delegate("acme", "producer", "both", threshold=2)
        rooted.delegate("more", "second", "stranger", threshold=2)
        rooted.spine.sign(version=2)
        countersign(rooted.spine.batch, [rooted.spine.keys.private("second")])
        assert rooted.spine.codes() == ["too-few-keys"]

    @pytest.mark.parametrize(
        "path", ["acme/*", "producers/acme/*", "", "*", "PRODUCER/acme/*"], ids=str
    )
    def test_a_right_that_is_none_is_refused_by_name(self, rooted, path):
        def edit(document):
            document["delegations"]["roles"][0]["paths"] = [path]

        name = newest(rooted, "targets")
        rooted.resign(name, edit, "root-1", "root-2")
        relist(rooted, name, "root-1")
        with pytest.raises(Malformed, match="acme"):
            rooted.spine.verify()

    def test_metadata_that_branches_without_end_is_given_up(self, rooted):
        """Nine pieces a level, each of which delegates to all nine of the next: 6,561 ways down."""
        team, tuf = rooted.spine.keys.private("neighbour"), tufdata.model()
        key = tufdata.as_tuf(tufdata.plain(team.public))
        held = files(rooted.metadata)
        levels = [["umbrella"], *([f"l{n}-{each}" for each in range(9)] for n in range(4))]
        listed = {}
        for names, below in pairwise(levels):
            roles = {
                one: tuf.DelegatedRole(one, [key.keyid], 1, False, ["*/umbrella/*"])
                for one in below
            }
            piece = tuf.Targets(
                version=1,
                expires=rooted.moment + HOUR,
                delegations=tuf.Delegations({key.keyid: key}, roles),
            )
            data = sign(tufdata.payload(piece), team, tufdata.PAYLOAD_TYPE).to_json()
            held |= {f"1.{one}.json": data for one in names}
            listed |= {f"{one}.json": {"version": 1} for one in names}
        stamp = newest(rooted, "snapshot")
        rooted.resign(stamp, lambda document: document["meta"].update(listed), "root-1")
        for name, data in held.items():
            if name != stamp:
                (rooted.metadata / name).write_bytes(data)
        relist(rooted, newest(rooted, "targets"), "root-1")
        found = may(rooted, "second", name=parse_name("umbrella/x"))
        assert not found
        assert "by more than 4096 ways" in found.why_not
        assert may(rooted, "producer"), "nobody else's names are touched"

    def test_a_revoked_manager_takes_along_what_it_delegated(self, rooted):
        inner = {"by": ("neighbour", "root-1"), "source": "umbrella"}
        rooted.delegate("inner", "second", names=("umbrella/flights",), **inner)
        name, later = parse_name("umbrella/flights"), rooted.moment + timedelta(days=2)
        assert may(rooted, "second", name=name)
        gone = trusts.Revocation(since=later, reason="left in a train")
        rooted.change(rootchanges.revoking(rooted.public("neighbour"), gone))
        assert may(rooted, "second", name=name, at=later - timedelta(days=1))
        assert not may(rooted, "second", name=name, at=later)
        assert "left in a train" in may(rooted, "neighbour", name=name, at=later).why_not

    def test_a_key_rotated_out_of_a_delegation_signs_no_more(self, rooted):
        gone = trusts.Revocation(since=rooted.moment, reason="lost")
        keys = rooted.public("producer"), rooted.public("second")
        spine = rooted.spine
        spine.scan()
        assert spine.gate()
        rooted.change(rootchanges.replacing(*keys, gone))
        assert spine.codes() == ["untrusted-key"]
        with pytest.raises(GateRefused, match="no producer"):
            spine.gate()
        spine.sign("second", version=2)
        assert spine.verify()
        with pytest.raises(UsageError, match="is revoked"):
            rooted.delegate("again", "producer")


class TestFreshness:
    def test_a_frozen_timestamp_refuses_everywhere(self, rooted):
        spine = rooted.spine
        spine.scan()
        at = rooted.moment + rootkeeping.SHORT + HOUR
        assert [p.code for p in spine.verify(at=at).refusals] == ["stale-trust"]
        assert spine.scan(at=at).verdict.decision is Decision.BLOCK
        with pytest.raises(GateRefused, match="timestamp version 4 expired"):
            spine.gate(at=at)

    def test_who_may_only_say_that_it_is_fresh_makes_it_so(self, rooted):
        at = rooted.moment + rootkeeping.SHORT + HOUR
        rootkeeping.countersign(rooted.directory, rooted.terms("root-3", at=at))
        assert may(rooted, "producer", at=at)

    def test_expired_metadata_of_a_team_refuses_what_is_below(self, rooted):
        inner = {"by": ("neighbour",), "source": "umbrella"}
        with pytest.raises(UsageError, match="nothing was delegated"):
            rooted.change(lambda keys, roles: None, source="nobody")
        assert rooted.delegate("inner", "second", names=("umbrella/*",), **inner).waiting
        short = rooted.terms("root-1", lasting=HOUR)
        rootkeeping.countersign(rooted.directory, short)
        at = rooted.moment + rootkeeping.LONG - HOUR
        keepers = rooted.terms("root-1", "root-2", at=at)
        rootkeeping.countersign(rooted.directory, keepers, ["root", "targets"])
        name = parse_name("umbrella/x")
        assert may(rooted, "second", name=name, at=at)
        assert not may(rooted, "second", name=name, at=at + 2 * HOUR)
        assert (
            "umbrella version 1 expired"
            in may(rooted, "second", name=name, at=at + 2 * HOUR).why_not
        )


class TestPinned:
    """A trust that was exchanged whole is refused on the first day, with no state to compare."""

    @pytest.fixture
    def other(self, rooted, tmp_path):
        """The attacker's own trust, good in itself, under which their key may do everything."""
        made = tmp_path / "other"
        keys = [rooted.public("stranger")]
        rootkeeping.start(made, keys, 1, rooted.terms("stranger"))
        return made

    def test_another_trust_is_refused_with_both_digests(self, rooted, other):
        pin = trusts.to_pin(rooted.directory)
        assert trusts.load(rooted.directory, root=pin).root == pin
        trusts.load(other), "by itself it is good"
        with pytest.raises(Untrusted) as caught:
            trusts.load(other, root=pin)
        assert {str(pin), str(trusts.to_pin(other))} <= set(
            str(caught.value).replace(",", "").split()
        )
        assert "toadstone trust show" in str(caught.value)

    def test_what_was_refused_is_not_remembered(self, rooted, other, tmp_path):
        memory = Memory(tmp_path / "state")
        with pytest.raises(Untrusted, match="was pinned"):
            trusts.load(other, memory, trusts.to_pin(rooted.directory))
        assert memory.recall_trust() is None

    def test_a_root_that_follows_from_the_pinned_one_is_believed(self, rooted, tmp_path):
        first = trusts.to_pin(rooted.directory)
        rotate(rooted)
        second = trusts.to_pin(rooted.directory)
        assert first != second
        for state in (None, Memory(tmp_path / "state")):
            for pin in (first, second, first):
                assert trusts.load(rooted.directory, state, pin).root == second

    def test_an_older_root_than_the_pinned_one_is_refused(self, rooted, tmp_path):
        old = shutil.copytree(rooted.directory, tmp_path / "old")
        rotate(rooted)
        with pytest.raises(Untrusted, match="root, version 1, is sha256:"):
            trusts.load(old, root=trusts.to_pin(rooted.directory))

    def test_what_lies_before_the_pinned_root_decides_nothing(self, rooted, other):
        """An attacker's first root, from which the pinned one would not follow, is not asked."""
        rotate(rooted)
        shutil.copy(other / "metadata" / "1.root.json", rooted.metadata / "1.root.json")
        with pytest.raises(Untrusted):
            trusts.load(rooted.directory)
        pin = Digest.of(parse_envelope((rooted.metadata / "2.root.json").read_bytes()).payload)
        assert trusts.load(rooted.directory, root=pin).root == pin

    def test_an_attackers_root_behind_the_pinned_one_is_refused(self, rooted):
        pin = trusts.to_pin(rooted.directory)
        forged = rooted.metadata / "2.root.json"
        shutil.copy(rooted.metadata / "1.root.json", forged)
        rooted.resign("2.root.json", lambda document: document.update(version=2), "stranger")
        with pytest.raises(Untrusted, match="root version 1"):
            trusts.load(rooted.directory, root=pin)

    def test_the_pin_does_not_make_another_root_of_what_was_seen(self, rooted, other, tmp_path):
        memory = Memory(tmp_path / "state")
        trusts.load(other, memory)
        with pytest.raises(Untrusted, match="another than was seen"):
            trusts.load(rooted.directory, memory, trusts.to_pin(rooted.directory))

    def test_a_small_trust_in_the_place_of_a_signed_one_is_refused(self, rooted):
        pin = trusts.to_pin(rooted.directory)
        shutil.rmtree(rooted.directory)
        key = trusts.TrustedKey(key=rooted.public("stranger"), roles=("producer",), names=("*",))
        trusts.create(rooted.directory, key)
        with pytest.raises(Untrusted, match="was pinned"):
            trusts.load(rooted.directory, root=pin)

    @pytest.mark.parametrize(
        "change",
        [
            lambda home, key: trusts.add(home, key),
            lambda home, key: min((home / "keys").iterdir()).write_bytes(key.key.pem),
            lambda home, key: (home / "trust.toml").write_text(
                (home / "trust.toml").read_text().replace("acme/", "umbrella/")
            ),
        ],
        ids=["a key more", "another key in the same file", "other names"],
    )
    def test_of_the_small_form_all_is_pinned(self, spine, change):
        key = trusts.TrustedKey(
            key=load_public(spine.keys.pub("second")), roles=("producer",), names=("*",)
        )
        pin = trusts.to_pin(spine.trust_dir)
        assert trusts.load(spine.trust_dir, root=pin) == spine.trust
        change(spine.trust_dir, key)
        with pytest.raises(Untrusted, match="was pinned"):
            trusts.load(spine.trust_dir, root=pin)

    @pytest.mark.parametrize("part", ["trust.toml", "keys"])
    def test_a_fifo_in_the_directory_makes_nobody_wait(self, spine, part):
        path = spine.trust_dir / part
        path = next(path.iterdir()) if path.is_dir() else path
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(UsageError, match="not a plain file"):
            trusts.load(spine.trust_dir)


class TestRollback:
    def test_an_older_trust_is_refused_where_a_newer_one_was_seen(self, rooted, tmp_path):
        memory = Memory(tmp_path / "state")
        old = shutil.copytree(rooted.directory, tmp_path / "old")
        gone = trusts.Revocation(since=rooted.moment, reason="lost")
        rooted.change(rootchanges.revoking(rooted.public("producer"), gone))
        trusts.load(old), "by itself it is good"
        trusts.load(rooted.directory, memory)
        with pytest.raises(Untrusted, match="rollback: timestamp version 4 is older"):
            trusts.load(old, memory)
        trusts.load(rooted.directory, memory)

    def test_an_older_root_is_refused(self, rooted, tmp_path):
        memory = Memory(tmp_path / "state")
        old = shutil.copytree(rooted.directory, tmp_path / "old")
        rotate(rooted)
        trusts.load(rooted.directory, memory)
        with pytest.raises(Untrusted, match="root version 1 is older than version 2"):
            trusts.load(old, memory)

    def test_another_root_of_the_same_version_is_refused(self, rooted, tmp_path):
        memory = Memory(tmp_path / "state")
        trusts.load(rooted.directory, memory)
        other = tmp_path / "other"
        keys = [rooted.public(each) for each in ("root-4", "stranger")]
        rootkeeping.start(other, keys, 1, rooted.terms("stranger"))
        with pytest.raises(Untrusted, match="another than was seen"):
            trusts.load(other, memory)

    def test_the_online_keys_cannot_put_back_old_delegations(self, rooted, tmp_path):
        """A thief of one root key of three lists an older targets under a newer timestamp."""
        memory = Memory(tmp_path / "state")
        trusts.load(rooted.directory, memory)
        last, stamp = newest(rooted, "targets"), newest(rooted, "snapshot")
        older = f"{int(last.split('.')[0]) - 1}.targets.json"
        data = (rooted.metadata / older).read_bytes()

        def edit(document):
            document["meta"]["targets.json"] = {
                "version": int(older.split(".")[0]),
                "length": len(data),
                "hashes": {"sha256": hexed(data)},
            }

        rooted.resign(stamp, edit, "root-3")
        relist(rooted, older, "root-3")
        trusts.load(rooted.directory), "by itself it is good"
        with pytest.raises(Untrusted, match="rollback: targets version 3 is older than version 4"):
            trusts.load(rooted.directory, memory)

    def test_the_online_keys_cannot_forge_delegations(self, rooted):
        name = newest(rooted, "targets")
        rooted.resign(name, lambda document: document["delegations"]["roles"].clear(), "root-3")
        relist(rooted, name, "root-3")
        with pytest.raises(Untrusted, match="signed by 1 of the 2 keys of targets"):
            rooted.spine.verify()

    def test_a_theft_of_online_keys_is_recovered_from(self, rooted, tmp_path):
        """Counted up to the last version by a thief: a rotation of those keys starts again."""
        memory = Memory(tmp_path / "state")
        far = {"version": 2**31}
        shutil.copytree(rooted.directory, tmp_path / "mine")
        rooted.resign("timestamp.json", lambda document: document.update(far), "root-1")
        trusts.load(rooted.directory, memory)
        mine = replace(rooted, spine=replace(rooted.spine, trust_dir=tmp_path / "mine"))
        with pytest.raises(Untrusted, match="rollback"):
            trusts.load(mine.directory, memory)
        rotate(mine)
        assert trusts.load(mine.directory, memory)

    @pytest.mark.parametrize("name", ["timestamp.json", "snapshot", "targets", "1.root.json"])
    def test_nothing_may_be_missing_or_edited(self, rooted, name):
        path = rooted.metadata / (name if "." in name else newest(rooted, name))
        good = path.read_bytes()
        path.unlink()
        with pytest.raises(GuardError):
            rooted.spine.verify()
        envelope = parse_envelope(good)
        edited = replace(envelope, payload=envelope.payload.replace(b"2", b"3", 1))
        for bad in (b"", b"{}", b"[]", good[:-2], edited.to_json()):
            path.write_bytes(bad)
            with pytest.raises((Malformed, Untrusted)):
                rooted.spine.verify()

    def test_a_directory_of_both_forms_is_neither(self, rooted):
        (rooted.directory / "trust.toml").write_text("version = 1\n")
        with pytest.raises(UsageError, match="one of them must go"):
            rooted.spine.verify()

    @pytest.mark.parametrize(
        ("name", "version"),
        [("more.json", True), ("more.json", 1.5), ("more", 1), ("../more.json", 1), (".json", 1)],
    )
    def test_a_list_cannot_make_the_memory_unreadable(self, rooted, tmp_path, name, version):
        """By whoever has an online key: what is remembered must be read again."""
        memory = Memory(tmp_path / "state")
        stamp = newest(rooted, "snapshot")
        rooted.resign(
            stamp, lambda document: document["meta"].update({name: {"version": version}}), "root-1"
        )
        relist(rooted, newest(rooted, "targets"), "root-1")
        with pytest.raises(Malformed, match="lists"):
            trusts.load(rooted.directory, memory)
        assert memory.recall_trust() is None

    def test_a_state_that_was_tampered_with_is_an_error(self, rooted, tmp_path):
        memory = Memory(tmp_path / "state")
        trusts.load(rooted.directory, memory)
        (tmp_path / "state" / "trust.json").write_text('{"root": 0}')
        with pytest.raises(Malformed):
            trusts.load(rooted.directory, memory)


class TestTheClock:
    """Attack 17: monotonic against the latest time seen, with five minutes' skew."""

    def test_a_clock_turned_back_is_refused(self, spine, monkeypatch, tmp_path):
        memory = Memory(tmp_path / "state")
        memory.remember_time(spine_now(spine) + timedelta(minutes=4))
        assert spine.verify(state=memory)
        memory.remember_time(spine_now(spine) + timedelta(days=1))
        assert spine.codes(state=memory) == ["clock-turned-back"]
        assert spine.scan(state=memory).verdict.decision is Decision.BLOCK
        spine.scan()
        with pytest.raises(GateRefused, match="clock-turned-back"):
            spine.gate(state=memory)

    def test_a_question_about_the_past_is_told_and_changes_nothing(self, spine, tmp_path):
        memory = Memory(tmp_path / "state")
        now = spine_now(spine)
        memory.remember_time(now + timedelta(days=1))
        proof = spine.verify(state=memory, at=now)
        assert proof, "a warning"
        assert [problem.code for problem in proof.problems] == ["time-of-the-past"]
        scanned = spine.scan(state=memory, at=now)
        told = next(e for e in scanned.examinations if e.rule == "provenance")
        assert "time-of-the-past" in told.outcome.measured.statistics["asked_of_the_past"]
        with pytest.raises(GateRefused, match="give it no --state"):
            spine.gate(state=memory, at=now)
        assert spine.gate(at=now)

    def test_a_time_that_was_asked_about_is_not_remembered(self, spine, tmp_path):
        """Else one typing error in `--at` would lock everybody out for years."""
        memory = Memory(tmp_path / "state")
        spine.verify(state=memory, at=spine_now(spine) + timedelta(days=30))
        assert memory.recall_time() is None
        assert spine.verify(state=memory)
        assert memory.recall_time() is not None


def spine_now(spine):
    from datetime import UTC, datetime

    assert spine.batch.exists()
    return datetime.now(UTC).replace(microsecond=0)
