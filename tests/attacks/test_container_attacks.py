"""Attacks 21 and 23: files that run when they are loaded, archives that write where they like.

Each is made for real, and would leave a file behind. None is loaded or unpacked: what bears the
name of a table and is none is refused; what bears another name is no data, and is held.
"""

from __future__ import annotations

import io
import os
import pickle
import stat
import struct
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.errors import GateRefused
from guards.verdict import Decision

TABLE = pl.DataFrame({"x": [0.5, 1.5, 2.5], "label": ["a", "b", "a"]})


class Bomb:
    """What it leaves behind once somebody loads it."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (os.mkdir, (str(self.canary),))


def pickled(canary):
    return pickle.dumps(Bomb(canary))


def array_of_objects(canary):
    written = io.BytesIO()
    np.save(written, np.array([Bomb(canary)], dtype=object), allow_pickle=True)
    return written.getvalue()


def checkpoint_of_torch(canary):
    return zipped({"archive/data.pkl": pickled(canary), "archive/version": b"3"})


def tagged_yaml(canary):
    return f"!!python/object/apply:os.mkdir [{canary}]".encode()


def zipped(members, comment=b""):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = comment
    return written.getvalue()


def climbing_zip(canary):
    return zipped(
        {"../canary": b"", "../" * 9 + "canary": b"", str(canary): b"", "C:\\canary": b""}
    )


def zip_that_links_and_writes(canary):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        link = zipfile.ZipInfo("out")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(canary.parent))
        archive.writestr("out/canary", b"")
    return written.getvalue()


def zip_with_a_member_twice(canary):
    once = zipped({"a.csv": b"x\n1\n", "b.csv": b"x\n2\n"})
    return once.replace(b"b.csv", b"a.csv")


def tar_that_links_and_writes(canary):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary.parent)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("out/canary"))
        archive.addfile(tarfile.TarInfo(str(canary)))
    return written.getvalue()


def sparse_tar(canary):
    """An old GNU sparse file that says it holds a terabyte."""
    header = bytearray(tarfile.TarInfo("big").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"%011o\0" % (1 << 30)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header) + bytes(1024)


def table_that_is_a_zip(canary):
    """A whole Parquet file, and a whole archive whose comment is the end of the Parquet file."""
    written = io.BytesIO()
    TABLE.write_parquet(written)
    data = written.getvalue()
    end = 8 + struct.unpack("<I", data[-8:-4])[0]
    archive = zipped({"data.pkl": pickled(canary)}, comment=data[-end:])
    both = data[:-end] + archive
    assert pl.read_parquet(io.BytesIO(both)).equals(TABLE)
    assert zipfile.ZipFile(io.BytesIO(both)).namelist() == ["data.pkl"]
    return both


def text_that_is_a_zip(canary):
    both = b"x,label\n1,a\n" + zipped({"data.pkl": b"cos\nmkdir\n"})
    assert zipfile.is_zipfile(io.BytesIO(both))
    return both


EVIL = {
    "x.pkl": pickled,
    "x.npy": array_of_objects,
    "x.pt": checkpoint_of_torch,
    "x.yaml": tagged_yaml,
    "climbing.zip": climbing_zip,
    "links.zip": zip_that_links_and_writes,
    "twice.zip": zip_with_a_member_twice,
    "links.tar": tar_that_links_and_writes,
    "sparse.tar": sparse_tar,
    "table.bin": table_that_is_a_zip,
    "text.bin": text_that_is_a_zip,
}


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.arrow", "x.jsonl"])
def test_what_bears_the_name_of_a_table_and_is_more_or_none_is_not_read(tmp_path, kind, name):
    data = tmp_path / "data"
    data.mkdir()
    TABLE.write_parquet(data / "good.parquet")
    (data / name).write_bytes(EVIL[kind](tmp_path / "canary"))
    (problem,) = open_dataset(data, ["good.parquet", name]).problems
    text = (kind, name) == ("x.yaml", "x.csv")  # the name of a column, and no rows
    assert (problem.path, problem.code) == (name, "zero-rows" if text else "unreadable-file")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("kind", EVIL)
def test_what_bears_another_name_is_no_data_and_is_held(spine, kind):
    """A producer may sign it, and a job that loads it is not given it."""
    (spine.batch / kind).write_bytes(EVIL[kind](spine.home / "canary"))
    spine.sign(version=2)
    asked = replace(spine.policy, rules=("quality", *spine.policy.rules))
    verdict = spine.scan(policy=asked).verdict
    assert "not-data" in [reason.code for reason in verdict.reasons]
    assert verdict.decision is Decision.QUARANTINE
    with pytest.raises(GateRefused, match="not a format that is examined"):
        spine.gate(policy=asked)
    assert not (spine.home / "canary").exists()
    assert not (spine.home.parent / "canary").exists()
