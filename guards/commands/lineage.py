"""`lineage` and `trained`: where data came from, what became of it, and how that is known."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    asked_time,
    command,
    load_trust,
    passphrase_option,
    private_key,
    trust_options,
)
from guards.text import printable

if TYPE_CHECKING:
    from guards.lineage import Lineage, Node, Step


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    asked = command(commands, "lineage", _run_lineage, "where data came from, what became of it")
    asked.add_argument(
        "dataset", metavar="DATASET", help="a path, NAME[@VERSION], sha256:ROOT or a source's URI"
    )
    asked.add_argument("--ledger", type=Path, required=True, metavar="DIR")
    trust_options(asked)
    told = command(commands, "trained", _run_trained, "log what a model was trained on")
    told.add_argument("model", type=Path, metavar="MODEL", help="a file or a directory")
    told.add_argument(
        "--record", type=Path, action="append", required=True, metavar="F", help="of its data"
    )
    told.add_argument("--name", required=True, metavar="N", help="the model's")
    told.add_argument("--model-version", type=int, required=True, metavar="V")
    told.add_argument("--key", type=Path, required=True, metavar="key.pem", help="a deriver's")
    told.add_argument("--ledger", type=Path, required=True, metavar="DIR")
    trust_options(told)
    told.add_argument("--at", metavar="T", help="trained at this time; default: now")
    passphrase_option(told)


def _run_trained(options: Options) -> int:
    from guards.api import record_model
    from guards.errors import UsageError

    if options.model_version < 0:
        raise UsageError("--model-version must be 0 or more")
    if not options.model.exists():
        raise UsageError(f"model {options.model}: there is no such file or directory")
    made = record_model(
        options.model,
        options.record,
        name=options.name,
        version=options.model_version,
        key=private_key(options, options.key),
        ledger=options.ledger,
        trust=load_trust(options),
        at=asked_time(options),
    )
    names = ", ".join(f"{m.name} v{m.version}" for m in made.materials)
    console.result(
        {"model": str(made.root), "materials": [str(m.root) for m in made.materials]},
        f"logged {made.name} v{made.version} {made.root}, made from {names}",
        options.format,
    )
    return 0


def _run_lineage(options: Options) -> int:
    from guards.lineage import lineage
    from guards.provenance import ledger

    log = ledger.verify(options.ledger, load_trust(options))
    found = lineage(options.ledger, log, options.dataset)
    if options.format == "json":
        from dataclasses import asdict

        print(json.dumps(asdict(found)))
    else:
        print(printable_lines(found))
    return 12 if found.problems else 0


def printable_lines(found: Lineage) -> str:
    """A lineage for people: one line a node, further in the further away it is."""
    lines = [_told(node) for node in found.about]
    lines += ["came from", *_steps(found.origins)]
    lines += ["went into", *_steps(found.descendants)]
    kinds = [step.node.kind for step in found.descendants]
    models, others = kinds.count("model"), len(kinds) - kinds.count("model")
    lines += [*found.problems, f"{others} datasets and {models} models descend from it"]
    return "\n".join(printable(line) for line in lines)


def _steps(steps: Sequence[Step]) -> list[str]:
    return [f"{'  ' * step.depth}{_told(step.node)}" for step in steps] or ["  nothing known"]


def _told(node: Node) -> str:
    if node.kind == "source":
        return f"source {node.id}"
    if node.kind == "unknown":
        return f"{node.id}, which was never judged in this ledger"
    decision = f" {node.decision}" if node.decision else ""
    return f"{node.kind} {', '.join(node.names)} {node.id}{decision}"
