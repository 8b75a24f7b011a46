"""`demo`: the whole story on real sample data."""

from __future__ import annotations

import argparse
from pathlib import Path

from guards.commands.options import Commands, Options, command


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "demo", _run_demo, "the whole story, on real sample data")
    parser.add_argument("--samples", type=Path, default=Path("data_samples"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")


def _run_demo(options: Options) -> int:
    from guards.demo.play import play

    return play(options.samples, options.out, quiet=options.quiet)
