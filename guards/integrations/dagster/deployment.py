"""What the assets do, without Dagster: examine a batch, admit it, make and admit a training set.

    WORK/runs/<batch>/    the run directory of each batch: record, report, evidence
    WORK/store/           admitted bytes, read-only, by root; signed manifests, by digest
    WORK/ledger/          every record, in a log
    WORK/state/           the highest version seen of each name
    WORK/training/        data/, its manifest, and run/ with its record
    WORK/models/          what was trained

Nothing here is believed because of where it lies. Which batches were admitted is read from the
signed ledger, never from a file name or from Dagster's own database; each is gated again as it is
read into a training set, and the training set is gated again as a model reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from guards.api import scan
from guards.digest import Digest
from guards.errors import GateRefused, UsageError
from guards.files import directory_at_once, write_atomically
from guards.gate import Admitted, Terms, require_pass
from guards.made import What, log_model
from guards.provenance import ledger
from guards.provenance.collection import (
    Collection,
    Member,
    fallen,
    next_version,
    standing,
    strangers,
)
from guards.provenance.lines import Entry
from guards.provenance.listing import copy_listing, listing_path, manifest_path, read_claim
from guards.provenance.manifest import Manifest, Name, parse
from guards.provenance.memory import Memory
from guards.provenance.signing import load_private, parse_envelope
from guards.provenance.snapshot import take
from guards.provenance.trust import Trust, parse_root
from guards.provenance.trust import load as load_trust
from guards.publish import Claim, publish
from guards.scan import Scanned
from guards.verdict import load_policy

# Partition keys of Dagster, names of directories and of partitions at once.
BATCH = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where things lie, and whose word counts."""

    dataset: Name
    training: Name
    landing: Path
    work: Path
    trust: Path
    policy: str
    scanner_key: Path
    deriver_key: Path
    root_digest: str = ""

    def trusted(self) -> Trust:
        """The trust, read anew each time; with `root_digest`, only that one."""
        root = parse_root(self.root_digest, "root_digest") if self.root_digest else None
        return load_trust(self.trust, root=root)

    @property
    def store(self) -> Path:
        """Admitted bytes, by root."""
        return self.work / "store"

    @property
    def ledger(self) -> Path:
        """The log of every record."""
        return self.work / "ledger"

    @property
    def state(self) -> Path:
        """The highest version seen of each name."""
        return self.work / "state"

    @property
    def training_data(self) -> Path:
        """The union of the admitted batches; its manifest lies beside it."""
        return self.work / "training" / "data"

    @property
    def training_run(self) -> Path:
        """The run directory of the training set."""
        return self.work / "training" / "run"

    def batch(self, key: str) -> Path:
        """Where a batch landed; UsageError for a key that could lead elsewhere."""
        if not BATCH.fullmatch(key):
            raise UsageError(f"batch {key!r}: a name must be of a-z, 0-9, and _ . - between them")
        return self.landing / key

    def run(self, key: str) -> Path:
        """The run directory of a batch."""
        return self.work / "runs" / self.batch(key).name

    def name(self, key: str) -> Name:
        """The name that a batch must be signed under."""
        return Name(self.dataset.dataset, key)

    def terms(self, name: Name) -> Terms:
        """What the gate demands of `name`, read anew each time."""
        return Terms(
            trust=self.trusted(),
            policy=load_policy(self.policy),
            name=name,
            ledger=self.ledger,
            state=Memory(self.state),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A training set as it was signed, and the batches that passed but are not in the store."""

    collection: Collection
    version: int
    left_out: tuple[str, ...]


def examine_batch(deployment: Deployment, key: str) -> Scanned:
    """Scan and judge one landed batch; the record is signed and logged."""
    return _scan(deployment, deployment.batch(key), deployment.run(key), deployment.name(key))


def admit_batch(deployment: Deployment, key: str) -> Admitted:
    """Export one batch to the store if its record says PASS of exactly these bytes.

    The signed manifest is kept beside it, because the roles of the columns stand in it.
    """
    record = deployment.run(key) / "record.json"
    terms = deployment.terms(deployment.name(key))
    admitted = require_pass(deployment.batch(key), record, terms, into=deployment.store)
    signed = _bound(manifest_path(deployment.batch(key)), admitted)
    kept = _kept_manifest(deployment, admitted)
    kept.parent.mkdir(exist_ok=True)
    copy_listing(signed, kept)
    write_atomically(kept, signed, mode=0o444)
    return admitted


def assemble_training_set(deployment: Deployment) -> Assembled:
    """Gate every admitted batch again, lay them side by side, and sign the union.

    Raises:
        GateRefused: one of them may not be trained on any more, the ledger does not verify, no
            batch was admitted, or the batches disagree on what their columns are for.
    """
    log = _log(deployment)
    entries = standing(log.entries, deployment.dataset.dataset)
    kept = [entry for entry in entries if _stored(deployment, entry.root).exists()]
    if not kept:
        raise GateRefused(["no batch was admitted; there is nothing to train on"])
    with directory_at_once(deployment.training_data) as draft:
        laid = list(_lay_out(deployment, kept, draft))
        collection = Collection(members=tuple(member for member, _ in laid))
        if take(draft).snapshot != collection.union:
            raise GateRefused(["the training set was changed while it was written; try again"])
    claim = Claim(
        name=deployment.training,
        version=next_version(log.entries, deployment.training, collection.union.root),
        parents=collection.parents,
        columns=_agreed_columns(laid),
    )
    for beside in (before := manifest_path(deployment.training_data), listing_path(before)):
        beside.unlink(missing_ok=True)
    publish(deployment.training_data, claim, load_private(deployment.deriver_key))
    left_out = tuple(str(entry.name) for entry in entries if entry not in kept)
    return Assembled(collection=collection, version=claim.version, left_out=left_out)


def examine_training_set(deployment: Deployment) -> Scanned:
    """Scan and judge the union like any other dataset."""
    return _scan(deployment, deployment.training_data, deployment.training_run, deployment.training)


def admit_training_set(deployment: Deployment) -> Admitted:
    """Admit the training set if it passed, and none of its parents has fallen since."""
    data, record = deployment.training_data, deployment.training_run / "record.json"
    admitted = require_pass(data, record, deployment.terms(deployment.training))
    signed = _bound(manifest_path(data), admitted)
    parents = parse(parse_envelope(signed, "manifest")).parents
    if not parents:
        raise GateRefused(["the training set names no parents; make it from admitted batches"])
    # Only what was judged as a batch of this dataset: other names have other policies and keys.
    entries = [e for e in _log(deployment).entries if e.name.dataset == deployment.dataset.dataset]
    told = [*fallen(entries, parents), *strangers(entries, admitted.snapshot, parents)]
    if told:
        raise GateRefused(told)
    return admitted


def record_model(deployment: Deployment, model: Path, admitted: Admitted) -> None:
    """Log that the model was trained on the training set as it was admitted."""
    name = Name(deployment.training.dataset, "model")
    what = What(kind="model", name=name, version=admitted.record.version)
    trust, key = deployment.trusted(), load_private(deployment.deriver_key)
    try:
        log_model(model, what, [admitted.signed], deployment.ledger, trust, key)
    except BaseException:
        model.unlink()  # what no log has is not left to be used
        raise


def _scan(deployment: Deployment, dataset: Path, out: Path, name: Name) -> Scanned:
    return scan(
        dataset,
        trust=deployment.trust,
        root_digest=deployment.root_digest or None,
        policy=deployment.policy,
        key=deployment.scanner_key,
        out=out,
        name=str(name),
        ledger=deployment.ledger,
        state=deployment.state,
    )


def _log(deployment: Deployment) -> ledger.Log:
    try:
        return ledger.verify(deployment.ledger, deployment.trusted())
    except UsageError as error:
        raise GateRefused([f"{error}; what is not in a ledger has not passed"]) from error


def _stored(deployment: Deployment, root: Digest) -> Path:
    return deployment.store / f"sha256-{root.hex}"


def _kept_manifest(deployment: Deployment, admitted: Admitted) -> Path:
    hexed = admitted.record.manifest.hex if admitted.record.manifest else "unsigned"
    return deployment.store / "manifests" / f"{hexed}.json"


def _bound(path: Path, admitted: Admitted) -> bytes:
    """The bytes of a manifest, if they are those that the record names."""
    try:
        signed = read_claim(path)
    except UsageError as error:
        raise GateRefused([f"manifest {path.name}: {error}"]) from error
    if signed is None or Digest.of(signed) != admitted.record.manifest:
        raise GateRefused([f"manifest {path.name}: not the one that was judged"])
    return signed


def _lay_out(
    deployment: Deployment, entries: list[Entry], draft: Path
) -> Iterator[tuple[Member, Manifest]]:
    """Write each member's proved bytes under its partition; one private copy at a time."""
    for entry in entries:
        try:
            admitted, signed = _again(deployment, entry)
        except GateRefused as refused:
            raise GateRefused([f"{entry.name}: {why}" for why in refused.reasons]) from refused
        for file in admitted.snapshot.files:
            target = draft / entry.name.partition / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(admitted.open(file.path).getbuffer())
        member = Member(name=entry.name, version=entry.version, snapshot=admitted.snapshot)
        yield member, parse(parse_envelope(signed, "manifest"))


def _again(deployment: Deployment, entry: Entry) -> tuple[Admitted, bytes]:
    """Admit one member from the store, by the record that the ledger names, with its manifest."""
    record = deployment.ledger / "records" / f"{entry.record.hex}.json"
    stored = _stored(deployment, entry.root)
    admitted = require_pass(stored, record, deployment.terms(entry.name))
    return admitted, _bound(_kept_manifest(deployment, admitted), admitted)


def _agreed_columns(laid: Sequence[tuple[Member, Manifest]]) -> dict[str, str]:
    """What the columns are for, which every member's producer must have signed alike."""
    columns = laid[0][1].roles.columns()
    if others := [str(m.name) for m, manifest in laid if manifest.roles.columns() != columns]:
        raise GateRefused([f"{other}: its columns have other roles" for other in others])
    return columns
