"""What the tests of the rules about shared marks share: grey pictures on disk, one rule asked."""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
from PIL import Image

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.findings import Ran
from guards.provenance.snapshot import Snapshot


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def made(tmp_path, pixels, labels, sources=None):
    frame = {"image": [png(p) for p in pixels], "label": [f"c{x}" for x in labels]}
    if sources is not None:
        frame["source"] = [f"s{x}" for x in sources]
    pl.DataFrame(frame).write_parquet(tmp_path / "x.parquet")
    dataset = open_dataset(tmp_path, ["x.parquet"])
    return Case(snapshot=Snapshot(files=()), opened=dataset, roles=dataset.roles)


def measured_by(rule, tmp_path, pixels, labels, sources=None, **settings):
    # The looks are asked of a probe, which takes its time: only where a test is about them.
    case = made(tmp_path, pixels, labels, sources)
    outcome = run(rule, case, {"denied": 0.0, **settings}).outcome
    assert isinstance(outcome, Ran), outcome
    json.dumps(outcome.measured.statistics, allow_nan=False)
    return outcome.measured


def told(measured):
    return [(f.code, f.severity) for f in measured.findings]


def held(measured):
    return {score.row for score in measured.row_scores}


def some_of(labels, label, count):
    return np.flatnonzero(labels == label)[:count]
