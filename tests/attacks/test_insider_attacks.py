"""Attacks by one who may write to the landing, the store, the ledger, the state or the policy."""

from __future__ import annotations

import gzip
import os
import sys
from dataclasses import replace

import polars as pl
import pytest

from guards import inputs
from guards.data.dataset import open_dataset
from guards.data.profile import to_bytes
from guards.digest import Digest
from guards.errors import GateRefused, Malformed, Unreadable, Untrusted, UsageError
from guards.gate import Admitted
from guards.inputs import load_inputs, profile_of
from guards.provenance import ledger, snapshot
from guards.provenance.collection import strangers
from guards.provenance.lines import Entry
from guards.provenance.manifest import Name
from guards.provenance.memory import Memory
from guards.provenance.signing import parse_envelope
from guards.provenance.snapshot import Snapshot, take
from guards.record import parse
from guards.verdict import Decision, load_policy

TERABYTE = 1 << 40


@pytest.fixture
def passed(spine):
    assert spine.scan(ledger=spine.home / "ledger").verdict
    return spine


def inflate(path):
    """A file that claims a terabyte and holds none of it."""
    path.touch()
    os.truncate(path, TERABYTE)


class TestHugeFiles:
    """What is larger than what was signed is refused unread: it fills no disk and takes no hour."""

    @pytest.mark.parametrize("name", ["a.parquet", "z.parquet", "more/z.parquet"])
    def test_it_is_neither_copied_nor_read(self, spine, name):
        inflate(spine.batch / name)
        done = spine.scan()
        assert done.verdict.decision is Decision.BLOCK
        assert f"too-large: {name}" in done.verdict.reasons[0].text
        assert not any(reason.code == "missing-file" for reason in done.verdict.reasons)
        assert spine.codes()[-1] == "too-large"

    def test_nor_by_the_gate(self, passed):
        inflate(passed.batch / "a.parquet")
        with pytest.raises(GateRefused, match="too-large"):
            passed.gate()

    def test_nor_where_a_reference_is_made_of_it(self, spine):
        inflate(spine.batch / "z.parquet")
        with pytest.raises(Untrusted, match="too-large"):
            profile_of(spine.batch, spine.trust)

    def test_what_nobody_signed_is_named_where_it_lies(self, spine, monkeypatch):
        monkeypatch.setattr(sys.modules["guards.remote"], "stage", None)
        spine.manifest.unlink()
        assert spine.scan().verdict.decision is Decision.BLOCK

    def test_a_small_addition_is_still_told_for_what_it_is(self, spine):
        (spine.batch / "z.parquet").write_bytes(b"x")
        assert spine.codes() == ["extra-file"]

    def test_a_file_that_never_stops_growing_is_not_followed(self, spine, monkeypatch, tmp_path):
        look = snapshot._copy

        def growing(opened, target):
            with (spine.batch / opened.path).open("ab") as file:
                file.write(b"more")
            look(opened, target)
            assert target.stat().st_size == opened.status.st_size

        monkeypatch.setattr(snapshot, "_copy", growing)
        (tmp_path / "p").mkdir()
        walked = snapshot.stage(spine.batch, tmp_path / "p")
        assert {problem.code for problem in walked.unsafe} == {"changed-while-read"}


class TestHistory:
    def test_a_pinned_scan_of_an_old_version_does_not_admit_it(self, passed):
        old = passed.manifest.read_bytes()
        passed.sign(version=2)
        assert passed.scan(ledger=passed.home / "ledger").verdict
        passed.manifest.write_bytes(old)
        assert passed.scan(ledger=passed.home / "ledger", version=1).verdict
        with pytest.raises(GateRefused, match="superseded: version 2"):
            passed.gate(ledger=passed.home / "ledger")

    @pytest.mark.parametrize("kind", ["fifo", "huge"])
    def test_a_ledger_that_is_no_log_is_told(self, passed, kind):
        passed.log.unlink()
        os.mkfifo(passed.log) if kind == "fifo" else inflate(passed.log)
        with pytest.raises((UsageError, Malformed)):
            ledger.current(passed.home / "ledger")
        with pytest.raises(GateRefused, match="does not verify"):
            passed.gate(ledger=passed.home / "ledger")

    @pytest.mark.parametrize("kind", ["fifo", "huge"])
    def test_a_record_that_is_no_file_is_refused(self, passed, kind):
        passed.record.unlink()
        os.mkfifo(passed.record) if kind == "fifo" else inflate(passed.record)
        with pytest.raises(GateRefused, match="has not passed"):
            passed.gate()

    def test_a_state_that_is_a_fifo_does_not_hang(self, spine):
        memory = Memory(spine.home / "state")
        assert spine.verify(state=memory)
        [path] = memory.directory.glob(f"{'[0-9a-f]' * 64}.json")
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(UsageError, match="not a plain file"):
            spine.verify(state=memory)


class TestSteering:
    def test_a_signed_reference_cannot_replace_the_pinned_one(self, spine):
        profile = spine.home / "reference.profile"
        profile.write_bytes(to_bytes(profile_of(spine.batch / "a.parquet", None)))
        pinned = replace(
            spine.policy,
            pins={"reference": str(Digest.of(profile.read_bytes()))},
            files={"reference": str(profile)},
        )
        with pytest.raises(Untrusted, match="the policy pins"):
            load_inputs(pinned, spine.batch, spine.trust, spine.verify().manifest.created)

    @pytest.mark.parametrize(
        "line",
        [
            f'pins = {{refrence = "sha256:{0:064}"}}',
            'pins = {reference = "sha256:00"}',
            'files = {contrakt = "x"}',
            "settings = {integrty = {}}",
            "settings = {labels = {max_rows = 1}}",
            "name = 3",
            'false_alarm_budget = "x"',
        ],
    )
    def test_what_is_misspelt_in_a_policy_is_told(self, spine, line):
        path = spine.home / "m1.toml"
        path.write_text(path.read_text().replace('name = "m1"', line))
        with pytest.raises(UsageError):
            load_policy(path)

    @pytest.mark.parametrize("secret", [b"", b"guess"])
    def test_a_secret_that_was_emptied_draws_no_seed(self, spine, tmp_path, monkeypatch, secret):
        monkeypatch.setenv("TOADSTONE_HOME", str(tmp_path))
        (tmp_path / "secret").write_bytes(secret)
        with pytest.raises(UsageError, match="32 bytes"):
            inputs.draw_seed(spine.policy, take(spine.batch).snapshot.root)


def test_a_store_swapped_after_the_proof_is_not_what_a_table_is_read_from(passed, monkeypatch):
    admitted = passed.gate(into=passed.home / "store")
    honest = admitted.table()
    prove = Admitted.open

    def and_swap(self, path):
        data = prove(self, path)
        (self.root / path).chmod(0o644)
        (self.root / path).write_bytes(b"swapped")
        return data

    monkeypatch.setattr(Admitted, "open", and_swap)
    assert admitted.table().equals(honest)


def test_a_link_to_nowhere_at_out_is_told(spine):
    (spine.home / "run").symlink_to(spine.home / "nowhere")
    with pytest.raises(UsageError, match="choose another --out"):
        spine.scan()


class TestDisguises:
    """What one reader unpacks, decodes or splits and another does not is examined by neither."""

    CSV = b"x,label\n" + b"1,a\n2,b\n" * 20

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (gzip.compress(CSV, mtime=0), "gzip"),
            (CSV.decode().encode("utf-16"), "UTF-16"),
            (CSV.replace(b",", b";"), "something else than a comma"),
            (CSV.replace(b",", b"\t"), "something else than a comma"),
        ],
        ids=["gzip", "utf-16", "semicolon", "tab"],
    )
    def test_a_csv_that_is_something_else_is_not_read(self, tmp_path, data, told):
        (tmp_path / "a.csv").write_bytes(data)
        with pytest.raises(Unreadable, match=told):
            open_dataset(tmp_path, ["a.csv"])

    def test_a_compressed_jsonl_is_not_read(self, tmp_path):
        (tmp_path / "a.jsonl").write_bytes(gzip.compress(b'{"x":1}\n' * 9))
        with pytest.raises(Unreadable, match="gzip"):
            open_dataset(tmp_path, ["a.jsonl"])

    @pytest.mark.parametrize("pattern", ["*", "^x$", "^.*$"])
    def test_a_name_that_is_a_pattern_stands_for_itself(self, tmp_path, pattern):
        frame = pl.DataFrame({"x": [1, 2], pattern: [3, 4], "label": ["a", "b"]})
        frame.write_parquet(tmp_path / "a.parquet")
        opened = open_dataset(tmp_path, ["a.parquet"])
        assert opened.frame([pattern]).to_dict(as_series=False) == {pattern: [3, 4]}
        assert opened.frame(list(opened.schema)).equals(frame)

    def test_a_name_with_a_nul_is_refused(self, tmp_path):
        pl.DataFrame({"\0rows": [1, 2]}).write_parquet(tmp_path / "a.parquet")
        with pytest.raises(Unreadable, match="NUL"):
            open_dataset(tmp_path, ["a.parquet"])


def test_a_union_of_other_files_is_no_union_of_its_parents(passed):
    record = parse(parse_envelope(passed.record.read_bytes()))
    files = take(passed.batch).snapshot.files
    laid = Snapshot(files=tuple(replace(file, path=f"2013-01/{file.path}") for file in files))
    about = Entry(
        record=record.root,
        name=Name("acme/flights", "2013-01"),
        version=1,
        root=record.root,
        decision="PASS",
        policy=record.policy,
        time=record.time,
    )
    assert list(strangers([about], laid, [record.root])) == []
    more = Snapshot(files=(*laid.files, replace(files[0], path="2013-02/a.parquet")))
    swapped = Snapshot(files=(replace(laid.files[0], size=1), *laid.files[1:]))
    for union in (more, swapped):
        assert list(strangers([about], union, [record.root]))
    assert list(strangers([about], laid, []))
    assert list(strangers([replace(about, decision="BLOCK")], laid, [record.root]))
