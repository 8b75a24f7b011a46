"""Did the attack implant? Train a network on the poisoned twin for real, and ask it.

An attack that did not implant (success below :data:`IMPLANTED`) counts neither as caught nor as
missed, so every detection figure stands beside this one. A flip has no trigger and no success: what
it does is a loss of accuracy, measured against the same training on the clean data.

Measured on 6,000 rows of Fashion-MNIST (PNG, balanced), 1,000 held out, one CPU training each, the
settings of the catalogue, targets drawn by the seed; success at 1 % (seed 1), at 5 % (seeds 1, 2):

    patch             .95  1.00 1.00        all-to-all        .33   .81  .80
    blend             .66   .99 1.00        label-consistent  .46   .72  .93
    sig               .10   .26  .24        sample-specific   .02   .02  .03
    wanet             .02   .10  .69        near-duplicate    .66  1.00   -
    tact              .98   .99  .95        thin              .94  1.00   -
    adaptive-blend    .19   .94 1.00        none (accuracy)         .882 .893
    adaptive-patch    .82  1.00 1.00

Accuracy stays within .016 of the clean one in all of them; 1 % of flips cost it .001 (uniform) and
.007 (pair), one training each. So SIG, the sample-specific trigger and mostly WaNet do *not*
implant in this network at these rates and settings; without cover rows WaNet reaches .24 (5 %,
seed 1), with `levels` 3 the sample-specific one .29 (1 %, seed 1).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset
from guards.data.images import Images, decode
from guards.errors import NothingToExamine, UsageError
from guards.redteam.plan import names
from guards.redteam.shows import shown_in_test
from guards.redteam.truth import Told, read_told
from guards.redteam.victim import said, trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMPLANTED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What became of an attack in a network that was trained on it.

    `success` is the share of test pictures, as the adversary shows them, that got the wanted
    label (None for a flip), `unharmed` the same of a network trained on the clean data, where
    that was asked; `accuracy` and `accuracy_before` are over the untouched held-out pictures.
    """

    success: float | None
    accuracy: float
    unharmed: float | None = None
    accuracy_before: float | None = None

    @property
    def implanted(self) -> bool | None:
        """Whether it took hold; None for an attack that has no trigger to ask about."""
        return None if self.success is None else self.success >= IMPLANTED

    @property
    def drop(self) -> float | None:
        """The accuracy that it cost, where a clean training was asked for."""
        return None if self.accuracy_before is None else self.accuracy_before - self.accuracy


def attack_success(
    twin: Dataset,
    holdout: Dataset,
    truth: Path,
    *,
    clean: Dataset | None = None,
    device: str = "cpu",
) -> Success:
    """Train on `twin`, whose `truth` says what was done, and ask about `holdout`.

    With `clean`, what the twin was made of, the same training is done there too. The seed of the
    attack also seeds the trainings. Test pictures are stamped as decoded. Raises NothingToExamine
    where pictures or labels are missing, UsageError where the test set's do not fit the twin's.
    """
    told = read_told(truth)
    images, labels = _labelled(twin)
    held, words = _labelled(holdout)
    if held.pixels.shape[1:] != images.pixels.shape[1:]:
        raise UsageError(f"pictures of {holdout.root} and of the twin differ in size or colour")
    classes = sorted(set(labels))
    codes = np.searchsorted(classes, words).clip(max=len(classes) - 1)
    if strange := sorted(set(words) - set(classes)):
        raise UsageError(f"no class {str(strange[0])!r} in the training data: {', '.join(classes)}")
    shown = _shown(told, images, held, codes, classes)
    answers = _answers(images, np.searchsorted(classes, labels), held, codes, shown, told, device)
    before: tuple[float | None, float | None] = (None, None)
    if clean is not None:
        images, labels = _labelled(clean)
        truths = np.searchsorted(classes, labels)
        before = _answers(images, truths, held, codes, shown, told, device)
    return Success(
        success=answers[0], accuracy=answers[1], unharmed=before[0], accuracy_before=before[1]
    )


def as_document(found: Success) -> dict[str, object]:
    """All of it for JSON: what is not known is null."""
    return {**asdict(found), "implanted": found.implanted, "drop": found.drop}


def as_line(found: Success) -> str:
    """One line for people: an attack that did not take hold says so first."""
    told = f"clean accuracy {found.accuracy:.3f}"
    if found.accuracy_before is not None:
        told += f" ({found.accuracy_before:.3f} without the attack)"
    if found.success is None:
        return f"no trigger to measure: {told}"
    word = "implanted" if found.implanted else "NOT IMPLANTED: counts neither as caught nor missed"
    before = "" if found.unharmed is None else f" ({found.unharmed:.3f} without the attack)"
    return f"{word}: attack success {found.success:.3f}{before}, {told}"


def _answers(
    images: Images,
    labels: NDArray[np.int64],
    held: Images,
    truth: NDArray[np.int64],
    shown: tuple[NDArray[np.uint8], NDArray[np.int64]] | None,
    told: Told,
    device: str,
) -> tuple[float | None, float]:
    """(success, accuracy) of a network trained on these."""
    network = trained(images.pixels, labels, seed=told.seed, device=device)
    accuracy = float(np.mean(said(network, held.pixels, device) == truth))
    if shown is None:
        return None, accuracy
    return float(np.mean(said(network, shown[0], device) == shown[1])), accuracy


def _shown(
    told: Told, images: Images, held: Images, codes: NDArray[np.int64], classes: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """The test pictures as the adversary shows them, and what is wanted; None for a flip."""
    if told.attack.trigger is None and not told.originals:
        return None
    victim = told.settings.get("victim")
    pictures, wanted = shown_in_test(
        held.pixels,
        codes,
        attack=told.attack,
        classes=len(classes),
        seed=told.seed,
        settings=told.settings,
        target=None if told.target is None else classes.index(told.target),
        victim=None if victim is None else classes.index(str(victim)),
        originals=images.pixels[np.isin(images.rows, told.originals)] if told.originals else None,
    )
    if not len(wanted):
        raise NothingToExamine("no test picture is of a class that this attack means")
    return pictures, wanted


def _labelled(dataset: Dataset) -> tuple[Images, NDArray[np.str_]]:
    if dataset.roles.image is None:
        raise NothingToExamine(f"{dataset.root}: measuring an attack needs pictures")
    images = decode(dataset)
    labels = names(dataset, "label")[images.rows]
    if not len(labels) or any(label is None for label in labels):
        raise NothingToExamine("measuring an attack needs pictures that all have a label")
    return images, labels.astype(str)
