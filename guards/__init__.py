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
imported before it is needed.
"""

from __future__ import annotations

from guards._version import __version__
from guards.api import record_model, require_pass, scan, sign, verify
from guards.errors import GateRefused, GuardError
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
