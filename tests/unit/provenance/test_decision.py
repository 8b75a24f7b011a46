"""The explanation of a decision is the decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from guards.errors import Untrusted
from guards.provenance import trust as trusts
from guards.provenance.decision import explain
from guards.provenance.manifest import parse_name
from guards.provenance.proof import Expectation, vouched
from guards.provenance.signing import add_signature, load_public, parse_envelope
from guards.publish import countersign


def now() -> datetime:
    """When it is asked, not when the tests were collected."""
    return datetime.now(UTC).replace(microsecond=0)


def told(spine, **more):
    expect = Expectation(at=more.pop("at", now()), **more)
    return explain(spine.manifest.read_bytes(), spine.trust, expect)


def outcomes(found, rule):
    return [(step.ok, step.outcome) for step in found.steps if step.rule == rule]


def strangers(spine):
    envelope = parse_envelope(spine.manifest.read_bytes())
    key = spine.keys.private("stranger")
    alone = replace(envelope, signatures=())
    spine.manifest.write_bytes(add_signature(alone, key).to_json())


def too_few(spine):
    asked = trusts.Threshold(role="producer", names=("acme/*",), threshold=2)
    trusts.require(spine.trust_dir, asked)


def revoked(spine):
    why = trusts.Revocation(since=now(), reason="lost")
    trusts.revoke(spine.trust_dir, load_public(spine.keys.pub("producer")), why)


SPOILT = {
    "nothing": lambda spine: None,
    "a stranger's": strangers,
    "too few": too_few,
    "revoked": revoked,
    "no envelope": lambda spine: spine.manifest.write_bytes(b"{}"),
    "no signature": lambda spine: spine.manifest.write_bytes(
        replace(parse_envelope(spine.manifest.read_bytes()), signatures=()).to_json()
    ),
    "a stranger beside": lambda spine: countersign(spine.batch, [spine.keys.private("stranger")]),
    "no manifest": lambda spine: spine.forge_bytes(b"{}"),
    "expired": lambda spine: spine.sign(version=2, expires=now() - timedelta(days=1)),
    "of the future": lambda spine: spine.sign(version=2, created=now() + timedelta(days=1)),
    "of another role": lambda spine: spine.forge_bytes(
        parse_envelope(spine.manifest.read_bytes()).payload, "scanner"
    ),
    "of another name": lambda spine: spine.forge_bytes(
        parse_envelope(spine.manifest.read_bytes()).payload, "neighbour"
    ),
    "derived by a producer": lambda spine: spine.forge(
        lambda d: d["predicate"]["dataset"].__setitem__("parents", ["0" * 64])
    ),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_it_says_yes_where_the_claim_is_believed_and_only_there(spine, spoil):
    spoil(spine)
    try:
        vouched(spine.manifest.read_bytes(), spine.trust, now(), "claim")
        believed = True
    except Untrusted:
        believed = False
    found = told(spine)
    assert bool(found) is believed
    assert all(step.rule and step.input and step.outcome for step in found.steps)
    if not found:
        assert not all(step.ok for step in found.steps)


def test_it_says_whose_each_signature_is(spine):
    countersign(spine.batch, [spine.keys.private("stranger")])
    envelope = parse_envelope(spine.manifest.read_bytes())
    twice = replace(envelope, signatures=(*envelope.signatures, envelope.signatures[0]))
    spine.manifest.write_bytes(twice.to_json())
    [(one, first), (two, second), (three, third)] = outcomes(told(spine), "signature")
    assert (one, two, three) == (True, False, True)
    assert first.endswith("as ed25519")
    assert second == "verifies by no key of the trust directory"
    assert third.endswith("which is counted already")


def test_it_is_told_as_of_the_time_asked_for(spine):
    revoked(spine)
    [(ok, why)] = outcomes(told(spine), "producer-key")
    assert not ok
    assert why.endswith(": lost")
    assert told(spine, at=now() - timedelta(days=1)).steps != told(spine).steps


def test_what_is_expected_is_held_against_it(spine):
    assert told(spine, name=parse_name("acme/flights"), version=1)
    for more in ({"name": parse_name("acme/other")}, {"version": 2}):
        [(ok, why)] = outcomes(told(spine, **more), "in-force")
        assert not ok
        assert why.startswith("wrong-")
