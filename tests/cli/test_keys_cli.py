"""Keys at the command line: kinds, passphrases, several signers, revocation, explanations."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from guards.cli import main
from guards.provenance.signing import parse_envelope

SECRET = "correct horse battery"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(spine, monkeypatch):
    """A directory with the signed dataset `batch`, its keys and `trust`."""
    monkeypatch.chdir(spine.home)
    monkeypatch.setenv("THE_SECRET", SECRET)
    return spine


def run(line: str, capsys, status: int = 0) -> tuple[str, str]:
    """The status as it must be; what was told on stdout and stderr, never with the secret in it."""
    assert main(line.split()) == status, capsys.readouterr()
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    return told.out, told.err


SIGN = "sign batch --name acme/flights/2013-01 --dataset-version 1"


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("ed25519", "ed25519"),
        ("ecdsa-p256", "ecdsa-sha2-nistp256"),
        ("ecdsa-p384", "ecdsa-sha2-nistp384"),
        ("rsa-pss-3072", "rsassa-pss-sha256"),
    ],
)
def test_a_key_of_each_kind_from_keygen_to_verify(here, capsys, kind, scheme):
    told, _ = run(f"keygen --out k --type {kind} --format json", capsys)
    assert json.loads(told)["scheme"] == scheme
    run("trust init --out t --key k/key.pub --name acme/*", capsys)
    run(f"{SIGN} --key k/key.pem --out m.json", capsys)
    run("verify batch --manifest m.json --trust t", capsys)


class TestPassphrases:
    def test_an_encrypted_key_signs_with_the_variable_named(self, here, capsys):
        run("keygen --out k --passphrase-env THE_SECRET", capsys)
        assert "ENCRYPTED" in Path("k/key.pem").read_text()
        run(f"{SIGN} --key k/key.pem --out m.json --passphrase-env THE_SECRET", capsys)
        assert len(parse_envelope(Path("m.json").read_bytes()).signatures) == 1

    def test_each_key_may_have_its_own(self, here, capsys, monkeypatch):
        monkeypatch.setenv("OTHER", "another")
        run("keygen --out k --passphrase-env THE_SECRET", capsys)
        run("keygen --out l --passphrase-env OTHER", capsys)
        both = "--passphrase-env OTHER --passphrase-env THE_SECRET"
        run(f"{SIGN} --key k/key.pem --key l/key.pem --out m.json {both}", capsys)
        assert len(parse_envelope(Path("m.json").read_bytes()).signatures) == 2

    def test_without_a_terminal_and_a_variable_it_says_what_to_do(self, here, capsys, monkeypatch):
        run("keygen --out k --passphrase-env THE_SECRET", capsys)
        with Path(os.devnull).open() as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            _, told = run(f"{SIGN} --key k/key.pem --out m.json", capsys, 2)
            assert "--passphrase-env" in told
            run("keygen --out l --encrypt", capsys, 2)
        assert not Path("l").exists()
        assert not Path("m.json").exists()

    def test_a_passphrase_in_the_place_of_a_name_is_not_shown(self, here, capsys):
        run("keygen --out k --passphrase-env THE_SECRET", capsys)
        line = [*f"{SIGN} --key k/key.pem --out m.json".split(), "--passphrase-env", SECRET]
        assert main(line) == 2
        told = capsys.readouterr()
        assert SECRET not in told.out + told.err
        assert "must name a variable" in told.err

    def test_a_wrong_one_opens_nothing(self, here, capsys, monkeypatch):
        run("keygen --out k --passphrase-env THE_SECRET", capsys)
        monkeypatch.setenv("THE_SECRET", "wrong battery staple")
        line = f"{SIGN} --key k/key.pem --out m.json --passphrase-env THE_SECRET"
        out, err = run(line, capsys, 2)
        assert "staple" not in out + err

    def test_at_a_terminal_it_is_asked_for(self, here):
        """A real terminal, which echoes nothing."""

        def at_terminal(line: str, *answers: str) -> str:
            parent, child = pty.openpty()
            process = subprocess.Popen(
                [sys.executable, "-m", "guards.cli", *line.split()],
                stdin=child,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
            assert process.stdout is not None
            told = b""
            with process:
                for answer in answers:
                    while not told.endswith(b": ") and (more := process.stdout.read1()):
                        told += more
                    told += b"\n"
                    os.write(parent, f"{answer}\n".encode())
                told += process.stdout.read()
            os.close(parent)
            os.close(child)
            assert SECRET not in told.decode()
            return f"{process.returncode} {told.decode()}"

        assert at_terminal("keygen --out k --encrypt", SECRET, SECRET).startswith("0 ")
        assert "ENCRYPTED" in Path("k/key.pem").read_text()
        told = at_terminal(f"{SIGN} --key k/key.pem --out m.json", SECRET)
        assert told.startswith("0 ")
        assert "passphrase of k/key.pem" in told
        assert "two different" in at_terminal("keygen --out l --encrypt", SECRET, "another")
        assert not Path("l").exists()


class TestSeveralSigners:
    def test_two_keys_sign_at_once_or_one_after_the_other(self, here, capsys):
        for who in "kl":
            run(f"keygen --out {who}", capsys)
        run("trust init --out t --key k/key.pub --name acme/*", capsys)
        run("trust add-key --trust t --key l/key.pub --name acme/*", capsys)
        run("trust threshold 2 --trust t --name acme/*", capsys)
        run(f"{SIGN} --key k/key.pem --key l/key.pem --out both.json", capsys)
        run("verify batch --manifest both.json --trust t", capsys)
        run(f"{SIGN} --key k/key.pem --out one.json", capsys)
        told, _ = run("verify batch --manifest one.json --trust t", capsys, 12)
        assert "1 of 2 different keys needed" in told
        told, _ = run("sign batch --add --key l/key.pem --out one.json", capsys)
        assert "signed too: acme/flights/2013-01, version 1, created " in told
        run("verify batch --manifest one.json --trust t", capsys)

    @pytest.mark.parametrize(
        "line",
        [
            "sign batch --key {key}",
            "sign batch --key {key} --name acme/x",
            "sign batch --add --key {key} --name acme/flights/2013-01",
            "sign batch --add --key {key} --dataset-version 1",
            "sign batch --add --key {key} --expires 2099-01-01",
            "sign batch --add --key {key} --out absent.json",
            "trust threshold 0 --trust trust --name acme/*",
            "trust revoke --trust trust --key {stranger} --reason lost",
            "trust explain absent.json --trust trust",
        ],
    )
    def test_what_cannot_be_asked_is_usage(self, here, capsys, line):
        before = here.manifest.read_bytes(), (here.trust_dir / "trust.toml").read_bytes()
        keys = {"key": here.keys.pem("producer"), "stranger": here.keys.pub("stranger")}
        run(line.format(**keys), capsys, 2)
        after = here.manifest.read_bytes(), (here.trust_dir / "trust.toml").read_bytes()
        assert after == before


class TestExplain:
    def test_a_trusted_claim(self, here, capsys):
        told, _ = run("trust explain batch.manifest.json --trust trust", capsys)
        assert "may act as producer for acme/flights/2013-01" in told
        assert "1 of 1 key needed" in told
        assert told.splitlines()[-1] == "TRUSTED batch.manifest.json"

    def test_a_revoked_key_and_the_reason_as_of_a_time(self, here, capsys):
        public = here.keys.pub("producer")
        line = f"trust revoke --trust trust --key {public} --since 2099-01-01 --reason lost"
        run(line, capsys)
        run("trust explain batch.manifest.json --trust trust", capsys)
        line = "trust explain batch.manifest.json --trust trust --at 2099-01-02 --format json"
        told = json.loads(run(line, capsys, 12)[0])
        assert not told["ok"]
        [step] = [step for step in told["steps"] if step["rule"] == "producer-key"]
        assert step.keys() == {"rule", "input", "ok", "outcome"}
        assert step["outcome"] == "was revoked on 2099-01-01T00:00:00Z: lost"

    def test_another_name_than_the_one_expected(self, here, capsys):
        line = "trust explain batch.manifest.json --trust trust --name acme/other"
        assert "wrong-name" in run(line, capsys, 12)[0]
