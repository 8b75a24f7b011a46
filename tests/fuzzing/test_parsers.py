"""Every parser that faces untrusted bytes: it reads them, or refuses them by a GuardError.

Anything else is a defect: a traceback, and so a crash where there should be a no. The seeds are
documents that are read; they are damaged here and there, as JSON and as bytes. `make fuzz` lets
atheris look for more, guided by the branches that are taken, from the same seeds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards import record, verdict
from guards.data.contract.suite import parse_suite
from guards.data.profiles.file import parse_profile
from guards.digest import Digest, canonical_json
from guards.errors import GuardError
from guards.provenance import (
    checkpoint,
    listing,
    logproof,
    manifest,
    note,
    part,
    signing,
    strictjson,
    trust,
    trustfile,
    tufdata,
    waivers,
)
from guards.provenance import formats as foreign
from guards.provenance.entries import described
from guards.provenance.formats import bagit, oms, slsa, vsa
from guards.provenance.signing import PAYLOAD_TYPE, Envelope, PrivateKey
from guards.provenance.snapshot import Entry, Snapshot
from guards.provenance.strictjson import Node

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HEX = Digest.of(b"a").hex
NAME = manifest.parse_name("acme/flights/2026-11")


def key() -> PrivateKey:
    """Always the same, so that the seeds are."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def inside(parse: Callable[[Envelope], object]) -> Callable[[bytes], object]:
    """The bytes as the payload of an envelope whose signature was good."""
    return lambda data: parse(Envelope(payload_type=PAYLOAD_TYPE, payload=data, signatures=()))


def in_file(read: Callable[[Path], object], name: str = "f") -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as home:
            path = Path(home) / name
            path.write_bytes(data)
            return read(path)

    return parse


def text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """What comes from a command line or a header: any letters that UTF-8 has."""
    return lambda data: parse(data.decode(errors="replace"))


def claim() -> bytes:
    files = (
        Entry(path="a/b.csv", size=3, digest=Digest.of(b"abc")),
        Entry(path="c.csv", size=0, digest=Digest.of(b"")),
    )
    source = manifest.Source(
        uri="https://example.org/a", retrieved="2026-10-01", digest=Digest.of(b"source")
    )
    made = manifest.Manifest(
        name=NAME,
        version=3,
        snapshot=Snapshot(files=files),
        created=NOW,
        expires=NOW.replace(year=2027),
        previous=Digest.of(b"p"),
        sources=(source,),
        schema={"x": "Int64"},
        rows=4,
        label_counts={"a": 4},
    )
    return manifest.payload(made)


def judgement() -> bytes:
    made = record.Record(
        name=NAME,
        version=3,
        root=Digest.of(b"root"),
        decision=verdict.Decision.PASS,
        reasons=("nothing",),
        policy=Digest.of(b"policy"),
        policy_name="default",
        admits=True,
        seed=7,
        replay=False,
        code="1",
        time=NOW,
        producers=(HEX,),
        examinations=(record.Examined(rule="labels", outcome="ran", digest=Digest.of(b"e")),),
        bindings={"report.json": HEX},
    )
    return record.payload(made)


def waiver() -> bytes:
    return waivers.payload(
        waivers.Waiver(
            name=NAME,
            version=3,
            root=Digest.of(b"root"),
            rule="drift",
            code="",
            severity="medium",
            reason="seen",
            created=NOW,
            expires=NOW.replace(year=2027),
        )
    )


def logged() -> bytes:
    about = checkpoint.Checkpoint(size=4, root=Digest.of(b"root"), origin="log.example/1")
    return checkpoint.sign_checkpoint(about, key()).text.encode()


def listed() -> bytes:
    entries = (Entry(path=f"{n}.csv", size=n, digest=Digest.of(b"x")) for n in range(3))
    return b"".join(canonical_json(one) + b"\n" for one in described(entries))


def read_list(data: bytes) -> object:
    """A list whose digest was signed: so nothing but its form is in question."""
    from guards.digest import Hasher

    hasher = Hasher()
    hasher.update(data)
    whole = hasher.digest()
    about = listing.Listing(entries=3, size=hasher.size, digest=whole, chunks=tuple(hasher.leaves))
    return in_file(lambda path: list(listing.read_listing(about, path)))(data)


def read_trust(data: bytes) -> object:
    def read(path: Path) -> object:
        (path.parent / "key.pub").write_bytes(public_pem())
        return trustfile.read(path.parent)

    return in_file(read, trustfile.FILE)(data)


def public_pem() -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_der_public_key,
    )

    public = load_der_public_key(key().public.spki)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def default_policy() -> list[bytes]:
    return [(verdict.BUILTIN / "default.toml").read_bytes()]


TRUST = b"""version = 1
[[key]]
file = "key.pub"
roles = ["producer"]
names = ["acme/*"]
expires = 2027-01-01T00:00:00Z
[[threshold]]
role = "producer"
names = ["acme/*"]
threshold = 1
"""
SUITE = {
    "name": "flights",
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "x", "min_value": 0, "max_value": 9, "mostly": 0.9},
            "meta": {},
        }
    ],
    "meta": {"great_expectations_version": "1.24.0"},
}
ROOT = {
    "_type": "root",
    "version": 1,
    "spec_version": "1.0.31",
    "expires": "2027-01-01T00:00:00Z",
    "consistent_snapshot": True,
    "keys": {},
    "roles": {r: {"keyids": [], "threshold": 1} for r in tufdata.TOP_LEVEL},
}
CROISSANT = {
    "@context": {"@vocab": "https://schema.org/", "cr": "http://mlcommons.org/croissant/"},
    "conformsTo": "http://mlcommons.org/croissant/1.1",
    "distribution": [
        {"@type": "cr:FileObject", "contentUrl": "a", "sha256": HEX, "contentSize": "3 B"}
    ],
}
STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "a", "digest": {"sha256": HEX}}],
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {"buildDefinition": {"buildType": "x"}, "runDetails": {"builder": {"id": "x"}}},
}


@dataclass(frozen=True)
class Target:
    """A parser, and documents that it reads or nearly reads."""

    parse: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


def tuf_metadata(data: bytes) -> None:
    for kind in tufdata.TOP_LEVEL:
        try:
            tufdata.parse(data, kind, "metadata")
        except GuardError:
            continue


def tag_files(data: bytes) -> object:
    """A bag whose files are parted by a NUL."""
    names = ("bagit.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", "fetch.txt")
    return bagit.read(dict(zip(names, data.split(b"\0"), strict=False)))


BAG = b"\0".join(
    (
        b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        f"{HEX}  data/a%0Ab\n".encode(),
        f"{HEX} bagit.txt\n".encode(),
        b"https://example.org/a 12 data/a\n",
    )
)
EMPTY_PEM = b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"
TARGETS: dict[str, Target] = {
    "strict-json": Target(lambda data: strictjson.loads(data, "x"), lambda: [b'{"a":[1,"b"]}']),
    "envelope": Target(signing.parse_envelope, lambda: [signing.sign(claim(), key()).to_json()]),
    "manifest": Target(inside(manifest.parse), lambda: [claim()]),
    "files.jsonl": Target(read_list, lambda: [listed()]),
    "record": Target(inside(record.parse), lambda: [judgement()]),
    "waiver": Target(inside(waivers.parse), lambda: [waiver()]),
    "policy": Target(
        in_file(verdict.load_policy, "p.toml"),
        lambda: [(verdict.BUILTIN / "default.toml").read_bytes()],
    ),
    "trust.toml": Target(read_trust, lambda: [TRUST]),
    "tuf": Target(tuf_metadata, lambda: [json.dumps(ROOT).encode()]),
    "note": Target(note.parse_note, lambda: [logged()]),
    "checkpoint": Target(checkpoint.read_checkpoint, lambda: [logged()]),
    "log-proof": Target(
        lambda data: logproof.check(data, trust.Trust(keys=())),
        lambda: [b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + logged()],
    ),
    "public-key": Target(in_file(signing.load_public, "key.pub"), lambda: [public_pem()]),
    "private-key": Target(in_file(signing.load_private, "key.pem"), lambda: [EMPTY_PEM]),
    "profile": Target(parse_profile, lambda: [b'{"schema":"toadstone-profile/2"}']),
    "contract": Target(
        lambda data: parse_suite(strictjson.loads(data, "x").mapping()),
        lambda: [json.dumps(SUITE).encode()],
    ),
    "croissant": Target(
        lambda data: foreign.read("croissant", data), lambda: [json.dumps(CROISSANT).encode()]
    ),
    "checksums": Target(
        lambda data: foreign.read("checksums", data),
        lambda: [f"{HEX}  a/b.csv\nSHA256 (c) = {HEX}\n\\{HEX} *d\\n\n".encode()],
    ),
    "frictionless": Target(
        lambda data: foreign.read("frictionless", data),
        lambda: [json.dumps({"resources": [{"path": "a", "bytes": 3, "hash": HEX}]}).encode()],
    ),
    "dvc": Target(
        lambda data: foreign.read("dvc", data),
        lambda: [f"outs:\n- md5: {HEX[:32]}\n  size: 3\n  path: a.csv\n".encode()],
    ),
    "bag": Target(tag_files, lambda: [BAG]),
    "oms-bundle": Target(oms.envelope, lambda: [b'{"mediaType":"x","dsseEnvelope":{}}']),
    "oms": Target(inside(oms.read), lambda: [json.dumps(STATEMENT).encode()]),
    "slsa": Target(inside(slsa.read), lambda: [json.dumps(STATEMENT).encode()]),
    "vsa": Target(inside(vsa.read), lambda: [json.dumps(STATEMENT).encode()]),
    "tell": Target(lambda data: foreign.tell("f", data), lambda: [json.dumps(CROISSANT).encode()]),
    "name": Target(text(manifest.parse_name), lambda: [b"acme/flights/2026-11"]),
    "time": Target(text(trust.parse_time), lambda: [b"2026-11-01T00:00:00Z"]),
    "range": Target(text(part.parse_range), lambda: [b"a.bin:0:1048576"]),
}


def read_or_refused(target: str, data: bytes) -> None:
    """The one rule: no other exception leaves a parser."""
    try:
        TARGETS[target].parse(data)
    except GuardError:
        return


ODD = (
    *(
        None,
        True,
        0,
        -1,
        1.5,
        2**53,
        1e308,
        "",
        "a",
        "\u202e",
        "sha256:" + "0" * 64,
        "\x00",
        "../x",
    ),
    *("2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "x" * 5000, [], {}, [[]], {"": {}}),
)
odd: st.SearchStrategy[Any] = st.sampled_from(ODD).map(deepcopy)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [at, *(place for k, v in inner for place in places(v, (*at, k)))]


@st.composite
def damaged(draw: st.DrawFn, seed: bytes) -> bytes:
    """A document with some values exchanged, taken out or added; or with bytes cut and pasted."""
    try:
        document = json.loads(seed)
    except ValueError:
        document = None
    if isinstance(document, dict) and draw(st.integers(0, 3)):
        for _ in range(draw(st.integers(1, 3))):
            _damage(draw, document)
        return json.dumps(document, ensure_ascii=False).encode()
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 12)))
        data[start:end] = draw(st.binary(max_size=8) | st.sampled_from([b"\n", b'"', b"\0", b"{"]))
    return bytes(data)


def _damage(draw: st.DrawFn, document: dict[str, Any]) -> None:
    place = draw(st.sampled_from(places(document)))
    if not place:
        document[draw(st.text(max_size=5))] = draw(odd)
        return
    holder: Any = document
    for step in place[:-1]:
        holder = holder[step]
    if draw(st.booleans()):
        holder[place[-1]] = draw(odd)
    else:
        del holder[place[-1]]


WHOLE = ("manifest", "record", "waiver", "envelope", "files.jsonl", "policy", "trust.toml")


@pytest.mark.parametrize("target", WHOLE)
def test_the_documents_to_be_damaged_are_read(target):
    for seed in TARGETS[target].seeds():
        TARGETS[target].parse(seed)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_documents_are_read_or_refused(target, data):
    seed = data.draw(st.sampled_from(TARGETS[target].seeds()))
    read_or_refused(target, data.draw(damaged(seed)))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_read_or_refused(target, data):
    read_or_refused(target, data)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"a":' * 50_000, b"9" * 50_000, b"\xff\xfe", b"\xef\xbb\xbf{}", b"1e999"],
    ids=["brackets", "braces", "digits", "utf-16", "bom", "infinity"],
)
def test_bombs_are_refused(target, data):
    """Each in the time and memory that a short document takes; the digits may be an odd name."""
    read_or_refused(target, data)
    assert Node(1)  # whoever is here was not ended
