"""`scan`: every check that the policy asks for, judged and recorded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    asked_time,
    claim_options,
    column_option,
    command,
    dataset_option,
    expected_name,
    load_trust,
    passphrase_option,
    private_key,
    remembered,
    told_roles,
    trust_given,
)
from guards.errors import UsageError

if TYPE_CHECKING:
    from guards.inputs import AskedModel
    from guards.release import Wanted
    from guards.remote import Located


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "scan", _run_scan, "examine a dataset, judge it, keep the record")
    parser.add_argument("dataset", type=dataset_option, metavar="DATASET")
    claim_options(parser, required=False)
    parser.add_argument("--policy", default="default", metavar="P", help="default, explore or file")
    column_option(parser, "of unsigned data; may be given again")
    parser.add_argument("--reference", type=Path, metavar="REF", help="profile, dataset or anchor")
    _model_options(parser)
    parser.add_argument(
        "--trusted-rows", type=Path, metavar="F", help="rows that somebody checked, to compare with"
    )
    parser.add_argument("--key", type=Path, metavar="key.pem", help="sign the record")
    parser.add_argument(
        "--ledger", type=Path, metavar="DIR", help="log the record; compare with earlier versions"
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help="default: DATASET.run")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU for images")
    parser.add_argument("--seed", type=int, metavar="S", help="replay; admits nothing")
    parser.add_argument(
        "--waiver",
        type=Path,
        action="append",
        default=[],
        metavar="F",
        help="signed by an approver, or a directory of such; may be given again",
    )
    passphrase_option(parser)
    _release_options(parser)


def _release_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the dataset without the rows held, to be scanned again")
    group.add_argument("--release-clean", type=Path, metavar="OUT", help="write it here")
    group.add_argument(
        "--release-key", type=Path, metavar="deriver.pem", help="sign it; default: --key"
    )
    group.add_argument("--release-name", metavar="N", help="default: the same name")
    group.add_argument("--release-version", type=int, metavar="V", help="default: the next one")


def _wanted(options: Options) -> Wanted | None:
    from guards.provenance.manifest import parse_name
    from guards.release import Wanted

    told = (options.release_key, options.release_name, options.release_version)
    if options.release_clean is None:
        if any(one is not None for one in told):
            raise UsageError("--release-key, -name and -version need --release-clean OUT")
        return None
    key = options.release_key or options.key
    if key is None:
        raise UsageError(
            "--release-clean needs --release-key deriver.pem: a key with the role deriver in "
            "--trust signs what is made from other data"
        )
    return Wanted(
        out=options.release_clean,
        key=private_key(options, key),
        name=parse_name(options.release_name) if options.release_name else None,
        version=options.release_version,
    )


def _model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("your own model in the place of the probe")
    group.add_argument("--model", type=Path, metavar="WEIGHTS.safetensors", help="never a pickle")
    group.add_argument(
        "--architecture", metavar="package.module:callable", help="makes the network of the weights"
    )
    group.add_argument(
        "--layer",
        action="append",
        default=[],
        help="may be given again; default: the penultimate one",
    )


def _asked_model(options: Options) -> AskedModel:
    from guards.inputs import AskedModel

    return AskedModel(
        weights=options.model, architecture=options.architecture, layers=tuple(options.layer)
    )


def _run_scan(options: Options) -> int:
    from guards.remote import located

    with located(options.dataset) as found:
        return _run_scan_of(options, found)


def _run_scan_of(options: Options, found: Located) -> int:
    from guards.provenance.listing import beside
    from guards.scan import Request, scan
    from guards.verdict import load_policy

    request = Request(
        dataset=found.path,
        remote=found.remote,
        policy=load_policy(options.policy),
        # What is in a store is judged where we stand.
        out=options.out or beside(Path(found.path.name) if found.remote else found.path, ".run"),
        manifest=options.manifest,
        trust=load_trust(options) if trust_given(options) else None,
        name=expected_name(options),
        version=options.dataset_version,
        at=asked_time(options),
        state=remembered(options),
        reference=options.reference,
        trusted_rows=options.trusted_rows,
        model=_asked_model(options),
        key=private_key(options, options.key) if options.key else None,
        ledger=options.ledger,
        device=options.device,
        seed=options.seed,
        release=_wanted(options),
        waivers=tuple(options.waiver),
        columns=told_roles(options),
    )
    with console.progress(options.quiet) as tick:
        scanned = scan(request, tick)
    console.scanned(scanned, options.format, options.quiet)
    return scanned.verdict.decision.exit_status
