"""The policy's budget for false alarms is shared out, and a smaller one is nowhere laxer."""

from dataclasses import replace
from itertools import pairwise

import pytest

from guards.budget import alphas, settings_of
from guards.verdict import load_policy

DEFAULT = load_policy("default")


def test_the_shares_never_exceed_the_budget_together():
    given = alphas(DEFAULT)
    assert {"spectral", "clustering", "triggers", "history", "trusted"} <= set(given)
    assert sum(given.values()) <= DEFAULT.false_alarm_budget * (1 + 1e-12)
    assert all(alpha > 0 for alpha in given.values())


@pytest.mark.parametrize("rule", DEFAULT.rules)
def test_a_smaller_budget_is_stricter_or_the_same_in_every_level(rule):
    ladder = [
        settings_of(replace(DEFAULT, false_alarm_budget=budget), rule)
        for budget in (1e-4, 1e-3, 1e-2, 5e-2, 0.5)
    ]
    for stricter, laxer in pairwise(ladder):
        assert all(stricter[name] <= laxer[name] for name in laxer)
    if "alpha" in ladder[0]:
        assert ladder[0]["alpha"] < ladder[2]["alpha"]


def test_what_the_policy_sets_is_what_it_means():
    policy = replace(DEFAULT, settings={"spectral": {"alpha": 0.2, "rows": 9}})
    assert settings_of(policy, "spectral") == {"alpha": 0.2, "rows": 9}


def test_more_rules_share_less():
    fewer = replace(DEFAULT, rules=("integrity", "provenance", "spectral"), required=())
    assert alphas(fewer)["spectral"] > alphas(DEFAULT)["spectral"]
    assert set(alphas(fewer)) == {"spectral"}


def test_an_unknown_rule_has_no_level():
    assert settings_of(replace(DEFAULT, rules=("of-next-year",)), "of-next-year") == {}


def test_the_report_names_the_levels(spine):
    import json

    policy = replace(spine.policy, rules=(*spine.policy.rules, "history"))
    run = spine.scan(policy=policy).run_dir
    report = json.loads((run / "report.json").read_text())
    assert report["policy"]["alphas"] == {"history": 0.01}
