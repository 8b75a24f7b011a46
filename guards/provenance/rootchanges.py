"""What can be changed in a piece of TUF metadata, each as an edit of its keys and its delegations.

An edit changes python-tuf's own objects in place; :func:`.rootkeeping.change` makes the draft that
others sign. The words are those of the small form (:mod:`.trust`), so that a command means the
same in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from guards.errors import UsageError
from guards.provenance import tufdata
from guards.provenance.authority import COUNTED, Delegation, Revocation, Threshold, TrustedKey
from guards.provenance.signing import PublicKey

Edit = Callable[[dict[str, Any], dict[str, Any]], None]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def adding(trusted: TrustedKey) -> Edit:
    """One more key beside those that have the same rights, or in a delegation of its own."""

    def edit(keys: dict[str, Any], roles: dict[str, Any]) -> None:
        rights = tufdata.paths(trusted.roles, trusted.names)
        keyid = trusted.key.keyid
        of_the_same = [role for role in roles.values() if role.paths == rights]
        if any(keyid in role.keyids for role in of_the_same):
            raise UsageError(f"key {keyid[:12]} may do that already")
        _refuse_other_dates(keys, trusted)
        keys[keyid] = tufdata.as_tuf(trusted)
        if of_the_same:
            of_the_same[0].keyids.append(keyid)
            return
        who = trusted.roles[0] if len(trusted.roles) == 1 else "keys"
        name = f"{who}-{keyid[:8]}"
        name += "-more" * (name in roles)
        roles[name] = tufdata.model().DelegatedRole(name, [keyid], 1, False, rights)

    return edit


def delegating(given: Delegation) -> Edit:
    """Names to keys of others; a delegation of that name is replaced, in its place."""

    def edit(keys: dict[str, Any], roles: dict[str, Any]) -> None:
        name = given.where
        if not _NAME.fullmatch(name) or name in tufdata.TOP_LEVEL:
            raise UsageError(f"--as {name!r}: a name is of small letters, digits, dot and dash")
        if not 1 <= given.threshold <= len(given.keys):
            told = f"{given.threshold} cannot be met by {len(given.keys)} keys"
            raise UsageError(f"a threshold of {told}")
        for trusted in given.keys:
            _refuse_other_dates(keys, trusted)
            keys[trusted.key.keyid] = tufdata.as_tuf(trusted)
        rights = [path for s in given.scope for path in tufdata.paths(s.roles, s.names)]
        roles[name] = tufdata.model().DelegatedRole(
            name,
            [trusted.key.keyid for trusted in given.keys],
            given.threshold,
            given.terminating,
            rights,
        )
        _drop_unused(keys, roles)

    return edit


def revoking(key: PublicKey, revocation: Revocation) -> Edit:
    """A key counts no more, since when and why; it stays where it is, so that this can be told."""

    def edit(keys: dict[str, Any], roles: dict[str, Any]) -> None:
        trusted = _known(keys, key)
        keys[key.keyid] = tufdata.as_tuf(replace(trusted, revoked=revocation))

    return edit


def replacing(old: PublicKey, new: PublicKey, revocation: Revocation) -> Edit:
    """A new key beside an old one, which is revoked, wherever the old one is."""

    def edit(keys: dict[str, Any], roles: dict[str, Any]) -> None:
        trusted = _known(keys, old)
        if new.keyid in keys:
            raise UsageError(f"key {new.keyid[:12]} is there already; rotate to a new one")
        keys[old.keyid] = tufdata.as_tuf(replace(trusted, revoked=revocation))
        keys[new.keyid] = tufdata.as_tuf(replace(trusted, key=new, revoked=None, valid_from=None))
        for role in roles.values():
            if old.keyid in role.keyids:
                role.keyids.append(new.keyid)

    return edit


def requiring(asked: Threshold) -> Edit:
    """So many keys out of those that were given exactly these rights."""

    def edit(keys: dict[str, Any], roles: dict[str, Any]) -> None:
        rights = tufdata.paths([asked.role], asked.names)
        fitting = [role for role in roles.values() if role.paths == rights]
        if not fitting:
            told = f"{asked.role} for {', '.join(asked.names)}"
            raise UsageError(f"no delegation is of exactly {told}; toadstone trust delegate")
        for role in fitting:
            live = [one for one in role.keyids if not tufdata.holder(keys[one], "metadata").revoked]
            if not 1 <= asked.threshold <= len(live):
                told = f"{asked.threshold} cannot be met by {len(live)} keys of {role.name}"
                raise UsageError(f"a threshold of {told}")
            role.threshold = asked.threshold

    return edit


def countable(roles: Iterable[str], threshold: int) -> None:
    """Refuse a threshold for what has one signature only: a record is one scanner's word."""
    if threshold > 1 and (alone := sorted(set(roles) - set(COUNTED))):
        raise UsageError(
            f"a threshold of {threshold} for {', '.join(alone)}: what they sign has one signature; "
            f"delegate it apart from {', '.join(COUNTED)}"
        )


def _known(keys: dict[str, Any], key: PublicKey) -> TrustedKey:
    if key.keyid not in keys:
        raise UsageError(f"key {key.keyid[:12]} is not in it; say where it is: --from NAME")
    return tufdata.holder(keys[key.keyid], "metadata")


def _refuse_other_dates(keys: dict[str, Any], trusted: TrustedKey) -> None:
    """A key is listed once, with its dates; a second listing must not unsay a revocation."""
    known = keys.get(trusted.key.keyid)
    if known is not None and tufdata.holder(known, "metadata").revoked:
        raise UsageError(f"key {trusted.key.keyid[:12]} is revoked; use a new key")


def _drop_unused(keys: dict[str, Any], roles: dict[str, Any]) -> None:
    used = {keyid for role in roles.values() for keyid in role.keyids}
    for keyid in [one for one in keys if one not in used]:
        del keys[keyid]
