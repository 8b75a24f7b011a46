"""`contract`: what is expected of data, and whether it is so."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    column_option,
    command,
    told_roles,
    write_file,
)
from guards.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("contract", help="what is expected of data, and whether it is so")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    made = command(actions, "infer", _run_contract_infer, "propose a contract from data")
    made.add_argument("dataset", type=Path, metavar="DATASET")
    made.add_argument("--out", type=Path, required=True, metavar="F")
    made.add_argument("--name", metavar="N", help="default: the dataset's")
    made.add_argument(
        "--strictness",
        choices=("strict", "default", "loose"),
        default="default",
        help="how much room there is for what is not chance",
    )
    column_option(made)
    held = command(actions, "check", _run_contract_check, "hold data against a contract")
    held.add_argument("dataset", type=Path, metavar="DATASET")
    held.add_argument("--contract", type=Path, required=True, metavar="F")
    held.add_argument("--engine", choices=("polars", "gx"), default="polars", help="who evaluates")
    held.add_argument(
        "--rows", type=int, default=1000, metavar="K", help="named for an expectation, at most"
    )
    held.add_argument("--datadocs", type=Path, metavar="F.html", help="write GX's Data Docs here")
    held.add_argument(
        "--contents", action="store_true", help="texts of the data may be in what is told"
    )
    told = command(actions, "diff", _run_contract_diff, "what changed between two contracts")
    told.add_argument("old", type=Path, metavar="OLD")
    told.add_argument("new", type=Path, metavar="NEW")


def _run_contract_infer(options: Options) -> int:
    from guards.contracts import propose
    from guards.digest import Digest

    columns = told_roles(options)
    name = options.name or options.dataset.resolve().name
    suite = propose(options.dataset, name, options.strictness, columns)
    written = (json.dumps(suite, indent=2, ensure_ascii=False) + "\n").encode()
    write_file(options.out, written)
    count, digest = len(suite["expectations"]), str(Digest.of(written))
    console.result(
        {"contract": str(options.out), "expectations": count, "digest": digest},
        f"{count} expectations in {options.out}, {digest}; read them before you pin them",
        options.format,
    )
    return 0


def _run_contract_check(options: Options) -> int:
    from guards.contracts import Asked, check, docs

    if options.rows < 0:
        raise UsageError("--rows must be 0 or more")
    asked = Asked(engine=options.engine, most=options.rows, contents=options.contents)
    checked = check(options.dataset, options.contract, asked)
    if options.datadocs:
        write_file(options.datadocs, docs(checked))
    console.contract(checked, str(options.dataset), options.format)
    return checked.decision.exit_status


def _run_contract_diff(options: Options) -> int:
    from dataclasses import asdict

    from guards.contracts import compare

    changes = compare(options.old, options.new)
    if options.format == "json" or not changes:
        document = {"changes": [asdict(one) for one in changes]}
        console.result(document, "no expectation changed", options.format)
    for change in changes if options.format == "text" else ():
        console.result({}, str(change), options.format)
    return 0
