"""Who may do what for which names: a directory of public keys and one TOML file.

    TRUST/trust.toml      version; a [[key]] for each key, a [[threshold]] where one is not enough
    TRUST/keys/<id>.pub   SPKI PEM

The directory belongs to the verifier. A key has roles (producer, scanner, deriver, approver) for
name patterns, where `*` stands for anything, from `valid_from` until `expires`, and not at all
once it is `revoked`. A threshold says how many keys have to sign a manifest of such names. The
evaluation is pure and explains itself: each step is a :class:`Step` with its rule, its input and
its outcome.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from guards.digest import Digest, digest_json
from guards.errors import Untrusted, UsageError
from guards.files import write_atomically
from guards.provenance.manifest import UNNAMED, Name
from guards.provenance.signing import PublicKey, load_public
from guards.provenance.strictjson import timestamp

ROLES = ("producer", "scanner", "deriver", "approver")
# Of manifests, which take several signatures; records, ledger entries and acceptances have one.
COUNTED = ("producer", "deriver")
SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """From when a key counts no more, and why."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key, and what it may do: these roles, for these names, from then until then."""

    key: PublicKey
    roles: tuple[str, ...]
    names: tuple[str, ...]
    expires: datetime | None = None
    valid_from: datetime | None = None
    revoked: Revocation | None = None
    comment: str = ""

    def refusal(self, role: str, name: Name, at: datetime) -> str:
        """Why this key does not count for `role` on `name` at that time, or nothing.

        What nobody vouched for has no name; about it, everybody with the role may speak. Clocks
        may differ by `SKEW`; with a revoked key the doubt is not in the key's favour.
        """
        if role not in self.roles:
            return f"has not the role {role}"
        if name != UNNAMED and not any(_matches(pattern, name) for pattern in self.names):
            return f"is not trusted for {name}, only for {', '.join(self.names)}"
        if self.revoked and self.revoked.since - at <= SKEW:
            return f"was revoked on {timestamp(self.revoked.since)}: {self.revoked.reason}"
        if self.valid_from and self.valid_from - at > SKEW:
            return f"is not valid before {timestamp(self.valid_from)}"
        if self.expires and at - self.expires > SKEW:
            return f"expired on {timestamp(self.expires)}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a decision: what was asked, of what, and how it came out."""

    rule: str
    input: str
    ok: bool
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """So many different keys have to fill the role for these names; the highest that fits rules."""

    role: str
    names: tuple[str, ...]
    threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Whether those who signed fill a role for a name: a step for each key, and their count."""

    role: str
    name: Name
    threshold: int
    steps: tuple[Step, ...]

    def __bool__(self) -> bool:
        return len(self.able) >= self.threshold

    @property
    def able(self) -> tuple[str, ...]:
        """Key ids of those who may act in this role, once each."""
        own = f"{self.role}-key"
        return tuple(step.input for step in self.steps if step.ok and step.rule == own)

    @property
    def count(self) -> Step:
        """The step that decides: how many of those needed there are."""
        keys = "key" if self.threshold == 1 else "different keys"
        return Step(
            rule="threshold",
            input=f"{self.role} of {self.name}",
            ok=bool(self),
            outcome=f"{len(self.able)} of {self.threshold} {keys} needed",
        )

    @property
    def why_not(self) -> str:
        """What stands against the keys that do not count, for people."""
        return "; ".join(f"key {s.input[:12]} {s.outcome}" for s in self.steps if not s.ok)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The verifier's keys and how many of them it takes; no key is in it twice."""

    keys: tuple[TrustedKey, ...]
    thresholds: tuple[Threshold, ...] = ()

    @property
    def digest(self) -> Digest:
        """Names the trust itself, so that a record can say under which trust it was made."""
        needed = [["threshold", t.role, sorted(t.names), t.threshold] for t in self.thresholds]
        return digest_json(sorted(_describe(key) for key in self.keys) + sorted(needed))

    @property
    def public(self) -> tuple[PublicKey, ...]:
        """All keys, to find out who signed."""
        return tuple(trusted.key for trusted in self.keys)

    def needed(self, role: str, name: Name) -> int:
        """How many keys have to sign in this role for that name; one unless more are asked."""
        asked = (
            threshold.threshold
            for threshold in self.thresholds
            if threshold.role == role
            and any(_matches(pattern, name) for pattern in threshold.names)
        )
        return max(asked, default=1)

    def authorise(
        self, signers: Iterable[PublicKey], role: str, name: Name, at: datetime
    ) -> Authority:
        """One step for each signer, counted once each; true when there are enough of them."""
        known = {trusted.key: trusted for trusted in self.keys}
        steps = []
        for key in sorted(set(signers), key=lambda key: key.keyid):
            refusal = known[key].refusal(role, name, at)
            steps.append(
                Step(
                    rule=f"{role}-key",
                    input=key.keyid,
                    ok=not refusal,
                    outcome=refusal or f"may act as {role} for {name}",
                )
            )
        threshold = self.needed(role, name)
        return Authority(role=role, name=name, threshold=threshold, steps=tuple(steps))

    def refusal(self, key: PublicKey, role: str, name: Name, at: datetime) -> str:
        """Why one key, of whatever signer, does not count for that; or nothing."""
        found = next((trusted for trusted in self.keys if trusted.key == key), None)
        return found.refusal(role, name, at) if found else "is not in it"


def load(directory: Path) -> Trust:
    """Read a trust directory; whatever is doubtful in it is an error, never a guess."""
    path = directory / "trust.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"trust {path}: {error.strerror}; toadstone trust init") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"trust {path}: not TOML: {error}") from error
    if document.get("version") != 1 or document.keys() - {"version", "key", "threshold"}:
        raise UsageError(
            f"trust {path}: must hold `version = 1`, [[key]] and [[threshold]] tables only"
        )
    tables, counts = document.get("key", []), document.get("threshold", [])
    if not (_is_list_of(tables, dict) and _is_list_of(counts, dict)):
        raise UsageError(f"trust {path}: are written as [[key]] and [[threshold]] tables")
    keys = tuple(_read_key(directory, table) for table in tables)
    if not keys:
        raise UsageError(f"trust {path}: no keys; an empty trust would vouch for nothing")
    if len({trusted.key for trusted in keys}) != len(keys):
        raise Untrusted(f"trust {path}: the same key is listed twice")
    thresholds = tuple(_read_threshold(f"trust {path}: a threshold", table) for table in counts)
    return Trust(keys=keys, thresholds=thresholds)


def create(directory: Path, key: TrustedKey) -> None:
    """Start a trust directory with one key; never overwrites."""
    if (directory / "trust.toml").exists():
        raise UsageError(f"{directory} is a trust directory already; toadstone trust add-key")
    _write(directory, [key])


def add(directory: Path, key: TrustedKey) -> None:
    """Add a key to a trust directory."""
    trust = load(directory)
    if key.key in trust.public:
        raise UsageError(f"key {key.key.keyid[:12]} is in {directory} already; edit trust.toml")
    _write(directory, [*trust.keys, key], trust.thresholds)


def revoke(directory: Path, key: PublicKey, revocation: Revocation) -> None:
    """Say that a key counts no more; it stays in the directory, with the reason."""
    trust = load(directory)
    if key not in trust.public:
        raise UsageError(f"key {key.keyid[:12]} is not in {directory}")
    if not revocation.reason.strip():
        raise UsageError("--reason: say why; who reads the trust next year will ask")
    keys = [replace(k, revoked=revocation) if k.key == key else k for k in trust.keys]
    _write(directory, keys, trust.thresholds)


def require(directory: Path, threshold: Threshold) -> None:
    """Ask for so many keys; what was asked for the same role and names before is replaced."""
    if threshold.threshold < 1:
        raise UsageError("a threshold is 1 or more keys")
    trust = load(directory)
    others = [
        known
        for known in trust.thresholds
        if (known.role, known.names) != (threshold.role, threshold.names)
    ]
    _write(directory, trust.keys, [*others, threshold])


def parse_time(text: str) -> datetime:
    """Read a date or an ISO time from a person; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a time like 2026-01-31 or 2026-01-31T12:00Z") from error


def _matches(pattern: str, name: Name) -> bool:
    return fnmatchcase(name.dataset, pattern) or fnmatchcase(str(name), pattern)


def _describe(trusted: TrustedKey) -> list[Any]:
    """What a key may do; a date that is not there adds nothing, so old digests stand."""
    expires = timestamp(trusted.expires) if trusted.expires else ""
    found = [trusted.key.keyid, sorted(trusted.roles), sorted(trusted.names), expires]
    if trusted.valid_from:
        found.append(["from", timestamp(trusted.valid_from)])
    if trusted.revoked:
        found.append(["revoked", timestamp(trusted.revoked.since), trusted.revoked.reason])
    return found


_KEY_FIELDS = {
    *("file", "roles", "names", "expires", "valid_from", "revoked", "scheme", "comment"),
}


def _read_key(directory: Path, table: dict[str, Any]) -> TrustedKey:
    where = f"trust {directory}: key {table.get('file')!r}"
    if unknown := table.keys() - _KEY_FIELDS:
        raise UsageError(f"{where}: unknown keys {sorted(unknown)}")
    try:
        name, roles, names = str(table["file"]), table["roles"], table["names"]
    except KeyError as error:
        raise UsageError(f"{where}: {error} is missing") from error
    if not (_is_list_of(roles, str) and _is_list_of(names, str)):
        # A bare "acme/*" would fall apart into letters, of which "*" stands for every name.
        raise UsageError(f'{where}: roles and names are lists of strings, as in ["acme/*"]')
    if "/" in name.removeprefix("keys/") or ".." in name:
        raise UsageError(f"{where}: must lie in the directory's own keys/")
    if not roles or not names or set(roles) - set(ROLES):
        raise UsageError(f"{where}: needs names, and roles out of {', '.join(ROLES)}")
    key = load_public(directory / name)
    if table.get("scheme", key.scheme) != key.scheme:
        raise Untrusted(f"{where}: is a key of {key.scheme}, not of {table['scheme']!r}")
    return TrustedKey(
        key=key,
        roles=tuple(roles),
        names=tuple(names),
        expires=_moment(table, "expires", where),
        valid_from=_moment(table, "valid_from", where),
        revoked=_revocation(table, where),
        comment=str(table.get("comment", "")),
    )


def _revocation(table: dict[str, Any], where: str) -> Revocation | None:
    told = table.get("revoked")
    if told is None:
        return None
    shape = isinstance(told, dict) and told.keys() == {"since", "reason"}
    if not shape or not isinstance(told["reason"], str) or not told["reason"].strip():
        raise UsageError(f'{where}: revoked = {{ since = 2026-01-31, reason = "..." }}, both')
    since = _moment(told, "since", where)
    assert since is not None
    return Revocation(since=since, reason=told["reason"])


def _read_threshold(where: str, table: dict[str, Any]) -> Threshold:
    role, names, least = table.get("role"), table.get("names"), table.get("threshold")
    if table.keys() != {"role", "names", "threshold"} or not _is_list_of(names, str) or not names:
        raise UsageError(f'{where}: has role, names as in ["acme/*"], and threshold')
    if role not in COUNTED:
        raise UsageError(f"{where}: {role!r} is none of {', '.join(COUNTED)}, who sign manifests")
    if type(least) is not int or least < 1:
        raise UsageError(f"{where}: threshold = {least!r} is no number of keys")
    return Threshold(role=role, names=tuple(names), threshold=least)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _moment(table: dict[str, Any], field: str, where: str) -> datetime | None:
    match table.get(field):
        case None:
            return None
        case datetime() as moment:
            return moment.replace(tzinfo=moment.tzinfo or UTC)
        case date() as day:
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        case other:
            raise UsageError(f"{where}: {field} must be a TOML date, not {other!r}")


def _write(
    directory: Path, keys: Sequence[TrustedKey], thresholds: Sequence[Threshold] = ()
) -> None:
    lines = ["# Who may do what for which names. This directory belongs to the verifier.", ""]
    lines += ["version = 1", ""]
    try:
        (directory / "keys").mkdir(parents=True, exist_ok=True)
        for trusted in keys:
            file = f"keys/{trusted.key.keyid[:16]}.pub"
            write_atomically(directory / file, trusted.key.pem)
            lines += ["[[key]]", f'file = "{file}"', *_key_lines(trusted), ""]
        for asked in thresholds:
            lines += ["[[threshold]]", f'role = "{asked.role}"', f"names = {_toml(asked.names)}"]
            lines += [f"threshold = {asked.threshold}", ""]
        write_atomically(directory / "trust.toml", "\n".join(lines).encode())
    except OSError as error:
        raise UsageError(f"cannot write {directory}: {os.strerror(error.errno or 0)}") from error


def _key_lines(trusted: TrustedKey) -> Iterator[str]:
    yield f'scheme = "{trusted.key.scheme}"'
    yield f"roles = {_toml(trusted.roles)}"
    yield f"names = {_toml(trusted.names)}"
    if trusted.valid_from:
        yield f"valid_from = {timestamp(trusted.valid_from)}"
    if trusted.expires:
        yield f"expires = {timestamp(trusted.expires)}"
    if revoked := trusted.revoked:
        told = _quoted(revoked.reason)
        yield f"revoked = {{ since = {timestamp(revoked.since)}, reason = {told} }}"
    if trusted.comment:
        yield f"comment = {_quoted(trusted.comment)}"


def _toml(values: Iterable[str]) -> str:
    return "[" + ", ".join(_quoted(value) for value in values) + "]"


def _quoted(text: str) -> str:
    """A TOML basic string: escaped as in JSON, which leaves only DEL to see to."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
