"""`trust`: whose signatures count, for what, and why.

Each action means the same in both forms of a trust directory. What changes a trust that root keys
sign takes `--sign`; where more signatures are needed than keys were given, the change waits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from guards.commands import trusting
from guards.commands.options import Commands, command, passphrase_option, roles, trust_options


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    trust = commands.add_parser("trust", help="say whose signatures count, for what")
    actions = trust.add_subparsers(required=True, metavar="ACTION")
    _init(actions)
    added = command(actions, "add-key", trusting.add_key, "add a key to a trust directory")
    added.add_argument("--key", type=Path, required=True, metavar="key.pub")
    _rights(added, required=True)
    _dates(added)
    given = command(actions, "delegate", trusting.delegate, "give names to keys of others")
    given.add_argument(
        "--as", dest="called", required=True, metavar="NAME", help="what it is called"
    )
    given.add_argument("--key", type=Path, action="append", required=True, metavar="key.pub")
    given.add_argument("--threshold", type=int, default=1, metavar="M", help="of these keys; 1")
    given.add_argument(
        "--terminating",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="nobody after them is asked about these names",
    )
    _rights(given, required=True)
    _dates(given)
    asked = command(actions, "threshold", trusting.threshold, "how many keys have to sign")
    asked.add_argument("threshold", type=int, metavar="M")
    asked.add_argument("--name", action="append", required=True, metavar="PATTERN")
    asked.add_argument("--role", choices=("producer", "deriver", "approver"), default="producer")
    for parser in (added, given, asked, *_endings(actions)):
        _signed(parser)
    _signing(actions)
    _explain(actions)


def _init(actions: Commands[argparse.ArgumentParser]) -> None:
    parser = command(actions, "init", trusting.init, "start a trust directory")
    parser.add_argument("--out", dest="trust", type=Path, required=True, metavar="TRUST")
    small = parser.add_argument_group("with one key, on the verifier's own word")
    small.add_argument("--key", type=Path, metavar="key.pub")
    _rights(small, required=False)
    _dates(small)
    full = parser.add_argument_group("with root keys, who sign it (TUF's metadata)")
    full.add_argument(
        "--root-key", type=Path, action="append", default=[], metavar="key.pub", help="each of them"
    )
    full.add_argument("--threshold", type=int, metavar="M", help="so many root keys have to sign")
    full.add_argument(
        "--online-key",
        type=Path,
        action="append",
        default=[],
        metavar="key.pub",
        help="may sign that it is fresh; default: each root key",
    )
    _terms(full)
    passphrase_option(parser)


def _endings(actions: Commands[argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """What ends a key: revoked, or rotated out."""
    revoked = command(actions, "revoke", trusting.revoke, "a key counts no more, and why")
    rotated = command(
        actions, "rotate", trusting.rotate, "a new key in the place of an old one, and why"
    )
    rotated.add_argument("--to", type=Path, required=True, metavar="new.pub")
    for parser in (revoked, rotated):
        parser.add_argument("--key", type=Path, required=True, metavar="key.pub")
        parser.add_argument("--reason", required=True, metavar="TEXT")
        parser.add_argument("--since", metavar="T", help="default: now")
    return [revoked, rotated]


def _signing(actions: Commands[argparse.ArgumentParser]) -> None:
    shown = command(actions, "show", trusting.show, "what is in force, and what a change would do")
    shown.add_argument("--trust", type=Path, required=True, metavar="TRUST")
    parser = command(
        actions, "sign", trusting.sign, "sign a change that waits, or that the trust is fresh"
    )
    parser.add_argument("--trust", type=Path, required=True, metavar="TRUST")
    parser.add_argument(
        "--renew", action="append", default=[], metavar="NAME", help="root, targets or a delegation"
    )
    _terms(parser)
    passphrase_option(parser)


def _explain(actions: Commands[argparse.ArgumentParser]) -> None:
    told = command(actions, "explain", trusting.explain, "why a manifest counts, or does not")
    told.add_argument("manifest", type=Path, metavar="MANIFEST")
    trust_options(told)
    told.add_argument("--name", metavar="N", help="the dataset that is expected")
    told.add_argument("--dataset-version", type=int, metavar="V", help="the version expected")
    told.add_argument("--at", metavar="T", help="decide as of this time; default: now")
    told.add_argument("--state", type=Path, metavar="DIR", help="refuse a trust older than seen")


def _rights(parser: argparse._ActionsContainer, *, required: bool) -> None:
    parser.add_argument("--name", action="append", required=required, metavar="PATTERN")
    parser.add_argument("--role", action="append", choices=roles(), help="all, unless said")


def _dates(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--expires", metavar="T", help="the key, not the trust")
    parser.add_argument("--valid-from", metavar="T", help="not before this time")


def _signed(parser: argparse.ArgumentParser) -> None:
    """What a change of a signed trust takes beside the change itself."""
    parser.add_argument("--trust", type=Path, required=True, metavar="TRUST")
    group = parser.add_argument_group("for a trust that root keys sign")
    group.add_argument(
        "--from", dest="delegator", metavar="NAME", help="who delegates; default: targets"
    )
    _terms(group)
    passphrase_option(parser)


def _terms(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--sign", type=Path, action="append", default=[], metavar="key.pem", help="may be repeated"
    )
    parser.add_argument("--lasting", metavar="D", default="365d", help="what is signed; 365d")
    parser.add_argument("--fresh", metavar="D", default="30d", help="as the newest; 30d")
