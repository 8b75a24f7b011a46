"""Every way in which toadstone says "we could not look", or "no".

A poisoned dataset is a :class:`~guards.findings.Finding`, never an exception. The tree::

    GuardError             root; `exit_status` is what the command line returns
    |-- UsageError         2   the request itself is wrong: a missing file, an unknown option
    |-- NothingToExamine   3   there is no data here
    |-- Malformed         12   an untrusted document is not what it says it is
    |-- UnsafeTree        12   a dataset holds links, specials, hidden or colliding names
    |-- Untrusted         12   no key of the trust directory vouches for this
    |-- Unreadable        12   a data file cannot be decoded
    |-- GateRefused       12   these bytes may not be trained on
    `-- Skip                   a check lacks an input; `checks.run` turns it into `Skipped`

Those with 12 are `REFUSALS`: the answer is no, and it is final for these bytes.
Each message says what is wrong, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence


class GuardError(Exception):
    """Root of everything raised on purpose; the command line prints it without a traceback."""

    exit_status = 1


class UsageError(GuardError):
    """The request cannot be carried out as it was made."""

    exit_status = 2


class NothingToExamine(GuardError):
    """There are no files or no rows where a dataset was expected."""

    exit_status = 3


class Malformed(GuardError):
    """An untrusted document broke its format; `where` is the path inside it."""

    exit_status = 12

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where

    def inside(self, outer: str) -> Malformed:
        """Return the same error as seen from the enclosing document `outer`."""
        joined = f"{outer}.{self.where}" if self.where else outer
        return Malformed(str(self).removeprefix(f"{self.where}: "), joined)


class UnsafeTree(GuardError):
    """A directory cannot be signed because of what lies in it."""

    exit_status = 12


class Untrusted(GuardError):
    """No trusted key, for this role and name, signed this."""

    exit_status = 12


class Unreadable(GuardError):
    """A data file exists but cannot be decoded."""

    exit_status = 12


class GateRefused(GuardError):
    """The gate's no; `reasons` are complete, most important first."""

    exit_status = 12

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


class Skip(GuardError):
    """Raised by a check that lacks what it needs; says what to provide."""


REFUSALS = (Malformed, UnsafeTree, Untrusted, Unreadable, GateRefused)
