"""`waive`: an approver accepts what a run found, for these bytes and for a while."""

from __future__ import annotations

import argparse
from pathlib import Path

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    command,
    load_trust,
    now,
    passphrase_option,
    private_key,
    trust_options,
)
from guards.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "waive", _run_waive, "accept a finding for a while, and say why")
    parser.add_argument("run_dir", type=Path, nargs="?", metavar="RUN", help="that found it")
    parser.add_argument("--rule", metavar="R", help="whose finding it is")
    parser.add_argument("--code", default="", metavar="C", help="of the finding; default: all")
    parser.add_argument("--reason", metavar="TEXT")
    parser.add_argument("--expires", metavar="T")
    parser.add_argument(
        "--key", type=Path, action="append", required=True, metavar="key.pem", help="an approver's"
    )
    trust_options(parser, told="says who may have signed the run, and who may waive")
    parser.add_argument("--out", type=Path, metavar="F", help="default: RUN.waiver.json")
    parser.add_argument(
        "--add", type=Path, metavar="F", help="sign this waiver too, where it takes several"
    )
    passphrase_option(parser)


def _run_waive(options: Options) -> int:
    from guards.provenance.listing import beside
    from guards.provenance.strictjson import timestamp
    from guards.provenance.trust import parse_time
    from guards.waiving import Wish, countersign, waive

    keys = [private_key(options, path) for path in options.key]
    # Without it an approver would sign what a run of anybody says was found.
    trust = load_trust(options)
    if options.add:
        if options.run_dir or options.rule or options.reason or options.expires or options.out:
            raise UsageError("--add signs the waiver that is there: it says what and until when")
        out, waiver = options.add, countersign(options.add, keys, trust)
    else:
        if not (options.run_dir and options.rule and options.reason and options.expires):
            raise UsageError("waive needs RUN, --rule, --reason and --expires; or --add")
        wish = Wish(
            rule=options.rule,
            code=options.code,
            reason=options.reason,
            created=now(),
            expires=parse_time(options.expires),
        )
        out = options.out or beside(options.run_dir, ".waiver.json")
        waiver = waive(options.run_dir, wish, keys, out, trust)
    document = {
        "waiver": str(out),
        "name": str(waiver.name),
        "version": waiver.version,
        "root": str(waiver.root),
        "about": waiver.told,
        "severity": waiver.severity,
        "reason": waiver.reason,
        "expires": timestamp(waiver.expires),
    }
    about = f"{waiver.told} of {waiver.name} version {waiver.version}"
    told = f"waived {about} until {timestamp(waiver.expires)}: {waiver.reason}: {out}"
    console.result(document, told, options.format)
    return 0
