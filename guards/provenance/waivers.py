"""Signed waivers: an approver accepts what a rule found in one version of one dataset, for a while.

A waiver names the dataset, its version and the root of its bytes, the rule and, unless all of the
rule's findings are meant, their code, the severity that is accepted, why, and until when. It is an
in-toto Statement in a DSSE envelope, signed by as many approvers as the trust asks for. It hides
nothing: what it covers is found, shown and recorded all the same; it only does not count. Whether
a rule's findings may be waived at all is the policy's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from guards.digest import Digest
from guards.errors import Malformed, UsageError
from guards.provenance.manifest import Name, parse_name
from guards.provenance.signing import Envelope, make_statement, parse_envelope, signers, statement
from guards.provenance.strictjson import Node, timestamp
from guards.provenance.trust import SKEW, Trust

PREDICATE = "https://toadstone.dev/waiver/v1"
ROLE = "approver"
MAX_REASON = 1000
SEVERITIES = ("info", "low", "medium", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """What is accepted: findings of a rule, up to a severity, in these bytes, until `expires`."""

    name: Name
    version: int
    root: Digest
    rule: str
    code: str
    severity: str
    reason: str
    created: datetime
    expires: datetime

    @property
    def told(self) -> str:
        """The finding that it is about, as people write it."""
        return f"{self.rule}/{self.code or '*'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A waiver as it was shown to a scan: what it says, who signed it, or why it does not count.

    `digest` names the envelope. It is true when it counts for the data that it was held against.
    """

    digest: Digest
    waiver: Waiver | None
    approvers: tuple[str, ...] = ()
    refused: str = ""

    def __bool__(self) -> bool:
        return self.waiver is not None and not self.refused


def payload(waiver: Waiver) -> bytes:
    """The bytes to be signed."""
    predicate: dict[str, Any] = {
        "version": waiver.version,
        "rule": waiver.rule,
        "code": waiver.code,
        "severity": waiver.severity,
        "reason": waiver.reason,
        "created": timestamp(waiver.created),
        "expires": timestamp(waiver.expires),
    }
    return make_statement(str(waiver.name), waiver.root.hex, PREDICATE, predicate)


def parse(envelope: Envelope) -> Waiver:
    """Read a waiver; call `signers` first, and believe it only then."""
    top = statement(envelope, PREDICATE)
    subject = next(iter(top.of("subject").each()))
    node = top.of("predicate").only(
        "version", "rule", "code", "severity", "reason", "created", "expires"
    )
    if node.of("severity").text() not in SEVERITIES:
        node.of("severity").refuse(f"must be one of {', '.join(SEVERITIES)}")
    if not node.of("rule").text() or not node.of("reason").text().strip():
        node.refuse("needs a rule and a reason")
    return Waiver(
        name=_name(subject.of("name")),
        version=node.of("version").integer(),
        root=subject.of("digest").of("sha256").digest(),
        rule=node.of("rule").text(),
        code=node.of("code").text(),
        severity=node.of("severity").text(),
        reason=node.of("reason").text(),
        created=node.of("created").time(),
        expires=node.of("expires").time(),
    )


def checked(waiver: Waiver) -> Waiver:
    """The same; UsageError for one that nobody should sign."""
    if not waiver.reason.strip() or len(waiver.reason) > MAX_REASON:
        raise UsageError(f"--reason: say why, in at most {MAX_REASON} characters")
    if waiver.expires <= waiver.created:
        raise UsageError("--expires: a waiver ends after it begins")
    return waiver


def weigh(
    signed: bytes, trust: Trust | None, at: datetime, about: tuple[Name, int, Digest] | None
) -> Presented:
    """Whether a waiver counts for that name, version and root at that time, and why if not.

    `about` is None for data that nobody vouched for; nothing can be waived of it.
    """
    digest = Digest.of(signed)
    if trust is None:
        return Presented(digest=digest, waiver=None, refused="there is no trust to hold it against")
    try:
        envelope = parse_envelope(signed, "waiver")
        made_by = signers(envelope, trust.public)
        if not made_by:
            told = "no key of the trust signed it, or it was changed since"
            return Presented(digest=digest, waiver=None, refused=told)
        waiver = parse(envelope)
    except Malformed as error:
        return Presented(digest=digest, waiver=None, refused=str(error))
    authority = trust.authorise(made_by, ROLE, waiver.name, at)
    few = authority.why_not or authority.count.outcome
    reasons = ["" if authority else few, untimely(waiver.created, waiver.expires, at)]
    return Presented(
        digest=digest,
        waiver=waiver,
        approvers=authority.able,
        refused=next(filter(None, [_elsewhere(waiver, about), *reasons]), ""),
    )


def untimely(created: datetime, expires: datetime, at: datetime) -> str:
    """Why a waiver does not count at that time, or nothing."""
    if created - at > SKEW:
        return f"is not valid before {timestamp(created)}"
    return f"expired on {timestamp(expires)}" if at - expires > SKEW else ""


def still(approvers: Iterable[str], trust: Trust, name: Name, at: datetime) -> str:
    """Why those who had signed a waiver, by key id, are not enough any more; or nothing."""
    known = {key.keyid: key for key in trust.public}
    keys = [known[keyid] for keyid in approvers if keyid in known]
    authority = trust.authorise(keys, ROLE, name, at)
    return "" if authority else authority.why_not or authority.count.outcome


def _elsewhere(waiver: Waiver, about: tuple[Name, int, Digest] | None) -> str:
    """What else than the data at hand the waiver is about, or nothing."""
    if about is None:
        return "nobody vouched for a name and a version of this data"
    name, version, root = about
    if (waiver.name, waiver.version) != (name, version):
        return f"is about {waiver.name} version {waiver.version}, not {name} version {version}"
    return f"is about other bytes, {waiver.root.short}" if waiver.root != root else ""


def _name(node: Node) -> Name:
    try:
        return parse_name(node.text())
    except UsageError as error:
        node.refuse(str(error))
