"""Many small files on all cores: this process reads, and after a while others read beside it.

Whoever walks hands over batches. They go to a process that has less to do than it could, or are
read here and now, so nobody waits but at the end. Nothing is forked, since the process we are in
may have threads: a reader is a fresh interpreter that runs :mod:`guards.provenance.batch` and
nothing else. Where none can be started, or one dies, all is read here.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from guards.digest import cores
from guards.provenance import batch
from guards.provenance.batch import MOST

if TYPE_CHECKING:
    import socket
    import subprocess

# A reader is worth its start after so many files, which take a tenth of a second.
WORTH = 1000
_MOST_READERS = 7
# Batches that a reader has before it, so that it need not wait for us.
_AHEAD = 3

About = TypeVar("About")


class Batch(Generic[About]):
    """Some small files of one open directory, whose descriptor it keeps until they are read."""

    def __init__(self, directory: int) -> None:
        self.directory = os.dup(directory)
        self.about: list[About] = []
        self.names: list[str] = []
        self.sizes: list[int] = []

    def add(self, about: About, name: str, size: int) -> bool:
        """Take one more in; whether that was the last there is room for."""
        self.about.append(about)
        self.names.append(name)
        self.sizes.append(size)
        return len(self.names) == MOST

    def close(self) -> None:
        """Give the directory back."""
        if self.directory >= 0:
            os.close(self.directory)
            self.directory = -1


Answer = tuple[Batch[About], bytes]


class Readers(Generic[About]):
    """Those who read; a context, at whose end they have ended."""

    def __init__(self) -> None:
        self._buffer = batch.new_buffer()
        self._readers: list[_Reader[About]] = []
        self._most = min(cores() - 1, _MOST_READERS)
        self._files = 0

    def __enter__(self) -> Readers[About]:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.end()

    def read(self, asked: Batch[About]) -> Iterator[Answer[About]]:
        """Have a batch read, now or later; yields those that have been, with their records."""
        self._files += len(asked.names)
        if len(self._readers) < self._most and self._files > WORTH * (len(self._readers) + 1):
            self._start()
        for reader in self._readers:
            if reader.waiting and (reader.lost or reader.has_answered()):
                yield from self._answers(reader)
        for reader in self._readers:
            if not reader.lost and len(reader.waiting) < _AHEAD and reader.ask(asked):
                return
        yield self._here(asked)

    def rest(self) -> Iterator[Answer[About]]:
        """Those that are still to come."""
        for reader in self._readers:
            while reader.waiting:
                yield from self._answers(reader)

    def _answers(self, reader: _Reader[About]) -> Iterator[Answer[About]]:
        """The next batch of a reader; all of them, read here, where it has died."""
        if (records := reader.take()) is not None:
            asked = reader.waiting.popleft()
            asked.close()
            yield asked, records
            return
        while reader.waiting:
            yield self._here(reader.waiting.popleft())

    def _here(self, asked: Batch[About]) -> Answer[About]:
        try:
            return asked, batch.read(asked.directory, asked.names, asked.sizes, self._buffer)
        finally:
            asked.close()

    def _start(self) -> None:
        try:
            self._readers.append(_Reader())
        except (OSError, AttributeError):  # no processes, or no sockets that keep messages whole
            self._most = 0


class _Reader(Generic[About]):
    """One process that reads, and the batches that it has not answered yet, in order."""

    def __init__(self) -> None:
        import socket
        import subprocess

        self.waiting: deque[Batch[About]] = deque()
        self.lost = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket: socket.socket = ours
        # -I -S: nothing is imported from where this is run, nor from any package.
        command = [sys.executable, "-I", "-S", batch.__file__, str(theirs.fileno())]
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()

    def ask(self, asked: Batch[About]) -> bool:
        """Hand a batch over; False where nobody takes it."""
        import socket

        message = batch.request(asked.names, asked.sizes)
        try:
            socket.send_fds(self._socket, [message], [asked.directory])
        except OSError:
            self.lost = True
            return False
        self.waiting.append(asked)
        return True

    def has_answered(self) -> bool:
        """Whether the next answer is there."""
        import select

        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def take(self) -> bytes | None:
        """The records of the batch that was asked for first; None where they never come."""
        wanted = batch.RECORD.size * len(self.waiting[0].names)
        try:
            records = b"" if self.lost else self._socket.recv(wanted + 1)
        except OSError:
            records = b""
        self.lost = len(records) != wanted
        return None if self.lost else records

    def end(self) -> None:
        """End the process, whatever it is doing."""
        for asked in self.waiting:
            asked.close()
        self._socket.close()
        self._process.kill()
        self._process.wait()
