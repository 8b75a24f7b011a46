"""A finished run as it lies on disk, compared again with what its record binds.

The record names `report.json`, `rows.parquet` and every file of `evidence/` by sha256. Nothing
here decides whom to trust: the record's signature is for the gate, which has keys to hold it
against. Only names found in the run directory are ever opened, never a name the record gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guards.digest import Digest
from guards.errors import GuardError, Malformed, UsageError
from guards.provenance.signing import parse_envelope
from guards.record import Record, parse

SCHEMA = 1
_CONTENT = (
    *("report.json", "statistics.json", "profile.json", "rows.parquet"),
    *("manifest.json", "policy.json"),
)
_TOLD = {
    "differs": "{} is not the file that the record binds: it was changed afterwards",
    "missing": "{} is bound by the record, but is not here",
    "unbound": "{} is here, but the record does not bind it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One file of the run: the sha256 that the record binds, and the one found, if any."""

    path: str
    bound: str = ""
    found: str = ""

    @property
    def state(self) -> str:
        """`matches`, `differs`, `missing` (bound, not there) or `unbound` (there, not bound)."""
        if not self.bound:
            return "unbound"
        if not self.found:
            return "missing"
        return "matches" if self.bound == self.found else "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run: its report, its record, how the files compare, and what contradicts what."""

    report: Mapping[str, Any]
    record: Record | None
    keyids: tuple[str, ...]
    checks: tuple[Check, ...]
    contradictions: tuple[str, ...]
    contents: Mapping[str, bytes]

    @property
    def proven(self) -> bool:
        """Whether a record exists and everything the page shows is what it binds."""
        return self.record is not None and not self.contradictions

    def sound(self, path: str) -> bytes | None:
        """The bytes of a file, as they were hashed, if they are exactly what the record binds."""
        if any(check.path == path and check.state == "matches" for check in self.checks):
            return self.contents[path]
        return None


def open_run(run: Path) -> Finished:
    """Read a run directory; UsageError when it is none, Malformed when its report is unreadable."""
    contents = dict(_present(run))
    if "report.json" not in contents:
        raise UsageError(f"{run}: no report.json here; give the directory that a scan wrote")
    report = _parse_report(contents["report.json"])
    record, keyids, trouble = _read_record(run / "record.json")
    checks = _compare(contents, record.bindings if record else {})
    return Finished(
        report=report,
        record=record,
        keyids=keyids,
        checks=checks,
        contradictions=tuple(_contradictions(checks, record, report)) if record else (trouble,),
        contents=contents,
    )


def _present(run: Path) -> Iterator[tuple[str, bytes]]:
    folders = [run / name for name in ("evidence", "waivers")]
    more = [path for one in folders if one.is_dir() for path in sorted(one.iterdir())]
    for path in [*(run / name for name in _CONTENT), *more]:
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(run).as_posix(), path.read_bytes()


def _parse_report(data: bytes) -> Mapping[str, Any]:
    try:
        report: Mapping[str, Any] = json.loads(data)
        schema = report["schema"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Malformed(f"not a toadstone report: {error}", "report.json") from error
    if schema != SCHEMA:
        message = f"schema {schema!r} is not {SCHEMA}; use the release that wrote it"
        raise Malformed(message, "report.json")
    return report


def _read_record(path: Path) -> tuple[Record | None, tuple[str, ...], str]:
    """The record and the key ids it names, or None and why there is none."""
    try:
        envelope = parse_envelope(path.read_bytes(), "record.json")
        return parse(envelope), tuple(keyid for keyid, _ in envelope.signatures), ""
    except OSError as error:
        return None, (), f"record.json cannot be read ({error.strerror}): nothing binds this report"
    except GuardError as error:
        return None, (), f"record.json is malformed ({error}): nothing binds this report"


def _compare(contents: Mapping[str, bytes], bindings: Mapping[str, str]) -> tuple[Check, ...]:
    hashed = {path: Digest.of(data).hex for path, data in contents.items()}
    paths = sorted(contents.keys() | bindings.keys(), key=lambda p: (p not in _CONTENT, p))
    return tuple(
        Check(path=path, bound=bindings.get(path, ""), found=hashed.get(path, "")) for path in paths
    )


def _contradictions(
    checks: tuple[Check, ...], record: Record, report: Mapping[str, Any]
) -> Iterator[str]:
    yield from (_TOLD[check.state].format(check.path) for check in checks if check.state in _TOLD)
    for what, ours, theirs in (
        ("the verdict", str(record.decision), report["verdict"]["decision"]),
        ("the data", str(record.root), report["dataset"]["root"]),
        ("the policy", str(record.policy), report["policy"]["digest"]),
    ):
        if ours != theirs:
            yield f"the record and the report differ in {what}: {ours}, and {theirs}"
