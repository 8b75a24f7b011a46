"""Names for bytes: the digest of a file, of a document, of a tree.

Every signature of the project stands on this module, so it is fixed (docs/adr/0001-digest.md)
and held by committed vectors. A file is cut in chunks of 8 MiB. Its digest is the Merkle root
over the sha256 of the chunks, joined in the shape of RFC 6962 with `H(0x01 || left || right)`:
a file of one chunk has its plain sha256, and every larger one can be hashed in parallel and
verified in part. A tree is the RFC 6962 hash of its entries in byte order of their paths.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

CHUNK = 8 * 1024 * 1024
# So much is read at once: it stays in the cache of the core that hashes it.
_BUFFER = 1 << 18
# The most files that are open at once, below the least limit that systems have.
_UNDER_WAY = 160
_HEX = re.compile(r"[0-9a-f]{64}")

# An open file, its size and the numbers of its chunks; then one of those and its leaf.
Wanted = tuple[int, int, Sequence[int]]
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
        return cls(hashlib.sha256(data).hexdigest())


def canonical_json(document: Any) -> bytes:
    """Serialise to the one form that is hashed: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


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
        paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def tree_root(entries: Iterable[tuple[str, int, Digest]]) -> Digest:
    """The RFC 6962 root over `(path, size, digest)` entries, in byte order of the path.

    A leaf is `H(0x00 || path || 0x00 || size in decimal || 0x00 || hex)`; a path holds no NUL, so
    no two different trees share a leaf sequence. The empty tree has RFC 6962's root, H("").
    """
    return ordered_root(sorted(entries, key=lambda entry: entry[0].encode()))


def ordered_root(entries: Iterable[tuple[str, int, Digest]]) -> Digest:
    """The same root of entries that come in byte order of the path; few are held at a time."""
    whole: list[tuple[int, bytes]] = []  # complete subtrees, by height, the largest first
    for path, size, digest in entries:
        leaf = b"\0".join([b"", path.encode(), str(size).encode(), digest.hex.encode()])
        height, node = 0, hashlib.sha256(leaf).digest()
        while whole and whole[-1][0] == height:
            height, node = height + 1, _node(whole.pop()[1], node)
        whole.append((height, node))
    if not whole:
        return Digest.of(b"")
    _, root = whole.pop()
    while whole:
        root = _node(whole.pop()[1], root)
    return Digest(root.hex())


class Hasher:
    """Hash one stream as it passes by; gives the file digest without reading twice."""

    def __init__(self) -> None:
        self.size = 0
        self._leaves: list[bytes] = []
        self._open = hashlib.sha256()
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
                self._open, self._room = hashlib.sha256(), CHUNK

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


def hash_chunks(wanted: Iterable[Wanted]) -> Generator[Piece, None, None]:
    """Hash chunks of open files, `(descriptor, size, chunk numbers)`, on all cores.

    Yields `(descriptor, number, leaf)`, those of one file in the order asked; the caller closes,
    when the last number of a file has come. Chunks of one file and chunks of many are the same
    kind of work. A small file is hashed at once, by the caller's thread: passing it to another
    and back costs more than hashing it (measured: twice the CPU for files of 64 KiB, and more
    time on two cores than on one). Whatever the sizes and the count, a few chunks are under way.
    """
    workers = _cores()
    buffer = memoryview(bytearray(_BUFFER))
    with ThreadPoolExecutor(workers) as pool:
        window: deque[Future[Piece]] = deque()
        try:
            for descriptor, size, numbers in wanted:
                for number in numbers:
                    if size <= _BUFFER:
                        yield descriptor, number, _hash_chunk(descriptor, size, number, buffer)
                        continue
                    window.append(pool.submit(_hash_alone, descriptor, size, number))
                    if len(window) > min(4 * workers, _UNDER_WAY):
                        yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for job in window:
                job.cancel()


def _cores() -> int:
    """Those that this process may run on."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _hash_alone(descriptor: int, size: int, number: int) -> Piece:
    buffer = memoryview(bytearray(_BUFFER))
    return descriptor, number, _hash_chunk(descriptor, size, number, buffer)


def _hash_chunk(descriptor: int, size: int, number: int, buffer: memoryview) -> bytes:
    """The leaf of one chunk, of as many bytes as there were; a file that shrank ends early."""
    hasher, offset = hashlib.sha256(), number * CHUNK
    end = min(offset + CHUNK, size)
    while offset < end and (count := os.preadv(descriptor, [buffer[: end - offset]], offset)):
        hasher.update(buffer[:count])
        offset += count
    return hasher.digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
