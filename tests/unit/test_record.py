"""The record reads what it writes, and binds what was written beside it."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from guards.digest import Digest
from guards.errors import Malformed
from guards.provenance.checkpoint import Checkpoint, sign_checkpoint
from guards.provenance.manifest import Name
from guards.provenance.schemes import OPTIONS
from guards.provenance.signing import PAYLOAD_TYPE, Envelope, PrivateKey, parse_envelope
from guards.record import Examined, Record, WaiverUsed, parse, payload
from guards.verdict import Decision

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
FULL = Record(
    name=Name("acme/flights", "2013-01"),
    version=3,
    root=Digest.of(b"root"),
    size=7,
    decision=Decision.QUARANTINE,
    reasons=("labels: odd", "drift: far"),
    policy=Digest.of(b"policy"),
    policy_name="default",
    admits=True,
    seed=2**48 - 1,
    replay=True,
    code="toadstone 1",
    time=MOMENT,
    parents=(Digest.of(b"parent"),),
    sources=("https://data.example/flights",),
    producers=("a" * 64,),
    expires=MOMENT.replace(year=2027),
    trust=Digest.of(b"trust"),
    manifest=Digest.of(b"manifest"),
    checkpoint=sign_checkpoint(
        Checkpoint(size=4, root=Digest.of(b"root"), origin="log.example/1"),
        PrivateKey(OPTIONS["ed25519"].make()),
    ),
    examinations=(Examined(rule="labels", outcome="ran", digest=Digest.of(b"e")),),
    bindings={"report.json": "0" * 64},
    waivers=(
        WaiverUsed(
            digest=Digest.of(b"waiver"),
            rule="drift",
            code="",
            severity="medium",
            reason="seen, and \u00fcberlegt",
            expires=MOMENT.replace(year=2028),
            approvers=("c" * 64,),
        ),
    ),
)
EMPTY = Record(
    name=Name("unsigned"),
    version=0,
    root=Digest.of(b""),
    decision=Decision.BLOCK,
    reasons=(),
    policy=Digest.of(b"other"),
    policy_name="explore",
    admits=False,
    seed=0,
    replay=False,
    code="toadstone 2",
    time=MOMENT.replace(year=1999),
)


def read(data: bytes) -> Record:
    return parse(Envelope(payload_type=PAYLOAD_TYPE, payload=data, signatures=()))


@pytest.mark.parametrize("record", [FULL, EMPTY], ids=["full", "empty"])
def test_a_record_reads_what_it_writes(record):
    assert read(payload(record)) == record


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Record)])
def test_every_field_is_signed(field):
    changed = dataclasses.replace(FULL, **{field: getattr(EMPTY, field)})
    assert payload(changed) != payload(FULL)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("decision", "pass"),
        ("decision", "ADMIT"),
        ("decision", 0),
        ("seed", -1),
        ("replay", 0),
        ("policy", {"name": "x", "digest": "0" * 64, "admits": 1}),
        ("time", "now"),
        ("version", None),
        ("bindings", {"report.json": "md5"}),
        ("producers", "abc"),
        ("checkpoint", {"size": 1, "root": "0" * 64}),
        ("checkpoint", "log.example/1\n4\nAAAA\n\n"),
        ("examinations", [{"rule": "a", "outcome": "ran"}]),
        ("reasons", "none"),
    ],
)
def test_a_record_of_another_form_is_refused(key, value):
    document = json.loads(payload(FULL))
    document["predicate"][key] = value
    with pytest.raises(Malformed):
        read(json.dumps(document).encode())


def test_a_run_is_bound_to_its_record_by_digest(spine):
    scanned = spine.scan()
    record = parse(parse_envelope(scanned.record_path.read_bytes()))
    expected = {
        "report.json",
        "statistics.json",
        "rows.parquet",
        "manifest.json",
        "policy.json",
        "profile.json",
    }
    assert set(record.bindings) == expected
    assert record.bindings["policy.json"] == record.policy.hex
    for name, digest in record.bindings.items():
        assert Digest.of((scanned.run_dir / name).read_bytes()).hex == digest
    assert record == scanned.record


def test_the_record_names_what_the_verdict_stands_on(spine):
    scanned = spine.scan()
    record, verdict = scanned.record, scanned.verdict
    assert record.root == verdict.snapshot == spine.verify().manifest.snapshot.root
    assert record.policy == spine.policy.digest
    assert record.trust == spine.trust.digest
    assert record.manifest == Digest.of(spine.manifest.read_bytes())
    assert tuple(e.digest for e in record.examinations) == verdict.examinations
    assert record.producers == spine.verify().signers


def test_the_same_scan_again_sees_the_same(spine):
    """`RunInfo` stands outside the digest, so that a repeat gives the same bytes."""
    at = datetime.now(UTC).replace(microsecond=0)
    first, second = (spine.scan(at=at, out=spine.home / name) for name in ("one", "two"))
    assert first.verdict == second.verdict
    assert first.record.seed == second.record.seed, (
        "drawn from the secret, the bytes and the policy"
    )


def test_the_seed_cannot_be_foreseen_from_outside(spine, monkeypatch, tmp_path):
    first = spine.scan().record.seed
    monkeypatch.setenv("TOADSTONE_HOME", str(tmp_path / "another installation"))
    assert spine.scan().record.seed != first


def test_reasons_of_any_length_leave_a_record_that_can_be_read(spine):
    for index in range(4):
        path = (
            spine.batch
            / ("d" * 250)
            / ("e" * 250)
            / ("f" * 250)
            / ("g" * 250)
            / ("\u0001é" * 60 + str(index))
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    scanned = spine.scan()
    assert scanned.verdict.decision is Decision.BLOCK
    record = parse(parse_envelope(scanned.record_path.read_bytes()))
    assert record.reasons
    assert all(len(reason) <= 1000 and "\u0001" not in reason for reason in record.reasons)
