"""Hold the bytes of a dataset against its signed claim: `toadstone verify`, without any content."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guards.digest import Digest
from guards.files import read_document
from guards.provenance.manifest import Name
from guards.provenance.memory import Memory, Seen
from guards.provenance.proof import Expectation, Proof, prove, room
from guards.provenance.snapshot import take
from guards.provenance.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A dataset, where its claim and its profile lie, and what the verifier expects of it."""

    dataset: Path
    manifest: Path
    trust: Trust
    name: Name | None = None
    version: int | None = None
    at: datetime | None = None
    state: Memory | None = None
    profile: Path | None = None


def verify(claimed: Claimed) -> Proof:
    """Prove a dataset against its manifest and the trust; a good proof is remembered in `state`."""
    signed = read_document(claimed.manifest)
    at = claimed.at or datetime.now(UTC)
    walked = take(claimed.dataset, room(signed, claimed.trust, at))

    def recall(name: Name) -> tuple[Seen, ...]:
        seen = claimed.state.recall(name) if claimed.state else None
        return (seen,) if seen else ()

    profile = read_document(claimed.profile) if claimed.profile else None
    expect = Expectation(
        at=at,
        name=claimed.name,
        version=claimed.version,
        profile=Digest.of(profile) if profile is not None else None,
        recall=recall,
    )
    proof = prove(walked, signed, claimed.trust, expect)
    if proof and proof.manifest and claimed.state and claimed.version is None:
        claimed.state.remember(proof.manifest)
    return proof
