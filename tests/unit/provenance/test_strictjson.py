"""Strict JSON: whatever two parsers could read differently is refused, and told by its place."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import pytest

from guards.errors import Malformed
from guards.provenance import strictjson
from guards.provenance.signing import parse_envelope
from guards.provenance.strictjson import Node, loads, timestamp

AMBIGUOUS = {
    "the same key twice": b'{"a":1,"a":1}',
    "the same key twice, spelt otherwise": b'{"a":1,"\\u0061":2}',
    "the same key twice, deep down": b'{"x":[{"a":1,"b":2,"a":3}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b"[-Infinity]",
    "a number that overflows": b'{"a":1e400}',
    "an integer beyond 2^53 - 1": b"9007199254740992",
    "its negative": b"-9007199254740992",
    "one in a list": b"[1,9007199254740993]",
    "one after a space": b"[1, -9007199254740993]",
    "one after a line": b"[1,\n9007199254740993]",
    "one under a key": b'{"a":9007199254740993}',
    "a giant integer": b"1" * 100_000,
    "a byte-order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "broken UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a lone surrogate as a key": b'{"\\udfff":1}',
    "data after the end": b'{"a":1} {}',
    "a second document": b'{"a":1}\n{"a":2}',
    "a comment": b'{"a":1} // so',
    "a trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "a bare control character": b'{"a":"\n"}',
    "a leading zero": b"[01]",
    "hexadecimal": b"[0x10]",
    "nothing": b"",
    "only space": b"  \n",
    "nesting of 65": b"[" * 66 + b"]" * 66,
    "nesting of 100,000": b"[" * 100_000,
    "nesting of objects": b'{"a":' * 100_000,
    "a long string": b'"' + b"x" * 4097 + b'"',
    "a long key": b'{"' + b"x" * 4097 + b'":1}',
    "a long string under another key": b'{"sig":"' + b"x" * 4097 + b'"}',
    "a long string below the top": b'{"a":{"payload":"' + b"x" * 4097 + b'"}}',
}


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_is_ambiguous_is_refused(data):
    with pytest.raises(Malformed, match="manifest"):
        loads(data, "manifest", long_text=("payload",))


def test_what_is_plain_is_read():
    text = '{"a":[1,-2.5,true,null,"\\ud83d\\udc38 é"],"b":{"c":9007199254740991}}'
    assert loads(text.encode()).value == {
        "a": [1, -2.5, True, None, "🐸 é"],
        "b": {"c": 9007199254740991},
    }
    assert loads(b"[" * 64 + b"]" * 64).value
    assert loads(b'"' + b"x" * 4096 + b'"').value == "x" * 4096
    assert (
        len(loads(b'{"payload":"' + b"x" * 9000 + b'"}', long_text=("payload",)).value["payload"])
        == 9000
    )


def test_what_is_too_large_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(strictjson, "MAX_DOCUMENT", 1000)
    tracemalloc.start()
    with pytest.raises(Malformed, match="larger than 1000"):
        loads(b"[" * 1001)
    tracemalloc.stop()


def test_a_flat_bomb_of_many_values_is_refused_or_read_but_never_crashes():
    assert len(loads(b"[" + b"[]," * 100_000 + b"[]]").value) == 100_001


def test_values_are_counted_before_they_are_made():
    """64 MiB of empty lists would be 3 GB in memory."""
    data = b"[" + b"[]," * 1_000_000 + b"[]]"
    tracemalloc.start()
    with pytest.raises(Malformed, match="more than 2000000 values"):
        loads(data)
    with pytest.raises(Malformed, match="more than 1000 values"):
        parse_envelope(b'{"signatures":[' + b"{}," * 1000 + b"{}]}")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_errors_name_the_place():
    top = Node({"files": [{"size": 1}, {"size": "1"}, {"size": True}, {"size": -1}]}, "payload")
    one, two, three, four = top.of("files").each()
    assert one.of("size").integer() == 1
    for item, told in ((two, "an integer"), (three, "an integer"), (four, "at least 0")):
        with pytest.raises(Malformed, match=told) as caught:
            item.of("size").integer()
        assert caught.value.where.startswith("payload.files[")
    with pytest.raises(Malformed, match=r"payload\.files\[0\]: required key 'sha256' is missing"):
        one.of("sha256")
    with pytest.raises(Malformed, match=r"payload: unknown key 'files'"):
        top.only("other")


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("text", 1),
        ("text", None),
        ("integer", 1.0),
        ("integer", True),
        ("integer", "1"),
        ("flag", 1),
        ("flag", "true"),
        ("mapping", []),
        ("digest", "md5:abc"),
        ("digest", "A" * 64),
        ("digest", 5),
        ("time", "2013-01-31"),
        ("time", "2013-01-31T00:00:00+00:00"),
        ("time", "2013-02-30T00:00:00Z"),
        ("time", "2013-01-31T24:00:00Z"),
        ("time", "2013-01-31T00:00:00z"),
        ("time", "２０13-01-31T00:00:00Z"),
        ("time", "2013-01-31T00:00:00Z\n"),
    ],
)
def test_a_value_of_another_type_is_refused(method, value):
    with pytest.raises(Malformed):
        getattr(Node(value, "here"), method)()


def test_each_wants_a_list():
    with pytest.raises(Malformed, match="a list"):
        list(Node({"0": 1}, "here").each())


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2013, 1, 31, 12, 5, 9, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_a_time_reads_what_it_writes(moment):
    assert Node(timestamp(moment)).time() == moment
