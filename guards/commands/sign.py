"""`sign`: a claim about a dataset, or one more signature on a claim."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    column_option,
    command,
    dataset_option,
    passphrase_option,
    private_key,
    told_roles,
)
from guards.errors import Untrusted, UsageError

if TYPE_CHECKING:
    from guards.digest import Digest
    from guards.provenance.manifest import Source


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "sign", _run_sign, "claim a dataset and sign the claim")
    parser.add_argument("dataset", type=dataset_option, metavar="DATASET")
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        required=True,
        metavar="key.pem",
        help="may be given again: all of them sign",
    )
    parser.add_argument("--name", metavar="N[/PARTITION]")
    parser.add_argument("--dataset-version", type=int, metavar="V")
    parser.add_argument(
        "--add", action="store_true", help="sign the claim that is there, if the data is as it says"
    )
    parser.add_argument(
        "--from-claim",
        type=Path,
        metavar="FILE",
        help="sign only if the bytes are those of this foreign claim, and name it as a source",
    )
    parser.add_argument("--claim-format", metavar="FORMAT", help="default: told from the file")
    parser.add_argument(
        "--claim-trust", type=Path, metavar="TRUST", help="who may sign the foreign claim"
    )
    parser.add_argument("--source", action="append", default=[], metavar="URI")
    column_option(parser)
    parser.add_argument("--expires", metavar="T")
    parser.add_argument("--profile", type=Path, metavar="F", help="claim this profile of it, too")
    parser.add_argument(
        "--content", action="store_true", help="name the rows, too, to tell a re-encoded file"
    )
    parser.add_argument("--out", type=Path, metavar="F")
    passphrase_option(parser)


def _run_sign(options: Options) -> int:
    from guards.provenance.manifest import Source, parse_name
    from guards.provenance.trust import parse_time
    from guards.publish import Claim, publish_at
    from guards.remote import located

    if options.add:
        return _run_countersign(options)
    if options.name is None or options.dataset_version is None:
        raise UsageError("sign needs --name and --dataset-version; or --add, for a claim made")
    if options.dataset_version < 0:
        raise UsageError("--dataset-version must be 0 or more")
    held, seen = _held_against(options)
    claim = Claim(
        name=parse_name(options.name),
        version=options.dataset_version,
        sources=tuple(Source(uri=uri) for uri in options.source),
        held=held,
        seen=seen,
        expires=parse_time(options.expires) if options.expires else None,
        columns=told_roles(options),
        profile=options.profile,
        content=options.content,
    )
    key, *more = [private_key(options, path) for path in options.key]
    with located(options.dataset) as found:
        path = publish_at(found, claim, key, options.out, more=more)
    console.result({"manifest": path}, f"signed {options.dataset}: {path}", options.format)
    return 0


def _held_against(options: Options) -> tuple[Source | None, Digest | None]:
    """The foreign claim as a source, and the root of the bytes that it holds for."""
    from guards.foreign import Asked, look
    from guards.provenance.manifest import Source, parse_name
    from guards.provenance.trust import load

    if options.from_claim is None:
        if options.claim_format or options.claim_trust:
            raise UsageError("--claim-format and --claim-trust are of a --from-claim FILE")
        return None, None
    trust = load(options.claim_trust) if options.claim_trust else None
    with console.reading(options.quiet) as tick:
        held = look(
            Asked(
                dataset=options.dataset,
                claim=options.from_claim,
                form=options.claim_format,
                trust=trust,
                name=parse_name(options.name) if trust else None,
                tick=tick,
            )
        )
    if not held.holds:
        console.foreign(held, str(options.dataset), "text")
        raise Untrusted(f"{options.from_claim}: the dataset is not as it says; nothing is signed")
    name = options.from_claim.resolve().name
    source = Source(uri=name, digest=held.claim.digest, claim=held.claim.form)
    return source, held.found.root


def _run_countersign(options: Options) -> int:
    """Add signatures; what is claimed is shown, since the one who signs did not write it."""
    from guards.provenance.strictjson import timestamp
    from guards.publish import countersign

    if options.from_claim:
        raise UsageError("--add signs the claim that is there; --from-claim is for a new one")
    if not isinstance(options.dataset, Path):
        raise UsageError("--add signs a claim on a disk; fetch the dataset and its manifest")
    said = (options.name, options.dataset_version, options.expires, options.source or None)
    if any(one is not None for one in said):
        raise UsageError("--add signs the claim that is there: it has a name, a version and dates")
    path, claim = countersign(
        options.dataset,
        [private_key(options, path) for path in options.key],
        options.out,
        columns=told_roles(options),
        profile=options.profile,
    )
    document = {
        "manifest": str(path),
        "name": str(claim.name),
        "version": claim.version,
        "created": timestamp(claim.created),
        "expires": timestamp(claim.expires) if claim.expires else None,
        "sources": [source.uri for source in claim.sources],
        "parents": [str(parent) for parent in claim.parents],
    }
    told = ", ".join(f"{k} {v}" for k, v in document.items() if v and k not in ("manifest", "name"))
    console.result(document, f"signed too: {claim.name}, {told}: {path}", options.format)
    return 0
