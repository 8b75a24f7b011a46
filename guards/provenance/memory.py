"""The highest version seen of each dataset: what makes a replayed old manifest visible.

A state directory holds one small file for each (name, partition). Without one, history is
reported as `first-use`: nobody is told that there was no rollback by somebody who cannot know.
A pinned version is checked without touching the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guards.digest import Digest, canonical_json
from guards.errors import Malformed, UsageError
from guards.files import locked, read_document, write_atomically
from guards.provenance.manifest import Manifest, Name
from guards.provenance.snapshot import Difference
from guards.provenance.strictjson import Node, loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The highest version accepted so far, and which bytes it was."""

    version: int
    root: Digest

    def refuses(self, manifest: Manifest) -> Difference | None:
        """Why `manifest` may not follow what was seen: it is older, or a fork."""
        if manifest.version < self.version:
            return Difference(
                code="rollback",
                path=str(manifest.name),
                expected=f"version {self.version} or later",
                actual=f"version {manifest.version}",
            )
        if manifest.version == self.version and manifest.snapshot.root != self.root:
            return Difference(
                code="fork",
                path=str(manifest.name),
                expected=f"version {self.version} as {self.root}",
                actual=str(manifest.snapshot.root),
            )
        return None


@dataclass(frozen=True, slots=True)
class Memory:
    """A state directory."""

    directory: Path

    def recall(self, name: Name) -> Seen | None:
        """What was seen of this name, or None at first use."""
        path = self._path(name)
        if (data := read_document(path)) is None:
            return None
        node = Node(loads(data, str(path)).value, str(path)).only("name", "version", "root")
        if node.of("name").text() != str(name):
            raise Malformed(f"is about another name than {name}", str(path))
        return Seen(version=node.of("version").integer(), root=node.of("root").digest())

    def remember(self, manifest: Manifest) -> None:
        """Raise the memory to this manifest; an older or equal one changes nothing."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with locked(self.directory / "lock"):
                seen = self.recall(manifest.name)
                if seen is None or manifest.version > seen.version:
                    write_atomically(self._path(manifest.name), _encode(manifest))
        except OSError as error:
            raise UsageError(f"state {self.directory}: {error.strerror}") from error

    def _path(self, name: Name) -> Path:
        return self.directory / f"{Digest.of(str(name).encode()).hex}.json"


def _encode(manifest: Manifest) -> bytes:
    root = str(manifest.snapshot.root)
    return canonical_json({"name": str(manifest.name), "version": manifest.version, "root": root})
