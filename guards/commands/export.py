"""`export`: what was proved, in the formats of others: an OMS bundle, SLSA provenance, a VSA."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    asked_time,
    claim_options,
    command,
    expected_name,
    load_trust,
    passphrase_option,
    private_key,
    remembered,
    trust_options,
    write_file,
)

if TYPE_CHECKING:
    from guards.verify import Claimed


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    export = commands.add_parser("export", help="say what was proved in the formats of others")
    actions = export.add_subparsers(required=True, metavar="FORMAT")
    bundle = command(actions, "oms", _run_oms, "an OMS v1.0 bundle of a signed dataset")
    bundle.add_argument(
        "--shard-size", type=int, metavar="BYTES", help="list shards of this size, not files"
    )
    derived = command(actions, "slsa", _run_slsa, "SLSA provenance v1 of a derived dataset")
    for parser in (bundle, derived):
        parser.add_argument("dataset", type=Path, metavar="DATASET")
        claim_options(parser, required=True)
    verdict = command(actions, "vsa", _run_vsa, "a verification summary of a run's verdict")
    verdict.add_argument("run_dir", type=Path, metavar="RUN")
    trust_options(verdict, told="of scanners")
    verdict.add_argument("--at", metavar="T", help="believe the record as of this time")
    for parser in (bundle, derived, verdict):
        parser.add_argument("--key", type=Path, required=True, metavar="key.pem", help="signs it")
        parser.add_argument("--out", type=Path, metavar="F", help="default: beside it")
        passphrase_option(parser)


def _run_oms(options: Options) -> int:
    from guards.export import oms

    key = private_key(options, options.key)
    return _written(
        options, ".oms.json", lambda tick: oms(_claimed(options, tick), key, options.shard_size)
    )


def _run_slsa(options: Options) -> int:
    from guards.export import slsa

    key = private_key(options, options.key)
    return _written(options, ".slsa.json", lambda tick: slsa(_claimed(options, tick), key))


def _run_vsa(options: Options) -> int:
    from guards.export import Run, vsa

    run = Run(directory=options.run_dir, trust=load_trust(options), at=asked_time(options))
    key = private_key(options, options.key)
    return _written(options, ".vsa.json", lambda tick: vsa(run, key))


def _written(
    options: Options, suffix: str, make: Callable[[Callable[[int, int], None]], bytes]
) -> int:
    from guards.provenance.listing import beside

    what = options.run_dir if "run_dir" in options else options.dataset
    path = options.out or beside(what, suffix)
    with console.reading(options.quiet) as tick:
        data = make(tick)
    write_file(path, data + b"\n")
    console.result({"written": str(path)}, f"written: {path}", options.format)
    return 0


def _claimed(options: Options, tick: Callable[[int, int], None]) -> Claimed:
    from guards.provenance.listing import manifest_path
    from guards.verify import Claimed

    return Claimed(
        dataset=options.dataset,
        manifest=options.manifest or manifest_path(options.dataset),
        trust=load_trust(options),
        name=expected_name(options),
        version=options.dataset_version,
        at=asked_time(options),
        state=remembered(options),
        tick=tick,
    )
