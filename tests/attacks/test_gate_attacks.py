"""Attacks on the way from a verdict to training: records, stores, and files swapped afterwards."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guards.errors import GateRefused, GuardError, NothingToExamine, UsageError
from guards.findings import Severity
from guards.gate import parse_age
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse_name
from guards.provenance.memory import Memory
from guards.provenance.signing import Envelope, load_public, parse_envelope, sign
from guards.record import parse, payload
from guards.verdict import Decision, load_policy

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def passed(spine):
    """A scan that passed; its record admits."""
    assert spine.scan().verdict
    return spine


def reasons(spine, **more):
    with pytest.raises(GateRefused) as caught:
        spine.gate(**more)
    return "; ".join(caught.value.reasons)


def reissue(spine, who="scanner", **change):
    """Let a key sign the same record with something changed in it."""
    record = parse(parse_envelope(spine.record.read_bytes()))
    signed = sign(payload(replace(record, **change)), spine.keys.private(who))
    spine.record.write_bytes(signed.to_json())


def train(spine, home, code):
    """A training job in a process of its own; its first word is where its copy is."""
    begin = (
        "import gc, os, sys, time, guards\n"
        "admitted = guards.require_pass(*sys.argv[1:4], policy=sys.argv[4])\n"
        "print(admitted.root, flush=True)\n"
    )
    about = [spine.batch, spine.record, spine.trust_dir, spine.home / "m1.toml"]
    return subprocess.Popen(
        [sys.executable, "-c", begin + code, *about],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(home)},
    )


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def test_what_passed_is_admitted_byte_for_byte(passed):
    admitted = passed.gate(name=parse_name("acme/flights"))
    assert admitted.table().height == 80
    assert [path.read_bytes() for path in admitted.paths()] == [
        (passed.batch / entry.path).read_bytes() for entry in admitted.snapshot.files
    ]
    assert admitted.open("more/b.parquet").read() == (passed.batch / "more/b.parquet").read_bytes()


class TestRecord:
    def test_no_record(self, spine):
        assert "has not passed" in reasons(spine)

    @pytest.mark.parametrize("junk", [b"", b"{}", b"PASS", b"\xff", b"[" * 10_000])
    def test_junk(self, passed, junk):
        passed.record.write_bytes(junk)
        assert "not valid" in reasons(passed)

    def test_unsigned(self, spine):
        spine.scan(key=None)
        assert "not signed" in reasons(spine)

    def test_a_signature_taken_away(self, passed):
        document = json.loads(passed.record.read_bytes())
        passed.record.write_text(json.dumps(document | {"signatures": []}))
        assert "not signed" in reasons(passed)

    @pytest.mark.parametrize(
        ("who", "told"),
        [
            ("stranger", "no trusted key"),
            ("producer", "has not the role scanner"),
            ("neighbour", "has not the role scanner"),
        ],
    )
    def test_signed_by_a_key_that_may_not(self, passed, who, told):
        reissue(passed, who)
        assert told in reasons(passed)

    def test_signed_by_a_scanner_of_other_names(self, passed):
        keys = [
            replace(k, names=("other/*",)) if "scanner" in k.roles else k for k in passed.trust.keys
        ]
        trusts._write(passed.trust_dir, keys)
        assert "is not trusted for acme/flights" in reasons(passed)

    def test_edited(self, passed):
        envelope = parse_envelope(passed.record.read_bytes())
        edited = envelope.payload.replace(b'"code":"toadstone', b'"code":"toadstool')
        assert edited != envelope.payload
        passed.record.write_bytes(replace(envelope, payload=edited).to_json())
        assert "changed since" in reasons(passed)

    def test_a_manifest_is_no_record(self, passed):
        both = [
            dataclasses.replace(k, roles=("producer", "scanner")) if "producer" in k.roles else k
            for k in passed.trust.keys
        ]
        trusts._write(passed.trust_dir, both)
        passed.record.write_bytes(passed.manifest.read_bytes())
        assert "predicateType" in reasons(passed)

    def test_a_ledger_entry_is_no_record(self, passed, logs):
        passed.scan(ledger=passed.home / "ledger")
        passed.record.write_bytes(logs.read(passed.ledger)[0])
        assert "predicateType" in reasons(passed)

    def test_of_other_bytes(self, passed):
        (passed.batch / "a.parquet").write_bytes((passed.batch / "more/b.parquet").read_bytes())
        assert "these are other bytes" in reasons(passed)

    def test_of_another_dataset_with_the_same_bytes(self, passed):
        assert "not about umbrella/x" in reasons(passed, name=parse_name("umbrella/x"))
        assert "not about acme/flights/2013-02" in reasons(
            passed, name=parse_name("acme/flights/2013-02")
        )

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (
                {"decision": Decision.QUARANTINE, "reasons": ("labels: odd",)},
                "QUARANTINE: labels: odd",
            ),
            ({"decision": Decision.BLOCK}, "the verdict is BLOCK"),
            ({"replay": True}, "replay"),
            ({"admits": False}, "for looking only"),
            ({"examinations": ()}, "rule 'provenance' is required"),
            ({"producers": ()}, "no producer"),
            ({"producers": ("0" * 64,)}, "no producer"),
            ({"time": NOW + timedelta(days=1)}, "from the future"),
            ({"expires": NOW - timedelta(days=1)}, "expired"),
        ],
    )
    def test_signed_and_yet_not_good_enough(self, passed, change, told):
        reissue(passed, **change)
        assert told in reasons(passed)

    @pytest.mark.parametrize("outcome", ["skipped", "failed", "RAN", ""])
    def test_a_rule_that_did_not_look(self, passed, outcome):
        record = parse(parse_envelope(passed.record.read_bytes()))
        looked = [replace(e, outcome=outcome) for e in record.examinations]
        reissue(passed, examinations=tuple(looked))
        assert "'integrity' is required" in reasons(passed)


class TestPolicy:
    def test_a_scan_with_a_chosen_seed_admits_nothing(self, spine):
        assert spine.scan(seed=7).verdict
        assert "chosen seed" in reasons(spine)

    @pytest.mark.parametrize("seed", [-1, 2**48, 2**60])
    def test_a_seed_that_no_record_can_hold_is_told(self, spine, seed):
        with pytest.raises(UsageError, match="--seed"):
            spine.scan(seed=seed)

    def test_a_policy_for_looking_admits_nothing(self, passed):
        looking = replace(passed.policy, admits=False)
        passed.scan(policy=looking)
        assert "for looking only" in reasons(passed, policy=looking)
        assert "for looking only" in reasons(passed)

    def test_a_scan_without_trust_admits_nothing(self, spine):
        looking = replace(spine.policy, rules=("integrity",), required=("integrity",))
        assert spine.scan(policy=looking, trust=None).verdict
        assert "no producer" in reasons(spine, policy=looking)

    @pytest.mark.parametrize(
        "change",
        [{"name": "m2"}, {"quarantine_at": Severity.HIGH}, {"settings": {"integrity": {}}}],
    )
    def test_the_policy_is_the_verifiers_to_the_last_setting(self, passed, change):
        assert "another policy" in reasons(passed, policy=replace(passed.policy, **change))
        assert "another policy" in reasons(passed, policy=load_policy("default"))


class TestTime:
    def test_an_old_record_is_refused_when_age_matters(self, passed):
        later = NOW + timedelta(days=31)
        assert passed.gate(at=later)
        assert "older than" in reasons(passed, at=later, max_age=parse_age("30d"))
        assert passed.gate(at=later, max_age=parse_age("32d"))

    def test_the_claim_expires_after_the_scan(self, spine):
        spine.sign(version=2, expires=NOW + timedelta(days=10))
        assert spine.scan().verdict
        assert spine.gate(at=NOW + timedelta(days=9))
        assert "manifest expired" in reasons(spine, at=NOW + timedelta(days=11))

    def test_a_record_from_the_future_is_refused(self, spine):
        spine.scan(at=NOW + timedelta(days=2))
        assert "from the future" in reasons(spine)

    @pytest.mark.parametrize("who", ["producer", "scanner"])
    def test_a_key_that_expired_since_takes_the_record_along(self, passed, who):
        moment = NOW + timedelta(days=1)
        keys = [replace(k, expires=moment) if who in k.roles else k for k in passed.trust.keys]
        trusts._write(passed.trust_dir, keys)
        assert passed.gate()
        assert reasons(passed, at=NOW + timedelta(days=2))

    def test_a_producer_who_was_removed_since_takes_the_data_along(self, passed):
        gone = load_public(passed.keys.pub("producer"))
        trusts._write(passed.trust_dir, [k for k in passed.trust.keys if k.key != gone])
        assert "no producer of acme/flights/2013-01 is trusted any more" in reasons(passed)

    def test_any_time_that_can_be_asked_for_has_an_answer(self, spine):
        spine.sign(version=2, expires=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        assert spine.scan().verdict
        assert spine.gate()
        assert spine.gate(at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        assert "future" in reasons(spine, at=datetime(1, 1, 1, tzinfo=UTC))

    @pytest.mark.parametrize("text", ["", "d", "-1", "1w", "1.5d", "٣d", "1 d", "9999999999"])
    def test_an_age_that_is_none_is_told(self, text):
        with pytest.raises(UsageError, match="max-age"):
            parse_age(text)

    def test_ages(self):
        assert [parse_age(t).total_seconds() for t in ("90", "90s", "30m", "12h", "30d", "0")] == [
            90,
            90,
            1800,
            43200,
            2592000,
            0,
        ]


class TestVersions:
    def test_a_version_older_than_one_seen_is_refused(self, passed):
        memory = Memory(passed.home / "state")
        old = passed.manifest.read_bytes(), passed.record.read_bytes()
        passed.sign(version=2)
        passed.verify(state=memory)
        passed.manifest.write_bytes(old[0])
        passed.record.write_bytes(old[1])
        assert passed.gate()
        assert "older than version 2" in reasons(passed, state=memory)

    def test_a_version_seen_with_other_bytes_is_refused(self, passed):
        memory = Memory(passed.home / "state")
        manifest = passed.verify().manifest
        memory.remember(replace(manifest, snapshot=replace(manifest.snapshot, files=())))
        assert "seen before with other bytes" in reasons(passed, state=memory)


class TestAdmitted:
    """What was admitted stays what it was, or is refused when it is read."""

    def test_the_original_swapped_afterwards_changes_nothing(self, passed):
        admitted = passed.gate()
        before = admitted.open("a.parquet").read()
        (passed.batch / "a.parquet").write_bytes(b"swapped")
        assert admitted.open("a.parquet").read() == before
        assert admitted.table().height == 80

    @pytest.mark.parametrize(
        "swap",
        [
            lambda p: (p.unlink(), p.write_bytes(b"swapped")),
            lambda p: p.unlink(),
            lambda p: (p.unlink(), p.symlink_to("/etc/hostname")),
            lambda p: (p.unlink(), p.mkdir()),
            lambda p: (p.unlink(), os.mkfifo(p)),
            lambda p: os.truncate(p, 1 << 40),
        ],
        ids=["other bytes", "gone", "a link", "a directory", "a fifo", "a sparse terabyte"],
    )
    def test_the_copy_swapped_afterwards_is_refused(self, passed, swap):
        admitted = passed.gate()
        swap(admitted.root / "a.parquet")
        for read in (lambda: admitted.open("a.parquet"), admitted.paths, admitted.table):
            with pytest.raises(GateRefused, match="admitted"):
                read()

    @pytest.mark.parametrize(
        "path", ["", "absent", "../batch/a.parquet", "/etc/passwd", "./a.parquet"]
    )
    def test_only_what_was_admitted_opens(self, passed, path):
        with pytest.raises(GateRefused, match="no such file was admitted"):
            passed.gate().open(path)

    def test_the_copy_is_private_and_ends_with_its_owner(self, passed):
        admitted = passed.gate()
        root = admitted.root
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        del admitted
        gc.collect()
        assert not root.exists()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_the_copy_of_a_job_that_was_killed_is_gone_with_the_next(
        self, passed, tmp_path, monkeypatch, number
    ):
        job = train(passed, tmp_path, "time.sleep(600)")
        root = Path(job.stdout.readline().strip())
        assert names_in(root) == ["a.parquet", "more"]
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        before = passed.gate()
        assert root.is_dir(), "of a job that is at work nothing is taken"
        job.send_signal(number)
        job.communicate()
        assert root.is_dir(), "who is killed takes nothing along"
        admitted = passed.gate()
        assert not root.exists()
        for each in (before, admitted):
            assert each.table().height == 80

    def test_a_worker_that_was_forked_takes_nothing_along(self, passed, tmp_path):
        """Not by its end, with all that is registered for it, nor by collecting what it has."""
        code = (
            "child = os.fork()\n"
            "if not child:\n"
            "    del admitted; gc.collect(); sys.exit()\n"
            "os.waitpid(child, 0); print(admitted.table().height)"
        )
        job = train(passed, tmp_path, code)
        told, _ = job.communicate()
        assert told.split()[-1] == "80"
        assert not Path(told.split()[0]).exists(), "and it ends with its owner"

    def test_a_refusal_leaves_nothing_behind(self, passed, tmp_path):
        (passed.batch / "extra.csv").write_text("x")
        assert reasons(passed, into=tmp_path / "store")
        assert list((tmp_path / "store").iterdir()) == []

    def test_an_admitted_dataset_cannot_be_edited_into_another(self, passed):
        admitted = passed.gate()
        with pytest.raises(dataclasses.FrozenInstanceError):
            admitted.root = passed.batch

    def test_an_empty_directory_is_not_admitted(self, passed):
        shutil.rmtree(passed.batch)
        passed.batch.mkdir()
        with pytest.raises(NothingToExamine):
            passed.gate()
        passed.batch.rmdir()
        with pytest.raises(GuardError):
            passed.gate()


class TestStore:
    def test_a_store_entry_is_read_only_content_addressed_and_idempotent(self, passed, tmp_path):
        first = passed.gate(into=tmp_path / "store")
        assert first.root.name == f"sha256-{first.snapshot.root.hex}"
        for path in (first.root, *first.root.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0
        for path in (first.root / "more", first.root):
            assert stat.S_IMODE(path.stat().st_mode) == 0o555
        again = passed.gate(into=tmp_path / "store")
        assert again.root == first.root
        assert again.table().equals(first.table())
        assert [p.name for p in (tmp_path / "store").iterdir()] == [first.root.name]

    @pytest.mark.parametrize(
        "tamper",
        [
            lambda r: (r / "a.parquet").write_bytes(b"x"),
            lambda r: (r / "extra.parquet").write_bytes(b"x"),
            lambda r: (r / ".hidden").write_bytes(b"x"),
            lambda r: (r / "evil.parquet").symlink_to("/etc/hostname"),
            lambda r: (r / "a.parquet").unlink(),
            lambda r: (r / "empty").mkdir(),
            lambda r: os.mkfifo(r / "fifo.parquet"),
        ],
        ids=["changed", "added", "hidden", "link", "removed", "directory", "fifo"],
    )
    def test_an_entry_that_was_tampered_with_is_refused(self, passed, tmp_path, tamper):
        admitted = passed.gate(into=tmp_path / "store")
        for path in (admitted.root, *admitted.root.rglob("*")):
            path.chmod(0o755)
        tamper(admitted.root)
        assert "not what its name says" in reasons(passed, into=tmp_path / "store")

    def test_an_entry_that_is_a_link_is_refused(self, passed, tmp_path):
        admitted = passed.gate(into=tmp_path / "elsewhere")
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / admitted.root.name).symlink_to(admitted.root)
        assert "not what its name says" in reasons(passed, into=tmp_path / "store")

    def test_a_store_that_cannot_be_made_is_told(self, passed, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="cannot write"):
            passed.gate(into=tmp_path / "file" / "store")


def test_an_envelope_of_two_records_is_still_one_record(passed):
    """A signature of the scanner over another record gives this payload nothing."""
    good = parse_envelope(passed.record.read_bytes())
    passed.scan(out=passed.home / "second", seed=1)
    other = parse_envelope((passed.home / "second" / "record.json").read_bytes())
    mixed = Envelope(
        payload_type=good.payload_type, payload=other.payload, signatures=good.signatures
    )
    passed.record.write_bytes(mixed.to_json())
    assert "changed since" in reasons(passed)
