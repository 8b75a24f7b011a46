"""A small dataset with its elliptic keys, and the released model-signing where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from guards.provenance.signing import PrivateKey, generate, load_private
from guards.provenance.trust import Trust, TrustedKey

ROOT = Path(__file__).parents[4]
# Signs or verifies DATASET with SIGNATURE; for shards the size is given.
PEER = """
import pathlib, sys
from model_signing import hashing, signing, verifying
verb, dataset, signature, key, shard = sys.argv[1:]
dataset, signature, key = map(pathlib.Path, (dataset, signature, key))
config = hashing.Config()
if shard != "0":
    config = config.use_shard_serialization(shard_size=int(shard))
if verb == "sign":
    signer = signing.Config().use_elliptic_key_signer(private_key=key)
    signer.set_hashing_config(config).sign(dataset, signature)
else:
    verifying.Config().use_elliptic_key_verifier(public_key=key).verify(dataset, signature)
"""


@dataclass(frozen=True)
class Place:
    """Where the dataset lies, and the keys of those who may sign for `acme/*`."""

    home: Path
    dataset: Path

    def key(self, kind: str = "ecdsa-p256") -> PrivateKey:
        return load_private(self.pem(kind))

    def pem(self, kind: str = "ecdsa-p256") -> Path:
        return self.home / kind / "key.pem"

    def trust(self, kind: str = "ecdsa-p256", role: str = "producer") -> Trust:
        trusted = TrustedKey(key=self.key(kind).public, roles=(role,), names=("acme/*",))
        return Trust(keys=(trusted,))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    dataset = tmp_path / "data set"
    (dataset / "sub").mkdir(parents=True)
    (dataset / "a.csv").write_bytes(b"x,y\n1,2\n" * 50)
    (dataset / "sub" / "b.bin").write_bytes(bytes(range(256)) * 3)
    (dataset / "sub-a.csv").write_bytes(b"sorts before sub/ as text, after it as a path\n")
    for kind in ("ecdsa-p256", "ecdsa-p384", "ed25519"):
        generate(tmp_path / kind, kind)
    return Place(tmp_path, dataset)


@pytest.fixture(scope="session")
def peer() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the released model-signing; without it the test says so, and is skipped."""
    candidates = (os.environ.get("TOADSTONE_PEERS", ""), sys.executable, _OF_MAKE)
    for python in filter(None, candidates):
        if (
            Path(python).exists()
            and _run(python, "-c", "import model_signing.signing").returncode == 0
        ):
            return lambda *words: _run(python, "-c", PEER, *map(str, words))
    pytest.skip("the released model-signing is not installed here: make peers")


_OF_MAKE = str(ROOT / ".venv-peers" / "bin" / "python")


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if not Path(words[0]).exists():
        return subprocess.CompletedProcess(words, 127)
    return subprocess.run(words, capture_output=True, text=True, env=clean, check=False)
