"""Hold the bytes of a dataset against its signed claim: `toadstone verify`, without any content.

The whole, with or without an index of what was read before; a part, which is never taken for the
whole; and what would have to be fetched again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from guards.digest import Digest
from guards.errors import NothingToExamine, Untrusted, UsageError
from guards.files import read_document
from guards.provenance.index import PURPOSE, Index, Seal, opened
from guards.provenance.listing import Signed, read_claim
from guards.provenance.manifest import Manifest, Name
from guards.provenance.memory import Memory, Seen
from guards.provenance.part import Part, Range, bytes_of, chosen, damage, hold, unclaimed
from guards.provenance.proof import SLACK, Expectation, Proof, expected, prove
from guards.provenance.snapshot import TOO_LARGE, Look, Snapshot, Walked, capacity, take
from guards.provenance.trust import Trust
from guards.secret import draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A dataset, where its claim and its profile lie, and what the verifier expects of it.

    `index` is the file in which this user remembers what was read; `full` reads all the same.
    `look` is how the bytes are walked, those of a store for one; an index and parts are of a disk.
    `strict` refuses what is else only told: a file that has a second name somewhere.
    `tick` hears how many bytes of how many are done.
    """

    dataset: Path
    manifest: Path
    trust: Trust
    name: Name | None = None
    version: int | None = None
    at: datetime | None = None
    state: Memory | None = None
    profile: Path | None = None
    index: Path | None = None
    full: bool = False
    strict: bool = False
    look: Callable[[Path, int | None, Look], Walked] = take
    tick: Callable[[int, int], None] = lambda done, total: None


def verify(claimed: Claimed) -> Proof:
    """Prove a dataset against its manifest and the trust; a good proof is remembered in `state`."""
    signed = read_claim(claimed.manifest)
    expect = _expectation(claimed)
    with _index(claimed) as index:
        if signed is not None and index and index.sealed:
            signed.proved = _proved(signed, index.sealed)
        manifest = expected(signed, claimed.trust, expect.at)
        snapshot = manifest.snapshot if manifest else Snapshot(files=())
        look = Look(index=index, tick=_counting(claimed, snapshot.size), claimed=snapshot)
        most = snapshot.size + SLACK if manifest else capacity(claimed.dataset)
        walked = claimed.look(claimed.dataset, most, look)
        if signed is not None and index and walked.snapshot == snapshot:
            index.seal(_seal(signed, snapshot))
    proof = prove(walked, signed, claimed.trust, expect)
    proof = replace(proof, strict=claimed.strict)
    if proof and proof.manifest and claimed.state and claimed.version is None:
        claimed.state.remember(proof.manifest)
    if claimed.state and claimed.at is None:
        claimed.state.remember_time(expect.at)
    return replace(proof, told=index.told) if index else proof


def look_at_part(claimed: Claimed, files: tuple[str, ...], ranges: tuple[Range, ...]) -> Part:
    """Prove some files, or some bytes of them; nothing is remembered, the rest is not read.

    Raises:
        NothingToExamine: no claimed file matches.
        UsageError: a range lies outside of its file, or an index was given.
        Untrusted: the claim itself does not hold, so there is nothing to hold bytes against.
    """
    if claimed.index:
        raise UsageError("--index: serves the whole only; what is asked for of a part is read")
    if claimed.look is not take:
        raise UsageError("--files, --range: are of what lies on a disk; a store is read whole")
    manifest = standing_claim(claimed)
    chunks = chosen(manifest.snapshot, files, ranges)
    if not chunks:
        raise NothingToExamine(f"no file of {manifest.name} matches {', '.join(files)}")
    ticks = _counting(claimed, bytes_of(manifest.snapshot, chunks))
    part = hold(claimed.dataset, manifest, chunks, Look(tick=ticks))
    beside = unclaimed(claimed.dataset, manifest.snapshot, files)
    problems = sorted({*part.problems, *beside}, key=lambda problem: problem.path)
    return replace(part, problems=tuple(problems), strict=claimed.strict)


def standing_claim(claimed: Claimed) -> Manifest:
    """The claim on its own, if it is trusted, in force and not older than what was seen.

    Raises:
        Untrusted: it is not, and why.
    """
    signed = read_claim(claimed.manifest)
    nothing = Walked(snapshot=Snapshot(files=()), unsafe=())
    proof = prove(nothing, signed, claimed.trust, _expectation(claimed))
    about_files = {"missing-file"}
    problems = [problem for problem in proof.refusals if problem.code not in about_files]
    if proof.manifest is None or problems:
        told = "; ".join(map(str, problems[:3]))
        raise Untrusted(f"{claimed.manifest}: no claim to hold a part against: {told}")
    return proof.manifest


def repairs(claimed: Claimed, proof: Proof) -> tuple[Range, ...]:
    """The byte ranges of the claimed files that must be fetched again; none when all is well.

    Raises:
        Untrusted: the claim does not hold, so nobody knows what the bytes should be.
    """
    files = standing_claim(claimed).snapshot.files
    have = {entry.path: entry for entry in proof.found.files}
    unread = {problem.path for problem in proof.problems if problem.code == TOO_LARGE}
    found: list[Range] = []
    for entry in files:
        found += damage(entry, have.get(entry.path))
        if entry.path in unread:
            found.append(Range(path=entry.path, offset=entry.size, length=0))
    return tuple(found)


def _expectation(claimed: Claimed) -> Expectation:
    def recall(name: Name) -> tuple[Seen, ...]:
        seen = claimed.state.recall(name) if claimed.state else None
        return (seen,) if seen else ()

    profile = read_document(claimed.profile) if claimed.profile else None
    at, state = claimed.at or datetime.now(UTC), claimed.state
    return Expectation(
        at=at,
        clock=state.backwards(at, told=claimed.at is not None) if state else None,
        name=claimed.name,
        version=claimed.version,
        profile=Digest.of(profile) if profile is not None else None,
        recall=recall,
    )


def _index(claimed: Claimed) -> AbstractContextManager[Index | None]:
    if claimed.index is None:
        return nullcontext()
    if claimed.look is not take:
        raise UsageError("--index: is of what lies on a disk; a store is read every time")
    return opened(claimed.index, claimed.dataset, draw(PURPOSE), full=claimed.full)


def _proved(signed: Signed, seal: Seal) -> tuple[Digest, int] | None:
    """The root and size of a claim that was read before, to the last byte the same."""
    return (seal.root, seal.size) if seal.claim == Digest.of(signed) else None


def _seal(signed: Signed, snapshot: Snapshot) -> Seal:
    size, files = snapshot.size, len(snapshot.files)
    return Seal(root=snapshot.root, claim=Digest.of(signed), size=size, files=files)


def _counting(claimed: Claimed, total: int) -> Callable[[int], None]:
    done = 0

    def tick(size: int) -> None:
        nonlocal done
        done += size
        claimed.tick(done, total)

    return tick
