"""toadstone: proves where data came from, finds what is wrong with it, judges it, keeps the record.

A dataset is signed by its producer, scanned by whoever guards the training, and admitted by the
training job itself::

    import guards

    scanned = guards.scan("flights", trust="trust", key="scanner.pem", out="run")
    print(scanned.verdict.decision, scanned.verdict.reasons)

    admitted = guards.require_pass("flights", "run/record.json", "trust")
    frame = admitted.table()        # exactly the bytes that passed, proved as they are read

`require_pass` raises :class:`GateRefused` with its reasons; `scan` gives a verdict for whatever
the data can contain and raises :class:`GuardError` only when it could not look. Nothing heavy is
imported before it is needed, nor is any of this before somebody asks for it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from guards._version import __version__
from guards.errors import GateRefused, GuardError

if TYPE_CHECKING:
    from guards.api import record_model, require_pass, scan, sign, verify
    from guards.verdict import Decision, Policy, load_policy

__all__ = [
    "Decision",
    "GateRefused",
    "GuardError",
    "Policy",
    "__version__",
    "load_policy",
    "record_model",
    "require_pass",
    "scan",
    "sign",
    "verify",
]
_FROM = {
    **dict.fromkeys(("record_model", "require_pass", "scan", "sign", "verify"), "guards.api"),
    **dict.fromkeys(("Decision", "Policy", "load_policy"), "guards.verdict"),
}


class _Front(ModuleType):
    """Keeps `scan` and `verify` the functions, when the modules of these names are loaded."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _FROM or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front

if not TYPE_CHECKING:  # where types are checked no other name is let through

    def __getattr__(name: str) -> Any:
        if name not in _FROM:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_FROM[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
