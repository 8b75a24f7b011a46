"""`redteam`: a poisoned twin with its truth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guards import console
from guards.commands.options import Commands, Options, command
from guards.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "redteam", _run_redteam, "make a poisoned twin with its truth")
    parser.add_argument("dataset", type=Path, nargs="+", metavar="DATASET", help="or its batches")
    parser.add_argument("--list", action=_Catalogue, help="print the attacks and their settings")
    parser.add_argument("--attack", required=True, metavar="A", help="one that --list names")
    parser.add_argument(
        "--rate", type=float, required=True, metavar="R", help="of all rows: 0.01 is 1 %%"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the twin; its truth lies beside it"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of the attack, see --list"
    )
    parser.add_argument("--target", metavar="LABEL", help="of planted rows; else drawn")
    parser.add_argument("--source", metavar="SOURCE", help="of planted rows, or whose are flipped")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    parser.add_argument(
        "--measure", type=Path, metavar="HELD_OUT", help="train on it, and ask about these pictures"
    )


class _Catalogue(argparse.Action):
    """Prints the attacks that there are, as `--help` would, whatever else is on the line."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help=str(kwargs["help"]))

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from guards.redteam.attacks import listed

        print(listed())
        parser.exit()


def _run_redteam(options: Options) -> int:
    from guards.publish import describe_columns
    from guards.redteam.poison import open_path, poison, poison_batches

    request: dict[str, Any] = {
        "seed": options.seed,
        "target": options.target,
        "source": options.source,
        "columns": describe_columns(options.dataset[0])[0],
        "settings": dict(_setting(text) for text in options.set),
    }
    several = len(options.dataset) > 1
    if several and options.measure:
        raise UsageError("--measure: needs one DATASET; measure batches one by one")
    if options.measure:
        open_path(options.measure)  # a wrong path is told before anything is written
    what = (options.attack, options.rate, options.out)
    truths = (
        poison_batches(options.dataset, *what, **request)
        if several
        else [poison(options.dataset[0], *what, **request)]
    )
    where = ", ".join(map(str, truths))
    document: dict[str, object] = {"truth": where, "truths": [str(path) for path in truths]}
    lines = [f"{options.out}, truth in {where}"]
    if options.measure:
        document["measured"], line = _measured(options, truths[0])
        lines.append(line)
    console.result(document, lines, options.format)
    return 0


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r}: must be NAME=VALUE, as in alpha=0.1")
    return name, value


def _measured(options: Options, truth: Path) -> tuple[dict[str, object], str]:
    """Whether the attack took hold, as a document and as a line."""
    from guards.publish import describe_columns
    from guards.redteam.poison import open_path
    from guards.redteam.success import as_document, as_line, attack_success

    columns = describe_columns(options.dataset[0])[0]
    found = attack_success(
        open_path(options.out, columns),
        open_path(options.measure, columns),
        truth,
        clean=open_path(options.dataset[0], columns),
    )
    return as_document(found), as_line(found)
