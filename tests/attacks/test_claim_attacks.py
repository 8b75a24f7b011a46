"""Attacks on the claim: what is signed, by whom, for which name, when; all of it forged for real.

Where it says "signed", a trusted producer's key made the signature: the parser has to refuse what
the signature vouches for. Scan and gate are held to the same answer as `verify`.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519

from guards.digest import Digest
from guards.errors import GateRefused, Malformed, Untrusted, UsageError
from guards.provenance import trust as trusts
from guards.provenance.manifest import Source, parse_name
from guards.provenance.memory import Memory
from guards.provenance.signing import (
    Envelope,
    PublicKey,
    add_signature,
    load_public,
    parse_envelope,
    sign,
)
from guards.verdict import Decision

NOW = datetime.now(UTC).replace(microsecond=0)


def rename_first(path):
    return lambda d: d["predicate"]["files"][0].__setitem__("path", path)


def at(*keys, value):
    def edit(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return edit


FORGED = {
    "path upwards": rename_first("../a.parquet"),
    "path upwards in the middle": rename_first("more/../../a.parquet"),
    "absolute path": rename_first("/etc/passwd"),
    "path with a dot": rename_first("./a.parquet"),
    "path with an empty part": rename_first("more//b.parquet"),
    "path that ends in a slash": rename_first("more/"),
    "empty path": rename_first(""),
    "Windows path": rename_first("C:\\x"),
    "drive letter": rename_first("C:x"),
    "UNC path": rename_first("\\\\host\\share"),
    "NUL in a path": rename_first("a\0b"),
    "newline in a path": rename_first("a\nb"),
    "bidi in a path": rename_first("a\u202eb"),
    "path that is not NFC": rename_first("e\u0301.csv"),
    "path that is a number": rename_first(5),
    "one file twice": lambda d: d["predicate"]["files"].append(d["predicate"]["files"][0]),
    "one path with two digests": lambda d: d["predicate"]["files"].append(
        d["predicate"]["files"][0] | {"sha256": "0" * 64}
    ),
    "md5": at("predicate", "files", 0, "sha256", value="0" * 32),
    "upper-case digest": lambda d: at(
        "predicate", "files", 0, "sha256", value=d["predicate"]["files"][0]["sha256"].upper()
    )(d),
    "another algorithm beside it": at("predicate", "files", 0, "md5", value="0" * 32),
    "negative size": at("predicate", "files", 0, "size", value=-1),
    "size as a fraction": at("predicate", "files", 0, "size", value=1.5),
    "size as true": at("predicate", "files", 0, "size", value=True),
    "negative version": at("predicate", "dataset", "version", value=-1),
    "version as text": at("predicate", "dataset", "version", value="1"),
    "no version": lambda d: d["predicate"]["dataset"].pop("version"),
    "no files": lambda d: d["predicate"].pop("files"),
    "a list of what to ignore": at("predicate", "ignore", value=[".git"]),
    "a root that is not the root of the files": at(
        "subject", 0, "digest", "sha256", value="0" * 64
    ),
    "a subject of another name": at("subject", 0, "name", value="acme/other"),
    "two subjects": lambda d: d["subject"].append(d["subject"][0]),
    "no subject": at("subject", value=[]),
    "a name that climbs": lambda d: (
        at("predicate", "dataset", "name", value="acme/..")(d),
        at("subject", 0, "name", value="acme/..")(d),
    ),
    "the name that stands for none": lambda d: (
        d["predicate"]["dataset"].update(name="unsigned", partition=None),
        at("subject", 0, "name", value="unsigned")(d),
    ),
    "a predicate of another type": at(
        "predicateType", value="https://toadstone.dev/scan-record/v1"
    ),
    "a predicate type that looks alike": at(
        "predicateType", value="https://toadstone.dev/dataset-manifest/v1/"
    ),
    "a statement of another type": at("_type", value="https://in-toto.io/Statement/v0.1"),
    "an expiry that is no time": at("predicate", "dataset", "expires", value="never"),
    "an expiry with another zone": at(
        "predicate", "dataset", "expires", value="2099-01-01T00:00:00+00:00"
    ),
    "a role given twice": at("predicate", "columns", value={"x": "label", "label": "label"}),
    "an unknown role": at("predicate", "columns", value={"x": "boss"}),
}


@pytest.mark.parametrize("edit", FORGED.values(), ids=FORGED.keys())
def test_a_signed_claim_of_another_form_is_refused(spine, edit):
    spine.forge(edit)
    assert spine.codes() == ["malformed"]
    assert not spine.verify()
    assert spine.scan().verdict.decision is Decision.BLOCK
    with pytest.raises(GateRefused):
        spine.gate()


def text_of(spine):
    return parse_envelope(spine.manifest.read_bytes()).payload.decode()


BYTES = {
    "the same key twice": lambda t: t.replace('"version":1', '"version":1,"version":2'),
    "NaN": lambda t: t.replace('"rows":80', '"rows":NaN'),
    "Infinity": lambda t: t.replace('"rows":80', '"rows":Infinity'),
    "a giant integer": lambda t: t.replace('"rows":80', '"rows":' + "9" * 400),
    "a byte-order mark": lambda t: "\ufeff" + t,
    "data after the end": lambda t: t + "{}",
    "a lone surrogate": lambda t: t.replace('"source":"source"', '"so\\ud800":"source"'),
    "nesting": lambda t: t.replace('"schema":{', '"schema":{"z":' + "[" * 5000 + "]" * 5000 + ","),
    "a string of 5,000": lambda t: t.replace('"schema":{', '"schema":{"z":"' + "x" * 5000 + '",'),
    "nothing": lambda t: "",
    "a list": lambda t: "[]",
    "text": lambda t: "signed",
}


@pytest.mark.parametrize("edit", BYTES.values(), ids=BYTES.keys())
def test_signed_bytes_that_two_parsers_could_read_differently_are_refused(spine, edit):
    before = text_of(spine)
    after = edit(before)
    assert after != before
    spine.forge_bytes(after.encode())
    assert spine.codes() == ["malformed"]
    assert spine.scan().verdict.decision is Decision.BLOCK


def envelope_with(spine, **change):
    document = json.loads(spine.manifest.read_bytes())
    spine.manifest.write_text(json.dumps(document | change))


def test_a_payload_type_swapped_is_no_signature(spine):
    envelope_with(spine, payloadType="application/json")
    assert spine.codes() == ["untrusted-key"]


def test_another_payload_type_is_refused_even_when_it_is_signed(spine):
    payload = text_of(spine).encode()
    signed = sign(payload, spine.keys.private("producer"), "application/json")
    spine.manifest.write_bytes(signed.to_json())
    assert spine.codes() == ["malformed"]


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"\0", b"not json", b"{" * 100_000])
def test_junk_in_place_of_an_envelope_is_refused(spine, junk):
    spine.manifest.write_bytes(junk)
    assert spine.codes() == ["malformed"]
    assert spine.scan().verdict.decision is Decision.BLOCK


def test_no_manifest_is_no_claim(spine):
    spine.manifest.unlink()
    assert spine.codes() == ["unsigned"]
    assert spine.scan().verdict.decision is Decision.BLOCK


def test_an_edited_payload_is_no_claim_of_its_signer(spine):
    payload = text_of(spine).replace('"version":1', '"version":9').encode()
    envelope_with(spine, payload=base64.b64encode(payload).decode())
    assert spine.codes() == ["untrusted-key"]


def test_an_envelope_without_signatures_is_no_claim(spine):
    envelope_with(spine, signatures=[])
    assert spine.codes() == ["untrusted-key"]


def resign(spine, who):
    spine.manifest.write_bytes(sign(text_of(spine).encode(), spine.keys.private(who)).to_json())


@pytest.mark.parametrize(
    ("who", "told"),
    [
        ("stranger", "signature that verifies"),
        ("neighbour", "is not trusted for acme/flights"),
        ("scanner", "has not the role producer"),
    ],
)
def test_a_signature_counts_for_its_key_role_and_name_only(spine, who, told):
    resign(spine, who)
    proof = spine.verify()
    assert not proof
    assert [problem.code for problem in proof.refusals] == ["untrusted-key"]
    assert told in str(proof.refusals[0])
    assert spine.scan().verdict.decision is Decision.BLOCK


def test_a_strangers_signature_beside_a_good_one_does_no_harm(spine):
    envelope = parse_envelope(spine.manifest.read_bytes())
    for who in ("stranger", "neighbour", "scanner"):
        envelope = add_signature(envelope, spine.keys.private(who))
    spine.manifest.write_bytes(envelope.to_json())
    proof = spine.verify()
    assert proof
    assert proof.signers == (load_public(spine.keys.pub("producer")).keyid,)


def test_a_wrong_key_id_is_ignored_and_a_stolen_one_gives_nothing(spine):
    document = json.loads(spine.manifest.read_bytes())
    document["signatures"][0]["keyid"] = "0" * 64
    spine.manifest.write_text(json.dumps(document))
    assert spine.verify()
    resign(spine, "stranger")
    document = json.loads(spine.manifest.read_bytes())
    document["signatures"][0]["keyid"] = load_public(spine.keys.pub("producer")).keyid
    spine.manifest.write_text(json.dumps(document))
    assert spine.codes() == ["untrusted-key"]


def test_signatures_of_small_order_keys_count_for_nobody(spine):
    """An identity key verifies R = identity, S = 0 for every message; trust does not load it."""
    identity = (1).to_bytes(32, "little")
    pem = ed25519.Ed25519PublicKey.from_public_bytes(identity).public_bytes(
        ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo
    )
    good = spine.keys.pub("producer").read_bytes()
    [file] = [path for path in (spine.trust_dir / "keys").iterdir() if path.read_bytes() == good]
    file.write_bytes(pem)
    envelope = parse_envelope(spine.manifest.read_bytes())
    forged = replace(envelope, signatures=(("", identity + bytes(32)),))
    spine.manifest.write_bytes(forged.to_json())
    with pytest.raises(Untrusted, match="small order"):
        spine.verify()


def test_a_signature_whose_s_is_not_canonical_counts_for_nobody(spine):
    envelope = parse_envelope(spine.manifest.read_bytes())
    keyid, signature = envelope.signatures[0]
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    forged = replace(envelope, signatures=((keyid, signature[:32] + s.to_bytes(32, "little")),))
    spine.manifest.write_bytes(forged.to_json())
    assert spine.codes() == ["untrusted-key"]


def expire_key(spine, who, moment):
    keys = [
        replace(k, expires=moment) if k.key == load_public(spine.keys.pub(who)) else k
        for k in spine.trust.keys
    ]
    trusts._write(spine.trust_dir, keys)


def test_an_expired_key_signs_no_more(spine):
    expire_key(spine, "producer", NOW - timedelta(days=1))
    assert spine.codes() == ["untrusted-key"]
    assert "expired on" in str(spine.verify().refusals[0])
    assert spine.verify(at=NOW - timedelta(days=2)).refusals[0].code == "not-yet-valid"


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        (timedelta(days=-1), "expired"),
        (timedelta(minutes=-4), None),
        (timedelta(days=1), None),
        (timedelta(days=2_000_000), None),
    ],
    ids=str,
)
def test_an_expired_claim_is_refused_with_five_minutes_of_grace(spine, ahead, code):
    spine.sign(version=2, expires=datetime.now(UTC).replace(microsecond=0) + ahead)
    assert spine.codes() == ([code] if code else [])


@pytest.mark.parametrize(
    ("when", "codes"),
    [
        (NOW + timedelta(days=1), ["not-yet-valid"]),
        (NOW + timedelta(minutes=3), []),
        (NOW - timedelta(days=400), []),
    ],
)
def test_a_claim_from_the_future_is_refused(spine, when, codes):
    spine.sign(version=2, created=when)
    assert spine.codes() == codes


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
)
def test_any_time_that_can_be_asked_for_has_an_answer(spine, moment):
    spine.sign(version=2, expires=NOW + timedelta(days=1))
    assert not spine.verify(at=moment)
    assert spine.scan(at=moment).verdict.decision is Decision.BLOCK


@pytest.mark.parametrize(
    "name", ["acme/other", "acme/flights/2013-02", "acme", "umbrella/flights/2013-01"]
)
def test_a_claim_for_another_name_is_refused(spine, name):
    assert spine.codes(name=parse_name("acme/flights")) == []
    assert spine.codes(name=parse_name(name)) == ["wrong-name"]
    assert spine.scan(name=parse_name(name)).verdict.decision is Decision.BLOCK


def test_the_manifest_of_a_with_the_data_of_b_is_refused(spine):
    (spine.batch / "a.parquet").write_bytes((spine.batch / "more" / "b.parquet").read_bytes())
    assert not spine.verify()


class TestHistory:
    def old_and_new(self, spine):
        """Version 1's files are put aside, then version 2 is signed and seen."""
        old = spine.manifest.read_bytes()
        memory = Memory(spine.home / "state")
        spine.sign(version=2)
        return old, memory

    def test_absent_state_is_told_as_first_use(self, spine):
        memory = Memory(spine.home / "state")
        assert spine.verify(state=memory).history == "first-use"
        assert spine.verify(state=memory).history == "known"
        assert spine.verify().history == "first-use"

    def test_an_older_version_replayed_is_a_rollback(self, spine):
        old, memory = self.old_and_new(spine)
        assert spine.codes(state=memory) == []
        spine.manifest.write_bytes(old)
        assert spine.codes(state=memory) == ["rollback"]
        assert spine.scan(state=memory).verdict.decision is Decision.BLOCK
        assert memory.recall(parse_name("acme/flights/2013-01")).version == 2

    def test_two_datasets_of_one_version_are_a_fork(self, spine):
        memory = Memory(spine.home / "state")
        assert spine.verify(state=memory)
        spine.manifest.unlink()
        (spine.batch / "more" / "b.parquet").unlink()
        (spine.batch / "more").rmdir()
        spine.sign(version=1)
        assert spine.codes() == []
        assert spine.codes(state=memory) == ["fork"]

    def test_a_pin_does_not_make_a_fork_good(self, spine):
        memory = Memory(spine.home / "state")
        assert spine.verify(state=memory)
        (spine.batch / "readme.md").write_text("another")
        spine.manifest.unlink()
        spine.sign(version=1)
        assert spine.codes(state=memory, version=1) == ["fork"]
        assert spine.codes(version=1) == []

    def skipped(self, spine):
        """Version 1 was seen; then comes version 3, of whose forerunner nobody here has heard."""
        memory = Memory(spine.home / "state")
        assert spine.verify(state=memory)
        (spine.batch / "readme.md").write_text("of version 2")
        spine.sign(version=2)
        (spine.batch / "readme.md").write_text("of version 3")
        spine.sign(version=3)
        return memory

    def test_a_gap_is_told_and_refused_where_that_is_asked_for(self, spine):
        memory = self.skipped(spine)
        assert not spine.verify(state=memory, strict=True)
        found = spine.verify(state=memory)
        assert found, "told, and no refusal"
        assert [problem.code for problem in found.problems] == ["version-gap"]
        assert spine.codes(state=memory) == [], "from then on it was seen"

    def test_a_policy_may_require_the_chain(self, spine):
        memory = self.skipped(spine)
        chain = replace(spine.policy, settings={"provenance": {"chain": True}})
        verdict = spine.scan(state=memory, policy=chain).verdict
        assert [reason.code for reason in verdict.reasons] == ["version-gap"]
        assert verdict.decision is Decision.BLOCK
        with pytest.raises(GateRefused, match="never seen here"):
            spine.gate(policy=chain)
        scanned = spine.scan(state=memory)
        assert scanned.verdict
        told = next(e for e in scanned.examinations if e.rule == "provenance")
        assert "version-gap" in told.outcome.measured.statistics["version_gap"]

    def test_what_follows_what_was_seen_is_no_gap(self, spine):
        memory = Memory(spine.home / "state")
        assert spine.verify(state=memory)
        spine.sign(version=7)  # in the place of version 1, which it names
        assert spine.codes(state=memory) == []
        spine.manifest.unlink()
        spine.sign(version=8)
        assert spine.codes(state=memory) == []

    def test_the_next_number_after_another_version_is_a_gap(self, spine):
        memory = Memory(spine.home / "state")
        assert spine.verify(state=memory)
        spine.sign(version=2)
        spine.forge(at("predicate", "dataset", "previous", value=f"sha256:{0:064}"))
        assert spine.codes(state=memory) == ["version-gap"]

    def test_what_follows_a_version_that_was_refused_does_not_mend_the_chain(self, spine):
        """Neither by scanning again, nor by a version that names the refused one; nor by a log."""
        chain = replace(spine.policy, settings={"provenance": {"chain": True}})
        about = {"policy": chain, "ledger": spine.home / "ledger"}
        assert spine.scan(**about).verdict
        about |= {"state": self.skipped(spine)}
        found = [spine.scan(**about), spine.scan(**about)]
        (spine.batch / "readme.md").write_text("of version 4")
        spine.sign(version=4)
        found.append(spine.scan(**about))
        codes = [[reason.code for reason in scanned.verdict.reasons] for scanned in found]
        assert codes == [["version-gap"]] * 3

    def test_a_pinned_version_does_not_touch_the_memory(self, spine):
        old, memory = self.old_and_new(spine)
        assert spine.verify(state=memory)
        before = {p.name: p.read_bytes() for p in memory.directory.iterdir()}
        spine.manifest.write_bytes(old)
        proof = spine.verify(state=memory, version=1)
        assert proof
        assert proof.history == "pinned"
        assert spine.codes(state=memory, version=2) == ["wrong-version"]
        assert {p.name: p.read_bytes() for p in memory.directory.iterdir()} == before

    def test_a_pin_of_the_future_does_not_raise_the_memory(self, spine):
        memory = Memory(spine.home / "state")
        spine.sign(version=9)
        assert spine.verify(state=memory, version=9)
        assert memory.recall(parse_name("acme/flights/2013-01")) is None

    def test_what_is_refused_is_not_remembered(self, spine):
        memory = Memory(spine.home / "state")
        spine.sign(version=5)
        (spine.batch / "extra.csv").write_text("x")
        assert not spine.verify(state=memory)
        spine.scan(state=memory)
        assert memory.recall(parse_name("acme/flights/2013-01")) is None

    def test_one_partition_says_nothing_about_another(self, spine):
        memory = Memory(spine.home / "state")
        spine.sign(name="acme/flights/2013-02", version=7)
        assert spine.verify(state=memory)
        spine.sign(name="acme/flights/2013-01", version=1)
        assert spine.codes(state=memory) == []

    def test_the_ledger_remembers_too(self, spine):
        old, _ = self.old_and_new(spine)
        about = {"ledger": spine.home / "ledger"}
        assert spine.scan(**about).verdict
        spine.manifest.write_bytes(old)
        verdict = spine.scan(**about).verdict
        assert [reason.code for reason in verdict.reasons] == ["rollback"]

    def test_a_state_that_was_tampered_with_is_an_error_not_first_use(self, spine):
        memory = Memory(spine.home / "state")
        spine.verify(state=memory)
        [path] = [p for p in memory.directory.glob("*.json") if p.name != "clock.json"]
        path.write_text('{"version": 0}')
        with pytest.raises(Malformed):
            spine.verify(state=memory)


class TestCountersigning:
    def test_a_second_signature_is_added_to_the_same_claim(self, spine):
        before = parse_envelope(spine.manifest.read_bytes())
        spine.sign("stranger")
        after = parse_envelope(spine.manifest.read_bytes())
        assert after.payload == before.payload
        assert len(after.signatures) == 2
        spine.sign("stranger")
        assert parse_envelope(spine.manifest.read_bytes()) == after

    @pytest.mark.parametrize(
        ("edit", "told"),
        [
            (
                at(
                    "predicate",
                    "columns",
                    value={"label": "ignore", "x": "feature", "source": "ignore"},
                ),
                "roles",
            ),
            (at("predicate", "stats", "labelCounts", value={"0": 80}), "label counts"),
            (at("predicate", "stats", "rows", value=79), "rows"),
            (at("predicate", "dataset", "parents", value=["0" * 64]), "parents"),
            (at("predicate", "schema", value={}), "schema"),
        ],
    )
    def test_a_planted_claim_is_not_countersigned(self, spine, edit, told):
        """Who can write the manifest could else have the producer sign other column roles."""
        spine.forge(edit, who="stranger")
        planted = spine.manifest.read_bytes()
        with pytest.raises(UsageError, match=f"other {told}"):
            spine.sign()
        assert spine.manifest.read_bytes() == planted

    def test_the_order_of_columns_is_no_other_claim(self, spine):
        pl.DataFrame({"z": [1], "b": [2], "a": [3]}).write_parquet(spine.batch / "a.parquet")
        (spine.batch / "more" / "b.parquet").unlink()
        (spine.batch / "more").rmdir()
        spine.sign(version=2)
        spine.sign("stranger", version=2)
        assert len(parse_envelope(spine.manifest.read_bytes()).signatures) == 2

    def test_an_expiry_or_source_asked_for_has_to_be_there(self, spine):
        for more in ({"expires": NOW}, {"sources": (Source(uri="https://example.org"),)}):
            with pytest.raises(UsageError, match="with other"):
                spine.sign("stranger", **more)

    def test_other_bytes_need_another_version(self, spine):
        (spine.batch / "more" / "b.parquet").unlink()
        (spine.batch / "more").rmdir()
        with pytest.raises(UsageError, match="raise --dataset-version"):
            spine.sign()
        spine.sign(version=2)
        manifest = spine.verify().manifest
        assert manifest.version == 2
        assert manifest.previous is not None

    def test_versions_only_rise(self, spine):
        spine.sign(version=4)
        with pytest.raises(UsageError, match="only rise"):
            spine.sign(version=3)

    @pytest.mark.parametrize("version", [2**53, 2**70])
    def test_a_claim_that_nobody_could_read_is_not_written(self, spine, version):
        before = spine.manifest.read_bytes()
        with pytest.raises(UsageError, match="nobody could read"):
            spine.sign(version=version)
        assert spine.manifest.read_bytes() == before


class TestOrigins:
    """What a producer may say of where data is from, the verifier decides: by policy."""

    def codes_of(self, spine, said, **settings):
        spine.sign(version=2, sources=said)
        asked = replace(spine.policy, settings={"provenance": settings})
        return [reason.code for reason in spine.scan(policy=asked).verdict.reasons]

    @pytest.mark.parametrize(
        "uri",
        [
            "https://evil.example/flights/a",
            "http://data.example/flights/a",
            "file:///flights/a",
            "https://data.example/other",
            "https://data.example/flights-of-evil",
            "https://data.example/flights/../other",
            "https://data.example/flights/%2e%2e/other",
            "https://data.example/flights/..%2fother",
            "https://data.example/flights/..%5Cother",
            "https://data.example.evil.example/flights/a",
            "https://data.example@evil.example/flights/a",
            "https://data.example:8443/flights/a",
            "https://[data.example/flights/a",
            "flights/a",
            "",
        ],
    )
    def test_a_source_elsewhere_is_refused(self, spine, uri):
        spine.sign(version=2, sources=(Source(uri="https://data.example/flights/a"),))
        spine.forge(at("predicate", "sources", 0, "uri", value=uri))
        asked = {"provenance": {"sources": ["https://data.example/flights/"]}}
        verdict = spine.scan(policy=replace(spine.policy, settings=asked)).verdict
        assert [reason.code for reason in verdict.reasons] == ["strange-source"]
        assert verdict.decision is Decision.BLOCK

    @pytest.mark.parametrize("place", ["https://data.example", "https://Data.example/flights/"])
    def test_a_source_below_a_place_that_is_named_is_good(self, spine, place):
        source = Source(uri="https://data.example/flights/a?part=1")
        assert self.codes_of(spine, (source,), sources=["s3://b/c", place]) == []

    def test_one_strange_source_among_good_ones_is_enough(self, spine):
        both = (Source(uri="https://data.example/a"), Source(uri="https://evil.example/a"))
        assert self.codes_of(spine, both, sources=["https://data.example"]) == ["strange-source"]

    def test_data_that_does_not_say_where_it_is_from_is_refused(self, spine):
        assert self.codes_of(spine, (), sources=["https://data.example"]) == ["no-source"]

    def test_a_mutable_url_needs_a_digest_where_that_is_asked_for(self, spine):
        """Attack 22: what lies behind a URL today may be another thing tomorrow."""
        mutable = Source(uri="https://data.example/latest")
        assert self.codes_of(spine, (mutable,), source_digests=True) == ["source-without-digest"]

    def test_with_a_digest_it_is_good(self, spine):
        named = Source(uri="https://data.example/latest", digest=Digest.of(b"then"))
        assert self.codes_of(spine, (named,), source_digests=True) == []

    @pytest.mark.parametrize("places", [["data.example"], ["https://"], "https://data.example"])
    def test_a_place_that_names_no_host_is_told(self, spine, places):
        with pytest.raises(UsageError, match="is not like https://host/path"):
            self.codes_of(spine, (), sources=places)


def test_a_key_that_is_not_on_the_curve_verifies_nothing():
    assert not PublicKey(bytes.fromhex("302a300506032b6570032100") + b"\x02" + bytes(31)).verifies(
        bytes(64), b"message"
    )


def test_many_signatures_are_refused_before_they_are_tried(spine):
    envelope = parse_envelope(spine.manifest.read_bytes())
    many = Envelope(
        payload_type=envelope.payload_type,
        payload=envelope.payload,
        signatures=envelope.signatures * 65,
    )
    spine.manifest.write_bytes(many.to_json())
    assert spine.codes() == ["malformed"]
