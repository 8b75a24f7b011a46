"""The auditor's guide: a manifest is verified with nothing but openssl and sha256sum.

The commands are those of the guide, run as they stand there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from guards.provenance.listing import listing_path
from guards.provenance.manifest import parse_name
from guards.provenance.signing import PublicKey, generate, load_private
from guards.publish import Claim, manifest_path, publish

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "auditor.md"
KINDS = ("ed25519", "ecdsa-p256", "ecdsa-p384", "rsa-pss-3072")
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("openssl", "sha256sum", "bash"))), reason="needs openssl"
)


def commands() -> str:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    chosen = [block for block in blocks if "audit/claim.json" in block]
    assert len(chosen) == 2
    assert "python" not in "".join(chosen)
    return "".join(chosen)


class Audit:
    """A signed dataset, and the guide's commands over it."""

    def __init__(self, home: Path, kind: str = "ed25519") -> None:
        self.home, self.data = home, home / "data"
        (self.data / "more").mkdir(parents=True)
        pl.DataFrame({"x": [1, 2], "label": [0, 1]}).write_csv(self.data / "a b.csv")
        pl.DataFrame({"x": [3], "label": [0]}).write_csv(self.data / "more" / "c.csv")
        self.sign(kind)

    def sign(self, kind: str, version: int = 1) -> PublicKey:
        home = self.home / f"key{version}"
        generate(home, kind)
        key = load_private(home / "key.pem")
        publish(self.data, Claim(name=parse_name("acme/flights"), version=version), key)
        self.key = home / "key.pub"
        return key.public

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands()],
            cwd=self.home,
            env={
                "PATH": "/usr/bin:/bin",
                "MANIFEST": str(manifest_path(self.data)),
                "DATA": str(self.data),
                "KEY": str(self.key),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def says(self, status: int, *told: str) -> None:
        done = self.run()
        assert done.returncode == status, done.stdout + done.stderr
        assert all(one in done.stdout for one in told), done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_each_kind(tmp_path, kind):
    audit = Audit(tmp_path, kind)
    audit.says(0, "a b.csv: OK", "more/c.csv: OK", '"name":"acme/flights"')


def test_several_signatures_are_tried_with_the_key_given(tmp_path):
    audit = Audit(tmp_path, "ecdsa-p384")
    first = audit.key
    generate(tmp_path / "other")
    claim = Claim(name=parse_name("acme/flights"), version=1)
    publish(audit.data, claim, load_private(tmp_path / "other" / "key.pem"))
    for audit.key in (first, tmp_path / "other" / "key.pub"):
        audit.says(0, "a b.csv: OK")


@pytest.mark.parametrize("size", [0, 2**23, 2**23 + 1, 3 * 2**23, 4 * 2**23 + 5])
def test_large_files_have_a_root_over_their_chunks(tmp_path, size):
    """One, two, three and five chunks; the last one full, short, or the only one."""
    audit = Audit(tmp_path)
    (audit.data / "large.bin").write_bytes((b"0123456789abcde" * (size // 15 + 1))[:size])
    audit.sign("ed25519", version=2)
    audit.says(0, "large.bin: OK")
    with (audit.data / "large.bin").open("r+b") as file:
        file.seek(size // 2)
        file.write(b"!")
    audit.says(1, "large.bin: CHANGED")


def test_what_differs_is_told(tmp_path):
    audit = Audit(tmp_path)
    extra = audit.data / "extra.csv"
    extra.write_text("x\n1\n")
    audit.says(1, "> extra.csv")
    extra.unlink()
    extra.symlink_to("a b.csv")
    audit.says(1, "> extra.csv")
    extra.unlink()
    audit.says(0)
    (audit.data / "more" / "c.csv").write_text("x,label\n4,0\n")
    audit.says(1, "more/c.csv: CHANGED")
    (audit.data / "more" / "c.csv").unlink()
    audit.says(1, "more/c.csv: CHANGED")


@pytest.mark.parametrize("kind", KINDS)
def test_another_key_and_another_claim_are_refused(tmp_path, kind):
    audit = Audit(tmp_path, kind)
    generate(tmp_path / "stranger", kind)
    good, audit.key = audit.key, tmp_path / "stranger" / "key.pub"
    audit.says(1, "not signed by")
    audit.key = good
    path = manifest_path(audit.data)
    path.write_text(path.read_text().replace('"payload":"eyJ', '"payload":"fyJ', 1))
    audit.says(1, "not signed by")


def test_the_list_of_a_large_dataset_is_held_against_the_claim(tmp_path, monkeypatch):
    monkeypatch.setattr("guards.provenance.manifest.INLINE", 1)
    audit = Audit(tmp_path)
    audit.says(0, "more/c.csv: OK")
    (audit.data / "more" / "c.csv").write_text("x,label\n4,0\n")
    audit.says(1, "more/c.csv: CHANGED")
    listing = listing_path(manifest_path(audit.data))
    listing.write_bytes(listing.read_bytes().replace(b"more/c.csv", b"more/d.csv"))
    audit.says(1, "another list")
