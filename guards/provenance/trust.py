"""Who may do what for which names: a directory of public keys and one TOML file.

    TRUST/trust.toml      version, and a [[key]] for each key: file, roles, names, expires
    TRUST/keys/<id>.pub   SPKI PEM

The directory belongs to the verifier. A key has roles (producer, scanner, deriver, approver) for
name patterns, where `*` stands for anything. The evaluation is pure and explains itself: each
step is a :class:`Step` with its rule, its input and its outcome.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key, and what it may do: these roles, for these names, until then."""

    key: PublicKey
    roles: tuple[str, ...]
    names: tuple[str, ...]
    expires: datetime | None = None

    def refusal(self, role: str, name: Name, at: datetime) -> str:
        """Why this key does not count for `role` on `name` at that time, or nothing.

        What nobody vouched for has no name; about it, everybody with the role may speak.
        """
        if role not in self.roles:
            return f"has not the role {role}"
        if name != UNNAMED and not any(_matches(pattern, name) for pattern in self.names):
            return f"is not trusted for {name}, only for {', '.join(self.names)}"
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
class Trust:
    """The verifier's keys; no key is in it twice."""

    keys: tuple[TrustedKey, ...]

    @property
    def digest(self) -> Digest:
        """Names the trust itself, so that a record can say under which trust it was made."""
        return digest_json(sorted(_describe(key) for key in self.keys))

    @property
    def public(self) -> tuple[PublicKey, ...]:
        """All keys, to find out who signed."""
        return tuple(trusted.key for trusted in self.keys)

    def authorise(
        self, signers: Iterable[PublicKey], role: str, name: Name, at: datetime
    ) -> tuple[Step, ...]:
        """One step for each signer; the role is filled when any of them is ok."""
        known = {trusted.key: trusted for trusted in self.keys}
        steps = []
        for key in sorted(signers, key=lambda key: key.keyid):
            refusal = known[key].refusal(role, name, at)
            steps.append(
                Step(
                    rule=f"{role}-key",
                    input=key.keyid,
                    ok=not refusal,
                    outcome=refusal or f"may act as {role} for {name}",
                )
            )
        return tuple(steps)


def load(directory: Path) -> Trust:
    """Read a trust directory; whatever is doubtful in it is an error, never a guess."""
    path = directory / "trust.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"trust {path}: {error.strerror}; toadstone trust init") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"trust {path}: not TOML: {error}") from error
    if document.get("version") != 1 or document.keys() - {"version", "key"}:
        raise UsageError(f"trust {path}: must hold `version = 1` and [[key]] tables only")
    tables = document.get("key", [])
    if not _is_list_of(tables, dict):
        raise UsageError(f"trust {path}: keys are written as [[key]] tables")
    keys = tuple(_read_key(directory, table) for table in tables)
    if not keys:
        raise UsageError(f"trust {path}: no keys; an empty trust would vouch for nothing")
    if len({trusted.key for trusted in keys}) != len(keys):
        raise Untrusted(f"trust {path}: the same key is listed twice")
    return Trust(keys=keys)


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
    _write(directory, [*trust.keys, key])


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
    expires = timestamp(trusted.expires) if trusted.expires else ""
    return [trusted.key.keyid, sorted(trusted.roles), sorted(trusted.names), expires]


def _read_key(directory: Path, table: dict[str, Any]) -> TrustedKey:
    where = f"trust {directory}: key {table.get('file')!r}"
    if unknown := table.keys() - {"file", "roles", "names", "expires", "comment"}:
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
    return TrustedKey(
        key=load_public(directory / name),
        roles=tuple(roles),
        names=tuple(names),
        expires=_expiry(table, where),
    )


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _expiry(table: dict[str, Any], where: str) -> datetime | None:
    match table.get("expires"):
        case None:
            return None
        case datetime() as moment:
            return moment.replace(tzinfo=moment.tzinfo or UTC)
        case date() as day:
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        case other:
            raise UsageError(f"{where}: expires must be a TOML date, not {other!r}")


def _write(directory: Path, keys: Sequence[TrustedKey]) -> None:
    lines = ["# Who may do what for which names. This directory belongs to the verifier.", ""]
    lines += ["version = 1", ""]
    try:
        (directory / "keys").mkdir(parents=True, exist_ok=True)
        for trusted in keys:
            file = f"keys/{trusted.key.keyid[:16]}.pub"
            write_atomically(directory / file, trusted.key.pem)
            lines += ["[[key]]", f'file = "{file}"']
            lines += [f"roles = {_toml(trusted.roles)}", f"names = {_toml(trusted.names)}"]
            lines += [f"expires = {timestamp(trusted.expires)}"] if trusted.expires else []
            lines.append("")
        write_atomically(directory / "trust.toml", "\n".join(lines).encode())
    except OSError as error:
        raise UsageError(f"cannot write {directory}: {os.strerror(error.errno or 0)}") from error


def _toml(values: Iterable[str]) -> str:
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "[" + ", ".join(f'"{value}"' for value in quoted) + "]"
