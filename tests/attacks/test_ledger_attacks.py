"""Attacks on the log: what is edited, dropped, moved, cut off, torn; and who writes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context

import pytest

from guards.digest import Digest
from guards.errors import REFUSALS, GateRefused, Malformed, Untrusted, UsageError
from guards.findings import Severity
from guards.provenance import ledger
from guards.provenance import trust as trusts
from guards.provenance.ledger import GENESIS, Checkpoint, Entry, parse_checkpoint
from guards.provenance.manifest import UNNAMED, Name
from guards.provenance.signing import load_private, make_statement, sign
from guards.verdict import Decision

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def entry(number, **change):
    given = {
        "record": Digest.of(b"record %d" % number),
        "name": Name("acme/flights", "2013-01"),
        "version": number,
        "root": Digest.of(b"bytes %d" % number),
        "decision": "PASS",
        "policy": Digest.of(b"policy"),
        "time": NOW,
    }
    return Entry(**{**given, **change})


def append(directory, key, numbers):
    for number in numbers:
        ledger.append(directory, entry(number), b"record %d" % number, key)


@pytest.fixture
def log(spine):
    """A ledger of six entries, with its directory and its verifier."""
    append(spine.home / "ledger", spine.keys.private("scanner"), range(6))
    return spine


def lines(spine):
    return spine.log.read_bytes().splitlines(keepends=True)


def test_a_log_reads_what_was_written(log):
    found = ledger.verify(log.home / "ledger", log.trust)
    assert found.entries == tuple(entry(number) for number in range(6))
    assert found.checkpoint == ledger.checkpoint(log.home / "ledger")
    assert not found.torn
    assert list(ledger.missing_records(log.home / "ledger", found.entries)) == []
    assert [found.find(entry(n).record) for n in (0, 5, 9)] == [0, 5, None]


def unsigned(line):
    return line[: line.index(b'"signatures"')] + b'"signatures":[]}\n'


BROKEN = {
    "a line dropped from the middle": lambda ls: ls[:2] + ls[3:],
    "the first line dropped": lambda ls: ls[1:],
    "two lines exchanged": lambda ls: [ls[1], ls[0], *ls[2:]],
    "a line repeated": lambda ls: [*ls[:3], ls[2], *ls[3:]],
    "the last line repeated": lambda ls: [*ls, ls[-1]],
    "a line of nothing": lambda ls: [*ls[:3], b"\n", *ls[3:]],
    "a line of junk": lambda ls: [*ls, b"junk\n"],
    "a character changed": lambda ls: [*ls[:3], ls[3].replace(b"A", b"B", 1), *ls[4:]],
    "a signature taken away": lambda ls: [*ls[:3], unsigned(ls[3]), *ls[4:]],
    "a space added": lambda ls: [*ls[:3], ls[3].replace(b":", b": ", 1), *ls[4:]],
}


@pytest.mark.parametrize("edit", BROKEN.values(), ids=BROKEN.keys())
def test_whatever_is_changed_inside_the_log_breaks_it(log, edit):
    before = lines(log)
    after = edit(before)
    assert after != before
    log.log.write_bytes(b"".join(after))
    with pytest.raises(REFUSALS, match="ledger line"):
        ledger.verify(log.home / "ledger", log.trust)


def test_a_chain_made_anew_by_a_stranger_is_refused(log):
    log.log.unlink()
    append(log.home / "ledger", log.keys.private("stranger"), range(6))
    with pytest.raises(Untrusted, match="not signed by any trusted key"):
        ledger.verify(log.home / "ledger", log.trust)


@pytest.mark.parametrize("who", ["producer", "neighbour"])
def test_a_line_by_a_key_that_is_no_scanner_breaks_the_log(log, who):
    append(log.home / "ledger", log.keys.private(who), [6])
    with pytest.raises(Untrusted, match="has not the role scanner"):
        ledger.verify(log.home / "ledger", log.trust)


def test_what_is_cut_off_shows_against_a_remembered_checkpoint(log):
    remembered = ledger.checkpoint(log.home / "ledger")
    log.log.write_bytes(b"".join(lines(log)[:4]))
    cut = ledger.verify(log.home / "ledger", log.trust)
    assert len(cut.entries) == 4, "a log that was cut is a good log: only memory can tell"
    assert not cut.holds(remembered)
    append(log.home / "ledger", log.keys.private("scanner"), [10, 11, 12])
    assert not ledger.verify(log.home / "ledger", log.trust).holds(remembered)


def test_a_log_that_goes_on_holds_every_earlier_checkpoint(log):
    found = ledger.verify(log.home / "ledger", log.trust)
    remembered = [Checkpoint(size=0, head=GENESIS)]
    remembered += [Checkpoint(size=n + 1, head=head) for n, head in enumerate(found.heads)]
    append(log.home / "ledger", log.keys.private("scanner"), [6])
    longer = ledger.verify(log.home / "ledger", log.trust)
    assert all(longer.holds(checkpoint) for checkpoint in remembered)
    assert not longer.holds(Checkpoint(size=0, head=Digest.of(b"x")))
    assert not longer.holds(Checkpoint(size=8, head=longer.checkpoint.head))


@pytest.mark.parametrize("torn", [b"{", b'{"payload":"half', b"x" * 10_000, b"\0"])
def test_an_append_that_never_ended_is_told_and_dropped_by_the_next(log, torn):
    with log.log.open("ab") as file:
        file.write(torn)
    found = ledger.verify(log.home / "ledger", log.trust)
    assert found.torn
    assert len(found.entries) == 6
    append(log.home / "ledger", log.keys.private("scanner"), [6])
    healed = ledger.verify(log.home / "ledger", log.trust)
    assert not healed.torn
    assert len(healed.entries) == 7


def test_a_record_that_is_missing_or_changed_is_told(log):
    records = log.home / "ledger" / "records"
    (records / f"{entry(1).record.hex}.json").unlink()
    (records / f"{entry(2).record.hex}.json").write_bytes(b"edited")
    found = ledger.verify(log.home / "ledger", log.trust)
    told = list(ledger.missing_records(log.home / "ledger", found.entries))
    assert len(told) == 2
    assert told[0].endswith("is missing")
    assert told[1].endswith("was changed")


def test_there_has_to_be_a_log(log):
    with pytest.raises(UsageError, match=r"no log\.jsonl"):
        ledger.verify(log.home, log.trust)
    (log.home / "file").write_text("")
    with pytest.raises(UsageError, match="ledger"):
        append(log.home / "file", log.keys.private("scanner"), [1])


@pytest.mark.parametrize("text", ["", "3", "3:", ":" + "0" * 64, "x:sha256:" + "0" * 64, "3:md5:0"])
def test_a_checkpoint_that_is_none_is_told(text):
    with pytest.raises(UsageError, match="checkpoint"):
        parse_checkpoint(text)


def test_a_checkpoint_is_read():
    assert parse_checkpoint(f"3:{GENESIS}") == Checkpoint(size=3, head=GENESIS)


def _append_many(directory, pem, first, count):
    key = load_private(pem)
    for number in range(first, first + count):
        ledger.append(directory, entry(number), b"record %d" % number, key)


def test_writers_in_several_processes_lose_nothing(spine):
    directory, each = spine.home / "ledger", 12
    context = get_context("fork")
    writers = [
        context.Process(
            target=_append_many, args=(directory, spine.keys.pem("scanner"), 100 * n, each)
        )
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    found = ledger.verify(directory, spine.trust)
    assert sorted(e.version for e in found.entries) == sorted(
        100 * n + i for n in range(4) for i in range(each)
    )
    assert list(ledger.missing_records(directory, found.entries)) == []


_FOREVER = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from guards.digest import Digest
from guards.provenance import ledger
from guards.provenance.manifest import Name
from guards.provenance.signing import load_private, make_statement, sign
from guards.verdict import Decision
key = load_private(Path(sys.argv[2]))
for n in range(10**6):
    data = b"record %d %d" % (int(sys.argv[3]), n)
    entry = ledger.Entry(record=Digest.of(data), name=Name("acme/flights"), version=n,
        root=Digest.of(data), decision="PASS", policy=Digest.of(b""), time=datetime.now(UTC))
    ledger.append(Path(sys.argv[1]), entry, data, key)
    print(entry.record.hex, flush=True)
"""


def test_a_writer_killed_in_the_middle_leaves_a_log_that_verifies(spine):
    directory, acknowledged = spine.home / "ledger", []
    for round_ in range(4):
        command = [
            sys.executable,
            "-c",
            _FOREVER,
            str(directory),
            str(spine.keys.pem("scanner")),
            str(round_),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            for _ in range(3):
                acknowledged.append(writer.stdout.readline().strip())
            time.sleep(0.005 * round_)
            writer.send_signal(signal.SIGKILL)
            acknowledged += writer.stdout.read().split()
        found = ledger.verify(directory, spine.trust)
        logged = {e.record.hex for e in found.entries}
        # The last word of a killed process may be cut; whole ones were said after the fsync.
        assert {word for word in acknowledged if len(word) == 64} <= logged
        assert list(ledger.missing_records(directory, found.entries)) == []


class TestGateAndLedger:
    """What the gate asks of the ledger, when it is given one."""

    @pytest.fixture
    def passed(self, spine):
        assert spine.scan(ledger=spine.home / "ledger").verdict
        return spine

    def refused(self, spine, told):
        with pytest.raises(GateRefused, match=told):
            spine.gate(ledger=spine.home / "ledger")

    def test_a_record_in_the_ledger_is_admitted(self, passed):
        assert passed.gate(ledger=passed.home / "ledger")

    def test_no_ledger_where_one_is_asked_for(self, spine):
        spine.scan()
        self.refused(spine, "does not verify")

    def test_a_record_that_is_not_in_the_ledger(self, passed):
        passed.scan()
        self.refused(passed, "not in the ledger")

    def test_a_ledger_that_was_edited(self, passed):
        passed.log.write_bytes(passed.log.read_bytes().replace(b"A", b"B", 1))
        self.refused(passed, "does not verify")

    def test_a_ledger_that_was_cut_off_before_the_record(self, passed):
        passed.log.write_bytes(b"")
        self.refused(passed, "not in the ledger")

    def test_a_ledger_exchanged_for_another_one(self, passed):
        passed.scan(ledger=passed.home / "ledger", out=passed.home / "second")
        second = (passed.home / "second" / "record.json").read_bytes()
        kept = ledger.verify(passed.home / "ledger", passed.trust).entries[1]
        passed.log.unlink()
        key = passed.keys.private("scanner")
        ledger.append(passed.home / "ledger", entry(1), b"record 1", key)
        ledger.append(passed.home / "ledger", kept, second, key)
        with pytest.raises(GateRefused, match="cut or exchanged"):
            passed.gate(
                ledger=passed.home / "ledger", record=passed.home / "second" / "record.json"
            )

    def test_a_newer_version_supersedes(self, passed):
        old = passed.manifest.read_bytes()
        passed.sign(version=2)
        assert passed.scan(ledger=passed.home / "ledger", out=passed.home / "new").verdict
        passed.manifest.write_bytes(old)
        self.refused(passed, "superseded: version 2")
        assert passed.gate(
            ledger=passed.home / "ledger", record=passed.home / "new" / "record.json"
        )

    def test_a_worse_verdict_on_the_same_bytes_supersedes(self, passed):
        os.link(passed.batch / "a.parquet", passed.home / "second name")
        strict = replace(passed.policy, quarantine_at=Severity.LOW)
        later = passed.scan(policy=strict, ledger=passed.home / "ledger", out=passed.home / "new")
        assert later.verdict.decision is Decision.QUARANTINE
        self.refused(passed, "superseded: the same bytes were judged QUARANTINE since")

    def test_what_nobody_vouched_for_says_nothing_about_what_somebody_did(self, passed):
        kept = passed.manifest.rename(passed.home / "kept")
        assert not passed.scan(ledger=passed.home / "ledger", out=passed.home / "new").verdict
        kept.rename(passed.manifest)
        assert passed.gate(ledger=passed.home / "ledger")

    def test_a_newer_version_of_another_partition_does_not_supersede(self, passed):
        manifest, record = passed.manifest.read_bytes(), passed.record.read_bytes()
        passed.sign(name="acme/flights/2013-02", version=8)
        assert passed.scan(ledger=passed.home / "ledger", out=passed.home / "new").verdict
        passed.manifest.write_bytes(manifest)
        passed.record.write_bytes(record)
        assert passed.gate(ledger=passed.home / "ledger")

    def test_an_unsigned_dataset_cannot_spoil_the_ledger(self, passed):
        passed.manifest.unlink()
        passed.scan(ledger=passed.home / "ledger", out=passed.home / "new")
        found = ledger.verify(passed.home / "ledger", passed.trust)
        assert [e.name for e in found.entries][1] == UNNAMED

    def test_a_dataset_named_beyond_the_scanner_cannot_spoil_the_ledger(self, passed):
        """A producer of other names is trusted too, and the scanner is not a scanner of those."""
        passed.manifest.unlink()
        passed.sign("neighbour", name="umbrella/x", version=1)
        with pytest.raises(UsageError, match="may not sign records about umbrella/x"):
            passed.scan(ledger=passed.home / "ledger", out=passed.home / "new")
        assert len(ledger.verify(passed.home / "ledger", passed.trust).entries) == 1

    @pytest.mark.parametrize("who", ["stranger", "producer"])
    def test_a_key_that_is_no_scanner_cannot_spoil_the_ledger(self, passed, who):
        key = passed.keys.private(who)
        with pytest.raises(UsageError, match="may not sign"):
            passed.scan(ledger=passed.home / "ledger", key=key, out=passed.home / "new")
        assert len(ledger.verify(passed.home / "ledger", passed.trust).entries) == 1

    def test_a_scan_without_trust_cannot_spoil_the_ledger(self, passed):
        passed.scan(ledger=passed.home / "ledger", trust=None, out=passed.home / "new")
        assert len(ledger.verify(passed.home / "ledger", passed.trust).entries) == 2

    def test_a_ledger_needs_a_key(self, spine):
        with pytest.raises(UsageError, match="--key"):
            spine.scan(ledger=spine.home / "ledger", key=None)

    def test_a_broken_ledger_stops_the_next_scan(self, passed):
        passed.log.write_bytes(passed.log.read_bytes().replace(b"A", b"B", 1))
        with pytest.raises(REFUSALS, match="ledger line 1"):
            passed.scan(ledger=passed.home / "ledger", out=passed.home / "new")
        assert not (passed.home / "new").exists()

    def test_every_record_carries_where_the_log_stood(self, passed):
        before = ledger.checkpoint(passed.home / "ledger")
        scanned = passed.scan(ledger=passed.home / "ledger", out=passed.home / "new")
        assert scanned.record.checkpoint == before

    def test_a_scanner_who_left_takes_the_log_along_and_an_expired_one_does_not(self, passed):
        scanner = next(k for k in passed.trust.keys if "scanner" in k.roles)
        rest = [k for k in passed.trust.keys if k != scanner]
        later = datetime.now(UTC).replace(microsecond=0).replace(year=9000)
        trusts._write(passed.trust_dir, [*rest, replace(scanner, expires=later)])
        assert ledger.verify(passed.home / "ledger", passed.trust)
        trusts._write(passed.trust_dir, rest)
        with pytest.raises(Untrusted):
            ledger.verify(passed.home / "ledger", passed.trust)


def test_a_signed_line_of_another_form_is_refused(log):
    statement = make_statement("acme/flights", "0" * 64, ledger.PREDICATE, {"sequence": 6, "x": 1})
    with log.log.open("ab") as file:
        file.write(sign(statement, log.keys.private("scanner")).to_json() + b"\n")
    with pytest.raises(Malformed, match="ledger line 7"):
        ledger.verify(log.home / "ledger", log.trust)


def test_a_lock_left_behind_by_a_killed_process_holds_nobody_up(log):
    assert (log.home / "ledger" / "lock").exists()
    assert os.access(log.home / "ledger" / "lock", os.W_OK)
    append(log.home / "ledger", log.keys.private("scanner"), [6])
    assert len(ledger.verify(log.home / "ledger", log.trust).entries) == 7
