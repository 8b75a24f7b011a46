"""Run directories as a scan leaves them, built from the real nouns and signed with a real key."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image, ImageDraw

from guards.digest import Digest
from guards.findings import (
    Confidence,
    Evidence,
    Examination,
    Exhibit,
    Failed,
    Finding,
    Inapplicable,
    Measured,
    Ran,
    RunInfo,
    Severity,
    Skipped,
    Subject,
)
from guards.provenance.checkpoint import Checkpoint, sign_checkpoint
from guards.provenance.manifest import Name
from guards.provenance.signing import PAYLOAD_TYPE, Envelope, PrivateKey, sign
from guards.record import Examined, Record, payload
from guards.report.document import document
from guards.verdict import Policy, Verdict, judge

KEY = PrivateKey(Ed25519PrivateKey.from_private_bytes(b"report tests: a public demo key!"))
ROOT = Digest.of(b"the bytes that the fixtures speak of")
RULES = (
    *("integrity", "provenance", "quality", "contract", "drift", "labels"),
    *("sources", "images", "triggers", "spectral", "clustering"),
)
POLICY = Policy(name="default", rules=RULES, required=("integrity", "provenance", "quality"))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a run is made of; whatever is not given is that of an ordinary clean batch."""

    examinations: Sequence[Examination]
    dataset: dict[str, Any] = field(default_factory=dict)
    policy: Policy = POLICY
    rows: Sequence[dict[str, Any]] = ()
    signed: bool = True
    replay: bool = False
    checkpoint: Checkpoint | None = None


def examined(rule: str, measured: Measured, seconds: float = 0.4) -> Examination:
    inputs = {"code": "toadstone 0.1.0", "settings": str(Digest.of(rule.encode()))}
    info = RunInfo(seconds=seconds)
    return Examination(rule=rule, snapshot=ROOT, outcome=Ran(measured), inputs=inputs, run=info)


def not_examined(rule: str, outcome: Any) -> Examination:
    return Examination(rule=rule, snapshot=ROOT, outcome=outcome)


def found(rule: str, code: str, summary: str, **given: Any) -> Finding:
    usual: dict[str, Any] = {
        "severity": Severity.MEDIUM,
        "confidence": Confidence.MEDIUM,
        "subject": Subject(kind="dataset"),
    }
    return Finding(rule=rule, code=code, summary=summary, **(usual | given))


def provenance(**given: Any) -> Examination:
    told = {
        "signed": True,
        "name": "acme/fashion",
        "partition": "2026-11",
        "version": 7,
        "previous": str(Digest.of(b"version six")),
        "created": "2026-11-20T08:00:00Z",
        "expires": "2027-11-20T08:00:00Z",
        "sources": [{"uri": "https://data.example/fashion", "retrieved": "", "license": "MIT"}],
        "signers": [KEY.public.keyid],
        "steps": [{"rule": "producer", "input": KEY.public.keyid, "ok": True, "outcome": "may"}],
        "history": "first-use",
        "differences": 0,
        "files": 2,
        "bytes": 4_181_233,
    }
    return examined("provenance", Measured(statistics=told | given), seconds=0.03)


def contact_sheet() -> bytes:
    """Twelve planted pictures with a box around the planted corner, as the triggers rule draws."""
    rng = np.random.default_rng(5)
    sheet = Image.new("RGB", (6 * 88, 2 * 88), "white")
    draw = ImageDraw.Draw(sheet)
    for index in range(12):
        blob = np.zeros((28, 28), np.uint8)
        x, y = rng.integers(4, 9, 2)
        blob[y : y + 16, x : x + 12] = rng.integers(90, 220, (16, 12))
        blob[23:27, 23:27] = np.indices((4, 4)).sum(0) % 2 * 255
        left, top = index % 6 * 88 + 2, index // 6 * 88 + 2
        sheet.paste(Image.fromarray(blob).resize((84, 84), Image.Resampling.NEAREST), (left, top))
        draw.rectangle((left + 66, top + 66, left + 83, top + 83), outline=(214, 40, 40), width=2)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def held_rows(rule: str, count: int, reason: str) -> list[dict[str, Any]]:
    return [
        {
            "row_id": f"part-001.parquet#{17 * i + 3}",
            "file": "part-001.parquet",
            "row_in_file": 17 * i + 3,
            "row_digest": str(Digest.of(b"%d" % i)),
            "rule": rule,
            "score": round(0.999 - i / 900, 4),
            "p_value": 1e-9 * (i + 1) if rule == "triggers" else None,
            "label": "7",
            "suggested_label": "4",
            "reason": reason,
        }
        for i in range(count)
    ]


def quiet() -> list[Examination]:
    """The rules that had nothing to say, of a clean table."""
    return [
        examined("integrity", Measured(statistics={"files": 2, "bytes": 4_181_233}), 0.05),
        provenance(),
        examined("quality", Measured(statistics={"rows": 20_000, "nulls": {"dep_time": 0.004}})),
    ]


def backdoored() -> Scene:
    """Fashion-MNIST with a patch trigger in one source: what the page is most needed for."""
    patch = found(
        "triggers",
        "patch-trigger",
        "a 4 x 4 pattern at the lower right appears on 201 pictures labelled 7, of which 96 % "
        "look like another class; 198 of them came from uploader-13",
        severity=Severity.HIGH,
        confidence=Confidence.HIGH,
        subject=Subject(kind="class", name="7"),
        evidence=(
            Evidence(
                statistic="label-inconsistent share of the cell",
                value=0.9602,
                threshold=0.31,
                p_value=3.4e-87,
                effect=14.2,
                sample=10_000,
                rows=201,
                detail={"place": "rows 23-26, columns 23-26", "class": "7"},
            ),
            Evidence(statistic="pictures that share the patch", value=201, threshold=6, rows=201),
        ),
        remedy="remove the rows that rows.parquet names and ask uploader-13 where they came from",
    )
    source = found(
        "sources",
        "source-enriched",
        "uploader-13 delivers 9.9 % suspect rows; its peers deliver 0.6 %",
        subject=Subject(kind="source", name="uploader-13"),
        evidence=(
            Evidence(
                statistic="beta-binomial tail of suspect rows",
                value=0.099,
                threshold=0.021,
                p_value=1.2e-44,
                effect=16.5,
                sample=2_000,
                rows=198,
            ),
        ),
        remedy="hold everything from this source until it has explained itself",
    )
    rates = [
        {"source": f"uploader-{n}", "rows": 2_000, "sure": 1_000, "contradicted": hits}
        for n, hits in zip(range(10, 15), (6, 9, 5, 99, 7), strict=True)
    ]
    sheet = Exhibit(
        name="triggers-class-7.png",
        data=contact_sheet(),
        caption="12 of 201 pictures labelled 7 that carry the pattern; the box marks where it is",
    )
    measured = Measured(
        statistics={"cells": 18_432, "inconsistent": 0.031, "classes": {"7": {"rows": 201}}},
        findings=(patch,),
        exhibits=(sheet,),
    )
    return Scene(
        examinations=[
            *quiet(),
            not_examined("contract", Skipped("no contract is pinned by the policy; add one")),
            not_examined("drift", Skipped("no reference profile was given; pass --reference")),
            examined("labels", Measured(statistics={"estimated rate": 0.031}), 4.1),
            examined(
                "sources",
                Measured(statistics={"sources": rates}, findings=(source,)),
            ),
            examined("images", Measured(statistics={"decoded": 10_000}), 1.2),
            examined("triggers", measured, 11.7),
            not_examined("spectral", Failed("MemoryError: 3.1 GiB were asked for, 2 GiB allowed")),
            examined("clustering", Measured(statistics={"classes": 10}), 2.2),
        ],
        rows=[
            *held_rows("triggers", 201, "carries the pattern, and looks like class 4"),
            *held_rows("sources", 4, "suspect, and from uploader-13"),
        ],
        checkpoint=sign_checkpoint(
            Checkpoint(size=41, root=Digest.of(b"root"), origin="log.example/1"), KEY
        ),
    )


def drifted() -> Scene:
    """Flights whose delays changed their unit in one carrier."""
    bins = ["below -8", "-8 to -3", "-3 to 0", "0 to 6", "6 to 21", "21 to 60", "above 60"]
    moved = [
        {
            "column": "dep_delay",
            "kind": "numeric",
            "effect": 0.214,
            "spread": 0.06,
            "p_value": 1e-80,
            "bins": bins,
            "reference": [0.14, 0.15, 0.14, 0.15, 0.14, 0.14, 0.14],
            "current": [0.05, 0.07, 0.08, 0.13, 0.12, 0.2, 0.35],
        },
        {
            "column": "carrier",
            "kind": "categorical",
            "effect": 0.061,
            "spread": 0.02,
            "p_value": 0.0004,
            "bins": ["UA", "B6", "EV", "DL", "(new) ZZ"],
            "reference": [0.21, 0.2, 0.19, 0.17, 0.0],
            "current": [0.18, 0.21, 0.16, 0.17, 0.06],
        },
    ]
    finding = found(
        "drift",
        "column-moved",
        "dep_delay moved: its distribution differs by 0.214 where 0.1 is tolerated",
        subject=Subject(kind="column", name="dep_delay"),
        evidence=(
            Evidence(
                statistic="Kolmogorov-Smirnov D",
                value=0.214,
                threshold=0.1,
                p_value=1e-80,
                effect=0.214,
                sample=24_951,
            ),
        ),
        remedy="find out what changed at the source: a unit, a filter, a join",
    )
    return Scene(
        examinations=[
            *quiet(),
            examined("drift", Measured(statistics={"moved": moved}, findings=(finding,)), 1.9),
            not_examined("images", Inapplicable("no column has the role image")),
        ],
        dataset={"path": "data_samples/flights/2013-02", "name": "acme/flights"},
    )


def clean() -> Scene:
    return Scene(examinations=quiet())


def build(run: Path, scene: Scene) -> Path:
    """Write a run directory as the scan does; returns it."""
    verdict = judge(scene.policy, ROOT, scene.examinations)
    dataset = {
        "path": "data_samples/fashion",
        "name": "acme/fashion",
        "partition": "2026-11",
        "version": 7,
        "root": str(ROOT),
        "files": [
            {"path": f"part-00{i}.parquet", "size": 2_090_616, "digest": str(Digest.of(b"%d" % i))}
            for i in range(2)
        ],
        "bytes": 4_181_232,
        "rows": 10_000,
        "roles": {"image": "image", "label": "label", "source": "source"},
    } | scene.dataset
    record = _record(scene, verdict)
    report = document(record, verdict, scene.policy, scene.examinations, dataset)
    return write(run, report, scene, record)


def _record(scene: Scene, verdict: Verdict) -> Record:
    return Record(
        name=Name("acme/fashion", "2026-11"),
        version=7,
        root=ROOT,
        decision=verdict.decision,
        reasons=tuple(reason.text for reason in verdict.reasons),
        policy=verdict.policy,
        policy_name=scene.policy.name,
        admits=scene.policy.admits,
        seed=2_871_234_512,
        replay=scene.replay,
        code="toadstone 0.1.0",
        time=datetime(2026, 11, 23, 3, 20, tzinfo=UTC),
        producers=(KEY.public.keyid,),
        checkpoint=scene.checkpoint,
        examinations=tuple(
            Examined(rule=e.rule, outcome=type(e.outcome).__name__.lower(), digest=e.digest)
            for e in scene.examinations
        ),
    )


def write(run: Path, report: dict[str, Any], scene: Scene, record: Record) -> Path:
    (run / "evidence").mkdir(parents=True)
    (run / "report.json").write_bytes(json.dumps(report, ensure_ascii=False).encode())
    empty = held_rows("none", 1, "")[0]
    rows = pl.DataFrame([*scene.rows, empty]).filter(pl.col("rule") != "none")
    rows.write_parquet(run / "rows.parquet")
    for examination in scene.examinations:
        if isinstance(examination.outcome, Ran):
            for exhibit in examination.outcome.measured.exhibits:
                (run / "evidence" / exhibit.name).write_bytes(exhibit.data)
    bind(run, record, scene.signed)
    return run


def bind(run: Path, record: Record, signed: bool = True) -> None:
    """Write `record.json` over what lies in the run now."""
    files = [run / "report.json", run / "rows.parquet", *sorted((run / "evidence").iterdir())]
    bindings = {f.relative_to(run).as_posix(): Digest.of(f.read_bytes()).hex for f in files}
    told = payload(replace(record, bindings=bindings))
    unsigned = Envelope(payload_type=PAYLOAD_TYPE, payload=told, signatures=())
    (run / "record.json").write_bytes((sign(told, KEY) if signed else unsigned).to_json())


SCENES: dict[str, Callable[[], Scene]] = {
    "backdoored": backdoored,
    "drifted": drifted,
    "clean": clean,
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Build a run by name of its scene, or from a scene; each in its own directory."""

    def make(scene: str | Scene = "backdoored") -> Path:
        made = SCENES[scene]() if isinstance(scene, str) else scene
        return build(tmp_path / f"run-{len(list(tmp_path.iterdir()))}", made)

    return make


@pytest.fixture
def scenes() -> Any:
    """The makers of this file, for tests that compose their own scene."""
    from types import SimpleNamespace

    return SimpleNamespace(
        Scene=Scene,
        examined=examined,
        found=found,
        quiet=quiet,
        bind=bind,
        held_rows=held_rows,
        clean=clean,
        backdoored=backdoored,
        POLICY=POLICY,
        build=build,
        not_examined=not_examined,
        provenance=provenance,
    )
