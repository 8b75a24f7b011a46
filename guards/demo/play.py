"""Play the story: prepare each dataset, scan it, and hold what came out against what must.

Everything is real: the signatures are made and checked with the public demo keys, the data is
that of `data_samples/`, and the poisoned batches are made on the spot.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guards import console
from guards.api import scan
from guards.demo.stage import Chapter, Stage
from guards.demo.story import CHAPTERS
from guards.errors import UsageError
from guards.files import write_atomically
from guards.report.index import Entry, index
from guards.scan import Scanned
from guards.text import printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.progress import Progress

_MADE_BY_US = ".made-by-toadstone-demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One chapter, played."""

    chapter: Chapter
    scanned: Scanned
    seconds: float
    remark: str

    @property
    def why(self) -> str:
        """The first reason, and what only the story-teller knows."""
        reasons = self.scanned.verdict.reasons
        if not reasons:
            return f"nothing to stop; noted: {self.remark}" if self.remark else "nothing to stop"
        first = printable(reasons[0].text)
        return f"{first}; {self.remark}" if self.remark else first


def play(samples: Path, out: Path, *, quiet: bool = False) -> int:
    """Play every chapter; 0 only if just the right datasets were stopped, for the right reasons."""
    if not (samples / "trust" / "trust.toml").is_file():
        raise UsageError(f"{samples} holds no samples; run from the repository, or pass --samples")
    _start_anew(out)
    stage = Stage(samples=samples, work=out / "work")
    told = []
    with _progress(quiet) as bar:
        task = bar.add_task("", total=len(CHAPTERS))
        for chapter in CHAPTERS:
            bar.update(task, description=chapter.title)
            told.append(_play(chapter, stage, out))
            bar.advance(task)
    wrong = [one for one in told if not one.chapter.came_out(one.scanned)]
    write_atomically(out / "index.html", index([_entry(one) for one in told]).encode())
    _print(told, wrong, out)
    return 1 if wrong else 0


def _start_anew(out: Path) -> None:
    """Make `out` empty; a directory that a demo did not make is left alone."""
    if out.exists() and any(out.iterdir()) and not (out / _MADE_BY_US).is_file():
        raise UsageError(f"{out} is not empty and was not made by the demo; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MADE_BY_US).touch()


def _play(chapter: Chapter, stage: Stage, out: Path) -> Told:
    ready = chapter.prepare(stage)
    started = time.perf_counter()
    scanned = scan(
        ready.dataset,
        out=out / chapter.slug,
        trust=stage.samples / "trust",
        key=stage.key("scanner"),
        name=ready.name,
        policy=stage.policy(ready.name),
        ledger=stage.work / "ledger",
        **ready.options,
    )
    seconds = time.perf_counter() - started
    return Told(
        chapter=chapter, scanned=scanned, seconds=seconds, remark=chapter.remark(stage, scanned)
    )


def _entry(told: Told) -> Entry:
    return Entry(
        dataset=told.chapter.title,
        decision=str(told.scanned.verdict.decision),
        why=told.why,
        seconds=told.seconds,
        href=f"{told.chapter.slug}/report.html",
        expected=told.chapter.decision,
    )


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console.stderr(), transient=True, disable=quiet) as bar:
        yield bar


def _print(told: Sequence[Told], wrong: Sequence[Told], out: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("dataset", "verdict", "reasons", "seconds"):
        side: JustifyMethod = "right" if heading == "seconds" else "left"
        table.add_column(heading, justify=side, overflow="fold")
    for one in told:
        decision = str(one.scanned.verdict.decision)
        mark = f"[bold {console.COLOURS[decision]}]{decision}[/]"
        table.add_row(one.chapter.title, mark, escape(one.why), f"{one.seconds:.1f}")
    page = Console(highlight=False)
    page.print(table)
    for one in wrong:
        expected = f"{one.chapter.decision} {one.chapter.because}".strip()
        page.print(f"[bold red]not as expected[/]: {one.chapter.title}: expected {expected}")
    page.print(
        f"\nopen {out / 'index.html'}   and, for the Dagster UI, run: make ui", soft_wrap=True
    )
