"""The highest version seen of each dataset, and where each log stood: what shows a replay.

A state directory holds one small file for each (name, partition) and one for each log. Without
one, history is reported as `first-use`: nobody is told that there was no rollback by somebody who
cannot know. A pinned version is checked without touching the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guards.digest import Digest, canonical_json
from guards.errors import Malformed, UsageError
from guards.files import locked, read_document, write_atomically
from guards.provenance.checkpoint import Checkpoint, read_checkpoint
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

    def recall_log(self, origin: str) -> Checkpoint | None:
        """Where the log of that origin stood when it was seen last, or None at first use."""
        path = self._path(origin)
        if (data := read_document(path)) is None:
            return None
        seen = read_checkpoint(data, str(path))
        if seen.origin != origin:
            raise Malformed(f"is about another log than {origin}", str(path))
        return seen

    def remember_log(self, checkpoint: Checkpoint) -> None:
        """Raise the memory to this signed checkpoint; an older or equal one changes nothing."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with locked(self.directory / "lock"):
                seen = self.recall_log(checkpoint.origin)
                if seen is None or checkpoint.size > seen.size:
                    write_atomically(self._path(checkpoint.origin), checkpoint.text.encode())
        except OSError as error:
            raise UsageError(f"state {self.directory}: {error.strerror}") from error

    def _path(self, about: Name | str) -> Path:
        suffix = "checkpoint" if isinstance(about, str) else "json"
        return self.directory / f"{Digest.of(str(about).encode()).hex}.{suffix}"


def _encode(manifest: Manifest) -> bytes:
    root = str(manifest.snapshot.root)
    return canonical_json({"name": str(manifest.name), "version": manifest.version, "root": root})
