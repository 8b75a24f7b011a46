"""Who may do what for which names, decided: one evaluator for both forms of trust.

A trust is an ordered walk over :class:`Delegation`: some keys, how many of them it takes, and for
which roles and names. The first whose keys are enough decides; one that is `terminating` is the
last that is asked about what it covers, whatever comes of it; below a delegation may be others,
which are asked after it and reach no further than it does. The small form (:mod:`.trust`, one
TOML file) is mostly one delegation; the full form (:mod:`.rooted`, TUF's metadata) a tree of them.

Pure and without I/O: time is handed in. The answer holds its evidence, a :class:`Step` each with
its rule, its input and its outcome, and derives yes or no from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from guards.digest import Digest, digest_json
from guards.errors import Untrusted
from guards.provenance.manifest import UNNAMED, Name
from guards.provenance.memory import SKEW
from guards.provenance.signing import PublicKey
from guards.provenance.strictjson import timestamp

ROLES = ("producer", "scanner", "deriver", "approver")
# Who sign what takes several signatures: manifests, waivers, acceptances. A record, and its line in
# the ledger, is what one scanner saw.
COUNTED = ("producer", "deriver", "approver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """From when a key counts no more, and why."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key, and what it may do: these roles, for these names, from then until then."""

    key: PublicKey
    roles: tuple[str, ...]
    names: tuple[str, ...]
    expires: datetime | None = None
    valid_from: datetime | None = None
    revoked: Revocation | None = None
    comment: str = ""

    def refusal(self, role: str, name: Name, at: datetime) -> str:
        """Why this key does not count for `role` on `name` at that time, or nothing.

        What nobody vouched for has no name; about it, everybody with the role may speak.
        """
        if role not in self.roles:
            return f"has not the role {role}"
        if name != UNNAMED and not any(matches(pattern, name) for pattern in self.names):
            return f"is not trusted for {name}, only for {', '.join(self.names)}"
        return self.untimely(at)

    def untimely(self, at: datetime) -> str:
        """Why this key counts for nothing at that time, or nothing.

        Clocks may differ by `SKEW`; with a revoked key the doubt is not in the key's favour.
        """
        if self.revoked and self.revoked.since - at <= SKEW:
            return f"was revoked on {timestamp(self.revoked.since)}: {self.revoked.reason}"
        if self.valid_from and self.valid_from - at > SKEW:
            return f"is not valid before {timestamp(self.valid_from)}"
        if self.expires and at - self.expires > SKEW:
            return f"expired on {timestamp(self.expires)}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a decision: what was asked, of what, and how it came out."""

    rule: str
    input: str
    ok: bool
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """So many different keys have to fill the role for these names; the highest that fits rules."""

    role: str
    names: tuple[str, ...]
    threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Whether those who signed fill a role for a name: a step for each key, and their count.

    True when there are enough of them, and when the metadata that says so is in force.
    """

    role: str
    name: Name
    threshold: int
    steps: tuple[Step, ...]

    def __bool__(self) -> bool:
        return len(self.able) >= self.threshold and not self.stale

    @property
    def keys(self) -> tuple[Step, ...]:
        """The steps about the keys that signed, in whatever role they were looked at."""
        return tuple(step for step in self.steps if step.rule.endswith("-key"))

    @property
    def able(self) -> tuple[str, ...]:
        """Key ids of those who may act in this role, once each."""
        own = f"{self.role}-key"
        return tuple(step.input for step in self.keys if step.ok and step.rule == own)

    @property
    def stale(self) -> tuple[Step, ...]:
        """The metadata that this stands on and that is not in force."""
        return tuple(step for step in self.steps if step.rule == "metadata" and not step.ok)

    @property
    def count(self) -> Step:
        """The step that decides: how many of those needed there are."""
        keys = "key" if self.threshold == 1 else "different keys"
        return Step(
            rule="threshold",
            input=f"{self.role} of {self.name}",
            ok=bool(self),
            outcome=f"{len(self.able)} of {self.threshold} {keys} needed",
        )

    @property
    def why_not(self) -> str:
        """What stands against the keys that do not count, for people."""
        old = [f"{step.input} {step.outcome}" for step in self.stale]
        return "; ".join(
            [*old, *(f"key {s.input[:12]} {s.outcome}" for s in self.keys if not s.ok)]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Roles and names, as patterns: what is inside may be decided there.

    With `segments` a star stops at a slash, as in TUF's path patterns.
    """

    roles: tuple[str, ...]
    names: tuple[str, ...]
    segments: bool = False

    def covers(self, role: str, name: Name) -> bool:
        """Whether the role for that name is inside; of what has no name every name is."""
        if not any(fnmatchcase(role, pattern) for pattern in self.roles):
            return False
        return name == UNNAMED or any(
            matches(pattern, name, segments=self.segments) for pattern in self.names
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A piece of signed metadata: what it is called, which version, and until when it holds."""

    name: str
    version: int
    expires: datetime

    def step(self, at: datetime) -> Step:
        """Whether it is in force at that time; what is frozen runs out."""
        until = timestamp(self.expires)
        old = at - self.expires > SKEW
        told = f"expired on {until}; fetch a newer one" if old else f"is in force until {until}"
        about = f"{self.name} version {self.version}"
        return Step(rule="metadata", input=about, ok=not old, outcome=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Keys that fill roles for names, and how many of them it takes.

    Without a `scope` it covers everything, and each key has names and roles of its own. What lies
    `below` was delegated on by metadata (`standing`) that `signed_by` those of the keys signed;
    metadata that should be there and does not hold is `broken`, and refuses what is covered.
    """

    where: str = ""
    keys: tuple[TrustedKey, ...]
    thresholds: tuple[Threshold, ...] = ()
    threshold: int = 1
    scope: tuple[Scope, ...] = ()
    terminating: bool = False
    signed_by: frozenset[PublicKey] = frozenset()
    standing: Standing | None = None
    below: tuple[Delegation, ...] = ()
    broken: str = ""

    def covers(self, role: str, name: Name) -> bool:
        """Whether it is asked about this role for that name."""
        return not self.scope or any(scope.covers(role, name) for scope in self.scope)

    def needed(self, role: str, name: Name) -> int:
        """How many keys have to sign in this role for that name; the highest that fits rules."""
        asked = (
            one.threshold
            for one in self.thresholds
            if one.role == role and any(matches(pattern, name) for pattern in one.names)
        )
        return max(asked, default=self.threshold)

    def weigh(self, signers: Iterable[PublicKey], role: str, name: Name, at: datetime) -> Authority:
        """One step for each signer, counted once each; true when there are enough of them."""
        known = {trusted.key: trusted for trusted in self.keys}
        steps = []
        for key in sorted(set(signers), key=lambda key: key.keyid):
            trusted = known.get(key)
            refusal = trusted.refusal(role, name, at) if trusted else f"is not in {self.where}"
            told = refusal or f"may act as {role} for {name}"
            steps.append(Step(rule=f"{role}-key", input=key.keyid, ok=not refusal, outcome=told))
        needed = self.needed(role, name)
        return Authority(role=role, name=name, threshold=needed, steps=tuple(steps))

    def further(self, at: datetime) -> Step:
        """Whether those who signed what lies below may still do so at that time."""
        able = [k for k in self.keys if k.key in self.signed_by and not k.untimely(at)]
        ok, least = len(able) >= self.threshold, self.threshold
        told = f"is signed by {len(able)} of the {least} keys of {self.where} that it takes"
        return Step(rule="delegation", input=f"below {self.where}", ok=ok, outcome=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The verifier's trust: delegations in their order, then the keys that have names themselves.

    `standing` is the metadata on which all of it rests, `source` names it, and `root` the root in
    force; empty in the small form, which is the verifier's own word.
    """

    keys: tuple[TrustedKey, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    standing: tuple[Standing, ...] = ()
    source: Digest | None = None
    root: Digest | None = None

    @property
    def pin(self) -> Digest:
        """What to name once, so that another trust is refused: the root, or the whole of it."""
        return self.root or self.digest

    @property
    def digest(self) -> Digest:
        """Names the trust itself, so that a record can say under which trust it was made."""
        if self.source:
            return self.source
        needed = [["threshold", t.role, sorted(t.names), t.threshold] for t in self.thresholds]
        further = [_describe_delegation(one) for one in self.delegations]
        return digest_json(sorted(_describe(k) for k in self.keys) + sorted(needed) + further)

    @property
    def public(self) -> tuple[PublicKey, ...]:
        """All keys, once each, to find out who signed."""
        found = [trusted.key for one in self._all(self._order) for trusted in one.keys]
        return tuple(dict.fromkeys(found))

    def authorise(
        self, signers: Iterable[PublicKey], role: str, name: Name, at: datetime
    ) -> Authority:
        """Ask each delegation in its order, until one has enough keys or ends the search."""
        keys, tried, passed = tuple(signers), [], [one.step(at) for one in self.standing]
        for met in _walk(self._order, role, name, at)[0]:
            if isinstance(met, Step):
                passed.append(met)
                continue
            found = met.weigh(keys, role, name, at)
            tried.append(replace(found, steps=(*passed, *found.steps)))
            if len(found.able) >= found.threshold:
                return tried[-1]
        if not tried:
            return _nobody(keys, role, name, tuple(passed))
        best = max(tried, key=lambda one: bool(one.able))
        return replace(best, steps=(*passed, *best.keys))

    def refusal(self, key: PublicKey, role: str, name: Name, at: datetime) -> str:
        """Why one key, of whatever signer, does not count for that; or nothing."""
        if key not in self.public:
            return "is not in it"
        found = self.authorise([key], role, name, at)
        if found.stale:
            return f"counts for nothing: {found.why_not}"
        return "" if found.able else "; ".join(s.outcome for s in found.keys) or "is not asked"

    @property
    def _order(self) -> tuple[Delegation, ...]:
        own = Delegation(where="trust.toml", keys=self.keys, thresholds=self.thresholds)
        return (*self.delegations, own) if self.keys or not self.delegations else self.delegations

    def _all(self, among: Iterable[Delegation]) -> Iterator[Delegation]:
        for one in among:
            yield one
            yield from self._all(one.below)


def _walk(
    among: Iterable[Delegation], role: str, name: Name, at: datetime
) -> tuple[list[Delegation | Step], bool]:
    """What is met on the search for who decides, in order; and whether it ended there for good.

    Preorder, as TUF searches: who is delegated to is asked before those that they delegated to.
    """
    met: list[Delegation | Step] = []
    for one in among:
        if not one.covers(role, name):
            continue
        met += [*_entering(one, role, name), one]
        ended = one.terminating
        if one.broken:
            met.append(Step(rule="metadata", input=one.where, ok=False, outcome=one.broken))
        if one.standing is not None:
            further = one.further(at)
            met += [further, one.standing.step(at)]
            if further.ok:
                below, stopped = _walk(one.below, role, name, at)
                met, ended = [*met, *below], ended or stopped
        if ended:
            return met, True
    return met, False


def matches(pattern: str, name: Name, *, segments: bool = False) -> bool:
    """Whether a pattern covers a name: the whole of it, or the dataset and so its partitions."""
    whole = (name.dataset, str(name))
    if not segments:
        return any(fnmatchcase(text, pattern) for text in whole)
    parts = pattern.split("/")
    split = [text.split("/") for text in whole]
    return any(len(found) == len(parts) and all(map(fnmatchcase, found, parts)) for found in split)


def _entering(one: Delegation, role: str, name: Name) -> list[Step]:
    """The step that says who is asked; in a trust of plain keys there is nobody else to ask."""
    if not one.scope:
        return []
    last = ", and nobody after it" if one.terminating else ""
    told = f"is asked about {role} of {name}{last}"
    return [Step(rule="delegation", input=one.where, ok=True, outcome=told)]


def _nobody(
    keys: Iterable[PublicKey], role: str, name: Name, passed: tuple[Step, ...]
) -> Authority:
    """The answer where nothing was delegated that covers it."""
    told = f"is not trusted for {name}: no delegation covers it as {role}"
    ids = sorted({key.keyid for key in keys})
    steps = [Step(rule=f"{role}-key", input=each, ok=False, outcome=told) for each in ids]
    return Authority(role=role, name=name, threshold=1, steps=(*passed, *steps))


def exchanged(what: str, found: Digest, pinned: Digest) -> Untrusted:
    """What to raise where a trust is not the one that was pinned."""
    return Untrusted(
        f"trust: {what} is {found}, where {pinned} was pinned: somebody may have exchanged the "
        "directory. Restore it from where you know it; if a new one was agreed on, pin that one, "
        "as toadstone trust show prints it"
    )


def _describe(trusted: TrustedKey) -> list[Any]:
    """What a key may do; a date that is not there adds nothing, so old digests stand."""
    expires = timestamp(trusted.expires) if trusted.expires else ""
    found = [trusted.key.keyid, sorted(trusted.roles), sorted(trusted.names), expires]
    if trusted.valid_from:
        found.append(["from", timestamp(trusted.valid_from)])
    if trusted.revoked:
        found.append(["revoked", timestamp(trusted.revoked.since), trusted.revoked.reason])
    return found


def _describe_delegation(one: Delegation) -> list[Any]:
    """A delegation of the small form; the order of delegations counts, that of its keys not."""
    scopes = sorted([sorted(scope.roles), sorted(scope.names)] for scope in one.scope)
    keys = sorted(_describe(key) for key in one.keys)
    return ["delegation", one.where, scopes, one.threshold, one.terminating, keys]
