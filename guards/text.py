"""What may be shown: names and values from untrusted data, made harmless for a terminal or page."""

from __future__ import annotations

import unicodedata

# Bidirectional controls and characters without a shape can make one name look like another:
# Unicode's format characters (Cf), variation selectors, and letters that are drawn as nothing.
_UNSEEN = (
    *((0x00AD, 0x00AE), (0x034F, 0x0350), (0x061C, 0x061D), (0x115F, 0x1161), (0x17B4, 0x17B6)),
    *((0x180B, 0x1810), (0x200B, 0x2010), (0x202A, 0x202F), (0x2060, 0x2070), (0x3164, 0x3165)),
    *((0xFE00, 0xFE10), (0xFEFF, 0xFF00), (0xFFA0, 0xFFA1), (0xFFF9, 0xFFFC), (0xE0000, 0xE1000)),
)
# Controls, formats, surrogates, private and unassigned characters, unusual spaces and line ends.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
DECEPTIVE = frozenset(chr(code) for start, stop in _UNSEEN for code in range(start, stop))
_BLANK = DECEPTIVE | {"\u2800"}


def is_control(character: str) -> bool:
    """Tell controls, line separators and lone surrogates, which nothing we print may contain."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    r"""Show what draws nothing, or changes what is drawn beside it, as an escape like `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _unseen(c) else c for c in text)


def drawn(text: str) -> str:
    """What is drawn of a text: without what draws nothing, every blank alike, none around it."""
    blank = (
        " " if unicodedata.category(c) == "Zs" else c for c in unicodedata.normalize("NFC", text)
    )
    return "".join(c for c in blank if not _unseen(c)).strip()


def _unseen(character: str) -> bool:
    if character == " ":
        return False
    return unicodedata.category(character) in _INVISIBLE or character in _BLANK
