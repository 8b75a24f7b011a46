"""Where data came from, and what became of it: the blast radius of a poisoned source.

Read from a ledger that verified: each record names the sources and the parents that the producer
or deriver signed for the bytes it judged, and the entries of what was made name what it was made
from. Bytes are one node whatever they are called, since their root names them; as data and as a
model they are two. What is not in this
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
KINDS = ("dataset", "model", UNKNOWN)


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


Key = tuple[str, str]  # a node's kind and id


@dataclass(frozen=True, slots=True)
class _Graph:
    """Who was made from whom; a source is the parent of what was taken from it.

    Bytes that are a dataset to one entry and a model to another are two nodes: a model file may
    be a byte for byte copy of what it was trained on, and still is a model that descends from it.
    """

    nodes: dict[Key, Node] = field(default_factory=dict)
    parents: defaultdict[Key, dict[Key, None]] = field(default_factory=lambda: defaultdict(dict))
    children: defaultdict[Key, dict[Key, None]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, kind: str, ident: str, name: str = "", decision: str = "") -> Key:
        known = self.nodes.get((kind, ident), Node(kind=kind, id=ident))
        names = tuple(dict.fromkeys([*known.names, *([name] if name else [])]))
        told = decision or known.decision
        self.nodes[kind, ident] = Node(kind=kind, id=ident, names=names, decision=told)
        return kind, ident

    def join(self, child: Key, parent: Key) -> None:
        self.parents[child][parent] = None
        self.children[parent][child] = None

    def of(self, ident: str) -> list[Key]:
        """The nodes of some bytes: as a dataset, as a model, or as nothing known."""
        return [key for kind in KINDS if (key := (kind, ident)) in self.nodes]


def lineage(directory: Path, log: Log, asked: str) -> Lineage:
    """The lineage of a path, a `sha256:...`, the URI of a source, or NAME or NAME@VERSION.

    Raises UsageError where the ledger knows nothing of the kind.
    """
    graph, claimed, problems = _Graph(), list[tuple[Key, str]](), []
    for line in log.lines:
        try:
            claimed += _enter(graph, directory, line)
        except GuardError as error:
            problems.append(str(error))
    for child, parent in claimed:
        for key in graph.of(parent) or [graph.add(UNKNOWN, parent)]:
            graph.join(child, key)
    about = list(_asked(graph, asked))
    if not about:
        raise UsageError(f"{asked!r}: the ledger {directory} knows nothing of that")
    return Lineage(
        about=tuple(graph.nodes[key] for key in about),
        origins=tuple(_walk(graph, about, graph.parents)),
        descendants=tuple(_walk(graph, about, graph.children)),
        problems=tuple(problems),
    )


def _enter(graph: _Graph, directory: Path, line: Line) -> list[tuple[Key, str]]:
    """Enter one line; returns the parents that a record claims by root, who may come later."""
    ident, name = str(line.root), f"{line.name} v{line.version}"
    if not isinstance(line, Entry):
        made = graph.add(line.kind, ident, name)
        for material in line.materials:  # what was judged, and so in the log as a dataset
            graph.join(made, graph.add("dataset", str(material.root)))
        return []
    judged = graph.add("dataset", ident, name, line.decision)
    record = _record(directory, line)
    for uri in record.sources:
        graph.join(judged, graph.add("source", uri))
    return [(judged, str(parent)) for parent in record.parents]


def _record(directory: Path, entry: Entry) -> Record:
    data = read_document(directory / "records" / f"{entry.record.hex}.json")
    told = f"record {entry.record.short} of {entry.name} v{entry.version}"
    if data is None:
        raise Malformed(f"{told} is missing: what it came from is not known", "ledger")
    if Digest.of(data) != entry.record:
        raise Malformed(f"{told} was changed: what it came from is not known", "ledger")
    return parse(parse_envelope(data, told))


def _asked(graph: _Graph, asked: str) -> Iterator[Key]:
    """What was asked about, which is tried as each of the forms in turn."""
    if known := graph.of(f"sha256:{asked}") or graph.of(asked):
        yield from known
    elif ("source", asked) in graph.nodes:
        yield "source", asked
    elif Path(asked).exists():
        found = take(Path(asked)).snapshot
        alone = [found.files[0].digest] if Path(asked).is_file() and found.files else []
        yield from (key for one in [found.root, *alone] for key in graph.of(str(one)))
    elif "://" in asked:
        start = asked.rstrip("/") + "/"
        yield from (k for k in graph.nodes if k[0] == "source" and k[1].startswith(start))
    else:
        yield from _named(graph, asked)


def _named(graph: _Graph, asked: str) -> Iterator[Key]:
    name, _, version = asked.partition("@")
    wanted = parse_name(name)
    for key, node in graph.nodes.items():
        for called in node.names:
            other, _, number = called.rpartition(" v")
            if wanted.covers(parse_name(other)) and version in ("", number):
                yield key
                break


def _walk(
    graph: _Graph, start: Iterable[Key], onward: Mapping[Key, Mapping[Key, None]]
) -> Iterator[Step]:
    """Everything that is reached, each once, in order of depth first; without recursion."""
    seen = set(start)
    stack = [(key, 0) for key in reversed(list(start))]
    while stack:
        key, depth = stack.pop()
        if depth:
            yield Step(node=graph.nodes[key], depth=depth)
        for following in reversed(list(onward.get(key, {}))):
            if following not in seen:
                seen.add(following)
                stack.append((following, depth + 1))
