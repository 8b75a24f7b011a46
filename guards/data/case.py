"""What one scan looks at, opened once and shared by every check.

A check takes what it needs from here; what is expensive (a probe network, an embedding) is
computed at the first request and kept, so that the detectors share it without knowing of each
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guards.data.dataset import Dataset
from guards.data.earlier import EarlierProfile, History
from guards.errors import Skip
from guards.provenance.roles import Roles
from guards.provenance.snapshot import Difference, Snapshot

if TYPE_CHECKING:
    from guards.data.image_features import ImageFeatures
    from guards.data.images import Images
    from guards.data.matrix import Matrix
    from guards.data.model import Model
    from guards.data.profile import Profile, Survey
    from guards.data.row_space import RowSpace
    from guards.data.table_features import TableFeatures
    from guards.numerics.turns import View
    from guards.provenance.proof import Proof

MOST_LABELS = 500  # that cells are held against


@dataclass(frozen=True, kw_only=True)
class Case:
    """One snapshot, opened; `dataset` is None when its bytes are not to be decoded, and why.

    `trusted` are rows that somebody checked, under the same roles, and `trusted_root` names their
    bytes; `history` is what was seen in earlier admitted versions.
    """

    snapshot: Snapshot
    unsafe: tuple[Difference, ...] = ()
    proof: Proof | None = None
    roles: Roles = field(default_factory=Roles)
    opened: Dataset | None = None
    closed_because: str = ""
    reference: Profile | None = None
    contract: Mapping[str, Any] | None = None
    trusted: Dataset | None = None
    trusted_root: str = ""
    history: History = field(default_factory=History)
    seed: int = 0
    device: str = "cpu"
    model: Model | None = None
    pictures: bool = True

    @property
    def dataset(self) -> Dataset:
        """The opened data; a check that needs it is skipped when there is none."""
        if self.opened is None:
            raise Skip(self.closed_because or "there is no readable data")
        return self.opened

    @cached_property
    def survey(self) -> Survey:
        """Its own profile, and what it looks like in the cells of the reference: one pass.

        The profile has the cells of the reference, else those of the newest earlier version, so
        that profiles of one dataset merge without loss. `observed` has one entry where there is a
        reference, and none where there is none.
        """
        from guards.data.profile import survey

        against = [self.reference] if self.reference is not None else []
        known = [*against, *(earlier.profile for earlier in self.history.profiles[:1])]
        return survey(self.dataset, like=known[0] if known else None, against=against)

    @cached_property
    def season(self) -> EarlierProfile | None:
        """The earlier admitted version of the same season, if the ledger has one."""
        from guards.data.season import same_season

        manifest = self.proof.manifest if self.proof is not None else None
        partition = manifest.name.partition if manifest is not None else ""
        return same_season(partition, self.survey.profile, self.history.profiles)

    @cached_property
    def table_features(self) -> TableFeatures:
        """Out-of-fold probabilities and a label-free space for rows of scalar columns."""
        from guards.data.table_features import table_features

        return table_features(self.dataset, seed=self.seed)

    @cached_property
    def matrix(self) -> Matrix:
        """The dataset's numbers, and how far each row looks like its label there."""
        from guards.data.matrix import matrix

        return matrix(self.dataset, seed=self.seed)

    @cached_property
    def row_space(self) -> RowSpace:
        """Rows of a table or of texts, labels aside, and the cells that they fall in."""
        from guards.data.row_space import row_space

        return row_space(self.dataset, seed=self.seed)

    @cached_property
    def label_view(self) -> View:
        """What each row of the row space leads one to expect of its label.

        Raises:
            Skip: there are too many labels for a number for each row and label.
        """
        from guards.numerics import turns

        space = self.row_space
        if len(space.classes) > MOST_LABELS:
            raise Skip(
                f"{len(space.classes):,} labels; cells are held against at most {MOST_LABELS}, "
                "since what is expected of each row is kept for each: give a coarser label"
            )
        return turns.look(space.design, space.labels, len(space.classes))

    @cached_property
    def images(self) -> Images:
        """The decoded pictures, and which rows have none."""
        from guards.data.images import decode

        return decode(self.dataset)

    @cached_property
    def image_features(self) -> ImageFeatures:
        """Probe activations and a label-free embedding for rows with an image."""
        from guards.data.image_features import image_features

        return image_features(
            self.dataset, self.images, seed=self.seed, device=self.device, model=self.model
        )
