"""A Collection: a Snapshot of Snapshots, and what the ledger says of each of its members.

Training reads many batches at once, and poison that is spread thinly over all of them shows only
in their union. So the union is a dataset of its own: each member's files under the member's
partition, named by a root, signed with the members' roots as `parents`, scanned and gated like
any other. A Collection's own root stands over the members' names and roots; its leaves end in
`/`, which no file's path does, so no Snapshot shares it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from guards.digest import Digest, tree_root
from guards.provenance.lines import Entry
from guards.provenance.manifest import Name
from guards.provenance.snapshot import Entry as File
from guards.provenance.snapshot import Snapshot

PASSED = "PASS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One partition of a dataset: its signed name and version, and its bytes by reference."""

    name: Name
    version: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Members of one dataset, each partition once, in order of their names."""

    members: tuple[Member, ...]

    @property
    def root(self) -> Digest:
        """The name of these members: RFC 6962 over `(partition/, bytes, member root)`."""
        return tree_root(
            (f"{member.name.partition}/", member.snapshot.size, member.snapshot.root)
            for member in self.members
        )

    @property
    def parents(self) -> tuple[Digest, ...]:
        """The members' roots, as the manifest of the union names them."""
        return tuple(member.snapshot.root for member in self.members)

    @property
    def union(self) -> Snapshot:
        """What the members are when laid side by side: `partition/path` for every file."""
        files = [
            replace(entry, path=f"{member.name.partition}/{entry.path}")
            for member in self.members
            for entry in member.snapshot.files
        ]
        return Snapshot(files=tuple(sorted(files, key=lambda entry: entry.path.encode())))


def standing(entries: Iterable[Entry], dataset: str) -> tuple[Entry, ...]:
    """For each partition of `dataset` the last PASS that stands, in order of the names.

    A PASS falls when the same bytes are judged otherwise later. Other bytes that were refused
    under the same name take nothing away from those that passed.
    """
    last: dict[Name, Entry] = {}
    for entry in entries:
        if entry.name.dataset != dataset or not entry.name.partition:
            continue
        if entry.decision == PASSED:
            last[entry.name] = entry
        elif entry.name in last and last[entry.name].root == entry.root:
            del last[entry.name]
    return tuple(last[name] for name in sorted(last))


def fallen(entries: Iterable[Entry], parents: Sequence[Digest]) -> Iterator[str]:
    """Say of each parent that was never judged, or whose last judgement is not PASS."""
    last = {entry.root: entry for entry in entries}
    for parent in parents:
        if parent not in last:
            yield f"parent {parent.short} was never judged"
        elif last[parent].decision != PASSED:
            yield f"parent {last[parent].name} was judged {last[parent].decision} since"


def strangers(
    entries: Iterable[Entry], union: Snapshot, parents: Sequence[Digest]
) -> Iterator[str]:
    """Say of each directory of a union that it is no parent that passed under that very name.

    Whoever may sign the union could lay other files into it and name the parents all the same.
    """
    passed = {(entry.name.partition, entry.root) for entry in entries if entry.decision == PASSED}
    members: dict[str, list[File]] = {}
    for file in union.files:
        partition, _, path = file.path.partition("/")
        members.setdefault(partition, []).append(replace(file, path=path))
    for partition, files in members.items():
        root = Snapshot(files=tuple(files)).root
        if root not in parents or (partition, root) not in passed:
            yield f"{partition}: not a parent that passed under this name"


def next_version(entries: Iterable[Entry], name: Name, root: Digest) -> int:
    """The version that `root` has under `name`: the last one if it is the same, else one more."""
    last = max(
        (entry for entry in entries if entry.name == name),
        key=lambda entry: entry.version,
        default=None,
    )
    if last is None:
        return 1
    return last.version if last.root == root else last.version + 1
