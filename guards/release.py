"""The dataset without the rows that a scan held: `toadstone scan --release-clean OUT`.

    OUT                    the same files without those rows, see `guards.data.rewrite`
    OUT.removed.parquet    which rows went, by which rules and why; never what was in them
    OUT.manifest.json      the claim, signed by a deriver, that names what it was made from

A release is a new dataset and nothing else: no verdict comes with it, the record of its parent
admits none of its bytes, and it opens a gate only after a scan of its own. It is made of the very
bytes that were looked at. Nothing is released when the provenance was refused or a file could not
be examined, when no row is held, and when what would be left is another dataset than the one that
was claimed: half of the rows gone, or every row of a class. `OUT` appears last, whole or not at
all.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from guards._version import __version__
from guards.bundle import Made
from guards.data import folder
from guards.data.dataset import Dataset
from guards.data.rewrite import write_without
from guards.data.words import words_of
from guards.digest import Digest
from guards.errors import GuardError, UsageError
from guards.findings import Ran
from guards.private import private
from guards.provenance.listing import beside, listing_path, manifest_path
from guards.provenance.manifest import Derivation, Manifest, Name
from guards.provenance.signing import Signer
from guards.provenance.trust import Trust
from guards.publish import Claim, publish
from guards.report.document import rows_held

if TYPE_CHECKING:
    import polars as pl

METHOD = "release-clean"
# From this share of the rows on the rest is no cleaned version of what was claimed.
MOST = 0.5
# Files that no rule examines lie in the release as they lay in the dataset.
_CARRIED = frozenset({"not-data", "zero-rows"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where the release goes, whose key signs it, and under what name and version.

    Unless said otherwise it has the name of its parent, and the version after it.
    """

    out: Path
    key: Signer
    name: Name | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of the wish: `out` is None where nothing was released, and `told` says why."""

    told: str
    out: Path | None = None
    manifest: Path | None = None
    removed: int = 0


def removed_path(out: Path) -> Path:
    """`OUT.removed.parquet`, beside the release."""
    return beside(out, ".removed.parquet")


def refuse_nonsense(wanted: Wanted, dataset: Path, run: Path, trust: Trust | None) -> None:
    """Tell a wish that cannot come true before anything is looked at."""
    if trust is None:
        raise UsageError(
            "--release-clean needs --trust: what is released names what it was made from, and "
            "only what somebody trusted vouches for has a name"
        )
    out = wanted.out
    claim = manifest_path(out)
    for path in (out, claim, listing_path(claim), removed_path(out)):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already; choose another --release-clean")
    here, taken = out.resolve(), (dataset.resolve(), run.resolve())
    if any(here == other or here in other.parents or other in here.parents for other in taken):
        raise UsageError(f"{out} overlaps the dataset or the run; choose another --release-clean")
    if dataset.is_file() and out.suffix.lower() != dataset.suffix.lower():
        raise UsageError(f"{out}: a release of {dataset.name} must end in {dataset.suffix}")


def require_deriver(wanted: Wanted, claimed: Manifest, trust: Trust, at: datetime) -> None:
    """Refuse a key by which no verifier with this trust would believe the release."""
    name, version = _called(wanted, claimed)
    if name == claimed.name and version <= claimed.version:
        raise UsageError(
            f"--release-version {version}: versions of {name} only rise, and what is scanned is "
            f"version {claimed.version}"
        )
    if why := trust.refusal(wanted.key.public, "deriver", name, at):
        raise UsageError(
            f"the key {wanted.key.public.keyid[:12]} that is to sign the release {why} by --trust; "
            f"give one with the role deriver for {name} as --release-key"
        )


def release(
    wanted: Wanted, made: Made, record: Digest, at: datetime, *, single: bool = False
) -> Released:
    """Write what was looked at without the rows held, if that may be done; say what was done.

    `record` names the bytes of the signed record of this very scan; `single` says that the dataset
    is one file and no directory. Raises UsageError when OUT cannot be written; what the data can
    contain ends in `told`.
    """
    if told := _objection(made):
        return Released(told=f"nothing was released: {told}")
    dataset, held = made.case.dataset, rows_held(made.examinations)
    try:
        wanted.out.parent.mkdir(parents=True, exist_ok=True)
        with private(wanted.out.parent) as scratch:
            draft = scratch / wanted.out.name
            _write(dataset, held, draft, single)
            _removed(made, held).write_parquet(removed_path(draft))
            _sign(wanted, made, record, draft, at)
            _place(draft, wanted.out)
    except OSError as error:
        told = f"cannot write {wanted.out}: {error.strerror or error}; choose another"
        raise UsageError(f"{told} --release-clean") from error
    except UsageError:
        raise
    except GuardError as error:
        return Released(told=f"nothing was released: {error}")
    return Released(
        told=f"released {wanted.out} without {len(held):,} of {dataset.rows:,} rows; scan it "
        "before it is trained on: no gate opens for it yet",
        out=wanted.out,
        manifest=manifest_path(wanted.out),
        removed=len(held),
    )


def _objection(made: Made) -> str:
    """Why nothing may be released, or nothing."""
    case = made.case
    if not case.proof or case.proof.manifest is None:
        return "the provenance was refused"
    if case.opened is None:
        return case.closed_because or "there is no readable data"
    if bad := [p for p in case.opened.problems if p.code not in _CARRIED]:
        return f"{bad[0].path}: {bad[0].message}; what was not examined is not passed on"
    held = rows_held(made.examinations)
    if not held:
        return "nothing to remove, no row is held"
    if len(held) > MOST * case.opened.rows:
        return f"{len(held):,} of {case.opened.rows:,} rows are held, and the rest is another set"
    if gone := _classes_gone(case.opened, held):
        return f"every row labelled {', '.join(map(repr, gone[:5]))} is held"
    return ""


def _classes_gone(dataset: Dataset, held: Sequence[int]) -> list[str]:
    """Labels that no row would bear any more."""
    if dataset.roles.label is None:
        return []
    labels = words_of(dataset.frame([dataset.roles.label]).to_series())
    before, taken = Counter(labels.to_list()), Counter(labels.gather(list(held)).to_list())
    # No label, or NaN, is no class, and a release may well be there to be rid of it.
    gone = {label for label, count in taken.items() if count == before[label]}
    return sorted(gone - {None, "NaN"})


def _write(dataset: Dataset, held: Sequence[int], draft: Path, single: bool) -> None:
    """The dataset without these rows at `draft`; a file of which no row is left is left out."""
    for problem in dataset.problems:
        _copy(dataset.root / problem.path, draft / problem.path)
    for shard in dataset.shards:
        gone = {row - shard.start for row in held if 0 <= row - shard.start < shard.rows}
        if shard.format == folder.FORMAT:
            for place, name in enumerate(shard.files):
                if place not in gone:
                    _copy(dataset.root / name, draft / name)
        elif len(gone) < shard.rows:
            target = draft if single else draft / shard.path
            if gone:
                source = dataset.root / shard.path
                write_without(source, shard.format, shard.rows, gone, target)
            else:
                _copy(dataset.root / shard.path, target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _removed(made: Made, held: Sequence[int]) -> pl.DataFrame:
    """One line a row that went: where it was, its digest, and the rules and reasons."""
    import polars as pl

    why: defaultdict[int, dict[str, list[str]]] = defaultdict(lambda: {"rules": [], "reasons": []})
    for examination in made.examinations:
        if isinstance(examination.outcome, Ran):
            for score in examination.outcome.measured.row_scores:
                why[score.row]["rules"].append(examination.rule)
                why[score.row]["reasons"].append(score.reason)
    words = [pl.Series(key, [why[row][key] for row in held]) for key in ("rules", "reasons")]
    located = made.case.dataset.locate(held)
    return located.select("row_id", "file", "row_in_file", "row_digest").with_columns(words)


def _sign(wanted: Wanted, made: Made, record: Digest, draft: Path, at: datetime) -> None:
    """Claim the draft, as its deriver, under the roles that the parent's producer signed."""
    proof = made.case.proof
    if proof is None or proof.manifest is None or made.manifest is None:
        raise UsageError("what nobody claimed has no release")
    parent, (name, version) = proof.manifest, _called(wanted, proof.manifest)
    removed = removed_path(draft).read_bytes()
    derivation = Derivation(
        method=METHOD,
        parent=made.case.snapshot.root,
        manifest=Digest.of(made.manifest),
        record=record,
        policy=made.policy.digest,
        removed=len(rows_held(made.examinations)),
        rows=Digest.of(removed),
        code=f"toadstone {__version__}",
    )
    claim = Claim(
        name=name,
        version=version,
        sources=parent.sources,
        parents=(derivation.parent,),
        expires=parent.expires,
        created=at,
        columns=parent.roles.columns(),
        derivation=derivation,
    )
    publish(draft, claim, wanted.key, manifest_path(draft))


def _called(wanted: Wanted, parent: Manifest) -> tuple[Name, int]:
    """The name and version of the release."""
    version = parent.version + 1 if wanted.version is None else wanted.version
    return wanted.name or parent.name, version


def _place(draft: Path, out: Path) -> None:
    """Move the three to their places, the dataset last; if that fails, none is left behind."""
    placed: list[Path] = []
    moves = [(removed_path(draft), removed_path(out)), (manifest_path(draft), manifest_path(out))]
    if (listing := listing_path(manifest_path(draft))).exists():
        moves.insert(0, (listing, listing_path(manifest_path(out))))
    try:
        for source, target in [*moves, (draft, out)]:
            if target.exists():
                raise UsageError(f"{target} appeared meanwhile; choose another --release-clean")
            source.rename(target)
            placed.append(target)
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        raise
