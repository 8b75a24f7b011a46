"""How the false alarms that a policy allows are shared out over the rules that can raise one.

Every rule that decides by a p-value has an `alpha` among its settings. The policy's
`false_alarm_budget` b, the share of clean scans that may raise an alarm, is divided evenly over
those rules (Bonferroni: no assumption on how they depend), and a rule's own `alpha` counts only
where it is stricter. Further levels, named `..._alpha`, stand beside an effect size that does most
of the work; they shrink with b below its default, and never grow. So a smaller budget is never
laxer anywhere. What a policy sets under [settings] is what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from guards.checks import CHECKS
from guards.verdict import Policy

USUAL = 0.01


def settings_of(policy: Policy, rule: str) -> dict[str, Any]:
    """The settings to run one rule with: its share of the budget, then what the policy says."""
    return {**_levels(policy, rule), **policy.settings.get(rule, {})}


def alphas(policy: Policy) -> Mapping[str, float]:
    """The level at which each rule that can raise a false alarm does so, for the report."""
    chosen = {rule: settings_of(policy, rule).get("alpha") for rule in policy.rules}
    return {rule: float(alpha) for rule, alpha in chosen.items() if alpha is not None}


def _levels(policy: Policy, rule: str) -> dict[str, float]:
    alarming = [name for name in policy.rules if "alpha" in _defaults(name)]
    share = policy.false_alarm_budget / max(len(alarming), 1)
    shrink = min(1.0, policy.false_alarm_budget / USUAL)
    return {
        name: min(value, share) if name == "alpha" else value * shrink
        for name, value in _defaults(rule).items()
    }


def _defaults(rule: str) -> dict[str, float]:
    """The levels among a rule's settings; an unknown rule has none, and is refused when run."""
    if rule not in CHECKS:
        return {}
    settings = import_module(CHECKS[rule]).Settings
    return {
        name: float(getattr(settings(), name))
        for name in (field.name for field in fields(settings))
        if name == "alpha" or name.endswith("_alpha")
    }
