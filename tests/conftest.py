"""What the tests of the spine share: real keys, a real trust directory, a small signed dataset.

Nothing here is a mock. `spine` is one such dataset with everything that stands around it, in a
directory of its own, and the verbs of the library bound to it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guards.digest import canonical_json
from guards.gate import Admitted, require_pass
from guards.gate import Terms as GateTerms
from guards.provenance import rootchanges, rootkeeping, tufdata
from guards.provenance import trust as trusts
from guards.provenance.checkpoint import sign_checkpoint
from guards.provenance.ledger import current
from guards.provenance.manifest import parse_name
from guards.provenance.proof import Proof
from guards.provenance.rootchanges import Edit
from guards.provenance.rootkeeping import Kept, Terms
from guards.provenance.signing import (
    Envelope,
    PrivateKey,
    PublicKey,
    add_signature,
    generate,
    load_private,
    load_public,
    parse_envelope,
    sign,
)
from guards.provenance.tiles import Tiles, extend
from guards.publish import Claim, manifest_path, publish
from guards.scan import Request, Scanned, scan
from guards.verdict import Policy, load_policy
from guards.verify import Claimed, verify

NAME = "acme/flights/2013-01"
WHO = ("producer", "scanner", "stranger", "neighbour", "both", "approver", "second")
ROOTS = ("root-1", "root-2", "root-3", "root-4")

# Nothing here is about how long it takes, least of all on a busy machine.
# The same examples every time, so that two runs of one commit agree; others to look for more.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, derandomize="TOADSTONE_EXPLORE" not in os.environ
)
hypothesis.settings.load_profile("unhurried")


@dataclass(frozen=True)
class Keys:
    """Key pairs by name, as directories that hold `key.pem` and `key.pub`."""

    home: Path

    def pem(self, who: str) -> Path:
        return self.home / who / "key.pem"

    def pub(self, who: str) -> Path:
        return self.home / who / "key.pub"

    def private(self, who: str) -> PrivateKey:
        return load_private(self.pem(who))


@dataclass(frozen=True)
class Spine:
    """A signed dataset, the verifier's own things, and the verbs."""

    home: Path
    batch: Path
    keys: Keys
    trust_dir: Path
    policy: Policy

    @property
    def manifest(self) -> Path:
        return manifest_path(self.batch)

    @property
    def trust(self) -> trusts.Trust:
        return trusts.load(self.trust_dir)

    @property
    def record(self) -> Path:
        return self.home / "run" / "record.json"

    @property
    def ledger(self) -> Path:
        return self.home / "ledger"

    @property
    def log(self) -> Path:
        """The one file without which there is no log."""
        return self.ledger / "checkpoint"

    def verify(self, **more: Any) -> Proof:
        about = Claimed(dataset=self.batch, manifest=self.manifest, trust=self.trust)
        return verify(replace(about, **more))

    def codes(self, **more: Any) -> list[str]:
        """The codes of everything that stands against the dataset, sorted, once each."""
        return sorted({problem.code for problem in self.verify(**more).problems})

    def sign(
        self, who: str = "producer", *, name: str = NAME, version: int = 1, **more: Any
    ) -> None:
        claim = Claim(name=parse_name(name), version=version, **more)
        publish(self.batch, claim, self.keys.private(who))

    def scan(self, **more: Any) -> Scanned:
        about = Request(
            dataset=self.batch,
            policy=self.policy,
            out=self.home / "run",
            trust=self.trust,
            key=self.keys.private("scanner"),
        )
        return scan(replace(about, **more))

    def gate(
        self, *, into: Path | None = None, record: Path | None = None, **more: Any
    ) -> Admitted:
        terms = replace(GateTerms(trust=self.trust, policy=self.policy), **more)
        return require_pass(self.batch, record or self.record, terms, into=into)

    def forge(self, edit: Callable[[dict[str, Any]], Any], who: str = "producer") -> None:
        """Let a trusted producer sign what the library would never write."""
        document = json.loads(parse_envelope(self.manifest.read_bytes()).payload)
        edit(document)
        self.forge_bytes(json.dumps(document).encode(), who)

    def forge_bytes(self, payload: bytes, who: str = "producer") -> None:
        self.manifest.write_bytes(sign(payload, self.keys.private(who)).to_json())


class Logs:
    """What somebody does to a ledger who may write its files, and perhaps has a key."""

    @staticmethod
    def read(directory: Path) -> list[bytes]:
        stated = current(directory)
        assert stated is not None
        tree = Tiles(directory=directory, size=stated.size)
        return [entry for number in range(tree.bundles) for entry in tree.entries(number)]

    @staticmethod
    def write(directory: Path, entries: list[bytes], key: PrivateKey | None = None) -> None:
        """Lay the log anew with these entries; without a key the old signature has to do."""
        stated = current(directory)
        assert stated is not None
        shutil.rmtree(directory / "tile", ignore_errors=True)
        for size, entry in enumerate(entries):
            extend(Tiles(directory=directory, size=size), entry)
        root = Tiles(directory=directory, size=len(entries)).root
        other = replace(stated, size=len(entries), root=root)
        text = f"{other.origin}\n{other.size}\n{b64encode(root.raw).decode()}\n"
        signed = sign_checkpoint(other, key).note if key else replace(stated.note, text=text)
        (directory / "checkpoint").write_bytes(signed.to_bytes())


@pytest.fixture(scope="session")
def logs() -> Logs:
    """Entries out of a ledger, and others into it."""
    return Logs()


@dataclass(frozen=True)
class Rooted:
    """A trust of the full form, two of three root keys, and those who keep it."""

    spine: Spine
    moment: datetime

    @property
    def directory(self) -> Path:
        return self.spine.trust_dir

    @property
    def metadata(self) -> Path:
        return self.directory / "metadata"

    def public(self, who: str) -> PublicKey:
        return load_public(self.spine.keys.pub(who))

    def terms(self, *who: str, **more: Any) -> Terms:
        signers = tuple(self.spine.keys.private(each) for each in who)
        return rootkeeping.Terms(signers=signers, at=more.pop("at", self.moment), **more)

    def delegate(self, called: str, *who: str, by: Sequence[str] = (), **more: Any) -> Kept:
        """Give names to keys: by default producers of acme, and one of them is enough."""
        roles, names = more.pop("roles", ("producer",)), more.pop("names", ("acme/*",))
        source = more.pop("source", "targets")
        given = {"threshold": 1, "terminating": False, **more}
        delegation = trusts.Delegation(
            where=called,
            keys=tuple(tufdata.plain(self.public(each)) for each in who),
            scope=(trusts.Scope(roles=roles, names=names),),
            **given,
        )
        return self.change(rootchanges.delegating(delegation), by=by, source=source)

    def change(self, edit: Edit, *, by: Sequence[str] = (), source: str = "targets") -> Kept:
        by = by or ("root-1", "root-2")
        return rootkeeping.change(self.directory, self.terms(*by), source, edit)

    def resign(self, name: str, edit: Callable[[dict[str, Any]], Any], *who: str) -> None:
        """Put a piece of metadata in the place of another, as edited, signed by whomever."""
        path = self.metadata / name
        document = json.loads(parse_envelope(path.read_bytes()).payload)
        edit(document)
        unsigned = Envelope(
            payload_type=tufdata.PAYLOAD_TYPE, payload=canonical_json(document), signatures=()
        )
        for each in who:
            unsigned = add_signature(unsigned, self.spine.keys.private(each))
        path.write_bytes(unsigned.to_json())


@pytest.fixture(scope="session")
def _rooted_template(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Rooted:
    moment, home = datetime.now(UTC).replace(microsecond=0), tmp_path_factory.mktemp("rooted")
    spine = Spine(home, home, keys, home / "rooted", load_policy("default"))
    made = Rooted(spine, moment)
    roots = [made.public(each) for each in ROOTS[:3]]
    rootkeeping.start(made.directory, roots, 2, made.terms("root-1", "root-2"))
    made.delegate("acme", "producer")
    made.delegate("scans", "scanner", roles=("scanner",))
    made.delegate("umbrella", "neighbour", names=("umbrella/*",))
    return made


@pytest.fixture
def rooted(spine: Spine, _rooted_template: Rooted) -> Rooted:
    """The spine under a trust of the full form: who may do what is as in the small one."""
    shutil.copytree(_rooted_template.directory, spine.home / "rooted")
    return replace(_rooted_template, spine=replace(spine, trust_dir=spine.home / "rooted"))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the secret of the machine it runs on."""
    monkeypatch.setenv("TOADSTONE_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    home = tmp_path_factory.mktemp("keys")
    for who in (*WHO, *ROOTS):
        generate(home / who)
    return Keys(home)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    home = tmp_path_factory.mktemp("template")
    batch = home / "batch"
    (batch / "more").mkdir(parents=True)
    for file, start in (("a.parquet", 0), ("more/b.parquet", 40)):
        numbers = list(range(start, start + 40))
        table = {"x": numbers, "label": [n % 2 for n in numbers], "source": ["JFK"] * 40}
        pq.write_table(pa.table(table), batch / file)
    publish(batch, Claim(name=parse_name(NAME), version=1), keys.private("producer"))
    trusted = {
        "producer": (("producer",), ("acme/*",)),
        "scanner": (("scanner",), ("acme/*",)),
        "neighbour": (("producer",), ("umbrella/*",)),
    }
    for index, (who, (roles, names)) in enumerate(trusted.items()):
        key = trusts.TrustedKey(key=load_public(keys.pub(who)), roles=roles, names=names)
        (trusts.add if index else trusts.create)(home / "trust", key)
    (home / "m1.toml").write_text(
        'name = "m1"\nrules = ["integrity", "provenance"]\nrequired = ["integrity", "provenance"]\n'
    )
    return home


@pytest.fixture
def no_file_beyond() -> Callable[[int], AbstractContextManager[None]]:
    """What a full disk does to files that grow: no byte more than that, within the block."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited


@pytest.fixture
def spine(tmp_path: Path, _template: Path, keys: Keys) -> Spine:
    """A fresh copy of the signed dataset and of everything around it."""
    home = tmp_path / "spine"
    shutil.copytree(_template, home)
    return Spine(home, home / "batch", keys, home / "trust", load_policy(home / "m1.toml"))


@pytest.fixture
def signed_batch(spine: Spine) -> Path:
    """A small Parquet dataset in two files, with its manifest beside it."""
    return spine.batch


@pytest.fixture
def trust(spine: Spine) -> trusts.Trust:
    """Who may do what, as the verifier of `signed_batch` sees it."""
    return spine.trust


@pytest.fixture
def m1_policy(spine: Spine) -> Policy:
    """Integrity and provenance, both required: the policy of the spine alone."""
    return spine.policy
