"""The manifest: what it says is what was signed, and what it cannot say it does not get past."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from guards.digest import Digest
from guards.errors import Malformed, UsageError
from guards.provenance.manifest import (
    Derivation,
    Manifest,
    Name,
    Source,
    parse,
    parse_name,
    payload,
)
from guards.provenance.roles import Roles
from guards.provenance.signing import PAYLOAD_TYPE, Envelope
from guards.provenance.snapshot import Entry, Snapshot

FULL = Manifest(
    name=Name("acme/flights", "2013-01"),
    version=3,
    snapshot=Snapshot(files=(Entry(path="a.csv", size=3, digest=Digest.of(b"abc")),)),
    created=datetime(2026, 1, 1, tzinfo=UTC),
    expires=datetime(2027, 1, 1, tzinfo=UTC),
    previous=Digest.of(b"before"),
    parents=(Digest.of(b"one"),),
    derivation=Derivation(
        method="release-clean",
        parent=Digest.of(b"one"),
        manifest=Digest.of(b"claim"),
        record=Digest.of(b"record"),
        policy=Digest.of(b"policy"),
        removed=4,
        rows=Digest.of(b"rows"),
        code="toadstone 0",
    ),
    sources=(
        Source(uri="https://example.org/x", retrieved="2026", license="CC0"),
        Source(uri="SHA256SUMS", digest=Digest.of(b"sums"), claim="checksums"),
    ),
    roles=Roles(label="y", features=("x",), ignored=("z",)),
    schema={"x": "Int64", "y": "String", "z": "Binary"},
    rows=3,
    label_counts={"late": 1, "on time": 2},
    profile=Digest.of(b"profile"),
)


def read(data: bytes) -> Manifest:
    return parse(Envelope(payload_type=PAYLOAD_TYPE, payload=data, signatures=()))


def test_a_source_without_a_foreign_claim_is_signed_as_it_always_was():
    first, second = json.loads(payload(FULL))["predicate"]["sources"]
    assert first == {"uri": "https://example.org/x", "retrieved": "2026", "license": "CC0"}
    assert second.keys() == {*first, "digest", "claim"}


def test_a_foreign_claim_has_its_digest():
    document = json.loads(payload(FULL))
    del document["predicate"]["sources"][1]["digest"]
    with pytest.raises(Malformed, match=r"sources\[1\]: has a claim without its digest"):
        read(json.dumps(document).encode())


def test_a_manifest_reads_what_it_writes():
    assert read(payload(FULL)) == FULL
    bare = Manifest(
        name=Name("acme/x"), version=0, snapshot=Snapshot(files=()), created=FULL.created
    )
    assert read(payload(bare)) == bare
    union = dataclasses.replace(bare, parents=(Digest.of(b"one"), Digest.of(b"two")))
    assert read(payload(union)) == union


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Manifest)])
def test_every_field_is_signed(field):
    """Whatever is left out of the payload could be changed by anybody."""
    empty = Manifest(
        name=Name("other/x"),
        version=1,
        snapshot=Snapshot(files=()),
        created=datetime(2025, 1, 1, tzinfo=UTC),
    )
    changed = dataclasses.replace(FULL, **{field: getattr(empty, field)})
    assert payload(changed) != payload(FULL)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("flights", Name("flights")),
        ("acme/flights", Name("acme/flights")),
        ("acme/flights/2013/01", Name("acme/flights", "2013/01")),
        ("アクメ/便", Name("アクメ/便")),
    ],
)
def test_a_name_is_read(text, name):
    assert parse_name(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "acme/",
        "/flights",
        "acme//x",
        "acme/../x",
        "acme/.",
        "acme/ flights",
        "acme/fli\nghts",
        "acme/fl\u202eights",
        "acme/fl\u200bights",
        "acme/fl\u00adights",
        "acme\\flights",
        "acme/e\u0301",
        "acme/" + "x" * 256,
        "acme/x\ud800",
        "acme/x\u2028y",
    ],
)
def test_a_name_that_could_be_mistaken_is_refused(text):
    with pytest.raises(UsageError, match="name"):
        parse_name(text)


@pytest.mark.parametrize(
    ("wanted", "given", "covered"),
    [
        ("acme/f", "acme/f", True),
        ("acme/f", "acme/f/1", True),
        ("acme/f/1", "acme/f", False),
        ("acme/f/1", "acme/f/2", False),
        ("acme/f", "acme/g", False),
        ("acme", "acme/f", False),
    ],
)
def test_an_expected_name_covers_its_partitions(wanted, given, covered):
    assert parse_name(wanted).covers(parse_name(given)) is covered
