"""The sentences of the page say no more than what was found."""

from __future__ import annotations

import pytest

from guards.report import words

CLAIM = {"name": "acme/x", "signers": ["key"], "history": "known"}


def about(kind, value):
    return {"subject": {"kind": kind}, "evidence": [{"value": value}]}


@pytest.mark.parametrize(
    ("claim", "findings", "told"),
    [
        ({}, [], ""),
        ({"name": None, "signers": []}, [about("manifest", 1)], "no claim to compare them with"),
        (CLAIM, [], "exactly those that were signed"),
        (CLAIM, [about("manifest", 1)], "exactly those that were signed"),
        (CLAIM, [about("file", 1)], "1 file is not as the claim says"),
        (CLAIM, [about("file", 2), about("file", 1)], "3 files are not as the claim says"),
        (CLAIM | {"signers": []}, [about("manifest", 1)], "exactly those of the claim, which"),
    ],
)
def test_a_wrong_key_name_or_time_is_no_difference_of_bytes(claim, findings, told):
    assert words.compared(claim, findings).startswith(told)
    assert bool(words.compared(claim, findings)) == bool(told)


def test_an_older_version_is_not_told_as_known_and_good():
    assert words.history(CLAIM, set()).startswith("Known: not older")
    assert words.history(CLAIM, {"rollback"}).startswith("Contradicted: a newer version")
    assert words.history(CLAIM, {"fork"}).startswith("Contradicted: other bytes")
    assert words.history({"history": "pinned"}, {"wrong-version"}).startswith("Not the version")
    assert words.history({}, set()) == ""
