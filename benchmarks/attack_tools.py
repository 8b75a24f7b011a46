"""The tools that `attacks.py` runs: each claims a dataset, and holds the data against the claim.

Ours is the command, in a process of its own; so are the peers, at their released versions. What a
forger could sign is made here, with the tool's own key: the attacks that need it assume a signer
who is trusted and hostile, or whose key was stolen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FILES = {"a.csv": "x,label\n1,0\n2,1\n", "b.csv": "x,label\n3,0\n4,1\n"}
PAYLOAD = "application/vnd.in-toto+json"
SECONDS = 60


@dataclass(frozen=True)
class Said:
    """What a tool answered: its exit status (None if it had to be ended) and its words."""

    status: int | None
    words: str

    @property
    def cell(self) -> str:
        """The answer as a cell of the table."""
        if self.status is None:
            return "**hangs**"
        if "Traceback (most recent call last)" in self.words:
            raised = self.words.rstrip().rpartition("\n")[2].partition(":")[0].rpartition(".")[2]
            return f"refused, by a traceback ({raised})" if self.status else "**accepted**"
        return "refused" if self.status else "**accepted**"


def run(command: list[str], home: Path, **env: str) -> Said:
    """Run it to its end, or for a minute."""
    try:
        done = subprocess.run(
            command,
            cwd=home,
            env={**os.environ, "NO_COLOR": "1", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Said(None, "")
    return Said(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))


def must(said: Said) -> Said:
    """What has to work before an attack means anything."""
    if said.status != 0:
        raise SystemExit(f"the honest case fails: {said.words[-2000:]}")
    return said


class Tool:
    """One place to work in; `data` holds the files that are claimed."""

    name = ""

    def __init__(self, home: Path, binaries: Path) -> None:
        self.home, self.binaries = home, binaries
        self.data = home / "data"
        self.data.mkdir(parents=True)
        for name, text in FILES.items():
            (self.data / name).write_text(text)
        self.prepare()

    def prepare(self) -> None:
        """Keys, and whatever else there is before a claim."""

    def claim(self, version: int = 1) -> Said:
        """Say what the data is, and sign it if the tool can."""
        raise NotImplementedError

    def check(self) -> Said:
        """Hold the data against what was said."""
        raise NotImplementedError

    def forge(self, edit: Callable[[dict[str, Any]], object]) -> None:
        """Let the signer claim what the tool would not have."""
        raise NotImplementedError

    def forge_text(self, edit: Callable[[str], str]) -> None:
        """The same, letter by letter."""
        raise NotImplementedError


class Toadstone(Tool):
    """Our command, with a trust directory, an expected name and a memory of versions."""

    name = "toadstone"
    expect = "acme/flights"
    strict = False

    def cli(self, line: str) -> Said:
        """Run the command."""
        home = str(self.home / "state")
        return run(
            [sys.executable, "-m", "guards.cli", *line.split()], self.home, TOADSTONE_HOME=home
        )

    def prepare(self) -> None:
        """Make keys."""
        must(self.cli("keygen --out keys"))
        must(self.cli("trust init --out trust --key keys/key.pub --name acme/*"))

    def claim(self, version: int = 1) -> Said:
        """Claim `data`."""
        return self.cli(
            f"sign data --key keys/key.pem --name acme/flights --dataset-version {version}"
        )

    def check(self) -> Said:
        """Verify `data`."""
        more = " --strict" if self.strict else ""
        return self.cli(
            f"verify data --trust trust --name {self.expect} --state seen --format json{more}"
        )

    def scan(self) -> Said:
        """Look at the content alone."""
        return self.cli("scan data --policy explore --out run --format json")

    @property
    def manifest(self) -> Path:
        """The signed claim."""
        return self.home / "data.manifest.json"

    def forge(self, edit: Callable[[dict[str, Any]], object]) -> None:
        """Sign an edited claim."""

        def edited(text: str) -> str:
            document = json.loads(text)
            edit(document)
            return json.dumps(document)

        self.forge_text(edited)

    def forge_text(self, edit: Callable[[str], str]) -> None:
        """Sign an edited text."""
        from guards.provenance.signing import load_private, parse_envelope, sign

        payload = parse_envelope(self.manifest.read_bytes()).payload.decode()
        key = load_private(self.home / "keys" / "key.pem")
        self.manifest.write_bytes(sign(edit(payload).encode(), key).to_json())


class ModelSigning(Tool):
    """OpenSSF Model Signing, with a P-256 key."""

    name = "model-signing"

    def prepare(self) -> None:
        """Make keys."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        private = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.home / "key.pem").write_bytes(private)
        (self.home / "key.pub").write_bytes(public)

    def _cli(self, line: str) -> Said:
        return run([str(self.binaries / "model_signing"), *line.split()], self.home)

    def claim(self, version: int = 1) -> Said:
        """Claim `data`."""
        return self._cli("sign key data --signature model.sig --private_key key.pem")

    def check(self) -> Said:
        """Verify `data`."""
        return self._cli("verify key data --signature model.sig --public_key key.pub")

    @property
    def signature(self) -> Path:
        """The signed bundle."""
        return self.home / "model.sig"

    def forge(self, edit: Callable[[dict[str, Any]], object]) -> None:
        """Sign an edited claim."""

        def edited(text: str) -> str:
            document = json.loads(text)
            edit(document)
            named = document["predicate"]["resources"]
            root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in named))
            document["subject"][0]["digest"]["sha256"] = root.hexdigest()
            return json.dumps(document)

        self.forge_text(edited)

    def forge_text(self, edit: Callable[[str], str]) -> None:
        """Sign an edited text."""
        bundle = json.loads(self.signature.read_bytes())
        envelope = bundle["dsseEnvelope"]
        payload = edit(base64.b64decode(envelope["payload"]).decode()).encode()
        kind = envelope["payloadType"]
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        envelope["payload"] = base64.b64encode(payload).decode()
        envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
        self.signature.write_text(json.dumps(bundle))


class Croissant(Tool):
    """The loader of Croissant descriptions; it has no signatures."""

    name = "mlcroissant"

    def claim(self, version: int = 1) -> Said:
        """Claim `data`."""
        files = [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": f"data/{name}",
                "contentSize": f"{(self.data / name).stat().st_size} B",
                "encodingFormat": "text/csv",
                "sha256": hashlib.sha256((self.data / name).read_bytes()).hexdigest(),
            }
            for name in FILES
        ]
        self.description.write_text(json.dumps(_croissant(files, version)))
        return Said(0, "")

    def check(self) -> Said:
        """Read every record of every file, which is when the digests are looked at."""
        said = Said(0, "")
        for name in FILES:
            line = f"load --jsonld croissant.json --record_set records-{name}"
            said = run([str(self.binaries / "mlcroissant"), *line.split()], self.home)
            if said.status != 0:
                return said
        return said

    @property
    def description(self) -> Path:
        """The description."""
        return self.home / "croissant.json"

    def forge(self, edit: Callable[[dict[str, Any]], object]) -> None:
        """Sign an edited claim."""
        document = json.loads(self.description.read_text())
        edit(document)
        self.description.write_text(json.dumps(document))

    def forge_text(self, edit: Callable[[str], str]) -> None:
        """Sign an edited text."""
        self.description.write_text(edit(self.description.read_text()))


def _croissant(files: list[dict[str, Any]], version: int) -> dict[str, Any]:
    records = [
        {
            "@type": "cr:RecordSet",
            "@id": f"records-{one['@id']}",
            "name": f"records-{one['@id']}",
            "field": [
                {
                    "@type": "cr:Field",
                    "@id": f"records-{one['@id']}/x",
                    "name": "x",
                    "dataType": "sc:Integer",
                    "source": {"fileObject": {"@id": one["@id"]}, "extract": {"column": "x"}},
                }
            ],
        }
        for one in files
    ]
    terms = ("recordSet", "field", "source", "fileObject", "extract", "column", "md5")
    context = {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "sha256": "sc:sha256",
        **{term: f"cr:{term}" for term in terms},
    }
    return {
        "@context": context,
        "@type": "sc:Dataset",
        "name": "flights",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "description": "Two files.",
        "license": "https://creativecommons.org/publicdomain/zero/1.0/",
        "url": "https://example.org/flights",
        "version": f"{version}.0.0",
        "datePublished": "2026-01-01",
        "creator": {"@type": "Organization", "name": "acme"},
        "distribution": files,
        "recordSet": records,
    }


class Bag(Tool):
    """The Library of Congress's BagIt; it has no signatures."""

    name = "bagit"

    def claim(self, version: int = 1) -> Said:
        """Make the bag anew around `data`."""
        for made in self.home.glob("*.txt"):
            made.unlink()
        inner = self.data.rename(self.home / "payload")
        (self.home / "bag").mkdir()
        for path in inner.iterdir():
            path.rename(self.home / "bag" / path.name)
        inner.rmdir()
        said = run([str(self.binaries / "bagit.py"), "--sha256", "bag"], self.home)
        for path in (self.home / "bag").iterdir():
            path.rename(self.home / path.name)
        (self.home / "bag").rmdir()
        return said

    def check(self) -> Said:
        """Verify `data`."""
        return run([str(self.binaries / "bagit.py"), "--validate", "."], self.home)

    def forge_text(self, edit: Callable[[str], str]) -> None:
        """Edit the list of digests; whoever can do that can make the list of lists again."""
        listed = self.home / "manifest-sha256.txt"
        listed.write_text(edit(listed.read_text()))
        tags = self.home / "tagmanifest-sha256.txt"
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n"
            for path in sorted(self.home.glob("*.txt"))
            if path != tags
        ]
        tags.write_text("".join(lines))


TOOLS: tuple[type[Tool], ...] = (Toadstone, ModelSigning, Croissant, Bag)
