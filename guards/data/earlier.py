"""Earlier admitted versions of a dataset, as a check sees them: series of statistics, profiles.

A check that wants its statistic remembered puts it under `watched` among its statistics, as
`{kind: {group: {measure: number, "rows": rows}}}` with `kind` class or source. What of that was
kept, and by whom it was signed, is :mod:`guards.history`'s business. The profile of every version
that was admitted is kept as well, and all of them together are the rolling profile: what the
dataset has looked like lately, beside the anchor, which is what somebody accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.data.profiles.merge import Merged, merge_profiles
from guards.data.profiles.nouns import Profile
from guards.digest import Digest, digest_json
from guards.errors import UsageError
from guards.provenance.manifest import Name

Watched = Mapping[str, Mapping[str, Mapping[str, float]]]
ROWS = "rows"
# A statistic of a group is held against one of another size only if neither has twice its rows.
ALIKE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """One admitted version: what its scan's rules saw, by rule; `record` names the signed proof."""

    name: Name
    version: int
    root: Digest
    record: Digest
    rules: Mapping[str, Watched]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierProfile:
    """What one admitted version looked like; `record` names the signed proof."""

    name: Name
    version: int
    root: Digest
    record: Digest
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Earlier admitted versions, the newest first, and why there are none or no more.

    `profiles` are those of admitted versions of the same name and, of each other partition of the
    dataset, of its newest one; they come first where they are of the same name. There may be more
    of them than of `versions`, since profiles of earlier releases are comparable.
    """

    versions: tuple[Earlier, ...] = ()
    profiles: tuple[EarlierProfile, ...] = ()
    note: str = "no ledger and trust were given"

    @property
    def digest(self) -> Digest:
        """Names everything that steers a check from here: the signed records, in order."""
        told = [str(version.record) for version in self.versions]
        shown = [str(version.record) for version in self.profiles]
        return digest_json(told if shown == told else [told, shown])

    def rolling(self) -> Merged | None:
        """The profiles of earlier versions as one; None where there is none to compare with.

        Versions of which no column is left (of one name and kind in all) have none either.
        """
        try:
            return merge_profiles([earlier.profile for earlier in self.profiles])
        except UsageError:
            return None

    def series(
        self,
        rule: str,
        kind: str,
        groups: Sequence[str],
        measure: str,
        rows: npt.ArrayLike,
    ) -> npt.NDArray[np.float64]:
        """Earlier values of one measure, (versions, groups); NaN where there is none to compare.

        `rows` (groups,) are the groups' sizes now.
        """
        sizes = np.asarray(rows, np.float64)
        found = np.full((len(self.versions), len(groups)), np.nan)
        for line, version in enumerate(self.versions):
            seen = version.rules.get(rule, {}).get(kind, {})
            for column, group in enumerate(groups):
                then = seen.get(group, {})
                size = then.get(ROWS, 0.0)
                if (
                    measure in then
                    and size < ALIKE * sizes[column]
                    and sizes[column] < ALIKE * size
                ):
                    found[line, column] = then[measure]
        return found
