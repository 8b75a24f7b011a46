"""Attacks on waivers: what an approver accepted is used for other data, another time, or too much.

The dataset has two real flaws, a missing label and an infinite value, each of which quarantines it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guards.digest import Digest
from guards.errors import GateRefused, Untrusted, UsageError
from guards.provenance import ledger
from guards.provenance import trust as trusts
from guards.provenance.signing import (
    PAYLOAD_TYPE,
    Envelope,
    add_signature,
    load_public,
    parse_envelope,
    sign,
)
from guards.provenance.waivers import weigh
from guards.report.finished import open_run
from guards.report.html import render
from guards.verdict import Decision, Policy, load_policy
from guards.waiving import Wish, countersign, waive

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
BOTH = ("missing-labels", "infinite-values")


@dataclass(frozen=True)
class Flawed:
    """The spine with flaws, an approver in its trust, and waivers."""

    spine: object
    policy: Policy

    @property
    def run(self) -> Path:
        return self.spine.home / "run"

    def scan(self, *waivers: Path, **more):
        given = {"policy": self.policy, "waivers": waivers, **more}
        return self.spine.scan(**given)

    def gate(self, **more):
        return self.spine.gate(policy=self.policy, **more)

    def waive(self, code: str = "", *who: str, rule: str = "quality", **more) -> Path:
        wish = Wish(
            rule=rule,
            code=code,
            reason="the sensor of row 3 is broken; looked at by hand",
            created=more.pop("created", NOW),
            expires=more.pop("expires", NOW + 30 * DAY),
        )
        out = self.spine.home / f"{rule}-{code or 'all'}.waiver.json"
        keys = [self.spine.keys.private(each) for each in who or ("approver",)]
        waive(self.run, wish, keys, out, **more)
        return out

    def forge(self, path: Path, edit, who: str = "approver") -> Path:
        document = json.loads(parse_envelope(path.read_bytes()).payload)
        edit(document)
        path.write_bytes(
            sign(json.dumps(document).encode(), self.spine.keys.private(who)).to_json()
        )
        return path


def flaw(spine, where: float = 3) -> None:
    numbers = [float(n) for n in range(40)]
    numbers[int(where)] = float("inf")
    labels = [n % 2 if n != where else None for n in range(40)]
    table = {"x": numbers, "label": labels, "source": ["JFK"] * 40}
    for name in ("a.parquet", "more/b.parquet"):
        pq.write_table(pa.table(table), spine.batch / name)


def resign(spine, **more) -> None:
    """Claim what lies there now, whatever was claimed before."""
    spine.manifest.unlink()
    spine.sign(**more)


@pytest.fixture
def flawed(spine) -> Flawed:
    flaw(spine)
    resign(spine, version=1)
    key = load_public(spine.keys.pub("approver"))
    approver = trusts.TrustedKey(key=key, roles=("approver",), names=("acme/*",))
    trusts.add(spine.trust_dir, approver)
    path = spine.home / "m2.toml"
    rules = '["integrity", "provenance", "quality"]'
    path.write_text(f'name = "m2"\nrules = {rules}\nrequired = {rules}\n')
    made = Flawed(spine, load_policy(path))
    verdict = made.scan().verdict
    assert verdict.decision is Decision.QUARANTINE
    assert {reason.code for reason in verdict.reasons} == set(BOTH)
    return made


def dressed_up(flawed, signers=()) -> None:
    """The run as if its findings were one that harms nobody, and so severe that it covers all."""
    report = json.loads((flawed.run / "report.json").read_bytes())
    for told in report["examinations"]:
        told["findings"] = told.get("findings", [])[:1]
        for finding in told["findings"]:
            finding["severity"] = "critical"
    data = json.dumps(report).encode()
    (flawed.run / "report.json").write_bytes(data)
    document = json.loads(parse_envelope((flawed.run / "record.json").read_bytes()).payload)
    document["predicate"]["bindings"]["report.json"] = Digest.of(data).hex
    payload = json.dumps(document).encode()
    envelope = Envelope(payload_type=PAYLOAD_TYPE, payload=payload, signatures=())
    for who in signers:
        envelope = add_signature(envelope, flawed.spine.keys.private(who))
    (flawed.run / "record.json").write_bytes(envelope.to_json())


class TestWhoseRunItIs:
    @pytest.mark.parametrize("signers", [(), ("stranger",), ("producer",), ("approver",)])
    def test_what_no_scanner_signed_is_not_waived(self, flawed, signers):
        dressed_up(flawed, signers)
        with pytest.raises(Untrusted, match=r"scanner|signed"):
            flawed.waive(trust=flawed.spine.trust)

    def test_nor_without_trust_what_nobody_signed(self, flawed):
        dressed_up(flawed)
        with pytest.raises(Untrusted, match="nobody signed"):
            flawed.waive()

    def test_what_a_scanner_signed_is(self, flawed):
        assert flawed.scan(flawed.waive(trust=flawed.spine.trust)).verdict


class TestWhatAWaiverDoes:
    def test_it_lets_the_data_pass_and_hides_nothing(self, flawed):
        scanned = flawed.scan(flawed.waive())
        verdict = scanned.verdict
        assert verdict.decision is Decision.PASS
        assert {one.reason.code for one in verdict.waived} == set(BOTH)
        codes = {f.code for e in scanned.examinations for f in e.findings}
        assert codes >= set(BOTH), "found all the same"
        [used] = scanned.record.waivers
        assert (used.rule, used.code, used.severity) == ("quality", "", "medium")
        assert used.approvers == (load_public(flawed.spine.keys.pub("approver")).keyid,)
        admitted = flawed.gate()
        assert admitted.record.waivers == (used,)

    def test_the_run_shows_it_and_binds_the_file(self, flawed):
        path = flawed.waive()
        flawed.scan(path)
        report = json.loads((flawed.run / "report.json").read_bytes())
        [shown] = report["waivers"]
        assert shown["counts"]
        assert {one["code"] for one in shown["waived"]} == set(BOTH)
        kept = flawed.run / "waivers" / f"{shown['digest'].removeprefix('sha256:')}.json"
        assert kept.read_bytes() == path.read_bytes()
        page = render(flawed.run)
        assert "the sensor of row 3 is broken" in page
        assert "an approver waived it" in page
        kept.write_bytes(b"{}")
        assert any("waivers/" in told for told in open_run(flawed.run).contradictions)

    def test_of_two_findings_it_covers_one(self, flawed):
        verdict = flawed.scan(flawed.waive("missing-labels")).verdict
        assert verdict.decision is Decision.QUARANTINE
        assert [reason.code for reason in verdict.reasons] == ["infinite-values"]
        assert [one.reason.code for one in verdict.waived] == ["missing-labels"]

    def test_two_waivers_cover_two(self, flawed):
        paths = [flawed.waive(code) for code in BOTH]
        scanned = flawed.scan(*paths)
        assert scanned.verdict
        assert len(scanned.record.waivers) == 2

    def test_what_passed_by_a_waiver_is_no_witness_of_what_is_normal(self, flawed):
        log = flawed.spine.home / "ledger"
        assert flawed.scan(flawed.waive(), ledger=log).verdict
        assert ledger.verify(log, flawed.spine.trust).entries[0].decision == "PASS"
        assert not (log / "statistics").exists()
        assert flawed.gate(ledger=log)


def refused(flawed, path: Path, why: str, **more) -> None:
    """The waiver counts for nothing: the verdict is what it was, and the run says why."""
    scanned = flawed.scan(path, **more)
    assert scanned.verdict.decision is Decision.QUARANTINE
    assert not scanned.verdict.waived
    assert not scanned.record.waivers
    [shown] = json.loads((flawed.run / "report.json").read_bytes())["waivers"]
    assert why in shown["refused"]
    with pytest.raises(GateRefused):
        flawed.gate()


class TestWhatItIsNot:
    def test_for_another_version_of_the_same_bytes(self, flawed):
        path = flawed.waive()
        resign(flawed.spine, version=2)
        refused(flawed, path, "version 1, not acme/flights/2013-01 version 2")

    def test_for_another_dataset(self, flawed):
        path = flawed.waive()
        resign(flawed.spine, name="acme/weather/2013-01", version=1)
        refused(flawed, path, "is about acme/flights/2013-01")

    def test_for_other_bytes_of_the_same_version(self, flawed):
        path = flawed.waive()
        flaw(flawed.spine, 5)
        resign(flawed.spine, version=1)
        refused(flawed, path, "other bytes")

    def test_for_another_rule_or_code(self, flawed):
        path = flawed.waive("missing-labels")
        flawed.forge(path, lambda d: d["predicate"].update(code="one-class"))
        scanned = flawed.scan(path)
        assert not scanned.verdict.waived, "good, and about nothing that was found"
        flawed.forge(path, lambda d: d["predicate"].update(rule="drift", code=""))
        assert not flawed.scan(path).verdict.waived

    def test_for_something_worse_than_was_accepted(self, flawed):
        path = flawed.forge(flawed.waive(), lambda d: d["predicate"].update(severity="low"))
        assert flawed.scan(path).verdict.decision is Decision.QUARANTINE

    @pytest.mark.parametrize("at", [NOW + 31 * DAY, NOW - DAY], ids=["expired", "too early"])
    def test_out_of_its_time(self, flawed, at):
        resign(flawed.spine, version=1, created=NOW - 2 * DAY)
        path = flawed.waive()
        why = "expired on" if at > NOW else "is not valid before"
        refused(flawed, path, why, at=at)

    @pytest.mark.parametrize("who", ["scanner", "producer", "stranger", "neighbour"])
    def test_signed_by_somebody_else(self, flawed, who):
        path = flawed.waive("", who)
        why = "no key of the trust" if who == "stranger" else "has not the role approver"
        refused(flawed, path, why)

    def test_signed_by_an_approver_of_other_names(self, flawed):
        spine = flawed.spine
        keys = [
            replace(k, names=("b/*",)) if "approver" in k.roles else k for k in spine.trust.keys
        ]
        trusts._write(spine.trust_dir, keys)
        refused(flawed, flawed.waive(), "is not trusted for acme/flights")

    def test_signed_by_too_few(self, flawed):
        spine = flawed.spine
        second = trusts.TrustedKey(
            key=load_public(spine.keys.pub("second")), roles=("approver",), names=("acme/*",)
        )
        trusts.add(spine.trust_dir, second)
        asked = trusts.Threshold(role="approver", names=("acme/*",), threshold=2)
        trusts.require(spine.trust_dir, asked)
        path = flawed.waive()
        refused(flawed, path, "1 of 2 different keys needed")
        countersign(path, [spine.keys.private("second")], spine.trust)
        assert flawed.scan(path).verdict
        assert flawed.gate()

    @pytest.mark.parametrize(
        "edit",
        [
            lambda d: d.update(predicateType="https://toadstone.dev/scan-record/v1"),
            lambda d: d["predicate"].update(reason=" "),
            lambda d: d["predicate"].update(rule=""),
            lambda d: d["predicate"].update(severity="any"),
            lambda d: d["predicate"].pop("expires"),
            lambda d: d["predicate"].update(expires="never"),
            lambda d: d["predicate"].update(everything=True),
            lambda d: d["subject"].append(d["subject"][0]),
        ],
    )
    def test_a_document_that_is_no_waiver(self, flawed, edit):
        path = flawed.forge(flawed.waive(), edit)
        assert flawed.scan(path).verdict.decision is Decision.QUARANTINE

    def test_edited_after_it_was_signed(self, flawed):
        path = flawed.waive()
        envelope = parse_envelope(path.read_bytes())
        edited = envelope.payload.replace(b'"quality"', b'"qualitz"')
        path.write_bytes(replace(envelope, payload=edited).to_json())
        refused(flawed, path, "no key of the trust signed it")

    @pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"payload": 1}'])
    def test_garbage(self, flawed, data):
        path = flawed.spine.home / "w.json"
        path.write_bytes(data)
        assert flawed.scan(path).verdict.decision is Decision.QUARANTINE

    def test_without_a_trust_nothing_is_waived(self, flawed):
        found = weigh(flawed.waive().read_bytes(), None, NOW, None)
        assert not found
        assert "no trust" in found.refused


class TestAtTheGate:
    """What passed by a waiver passes for as long as it holds, by the gate's own time and trust."""

    def test_an_expired_waiver_takes_the_record_along(self, flawed):
        assert flawed.scan(flawed.waive(expires=NOW + DAY)).verdict
        assert flawed.gate()
        with pytest.raises(GateRefused, match=r"waiver of quality/\* expired"):
            flawed.gate(at=NOW + 2 * DAY)

    def test_an_approver_revoked_since_takes_the_record_along(self, flawed):
        assert flawed.scan(flawed.waive()).verdict
        gone = trusts.Revocation(since=NOW, reason="was no approver at all")
        trusts.revoke(flawed.spine.trust_dir, load_public(flawed.spine.keys.pub("approver")), gone)
        with pytest.raises(GateRefused, match="was no approver at all"):
            flawed.gate()

    def test_an_approver_taken_out_takes_the_record_along(self, flawed):
        assert flawed.scan(flawed.waive()).verdict
        spine = flawed.spine
        keys = [key for key in spine.trust.keys if "approver" not in key.roles]
        trusts._write(spine.trust_dir, keys)
        with pytest.raises(GateRefused, match="no approver of it is trusted any more"):
            flawed.gate()


def with_waivable(flawed, text: str) -> Flawed:
    path = flawed.spine.home / "m3.toml"
    path.write_text((flawed.spine.home / "m2.toml").read_text() + f"waivable = {text}\n")
    return replace(flawed, policy=load_policy(path))


class TestWhatThePolicySays:
    def test_a_policy_may_allow_none(self, flawed):
        strict = with_waivable(flawed, "[]")
        assert strict.policy.digest != flawed.policy.digest
        refusing = strict.scan(flawed.waive())
        assert refusing.verdict.decision is Decision.QUARANTINE
        assert not refusing.verdict.waived

    def test_a_policy_without_a_word_about_it_keeps_its_digest(self, flawed):
        assert "waivable" not in flawed.policy.document

    @pytest.mark.parametrize("rule", ["provenance", "integrity"])
    def test_provenance_and_integrity_are_not_waived_unless_it_says_so(self, flawed, rule):
        spine = flawed.spine
        if rule == "provenance":
            resign(spine, version=1, created=NOW - 2 * DAY, expires=NOW - DAY)
        else:
            (spine.batch / "link").symlink_to("a.parquet")
        flawed.scan()
        path = flawed.waive("", rule=rule)
        assert flawed.scan(path).verdict.decision is Decision.BLOCK
        assert not flawed.scan(path).verdict.waived
        lax = with_waivable(flawed, '["provenance", "integrity", "quality"]')
        verdict = lax.scan(path).verdict
        assert {one.reason.rule for one in verdict.waived} == {rule}
        assert verdict.decision is Decision.BLOCK, "what was not opened was not looked at"
        with pytest.raises(GateRefused):
            lax.gate()

    def test_that_nobody_looked_is_no_finding(self, flawed):
        """A required rule that was skipped cannot be waived: nobody knows what it would find."""
        path = flawed.spine.home / "m4.toml"
        rules = '["integrity", "provenance", "quality", "drift"]'
        path.write_text(f'name = "m4"\nrules = {rules}\nrequired = {rules}\n')
        blind = replace(flawed, policy=load_policy(path))
        waiver = flawed.waive()
        flawed.forge(waiver, lambda d: d["predicate"].update(rule="drift", severity="high"))
        assert "skipped" in {reason.code for reason in blind.scan(waiver).verdict.reasons}

    def test_a_policy_that_lets_unknown_rules_be_waived_is_refused(self, flawed):
        with pytest.raises(UsageError, match="waivable but not in `rules`"):
            with_waivable(flawed, '["qualty"]')


class TestSigning:
    def test_nobody_signs_what_was_not_found(self, flawed):
        with pytest.raises(UsageError, match="the run found no drift/"):
            flawed.waive(rule="drift")
        with pytest.raises(UsageError, match=r"it found .*quality/infinite-values"):
            flawed.waive("one-class")

    def test_nobody_signs_from_a_run_that_was_changed(self, flawed):
        report = flawed.run / "report.json"
        report.write_bytes(report.read_bytes().replace(b"medium", b"high"))
        with pytest.raises(UsageError, match="is not what its record binds"):
            flawed.waive()

    def test_nobody_signs_what_the_trust_would_not_take(self, flawed):
        with pytest.raises(UsageError, match="has not the role approver"):
            flawed.waive("", "scanner", trust=flawed.spine.trust)

    @pytest.mark.parametrize("more", [{"expires": NOW}, {"expires": NOW - DAY}])
    def test_a_waiver_ends_after_it_begins(self, flawed, more):
        with pytest.raises(UsageError, match="ends after it begins"):
            flawed.waive(**more)

    def test_data_that_nobody_vouched_for_has_no_name_to_waive_under(self, flawed):
        flawed.spine.manifest.unlink()
        flawed.scan()
        with pytest.raises(UsageError, match="nobody vouched"):
            flawed.waive(rule="provenance")
