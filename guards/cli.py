"""The command `toadstone`: parse, call, print. What it does lives in the library.

Exit status, in every output format: 0 PASS or done, 1 we broke, 2 usage, 3 nothing to examine,
10 a part or a foreign claim holds, 11 QUARANTINE, 12 BLOCK or refused. A crash can never be read
as a verdict.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from guards import console
from guards._version import __version__
from guards.errors import GuardError, UsageError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

INTERRUPTED = 130
UNDELIVERED = 1
# Command -> module of `guards.commands`, imported when it is asked for, or when help is.
_COMMANDS = {
    "keygen": "keys",
    "trust": "trust",
    "sign": "sign",
    "verify": "verify",
    "scan": "scan",
    "gate": "gate",
    "report": "report",
    "export": "export",
    "redteam": "redteam",
    "profile": "profile",
    "accept": "profile",
    "waive": "waive",
    "contract": "contract",
    "ledger": "ledger",
    "lineage": "lineage",
    "trained": "lineage",
    "demo": "demo",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit status."""
    console.never_choke()
    words = sys.argv[1:] if argv is None else list(argv)
    form = _form(words)
    _leave_on_signals()
    try:
        try:
            return _carried_out(words, form)
        finally:
            console.flush()
    except OSError as error:  # what was told did not arrive, so nothing is what was answered
        console.unwritten(error)
        return UNDELIVERED


def _leave_on_signals() -> None:
    """End as by an error, so that no private copy of data stays behind; a nohup is respected."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: sys.exit(128 + number))


def _carried_out(words: Sequence[str], form: str) -> int:
    """The exit status of a command line; OSError where what it tells cannot be written."""
    try:
        options = _parser(words[0] if words else "").parse_args(words)
        status: int = options.run(options)
    except GuardError as error:
        console.error(error, form)
        return error.exit_status
    except KeyboardInterrupt:
        console.say("interrupted; there is no answer, and nothing half done was left")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in console.FULL:
            raise
        console.crash(error, form)
        return 1
    return status


class _Parser(argparse.ArgumentParser):
    """Tells a wrong command line the way every other usage error is told, as JSON if asked to."""

    def error(self, message: str) -> NoReturn:
        with suppress(OSError):
            self.print_usage(sys.stderr)
        raise UsageError(message)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Help that cannot be written is no success, which argparse would make of it."""
        (file or sys.stderr).write(message)


def _form(words: Sequence[str]) -> str:
    """The output format asked for, known even where the command line does not parse."""
    asked = "--format=json" in words or ("--format", "json") in pairwise(words)
    return "json" if asked else "text"


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser of a command, or of all of them where that is none."""
    parser: argparse.ArgumentParser = _Parser(
        prog="toadstone", description=_SUMMARY, epilog=_STATUSES
    )
    parser.add_argument("--version", action="version", version=f"toadstone {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in dict.fromkeys(_COMMANDS.values()):
        if module == _COMMANDS.get(command, module):
            import_module(f"guards.commands.{module}").add(commands)
    return parser


_SUMMARY = "Stands between data and training: proves, examines, judges, and keeps the record."
_STATUSES = (
    "exit status: 0 PASS or done, 1 we broke, 2 usage, 3 nothing to examine, "
    "10 a part or a foreign claim holds, 11 QUARANTINE, 12 BLOCK or refused"
)

if __name__ == "__main__":
    sys.exit(main())
