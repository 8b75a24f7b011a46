"""How a value is written for a reader; the one place where untrusted text becomes visible text."""

from __future__ import annotations

from datetime import datetime
from math import isfinite
from typing import Any

from guards.text import printable

_LONGEST = 2000


def visible(text: str) -> str:
    r"""Write every character that cannot be seen as its escape, such as `\u202e`; clip the rest."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text):,} characters)"
    return printable(text)


def shown(value: Any) -> Any:
    """What a template does to every expression before it is escaped; markup of ours passes."""
    if value is None:
        return ""
    return value if hasattr(value, "__html__") else visible(str(value))


def number(value: Any) -> str:
    """A value of evidence: four significant digits, thousands apart; text stays what it is."""
    match value:
        case bool() | None:
            return {True: "yes", False: "no", None: "none"}[value]
        case int():
            return f"{value:,}"
        case float() if not isfinite(value):
            return str(value)
        case float() if value and not 1e-3 <= abs(value) < 1e6:
            return _scientific(value)
        case float():
            return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
        case _:
            return str(value)


def p_value(value: Any) -> str:
    """A probability as people write it; what is below the resolution of a double is `< 1e-300`."""
    if not value:
        return "< 10⁻³⁰⁰"
    if not isfinite(value):
        return str(value)
    return f"{value:.3f}" if value >= 1e-3 else _scientific(value)


def _scientific(value: float) -> str:
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(_RAISED)}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def share(value: float) -> str:
    """A share of one as a percentage that keeps two digits of the small ones."""
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"


def count(value: int | None) -> str:
    """A count with its thousands apart; a dash when nobody counted."""
    return "–" if value is None else f"{value:,}"


def size(value: int) -> str:
    """A number of bytes in the largest unit that keeps it at or above one."""
    amount, units = float(value), ["bytes", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"


def seconds(value: float) -> str:
    """A duration, to a precision that a person cares about."""
    if value >= 120:
        return f"{value / 60:.1f} min"
    if value >= 1:
        return f"{value:.1f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.001 else "< 1 ms"


def moment(text: Any) -> str:
    """`2013-01-31T00:00:00Z` as a date and time to read; anything else as it is."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def digest(text: str) -> str:
    """The first twelve digits of a digest, for people."""
    return str(text).removeprefix("sha256:")[:12]
