"""`ledger`: the log's own proofs."""

from __future__ import annotations

import argparse
from pathlib import Path

from guards import console
from guards.commands.options import Commands, Options, command, load_trust


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("ledger", help="the log's own proofs")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, says in (("verify", "check every line and record"), ("show", "list the lines")):
        action = command(actions, name, _run_ledger, says)
        action.add_argument("ledger", type=Path, metavar="DIR")
        action.add_argument("--trust", type=Path, required=True, metavar="TRUST")
        action.add_argument("--checkpoint", metavar="SIZE:HEAD", help="a checkpoint you remember")
        action.set_defaults(show=name == "show")


def _run_ledger(options: Options) -> int:
    from guards.provenance import ledger

    log = ledger.verify(options.ledger, load_trust(options))
    problems = list(ledger.missing_records(options.ledger, log.entries))
    if options.checkpoint and not log.holds(ledger.parse_checkpoint(options.checkpoint)):
        problems.insert(0, "the log does not continue the checkpoint you remember")
    console.ledger(log, problems, options)
    return 12 if problems else 0
