"""Attacks on the log: what is edited, dropped, moved, cut off, forked, torn; who writes at once.

Who may write the ledger's files lays them anew as carefully as they like: the tiles over the
entries are always those of the entries here, unless it is the tiles that are attacked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from multiprocessing import get_context

import pytest

from guards.cli import main
from guards.digest import Digest
from guards.errors import REFUSALS, GateRefused, Malformed, Untrusted, UsageError
from guards.findings import Severity
from guards.provenance import ledger, logproof
from guards.provenance import trust as trusts
from guards.provenance.checkpoint import Checkpoint, read_checkpoint
from guards.provenance.lines import JUDGED, Entry, Made, Material, write_line
from guards.provenance.manifest import UNNAMED, Name
from guards.provenance.memory import Memory
from guards.provenance.merkle import EMPTY
from guards.provenance.signing import generate, load_private, load_public, make_statement, sign
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


@pytest.fixture(scope="module")
def full_log(tmp_path_factory, keys):
    """Logs of so many entries, each made once; to be copied."""
    made = {}

    def grown(size):
        if size not in made:
            made[size] = tmp_path_factory.mktemp("log") / "ledger"
            append(made[size], keys.private("scanner"), range(size))
        return made[size]

    return grown


@pytest.fixture
def log(spine, full_log):
    """A ledger of six entries, with its directory and its verifier."""
    shutil.copytree(full_log(6), spine.ledger)
    return spine


def test_a_log_reads_what_was_written(log):
    found = ledger.verify(log.ledger, log.trust)
    assert found.entries == tuple(entry(number) for number in range(6))
    assert found.checkpoint == ledger.current(log.ledger)
    assert not found.torn
    assert list(ledger.missing_records(log.ledger, found.entries)) == []
    assert [found.find(entry(n).record) for n in (0, 5, 9)] == [0, 5, None]


def unsigned(line):
    return line[: line.index(b'"signatures"')] + b'"signatures":[]}'


BROKEN = {
    "an entry dropped from the middle": lambda ls: ls[:2] + ls[3:],
    "the first entry dropped": lambda ls: ls[1:],
    "two entries exchanged": lambda ls: [ls[1], ls[0], *ls[2:]],
    "an entry repeated": lambda ls: [*ls[:3], ls[2], *ls[3:]],
    "the last entry repeated": lambda ls: [*ls, ls[-1]],
    "an entry of nothing": lambda ls: [*ls[:3], b"", *ls[3:]],
    "an entry of junk": lambda ls: [*ls, b"junk"],
    "a character changed": lambda ls: [*ls[:3], ls[3].replace(b"A", b"B", 1), *ls[4:]],
    "a signature taken away": lambda ls: [*ls[:3], unsigned(ls[3]), *ls[4:]],
    "a space added": lambda ls: [*ls[:3], ls[3].replace(b":", b": ", 1), *ls[4:]],
}


@pytest.mark.parametrize("edit", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("who", [None, "scanner"])
def test_whatever_is_changed_inside_the_log_breaks_it(log, edit, who, logs):
    """Whether the checkpoint is forged, or signed anew by a scanner who helps.

    But a scanner signs no entry for others, and each entry names the tree before it.
    """
    before = logs.read(log.ledger)
    after = edit(before)
    assert after != before
    logs.write(log.ledger, after, log.keys.private(who) if who else None)
    if who and after == [*before[:3], before[3].replace(b":", b": ", 1), *before[4:]]:
        # One entry in another spelling: what its signature says is the same, and the tree is not.
        with pytest.raises(Malformed, match=r"ledger entry 4.*does not name the tree before it"):
            ledger.verify(log.ledger, log.trust)
        return
    with pytest.raises(REFUSALS, match="ledger entry"):
        ledger.verify(log.ledger, log.trust)


def test_an_entry_changed_where_it_lies_is_named(log):
    bundle = log.ledger / "tile" / "entries" / "000.p" / "6"
    data = bundle.read_bytes()
    place = data.index(b"payload", len(data) // 2)
    bundle.write_bytes(data[:place] + b"PAYLOAD" + data[place + 7 :])
    with pytest.raises(Malformed, match="ledger entry 3: was changed: it is not the one in the"):
        ledger.verify(log.ledger, log.trust)


TILES = {
    "a bundle is missing": ("entries/000.p/6", None, "is missing"),
    "a tile is missing": ("0/000.p/6", None, "is missing"),
    "a bundle is cut": ("entries/000.p/6", lambda d: d[:-1], "holds less than 6 entries"),
    "a bundle is longer": ("entries/000.p/6", lambda d: d + b"\0\0", "holds more than 6 entries"),
    "a bundle is empty": ("entries/000.p/6", lambda d: b"", "holds less than 6 entries"),
    "a tile is cut": ("0/000.p/6", lambda d: d[:-1], "holds less than 6 hashes"),
    "a hash is changed": ("0/000.p/6", lambda d: b"x" * 32 + d[32:], "entry 0: was changed"),
}


@pytest.mark.parametrize(("path", "edit", "told"), TILES.values(), ids=TILES.keys())
def test_a_file_of_the_tree_that_is_missing_or_changed_is_named(log, path, edit, told):
    file = log.ledger / "tile" / path
    data = file.read_bytes()
    file.unlink()
    if edit:
        file.write_bytes(edit(data))
    with pytest.raises(Malformed, match=told):
        ledger.verify(log.ledger, log.trust)
    if path.startswith("0/"):
        with pytest.raises(Malformed):
            append(log.ledger, log.keys.private("scanner"), [6])


def test_nobody_signs_a_tree_that_was_exchanged_under_its_checkpoint(log, logs):
    checkpoint = log.log.read_bytes()
    logs.write(log.ledger, [b"other"] * 6, log.keys.private("scanner"))
    log.log.write_bytes(checkpoint)
    with pytest.raises(Malformed, match="its root is not that of the tree"):
        append(log.ledger, log.keys.private("scanner"), [6])


def test_a_log_made_anew_by_a_stranger_is_refused(log):
    shutil.rmtree(log.ledger)
    append(log.ledger, log.keys.private("stranger"), range(6))
    with pytest.raises(Untrusted, match="not signed by any trusted key"):
        ledger.verify(log.ledger, log.trust)
    shutil.rmtree(log.ledger)
    ledger.begin(log.ledger, log.keys.private("stranger"))
    with pytest.raises(Untrusted, match=r"checkpoint of .* is not signed by any trusted key"):
        ledger.verify(log.ledger, log.trust)


@pytest.mark.parametrize("who", ["producer", "neighbour"])
def test_an_entry_by_a_key_that_is_no_scanner_breaks_the_log(log, who):
    append(log.ledger, log.keys.private(who), [6])
    with pytest.raises(Untrusted, match=r"ledger entry 6: .* has not the role scanner"):
        ledger.verify(log.ledger, log.trust)


@pytest.mark.parametrize("who", ["producer", "neighbour", "stranger"])
def test_a_checkpoint_by_a_key_that_is_no_scanner_is_refused(log, logs, who):
    logs.write(log.ledger, logs.read(log.ledger)[:5], log.keys.private(who))
    with pytest.raises(Untrusted, match="checkpoint"):
        ledger.verify(log.ledger, log.trust)


def test_a_scanner_of_other_names_cannot_take_out_what_stands_before_their_own(log, logs, tmp_path):
    """Two teams keep one log: the one cannot rewrite what the other said, whatever they sign."""
    generate(tmp_path / "other")
    key = trusts.TrustedKey(
        key=load_public(tmp_path / "other" / "key.pub"), roles=("scanner",), names=("umbrella/*",)
    )
    trusts.add(log.trust_dir, key)
    theirs = load_private(tmp_path / "other" / "key.pem")
    mine = entry(6, name=Name("umbrella/x"))
    ledger.append(log.ledger, mine, b"record 6", theirs)
    assert len(ledger.verify(log.ledger, log.trust).entries) == 7
    entries = logs.read(log.ledger)
    logs.write(log.ledger, [*entries[:3], *entries[4:]], theirs)
    with pytest.raises(Malformed, match=r"entry 3.*an entry was dropped, added or moved"):
        ledger.verify(log.ledger, log.trust)
    logs.write(log.ledger, entries[:6], theirs)
    with pytest.raises(Untrusted, match=r"checkpoint .* is not trusted for acme/flights"):
        ledger.verify(log.ledger, log.trust)


def test_what_is_cut_off_shows_against_a_remembered_checkpoint(log, logs):
    remembered, scanner = ledger.current(log.ledger), log.keys.private("scanner")
    old = shutil.copytree(log.ledger, log.home / "old")
    append(log.ledger, scanner, [6, 7])
    newer = ledger.verify(log.ledger, log.trust)
    assert newer.holds(remembered)
    cut = ledger.verify(old, log.trust)
    assert len(cut.entries) == 6, "an old copy is a good log: only memory can tell"
    assert cut.objection(newer.checkpoint) == (
        "the log was cut off: it has 6 entries, and 8 are remembered"
    )
    append(old, scanner, [10, 11, 12])
    forked = ledger.verify(old, log.trust)
    assert "is a fork: its first 8 entries" in forked.objection(newer.checkpoint)
    assert forked.holds(remembered), "they agree on what both began with"


def test_a_log_that_is_gone_is_refused_where_it_is_remembered(log, capsys):
    remembered = f"{ledger.current(log.ledger).size}:{ledger.current(log.ledger).root}"
    line = ["ledger", "verify", str(log.ledger), "--trust", str(log.trust_dir)]
    (log.ledger / "checkpoint").unlink()
    assert main([*line, "--checkpoint", remembered]) == 12
    shutil.rmtree(log.ledger)
    assert main([*line, "--checkpoint", remembered]) == 12
    assert "is no log, and 6 entries are remembered" in capsys.readouterr().err
    assert main(line) == 2


def test_another_log_with_the_same_entries_is_another_log(log):
    shutil.rmtree(log.ledger)
    remembered = ledger.begin(log.ledger, log.keys.private("scanner"))
    shutil.rmtree(log.ledger)
    append(log.ledger, log.keys.private("scanner"), range(6))
    found = ledger.verify(log.ledger, log.trust)
    assert "this is another log than" in found.objection(remembered)
    assert found.holds(replace(remembered, origin="")), "a size and a root know no name"


def test_the_first_entries_of_another_log_are_not_taken_over(log, logs):
    entries = logs.read(log.ledger)
    shutil.rmtree(log.ledger)
    ledger.begin(log.ledger, log.keys.private("scanner"))
    logs.write(log.ledger, entries, log.keys.private("scanner"))
    with pytest.raises(Malformed, match=r"ledger entry 0.*is of another log"):
        ledger.verify(log.ledger, log.trust)


def test_a_log_that_goes_on_holds_every_earlier_checkpoint(log):
    found = ledger.verify(log.ledger, log.trust)
    remembered = [Checkpoint(size=n, root=root) for n, root in enumerate(found.roots)]
    assert remembered[0] == Checkpoint(size=0, root=EMPTY)
    append(log.ledger, log.keys.private("scanner"), [6])
    longer = ledger.verify(log.ledger, log.trust)
    assert all(longer.holds(checkpoint) for checkpoint in remembered)
    assert not longer.holds(Checkpoint(size=0, root=Digest.of(b"x")))
    assert not longer.holds(Checkpoint(size=8, root=longer.checkpoint.root))


def test_an_append_does_not_go_on_from_a_log_that_was_cut_since_its_record_was_made(log, logs):
    scanner, seen = log.keys.private("scanner"), ledger.current(log.ledger)
    logs.write(log.ledger, logs.read(log.ledger)[:4], scanner)
    with pytest.raises(Malformed, match="cut off or exchanged meanwhile"):
        ledger.append(log.ledger, entry(6), b"record 6", scanner, since=seen)
    append(log.ledger, scanner, [8, 9, 10])
    with pytest.raises(Malformed, match="cut off or exchanged meanwhile"):
        ledger.append(log.ledger, entry(6), b"record 6", scanner, since=seen)
    shutil.rmtree(log.ledger)
    append(log.ledger, scanner, range(7))
    with pytest.raises(Malformed, match="cut off or exchanged meanwhile"):
        ledger.append(log.ledger, entry(7), b"record 7", scanner, since=seen)


@pytest.mark.parametrize("torn", [b"{", b"\0\1x", b"x" * 10_000, b""])
def test_an_append_that_never_ended_is_told_and_dropped_by_the_next(log, torn):
    (log.ledger / "tile" / "entries" / "000.p" / "7").write_bytes(torn)
    (log.ledger / "tile" / "0" / "000.p" / "7").write_bytes(torn)
    (log.ledger / ".checkpoint.0123456789ab").write_bytes(torn)
    found = ledger.verify(log.ledger, log.trust)
    assert found.torn
    assert len(found.entries) == 6
    append(log.ledger, log.keys.private("scanner"), [6])
    healed = ledger.verify(log.ledger, log.trust)
    assert not healed.torn
    assert len(healed.entries) == 7
    assert not list(log.ledger.glob(".checkpoint.*"))


def test_a_record_that_is_missing_or_changed_is_told(log):
    records = log.ledger / "records"
    (records / f"{entry(1).record.hex}.json").unlink()
    (records / f"{entry(2).record.hex}.json").write_bytes(b"edited")
    found = ledger.verify(log.ledger, log.trust)
    told = list(ledger.missing_records(log.ledger, found.entries))
    assert len(told) == 2
    assert told[0].endswith("is missing")
    assert told[1].endswith("was changed")


def test_there_has_to_be_a_log(log):
    with pytest.raises(UsageError, match="there is no checkpoint"):
        ledger.verify(log.home, log.trust)
    (log.home / "file").write_text("")
    with pytest.raises(UsageError, match="ledger"):
        append(log.home / "file", log.keys.private("scanner"), [1])
    (log.home / "old").mkdir()
    (log.home / "old" / "log.jsonl").write_text("")
    for act in (ledger.verify, lambda path, trust: ledger.begin(path, log.keys.private("scanner"))):
        with pytest.raises(UsageError, match="of an earlier form"):
            act(log.home / "old", log.trust)


def test_an_entry_beyond_what_a_bundle_holds_is_refused_before_it_is_written(log):
    huge = Made(
        kind="model",
        name=Name("acme/m"),
        version=1,
        root=Digest.of(b"m"),
        materials=tuple(
            Material(
                record=Digest.of(b"%d" % n),
                name=Name("acme/" + "n" * 200),
                version=1,
                root=Digest.of(b"%d" % n),
            )
            for n in range(200)
        ),
        time=NOW,
    )
    with pytest.raises(UsageError, match="a log takes at most 65535"):
        ledger.add(log.ledger, huge, log.keys.private("scanner"))
    assert len(ledger.verify(log.ledger, log.trust).entries) == 6


def test_a_signed_entry_of_another_form_is_refused(log, logs):
    statement = make_statement("acme/flights", "0" * 64, JUDGED, {"log": {}, "x": 1})
    other = sign(statement, log.keys.private("scanner")).to_json()
    logs.write(log.ledger, [*logs.read(log.ledger), other], log.keys.private("scanner"))
    with pytest.raises(Malformed, match="ledger entry 6"):
        ledger.verify(log.ledger, log.trust)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "verdict"),
        ("materials", []),
        ("materials", [{"record": "0" * 64}]),
        ("version", -1),
        ("decision", "PASS"),
    ],
)
def test_what_was_made_is_read_as_strictly(log, logs, key, value):
    material = Material(record=entry(0).record, name=entry(0).name, version=0, root=entry(0).root)
    made = Made(
        kind="model",
        name=Name("acme/m"),
        version=1,
        root=Digest.of(b"m"),
        time=NOW,
        materials=(material,),
    )
    trusts.add(
        log.trust_dir,
        trusts.TrustedKey(
            key=load_public(log.keys.pub("both")), roles=("deriver",), names=("acme/*",)
        ),
    )
    deriver = log.keys.private("both")
    right = write_line(made, ledger.current(log.ledger), deriver)
    document = json.loads(ledger_payload(right))
    logs.write(log.ledger, [*logs.read(log.ledger), right], deriver)
    assert ledger.verify(log.ledger, log.trust).made == (made,)
    document["predicate"][key] = value
    wrong = sign(json.dumps(document, separators=(",", ":")).encode(), deriver).to_json()
    logs.write(log.ledger, [*logs.read(log.ledger)[:6], wrong], deriver)
    with pytest.raises(Malformed, match="ledger entry 6"):
        ledger.verify(log.ledger, log.trust)


def ledger_payload(line):
    from guards.provenance.signing import parse_envelope

    return parse_envelope(line).payload


def test_a_scanner_alone_says_nothing_of_what_was_made(log):
    material = Material(record=entry(0).record, name=entry(0).name, version=0, root=entry(0).root)
    made = Made(
        kind="model",
        name=Name("acme/m"),
        version=1,
        root=Digest.of(b"m"),
        time=NOW,
        materials=(material,),
    )
    ledger.add(log.ledger, made, log.keys.private("scanner"))
    with pytest.raises(Untrusted, match="has not the role deriver"):
        ledger.verify(log.ledger, log.trust)


def test_a_lock_left_behind_by_a_killed_process_holds_nobody_up(log):
    assert (log.ledger / "lock").exists()
    assert os.access(log.ledger / "lock", os.W_OK)
    append(log.ledger, log.keys.private("scanner"), [6])
    assert len(ledger.verify(log.ledger, log.trust).entries) == 7


EDITED = {
    "another index": lambda p: p.replace(b"index 2", b"index 3"),
    "a hash left out": lambda p: p.replace(p.split(b"\n")[3] + b"\n", b""),
    "a hash turned": lambda p: p.replace(p.split(b"\n")[3], b"A" * 43 + b"="),
    "a hash too many": lambda p: p.replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1),
    "a hash that is none": lambda p: p.replace(p.split(b"\n")[3], b"AAAA"),
    "no entry": lambda p: p.replace(p.split(b"\n")[1] + b"\n", b""),
    "another entry": lambda p: p.replace(b"extra e", b"extra f"),
    "another version": lambda p: p.replace(b"@v1", b"@v2"),
    "an index with a zero before it": lambda p: p.replace(b"index 2", b"index 02"),
    "no checkpoint": lambda p: p.partition(b"\n\n")[0] + b"\n",
    "a larger size": lambda p: p.replace(b"\n6\n", b"\n7\n"),
}


class TestProofs:
    """Proofs that are checked alone; whoever hands one over may be the attacker."""

    @pytest.fixture
    def proof(self, log):
        return logproof.prove(log.ledger, 2)

    def test_a_proof_needs_neither_the_log_nor_later_entries(self, log, proof):
        append(log.ledger, log.keys.private("scanner"), [6])
        shutil.rmtree(log.ledger)
        proven = logproof.check(proof, log.trust, b"record 2")
        assert (proven.index, proven.line, proven.checkpoint.size) == (2, entry(2), 6)

    @pytest.mark.parametrize("number", range(6))
    def test_every_record_has_its_proof(self, log, number):
        proof = logproof.prove_record(log.ledger, entry(number).record)
        assert logproof.check(proof, log.trust, b"record %d" % number).index == number

    def test_a_record_that_is_not_in_the_log_has_none(self, log):
        with pytest.raises(UsageError, match="has no entry of record"):
            logproof.prove_record(log.ledger, entry(9).record)
        for index in (-1, 6):
            with pytest.raises(UsageError, match="has no entry"):
                logproof.prove(log.ledger, index)

    def test_the_proof_of_another_record_is_told(self, log, proof):
        with pytest.raises(Malformed, match="of another entry"):
            logproof.check(proof, log.trust, b"record 3")

    @pytest.mark.parametrize("edit", EDITED.values(), ids=EDITED.keys())
    def test_a_proof_that_was_edited_is_refused(self, log, proof, edit):
        assert edit(proof) != proof
        with pytest.raises(REFUSALS):
            logproof.check(edit(proof), log.trust)

    def test_no_bit_of_a_proof_can_be_turned(self, log, proof):
        for place in range(len(proof)):
            turned = proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :]
            with pytest.raises(REFUSALS):
                logproof.check(turned, log.trust)

    def test_a_checkpoint_that_nobody_trusted_signed_proves_nothing(self, log, logs):
        logs.write(log.ledger, logs.read(log.ledger), log.keys.private("stranger"))
        with pytest.raises(Untrusted, match="not signed by any trusted key"):
            logproof.check(logproof.prove(log.ledger, 2), log.trust)
        logs.write(log.ledger, logs.read(log.ledger), log.keys.private("producer"))
        with pytest.raises(Untrusted, match="has not the role scanner"):
            logproof.check(logproof.prove(log.ledger, 2), log.trust)

    def test_a_proof_of_consistency_needs_no_log(self, log):
        old = ledger.current(log.ledger)
        append(log.ledger, log.keys.private("scanner"), [6, 7])
        proof = logproof.prove_consistency(log.ledger, old)
        assert logproof.check_consistency(proof, old) == ledger.current(log.ledger)
        fork = replace(old, root=Digest.of(b"fork"))
        with pytest.raises(Malformed, match="a fork"):
            logproof.check_consistency(proof, fork)
        with pytest.raises(Malformed, match="a fork"):
            logproof.prove_consistency(log.ledger, fork)
        with pytest.raises(Malformed, match="another log"):
            logproof.check_consistency(proof, replace(old, origin="log.example/2"))
        with pytest.raises(Malformed, match="another log"):
            logproof.prove_consistency(log.ledger, replace(old, origin="log.example/2"))
        with pytest.raises(Malformed, match="5 are remembered"):
            logproof.check_consistency(proof, replace(old, size=5))
        with pytest.raises(Malformed, match="fewer than 9"):
            logproof.prove_consistency(log.ledger, replace(old, size=9))

    @pytest.mark.parametrize("data", [b"", b"old 1\n", b"x\n\ny", "old é\n\n".encode(), b"\n\n"])
    def test_junk_is_no_proof(self, log, data):
        for check in (
            lambda: logproof.check(data, log.trust),
            lambda: logproof.check_consistency(data, ledger.current(log.ledger)),
            lambda: logproof.checkpoint_in(data),
        ):
            with pytest.raises(Malformed):
                check()


def _append_many(directory, pem, first, count):
    key = load_private(pem)
    for number in range(first, first + count):
        ledger.append(directory, entry(number), b"record %d" % number, key)


def test_writers_in_several_processes_lose_nothing(spine):
    directory, each = spine.ledger, 12
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


_STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def _killed(directory, pem, first, said, left):
    """Append for ever; killed before the `left`-th step on the file system, if that is given."""
    key = load_private(pem)
    steps, removals = iter(range(left or 0)), count()

    def step(event, args):
        # Of the many parts of a tile that go when it is full, every hundredth is a step.
        skipped = event == "os.remove" and next(removals) % 100
        if event in _STEPS and not skipped and next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    if left is not None:
        sys.addaudithook(step)
    for number in range(first, 10**6):
        ledger.append(directory, entry(number), b"record %d" % number, key)
        os.write(said, b"%d\n" % number)


def writer(spine, directory, first, left=None):
    """A process that appends until it is killed, and the pipe in which it says what is logged."""
    heard, said = os.pipe()
    about = (directory, spine.keys.pem("scanner"), first, said, left)
    process = get_context("fork").Process(target=_killed, args=about)
    process.start()
    os.close(said)
    return process, os.fdopen(heard, "rb")


def whole(spine, directory, acknowledged, before):
    """The log verifies, holds what was acknowledged, and at most one entry more."""
    if not ledger.exists(directory):
        assert not acknowledged
        assert before == 0
        return
    found = ledger.verify(directory, spine.trust)
    assert len(found.entries) - before - len(acknowledged) in (0, 1)
    assert {int(word) for word in acknowledged} <= {e.version for e in found.entries}
    assert list(ledger.missing_records(directory, found.entries)) == []
    append(directory, spine.keys.private("scanner"), [999])
    healed = ledger.verify(directory, spine.trust)
    assert len(healed.entries) == len(found.entries) + 1
    assert not healed.torn


def test_a_writer_killed_in_the_middle_leaves_a_log_that_verifies(spine):
    directory, acknowledged = spine.ledger, []
    for round_ in range(4):
        process, heard = writer(spine, directory, 1000 * round_)
        with heard:
            acknowledged += [heard.readline() for _ in range(3)]
            time.sleep(0.005 * round_)
            process.kill()
            acknowledged += heard.readlines()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        found = ledger.verify(directory, spine.trust)
        # The last word of a killed process may be cut; whole ones were said after the fsync.
        said = {int(word) for word in acknowledged if word.endswith(b"\n")}
        assert said <= {e.version for e in found.entries}
        assert list(ledger.missing_records(directory, found.entries)) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 3, 255, 256])
def test_a_writer_killed_before_any_step_leaves_a_log_that_goes_on(spine, size, full_log):
    """Before every file that an append opens, names, moves or removes, at the edges of a tile."""
    killed, acknowledged = 0, []
    while not acknowledged:
        shutil.rmtree(spine.ledger, ignore_errors=True)
        if size:  # links, since nothing there is ever written in its place
            shutil.copytree(full_log(size), spine.ledger, copy_function=os.link)
        process, heard = writer(spine, spine.ledger, size, killed)
        with heard:
            acknowledged = heard.read().split()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        whole(spine, spine.ledger, acknowledged, size)
        killed += 1
    assert killed > 16, "an append takes more steps than that, and each was the last of one process"


class TestGateAndLedger:
    """What the gate asks of the ledger, when it is given one."""

    @pytest.fixture
    def passed(self, spine):
        assert spine.scan(ledger=spine.ledger).verdict
        return spine

    def refused(self, spine, told):
        with pytest.raises(GateRefused, match=told):
            spine.gate(ledger=spine.ledger)

    def test_a_record_in_the_ledger_is_admitted(self, passed):
        assert passed.gate(ledger=passed.ledger)

    def test_no_ledger_where_one_is_asked_for(self, spine):
        spine.scan()
        self.refused(spine, "does not verify")

    def test_a_record_that_is_not_in_the_ledger(self, passed):
        passed.scan()
        self.refused(passed, "not in the ledger")

    def test_a_ledger_that_was_edited(self, passed, logs):
        logs.write(passed.ledger, [logs.read(passed.ledger)[0].replace(b"A", b"B", 1)])
        self.refused(passed, "does not verify")

    def test_a_ledger_that_was_cut_off_before_the_record(self, passed, logs):
        logs.write(passed.ledger, [], passed.keys.private("scanner"))
        self.refused(passed, "not in the ledger")

    def test_a_ledger_exchanged_for_another_one(self, passed):
        passed.scan(ledger=passed.ledger, out=passed.home / "second")
        second = (passed.home / "second" / "record.json").read_bytes()
        kept = ledger.verify(passed.ledger, passed.trust).entries[1]
        shutil.rmtree(passed.ledger)
        key = passed.keys.private("scanner")
        ledger.append(passed.ledger, entry(1), b"record 1", key)
        ledger.append(passed.ledger, kept, second, key)
        with pytest.raises(GateRefused, match="cut or exchanged"):
            passed.gate(ledger=passed.ledger, record=passed.home / "second" / "record.json")

    def test_a_newer_version_supersedes(self, passed):
        old = passed.manifest.read_bytes()
        passed.sign(version=2)
        assert passed.scan(ledger=passed.ledger, out=passed.home / "new").verdict
        passed.manifest.write_bytes(old)
        self.refused(passed, "superseded: version 2")
        assert passed.gate(ledger=passed.ledger, record=passed.home / "new" / "record.json")

    def test_a_worse_verdict_on_the_same_bytes_supersedes(self, passed):
        os.link(passed.batch / "a.parquet", passed.home / "second name")
        strict = replace(passed.policy, quarantine_at=Severity.LOW)
        later = passed.scan(policy=strict, ledger=passed.ledger, out=passed.home / "new")
        assert later.verdict.decision is Decision.QUARANTINE
        self.refused(passed, "superseded: the same bytes were judged QUARANTINE since")

    def test_what_nobody_vouched_for_says_nothing_about_what_somebody_did(self, passed):
        kept = passed.manifest.rename(passed.home / "kept")
        assert not passed.scan(ledger=passed.ledger, out=passed.home / "new").verdict
        kept.rename(passed.manifest)
        assert passed.gate(ledger=passed.ledger)

    def test_a_newer_version_of_another_partition_does_not_supersede(self, passed):
        manifest, record = passed.manifest.read_bytes(), passed.record.read_bytes()
        passed.sign(name="acme/flights/2013-02", version=8)
        assert passed.scan(ledger=passed.ledger, out=passed.home / "new").verdict
        passed.manifest.write_bytes(manifest)
        passed.record.write_bytes(record)
        assert passed.gate(ledger=passed.ledger)

    def test_an_unsigned_dataset_cannot_spoil_the_ledger(self, passed):
        passed.manifest.unlink()
        passed.scan(ledger=passed.ledger, out=passed.home / "new")
        found = ledger.verify(passed.ledger, passed.trust)
        assert [e.name for e in found.entries][1] == UNNAMED

    def test_a_dataset_named_beyond_the_scanner_cannot_spoil_the_ledger(self, passed):
        """A producer of other names is trusted too, and the scanner is not a scanner of those."""
        passed.manifest.unlink()
        passed.sign("neighbour", name="umbrella/x", version=1)
        with pytest.raises(UsageError, match="may not sign records about umbrella/x"):
            passed.scan(ledger=passed.ledger, out=passed.home / "new")
        assert len(ledger.verify(passed.ledger, passed.trust).entries) == 1

    @pytest.mark.parametrize("who", ["stranger", "producer"])
    def test_a_key_that_is_no_scanner_cannot_spoil_the_ledger(self, passed, who):
        key = passed.keys.private(who)
        with pytest.raises(UsageError, match="may not sign"):
            passed.scan(ledger=passed.ledger, key=key, out=passed.home / "new")
        assert len(ledger.verify(passed.ledger, passed.trust).entries) == 1

    def test_a_scan_without_trust_cannot_spoil_the_ledger(self, passed):
        passed.scan(ledger=passed.ledger, trust=None, out=passed.home / "new")
        assert len(ledger.verify(passed.ledger, passed.trust).entries) == 2

    def test_a_ledger_needs_a_key(self, spine):
        with pytest.raises(UsageError, match="--key"):
            spine.scan(ledger=spine.ledger, key=None)

    def test_a_broken_ledger_stops_the_next_scan(self, passed, logs):
        logs.write(passed.ledger, [logs.read(passed.ledger)[0].replace(b"A", b"B", 1)])
        with pytest.raises(REFUSALS, match="ledger entry 0"):
            passed.scan(ledger=passed.ledger, out=passed.home / "new")
        assert not (passed.home / "new").exists()

    def test_every_record_carries_where_the_log_stood(self, passed):
        before = ledger.current(passed.ledger)
        scanned = passed.scan(ledger=passed.ledger, out=passed.home / "new")
        assert scanned.record.checkpoint == before
        report = json.loads((scanned.run_dir / "report.json").read_bytes())
        assert read_checkpoint(report["ledger"]["checkpoint"].encode()) == before
        assert report["ledger"]["root"] == str(before.root)

    def test_the_first_record_carries_the_name_of_its_log(self, passed):
        first = json.loads((passed.home / "run" / "report.json").read_bytes())["ledger"]
        assert (first["size"], first["root"]) == (0, str(EMPTY))
        assert first["origin"] == ledger.current(passed.ledger).origin

    def test_every_run_holds_the_proof_that_its_record_is_in_the_log(self, passed):
        proof = (passed.home / "run" / "record.tlog-proof").read_bytes()
        shutil.rmtree(passed.ledger)
        proven = logproof.check(proof, passed.trust, passed.record.read_bytes())
        assert proven.line.record == Digest.of(passed.record.read_bytes())

    def test_a_state_directory_remembers_where_the_log_stood(self, passed, logs):
        state = Memory(passed.home / "state")
        old = shutil.copytree(passed.ledger, passed.home / "old")
        passed.scan(ledger=passed.ledger, state=state, out=passed.home / "new")
        assert state.recall_log(ledger.current(passed.ledger).origin).size == 2
        assert passed.gate(ledger=passed.ledger, state=state)
        with pytest.raises(Malformed, match="cut off: it has 1 entries, and 2 are remembered"):
            passed.scan(ledger=old, state=state, out=passed.home / "third")
        with pytest.raises(GateRefused, match="since the state directory saw it"):
            passed.gate(ledger=old, state=state)
        append(old, passed.keys.private("scanner"), [7, 8])
        with pytest.raises(Malformed, match="is a fork"):
            passed.scan(ledger=old, state=state, out=passed.home / "third")

    def test_a_log_that_was_begun_anew_is_not_the_one_that_was_seen_there(self, passed):
        """Who deletes the whole log is told like one who cuts it off."""
        state = Memory(passed.home / "state")
        passed.scan(ledger=passed.ledger, state=state, out=passed.home / "new")
        shutil.rmtree(passed.ledger)
        with pytest.raises(Malformed, match="is no log, and 2 entries are remembered in the state"):
            passed.scan(ledger=passed.ledger, state=state, out=passed.home / "third")
        passed.scan(ledger=passed.ledger, out=passed.home / "third")
        record = passed.home / "third" / "record.json"
        assert passed.gate(ledger=passed.ledger, record=record), "nobody remembers"
        with pytest.raises(GateRefused, match=r"another log than .* is remembered"):
            passed.gate(ledger=passed.ledger, record=record, state=state)
        with pytest.raises(Malformed, match="another log than"):
            passed.scan(ledger=passed.ledger, state=state, out=passed.home / "fourth")
        elsewhere = passed.home / "elsewhere"
        assert passed.scan(ledger=elsewhere, state=state, out=passed.home / "fifth").verdict

    def test_a_scanner_who_left_takes_the_log_along_and_an_expired_one_does_not(self, passed):
        scanner = next(k for k in passed.trust.keys if "scanner" in k.roles)
        rest = [k for k in passed.trust.keys if k != scanner]
        later = datetime.now(UTC).replace(microsecond=0).replace(year=9000)
        trusts._write(passed.trust_dir, [*rest, replace(scanner, expires=later)])
        assert ledger.verify(passed.ledger, passed.trust)
        trusts._write(passed.trust_dir, rest)
        with pytest.raises(Untrusted):
            ledger.verify(passed.ledger, passed.trust)
