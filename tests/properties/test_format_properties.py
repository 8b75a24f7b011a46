"""Properties of foreign formats: what is written is read, and any bytes are read or refused."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guards.digest import Digest
from guards.errors import Malformed, Untrusted
from guards.provenance import flat
from guards.provenance.entries import is_plain
from guards.provenance.formats import SIGNED, UNSIGNED, bagit, checksums, oms, slsa, tell, vsa
from guards.provenance.formats.claim import FlatDigest, ForeignClaim
from guards.provenance.formats.held import asked_of, hold
from guards.provenance.formats.intoto import Resource
from guards.provenance.manifest import Derivation, Manifest, parse_name
from guards.provenance.schemes import OPTIONS
from guards.provenance.signing import PrivateKey, parse_envelope, sign, signers
from guards.provenance.snapshot import Entry, Snapshot

quick = settings(max_examples=80, deadline=None)
KEY = PrivateKey(OPTIONS["ecdsa-p256"].make())
A = hashlib.sha256(b"a").hexdigest()
letters = st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))
part = st.text(letters, min_size=1, max_size=8)
path = st.lists(part, min_size=1, max_size=3).map("/".join).filter(is_plain)
paths = st.lists(path, min_size=1, max_size=6, unique=True)
# Of each unsigned format a document that is read, to be damaged.
DOCUMENTS = {
    "checksums": f"{A}  a/b.csv\nSHA256 (c) = {A}\n\\{A} *d\n".encode(),
    "croissant": json.dumps(
        {
            "@context": {"@vocab": "https://schema.org/", "cr": "http://mlcommons.org/croissant/"},
            "conformsTo": "http://mlcommons.org/croissant/1.1",
            "isLiveDataset": False,
            "distribution": [
                {"@type": "cr:FileObject", "contentUrl": "a", "sha256": A, "contentSize": "3 B"}
            ],
        }
    ).encode(),
    "frictionless": json.dumps(
        {"resources": [{"path": "a", "bytes": 3, "hash": f"sha256:{A}"}]}
    ).encode(),
    "dvc": f"outs:\n- md5: {A[:32]}\n  size: 3\n  path: a.csv\n".encode(),
}
DOCUMENTS["dvc "] = json.dumps([{"md5": A[:32], "relpath": "x"}]).encode()
DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def sound(claim: ForeignClaim) -> None:
    """What :class:`ForeignClaim` promises of everything that was parsed."""
    placed = [file.path for file in claim.files if file.path]
    assert all(map(is_plain, placed))
    assert len(placed) == len(set(placed))
    assert claim.limits
    for file in claim.files:
        assert file.size is None or 0 <= file.size < 2**53
        for digest in (*file.digests, *(shard.digest for shard in file.shards)):
            assert len(bytes.fromhex(digest.hex)) * 2 == len(digest.hex)
            assert digest.hex == digest.hex.lower()
        ends = [0, *(shard.end for shard in file.shards)]
        assert [shard.start for shard in file.shards] == ends[:-1]


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """The document with a stretch of it replaced: near enough to get past the first check."""
    places = st.integers(0, len(data))
    pieces = st.one_of(st.binary(max_size=6), st.sampled_from([b"\n", b'"', b"../", b"\\", b"9"]))
    return st.tuples(places, st.integers(0, 4), pieces).map(
        lambda cut: data[: cut[0]] + cut[2] + data[cut[0] + cut[1] :]
    )


@pytest.mark.parametrize("form", DOCUMENTS)
def test_the_document_to_be_damaged_is_read(form):
    sound(UNSIGNED[form.strip()](DOCUMENTS[form]))


@pytest.mark.parametrize("form", DOCUMENTS)
@given(data=st.data())
@quick
def test_any_bytes_are_an_unsigned_claim_or_malformed(form, data):
    bytes_ = data.draw(st.one_of(st.binary(max_size=200), damaged(DOCUMENTS[form])))
    with suppress(Malformed):
        sound(UNSIGNED[form.strip()](bytes_))


@given(
    declared=damaged(DECLARED),
    manifest=damaged(f"{A} data/a\n{A} data/b%25\n".encode()),
    tag=damaged(f"{A} bagit.txt\n".encode()),
    fetch=damaged(b"https://x/ 1 data/a\n"),
    keep=st.sets(st.sampled_from(["bagit.txt", "tagmanifest-sha256.txt", "fetch.txt"])),
)
@quick
def test_any_tag_files_are_a_bag_or_malformed(declared, manifest, tag, fetch, keep):
    tags = {
        "bagit.txt": declared,
        "manifest-sha256.txt": manifest,
        "tagmanifest-sha256.txt": tag,
        "fetch.txt": fetch,
    }
    clean = {"bagit.txt": DECLARED, "fetch.txt": b"", "tagmanifest-sha256.txt": b""}
    with suppress(Malformed):
        sound(bagit.read({**tags, **{name: clean[name] for name in keep}}))


def bundle(shard_size: int | None = 2) -> bytes:
    with tempfile.TemporaryDirectory() as home:
        Path(home, "a").write_bytes(b"abc")
        files = flat.read(Path(home), lambda path, size: oms.wanted(size, shard_size), [])
        return oms.write("a", files, KEY, shard_size)


BUNDLE = bundle()
AT = datetime(2026, 3, 1, tzinfo=UTC)
ONE = Digest(A)
MADE = Manifest(
    name=parse_name("acme/x"),
    version=2,
    created=AT,
    parents=(ONE,),
    snapshot=Snapshot(files=(Entry(path="a", size=1, digest=ONE),)),
    derivation=Derivation(
        method="m", parent=ONE, manifest=ONE, record=ONE, policy=ONE, removed=1, rows=ONE, code="c"
    ),
)
VERDICT = vsa.Verified(
    name=MADE.name,
    version=2,
    root=MADE.snapshot.root,
    passed=True,
    time=AT,
    policy=Resource(uri="p", digests=(FlatDigest("sha256", A),)),
    inputs=(),
    code="c",
)
PAYLOADS = {
    "oms": oms.envelope(BUNDLE).payload,
    "slsa": slsa.payload(MADE, [("a", FlatDigest("sha256", A))]),
    "vsa": vsa.payload(VERDICT),
}


@given(data=st.one_of(st.binary(max_size=200), damaged(BUNDLE)))
@example(data=BUNDLE)
@quick
def test_any_bytes_are_a_bundle_or_refused(data):
    with suppress(Malformed, Untrusted):
        envelope = oms.envelope(data)
        if signers(envelope, [KEY.public]):
            sound(oms.read(envelope))


@pytest.mark.parametrize("form", SIGNED)
def test_the_payload_to_be_damaged_is_read(form):
    sound(SIGNED[form][2](sign(PAYLOADS[form], KEY)))


@pytest.mark.parametrize("form", SIGNED)
@given(data=st.data())
@quick
def test_whatever_a_trusted_key_signs_is_a_claim_or_malformed(form, data):
    bytes_ = data.draw(st.one_of(st.binary(max_size=200), damaged(PAYLOADS[form])))
    with suppress(Malformed):
        sound(SIGNED[form][2](sign(bytes_, KEY)))


@given(data=st.one_of(st.binary(max_size=100), *map(damaged, [*DOCUMENTS.values(), BUNDLE])))
@quick
def test_the_format_of_any_bytes_is_told_or_refused(data):
    with suppress(Malformed):
        assert tell("claim", data) in (*UNSIGNED, *SIGNED)


@pytest.mark.parametrize("form", DOCUMENTS)
def test_the_format_of_a_document_is_told(form):
    name = "a.csv.dvc" if form == "dvc" else "claim"
    assert tell(name, DOCUMENTS[form]) == form.strip()
    assert tell("claim", BUNDLE) == "oms"
    assert tell("claim", oms.envelope(BUNDLE).to_json()) == "oms"


@given(paths=paths, tagged=st.booleans(), binary=st.booleans())
@quick
def test_checksums_are_read_as_coreutils_would_write_them(paths, tagged, binary):
    """A name with a backslash or a line end is escaped, and its line begins with a backslash."""
    lines = {p: hashlib.sha256(p.encode()).hexdigest() for p in paths}
    text = "".join(
        f"SHA256 ({p}) = {hex_}\n" if tagged else f"{hex_} {'*' if binary else ' '}{p}\n"
        for p, hex_ in lines.items()
    )
    claim = checksums.read(text.encode())
    assert {file.path: file.digests[0].hex for file in claim.files} == lines


@given(paths=paths)
@quick
def test_the_paths_of_a_bag_are_read_as_they_are_written(paths):
    """CR, LF and %, and only those, are percent-encoded (RFC 8493, 2.1.3)."""
    asked = [f"data/{p}" for p in paths if p == p.strip()]
    text = "".join(f"{A}  {p.replace('%', '%25')}\n" for p in asked)
    if asked:
        tags = {"bagit.txt": DECLARED, "manifest-sha256.txt": text.encode()}
        assert [file.path for file in bagit.read(tags).files] == sorted(asked, key=str.encode)


@given(
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=4),
    shard_size=st.one_of(st.none(), st.integers(1, 80)),
    seed=st.integers(0, 2**32),
)
@quick
def test_a_bundle_binds_every_byte_of_every_file(sizes, shard_size, seed):
    """Written and read back it lists the plain hash of each file, or of each range of it."""
    rng = random.Random(seed)
    sizes = [max(size, 1) if shard_size else size for size in sizes]
    content = {f"{number}.bin": rng.randbytes(size) for number, size in enumerate(sizes)}
    with tempfile.TemporaryDirectory() as home:
        for name, data in content.items():
            Path(home, name).write_bytes(data)
        files = list(flat.read(Path(home), lambda path, size: oms.wanted(size, shard_size), []))
        envelope = oms.envelope(oms.write("x", files, KEY, shard_size))
        assert signers(envelope, [KEY.public])
        claim = oms.read(envelope)
        for file in claim.files:
            whole = content[file.path]
            parts = [(0, None, d.hex) for d in file.digests]
            parts += [(s.start, s.end, s.digest.hex) for s in file.shards]
            told = [hashlib.sha256(whole[start:end]).hexdigest() for start, end, _ in parts]
            assert [hex_ for _, _, hex_ in parts] == told
            assert not file.shards or file.size == len(whole)
        wanted = asked_of(claim)
        found = flat.read(Path(home), lambda path, _: wanted[path], [])
        assert hold(claim, found, []).holds
        victim = rng.choice(sorted(content))
        if content[victim]:
            flipped = bytearray(content[victim])
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            Path(home, victim).write_bytes(flipped)
            found = flat.read(Path(home), lambda path, _: wanted[path], [])
            told = hold(claim, found, [])
            assert [(p.code, p.path) for p in told.refusals] == [("changed-file", victim)]


def test_an_envelope_of_any_format_is_verified_before_it_is_read():
    """The readers take an envelope, and the border asks for its signers first."""
    assert parse_envelope(oms.envelope(BUNDLE).to_json()) == oms.envelope(BUNDLE)
