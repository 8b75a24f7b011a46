"""Every question that can be asked of a dataset, and the one place that asks them.

A check is a module with `NEEDS` (the column roles without which it has nothing to look at), a
frozen `Settings`, and `examine(case, settings) -> Measured`. It is a plain function: no base
class, no registration by import. Where roles alone do not say whether there is something to look
at, `inapplicable(case, settings)` says why there is not, by the types of the columns.
:func:`run` alone catches, times and names the outcome.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import Any

from guards._version import __version__
from guards.allowance import Allowance, TimeSpent, unlimited
from guards.data import pretrained
from guards.data.case import Case
from guards.digest import digest_json
from guards.errors import Skip, UsageError
from guards.findings import (
    Examination,
    Failed,
    Inapplicable,
    Outcome,
    Ran,
    RunInfo,
    Skipped,
    describe,
)
from guards.text import printable

CHECKS: Mapping[str, str] = {
    "integrity": "guards.checks.integrity",
    "provenance": "guards.checks.provenance",
    "quality": "guards.checks.quality",
    "contract": "guards.checks.contract",
    "drift": "guards.checks.drift",
    "excess": "guards.checks.excess",
    "crowds": "guards.checks.crowds",
    "swaps": "guards.checks.swaps",
    "labels": "guards.checks.labels",
    "sources": "guards.checks.sources",
    "images": "guards.checks.images",
    "codec": "guards.checks.codec",
    "patches": "guards.checks.patches",
    "waves": "guards.checks.waves",
    "triggers": "guards.checks.triggers",
    "backdoor": "guards.checks.backdoor",
    "spectral": "guards.checks.spectral",
    "clustering": "guards.checks.clustering",
    "cells": "guards.checks.cells",
    "features": "guards.checks.features",
    "trusted": "guards.checks.trusted",
    "history": "guards.checks.history",
}
# Those that look at layers: the probe's, or those of the model that was given.
_MODEL_USERS = frozenset({"triggers", "backdoor", "spectral", "clustering"})
_REFERENCE_USERS = frozenset({"drift", "excess", "crowds", "swaps"})
_TRUSTED_USERS = frozenset({"labels", "trusted"})
_HISTORY_USERS = frozenset({"spectral", "clustering", "history"})
_SEED_USERS = frozenset(
    {
        "drift",
        "excess",
        "labels",
        "sources",
        "codec",
        "patches",
        "waves",
        "triggers",
        "backdoor",
        "spectral",
        "clustering",
        "cells",
        "features",
        "trusted",
        "history",
    }
)


def run(
    rule: str,
    case: Case,
    settings: Mapping[str, Any] | None = None,
    time_left: Allowance | None = None,
) -> Examination:
    """Ask one question of one case; never raises for anything that the data can cause.

    A rule that is not done when the time is up has failed.
    """
    if rule not in CHECKS:
        raise UsageError(f"unknown rule {rule!r}; known rules: {', '.join(CHECKS)}")
    module = import_module(CHECKS[rule])
    try:
        chosen = module.Settings(**(settings or {}))
    except TypeError as error:
        raise UsageError(f"settings of rule {rule!r}: {error}") from error
    started = time.perf_counter()
    outcome = _outcome(module, case, chosen, time_left or unlimited())
    made = Examination(
        rule=rule,
        snapshot=case.snapshot.root,
        outcome=outcome,
        inputs=_inputs(rule, case, chosen),
        run=RunInfo(seconds=time.perf_counter() - started, device=case.device, threads=_threads()),
    )
    return _sayable(made)


def _sayable(made: Examination) -> Examination:
    """The same, or Failed: a number that no report can hold would end the whole scan later."""
    try:
        digest_json(describe(made))
    except ValueError as error:
        return replace(made, outcome=Failed(f"its result cannot be written down: {error}"))
    return made


def _threads() -> int:
    """How many threads torch sums on; 1 while nobody needed it."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else 1


def _outcome(module: Any, case: Case, settings: Any, time_left: Allowance) -> Outcome:
    missing = module.NEEDS - case.roles.present
    if missing and case.opened is None and not case.roles.columns():
        return Skipped(case.closed_because or "nobody said what the columns are for")
    if missing:
        return Inapplicable(_lacking(missing, case))
    try:
        with time_left.watched():
            # By the types of columns: no role says that there is one of times.
            if hasattr(module, "inapplicable") and (why := module.inapplicable(case, settings)):
                return Inapplicable(why)
            return Ran(module.examine(case, settings))
    except TimeSpent:
        return Failed(time_left.told)
    except Skip as skip:
        return Skipped(str(skip))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic inside polars is no Exception
        return Failed(f"{type(error).__name__}: {printable(str(error))[:500]}")


def _lacking(missing: frozenset[str], case: Case) -> str:
    """Which role no column has and, of a table that nobody signed, how to name one."""
    told = f"no column has the role {' or '.join(sorted(missing))}"
    if missing != {"label"} or (case.proof is not None and case.proof.manifest is not None):
        return told
    return f"{told}; if one is, name it: --column COLUMN=label"


def _inputs(rule: str, case: Case, settings: Any) -> dict[str, str]:
    """The digests of everything that steered this examination, beside the snapshot itself."""
    inputs = {
        "code": f"toadstone {__version__}",
        "roles": str(digest_json(case.roles.columns())),
        "settings": str(digest_json({name: getattr(settings, name) for name in _names(settings)})),
    }
    if rule in _SEED_USERS:
        inputs["seed"] = str(case.seed)
    if rule in _SEED_USERS and case.roles.image:
        inputs["pretrained"] = pretrained.name()
    if rule in _REFERENCE_USERS and case.reference is not None:
        inputs["reference"] = str(case.reference.digest)
    if rule == "drift" and case.reference is not None and case.history.profiles:
        inputs["history"] = str(case.history.digest)
    if rule in _MODEL_USERS and case.model is not None:
        inputs["model"] = str(case.model.digest)
    if rule in _TRUSTED_USERS and case.trusted is not None:
        inputs["trusted_rows"] = case.trusted_root
    if rule in _HISTORY_USERS and case.history.versions:
        inputs["history"] = str(case.history.digest)
    if rule == "contract" and case.contract is not None:
        inputs["contract"] = str(digest_json(case.contract))
    return inputs


def _names(settings: Any) -> list[str]:
    return [field.name for field in fields(settings)]
