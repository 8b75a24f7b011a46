"""Contracts at hand: propose one from data, hold data against one, and compare two.

For looking: data is read where it lies, and nobody has to vouch for it. What a gate admits is what
a scan judged whose policy pins the contract; the same runners answer there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guards.checks.contract import SEVERITIES
from guards.data.contract.datadocs import page
from guards.data.contract.diff import Change, difference
from guards.data.contract.infer import infer
from guards.data.contract.peer import MISSING
from guards.data.contract.result import Result, validation
from guards.data.contract.runner import source_of, validate
from guards.data.contract.suite import Suite, parse_suite
from guards.data.dataset import Dataset, open_dataset, whole
from guards.digest import Digest
from guards.errors import UnsafeTree, UsageError
from guards.files import MAX_DOCUMENT
from guards.findings import Severity
from guards.provenance.snapshot import WARNINGS, Snapshot, take
from guards.provenance.strictjson import loads
from guards.publish import describe_columns
from guards.verdict import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who evaluates (`polars` or `gx`), rows listed for an expectation, and texts of the data."""

    engine: str = "polars"
    most: int = 1000
    contents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What became of a dataset under a contract.

    `rows` are those that break an expectation that is broken: place of the expectation, `row_id`,
    `file`, `row_in_file`, `row_digest`.
    """

    suite: Suite
    contract: Digest
    snapshot: Snapshot
    elements: int
    results: tuple[Result, ...]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def broken(self) -> tuple[Result, ...]:
        """The expectations that are not kept."""
        return tuple(result for result in self.results if not result.success)

    @property
    def decision(self) -> Decision:
        """As the default policy weighs it: critical blocks, a warning quarantines, info is told."""
        worst = max((SEVERITIES[one.expectation.severity] for one in self.broken), default=None)
        if worst is Severity.HIGH:
            return Decision.BLOCK
        return Decision.QUARANTINE if worst is Severity.MEDIUM else Decision.PASS

    @property
    def document(self) -> dict[str, Any]:
        """The validation in GX's own form, and beside it what was looked at and which rows."""
        return {
            "decision": str(self.decision),
            "contract": str(self.contract),
            "snapshot": str(self.snapshot.root),
            "rows": self.elements,
            "validation": validation(self.suite, self.results),
            "runners": [result.runner for result in self.results],
            "failing_rows": list(self.rows),
        }


def propose(
    dataset: Path, name: str, strictness: str, columns: Mapping[str, str]
) -> dict[str, Any]:
    """A suite inferred from a dataset; `columns` ({column: role}) overrules the conventions.

    Raises:
        NothingToExamine: there are no rows.
        Unreadable: a file cannot be examined.
        UsageError: there are too few rows, or no such strictness.
    """
    return infer(_opened(dataset, columns)[1], name, strictness)


def check(dataset: Path, contract: Path, asked: Asked) -> Checked:
    """Hold a dataset, as it lies there, against a contract.

    Raises:
        Malformed: the contract is no suite of GX 1.x, or an expectation cannot be run.
        NothingToExamine: there are no rows.
        Unreadable: a file cannot be examined, so nothing can be promised of it.
        UsageError: a file is missing.
    """
    data = _read(contract)
    suite = _suite(data, contract)
    snapshot, opened = _opened(dataset, {})
    results = validate(
        suite,
        source_of(opened),
        engine=asked.engine,
        most=asked.most,
        contents=asked.contents,
    )
    return Checked(
        suite=suite,
        contract=Digest.of(data),
        snapshot=snapshot,
        elements=opened.rows,
        results=results,
        rows=tuple(_located(opened, results)),
    )


def docs(checked: Checked) -> bytes:
    """GX's Data Docs of it; UsageError without GX."""
    try:
        return page(validation(checked.suite, checked.results))
    except ModuleNotFoundError as error:
        raise UsageError(f"--datadocs: {MISSING}") from error


def compare(old: Path, new: Path) -> tuple[Change, ...]:
    """What changed from one contract to another; Malformed if one is none."""
    before, after = (_suite(_read(path), path) for path in (old, new))
    return difference(before, after)


def _suite(data: bytes, path: Path) -> Suite:
    root = replace(loads(data, str(path)), where=str(path))
    return parse_suite(root.mapping(), str(path))


def _opened(dataset: Path, columns: Mapping[str, str]) -> tuple[Snapshot, Dataset]:
    if not dataset.exists():
        raise UsageError(f"dataset {dataset}: there is no such file or directory")
    walked = take(dataset)
    if unsafe := [problem for problem in walked.unsafe if problem.code not in WARNINGS]:
        raise UnsafeTree(f"{len(unsafe)} entries of {dataset} are no plain files: {unsafe[0]}")
    files = [entry.path for entry in walked.snapshot.files]
    given = {**describe_columns(dataset)[0], **columns}
    return walked.snapshot, whole(open_dataset(dataset, files, given=given))


def _located(dataset: Dataset, results: Sequence[Result]) -> list[dict[str, Any]]:
    rows = sorted({row for result in results for row in result.rows})
    if not rows:
        return []
    named = ("row_id", "file", "row_in_file", "row_digest")
    told = {
        line["row"]: {name: line[name] for name in named}
        for line in dataset.locate(rows).iter_rows(named=True)
    }
    return [
        {"expectation": result.expectation.place, **told[row]}
        for result in results
        for row in result.rows
    ]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
