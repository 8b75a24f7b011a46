"""What people and programs see: tables and progress on stderr, results on stdout.

Everything that came from data is escaped before it reaches a terminal. `NO_COLOR`, a stream that
is no terminal, and `--quiet` are respected.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from guards.errors import GateRefused, GuardError, UsageError
from guards.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from guards.contracts import Checked
    from guards.digest import Digest
    from guards.findings import Inapplicable, Outcome, Skipped
    from guards.provenance.decision import Decision
    from guards.provenance.formats.held import Held
    from guards.provenance.ledger import Log
    from guards.provenance.lines import Line
    from guards.provenance.logproof import Proven
    from guards.provenance.manifest import Manifest
    from guards.provenance.part import Part
    from guards.provenance.proof import Proof
    from guards.provenance.snapshot import Difference
    from guards.scan import Scanned

SHOWN = 5  # rows named for a person
TICK = 0.1  # seconds, at least, from one look of the progress bar to the next
# That there is no room is no defect of ours, wherever it shows.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE})
COLOURS = {"PASS": "green", "QUARANTINE": "yellow", "BLOCK": "red"}


def never_choke() -> None:
    """Show what a terminal has no letters for as escapes: its encoding is no reason to crash."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Let stdout have all that was told; OSError where it does not take it.

    What people cannot read on stderr is lost, and changes no answer.
    """
    try:
        sys.stderr.flush()
    except OSError:
        _to_nowhere(sys.stderr)
    if sys.stdout is not None:  # None: closed before we began, by who wants no answer
        sys.stdout.flush()


def unwritten(error: OSError) -> None:
    """Say why something could not be written; of a pipe that its reader closed, nothing."""
    if not isinstance(error, BrokenPipeError):
        say(f"cannot write: {error.strerror}; make room, and run it again")
    _to_nowhere(sys.stdout)


def _to_nowhere(stream: TextIO) -> None:
    """Python flushes once more as it ends, and would tell in its own way that it cannot."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def say(text: str) -> None:
    """One line for people, if anybody can read it."""
    with suppress(OSError):
        print(f"toadstone: {printable(text)}", file=sys.stderr)


def result(document: Mapping[str, Any], text: str | Sequence[str], form: str) -> None:
    """What a command made: a line or several, or JSON, on stdout."""
    lines = [text] if isinstance(text, str) else text
    told = "\n".join(map(printable, lines))
    print(json.dumps(document, ensure_ascii=True) if form == "json" else told)


def error(problem: GuardError, form: str) -> None:
    """A refusal: on stderr for people, and as JSON on stdout for programs."""
    reasons = problem.reasons if isinstance(problem, GateRefused) else (str(problem),)
    if form == "json":
        document = {"error": type(problem).__name__, "reasons": reasons}
        print(json.dumps({**document, "exit": problem.exit_status}))
    elif isinstance(problem, GateRefused):
        print(f"REFUSED {printable('; '.join(reasons))}")
    else:
        say(str(problem))


def crash(problem: Exception, form: str) -> None:
    """Our own fault: the whole traceback, and an exit status that is no verdict."""
    import traceback

    with suppress(OSError):
        traceback.print_exception(problem, file=sys.stderr)
    say("this is a defect of toadstone, not a verdict about your data")
    if form == "json":
        print(json.dumps({"error": type(problem).__name__, "reasons": [str(problem)], "exit": 1}))


def proof(found: Proof, dataset: str, form: str) -> None:
    """The answer of `verify`: the differences, and what was decided on the way."""
    manifest, size = found.manifest, found.found.size
    if found.told:
        say(f"index: {found.told}")
    if form == "json":
        document = {
            "ok": bool(found),
            "dataset": dataset,
            **_claim(manifest),
            **_said(manifest),
            "signers": list(found.signers),
            "history": found.history,
            "bytes": size,
            "unread": found.unread,
            "index": found.told,
            "problems": _problems(found.problems),
        }
        print(json.dumps(document))
        return
    for problem in found.problems:
        print(problem)
    if found and manifest:
        files, history = len(manifest.snapshot.files), found.history
        unread = f"; {found.unread} of {size} bytes not read: unchanged by their times"
        told = f"OK {manifest.name} version {manifest.version}: {files} files, history {history}"
        print(printable(told + (unread if found.unread else "")))
    else:
        print(f"REFUSED {printable(dataset)}: {len(found.refusals)} problems")


def decision(found: Decision, manifest: str, root: Digest, form: str) -> None:
    """The answer of `trust explain`: on what it rests, every step, and what follows."""
    if form == "json":
        from dataclasses import asdict

        steps = [asdict(step) for step in found.steps]
        about = {"ok": bool(found), "manifest": manifest, "root_digest": str(root)}
        print(json.dumps({**about, "steps": steps}))
        return
    print(f"root-digest {root}")
    for step in found.steps:
        told = f"{'ok' if step.ok else 'no':3} {step.rule:12} {step.input}: {step.outcome}"
        print(printable(told))
    print(f"{'TRUSTED' if found else 'REFUSED'} {printable(manifest)}")


def passphrases(variables: Sequence[str]) -> Callable[[Path], Iterator[bytes]]:
    """What to try on an encrypted key: the environment variables named, or else ask a person.

    Neither a passphrase nor what was given in the place of a variable's name is ever shown.
    """

    def of(path: Path) -> Iterator[bytes]:
        for variable in variables:
            if variable not in os.environ:
                raise UsageError("--passphrase-env: must name a variable, and one that is set")
            yield os.fsencode(os.environ[variable])
        if not variables and sys.stdin.isatty():
            import getpass

            yield getpass.getpass(f"passphrase of {printable(str(path))}: ").encode()

    return of


def new_passphrase(variables: Sequence[str]) -> bytes:
    """A passphrase for a key to be made: from the variable named, or asked for twice."""
    chosen = list(passphrases(variables)(Path("the new key")))
    if len(chosen) != 1:
        raise UsageError(
            "to encrypt a key run at a terminal, or name one --passphrase-env VARIABLE"
        )
    import getpass

    if not variables and getpass.getpass("once more: ").encode() != chosen[0]:
        raise UsageError("these were two different passphrases; no key was made")
    return chosen[0]


def part(found: Part, dataset: str, form: str) -> None:
    """The answer about a part: `ok`, which is about the whole, is false whatever it says."""
    manifest = found.manifest
    files, size = len(manifest.snapshot.files), manifest.snapshot.size
    if form == "json":
        document = {
            "ok": False,
            "dataset": dataset,
            **_claim(manifest),
            "part": {"holds": found.holds, "files": found.files, "bytes": found.size},
            "of": {"files": files, "bytes": size},
            "problems": _problems(found.problems),
        }
        print(json.dumps(document))
        return
    for problem in found.problems:
        print(problem)
    told = f"{found.files} of {files} files, {found.size} of {size} bytes"
    if found.holds:
        name = f"{manifest.name} version {manifest.version}"
        print(printable(f"PART of {name} holds: {told}; nothing is said of the rest"))
    else:
        print(f"REFUSED {printable(dataset)}: {len(found.refusals)} problems in a part, {told}")


def foreign(found: Held, dataset: str, form: str) -> None:
    """The answer about a foreign claim: `ok`, which is about ours, is false whatever it says."""
    claim, strength = found.claim, found.claim.strengths
    files = f"{found.proved} of {len(claim.files)} files by strong digests"
    vouched = found.authority.able if found.authority and found.authority else ()
    if form == "json":
        about = {
            "holds": found.holds,
            "format": claim.form,
            "digest": str(claim.digest),
            "name": str(claim.name) if claim.name else None,
            "version": claim.version,
            "signers": list(vouched),
            "files": {"proved": found.proved, **strength},
            "not_bound": list(claim.limits),
            "notes": list(claim.notes),
        }
        root = str(found.found.root)
        document = {"ok": False, "dataset": dataset, "root": root, "claim": about}
        print(json.dumps({**document, "problems": _problems(found.problems)}))
        return
    for problem in found.problems:
        print(problem)
    if not found.holds:
        about_it = f"{len(found.refusals)} problems with a claim of {claim.form}, {files}"
        print(f"REFUSED {printable(dataset)}: {about_it}")
    else:
        by = f"signed by {', '.join(key[:16] for key in vouched)}" if vouched else "unsigned"
        told = files if claim.files else "the whole dataset by its root"
        version = "" if claim.version is None else f" version {claim.version}"
        name = f" about {claim.name}{version}" if claim.name else ""
        print(printable(f"CLAIM of {claim.form}{name}, {by}, holds: {told}; it is no PASS"))
    for note in claim.notes:
        print(printable(f"  note: {note}"))
    for limit in claim.limits:
        print(printable(f"  not bound: {limit}"))


def _claim(manifest: Manifest | None) -> dict[str, object]:
    return {
        "name": str(manifest.name) if manifest else None,
        "version": manifest.version if manifest else None,
        "root": str(manifest.snapshot.root) if manifest else None,
    }


def _said(manifest: Manifest | None) -> dict[str, object]:
    """What the producer says of the data, beside its bytes."""
    from dataclasses import asdict

    if manifest is None:
        return {"rows": None, "schema": None, "sources": []}
    return {
        "rows": manifest.rows,
        "schema": str(manifest.schema_digest),
        "sources": [
            {**asdict(source), "digest": str(source.digest) if source.digest else None}
            for source in manifest.sources
        ],
    }


def _problems(problems: Iterable[Difference]) -> list[dict[str, str]]:
    return [
        {"code": p.code, "path": p.path, "expected": p.expected, "actual": p.actual}
        for p in problems
    ]


@contextmanager
def reading(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Bytes read, their rate and the time left, on stderr when a person is there to see it."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task, shown = bar.add_task("", total=None), 0.0

        def tick(done: int, total: int) -> None:
            nonlocal shown
            if time.monotonic() - shown > TICK:
                shown = time.monotonic()
                bar.update(task, completed=done, total=total or None)

        yield tick


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr when a person is there to see it."""
    if quiet or not sys.stderr.isatty():
        yield lambda rule, done, total: None
        return
    from rich.progress import Progress

    with Progress(console=stderr(), transient=True) as bar:
        task = bar.add_task("")
        yield lambda rule, done, total: bar.update(
            task, description=rule, completed=done, total=total
        )


def stderr() -> Console:
    """The console for people."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def scanned(done: Scanned, form: str, quiet: bool) -> None:
    """The verdict: a table on stderr, one line or JSON on stdout."""
    verdict = done.verdict
    if not quiet:
        with suppress(OSError):  # that nobody can read the table does not change the verdict
            _table(done)
    if done.released is not None:
        say(done.released.told)
    for one in done.waivers.presented:
        if not one:
            say(f"waiver {one.digest.short} does not count: {one.refused}")
    if form == "json":
        print(_report(done))
        return
    first = f": {verdict.reasons[0].text}" if verdict.reasons else ""
    waived = "".join(f"; {used.told}" for used in done.record.waivers)
    print(f"{verdict.decision} {done.record.name}{printable(first + waived)} [{done.run_dir}]")


def _report(done: Scanned) -> str:
    """The report as it was written; beside it what became of a release, if one was asked for."""
    written = (done.run_dir / "report.json").read_text(encoding="utf-8").strip()
    if done.released is None:
        return written
    made = done.released
    document = {
        "out": str(made.out) if made.out else None,
        "manifest": str(made.manifest) if made.manifest else None,
        "removed": made.removed,
        "told": made.told,
    }
    return json.dumps({**json.loads(written), "release": document})


def _table(done: Scanned) -> None:
    from rich.markup import escape
    from rich.table import Table

    from guards.findings import Inapplicable, Skipped

    table = Table(box=None, pad_edge=False)
    for heading in ("rule", "outcome", "found", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    silent: dict[str, list[str]] = {}
    for examination in done.examinations:
        if isinstance(examination.outcome, Inapplicable | Skipped):
            silent.setdefault(_silence(examination.outcome), []).append(examination.rule)
            continue
        found = "; ".join(printable(f.summary) for f in examination.findings)
        told = found or getattr(examination.outcome, "error", "") or _unjudged(examination.outcome)
        outcome = type(examination.outcome).__name__.lower()
        table.add_row(
            examination.rule, outcome, escape(printable(told)), f"{examination.run.seconds:.2f}"
        )
    out = stderr()
    out.print(table)
    for reason, rules in silent.items():
        out.print(f"{escape(printable(reason))}: {', '.join(rules)}")
    colour = COLOURS[str(done.verdict.decision)]
    out.print(f"[bold {colour}]{done.verdict.decision}[/]  {escape(str(done.run_dir))}/report.html")


def _silence(outcome: Inapplicable | Skipped) -> str:
    """Why a rule did not look, in the words that rules of one reason are gathered under."""
    from guards.findings import Skipped

    kind = "skipped" if isinstance(outcome, Skipped) else "does not apply"
    return f"{kind} ({outcome.reason})"


def _unjudged(outcome: Outcome) -> str:
    """Why a rule that ran had nothing to hold the data against; empty for all others."""
    from guards.findings import Ran

    statistics = outcome.measured.statistics if isinstance(outcome, Ran) else {}
    return str(statistics.get("note", "")) if statistics.get("judged") == 0 else ""


def contract(checked: Checked, dataset: str, form: str) -> None:
    """What became of a dataset under a contract: each broken expectation with its first rows."""
    if form == "json":
        print(json.dumps({"dataset": dataset, **checked.document}))
        return
    for result in checked.broken:
        one = result.expectation
        about = f" ({', '.join(one.columns)})" if one.columns else ""
        print(printable(f"{one.severity:8} {one.kind}{about} {result.told}"))
        rows = [row["row_id"] for row in checked.rows if row["expectation"] == one.place]
        if ids := rows[:SHOWN]:
            left = result.unexpected - len(ids)
            more = f" and {left} more" if left else ""
            print(printable(f"         rows {', '.join(ids)}{more}"))
    kept = len(checked.results) - len(checked.broken)
    told = f"{kept} of {len(checked.results)} expectations of {checked.suite.name} are kept"
    print(printable(f"{checked.decision} {dataset}: {told} by {checked.elements} rows"))


def _logged(line: Line) -> dict[str, Any]:
    """One entry of a log, as it is shown."""
    from guards.provenance.lines import Made

    about: dict[str, Any] = {
        "time": line.time.isoformat(),
        "name": str(line.name),
        "version": line.version,
        "root": str(line.root),
    }
    if isinstance(line, Made):
        used = [f"{m.name} v{m.version}" for m in line.materials]
        return {**about, "decision": f"MADE {line.kind}", "from": used}
    return {**about, "decision": line.decision, "record": str(line.record)}


def proven(found: Proven, form: str) -> None:
    """What a proof shows: which entry, of which log, and where that stood."""
    line, end = _logged(found.line), found.checkpoint
    document = {"index": found.index, "origin": end.origin, "size": end.size, "root": str(end.root)}
    about = f"{line['decision']} {line['name']} v{line['version']} {line['root']} {line['time']}"
    told = f"OK entry {found.index} of {end.size} in {end.origin}: {about}"
    result({**document, "entry": line}, told, form)


def ledger(log: Log, problems: list[str], options: Namespace) -> None:
    """The lines of a log when they are asked for, what is wrong with it, and where it ends."""
    end = log.checkpoint
    lines = [_logged(line) for line in (log.lines if options.show else ())]
    if options.format == "json":
        document = {"origin": end.origin, "size": end.size, "root": str(end.root)}
        document |= {"checkpoint": end.text, "torn": log.torn}
        print(json.dumps({**document, "entries": lines, "problems": problems}))
        return
    for line in lines:
        told = f"{line['time']} {line['decision']:10} {line['name']} v{line['version']}"
        print(printable(f"{told} {line['root']}"))
    for problem in problems:
        print(printable(problem))
    torn = " (an append that never ended follows; the next one drops it)" if log.torn else ""
    standing = "BROKEN" if problems else "OK"
    print(f"{standing} {end.size} entries, checkpoint {end}{torn}")
