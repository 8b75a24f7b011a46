"""The one place that asks: it catches what data can cause, and lets through what people cause."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from guards import checks
from guards.checks import run
from guards.data.case import Case
from guards.digest import Digest
from guards.errors import Skip, Unreadable, UsageError
from guards.findings import Failed, Inapplicable, Measured, Ran, Skipped
from guards.provenance.roles import Roles
from guards.provenance.snapshot import Entry, Snapshot

CASE = Case(
    snapshot=Snapshot(files=(Entry(path="a", size=1, digest=Digest.of(b"a")),)),
    roles=Roles(label="label"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    level: int = 1


@pytest.fixture
def check(monkeypatch):
    """Put a rule of our own, called `probe`, into the house."""

    def plant(examine, needs=frozenset()):
        module = SimpleNamespace(NEEDS=needs, Settings=Settings, examine=examine)
        monkeypatch.setattr(checks, "CHECKS", {"probe": "probe"})
        monkeypatch.setattr(checks, "import_module", lambda name: module)

    return plant


def raising(error):
    def examine(case, settings):
        raise error

    return examine


class Panic(BaseException):
    """What a panic inside polars is: no Exception."""


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (Skip("give a contract"), Skipped, "give a contract"),
        (Unreadable("broken"), Failed, "Unreadable: broken"),
        (ZeroDivisionError("by zero"), Failed, "ZeroDivisionError: by zero"),
        (MemoryError(), Failed, "MemoryError"),
        (RecursionError("deep"), Failed, "RecursionError: deep"),
        (Panic("in rust"), Failed, "Panic: in rust"),
        (ValueError("\x1b[2J\ud800"), Failed, "ValueError: \\x1b[2J\\ud800"),
    ],
)
def test_what_data_can_cause_is_an_outcome(check, error, outcome, told):
    check(raising(error))
    found = run("probe", CASE).outcome
    assert isinstance(found, outcome)
    assert getattr(found, "reason", "") + getattr(found, "error", "") == told or told in found.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_people_cause_goes_through(check, error):
    check(raising(error))
    with pytest.raises(error):
        run("probe", CASE)


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_number_that_no_report_can_hold_ends_the_rule_and_not_the_scan(check, number):
    check(lambda case, settings: Measured(statistics={"p": number}))
    examination = run("probe", CASE)
    assert isinstance(examination.outcome, Failed)
    assert "cannot be written down" in examination.outcome.error
    assert examination.digest == run("probe", CASE).digest


def test_an_error_of_any_length_is_kept_short(check):
    check(raising(ValueError("x" * 100_000)))
    assert len(run("probe", CASE).outcome.error) < 1000


def test_without_the_column_there_is_nothing_to_ask(check):
    check(raising(AssertionError("must not be called")), needs=frozenset({"image"}))
    assert isinstance(run("probe", CASE).outcome, Inapplicable)
    check(lambda case, settings: Measured(statistics={}), needs=frozenset({"label"}))
    assert isinstance(run("probe", CASE).outcome, Ran)


def test_the_examination_names_what_steered_it(check):
    check(lambda case, settings: Measured(statistics={"level": settings.level}))
    one, two, again = run("probe", CASE), run("probe", CASE, {"level": 2}), run("probe", CASE)
    assert one.snapshot == CASE.snapshot.root
    assert one.inputs["settings"] != two.inputs["settings"]
    assert one.digest == again.digest, "seconds stand outside the digest"
    assert one.digest != two.digest


def test_a_rule_or_setting_that_is_not_there_is_usage(check):
    with pytest.raises(UsageError, match="known rules"):
        run("absent", CASE)
    check(lambda case, settings: Measured(statistics={}))
    with pytest.raises(UsageError, match="settings of rule"):
        run("probe", CASE, {"levle": 2})


def test_where_nobody_said_what_the_columns_are_a_rule_is_skipped_and_not_inapplicable(check):
    """Else a dataset without a manifest would read as one that has no image."""
    from dataclasses import replace

    check(raising(Skip("unreachable")), needs=frozenset({"image"}))
    silent = replace(CASE, roles=Roles(), closed_because="nobody signed")
    assert run("probe", silent).outcome == Skipped("nobody signed")
    assert isinstance(run("probe", CASE).outcome, Inapplicable)
