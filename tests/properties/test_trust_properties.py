"""Laws of the evaluator of trust, for every tree of delegations; and its search, done slowly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.provenance.authority import (
    Delegation,
    Revocation,
    Scope,
    Standing,
    Threshold,
    Trust,
    TrustedKey,
)
from guards.provenance.manifest import parse_name
from guards.provenance.schemes import spki
from guards.provenance.signing import PublicKey

NOW = datetime(2026, 1, 31, tzinfo=UTC)
KEYS = [
    PublicKey(spki(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32).public_key()))
    for n in range(1, 7)
]
NAME = parse_name("acme/flights/2026-01")
ROLES = ("producer", "deriver", "approver", "scanner")
PATTERNS = ("acme/*", "*", "acme/flights", "acme/weather", "acme/flights/2026-*")
thorough = settings(max_examples=80)

moments = st.sampled_from([None, NOW - timedelta(days=9), NOW + timedelta(days=9)])
reason = st.builds(
    Revocation,
    since=st.sampled_from([NOW - timedelta(days=1), NOW + timedelta(days=1)]),
    reason=st.just("lost"),
)


def holders(roles=ROLES, names=("*",)):
    return st.lists(
        st.builds(
            TrustedKey,
            key=st.sampled_from(KEYS),
            roles=st.just(roles),
            names=st.just(names),
            expires=moments,
            valid_from=moments,
            revoked=st.none() | reason,
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda one: one.key.spki,
    ).map(tuple)


scopes = st.builds(
    Scope,
    roles=st.lists(st.sampled_from([*ROLES, "*"]), min_size=1, max_size=2).map(tuple),
    names=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2).map(tuple),
    segments=st.booleans(),
)
standings = st.builds(
    Standing,
    name=st.just("piece"),
    version=st.just(1),
    expires=st.sampled_from([NOW - timedelta(days=1), NOW + timedelta(days=1)]),
)


@st.composite
def delegations(draw, deep=2):
    keys = draw(holders())
    below = draw(st.lists(delegations(deep=deep - 1), max_size=2)) if deep else []
    return Delegation(
        where=f"d{draw(st.integers(0, 99))}",
        keys=keys,
        threshold=draw(st.integers(1, len(keys))),
        scope=(draw(scopes),),
        terminating=draw(st.booleans()),
        standing=draw(standings) if below else None,
        signed_by=frozenset(draw(st.sets(st.sampled_from([one.key for one in keys])))),
        below=tuple(below),
        broken=draw(st.sampled_from(["", "", "", "is missing"])),
    )


counts = st.builds(
    Threshold,
    role=st.sampled_from(ROLES),
    names=st.just(("*",)),
    threshold=st.integers(1, 3),
)
trusts = st.builds(
    Trust,
    delegations=st.lists(delegations(), max_size=3).map(tuple),
    keys=st.just(()) | holders(names=("acme/*",)),
    thresholds=st.lists(counts, max_size=2).map(tuple),
    standing=st.lists(standings, max_size=1).map(tuple),
)
signers = st.sets(st.sampled_from(KEYS))
roles = st.sampled_from(ROLES)


@thorough
@given(trusts, signers, signers, roles)
def test_one_more_signature_never_turns_a_yes_into_a_no(trust, some, more, role):
    if trust.authorise(some, role, NAME, NOW):
        assert trust.authorise(some | more, role, NAME, NOW)


def revoke(trust: Trust, key: PublicKey) -> Trust:
    gone = Revocation(since=NOW - timedelta(days=3), reason="lost")

    def of(keys):
        return tuple(replace(k, revoked=gone) if k.key == key else k for k in keys)

    def within(one):
        return replace(one, keys=of(one.keys), below=tuple(map(within, one.below)))

    return replace(trust, keys=of(trust.keys), delegations=tuple(map(within, trust.delegations)))


@thorough
@given(trusts, signers, st.sampled_from(KEYS), roles)
def test_a_revocation_never_turns_a_no_into_a_yes(trust, some, key, role):
    if trust.authorise(some, role, NAME, NOW):
        return
    assert not revoke(trust, key).authorise(some, role, NAME, NOW)


@thorough
@given(trusts, signers, st.sampled_from(KEYS), roles)
def test_a_revoked_key_counts_for_nothing(trust, some, key, role):
    after = revoke(trust, key)
    assert bool(after.authorise(some, role, NAME, NOW)) is bool(
        after.authorise(some - {key}, role, NAME, NOW)
    )


@thorough
@given(trusts, signers, roles)
def test_nobody_outside_the_trust_changes_anything(trust, some, role):
    stranger = PublicKey(spki(Ed25519PrivateKey.from_private_bytes(b"s" * 32).public_key()))
    assert bool(trust.authorise(some, role, NAME, NOW)) is bool(
        trust.authorise(some | {stranger}, role, NAME, NOW)
    )


@thorough
@given(trusts, signers, roles)
def test_the_answer_is_what_its_steps_say(trust, some, role):
    found = trust.authorise(some, role, NAME, NOW)
    stale = any(step.rule == "metadata" and not step.ok for step in found.steps)
    able = {step.input for step in found.steps if step.rule == f"{role}-key" and step.ok}
    assert bool(found) is (len(able) >= found.threshold and not stale)


class _Ended(Exception):
    pass


def slowly(trust: Trust, some, role) -> bool:
    """TUF's search in its own words: preorder, depth first, ended by a terminating delegation.

    "If the role in question is a terminating delegation, [...] the search stops" (5.6.7.2).
    """
    stale = [one for one in trust.standing if one.expires < NOW]

    def enough(keys, needed):
        able = {k.key for k in keys if k.key in some and not k.refusal(role, NAME, NOW)}
        return len(able) >= needed

    def visit(one):
        if not any(scope.covers(role, NAME) for scope in one.scope):
            return False
        if enough(one.keys, one.threshold):
            return True
        if one.broken:
            stale.append(one)
        if one.standing is not None:
            if one.standing.expires < NOW:
                stale.append(one.standing)
            alive = {k.key for k in one.keys if not k.untimely(NOW)}
            if len(alive & one.signed_by) >= one.threshold and any(map(visit, one.below)):
                return True
        if one.terminating:
            raise _Ended
        return False

    try:
        found = any(map(visit, trust.delegations))
    except _Ended:
        return False
    if not found and (trust.keys or not trust.delegations):
        asked = [t.threshold for t in trust.thresholds if t.role == role]
        found = enough(trust.keys, max(asked, default=1))
    return found and not stale


@thorough
@given(trusts, signers, roles)
def test_the_search_is_tufs(trust, some, role):
    assert bool(trust.authorise(some, role, NAME, NOW)) is slowly(trust, some, role)


@pytest.mark.parametrize("role", ROLES)
def test_no_signature_is_never_enough(role):
    assert not Trust().authorise([], role, NAME, NOW)
