"""Do these bytes, this claim and this trust agree? Pure: everything is handed in.

The result holds the evidence and derives the answer, so that the one who asks and the one who
audits cannot disagree. Signatures are verified before the manifest is parsed; the reference
time is the verifier's and taken once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from guards.digest import Digest
from guards.errors import Malformed, Untrusted
from guards.provenance.manifest import Manifest, Name, parse
from guards.provenance.memory import GAP, PAST, Seen
from guards.provenance.signing import Envelope, PublicKey, parse_envelope, signers
from guards.provenance.snapshot import (
    TOO_LARGE,
    WARNINGS,
    Difference,
    Snapshot,
    Walked,
    compare,
    renamed,
)
from guards.provenance.strictjson import timestamp
from guards.provenance.trust import SKEW, Authority, Step, Trust

CLAIM = "manifest"
# Beyond what was signed: so much is still read, to tell small additions for what they are.
SLACK = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the verifier brings: the time, the name expected, a pinned version, what it has seen.

    `profile` is the digest of the profile that lies beside the data, if one does. `recall` answers
    with what was seen of a name before; it is asked once, and for the name that
    a verified signature stands under. `judged` answers with the records that a ledger has about
    some bytes; None when there is no ledger to ask. `clock` is what is wrong with the time itself,
    by the latest that was seen (:meth:`~guards.provenance.memory.Memory.backwards`).
    """

    at: datetime
    name: Name | None = None
    version: int | None = None
    profile: Digest | None = None
    recall: Callable[[Name], tuple[Seen, ...]] = lambda name: ()
    judged: Callable[[Digest], frozenset[Digest]] | None = None
    clock: Difference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The evidence; true when nothing but warnings stands against the claim.

    Where it is `strict`, not even those may. Of what was `found`, the leaves of `unread` bytes were
    remembered; `told` is the index's word.
    """

    manifest: Manifest | None
    authority: Authority | None
    problems: tuple[Difference, ...]
    history: str
    found: Snapshot = field(default_factory=lambda: Snapshot(files=()))
    unread: int = 0
    told: str = ""
    strict: bool = False

    def __bool__(self) -> bool:
        return self.manifest is not None and not self.refusals

    @property
    def refusals(self) -> tuple[Difference, ...]:
        """The problems that are more than a warning."""
        told = {PAST} if self.strict else {*WARNINGS, GAP, PAST}
        return tuple(problem for problem in self.problems if problem.code not in told)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was decided about each key that signed, and about their number."""
        return () if self.authority is None else (*self.authority.steps, self.authority.count)

    @property
    def signers(self) -> tuple[str, ...]:
        """Key ids of those who signed and may, once each; of nobody where they are too few."""
        keys = self.authority.keys if self.authority else ()
        return tuple(step.input for step in keys if step.ok)


def prove(walked: Walked, signed: bytes | None, trust: Trust, expect: Expectation) -> Proof:
    """Hold a tree against its signed manifest, and the manifest against the trust."""
    try:
        if signed is None:
            return _refused(walked, Difference(code="unsigned", path=CLAIM))
        envelope, made_by, manifest = _read(signed, trust.public)
        if manifest is None:
            return _refused(walked, _nobody(envelope))
    except Malformed as error:
        return _refused(walked, Difference(code="malformed", path=CLAIM, actual=str(error)))
    authority = vouching(trust, made_by, manifest.name, expect.at, derived=bool(manifest.parents))
    seen = expect.recall(manifest.name)
    problems = [*_authority(authority), *objections(manifest, expect)]
    problems += [expect.clock] if expect.clock else []
    problems += _history(manifest, expect, seen)
    problems += _lineage(manifest, authority, expect)
    problems += [*walked.unsafe, *_differences(manifest, walked)]
    return Proof(
        manifest=manifest,
        authority=authority,
        problems=tuple(problems),
        history=_standing(expect, seen),
        found=walked.snapshot,
        unread=walked.unread,
    )


def vouching(
    trust: Trust, made_by: Iterable[PublicKey], name: Name, at: datetime, *, derived: bool
) -> Authority:
    """Whether the signers may vouch: as producers, or as derivers of what was made from other data.

    Each role is filled by its own keys and its own number of them: a producer is no deriver, else
    one of two producers needed could pass their data off as derived.
    """
    keys = tuple(made_by)
    producers = trust.authorise(keys, "producer", name, at)
    if not derived:
        return producers
    derivers = trust.authorise(keys, "deriver", name, at)
    best = max((producers, derivers), key=lambda role: (bool(role), bool(role.able)))
    way = [step for step in best.steps if step not in best.keys]
    both = zip(producers.keys, derivers.keys, strict=True)
    return replace(best, steps=(*way, *(_telling(*pair, best.role) for pair in both)))


def _telling(producer: Step, deriver: Step, role: str) -> Step:
    """The step that says what a key counts for; if for nothing, why it is no deriver."""
    first, second = (producer, deriver) if role == "producer" else (deriver, producer)
    return next((step for step in (first, second) if step.ok), deriver)


def vouched(signed: bytes | None, trust: Trust, at: datetime, what: str) -> Manifest:
    """A claim on its own, without the bytes it is about: signed by who may, and in force.

    Raises:
        Untrusted: there is none, nobody trusted signed it, or it is not in force at that time.
    """
    nothing = Walked(snapshot=Snapshot(files=()), unsafe=())
    proof = prove(nothing, signed, trust, Expectation(at=at))
    about_files = {"missing-file", "truncated-file", "changed-file"}
    problems = [p for p in proof.refusals if p.code not in about_files]
    if proof.manifest is None or problems:
        told = "; ".join(map(str, problems[:3]))
        raise Untrusted(f"{what}: nobody trusted vouches for it: {told}")
    return proof.manifest


def room(signed: bytes | None, trust: Trust, at: datetime) -> int | None:
    """How many bytes a dataset may have to be worth a copy; None when no producer claims it."""
    manifest = expected(signed, trust, at)
    return manifest.snapshot.size + SLACK if manifest else None


def expected(signed: bytes | None, trust: Trust, at: datetime) -> Manifest | None:
    """What somebody claims who may; before the bytes are looked at, to know what to expect."""
    try:
        _, made_by, manifest = _read(signed or b"", trust.public)
    except Malformed:
        return None
    if manifest is None:
        return None
    may = vouching(trust, made_by, manifest.name, at, derived=bool(manifest.parents))
    return manifest if may else None


# Asked about the same bytes twice, and 20,000 files take a while to parse.
@lru_cache(maxsize=1)
def _read(
    signed: bytes, keys: tuple[PublicKey, ...]
) -> tuple[Envelope, frozenset[PublicKey], Manifest | None]:
    """An envelope, those of the keys that signed it, and what they claim; nothing if none did."""
    envelope = parse_envelope(signed, CLAIM)
    made_by = signers(envelope, keys)
    return envelope, made_by, parse(envelope) if made_by else None


def _differences(manifest: Manifest, walked: Walked) -> list[Difference]:
    """How the files differ from those claimed; one that was left unread is not missing, too."""
    unread = {problem.path for problem in walked.unsafe if problem.code == TOO_LARGE}
    claimed, have = manifest.snapshot.files, walked.snapshot.files
    if claimed == have:  # by far the usual case, and the same entries
        return []
    found = renamed(compare(claimed, have), claimed, have)
    return [problem for problem in found if problem.path not in unread]


def _refused(walked: Walked, problem: Difference) -> Proof:
    problems = (problem, *walked.unsafe)
    found, unread = walked.snapshot, walked.unread
    return Proof(
        manifest=None,
        authority=None,
        problems=problems,
        history="unknown",
        found=found,
        unread=unread,
    )


def _nobody(envelope: Envelope) -> Difference:
    """A signature by a stranger and a signature that fails look alike; the key id may help."""
    told = ", ".join(keyid[:16] or "no key id" for keyid, _ in envelope.signatures[:4])
    return Difference(
        code="untrusted-key",
        path=CLAIM,
        expected="a signature that verifies by a key of the trust directory",
        actual=told or "no signature",
    )


def _authority(authority: Authority) -> list[Difference]:
    if authority:
        return []
    if authority.stale:
        told = "; ".join(f"{step.input} {step.outcome}" for step in authority.stale)
        wanted = "a trust whose metadata is in force"
        return [Difference(code="stale-trust", path=CLAIM, expected=wanted, actual=told)]
    if authority.able:
        told = f"{authority.count.outcome}; {authority.why_not}".removesuffix("; ")
        wanted = f"{authority.threshold} keys as {authority.role}"
        return [Difference(code="too-few-keys", path=CLAIM, expected=wanted, actual=told)]
    return [
        Difference(
            code="untrusted-key", path=CLAIM, expected="a producer", actual=authority.why_not
        )
    ]


def _lineage(manifest: Manifest, authority: Authority, expect: Expectation) -> list[Difference]:
    """A deriver makes new data from what was judged; what the ledger never saw is no parent.

    A producer may sign anything as theirs, so only a deriver's word is held against the ledger.
    """
    if expect.judged is None or (authority and authority.role == "producer"):
        return []
    found = []
    for parent in manifest.parents:
        records = expect.judged(parent)
        named = manifest.derivation.record if manifest.derivation else None
        if not records:
            found.append(f"{parent} was never judged in the ledger")
        elif named is not None and named not in records:
            found.append(f"{named} is no record about {parent}")
    return [Difference(code="unknown-parent", path=CLAIM, actual=told) for told in found]


def objections(manifest: Manifest, expect: Expectation) -> list[Difference]:
    """What stands against a claim by itself: name, time, version, profile."""
    found = []
    if expect.name and not expect.name.covers(manifest.name):
        found.append(("wrong-name", str(expect.name), str(manifest.name)))
    if manifest.created - expect.at > SKEW:
        found.append(("not-yet-valid", timestamp(expect.at), timestamp(manifest.created)))
    if manifest.expires and expect.at - manifest.expires > SKEW:
        found.append(("expired", timestamp(expect.at), timestamp(manifest.expires)))
    if expect.version is not None and manifest.version != expect.version:
        found.append(("wrong-version", str(expect.version), str(manifest.version)))
    if manifest.profile and expect.profile and manifest.profile != expect.profile:
        found.append(("wrong-profile", str(manifest.profile), str(expect.profile)))
    return [
        Difference(code=code, path=CLAIM, expected=wanted, actual=actual)
        for code, wanted, actual in found
    ]


def _history(manifest: Manifest, expect: Expectation, seen: tuple[Seen, ...]) -> list[Difference]:
    found = [refusal for known in seen if (refusal := known.refuses(manifest))]
    if expect.version is not None:  # pinned: an old version is wanted, and no other of that number
        return [refusal for refusal in found if refusal.code == "fork"]
    newest = max(seen, key=lambda known: known.version, default=None)
    gap = newest.gap(manifest) if newest else None
    return [*found, *([gap] if gap else [])]


def _standing(expect: Expectation, seen: tuple[Seen, ...]) -> str:
    if expect.version is not None:
        return "pinned"
    return "known" if seen else "first-use"
