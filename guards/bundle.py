"""The run directory: everything that was seen, bound together by one record.

`report.json`, `statistics.json`, `profile.json`, `rows.parquet`, each file of `evidence/`, the
signed manifest and the policy are named in the record by the sha256 of their bytes; the page is
made from them and needs no binding.
That of `policy.json` is the policy's own digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from guards.allowance import Allowance
from guards.budget import alphas
from guards.data.case import Case
from guards.data.profile import Profile, to_bytes
from guards.data.profiles.values import source_of, told_apart
from guards.digest import Digest, canonical_json
from guards.explain import Explanation
from guards.files import write_atomically
from guards.findings import Examination, Exhibit, Ran
from guards.history import FILE, PROFILE, statistics
from guards.provenance.listing import copy_listing
from guards.provenance.signing import PAYLOAD_TYPE, Envelope, Signer, sign
from guards.record import Record, payload
from guards.report.document import document, rows_held, waivers_shown, write_rows
from guards.text import printable
from guards.verdict import Policy, Verdict
from guards.waiving import Waivers


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a scan made of a case, to be written down."""

    case: Case
    policy: Policy
    manifest: bytes | None
    verdict: Verdict
    examinations: tuple[Examination, ...]
    explanation: Explanation | None = None
    profile: Profile | None = None
    waivers: Waivers = field(default_factory=Waivers)


def write_run(
    out: Path, made: Made, record: Record, path: Path, key: Signer | None
) -> tuple[Record, bytes]:
    """Write the run into the empty directory `out`; returns the record and its envelope's bytes."""
    from guards.report.html import render

    _write_evidence(out, made)
    write_rows(out / "rows.parquet", made.examinations, _located(made))
    _write_waivers(out, made)
    report = document(record, made.verdict, made.policy, made.examinations, _dataset(path, made))
    report |= waivers_shown(made.verdict, made.waivers.presented)
    report["policy"]["alphas"] = dict(alphas(made.policy))
    report |= _explained(made.explanation, report["runs"])
    write_atomically(out / "report.json", canonical_json(report) + b"\n")
    write_atomically(out / "policy.json", canonical_json(made.policy.document))
    write_atomically(out / FILE, canonical_json(statistics(made.examinations)))
    if made.profile is not None:
        write_atomically(out / PROFILE, to_bytes(made.profile))
    if made.manifest is not None:
        write_atomically(out / "manifest.json", made.manifest)
        copy_listing(made.manifest, out / "manifest.json")
    record = replace(record, bindings=_bindings(out))
    signed = _envelope(record, key).to_json() + b"\n"
    write_atomically(out / "record.json", signed)
    write_atomically(out / "report.html", render(out).encode())
    return record, signed


def _envelope(record: Record, key: Signer | None) -> Envelope:
    if key is not None:
        return sign(payload(record), key)
    return Envelope(payload_type=PAYLOAD_TYPE, payload=payload(record), signatures=())


def _bindings(out: Path) -> Mapping[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): Digest.of(path.read_bytes()).hex for path in files}


def profile_of_run(case: Case, time_left: Allowance) -> Profile | None:
    """What the data looked like; None for data of pictures alone, and for what cannot be read."""
    dataset = case.opened
    # Of pictures alone that would be another pass over all of them.
    if dataset is None or all(source_of(n) == dataset.roles.image for n in told_apart(dataset)):
        return None
    try:
        with time_left.watched():
            return case.survey.profile
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic inside polars is no Exception, and the rules have told of it
        return None


def _write_evidence(out: Path, made: Made) -> None:
    (out / "evidence").mkdir()
    if not made.policy.pictures:
        return
    explained = made.explanation.exhibits if made.explanation else ()
    for exhibit in [*_exhibits(made.examinations), *explained]:
        (out / "evidence" / Path(exhibit.name).name).write_bytes(exhibit.data)


def _write_waivers(out: Path, made: Made) -> None:
    """Each waiver that was presented, as it was signed, under its digest."""
    for digest, signed in made.waivers.documents.items():
        (out / "waivers").mkdir(exist_ok=True)
        write_atomically(out / "waivers" / f"{digest.hex}.json", signed)


def _explained(explanation: Explanation | None, runs: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the report that explains an alarm, and what it took; empty without an alarm."""
    if explanation is None:
        return {}
    run = explanation.run
    cost = {"seconds": round(run.seconds, 4), "device": run.device, "threads": run.threads}
    return {"explanation": explanation.told, "runs": {**runs, "explanation": cost}}


def _exhibits(examinations: Sequence[Examination]) -> list[Exhibit]:
    ran = [e.outcome for e in examinations if isinstance(e.outcome, Ran)]
    return [exhibit for outcome in ran for exhibit in outcome.measured.exhibits]


def _located(made: Made) -> Any:
    from guards.report.document import no_rows

    rows = rows_held(made.examinations)
    return made.case.dataset.locate(rows) if rows else no_rows()


def _dataset(path: Path, made: Made) -> dict[str, Any]:
    case = made.case
    manifest = case.proof.manifest if case.proof is not None else None
    return {
        "path": printable(str(path)),
        "name": manifest.name.dataset if manifest else None,
        "partition": (manifest.name.partition or None) if manifest else None,
        "version": manifest.version if manifest else None,
        "root": str(case.snapshot.root),
        "files": [
            {"path": e.path, "size": e.size, "digest": str(e.digest)} for e in case.snapshot.files
        ],
        "bytes": case.snapshot.size,
        "rows": case.opened.rows if case.opened else None,
        "roles": case.roles.columns(),
    }
