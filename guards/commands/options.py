"""Options that several commands have, and what they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.errors import UsageError

if TYPE_CHECKING:
    from guards.provenance.manifest import Name
    from guards.provenance.memory import Memory
    from guards.provenance.signing import Signer
    from guards.provenance.trust import Trust

Options = argparse.Namespace
Commands = argparse._SubParsersAction
# A part that holds, or a foreign claim, is no PASS: whoever goes on at 0 only does not go on.
PART = 10


def dataset_option(text: str) -> Path | str:
    """A dataset: a path, or the URL of one in a store as it was written."""
    from guards.remote import is_url

    return text if is_url(text) else Path(text)


def command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[Options], int],
    says: str,
) -> argparse.ArgumentParser:
    """A command with what each of them has: an output format, and quiet."""
    parser = commands.add_parser(name, help=says, description=says)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table on stderr")
    parser.set_defaults(run=run)
    return parser


def claim_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """What a signed claim is asked about."""
    parser.add_argument("--manifest", type=Path, metavar="F", help="DATASET.manifest.json")
    trust_options(parser, required=required)
    parser.add_argument("--name", metavar="N", help="the dataset that is expected")
    parser.add_argument("--dataset-version", type=int, metavar="V", help="pin this version")
    parser.add_argument("--at", metavar="T", help="judge as of this time")
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="remember versions, trust and time here"
    )


def trust_options(
    parser: argparse._ActionsContainer, *, required: bool = True, told: str = ""
) -> None:
    """Whose signatures count, and by which digest that is known to be the right one."""
    told = told or "whose signatures count"
    parser.add_argument("--trust", type=Path, required=required, metavar="TRUST", help=told)
    parser.add_argument(
        "--root-digest", metavar="SHA256", help="refuse any other trust; trust show prints it"
    )


def passphrase_option(parser: argparse.ArgumentParser) -> None:
    """For commands that read or write a private key."""
    parser.add_argument(
        "--passphrase-env",
        action="append",
        default=[],
        metavar="VARIABLE",
        help="holds the passphrase of an encrypted key; may be given again; else it is asked for",
    )


def roles() -> tuple[str, ...]:
    """What a key may be trusted to do."""
    return ("producer", "scanner", "deriver", "approver")


def private_key(options: Options, path: Path) -> Signer:
    """The private key in `path`, or the key in a KMS or an HSM that a `.toml` there names.

    A passphrase or PIN is taken from the environment, or asked for.
    """
    from guards.provenance.signing import load_private

    secrets = console.passphrases(options.passphrase_env)
    if path.suffix != ".toml":
        return load_private(path, secrets)
    from guards.integrations.securesystemslib import named

    return named(path, secrets)


def column_option(parser: argparse.ArgumentParser, told: str | None = None) -> None:
    """Add `--column`, which says what a column is for, as often as it is given."""
    parser.add_argument("--column", action="append", default=[], metavar="COLUMN=ROLE", help=told)


def told_roles(options: Options) -> dict[str, str]:
    """The roles that `--column` named, by column."""
    return dict(_column_role(text) for text in options.column)


def _column_role(text: str) -> tuple[str, str]:
    """`COLUMN=ROLE` in two; UsageError for anything else."""
    column, equals, role = text.rpartition("=")
    if not equals:
        raise UsageError(f"--column {text!r}: must be COLUMN=ROLE, as in delayed=label")
    return column, role


def load_trust(options: Options) -> Trust:
    """The trust directory that `--trust` names, not older than what `--state` remembers of it.

    With `--root-digest` no other than that one.
    """
    from guards.provenance.trust import load, parse_root

    told = options.root_digest
    root = parse_root(told, "--root-digest") if told is not None else None
    return load(options.trust, remembered(options) if "state" in options else None, root)


def trust_given(options: Options) -> bool:
    """Whether there is a trust; to pin one that is not there is an error."""
    if options.trust is None and options.root_digest is not None:
        raise UsageError("--root-digest is of a --trust TRUST")
    return options.trust is not None


def expected_name(options: Options) -> Name | None:
    """The dataset that `--name` expects."""
    from guards.provenance.manifest import parse_name

    return parse_name(options.name) if options.name else None


def asked_time(options: Options) -> datetime | None:
    """The time that `--at` asks about."""
    from guards.provenance.trust import parse_time

    return parse_time(options.at) if options.at else None


def now() -> datetime:
    """This second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def remembered(options: Options) -> Memory | None:
    """What `--state` remembers: versions, the trust's metadata, the time."""
    from guards.provenance.memory import Memory

    return Memory(options.state) if options.state else None


def write_file(path: Path, data: bytes) -> None:
    """Write a file that was asked for, whole or not at all; UsageError where it cannot be."""
    from guards.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
