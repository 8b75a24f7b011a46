"""The chapters, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from guards.demo import images, provenance, tables
from guards.demo.stage import Chapter, Ready, Stage
from guards.findings import Finding
from guards.scan import Scanned


def flights(
    month: str, change: Callable[[Path, Path], object], slug: str
) -> Callable[[Stage], Ready]:
    """A chapter's preparation: a month, changed by its producer before it was signed."""

    def prepare(stage: Stage) -> Ready:
        dataset, name = stage.work / slug / month, f"nyc/flights/{month}"
        change(stage.samples / "flights" / month, dataset)
        stage.sign(dataset, name)
        return Ready(dataset=dataset, name=name)

    return prepare


def sample(path: str, name: str) -> Callable[[Stage], Ready]:
    """A chapter's preparation: a sample as it is."""

    def prepare(stage: Stage) -> Ready:
        return Ready(dataset=stage.samples / path, name=name)

    return prepare


def backdoored(stage: Stage) -> Ready:
    """The fashion images with 2 % planted, signed by a producer who does not know."""
    dataset = stage.work / "backdoor" / "fashion"
    dataset.parent.mkdir(parents=True)
    images.backdoor(stage.samples / "fashion", dataset)
    stage.sign(dataset, "zalando/fashion", version=2)
    return Ready(dataset=dataset, name="zalando/fashion")


def how_much_was_found(stage: Stage, scanned: Scanned) -> str:
    """What only the one who planted the rows can tell."""
    truth = stage.work / "backdoor" / "fashion.truth.parquet"
    caught, wrongly = images.found(scanned.run_dir / "rows.parquet", truth, "triggers")
    return f"{caught:.0%} of the planted rows held, {wrongly:.2%} of the clean ones"


def note_of(rule: str) -> Callable[[Stage, Scanned], str]:
    """What a rule saw and did not stop, for the table."""

    def remark(stage: Stage, scanned: Scanned) -> str:
        noted: list[Finding] = [
            finding for e in scanned.examinations if e.rule == rule for finding in e.findings
        ]
        return noted[0].summary if noted else ""

    return remark


TABLES = (
    Chapter(
        title="ordinary seasonal drift (June against the reference)",
        slug="season",
        prepare=sample("flights/2013-06", "nyc/flights/2013-06"),
        decision="PASS",
        remark=note_of("drift"),
    ),
    Chapter(
        title="a contract broken",
        slug="contract",
        prepare=flights("2013-03", tables.break_contract, "contract"),
        decision="BLOCK",
        because="contract/contract-broken",
    ),
    Chapter(
        title="one carrier's distances in kilometres",
        slug="unit",
        prepare=flights("2013-04", tables.change_unit, "unit"),
        decision="QUARANTINE",
        because="drift/drift-local",
    ),
    Chapter(
        title="labels flipped in one source",
        slug="flipped",
        prepare=flights("2013-05", tables.flip_labels, "flipped"),
        decision="QUARANTINE",
        because="sources/labels-flipped-in-source",
    ),
)

IMAGES = (
    Chapter(
        title="clean images",
        slug="images",
        prepare=sample("fashion", "zalando/fashion"),
        decision="PASS",
    ),
    Chapter(
        title="a backdoor in 2 % of the images",
        slug="backdoor",
        prepare=backdoored,
        decision="BLOCK",
        because="triggers/backdoor-trigger",
        remark=how_much_was_found,
    ),
)

CHAPTERS: tuple[Chapter, ...] = (*provenance.CHAPTERS, *TABLES, *IMAGES)
