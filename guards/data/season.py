"""The earlier version of the same season: what a dataset looked like at this time of the year.

A season is a calendar month, or a weekday. It is told by the date that the partition's name ends
in, which a producer's key signed (`flights/2014-04` is April, `clicks/2014-04-07` a Monday); where
the name says none, by the first column of moments, whose middle and span are those of a month (at
most 31 days) or of a day. The same season is the newest of the admitted versions before it of an
earlier year and the same month, or of an earlier day and the same weekday.

It can only soften. Whoever got a movement admitted a year ago has it called seasonal today, so what
may be softened is for the asker to limit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from guards.data.earlier import EarlierProfile
from guards.data.profiles.nouns import NumericColumn, Profile
from guards.numerics.sketches import quantiles

_DAY, _MONTH = 86_400.0, 31 * 86_400.0
_DATED = re.compile(r"(?<!\d)(\d{4})-(\d{2})(?:-(\d{2}))?(?!\d)(?!.*\d{4}-\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """A `month` (1 to 12) or a `weekday` (0 to 6), and the day that it is told by."""

    kind: str
    number: int
    day: date

    def again(self, other: Season) -> bool:
        """Whether this is the season of `other`, of an earlier year or an earlier week."""
        alike = (self.kind, self.number) == (other.kind, other.number)
        sooner = self.day.year < other.day.year if self.kind == "month" else self.day < other.day
        return alike and sooner


def season_of(partition: str, profile: Profile) -> Season | None:
    """The season of a dataset by its name, else by when its rows are; None if neither tells."""
    return _named(partition) or _timed(profile)


def same_season(
    partition: str, own: Profile, earlier: Sequence[EarlierProfile]
) -> EarlierProfile | None:
    """The newest of these versions that is of the same season as a dataset of this `own` profile.

    Both are told by their names, or both by their rows.
    """
    now = _named(partition)
    if now is not None:
        return _again(now, [(_named(one.name.partition), one) for one in earlier])
    now = _timed(own)
    return _again(now, [(_timed(one.profile), one) for one in earlier]) if now else None


def _again(
    now: Season, known: Sequence[tuple[Season | None, EarlierProfile]]
) -> EarlierProfile | None:
    found = [(then.day, one) for then, one in known if then is not None and then.again(now)]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _named(partition: str) -> Season | None:
    found = _DATED.search(partition)
    if found is None:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    try:
        told = date(year or 0, month or 0, day or 1)
    except ValueError:
        return None
    return _season("weekday" if day else "month", told)


def _timed(profile: Profile) -> Season | None:
    for column in profile.columns:
        if isinstance(column, NumericColumn) and column.form == "moment" and column.count:
            span = (column.high or 0.0) - (column.low or 0.0)
            middle = float(quantiles(column.steps, np.array([0.5]))[0])
            try:
                told = datetime.fromtimestamp(middle, UTC).date()
            except (ValueError, OverflowError, OSError):
                return None
            return _season("weekday" if span <= _DAY else "month", told) if span <= _MONTH else None
    return None


def _season(kind: str, day: date) -> Season:
    number = day.month if kind == "month" else day.weekday()
    return Season(kind=kind, number=number, day=day)
