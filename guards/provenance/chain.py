"""Files of lines that only grow: each line names the line before it.

Editing, dropping or reordering a line breaks the chain for everybody; what the lines say and who
may sign them is the business of :mod:`guards.anchor`, whose few lines need no tree over them. That
the end was cut off shows only against something that somebody remembered.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from guards.digest import Digest
from guards.errors import Malformed, UsageError

GENESIS = Digest.of(b"")
MAX_LINE = 1 << 20


def whole_lines(path: Path) -> tuple[list[bytes], bytes]:
    """The whole lines of a file, none where it is absent, and what follows the last line end."""
    lines: list[bytes] = []
    for line in _read(path):
        if not line.endswith(b"\n"):
            return lines, line
        lines.append(line[:-1])
    return lines, b""


def append_line(path: Path, make: Callable[[int, Digest], bytes]) -> tuple[int, Digest]:
    """Add the line that `make(number, digest of the line before)` gives, on disk on return.

    Returns how many lines there are then, and the digest of the last one. Whoever calls holds the
    lock.
    """
    lines, torn = whole_lines(path)
    line = make(len(lines), Digest.of(lines[-1]) if lines else GENESIS)
    with path.open("r+b" if path.exists() else "w+b") as file:
        # An append that never ended was never acknowledged; nothing is lost by dropping it.
        file.seek(-len(torn), os.SEEK_END)
        file.truncate()
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return len(lines) + 1, Digest.of(line)


def _read(path: Path) -> Iterator[bytes]:
    """The lines of a plain file; a fifo must not make us wait, nor a line fill the memory."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{path}: not a plain file")
        while line := file.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise Malformed(f"a line is longer than {MAX_LINE} bytes", str(path))
            yield line
