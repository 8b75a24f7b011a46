"""Trusts of both forms, waivers and keys of devices at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guards.cli import main

ROOTS = ("root-1", "root-2", "root-3", "root-4")
NAME = "acme/flights/2013-01"


@pytest.fixture
def here(spine, monkeypatch):
    """A directory with the signed dataset `batch`; keys are named as `@who`."""
    monkeypatch.chdir(spine.home)
    return spine


@pytest.fixture
def run(here, capsys):
    """Runs a line, with `@who` for a public and `!who` for a private key; gives what was told."""

    def of(line: str, status: int = 0) -> str:
        words = []
        for word in line.split():
            words.append(
                {"@": str(here.keys.pub(word[1:])), "!": str(here.keys.pem(word[1:]))}.get(
                    word[0], word.replace("~", " ")
                )
            )
        assert main(words) == status, (line, capsys.readouterr())
        told = capsys.readouterr()
        return told.out + told.err

    return of


def signed(run) -> None:
    roots = " ".join(f"--root-key @{each}" for each in ROOTS[:3])
    told = run(f"trust init --out t {roots} --threshold 2 --sign !root-1")
    assert "waits: root has 1 of 2 signatures" in told
    assert "waits for signatures" in run("verify batch --trust t", 2)
    assert "in force: root, targets" in run("trust sign --trust t --sign !root-2")


BY = "--sign !root-1 --sign !root-2"


class TestRootKeys:
    def test_the_whole_way(self, run):
        signed(run)
        given = "--as acme --name acme/* --role producer --key @producer --key @second"
        assert "in force: targets" in run(f"trust delegate --trust t {given} {BY}")
        run(f"trust add-key --trust t --key @scanner --name * --role scanner {BY}")
        assert "OK acme/flights" in run("verify batch --trust t --state s")
        told = run("trust explain batch.manifest.json --trust t --state s")
        assert "root version 1: is in force until" in told
        assert "acme: is asked about producer of acme/flights/2013-01, and nobody after" in told
        run(f"trust threshold 2 --trust t --name acme/* {BY}")
        assert "too-few-keys" in run("verify batch --trust t", 12)
        run("sign batch --add --key !second")
        run("verify batch --trust t")
        run("scan batch --trust t --policy m1.toml --key !scanner --out run")
        assert "ADMITTED" in run("gate batch --record run/record.json --trust t --policy m1.toml")

    def test_nobody_signs_blind(self, run):
        """What was slipped in beside a change that was talked about stands in what is shown."""
        signed(run)
        assert "nothing waits" in run("trust show --trust t")
        given = "--name acme/good --role producer --key @producer --sign !root-1"
        run(f"trust delegate --trust t --as good {given}")
        slipped = "--role approver --key @stranger --sign !root-1"
        told = run(f"trust delegate --trust t --as evil --name */* {slipped}")
        assert "+ targets: evil takes 1 of" in told
        told = run("trust show --trust t")
        assert "root: targets takes 2 of" in told
        assert "waits:" in told.splitlines(), "each change is a line of its own"
        assert told.index("waits:") < told.index("+ targets: good") < told.index("approver/*/*")
        told = run("trust sign --trust t --sign !root-2")
        assert "+ targets: good" in told
        assert "+ targets: evil" in told
        assert "targets: evil takes 1 of" in run("trust show --trust t")
        run(f"trust revoke --trust t --key @stranger --reason stolen {BY}")
        assert "'reason': 'stolen'" in run("trust show --trust t")
        told = run(f"trust revoke --trust t --key @root-1 --reason stolen {BY}", 2)
        assert "is a root key; another has to take its place" in told
        told = run("trust show --trust trust").splitlines()
        assert told[0].endswith("read its trust.toml")
        assert told[1].startswith("root-digest sha256:")

    def test_another_trust_than_was_pinned_is_refused(self, run, monkeypatch):
        """Where a trust is taken, in the line or in the environment; and none is let off."""
        signed(run)
        run(f"trust add-key --trust t --key @producer --name * --role producer {BY}")
        run(f"trust add-key --trust t --key @scanner --name * --role scanner {BY}")
        pins = {}
        for trust in ("t", "trust"):
            pins[trust] = json.loads(run(f"trust show --trust {trust} --format json"))[
                "root_digest"
            ]
            assert f"root-digest {pins[trust]}" in run(f"trust show --trust {trust}")
        scan = "scan batch --policy m1.toml --key !scanner --ledger l --out run"
        gate = "gate batch --record run/record.json --policy m1.toml"
        asked = [scan, gate, "verify batch", "ledger verify l", "trust explain batch.manifest.json"]
        for trust, other in (("t", "trust"), ("trust", "t")):
            run(f"{asked[0].replace('l --out', f'l{trust} --out')} --trust {trust}")
            for line in asked:
                line = line.replace("verify l", f"verify l{trust}")
                line = line.replace("--ledger l", f"--ledger l{trust}") + f" --trust {trust}"
                run(f"{line} --root-digest {pins[trust]}")
                told = run(f"{line} --root-digest {pins[other]}", 12)
                assert pins[trust] in told, line
                assert pins[other] in told, line
                assert "trust show" in told, line
                with monkeypatch.context() as inside:
                    inside.setenv("TOADSTONE_ROOT_DIGEST", pins[other])
                    assert "was pinned" in run(line, 12)
                    run(f"{line} --root-digest {pins[trust]}")
        assert pins["t"] in run("trust explain batch.manifest.json --trust t")
        monkeypatch.setenv("TOADSTONE_ROOT_DIGEST", pins["trust"])
        assert pins["t"] in run("trust show --trust t"), "what would be pinned can be seen"

    @pytest.mark.parametrize("pin", ["", "sha256:12", "md5:" + "0" * 64, "A" * 64])
    def test_a_pin_that_is_none_is_a_wrong_line(self, run, monkeypatch, pin):
        line = "verify batch --trust trust"
        assert "trust show prints it" in run(f"{line} --root-digest={pin}", 2)
        monkeypatch.setenv("TOADSTONE_ROOT_DIGEST", pin)
        assert "TOADSTONE_ROOT_DIGEST" in run(line, 2)

    def test_a_pin_of_no_trust_is_a_wrong_line(self, run):
        pin = "0" * 64
        assert "of a --trust" in run(f"scan batch --policy explore --root-digest {pin}", 2)
        assert "--trust" in run(f"verify batch --root-digest {pin}", 2)

    def test_metadata_that_is_gone_is_told(self, run, here):
        signed(run)
        given = "--as good --name acme/good --role producer --key @producer --sign !root-1"
        run(f"trust delegate --trust t {given}")
        (here.home / "t" / "metadata").rename(here.home / "t" / ".metadata")
        told = run("trust sign --trust t --sign !root-2", 2)
        assert "metadata/ is missing" in told

    def test_a_root_key_is_rotated_by_the_old_root_and_the_new(self, run):
        signed(run)
        line = "trust rotate --trust t --key @root-1 --to @root-4 --reason left"
        assert "root has 1 of 2" in run(f"{line} --sign !root-1 --sign !root-4 --format json")
        assert "in force: root, targets" in run("trust sign --trust t --sign !root-2")
        assert "none of the keys" in run("trust sign --trust t --sign !root-1", 2)
        assert "in force: timestamp" in run("trust sign --trust t --sign !root-4")
        told = run(
            "trust sign --trust t --renew root --renew targets --sign !root-4 --sign !root-3"
        )
        assert "in force: root, targets" in told
        assert "no such metadata" in run("trust sign --trust t --renew x --sign !root-4", 2)

    def test_a_key_is_rotated_and_revoked_in_a_delegation(self, run):
        signed(run)
        run(f"trust add-key --trust t --key @producer --name acme/* --role producer {BY}")
        run("verify batch --trust t")
        line = f"trust rotate --trust t --key @producer --to @second --reason lost~it {BY}"
        run(line)
        assert "was revoked on" in run("verify batch --trust t", 12)
        run(f"trust revoke --trust t --key @second --reason also~lost {BY}")
        told = run("trust explain batch.manifest.json --trust t", 12)
        assert "lost it" in told
        assert "is not in it" in run(f"trust revoke --trust t --key @stranger --reason x {BY}", 2)

    def test_a_team_delegates_on(self, run):
        signed(run)
        run(f"trust delegate --trust t --as acme --key @neighbour --name acme/* {BY}")
        given = "--as flights --from acme --key @producer --name acme/flights --role producer"
        told = run(f"trust delegate --trust t {given} --sign !neighbour")
        assert "a new snapshot needs a signature" in told
        assert "in force: acme" in run("trust sign --trust t --sign !root-3")
        run("verify batch --trust t")
        assert "acme > flights" in run("trust explain batch.manifest.json --trust t")

    def test_rollback_is_refused_where_a_state_is_kept(self, run, here):
        signed(run)
        run(f"trust add-key --trust t --key @producer --name acme/* --role producer {BY}")
        old = {p.name: p.read_bytes() for p in Path("t/metadata").iterdir()}
        run("trust sign --trust t --sign !root-1")
        run("verify batch --trust t --state s")
        for name, data in old.items():
            Path("t/metadata", name).write_bytes(data)
        assert "rollback: timestamp" in run("verify batch --trust t --state s", 12)
        run("verify batch --trust t")

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("trust init --out u", "needs --key and --name"),
            ("trust init --out u --root-key @root-1", "needs --threshold"),
            ("trust init --out u --root-key @root-1 --threshold 1", "--sign key.pem"),
            (f"trust init --out u --root-key @root-1 --threshold 2 {BY}", "2 of 1 root keys"),
            (f"trust init --out u --key @root-1 --name * {BY}", "go with --root-key"),
            ("trust init --out u --root-key @root-1 --threshold 1 --name *", "then trust delegate"),
            (f"trust init --out trust --root-key @root-1 --threshold 1 {BY}", "is there already"),
            ("trust sign --trust trust --sign !root-1", "nobody signs it"),
            (f"trust add-key --trust trust --key @both --name * {BY}", "no --sign"),
            ("trust rotate --trust trust --key @both --to @both --reason x", "is the same key"),
            (
                "trust delegate --trust trust --as x --key @both --key @second --threshold 2 "
                "--name * --role scanner",
                "what they sign has one signature",
            ),
        ],
    )
    def test_what_cannot_be_is_told(self, run, line, told):
        assert told in run(line, 2)
        assert not Path("u").exists()

    def test_a_signed_trust_is_not_changed_without_signing(self, run):
        signed(run)
        for line in (
            "trust add-key --trust t --key @both --name *",
            "trust revoke --trust t --key @both --reason x",
            "trust threshold 2 --trust t --name *",
            "trust delegate --trust t --as x --key @both --name *",
            "trust sign --trust t",
        ):
            assert "--sign key.pem" in run(line, 2)


class TestTheSmallForm:
    def test_delegate_and_rotate_mean_the_same(self, run):
        given = "--as flights --name acme/flights --role producer --key @second --key @both"
        told = run(f"trust delegate --trust trust {given} --threshold 2 --format json")
        assert json.loads(told)["delegation"] == "flights"
        assert "is not in flights" in run("verify batch --trust trust", 12)
        run("sign batch --add --key !second --key !both")
        run("verify batch --trust trust")
        run("trust rotate --trust trust --key @both --to @stranger --reason left")
        assert "too-few-keys" in run("verify batch --trust trust", 12)
        run("sign batch --add --key !stranger")
        run("verify batch --trust trust")


class TestWaivers:
    @pytest.fixture
    def stopped(self, run, here):
        """A run that a real flaw stopped: a column that is named in a path."""
        rules = '["integrity", "provenance", "quality"]'
        Path("q.toml").write_text(
            f'name = "q"\nrules = {rules}\nrequired = {rules}\nquarantine_at = "low"\n'
        )
        run("trust add-key --trust trust --key @approver --name acme/* --role approver")
        scan = "scan batch --trust trust --policy q.toml --key !scanner --out run"
        assert "quality" in run(scan, 11)
        return scan

    def test_a_waiver_from_its_run_to_the_gate(self, run, stopped):
        line = "waive run --rule quality --reason seen --expires 2999-01-01 --key !approver"
        assert "waived quality/*" in run(f"{line} --trust trust")
        told = run(f"{stopped} --waiver run.waiver.json")
        assert "PASS" in told
        assert "is waived until 2999-01-01T00:00:00Z: seen" in told
        told = run("gate batch --record run/record.json --trust trust --policy q.toml")
        assert "quality/* is waived until" in told
        told = run(
            "gate batch --record run/record.json --trust trust --policy q.toml --format json"
        )
        assert len(json.loads(told)["waivers"]) == 1
        run("report run")

    def test_one_that_does_not_count_is_told(self, run, stopped):
        line = "waive run --rule quality --reason seen --expires 2999-01-01"
        run("trust init --out lax --key @scanner --name acme/*")
        run(f"{line} --key !scanner --out w/w.json --trust lax")
        told = run(f"{stopped} --waiver w", 11)
        assert "does not count: key" in told
        assert "has not the role approver" in told
        assert "has not the role approver" in run(f"{line} --key !scanner --trust trust", 2)

    def test_several_approvers(self, run, stopped):
        run("trust add-key --trust trust --key @second --name acme/* --role approver")
        run("trust threshold 2 --trust trust --name acme/* --role approver")
        line = "waive run --rule quality --reason seen --expires 2999-01-01 --key !approver"
        run(f"{line} --out w.json --trust trust")
        assert "1 of 2" in run(f"{stopped} --waiver w.json", 11)
        run("waive --add w.json --key !second --trust trust")
        run(f"{stopped} --waiver w.json")

    @pytest.mark.parametrize(
        "line",
        [
            "waive run --key !approver --trust trust",
            "waive --rule quality --reason x --expires 2999-01-01 --key !approver --trust trust",
            "waive run --add w.json --key !approver --trust trust",
            "waive --add nothing.json --key !approver --trust trust",
            "waive run --rule quality --reason x --expires 2001-01-01 --key !approver "
            "--trust trust",
            "waive run --rule quality --reason x --expires 2999-01-01 --key !approver",
            "waive --add w.json --key !approver",
            "scan batch --waiver nothing.json",
        ],
    )
    def test_what_cannot_be_is_told(self, run, stopped, line):
        run(line, 2)


class TestKeysOfDevices:
    """A key by its URI; `file2:` is securesystemslib's signer of a PEM file, without a device."""

    @pytest.fixture
    def named(self, here, monkeypatch):
        monkeypatch.setenv("CRYPTO_SIGNER_PATH_PREFIX", str(here.keys.home))

        def of(uri: str, public: str = "producer") -> str:
            path = here.home / "device.toml"
            (here.home / "device.pub").write_bytes(here.keys.pub(public).read_bytes())
            path.write_text(f'uri = "{uri}"\npublic = "device.pub"\n')
            return str(path)

        return of

    def test_it_signs_wherever_a_pem_does(self, run, named):
        path = named("file2:producer/key.pem")
        Path("batch.manifest.json").unlink()
        run(f"sign batch --key {path} --name {NAME} --dataset-version 1")
        run("verify batch --trust trust")
        roots = "--root-key @producer --threshold 1"
        run(f"trust init --out t {roots} --sign {path}")
        run(f"trust add-key --trust t --key @producer --name acme/* --sign {path}")
        run("verify batch --trust t")

    @pytest.mark.parametrize(
        ("uri", "told"),
        [
            ("nothing:x", "Unsupported private key scheme nothing"),
            ("file2:no/such.pem", "FileNotFoundError"),
            ("file2:second/key.pem", "KeyMismatchError"),
            ("hsm:2", "hsm:2: "),
        ],
    )
    def test_one_that_does_not_sign_is_told(self, run, named, uri, told):
        line = f"sign batch --key {named(uri)} --name {NAME} --dataset-version 2 --out m.json"
        assert told in run(line, 2)
        assert not Path("m.json").exists()

    @pytest.mark.parametrize(
        "text",
        ["", "uri = 1\npublic = 'x'", "uri = 'x'", "uri = 'x'\npublic = 'y'\nmore = 1", "="],
    )
    def test_a_file_that_names_no_key_is_told(self, run, here, text):
        Path("device.toml").write_text(text)
        line = f"sign batch --key device.toml --name {NAME} --dataset-version 2"
        assert "device.toml" in run(line, 2)
