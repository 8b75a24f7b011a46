"""Is the dataset whole: every file readable, every row told apart, every label there?

Formula: counts, nothing is estimated. A shard that could not be examined is HIGH, since anything
could be in it; so are pictures beside data files, of which only the latter are examined. Rows
without a label, without an id or with another row's id, values that are infinite, and a label of
one class only are MEDIUM: a training job would stumble over them or learn nothing. So are bytes
that no rule looks at and a training job might: a file of another format that is no plain
documentation, a column of bytes that is neither the image nor accepted by the verifier
(`unexamined`), a directory named like a column that a loader would take from there, most rows in
classes too small to examine, and a table in which nothing is left to look at. Columns that are
constant or empty, nested or text ones, dates far away from all others, and classes of very few
rows, which the model based rules leave out, are LOW: told, and no reason to stop.

Measured by benchmarks/false_alarms.py: no finding of MEDIUM or above on clean subsamples of the
flights and of Fashion-MNIST.

The known way around it: be well-formed. This rule sees structure and no meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from guards.data.case import Case
from guards.data.dataset import Dataset, Shard
from guards.data.profiles.values import kinds
from guards.data.words import words_of
from guards.findings import (
    Confidence,
    Evidence,
    Finding,
    Measured,
    RowScore,
    Severity,
    Subject,
)
from guards.provenance.roles import SPECIAL
from guards.text import drawn, printable

if TYPE_CHECKING:
    import polars as pl

NEEDS: frozenset[str] = frozenset()
# Rules that train a model leave out the classes that have fewer rows.
_EXAMINED = 5
_TOLD = 20  # classes
_YEARS, _FAR = 10, 10  # beyond which, and beyond that many times the middle half, a date is odd
_DOCUMENTS = frozenset({"README", "LICENSE", "NOTICE", "CITATION", "CHANGELOG", "_SUCCESS"})
_PROBLEMS = {
    "unreadable-file": (Severity.HIGH, "have the file delivered again"),
    "mixed-schema": (Severity.HIGH, "write all shards with one schema"),
    "mixed-kinds": (Severity.HIGH, "give pictures and data files a directory each, and sign both"),
    "zero-rows": (Severity.LOW, "leave the file out"),
    "not-data": (Severity.LOW, "leave the file out; it was signed but not examined"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A class of fewer rows than `few_rows` is told; at most `max_rows` rows are listed.

    `few_share` is the share of rows in such classes from which they weigh. `unexamined` names the
    columns that the verifier lets pass although no rule looks at them.
    """

    few_rows: int = 10
    few_share: float = 0.2
    max_rows: int = 10_000
    unexamined: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Defect:
    """A finding in the making: what is wrong where, and the rows that have it."""

    code: str
    severity: Severity
    subject: Subject
    told: str
    remedy: str = ""
    rows: Sequence[int] = ()
    count: int = 0


def examine(case: Case, settings: Settings) -> Measured:
    """Count what is missing, doubled, constant, infinite or unreadable."""
    dataset = case.dataset
    columns = _columns(dataset)
    labels = _label_counts(dataset)
    defects = [
        *_file_defects(dataset),
        *_id_defects(dataset),
        *_label_defects(dataset, labels, settings),
        *_column_defects(columns, dataset),
        *_unexamined_defects(dataset, settings),
    ]
    return Measured(
        statistics={
            "rows": dataset.rows,
            "shards": len(dataset.shards),
            "problems": len(dataset.problems),
            "classes": len(labels),
            "label_counts": [[name, rows] for name, rows in list(labels.items())[:200]],
            "columns": columns[:500],
        },
        findings=tuple(_finding(defect) for defect in defects),
        row_scores=tuple(_row_scores(defects))[: settings.max_rows],
    )


def _columns(dataset: Dataset) -> list[dict[str, Any]]:
    """What each scalar column holds: rows missing, infinite ones, and whether it varies."""
    roles = dataset.roles
    named = [name for name in (roles.label, roles.source) if name]
    return [
        {"column": name, **_describe(dataset.frame([name]).to_series())}
        for name in (*named, *roles.features)
    ]


def _describe(values: pl.Series) -> dict[str, Any]:
    fractional = values.dtype.is_float()
    plain = values.fill_nan(None) if fractional else values
    return {
        "missing": plain.null_count(),
        "infinite": int(values.is_infinite().sum()) if fractional else 0,
        "distinct": plain.drop_nulls().n_unique(),
        **_far_dates(values),
    }


def _label_counts(dataset: Dataset) -> dict[str, int]:
    """Rows of each class, the largest first; NaN and null are no class."""
    if dataset.roles.label is None:
        return {}
    counted = _labels(dataset).drop_nulls().value_counts(name="\0count")
    return dict(sorted(counted.iter_rows(), key=lambda item: (-item[1], item[0])))


def _labels(dataset: Dataset) -> pl.Series:

    labels = dataset.frame([dataset.roles.label or ""]).to_series()
    found = words_of(labels.fill_nan(None) if labels.dtype.is_float() else labels)
    # Whoever looks at pictures takes these for no label: a class of that name would go unexamined.
    return found.replace({"": None, "NaN": None}) if dataset.roles.image else found


def _file_defects(dataset: Dataset) -> Iterator[_Defect]:
    for problem in dataset.problems:
        severity, remedy = _PROBLEMS[problem.code]
        if problem.code == "not-data" and not _is_documentation(PurePosixPath(problem.path)):
            severity = Severity.MEDIUM
        yield _Defect(
            code=problem.code,
            severity=severity,
            subject=Subject(kind="file", name=problem.path),
            told=f"file {printable(problem.path)[:200]}: {problem.message}",
            remedy=remedy,
        )
    for name in sorted({name for shard in dataset.shards for name in _in_path(shard)}):
        if name in dataset.schema or name in SPECIAL:
            yield _Defect(
                code="column-in-path",
                severity=Severity.MEDIUM,
                subject=Subject(kind="column", name=name),
                told=f"directories are named {printable(name)[:80]}=..., which some loaders take "
                "for a column; what they hold was not examined",
                remedy="write the column into the files, and give the directories plain names",
            )


def _in_path(shard: Shard) -> Iterator[str]:
    """The `column` of every directory `column=value` above a shard."""
    for part in PurePosixPath(shard.path).parts[:-1]:
        if "=" in part:
            yield part.partition("=")[0]


def _is_documentation(path: PurePosixPath) -> bool:
    """Whether a file that is no data is plainly meant for people, or marks that a job has ended."""
    named = path.name.partition(".")[0].upper() in _DOCUMENTS
    return path.suffix.lower() in (".md", ".rst") or (named and path.suffix in ("", ".txt"))


def _unexamined_defects(dataset: Dataset, settings: Settings) -> Iterator[_Defect]:
    """Columns that no rule looks at; of bytes, anything could be in them."""
    roles, looked_at = dataset.roles, {kind.column for kind in kinds(dataset).values()}
    seen = {roles.label, roles.image, roles.source, roles.id, *roles.features, *looked_at}
    left = [name for name in dataset.schema if name not in {*seen, *settings.unexamined}]
    raw = [name for name in left if "Binary" in dataset.schema[name]]
    others = [name for name in left if name not in raw]
    if not looked_at - {roles.label, roles.source} and not roles.image:
        yield _Defect(
            code="nothing-to-examine",
            severity=Severity.MEDIUM,
            subject=Subject(kind="dataset"),
            told="no column is a feature, a text, an image or of number lists, so no rule looks at "
            "what a model would learn",
            remedy="give a column its role when signing: toadstone sign --column COLUMN=ROLE",
        )
    for names, severity in ((raw, Severity.MEDIUM), (others, Severity.LOW)):
        if names:
            told = ", ".join(printable(name)[:80] for name in names[:5])
            yield _Defect(
                code="unexamined-bytes" if names is raw else "unexamined-columns",
                severity=severity,
                subject=Subject(kind="column", name=names[0]),
                told=f"no rule looks at column {told}"
                + f" and {len(names) - 5} more" * (len(names) > 5),
                remedy="leave it out, give it a role when signing, or accept it in the policy: "
                "[settings.quality] unexamined",
            )


def _id_defects(dataset: Dataset) -> Iterator[_Defect]:
    if dataset.roles.id is None:
        return
    ids = dataset.frame([dataset.roles.id]).to_series()
    subject = Subject(kind="column", name=dataset.roles.id)
    missing = ids.is_null()
    doubled = ids.is_duplicated() & ~missing
    for code, mask, told in (
        ("null-ids", missing, "rows have no id"),
        ("duplicate-ids", doubled, "rows share their id with another"),
    ):
        if hits := int(mask.sum()):
            yield _Defect(
                code=code,
                severity=Severity.MEDIUM,
                subject=subject,
                told=f"{hits} {told}",
                remedy="give each row one id of its own, or the column another role",
                rows=mask.arg_true().to_list(),
                count=hits,
            )


def _label_defects(
    dataset: Dataset, labels: dict[str, int], settings: Settings
) -> Iterator[_Defect]:
    if dataset.roles.label is None:
        return
    words, subject = _labels(dataset), Subject(kind="column", name=dataset.roles.label)
    if missing := words.null_count():
        yield _Defect(
            code="missing-labels",
            severity=Severity.MEDIUM,
            subject=subject,
            told=f"{missing} of {dataset.rows} rows have no label",
            remedy="label these rows or leave them out",
            rows=words.is_null().arg_true().to_list(),
            count=missing,
        )
    yield from islice(_alike(words, labels), _TOLD)
    if len(labels) == 1:
        only = printable(next(iter(labels)))[:80]
        yield _Defect(
            code="one-class",
            severity=Severity.MEDIUM,
            subject=subject,
            told=f"every label is {only}; there is nothing to learn, and labels and sources "
            "cannot be examined",
            remedy="give rows of another class, or another label column",
            count=dataset.rows,
        )
    few = {name: rows for name, rows in labels.items() if rows < settings.few_rows}
    rows = sum(rows for rows in labels.values() if rows < _EXAMINED)
    if rows > settings.few_share * dataset.rows and len(labels) > 1:
        yield _Defect(
            code="many-few-rows",
            severity=Severity.MEDIUM,
            subject=subject,
            told=f"{rows} of {dataset.rows} rows are in classes too small to examine",
            remedy="check that this column is the label, or join the small classes",
            count=rows,
        )
    for name, rows in list(few.items())[:_TOLD]:
        yield _Defect(
            code="few-rows",
            severity=Severity.LOW,
            subject=Subject(kind="class", name=name),
            told=f"class {printable(name)[:80]} has {rows} row(s), too few to examine"
            + (f" (one of {len(few)} such classes)" if len(few) > 20 else ""),
            # The class is small, and no row of it is to blame for that: none is held.
            remedy="check that it is not a misspelt label",
            count=rows,
        )


def _alike(words: pl.Series, labels: dict[str, int]) -> Iterator[_Defect]:
    """Classes whose names are drawn like another's, the plain or else the commoner one."""
    spelt: dict[str, list[str]] = {}
    for name in sorted(labels, key=lambda name: (drawn(name) != name, -labels[name], name)):
        spelt.setdefault(drawn(name), []).append(name)
    for usual, *others in spelt.values():
        for name in others:
            yield _Defect(
                code="labels-drawn-alike",
                severity=Severity.MEDIUM,
                subject=Subject(kind="class", name=name),
                told=f"{labels[name]} rows are labelled {printable(name)[:80]}, which is drawn "
                f"like the label {printable(usual)[:80]} of {labels[usual]} rows",
                remedy="write one label for one class, without characters that nobody sees",
                rows=(words == name).arg_true().to_list(),
                count=labels[name],
            )


def _column_defects(columns: Sequence[dict[str, Any]], dataset: Dataset) -> Iterator[_Defect]:
    for column in columns:
        name = column["column"]
        subject = Subject(kind="column", name=name)
        if column["infinite"]:
            infinite = dataset.frame([name]).to_series().is_infinite()
            yield _Defect(
                code="infinite-values",
                severity=Severity.MEDIUM,
                subject=subject,
                told=f"column {printable(name)[:80]} is infinite in {column['infinite']} rows",
                remedy="write missing values as missing, and check what divides by zero",
                rows=infinite.arg_true().to_list(),
                count=column["infinite"],
            )
        if far := column.get("far"):
            ends = " to ".join(dict.fromkeys(column["far_ends"]))
            told = f"holds {far} dates far from all others, {ends}: default values, or a mistake?"
            yield _plain("far-dates", subject, told)
        if column["distinct"] == 0:
            yield _plain("empty-column", subject, "holds no value at all")
        elif column["distinct"] == 1 and name != dataset.roles.label:
            yield _plain("constant-column", subject, "holds one value only")
        if printable(name) != name and not name.isprintable():
            yield _plain("deceptive-name", subject, "has invisible characters in its name")


def _far_dates(values: pl.Series) -> dict[str, Any]:
    """How many dates lie _YEARS and _FAR times the middle half of all dates away, and the ends."""
    import polars as pl

    if values.dtype not in (pl.Date, pl.Datetime):
        return {}
    days = values.dt.epoch("s") / 86_400
    low, high = days.quantile(0.25), days.quantile(0.75)
    if low is None or high is None:
        return {"far": 0}
    reach = _FAR * (high - low) + _YEARS * 365.25
    far = values.filter((days < low - reach) | (days > high + reach))
    ends = [str(far.min())[:10], str(far.max())[:10]] if len(far) else []
    return {"far": len(far), "far_ends": ends}


def _plain(code: str, subject: Subject, told: str) -> _Defect:
    return _Defect(
        code=code,
        severity=Severity.LOW,
        subject=subject,
        told=f"column {printable(subject.name)[:80]} {told}",
    )


def _finding(defect: _Defect) -> Finding:
    evidence = Evidence(statistic="rows concerned", value=defect.count, rows=len(defect.rows))
    return Finding(
        rule="quality",
        code=defect.code,
        severity=defect.severity,
        confidence=Confidence.HIGH,
        subject=defect.subject,
        summary=defect.told,
        evidence=(evidence,) if defect.count else (),
        remedy=defect.remedy,
    )


def _row_scores(defects: Sequence[_Defect]) -> Iterator[RowScore]:
    """Each row once, by the worst defect it has."""
    seen: set[int] = set()
    for defect in sorted(defects, key=lambda one: -one.severity):
        for row in defect.rows:
            if row not in seen:
                seen.add(row)
                yield RowScore(row=row, score=1.0, reason=defect.code)
