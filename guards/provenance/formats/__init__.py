"""Other people's formats, a file each: bytes in, one :class:`~.claim.ForeignClaim` out.

Those in `SIGNED` come in an envelope, which is verified before anything in it is read; the others
are signed by nobody. Which one a file is can be told from its first bytes and its name, or said;
whoever relies on a format says it, since a file that can be swapped can be swapped for one of
another format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from guards.digest import Digest
from guards.errors import Malformed
from guards.provenance.formats import (
    checksums,
    croissant,
    dvc,
    frictionless,
    oms,
    slsa,
    vsa,
)
from guards.provenance.formats.claim import ForeignClaim
from guards.provenance.signing import Envelope, parse_envelope
from guards.provenance.strictjson import loads

BAGIT = "bagit"
UNSIGNED: Mapping[str, Callable[[bytes], ForeignClaim]] = {
    "checksums": checksums.read,
    "croissant": croissant.read,
    "frictionless": frictionless.read,
    "dvc": dvc.read,
}
# Format -> the role of those who sign it, what takes it apart, and what reads it once verified.
SIGNED: Mapping[
    str, tuple[str, Callable[[bytes], Envelope], Callable[[Envelope], ForeignClaim]]
] = {
    "oms": ("producer", oms.envelope, oms.read),
    "slsa": ("deriver", lambda data: parse_envelope(data, "slsa"), slsa.read),
    "vsa": ("scanner", lambda data: parse_envelope(data, "vsa"), vsa.read),
}
FORMATS = (*UNSIGNED, BAGIT, *SIGNED)


def read(form: str, data: bytes) -> ForeignClaim:
    """An unsigned claim, with the digest of its bytes; Malformed for what is none."""
    return replace(UNSIGNED[form](data), digest=Digest.of(data))


def tell(name: str, data: bytes) -> str:
    """Which format the bytes of a file of that name are, by what only that format begins with.

    Raises:
        Malformed: it is JSON of none of them.
    """
    start = data.lstrip()[:1]
    if name.endswith(".dvc") or start == b"[":
        return "dvc"
    if start != b"{":
        return "checksums"
    top = _top(data)
    if "dsseEnvelope" in top:
        return "oms"
    if "payloadType" in top:
        return _predicate(data)
    if "@context" in top:
        return "croissant"
    if "resources" in top:
        return "frictionless"
    raise Malformed(f"is JSON, and none of {', '.join(FORMATS)}", "claim")


def _top(data: bytes) -> Mapping[str, object]:
    """The object at the top: long texts lie there, or in a bundle one below."""
    try:
        return loads(data, "claim", long_text=("payload",), long_at=1).mapping()
    except Malformed:
        return loads(data, "claim", long_text=_LONG).mapping()


_LONG = ("payload", "readme", *croissant.LONG)


def _predicate(data: bytes) -> str:
    """Of an envelope: whose reader is asked. Nothing is parsed for a stranger, so bytes decide."""
    payload = parse_envelope(data, "claim").payload
    by_type = {slsa.PREDICATE: "slsa", vsa.PREDICATE: "vsa", oms.PREDICATE: "oms"}
    found = [form for told, form in by_type.items() if f'"{told}"'.encode() in payload]
    if len(found) != 1:
        raise Malformed(f"is not plainly one of {', '.join(SIGNED)}; say it", "claim.payload")
    return found[0]
