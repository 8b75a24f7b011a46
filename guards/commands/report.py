"""`report`: the page of a run, again."""

from __future__ import annotations

import argparse
from pathlib import Path

from guards import console
from guards.commands.options import Commands, Options, command
from guards.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "report", _run_report, "make the page of a run again")
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
