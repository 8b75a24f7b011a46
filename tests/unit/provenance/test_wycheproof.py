"""Wycheproof's signatures: what must verify does, what must not does not, and each exception."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guards.errors import Untrusted
from guards.provenance.signing import checked

VECTORS = Path(__file__).parents[2] / "vectors" / "wycheproof"
# File -> (cases in it, case -> why we answer in another way than the file does).
EXPECTED: dict[str, tuple[int, dict[int, str]]] = {
    "ed25519_test": (151, {}),
    "ecdsa_secp256r1_sha256_test": (484, {}),
}


def answers(file: str) -> dict[int, tuple[bool, bool, str]]:
    """Case -> (must verify, does verify, the file's comment)."""
    found = {}
    for group in json.loads((VECTORS / f"{file}.json").read_text())["groups"]:
        try:
            key = checked(bytes.fromhex(group["key"]), file)
        except Untrusted:
            key = None
        for case, message, signature, result, comment in group["tests"]:
            told = key is not None and key.verifies(
                bytes.fromhex(signature), bytes.fromhex(message)
            )
            found[case] = (result == "valid", told, comment)
    return found


@pytest.mark.parametrize("file", EXPECTED)
def test_wycheproof(file, capsys):
    total, explained = EXPECTED[file]
    found = answers(file)
    other = {case: told for case, (must, told, _) in found.items() if must != told}
    with capsys.disabled():
        print(f"\n{file}: {len(found) - len(other)} of {len(found)} pass", end=" ")
        for case in other:
            print(f"\n  case {case} ({found[case][2]}): {explained.get(case, 'unexplained')}")
    assert len(found) == total
    assert other.keys() == explained.keys()
