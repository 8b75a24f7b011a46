"""An anchor moves when an approver says so, and by nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from guards.anchor import FILE, Acceptance, accept, is_anchor, read_anchor
from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, parse_profile, to_bytes
from guards.digest import Digest
from guards.errors import Malformed, Untrusted, UsageError
from guards.inputs import load_inputs
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse_name
from guards.provenance.signing import load_public, parse_envelope, sign
from guards.verdict import Policy

NAME = "acme/flights"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def profiles(tmp_path_factory) -> list[bytes]:
    """The files of three profiles."""
    made = []
    for shift in range(3):
        root = tmp_path_factory.mktemp("profile")
        pl.DataFrame({"x": range(shift, 50 + shift)}).write_parquet(root / "a.parquet")
        made.append(to_bytes(build_profile(open_dataset(root, ["a.parquet"]))))
    return made


@pytest.fixture
def trust(spine, keys) -> trusts.Trust:
    """Beside the spine's keys `both` is an approver, of acme only."""
    key = load_public(keys.pub("both"))
    trusts.add(spine.trust_dir, trusts.TrustedKey(key=key, roles=("approver",), names=("acme/*",)))
    return spine.trust


@pytest.fixture
def say(tmp_path, keys, trust):
    """Accept a profile into the anchor `tmp_path/anchor`."""

    def make(data: bytes, who: str = "both", name: str = NAME, *, checked: bool = True, **more):
        acceptance = Acceptance(
            name=parse_name(name), profile=Digest.of(data), reason="because", time=NOW
        )
        given = trust if checked else None
        accept(tmp_path / "anchor", data, replace(acceptance, **more), keys.private(who), given)
        return tmp_path / "anchor"

    return make


def policy(**more) -> Policy:
    return Policy(name="p", rules=("a",), required=(), **more)


def lines(anchor: Path) -> list[bytes]:
    return (anchor / FILE).read_bytes().splitlines(keepends=True)


def test_the_last_profile_accepted_is_the_reference(say, trust, profiles):
    for number, data in enumerate(profiles, start=1):
        anchor = say(data, reason=f"reason {number}")
        found = read_anchor(anchor, trust, parse_name(NAME), NOW)
        assert found.profile == parse_profile(data)
        assert [one.reason for one in found.accepted] == [f"reason {i + 1}" for i in range(number)]
    assert is_anchor(anchor)
    for data in profiles:
        assert (anchor / f"{Digest.of(data).hex}.profile").read_bytes() == data


def test_a_line_is_a_signed_statement_that_names_the_line_before(say, keys, profiles):
    say(profiles[0])
    anchor = say(profiles[1], reason="units were changed to kilometres")
    first, second = (line.rstrip(b"\n") for line in lines(anchor))
    envelope = parse_envelope(second)
    told = json.loads(envelope.payload)
    assert told["predicateType"] == "https://toadstone.dev/accepted-reference/v1"
    assert told["subject"] == [{"name": NAME, "digest": {"sha256": Digest.of(profiles[1]).hex}}]
    assert told["predicate"] == {
        "sequence": 1,
        "previous": str(Digest.of(first)),
        "reason": "units were changed to kilometres",
        "time": "2026-03-01T12:00:00Z",
    }
    assert load_public(keys.pub("both")).keyid == envelope.signatures[0][0]


def test_an_earlier_profile_can_be_accepted_again(say, trust, profiles):
    for data in (profiles[0], profiles[1], profiles[0]):
        anchor = say(data)
    found = read_anchor(anchor, trust, None, NOW)
    assert found.profile == parse_profile(profiles[0])
    assert len(found.accepted) == 3


@pytest.mark.parametrize("name", [NAME, f"{NAME}/2013-01"])
def test_a_partition_may_be_held_against_the_anchor_of_the_whole(say, trust, profiles, name):
    anchor = say(profiles[0])
    assert read_anchor(anchor, trust, parse_name(name), NOW)


@pytest.mark.parametrize("name", ["acme/other", "umbrella/flights"])
def test_an_anchor_of_another_name_is_refused(say, trust, profiles, name):
    anchor = say(profiles[0], name=f"{NAME}/2013-01")
    for other in (name, NAME, f"{NAME}/2013-02"):
        with pytest.raises(Untrusted, match="is of acme/flights/2013-01"):
            read_anchor(anchor, trust, parse_name(other), NOW)


@pytest.mark.parametrize("who", ["producer", "scanner", "stranger"])
def test_only_an_approver_may_accept(say, trust, profiles, who, tmp_path):
    with pytest.raises(UsageError, match="an approver of acme/flights accepts"):
        say(profiles[0], who)
    assert not is_anchor(tmp_path / "anchor")
    anchor = say(profiles[0], who, checked=False)
    with pytest.raises(Untrusted, match="accepted last"):
        read_anchor(anchor, trust, None, NOW)
    assert read_anchor(anchor, None, None).profile, "a scan that no gate admits takes it"


def test_an_approver_of_other_names_is_none(say, trust, profiles):
    with pytest.raises(UsageError, match="is not trusted for umbrella/x"):
        say(profiles[0], name="umbrella/x")


def test_a_line_that_nobody_trusted_added_refuses_the_whole(say, trust, profiles):
    say(profiles[0])
    anchor = say(profiles[1], "stranger", checked=False)
    with pytest.raises(Untrusted, match="no trusted key signed"):
        read_anchor(anchor, trust, None, NOW)
    say(profiles[1])
    assert read_anchor(anchor, trust, None, NOW).profile == parse_profile(profiles[1])


def test_a_key_that_has_expired_or_a_time_to_come_is_refused(say, keys, trust, profiles):
    anchor = say(profiles[0])
    with pytest.raises(Untrusted, match="in the future"):
        read_anchor(anchor, trust, None, NOW - timedelta(days=1))
    approver = load_public(keys.pub("both"))
    late = tuple(replace(key, expires=NOW) if key.key == approver else key for key in trust.keys)
    with pytest.raises(Untrusted, match="expired on"):
        read_anchor(anchor, trusts.Trust(keys=late), None, NOW + timedelta(days=1))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda held: held[1:],
        lambda held: [held[1], held[0], held[2]],
        lambda held: [held[0], held[2]],
        lambda held: [held[0], held[1].replace(b"sig", b"sgi"), held[2]],
        lambda held: [held[0], b"{}\n", held[2]],
        lambda held: [*held, held[2]],
    ],
)
def test_what_is_dropped_moved_or_edited_breaks_the_chain(say, trust, profiles, spoil):
    for data in profiles:
        anchor = say(data)
    (anchor / FILE).write_bytes(b"".join(spoil(lines(anchor))))
    with pytest.raises(Malformed):
        read_anchor(anchor, trust, None, NOW)
    with pytest.raises(Malformed):
        say(profiles[0])


def test_an_edited_reason_is_signed_by_nobody(say, trust, profiles):
    anchor = say(profiles[0])
    envelope = parse_envelope(lines(anchor)[0])
    forged = replace(envelope, payload=envelope.payload.replace(b"because", b"BECAUSE"))
    (anchor / FILE).write_bytes(forged.to_json() + b"\n")
    with pytest.raises(Untrusted, match="no trusted key signed"):
        read_anchor(anchor, trust, None, NOW)


def test_a_statement_of_another_kind_is_no_acceptance(say, keys, trust, profiles, spine):
    """A producer's manifest, put there as if it were one."""
    anchor = say(profiles[0])
    manifest = parse_envelope(spine.manifest.read_bytes())
    (anchor / FILE).write_bytes(sign(manifest.payload, keys.private("both")).to_json() + b"\n")
    with pytest.raises(Malformed, match="predicateType"):
        read_anchor(anchor, trust, None, NOW)


def test_a_profile_that_is_missing_or_changed_is_refused(say, trust, profiles):
    anchor = say(profiles[0])
    path = anchor / f"{Digest.of(profiles[0]).hex}.profile"
    path.write_bytes(profiles[1])
    with pytest.raises(Malformed, match="was changed"):
        read_anchor(anchor, trust, None, NOW)
    path.unlink()
    with pytest.raises(Malformed, match="is missing"):
        read_anchor(anchor, trust, None, NOW)


def test_what_is_no_profile_or_has_no_reason_is_not_accepted(say, profiles, tmp_path):
    with pytest.raises(Malformed):
        say(b"{}")
    for reason in ("", "  ", "x" * 1001, "fine\u202e", "fi\u200bne"):
        with pytest.raises(UsageError, match="--reason"):
            say(profiles[0], reason=reason)
    with pytest.raises(UsageError, match="is not the one that is given"):
        say(profiles[0], profile=Digest.of(b"other"))
    assert not is_anchor(tmp_path / "anchor")


def test_an_anchor_has_one_name(say, profiles):
    say(profiles[0])
    with pytest.raises(UsageError, match="is the anchor of acme/flights; choose another"):
        say(profiles[0], name="acme/other")


def test_an_empty_anchor_says_what_to_do(tmp_path, trust):
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(UsageError, match="toadstone accept"):
        read_anchor(tmp_path, trust, None, NOW)


def test_an_append_that_never_ended_is_dropped(say, trust, profiles):
    anchor = say(profiles[0])
    with (anchor / FILE).open("ab") as file:
        file.write(b'{"payload')
    assert read_anchor(anchor, trust, None, NOW).profile == parse_profile(profiles[0])
    say(profiles[1])
    assert read_anchor(anchor, trust, None, NOW).profile == parse_profile(profiles[1])


class TestAsTheReferenceOfAScan:
    def test_an_anchor_needs_no_pin(self, say, trust, profiles):
        anchor = say(profiles[0])
        name = parse_name(NAME)
        found = load_inputs(policy(), anchor, trust, NOW, name).reference
        assert found == parse_profile(profiles[0])
        named = policy(files={"reference": str(anchor)})
        assert load_inputs(named, None, trust, NOW, name).reference == found

    def test_a_pin_still_holds_it_fast(self, say, trust, profiles):
        anchor = say(profiles[0])
        pinned = policy(
            pins={"reference": str(Digest.of(profiles[0]))}, files={"reference": str(anchor)}
        )
        assert load_inputs(pinned, None, trust, NOW).reference
        say(profiles[1])
        with pytest.raises(Untrusted, match="but the policy pins"):
            load_inputs(pinned, None, trust, NOW)

    def test_a_scan_of_another_name_is_refused(self, say, trust, profiles):
        anchor = say(profiles[0])
        with pytest.raises(Untrusted, match="is of acme/flights, and the data is acme/other"):
            load_inputs(policy(), anchor, trust, NOW, parse_name("acme/other"))

    def test_a_scan_takes_it_end_to_end(self, say, spine, trust, tmp_path):
        """Drift against the anchor; a batch that passes does not move it."""
        own = to_bytes(build_profile(open_dataset(spine.batch, ["a.parquet", "more/b.parquet"])))
        anchor = say(own)
        rules = ("integrity", "provenance", "drift")
        looking = Policy(name="d", rules=rules, required=rules)
        before = (anchor / FILE).read_bytes()
        scanned = spine.scan(policy=looking, reference=anchor, at=datetime.now(UTC))
        drift = scanned.examinations[2]
        assert drift.inputs["reference"] == str(Digest.of(own))
        assert scanned.verdict
        assert (anchor / FILE).read_bytes() == before
        written = (scanned.run_dir / "profile.json").read_bytes()
        assert scanned.record.bindings["profile.json"] == Digest.of(written).hex
        assert written == own
