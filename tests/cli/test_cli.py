"""The command, end to end: every name, file and exit status that users' jobs rely on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from guards import scan
from guards.errors import UsageError
from guards.provenance.signing import load_private

POLICY = 'rules = ["integrity", "provenance"]\nrequired = ["integrity", "provenance"]\n'
CONTRACT = {
    "keygen": ["--out", "--type", "--encrypt", "--passphrase-env"],
    "trust init": ["--out", "--key", "--name", "--role"],
    "trust add-key": ["--trust", "--key", "--name", "--role"],
    "trust revoke": ["--trust", "--key", "--reason", "--since"],
    "trust threshold": ["--trust", "--name", "--role"],
    "trust explain": ["MANIFEST", "--trust", "--name", "--at", "--dataset-version"],
    "sign": ["DATASET", "--key", "--name", "--dataset-version", "--source", "--expires", "--out"],
    "verify": [
        "DATASET",
        "--manifest",
        "--trust",
        "--name",
        "--at",
        "--full",
        "--state",
        "--dataset-version",
        "--index",
        "--files",
        "--range",
        "--repair-list",
    ],
    "scan": [
        "DATASET",
        "--manifest",
        "--trust",
        "--policy",
        "--column",
        "--reference",
        "--trusted-rows",
        "--key",
        "--ledger",
        "--out",
        "--device",
        "--seed",
    ],
    "gate": [
        "DATASET",
        "--record",
        "--trust",
        "--policy",
        "--name",
        "--max-age",
        "--ledger",
        "--into",
    ],
    "report": ["RUN"],
    "profile": ["DATASET", "--out", "--trust", "--column", "--like", "--merge"],
    "accept": ["PROFILE", "--anchor", "--key", "--name", "--reason", "--trust"],
    "redteam": ["DATASET", "--attack", "--rate", "--out"],
    "contract infer": ["DATASET", "--out", "--name", "--strictness", "--column"],
    "contract check": [
        "DATASET",
        "--contract",
        "--engine",
        "--rows",
        "--datadocs",
        "--contents",
    ],
    "contract diff": ["OLD", "NEW"],
    "ledger verify": ["DIR", "--trust"],
    "ledger show": ["DIR", "--trust"],
    "ledger prove": ["DIR", "--record", "--index", "--since", "--out"],
    "ledger check": ["--trust", "--record", "--since"],
    "lineage": ["DATASET", "--ledger", "--trust"],
    "trained": ["MODEL", "--record", "--name", "--model-version", "--key", "--ledger", "--trust"],
    "demo": [],
}


class Shell:
    """A directory to work in, and the command as a shell would run it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TOADSTONE_HOME": str(home / ".state"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
            "LANG": "C.UTF-8",
        }

    @property
    def key(self):
        return load_private(self.home / "keys" / "key.pem")

    def command(self, line):
        words = line if isinstance(line, list) else line.split()
        return [sys.executable, "-m", "guards.cli", *words]

    def run(self, line, **env):
        return subprocess.run(
            self.command(line),
            cwd=self.home,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, line, status=0):
        done = self.run(line)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def json(self, line, status=0):
        return json.loads(self.ok(f"{line} --format json", status))


def write(path: Path, rows: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": list(range(rows)), "label": [n % 2 for n in range(rows)]}), path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """What the README's first five commands make: keys, trust, data, a manifest, a run."""
    shell = Shell(tmp_path_factory.mktemp("cli"))
    write(shell.home / "data" / "a.parquet")
    (shell.home / "m1.toml").write_text(POLICY)
    shell.ok("keygen --out keys")
    shell.ok("trust init --out trust --key keys/key.pub --name acme/*")
    shell.ok(
        "sign data --key keys/key.pem --name acme/x --dataset-version 1 --source https://a.b/c"
    )
    shell.ok(
        "scan data --trust trust --policy m1.toml --key keys/key.pem --ledger ledger --out run"
    )
    return shell


@pytest.fixture
def shell(prepared, tmp_path):
    """A copy of it, to be spoilt."""
    home = tmp_path / "work"
    shutil.copytree(prepared.home, home, symlinks=True)
    return Shell(home)


SCAN = "scan data --trust trust --policy m1.toml --key keys/key.pem"
SIGN = "sign data --key keys/key.pem --name a/b --dataset-version 2"
GATE = "gate data --record run/record.json --trust trust --policy m1.toml"


@pytest.fixture(scope="module")
def helps():
    """The help of every command, asked in one process."""
    code = (
        "import io, json, sys, contextlib\nfrom guards.cli import main\nfound = {}\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    out = io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):\n"
        "        main([*command.split(), '--help'])\n"
        "    found[command] = out.getvalue()\n"
        "print(json.dumps(found))"
    )
    env = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, json.dumps(list(CONTRACT))]
    return json.loads(subprocess.run(command, capture_output=True, env=env, check=True).stdout)


@pytest.mark.parametrize(("command", "names"), CONTRACT.items(), ids=CONTRACT.keys())
def test_every_name_of_the_contract_is_there(helps, command, names):
    words = set(re.findall(r"--[a-z-]+|[A-Z]{3,}", helps[command]))
    assert set(names) <= words
    assert {"--format", "--quiet"} <= words


def test_help_and_version(prepared):
    assert "exit status" in prepared.ok("--help")
    assert re.fullmatch(r"toadstone \d+\.\d+\.\S+\n", prepared.ok("--version"))


def test_the_files_of_the_contract_are_there(prepared):
    made = {path.name for path in (prepared.home / "run").iterdir()}
    promised = {"record.json", "report.json", "report.html", "rows.parquet", "evidence"}
    more = {"manifest.json", "policy.json", "statistics.json", "profile.json"}
    assert made == promised | more | {"record.tlog-proof"}
    report = json.loads((prepared.home / "run" / "report.json").read_text())
    assert report["verdict"]["decision"] == "PASS"
    assert isinstance(report["schema"], int)
    assert [e["rule"] for e in report["examinations"]] == ["integrity", "provenance"]
    envelope = json.loads((prepared.home / "data.manifest.json").read_text())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    columns = pq.read_schema(prepared.home / "run" / "rows.parquet")
    assert [(f.name, str(f.type)) for f in columns] == [
        ("row_id", "string"),
        ("file", "string"),
        ("row_in_file", "int64"),
        ("row_digest", "string"),
        ("rule", "string"),
        ("score", "double"),
        ("p_value", "double"),
        ("label", "string"),
        ("suggested_label", "string"),
        ("reason", "string"),
    ]
    assert pq.read_table(prepared.home / "run" / "rows.parquet").num_rows == 0


def test_verify_passes_with_and_without_a_trailing_slash(shell):
    assert shell.ok("verify data --trust trust").startswith("OK acme/x version 1")
    assert shell.ok("verify data/ --trust trust --full --name acme/x").startswith("OK")
    assert shell.ok(["verify", f"{shell.home}/data/.", "--trust", "trust"]).startswith("OK")
    told = shell.json("verify data --trust trust --state state")
    assert told["ok"] is True
    assert told["history"] == "first-use"
    assert shell.json("verify data --trust trust --state state")["history"] == "known"


def test_verify_says_what_is_wrong(shell):
    (shell.home / "data" / "extra.csv").write_text("x\n1\n")
    assert "extra-file: extra.csv" in shell.ok("verify data --trust trust", 12)
    told = shell.json("verify data --trust trust", 12)
    assert told["ok"] is False
    assert [problem["code"] for problem in told["problems"]] == ["extra-file"]


def test_verify_remembers_what_it_read_where_it_is_told_to(shell):
    past = time.time() - 3600
    os.utime(shell.home / "data" / "a.parquet", (past, past))
    time.sleep(2.1)  # a file that was touched a moment ago is read again
    told = shell.json("verify data --trust trust --index seen")
    assert (told["ok"], told["unread"], told["index"]) == (True, 0, "")
    assert (shell.home / "seen").stat().st_mode & 0o777 == 0o600
    told = shell.json("verify data --trust trust --index seen --full")
    assert (told["ok"], told["unread"]) == (True, 0)
    assert "lies in the dataset" in shell.run("verify data --trust trust --index data/seen").stderr


def test_a_part_is_never_a_pass(shell):
    told = shell.ok("verify data --trust trust --files a.*", 10)
    assert told.startswith("PART of acme/x version 1 holds: 1 of 1 files")
    told = shell.json("verify data --trust trust --range a.parquet:0:4 --state state", 10)
    assert told["ok"] is False
    assert told["part"]["holds"] is True
    assert shell.json("verify data --trust trust --state state")["history"] == "first-use"
    shell.ok("verify data --trust trust --files b*", 3)
    shell.ok("verify data --trust trust --range a.parquet:0", 2)
    path = shell.home / "data" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated-file" in shell.ok("verify data --trust trust --files *", 12)


def test_what_to_fetch_again_is_listed(shell):
    path = shell.home / "data" / "a.parquet"
    size = path.stat().st_size
    shell.ok("verify data --trust trust --repair-list again")
    assert (shell.home / "again").read_text() == ""
    path.unlink()
    (shell.home / "data" / "b").write_text("x")
    shell.ok("verify data --trust trust --repair-list again", 12)
    listed = [json.loads(line) for line in (shell.home / "again").read_text().splitlines()]
    assert listed == [{"path": "a.parquet", "offset": 0, "length": size}]
    shell.ok("verify data --trust trust --files a* --repair-list part", 12)
    assert (shell.home / "part").read_text() == (shell.home / "again").read_text()


def test_scan_and_gate_go_together(shell):
    assert shell.ok(f"{SCAN} --out again").startswith("PASS acme/x")
    told = shell.json(f"{SCAN} --out more --quiet")
    assert told["verdict"]["decision"] == "PASS"
    assert shell.ok(f"{GATE} --name acme/x --ledger ledger").startswith("ADMITTED acme/x version 1")
    told = shell.json(f"{GATE} --into store")
    assert told["admitted"] is True
    assert [path.name for path in (shell.home / told["store"]).iterdir()] == ["a.parquet"]


def test_the_default_run_directory_lies_beside_the_dataset(shell):
    shell.ok(f"{SCAN.replace(' data ', ' data/ ')}")
    assert (shell.home / "data.run" / "record.json").is_file()


def test_a_changed_byte_blocks_and_the_gate_stays_shut(shell):
    path = shell.home / "data" / "a.parquet"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    assert shell.ok(f"{SCAN} --out again", 12).startswith("BLOCK")
    report = json.loads((shell.home / "again" / "report.json").read_text())
    assert [r["code"] for r in report["verdict"]["reasons"]] == ["changed-file"]
    assert "REFUSED" in shell.ok(GATE, 12)
    told = shell.json(GATE, 12)
    assert told["error"] == "GateRefused"
    assert told["exit"] == 12
    assert told["reasons"]


def test_a_finding_of_medium_weight_is_quarantine(shell):
    """A hard link is only noted by default; a policy may hold data for less."""
    (shell.home / "strict.toml").write_text(POLICY + 'quarantine_at = "low"\n')
    os.link(shell.home / "data" / "a.parquet", shell.home / "second name")
    line = SCAN.replace("m1.toml", "strict.toml")
    assert shell.ok(f"{line} --out q", 11).startswith("QUARANTINE")
    assert shell.json(f"{line} --out q", 11)["verdict"]["decision"] == "QUARANTINE"
    gate = f"gate data --record q/record.json --trust trust --policy {shell.home}/strict.toml"
    assert "QUARANTINE" in shell.ok(gate, 12)


NO_ENTRY = {
    "no such dataset": "verify absent --trust trust",
    "no such dataset to scan": "scan absent --trust trust --policy m1.toml",
    "no such dataset to sign": "sign absent --key keys/key.pem --name acme/x --dataset-version 1",
    "no such trust": "verify data --trust absent",
    "no such policy": "scan data --trust trust --policy absent",
    "no such key": "sign data --key absent --name acme/x --dataset-version 2",
    "no such manifest": "scan data --manifest absent --trust trust --policy m1.toml",
    "a name that is none": "verify data --trust trust --name a//b",
    "a time that is none": "verify data --trust trust --at soon",
    "an age that is none": f"{GATE} --max-age old",
    "a version below zero": "sign data --key keys/key.pem --name acme/x --dataset-version -1",
    "a column that is no pair": f"{SIGN} --column x",
    "a column that is not there": f"{SIGN} --column z=label",
    "a ledger without a key": "scan data --trust trust --policy m1.toml --ledger ledger",
    "a role of signed data": f"{SCAN} --column x=label",
    "a role that is none": "scan data --policy explore --out p --column x=lable",
    "trusted rows": f"{SCAN} --trusted-rows x",
    "a key that would be overwritten": "keygen --out keys",
    "a trust that is there": "trust init --out trust --key keys/key.pub --name x",
    "a key that is there": "trust add-key --trust trust --key keys/key.pub --name x",
    "a run that is none": "report data",
    "a ledger that is none": "ledger verify data --trust trust",
    "a checkpoint that is none": "ledger verify ledger --trust trust --checkpoint x",
    "a seed below zero": f"{SCAN} --seed -1",
    "an out that is somebody's directory": f"{SCAN} --out data",
    "an out that is here": f"{SCAN} --out .",
    "an out that is a file": f"{SCAN} --out m1.toml",
}


@pytest.mark.parametrize("line", NO_ENTRY.values(), ids=NO_ENTRY.keys())
def test_a_request_that_cannot_be_carried_out_is_usage(prepared, line):
    before = sorted(str(p) for p in prepared.home.rglob("*"))
    told = prepared.json(line, 2)
    assert told["exit"] == 2
    assert told["reasons"][0]
    assert sorted(str(p) for p in prepared.home.rglob("*")) == before, "nothing is lost or left"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "frobnicate",
        "keygen",
        "scan",
        "scan data --device tpu",
        "scan data --seed x",
        "gate data",
        "trust init --out t --key keys/key.pub --name a --role owner",
        "verify data",
        "ledger",
        "scan data --format xml",
    ],
)
def test_a_line_that_is_no_command_is_usage(prepared, line):
    done = prepared.run(line)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert done.stdout == ""


def test_usage_goes_to_people_on_stderr(prepared):
    done = prepared.run("verify absent --trust trust")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("toadstone: dataset absent: No such file")


def test_nothing_to_examine_is_three(shell):
    (shell.home / "empty").mkdir()
    write(shell.home / "rowless" / "a.parquet", rows=0)
    (shell.home / "text").mkdir()
    (shell.home / "text" / "README").write_text("no data")
    for line in (
        "verify empty --trust trust",
        "scan empty --trust trust --policy m1.toml",
        "sign rowless --key keys/key.pem --name acme/e --dataset-version 1",
        "scan text --policy explore --out r",
    ):
        assert shell.json(line, 3)["exit"] == 3
    assert not (shell.home / "r").exists()


def test_what_cannot_be_decoded_is_not_signed(shell):
    (shell.home / "broken").mkdir()
    (shell.home / "broken" / "a.parquet").write_bytes(b"PAR1 and nothing more")
    told = shell.json("sign broken --key keys/key.pem --name acme/e --dataset-version 1", 12)
    assert told["error"] == "Unreadable"


def test_a_crash_is_one_and_no_verdict(shell):
    """A disk that fails, say: the traceback is for us, the status is no verdict."""
    code = (
        "import sys\n"
        "from guards.cli import main\n"
        "import guards.verify\n"
        "def broken(claimed): raise ZeroDivisionError('ours')\n"
        "sys.modules['guards.verify'].verify = broken\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "verify", "data", "--trust", "trust", "--format", "json"]
    done = subprocess.run(
        command, cwd=shell.home, env=shell.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "ZeroDivisionError"
    assert "not a verdict about your data" in done.stderr


def test_keygen_never_overwrites_and_keeps_the_secret(shell):
    secret = shell.home / "keys" / "key.pem"
    before = secret.read_bytes()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert "never overwritten" in shell.json("keygen --out keys", 2)["reasons"][0]
    assert secret.read_bytes() == before
    told = shell.json("keygen --out fresh")
    assert len(told["keyid"]) == 64
    assert "PRIVATE" not in shell.run("keygen --out another").stdout


def test_trust_is_given_by_role_and_name(shell):
    shell.ok("keygen --out other")
    shell.ok(
        "trust add-key --trust trust --key other/key.pub --name other/* --role producer "
        "--expires 2099-01-01"
    )
    shell.ok("sign data --key other/key.pem --name other/x --dataset-version 1 --out other.json")
    shell.ok("verify data --trust trust --manifest other.json")
    assert "has not the role" not in shell.ok("verify data --trust trust")
    done = shell.ok("verify data --trust trust --manifest other.json --at 2099-02-01", 12)
    assert "expired on 2099-01-01" in done


def test_a_second_sign_adds_a_signature(shell):
    shell.ok("keygen --out second")
    shell.ok("sign data --key second/key.pem --name acme/x --dataset-version 1")
    assert len(json.loads((shell.home / "data.manifest.json").read_text())["signatures"]) == 2
    shell.ok("verify data --trust trust")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_one_file_is_a_dataset_in_every_format(shell, suffix):
    path = shell.home / f"one{suffix}"
    if suffix == ".parquet":
        write(path)
    elif suffix == ".csv":
        path.write_text("x,label\n1,a\n2,b\n")
    elif suffix == ".jsonl":
        path.write_text('{"x":1,"label":"a"}\n{"x":2,"label":"b"}\n')
    else:
        table = pa.table({"x": [1, 2], "label": ["a", "b"]})
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    shell.ok(f"sign {path.name} --key keys/key.pem --name acme/one --dataset-version 1")
    assert (shell.home / f"{path.name}.manifest.json").is_file()
    line = SCAN.replace(" data ", f" {path.name} ")
    assert shell.ok(f"{line} --out one").startswith("PASS acme/one")
    path.write_bytes(path.read_bytes() + b"\n")
    shell.ok(f"verify {path.name} --trust trust", 12)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_first_look_says_how_to_name_the_label_and_takes_one_file_as_reference(shell, suffix):
    table = pa.table({"x": list(range(40)), "target": [n % 2 for n in range(40)]})
    for name in (f"now{suffix}", f"before{suffix}"):
        if suffix == ".csv":
            pa_csv.write_csv(table, shell.home / name)
        else:
            pq.write_table(table, shell.home / name)
    line = f"scan now{suffix} --reference before{suffix} --policy explore --out look"
    done = shell.run(line)
    assert done.returncode == 0, done.stderr
    assert "name it: --column COLUMN=label): labels" in " ".join(done.stderr.split())
    assert "(no reference" not in done.stderr
    looked = shell.json(f"{line} --column target=label")["examinations"]
    outcome = {one["rule"]: one["outcome"] for one in looked}
    assert (outcome["drift"], outcome["labels"]) == ("ran", "ran")
    # A role that an option gives is nobody's word: no gate admits what follows from it.
    shell.ok(f"{line} --column target=label --key keys/key.pem")
    gate = f"gate now{suffix} --record look/record.json --trust trust --policy explore"
    assert "for looking only" in str(shell.json(gate, 12)["reasons"])


def test_scan_without_trust_blocks_by_default_and_explore_admits_nothing(shell):
    report = shell.json("scan data --policy m1.toml --out blind", 12)
    assert [r["code"] for r in report["verdict"]["reasons"]] == ["skipped"]
    (shell.home / "looking.toml").write_text(
        'admits = false\nrules = ["integrity"]\nrequired = []\n'
    )
    shell.ok("scan data --policy looking.toml --key keys/key.pem --out look")
    gate = "gate data --record look/record.json --trust trust"
    told = shell.json(f"{gate} --policy looking.toml", 12)
    assert any("for looking only" in reason for reason in told["reasons"])
    shell.ok(f"{SCAN} --seed 3 --out seeded")
    told = shell.json("gate data --record seeded/record.json --trust trust --policy m1.toml", 12)
    assert any("seed" in reason for reason in told["reasons"])


def test_the_ledger_tells_its_own_story(shell, logs):
    shell.ok(f"{SCAN} --ledger ledger --out again")
    told = shell.json("ledger show ledger --trust trust")
    assert told["size"] == 2
    assert [entry["decision"] for entry in told["entries"]] == ["PASS", "PASS"]
    checkpoint = f"{told['size']}:{told['root']}"
    assert shell.ok(f"ledger verify ledger --trust trust --checkpoint {checkpoint}").startswith(
        "OK 2"
    )
    kept = shell.home / "ledger" / "checkpoint"
    (shell.home / "kept").write_bytes(kept.read_bytes())
    assert shell.ok("ledger verify ledger --trust trust --checkpoint kept").startswith("OK 2")
    assert shell.ok("ledger verify ledger --trust trust --checkpoint again/record.json")
    logs.write(shell.home / "ledger", logs.read(shell.home / "ledger")[:1], shell.key)
    for remembered in (checkpoint, "kept", "again/record.tlog-proof"):
        told = shell.ok(f"ledger verify ledger --trust trust --checkpoint {remembered}", 12)
        assert "BROKEN" in told
        assert "the log was cut off: it has 1 entries, and 2 are remembered" in told
    kept.write_bytes(b"{}\n")
    assert shell.json("ledger verify ledger --trust trust", 12)["error"] == "Malformed"


def test_proofs_are_checked_without_the_log(shell):
    shell.ok("ledger prove ledger --record run/record.json --out one.tlog-proof")
    shell.ok(f"{SCAN} --ledger ledger --out again")
    shell.ok("ledger prove ledger --since again/record.json --out goes-on")
    shell.ok("ledger prove ledger --index 1 --out two.tlog-proof")
    shutil.rmtree(shell.home / "ledger")
    told = shell.ok("ledger check one.tlog-proof --trust trust --record run/record.json")
    assert told.startswith("OK entry 0 of 1 in toadstone.dev/log/")
    assert "PASS acme/x v1" in told
    assert shell.json("ledger check two.tlog-proof --trust trust")["index"] == 1
    told = shell.ok("ledger check goes-on --trust trust --since again/record.json")
    assert "with 2 entries goes on from the 1 that you remember" in told
    assert shell.json("ledger check run/record.tlog-proof --trust trust")["size"] == 1
    wrong = "ledger check two.tlog-proof --trust trust --record run/record.json"
    assert "of another entry" in shell.json(wrong, 12)["reasons"][0]
    other = "ledger check goes-on --trust trust --since one.tlog-proof"
    assert shell.ok(other), "a proof ends in a checkpoint, which is as good a memory"
    forked = f"ledger check goes-on --trust trust --since 1:sha256:{'0' * 64}"
    assert "a fork" in shell.json(forked, 12)["reasons"][0]
    shell.ok("ledger check goes-on --trust trust", 2)
    shell.ok("ledger check one.tlog-proof --trust trust --since again/record.json", 2)
    shell.ok("ledger check none.tlog-proof --trust trust", 2)


def test_a_checkpoint_that_a_stranger_signed_is_no_memory(shell, logs):
    shell.ok("keygen --out other")
    kept = (shell.home / "ledger" / "checkpoint").read_bytes()
    other = load_private(shell.home / "other" / "key.pem")
    logs.write(shell.home / "ledger", logs.read(shell.home / "ledger"), other)
    (shell.home / "ledger" / "checkpoint").rename(shell.home / "forged")
    (shell.home / "ledger" / "checkpoint").write_bytes(kept)
    told = shell.json("ledger verify ledger --trust trust --checkpoint forged", 12)
    assert "not signed by any trusted key" in told["reasons"][0]


def test_a_model_is_logged_and_found_again(shell):
    (shell.home / "model.bin").write_bytes(b"weights")
    trained = (
        "trained model.bin --record run/record.json --name acme/model --model-version 3 "
        "--key keys/key.pem --ledger ledger --trust trust"
    )
    told = shell.ok(trained)
    assert told.startswith("logged acme/model v3 sha256:")
    assert told.endswith("made from acme/x v1\n")
    told = shell.ok("lineage https://a.b/c --ledger ledger --trust trust")
    lines = told.splitlines()
    assert lines[0] == "source https://a.b/c"
    assert lines[3].startswith("went into") or lines[2] == "  nothing known"
    assert "  dataset acme/x v1 sha256:" in told
    assert "    model acme/model v3 sha256:" in told
    assert lines[-1] == "1 datasets and 1 models descend from it"
    found = shell.json("lineage model.bin --ledger ledger --trust trust")
    assert [step["node"]["kind"] for step in found["origins"]] == ["dataset", "source"]
    assert "MADE model acme/model v3" in shell.ok("ledger show ledger --trust trust")
    shown = shell.json("ledger show ledger --trust trust")["entries"][1]
    assert shown["from"] == ["acme/x v1"]
    shell.ok("lineage acme/none --ledger ledger --trust trust", 2)
    shell.ok(trained.replace("model.bin", "none.bin"), 2)
    shell.ok(trained.replace("version 3", "version -3"), 2)
    next((shell.home / "ledger" / "records").iterdir()).unlink()
    told = shell.ok("lineage acme/model --ledger ledger --trust trust", 12)
    assert "is missing: what it came from is not known" in told


def test_the_page_is_made_again(shell):
    page = shell.home / "run" / "report.html"
    before = page.read_bytes()
    page.unlink()
    shell.ok("report run")
    assert page.read_bytes() == before


def test_a_run_that_is_not_what_its_record_binds_is_told_and_refused(shell):
    path = shell.home / "run" / "statistics.json"
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":2'))
    assert shell.json("report run", 12)["problems"][0].startswith("statistics.json is not the file")
    assert "statistics.json" in shell.run("report run").stderr


def test_a_run_is_replaced_and_nothing_else_is(shell):
    shell.ok(f"{SCAN} --out run")
    (shell.home / "notes").mkdir()
    (shell.home / "notes" / "thesis.txt").write_text("years of work")
    assert "no run directory" in shell.json(f"{SCAN} --out notes", 2)["reasons"][0]
    assert (shell.home / "notes" / "thesis.txt").read_text() == "years of work"


def test_what_is_not_writable_is_told(shell):
    (shell.home / "file").write_text("")
    for line in (
        f"{SCAN} --out file/run",
        "keygen --out file/keys",
        f"{GATE} --into file/store",
        f"{SCAN} --ledger file --out fresh",
        "verify data --trust trust --state file",
        "sign data --key keys/key.pem --name acme/x --dataset-version 2 --out file/m.json",
    ):
        assert shell.json(line, 2)["exit"] == 2, line
    assert not (shell.home / "fresh").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_output_directory_is_told(shell):
    (shell.home / "locked").mkdir(mode=0o555)
    assert "read-only" in shell.json(f"{SCAN} --out locked/run", 2)["reasons"][0]


def test_a_read_only_output_directory_is_told_also_to_whom_nothing_is_read_only(shell, monkeypatch):
    """Root may write anywhere, so the file system is asked through the library here."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="read-only"):
        scan(shell.home / "data", policy=shell.home / "m1.toml", out=shell.home / "fresh")


def test_names_of_every_kind(shell):
    names = ["données/été 数据.parquet", "n" * 200 + ".parquet", "a'b\"c&<d>.parquet", "-x.parquet"]
    for name in names:
        write(shell.home / "named" / name)
    shell.ok("sign named --key keys/key.pem --name アクメ/数据 --dataset-version 1")
    shell.ok("trust init --out wide --key keys/key.pub --name アクメ/*")
    shell.ok("verify named --trust wide")
    assert shell.ok("scan named --trust wide --policy m1.toml --out named.run").startswith(
        "PASS アクメ/数据"
    )
    for name in names:
        (shell.home / "named" / name).write_bytes(b"x")
    told = shell.json("verify named --trust wide", 12)
    assert sorted(problem["path"] for problem in told["problems"]) == sorted(names)
    shown = shell.ok("verify named --trust wide", 12)
    assert all(name in shown for name in names)


def test_many_extra_files_with_very_long_names_end_in_a_verdict(shell):
    for index in range(5):
        write(
            shell.home / "data" / ("d" * 250) / ("e" * 250) / ("f" * 250) / ("g" * 240 + str(index))
        )
    shell.ok(f"{SCAN} --out long", 12)
    assert "BLOCK" in shell.ok(
        "gate data --record long/record.json --trust trust --policy m1.toml", 12
    )


def test_what_a_file_name_commands_is_not_obeyed(shell):
    (shell.home / "data" / "\x1b[2J\x1b]0;owned\x07.csv").write_text("x")
    for line in ("verify data --trust trust", f"{SCAN} --out r"):
        done = shell.run(line)
        assert done.returncode == 12
        for stream in (done.stdout, done.stderr):
            assert "\x1b" not in stream
            assert "\x07" not in stream
    assert "\x1b" not in (shell.home / "r" / "report.html").read_text()


def test_no_colour_where_nobody_asked_for_it(shell):
    done = shell.run(f"{SCAN} --out r", NO_COLOR="1", TERM="xterm-256color")
    assert "\x1b" not in done.stdout + done.stderr
    assert "integrity" in done.stderr
    quiet = shell.run(f"{SCAN} --out r --quiet")
    assert quiet.stderr == ""
    assert quiet.stdout.startswith("PASS")


def test_a_terminal_that_knows_no_unicode_gets_a_verdict_all_the_same(shell):
    write(shell.home / "data" / "été.parquet")
    for line, status in (("verify data --trust trust", 12), (f"{SCAN} --out r", 12)):
        assert shell.run(line, PYTHONIOENCODING="ascii", LANG="C").returncode == status


def test_a_pipe_that_closes_early_is_no_verdict(shell):
    """`| head -0`: the status is ours to lose, and it must not become another verdict's."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        shell.command("verify data --trust trust"),
        cwd=shell.home,
        env=shell.env,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode not in (2, 3, 11, 12)


def told_to(shell, line, unbuffered="", **streams):
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    env = {**shell.env, "PYTHONUNBUFFERED": unbuffered}
    command = shell.command(line)
    return subprocess.run(command, cwd=shell.home, env=env, text=True, check=False, **given)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
class TestNoRoomForTheAnswer:
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize(
        "line",
        [
            "verify data --trust trust",
            "verify data --trust trust --format json",
            "verify nothing --trust trust --format json",
            "frobnicate --format json",
            "--help",
            "--version",
        ],
    )
    def test_it_is_told_in_a_line_and_is_no_answer(self, shell, line, unbuffered):
        """Neither a PASS nor a traceback nor a defect, however Python buffers what it prints."""
        with Path("/dev/full").open("w") as full:
            done = told_to(shell, line, unbuffered, stdout=full)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last == (
            "toadstone: cannot write: No space left on device; make room, and run it again"
        )
        assert "Traceback" not in done.stderr
        assert "defect" not in done.stderr

    @pytest.mark.parametrize(
        ("line", "status"),
        [("verify data --trust trust", 0), ("frobnicate", 2), ("verify data --trust none", 2)],
    )
    def test_people_who_cannot_read_do_not_change_the_answer(self, shell, line, status):
        with Path("/dev/full").open("w") as full:
            done = told_to(shell, line, stderr=full)
        assert done.returncode == status
        assert ("OK" in done.stdout) == (status == 0)

    def test_a_verdict_stands_though_its_table_could_not_be_shown(self, shell):
        with Path("/dev/full").open("w") as full:
            done = told_to(shell, f"{SCAN} --out r", stderr=full)
        assert done.returncode == 0
        assert "PASS" in done.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "verify data --trust trust --format json"])
def test_a_reader_who_has_enough_is_told_nothing(shell, line, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    done = told_to(shell, line, unbuffered, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def interrupted(shell, line, wait_for):
    """Start a command, and interrupt it once `wait_for` says that it is at work."""
    command = shell.command(line)
    with subprocess.Popen(
        command,
        cwd=shell.home,
        env=shell.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell started in the background have the interrupt ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        deadline = time.monotonic() + 30
        while not wait_for() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    return running.returncode, out, err


def make_slow(shell):
    """Sign the data again with a large file in it: sparse, so quick to make and slow to copy."""
    with (shell.home / "data" / "README.md").open("wb") as file:
        file.truncate(1 << 29)
    shell.ok(SIGN.replace("a/b", "acme/x"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_scan_that_is_ended_leaves_no_copy_of_the_data(shell, number):
    """Not even when the terminal is closed, or the service stopped, in the midst of copying."""
    make_slow(shell)
    private = shell.home / "tmp"
    private.mkdir()
    with subprocess.Popen(
        shell.command(f"{SCAN} --out r"),
        cwd=shell.home,
        env={**shell.env, "TMPDIR": str(private)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (number, signal.SIGINT)],
    ) as running:
        deadline = time.monotonic() + 60
        while not list(private.rglob("data/*")) and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.002)
        running.send_signal(number)
        assert running.wait(timeout=60) == 128 + number
    assert list(private.iterdir()) == []


def test_a_nohup_is_respected(shell):
    code = (
        "import signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from guards.cli import main\nassert main(['trust', 'explain', 'x', '--trust', 'y']) == 2\n"
        "assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN\n"
    )
    subprocess.run([sys.executable, "-c", code], env=shell.env, cwd=shell.home, check=True)


def test_an_interrupted_scan_leaves_no_half_written_run(shell, tmp_path):
    make_slow(shell)
    shell.env["TMPDIR"] = str(tmp_path / "private")
    (tmp_path / "private").mkdir()
    before = sorted(p.name for p in shell.home.iterdir())
    status, out, err = interrupted(
        shell, f"{SCAN} --out cut", lambda: any((tmp_path / "private").rglob("README.md"))
    )
    assert status == 130
    assert out == ""
    assert "interrupted" in err
    assert "Traceback" not in err
    assert sorted(p.name for p in shell.home.iterdir()) == before
    assert list((tmp_path / "private").iterdir()) == []


def test_a_gate_that_is_interrupted_admits_nothing(shell):
    make_slow(shell)
    shell.ok(f"{SCAN} --out run")
    store = shell.home / "store"
    status, out, _ = interrupted(
        shell, f"{GATE} --into store", lambda: store.exists() and any(store.rglob("README.md"))
    )
    assert (status, out) == (130, "")
    assert list(store.iterdir()) == []


def test_a_run_is_not_written_into_the_dataset_that_it_is_about(shell):
    done = shell.run(f"{SCAN} --out data/run")
    assert done.returncode == 2
    assert "lies in the dataset" in done.stderr
    assert not (shell.home / "data" / "run").exists()


def test_two_scans_at_once_to_one_place_both_end_and_one_stands_whole(shell):
    scans = [
        subprocess.Popen(
            shell.command(f"{SCAN} --ledger ledger --out both"),
            cwd=shell.home,
            env=shell.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for running in scans:
        out, err = running.communicate(timeout=60)
        assert running.returncode == 0, err
        assert out.startswith("PASS")
    left = sorted(p.name for p in shell.home.iterdir())
    assert not [name for name in left if name.startswith(".both")]
    assert shell.json("ledger verify ledger --trust trust")["size"] == 4
    gate = "gate data --record both/record.json --trust trust --policy m1.toml --ledger ledger"
    assert shell.ok(gate).startswith("ADMITTED")
    bindings = json.loads((shell.home / "both" / "report.json").read_text())
    assert bindings["verdict"]["decision"] == "PASS"


def test_the_installed_command_is_this_one():
    installed = Path(sys.executable).with_name("toadstone")
    if not installed.exists():
        pytest.skip("not installed here, only importable")
    done = subprocess.run([installed, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("toadstone ")


@pytest.mark.parametrize("line", ["bogus", "scan", "scan data --bogus", "trust init --role x"])
def test_a_wrong_command_line_is_told_in_the_format_asked_for(shell, line):
    told = shell.json(line, 2)
    assert (told["error"], told["exit"]) == ("UsageError", 2)
    assert shell.run(line).stderr.startswith("usage: toadstone")


def test_a_profile_has_the_signed_roles_or_those_beside_the_data(shell):
    plain = shell.json("profile data --out new/plain.profile")
    shell.ok("profile data --out new/signed.profile --trust trust")
    made = [(shell.home / "new" / f"{name}.profile").read_bytes() for name in ("plain", "signed")]
    assert made[0] == made[1]
    shell.ok("profile data --out new/given.profile --column label=feature")
    (shell.home / "data.dataset.toml").write_text('[columns]\nlabel = "feature"\n')
    beside = shell.json("profile data --out new/beside.profile")
    (shell.home / "data.dataset.toml").unlink()
    assert (shell.home / "new" / "given.profile").read_bytes() == (
        shell.home / "new" / "beside.profile"
    ).read_bytes()
    assert beside["digest"] != plain["digest"]
    shell.ok("profile data --out p --trust trust --column label=feature", 2)
    shell.ok("profile --out p", 2)


def test_profiles_are_made_alike_and_merged(shell):
    write(shell.home / "more" / "a.parquet")
    one = shell.json("profile data --out one.profile")
    two = shell.json("profile more --out two.profile --like one.profile")
    both = shell.json("profile --merge one.profile two.profile --out both.profile")
    assert both["rows"] == one["rows"] + two["rows"]
    assert both["lost"] == ""
    again = shell.json("profile more --like one.profile --merge one.profile --out again.profile")
    assert again["digest"] == both["digest"]
    assert shell.ok("profile --merge one.profile --out copy.profile").strip() == one["digest"]
    old = '{"blocks":[],"cells":[],"columns":[],"roles":{},"schema":"toadstone-profile/1"}'
    (shell.home / "old.profile").write_text(old)
    told = shell.run("profile --merge old.profile --out p")
    assert told.returncode == 12
    assert "build it again with this release" in told.stderr


def test_a_profile_is_signed_with_its_data_and_verified(shell):
    shell.ok("profile data --out data.profile")
    sign = "sign data --key keys/key.pem --name acme/x --dataset-version 2"
    shell.ok(f"{sign} --profile data.profile")
    assert shell.ok("verify data --trust trust").startswith("OK")
    assert shell.ok("verify data --trust trust --profile data.profile").startswith("OK")
    shell.ok("profile data --out other.profile --column label=feature")
    told = shell.json("verify data --trust trust --profile other.profile", 12)
    assert [problem["code"] for problem in told["problems"]] == ["wrong-profile"]
    (shell.home / "other.profile").replace(shell.home / "data.profile")
    assert "wrong-profile" in shell.ok("verify data --trust trust", 12)
    report = shell.json(f"{SCAN} --out spoilt", 12)
    (finding,) = report["examinations"][1]["findings"]
    assert finding["code"] == "wrong-profile"
    shell.ok("verify data --trust trust --profile absent", 2)
    (shell.home / "data.profile").unlink()
    assert shell.ok("verify data --trust trust").startswith("OK"), "the data is what is proved"


def test_verify_says_that_no_profile_was_claimed(shell):
    shell.ok("profile data --out data.profile")
    assert shell.ok("verify data --trust trust").startswith("OK"), "nobody claimed it"
    shell.ok("verify data --trust trust --profile data.profile", 2)


def test_a_reference_is_accepted_and_scanned_against(shell):
    shell.ok("profile data --out first.profile")
    accept = "accept first.profile --anchor anchor --key keys/key.pem --name acme/x --trust trust"
    told = json.loads(
        shell.ok([*accept.split(), "--format", "json", "--reason", "the first quarter"])
    )
    assert (shell.home / "anchor" / f"{told['profile'][7:]}.profile").is_file()
    (shell.home / "drift.toml").write_text(
        POLICY.replace('"provenance"]', '"provenance", "drift"]')
    )
    scan = "scan data --trust trust --policy drift.toml --key keys/key.pem --reference anchor"
    report = shell.json(f"{scan} --out anchored")
    drift = report["examinations"][2]
    assert drift["inputs"]["reference"] == told["profile"]
    shell.ok("keygen --out strangers")
    stranger = accept.replace("keys/key.pem", "strangers/key.pem")
    assert "is not in it by --trust" in shell.run([*stranger.split(), "--reason", "x"]).stderr
    shell.ok([*stranger.replace("--trust trust", "").split(), "--reason", "x"])
    shell.ok(f"{scan} --out refused", 12)
    assert not (shell.home / "refused").exists()
    shell.ok([*accept.split(), "--reason", ""], 2)
    shell.ok([*accept.replace("first", "absent").split(), "--reason", "x"], 2)


def test_a_contract_is_inferred_checked_and_compared(shell):
    write(shell.home / "big" / "a.parquet", rows=400)
    told = shell.json("contract infer big --out new/c.json")
    suite = json.loads((shell.home / "new" / "c.json").read_text())
    assert told["expectations"] == len(suite["expectations"])
    assert suite["name"] == "big"
    assert shell.ok("contract check big --contract new/c.json").startswith("PASS big")
    assert shell.ok("contract diff new/c.json new/c.json") == "no expectation changed\n"

    asked = {"column": "x", "min_value": 3}
    limit = {"type": "expect_column_values_to_be_between", "kwargs": asked}
    for name, severity in (("block", "critical"), ("hold", "warning"), ("note", "info")):
        suite["expectations"] = [{**limit, "severity": severity}]
        (shell.home / f"{name}.json").write_text(json.dumps(suite))
    broken = shell.ok("contract check big --contract block.json --rows 2", 12)
    assert "is broken by 3 of 400 rows (asked: min_value 3)" in broken
    assert "rows a.parquet#0, a.parquet#1 and 1 more\n" in broken
    held = shell.json("contract check big --contract hold.json", 11)
    assert [row["row_in_file"] for row in held["failing_rows"]] == [0, 1, 2]
    assert held["decision"] == "QUARANTINE"
    assert shell.json("contract check big --contract note.json")["decision"] == "PASS"
    (change,) = shell.json("contract diff block.json hold.json")["changes"]
    assert (change["change"], change["parameter"]) == ("loosened", "severity")


def test_a_contract_that_is_none_or_data_that_is_none_is_refused(shell):
    (shell.home / "bad.json").write_text('{"name": "s"}')
    (reason,) = shell.json("contract check data --contract bad.json", 12)["reasons"]
    assert "not a suite of GX 1.x" in reason
    shell.ok("contract check data --contract gone.json", 2)
    shell.ok("contract check gone --contract bad.json", 12)
    shell.ok("contract infer data --out c.json", 2)
    assert not (shell.home / "c.json").exists(), "twenty rows are too few"
    shell.ok("contract check data --contract bad.json --rows -1", 2)
