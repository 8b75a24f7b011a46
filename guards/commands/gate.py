"""`gate`: may these exact bytes be trained on?"""

from __future__ import annotations

import argparse
from pathlib import Path

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    asked_time,
    command,
    expected_name,
    load_trust,
    remembered,
    trust_options,
)


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "gate", _run_gate, "may these exact bytes be trained on?")
    parser.add_argument("dataset", type=Path, metavar="DATASET")
    parser.add_argument("--record", type=Path, required=True, metavar="F")
    trust_options(parser)
    parser.add_argument("--policy", default="default", metavar="P")
    parser.add_argument("--name", metavar="N")
    parser.add_argument("--max-age", metavar="D", help="as 12h, 30d or seconds")
    parser.add_argument("--at", metavar="T")
    parser.add_argument("--ledger", type=Path, metavar="DIR")
    parser.add_argument("--state", type=Path, metavar="DIR")
    parser.add_argument("--into", type=Path, metavar="STORE", help="export a read-only copy")


def _run_gate(options: Options) -> int:
    from guards.gate import Terms, parse_age, require_pass
    from guards.verdict import load_policy

    terms = Terms(
        trust=load_trust(options),
        policy=load_policy(options.policy),
        name=expected_name(options),
        at=asked_time(options),
        max_age=parse_age(options.max_age) if options.max_age else None,
        ledger=options.ledger,
        state=remembered(options),
    )
    admitted = require_pass(options.dataset, options.record, terms, into=options.into)
    root = str(admitted.snapshot.root)
    where = str(admitted.root) if options.into else None
    waivers = [used.told for used in admitted.record.waivers]
    told = f"ADMITTED {admitted.record.name} version {admitted.record.version} {root}"
    console.result(
        {"admitted": True, "root": root, "store": where, "waivers": waivers},
        told + (f" in {where}" if where else "") + "".join(f"; {used}" for used in waivers),
        options.format,
    )
    return 0
