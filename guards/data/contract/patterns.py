"""Regular expressions as GX means them, those of Python, and LIKE patterns, for a linear engine.

polars runs them by Rust's `regex`, whose time is linear in the text whatever the pattern. What that
cannot do, looking around and referring back, is what makes a pattern take exponential time
elsewhere; it is refused. Where one pattern would mean two things in the two languages, too.
"""

from __future__ import annotations

import re

from guards.errors import Malformed

_TOKEN = re.compile(r"\\.|\[\^?\]?|\]|&&|--|~~|[*+?}]\+", re.DOTALL)


def linear(pattern: str) -> str:
    r"""The pattern in Rust's language: `\Z` becomes `\z`, and all else is alike or refused.

    Raises:
        Malformed: it is no regular expression of Python, or none that runs in linear time.
    """
    translated = _translated(pattern)
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Malformed(f"is no regular expression: {error}", "regex") from error
    return _accepted(translated)


def _translated(pattern: str) -> str:
    inside, out, last = False, [], 0
    for found in _TOKEN.finditer(pattern):
        out.append(pattern[last : found.start()])
        last, token = found.end(), found[0]
        if token.startswith("[") and inside:
            raise Malformed("has a [ inside of [...]; write it as \\[", "regex")
        if inside and token in ("&&", "--", "~~"):
            raise Malformed(f"has {token} inside of [...]; put a \\ before it", "regex")
        if not inside and token.endswith("+") and not token.startswith("\\"):
            raise Malformed(f"has the possessive {token}, which is not supported", "regex")
        inside = (inside or token.startswith("[")) and token != "]"
        out.append(r"\z" if token == r"\Z" else token)
    return "".join([*out, pattern[last:]])


def _accepted(pattern: str) -> str:
    import polars as pl

    try:
        pl.select(pl.lit("").str.contains(pattern))
    except pl.exceptions.PolarsError as error:
        told = str(error).strip().splitlines()[-1]
        raise Malformed(
            f"is no pattern that runs in linear time ({told}); looking around and referring back "
            "are not supported",
            "regex",
        ) from error
    return pattern


def like(pattern: str, escape: str | None) -> str:
    """A LIKE pattern as a regular expression: `%` is any text, `_` one character.

    Raises:
        Malformed: the escape character stands at the end.
    """
    parts, characters = [], iter(pattern)
    for character in characters:
        if character == escape:
            following = next(characters, None)
            if following is None:
                raise Malformed("ends with the escape character", "like_pattern")
            parts.append(re.escape(following))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    return _accepted(rf"\A(?s:{''.join(parts)})\z")
