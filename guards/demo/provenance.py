"""The part of the story that is about where data comes from."""

from __future__ import annotations

import shutil
from pathlib import Path

from guards.demo.stage import Chapter, Ready, Stage

MONTH = "flights/2013-02"
NAME = "nyc/flights/2013-02"


def clean(stage: Stage) -> Ready:
    """A batch as its producer signed it."""
    return Ready(dataset=stage.samples / MONTH, name=NAME)


def changed(stage: Stage) -> Ready:
    """One byte of one file is another than was signed."""
    dataset = stage.copy(MONTH, "changed/2013-02")
    file = _first_file(dataset)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return Ready(dataset=dataset, name=NAME)


def stranger(stage: Stage) -> Ready:
    """Signed by a key that is trusted, but for other names."""
    dataset = stage.copy(MONTH, "stranger/2013-02")
    stage.sign(dataset, NAME, who="stranger")
    return Ready(dataset=dataset, name=NAME)


def other_name(stage: Stage) -> Ready:
    """March, validly signed as March, where February is expected."""
    return Ready(dataset=stage.copy("flights/2013-03", "other-name/2013-02"), name=NAME)


def replayed(stage: Stage) -> Ready:
    """Version 1, validly signed, after version 2 was seen."""
    newer = stage.copy(MONTH, "replayed/newer")
    _drop_last_rows(newer)
    stage.sign(newer, NAME, version=2)
    state = stage.work / "replay-state"
    from guards.api import verify

    verify(newer, trust=stage.samples / "trust", name=NAME, state=state)
    return Ready(dataset=stage.samples / MONTH, name=NAME, options={"state": state})


def extra(stage: Stage) -> Ready:
    """A file that nobody signed lies beside those that somebody did."""
    dataset = stage.copy(MONTH, "extra/2013-02")
    shutil.copy(_first_file(stage.samples / "flights/2013-03"), dataset / "zz-more.parquet")
    return Ready(dataset=dataset, name=NAME)


CHAPTERS = (
    Chapter(title="a clean batch", slug="clean", prepare=clean, decision="PASS"),
    Chapter(
        title="one byte changed after signing",
        slug="changed",
        prepare=changed,
        decision="BLOCK",
        because="provenance/changed-file",
    ),
    Chapter(
        title="a key not trusted for this name",
        slug="stranger",
        prepare=stranger,
        decision="BLOCK",
        because="provenance/untrusted-key",
    ),
    Chapter(
        title="the manifest of another month",
        slug="other-name",
        prepare=other_name,
        decision="BLOCK",
        because="provenance/wrong-name",
    ),
    Chapter(
        title="an older version replayed",
        slug="replayed",
        prepare=replayed,
        decision="BLOCK",
        because="provenance/rollback",
    ),
    Chapter(
        title="an extra, unsigned file",
        slug="extra",
        prepare=extra,
        decision="BLOCK",
        because="provenance/extra-file",
    ),
)


def _first_file(dataset: Path) -> Path:
    return min(dataset.iterdir())


def _drop_last_rows(dataset: Path) -> None:
    import polars as pl

    file = _first_file(dataset)
    pl.read_parquet(file).head(-10).write_parquet(file)
