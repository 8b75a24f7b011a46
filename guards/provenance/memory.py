"""What was seen before: what makes a replayed manifest, an old trust and a turned clock visible.

A state directory holds one small file for each (name, partition) with the highest version seen,
one for each log and for each place of one with where it stood, `trust.json` with the newest
metadata of a trust of the full form, and `clock.json` with the latest time. Without one, history is
reported as `first-use`: nobody is told that there was no rollback by somebody who cannot know. A
pinned version may be an old one, but no fork of what was seen, and does not touch the memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from guards.digest import Digest, canonical_json
from guards.errors import Malformed, UsageError
from guards.files import locked, read_document, write_atomically
from guards.provenance.checkpoint import Checkpoint, read_checkpoint
from guards.provenance.manifest import Manifest, Name
from guards.provenance.snapshot import Difference
from guards.provenance.strictjson import Node, loads, timestamp

# Clocks may differ by so much.
SKEW = timedelta(minutes=5)
# Told and no refusal: the verifier asked about the past.
PAST = "time-of-the-past"
# Told and no refusal, unless a policy asks for the chain: versions that nobody here has seen.
GAP = "version-gap"


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

    def gap(self, manifest: Manifest) -> Difference | None:
        """What lies between: versions that were never seen, or a version before that was another.

        A claim that names what was seen as its `previous` follows it, whatever its number.
        """
        ahead = manifest.version - self.version
        unnamed = manifest.previous is None and ahead == 1
        if ahead < 1 or unnamed or manifest.previous == self.root:
            return None
        return Difference(
            code=GAP,
            path=str(manifest.name),
            expected=f"version {self.version + 1}, or one that names {self.root} as the previous",
            actual=f"version {manifest.version}, which names {manifest.previous or 'none'}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTrust:
    """The newest metadata of a trust: the root by version and digest, the others by version."""

    root: int
    digest: Digest
    timestamp: int = 0
    snapshot: int = 0
    others: Mapping[str, int] = field(default_factory=dict)


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

        def newer() -> dict[str, Any] | None:
            seen = self.recall(manifest.name)
            return _encode(manifest) if seen is None or manifest.version > seen.version else None

        self._write(self._path(manifest.name), newer)

    def recall_trust(self) -> SeenTrust | None:
        """The newest metadata that was seen, of the one trust that this state goes with."""
        path = self.directory / "trust.json"
        if (data := read_document(path)) is None:
            return None
        node = Node(loads(data, str(path)).value, str(path))
        node.only("root", "digest", "timestamp", "snapshot", "others")
        return SeenTrust(
            root=node.of("root").integer(),
            digest=node.of("digest").digest(),
            timestamp=node.of("timestamp").integer(),
            snapshot=node.of("snapshot").integer(),
            others={name: one.integer() for name, one in node.of("others").items()},
        )

    def remember_trust(self, found: SeenTrust) -> None:
        """Keep what was found; it was held against what was seen, so it is not older."""

        def changed() -> dict[str, Any] | None:
            document = {
                "root": found.root,
                "digest": str(found.digest),
                "timestamp": found.timestamp,
                "snapshot": found.snapshot,
                "others": dict(found.others),
            }
            seen = self.recall_trust()
            newer = seen is None or (found.root, found.timestamp) >= (seen.root, seen.timestamp)
            return document if newer and found != seen else None

        self._write(self.directory / "trust.json", changed)

    def recall_time(self) -> datetime | None:
        """The latest time at which this state was used by the clock of its machine."""
        path = self.directory / "clock.json"
        if (data := read_document(path)) is None:
            return None
        return Node(loads(data, str(path)).value, str(path)).only("seen").of("seen").time()

    def remember_time(self, now: datetime) -> None:
        """Raise the latest time seen; only the machine's own clock is remembered, never `--at`."""

        def later() -> dict[str, Any] | None:
            seen = self.recall_time()
            return {"seen": timestamp(now)} if seen is None or now - seen > SKEW else None

        self._write(self.directory / "clock.json", later)

    def backwards(self, at: datetime, *, told: bool) -> Difference | None:
        """What is wrong with a time before the latest one seen, by more than `SKEW`.

        A clock that was turned back lets what has expired live again, so that refuses; a time that
        the verifier `told` is a question about the past, and is only said to be one.
        """
        seen = self.recall_time()
        if seen is None or seen - at <= SKEW:
            return None
        return Difference(
            code=PAST if told else "clock-turned-back",
            path="clock",
            expected=f"{timestamp(seen)} or later, as seen before",
            actual=timestamp(at),
        )

    def _write(self, path: Path, document: Callable[[], dict[str, Any] | None]) -> None:
        """Write what `document` gives under the lock, if anything."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with locked(self.directory / "lock"):
                if (found := document()) is not None:
                    write_atomically(path, canonical_json(found))
        except OSError as error:
            raise UsageError(f"state {self.directory}: {error.strerror}") from error

    def recall_log(self, about: str | Path) -> Checkpoint | None:
        """Where the log of an origin, or the log at a place, stood last; None at first use."""
        path = self._path(about)
        if (data := read_document(path)) is None:
            return None
        seen = read_checkpoint(data, str(path))
        if isinstance(about, str) and seen.origin != about:
            raise Malformed(f"is about another log than {about}", str(path))
        return seen

    def logs(self, origin: str, place: Path) -> tuple[Checkpoint, ...]:
        """What a log there has to go on from: one that was begun anew has another origin."""
        return tuple(seen for about in (origin, place) if (seen := self.recall_log(about)))

    def remember_log(self, checkpoint: Checkpoint, place: Path) -> None:
        """Raise the memory to this signed checkpoint; an older or equal one changes nothing."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with locked(self.directory / "lock"):
                for about in (checkpoint.origin, place):
                    seen = self.recall_log(about)
                    if seen is None or (
                        seen.origin == checkpoint.origin and checkpoint.size > seen.size
                    ):
                        write_atomically(self._path(about), checkpoint.text.encode())
        except OSError as error:
            raise UsageError(f"state {self.directory}: {error.strerror}") from error

    def _path(self, about: Name | str | Path) -> Path:
        suffix = "json" if isinstance(about, Name) else "checkpoint"
        text = f"ledger {about.resolve()}" if isinstance(about, Path) else str(about)
        return self.directory / f"{Digest.of(os.fsencode(text)).hex}.{suffix}"


def _encode(manifest: Manifest) -> dict[str, Any]:
    root = str(manifest.snapshot.root)
    return {"name": str(manifest.name), "version": manifest.version, "root": root}
