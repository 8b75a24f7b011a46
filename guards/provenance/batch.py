"""Read and hash a batch of small files of one directory: here, or as a process that does only this.

A file of 64 KiB takes 40 microseconds to hash and a dozen calls that hold Python's lock, so threads
do not share such work. This file is therefore also run by itself (`python -I -S batch.py SOCKET`)
and imports nothing but the standard library. A request is one message: the open directory, handed
over as a descriptor, and the sizes and names of files in it. The answer is a RECORD for each.
A name is opened below that directory and never followed; what it opens is looked at before and
after it is read.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import sys
from array import array
from collections.abc import Iterable
from hashlib import sha256
from operator import attrgetter

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# Larger ones are hashed in pieces. So much stays in the cache of the core that hashes it.
SMALL = 1 << 18
# Outcome, leaf, and the file as it was when opened: device, inode, size, mtime, ctime.
RECORD = struct.Struct(">h32s40s")
STAMP = struct.Struct(">QQqQQ")
# An outcome that is none of these is the error number of a file that could not be read.
READ, MOVED, RESIZED, SPECIAL = 0, -1, -2, -3
MOST = 64
_LONGEST = 1 << 16
_NOTHING = bytes(32), bytes(40)
_IDENTITY = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
# Whoever owns a file sets its mtime; file systems hold times that 64 bits of nanoseconds do not.
_WORD = (1 << 64) - 1
_OF_CHANGE = attrgetter("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink")


def new_buffer() -> memoryview:
    """Room for SMALL bytes, at the beginning of a page.

    Where a copy begins a few bytes into a page, the kernel takes three times as long for it on
    some processors (measured on Zen 3; there is where the memory of a bytearray begins).
    """
    return memoryview(mmap.mmap(-1, SMALL))


def read(
    directory: int, names: Iterable[str | bytes], sizes: Iterable[int], buffer: memoryview
) -> bytes:
    """One RECORD for each of these files of an open directory, through a buffer of SMALL bytes."""
    return b"".join(
        [_record(directory, name, size, buffer) for name, size in zip(names, sizes, strict=True)]
    )


def _record(directory: int, name: str | bytes, size: int, buffer: memoryview) -> bytes:
    try:
        file = os.open(name, OPEN, dir_fd=directory)
    except OSError as error:
        return RECORD.pack(error.errno or 1, *_NOTHING)
    try:
        before = os.fstat(file)
        if not stat.S_ISREG(before.st_mode) or before.st_size != size:
            outcome = RESIZED if stat.S_ISREG(before.st_mode) else SPECIAL
            return RECORD.pack(outcome, *_NOTHING)
        leaf = leaf_of(file, size, buffer)
        outcome = READ if unmoved(before, file) else MOVED
        return RECORD.pack(outcome, leaf, stamp(before))
    except OSError as error:
        return RECORD.pack(error.errno or 1, *_NOTHING)
    finally:
        os.close(file)


def stamp(status: os.stat_result) -> bytes:
    """A file by its place and times; another file, or another state of it, has another."""
    device, inode, size, mtime, ctime = _IDENTITY(status)
    return STAMP.pack(device, inode, size, mtime & _WORD, ctime & _WORD)


def leaf_of(file: int, size: int, buffer: memoryview) -> bytes:
    """The sha256 of a file of at most SMALL bytes, of as many as there were."""
    part = buffer[:size]
    count = os.preadv(file, [part], 0)
    while 0 < count < size and (more := os.preadv(file, [part[count:]], count)):
        count += more
    return sha256(part[:count]).digest()


def unmoved(before: os.stat_result, file: int) -> bool:
    """Whether an open file is as it was before; one that changed has no digest that means much."""
    after: bool = _OF_CHANGE(before) == _OF_CHANGE(os.fstat(file))
    return after


def request(names: list[str], sizes: list[int]) -> bytes:
    """The message that asks for these; the directory goes beside it."""
    return bytes([len(names)]) + array("I", sizes).tobytes() + os.fsencode("\0".join(names))


def serve(socket_: int) -> None:
    """Answer requests until nobody asks any more."""
    import socket

    buffer = new_buffer()
    width = array("I").itemsize
    with socket.socket(fileno=socket_) as asked:
        while True:
            message, handed, _, _ = socket.recv_fds(asked, _LONGEST, 1)
            if not message or len(handed) != 1:
                return
            end = 1 + width * message[0]
            sizes, names = array("I", message[1:end]), message[end:].split(b"\0")
            try:
                answer = read(handed[0], names, sizes, buffer)
            finally:
                os.close(handed[0])
            asked.send(answer)


if __name__ == "__main__":
    try:
        serve(int(sys.argv[1]))
    except (KeyboardInterrupt, OSError):
        os._exit(1)
    os._exit(0)
