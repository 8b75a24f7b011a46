"""Hold the files of a dataset against a foreign claim. Pure: what was read is handed in.

The outcome is a :class:`Held`, which is neither true nor false: whether it `holds` has to be asked,
and even then it is no PASS, since such a claim binds less than a manifest of ours. What a claim
says is all checked, strong or weak, and a file counts only by a strong digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from guards.provenance.flat import Flat, Wanted
from guards.provenance.formats.claim import STRONG, ClaimedFile, ForeignClaim
from guards.provenance.snapshot import WARNINGS, Difference, Snapshot
from guards.provenance.trust import Authority

CLAIM = "claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes beside a foreign claim; `authority` tells who vouches for it, None where nobody signs.

    `proved` files of the claim have the bytes that a strong digest names.
    """

    claim: ForeignClaim
    found: Snapshot
    proved: int
    problems: tuple[Difference, ...]
    authority: Authority | None = None

    @property
    def refusals(self) -> tuple[Difference, ...]:
        """The problems that are more than a warning."""
        return tuple(problem for problem in self.problems if problem.code not in WARNINGS)

    @property
    def holds(self) -> bool:
        """Whether these are the bytes of the claim, all of them, and no others."""
        something = self.proved > 0 or self.claim.root is not None
        signed = self.authority is None or bool(self.authority)
        return something and signed and not self.refusals

    def __bool__(self) -> bool:
        raise TypeError("a foreign claim is no proof of ours; ask whether it `holds`")


def asked_of(claim: ForeignClaim) -> Mapping[str, Wanted]:
    """What has to be computed of each listed file, and under "" of every other one."""
    found = {
        file.path: Wanted(
            algorithms=tuple(digest.algorithm for digest in file.digests),
            parts=tuple((s.start, s.end, s.digest.algorithm) for s in file.shards),
        )
        for file in claim.files
        if file.path
    }
    unplaced = {d.algorithm for file in claim.files if not file.path for d in file.digests}
    return {**found, "": Wanted(algorithms=tuple(sorted(unplaced)))}


def hold(
    claim: ForeignClaim,
    read: Iterable[Flat],
    unsafe: Sequence[Difference],
    authority: Authority | None = None,
    ignored: frozenset[str] = frozenset(),
) -> Held:
    """Compare; `ignored` are the paths of the claim itself, where it lies in the dataset."""
    files = {flat.entry.path: flat for flat in read}
    unlisted = ignored.difference(file.path for file in claim.files)
    left = {path: flat for path, flat in files.items() if path not in unlisted}
    problems = [*_refused(claim), *_authority(authority), *unsafe]
    unread = {problem.path for problem in unsafe if problem.path not in files}
    proved = 0
    for claimed in claim.files:
        flat = left.pop(claimed.path, None) if claimed.path else _by_digest(claimed, left)
        told = list(_against(claimed, flat, unread))
        problems += told
        proved += claimed.strong and not told
    if claim.files:
        problems += [_extra(path) for path in left if path not in claim.own]
    snapshot = Snapshot(files=tuple(flat.entry for _, flat in sorted(files.items(), key=_in_order)))
    problems += _root(claim, snapshot)
    return Held(
        claim=claim,
        found=snapshot,
        proved=proved,
        problems=tuple(sorted(problems, key=lambda problem: problem.path)),
        authority=authority,
    )


def _in_order(item: tuple[str, Flat]) -> bytes:
    return item[0].encode()


def _refused(claim: ForeignClaim) -> Iterator[Difference]:
    if claim.refused:
        yield Difference(code="claim-refused", path=CLAIM, actual=claim.refused)
    if not claim.files and claim.root is None:
        yield Difference(code="empty-claim", path=CLAIM, actual="it lists no file")


def _authority(authority: Authority | None) -> Iterator[Difference]:
    if authority is not None and not authority:
        wanted = f"{authority.threshold} keys as {authority.role} of {authority.name}"
        told = authority.why_not or f"{len(authority.able)} such keys signed"
        yield Difference(code="untrusted-key", path=CLAIM, expected=wanted, actual=told)


def _root(claim: ForeignClaim, found: Snapshot) -> Iterator[Difference]:
    if claim.root is not None and claim.root != found.root:
        expected, actual = str(claim.root), str(found.root)
        yield Difference(code="wrong-root", path=CLAIM, expected=expected, actual=actual)


def _extra(path: str) -> Difference:
    return Difference(code="extra-file", path=path, expected="in no line of the claim")


def _by_digest(claimed: ClaimedFile, left: dict[str, Flat]) -> Flat | None:
    """A file that no path leads to: the one, of those not listed, that has its strong digest."""
    strong = [digest for digest in claimed.digests if digest.strong]
    for path, flat in left.items():
        if strong and all(flat.whole.get(d.algorithm) == d.hex for d in strong):
            return left.pop(path)
    return None


def _against(claimed: ClaimedFile, flat: Flat | None, unread: set[str]) -> Iterator[Difference]:
    path = claimed.path or CLAIM
    if flat is None:
        if claimed.path not in unread:
            yield Difference(code="missing-file", path=path, actual=claimed.told)
        return
    if claimed.size is not None and claimed.size != flat.entry.size:
        code = "truncated-file" if flat.entry.size < claimed.size else "grown-file"
        expected, actual = f"{claimed.size} bytes", f"{flat.entry.size} bytes"
        yield Difference(code=code, path=path, expected=expected, actual=actual)
        return
    differing = list(_differing(claimed, flat))
    yield from differing[:1]
    if not differing and not claimed.strong:
        yield _weak(claimed, path)


def _differing(claimed: ClaimedFile, flat: Flat) -> Iterator[Difference]:
    path = flat.entry.path
    for digest in claimed.digests:
        if (actual := flat.whole[digest.algorithm]) != digest.hex:
            told = f"{digest.algorithm}:{actual}"
            yield Difference(code="changed-file", path=path, expected=str(digest), actual=told)
    for shard in claimed.shards:
        key = (shard.start, shard.end, shard.digest.algorithm)
        if flat.parts.get(key) != shard.digest.hex:
            told = f"other bytes from {shard.start} to {shard.end}"
            yield Difference(code="changed-file", path=path, actual=told)


def _weak(claimed: ClaimedFile, path: str) -> Difference:
    wanted = f"one of {', '.join(sorted(STRONG))}"
    if not claimed.digests:
        told = claimed.told or "no checksum"
        return Difference(code="no-digest", path=path, expected=wanted, actual=told)
    told = ", ".join(digest.algorithm for digest in claimed.digests)
    return Difference(code="weak-digest", path=path, expected=wanted, actual=f"{told} only")
