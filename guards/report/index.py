"""The index page of several runs: dataset, verdict, why, seconds, and the link to each page.

It keeps the rules of the page of a run: one file, nothing loaded, nothing run, everything escaped.
Links are relative paths, quoted so that none can be anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from guards.report.html import environment

ORDER = ("PASS", "QUARANTINE", "BLOCK", "REFUSED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: `href` is relative to the index; `expected` is what should have come out, if told.

    `decision` is PASS, QUARANTINE, BLOCK, or REFUSED for what no scan was needed to refuse.
    """

    dataset: str
    decision: str
    why: str
    seconds: float
    href: str = ""
    expected: str = ""

    @property
    def surprising(self) -> bool:
        """Whether something else came out than was expected."""
        return bool(self.expected) and self.expected != self.decision

    @property
    def link(self) -> str:
        """The relative link, with everything quoted that could make it another kind of link."""
        return f"./{quote(self.href)}" if self.href else ""


def index(entries: Sequence[Entry], title: str = "What the demo did") -> str:
    """The index of these runs, in the order given, as HTML."""
    counted = Counter(entry.decision for entry in entries)
    return (
        environment()
        .get_template("index.html")
        .render(
            title=title,
            entries=entries,
            counts=[(decision, counted[decision]) for decision in ORDER if counted[decision]],
            surprises=[entry for entry in entries if entry.surprising],
            seconds=sum(entry.seconds for entry in entries),
        )
    )
