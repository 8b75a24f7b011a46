"""`trust.toml`, read without guessing and written so that it reads the same.

Whatever is doubtful in it is an error: a misspelt field would else restrict nothing, and a bare
string where a list is meant would fall apart into letters, of which `*` stands for every name.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from guards.errors import Untrusted, UsageError
from guards.files import read_document, write_atomically
from guards.provenance.authority import (
    COUNTED,
    ROLES,
    Delegation,
    Revocation,
    Scope,
    Threshold,
    Trust,
    TrustedKey,
)
from guards.provenance.signing import load_public
from guards.provenance.strictjson import timestamp

FILE = "trust.toml"
_TABLES = ("key", "threshold", "delegation")
_OF_HOLDER = ("file", "expires", "valid_from", "revoked", "scheme", "comment")
_OF_KEY = (*_OF_HOLDER, "roles", "names")
_OF_DELEGATION = ("name", "roles", "names", "threshold", "terminating", "key")


def read(directory: Path) -> Trust:
    """The trust that `directory/trust.toml` and its `keys/` say."""
    path = directory / FILE
    if (data := read_document(path)) is None:
        raise UsageError(f"trust {path}: there is no such file; toadstone trust init")
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"trust {path}: not TOML: {error}") from error
    if document.get("version") != 1 or document.keys() - {"version", *_TABLES}:
        told = "[[key]], [[threshold]] and [[delegation]] tables"
        raise UsageError(f"trust {path}: must hold `version = 1`, {told} only")
    tables, counts, further = (document.get(kind, []) for kind in _TABLES)
    if not all(_is_list_of(one, dict) for one in (tables, counts, further)):
        raise UsageError(f"trust {path}: {', '.join(_TABLES)} are lists of tables, as [[key]]")
    keys = tuple(_read_key(directory, table) for table in tables)
    delegations = tuple(_read_delegation(directory, table) for table in further)
    if not keys and not delegations:
        raise UsageError(f"trust {path}: no keys; an empty trust would vouch for nothing")
    _refuse_twins(f"trust {path}", keys)
    if len({one.where for one in delegations}) != len(delegations):
        raise UsageError(f"trust {path}: two delegations have one name")
    thresholds = tuple(_read_threshold(f"trust {path}: a threshold", table) for table in counts)
    return Trust(keys=keys, thresholds=thresholds, delegations=delegations)


def write(directory: Path, trust: Trust) -> None:
    """Put a trust of the small form into a directory, the keys before the file that names them."""
    lines = ["# Who may do what for which names. This directory belongs to the verifier.", ""]
    lines += ["version = 1", ""]
    try:
        (directory / "keys").mkdir(parents=True, exist_ok=True)
        for key in trust.public:
            write_atomically(directory / _file(key.keyid), key.pem)
        for trusted in trust.keys:
            lines += ["[[key]]", *_key_lines(trusted, rights=True), ""]
        for asked in trust.thresholds:
            lines += ["[[threshold]]", f"role = {_quoted(asked.role)}"]
            lines += [f"names = {_toml(asked.names)}", f"threshold = {asked.threshold}", ""]
        for one in trust.delegations:
            lines += _delegation_lines(one)
        write_atomically(directory / FILE, "\n".join(lines).encode())
    except OSError as error:
        raise UsageError(f"cannot write {directory}: {os.strerror(error.errno or 0)}") from error


def _refuse_twins(where: str, keys: Iterable[TrustedKey]) -> None:
    listed = [trusted.key for trusted in keys]
    if len(set(listed)) != len(listed):
        raise Untrusted(f"{where}: the same key is listed twice")


def _read_key(directory: Path, table: dict[str, Any]) -> TrustedKey:
    where = f"trust {directory}: key {table.get('file')!r}"
    roles, names = _rights(table, where)
    return _read_holder(directory, table, _OF_KEY, roles, names)


def _rights(table: dict[str, Any], where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        roles, names = table["roles"], table["names"]
    except KeyError as error:
        raise UsageError(f"{where}: {error} is missing") from error
    if not (_is_list_of(roles, str) and _is_list_of(names, str)):
        raise UsageError(f'{where}: roles and names are lists of strings, as in ["acme/*"]')
    if not roles or not names or set(roles) - set(ROLES):
        raise UsageError(f"{where}: needs names, and roles out of {', '.join(ROLES)}")
    return tuple(roles), tuple(names)


def _read_holder(
    directory: Path,
    table: dict[str, Any],
    known: tuple[str, ...],
    roles: tuple[str, ...],
    names: tuple[str, ...],
) -> TrustedKey:
    """A key, its dates and its reasons; what it may do is said by it or by its delegation."""
    where = f"trust {directory}: key {table.get('file')!r}"
    if unknown := table.keys() - set(known):
        raise UsageError(f"{where}: unknown keys {sorted(unknown)}")
    if "file" not in table:
        raise UsageError(f"{where}: 'file' is missing")
    name = str(table["file"])
    if "/" in name.removeprefix("keys/") or ".." in name:
        raise UsageError(f"{where}: must lie in the directory's own keys/")
    key = load_public(directory / name)
    if table.get("scheme", key.scheme) != key.scheme:
        raise Untrusted(f"{where}: is a key of {key.scheme}, not of {table['scheme']!r}")
    return TrustedKey(
        key=key,
        roles=roles,
        names=names,
        expires=_moment(table, "expires", where),
        valid_from=_moment(table, "valid_from", where),
        revoked=_revocation(table, where),
        comment=str(table.get("comment", "")),
    )


def _read_delegation(directory: Path, table: dict[str, Any]) -> Delegation:
    where = f"trust {directory}: delegation {table.get('name')!r}"
    if unknown := table.keys() - set(_OF_DELEGATION):
        raise UsageError(f"{where}: unknown keys {sorted(unknown)}")
    name, holders = table.get("name"), table.get("key")
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{where}: needs a name")
    if not _is_list_of(holders, dict) or not holders:
        raise UsageError(f"{where}: needs at least one [[delegation.key]]")
    roles, names = _rights(table, where)
    least, terminating = table.get("threshold", 1), table.get("terminating", False)
    if type(terminating) is not bool:
        raise UsageError(f"{where}: terminating is true or false")
    keys = tuple(_read_holder(directory, one, _OF_HOLDER, ROLES, ("*",)) for one in holders or ())
    _refuse_twins(where, keys)
    if type(least) is not int or not 1 <= least <= len(keys):
        raise UsageError(f"{where}: threshold = {least!r} is no number out of its {len(keys)} keys")
    return Delegation(
        where=name,
        keys=keys,
        threshold=least,
        scope=(Scope(roles=roles, names=names),),
        terminating=terminating,
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
        raise UsageError(f"{where}: {role!r} is none of {', '.join(COUNTED)}, of whom several sign")
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


def _file(keyid: str) -> str:
    return f"keys/{keyid[:16]}.pub"


def _key_lines(trusted: TrustedKey, *, rights: bool) -> Iterator[str]:
    yield f"file = {_quoted(_file(trusted.key.keyid))}"
    yield f"scheme = {_quoted(trusted.key.scheme)}"
    if rights:
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


def _delegation_lines(one: Delegation) -> Iterator[str]:
    (scope,) = one.scope
    yield from ("[[delegation]]", f"name = {_quoted(one.where)}")
    yield f"roles = {_toml(scope.roles)}"
    yield f"names = {_toml(scope.names)}"
    yield f"threshold = {one.threshold}"
    yield f"terminating = {str(one.terminating).lower()}"
    for trusted in one.keys:
        yield from ("", "[[delegation.key]]", *_key_lines(trusted, rights=False))
    yield ""


def _toml(values: Iterable[str]) -> str:
    return "[" + ", ".join(_quoted(value) for value in values) + "]"


def _quoted(text: str) -> str:
    """A TOML basic string: escaped as in JSON, which leaves only DEL to see to."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
