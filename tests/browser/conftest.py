"""The run directories of the unit tests, and a browser to open their pages in."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_UNIT = Path(__file__).parents[1] / "unit" / "report" / "conftest.py"
_spec = importlib.util.spec_from_file_location("report_runs", _UNIT)
report_runs = importlib.util.module_from_spec(_spec)
sys.modules["report_runs"] = report_runs
_spec.loader.exec_module(report_runs)
make_run, scenes = report_runs.make_run, report_runs.scenes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-default-apps", "--disable-extensions", "--metrics-recording-only"),
    *("--enable-logging=stderr", "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND"),
)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a browser made of a page."""

    dom: str
    console: list[str]
    requests: list[str]


@pytest.fixture
def chromium(tmp_path):
    """Open a page from disk: its DOM, what the console said, and every URL that was asked for."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; Debian: apt-get install chromium")

    def open_page(html: str, *flags: str) -> Opened:
        page, log = tmp_path / "page.html", tmp_path / "net.json"
        page.write_text(html, encoding="utf-8")
        private = (f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}")
        command = [CHROMIUM, *_FLAGS, *private, *flags, "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return Opened(
            dom=done.stdout,
            console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
            requests=_requests(log),
        )

    return open_page


def _requests(log: Path) -> list[str]:
    """The URLs in a net log that the page asked for; the browser's own requests have no origin."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = [event.get("params", {}) for event in events]
    return sorted(
        {p["url"] for p in asked if p.get("initiator", "not an origin") != "not an origin"}
    )
