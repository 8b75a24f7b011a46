"""The clock that ends rules: it rings in the midst of work, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from guards import allowance as clock
from guards.allowance import Allowance, TimeSpent, allowance, unlimited
from guards.errors import UsageError


def forever() -> None:
    while True:
        pass


def test_work_without_end_is_ended_and_the_alarm_is_put_back():
    before = signal.getsignal(signal.SIGALRM)
    with Allowance(0.05) as left:
        with pytest.raises(TimeSpent), left.watched():
            forever()
        assert left.spent
        with pytest.raises(TimeSpent), left.watched():
            pytest.fail("nothing is begun when the time is up")
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_who_swallows_one_alarm_gets_another(monkeypatch):
    monkeypatch.setattr(clock, "_AGAIN", 0.05)
    swallowed = []

    def stubborn() -> None:
        while len(swallowed) < 3:
            try:
                forever()
            except BaseException as error:
                swallowed.append(error)
        forever()

    with Allowance(0.05) as left, pytest.raises(TimeSpent), left.watched():
        stubborn()
    assert len(swallowed) == 3


def test_what_is_not_watched_is_let_be():
    with Allowance(0.02) as left:
        time.sleep(0.05)
        assert left.spent


def test_time_that_suffices_ends_nothing():
    with Allowance(60) as left:
        with left.watched():
            pass
        assert not left.spent
    with unlimited() as left, left.watched():
        assert not left.spent


def test_an_alarm_of_somebody_else_is_kept():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with Allowance(0.01) as left:
            with left.watched():
                time.sleep(0.2)
            assert rung == [signal.SIGALRM]
            with pytest.raises(TimeSpent), left.watched():
                pytest.fail("the clock is looked at all the same")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_beside_the_main_thread_the_clock_is_looked_at():
    ended = []

    def work() -> None:
        with Allowance(0.01) as left:
            time.sleep(0.05)
            try:
                with left.watched():
                    pass
            except TimeSpent:
                ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


def test_larger_data_has_more_time(monkeypatch):
    assert allowance(1 << 30).seconds == clock.BASE + (1 << 15)
    monkeypatch.setenv(clock.SECONDS, "5")
    assert allowance(0).seconds == 5


@pytest.mark.parametrize("told", ["0", "-1", "x", "1.5", "٣", str(10**10)])
def test_a_time_that_is_none_is_told(monkeypatch, told):
    monkeypatch.setenv(clock.SECONDS, told)
    with pytest.raises(UsageError, match="whole number of seconds"):
        allowance(0)
