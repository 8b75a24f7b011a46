"""Earlier admitted versions of a dataset: the product's own null.

Nothing says so well what is usual for a class of this dataset as the versions of it that were
admitted. Every scan writes what its rules watch to `statistics.json`, which its record binds by
digest; the ledger keeps those of scans that admit something, and the profile of the data beside.
So a version counts here only along one chain:

    ledger entry, signed by a trusted scanner -> record, by digest -> statistics, profile, by digest

and a producer steers it by nothing but data that passed. What was blocked, quarantined, judged
otherwise later, replayed with a chosen seed, or admitted without a rule that today's policy
requires, is not in it; the same bytes under several versions count once, the newest KEPT versions
count in all, and statistics of another release of this code not at all, since its features differ.

Known way around it: a producer who moves a statistic by a little in every version. Each step is
within what the steps before it allow, as long as it passes; the absolute rules beside this one do
not learn, and see the sum. Deleting the ledger, or its last lines, leaves no history: that is told
(`versions`), a remembered checkpoint shows it, and a policy can require the rule `history` to have
judged. A file that is missing from the middle of the chain refuses the scan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guards._version import __version__
from guards.data.earlier import Earlier, EarlierProfile, History, Watched
from guards.data.profile import SCHEMA as PROFILE_SCHEMA
from guards.data.profile import Profile, parse_profile
from guards.digest import Digest
from guards.errors import Malformed, Untrusted
from guards.files import read_document
from guards.findings import Examination, Ran
from guards.provenance import ledger
from guards.provenance.lines import Entry
from guards.provenance.manifest import Name
from guards.provenance.signing import parse_envelope, signers
from guards.provenance.strictjson import loads
from guards.provenance.trust import Trust
from guards.record import Record, parse
from guards.verdict import Decision, Policy

SCHEMA = 1
FILE = "statistics.json"
PROFILE = "profile.json"
KEPT = 12
GROUPS = 2_000  # of each kind and rule, the largest; a version of 100,000 sources is one file, too
_RELEASE = f"toadstone {__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is being scanned: its versions before this one are wanted, never itself."""

    name: Name
    version: int
    root: Digest


def statistics(examinations: Sequence[Examination]) -> dict[str, Any]:
    """What of a scan's statistics the next one may be held against, as JSON."""
    rules = {
        e.rule: _largest(e.outcome.measured.statistics["watched"])
        for e in examinations
        if isinstance(e.outcome, Ran) and "watched" in e.outcome.measured.statistics
    }
    return {"schema": SCHEMA, "code": _RELEASE, "rules": rules}


def recall(
    directory: Path, trust: Trust, policy: Policy, about: About, log: ledger.Log | None = None
) -> History:
    """The admitted versions that a scan of `about` is held against, out of a ledger.

    `log` is what the ledger says where it was verified already.

    Raises:
        Malformed: an entry, a record or its statistics were dropped or changed.
        Untrusted: an entry is signed by nobody trusted.
    """
    if log is None and ledger.exists(directory):
        log = ledger.verify(directory, trust)
    if log is None:
        return History(note="the ledger is empty")
    found: list[Earlier] = []
    profiles: list[EarlierProfile] = []
    without = 0
    for entry in _candidates(log.entries, about):
        record = _record(directory, entry, trust)
        if not _counts(record, policy):
            continue
        if len(profiles) < KEPT and (profile := _profile(directory, entry, record)):
            profiles.append(EarlierProfile(**_place(entry), profile=profile))
        if FILE not in record.bindings:
            without += 1
            continue
        rules = _watched(_kept(directory, "statistics", entry, record.bindings[FILE]), entry)
        if rules is not None:
            found.append(Earlier(**_place(entry), rules=rules))
        if len(found) == KEPT:
            break
    note = f"{len(found)} admitted versions of {about.name} before this one are comparable"
    more = f"; {without} more were admitted before statistics were kept" if without else ""
    return History(versions=tuple(found), profiles=tuple(profiles), note=note + more)


def _place(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.version,
        "root": entry.root,
        "record": entry.record,
    }


def _largest(watched: Watched) -> Watched:
    """At most GROUPS groups of each kind, those of most rows; JSON without NaN."""
    kept: dict[str, dict[str, dict[str, float]]] = {}
    for kind, groups in watched.items():
        names = sorted(groups, key=lambda name: (-groups[name]["rows"], name))[:GROUPS]
        kept[kind] = {
            name: {m: float(v) for m, v in groups[name].items() if math.isfinite(v)}
            for name in sorted(names)
        }
    return kept


def _candidates(entries: Sequence[Entry], about: About) -> Iterator[Entry]:
    """Entries that passed and stand, newest version first, each root and each version once.

    Of other partitions of the same dataset, which are peers, only the newest version: the older
    ones hold much of the same rows. They come after the dataset's own versions, and bytes that are
    in both are its own: whoever may sign another partition takes none of this one's history away.
    """
    standing: dict[Digest, Entry] = {}
    last: dict[Digest, str] = {}
    for entry in entries:
        if not _peer(entry.name, about):
            continue
        # The later word counts: bytes that passed and were blocked since are no witness.
        last[entry.root] = entry.decision
        known = standing.get(entry.root)
        if known is None or entry.name == about.name or known.name != about.name:
            standing[entry.root] = entry
    passed = [
        entry
        for entry in standing.values()
        if entry.decision == last[entry.root] == str(Decision.PASS) and entry.root != about.root
    ]
    seen: set[tuple[str, int]] = set()
    newest = sorted(passed, key=lambda e: (e.name == about.name, e.version, e.time), reverse=True)
    for entry in newest:
        own = entry.name == about.name
        place = (str(entry.name), entry.version if own else -1)
        if place not in seen and (not own or entry.version < about.version):
            seen.add(place)
            yield entry


def _peer(name: Name, about: About) -> bool:
    """The same name, or another partition of the dataset that `about` is a partition of."""
    both = bool(name.partition) and bool(about.name.partition)
    return name == about.name or (name.dataset == about.name.dataset and both)


def _record(directory: Path, entry: Entry, trust: Trust) -> Record:
    data = _exactly(directory / "records" / f"{entry.record.hex}.json", entry.record, entry)
    envelope = parse_envelope(data, "record")
    # The signed entry names these bytes; that a scanner signed them as well costs little to see.
    made_by = signers(envelope, trust.public)
    if not trust.authorise(made_by, "scanner", entry.name, entry.time):
        raise Untrusted(f"ledger: record {entry.record.short} of {entry.name} has no scanner's key")
    record = parse(envelope)
    if (record.name, record.version, record.root) != (entry.name, entry.version, entry.root):
        raise Malformed(f"record {entry.record.short} is not about what its entry says", "ledger")
    return record


def _counts(record: Record, policy: Policy) -> bool:
    """Whether what passed then was looked at as today's policy demands."""
    looked = {e.rule for e in record.examinations if e.outcome in ("ran", "inapplicable")}
    return record.normal and set(policy.required) <= looked


def _profile(directory: Path, entry: Entry, record: Record) -> Profile | None:
    """What that version looked like; None if nobody kept it, or in a form that is not read here."""
    if PROFILE not in record.bindings:
        return None
    data = _kept(directory, "profiles", entry, record.bindings[PROFILE])
    # A file of another schema is no forgery: its digest is the signed one.
    return parse_profile(data) if f'"schema":"{PROFILE_SCHEMA}"'.encode() in data else None


def _kept(directory: Path, kind: str, entry: Entry, bound: str) -> bytes:
    digest = Digest.parse(bound)
    return _exactly(directory / kind / f"{digest.hex}.json", digest, entry)


def _exactly(path: Path, digest: Digest, entry: Entry) -> bytes:
    """The bytes that `digest` names; to go on without them would be to forget on demand."""
    data = read_document(path)
    about = f"version {entry.version} of {entry.name}"
    if data is None:
        raise Malformed(f"{path.name}, on {about}, is missing; restore it from a copy", "ledger")
    if Digest.of(data) != digest:
        raise Malformed(f"{path.name}, on {about}, was changed; restore it from a copy", "ledger")
    return data


def _watched(data: bytes, entry: Entry) -> Mapping[str, Watched] | None:
    """The statistics by rule; None for those of another release, which are not comparable."""
    document = loads(data, f"statistics of {entry.name}").mapping()
    if document.get("schema") != SCHEMA or document.get("code") != _RELEASE:
        return None
    rules: Mapping[str, Watched] = document["rules"]
    return rules
