"""A reference that somebody accepted: an anchor, which no passing batch ever moves.

    ANCHOR/accepted.jsonl      one DSSE envelope a line, signed by an approver
    ANCHOR/<sha256>.profile    the profiles that the lines name

Each line says which profile is the reference of a name from now on, who says so and why, and names
the line before it. A scan takes the last one, if an approver whom the verifier trusts for that name
has signed it: the signature covers the chain, so nothing before it can be edited, dropped or
reordered. Cumulative drift is drift from this profile, however small each step of it was; the
rolling profile of the admitted versions (:mod:`guards.data.earlier`) stands beside it and follows.

What it cannot tell by itself is that the end was cut off: an older reference, once accepted, is
taken again. A policy that pins the digest notices, and so does everybody who compares the
`reference` that the examination of drift names in each record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guards.data.profile import Profile, parse_profile
from guards.digest import Digest
from guards.errors import Malformed, Untrusted, UsageError
from guards.files import locked, read_document, write_atomically
from guards.provenance.chain import GENESIS, append_line, whole_lines
from guards.provenance.manifest import Name, parse_name
from guards.provenance.signing import (
    Envelope,
    Signer,
    add_signature,
    make_statement,
    parse_envelope,
    sign,
    signers,
    statement,
)
from guards.provenance.strictjson import timestamp
from guards.provenance.trust import SKEW, Trust
from guards.text import printable

PREDICATE = "https://toadstone.dev/accepted-reference/v1"
FILE = "accepted.jsonl"
ROLE = "approver"
MAX_REASON = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One line: this profile is the reference of `name` from `time` on, and why."""

    name: Name
    profile: Digest
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A chain that holds, oldest first, and the profile that its last line names."""

    accepted: tuple[Acceptance, ...]
    profile: Profile


def is_anchor(directory: Path) -> bool:
    """Whether a path is an anchor's directory."""
    return (directory / FILE).is_file()


def accept(
    directory: Path,
    data: bytes,
    acceptance: Acceptance,
    key: Signer,
    trust: Trust | None = None,
    *,
    more: Sequence[Signer] = (),
) -> Digest:
    """Make a profile, `data`, the reference from now on; returns the digest of the new line.

    With `trust`, only where a verifier with that trust would believe it; `more` sign it too, where
    the trust takes several approvers.

    Raises:
        UsageError: the key may not accept, the reason is empty, or the anchor is of another name.
        Malformed: these are no profile's bytes, or the chain is broken.
    """
    if Digest.of(data) != acceptance.profile:
        raise UsageError("the profile accepted is not the one that is given")
    parse_profile(data)
    if not acceptance.reason.strip() or len(acceptance.reason) > MAX_REASON:
        raise UsageError(f"--reason: say why, in at most {MAX_REASON} characters")
    if printable(acceptance.reason) != acceptance.reason:
        raise UsageError("--reason: has characters that nobody sees, or that turn what is read")
    keys = (key, *more)
    if trust is not None:
        _require_approvers(keys, acceptance, trust)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory / "lock"):
            before = [known for known, _ in _chain(directory)]
            if before and before[-1].name != acceptance.name:
                raise UsageError(f"{directory} is the anchor of {before[-1].name}; choose another")
            write_atomically(directory / f"{acceptance.profile.hex}.profile", data)
            _, digest = append_line(
                directory / FILE,
                lambda number, previous: _signed(_payload(acceptance, number, previous), keys),
            )
    except OSError as error:
        raise UsageError(f"anchor {directory}: {error.strerror}") from error
    return digest


def _require_approvers(keys: Sequence[Signer], acceptance: Acceptance, trust: Trust) -> None:
    """Refuse to sign what a verifier with this trust would not believe."""
    about = (ROLE, acceptance.name, acceptance.time)
    whose = f"an {ROLE} of {acceptance.name} accepts its references"
    for key in keys:
        if why := trust.refusal(key.public, *about):
            raise UsageError(f"--key {key.public.keyid[:12]} {why} by --trust; {whose}")
    if not (authority := trust.authorise([key.public for key in keys], *about)):
        raise UsageError(f"--key: {authority.count.outcome} by --trust; give --key of each")


def _signed(payload: bytes, keys: Sequence[Signer]) -> bytes:
    first, *more = keys
    envelope = sign(payload, first)
    for key in more:
        envelope = add_signature(envelope, key)
    return envelope.to_json()


def read_anchor(
    directory: Path, trust: Trust | None, name: Name | None, at: datetime | None = None
) -> Anchor:
    """The profile that was accepted last, for data of this `name` (None: not known).

    Without `trust`, which is for looking only, nobody has to have signed.

    Raises:
        Untrusted: no approver trusted for the name signed the last line, or it is for another name.
        Malformed: the chain is broken, or the profile is not the one that was accepted.
    """
    chain = list(_chain(directory))
    if not chain:
        raise UsageError(f"anchor {directory}: nothing was accepted yet; toadstone accept")
    last, envelope = chain[-1]
    if name is not None and not last.name.covers(name):
        raise Untrusted(f"anchor {directory}: is of {last.name}, and the data is {name}")
    if trust is not None:
        _require_approver(directory, last, envelope, trust, at or datetime.now(UTC))
    data = read_document(directory / f"{last.profile.hex}.profile")
    if data is None or Digest.of(data) != last.profile:
        told = "is missing" if data is None else "was changed"
        raise Malformed(f"{last.profile.hex}.profile {told}; restore it from a copy", "anchor")
    return Anchor(accepted=tuple(known for known, _ in chain), profile=parse_profile(data))


def _require_approver(
    directory: Path, last: Acceptance, envelope: Envelope, trust: Trust, at: datetime
) -> None:
    made_by = signers(envelope, trust.public)
    authority = trust.authorise(made_by, ROLE, last.name, at)
    if not authority:
        why = authority.why_not or "no trusted key signed"
        raise Untrusted(
            f"anchor {directory}: {why} the reference accepted last; an {ROLE} of {last.name} has "
            "to accept it: toadstone accept"
        )
    if last.time - at > SKEW:
        raise Untrusted(f"anchor {directory}: was accepted in the future, {timestamp(last.time)}")


def _chain(directory: Path) -> Iterator[tuple[Acceptance, Envelope]]:
    previous, first = GENESIS, None
    lines, _ = whole_lines(directory / FILE)
    for number, line in enumerate(lines):
        where = f"anchor line {number + 1}"
        envelope = parse_envelope(line, where)
        try:
            acceptance = _parse(envelope, number, previous)
        except Malformed as error:
            raise error.inside(where) from error
        first = first or acceptance.name
        if acceptance.name != first:
            raise Malformed(f"is of another name than {first}", where)
        yield acceptance, envelope
        previous = Digest.of(line)


def _payload(acceptance: Acceptance, number: int, previous: Digest) -> bytes:
    predicate = {
        "sequence": number,
        "previous": str(previous),
        "reason": acceptance.reason,
        "time": timestamp(acceptance.time),
    }
    return make_statement(str(acceptance.name), acceptance.profile.hex, PREDICATE, predicate)


def _parse(envelope: Envelope, number: int, previous: Digest) -> Acceptance:
    top = statement(envelope, PREDICATE)
    subject = next(iter(top.of("subject").each()))
    predicate = top.of("predicate").only("sequence", "previous", "reason", "time")
    if predicate.of("sequence").integer() != number:
        predicate.of("sequence").refuse(f"must be {number}: a line was dropped, added or moved")
    if predicate.of("previous").digest() != previous:
        predicate.of("previous").refuse("does not name the line before it")
    try:
        name = parse_name(subject.of("name").text())
    except UsageError as error:
        subject.of("name").refuse(str(error))
    return Acceptance(
        name=name,
        profile=subject.of("digest").of("sha256").digest(),
        reason=predicate.of("reason").text(),
        time=predicate.of("time").time(),
    )
