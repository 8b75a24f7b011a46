"""A trust directory, in one of two forms that one evaluator decides (:mod:`.authority`).

    TRUST/trust.toml      the small form: the verifier's own word, one file (:mod:`.trustfile`)
    TRUST/keys/<id>.pub   its keys, SPKI PEM
    TRUST/metadata/       the full form: TUF's metadata, signed by m of n root keys (:mod:`.rooted`)

The directory belongs to the verifier. A key has roles (producer, scanner, deriver, approver) for
name patterns, from `valid_from` until `expires`, and not at all once it is `revoked`; a threshold
says how many keys it takes, and a delegation whose keys they are. What is here edits the small
form; :mod:`.rootkeeping` edits the full one, whose changes others have to sign.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from guards.digest import Digest
from guards.errors import UsageError
from guards.provenance import trustfile
from guards.provenance.authority import (
    COUNTED,
    ROLES,
    Authority,
    Delegation,
    Revocation,
    Scope,
    Standing,
    Step,
    Threshold,
    Trust,
    TrustedKey,
    exchanged,
)
from guards.provenance.memory import SKEW, Memory
from guards.provenance.signing import PublicKey

__all__ = [
    "COUNTED",
    "ROLES",
    "SKEW",
    "Authority",
    "Delegation",
    "Revocation",
    "Scope",
    "Standing",
    "Step",
    "Threshold",
    "Trust",
    "TrustedKey",
]
METADATA, PENDING = "metadata", "pending"
# The environment variable that pins every trust of a process.
PIN = "TOADSTONE_ROOT_DIGEST"


def load(directory: Path, state: Memory | None = None, root: Digest | None = None) -> Trust:
    """Read a trust directory of either form; whatever is doubtful in it is an error.

    With `state`, metadata older than was seen before is refused, and what is newer remembered.
    With `root`, or what TOADSTONE_ROOT_DIGEST says, only a trust that rests on it is believed: of
    the full form one of its roots, from which the newest follows; of the small form the whole.

    Raises:
        UsageError: there is no trust there, or it is both forms at once.
        Malformed: the metadata is not what TUF calls so.
        Untrusted: a key is unsound or listed twice, or the metadata is not signed by those that it
            takes, or older than what was seen, or it is another than was pinned.
    """
    if root is None and PIN in os.environ:
        root = parse_root(os.environ[PIN], PIN)
    return _read(directory, state, root)


def to_pin(directory: Path) -> Digest:
    """The digest by which this trust may be pinned, whatever is pinned now; errors as in `load`."""
    return _read(directory, None, None).pin


def _read(directory: Path, state: Memory | None, root: Digest | None) -> Trust:
    if not is_rooted(directory):
        found = trustfile.read(directory)
        if root and found.pin != root:
            raise exchanged(str(directory), found.pin, root)
        return found
    if (directory / trustfile.FILE).exists():
        raise UsageError(f"trust {directory}: has metadata/ and trust.toml; one of them must go")
    if not is_in_force(directory):
        raise UsageError(f"trust {directory}: waits for signatures; toadstone trust sign")
    from guards.provenance.rooted import read

    return read(directory / METADATA, state, root)


def parse_root(text: str, where: str) -> Digest:
    """Read a pinned digest, `sha256:<hex>` or bare hex; UsageError for anything else."""
    try:
        return Digest.parse(text)
    except ValueError as error:
        told = "must be sha256:<64 digits>, as toadstone trust show prints it"
        raise UsageError(f"{where} {text[:80]!r}: {told}") from error


def is_rooted(directory: Path) -> bool:
    """Whether a trust directory is of the full form."""
    return any((directory / part).is_dir() for part in (METADATA, PENDING))


def is_in_force(directory: Path) -> bool:
    """Whether a trust of the full form has its first signatures."""
    return (directory / METADATA).is_dir()


def create(directory: Path, key: TrustedKey) -> None:
    """Start a trust directory with one key; never overwrites."""
    if (directory / trustfile.FILE).exists() or is_rooted(directory):
        raise UsageError(f"{directory} is a trust directory already; toadstone trust add-key")
    _write(directory, [key])


def add(directory: Path, key: TrustedKey) -> None:
    """Add a key to a trust directory."""
    trust = trustfile.read(directory)
    if key.key in [known.key for known in trust.keys]:
        raise UsageError(f"key {key.key.keyid[:12]} is in {directory} already; edit trust.toml")
    trustfile.write(directory, replace(trust, keys=(*trust.keys, key)))


def revoke(directory: Path, key: PublicKey, revocation: Revocation) -> None:
    """Say that a key counts no more; it stays in the directory, with the reason."""
    _require_reason(revocation)
    _change(directory, key, lambda known: [replace(known, revoked=revocation)])


def rotate(directory: Path, old: PublicKey, new: PublicKey, revocation: Revocation) -> None:
    """Put a new key in the place of an old one, which is revoked; it may do the same things."""
    _require_reason(revocation)
    if new in trustfile.read(directory).public:
        raise UsageError(f"key {new.keyid[:12]} is in {directory} already; rotate to a new one")

    def both(known: TrustedKey) -> list[TrustedKey]:
        return [
            replace(known, revoked=revocation),
            replace(known, key=new, valid_from=None, revoked=None),
        ]

    _change(directory, old, both)


def delegate(directory: Path, delegation: Delegation) -> None:
    """Give names to keys of others; a delegation of the same name is replaced, in its place."""
    if not 1 <= delegation.threshold <= len(delegation.keys):
        raise UsageError(
            f"a threshold of {delegation.threshold} cannot be met by {len(delegation.keys)} keys"
        )
    trust = trustfile.read(directory)
    names = [one.where for one in trust.delegations]
    others = [delegation if one.where == delegation.where else one for one in trust.delegations]
    if delegation.where not in names:
        others.append(delegation)
    trustfile.write(directory, replace(trust, delegations=tuple(others)))


def require(directory: Path, threshold: Threshold) -> None:
    """Ask for so many keys; what was asked for the same role and names before is replaced."""
    if threshold.threshold < 1:
        raise UsageError("a threshold is 1 or more keys")
    trust = trustfile.read(directory)
    others = [
        known
        for known in trust.thresholds
        if (known.role, known.names) != (threshold.role, threshold.names)
    ]
    trustfile.write(directory, replace(trust, thresholds=(*others, threshold)))


def parse_time(text: str) -> datetime:
    """Read a date or an ISO time from a person; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a time like 2026-01-31 or 2026-01-31T12:00Z") from error


def _change(
    directory: Path, key: PublicKey, become: Callable[[TrustedKey], list[TrustedKey]]
) -> None:
    """Let a key become others wherever it is listed; UsageError where it is not."""
    trust = trustfile.read(directory)
    if key not in trust.public:
        raise UsageError(f"key {key.keyid[:12]} is not in {directory}")

    def changed(keys: Iterable[TrustedKey]) -> tuple[TrustedKey, ...]:
        return tuple(one for k in keys for one in (become(k) if k.key == key else [k]))

    delegations = tuple(replace(one, keys=changed(one.keys)) for one in trust.delegations)
    trustfile.write(directory, replace(trust, keys=changed(trust.keys), delegations=delegations))


def _require_reason(revocation: Revocation) -> None:
    if not revocation.reason.strip():
        raise UsageError("--reason: say why; who reads the trust next year will ask")


def _write(
    directory: Path, keys: Sequence[TrustedKey], thresholds: Sequence[Threshold] = ()
) -> None:
    trustfile.write(directory, Trust(keys=tuple(keys), thresholds=tuple(thresholds)))
