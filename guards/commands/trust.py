"""`trust`: whose signatures count, for what, and why."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    asked_time,
    command,
    expected_name,
    load_trust,
    now,
    roles,
)
from guards.errors import UsageError

if TYPE_CHECKING:
    from guards.provenance.trust import TrustedKey


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    trust = commands.add_parser("trust", help="say whose signatures count, for what")
    actions = trust.add_subparsers(required=True, metavar="ACTION")
    for name, flag, says in (
        ("init", "--out", "start a trust directory with one key"),
        ("add-key", "--trust", "add a key to a trust directory"),
    ):
        parser = command(actions, name, _run_trust, says)
        parser.add_argument(flag, dest="trust", type=Path, required=True, metavar="TRUST")
        parser.add_argument("--key", type=Path, required=True, metavar="key.pub")
        parser.add_argument("--name", action="append", required=True, metavar="PATTERN")
        parser.add_argument("--role", action="append", choices=roles(), help="all, unless said")
        parser.add_argument("--expires", metavar="T")
        parser.add_argument("--valid-from", metavar="T", help="not before this time")
        parser.set_defaults(add=name == "add-key")
    _trust_later(actions)


def _trust_later(actions: Commands[argparse.ArgumentParser]) -> None:
    """What is done to a trust directory that is there, and asked of it."""
    revoked = command(actions, "revoke", _run_revoke, "a key counts no more, and why")
    revoked.add_argument("--key", type=Path, required=True, metavar="key.pub")
    revoked.add_argument("--reason", required=True, metavar="TEXT")
    revoked.add_argument("--since", metavar="T", help="default: now")
    asked = command(actions, "threshold", _run_threshold, "how many keys have to sign a manifest")
    asked.add_argument("threshold", type=int, metavar="M")
    asked.add_argument("--name", action="append", required=True, metavar="PATTERN")
    asked.add_argument("--role", choices=("producer", "deriver"), default="producer")
    told = command(actions, "explain", _run_explain, "why a manifest counts, or does not")
    told.add_argument("manifest", type=Path, metavar="MANIFEST")
    told.add_argument("--name", metavar="N", help="the dataset that is expected")
    told.add_argument("--dataset-version", type=int, metavar="V", help="the version expected")
    told.add_argument("--at", metavar="T", help="decide as of this time; default: now")
    for parser in (revoked, asked, told):
        parser.add_argument("--trust", type=Path, required=True, metavar="TRUST")


def _run_trust(options: Options) -> int:
    from guards.provenance import trust

    key = _trusted_key(options)
    (trust.add if options.add else trust.create)(options.trust, key)
    told = f"{options.trust}: key {key.key.keyid[:16]} may act as {', '.join(key.roles)}"
    console.result({"keyid": key.key.keyid}, f"{told} for {', '.join(key.names)}", options.format)
    return 0


def _run_revoke(options: Options) -> int:
    from guards.provenance import trust
    from guards.provenance.signing import load_public

    since = trust.parse_time(options.since) if options.since else now()
    key = load_public(options.key)
    trust.revoke(options.trust, key, trust.Revocation(since=since, reason=options.reason))
    told = f"{options.trust}: key {key.keyid[:16]} is revoked since {since.isoformat()}"
    console.result(
        {"keyid": key.keyid, "since": since.isoformat(), "reason": options.reason},
        f"{told}: {options.reason}",
        options.format,
    )
    return 0


def _run_threshold(options: Options) -> int:
    from guards.provenance import trust

    asked = trust.Threshold(
        role=options.role, names=tuple(options.name), threshold=options.threshold
    )
    trust.require(options.trust, asked)
    names = ", ".join(options.name)
    told = f"{options.trust}: {options.threshold} keys as {options.role} for {names}"
    console.result(
        {"threshold": options.threshold, "role": options.role, "names": options.name},
        told,
        options.format,
    )
    return 0


def _run_explain(options: Options) -> int:
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
    found = explain(signed, load_trust(options), expect)
    console.decision(found, str(options.manifest), options.format)
    return 0 if found else 12


def _trusted_key(options: Options) -> TrustedKey:
    from guards.provenance.signing import load_public
    from guards.provenance.trust import TrustedKey, parse_time

    return TrustedKey(
        key=load_public(options.key),
        roles=tuple(dict.fromkeys(options.role or roles())),
        names=tuple(options.name),
        expires=parse_time(options.expires) if options.expires else None,
        valid_from=parse_time(options.valid_from) if options.valid_from else None,
    )
