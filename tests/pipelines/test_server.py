"""`dagster dev` started as people start it, asked over GraphQL, and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
QUERY = """{
  assetNodes { assetKey { path } groupName isPartitioned
               assetChecksOrError { ... on AssetChecks { checks { name blocking } } } }
  instance { info }
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus
      locationOrLoadError { __typename ... on PythonError { message } } } } }
}"""
PATIENCE = 240


def ask(port: int, query: str) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def wait_for(port: int, server: subprocess.Popen, log: Path) -> dict:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            return ask(port, QUERY)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(1)
    raise AssertionError(f"not served within {PATIENCE} s:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(tmp_path):
    """A server of our own, over an empty landing directory, in a process group of its own."""
    (tmp_path / "landing").mkdir()
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "TOADSTONE_LANDING": str(tmp_path / "landing"),
        "TOADSTONE_WORK": str(tmp_path / "work"),
        "PYTHONPATH": str(REPOSITORY),
    }
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "pipelines.ui", "-p", str(port), "-h", "127.0.0.1"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield wait_for(port, server, log), log, tmp_path
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.mark.slow
def test_the_server_shows_the_assets_and_sends_nothing(served):
    answer, log, home = served
    nodes = {node["assetKey"]["path"][0]: node for node in answer["assetNodes"]}
    groups = {name: node["groupName"] for name, node in nodes.items()}
    assert groups == {
        "raw": "landed",
        "snapshot": "landed",
        "verdict": "judged",
        "admitted": "admitted",
        "training_set": "training",
        "trained_model": "model",
    }
    assert nodes["admitted"]["isPartitioned"]
    assert not nodes["training_set"]["isPartitioned"]
    checks = nodes["verdict"]["assetChecksOrError"]["checks"]
    assert {"integrity", "provenance", "quality"} <= {check["name"] for check in checks}
    assert all(check["blocking"] for check in checks)
    [location] = answer["workspaceOrError"]["locationEntries"]
    assert location["locationOrLoadError"]["__typename"] == "RepositoryLocation"
    told = log.read_text()
    assert "Traceback" not in told
    assert "Telemetry" not in told
    assert not list(home.rglob(".telemetry/event.log"))
    assert not (home / ".dagster").exists()
