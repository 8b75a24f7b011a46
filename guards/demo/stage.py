"""What a chapter of the story plays with: the samples, the demo keys, a place to work in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guards.provenance.manifest import Source, parse_name
from guards.provenance.memory import Memory
from guards.provenance.signing import load_private
from guards.publish import Claim, publish
from guards.scan import Scanned


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where things are; `work` is thrown away and made anew by every demo."""

    samples: Path
    work: Path

    @property
    def state(self) -> Memory:
        """The version memory that all chapters share."""
        return Memory(self.work / "state")

    def policy(self, name: str) -> Path | str:
        """The policy under which a dataset of this name is judged: its own, or the default."""
        own = self.samples / "policies" / f"{parse_name(name).dataset.split('/')[1]}.toml"
        return own if own.is_file() else "default"

    def key(self, who: str) -> Path:
        """A public demo key."""
        return self.samples / "keys" / who / "key.pem"

    def copy(self, sample: str, as_name: str) -> Path:
        """A sample and its manifest, copied to be tampered with."""
        source, copied = self.samples / sample, self.work / as_name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copied)
        shutil.copy(f"{source}.manifest.json", f"{copied}.manifest.json")
        return copied

    def sign(self, dataset: Path, name: str, version: int = 1, who: str = "producer") -> None:
        """Sign as somebody who holds a demo key would, over whatever was signed before."""
        Path(f"{dataset}.manifest.json").unlink(missing_ok=True)
        source = Source(uri="https://example.org/demo", license="see data_samples")
        claim = Claim(name=parse_name(name), version=version, sources=(source,))
        publish(dataset, claim, load_private(self.key(who)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A dataset that lies ready to be scanned, and how to scan it."""

    dataset: Path
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One dataset of the story: how it comes to be, and what has to come out.

    `because` is `rule/code` of a reason that must be given, or nothing for PASS. `remark` adds to
    the table what only the one who made the dataset can know.
    """

    title: str
    slug: str
    prepare: Callable[[Stage], Ready]
    decision: str
    because: str = ""
    remark: Callable[[Stage, Scanned], str] = lambda stage, scanned: ""

    def came_out(self, scanned: Scanned) -> bool:
        """Whether exactly the right thing happened, for the right reason."""
        given = {f"{reason.rule}/{reason.code}" for reason in scanned.verdict.reasons}
        right = str(scanned.verdict.decision) == self.decision
        return right and (self.because in given if self.because else not given)
