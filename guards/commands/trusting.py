"""What the actions of `trust` do, in both forms of a trust directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards import console
from guards.commands.options import (
    Options,
    asked_time,
    expected_name,
    load_trust,
    now,
    private_key,
    roles,
)
from guards.errors import UsageError

if TYPE_CHECKING:
    from guards.provenance.rootchanges import Edit
    from guards.provenance.rootkeeping import Kept, Terms
    from guards.provenance.signing import PublicKey
    from guards.provenance.trust import Revocation, TrustedKey


def init(options: Options) -> int:
    """Start a trust: with one key, or with root keys that have to sign."""
    from guards.provenance import trust

    if options.root_key:
        return _init_rooted(options)
    if options.key is None or not options.name:
        raise UsageError("trust init needs --key and --name; or --root-key and --threshold")
    if options.threshold is not None or options.online_key or options.sign:
        raise UsageError("--threshold, --online-key and --sign go with --root-key")
    key = _trusted_key(options, options.key)
    trust.create(options.trust, key)
    return _told_key(options, key, None)


def _init_rooted(options: Options) -> int:
    from guards.provenance.rootkeeping import start

    if options.key is not None or options.name or options.role or options.expires:
        raise UsageError("--root-key: root keys say only who else is trusted; then trust delegate")
    if options.threshold is None:
        raise UsageError("--root-key needs --threshold: how many of the root keys have to sign")
    keys = [_public(path) for path in options.root_key]
    online = [_public(path) for path in options.online_key]
    kept = start(options.trust, keys, options.threshold, _terms(options), online)
    told = f"{options.trust}: {options.threshold} of {len(keys)} root keys"
    return _result(options, {"keyids": [key.keyid for key in keys]}, told, kept)


def add_key(options: Options) -> int:
    """One more key with rights of its own."""
    from guards.provenance import trust

    key = _trusted_key(options, options.key)

    def edit() -> Edit:
        from guards.provenance.rootchanges import adding

        return adding(key)

    return _told_key(options, key, _apply(options, lambda: trust.add(options.trust, key), edit))


def delegate(options: Options) -> int:
    """Names to keys of others, so many of whom have to sign."""
    from guards.provenance import trust
    from guards.provenance.rootchanges import countable

    given = tuple(dict.fromkeys(options.role or roles()))
    countable(given, options.threshold)
    names = tuple(options.name)
    delegation = trust.Delegation(
        where=options.called,
        keys=tuple(_trusted_key(options, path, whole=True) for path in options.key),
        threshold=options.threshold,
        scope=(trust.Scope(roles=given, names=names),),
        terminating=options.terminating,
    )

    def edit() -> Edit:
        from guards.provenance.rootchanges import delegating

        return delegating(delegation)

    kept = _apply(options, lambda: trust.delegate(options.trust, delegation), edit)
    keys = f"{options.threshold} of {len(options.key)} keys"
    told = f"{options.trust}: {keys} of {options.called} may act as {', '.join(given)}"
    document = {"delegation": options.called, "threshold": options.threshold, "names": list(names)}
    return _result(options, document, f"{told} for {', '.join(names)}", kept)


def threshold(options: Options) -> int:
    """How many keys it takes."""
    from guards.provenance import trust

    asked = trust.Threshold(
        role=options.role, names=tuple(options.name), threshold=options.threshold
    )

    def edit() -> Edit:
        from guards.provenance.rootchanges import requiring

        return requiring(asked)

    kept = _apply(options, lambda: trust.require(options.trust, asked), edit)
    told = f"{options.trust}: {options.threshold} keys as {options.role} for"
    document = {"threshold": options.threshold, "role": options.role, "names": options.name}
    return _result(options, document, f"{told} {', '.join(options.name)}", kept)


def revoke(options: Options) -> int:
    """A key counts no more, since when, and why."""
    from guards.provenance import trust

    key, revoked = _public(options.key), _revocation(options)
    if _is_root_key(options, key):
        told = "another has to take its place: toadstone trust rotate --to NEW"
        raise UsageError(f"{options.trust}: {key.keyid[:16]} is a root key; {told}")

    def edit() -> Edit:
        from guards.provenance.rootchanges import revoking

        return revoking(key, revoked)

    kept = _apply(options, lambda: trust.revoke(options.trust, key, revoked), edit)
    document = {"keyid": key.keyid, "since": revoked.since.isoformat(), "reason": revoked.reason}
    told = f"{options.trust}: key {key.keyid[:16]} is revoked since {revoked.since.isoformat()}"
    return _result(options, document, f"{told}: {revoked.reason}", kept)


def rotate(options: Options) -> int:
    """A new key where an old one was: among the root keys, or wherever else it is listed."""
    from guards.provenance import trust

    old, new, revoked = _public(options.key), _public(options.to), _revocation(options)
    if old == new:
        raise UsageError("--to: is the same key")
    if _is_root_key(options, old):
        from guards.provenance.rootkeeping import rotate_root

        kept = rotate_root(options.trust, _terms(options), old, new, revoked.reason)
        return _told_rotation(options, old, new, kept)

    def edit() -> Edit:
        from guards.provenance.rootchanges import replacing

        return replacing(old, new, revoked)

    kept_ = _apply(options, lambda: trust.rotate(options.trust, old, new, revoked), edit)
    return _told_rotation(options, old, new, kept_)


def sign(options: Options) -> int:
    """Sign what waits; with nothing waiting, that the trust is fresh."""
    from guards.provenance import trust
    from guards.provenance.rootkeeping import countersign

    if not trust.is_rooted(options.trust):
        raise UsageError(f"{options.trust}: is the verifier's own word; nobody signs it")
    kept = countersign(options.trust, _terms(options), options.renew)
    return _result(options, {}, str(options.trust), kept)


def show(options: Options) -> int:
    """What is in force, and what the drafts that wait would change; before anybody signs."""
    from guards.provenance import trust
    from guards.provenance.rootkeeping import pending

    if not trust.is_rooted(options.trust):
        digest = str(trust.to_pin(options.trust))
        told = f"{options.trust} is the verifier's own word; read its trust.toml"
        console.result({"root_digest": digest}, [told, f"root-digest {digest}"], options.format)
        return 0
    rights, changed = pending(options.trust, now())
    waits = ["waits:", *changed] if changed else ["nothing waits"]
    document: dict[str, Any] = {"rights": list(rights), "changes": list(changed)}
    if trust.is_in_force(options.trust):
        document["root_digest"] = str(trust.to_pin(options.trust))
        waits = [f"root-digest {document['root_digest']}", *waits]
    console.result(document, [*rights, *waits], options.format)
    return 0


def explain(options: Options) -> int:
    """Why a manifest counts or not, step by step."""
    from guards.files import read_document
    from guards.provenance.decision import explain
    from guards.provenance.proof import Expectation

    signed = read_document(options.manifest)
    if signed is None:
        raise UsageError(f"manifest {options.manifest}: there is no such file")
    expect = Expectation(
        at=asked_time(options) or now(),
        name=expected_name(options),
        version=options.dataset_version,
    )
    trust = load_trust(options)
    found = explain(signed, trust, expect)
    console.decision(found, str(options.manifest), trust.pin, options.format)
    return 0 if found else 12


def _is_root_key(options: Options, key: PublicKey) -> bool:
    from guards.provenance import trust

    if options.delegator or not trust.is_rooted(options.trust):
        return False
    from guards.provenance.rootkeeping import is_root_key

    return is_root_key(options.trust, key)


def _apply(options: Options, small: Callable[[], None], edit: Callable[[], Edit]) -> Kept | None:
    """Change a trust of either form; what became of it, where others may have to sign."""
    from guards.provenance import trust

    if not trust.is_rooted(options.trust):
        if options.sign or options.delegator:
            raise UsageError(f"{options.trust} is the verifier's own word: no --sign, no --from")
        small()
        return None
    from guards.provenance.rootkeeping import change

    return change(options.trust, _terms(options), options.delegator or "targets", edit())


def _terms(options: Options) -> Terms:
    from guards.gate import parse_age
    from guards.provenance.rootkeeping import Terms

    if not options.sign:
        raise UsageError("this trust is signed: give the keys that sign, --sign key.pem")
    return Terms(
        signers=tuple(private_key(options, path) for path in options.sign),
        at=now(),
        lasting=parse_age(options.lasting, "--lasting"),
        fresh=parse_age(options.fresh, "--fresh"),
    )


def _result(options: Options, document: dict[str, Any], told: str, kept: Kept | None) -> int:
    """Tell what was done; a change that waits for signatures is done, and is not in force."""
    if kept is not None:
        document = {**document, "in_force": list(kept.in_force), "waiting": list(kept.waiting)}
        document["changes"] = list(kept.changes)
        for line in kept.changes:
            console.say(line)
        told = f"{told}; {kept.told}"
    console.result(document, told, options.format)
    return 0


def _told_key(options: Options, key: TrustedKey, kept: Kept | None) -> int:
    told = f"{options.trust}: key {key.key.keyid[:16]} may act as {', '.join(key.roles)}"
    return _result(options, {"keyid": key.key.keyid}, f"{told} for {', '.join(key.names)}", kept)


def _told_rotation(options: Options, old: PublicKey, new: PublicKey, kept: Kept | None) -> int:
    told = f"{options.trust}: key {new.keyid[:16]} in the place of {old.keyid[:16]}"
    document = {"keyid": new.keyid, "old": old.keyid, "reason": options.reason}
    return _result(options, document, f"{told}: {options.reason}", kept)


def _revocation(options: Options) -> Revocation:
    from guards.provenance.trust import Revocation, parse_time

    if not options.reason.strip():
        raise UsageError("--reason: say why; who reads the trust next year will ask")
    since = parse_time(options.since) if options.since else now()
    return Revocation(since=since, reason=options.reason)


def _public(path: Path) -> PublicKey:
    from guards.provenance.signing import load_public

    return load_public(path)


def _trusted_key(options: Options, path: Path, *, whole: bool = False) -> TrustedKey:
    """A key with the rights of the options; or the `whole` of what its delegation has."""
    from guards.provenance.trust import TrustedKey, parse_time

    return TrustedKey(
        key=_public(path),
        roles=roles() if whole else tuple(dict.fromkeys(options.role or roles())),
        names=("*",) if whole else tuple(options.name),
        expires=parse_time(options.expires) if options.expires else None,
        valid_from=parse_time(options.valid_from) if options.valid_from else None,
    )
