"""An append-only log of signed records: each line names the line before it.

    LEDGER/log.jsonl              one DSSE envelope a line, signed by a scanner
    LEDGER/records/<sha256>.json  the records themselves
    LEDGER/statistics/<sha256>.json  what was seen in data that was admitted, as its record binds it
    LEDGER/profiles/<sha256>.json    and what that data looked like

Editing, dropping or reordering a line breaks the chain for everybody. Cutting the end off can be
told only relative to something remembered: a checkpoint (size and head) that somebody kept. Every
record carries the checkpoint it was made on, so each later record is such a memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from guards.digest import Digest
from guards.errors import Malformed, Untrusted, UsageError
from guards.files import locked, write_atomically
from guards.provenance.chain import GENESIS, append_line, whole_lines
from guards.provenance.manifest import Name, parse_name
from guards.provenance.signing import (
    Envelope,
    Signer,
    make_statement,
    parse_envelope,
    sign,
    signers,
    statement,
)
from guards.provenance.strictjson import Node, timestamp
from guards.provenance.trust import Trust

PREDICATE = "https://toadstone.dev/ledger-entry/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The length of a log and the digest of its last line: enough to notice what is cut off."""

    size: int
    head: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: which record, about which bytes of which dataset, and what was decided."""

    record: Digest
    name: Name
    version: int
    root: Digest
    decision: str
    policy: Digest
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log that verified, from its first line to `checkpoint`."""

    entries: tuple[Entry, ...]
    heads: tuple[Digest, ...]
    torn: bool = False

    @property
    def checkpoint(self) -> Checkpoint:
        """Where it ends."""
        return Checkpoint(size=len(self.heads), head=self.heads[-1] if self.heads else GENESIS)

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether this log continues the one that `checkpoint` was taken of."""
        if checkpoint.size == 0:
            return checkpoint.head == GENESIS
        past = len(self.heads) >= checkpoint.size
        return past and self.heads[checkpoint.size - 1] == checkpoint.head

    def find(self, record: Digest) -> int | None:
        """The position of a record, or None."""
        return next((i for i, entry in enumerate(self.entries) if entry.record == record), None)


def append(
    directory: Path,
    entry: Entry,
    record: bytes,
    key: Signer,
    kept: Mapping[str, bytes] | None = None,
) -> Checkpoint:
    """Store a record and chain its entry; returns the checkpoint after it, once it is on disk.

    `kept` are documents by the name of their directory (`statistics`, `profiles`); they lie there
    under their digests, by which the record must have bound them.
    """
    try:
        for kind, document in (kept or {}).items():
            (directory / kind).mkdir(parents=True, exist_ok=True)
            path = directory / kind / f"{Digest.of(document).hex}.json"
            write_atomically(path, document)
        (directory / "records").mkdir(parents=True, exist_ok=True)
        write_atomically(directory / "records" / f"{entry.record.hex}.json", record)
        with locked(directory / "lock"):
            return _chain(directory / "log.jsonl", entry, key)
    except OSError as error:
        raise UsageError(f"ledger {directory}: {error.strerror}") from error


def checkpoint(directory: Path) -> Checkpoint:
    """Where the log ends now, read without verifying it; an absent ledger is empty."""
    lines, _ = whole_lines(directory / "log.jsonl")
    return Checkpoint(size=len(lines), head=Digest.of(lines[-1]) if lines else GENESIS)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read `SIZE:HEAD`, as `ledger show` and every record give it."""
    size, _, head = text.partition(":")
    try:
        return Checkpoint(size=int(size), head=Digest.parse(head))
    except ValueError as error:
        raise UsageError(f"checkpoint {text!r}: must be SIZE:HEAD, as in 12:sha256:...") from error


def verify(directory: Path, trust: Trust) -> Log:
    """Check every signature and the whole chain; Malformed or Untrusted names the first bad line.

    A key counts as it stood at the time the entry names, which is the scanner's own word.
    """
    path = directory / "log.jsonl"
    if not path.is_file():
        raise UsageError(f"ledger {directory}: there is no log.jsonl")
    lines, torn = whole_lines(path)
    entries, heads = [], [GENESIS]
    for index, line in enumerate(lines):
        entries.append(_verified(line, index, heads[-1], trust))
        heads.append(Digest.of(line))
    return Log(entries=tuple(entries), heads=tuple(heads[1:]), torn=bool(torn))


def missing_records(directory: Path, entries: Sequence[Entry]) -> Iterator[str]:
    """Say of each record that is not there, or is not the one that was logged."""
    for entry in entries:
        path = directory / "records" / f"{entry.record.hex}.json"
        if not path.is_file():
            yield f"record {entry.record.short} of {entry.name} is missing"
        elif Digest.of(path.read_bytes()) != entry.record:
            yield f"record {entry.record.short} of {entry.name} was changed"


def _chain(path: Path, entry: Entry, key: Signer) -> Checkpoint:
    size, head = append_line(
        path, lambda number, head: sign(_payload(entry, number, head), key).to_json()
    )
    return Checkpoint(size=size, head=head)


def _payload(entry: Entry, sequence: int, previous: Digest) -> bytes:
    predicate = {
        "sequence": sequence,
        "previous": str(previous),
        "record": str(entry.record),
        "version": entry.version,
        "decision": entry.decision,
        "policy": str(entry.policy),
        "time": timestamp(entry.time),
    }
    return make_statement(str(entry.name), entry.root.hex, PREDICATE, predicate)


def _verified(line: bytes, index: int, previous: Digest, trust: Trust) -> Entry:
    where = f"ledger line {index + 1}"
    envelope = parse_envelope(line, where)
    made_by = signers(envelope, trust.public)
    if not made_by:
        raise Untrusted(f"{where}: not signed by any trusted key, or changed since")
    try:
        entry = _parse(envelope, index, previous)
    except Malformed as error:
        raise error.inside(where) from error
    authority = trust.authorise(made_by, "scanner", entry.name, entry.time)
    if not authority:
        raise Untrusted(f"{where}: {authority.why_not}")
    return entry


def _parse(envelope: Envelope, index: int, previous: Digest) -> Entry:
    top = statement(envelope, PREDICATE)
    subject = next(iter(top.of("subject").each()))
    predicate: Node = top.of("predicate").only(
        "sequence", "previous", "record", "version", "decision", "policy", "time"
    )
    if predicate.of("sequence").integer() != index:
        predicate.of("sequence").refuse(f"must be {index}: a line was dropped, added or moved")
    if predicate.of("previous").digest() != previous:
        predicate.of("previous").refuse("does not name the line before it")
    return Entry(
        record=predicate.of("record").digest(),
        name=parse_name(subject.of("name").text()),
        version=predicate.of("version").integer(),
        root=subject.of("digest").of("sha256").digest(),
        decision=predicate.of("decision").text(),
        policy=predicate.of("policy").digest(),
        time=predicate.of("time").time(),
    )
