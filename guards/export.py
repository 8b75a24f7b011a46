"""Say what was proved in somebody else's format: `toadstone export oms | slsa | vsa`.

Nothing is exported that does not hold here first: a dataset is read once and held against its
signed manifest by these very bytes, a record is believed only from a trusted scanner. Signing and
exporting are two commands, so that nobody takes a bundle of another format, which binds less, for
the claim of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guards._version import __version__
from guards.digest import Digest
from guards.errors import Untrusted, UsageError
from guards.files import read_document
from guards.provenance import flat
from guards.provenance.formats import oms as bundles
from guards.provenance.formats import slsa as provenances
from guards.provenance.formats import vsa as summaries
from guards.provenance.formats.claim import FlatDigest
from guards.provenance.formats.intoto import Resource, of_file
from guards.provenance.manifest import UNNAMED, Manifest, Name
from guards.provenance.signing import Signer, sign
from guards.provenance.snapshot import WARNINGS, Difference, compare
from guards.provenance.trust import Trust
from guards.record import Record, believed
from guards.verdict import Decision
from guards.verify import Claimed, standing_claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The directory of a scan, whose record a scanner of this trust signed."""

    directory: Path
    trust: Trust
    at: datetime | None = None


def oms(claimed: Claimed, key: Signer, shard_size: int | None = None) -> bytes:
    """An OMS bundle over a dataset that its manifest vouches for, in files or in shards.

    Raises:
        Untrusted: the manifest, or the bytes, do not hold.
        UsageError: the key is no elliptic one, or shards cannot say what the dataset holds.
    """
    if shard_size is not None and shard_size < 1:
        raise UsageError("--shard-size must be a number of bytes")
    bundles.require_elliptic(key.public)
    manifest, files = _proved(claimed, lambda size: bundles.wanted(size, shard_size))
    found = bundles.write(str(manifest.name), files, key, shard_size)
    bundles.refuse_unreadable(found)
    return found


def slsa(claimed: Claimed, key: Signer) -> bytes:
    """SLSA provenance of a derived dataset that its manifest vouches for, in a DSSE envelope.

    Raises:
        Untrusted: the manifest, or the bytes, do not hold.
        UsageError: it is no derived dataset, or the key is no deriver's.
    """
    manifest, files = _proved(claimed, lambda size: flat.Wanted(algorithms=("sha256",)))
    _require_role(claimed.trust, key, "deriver", manifest.name, claimed.at)
    digests = ((f.entry.path, FlatDigest("sha256", f.whole["sha256"])) for f in files)
    return sign(provenances.payload(manifest, digests), key).to_json()


def vsa(run: Run, key: Signer) -> bytes:
    """A verification summary of a run's verdict; PASSED for PASS only, FAILED for every other.

    Raises:
        Untrusted: no trusted scanner signed the record.
        UsageError: the run was for looking only, or the key is no scanner's.
    """
    record, signed = _believed(run)
    if record.name == UNNAMED:
        raise UsageError(f"{run.directory}: is about data that nobody claimed, which has no name")
    if record.replay or not record.admits:
        raise UsageError(
            f"{run.directory}: a scan that can admit nothing (policy {record.policy_name!r}"
            f"{', with a chosen seed' if record.replay else ''}) has no summary"
        )
    _require_role(run.trust, key, "scanner", record.name, run.at)
    made = summaries.payload(
        summaries.Verified(
            name=record.name,
            version=record.version,
            root=record.root,
            passed=record.decision is Decision.PASS,
            policy=Resource(
                uri=f"toadstone:policy/{record.policy_name}",
                digests=(FlatDigest("sha256", record.policy.hex),),
            ),
            time=record.time,
            inputs=tuple(_inputs(record, signed)),
            code=f"toadstone {__version__}",
        )
    )
    return sign(made, key).to_json()


def _inputs(record: Record, signed: bytes) -> list[Resource]:
    found = [of_file("record.json", Digest.of(signed))]
    return found + ([of_file("manifest.json", record.manifest)] if record.manifest else [])


def _proved(
    claimed: Claimed, wanted: Callable[[int], flat.Wanted]
) -> tuple[Manifest, list[flat.Flat]]:
    """The manifest, and the files with their plain hashes; read once, and just as claimed."""
    manifest = standing_claim(claimed)
    unsafe: list[Difference] = []
    total, done = manifest.snapshot.size, 0

    def tick(size: int) -> None:
        nonlocal done
        done += size
        claimed.tick(done, total)

    files = list(flat.read(claimed.dataset, lambda path, size: wanted(size), unsafe, tick))
    problems = [problem for problem in unsafe if problem.code not in WARNINGS]
    problems += compare(manifest.snapshot.files, (file.entry for file in files))
    if problems:
        told = "; ".join(map(str, problems[:3]))
        raise Untrusted(f"{claimed.dataset} is not what was signed, nothing is exported: {told}")
    return manifest, files


def _believed(run: Run) -> tuple[Record, bytes]:
    data = read_document(run.directory / "record.json")
    if data is None:
        raise UsageError(f"{run.directory} is no run directory: it holds no record.json")
    path = f"{run.directory}/record.json"
    return believed(data, run.trust, path, run.at or datetime.now(UTC)), data


def _require_role(trust: Trust, key: Signer, role: str, name: Name, at: datetime | None) -> None:
    """Refuse a key by which no verifier with this trust would believe what it signs."""
    if why := trust.refusal(key.public, role, name, at or datetime.now(UTC)):
        raise UsageError(f"the key {key.public.keyid[:12]} that is to sign {why} by --trust")
