"""`verify --claim`, `sign --from-claim` and `export`: no outcome about a foreign claim is a 0."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from guards.cli import main
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse
from guards.provenance.signing import generate, load_public, parse_envelope

FILES = ("a.parquet", "more/b.parquet")
SIGN = "sign batch --key producer/key.pem --name acme/flights/2013-01 --dataset-version 1"
POLICY = """name = "q"
rules = ["integrity", "provenance", "quality"]
required = ["integrity", "provenance", "quality"]
"""


@pytest.fixture
def here(spine, monkeypatch):
    """The signed `batch` beside its `trust`, its `SHA256SUMS` and everybody's keys."""
    monkeypatch.chdir(spine.home)
    for who in ("producer", "scanner", "neighbour"):
        shutil.copytree(spine.keys.home / who, spine.home / who)
    for who, role, kind in (("elliptic", "producer", "ecdsa-p256"), ("deriver", "deriver", "")):
        generate(Path(who), kind or "ed25519")
        key = load_public(Path(who, "key.pub"))
        trusted = trusts.TrustedKey(key=key, roles=(role,), names=("acme/*",))
        trusts.add(spine.trust_dir, trusted)
    Path("SHA256SUMS").write_text(sums("sha256"))
    return spine


def sums(algorithm: str) -> str:
    return "".join(
        f"{hashlib.new(algorithm, Path('batch', path).read_bytes()).hexdigest()}  batch/{path}\n"
        for path in FILES
    )


def run(line: str, capsys, status: int = 0) -> str:
    assert main(line.split()) == status, capsys.readouterr()
    told = capsys.readouterr()
    return told.out + told.err


class TestChecksums:
    def test_a_claim_that_holds_is_no_pass_and_says_what_it_does_not_bind(self, here, capsys):
        told = run("verify batch --claim SHA256SUMS", capsys, 10)
        assert "CLAIM of checksums, unsigned, holds: 2 of 2 files" in told
        assert "it is no PASS" in told
        assert "not bound: it is not signed" in told

    def test_as_json_ok_is_false_all_the_same(self, here, capsys):
        told = json.loads(run("verify batch --claim SHA256SUMS --format json", capsys, 10))
        assert told["ok"] is False
        assert told["claim"]["holds"] is True
        assert told["claim"]["files"] == {"proved": 2, "strong": 2, "weak": 0, "bare": 0}
        assert told["root"] == str(here.verify().found.root)

    def test_what_differs_is_named(self, here, capsys):
        Path("batch/a.parquet").write_bytes(b"other")
        told = run("verify batch --claim SHA256SUMS", capsys, 12)
        assert "changed-file: a.parquet" in told
        assert "REFUSED batch: 1 problems with a claim of checksums, 1 of 2 files" in told

    def test_weak_digests_do_not_hold(self, here, capsys):
        Path("MD5SUMS").write_text(sums("md5"))
        told = run("verify batch --claim MD5SUMS", capsys, 12)
        assert told.count("weak-digest") == 2

    def test_a_format_that_is_said_is_the_only_one(self, here, capsys):
        assert "dvc: lists no output" in run(
            "verify batch --claim SHA256SUMS --claim-format dvc", capsys, 12
        )
        assert "is none of" in run("verify batch --claim SHA256SUMS --claim-format x", capsys, 2)

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("verify batch --claim SHA256SUMS --trust trust", "signed by nobody"),
            ("verify batch --claim SHA256SUMS --name acme/x", "signed by nobody"),
            ("verify batch --claim SHA256SUMS --dataset-version 1", "signed by nobody"),
            ("verify batch --claim SHA256SUMS --files *", "--files is for manifests"),
            ("verify batch --claim SHA256SUMS --index i", "--index is for manifests"),
            ("verify batch --claim SHA256SUMS --repair-list r", "--repair-list is for manifests"),
            ("verify batch --claim nowhere", "there is no such file"),
            ("verify batch --claim-format dvc", "is of a --claim"),
            ("verify batch", "needs --trust"),
            (f"{SIGN} --claim-format dvc", "of a --from-claim"),
            (f"{SIGN} --add --from-claim SHA256SUMS", "--from-claim is for a new one"),
        ],
    )
    def test_a_wrong_line_is_told(self, here, capsys, line, says):
        assert says in run(line, capsys, 2)

    def test_a_bag(self, here, capsys):
        bag = Path("bag")
        shutil.copytree("batch", bag / "data")
        listed = sums("sha256").replace("batch/", "data/")
        (bag / "manifest-sha256.txt").write_text(listed)
        (bag / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        for claim in ("bag", "bag/bagit.txt"):
            assert "bagit 1.0" in run(f"verify bag --claim {claim}", capsys, 10)
        (bag / "data" / "extra").touch()
        assert "extra-file: data/extra" in run("verify bag --claim bag", capsys, 12)


class TestSigning:
    def test_the_claim_that_was_held_is_a_source_by_its_digest(self, here, capsys):
        here.manifest.unlink()
        run(f"{SIGN} --from-claim SHA256SUMS --source https://example.com/x", capsys)
        first, second = parse(parse_envelope(here.manifest.read_bytes())).sources
        assert first.uri == "https://example.com/x"
        assert (second.uri, second.claim) == ("SHA256SUMS", "checksums")
        assert second.digest.hex == hashlib.sha256(Path("SHA256SUMS").read_bytes()).hexdigest()
        run("verify batch --trust trust", capsys)

    def test_it_stands_beside_the_sources_that_are_told_in_a_file(self, here, capsys):
        here.manifest.unlink()
        Path("batch.dataset.toml").write_text('[[source]]\nuri = "https://a.b"\n')
        run(f"{SIGN} --from-claim SHA256SUMS", capsys)
        sources = parse(parse_envelope(here.manifest.read_bytes())).sources
        assert [source.uri for source in sources] == ["https://a.b", "SHA256SUMS"]

    def test_a_signed_claim_needs_a_trust_of_its_own(self, here, capsys):
        run(TestOms.EXPORT, capsys)
        here.manifest.unlink()
        line = f"{SIGN} --from-claim batch.oms.json"
        assert "give --trust" in run(line, capsys, 2)
        run(f"{line} --claim-trust trust", capsys)
        assert parse(parse_envelope(here.manifest.read_bytes())).sources[0].claim.startswith("oms")

    @pytest.mark.parametrize("algorithm", ["sha256", "md5"])
    def test_nothing_is_signed_that_does_not_hold(self, here, capsys, algorithm):
        here.manifest.unlink()
        Path("SUMS").write_text(sums(algorithm))
        if algorithm == "sha256":
            with Path("SUMS").open("a") as file:
                file.write(f"{'0' * 64}  batch/gone.csv\n")
        told = run(f"{SIGN} --from-claim SUMS", capsys, 12)
        assert "nothing is signed" in told
        assert not here.manifest.exists()

    def test_bytes_that_change_between_the_two_looks_are_not_signed(
        self, here, capsys, monkeypatch
    ):
        import guards.foreign

        real = guards.foreign.look

        def look(asked):
            found = real(asked)
            shutil.copy("batch/a.parquet", "batch/more/b.parquet")
            return found

        monkeypatch.setattr(guards.foreign, "look", look)
        here.manifest.unlink()
        told = run(f"{SIGN} --from-claim SHA256SUMS", capsys, 12)
        assert "changed since it was held against the claim" in told
        assert not here.manifest.exists()


class TestOms:
    EXPORT = "export oms batch --trust trust --key elliptic/key.pem"
    VERIFY = "verify batch --claim batch.oms.json --trust trust --name acme/flights"

    def test_from_the_manifest_to_a_bundle_and_back(self, here, capsys):
        assert "batch.oms.json" in run(self.EXPORT, capsys)
        told = run(self.VERIFY, capsys, 10)
        assert "CLAIM of oms 1.0 by files, signed by" in told
        assert "not bound: it binds no version and no expiry" in told
        run(f"{self.EXPORT} --shard-size 1000", capsys)
        assert "oms 1.0 by shards" in run(self.VERIFY, capsys, 10)

    def test_nothing_is_exported_that_does_not_hold(self, here, capsys):
        Path("batch/a.parquet").write_bytes(b"other")
        assert "is not what was signed" in run(self.EXPORT, capsys, 12)
        shutil.copy("batch/more/b.parquet", "batch/a.parquet")
        here.manifest.unlink()
        here.sign("stranger")
        assert "no claim" in run(self.EXPORT, capsys, 12)
        assert not Path("batch.oms.json").exists()

    @pytest.mark.parametrize(
        ("more", "says"),
        [("--shard-size 0", "number of bytes"), ("--key producer/key.pem", "elliptic keys only")],
    )
    def test_a_wrong_wish_is_told(self, here, capsys, more, says):
        assert says in run(f"{self.EXPORT} {more}", capsys, 2)

    def test_a_name_is_needed(self, here, capsys):
        run(self.EXPORT, capsys)
        assert "--name" in run("verify batch --claim batch.oms.json --trust trust", capsys, 2)


class TestSlsa:
    @pytest.fixture
    def released(self, here):
        frame = pl.read_parquet("batch/a.parquet").with_row_index("n")
        held = pl.when(pl.col("n") == 3).then(None).otherwise(pl.col("label"))
        frame.with_columns(label=held).drop("n").write_parquet("batch/a.parquet")
        here.manifest.unlink()
        here.sign()
        Path("q.toml").write_text(POLICY)
        scan = "scan batch --trust trust --policy q.toml --key scanner/key.pem --out run --quiet"
        line = f"{scan} --release-clean clean --release-key deriver/key.pem"
        assert main(line.split()) == 11
        return here

    def test_a_release_says_in_slsa_what_it_was_made_from(self, released, capsys):
        run("export slsa clean --trust trust --key deriver/key.pem", capsys)
        told = run("verify clean --claim clean.slsa.json --trust trust", capsys, 10)
        made = parse(parse_envelope(Path("clean.manifest.json").read_bytes()))
        assert f"made from parent toadstoneTree1:{made.derivation.parent.hex}" in told
        assert "note: method release-clean" in told
        for more, says in (
            ("--name acme/other", "not about acme/other"),
            ("--dataset-version 7", "binds version 2, not version 7"),
        ):
            line = f"verify clean --claim clean.slsa.json --trust trust {more}"
            assert says in run(line, capsys, 12)
        Path("clean/a.parquet").write_bytes(b"other")
        told = run("verify clean --claim clean.slsa.json --trust trust", capsys, 12)
        assert "changed-file" in told
        assert "wrong-root" in told

    def test_no_other_key_signs_it_and_no_original_has_one(self, released, capsys):
        line = "export slsa clean --trust trust --key producer/key.pem"
        assert "has not the role deriver" in run(line, capsys, 2)
        line = "export slsa batch --trust trust --key deriver/key.pem"
        assert "is no derived dataset" in run(line, capsys, 2)


class TestVsa:
    EXPORT = "export vsa run --trust trust --key scanner/key.pem"
    VERIFY = "verify batch --claim run.vsa.json --trust trust"

    def test_passed_stands_for_pass(self, here, capsys):
        here.scan()
        run(self.EXPORT, capsys)
        told = run(self.VERIFY, capsys, 10)
        assert "holds: the whole dataset by its root; it is no PASS" in told
        assert "note: PASSED on" in told
        document = json.loads(parse_envelope(Path("run.vsa.json").read_bytes()).payload)
        assert document["predicate"]["verificationResult"] == "PASSED"
        assert document["predicate"]["resourceUri"] == "toadstone:acme/flights/2013-01@1"
        record = hashlib.sha256(Path("run/record.json").read_bytes()).hexdigest()
        assert document["predicate"]["inputAttestations"][0]["digest"] == {"sha256": record}

    def test_of_other_bytes_it_says_nothing(self, here, capsys):
        here.scan()
        run(self.EXPORT, capsys)
        shutil.copy("batch/a.parquet", "batch/more/b.parquet")
        assert "wrong-root" in run(self.VERIFY, capsys, 12)

    def test_a_verdict_that_is_no_pass_failed_and_holds_for_nothing(self, here, capsys):
        shutil.copy("batch/a.parquet", "batch/more/b.parquet")
        here.scan()
        run(self.EXPORT, capsys)
        told = run(self.VERIFY, capsys, 12)
        assert "claim-refused: claim, found the verdict was FAILED" in told
        document = json.loads(parse_envelope(Path("run.vsa.json").read_bytes()).payload)
        assert document["predicate"]["verifiedLevels"] == ["FAILED"]

    def test_what_can_admit_nothing_has_no_summary(self, here, capsys):
        here.scan(seed=7)
        assert "with a chosen seed" in run(self.EXPORT, capsys, 2)
        here.scan(policy=replace(here.policy, admits=False))
        assert "can admit nothing" in run(self.EXPORT, capsys, 2)

    def test_a_record_that_no_scanner_signed_has_none(self, here, capsys):
        here.scan(key=here.keys.private("stranger"))
        assert "no key of the trust directory" in run(self.EXPORT, capsys, 12)
        here.scan(key=here.keys.private("producer"))
        assert "has not the role scanner" in run(self.EXPORT, capsys, 12)
        here.scan()
        line = "export vsa run --trust trust --key producer/key.pem"
        assert "has not the role scanner" in run(line, capsys, 2)
        assert "no run directory" in run(self.EXPORT.replace("run", "batch"), capsys, 2)

    def test_no_gate_takes_it_for_a_record(self, here, capsys):
        here.scan()
        run(self.EXPORT, capsys)
        run("gate batch --record run.vsa.json --trust trust --policy m1.toml", capsys, 12)
        run("gate batch --record run/record.json --trust trust --policy m1.toml", capsys)
