"""OMS bundles: ours and the released tool's, read and written both ways; what is no bundle refused.

The tests that take `peer` run `model-signing` as it is released, in a process of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from guards.digest import CHUNK
from guards.errors import Malformed, Untrusted, UsageError
from guards.foreign import Asked, look
from guards.provenance import flat
from guards.provenance.formats import oms
from guards.provenance.manifest import parse_name
from guards.provenance.signing import sign, signers
from guards.provenance.snapshot import take

NAME = parse_name("acme/flights")
SHARDS = (None, 100, 7, 1_000_000)
# The tool takes seconds to start, so it is asked about each kind of thing once.
WITH_PEER = pytest.mark.parametrize(
    ("kind", "shard_size"),
    [("ecdsa-p256", None), ("ecdsa-p384", None), ("ecdsa-p256", 100), ("ecdsa-p256", 1_000_000)],
)


def written(place, shard_size=None, kind="ecdsa-p256"):
    """A bundle of ours over the dataset, as a file beside it."""
    unsafe = []
    files = flat.read(place.dataset, lambda path, size: oms.wanted(size, shard_size), unsafe)
    path = place.home / "ours.json"
    path.write_bytes(oms.write("acme/flights", files, place.key(kind), shard_size))
    assert not unsafe
    return path


def held(place, path, kind="ecdsa-p256", **more):
    asked = {"trust": place.trust(kind), "name": NAME, **more}
    return look(Asked(dataset=place.dataset, claim=path, **asked))


def forged(path, edit, key):
    """The same bundle with an edited statement that a trusted key signed."""
    bundle = json.loads(path.read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    edit(statement["predicate"], statement)
    envelope = json.loads(sign(json.dumps(statement).encode(), key).to_json())
    bundle["dsseEnvelope"] = envelope
    path.write_text(json.dumps(bundle))


@WITH_PEER
def test_the_released_tool_accepts_ours(place, peer, kind, shard_size):
    path = written(place, shard_size, kind)
    public = place.pem(kind).with_name("key.pub")
    done = peer("verify", place.dataset, path, public, 0)
    assert done.returncode == 0, done.stderr
    (place.dataset / "a.csv").write_bytes(b"x,y\n1,3\n" * 50)
    assert "Hash mismatch" in peer("verify", place.dataset, path, public, 0).stderr


@WITH_PEER
def test_we_accept_what_the_released_tool_signs(place, peer, kind, shard_size):
    path = place.home / "theirs.json"
    done = peer("sign", place.dataset, path, place.pem(kind), shard_size or 0)
    assert done.returncode == 0, done.stderr
    found = held(place, path, kind)
    assert found.holds, found.problems
    assert found.proved == 3
    assert any(".gitattributes" in note for note in found.claim.notes)
    (place.dataset / "a.csv").write_bytes(b"x,y\n1,3\n" * 50)
    assert [problem.code for problem in held(place, path, kind).refusals] == ["changed-file"]


@pytest.mark.parametrize("shard_size", SHARDS)
def test_what_we_write_we_read(place, shard_size):
    found = held(place, written(place, shard_size))
    assert found.holds, found.problems
    assert found.proved == len(found.claim.files) == 3
    with pytest.raises(TypeError, match="no proof of ours"):
        bool(found)


def test_the_root_digest_of_the_released_tool_is_ours(place, peer):
    theirs = place.home / "theirs.json"
    assert peer("sign", place.dataset, theirs, place.pem(), 0).returncode == 0
    both = []
    for path in (theirs, written(place)):
        payload = json.loads(path.read_bytes())["dsseEnvelope"]["payload"]
        both.append(json.loads(base64.b64decode(payload))["subject"][0]["digest"])
    assert both[0] == both[1]


class TestSignatures:
    def test_a_stranger_is_told_before_anything_is_read(self, place):
        path = written(place)
        forged(path, lambda predicate, top: top.clear(), place.key("ecdsa-p384"))
        with pytest.raises(Untrusted, match="no key of the trust directory signed it"):
            held(place, path)

    def test_a_changed_payload_is_nobodys(self, place):
        path = written(place)
        path.write_text(path.read_text().replace('"payload":"ey', '"payload":"eX'))
        with pytest.raises(Untrusted, match="no key"):
            held(place, path)

    def test_a_key_for_other_names_does_not_count(self, place):
        found = held(place, written(place), name=parse_name("umbrella/x"))
        assert not found.holds
        assert [problem.code for problem in found.refusals] == ["untrusted-key"]

    def test_nor_does_a_key_that_is_no_producers(self, place):
        found = held(place, written(place), trust=place.trust(role="scanner"))
        assert "has not the role producer" in found.refusals[0].actual

    def test_a_name_has_to_be_expected_since_a_bundle_binds_none(self, place):
        with pytest.raises(UsageError, match="--name"):
            held(place, written(place), name=None)

    def test_and_a_trust(self, place):
        with pytest.raises(UsageError, match="--trust"):
            held(place, written(place), trust=None, name=None)

    def test_no_other_kind_of_key_signs_one(self, place):
        with pytest.raises(UsageError, match="keygen --type ecdsa-p256"):
            written(place, kind="ed25519")

    def test_a_version_cannot_be_expected(self, place):
        found = held(place, written(place), version=3)
        assert "binds no version, not version 3" in found.refusals[0].actual


class TestBundles:
    @pytest.mark.parametrize(
        ("edit", "says"),
        [
            (lambda b: b.pop("dsseEnvelope"), "'dsseEnvelope' is missing"),
            (lambda b: b.pop("verificationMaterial"), "'verificationMaterial' is missing"),
            (lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle"), "mediaType"),
            (lambda b: b.update(more=1), "unknown key 'more'"),
            (lambda b: b.update(verificationMaterial={"tlogEntries": []}), "has no publicKey"),
            (lambda b: b["dsseEnvelope"].update(payload="!"), "not base64"),
        ],
    )
    def test_what_is_no_bundle(self, place, edit, says):
        path = written(place)
        bundle = json.loads(path.read_bytes())
        edit(bundle)
        with pytest.raises(Malformed) as told:
            oms.envelope(json.dumps(bundle).encode())
        assert says in str(told.value)

    @pytest.mark.parametrize("kind", ["certificate", "x509CertificateChain"])
    def test_certificates_are_refused_by_name(self, place, kind):
        bundle = json.loads(written(place).read_bytes())
        bundle["verificationMaterial"] = {kind: {}, "tlogEntries": []}
        with pytest.raises(Untrusted, match="certificate"):
            oms.envelope(json.dumps(bundle).encode())

    def test_the_hint_decides_nothing(self, place):
        bundle = json.loads(written(place).read_bytes())
        bundle["verificationMaterial"]["publicKey"] = {"hint": "0" * 64}
        envelope = oms.envelope(json.dumps(bundle).encode())
        assert signers(envelope, [place.key().public]) == {place.key().public}


def resources(edit):
    """An edit of the resources that keeps their root digest consistent, as an attacker would."""

    def apply(predicate, top):
        edit(predicate["resources"])
        whole = b"".join(bytes.fromhex(each["digest"]) for each in predicate["resources"])
        top["subject"][0]["digest"]["sha256"] = hashlib.sha256(whole).hexdigest()

    return apply


def options(**more):
    return lambda predicate, top: predicate["serialization"].update(more)


def rename(number, name):
    return resources(lambda listed: listed[number].update(name=name))


@pytest.mark.parametrize(
    ("shard_size", "edit", "says"),
    [
        (None, rename(0, "../a.csv"), "resources[0].name: '../a.csv' is not a plain"),
        (None, rename(0, "/etc/passwd"), "is not a plain relative path"),
        (None, resources(lambda listed: listed.append(listed[0])), "a.csv: is listed twice"),
        (None, rename(1, "./a.csv"), "a.csv: is listed twice"),
        (None, lambda p, t: p["resources"].pop(), "is not the digest of the digests listed"),
        (None, lambda p, t: t["subject"].append(t["subject"][0]), "exactly one subject"),
        (None, lambda p, t: t.update(predicateType="https://x.example/v1.0"), "predicateType"),
        (None, options(hash_type="md5"), "'md5' is none of"),
        (None, options(hash_type="blake3"), "'blake3' is none of"),
        (None, options(method="tensors"), "method must be files"),
        (None, options(shard_size=4), "method must be files"),
        (None, options(extra=1), "unknown key 'extra'"),
        (None, resources(lambda listed: listed[0].update(algorithm="md5")), "must be sha256"),
        (None, resources(lambda listed: listed[0].update(digest="AB")), "is no sha256"),
        (None, resources(lambda listed: listed[0].update(digest="ab")), "is no sha256"),
        (100, options(shard_size=0.5), "must be a number of bytes"),
        (100, options(shard_size=0), "must be a number of bytes"),
        (100, options(shard_size=True), "must be a number of bytes"),
        (100, rename(0, "a.csv:0:101"), "at most 100 bytes"),
        (100, rename(0, "a.csv:00:100"), "is not path:start:end"),
        (100, rename(0, "a.csv:100:0"), "is not path:start:end"),
        (100, rename(0, "a.csv"), "is not path:start:end"),
        (100, rename(1, "a.csv:0:100"), "does not go on where"),
        (100, rename(1, "a.csv:101:200"), "does not go on where"),
        (100, rename(0, "a.csv:0:99"), "does not go on where"),
    ],
)  # fmt: skip
def test_what_a_trusted_key_may_sign_and_we_do_not_read(place, shard_size, edit, says):
    path = written(place, shard_size)
    forged(path, edit, place.key())
    with pytest.raises(Malformed) as told:
        held(place, path)
    assert says in str(told.value)


def test_what_the_signer_chose_to_ignore_is_not_ignored(place):
    path = written(place)
    forged(path, options(ignore_paths=["evil.py"], allow_symlinks=True), place.key())
    found = held(place, path)
    assert found.holds
    assert "its signer left out evil.py; here nothing is left out" in found.claim.notes
    assert "its signer followed links; here they are refused" in found.claim.notes
    (place.dataset / "evil.py").write_text("import os")
    assert [p.code for p in held(place, path).refusals] == ["extra-file"]


class TestShards:
    def test_both_names_of_the_algorithm_and_a_float_as_size_are_read(self, place):
        for size in (100, 100.0):
            for name in ("sha256", "sha256-sharded-100", "sha256-sharded-100.0"):
                path = written(place, 100)

                def edit(predicate, top, size=size, name=name):
                    predicate["serialization"]["shard_size"] = size
                    for each in predicate["resources"]:
                        each["algorithm"] = name

                forged(path, edit, place.key())
                assert held(place, path).holds

    def test_an_empty_file_cannot_be_written_and_is_refused_when_read(self, place):
        path = written(place, 100)
        (place.dataset / "empty").touch()
        assert [p.code for p in held(place, path).refusals] == ["extra-file"]
        with pytest.raises(UsageError, match="empty is empty"):
            written(place, 100)
        assert held(place, written(place)).holds

    def test_nor_can_a_colon_in_a_path(self, place):
        (place.dataset / "day:1.csv").write_text("x")
        with pytest.raises(UsageError, match="colon"):
            written(place, 100)
        assert held(place, written(place)).holds

    @pytest.mark.parametrize("change", [b"", b"more than was signed"])
    def test_a_file_of_another_length_is_told_by_its_length(self, place, change):
        path = written(place, 100)
        size = (place.dataset / "a.csv").stat().st_size
        with (place.dataset / "a.csv").open("r+b") as file:
            file.truncate(size if change else size - 1)
            file.seek(0, 2)
            file.write(change)
        codes = [problem.code for problem in held(place, path).refusals]
        assert codes == ["grown-file" if change else "truncated-file"]


def test_a_dataset_larger_than_a_chunk_of_ours_is_bound_by_its_plain_hash(place):
    (place.dataset / "large.bin").write_bytes(b"\0" * (CHUNK + 5))
    for shard_size in (None, CHUNK // 3):
        found = held(place, written(place, shard_size))
        assert found.holds, found.problems
        assert found.found.root == take(place.dataset).snapshot.root
