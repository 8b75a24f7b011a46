"""TUF's metadata as python-tuf models it, and what of it is ours.

Every piece is a DSSE envelope of the type `application/vnd.tuf+json`, so it is verified before it
is parsed, by the same functions as a manifest, and keys are counted by their bytes: python-tuf
counts key ids, of which one key can have two. What is parsed is strict JSON first and then
python-tuf's own classes, imported here and only where a trust is of this form.

A right is a TUF target path, `ROLE/NAME`, and so a delegation's `paths` say which roles it fills
for which names: `producer/acme/*`. A key's dates stand beside it in its delegator's metadata, as
`"x-toadstone": {"valid_from", "expires", "revoked": {"since", "reason"}, "comment"}`.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from guards.digest import canonical_json
from guards.errors import Malformed, UsageError
from guards.provenance import schemes
from guards.provenance.authority import ROLES, Revocation, Scope, TrustedKey
from guards.provenance.signing import PublicKey, checked
from guards.provenance.strictjson import Node, loads, timestamp

if TYPE_CHECKING:
    from securesystemslib.signer import Key
    from tuf.api.dsse import DelegatedRole, Role, Root, Signed, Snapshot, Targets, Timestamp

PAYLOAD_TYPE = "application/vnd.tuf+json"
OURS = "x-toadstone"
TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")


def parse(payload: bytes, kind: str, where: str) -> Root | Timestamp | Snapshot | Targets:
    """One piece of metadata of that kind; Malformed for anything that python-tuf does not take."""
    node = Node(loads(payload, where).value, where)
    if node.of("_type").text() != kind:
        node.of("_type").refuse(f"must be {kind}")
    node.of("version").integer(1)
    dsse = _tuf()
    of_kind = {"root": dsse.Root, "timestamp": dsse.Timestamp, "snapshot": dsse.Snapshot}
    try:
        made = of_kind.get(kind, dsse.Targets).from_dict(dict(node.mapping()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"not TUF's {kind}: {type(error).__name__}: {error}", where) from error
    found: Root | Timestamp | Snapshot | Targets = made
    return found


def payload(signed: Signed) -> bytes:
    """The canonical bytes of a piece of metadata: what is signed."""
    return canonical_json(signed.to_dict())


def key_of(key: Key, where: str) -> PublicKey:
    """One of TUF's keys as ours; Untrusted where it is unsound, or set to another scheme."""
    about = f"{where}: key {key.keyid[:12]}"
    try:
        der = schemes.from_securesystemslib(key.scheme, str(key.keyval.get("public")))
    except ValueError as error:
        raise Malformed(str(error), about) from error
    public = checked(der, about)
    if public.scheme != key.scheme:
        raise Malformed(f"signs as {key.scheme}, not {public.scheme}", about)
    return public


def as_tuf(trusted: TrustedKey) -> Key:
    """One of our keys as TUF's, with its dates; its key id is the sha256 of its bytes, as ever."""
    from cryptography.hazmat.primitives import serialization as ser
    from securesystemslib.signer import SSlibKey

    public = ser.load_der_public_key(trusted.key.spki)
    key = SSlibKey.from_crypto(public, keyid=trusted.key.keyid, scheme=trusted.key.scheme)
    if told := _dates(trusted):
        key.unrecognized_fields[OURS] = told
    return key


def holder(key: Key, where: str) -> TrustedKey:
    """A key in a delegation: what it may do is said by the delegation, its dates beside it."""
    place = f"{where}: key {key.keyid[:12]}"
    told = Node(key.unrecognized_fields.get(OURS, {}), place)
    told.only("valid_from", "expires", "revoked", "comment")
    expires, valid_from = told.optional("expires"), told.optional("valid_from")
    revoked, comment = told.optional("revoked"), told.optional("comment")
    return TrustedKey(
        key=key_of(key, where),
        roles=ROLES,
        names=("*",),
        expires=expires.time() if expires else None,
        valid_from=valid_from.time() if valid_from else None,
        revoked=_revocation(revoked) if revoked else None,
        comment=comment.text() if comment else "",
    )


def plain(key: PublicKey) -> TrustedKey:
    """A key without dates, for a role that says by itself what it may do."""
    return TrustedKey(key=key, roles=ROLES, names=("*",))


def scopes(role: DelegatedRole, where: str) -> tuple[Scope, ...]:
    """What is delegated; a path of no role of ours would be a right that nobody notices is none."""
    if not role.paths:
        raise Malformed("delegates by `paths`, and by nothing else", f"{where}: {role.name}")
    found = []
    for path in role.paths:
        kind, slash, names = path.partition("/")
        if not slash or not any(fnmatchcase(known, kind) for known in ROLES):
            told = f"path {path!r} is no ROLE/NAME, of a role out of {', '.join(ROLES)}"
            raise Malformed(told, f"{where}: {role.name}")
        found.append(Scope(roles=(kind,), names=(names,), segments=True))
    return tuple(found)


def paths(roles: Iterable[str], names: Iterable[str]) -> list[str]:
    """The paths of rights; in TUF a star ends at a slash, so every name is two patterns."""
    spelt = [one for name in names for one in (("*", "*/*") if name == "*" else (name,))]
    return [f"{role}/{name}" for role in roles for name in spelt]


def threshold(role: Role, where: str) -> int:
    """How many keys a role takes; a number that its keys can reach."""
    least = role.threshold
    if type(least) is not int or not 1 <= least <= len(role.keyids):
        raise Malformed(f"a threshold of {least!r} out of {len(role.keyids)} keys", where)
    return least


def _revocation(node: Node) -> Revocation:
    node.only("since", "reason")
    return Revocation(since=node.of("since").time(), reason=node.of("reason").text())


def _dates(trusted: TrustedKey) -> dict[str, Any]:
    revoked = trusted.revoked
    told = {
        "valid_from": timestamp(trusted.valid_from) if trusted.valid_from else None,
        "expires": timestamp(trusted.expires) if trusted.expires else None,
        "comment": trusted.comment or None,
        "revoked": {"since": timestamp(revoked.since), "reason": revoked.reason}
        if revoked
        else None,
    }
    return {key: value for key, value in told.items() if value}


def _tuf() -> Any:
    """python-tuf's classes, imported when a trust of the full form is met and not before."""
    try:
        from tuf.api import dsse
    except ImportError as error:
        raise UsageError(
            f"this trust is TUF metadata, and python-tuf cannot be imported ({error}); "
            "pip install 'toadstone[tuf]'"
        ) from error
    return dsse


def model() -> Any:
    """The module of python-tuf that has its classes, for those who make metadata."""
    return _tuf()
