"""Cut Wycheproof's files down to what a verifier is asked: key, message, signature, answer.

Every case is kept, in its order; other spellings of the key are left out. From a checkout of
https://github.com/C2SP/wycheproof:

    python tests/vectors/wycheproof/make.py wycheproof/testvectors_v1
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(source: Path) -> None:
    for path in sorted(source.glob("*_test.json")):
        if path.name in ("ed25519_test.json", "ecdsa_secp256r1_sha256_test.json"):
            (HERE / path.name).write_text(condensed(json.loads(path.read_text())))


def condensed(document: dict) -> str:
    """One group a line."""
    groups = [
        {
            "key": group["publicKeyDer"],
            "tests": [
                [test["tcId"], test["msg"], test["sig"], test["result"], test["comment"]]
                for test in group["tests"]
            ],
        }
        for group in document["testGroups"]
    ]
    lines = ",\n".join(json.dumps(group, separators=(",", ":")) for group in groups)
    return f'{{"algorithm": "{document["algorithm"]}", "groups": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    main(Path(sys.argv[1]))
