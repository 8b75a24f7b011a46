"""`profile` and `accept`: a reference, and which one counts from now on."""

from __future__ import annotations

import argparse
from pathlib import Path

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    asked_time,
    column_option,
    command,
    load_trust,
    now,
    passphrase_option,
    private_key,
    told_roles,
    trust_given,
    trust_options,
    write_file,
)
from guards.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `profile` and `accept`."""
    _profile(commands)
    _accept(commands)


def _profile(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = command(commands, "profile", _run_profile, "store a reference for the drift rule")
    parser.add_argument("dataset", type=Path, nargs="?", metavar="DATASET")
    parser.add_argument("--out", type=Path, required=True, metavar="F")
    trust_options(parser, required=False, told="prove it; take signed roles")
    column_option(parser)
    parser.add_argument(
        "--like", type=Path, metavar="F", help="cut cells as this profile does: both then merge"
    )
    parser.add_argument(
        "--merge", type=Path, nargs="+", default=[], metavar="F", help="these profiles as one"
    )


def _run_profile(options: Options) -> int:
    from guards.data.profile import merge_profiles, read_profile, to_bytes
    from guards.inputs import profile_of

    trust = load_trust(options) if trust_given(options) else None
    columns = told_roles(options)
    if trust is not None and columns:
        raise UsageError("--column: with --trust the roles are those that were signed")
    if options.dataset is None and not options.merge:
        raise UsageError("profile: name a DATASET, or profiles to --merge")
    parts = [read_profile(path) for path in options.merge]
    like = read_profile(options.like) if options.like else None
    if options.dataset is not None:
        parts.append(profile_of(options.dataset, trust, columns=columns, like=like))
    merged = merge_profiles(parts)
    profile = merged.profile if len(parts) > 1 else parts[0]
    write_file(options.out, to_bytes(profile))
    if merged.told:
        console.say(f"merged without {merged.told}; parts made --like one another keep them")
    digest = str(profile.digest)
    document = {"profile": str(options.out), "digest": digest, "rows": profile.rows}
    console.result({**document, "lost": merged.told}, digest, options.format)
    return 0


def _accept(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = command(
        commands, "accept", _run_accept, "make a profile the reference from now on, and say why"
    )
    parser.add_argument("profile", type=Path, metavar="PROFILE")
    parser.add_argument(
        "--anchor", type=Path, required=True, metavar="DIR", help="what scan --reference takes"
    )
    parser.add_argument(
        "--key", type=Path, action="append", required=True, metavar="key.pem", help="an approver's"
    )
    parser.add_argument("--name", required=True, metavar="N", help="the data it is a reference for")
    parser.add_argument("--reason", required=True, metavar="TEXT")
    trust_options(parser, required=False, told="refuse what it would not take")
    parser.add_argument("--at", metavar="T", help="accepted at this time; default: now")
    passphrase_option(parser)


def _run_accept(options: Options) -> int:
    from guards.anchor import Acceptance, accept
    from guards.data.profile import parse_profile
    from guards.files import read_document
    from guards.provenance.manifest import parse_name

    data = read_document(options.profile)
    if data is None:
        raise UsageError(f"profile {options.profile}: there is no such file")
    acceptance = Acceptance(
        name=parse_name(options.name),
        profile=parse_profile(data, options.profile).digest,
        reason=options.reason,
        time=asked_time(options) or now(),
    )
    trust = load_trust(options) if trust_given(options) else None
    key, *more = [private_key(options, path) for path in options.key]
    line = accept(options.anchor, data, acceptance, key, trust, more=more)
    digest = str(acceptance.profile)
    console.result(
        {"anchor": str(options.anchor), "profile": digest, "acceptance": str(line)},
        f"accepted {digest} for {acceptance.name} in {options.anchor}",
        options.format,
    )
    return 0
