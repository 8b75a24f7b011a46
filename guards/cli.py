"""The command `toadstone`: parse, call, print. What it does lives in the library.

Exit status, in every output format: 0 PASS or done, 1 we broke, 2 usage, 3 nothing to examine,
10 a part holds, 11 QUARANTINE, 12 BLOCK or refused. A crash can never be read as a verdict.
"""

from __future__ import annotations

import argparse
import gc
import json
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from guards import console
from guards._version import __version__
from guards.digest import Digest
from guards.errors import GuardError, UsageError

if TYPE_CHECKING:
    from guards.inputs import AskedModel
    from guards.provenance.manifest import Name
    from guards.provenance.memory import Memory
    from guards.provenance.part import Range
    from guards.provenance.signing import PrivateKey
    from guards.provenance.trust import Trust, TrustedKey
    from guards.release import Wanted
    from guards.verify import Claimed

Options = argparse.Namespace
INTERRUPTED = 130
# A part that holds is no PASS: whoever goes on at 0 only does not go on.
PART = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit status."""
    console.never_choke()
    words = sys.argv[1:] if argv is None else list(argv)
    form = _form(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        options = _parser().parse_args(words)
        status: int = options.run(options)
    except GuardError as error:
        console.error(error, form)
        return error.exit_status
    except KeyboardInterrupt:
        console.say("interrupted; nothing was written")
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as error:
        console.crash(error, form)
        return 1
    return status


class _Parser(argparse.ArgumentParser):
    """Tells a wrong command line the way every other usage error is told, as JSON if asked to."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise UsageError(message)


def _form(words: Sequence[str]) -> str:
    """The output format asked for, known even where the command line does not parse."""
    asked = "--format=json" in words or ("--format", "json") in pairwise(words)
    return "json" if asked else "text"


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="toadstone", description=_SUMMARY, epilog=_STATUSES
    )
    parser.add_argument("--version", action="version", version=f"toadstone {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_keygen, _trust, _sign, _verify, _scan, _gate, _report, _redteam):
        add(commands)
    _profile(commands)
    _accept(commands)
    _contract(commands)
    _ledger(commands)
    _demo(commands)
    return parser


_SUMMARY = "Stands between data and training: proves, examines, judges, and keeps the record."
_STATUSES = (
    "exit status: 0 PASS or done, 1 we broke, 2 usage, 3 nothing to examine, "
    "11 QUARANTINE, 12 BLOCK or refused"
)
Commands = argparse._SubParsersAction


def _command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[Options], int],
    says: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=says, description=says)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table on stderr")
    parser.set_defaults(run=run)
    return parser


def _keygen(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "keygen", _run_keygen, "make an Ed25519 key pair")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--type", choices=_kinds_of_key(), default=_kinds_of_key()[0])
    parser.add_argument(
        "--encrypt", action="store_true", help="key.pem under a passphrase; asked for"
    )
    _passphrase_option(parser)


def _kinds_of_key() -> tuple[str, ...]:
    return ("ed25519", "ecdsa-p256", "ecdsa-p384", "rsa-pss-3072")


def _passphrase_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-env",
        action="append",
        default=[],
        metavar="VARIABLE",
        help="holds the passphrase of an encrypted key; may be given again; else it is asked for",
    )


def _private(options: Options, path: Path) -> PrivateKey:
    from guards.provenance.signing import load_private

    return load_private(path, console.passphrases(options.passphrase_env))


def _run_keygen(options: Options) -> int:
    from guards.provenance.signing import generate

    secret = options.encrypt or options.passphrase_env
    passphrase = console.new_passphrase(options.passphrase_env) if secret else None
    public = generate(options.out, options.type, passphrase)
    console.result(
        {
            "keyid": public.keyid,
            "scheme": public.scheme,
            "key": str(options.out / "key.pem"),
        },
        f"key {public.keyid[:16]} in {options.out}; keep key.pem secret, give out key.pub",
        options.format,
    )
    return 0


def _trust(commands: Commands[argparse.ArgumentParser]) -> None:
    trust = commands.add_parser("trust", help="say whose signatures count, for what")
    actions = trust.add_subparsers(required=True, metavar="ACTION")
    for name, flag, says in (
        ("init", "--out", "start a trust directory with one key"),
        ("add-key", "--trust", "add a key to a trust directory"),
    ):
        parser = _command(actions, name, _run_trust, says)
        parser.add_argument(flag, dest="trust", type=Path, required=True, metavar="TRUST")
        parser.add_argument("--key", type=Path, required=True, metavar="key.pub")
        parser.add_argument("--name", action="append", required=True, metavar="PATTERN")
        parser.add_argument("--role", action="append", choices=_roles(), help="all, unless said")
        parser.add_argument("--expires", metavar="T")
        parser.add_argument("--valid-from", metavar="T", help="not before this time")
        parser.set_defaults(add=name == "add-key")
    _trust_later(actions)


def _trust_later(actions: Commands[argparse.ArgumentParser]) -> None:
    """What is done to a trust directory that is there, and asked of it."""
    revoked = _command(actions, "revoke", _run_revoke, "a key counts no more, and why")
    revoked.add_argument("--key", type=Path, required=True, metavar="key.pub")
    revoked.add_argument("--reason", required=True, metavar="TEXT")
    revoked.add_argument("--since", metavar="T", help="default: now")
    asked = _command(actions, "threshold", _run_threshold, "how many keys have to sign a manifest")
    asked.add_argument("threshold", type=int, metavar="M")
    asked.add_argument("--name", action="append", required=True, metavar="PATTERN")
    asked.add_argument("--role", choices=("producer", "deriver"), default="producer")
    told = _command(actions, "explain", _run_explain, "why a manifest counts, or does not")
    told.add_argument("manifest", type=Path, metavar="MANIFEST")
    told.add_argument("--name", metavar="N", help="the dataset that is expected")
    told.add_argument("--dataset-version", type=int, metavar="V", help="the version expected")
    told.add_argument("--at", metavar="T", help="decide as of this time; default: now")
    for parser in (revoked, asked, told):
        parser.add_argument("--trust", type=Path, required=True, metavar="TRUST")


def _roles() -> tuple[str, ...]:
    return ("producer", "scanner", "deriver", "approver")


def _run_trust(options: Options) -> int:
    from guards.provenance import trust

    key = _trusted_key(options)
    (trust.add if options.add else trust.create)(options.trust, key)
    told = f"{options.trust}: key {key.key.keyid[:16]} may act as {', '.join(key.roles)}"
    console.result({"keyid": key.key.keyid}, f"{told} for {', '.join(key.names)}", options.format)
    return 0


def _run_revoke(options: Options) -> int:
    from guards.provenance import trust
    from guards.provenance.signing import load_public

    since = trust.parse_time(options.since) if options.since else _now()
    key = load_public(options.key)
    trust.revoke(options.trust, key, trust.Revocation(since=since, reason=options.reason))
    told = f"{options.trust}: key {key.keyid[:16]} is revoked since {since.isoformat()}"
    console.result(
        {"keyid": key.keyid, "since": since.isoformat(), "reason": options.reason},
        f"{told}: {options.reason}",
        options.format,
    )
    return 0


def _run_threshold(options: Options) -> int:
    from guards.provenance import trust

    asked = trust.Threshold(
        role=options.role, names=tuple(options.name), threshold=options.threshold
    )
    trust.require(options.trust, asked)
    names = ", ".join(options.name)
    told = f"{options.trust}: {options.threshold} keys as {options.role} for {names}"
    console.result(
        {"threshold": options.threshold, "role": options.role, "names": options.name},
        told,
        options.format,
    )
    return 0


def _run_explain(options: Options) -> int:
    from guards.files import read_document
    from guards.provenance.decision import explain
    from guards.provenance.proof import Expectation

    signed = read_document(options.manifest)
    if signed is None:
        raise UsageError(f"manifest {options.manifest}: there is no such file")
    expect = Expectation(
        at=_at(options) or _now(), name=_name(options), version=options.dataset_version
    )
    found = explain(signed, _load_trust(options), expect)
    console.decision(found, str(options.manifest), options.format)
    return 0 if found else 12


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _trusted_key(options: Options) -> TrustedKey:
    from guards.provenance.signing import load_public
    from guards.provenance.trust import TrustedKey, parse_time

    return TrustedKey(
        key=load_public(options.key),
        roles=tuple(dict.fromkeys(options.role or _roles())),
        names=tuple(options.name),
        expires=parse_time(options.expires) if options.expires else None,
        valid_from=parse_time(options.valid_from) if options.valid_from else None,
    )


def _sign(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "sign", _run_sign, "claim a dataset and sign the claim")
    parser.add_argument("dataset", type=Path, metavar="DATASET")
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
    parser.add_argument("--source", action="append", default=[], metavar="URI")
    parser.add_argument("--column", action="append", default=[], metavar="COLUMN=ROLE")
    parser.add_argument("--expires", metavar="T")
    parser.add_argument("--profile", type=Path, metavar="F", help="claim this profile of it, too")
    parser.add_argument("--out", type=Path, metavar="F")
    _passphrase_option(parser)


def _run_sign(options: Options) -> int:
    from guards.provenance.manifest import Source, parse_name
    from guards.provenance.trust import parse_time
    from guards.publish import Claim, publish

    if options.add:
        return _run_countersign(options)
    if options.name is None or options.dataset_version is None:
        raise UsageError("sign needs --name and --dataset-version; or --add, for a claim made")
    if options.dataset_version < 0:
        raise UsageError("--dataset-version must be 0 or more")
    claim = Claim(
        name=parse_name(options.name),
        version=options.dataset_version,
        sources=tuple(Source(uri=uri) for uri in options.source),
        expires=parse_time(options.expires) if options.expires else None,
        columns=dict(_pair(text) for text in options.column),
        profile=options.profile,
    )
    key, *more = [_private(options, path) for path in options.key]
    path = publish(options.dataset, claim, key, options.out, more=more)
    console.result({"manifest": str(path)}, f"signed {options.dataset}: {path}", options.format)
    return 0


def _run_countersign(options: Options) -> int:
    """Add signatures; what is claimed is shown, since the one who signs did not write it."""
    from guards.provenance.strictjson import timestamp
    from guards.publish import countersign

    said = (options.name, options.dataset_version, options.expires, options.source or None)
    if any(one is not None for one in said):
        raise UsageError("--add signs the claim that is there: it has a name, a version and dates")
    path, claim = countersign(
        options.dataset,
        [_private(options, path) for path in options.key],
        options.out,
        columns=dict(_pair(text) for text in options.column),
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


def _pair(text: str) -> tuple[str, str]:
    column, equals, role = text.rpartition("=")
    if not equals:
        raise UsageError(f"--column {text!r}: must be COLUMN=ROLE, as in delayed=label")
    return column, role


def _verify(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "verify", _run_verify, "hold bytes against their signed claim")
    parser.add_argument("dataset", type=Path, metavar="DATASET")
    _claim_options(parser, required=True)
    parser.add_argument(
        "--profile", type=Path, metavar="F", help="hold it against the claim; DATASET.profile"
    )
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="remember here what was read, and read it once"
    )
    parser.add_argument("--full", action="store_true", help="read every byte, whatever the index")
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


def _claim_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--manifest", type=Path, metavar="F", help="DATASET.manifest.json")
    parser.add_argument(
        "--trust", type=Path, required=required, metavar="TRUST", help="whose signatures count"
    )
    parser.add_argument("--name", metavar="N", help="the dataset that is expected")
    parser.add_argument("--dataset-version", type=int, metavar="V", help="pin this version")
    parser.add_argument("--at", metavar="T", help="judge as of this time")
    parser.add_argument("--state", type=Path, metavar="DIR", help="remember versions here")


def _run_verify(options: Options) -> int:
    from guards.verify import repairs, verify

    for what in ("manifest", "profile"):
        path = getattr(options, what)
        if path and not path.exists():
            raise UsageError(f"{what} {path}: there is no such file")
    if options.files or options.range:
        return _run_verify_part(options)
    with console.reading(options.quiet) as tick:
        claimed = _claimed(options, tick)
        gc.disable()  # a tenth of the time with 20,000 files, and there are no cycles to collect
        try:
            proof = verify(claimed)
        finally:
            gc.enable()
    if options.profile and proof.manifest and not proof.manifest.profile:
        raise UsageError(f"--profile {options.profile}: the signed manifest claims no profile")
    if options.repair_list:
        _write_ranges(options.repair_list, repairs(claimed, proof))
    console.proof(proof, str(options.dataset), options.format)
    return 0 if proof else 12


def _run_verify_part(options: Options) -> int:
    from guards.provenance.part import parse_range
    from guards.verify import look_at_part

    ranges = tuple(parse_range(text) for text in options.range)
    with console.reading(options.quiet) as tick:
        found = look_at_part(_claimed(options, tick), tuple(options.files), ranges)
    if options.repair_list:
        _write_ranges(options.repair_list, found.damage)
    console.part(found, str(options.dataset), options.format)
    return PART if found.holds else 12


def _claimed(options: Options, tick: Callable[[int, int], None]) -> Claimed:
    from guards.publish import manifest_path, profile_path
    from guards.verify import Claimed

    return Claimed(
        dataset=options.dataset,
        manifest=options.manifest or manifest_path(options.dataset),
        trust=_load_trust(options),
        name=_name(options),
        version=options.dataset_version,
        at=_at(options),
        state=_memory(options),
        profile=options.profile or profile_path(options.dataset),
        index=options.index,
        full=options.full,
        tick=tick,
    )


def _write_ranges(path: Path, ranges: Sequence[Range]) -> None:
    lines = [
        json.dumps({"path": one.path, "offset": one.offset, "length": one.length}) + "\n"
        for one in ranges
    ]
    _write(path, "".join(lines).encode())


def _scan(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "scan", _run_scan, "examine a dataset, judge it, keep the record")
    parser.add_argument("dataset", type=Path, metavar="DATASET")
    _claim_options(parser, required=False)
    parser.add_argument("--policy", default="default", metavar="P", help="default, explore or file")
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
    _passphrase_option(parser)
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
        key=_private(options, key),
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
    from guards.publish import beside
    from guards.scan import Request, scan
    from guards.verdict import load_policy

    request = Request(
        dataset=options.dataset,
        policy=load_policy(options.policy),
        out=options.out or beside(options.dataset, ".run"),
        manifest=options.manifest,
        trust=_load_trust(options) if options.trust else None,
        name=_name(options),
        version=options.dataset_version,
        at=_at(options),
        state=_memory(options),
        reference=options.reference,
        trusted_rows=options.trusted_rows,
        model=_asked_model(options),
        key=_private(options, options.key) if options.key else None,
        ledger=options.ledger,
        device=options.device,
        seed=options.seed,
        release=_wanted(options),
    )
    with console.progress(options.quiet) as tick:
        scanned = scan(request, tick)
    console.scanned(scanned, options.format, options.quiet)
    return scanned.verdict.decision.exit_status


def _gate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "gate", _run_gate, "may these exact bytes be trained on?")
    parser.add_argument("dataset", type=Path, metavar="DATASET")
    parser.add_argument("--record", type=Path, required=True, metavar="F")
    parser.add_argument("--trust", type=Path, required=True, metavar="TRUST")
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
        trust=_load_trust(options),
        policy=load_policy(options.policy),
        name=_name(options),
        at=_at(options),
        max_age=parse_age(options.max_age) if options.max_age else None,
        ledger=options.ledger,
        state=_memory(options),
    )
    admitted = require_pass(options.dataset, options.record, terms, into=options.into)
    root = str(admitted.snapshot.root)
    where = str(admitted.root) if options.into else None
    told = f"ADMITTED {admitted.record.name} version {admitted.record.version} {root}"
    console.result(
        {"admitted": True, "root": root, "store": where},
        told + (f" in {where}" if where else ""),
        options.format,
    )
    return 0


def _report(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "report", _run_report, "make the page of a run again")
    parser.add_argument("run_dir", type=Path, metavar="RUN")


def _run_report(options: Options) -> int:
    from guards.files import write_atomically
    from guards.report.finished import open_run
    from guards.report.html import render

    if not (options.run_dir / "record.json").is_file():
        raise UsageError(f"{options.run_dir} is no run directory: it holds no record.json")
    page = options.run_dir / "report.html"
    write_atomically(page, render(options.run_dir).encode())
    problems = open_run(options.run_dir).contradictions
    for problem in problems:
        console.say(problem)
    console.result({"page": str(page), "problems": problems}, str(page), options.format)
    return 12 if problems else 0


def _redteam(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "redteam", _run_redteam, "make a poisoned twin with its truth")
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
    text = f"{options.out}, truth in {where}"
    if options.measure:
        document["measured"], line = _measured(options, truths[0])
        text = f"{text}\n{line}"
    console.result(document, text, options.format)
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


def _profile(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "profile", _run_profile, "store a reference for the drift rule")
    parser.add_argument("dataset", type=Path, nargs="?", metavar="DATASET")
    parser.add_argument("--out", type=Path, required=True, metavar="F")
    parser.add_argument("--trust", type=Path, metavar="TRUST", help="prove it; take signed roles")
    parser.add_argument("--column", action="append", default=[], metavar="COLUMN=ROLE")
    parser.add_argument(
        "--like", type=Path, metavar="F", help="cut cells as this profile does: both then merge"
    )
    parser.add_argument(
        "--merge", type=Path, nargs="+", default=[], metavar="F", help="these profiles as one"
    )


def _run_profile(options: Options) -> int:
    from guards.data.profile import merge_profiles, read_profile, to_bytes
    from guards.inputs import profile_of

    trust = _load_trust(options) if options.trust else None
    columns = dict(_pair(text) for text in options.column)
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
    _write(options.out, to_bytes(profile))
    if merged.told:
        console.say(f"merged without {merged.told}; parts made --like one another keep them")
    digest = str(profile.digest)
    document = {"profile": str(options.out), "digest": digest, "rows": profile.rows}
    console.result({**document, "lost": merged.told}, digest, options.format)
    return 0


def _accept(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "accept", _run_accept, "make a profile the reference from now on, and say why"
    )
    parser.add_argument("profile", type=Path, metavar="PROFILE")
    parser.add_argument(
        "--anchor", type=Path, required=True, metavar="DIR", help="what scan --reference takes"
    )
    parser.add_argument("--key", type=Path, required=True, metavar="key.pem", help="an approver's")
    parser.add_argument("--name", required=True, metavar="N", help="the data it is a reference for")
    parser.add_argument("--reason", required=True, metavar="TEXT")
    parser.add_argument("--trust", type=Path, metavar="TRUST", help="refuse what it would not take")
    parser.add_argument("--at", metavar="T", help="accepted at this time; default: now")
    _passphrase_option(parser)


def _run_accept(options: Options) -> int:
    from guards.anchor import Acceptance, accept
    from guards.digest import Digest
    from guards.files import read_document
    from guards.provenance.manifest import parse_name

    data = read_document(options.profile)
    if data is None:
        raise UsageError(f"profile {options.profile}: there is no such file")
    acceptance = Acceptance(
        name=parse_name(options.name),
        profile=Digest.of(data),
        reason=options.reason,
        time=_at(options) or _now(),
    )
    trust = _load_trust(options) if options.trust else None
    line = accept(options.anchor, data, acceptance, _private(options, options.key), trust)
    digest = str(acceptance.profile)
    console.result(
        {"anchor": str(options.anchor), "profile": digest, "acceptance": str(line)},
        f"accepted {digest} for {acceptance.name} in {options.anchor}",
        options.format,
    )
    return 0


def _contract(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("contract", help="what is expected of data, and whether it is so")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    made = _command(actions, "infer", _run_contract_infer, "propose a contract from data")
    made.add_argument("dataset", type=Path, metavar="DATASET")
    made.add_argument("--out", type=Path, required=True, metavar="F")
    made.add_argument("--name", metavar="N", help="default: the dataset's")
    made.add_argument(
        "--strictness",
        choices=("strict", "default", "loose"),
        default="default",
        help="how much room there is for what is not chance",
    )
    made.add_argument("--column", action="append", default=[], metavar="COLUMN=ROLE")
    held = _command(actions, "check", _run_contract_check, "hold data against a contract")
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
    told = _command(actions, "diff", _run_contract_diff, "what changed between two contracts")
    told.add_argument("old", type=Path, metavar="OLD")
    told.add_argument("new", type=Path, metavar="NEW")


def _run_contract_infer(options: Options) -> int:
    from guards.contracts import propose

    columns = dict(_pair(text) for text in options.column)
    name = options.name or options.dataset.resolve().name
    suite = propose(options.dataset, name, options.strictness, columns)
    written = (json.dumps(suite, indent=2, ensure_ascii=False) + "\n").encode()
    _write(options.out, written)
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
        _write(options.datadocs, docs(checked))
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


def _write(path: Path, data: bytes) -> None:
    from guards.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _ledger(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("ledger", help="the log's own proofs")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, says in (("verify", "check every line and record"), ("show", "list the lines")):
        action = _command(actions, name, _run_ledger, says)
        action.add_argument("ledger", type=Path, metavar="DIR")
        action.add_argument("--trust", type=Path, required=True, metavar="TRUST")
        action.add_argument("--checkpoint", metavar="SIZE:HEAD", help="a checkpoint you remember")
        action.set_defaults(show=name == "show")


def _run_ledger(options: Options) -> int:
    from guards.provenance import ledger

    log = ledger.verify(options.ledger, _load_trust(options))
    problems = list(ledger.missing_records(options.ledger, log.entries))
    if options.checkpoint and not log.holds(ledger.parse_checkpoint(options.checkpoint)):
        problems.insert(0, "the log does not continue the checkpoint you remember")
    console.ledger(log, problems, options)
    return 12 if problems else 0


def _demo(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "demo", _run_demo, "the whole story, on real sample data")
    parser.add_argument("--samples", type=Path, default=Path("data_samples"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")


def _run_demo(options: Options) -> int:
    from guards.demo.play import play

    return play(options.samples, options.out, quiet=options.quiet)


def _load_trust(options: Options) -> Trust:
    from guards.provenance.trust import load

    return load(options.trust)


def _name(options: Options) -> Name | None:
    from guards.provenance.manifest import parse_name

    return parse_name(options.name) if options.name else None


def _at(options: Options) -> datetime | None:
    from guards.provenance.trust import parse_time

    return parse_time(options.at) if options.at else None


def _memory(options: Options) -> Memory | None:
    from guards.provenance.memory import Memory

    return Memory(options.state) if options.state else None


if __name__ == "__main__":
    sys.exit(main())
