"""SHA256SUMS and its like: what coreutils writes is read, what could mean two things is refused."""

from __future__ import annotations

import hashlib
import shutil
import subprocess

import pytest

from guards.errors import Malformed
from guards.provenance.formats.checksums import read
from guards.provenance.formats.claim import FlatDigest

A = hashlib.sha256(b"a").hexdigest()
MD5 = hashlib.md5(b"a").hexdigest()


def digests(data: bytes) -> dict[str, tuple[FlatDigest, ...]]:
    return {file.path: file.digests for file in read(data).files}


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (f"{A}  a.csv", "a.csv"),
        (f"{A} *a.csv", "a.csv"),
        (f"{A}  ./sub/a b.csv", "sub/a b.csv"),
        (f"SHA256 (a (1).csv) = {A}", "a (1).csv"),
        (f"{A}  a.csv\r", "a.csv"),
        (f"{A}  (odd) = name", "(odd) = name"),
    ],
)
def test_every_form_of_a_line(line, path):
    assert digests(f"{line}\n".encode()) == {path: (FlatDigest("sha256", A),)}


@pytest.mark.parametrize("tool", ["md5sum", "sha1sum", "sha256sum", "sha512sum", "b2sum"])
@pytest.mark.parametrize("options", [(), ("--binary",), ("--tag",)], ids=" ".join)
def test_what_the_tool_itself_writes_is_read(tmp_path, tool, options):
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    (tmp_path / "two words.csv").write_bytes(b"a")
    told = subprocess.run(
        [tool, *options, "two words.csv"], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    [found] = digests(told)["two words.csv"]
    expected = {"md5sum": "md5", "b2sum": "blake2b"}.get(tool, tool.removesuffix("sum"))
    right = hashlib.new(expected, b"a").hexdigest()
    untagged_b2 = tool == "b2sum" and "--tag" not in options
    # 128 digits without a tag are read as sha512: they never hold, whatever the bytes.
    assert found == FlatDigest("sha512" if untagged_b2 else expected, right)


def test_several_algorithms_of_one_file_are_one_file():
    found = digests(f"{A}  a\n{MD5}  a\n".encode())
    assert found == {"a": (FlatDigest("md5", MD5), FlatDigest("sha256", A))}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{A}  a\n{A}  a\n", "has a sha256 already"),
        (f"{A}  a\nSHA256 (a) = {A}\n", "has a sha256 already"),
        (f"{A.upper()}  a", "is no sha256"),
        (f"{A[:-1]}  a", "a digest of 63 digits"),
        (f"SHA256 (a) = {A[:-1]}", "is no sha256"),
        (f"CRC (a) = {A}", "'CRC' is none"),
        (f"{A}  ../a", "not a plain relative path"),
        (f"{A}  /etc/passwd", "not a plain relative path"),
        (f"{A}  a//b", "not a plain relative path"),
        (f"{A}  C:a", "not a plain relative path"),
        (f"\\{A}  a\\\\b", "not a plain relative path"),
        (f"\\{A}  a\\nb", "not a plain relative path"),
        (f"\\{A}  a\\tb", "is no escape"),
        (f"\\{A}  a\\", "is no escape"),
        (f"{A}  {'a' * 3000}", "more than 2048 characters"),
        (f"{A} a", "is neither"),
        ("hello", "is neither"),
        ("", "lists no file"),
        ("\n\n", "lists no file"),
    ],
)
def test_what_is_refused_and_where(text, says):
    with pytest.raises(Malformed, match=r"checksums") as told:
        read(text.encode())
    assert says in str(told.value)


def test_the_line_is_told():
    with pytest.raises(Malformed, match=r"checksums line 3: '\.\./a'"):
        read(f"{A}  a\n\n{A}  ../a\n".encode())


def test_bytes_that_are_no_text():
    with pytest.raises(Malformed, match="not UTF-8"):
        read(b"\xff" + A.encode() + b"  a")
