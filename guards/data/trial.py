"""The first to decode a file is a process of its own: whatever the file does to it, we go on.

A file of some kilobytes may unpack to terabytes, take hours, or find a fault in the C code of a
decoder. So each data file is decoded once, from end to end, by a child process whose memory and
processor time are limited and which can write no file; that it came to an end there is what lets it
be decoded here. A file at which the child dies is a :class:`Problem` like any other damage. One
child serves all files of a process and is started anew when it has died.

It is no jail: whoever takes over the child has the rights of who runs toadstone. What comes back
is therefore parsed as a stranger's word. macOS limits the processor time, not the memory.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from guards.data.decoding import Probed, Problem, file_of, form_of, probe
from guards.errors import GuardError, UsageError

MIB = 1 << 20
MEMORY = "TOADSTONE_DECODE_MIB"  # the environment variable that sets the child's memory
# The package without what its front loads: a child has no use for the library's public names.
_START = (
    "import sys, json, types; sys.path[:] = json.loads(sys.argv[1]); "
    "sys.modules['guards'] = guards = types.ModuleType('guards'); "
    "guards.__path__ = [sys.argv[3]]; "
    "from guards.data.trial import serve; serve()"
)
_LONGEST = 64 * MIB  # of an answer; a schema of 100,000 columns is below 10 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What decoding one file may cost.

    `memory` is in bytes; the processor has `seconds`, and one more for each of `rate` bytes of the
    file; the clock allows four times that.
    """

    memory: int
    seconds: float = 60
    rate: int = MIB

    def allowance(self, size: int) -> int:
        """Whole seconds of the processor for a file of so many bytes."""
        return math.ceil(self.seconds + size / self.rate)


def default_limits() -> Limits:
    """Half of the machine's memory, at least 2 GiB, or what TOADSTONE_DECODE_MIB says."""
    told = os.environ.get(MEMORY, "")
    if told and not (told.isascii() and told.isdigit() and int(told)):
        raise UsageError(f"{MEMORY}={told[:40]!r}: must be a whole number of MiB")
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return Limits(memory=int(told) * MIB if told else max(2048 * MIB, half))


def decode_apart(
    root: Path, names: Iterable[str], limits: Limits | None = None
) -> dict[str, Probed | Problem]:
    """Decode each file once, elsewhere, and say what is in it or why it is not to be decoded here.

    Files of no format that is examined are told without being opened.
    """
    allowed = limits or default_limits()
    return {
        name: probe(root, name) if form_of(name) is None else _decode_apart(root, name, allowed)
        for name in names
    }


def stop() -> None:
    """End the children, and wait for them: what they cost is then this process's children's."""
    with _LOCK:
        while _CHILDREN:
            _, child = _CHILDREN.popitem()
            if child.parent == os.getpid():
                child.process.communicate()


def _decode_apart(root: Path, name: str, limits: Limits) -> Probed | Problem:
    try:
        size = file_of(root, name).stat().st_size
    except OSError as error:
        return _unreadable(name, f"{type(error).__name__}: {error.strerror}")
    with _LOCK:
        answer = _living(limits.memory).ask(str(root.absolute()), name, limits.allowance(size))
    if isinstance(answer, str):
        return _unreadable(name, f"{answer}; see {MEMORY}" if "memory" in answer else answer)
    return _parsed(name, answer)


def _unreadable(name: str, told: str) -> Problem:
    return Problem(code="unreadable-file", path=name, message=told)


def _parsed(name: str, answer: dict[str, Any]) -> Probed | Problem:
    """The child's answer; a child that does not speak as it should is a file that harmed it."""
    import polars as pl

    try:
        if "code" in answer:
            return Problem(code=str(answer["code"]), path=name, message=str(answer["message"]))
        schema = pl.read_ipc_stream(io.BytesIO(base64.b64decode(answer["schema"]))).schema
        return Probed(str(answer["format"]), int(answer["rows"]), schema)
    except (KeyError, ValueError, TypeError, OSError, pl.exceptions.PolarsError):
        return _unreadable(name, "the process that decoded it did not answer as it should")


_LOCK = threading.RLock()


@dataclass(slots=True)
class _Child:
    """A process that decodes one file after another, and what it was started with."""

    process: subprocess.Popen[bytes]
    memory: int
    parent: int

    def ask(self, root: str, name: str, seconds: int) -> dict[str, Any] | str:
        """What is in a file, or why there is no answer. Without one the child is no more."""
        request = json.dumps({"root": root, "name": name, "seconds": seconds}).encode() + b"\n"
        ends = time.monotonic() + 4 * seconds
        try:
            with suppress(BrokenPipeError):
                self._requests.write(request)
                self._requests.flush()
            line = b"".join(self._answer(ends))
            return self._understood(line, late=time.monotonic() >= ends, seconds=seconds)
        except BaseException:
            self.process.kill()
            raise

    def _understood(self, line: bytes, late: bool, seconds: int) -> dict[str, Any] | str:
        if line.endswith(b"\n"):
            with suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, dict):
                    return answer
        self.process.kill()
        return _epitaph(self.process.wait(), late, seconds, self.memory)

    def _answer(self, ends: float) -> Iterator[bytes]:
        """The pieces of one line, until it ends, or the child does, or the time."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._answers, selectors.EVENT_READ)
            room = _LONGEST
            while room > 0 and ready.select(max(0.0, ends - time.monotonic())):
                piece = os.read(self._answers.fileno(), MIB)
                room -= len(piece)
                if piece:
                    yield piece
                if not piece or piece.endswith(b"\n"):
                    return

    @property
    def _requests(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def _answers(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout


def _living(memory: int) -> _Child:
    """The child of this process, another if that has died, or is of a process we were forked of."""
    child = _CHILDREN.get(memory)
    if child is None or child.parent != os.getpid() or child.process.poll() is not None:
        child = _CHILDREN[memory] = _started(memory)
    return child


_CHILDREN: dict[int, _Child] = {}


def _started(memory: int) -> _Child:
    # -I: nothing is imported from the directory that this is run in, which may be the dataset.
    asked = [json.dumps(sys.path), str(memory), str(Path(__file__).absolute().parents[1])]
    command = [sys.executable, "-I", "-c", _START, *asked]
    # Arrow's own allocator gives pages back and asks for new ones all the time.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        told = f"no process to decode data in could be started: {sys.executable}: {error.strerror}"
        raise GuardError(told) from error
    return _Child(process, memory, os.getpid())


def _epitaph(status: int, late: bool, seconds: int, memory: int) -> str:
    """Why a child died, as far as its exit status tells."""
    if late or status == -signal.SIGXCPU:
        return f"decoding it takes more than {seconds} seconds of the processor"
    if status in (-signal.SIGABRT, -signal.SIGKILL, -signal.SIGTRAP):
        return f"decoding it takes more than {memory // MIB} MiB of memory, or breaks the decoder"
    return f"the process that decoded it died of {_named_signal(status)}"


def _named_signal(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"


def serve() -> None:
    """The child: decode what is asked for, a line a file, until nobody asks any more."""
    memory = int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a decoder that prints does not speak for us
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit(resource.RLIMIT_DATA, memory)
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_CORE, 0)
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        _limit_processor(asked["seconds"])
        answers.write(json.dumps(_answer(Path(asked["root"]), asked["name"])).encode() + b"\n")
        answers.flush()


def limit(what: int, most: int) -> None:
    """Let this process have at most so much of that, and never more than it was allowed before."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with suppress(ValueError, OSError):  # macOS has no limit on some
        resource.setrlimit(what, (most, most))


def _limit_processor(seconds: int) -> None:
    """So many seconds from now on; the kernel ends what takes longer."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(spent.ru_utime + spent.ru_stime) + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _answer(root: Path, name: str) -> dict[str, Any]:
    import polars as pl

    found = probe(root, name)
    if isinstance(found, Problem):
        return {"code": found.code, "message": found.message}
    held = io.BytesIO()
    pl.DataFrame(schema=found.schema).write_ipc_stream(held)
    schema = base64.b64encode(held.getvalue()).decode()
    return {"format": found.format, "rows": found.rows, "schema": schema}
