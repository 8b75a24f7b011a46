"""The producer's side: look at a dataset once, claim it, sign the claim.

What the columns are for is decided here and signed, because whoever decides it steers every
detector downstream. Nothing is vouched for that cannot be read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guards.data.dataset import Dataset, open_dataset
from guards.digest import Digest
from guards.errors import Malformed, Unreadable, UnsafeTree, UsageError
from guards.files import read_document, write_atomically
from guards.provenance.manifest import Derivation, Manifest, Name, Source, parse, payload
from guards.provenance.roles import Roles
from guards.provenance.signing import (
    Envelope,
    Signer,
    add_signature,
    parse_envelope,
    sign,
)
from guards.provenance.snapshot import WARNINGS, Snapshot, take


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the producer says beside the bytes; `columns` overrules the inferred roles.

    `parents` are the roots of the snapshots that this one was made of, `derivation` says how.
    `profile` is the file of the data's own profile, whose digest becomes part of the claim.
    """

    name: Name
    version: int
    sources: tuple[Source, ...] = ()
    parents: tuple[Digest, ...] = ()
    derivation: Derivation | None = None
    expires: datetime | None = None
    created: datetime | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    profile: Path | None = None


def manifest_path(dataset: Path) -> Path:
    """`DATASET.manifest.json`, beside the dataset; a trailing slash changes nothing."""
    return beside(dataset, ".manifest.json")


def profile_path(dataset: Path) -> Path:
    """`DATASET.profile`, beside the dataset."""
    return beside(dataset, ".profile")


def publish(
    dataset: Path,
    claim: Claim,
    key: Signer,
    out: Path | None = None,
    *,
    more: Sequence[Signer] = (),
) -> Path:
    """Sign a dataset; a second signature of the same claim is added to the first.

    `more` sign it too: all of them, or nothing is written.
    """
    path = out or manifest_path(dataset)
    before = _existing(path)
    manifest = _manifest(dataset, _safe(dataset), claim, before)
    envelope = _same(before, manifest, claim, path)
    if envelope is None:
        envelope = sign(payload(manifest), key)
        _refuse_unreadable(envelope, path)
    _write(path, envelope, (key, *more))
    return path


def countersign(
    dataset: Path,
    keys: Sequence[Signer],
    out: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    profile: Path | None = None,
) -> tuple[Path, Manifest]:
    """Add signatures to the claim that lies beside a dataset, if the data is as it says.

    Files, roles, schema and counts are looked at again. Name, version, dates, sources and lineage
    cannot be seen in data: they are taken from the claim, which is returned to be shown.
    """
    path = out or manifest_path(dataset)
    before = _existing(path)
    if before is None:
        raise UsageError(
            f"{path}: there is no claim to add to; sign one: --name, --dataset-version"
        )
    envelope, theirs = before
    claim = Claim(
        name=theirs.name,
        version=theirs.version,
        sources=theirs.sources,
        parents=theirs.parents,
        derivation=theirs.derivation,
        expires=theirs.expires,
        created=theirs.created,
        columns=columns or {},
        profile=profile or (profile_path(dataset) if theirs.profile else None),
    )
    mine = _manifest(dataset, _safe(dataset), claim, before)
    _same(before, mine, claim, path)
    _write(path, envelope, keys)
    return path, theirs


def _safe(dataset: Path) -> Snapshot:
    walked = take(dataset)
    if unsafe := [problem for problem in walked.unsafe if problem.code not in WARNINGS]:
        told = "; ".join(map(str, unsafe[:5]))
        raise UnsafeTree(f"{len(unsafe)} entries of {dataset} cannot be signed: {told}")
    return walked.snapshot


def _write(path: Path, envelope: Envelope, keys: Sequence[Signer]) -> None:
    """Put the envelope at `path`, signed by all these keys as well."""
    for key in keys:
        envelope = add_signature(envelope, key)
    try:
        write_atomically(path, envelope.to_json() + b"\n")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another --out") from error


def describe_columns(dataset: Path) -> tuple[dict[str, str], tuple[Source, ...]]:
    """What `DATASET.dataset.toml` beside a dataset says of its columns and sources, if anything."""
    path = beside(dataset, ".dataset.toml")
    if not path.is_file():
        return {}, ()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        sources = tuple(Source(**source) for source in document.get("source", []))
        return {k: str(v) for k, v in document.get("columns", {}).items()}, sources
    except (tomllib.TOMLDecodeError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}; it may hold [columns] and [[source]]") from error


def beside(dataset: Path, suffix: str) -> Path:
    """The path of what lies beside a dataset; a trailing slash changes nothing."""
    resolved = dataset if dataset.name not in ("", "..") else dataset.resolve()
    return resolved.with_name(resolved.name + suffix)


def _existing(path: Path) -> tuple[Envelope, Manifest] | None:
    if (data := read_document(path)) is None:
        return None
    try:
        envelope = parse_envelope(data, str(path))
        return envelope, parse(envelope)
    except Malformed as error:
        raise UsageError(f"{error}; move it away or choose another --out") from error


def _same(
    before: tuple[Envelope, Manifest] | None, mine: Manifest, claim: Claim, path: Path
) -> Envelope | None:
    """The existing envelope where it makes this very claim, or None if this is a new version.

    Anybody may have written that envelope, so nothing in it is signed that the second signer does
    not see in the data, or did not ask for.
    """
    if before is None:
        return None
    envelope, theirs = before
    if (theirs.name, theirs.version) == (claim.name, claim.version):
        if told := ", ".join(_disagreement(theirs, mine, claim)):
            raise UsageError(
                f"{path} is version {claim.version} of {claim.name} already, with other {told}; "
                "ask for the same, or raise --dataset-version"
            )
        return envelope
    if theirs.name == claim.name and claim.version < theirs.version:
        raise UsageError(f"{path} is version {theirs.version}; versions only rise")
    return None


def _disagreement(theirs: Manifest, mine: Manifest, claim: Claim) -> Iterator[str]:
    """What a second signer would put a name to without having said so."""
    if theirs.snapshot.root != mine.snapshot.root:
        yield "bytes"
        return
    if theirs.roles.columns() != mine.roles.columns():
        yield "roles"
    for field_name in ("schema", "rows", "label_counts", "parents", "derivation", "profile"):
        if getattr(theirs, field_name) != getattr(mine, field_name):
            yield field_name.replace("_", " ")
    if claim.expires and theirs.expires != claim.expires:
        yield "expiry"
    if mine.sources and theirs.sources != mine.sources:
        yield "sources"


def _refuse_unreadable(envelope: Envelope, path: Path) -> None:
    """A claim that no verifier could read is told to the one who can still change it."""
    try:
        parse(parse_envelope(envelope.to_json(), "manifest"))
    except Malformed as error:
        raise UsageError(f"{path} was not written, since nobody could read it: {error}") from error


def _manifest(
    dataset: Path, snapshot: Snapshot, claim: Claim, before: tuple[Envelope, Manifest] | None
) -> Manifest:
    columns, sources = describe_columns(dataset)
    resolved = dataset.resolve()
    root = resolved if resolved.is_dir() else resolved.parent
    files = [entry.path for entry in snapshot.files]
    given = {**columns, **claim.columns}
    opened = open_dataset(root, files, given=given)
    for problem in opened.problems:
        if problem.code not in ("not-data", "zero-rows"):
            raise Unreadable(f"{problem.path}: {problem.message}; nothing was signed")
    previous = before[1] if before and before[1].name == claim.name else None
    return Manifest(
        name=claim.name,
        version=claim.version,
        snapshot=snapshot,
        created=claim.created or datetime.now(UTC).replace(microsecond=0),
        expires=claim.expires,
        previous=previous.snapshot.root if previous else None,
        parents=claim.parents,
        derivation=claim.derivation,
        sources=claim.sources or sources,
        roles=opened.roles,
        schema=opened.schema,
        rows=opened.rows,
        label_counts=_label_counts(opened, opened.roles),
        profile=_profile(claim.profile, opened) if claim.profile else None,
    )


def _profile(path: Path, opened: Dataset) -> Digest:
    """The digest of the data's profile; UsageError for a profile of something else."""
    from guards.data.profile import kinds, read_profile

    profile = read_profile(path)
    if profile.rows != opened.rows or profile.by_name.keys() - kinds(opened).keys():
        raise UsageError(
            f"{path} is the profile of other data ({profile.rows} rows); make it of this one: "
            "toadstone profile"
        )
    return profile.digest


def _label_counts(opened: Dataset, roles: Roles) -> dict[str, Any]:
    """How many rows each label has; left out where there are too many to be classes."""
    if roles.label is None:
        return {}
    counts = opened.frame([roles.label])[roles.label].value_counts(sort=True)
    if counts.height > 1000:
        return {}
    return {str(label): int(count) for label, count in counts.iter_rows() if label is not None}
