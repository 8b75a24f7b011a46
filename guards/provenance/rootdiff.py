"""What a piece of TUF's metadata says, a line a right, and so what a draft changes.

Whoever adds a signature did not write the draft; this is what they read before they sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from guards.provenance import tufdata
from guards.text import printable


def lines(payload: bytes | None, name: str) -> tuple[str, ...]:
    """The rights in a piece of metadata, in its order; none where there is no such piece yet.

    Raises:
        Malformed: it is not TUF's.
    """
    if payload is None:
        return ()
    kind = "root" if name == "root" else "targets"
    signed: Any = tufdata.parse(payload, kind, name)
    told = _roles(signed) if kind == "root" else _delegations(signed)
    return tuple(printable(f"{name}: {line}") for line in told)


def changes(old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    """The lines that a draft takes out (`- `) and puts in (`+ `); or that it only renews."""
    gone = [f"- {line}" for line in old if line not in new]
    come = [f"+ {line}" for line in new if line not in old]
    yield from [*gone, *come] or ["  the same rights, signed again"]


def _roles(root: Any) -> Iterator[str]:
    for role in tufdata.TOP_LEVEL:
        held = root.roles[role]
        yield f"{role} takes {held.threshold} of {_keys(held.keyids, root.keys)}"


def _delegations(targets: Any) -> Iterator[str]:
    if targets.delegations is None:
        return
    for name, role in (targets.delegations.roles or {}).items():
        last = ", and nobody after it" if role.terminating else ""
        keys = _keys(role.keyids, targets.delegations.keys)
        rights = ", ".join(role.paths or ())
        yield f"{name} takes {role.threshold} of {keys} for {rights}{last}"


def _keys(keyids: list[str], keys: Mapping[str, Any]) -> str:
    return ", ".join(_key(keyid, keys.get(keyid)) for keyid in keyids)


def _key(keyid: str, key: Any) -> str:
    """A key by its id, with what limits it."""
    told = key.unrecognized_fields.get(tufdata.OURS) if key is not None else None
    return f"{keyid[:16]} {told}" if told else keyid[:16]
