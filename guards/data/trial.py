"""The first to decode a file is a process of its own: whatever the file does to it, we go on.

A file of some kilobytes may unpack to terabytes, take hours, or find a fault in the C code of a
decoder. So each data file is decoded once, from end to end, by a child process whose memory and
processor time are limited and which can write no file. That it came to an end there, and that what
came out is not beyond all measure, is what lets it be decoded here. A file at which the child dies
is a :class:`Problem` like any other damage, and so is one that unpacks to too much. One child
serves all files of a process and is started anew when it has died. Pictures are files like others.

It is no jail: whoever takes over the child has the rights of who runs toadstone. What comes back
is therefore parsed as a stranger's word. macOS limits the processor time, not the memory.
"""

from __future__ import annotations

import base64
import gc
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from guards.data.decoding import Probed, Problem, file_of, form_of, probe
from guards.data.folder import is_picture
from guards.errors import GuardError, UsageError
from guards.text import printable

MIB = 1 << 20
MEMORY = "TOADSTONE_DECODE_MIB"  # the environment variable that sets the child's memory
# The package without what its front loads: a child has no use for the library's public names, nor
# for numpy, without which polars and Arrow load faster; and what is loaded once is no garbage.
_START = (
    "import gc, sys, json, types; gc.disable(); sys.path[:] = json.loads(sys.argv[1]); "
    "sys.modules['numpy'] = None; "
    "sys.modules['guards'] = guards = types.ModuleType('guards'); "
    "guards.__path__ = [sys.argv[3]]; "
    "from guards.data.trial import serve; serve()"
)
_MOST = 4096 * MIB  # of what unpacks, where nobody says more
_LONGEST = 64 * MIB  # of an answer; a schema of 100,000 columns is below 10 MiB
_TOLD = 300  # characters of why a file is not decoded
_PICTURES = 256  # files that one request is about
_CODES = ("not-data", "zero-rows", "unreadable-file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What decoding may cost.

    `memory` is in bytes. For a file the processor has `seconds`, and one more for each of `rate`
    bytes of it; the clock allows four times that; all files together have the seconds of `slow`
    such files beside those for their bytes. All files of a dataset together may unpack to `most`
    bytes as :mod:`guards.data.unpacked` counts them, or to `ratio` times their own if that is more.
    """

    memory: int
    seconds: float = 60
    rate: int = MIB // 4
    slow: int = 10
    most: int = _MOST
    ratio: int = 1000

    def allowance(self, size: int) -> float:
        """Seconds of the processor for a file of so many bytes."""
        return self.seconds + size / self.rate


def default_limits() -> Limits:
    """Half of the machine's memory, at least 2 GiB, or what TOADSTONE_DECODE_MIB says.

    That much may come out, too, but not more than 4 GiB where nothing is said.
    """
    told = os.environ.get(MEMORY, "")
    if told and not (told.isascii() and told.isdigit() and int(told)):
        raise UsageError(f"{MEMORY}={told[:40]!r}: must be a whole number of MiB")
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if told:
        return Limits(memory=int(told) * MIB, most=int(told) * MIB)
    memory = max(2048 * MIB, half)
    return Limits(memory=memory, most=min(memory, _MOST))


def decode_apart(
    root: Path, names: Iterable[str], limits: Limits | None = None
) -> dict[str, Probed | Problem]:
    """Decode each file once, elsewhere, and say what is in it or why it is not to be decoded here.

    Files of no format that is examined are told without being opened.
    """
    pool = _Pool.of(root, names := list(names), limits or default_limits())
    return {name: pool.decode(name) for name in names}


def pictures_apart(
    root: Path, names: Iterable[str], limits: Limits | None = None
) -> dict[str, Problem]:
    """Decode each of these files, all of them pictures, once, elsewhere; those that do it harm.

    What merely is no picture is told by row, where they are decoded again.
    """
    pool = _Pool.of(root, names := list(names), limits or default_limits())
    parts = (names[start : start + _PICTURES] for start in range(0, len(names), _PICTURES))
    return {problem.path: problem for part in parts for problem in pool.pictures(part)}


def stop() -> None:
    """End the children, and wait for them: what they cost is then this process's children's."""
    with _LOCK:
        while _CHILDREN:
            _, child = _CHILDREN.popitem()
            if child.parent == os.getpid():
                child.process.communicate()


@dataclass(slots=True)
class _Pool:
    """What is left for the files of one dataset: of the processor's time, and of what unpacks."""

    root: Path
    limits: Limits
    seconds: float
    room: int

    @classmethod
    def of(cls, root: Path, names: Iterable[str], limits: Limits) -> _Pool:
        paths = (file_of(root, name) for name in names if form_of(name) or is_picture(name))
        size = sum(path.stat().st_size for path in paths if path.is_file())
        seconds = limits.slow * limits.seconds + size / limits.rate
        return cls(root, limits, seconds, max(limits.most, limits.ratio * size))

    def decode(self, name: str) -> Probed | Problem:
        """Decode one file elsewhere, as far as the pool goes."""
        if form_of(name) is None:
            return probe(self.root, name)
        try:
            size = file_of(self.root, name).stat().st_size
        except OSError as error:
            return _unreadable(name, f"{type(error).__name__}: {error.strerror}")
        answer = self._asked({"name": name}, size)
        if isinstance(answer, str):
            return _unreadable(name, f"{answer}; see {MEMORY}" if "memory" in answer else answer)
        found = _parsed(name, answer)
        return self._fitted(name, found) if isinstance(found, Probed) else found

    def pictures(self, names: Sequence[str]) -> Iterator[Problem]:
        """Decode pictures elsewhere; where that fails, half of them, to find which it is."""
        paths = (file_of(self.root, name) for name in names)
        size = sum(path.stat().st_size for path in paths if path.is_file())
        answer = self._asked({"pictures": list(names)}, size)
        harm = answer if isinstance(answer, str) else str(answer.get("harm", ""))
        if harm and len(names) > 1:
            half = len(names) // 2
            yield from (*self.pictures(names[:half]), *self.pictures(names[half:]))
        elif harm:
            yield _unreadable(names[0], printable(harm[:_TOLD]))

    def _asked(self, request: Mapping[str, Any], size: int) -> dict[str, Any] | str:
        """What the child says of so many bytes, or why it says nothing."""
        seconds = min(self.seconds, self.limits.allowance(size))
        if seconds <= 0:
            return "the files before it took all the time there is for decoding"
        with _LOCK:
            child = _living(self.limits.memory)
            asked = {"root": str(self.root.absolute()), "seconds": math.ceil(seconds), **request}
            answer, spent = child.ask(asked)
        self.seconds -= spent
        return answer

    def _fitted(self, name: str, found: Probed) -> Probed | Problem:
        """What was found, unless too much would come out of it: rules take time for what does."""
        if found.unpacked > self.room:
            told = f"it unpacks to {found.unpacked // MIB} MiB as rules count it"
            left = f"of {self.room // MIB} MiB that are left for this data"
            return _unreadable(name, f"{told}, {left}; for larger data raise {MEMORY}")
        self.room -= found.unpacked
        return found


def _unreadable(name: str, told: str) -> Problem:
    return Problem(code="unreadable-file", path=name, message=told)


def _parsed(name: str, answer: dict[str, Any]) -> Probed | Problem:
    """The child's answer; a child that does not speak as it should is a file that harmed it."""
    import polars as pl

    try:
        if "code" in answer:
            code, told = answer["code"], printable(str(answer["message"])[:_TOLD])
            return Problem(code=_CODES[_CODES.index(code)], path=name, message=told)
        schema = pl.read_ipc_stream(io.BytesIO(base64.b64decode(answer["schema"]))).schema
        rows, unpacked = int(answer["rows"]), int(answer["unpacked"])
        if min(rows, unpacked) < 0:
            raise ValueError
        return Probed(str(answer["format"]), rows, schema, unpacked)
    except (KeyError, ValueError, TypeError, OSError, OverflowError, pl.exceptions.PolarsError):
        return _unreadable(name, "the process that decoded it did not answer as it should")


_LOCK = threading.RLock()


@dataclass(slots=True)
class _Child:
    """A process that decodes one file after another, and what it was started with.

    `spent` is the time of the processor that it took for the files so far.
    """

    process: subprocess.Popen[bytes]
    memory: int
    parent: int
    spent: float = 0.0

    def ask(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any] | str, float]:
        """The answer, or why there is none, and the seconds of the processor it took.

        Asked is about a file or some pictures, and has the `seconds` that there are for it. Without
        an answer the child is no more.
        """
        seconds = asked["seconds"]
        ends = time.monotonic() + 4 * seconds
        try:
            with suppress(BrokenPipeError):
                self._requests.write(json.dumps(asked).encode() + b"\n")
                self._requests.flush()
            line = b"".join(self._answer(ends))
            return self._understood(line, late=time.monotonic() >= ends, seconds=seconds)
        except BaseException:
            self.process.kill()
            raise

    def _understood(
        self, line: bytes, late: bool, seconds: int
    ) -> tuple[dict[str, Any] | str, float]:
        if line.endswith(b"\n"):
            with suppress(ValueError, TypeError, AttributeError, RecursionError):
                answer = json.loads(line)
                before, self.spent = self.spent, float(answer.get("spent", self.spent))
                return answer, max(0.0, self.spent - before)
        self.process.kill()
        ended, status = _processor_of_the_dead(), self.process.wait()
        spent = _processor_of_the_dead() - ended - self.spent
        return _epitaph(status, late, seconds, self.memory), max(0.0, spent)

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
    # -S: where its modules lie is told, and need not be found again.
    command = [sys.executable, "-I", "-S", "-c", _START, *asked]
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


def _processor_of_the_dead() -> float:
    """The seconds of the processor that children took that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
    # Loaded before the clock runs: on a busy machine that alone takes a second.
    import_module("polars")
    import_module("pyarrow.parquet")
    gc.freeze()
    gc.enable()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        _limit_processor(asked["seconds"])
        answer = _answer(asked) | {"spent": _processor_of_this()}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
    os._exit(0)  # everything is said, and to take it all down takes time


def limit(what: int, most: int) -> None:
    """Let this process have at most so much of that, and never more than it was allowed before."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with suppress(ValueError, OSError):  # macOS has no limit on some
        resource.setrlimit(what, (most, most))


def _limit_processor(seconds: int) -> None:
    """So many seconds from now on; the kernel ends what takes longer."""
    soft = math.ceil(_processor_of_this()) + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _processor_of_this() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    root = Path(asked["root"])
    if "pictures" in asked:
        return _of_pictures(root, asked["pictures"])
    return _of(root, asked["name"])


def _of_pictures(root: Path, names: Iterable[str]) -> dict[str, Any]:
    from guards.data.pictures import try_out

    try:
        for name in names:
            with suppress(OSError):  # who reads it again will say so
                try_out(file_of(root, name).read_bytes())
    except MemoryError:
        return {"harm": "decoding it takes more memory than is allowed"}
    return {}


def _of(root: Path, name: str) -> dict[str, Any]:
    import polars as pl

    found = probe(root, name)
    if isinstance(found, Problem):
        return {"code": found.code, "message": found.message}
    held = io.BytesIO()
    pl.DataFrame(schema=found.schema).write_ipc_stream(held)
    schema = base64.b64encode(held.getvalue()).decode()
    about = {"format": found.format, "rows": found.rows, "unpacked": found.unpacked}
    return {**about, "schema": schema}
