"""Where data came from, and what became of it: the blast radius of a poisoned source.

Read from a ledger that verified: each record names the sources and the parents that the producer
or deriver signed for the bytes it judged, and the entries of what was made name what it was made
from. Bytes are one node whatever they are called, since their root names them. What is not in this
ledger, a parent that was never judged here or a model that nobody recorded, is not known to it:
the first is told, the second cannot be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guards.digest import Digest
from guards.errors import GuardError, Malformed, UsageError
from guards.files import read_document
from guards.provenance.ledger import Log
from guards.provenance.lines import Entry, Line
from guards.provenance.manifest import parse_name
from guards.provenance.signing import parse_envelope
from guards.provenance.snapshot import take
from guards.record import Record, parse

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Bytes by their root, or a source by its URI: what they are, are called, and were judged."""

    kind: str
    id: str
    names: tuple[str, ...] = ()
    decision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node, so many steps away from what was asked about."""

    node: Node
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What was asked about; where it came from; what became of it; what could not be read."""

    about: tuple[Node, ...]
    origins: tuple[Step, ...]
    descendants: tuple[Step, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Graph:
    """Who was made from whom, by ids; a source is the parent of what was taken from it."""

    nodes: dict[str, Node] = field(default_factory=dict)
    parents: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    children: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, kind: str, ident: str, name: str = "", decision: str = "") -> None:
        known = self.nodes.get(ident, Node(kind=kind, id=ident))
        names = tuple(dict.fromkeys([*known.names, *([name] if name else [])]))
        kept = kind if known.kind == UNKNOWN else known.kind
        told = decision or known.decision
        self.nodes[ident] = Node(kind=kept, id=ident, names=names, decision=told)

    def join(self, child: str, parent: str, kind: str = UNKNOWN) -> None:
        if parent not in self.nodes:
            self.add(kind, parent)
        self.parents[child][parent] = None
        self.children[parent][child] = None


def lineage(directory: Path, log: Log, asked: str) -> Lineage:
    """The lineage of a path, a `sha256:...`, the URI of a source, or NAME or NAME@VERSION.

    Raises UsageError where the ledger knows nothing of the kind.
    """
    graph, problems = _Graph(), []
    for line in log.lines:
        try:
            _enter(graph, directory, line)
        except GuardError as error:
            problems.append(str(error))
    about = list(_asked(graph, asked))
    if not about:
        raise UsageError(f"{asked!r}: the ledger {directory} knows nothing of that")
    return Lineage(
        about=tuple(graph.nodes[ident] for ident in about),
        origins=tuple(_walk(graph, about, graph.parents)),
        descendants=tuple(_walk(graph, about, graph.children)),
        problems=tuple(problems),
    )


def _enter(graph: _Graph, directory: Path, line: Line) -> None:
    ident, name = str(line.root), f"{line.name} v{line.version}"
    if not isinstance(line, Entry):
        graph.add(line.kind, ident, name)
        for material in line.materials:
            graph.join(ident, str(material.root))
        return
    graph.add("dataset", ident, name, line.decision)
    record = _record(directory, line)
    for parent in record.parents:
        graph.join(ident, str(parent))
    for uri in record.sources:
        graph.join(ident, uri, kind="source")


def _record(directory: Path, entry: Entry) -> Record:
    data = read_document(directory / "records" / f"{entry.record.hex}.json")
    told = f"record {entry.record.short} of {entry.name} v{entry.version}"
    if data is None:
        raise Malformed(f"{told} is missing: what it came from is not known", "ledger")
    if Digest.of(data) != entry.record:
        raise Malformed(f"{told} was changed: what it came from is not known", "ledger")
    return parse(parse_envelope(data, told))


def _asked(graph: _Graph, asked: str) -> Iterator[str]:
    """The ids of what was asked about, which is tried as each of the forms in turn."""
    if (digest := f"sha256:{asked}") in graph.nodes:
        yield digest
    elif asked in graph.nodes:
        yield asked
    elif Path(asked).exists():
        root = str(take(Path(asked)).snapshot.root)
        if root in graph.nodes:
            yield root
    elif "://" in asked:
        start = asked.rstrip("/") + "/"
        sources = (node for node in graph.nodes.values() if node.kind == "source")
        yield from (node.id for node in sources if node.id.startswith(start))
    else:
        yield from _named(graph, asked)


def _named(graph: _Graph, asked: str) -> Iterator[str]:
    name, _, version = asked.partition("@")
    wanted = parse_name(name)
    for node in graph.nodes.values():
        for called in node.names:
            other, _, number = called.rpartition(" v")
            if wanted.covers(parse_name(other)) and version in ("", number):
                yield node.id
                break


def _walk(
    graph: _Graph, start: Iterable[str], onward: Mapping[str, Mapping[str, None]]
) -> Iterator[Step]:
    """Everything that is reached, each once, in order of depth first; without recursion."""
    seen = set(start)
    stack = [(ident, 0) for ident in reversed(list(start))]
    while stack:
        ident, depth = stack.pop()
        if depth:
            yield Step(node=graph.nodes[ident], depth=depth)
        for following in reversed(list(onward.get(ident, {}))):
            if following not in seen:
                seen.add(following)
                stack.append((following, depth + 1))
