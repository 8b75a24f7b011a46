"""Names for bytes: the digest of a file, of a document, of a tree.

Every signature of the project stands on this module, so it is fixed (docs/adr/0001-digest.md)
and held by committed vectors. A file is cut in chunks of 8 MiB. Its digest is the Merkle root
over the sha256 of the chunks, joined in the shape of RFC 6962 with `H(0x01 || left || right)`:
a file of one chunk has its plain sha256, and every larger one can be hashed in parallel and
verified in part. A tree is the RFC 6962 hash of its entries in byte order of their paths.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

CHUNK = 8 * 1024 * 1024
# So much is read at once: it stays in the cache of the core that hashes it.
_BUFFER = 1 << 18
# The most files that are open at once, below the least limit that systems have.
_UNDER_WAY = 160
# So many entries of a tree are joined at a time; a power of two.
_TOGETHER = 1024
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_HEX = re.compile(r"[0-9a-f]{64}")

# An open file, the number of one of its chunks, and its leaf.
Piece = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A sha256 in lower-case hexadecimal, written `sha256:<hex>`."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise ValueError(f"not a sha256 in lower-case hexadecimal: {self.hex[:80]!r}")

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve digits, for people."""
        return self.hex[:12]

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return bytes.fromhex(self.hex)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<hex>` or bare hex; ValueError for anything else."""
        return cls(text.removeprefix("sha256:"))

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The plain sha256 of `data`."""
        return cls(sha256(data).hexdigest())


def canonical_json(document: Any) -> bytes:
    """Serialise to the one form that is hashed: sorted keys, no spaces, UTF-8, no NaN."""
    return _CANONICAL.encode(document).encode("utf-8")


def digest_json(document: Any) -> Digest:
    """The digest of a document's canonical form."""
    return Digest.of(canonical_json(document))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Join 32-byte leaf hashes in RFC 6962's shape; at least one leaf is needed."""
    level = list(leaves)
    if not level:
        raise ValueError("a Merkle root needs at least one leaf")
    # Pairing left to right and carrying the odd one up gives RFC 6962's largest-power-of-two split.
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        last = level[len(level) & ~1 :]
        paired = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level = paired + last
    return level[0]


def tree_root(entries: Iterable[tuple[str, int, Digest]]) -> Digest:
    """The RFC 6962 root over `(path, size, digest)` entries, in byte order of the path.

    A leaf is `H(0x00 || path || 0x00 || size in decimal || 0x00 || hex)`; a path holds no NUL, so
    no two different trees share a leaf sequence. The empty tree has RFC 6962's root, H("").
    """
    return ordered_root(sorted(entries, key=lambda entry: entry[0].encode()))


def ordered_root(entries: Iterable[tuple[str, int, Digest]]) -> Digest:
    """The same root of entries that come in byte order of the path; few are held at a time."""
    entries = iter(entries)
    whole: list[tuple[int, bytes]] = []  # complete subtrees, by height, the largest first
    while len(leaves := _entry_leaves(islice(entries, _TOGETHER))) == _TOGETHER:
        height, node = 0, merkle_root(leaves)
        while whole and whole[-1][0] == height:
            height, node = height + 1, _node(whole.pop()[1], node)
        whole.append((height, node))
    root = merkle_root(leaves) if leaves else whole.pop()[1] if whole else sha256(b"").digest()
    while whole:
        root = _node(whole.pop()[1], root)
    return Digest(root.hex())


def _entry_leaves(entries: Iterable[tuple[str, int, Digest]]) -> list[bytes]:
    return [
        sha256(f"\0{path}\0{size}\0{digest.hex}".encode()).digest()
        for path, size, digest in entries
    ]


class Hasher:
    """Hash one stream as it passes by; gives the file digest without reading twice."""

    def __init__(self) -> None:
        self.size = 0
        self._leaves: list[bytes] = []
        self._open = sha256()
        self._room = CHUNK

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes, of any length."""
        view = memoryview(data)
        self.size += len(view)
        while len(view):
            part, view = view[: self._room], view[self._room :]
            self._open.update(part)
            self._room -= len(part)
            if not self._room:
                self._leaves.append(self._open.digest())
                self._open, self._room = sha256(), CHUNK

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """One for each chunk of what has passed so far."""
        pending = self._room < CHUNK or not self._leaves
        return (*self._leaves, self._open.digest()) if pending else tuple(self._leaves)

    def digest(self) -> Digest:
        """The digest of what has passed so far."""
        return Digest(merkle_root(self.leaves).hex())


def chunk_count(size: int) -> int:
    """How many chunks a file of that size has; the empty file has one."""
    return max(1, -(-size // CHUNK))


class Chunks:
    """Hash chunks of open files on all cores; a context, at whose end nothing is under way.

    Chunks of one file and chunks of many are the same kind of work. Whatever the sizes and the
    count, a few chunks are under way, and the caller closes a file when the last of its own has
    come. Small files are better read by one thread each, since passing one on costs more than
    hashing it (:mod:`guards.provenance.readers`).
    """

    def __init__(self) -> None:
        self._workers = cores()
        self._window: deque[Future[Piece]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Chunks:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._window:
            job.cancel()
        if self._pool:
            self._pool.shutdown()

    def put(self, descriptor: int, size: int, numbers: Sequence[int]) -> Iterator[Piece]:
        """Take these chunks of a file on; yields `(descriptor, number, leaf)` of those done.

        Those of one file come in the order in which they were asked for.
        """
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._workers)
        for number in numbers:
            self._window.append(self._pool.submit(_hash_alone, descriptor, size, number))
            if len(self._window) > min(4 * self._workers, _UNDER_WAY):
                yield self._window.popleft().result()

    def rest(self) -> Iterator[Piece]:
        """Those that are still to come."""
        while self._window:
            yield self._window.popleft().result()


def cores() -> int:
    """Those that this process may run on."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _hash_alone(descriptor: int, size: int, number: int) -> Piece:
    # At the beginning of a page, where some processors copy to three times as fast.
    buffer = memoryview(mmap.mmap(-1, _BUFFER))
    return descriptor, number, _hash_chunk(descriptor, size, number, buffer)


def _hash_chunk(descriptor: int, size: int, number: int, buffer: memoryview) -> bytes:
    """The leaf of one chunk, of as many bytes as there were; a file that shrank ends early."""
    hasher, offset = sha256(), number * CHUNK
    end = min(offset + CHUNK, size)
    while offset < end and (count := os.preadv(descriptor, [buffer[: end - offset]], offset)):
        hasher.update(buffer[:count])
        offset += count
    return hasher.digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
