"""How long rules may look: a clock that ends them, since the data decides how long they take.

What unpacks to too much is refused before (:mod:`guards.data.trial`), and still somebody may find
data of few bytes at which a rule takes a day. So a scan has an hour by the clock, and a second more
for each of RATE bytes of the data; TOADSTONE_SCAN_SECONDS says another number in the place of the
hour. A rule that is at work when the time is up has failed, those after it are not begun, and a
required one that failed blocks.

An alarm of the system ends what is at work, between two steps of Python: one call into a library
comes to its end first. It is set in the main thread only, and not where somebody else has set one;
elsewhere the clock is looked at before each rule alone.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from guards.errors import UsageError

SECONDS = "TOADSTONE_SCAN_SECONDS"
BASE, RATE = 3600, 32 << 10
_AGAIN = 5.0  # seconds until the next alarm, where something swallowed one


class TimeSpent(BaseException):
    """The time is up; no Exception, so that nothing takes it for a failure that it can mend."""


class Allowance:
    """So many seconds, from when it is entered; what is :meth:`watched` is ended after them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = math.inf
        self._watching = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._ends = time.monotonic() + self.seconds
        ours = threading.current_thread() is threading.main_thread()
        if ours and not signal.getitimer(signal.ITIMER_REAL)[0]:
            self._before = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, min(max(self.seconds, 1e-6), 1e9), _AGAIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    @property
    def spent(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._ends

    @property
    def told(self) -> str:
        """For people: that the time is up, and what to do."""
        return f"the scan had {self.seconds:.0f} seconds; for data that needs more set {SECONDS}"

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Raise TimeSpent at once if the time is up, and as soon as it is."""
        if self.spent:
            raise TimeSpent
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._watching:
            raise TimeSpent


def allowance(size: int) -> Allowance:
    """The time for data of so many bytes."""
    told = os.environ.get(SECONDS, str(BASE))
    if not (told.isascii() and told.isdigit() and 0 < int(told) <= 10**9):
        raise UsageError(f"{SECONDS}={told[:40]!r}: must be a whole number of seconds")
    return Allowance(int(told) + size / RATE)


def unlimited() -> Allowance:
    """All the time there is, for who asks one question himself."""
    return Allowance(math.inf)
