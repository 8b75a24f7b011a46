"""`ledger`: the log as it verifies, and proofs that are checked without it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.commands.options import (
    Commands,
    Options,
    command,
    load_trust,
    trust_options,
    write_file,
)
from guards.errors import Malformed, UsageError

if TYPE_CHECKING:
    from guards.provenance.checkpoint import Checkpoint
    from guards.provenance.trust import Trust

CHECKPOINT = "a checkpoint, record or proof that you kept, or SIZE:ROOT; may be given again"


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("ledger", help="the log's own proofs")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, says in (("verify", "check every entry and record"), ("show", "list the entries")):
        action = command(actions, name, _run_ledger, says)
        action.add_argument("ledger", type=Path, metavar="DIR")
        trust_options(action)
        action.add_argument(
            "--checkpoint", action="append", default=[], metavar="F", help=CHECKPOINT
        )
        action.set_defaults(show=name == "show")
    _add_proofs(actions)


def _add_proofs(actions: Commands[argparse.ArgumentParser]) -> None:
    made = command(actions, "prove", _run_prove, "write a proof that is checked without the log")
    made.add_argument("ledger", type=Path, metavar="DIR")
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path, metavar="F", help="that this record is in the log")
    what.add_argument("--index", type=int, metavar="N", help="that its entry N is; 0 is the first")
    what.add_argument("--since", metavar="F", help="that the log goes on from this checkpoint")
    made.add_argument("--out", type=Path, required=True, metavar="F.tlog-proof")
    held = command(actions, "check", _run_check, "check a proof alone")
    held.add_argument("proof", type=Path, metavar="F.tlog-proof")
    trust_options(held)
    held.add_argument("--record", type=Path, metavar="F", help="of this very record")
    held.add_argument("--since", metavar="F", help="the checkpoint that a consistency goes on from")


def _run_ledger(options: Options) -> int:
    from guards.provenance import ledger
    from guards.record import missing_documents

    trust = load_trust(options)
    remembered = [_remembered(text, trust) for text in options.checkpoint]
    if remembered and ledger.current(options.ledger) is None:
        most = max(known.size for known in remembered)
        raise Malformed(f"is no log, and {most} entries are remembered", f"ledger {options.ledger}")
    log = ledger.verify(options.ledger, trust)
    against = [log.objection(one) for one in remembered]
    problems = [told for told in against if told]
    problems += ledger.missing_records(options.ledger, log.entries)
    problems += missing_documents(options.ledger, log.entries)
    console.ledger(log, problems, options)
    return 12 if problems else 0


def _run_prove(options: Options) -> int:
    from guards.digest import Digest
    from guards.provenance import logproof

    if options.since:
        proof = logproof.prove_consistency(options.ledger, _remembered(options.since))
    elif options.record:
        record = Digest.of(_read(options.record, "record"))
        proof = logproof.prove_record(options.ledger, record)
    else:
        proof = logproof.prove(options.ledger, options.index)
    write_file(options.out, proof)
    console.result({"proof": str(options.out)}, str(options.out), options.format)
    return 0


def _run_check(options: Options) -> int:
    from guards.provenance import logproof

    data, trust = _read(options.proof, "proof"), load_trust(options)
    if logproof.is_consistency(data):
        return _check_consistency(data, trust, options)
    if options.since:
        raise UsageError(f"--since: {options.proof} is the proof of an entry, not of consistency")
    record = _read(options.record, "record") if options.record else None
    proven = logproof.check(data, trust, record)
    console.proven(proven, options.format)
    return 0


def _check_consistency(data: bytes, trust: Trust, options: Options) -> int:
    from guards.provenance import ledger, logproof

    if options.since is None:
        raise UsageError(f"{options.proof} is of consistency: give the old checkpoint as --since")
    old = _remembered(options.since, trust)
    new = logproof.check_consistency(data, old)
    ledger.signed_by(new, trust)
    console.result(
        {"old": str(old), "new": str(new), "origin": new.origin},
        f"OK {new.origin} with {new.size} entries goes on from the {old.size} that you remember",
        options.format,
    )
    return 0


def _remembered(text: str, trust: Trust | None = None) -> Checkpoint:
    """What somebody kept of a log; with `trust`, one that nobody trusted signed is refused."""
    from guards.files import read_document
    from guards.provenance import ledger, logproof
    from guards.provenance.checkpoint import parse_checkpoint

    data = read_document(Path(text))
    if data is None:
        return parse_checkpoint(text)
    found = _of_record(data, text) if data.startswith(b"{") else logproof.checkpoint_in(data, text)
    if trust is not None:
        ledger.signed_by(found, trust)
    return found


def _of_record(data: bytes, text: str) -> Checkpoint:
    from guards.provenance.signing import parse_envelope
    from guards.record import parse

    found = parse(parse_envelope(data, text)).checkpoint
    if found is None:
        raise UsageError(f"record {text}: was made without a ledger, so it remembers none")
    return found


def _read(path: Path, what: str) -> bytes:
    from guards.files import read_document

    data = read_document(path)
    if data is None:
        raise UsageError(f"{what} {path}: there is no such file")
    return data
