"""The stat index: what was read of a dataset before, so that verifying again costs what changed.

A file whose device, inode, size, mtime and ctime are those at which it was read has the leaves
that it had then. That is weaker than reading, so the index serves `verify` alone, never the gate,
and only where it is asked for. It is a chain of lines, each with an HMAC under a key of this user
over itself and the line before; one word out of place and none of it is believed. Lines are
appended while files are read, so whoever is interrupted goes on from there.

What keeps the times honest (docs/adr/0011-stat-index.md): nobody but the kernel sets a ctime, so
one that is older than the reading by more than a clock's tick tells every later change. Pages
that were dirty in somebody's memory map would be written to without one; they are put on disk
first, after which the kernel tells. Where that does not help the index is not used, and a random
1 % of what it knows is read again in every run.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import stat
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from guards.digest import Digest, canonical_json, chunk_count
from guards.errors import UsageError
from guards.files import write_atomically
from guards.provenance.batch import STAMP, stamp

PURPOSE = b"toadstone stat index 2"
# A change within one tick of a clock, two seconds at worst, has the ctime of the change before.
WINDOW = 2_000_000_000
# So long, at most, does Linux leave a dirty page in memory before it is written and watched again.
SETTLED = 600_000_000_000
# One chunk of so many is read again.
SHARE = 100
_MAGIC = PURPOSE + b"\n"
_KEY = STAMP
_LEAF = 32
_WHOLE = _KEY.size + _LEAF  # of a file of one chunk
_TOGETHER = 4096
_SECONDS = 1.0
_MOST = 1 << 30
_NEVER = frozenset({"tmpfs", "ramfs", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """All that the index knows, named at once: these files, so many bytes, have this root.

    `claim` is the digest of a signed manifest that was read then, and whose files they are.
    """

    root: Digest
    claim: Digest
    size: int
    files: int


class Contradicted(Exception):
    """A sample has other bytes than the index says; the index has forgotten all, so look again."""


@dataclass(slots=True, kw_only=True)
class Index:
    """What is known of a dataset's files, and what this run learns; `told` is for people."""

    told: str = ""
    full: bool = False
    sealed: Seal | None = None
    _key: bytes = b""
    _descriptor: int = -1
    _mute: bool = False
    _about: str = ""
    _mac: bytes = b""
    _known: dict[str, bytes | bytearray] = field(default_factory=dict)
    _again: Mapping[str, frozenset[int]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _pending: list[tuple[str, int, str]] = field(default_factory=list)
    _written: float = field(default_factory=time.monotonic)
    _records: int = 0
    _stale: bool = False
    _on_disk: int = 0
    _timeless: frozenset[int] = field(default_factory=lambda: _timeless())

    def __contains__(self, path: str) -> bool:
        return path in self._known

    def recall(self, path: str, status: os.stat_result) -> list[bytes]:
        """The leaves of this very file, from the first on, as far as it was read; or none."""
        self._seen.add(path)
        entry = self._known.get(path)
        if entry is None:
            return []
        if self.full or self._blind(status) or not entry.startswith(stamp(status)):
            del self._known[path]
            return []
        return _leaves(entry)

    def knows(self, path: str, status: os.stat_result) -> bool:
        """Whether this very file was read; of a sealed index, all of it."""
        entry = self._known.get(path)
        same = entry is not None and entry.startswith(stamp(status))
        return same and status.st_dev not in self._timeless

    def has(self, path: str, leaves: Mapping[int, bytes]) -> bool:
        """Whether a file that is known has exactly these leaves."""
        return leaves == dict(enumerate(_leaves(self._known[path])))

    def again(self, path: str) -> frozenset[int]:
        """The chunks that are read whatever is known of them."""
        return self._again.get(path, frozenset())

    def steady(self, status: os.stat_result) -> bool:
        """Whether any change from now on must show in the file's times; asked before reading."""
        now = time.time_ns()
        if status.st_ctime_ns > now - SETTLED:
            if not self._on_disk:
                self._on_disk = now
                _put_on_disk()
            now = self._on_disk
        return not self._blind(status) and status.st_ctime_ns <= now - WINDOW

    def note(self, path: str, status: os.stat_result, first: int, leaves: Sequence[bytes]) -> None:
        """Learn these leaves, from chunk `first` on, of a steady file as it was when opened."""
        record = stamp(status) + b"".join(leaves)
        self.learn(path, first, record)
        self.sealed = None
        self._pending.append((path, first, record.hex()))
        if len(self._pending) >= _TOGETHER or time.monotonic() - self._written > _SECONDS:
            self.flush()

    def contradict(self, path: str) -> None:
        """A file has other bytes than its times say: nothing that is known counts any more.

        Nor does it on disk, from now on: what could not be written later must not be believed.
        """
        self.begin()
        self.told = f"{path} has changed and its times have not; every byte was read"
        self.full = True

    def begin(self) -> None:
        """Forget all, and begin the file anew."""
        self.sealed, self._known, self._again, self._pending = None, {}, {}, []
        data, self._mac = _line(self._key, b"", _header(self._about))
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._mute = False
        self._write(_MAGIC + data)
        if self._mute:  # half a beginning is none
            os.ftruncate(self._descriptor, 0)

    def _blind(self, status: os.stat_result) -> bool:
        if status.st_dev in self._timeless and not self.told:
            self.told = "not used on a file system that does not tell every change; all was read"
        return status.st_dev in self._timeless

    def learn(self, path: str, first: int, record: bytes) -> None:
        """Take a record in: it begins a file anew, or goes on where the last one of it ended."""
        held = self._known.get(path)
        if first == 0:
            self._known[path] = record
            return
        goes_on = held is not None and len(held) == _KEY.size + first * _LEAF
        if held is not None and goes_on and held[: _KEY.size] == record[: _KEY.size]:
            grown = held if isinstance(held, bytearray) else bytearray(held)
            grown += record[_KEY.size :]
            self._known[path] = grown

    def flush(self) -> None:
        """Append what was learnt since the last time."""
        if self._pending:
            self._append(_packed(self._pending))
            self._records += len(self._pending)
        self._pending, self._written = [], time.monotonic()

    def saw_all(self) -> None:
        """Every file that is known is still there."""
        self._seen = set(self._known)

    def seal(self, seal: Seal) -> None:
        """Remember the root of what this run saw, if it knows all of that and nothing else."""
        known = self._known
        if seal == self.sealed or self._idle or len(self._seen) != seal.files:
            return
        if not all(path in known and _is_whole(known[path]) for path in self._seen):
            return
        self.flush()
        self.sealed = seal
        if len(known) > seal.files:  # some have gone: it is written anew without them
            self._stale = True
            return
        self._append(_described(seal))
        self._records += 1

    def _append(self, document: object) -> None:
        if self._idle:
            return
        data, self._mac = _line(self._key, self._mac, document)
        self._write(data)

    def _write(self, data: bytes) -> None:
        try:
            whole = os.write(self._descriptor, data) == len(data)
        except OSError:
            whole = False
        if not whole:  # a full disk is no reason to stop: it costs what reading again costs
            self._mute, self.told = True, "cannot be written to; less is remembered"

    def rewrite(self, path: Path) -> None:
        """Write it anew, all at once; where that fails it is emptied, since it may be wrong."""
        try:
            write_atomically(path, b"".join(self._lines()), mode=0o600)
        except OSError as error:
            os.ftruncate(self._descriptor, 0)
            self.told = f"cannot be written anew, {error.strerror}; nothing is remembered"

    @property
    def _idle(self) -> bool:
        """Whether nothing of this run goes to disk."""
        return self._descriptor < 0 or self._mute

    @property
    def wasteful(self) -> bool:
        """Whether the file on disk is better written anew."""
        if self._idle or self._records <= _TOGETHER + len(self._known):
            return self._stale and not self._idle
        much = self._records > 2 * len(self._known.keys() & self._seen) + _TOGETHER
        return self._stale or much

    def _lines(self) -> Iterator[bytes]:
        """The whole index anew, without what is no longer there."""
        yield _MAGIC
        data, mac = _line(self._key, b"", _header(self._about))
        yield data
        paths = sorted(self._known.keys() & self._seen)
        for start in range(0, len(paths), _TOGETHER):
            some = paths[start : start + _TOGETHER]
            data, mac = _line(self._key, mac, _packed([(p, 0, self._known[p].hex()) for p in some]))
            yield data
        if self.sealed:
            yield _line(self._key, mac, _described(self.sealed))[0]


@contextmanager
def opened(path: Path, dataset: Path, key: bytes, *, full: bool = False) -> Iterator[Index]:
    """The index of `dataset` at `path`, for one run; what was learnt is kept even if that fails.

    One that was changed, is another's, or is about another dataset is replaced, and every byte is
    read; `told` says so. With `full`, too, but what is learnt is written.

    Raises:
        UsageError: there lies something else than an index, or nothing can be written there.
    """
    about = _about(dataset)
    _refuse_inside(path, dataset)
    descriptor = _open(path)
    try:
        try:
            index = _load(descriptor, path, about, key)
        except OSError as error:
            raise UsageError(f"index {path}: {error.strerror}") from error
        index.full = index.full or full
        index.sealed = None if index.full else index.sealed
        try:
            yield index
        finally:
            index.flush()
        if index.wasteful:
            index.rewrite(path)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise UsageError(f"index {path}: {error.strerror}; choose another --index") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"index {path}: not a plain file; choose another --index")
    return descriptor


def _load(descriptor: int, path: Path, about: str, key: bytes) -> Index:
    """What the file says and is believed; a file that is not is begun anew."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Index(told="in use by another run; every byte was read", full=True)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        begin = file.read(len(_MAGIC))
        if begin and begin != _MAGIC:
            raise UsageError(f"index {path}: is no index of this version; choose another --index")
        told = _distrust(os.fstat(descriptor))
        index = Index(_key=key, _descriptor=descriptor, _about=about, told=told)
        sound = 0 if index.told or not begin else _read(index, file.read(_MOST))
    if sound:
        os.truncate(descriptor, len(_MAGIC) + sound)  # behind it, a line that was cut off
        os.lseek(descriptor, 0, os.SEEK_END)
        if index.sealed and index.sealed.files != len(index._known):
            index.sealed = None
        index._again = _sample(index._known)
        return index
    os.fchmod(descriptor, 0o600)
    index.begin()
    return index


def _read(index: Index, data: bytes) -> int:
    """Take in a chain of lines; returns how many of the bytes are sound, 0 when none may be."""
    sound = 0
    while (end := data.find(b"\n", sound)) >= 0:
        mac, _, text = data[sound:end].partition(b" ")
        wanted = hmac.digest(index._key, index._mac + text, "sha256")
        if not hmac.compare_digest(mac, wanted.hex().encode()):
            index.told = "not as this user wrote it; every byte was read"
            return 0
        records = json.loads(text)
        if not index._mac and records["about"] != index._about:
            index.told = "about another dataset; every byte was read"
            return 0
        if index._mac:
            _take_in(index, records)
        index._mac, sound = wanted, end + 1
    return sound


def _take_in(index: Index, line: Any) -> None:
    """What a line says: some files, or that those before it are all."""
    index.sealed = _unsealed(line["sealed"]) if "sealed" in line else None
    for path, first, record in line.get("parts", ()):
        index.learn(path, first, bytes.fromhex(record))
    paths, records = line.get("paths", ()), bytes.fromhex(line.get("records", ""))
    pieces = (records[at : at + _WHOLE] for at in range(0, len(records), _WHOLE))
    index._known.update(zip(paths, pieces, strict=True))
    index._records += max(1, len(paths) + len(line.get("parts", ())))


def _packed(records: Sequence[tuple[str, int, str]]) -> dict[str, Any]:
    """Some files as a line says them: of small ones, as most are, in a form that is read fast."""
    if any(first or len(record) != 2 * _WHOLE for _, first, record in records):
        return {"parts": records}
    told = "".join([record for _, _, record in records])
    return {"paths": [path for path, _, _ in records], "records": told}


def _unsealed(seal: Mapping[str, Any]) -> Seal:
    root, claim = Digest(seal["root"]), Digest(seal["claim"])
    return Seal(root=root, claim=claim, size=seal["size"], files=seal["files"])


def _described(seal: Seal) -> dict[str, Any]:
    told = {"root": seal.root.hex, "claim": seal.claim.hex}
    return {"sealed": {**told, "size": seal.size, "files": seal.files}}


def _leaves(entry: bytes | bytearray) -> list[bytes]:
    return [bytes(entry[at : at + _LEAF]) for at in range(_KEY.size, len(entry), _LEAF)]


def _is_whole(entry: bytes | bytearray) -> bool:
    """Whether all leaves of a file are known."""
    size = _KEY.unpack_from(entry)[2]
    return len(entry) == _KEY.size + _LEAF * chunk_count(size)


def _line(key: bytes, before: bytes, document: object) -> tuple[bytes, bytes]:
    """One line, and its HMAC, which the next one goes on from."""
    text = canonical_json(document)
    mac = hmac.digest(key, before + text, "sha256")
    return b"%b %b\n" % (mac.hex().encode(), text), mac


def _header(about: str) -> dict[str, str]:
    return {"about": about, "salt": os.urandom(16).hex()}


def _about(dataset: Path) -> str:
    """Which dataset: a directory by its inode, a file by its directory's and its name."""
    try:
        resolved = dataset.resolve(strict=True)
        top = resolved.parent if resolved.is_file() else resolved
        status = top.stat()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"dataset {dataset}: {error}") from error
    name = resolved.name if resolved != top else ""
    return f"{status.st_dev}:{status.st_ino}:{Digest.of(os.fsencode(name)).hex}"


def _refuse_inside(path: Path, dataset: Path) -> None:
    where = path.resolve()
    if where == dataset.resolve() or dataset.resolve() in where.parents:
        raise UsageError(f"index {path}: lies in the dataset; choose another --index")


def _distrust(status: os.stat_result) -> str:
    if status.st_uid != os.geteuid():
        return "another user's; every byte was read"
    if stat.S_IMODE(status.st_mode) & 0o022:
        return "others can write to it; every byte was read"
    return ""


def _sample(known: Mapping[str, bytes | bytearray]) -> Mapping[str, frozenset[int]]:
    """A random 1 % of all chunks, at least one, by the system's randomness."""
    from random import SystemRandom

    paths, ends = list(known), [*accumulate((len(e) - _KEY.size) // _LEAF for e in known.values())]
    total = ends[-1] if ends else 0
    count = min(total, max(1, -(-total // SHARE)))
    found: defaultdict[str, set[int]] = defaultdict(set)
    for place in SystemRandom().sample(range(total), count):
        file = bisect_right(ends, place)
        found[paths[file]].add(place - (ends[file - 1] if file else 0))
    return {path: frozenset(numbers) for path, numbers in found.items()}


def _put_on_disk() -> None:
    """Write all dirty pages, so that who maps one must ask the kernel again, which sets a ctime."""
    os.sync()


def _timeless() -> frozenset[int]:
    """Devices whose times do not tell every change: memory, and other machines' disks."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    found = set()
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind = after.partition(" ")[0]
        if kind in _NEVER or kind.startswith("fuse"):
            major, _, minor = before.split(" ")[2].partition(":")
            found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)
