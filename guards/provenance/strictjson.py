"""Read untrusted JSON once, strictly, into values whose place in the document is known.

Two parsers that disagree about one document are an attack, so whatever is ambiguous is refused:
duplicate keys, NaN and infinities, integers beyond 2^53 - 1, lone surrogates, a byte-order mark,
trailing data. So is whatever is too large. :class:`Node` then hands out values by type, and its
errors name the place: `predicate.files[3].sha256: not a sha256`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NoReturn

from guards.digest import Digest
from guards.errors import Malformed
from guards.files import MAX_DOCUMENT

MAX_DEPTH = 64
# A few bytes of JSON become hundreds in memory, so values are counted before they are made.
MAX_VALUES = 2_000_000
MAX_TEXT = 4096
MAX_INTEGER = 2**53 - 1
_LARGE = re.compile(rb"[\s,:\[-]\d{16}")  # without one no integer is beyond
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place in the document; `of` and `each` go down, the others read."""

    value: Any
    where: str = ""

    def refuse(self, message: str) -> NoReturn:
        """Raise Malformed for this place."""
        raise Malformed(message, self.where or "document")

    def of(self, key: str) -> Node:
        """The value of a required key."""
        found = self.optional(key)
        return found if found is not None else self.refuse(f"required key {key!r} is missing")

    def optional(self, key: str) -> Node | None:
        """The value of a key, or None when it is missing or null."""
        value = self.mapping().get(key)
        return None if value is None else Node(value, f"{self.where}.{key}".lstrip("."))

    def only(self, *keys: str) -> Node:
        """The same mapping, refused if it has any other key."""
        if unknown := sorted(self.mapping().keys() - set(keys)):
            self.refuse(f"unknown key {unknown[0]!r}")
        return self

    def each(self) -> Iterator[Node]:
        """The items of a list."""
        items: list[Any] = self._typed(list, "a list")
        return (Node(item, f"{self.where}[{index}]") for index, item in enumerate(items))

    def mapping(self) -> Mapping[str, Any]:
        """The value as an object."""
        found: dict[str, Any] = self._typed(dict, "an object")
        return found

    def items(self) -> Iterator[tuple[str, Node]]:
        """Keys and values of an object."""
        return ((k, Node(v, f"{self.where}.{k}".lstrip("."))) for k, v in self.mapping().items())

    def text(self) -> str:
        """The value as a string."""
        found: str = self._typed(str, "a string")
        return found

    def integer(self, least: int = 0) -> int:
        """The value as an integer of at least `least`."""
        found: int = self._typed(int, "an integer")
        return found if found >= least else self.refuse(f"must be at least {least}")

    def flag(self) -> bool:
        """The value as true or false."""
        found: bool = self._typed(bool, "true or false")
        return found

    def digest(self) -> Digest:
        """The value as a sha256, bare or with its prefix; no other algorithm, length or case."""
        try:
            return Digest.parse(self.text())
        except ValueError:
            self.refuse("not a sha256 in lower-case hexadecimal")

    def time(self) -> datetime:
        """The value as a UTC time of the one form `2013-01-31T00:00:00Z`."""
        text = self.text()
        try:
            if _TIME.fullmatch(text):
                return datetime.fromisoformat(text)
        except ValueError:
            pass
        return self.refuse("not a UTC time like 2013-01-31T00:00:00Z")

    def _typed(self, kind: type, name: str) -> Any:
        # `type is`, since in Python True is an integer and in JSON it is not.
        return self.value if type(self.value) is kind else self.refuse(f"must be {name}")


def loads(
    data: bytes,
    what: str = "document",
    *,
    long_text: tuple[str, ...] = (),
    long_at: int = 0,
    most: int = MAX_VALUES,
) -> Node:
    """Parse one strict JSON document; Malformed says what is wrong with it and where.

    Strings are at most 4 KiB, but for the values of keys named in `long_text` at the depth
    `long_at`, of which 0 is the top. There are at most `most` values, counted by the marks that
    go before them.
    """
    if len(data) > MAX_DOCUMENT:
        raise Malformed(f"larger than {MAX_DOCUMENT} bytes", what)
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > most:
        raise Malformed(f"more than {most} values", what)
    try:
        value = json.loads(
            data.decode("utf-8", errors="strict"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer if _LARGE.search(b" " + data) else None,
            parse_float=_finite,
        )
        _bounded(value, frozenset(long_text), long_at, texts=not _are_short(data))
    except RecursionError as error:
        raise Malformed(f"nested deeper than {MAX_DEPTH}", what) from error
    except UnicodeError as error:
        raise Malformed(f"not valid UTF-8 text: {error}", what) from error
    except ValueError as error:
        raise Malformed(f"not strict JSON: {error}", what) from error
    except Malformed as error:
        raise error.inside(what) from error
    return Node(value)


def timestamp(moment: datetime) -> str:
    """Write a time in the one form that :meth:`Node.time` reads."""
    return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("an object has the same key twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise Malformed(f"{text} is not JSON")


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 17 else MAX_INTEGER + 1
    if -MAX_INTEGER <= value <= MAX_INTEGER:
        return value
    raise Malformed("an integer is beyond 2^53 - 1, where parsers disagree")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Malformed(f"the number {text[:40]} is out of range")
    return value


def _are_short(data: bytes) -> bool:
    """Whether no string is long or holds a surrogate: without escapes every second part is one."""
    plain = b"\\" not in data and data.isascii()
    return plain and max(map(len, data.split(b'"')[1::2]), default=0) <= MAX_TEXT


def _bounded(root: Any, long_text: frozenset[str], long_at: int, *, texts: bool) -> None:
    """Refuse deep nesting and, in `texts`, what is too long or no text; without recursion."""
    if texts:
        _bounded_text(root, long=False)
    level, depth = [root], 0
    while level := [value for value in level if type(value) is list or type(value) is dict]:
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH}")
        if texts:
            for value in level:
                _bounded_texts(value, long_text if depth == long_at else frozenset())
        level = list(chain.from_iterable(v.values() if type(v) is dict else v for v in level))
        depth += 1


def _bounded_texts(value: dict[str, Any] | list[Any], long_text: frozenset[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _bounded_text(item, long=False)
        return
    for key, item in value.items():
        _bounded_text(key, long=False)
        _bounded_text(item, long=key in long_text)


def _bounded_text(value: Any, *, long: bool) -> None:
    if not isinstance(value, str):
        return
    if not value.isascii():
        value.encode()  # a lone surrogate raises UnicodeEncodeError
    if len(value) > MAX_TEXT and not long:
        raise Malformed(f"a string is longer than {MAX_TEXT} characters")
