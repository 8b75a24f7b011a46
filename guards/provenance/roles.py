"""What each column is for: decided once, at signing, and signed with the manifest.

Whoever chooses the label column chooses what the detectors look at; so roles are part of the
claim, never of the command that scans. Unsigned data gets them by the ecosystem's conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guards.errors import UsageError

SPECIAL = ("label", "image", "text", "source", "id")
ALL = (*SPECIAL, "feature", "ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The column that has each special role, or None, and the feature columns by name."""

    label: str | None = None
    image: str | None = None
    text: str | None = None
    source: str | None = None
    id: str | None = None
    features: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def present(self) -> frozenset[str]:
        """The roles that some column has: what `NEEDS` of a check is held against."""
        special = {role for role in SPECIAL if getattr(self, role)}
        return frozenset(special | ({"feature"} if self.features else set()))

    def columns(self) -> dict[str, str]:
        """As `{column: role}`, the form that the manifest holds."""
        special = {getattr(self, role): role for role in SPECIAL if getattr(self, role)}
        features = dict.fromkeys(self.features, "feature")
        return {**special, **features, **dict.fromkeys(self.ignored, "ignore")}


def from_columns(columns: Mapping[str, str]) -> Roles:
    """Read `{column: role}`; UsageError for an unknown role or a special role given twice."""
    for column, role in columns.items():
        if role not in ALL:
            raise UsageError(f"column {column!r}: unknown role {role!r}; one of {', '.join(ALL)}")
    special: dict[str, str] = {}
    for column, role in columns.items():
        if role in SPECIAL and special.setdefault(role, column) != column:
            raise UsageError(f"role {role!r} is given to both {special[role]!r} and {column!r}")
    # Sorted, as in the canonical manifest: signed and unsigned data are looked at alike.
    features = tuple(sorted(column for column, role in columns.items() if role == "feature"))
    ignored = tuple(sorted(column for column, role in columns.items() if role == "ignore"))
    return Roles(
        label=special.get("label"),
        image=special.get("image"),
        text=special.get("text"),
        source=special.get("source"),
        id=special.get("id"),
        features=features,
        ignored=ignored,
    )


def infer(scalar: Mapping[str, bool], given: Mapping[str, str] | None = None) -> Roles:
    """Roles by convention: a column named like a special role has it, other scalars are features.

    `scalar` says of each column, in order, whether its type is a scalar one; `given` overrules.
    Columns that are neither are ignored, and say so in the manifest.
    """
    chosen = dict(given or {})
    if unknown := chosen.keys() - scalar.keys():
        raise UsageError(f"no such column: {sorted(unknown)}; columns are {sorted(scalar)}")
    taken = set(chosen.values())
    columns: dict[str, str] = {}
    for column, is_scalar in scalar.items():
        if column in chosen:
            columns[column] = chosen[column]
        elif column in SPECIAL and column not in taken:
            columns[column] = column
        else:
            columns[column] = "feature" if is_scalar else "ignore"
    return from_columns(columns)
