"""`verify`: bytes against their signed claim, the whole or a part; or against a foreign claim."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.commands.options import (
    PART,
    Commands,
    Options,
    asked_time,
    claim_options,
    command,
    dataset_option,
    expected_name,
    load_trust,
    remembered,
    trust_given,
    write_file,
)
from guards.errors import UsageError

if TYPE_CHECKING:
    from guards.provenance.part import Range
    from guards.remote import Located
    from guards.verify import Claimed


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "verify", _run_verify, "hold bytes against their signed claim")
    parser.set_defaults(wrong_line=parser.error)
    parser.add_argument("dataset", type=dataset_option, metavar="DATASET")
    claim_options(parser, required=False)
    parser.add_argument(
        "--profile", type=Path, metavar="F", help="hold it against the claim; DATASET.profile"
    )
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="remember here what was read, and read it once"
    )
    parser.add_argument(
        "--content", action="store_true", help="decode what differs, to tell a re-encoded file"
    )
    parser.add_argument("--full", action="store_true", help="read every byte, whatever the index")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse what is only told: a second name of a file, versions never seen",
    )
    parser.add_argument(
        "--repair-list", type=Path, metavar="F", help="the byte ranges to fetch again, JSON lines"
    )
    part = parser.add_argument_group(f"a part, which never is a PASS: exit status {PART} or 12")
    part.add_argument(
        "--files", action="append", default=[], metavar="GLOB", help="these; * is anything"
    )
    part.add_argument(
        "--range", action="append", default=[], metavar="FILE:OFFSET:LENGTH", help="these bytes"
    )
    _foreign_options(parser)


def _foreign_options(parser: argparse.ArgumentParser) -> None:
    told = f"somebody else's claim, which never is a PASS: exit status {PART} or 12"
    group = parser.add_argument_group(told)
    group.add_argument(
        "--claim",
        type=Path,
        metavar="FILE",
        help="SHA256SUMS, a bag, a Croissant, Frictionless or DVC file, an OMS bundle, ...",
    )
    group.add_argument("--claim-format", metavar="FORMAT", help="default: told from the file")


def _run_verify(options: Options) -> int:
    from guards.remote import located

    if options.claim or options.claim_format:
        return _run_verify_foreign(options)
    if options.trust is None:
        options.wrong_line("verify needs --trust, whose signatures count; or --claim")
    for what in ("manifest", "profile"):
        path = getattr(options, what)
        if path and not path.exists():
            raise UsageError(f"{what} {path}: there is no such file")
    with located(options.dataset) as found:
        if options.files or options.range:
            return _run_verify_part(options, found)
        return _run_verify_whole(options, found)


def _run_verify_whole(options: Options, found: Located) -> int:
    from guards.verify import repairs, verify

    with console.reading(options.quiet) as tick:
        claimed = _claimed(options, found, tick)
        gc.disable()  # a tenth of the time with 20,000 files, and there are no cycles to collect
        try:
            proof = verify(claimed)
        finally:
            gc.enable()
    if options.profile and proof.manifest and not proof.manifest.profile:
        raise UsageError(f"--profile {options.profile}: the signed manifest claims no profile")
    if options.repair_list:
        _write_ranges(options.repair_list, repairs(claimed, proof))
    if options.content and not proof:
        from guards.reencoded import retold

        proof = retold(proof, found)
    console.proof(proof, str(options.dataset), options.format)
    return 0 if proof else 12


def _run_verify_part(options: Options, located: Located) -> int:
    from guards.provenance.part import parse_range
    from guards.verify import look_at_part

    ranges = tuple(parse_range(text) for text in options.range)
    with console.reading(options.quiet) as tick:
        claimed = _claimed(options, located, tick)
        found = look_at_part(claimed, tuple(options.files), ranges)
    if options.repair_list:
        _write_ranges(options.repair_list, found.damage)
    console.part(found, str(options.dataset), options.format)
    return PART if found.holds else 12


_OF_MANIFESTS = (
    "manifest",
    "state",
    "profile",
    "index",
    "full",
    "strict",
    "repair_list",
    "files",
    "range",
)


def _run_verify_foreign(options: Options) -> int:
    from guards.foreign import Asked, look

    if options.claim is None:
        raise UsageError("--claim-format is of a --claim FILE")
    if not isinstance(options.dataset, Path):
        raise UsageError("--claim is held against data on a disk; fetch the dataset first")
    if told := [name for name in _OF_MANIFESTS if getattr(options, name)]:
        raise UsageError(
            f"--{told[0].replace('_', '-')} is for manifests, and cannot go with --claim"
        )
    with console.reading(options.quiet) as tick:
        held = look(
            Asked(
                dataset=options.dataset,
                claim=options.claim,
                form=options.claim_format,
                trust=load_trust(options) if trust_given(options) else None,
                name=expected_name(options),
                version=options.dataset_version,
                at=asked_time(options),
                tick=tick,
            )
        )
    console.foreign(held, str(options.dataset), options.format)
    return PART if held.holds else 12


def _claimed(options: Options, found: Located, tick: Callable[[int, int], None]) -> Claimed:
    from guards.provenance.listing import manifest_path, profile_path
    from guards.verify import Claimed

    return Claimed(
        dataset=found.path,
        manifest=options.manifest or manifest_path(found.path),
        trust=load_trust(options),
        name=expected_name(options),
        version=options.dataset_version,
        at=asked_time(options),
        state=remembered(options),
        profile=options.profile or profile_path(found.path),
        index=options.index,
        full=options.full,
        strict=options.strict,
        look=found.look,
        tick=tick,
    )


def _write_ranges(path: Path, ranges: Sequence[Range]) -> None:
    lines = [
        json.dumps({"path": one.path, "offset": one.offset, "length": one.length}) + "\n"
        for one in ranges
    ]
    write_file(path, "".join(lines).encode())
