"""May these exact bytes be trained on? The one door between data and training.

:func:`require_pass` decides again from evidence: the record's signature and role, its policy
against the verifier's own, the bytes as they lie there now, the ledger's later word. It answers
with :class:`Admitted`, whose files are a private copy that was hashed after it was made, and are
hashed once more whenever they are read. A shell's `toadstone gate ... && python train.py` stops
accidents; only `Admitted`, or a store made with `into`, stops somebody who writes at the same time.
"""

from __future__ import annotations

import io
import os
import stat
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from guards.digest import Digest, Hasher
from guards.errors import REFUSALS, GateRefused, Malformed, UsageError
from guards.files import read_document
from guards.private import Private, hold, private
from guards.provenance import ledger
from guards.provenance.manifest import Name
from guards.provenance.memory import Memory
from guards.provenance.proof import vouching
from guards.provenance.signing import PublicKey, parse_envelope, signers
from guards.provenance.snapshot import WARNINGS, Snapshot, Walked, stage, take
from guards.provenance.strictjson import timestamp
from guards.provenance.trust import SKEW, Authority, Trust
from guards.provenance.waivers import still
from guards.record import Record, parse
from guards.verdict import Decision, Policy

if TYPE_CHECKING:
    import polars as pl

STORE_MODE = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the verifier demands: all of it is the verifier's own, none of it the record's."""

    trust: Trust
    policy: Policy
    name: Name | None = None
    at: datetime | None = None
    max_age: timedelta | None = None
    ledger: Path | None = None
    state: Memory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Bytes that passed. Every way to read them proves them again; keep it while you read.

    `signed` names the bytes of the record by which they were admitted.
    """

    record: Record
    snapshot: Snapshot
    root: Path
    signed: Digest
    _keeper: Any = field(default=None, repr=False, compare=False)

    def open(self, path: str) -> io.BytesIO:
        """One file, whole, in memory; GateRefused if it is not what was admitted."""
        entry = next((e for e in self.snapshot.files if e.path == path), None)
        if entry is None:
            raise GateRefused([f"{path}: no such file was admitted"])
        try:
            data = _read(self.root / path, entry.size)
        except OSError as error:
            raise GateRefused([f"{path}: {error.strerror} since it was admitted"]) from error
        if data is None or _digest(data) != entry.digest:
            raise GateRefused([f"{path}: changed after it was admitted"])
        return io.BytesIO(data)

    def paths(self) -> tuple[Path, ...]:
        """The files, on disk in a private copy, proved at this moment."""
        for entry in self.snapshot.files:
            self.open(entry.path).close()
        return tuple(self.root / entry.path for entry in self.snapshot.files)

    def table(self) -> pl.DataFrame:
        """All rows as a polars frame, decoded from the bytes that were proved."""
        import polars as pl

        from guards.data.dataset import open_dataset

        with private() as apart:
            # Not from the store itself: who writes to it could exchange what was just proved.
            for entry in self.snapshot.files:
                copy = apart / entry.path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(self.open(entry.path).getbuffer())
            opened = open_dataset(apart, [entry.path for entry in self.snapshot.files])
            return opened.frame(list(opened.schema)) if opened.shards else pl.DataFrame()


def require_pass(
    dataset: str | Path, record: str | Path, terms: Terms, *, into: Path | None = None
) -> Admitted:
    """Admit exactly the bytes of `dataset` that `record` says passed; or raise GateRefused.

    `into` exports them to a content-addressed, read-only store, `into/sha256-<root>/`. Without it
    they live in a private temporary directory for as long as the result does.
    """
    at = terms.at or datetime.now(UTC)
    found, signed = _believed(Path(record), terms, at)
    if reasons := list(_objections(found, signed, terms, at)):
        raise GateRefused(reasons)
    if terms.state is not None and terms.at is None:
        terms.state.remember_time(at)
    copy = _copied(Path(dataset), into, found)
    admitted = Admitted(
        record=found,
        snapshot=copy.snapshot,
        root=copy.root,
        signed=Digest.of(signed),
        _keeper=_Keeper() if copy.held else None,
    )
    if copy.held:
        weakref.finalize(admitted._keeper, copy.held.end)
    return admitted


def parse_age(text: str, option: str = "--max-age") -> timedelta:
    """Read a duration: `90`, `30m`, `12h`, `30d`; bare numbers are seconds."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, "seconds")
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise UsageError(f"{option} {text!r}: must be like 90, 30m, 12h or 30d")
    return timedelta(**{unit: int(number)})


class _Copy(NamedTuple):
    """The bytes that passed, and where they lie; `held` where they end with their owner."""

    snapshot: Snapshot
    root: Path
    held: Private | None


def _copied(dataset: Path, into: Path | None, passed: Record) -> _Copy:
    """Copy the bytes to where nobody else writes, and see that they are those that passed."""
    if into is not None:
        try:
            into.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write to {into}: {error.strerror}") from error
    held = hold(into)
    try:
        walked = stage(dataset, held.path, passed.size)
        if reasons := list(_other_bytes(walked, passed)):
            raise GateRefused(reasons)
        if into is not None:
            return _Copy(walked.snapshot, _keep(held, into, walked), None)
    except BaseException:
        held.end()
        raise
    return _Copy(walked.snapshot, held.path, held)


class _Keeper:
    """Its end is the end of the private copy."""


def _believed(path: Path, terms: Terms, at: datetime) -> tuple[Record, bytes]:
    """The record, if a trusted scanner signed it: nothing in it is read before that is known."""
    try:
        data = read_document(path)
    except UsageError as error:
        raise GateRefused([f"record {path}: {error}; what has no record has not passed"]) from error
    if data is None:
        raise GateRefused([f"record {path}: not there; what has no record has not passed"])
    try:
        envelope = parse_envelope(data, "record")
        made_by = signers(envelope, terms.trust.public)
        if not envelope.signatures:
            raise GateRefused(["the record is not signed; scan with --key"])
        if not made_by:
            raise GateRefused(["no trusted key signed this record, or it was changed since"])
        found = parse(envelope)
    except Malformed as error:
        raise GateRefused([f"the record is not valid: {error}"]) from error
    _require_scanner(found, made_by, terms.trust, at)
    return found, data


def _require_scanner(
    record: Record, made_by: frozenset[PublicKey], trust: Trust, at: datetime
) -> None:
    authority = trust.authorise(made_by, "scanner", record.name, at)
    if not authority:
        raise GateRefused(authority.why_not.split("; ") if authority.why_not else [_few(authority)])


def _few(authority: Authority) -> str:
    return f"the record is signed by {authority.count.outcome}"


def _objections(record: Record, signed: bytes, terms: Terms, at: datetime) -> Iterator[str]:
    """Everything that stands against the record itself, most important first."""
    if record.decision is not Decision.PASS:
        told = f": {record.reasons[0]}" if record.reasons else ""
        yield f"the verdict is {record.decision}{told}"
    if record.replay:
        yield "a replay with a chosen seed admits nothing; scan without --seed"
    if not (record.admits and terms.policy.admits):
        yield f"policy {record.policy_name!r} is for looking only; it admits nothing"
    if record.policy != terms.policy.digest:
        yield (
            f"judged under another policy, {record.policy_name!r} {record.policy.short}, "
            f"than the gate's {terms.policy.name!r} {terms.policy.digest.short}"
        )
    yield from _unexamined(record, terms.policy)
    if terms.name and not terms.name.covers(record.name):
        yield f"the record is about {record.name}, not about {terms.name}"
    yield from _untimely(record, terms, at)
    yield from _producers_gone(record, terms.trust, at)
    yield from _waivers_gone(record, terms, at)
    if terms.ledger is not None:
        yield from _later_word(record, signed, terms.ledger, terms)
    if terms.state is not None:
        yield from _older_than_seen(record, terms.state)
        if clock := terms.state.backwards(at, told=terms.at is not None):
            yield f"{clock}; the gate is about now, so give it no --state to ask about the past"


def _unexamined(record: Record, policy: Policy) -> Iterator[str]:
    """A second look at what `judge` should have seen to: no required rule was passed over."""
    looked = {e.rule for e in record.examinations if e.outcome in ("ran", "inapplicable")}
    for rule in policy.required:
        if rule not in looked:
            yield f"rule {rule!r} is required, and the record does not say that it looked"


def _untimely(record: Record, terms: Terms, at: datetime) -> Iterator[str]:
    if record.time - at > SKEW:
        yield f"the record is from the future, {timestamp(record.time)}"
    if record.expires and at - record.expires > SKEW:
        yield f"the signed manifest expired on {timestamp(record.expires)}"
    if terms.max_age is not None and at - record.time > terms.max_age:
        yield f"the record of {timestamp(record.time)} is older than {terms.max_age}; scan again"


def _producers_gone(record: Record, trust: Trust, at: datetime) -> Iterator[str]:
    """A producer who is no longer trusted takes the data along, a deriver what was derived."""
    known = {key.keyid: key for key in trust.public}
    still = [known[keyid] for keyid in record.producers if keyid in known]
    authority = vouching(trust, still, record.name, at, derived=bool(record.parents))
    if authority.stale:
        yield f"the trust is not in force: {authority.why_not}"
    elif authority.able and not authority:
        yield f"of the keys that signed {record.name}, {authority.count.outcome} are trusted"
    elif not authority:
        yield f"no producer of {record.name} is trusted any more, or none was when it was scanned"


def _waivers_gone(record: Record, terms: Terms, at: datetime) -> Iterator[str]:
    """What passed by a waiver passes as long as it holds, and as its approvers are trusted."""
    for used in record.waivers:
        about = f"the waiver of {used.rule}/{used.code or '*'}"
        if not terms.policy.may_waive(used.rule):
            yield f"{about} is not one that policy {terms.policy.name!r} lets an approver sign"
        if at - used.expires > SKEW:
            yield f"{about} expired on {timestamp(used.expires)}; scan again"
        if why := still(used.approvers, terms.trust, record.name, at):
            yield f"{about}: no approver of it is trusted any more: {why}"


def _later_word(record: Record, signed: bytes, path: Path, terms: Terms) -> Iterator[str]:
    """What the ledger says of this record, and since."""
    try:
        log = ledger.verify(path, terms.trust)
    except (*REFUSALS, UsageError) as error:
        yield f"the ledger does not verify: {error}"
        return
    position = log.find(Digest.of(signed))
    if position is None:
        yield "the record is not in the ledger"
        return
    if record.checkpoint and (why := log.objection(record.checkpoint)):
        yield f"the ledger was cut or exchanged since the record was made: {why}"
    for seen in terms.state.logs(log.checkpoint.origin, path) if terms.state else ():
        if why := log.objection(seen):
            yield f"the ledger was cut or exchanged since the state directory saw it: {why}"
            break
    # In whatever order: a pinned scan of an old version is logged after the new one has passed.
    for index, entry in enumerate(log.entries):
        passed = entry.decision == str(Decision.PASS)
        if entry.name != record.name:
            continue
        if entry.version > record.version and passed:
            yield f"superseded: version {entry.version} of {entry.name} passed since"
            return
        if entry.root == record.root and not passed and index > position:
            yield f"superseded: the same bytes were judged {entry.decision} since"
            return


def _older_than_seen(record: Record, state: Memory) -> Iterator[str]:
    seen = state.recall(record.name)
    if seen and record.version < seen.version:
        yield f"version {record.version} is older than version {seen.version}, seen before"
    elif seen and record.version == seen.version and record.root != seen.root:
        yield f"version {record.version} was seen before with other bytes"


def _other_bytes(walked: Walked, record: Record) -> Iterator[str]:
    for problem in walked.unsafe:
        if problem.code not in WARNINGS:
            yield str(problem)
    if walked.snapshot.root != record.root:
        yield f"these are other bytes, {walked.snapshot.root}, than passed, {record.root}"


def _keep(held: Private, store: Path, walked: Walked) -> Path:
    """Move the private copy into the store under its root; an equal one may be there already."""
    final = store / f"sha256-{walked.snapshot.root.hex}"
    for path in held.path.rglob("*"):
        path.chmod(STORE_MODE if path.is_file() else STORE_MODE | 0o111)
    try:
        held.path.rename(final)
    except OSError:
        if not _is_entry(final, walked.snapshot):
            raise GateRefused([f"{final} is not what its name says; remove it"]) from None
        held.end()
        return final
    final.chmod(STORE_MODE | 0o111)
    held.keep()
    return final


def _is_entry(directory: Path, wanted: Snapshot) -> bool:
    """Whether a store entry holds these bytes now and nothing else: no link, no hidden file."""
    if directory.is_symlink():
        return False
    walked = take(directory, wanted.size)
    surprises = [problem for problem in walked.unsafe if problem.code not in WARNINGS]
    return walked.snapshot == wanted and not surprises


def _read(path: Path, size: int) -> bytes | None:
    """The bytes of a plain file of that size; of nothing else is any read, or waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return None
        return file.read(size)


def _digest(data: bytes) -> Digest:
    hasher = Hasher()
    hasher.update(data)
    return hasher.digest()
