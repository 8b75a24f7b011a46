"""`report.json` and `rows.parquet`: the whole of what was seen, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guards._version import __version__
from guards.findings import Examination, Ran, RowScore, describe
from guards.provenance.strictjson import timestamp
from guards.provenance.waivers import Presented, Waiver
from guards.record import Record
from guards.text import printable
from guards.verdict import Policy, Verdict

SCHEMA = 1


def document(
    record: Record,
    verdict: Verdict,
    policy: Policy,
    examinations: Sequence[Examination],
    dataset: Mapping[str, Any],
) -> dict[str, Any]:
    """The report as JSON; `dataset` says what was looked at (path, files, rows, roles)."""
    log = record.checkpoint
    return {
        "schema": SCHEMA,
        "toadstone": __version__,
        "created": record.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "dataset": dict(dataset),
        "verdict": {
            "decision": str(verdict.decision),
            "reasons": [
                {"rule": r.rule, "code": r.code, "decision": str(r.decision), "text": r.text}
                for r in verdict.reasons
            ],
            "snapshot": str(verdict.snapshot),
            "policy": str(verdict.policy),
            "examinations": [str(digest) for digest in verdict.examinations],
        },
        "policy": {
            "name": policy.name,
            "digest": str(policy.digest),
            "admits": policy.admits,
            "rules": list(policy.rules),
            "required": list(policy.required),
            "quarantine_at": str(policy.quarantine_at),
            "block_at": str(policy.block_at),
            "false_alarm_budget": policy.false_alarm_budget,
        },
        "seed": record.seed,
        "replayable": not record.replay,
        "ledger": {
            "origin": log.origin,
            "size": log.size,
            "root": str(log.root),
            "checkpoint": log.text,
        }
        if log
        else None,
        "examinations": [{**describe(e), "digest": str(e.digest)} for e in examinations],
        "runs": {
            e.rule: {
                "seconds": round(e.run.seconds, 4),
                "device": e.run.device,
                "threads": e.run.threads,
            }
            for e in examinations
        },
    }


def waivers_shown(verdict: Verdict, presented: Sequence[Presented]) -> dict[str, Any]:
    """Every waiver that was presented, and what it did; empty where there was none.

    What a waiver accepts is among `findings` all the same; `waived` are the reasons that would
    else stand in the verdict.
    """
    if not presented:
        return {}
    shown = [
        {
            "digest": str(one.digest),
            "counts": bool(one),
            "refused": printable(one.refused),
            "approvers": list(one.approvers),
            **(_described(one.waiver) if one.waiver else {}),
            "waived": [
                {"rule": w.reason.rule, "code": w.reason.code, "decision": str(w.reason.decision)}
                | {"text": w.reason.text}
                for w in verdict.waived
                if w.waiver == one.digest
            ],
        }
        for one in presented
    ]
    return {"waivers": shown}


def _described(waiver: Waiver) -> dict[str, Any]:
    return {
        "about": waiver.told,
        "name": str(waiver.name),
        "version": waiver.version,
        "severity": waiver.severity,
        "reason": printable(waiver.reason),
        "created": timestamp(waiver.created),
        "expires": timestamp(waiver.expires),
    }


def write_rows(path: Path, examinations: Sequence[Examination], located: Any) -> None:
    """Write `rows.parquet`: one line per row and rule that a finding holds.

    `located` is a polars frame of `row, row_id, file, row_in_file, row_digest, label`.
    """
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = [(e.rule, score) for e in examinations for score in _scores(e)]
    scored = pl.DataFrame(
        [(s.row, rule, float(s.score), s.p_value, s.suggested_label, s.reason) for rule, s in held],
        schema={
            "row": pl.Int64,
            "rule": pl.String,
            "score": pl.Float64,
            "p_value": pl.Float64,
            "suggested_label": pl.String,
            "reason": pl.String,
        },
        orient="row",
    )
    columns = ("row_id", "file", "row_in_file", "row_digest", "rule", "score", "p_value")
    joined = scored.join(located, on="row", how="left", maintain_order="left")
    table = joined.select(*columns, "label", "suggested_label", "reason").to_arrow()
    # polars writes `large_string`; what users rely on is `string`.
    text = {pa.large_string(): pa.string()}
    plain = [field.with_type(text.get(field.type, field.type)) for field in table.schema]
    pq.write_table(table.cast(pa.schema(plain)), path)


def no_rows() -> Any:
    """What `Dataset.locate` gives for no rows."""
    import polars as pl

    text = ("row_id", "file", "row_digest", "label")
    schema = {"row": pl.Int64, "row_in_file": pl.Int64, **dict.fromkeys(text, pl.String)}
    return pl.DataFrame(schema=schema)


def rows_held(examinations: Sequence[Examination]) -> list[int]:
    """Every row that some finding holds, once, in order."""
    return sorted({score.row for e in examinations for score in _scores(e)})


def _scores(examination: Examination) -> tuple[RowScore, ...]:
    outcome = examination.outcome
    return outcome.measured.row_scores if isinstance(outcome, Ran) else ()
