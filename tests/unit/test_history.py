"""Earlier admitted versions, by a real ledger: what is kept, what counts, and what comes of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guards import history, record
from guards.cli import main
from guards.data.dataset import open_dataset
from guards.data.earlier import EarlierProfile, History
from guards.data.profile import build_profile, to_bytes
from guards.digest import Digest
from guards.errors import Malformed, Untrusted
from guards.history import KEPT, About, recall, statistics
from guards.provenance import ledger
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse_name
from guards.provenance.signing import load_public, sign
from guards.record import missing_documents, parse, payload
from guards.scan import Scanned
from guards.verdict import Decision, Policy

NAME = "acme/readings"
RULES = ("integrity", "provenance")
# What is kept and what counts does not depend on what a rule watches, so most tests need no model.
POLICY = Policy(name="h", rules=RULES, required=RULES)
WATCHING = Policy(name="w", rules=(*RULES, "history"), required=(*RULES, "history"))
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS, SOURCES = 360, 3


def table(seed: int, *, flips: float = 0.0) -> pa.Table:
    """Rows of three classes that two columns tell apart; `flips` of source s0 are labelled c."""
    rng = np.random.default_rng(seed)
    label = np.arange(ROWS) % 3
    x, y = (rng.normal(size=ROWS) + 3 * (label == kind) for kind in (0, 1))
    source = rng.integers(SOURCES, size=ROWS)
    wrong = (source == 0) & (rng.random(ROWS) < flips)
    names = np.array(["a", "b", "c"])[np.where(wrong, (label + 1) % 3, label)]
    return pa.table({"x": x, "y": y, "label": names, "source": [f"s{s}" for s in source]})


@pytest.fixture
def publish(spine) -> Callable[..., Scanned]:
    """Sign and scan the next version into the ledger; a day passes in between."""
    days = count()

    def make(version: int, *, seed: int | None = None, name: str = NAME, **more) -> Scanned:
        flips, policy = more.pop("flips", 0.0), more.pop("policy", POLICY)
        for path in spine.batch.rglob("*.parquet"):
            path.unlink()
        for folder in spine.batch.iterdir():
            folder.rmdir()
        spine.manifest.unlink(missing_ok=True)
        pq.write_table(
            table(version if seed is None else seed, flips=flips), spine.batch / "a.parquet"
        )
        moment = START + timedelta(days=next(days))
        spine.sign(name=name, version=version, created=moment)
        return spine.scan(ledger=spine.home / "ledger", policy=policy, at=moment, **more)

    return make


@pytest.fixture
def three(publish, spine):
    """Three admitted versions."""
    assert [publish(version).verdict.decision for version in (1, 2, 3)] == [Decision.PASS] * 3
    return spine


def about(version: int = 9, name: str = NAME, root: bytes = b"new") -> About:
    return About(name=parse_name(name), version=version, root=Digest.of(root))


def versions(spine, **more) -> list[int]:
    found = recall(spine.home / "ledger", spine.trust, POLICY, about(**more))
    return [earlier.version for earlier in found.versions]


def test_a_version_that_moved_is_held_against_those_before_it(publish, spine):
    for version in (1, 2, 3, 4):
        clean = publish(version, policy=WATCHING)
        assert clean.verdict.decision is Decision.PASS
        seen = clean.examinations[2].outcome.measured.statistics
        assert seen["versions"] == version - 1
        assert (seen["judged"] > 0) == (version > 3), "three are needed to judge a fourth"
        assert ("at least 3 earlier versions are needed" in seen["note"]) == (version < 4)
    spoilt = publish(5, flips=0.6, policy=WATCHING)
    assert spoilt.verdict.decision is Decision.QUARANTINE
    told = [(f.code, f.subject.name) for f in spoilt.examinations[2].findings]
    assert ("moved-source", "s0") in told
    # A model that learns the flipped labels may do worse on others too, but not as much.
    moved = {f.subject.name: f for f in spoilt.examinations[2].findings if f.code == "moved-source"}
    assert max(moved, key=lambda name: moved[name].evidence[0].value) == "s0"
    # What was not admitted is no witness for the next version.
    assert versions(spine) == [4, 3, 2, 1]
    kept = next((spine.home / "ledger" / "statistics").iterdir()).read_bytes()
    assert {"class", "source"} == set(json.loads(kept)["rules"]["history"])


def test_statistics_are_kept_beside_the_record_and_bound_by_it(three):
    home = three.home / "ledger"
    for entry in ledger.verify(home, three.trust).entries:
        record = home / "records" / f"{entry.record.hex}.json"
        bound = parse_of(record).bindings["statistics.json"]
        data = (home / "statistics" / f"{bound}.json").read_bytes()
        assert Digest.of(data).hex == bound
        assert json.loads(data)["rules"] == {}


def parse_of(path):
    from guards.provenance.signing import parse_envelope

    return parse(parse_envelope(path.read_bytes()))


def test_what_admits_nothing_is_not_kept(publish, spine):
    publish(1, policy=replace(POLICY, admits=False))
    publish(2, seed=2)
    kept = list((spine.home / "ledger" / "statistics").iterdir())
    assert len(kept) == 1
    assert versions(spine) == [2]


def test_only_earlier_versions_of_the_name_count_and_never_the_same_bytes(three, publish):
    publish(1, name="acme/other")
    assert versions(three, version=3) == [2, 1]
    assert versions(three, name="acme/third") == []
    same = ledger.verify(three.home / "ledger", three.trust).entries[2].root
    found = recall(three.home / "ledger", three.trust, POLICY, replace(about(), root=same)).versions
    assert [earlier.version for earlier in found] == [2, 1]


def test_the_same_bytes_under_another_version_count_once(three, publish):
    publish(4, seed=3)
    assert versions(three) == [4, 2, 1]


def test_other_partitions_are_peers_by_their_newest_version(publish, spine):
    for month, version in (("01", 1), ("01", 2), ("02", 1), ("03", 1)):
        publish(version, seed=int(month) * 10 + version, name=f"{NAME}/{month}")
    found = recall(spine.home / "ledger", spine.trust, POLICY, about(3, f"{NAME}/01")).versions
    named = [(earlier.name.partition, earlier.version) for earlier in found]
    assert sorted(named) == [("01", 1), ("01", 2), ("02", 1), ("03", 1)]
    found = recall(spine.home / "ledger", spine.trust, POLICY, about(1, f"{NAME}/04")).versions
    assert sorted((e.name.partition, e.version) for e in found) == [("01", 2), ("02", 1), ("03", 1)]
    assert versions(spine) == [], "a whole is not held against its parts"


def test_what_passed_without_a_rule_that_is_required_now_is_no_witness(three):
    stricter = replace(POLICY, rules=(*RULES, "quality"), required=(*RULES, "quality"))
    assert not recall(three.home / "ledger", three.trust, stricter, about()).versions


def test_bytes_that_were_judged_otherwise_since_are_no_witness(three, spine):
    last = ledger.verify(spine.home / "ledger", spine.trust).entries[-1]
    blocked = replace(last, decision="BLOCK", record=Digest.of(b"{}"))
    ledger.append(spine.home / "ledger", blocked, b"{}", spine.keys.private("scanner"))
    assert versions(spine) == [2, 1]


def test_only_the_newest_count(three, monkeypatch):
    monkeypatch.setattr("guards.history.KEPT", 2)
    assert KEPT > 2
    assert versions(three) == [3, 2]


def test_another_release_of_the_code_is_not_comparable(three, monkeypatch):
    monkeypatch.setattr("guards.history._RELEASE", "toadstone of another day")
    assert versions(three) == []


def test_an_old_ledger_without_statistics_verifies_and_has_no_history(three):
    home = three.home / "ledger"
    entry = ledger.verify(home, three.trust).entries[0]
    data = (home / "records" / f"{entry.record.hex}.json").read_bytes()
    from guards.provenance.signing import sign
    from guards.record import payload

    record = parse_of(home / "records" / f"{entry.record.hex}.json")
    bindings = {k: v for k, v in record.bindings.items() if k != "statistics.json"}
    old = sign(payload(replace(record, bindings=bindings)), three.keys.private("scanner")).to_json()
    assert old != data
    (home / "checkpoint").unlink()
    ledger.append(home, replace(entry, record=Digest.of(old)), old, three.keys.private("scanner"))
    found = recall(home, three.trust, POLICY, about())
    assert found.versions == ()
    assert "1 more were admitted before statistics were kept" in found.note


class TestAttacks:
    """Who may write the ledger's directory, and holds no scanner's key, decides nothing."""

    def test_planted_statistics_are_refused(self, three, publish):
        for path in (three.home / "ledger" / "statistics").iterdir():
            path.write_bytes(path.read_bytes().replace(b'"schema":', b'"schema": '))
        with pytest.raises(Malformed, match="was changed"):
            publish(4)

    @pytest.mark.parametrize("room", ["statistics", "records"])
    def test_removed_ones_are_not_forgotten(self, three, publish, room):
        next((three.home / "ledger" / room).iterdir()).unlink()
        with pytest.raises(Malformed, match="is missing; restore it"):
            publish(4)

    @pytest.mark.parametrize("line", [0, 1])
    def test_an_entry_cannot_be_taken_out_of_the_middle(self, three, publish, line, logs):
        lines = logs.read(three.ledger)
        del lines[line]
        logs.write(three.ledger, lines)
        with pytest.raises(Malformed, match="ledger entry"):
            publish(4)

    def test_an_old_state_of_the_log_has_a_shorter_history_that_is_told(self, three, logs):
        """Whoever kept a copy can put it back: it is signed, and only a memory knows better."""
        logs.write(three.ledger, logs.read(three.ledger)[:1], three.keys.private("scanner"))
        assert versions(three) == [1]
        found = recall(three.home / "ledger", three.trust, POLICY, about())
        assert "1 admitted versions" in found.note

    @pytest.mark.parametrize("who", ["stranger", "producer", "neighbour"])
    def test_a_ledger_signed_by_somebody_else_is_refused(self, three, publish, who):
        last = ledger.verify(three.home / "ledger", three.trust).entries[-1]
        forged = replace(last, version=8, root=Digest.of(b"forged"))
        ledger.append(three.home / "ledger", forged, b"{}", three.keys.private(who))
        with pytest.raises(Untrusted):
            publish(4)

    def test_a_record_without_a_scanners_signature_is_refused(self, three):
        """The key may have been taken out of its role for this name after the line was signed."""
        home, last = three.home / "ledger", None
        last = ledger.verify(home, three.trust).entries[-1]
        unsigned = b'{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[]}'
        forged = replace(last, record=Digest.of(unsigned), root=Digest.of(b"x"), version=8)
        ledger.append(home, forged, unsigned, three.keys.private("scanner"))
        with pytest.raises((Untrusted, Malformed)):
            recall(home, three.trust, POLICY, about())

    def test_a_record_about_something_else_is_refused(self, three):
        home = three.home / "ledger"
        last = ledger.verify(home, three.trust).entries[-1]
        data = (home / "records" / f"{last.record.hex}.json").read_bytes()
        moved = replace(last, version=8, root=Digest.of(b"x"))
        ledger.append(home, moved, data, three.keys.private("scanner"))
        with pytest.raises(Malformed, match="not about what its entry says"):
            recall(home, three.trust, POLICY, about())

    def test_a_scanner_of_other_names_only_is_no_witness(self, three):
        trust_dir = three.home / "narrow"
        key = trusts.TrustedKey(
            key=load_public(three.keys.pub("scanner")), roles=("scanner",), names=("umbrella/*",)
        )
        trusts.create(trust_dir, key)
        with pytest.raises(Untrusted):
            recall(three.home / "ledger", trusts.load(trust_dir), POLICY, about())


def test_only_finite_numbers_of_the_largest_groups_are_kept(monkeypatch):
    from guards.findings import Examination, Measured, Ran

    monkeypatch.setattr("guards.history.GROUPS", 2)
    watched = {"class": {k: {"rows": float(n), "m": m} for k, n, m in
               (("a", 5, 1.0), ("b", 9, float("nan")), ("c", 7, 2.0))}}  # fmt: skip
    ran = Examination(
        rule="r",
        snapshot=Digest.of(b""),
        outcome=Ran(Measured(statistics={"watched": watched})),
    )
    kept = statistics([ran])["rules"]["r"]["class"]
    assert kept == {"b": {"rows": 9.0}, "c": {"rows": 7.0, "m": 2.0}}


class TestProfiles:
    """What admitted versions looked like, kept and remembered as the statistics are."""

    def test_they_are_kept_beside_the_record_and_bound_by_it(self, three):
        home = three.home / "ledger"
        found = recall(home, three.trust, POLICY, about())
        assert [earlier.version for earlier in found.profiles] == [3, 2, 1]
        for earlier in found.profiles:
            bound = parse_of(home / "records" / f"{earlier.record.hex}.json").bindings
            data = (home / "profiles" / f"{bound['profile.json']}.json").read_bytes()
            assert to_bytes(earlier.profile) == data
            assert Digest.of(data).hex == bound["profile.json"]
            assert earlier.profile.rows == ROWS
        kept = len(list((home / "profiles").iterdir()))
        assert kept == 3

    def test_versions_are_cut_alike_so_that_they_merge_without_loss(self, three):
        rolling = recall(three.home / "ledger", three.trust, POLICY, about()).rolling()
        assert rolling is not None
        assert rolling.told == ""
        assert rolling.profile.rows == 3 * ROWS
        assert len(rolling.profile.by_name["x"].edges) > 20

    def test_what_admits_nothing_leaves_no_profile(self, publish, spine):
        publish(1, policy=replace(POLICY, admits=False))
        assert not (spine.home / "ledger" / "profiles").exists()
        found = recall(spine.home / "ledger", spine.trust, POLICY, about())
        assert found.profiles == ()
        assert found.rolling() is None

    @pytest.mark.parametrize("spoil", ["missing", "changed"])
    def test_a_profile_that_is_missing_or_changed_refuses(self, three, spoil):
        path = next((three.home / "ledger" / "profiles").iterdir())
        if spoil == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes().replace(b'"nulls":0', b'"nulls":1', 1))
        with pytest.raises(Malformed, match=f"{spoil}; restore it"):
            recall(three.home / "ledger", three.trust, POLICY, about())

    def test_other_partitions_give_their_newest(self, publish, spine):
        for month, version in (("01", 1), ("01", 2), ("02", 1)):
            publish(version, seed=int(month) * 10 + version, name=f"{NAME}/{month}")
        found = recall(spine.home / "ledger", spine.trust, POLICY, about(1, f"{NAME}/03"))
        named = sorted((e.name.partition, e.version) for e in found.profiles)
        assert named == [("01", 2), ("02", 1)]

    def test_one_of_another_schema_is_left_out_and_refuses_nothing(self, three):
        home = three.home / "ledger"
        entry = ledger.verify(home, three.trust).entries[-1]
        record = parse_of(home / "records" / f"{entry.record.hex}.json")
        later = b'{"schema":"toadstone-profile/9"}'
        (home / "profiles" / f"{Digest.of(later).hex}.json").write_bytes(later)
        bound = {**record.bindings, "profile.json": Digest.of(later).hex}
        data = sign(payload(replace(record, bindings=bound)), three.keys.private("scanner"))
        written = data.to_json() + b"\n"
        again = replace(entry, record=Digest.of(written), time=entry.time + timedelta(hours=1))
        ledger.append(home, again, written, three.keys.private("scanner"))
        found = recall(home, three.trust, POLICY, about())
        assert [earlier.version for earlier in found.profiles] == [2, 1]
        assert [earlier.version for earlier in found.versions] == [3, 2, 1]

    def test_they_steer_and_are_named(self, three):
        found = recall(three.home / "ledger", three.trust, POLICY, about())
        assert found.digest != replace(found, profiles=found.profiles[1:]).digest
        assert replace(found, profiles=()).digest != replace(found, versions=()).digest

    def test_versions_without_a_common_column_have_no_rolling_profile(self, tmp_path):
        made = []
        for number, name in enumerate("xy"):
            pq.write_table(pa.table({name: list(range(50))}), tmp_path / f"{number}.parquet")
            profile = build_profile(open_dataset(tmp_path, [f"{number}.parquet"]))
            made.append(
                EarlierProfile(
                    name=parse_name(NAME),
                    version=number,
                    root=profile.digest,
                    record=profile.digest,
                    profile=profile,
                )
            )
        assert History(profiles=tuple(made)).rolling() is None
        merged = History(profiles=tuple(made[:1])).rolling()
        assert merged is not None
        assert merged.profile == made[0].profile


class TestWhatLedgerVerifySays:
    """`ledger verify` looks at what later data is held against, not at the records alone."""

    @pytest.mark.parametrize("kind", ["statistics", "profiles"])
    @pytest.mark.parametrize("how", ["missing", "changed"])
    def test_a_document_that_is_gone_or_edited_is_told(self, publish, spine, capsys, kind, how):
        publish(1)
        publish(2)
        log = ["ledger", "verify", str(spine.home / "ledger"), "--trust", str(spine.trust_dir)]
        assert main(log) == 0
        path = sorted((spine.home / "ledger" / kind).iterdir())[0]
        path.unlink() if how == "missing" else path.write_bytes(path.read_bytes() + b" ")
        capsys.readouterr()
        assert main([*log, "--format", "json"]) == 12
        problems = json.loads(capsys.readouterr().out)["problems"]
        assert problems
        assert all(one.startswith(f"the {kind} of {NAME} version ") for one in problems)
        assert all(how in one for one in problems)

    def test_what_admitted_nothing_keeps_nothing_and_misses_nothing(self, publish, spine):
        publish(1, seed=5)
        shown = replace(POLICY, admits=False)
        publish(2, policy=shown)
        trust = trusts.load(spine.trust_dir)
        entries = ledger.verify(spine.home / "ledger", trust).entries
        assert len(entries) == 2
        assert list(missing_documents(spine.home / "ledger", entries)) == []
        assert len(list((spine.home / "ledger" / "statistics").iterdir())) == 1

    def test_both_documents_of_a_run_are_meant(self):
        assert {history.FILE, history.PROFILE} == set(record.KEPT)
