"""The judgement and the policy: failing closed, in every combination that can be listed."""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest

from guards.digest import Digest
from guards.errors import UsageError
from guards.findings import (
    Confidence,
    Examination,
    Failed,
    Finding,
    Inapplicable,
    Measured,
    Ran,
    Severity,
    Skipped,
    Subject,
)
from guards.verdict import Decision, Policy, judge, load_policy

HERE, THERE = Digest.of(b"here"), Digest.of(b"there")
POLICY = Policy(name="test", rules=("a", "b", "c"), required=("a", "b"))
CLEAN = Ran(Measured(statistics={}))


def examined(rule, outcome=CLEAN, snapshot=HERE):
    return Examination(rule=rule, snapshot=snapshot, outcome=outcome)


def found(severity, confidence=Confidence.HIGH):
    finding = Finding(
        rule="a",
        code="bad",
        severity=severity,
        confidence=confidence,
        subject=Subject(kind="dataset"),
        summary="something",
    )
    return Ran(Measured(statistics={}, findings=(finding,)))


def decide(*examinations, policy=POLICY):
    return judge(policy, HERE, examinations).decision


def test_what_was_looked_at_and_found_clean_passes():
    verdict = judge(POLICY, HERE, [examined("a"), examined("b")])
    assert verdict
    assert verdict.reasons == ()
    assert verdict.decision.exit_status == 0


def test_an_empty_list_blocks_even_if_nothing_is_required():
    for policy in (POLICY, Policy(name="lax", rules=("a",), required=())):
        verdict = judge(policy, HERE, [])
        assert not verdict
        assert verdict.decision is Decision.BLOCK
        assert verdict.reasons


@pytest.mark.parametrize("outcome", [Skipped("no trust"), Failed("broken"), None])
def test_a_required_rule_that_did_not_look_blocks(outcome):
    second = [examined("b", outcome)] if outcome else []
    assert decide(examined("a"), *second) is Decision.BLOCK


@pytest.mark.parametrize("outcome", [Skipped("no contract"), Failed("broken")])
def test_a_rule_that_is_not_required_may_be_skipped(outcome):
    assert decide(examined("a"), examined("b"), examined("c", outcome)) is Decision.PASS


def test_what_is_inapplicable_does_not_block_but_cannot_stand_alone():
    nothing = Inapplicable("no image")
    assert decide(examined("a"), examined("b", nothing)) is Decision.PASS
    assert decide(examined("a", nothing), examined("b", nothing)) is Decision.BLOCK


def test_a_policy_may_want_a_rule_to_have_something_to_look_at():
    """Else whoever signs the labels as a column to ignore is judged by the other rules alone."""
    policy = Policy(name="p", rules=("a", "b"), required=("a", "b"), applicable=("b",))
    given = [examined("a"), examined("b", Inapplicable("no column has the role label"))]
    verdict = judge(policy, HERE, given)
    assert verdict.decision is Decision.BLOCK
    assert [(reason.rule, reason.code) for reason in verdict.reasons] == [("b", "inapplicable")]
    assert judge(policy, HERE, [examined("a"), examined("b")])


def test_what_is_to_be_applicable_has_to_be_required(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('rules = ["quality", "labels"]\nrequired = ["quality"]\nadmits = false\n')
    assert load_policy(path).applicable == ()
    path.write_text(path.read_text() + 'applicable = ["labels"]\n')
    with pytest.raises(UsageError, match="applicable but not in `required`"):
        load_policy(path)


@pytest.mark.parametrize("rule", ["a", "b", "c"])
def test_an_examination_of_other_bytes_blocks(rule):
    given = [examined("a"), examined("b"), examined("c")]
    swapped = [examined(e.rule, snapshot=THERE) if e.rule == rule else e for e in given]
    assert decide(*swapped) is Decision.BLOCK


def test_a_rule_examined_twice_must_be_good_twice():
    assert decide(examined("a"), examined("a", Failed("x")), examined("b")) is Decision.BLOCK


@pytest.mark.parametrize(("severity", "confidence"), list(product(Severity, Confidence)))
def test_severity_decides_and_confidence_may_excuse(severity, confidence):
    strict = {Severity.MEDIUM: Decision.QUARANTINE, Severity.HIGH: Decision.BLOCK}
    outcome = found(severity, confidence)
    assert decide(examined("a", outcome), examined("b")) is strict.get(severity, Decision.PASS)
    sure = Policy(
        name="sure", rules=("a", "b"), required=("a", "b"), min_confidence=Confidence.HIGH
    )
    expected = (
        strict.get(severity, Decision.PASS) if confidence is Confidence.HIGH else Decision.PASS
    )
    assert decide(examined("a", outcome), examined("b"), policy=sure) is expected


def test_reasons_are_complete_and_the_worst_comes_first():
    verdict = judge(
        POLICY, HERE, [examined("a", found(Severity.MEDIUM)), examined("b", Skipped("why"))]
    )
    assert [reason.decision for reason in verdict.reasons] == [Decision.BLOCK, Decision.QUARANTINE]
    assert [reason.code for reason in verdict.reasons] == ["skipped", "bad"]
    assert verdict.decision.exit_status == 12


def test_the_verdict_names_all_it_stands_on():
    given = [examined("a"), examined("b")]
    verdict = judge(POLICY, HERE, given)
    assert verdict.snapshot == HERE
    assert verdict.policy == POLICY.digest
    assert verdict.examinations == tuple(examination.digest for examination in given)


def test_exit_statuses_are_those_of_the_contract():
    assert [decision.exit_status for decision in Decision] == [0, 11, 12]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},
        {"rules": ("a",), "required": ()},
        {"admits": False},
        {"quarantine_at": Severity.LOW},
        {"block_at": Severity.MEDIUM},
        {"pins": {"contract": "x"}},
        {"settings": {"a": {"level": 1}}},
        {"min_confidence": Confidence.HIGH},
        {"false_alarm_budget": 0.5},
        {"pictures": False},
    ],
)
def test_whatever_steers_the_verdict_is_in_the_digest_of_the_policy(change):
    assert dataclasses.replace(POLICY, **change).digest != POLICY.digest


def test_where_files_lie_is_not_in_the_digest():
    assert dataclasses.replace(POLICY, files={"contract": "/x"}).digest == POLICY.digest


@pytest.mark.parametrize("name", ["default", "explore"])
def test_built_in_policies_load(name):
    policy = load_policy(name)
    assert policy.name == name
    assert policy.admits is (name == "default")
    assert set(policy.required) <= set(policy.rules)


GOOD = 'rules = ["integrity", "provenance"]\nrequired = ["integrity", "provenance"]\n'


def test_a_policy_file_is_read(tmp_path):
    path = tmp_path / "strict.toml"
    path.write_text(GOOD + 'block_at = "medium"\n[settings.integrity]\n[files]\nreference = "r"\n')
    policy = load_policy(path)
    assert policy.name == "strict"
    assert policy.block_at is Severity.MEDIUM
    assert policy.files == {"reference": str(tmp_path / "r")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rules = []\nrequired = []",
        'rules = ["integrity"]\nrequired = ["integrity"]',
        'rules = ["provenance"]\nrequired = ["provenance"]',
        GOOD + 'admits = "false"',
        GOOD + "admits = 0",
        GOOD + 'pictures = "no"',
        GOOD + 'block_at = "lethal"',
        GOOD + "block_at = 3",
        GOOD + 'quarantine_at = "high"\nblock_at = "low"',
        GOOD + "requires = []",
        GOOD + "settings = 3",
        GOOD + "settings = {drift = 3}",
        GOOD + "settings = {drift = {when = 2020-01-01}}",
        'rules = ["integrity"]\nrequired = ["integrity", "provenance"]',
        "rules = 5\nrequired = 5",
        'rules = "integrity"\nrequired = "integrity"',
        GOOD + "files = 3",
        "rules = [",
    ],
)
def test_a_doubtful_policy_is_no_policy(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="policy"):
        load_policy(path)


def test_an_unknown_policy_names_those_there_are(tmp_path):
    with pytest.raises(UsageError, match="default, explore"):
        load_policy(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="built-in"):
        load_policy(tmp_path / "binary.toml")
