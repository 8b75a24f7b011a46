"""Whatever the keepers sign: a trust is read, or refused by a typed error, and nothing else.

Signatures are good in each example, so that what lies behind them is reached: python-tuf's own
classes take much that is no metadata.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards.digest import Digest, canonical_json
from guards.errors import GuardError, Malformed
from guards.provenance import tufdata
from guards.provenance.manifest import parse_name
from guards.provenance.rooted import evaluate, files
from guards.provenance.signing import PAYLOAD_TYPE, Envelope, add_signature, parse_envelope
from guards.provenance.waivers import Waiver, parse, payload, weigh

NAME = parse_name("acme/flights/2013-01")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["root", "targets", "producer/*/*", "ed25519", "9999-12-31T23:59:59Z", "*"]),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3),
    max_leaves=6,
)
harsh = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(document, way=()):
    """Every place in a document: keys and indices from the top."""
    yield way
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items if isinstance(document, dict | list) else ():
        yield from places(value, (*way, key)) if isinstance(value, dict | list) else [(*way, key)]


def put(document, way, value, *, drop: bool):
    """The document with another value at a place, or without it."""
    if not way:
        return value
    made = copy.deepcopy(document)
    inner = made
    for key in way[:-1]:
        inner = inner[key]
    if drop:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return made


@pytest.fixture(scope="module")
def held(_rooted_template):
    """The documents of a trust, its keys, and the names of what is in force."""
    found = files(_rooted_template.metadata)
    newest = {}
    for role in ("root", "snapshot", "targets"):
        named = [name for name in found if name.endswith(f".{role}.json")]
        newest[role] = max(named, key=lambda name: int(name.split(".")[0]))
    private = [_rooted_template.spine.keys.private(f"root-{n}") for n in (1, 2, 3)]
    return found, {**newest, "timestamp": "timestamp.json"}, private


def signed(document, keys) -> bytes:
    made = Envelope(
        payload_type=tufdata.PAYLOAD_TYPE, payload=canonical_json(document), signatures=()
    )
    for key in keys:
        made = add_signature(made, key)
    return made.to_json()


def relisted(documents, names, keys):
    """The snapshot and the timestamp name the others as they are now."""
    made = dict(documents)
    for lists, role in (("snapshot", "targets"), ("timestamp", "snapshot")):
        document = json.loads(parse_envelope(made[names[lists]]).payload)
        data = made[names[role]]
        meta = {"length": len(data), "hashes": {"sha256": Digest.of(data).hex}}
        document["meta"][f"{role}.json"].update(meta)
        made[names[lists]] = signed(document, keys)
    return made


@harsh
@given(
    data=st.data(),
    role=st.sampled_from(["root", "timestamp", "snapshot", "targets"]),
    value=values,
    drop=st.booleans(),
)
def test_what_keepers_sign_is_a_trust_or_a_typed_refusal(held, data, role, value, drop):
    documents, names, keys = held
    document = json.loads(parse_envelope(documents[names[role]]).payload)
    way = data.draw(st.sampled_from(list(places(document))), label="place")
    edited = dict(documents)
    edited[names[role]] = signed(put(document, way, value, drop=drop), keys)
    if role == "targets":
        edited = relisted(edited, names, keys)
    try:
        trust = evaluate(edited).trust
    except GuardError:
        return
    at = trust.standing[0].expires - timedelta(days=364)
    trust.authorise(trust.public, "producer", NAME, at)
    assert trust.digest


@harsh
@given(raw=st.binary(max_size=200), name=st.sampled_from(["root", "timestamp", "targets"]))
def test_bytes_are_no_trust(held, raw, name):
    documents, names, _ = held
    with pytest.raises(GuardError):
        evaluate({**documents, names[name]: raw})


WAIVER = Waiver(
    name=NAME,
    version=1,
    root=Digest.of(b"root"),
    rule="quality",
    code="",
    severity="medium",
    reason="seen",
    created=datetime(2026, 1, 1, tzinfo=UTC),
    expires=datetime(2026, 2, 1, tzinfo=UTC),
)


@harsh
@given(data=st.data(), value=values, drop=st.booleans())
def test_what_approvers_sign_is_a_waiver_or_malformed(data, value, drop):
    document = json.loads(payload(WAIVER))
    way = data.draw(st.sampled_from(list(places(document))), label="place")
    edited = canonical_json(put(document, way, value, drop=drop))
    try:
        found = parse(envelope(edited))
    except Malformed:
        return
    assert parse(envelope(payload(found))) == found


def envelope(data: bytes) -> Envelope:
    return Envelope(payload_type=PAYLOAD_TYPE, payload=data, signatures=())


@harsh
@given(raw=st.binary(max_size=200))
def test_bytes_are_no_waiver(trust, raw):
    assert not weigh(raw, trust, WAIVER.created, (NAME, 1, WAIVER.root))
