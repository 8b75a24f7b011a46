"""Is the tree one that can be named at all? Links, specials, hidden and look-alike names.

Nothing is estimated here: the walker of `guards.provenance.snapshot` met these entries, refused
to open them, and says so. A link or a hidden file beside signed data is how unsigned bytes reach
a loader that lists a directory. Known way around: none for the names it knows; a loader that
reads other places than the dataset's directory is outside what this rule sees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from guards.data.case import Case
from guards.findings import Confidence, Evidence, Finding, Measured, Severity, Subject
from guards.provenance.snapshot import WARNINGS, Difference
from guards.text import printable

NEEDS: frozenset[str] = frozenset()
SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Nothing to set: what may not lie in a dataset is not a matter of taste."""


def examine(case: Case, settings: Settings) -> Measured:
    """Report what the walker refused, one finding for each kind."""
    by_code = by_kind(case.unsafe)
    return Measured(
        statistics={
            "files": len(case.snapshot.files),
            "bytes": case.snapshot.size,
            "refused": {code: len(found) for code, found in sorted(by_code.items())},
        },
        findings=tuple(_finding(code, found) for code, found in sorted(by_code.items())),
    )


def by_kind(differences: Iterable[Difference]) -> dict[str, list[Difference]]:
    """Group differences by their code."""
    grouped: defaultdict[str, list[Difference]] = defaultdict(list)
    for difference in differences:
        grouped[difference.code].append(difference)
    return dict(grouped)


def _finding(code: str, found: list[Difference]) -> Finding:
    paths = [printable(difference.path) for difference in found]
    more = f" and {len(paths) - 3} more" * (len(paths) > 3)
    evidence = Evidence(
        statistic="entries refused", value=len(found), detail={"paths": paths[:SHOWN]}
    )
    return Finding(
        rule="integrity",
        code=code,
        severity=Severity.LOW if code in WARNINGS else Severity.HIGH,
        confidence=Confidence.HIGH,
        subject=Subject(kind="file", name=paths[0]),
        summary=f"{code}: {', '.join(paths[:3])}{more}",
        evidence=(evidence,),
        remedy="remove the entry or make it a plain file under a plain name, and sign again",
    )
