"""Tell a re-encoded file from another: the same rows, which a producer named, in other bytes.

It changes what is told and never the answer: bytes that are not those signed are refused, whatever
is in them. To know their rows untrusted files have to be decoded, so it is done where it is asked
for, once, in a process of its own with bounds on its memory and its time; a file that breaks them,
or the decoder, is told as changed, as before, and why its rows are not known. All files share the
time of one, and a second for each RATE bytes of them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from guards.digest import Digest
from guards.errors import GuardError, Unreadable
from guards.private import private
from guards.provenance.proof import Proof
from guards.provenance.snapshot import Difference, Entry
from guards.remote import Located

CODE = "re-encoded-file"
# Beyond them a file is told as changed.
MOST_MEMORY = 8 << 30
MOST_SECONDS = 600
MOST_FILES = 1000
RATE = 1 << 20
_TOLD = 3  # the exit status of a child that says why
_CHANGED = frozenset({"changed-file", "truncated-file", "grown-file"})


def retold(proof: Proof, dataset: Located) -> Proof:
    """The same proof, where problems of files that were re-encoded are told as such.

    A file that is missing and one that is extra are one that was re-encoded under another name,
    say as Parquet where it was CSV. The proof is refused as it was.
    """
    manifest = proof.manifest
    claimed = manifest.snapshot.files if manifest else ()
    named = {entry.path: entry for entry in claimed if entry.content}
    if manifest is None or not named:
        return proof
    problems = {(p.path, p.code): p for p in proof.problems}
    gone = {p.path for p in proof.problems if p.code == "missing-file"} & named.keys()
    looked = {p.path for p in proof.problems if p.code in _CHANGED and p.path in named}
    if gone:
        looked |= {p.path for p in proof.problems if p.code == "extra-file"}
    asked = sorted(looked)
    seen = _contents(dataset, asked[:MOST_FILES], manifest.schema)
    unknown = {**dict.fromkeys(asked, f"more than {MOST_FILES} files differ"), **seen.unknown}
    for key, problem in problems.items():
        if problem.path in unknown.keys() - seen.found.keys():
            why = f"what rows it has is not known: {unknown[problem.path]}"
            told = "; ".join(filter(None, (problem.actual, why)))
            problems[key] = replace(problem, actual=told)
    for new, old in _pairs(seen.found, named, gone):
        for path in {new, old}:
            for code in (*_CHANGED, "missing-file", "extra-file"):
                problems.pop((path, code), None)
        told = "other bytes with the same rows"
        problems[new, CODE] = Difference(code=CODE, path=new, expected=old, actual=told)
    return replace(proof, problems=tuple(problems.values()))


@dataclass(frozen=True, slots=True)
class Contents:
    """The content digests that could be had, and why the others could not."""

    found: Mapping[str, Digest]
    unknown: Mapping[str, str]


def _pairs(
    found: Mapping[str, Digest], named: Mapping[str, Entry], gone: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Each file found with the claimed one whose rows it has: its own, or one that is missing."""
    left = sorted(gone)
    for path, content in found.items():
        if path in named:
            old = path if named[path].content == content else None
        else:
            old = next((other for other in left if named[other].content == content), None)
            left = [other for other in left if other != old]
        if old is not None:
            yield path, old


def _contents(dataset: Located, files: Sequence[str], schema: Mapping[str, str]) -> Contents:
    """The same of a dataset that may be in a store, out of a copy that is made for it."""
    if dataset.remote is None or not files:
        return contents(dataset.path, files, schema)
    with private() as apart:
        dataset.remote.stage(apart)
        return contents(apart, files, schema)


def contents(dataset: Path, files: Iterable[str], schema: Mapping[str, str]) -> Contents:
    """The content digests of untrusted files, those that could be had; types as in `schema`."""
    found: dict[str, Digest] = {}
    unknown: dict[str, str] = {}
    paths = list(files)
    size = sum(_size(dataset, path) for path in paths)
    ends = time.monotonic() + MOST_SECONDS + size / RATE
    for path in paths:
        left = min(MOST_SECONDS, ends - time.monotonic())
        asked = json.dumps({"root": str(dataset), "path": path, "schema": dict(schema)})
        try:
            found[path] = _apart(asked.encode(), left)
        except subprocess.TimeoutExpired:
            unknown[path] = "decoding takes too long"
        except GuardError as error:
            unknown[path] = str(error)
        except (OSError, ValueError):
            unknown[path] = "it breaks the decoder or its bounds"
    return Contents(found, unknown)


def _apart(asked: bytes, seconds: float) -> Digest:
    """The answer of a child to one request; what it says is a stranger's word."""
    command = [sys.executable, "-P", "-m", "guards.reencoded"]  # -P: not from here
    if seconds <= 0:
        raise subprocess.TimeoutExpired(command, seconds)
    done = subprocess.run(command, input=asked, capture_output=True, timeout=seconds)
    if done.returncode == _TOLD:
        raise Unreadable(done.stderr.decode(errors="replace").strip()[:300])
    return Digest.parse(done.stdout.decode().strip())


def _size(dataset: Path, path: str) -> int:
    try:
        return (dataset / path if dataset.is_dir() else dataset).stat().st_size
    except OSError:
        return 0


def _bound() -> None:
    """What this process may take, before it opens anything."""
    from guards.data.trial import limit

    limit(resource.RLIMIT_AS, MOST_MEMORY)
    limit(resource.RLIMIT_CPU, MOST_SECONDS)
    limit(resource.RLIMIT_CORE, 0)


def _alone() -> None:
    """The child: one request on stdin, one digest on stdout, or nothing."""
    _bound()
    from guards.data.content import content_digest
    from guards.data.dataset import open_alone

    asked = json.loads(sys.stdin.buffer.read())
    root = Path(asked["root"])
    try:
        opened = open_alone(root if root.is_dir() else root.parent, asked["path"])
        typed = replace(opened, schema=_typed(opened.schema, asked["schema"]))
        print(content_digest(typed, typed.shards[0]))
    except GuardError as error:
        print(error, file=sys.stderr)
        sys.exit(_TOLD)


def _typed(found: Mapping[str, str], signed: Mapping[str, str]) -> Mapping[str, str]:
    """A file without types is read under those that were signed, where it has these columns."""
    return signed if found.keys() == signed.keys() else found


if __name__ == "__main__":
    _alone()
