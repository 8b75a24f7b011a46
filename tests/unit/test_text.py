"""What is shown on a terminal does not command it."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from guards.text import DECEPTIVE, is_control, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.csv", "plain name.csv"),
        ("été/数据.csv", "été/数据.csv"),
        ("🐸", "🐸"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\x7f", "a\\nb\\tc\\x7f"),
        ("\u009b2J", "\\x9b2J"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\ud800", "\\ud800"),
        ("a\u2028b", "a\\u2028b"),
        ("a\u00adb\u061c", "a\\xadb\\u061c"),
    ],
)
def test_what_commands_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown
    printable(text).encode()


def test_no_format_character_of_the_common_planes_is_forgotten():
    """Category Cf, but for the marks that Arabic, Syriac, Kaithi and shorthand draw visibly."""
    visible = {*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2}
    hidden = {
        chr(code)
        for code in range(0x10000)
        if unicodedata.category(chr(code)) == "Cf" and code not in visible
    }
    assert hidden <= DECEPTIVE
    assert {
        chr(code) for code in range(0xE0000, 0xE0080) if unicodedata.category(chr(code)) == "Cf"
    } <= DECEPTIVE


def test_every_control_is_known():
    controls = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if chr(code) != " " and is_control(chr(code))
    ]
    assert len(controls) == 65 + 2048 + 2
