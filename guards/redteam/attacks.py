"""The catalogue of attacks: what each changes, what its author must know, and who published it.

An attack is data (:class:`Attack`, in the literal :data:`CATALOGUE`, whose order is fixed); what it
draws is a pure function of :mod:`guards.redteam.triggers`, which rows it takes is decided by
:mod:`guards.redteam.choice`. Nothing here reads or writes a dataset; :mod:`guards.redteam.poison`
does, and :mod:`guards.redteam.arrays` does the same to arrays. Pictures are (..., C, H, W) uint8,
labels (n,) integers in `range(classes)`.

A trigger has two forms where its paper has: what is planted (a part of it, for the adaptive two;
another warp, for WaNet's cover rows), and what is shown in the test (:data:`TEST`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.errors import UsageError
from guards.redteam.triggers import (
    CORNERS,
    EVERY,
    PATCHES,
    blend,
    dither,
    patch,
    patches,
    pieces,
    sine,
    warp,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLANTED, COVER, TEST = "planted", "cover", "test"
Value = int | float | str | None
Settled = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One number or word that an attack can be told: its type, its default, its bounds.

    `of` says whom it is for: the `trigger`'s function, or the choice of the `rows`.
    """

    kind: type[int] | type[float] | type[str]
    default: Value
    says: str
    low: float = 0
    high: float = 1e6
    among: tuple[str, ...] = ()
    of: str = "trigger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What an attack changes, and what its author must know and own.

    `trigger` names the picture function, None for attacks on labels alone. `label` is how planted
    rows are labelled: `target` (all of them as the target class), `own` (rows of the target class
    keep it), `uniform` (any other class), `pair` (the next class) or `next` (the same, of every
    class, so that there is no one target). `source` says what `--source` does: the planted rows
    are *written* with it, or are *picked* among its rows; `needs_source` draws one when none is
    given. `settings` are what `--set` may change.
    """

    name: str
    summary: str
    kind: str  # dirty-label | clean-label
    knowledge: str
    budget: str
    label: str
    reference: str
    trigger: str | None = None
    source: str = "picked"
    needs_source: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    ids: tuple[str, ...]


_ATLAS = ("MITRE ATLAS@5.6 AML.T0020",)
_ATLAS_TRIGGER = (*_ATLAS, "MITRE ATLAS@5.6 AML.T0043.004")
_NIST = "NIST AI 100-2@e2025 NISTAML"
_BACKDOOR = (f"{_NIST}.023", *_ATLAS_TRIGGER)
_CLEAN_LABEL = (f"{_NIST}.021", *_ATLAS_TRIGGER)
_POISONING = (f"{_NIST}.013", *_ATLAS)
_TARGETED = (f"{_NIST}.024", *_ATLAS)
_NOTHING = "nothing of the model; may write the rows"


def _cover(ratio: float) -> Setting:
    says = "rows that carry the trigger and keep their label, for each planted one"
    return Setting(kind=float, default=ratio, says=says, high=20, of="rows")


_SIZE = Setting(kind=int, default=None, says="side in pixels; a tenth of the picture's", low=1)
_MARGIN = Setting(kind=int, default=1, says="pixels to the edges")
_STYLE = Setting(kind=str, default="checker", says="how it looks", among=PATCHES)
_CORNER = Setting(kind=str, default="lower-right", says="where it lies", among=(*CORNERS, EVERY))
_PATCH = {"size": _SIZE, "margin": _MARGIN, "corner": _CORNER, "style": _STYLE}
_GRAIN = Setting(kind=int, default=1, says="side of the pattern's squares in pixels", low=1)


def _alpha(default: float, says: str = "share of the pattern in the mixture") -> Setting:
    return Setting(kind=float, default=default, says=says, high=1)


CATALOGUE: Mapping[str, Attack] = {
    "patch": Attack(
        name="patch",
        summary="a small checkered square in a corner, under the target's label (BadNets)",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="0.3-5 % of the rows",
        label="target",
        reference="Gu et al. 2017, arXiv:1708.06733",
        trigger="patch",
        source="written",
        settings=_PATCH,
        ids=_BACKDOOR,
    ),
    "blend": Attack(
        name="blend",
        summary="one random pattern blended into the whole picture, under the target's label",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="0.3-5 % of the rows",
        label="target",
        reference="Chen et al. 2017, arXiv:1712.05526",
        trigger="blend",
        source="written",
        settings={"alpha": _alpha(0.2), "grain": _GRAIN},
        ids=_BACKDOOR,
    ),
    "sig": Attack(
        name="sig",
        summary="a sinusoid over rows of the target class, whose labels stay right (SIG)",
        kind="clean-label",
        knowledge=_NOTHING,
        budget="2-8 % of the rows, at most those of the target class",
        label="own",
        reference="Barni et al. 2019, arXiv:1902.11237",
        trigger="sine",
        source="written",
        settings={
            "delta": Setting(kind=float, default=40.0, says="amplitude in grey levels", high=255),
            "frequency": Setting(kind=float, default=6.0, says="periods across the picture"),
        },
        ids=_CLEAN_LABEL,
    ),
    "wanet": Attack(
        name="wanet",
        summary="a smooth warp under the target's label, beside noisy warps that keep theirs",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="5-10 % of the rows, and twice as many cover rows",
        label="target",
        reference="Nguyen & Tran 2021, arXiv:2102.10369",
        trigger="warp",
        source="written",
        settings={
            "strength": Setting(kind=float, default=0.5, says="twice the mean shift, in pixels"),
            "grid": Setting(kind=int, default=4, says="steps of the field a side", low=2),
            "cover": _cover(2.0),
        },
        ids=_BACKDOOR,
    ),
    "tact": Attack(
        name="tact",
        summary="a patch that means the target on one class alone; other classes keep theirs",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="0.3-5 % of the rows, at most those of the victim class, and as many cover rows",
        label="target",
        reference="Tang et al. 2021, arXiv:1908.00686",
        trigger="patch",
        source="written",
        settings={
            **_PATCH,
            "victim": Setting(
                kind=str, default=None, says="the class; drawn by the seed if not given", of="rows"
            ),
            "cover": _cover(1.0),
        },
        ids=_BACKDOOR,
    ),
    "adaptive-blend": Attack(
        name="adaptive-blend",
        summary="half of a blended pattern in each row, some of which keep their label",
        kind="dirty-label",
        knowledge="that latent separation is looked for; may write the rows",
        budget="0.3-5 % of the rows, and as many cover rows",
        label="target",
        reference="Qi et al. 2023, ICLR, openreview _wSHsgrVali",
        trigger="pieces",
        source="written",
        settings={
            "alpha": _alpha(0.15, "share of the pattern in planted rows"),
            "test_alpha": _alpha(0.2, "share of the pattern in the test"),
            "grid": Setting(kind=int, default=4, says="pieces a side", low=1),
            "keep": _alpha(0.5, "share of the pieces that a planted row carries"),
            "grain": _GRAIN,
            "cover": _cover(1.0),
        },
        ids=_BACKDOOR,
    ),
    "adaptive-patch": Attack(
        name="adaptive-patch",
        summary="one of four faint patches in each row, all four in the test; twice as many cover",
        kind="dirty-label",
        knowledge="that latent separation is looked for; may write the rows",
        budget="0.3-5 % of the rows, and twice as many cover rows",
        label="target",
        reference="Qi et al. 2023, ICLR, openreview _wSHsgrVali",
        trigger="patches",
        source="written",
        settings={
            "size": _SIZE,
            "margin": _MARGIN,
            "opacity": _alpha(0.5, "opacity in planted rows"),
            "test_opacity": _alpha(1.0, "opacity in the test"),
            "cover": _cover(2.0),
        },
        ids=_BACKDOOR,
    ),
    "all-to-all": Attack(
        name="all-to-all",
        summary="a patch under the label of the next class, in rows of every class",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="2-10 % of the rows",
        label="next",
        reference="Gu et al. 2017, arXiv:1708.06733",
        trigger="patch",
        source="written",
        settings=_PATCH,
        ids=_BACKDOOR,
    ),
    "label-consistent": Attack(
        name="label-consistent",
        summary="rows of the target class, made hard to learn, with a patch in every corner",
        kind="clean-label",
        knowledge="a network like the model; may write the rows",
        budget="1-5 % of the rows, at most those of the target class",
        label="own",
        reference="Turner et al. 2019, arXiv:1912.02771",
        trigger="patch",
        source="written",
        settings={
            **_PATCH,
            "corner": Setting(
                kind=str, default=EVERY, says="where it lies", among=(*CORNERS, EVERY)
            ),
            "epsilon": Setting(
                kind=float, default=16.0, says="largest change, in grey levels", high=255, of="rows"
            ),
            "steps": Setting(kind=int, default=20, says="steps of the ascent", low=1, of="rows"),
        },
        ids=_CLEAN_LABEL,
    ),
    "sample-specific": Attack(
        name="sample-specific",
        summary="few grey levels, dithered: another pattern in each row, under the target's label",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="1-10 % of the rows",
        label="target",
        reference="Wang et al. 2022 (BppAttack), arXiv:2205.13383",
        trigger="dither",
        source="written",
        settings={
            "levels": Setting(kind=int, default=8, says="values kept a channel", low=2, high=256)
        },
        ids=_BACKDOOR,
    ),
    "flip-uniform": Attack(
        name="flip-uniform",
        summary="labels replaced by any other class, at random",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="2-40 % of the rows",
        label="uniform",
        reference="Han et al. 2018, arXiv:1804.06872 (symmetric noise)",
        ids=_POISONING,
    ),
    "flip-pair": Attack(
        name="flip-pair",
        summary="labels replaced by the next class; with a target, only those of the class before",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="1-20 % of the rows",
        label="pair",
        reference="Han et al. 2018, arXiv:1804.06872 (pair noise)",
        ids=_POISONING,
    ),
    "flip-source": Attack(
        name="flip-source",
        summary="labels of one source replaced by any other class, at random",
        kind="dirty-label",
        knowledge="nothing of the model; is one of the sources",
        budget="1-20 % of the rows, at most those of the source",
        label="uniform",
        needs_source=True,
        reference="Han et al. 2018, arXiv:1804.06872 (symmetric noise), from one source",
        ids=_POISONING,
    ),
    "near-duplicate": Attack(
        name="near-duplicate",
        summary="rows overwritten by near copies of a few others, under the target's label",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="0.3-5 % of the rows",
        label="target",
        reference="the crudest of targeted poisonings: Shafahi et al. 2018, arXiv:1804.00792",
        source="written",
        settings={
            "originals": Setting(kind=int, default=3, says="rows copied", low=1, of="rows"),
            "noise": Setting(
                kind=float, default=2.0, says="standard deviation in grey levels", of="rows"
            ),
            "shift": Setting(kind=int, default=1, says="largest move in pixels", of="rows"),
            "jitter": Setting(
                kind=float, default=0.0, says="in a table: share of a column's deviation", of="rows"
            ),
        },
        ids=_TARGETED,
    ),
    "thin": Attack(
        name="thin",
        summary="the patch, as many rows in each of many batches, so that no batch holds much",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="0.05-0.5 % of each batch",
        label="target",
        reference="Gu et al. 2017, arXiv:1708.06733, a little at a time as in arXiv:2302.10149",
        trigger="patch",
        source="written",
        settings={
            **_PATCH,
            "batches": Setting(kind=int, default=10, says="equal runs of rows", low=1, of="rows"),
        },
        ids=_BACKDOOR,
    ),
}


def find(name: str) -> Attack:
    """The attack of that name; UsageError lists them all."""
    if name not in CATALOGUE:
        raise UsageError(f"unknown attack {name!r}; known attacks: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def listed() -> str:
    """The catalogue for people: a paragraph for each attack, in its order."""
    return "\n".join(
        f"{attack.name}: {attack.summary}\n"
        f"  {attack.kind}; knows {attack.knowledge}; {attack.budget}\n"
        f"  {attack.reference}; {', '.join(attack.ids)}\n"
        + "".join(
            f"  --set {name}={'auto' if one.default is None else one.default}  {one.says}"
            f"{' (' + ', '.join(one.among) + ')' if one.among else ''}\n"
            for name, one in attack.settings.items()
        )
        for attack in CATALOGUE.values()
    ).rstrip()


def settle(attack: Attack, given: Mapping[str, Value] | None = None) -> Settled:
    """All settings of `attack`: its defaults, and what is `given`, as values or as text.

    Raises UsageError for a name that the attack does not know, and for a value of another type or
    out of bounds.
    """
    unknown = sorted(set(given or ()) - set(attack.settings))
    if unknown:
        known = ", ".join(attack.settings) or "none"
        raise UsageError(f"attack {attack.name!r} has no setting {unknown[0]!r}; it has: {known}")
    return {
        name: _value(name, setting, given[name]) if given and name in given else setting.default
        for name, setting in attack.settings.items()
    }


def _value(name: str, setting: Setting, given: Value) -> Value:
    """The value in its own type, within its bounds."""
    if setting.default is None and (given is None or (given == "auto" and setting.kind is int)):
        return None
    try:
        value = setting.kind(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {setting.kind.__name__}; got {given!r}") from None
    if isinstance(given, float) and setting.kind is int and value != given:
        raise UsageError(f"{name} is a whole number; got {given!r}")
    if setting.among and value not in setting.among:
        raise UsageError(f"{name} is one of {', '.join(setting.among)}; got {given!r}")
    if not isinstance(value, str) and not setting.low <= value <= setting.high:
        raise UsageError(f"{name} lies in {setting.low:g} to {setting.high:g}; got {given!r}")
    return value


def stamp(
    pixels: NDArray[np.uint8],
    attack: Attack,
    seed: int,
    settings: Settled | None = None,
    *,
    part: str = TEST,
    rows: Sequence[int] = (),
    drawn: tuple[int, ...] | None = None,
) -> NDArray[np.uint8]:
    """The trigger of `attack` on pictures: as planted, as on cover rows, or as in the test.

    `settings` are those of :func:`settle`, the defaults when not given. Pictures are (..., C, H, W)
    in the test; (m, C, H, W) with their m `rows` for the other parts, since those draw by row.
    `drawn` is the shape at which a pattern of noise is drawn, that of these pictures by default.
    """
    told = _shown(attack, settle(attack) if settings is None else settings, part)
    match attack.trigger:
        case "patch":
            return patch(pixels, **told)
        case "blend":
            return blend(pixels, seed=seed, drawn=drawn, **told)
        case "sine":
            return sine(pixels, **told)
        case "warp":
            return warp(pixels, seed=seed, rows=rows if part == COVER else None, **told)
        case "pieces" if part == TEST:
            whole = {name: told[name] for name in ("alpha", "grain")}
            return blend(pixels, seed=seed, drawn=drawn, **whole)
        case "pieces":
            return pieces(pixels, seed=seed, rows=rows, drawn=drawn, **told)
        case "patches":
            some = None if part == TEST else rows
            return patches(pixels, seed=seed, rows=some, drawn=drawn, **told)
        case "dither":
            return dither(pixels, **told)
    raise UsageError(f"attack {attack.name!r} has no trigger: it changes labels alone")


def _shown(attack: Attack, settings: Settled, part: str) -> dict[str, Any]:
    """What the trigger's function is told; in the test, `test_alpha` stands for `alpha`."""
    told = {name: settings[name] for name, one in attack.settings.items() if one.of == "trigger"}
    tests = {name: told.pop(name) for name in tuple(told) if name.startswith("test_")}
    if part == TEST:
        told |= {name.removeprefix("test_"): value for name, value in tests.items()}
    return told


def flip(
    labels: NDArray[np.int64], classes: int, how: str, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Labels (n,) replaced by another class: `uniform` over all others, or the next one."""
    steps = rng.integers(1, classes, len(labels)) if how == "uniform" else 1
    return (labels + steps) % classes
