"""What the guides tell people to type is what works, in the order in which they tell it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "docs" / "guides"
RULES = ROOT / "docs" / "rules.md"
NAMES = {"label": "delayed", "source": "airport"}


def text(guide: str) -> str:
    return (GUIDES / f"{guide}.md").read_text(encoding="utf-8")


def commands(guide: str) -> list[str]:
    """The indented command lines of a guide, with their continuations, in order."""
    joined = text(guide).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.startswith("    toadstone ")]


class Shell:
    """A directory with two batches, and a shell in which `toadstone` is this checkout."""

    def __init__(self, home: Path) -> None:
        self.home = home
        bin_dir = home / "bin"
        bin_dir.mkdir()
        for name, what in (("toadstone", "-m guards.cli"), ("python", "")):
            (bin_dir / name).write_text(f'#!/bin/sh\nexec {sys.executable} {what} "$@"\n')
            (bin_dir / name).chmod(0o755)
        self.env = {
            **os.environ,
            "PATH": f"{bin_dir}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TOADSTONE_HOME": str(home / ".state"),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, line: str, status: int = 0, **env: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.home,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """After the data engineer's guide: keys, trust, a signed batch, a run, a reference."""
    shell = Shell(tmp_path_factory.mktemp("guides"))
    for month in ("01", "02"):
        batch = shell.home / "flights" / f"2026-{month}"
        batch.mkdir(parents=True)
        frame = pl.read_parquet(ROOT / "data_samples" / "flights" / f"2013-{month}").rename(NAMES)
        frame.write_parquet(batch / "part-0.parquet")
    sign, scan = None, None
    for line in commands("data-engineer"):
        if line.startswith("toadstone profile"):
            assert sign is not None
            shell.run(sign.replace("2026-02", "2026-01"))
        shell.run(line)
        sign = line if line.startswith("toadstone sign") else sign
        scan = line if line.startswith("toadstone scan") else scan
    _write_policy(shell)
    assert scan is not None
    shell.run(f"{scan} --policy policy/flights.toml")
    return shell


def _write_policy(shell: Shell) -> None:
    """The policy of the guide, with the digests that the guide leaves to the reader."""
    listed = re.search(r"    # policy/flights.toml\n((?:    .*\n|\n)+)", text("data-engineer"))
    assert listed is not None
    contract = (ROOT / "data_samples" / "flights.contract.json").read_text()
    for old, new in NAMES.items():
        contract = contract.replace(f'"{old}"', f'"{new}"')
    policy = shell.home / "policy"
    (policy / "flights.contract.json").write_text(contract)
    told = listed[1]
    for name in ("flights.contract.json", "flights.profile"):
        digest = shell.run(f"sha256sum policy/{name}").split()[0]
        told = told.replace("sha256:...", f"sha256:{digest}", 1)
    (policy / "flights.toml").write_text(told)


@pytest.mark.slow
def test_the_ml_team_trains_on_what_passed(shell: Shell) -> None:
    listed = re.search(r"    import guards\n((?:    .*\n|\n)+)", text("ml-team"))
    assert listed is not None
    script = re.sub(r"(?m)^    ", "", listed[0]) + "\nassert len(frame) == 6000\n"
    script += 'assert admitted.paths() and admitted.open("part-0.parquet").read(4) == b"PAR1"\n'
    (shell.home / "train.py").write_text(script)
    shell.run("python train.py")
    gate = commands("ml-team")[0].partition(" && ")[0]
    assert "ADMITTED acme/flights/2026-02" in shell.run(gate)


@pytest.mark.slow
def test_the_ml_team_releases_what_is_not_held(shell: Shell) -> None:
    (shell.home / "model.safetensors").write_bytes(b"weights")
    told = [shell.run(line) for line in commands("ml-team")[1:]]
    assert "model acme/delays v1" in told[-2], "the source leads to the model"
    assert "source https://example.org/flights" in told[-1], "and the model to the source"
    assert (shell.home / "runs" / "release" / "record.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_auditor_needs_nothing_of_ours(shell: Shell) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", text("auditor"), flags=re.DOTALL)
    assert len(blocks) == 4
    key = str(shell.home / "keys" / "scanner" / "key.pub")
    told = shell.run(blocks[0], KEY=key, PYTHONPATH="")
    assert "Signature Verified Successfully" in told
    assert "rows.parquet: OK" in told
    assert told.split()[2] == told.splitlines()[1].split()[0], "the key id is as the guide says"
    told = shell.run(blocks[1], PYTHONPATH="")
    assert "ledger entries hold" in told
    assert "the checkpoint is signed by trust/keys/" in told
    checkpoint = shell.home / "ledger" / "checkpoint"
    whole = checkpoint.read_text()
    checkpoint.write_text(whole.replace("toadstone.dev", "toadstone.def"))
    shell.run(blocks[1], status=1, PYTHONPATH="")
    checkpoint.write_text(whole)
    producer = str(shell.home / "keys" / "producer" / "key.pub")
    about = {"MANIFEST": "flights/2026-02.manifest.json", "DATA": "flights/2026-02"}
    told = shell.run("\n".join(blocks[2:]), KEY=producer, PYTHONPATH="", **about)
    assert "part-0.parquet: OK" in told

    wrong = str(shell.home / "keys" / "producer" / "key.pub")
    shell.run(blocks[0], status=1, KEY=wrong, PYTHONPATH="")


@pytest.mark.slow
def test_the_auditors_commands_work_as_written(shell: Shell) -> None:
    for line in commands("auditor"):
        # The guide's moment lies after its signature; here the batch was signed just now.
        shell.run(line.replace("--at 2026-03-01 ", ""))


@pytest.mark.slow
def test_the_keepers_commands_work_as_written(shell: Shell) -> None:
    """In the guide's order; what is waived was found by the same scan before."""
    for who in ("second", "third"):
        shell.run(f"toadstone keygen --out keys/{who}")
    rules = '["integrity", "provenance", "quality"]'
    policy = f"rules = {rules}\nrequired = {rules}\n"
    (shell.home / "policy" / "strict.toml").write_text(policy)
    frame = pl.read_parquet(shell.home / "flights" / "2026-02" / "part-0.parquet")
    unknown = pl.when(pl.int_range(pl.len()) < 12).then(None).otherwise(pl.col("delayed"))
    (shell.home / "flights" / "2026-03").mkdir()
    frame.with_columns(unknown.alias("delayed")).write_parquet(
        shell.home / "flights" / "2026-03" / "part-0.parquet"
    )
    sign = next(line for line in commands("data-engineer") if line.startswith("toadstone sign"))
    shell.run(sign.replace("2026-02", "2026-03").replace("producer/key.pem", "third/key.pem"))
    *lines, waive, scan = commands("trust-keeper")
    for line in lines:
        shell.run(line)
    shell.run(scan.replace("--waiver waivers ", ""), status=11)
    shell.run(waive)
    assert "is waived until 2100-01-01" in shell.run(scan)
    record = "--record runs/2026-03/record.json --trust company --policy policy/strict.toml"
    assert "ADMITTED" in shell.run(f"toadstone gate flights/2026-03 {record}")


@pytest.mark.slow
def test_a_replay_gives_the_examinations_of_the_record(shell: Shell) -> None:
    """With the reference, the contract and the memory that the recorded scan had."""
    first = json.loads((shell.home / "runs" / "2026-02" / "report.json").read_text())
    scan = next(line for line in commands("data-engineer") if line.startswith("toadstone scan"))
    replay = scan.replace("--out runs/2026-02", f"--out runs/replay --seed {first['seed']}")
    shell.run(f"{replay} --policy policy/flights.toml")
    again = json.loads((shell.home / "runs" / "replay" / "report.json").read_text())
    assert again["verdict"]["examinations"] == first["verdict"]["examinations"]
    assert not again["replayable"]


@pytest.mark.slow
def test_the_commands_about_other_formats_work_as_written(shell: Shell) -> None:
    shell.run("cd flights && sha256sum 2026-02/* > SHA256SUMS")
    for line in commands("formats"):
        shell.run(line)
    shell.run(commands("formats")[0].partition(" ||")[0], status=10)


KEBAB = re.compile(r'"([a-z]+(?:-[a-z]+)+)"')


@pytest.mark.parametrize("path", sorted((ROOT / "guards" / "checks").glob("[a-z]*.py")))
def test_every_finding_has_its_place_in_the_rules(path: Path) -> None:
    told = RULES.read_text(encoding="utf-8")
    sections = dict(re.findall(r"(?ms)^## ([a-z]+)\n(.*?)(?=^## |\Z)", told))
    source = path.read_text(encoding="utf-8")
    if path.stem == "integrity":
        room = ROOT / "guards" / "provenance"
        files = [room / f"{name}.py" for name in ("snapshot", "walk", "reading", "tree")]
        walker = "".join(file.read_text(encoding="utf-8") for file in files)
        source = re.sub(r'"[a-z]+-file"(?<!"special-file")', "", walker)
    missing = [code for code in KEBAB.findall(source) if f"`{code}`" not in sections[path.stem]]
    assert missing == []
