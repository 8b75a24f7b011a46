"""What the README says is what happens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = (sys.executable, "-m", "guards.cli")


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    assert len(found) == 1, f"the README has {len(found)} blocks of {language}"
    return found[0]


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 150


def test_the_help_in_the_readme_is_the_help_of_the_command() -> None:
    told = subprocess.run(
        [*COMMAND, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert block("text").strip() == told.stdout.strip()


def test_every_link_in_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_the_five_minutes_and_the_line_for_the_training_script(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "data_samples" / "flights" / "2013-02", tmp_path / "batch")
    script = 'toadstone() { "$PYTHON" -m guards.cli "$@"; }\nset -e\n' + block("sh")
    environment = {**os.environ, "PYTHON": sys.executable, "TOADSTONE_HOME": str(tmp_path / "home")}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, env=environment)
    lines = block("python") + "assert len(frame) == 6000, len(frame)\n"
    subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, check=True, env=environment)
