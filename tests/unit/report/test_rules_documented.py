"""Every rule has its words on the page and its section in docs/rules.md, with the same parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guards.checks import CHECKS
from guards.report import words

DOCS = Path(__file__).parents[3] / "docs" / "rules.md"
PARTS = ("What it detects", "How it decides", "How to fix", "How it is evaded")


def sections() -> dict[str, str]:
    text = DOCS.read_text(encoding="utf-8")
    return {m[1]: m[2] for m in re.finditer(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S)}


def test_every_rule_has_its_words_and_its_section_in_the_same_order():
    assert list(words.RULES) == list(CHECKS)
    assert list(sections()) == list(CHECKS)


@pytest.mark.parametrize("rule", CHECKS)
def test_a_section_answers_every_question(rule):
    section = sections()[rule]

    for part in PARTS:
        assert f"**{part}.**" in section, part
    assert "| | power | false alarms |" in section


@pytest.mark.parametrize("rule", CHECKS)
def test_the_words_of_a_rule_are_a_question_and_a_blind_spot(rule):
    told = words.rule(rule)

    assert told.question.endswith("?")
    assert told.blind.endswith(".")


def test_an_unknown_rule_goes_by_its_name():
    assert words.rule("of-next-year").title == "of-next-year"


def test_links_within_the_docs_lead_somewhere():
    text = DOCS.read_text(encoding="utf-8")

    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= set(sections())
    for target in re.findall(r"\]\((?!#|https:)([^)]+)\)", text):
        assert (DOCS.parent / target).is_file(), target
