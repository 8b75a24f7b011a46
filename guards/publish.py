"""The producer's side: look at a dataset once, claim it, sign the claim.

What the columns are for is decided here and signed, because whoever decides it steers every
detector downstream. Nothing is vouched for that cannot be read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from guards.data.content import content_digest
from guards.data.dataset import Dataset, open_dataset
from guards.digest import Digest
from guards.errors import Malformed, Unreadable, UnsafeTree, UsageError
from guards.files import draft_of, write_atomically
from guards.provenance.listing import (
    beside,
    listing_path,
    manifest_path,
    profile_path,
    read_claim,
    write_listing,
)
from guards.provenance.manifest import Derivation, Manifest, Name, Source, parse, payload
from guards.provenance.roles import Roles
from guards.provenance.signing import (
    Envelope,
    Signer,
    add_signature,
    parse_envelope,
    sign,
)
from guards.provenance.snapshot import WARNINGS, Look, Snapshot, Walked, take
from guards.provenance.strictjson import timestamp
from guards.remote import Located

# What presigned URLs and interfaces call them.
_SECRETS = frozenset(
    {
        *("x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature", "sig"),
        *("signature", "awsaccesskeyid", "token", "access_token", "api_key", "apikey", "password"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the producer says beside the bytes; `columns` overrules the inferred roles.

    `parents` are the roots of the snapshots that this one was made of, `derivation` says how.
    `profile` is the file of the data's own profile, whose digest becomes part of the claim.
    `held` is a foreign claim that the data was held against, one more source, and `seen` the root
    of the bytes that it holds for: only those are claimed. With
    `content` each table's rows are named too, so that a re-encoded file can be told from another.
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
    held: Source | None = None
    seen: Digest | None = None
    content: bool = False


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
    snapshot = _safe(dataset, before)
    if claim.seen is not None and snapshot.root != claim.seen:
        raise UnsafeTree(
            f"{dataset} changed since it was held against the claim: nothing is signed"
        )
    manifest = _manifest(dataset, snapshot, claim, before)
    envelope = _same(before, manifest, claim, path)
    if envelope is not None:
        _write(path, envelope, (key, *more))
        return path
    with _drafted(manifest, path) as (document, listing):
        envelope = replace(sign(document, key), listing=listing)
        _refuse_unreadable(envelope, path, manifest.snapshot)
        _write(path, envelope, (key, *more))
        if listing is None:  # that of an earlier and larger version
            listing_path(path).unlink(missing_ok=True)
    return path


@contextmanager
def _drafted(manifest: Manifest, path: Path) -> Iterator[tuple[bytes, Path | None]]:
    """What is to be signed and, of a large dataset, a draft of its list of files."""
    if not manifest.is_large:
        yield payload(manifest), None
        return
    draft = draft_of(path)
    try:
        yield payload(manifest, write_listing(manifest.snapshot.files, draft)), draft
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another --out") from error
    finally:
        draft.unlink(missing_ok=True)


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
        content=any(entry.content for entry in theirs.snapshot.files),
    )
    mine = _manifest(dataset, _safe(dataset, before), claim, before)
    _same(before, mine, claim, path)
    _write(path, envelope, keys)
    return path, theirs


def publish_at(
    located: Located,
    claim: Claim,
    key: Signer,
    out: Path | None = None,
    *,
    more: Sequence[Signer] = (),
) -> str:
    """As :func:`publish`, of a dataset that may be in a store, where the claim is written, too.

    It is copied to where `located` is, each object read once, and looked at there.
    """
    remote, place = located.remote, located.path
    if remote is None:
        return str(publish(place, claim, key, out, more=more))
    into = place if place.is_dir() else place.parent
    if into != place:
        place.unlink()
    _refuse_unsafe(remote.stage(into), remote.url)
    if not claim.sources and not describe_columns(place)[1]:
        claim = replace(claim, sources=(Source(uri=remote.url),))
    path = publish(place, claim, key, out, more=more)
    if out is not None:
        return str(path)
    if (listing := listing_path(path)).is_file():
        remote.put(listing, listing.name.removeprefix(remote.name))
    return remote.put(path, path.name.removeprefix(remote.name))


def _safe(dataset: Path, before: tuple[Envelope, Manifest] | None) -> Snapshot:
    walked = take(dataset, look=Look(claimed=before[1].snapshot) if before else Look())
    _refuse_unsafe(walked, str(dataset))
    return walked.snapshot


def _refuse_unsafe(walked: Walked, dataset: str) -> None:
    if unsafe := [problem for problem in walked.unsafe if problem.code not in WARNINGS]:
        told = "; ".join(map(str, unsafe[:5]))
        raise UnsafeTree(f"{len(unsafe)} entries of {dataset} cannot be signed: {told}")


def _write(path: Path, envelope: Envelope, keys: Sequence[Signer]) -> None:
    """Put the envelope at `path`, signed by all these keys as well."""
    for key in keys:
        envelope = add_signature(envelope, key)
    data, place = envelope.to_json() + b"\n", listing_path(path)
    try:
        if envelope.listing not in (None, place):
            envelope.listing.replace(place)
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another --out") from error


def describe_columns(dataset: Path) -> tuple[dict[str, str], tuple[Source, ...]]:
    """What `DATASET.dataset.toml` beside a dataset says of its columns and sources, if anything."""
    path = beside(dataset, ".dataset.toml")
    if not path.is_file():
        return {}, ()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        sources = tuple(_source(source) for source in document.get("source", []))
        return {k: str(v) for k, v in document.get("columns", {}).items()}, sources
    except (tomllib.TOMLDecodeError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{path}: {error}; it may hold [columns] and [[source]]") from error


def _source(told: Mapping[str, Any]) -> Source:
    """One `[[source]]`; a digest is `sha256:<hex>`, and a time may be written as TOML has them.

    What was held against the data (`claim`) is not told, but done.
    """
    when = told.get("retrieved")
    said = {key: str(value) for key, value in told.items()}
    if unknown := sorted(said.keys() - {"uri", "retrieved", "license", "digest"}):
        raise ValueError(f"unknown key {unknown[0]!r} of a [[source]]")
    if isinstance(when, datetime) and when.tzinfo:
        said["retrieved"] = timestamp(when)
    digest = Digest.parse(said.pop("digest")) if "digest" in said else None
    return Source(**said, digest=digest)


def _existing(path: Path) -> tuple[Envelope, Manifest] | None:
    if (data := read_claim(path)) is None:
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
    if _told(theirs) != _told(mine):
        yield "row counts or content digests of files"
    if theirs.roles.columns() != mine.roles.columns():
        yield "roles"
    for field_name in ("schema", "rows", "label_counts", "parents", "derivation", "profile"):
        if getattr(theirs, field_name) != getattr(mine, field_name):
            yield field_name.replace("_", " ")
    if claim.expires and theirs.expires != claim.expires:
        yield "expiry"
    if mine.sources and theirs.sources != mine.sources:
        yield "sources"


def _told(manifest: Manifest) -> list[tuple[int | None, Digest | None]]:
    """What a claim says of the rows of each file, in order of their paths."""
    files = sorted(manifest.snapshot.files, key=lambda entry: entry.path)
    return [(entry.rows, entry.content) for entry in files]


def _refuse_unreadable(envelope: Envelope, path: Path, written: Snapshot) -> None:
    """A claim that no verifier could read is told to the one who can still change it."""
    try:
        again = parse_envelope(envelope.to_json(), "manifest")
        parse(replace(again, listing=envelope.listing), like=written)
    except Malformed as error:
        raise UsageError(f"{path} was not written, since nobody could read it: {error}") from error


def _manifest(
    dataset: Path, snapshot: Snapshot, claim: Claim, before: tuple[Envelope, Manifest] | None
) -> Manifest:
    columns, sources = describe_columns(dataset)
    _refuse_secrets(claim.sources or sources)
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
        snapshot=_with_rows(snapshot, opened, content=claim.content),
        created=claim.created or datetime.now(UTC).replace(microsecond=0),
        expires=claim.expires,
        previous=previous.snapshot.root if previous else None,
        parents=claim.parents,
        derivation=claim.derivation,
        sources=(*(claim.sources or sources), *([claim.held] if claim.held else [])),
        roles=opened.roles,
        schema=opened.schema,
        rows=opened.rows,
        label_counts=_label_counts(opened, opened.roles),
        profile=_profile(claim.profile, opened) if claim.profile else None,
    )


def _refuse_secrets(sources: Sequence[Source]) -> None:
    """A claim is read by everybody, and a URL that was signed once is never taken back."""
    for source in sources:
        try:
            parts = urlsplit(source.uri)
            named = {key.lower() for key, _ in parse_qsl(parts.query)}
            secret = parts.password is not None or bool(named & _SECRETS)
        except ValueError:
            raise UsageError("--source: one of them is no URI") from None
        if secret:
            told = f"{parts.scheme}://{parts.hostname or ''}"
            raise UsageError(f"--source {told}/...: holds credentials, which all could read")


def _with_rows(snapshot: Snapshot, opened: Dataset, *, content: bool) -> Snapshot:
    """The files with what is in them: how many rows and, if asked, their digest in any order."""
    tables = {shard.path: shard for shard in opened.shards if not shard.files}
    if not tables:
        return snapshot
    named = {path: content_digest(opened, shard) for path, shard in tables.items() if content}
    return Snapshot(
        files=tuple(
            replace(entry, rows=tables[entry.path].rows, content=named.get(entry.path))
            if entry.path in tables
            else entry
            for entry in snapshot.files
        )
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
