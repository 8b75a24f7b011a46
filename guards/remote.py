"""A dataset in an object store, `s3://bucket/train`: through fsspec, by the rules of a directory.

    s3://bucket/train/...                    objects; each is read once, from its start to its end
    s3://bucket/train.manifest.json          the claim, and its list, beside it as on a disk

Keys are no paths: a store may hold `a`, `a/b` and `../c` at once. So every key goes through the
rules of the walker before an object is opened, and what could not lie in a directory is refused by
name. An object that is replaced while it is read is told by its ETag. What is to be decoded comes
into a private copy, hashed as it is written.

Which URLs are taken is decided here and not by the libraries: no local schemes, which would walk
around the walker; no chains; no credentials, which end up in logs and manifests; no web servers,
which have no listing and redirect where they like. Keys to a store and its endpoint come from its
own environment (`AWS_PROFILE`, `AWS_ENDPOINT_URL`), and no message repeats what a library said.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from guards.digest import CHUNK, Hasher
from guards.errors import NothingToExamine, UsageError
from guards.files import MAX_DOCUMENT
from guards.private import private
from guards.provenance.listing import MAX_BYTES, MAX_ENTRIES
from guards.provenance.snapshot import (
    TOO_LARGE,
    Difference,
    Entry,
    Look,
    Snapshot,
    Walked,
    name_refusal,
    stage,
    take,
    twins,
)
from guards.text import printable

if TYPE_CHECKING:
    from concurrent.futures import Future

SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"})
_WITH_ACCOUNT = frozenset({"abfs", "abfss"})  # container@account, which is no credential
_WORKERS = 8
_LOOK = Look()
# What lies beside a dataset, and the most that it may weigh.
BESIDE = {
    ".manifest.json": MAX_DOCUMENT,
    ".manifest.files.jsonl": MAX_BYTES,
    ".profile": MAX_DOCUMENT,
    ".dataset.toml": MAX_DOCUMENT,
}
_OF_CHANGE = ("size", "ETag", "etag", "LastModified", "mtime", "generation", "version")


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of a store: its path in the dataset, its key, and what the store says of it."""

    path: str
    key: str
    size: int
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A dataset in a store; `url` may be shown, since one with credentials is never taken."""

    url: str
    key: str
    _store: Any

    @property
    def name(self) -> str:
        """What the dataset would be called on a disk."""
        return PurePosixPath(self.key).name

    def take(self, most: int | None = None, look: Look = _LOOK) -> Walked:
        """Name the bytes as they lie in the store; at most `most` are read, each once."""
        return self._walk(most, look, None)

    def stage(self, into: Path, most: int | None = None, look: Look = _LOOK) -> Walked:
        """Copy the objects into the private, empty directory `into`; what is named is the copy."""
        return self._walk(most, look, into)

    def single(self) -> bool:
        """Whether the dataset is one object."""
        with _told(self.url):
            return bool(self._store.isfile(self.key))

    def document(self, suffix: str, into: Path, most: int = MAX_DOCUMENT) -> Path | None:
        """Fetch what lies beside the dataset, `NAME` and a suffix, into a directory; if it does."""
        target = into / f"{self.name}{suffix}"
        with _told(self.url + suffix):
            key = self.key + suffix
            if not self._store.isfile(key):
                return None
            if self._store.info(key)["size"] > most:
                raise UsageError(f"{self.url}{suffix}: larger than {most} bytes")
            with (
                self._store.open(key, "rb", cache_type="none") as source,
                target.open("xb") as copy,
            ):
                for data in _blocks(source, most):
                    copy.write(data)
        return target

    def put(self, path: Path, suffix: str) -> str:
        """Write what was made here beside the dataset; returns its URL."""
        with _told(self.url + suffix):
            self._store.put_file(str(path), self.key + suffix)
        return self.url + suffix

    def _walk(self, most: int | None, look: Look, into: Path | None) -> Walked:
        unsafe: list[Difference] = []
        claimed = {entry.path: entry for entry in look.claimed.files}
        files = []
        wanted = _fitting(self._objects(unsafe), most, unsafe)
        for entry in _read_all(self._store, wanted, look, into, unsafe, self.url):
            files.append(claimed[entry.path] if claimed.get(entry.path) == entry else entry)
        ordered = tuple(sorted(files, key=lambda entry: entry.path.encode()))
        told = tuple(sorted(unsafe, key=lambda problem: problem.path))
        return Walked(snapshot=Snapshot(files=ordered), unsafe=told)

    def _objects(self, unsafe: list[Difference]) -> list[_Object]:
        """The objects that may be opened, in order of their paths; the others go to `unsafe`."""
        with _told(self.url):
            self._store.invalidate_cache()
            listed = self._store.find(self.key, detail=True)
        if len(listed) > MAX_ENTRIES:
            raise UsageError(f"{self.url}: more than {MAX_ENTRIES} objects")
        prefix = self.key + "/"
        inside = {key.removeprefix(prefix): i for key, i in listed.items() if key != prefix}
        if list(listed) == [self.key]:
            inside = {self.name: listed[self.key]}
        elif foreign := [key for key in listed if not key.startswith(prefix)]:
            told = printable(foreign[0])[:80]
            raise UsageError(f"{self.url}: is a directory, and the store has an object {told}, too")
        if not inside:
            raise NothingToExamine(f"{self.url}: there is no object at or below it")
        return list(_safe(inside, unsafe))


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A dataset that is here, or in a store: where it lies or would lie, and how it is looked at.

    Of one in a store there is nothing at `path` but what lies beside it: its claim and the like.
    """

    path: Path
    remote: Remote | None = None

    @property
    def look(self) -> Callable[[Path, int | None, Look], Walked]:
        """As `snapshot.take`, for these bytes."""
        if (remote := self.remote) is None:
            return take
        return lambda path, most, look: remote.take(most, look)

    @property
    def copy(self) -> Callable[[Path, Path, int | None], Walked]:
        """As `snapshot.stage`, for these bytes."""
        if (remote := self.remote) is None:
            return stage
        return lambda path, into, most: remote.stage(into, most)


@contextmanager
def located(dataset: str | Path) -> Iterator[Located]:
    """A dataset by its path or its URL; what lies beside one in a store is fetched for a while."""
    if not is_url(str(dataset)) or isinstance(dataset, Path):
        yield Located(path=Path(dataset))
        return
    remote = open_remote(str(dataset))
    with private() as apart:
        place = apart / remote.name
        for suffix, most in BESIDE.items():
            remote.document(suffix, place.parent, most)
        if remote.single():
            place.touch()
        else:
            place.mkdir(mode=0o700)
        yield Located(path=place, remote=remote)


def is_url(text: str) -> bool:
    """Whether a dataset is named by a URL, and not by a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)", text) is not None


def open_remote(url: str) -> Remote:
    """A dataset in a store.

    Raises:
        UsageError: the URL is not one that is taken, or its library is not installed.
    """
    scheme = _taken(url)
    try:
        import fsspec

        # Two datasets never share what was listed or who was asked.
        store = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
        key = store._strip_protocol(url).rstrip("/")
    except ImportError as error:
        told = f"{scheme}:// needs a library: pip install 'toadstone[remote]' has that of s3://"
        raise UsageError(told) from error
    if "/" not in key:
        raise UsageError(f"{printable(url)}: is a whole bucket; name a dataset in it")
    return Remote(url=url.rstrip("/"), key=key, _store=store)


def _taken(url: str) -> str:
    """The scheme of a URL that may be read; the URL is shown only after it is known to be clean."""
    scheme = url.partition(":")[0].lower()
    if "::" in url or scheme not in SCHEMES:
        known = ", ".join(sorted(SCHEMES))
        told = "fetch the files, or give a path" if scheme in ("http", "https") else "give a path"
        raise UsageError(
            f"{printable(scheme)}: datasets are read from {known}; {told} for anything else"
        )
    parts = urlsplit(url)
    named = parts.username is not None and scheme not in _WITH_ACCOUNT
    if named or parts.password is not None or parts.query or "#" in url or "?" in url:
        raise UsageError(
            f"{scheme}://...: a URL with credentials, a query or a fragment is not taken; keys "
            "come from the environment, and the claim's digests name the version"
        )
    if not parts.netloc or any(
        part in ("", ".", "..") for part in parts.path.strip("/").split("/")
    ):
        raise UsageError(f"{printable(url)}: not of the form {scheme}://bucket/dataset")
    return scheme


def _safe(inside: Mapping[str, Mapping[str, Any]], unsafe: list[Difference]) -> Iterator[_Object]:
    """Keys under the rules for paths, as if each `/` in them were a directory."""
    names, full = _tree(inside)
    refused = {
        (directory, name) for directory, found in names.items() for name in twins(sorted(found))
    }
    for relative in sorted(inside):
        info, path = inside[relative], unicodedata.normalize("NFC", relative)
        if relative.endswith("/") or info.get("type") == "directory":
            if info["size"] or relative.rstrip("/") not in full:
                code = "special-file" if info["size"] else "empty-directory"
                unsafe.append(Difference(code=code, path=path.rstrip("/")))
        elif code := _refusal(relative, refused, full):
            unsafe.append(Difference(code=code, path=path))
        elif info.get("type") != "file":
            unsafe.append(Difference(code="special-file", path=path))
        else:
            yield _Object(path, info["name"], info["size"], info)


def _tree(paths: Iterable[str]) -> tuple[Mapping[str, set[str]], set[str]]:
    """The names in each directory, and the directories that have any."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        parts = path.rstrip("/").split("/")
        for depth, name in enumerate(parts):
            names["/".join(parts[:depth])].add(name)
    return names, {directory for directory in names if directory}


def _refusal(relative: str, refused: set[tuple[str, str]], full: set[str]) -> str:
    """Why an object is not to be opened, or nothing."""
    parts = relative.split("/")
    for depth, name in enumerate(parts):
        here = "/".join(parts[:depth])
        last = depth == len(parts) - 1
        path = unicodedata.normalize("NFC", "/".join(parts[: depth + 1]))
        if (here, name) in refused or (last and relative in full):
            return "name-collision"
        if code := name_refusal(name, path, stat.S_IFREG if last else stat.S_IFDIR):
            return code
    return ""


def _fitting(
    objects: Iterable[_Object], most: int | None, unsafe: list[Difference]
) -> Iterator[_Object]:
    left = most
    for one in objects:
        if left is not None and one.size > left:
            wanted, actual = f"no more than {left} bytes", f"{one.size} bytes, which were not read"
            unsafe.append(Difference(code=TOO_LARGE, path=one.path, expected=wanted, actual=actual))
            continue
        left = left if left is None else left - one.size
        yield one


def _read_all(
    store: Any,
    objects: Iterable[_Object],
    look: Look,
    into: Path | None,
    unsafe: list[Difference],
    url: str,
) -> Iterator[Entry]:
    """The entries of the objects, some at a time; what moved meanwhile goes to `unsafe`."""
    from concurrent.futures import ThreadPoolExecutor

    def done(job: Future[tuple[Entry | None, Difference | None]]) -> Iterator[Entry]:
        with _told(url):
            entry, problem = job.result()
        unsafe.extend([problem] if problem else [])
        yield from [entry] if entry else []

    with ThreadPoolExecutor(_WORKERS) as pool:
        window: deque[Future[tuple[Entry | None, Difference | None]]] = deque()
        try:
            for one in objects:
                window.append(pool.submit(_read, store, one, look.tick, into))
                if len(window) > 2 * _WORKERS:
                    yield from done(window.popleft())
            while window:
                yield from done(window.popleft())
        finally:
            for job in window:
                job.cancel()


def _read(
    store: Any, one: _Object, tick: Callable[[int], None], into: Path | None
) -> tuple[Entry | None, Difference | None]:
    """Read one object to its end, into a file if there is a place for it, and name the bytes."""
    hasher = Hasher()
    moved = Difference(code="changed-while-read", path=one.path)
    with _target(into, one.path) as write:
        try:
            with store.open(one.key, "rb", block_size=CHUNK, cache_type="none") as source:
                for data in _blocks(source, one.size):
                    hasher.update(data)
                    write(data)
                    tick(len(data))
            after = store.info(one.key)
        except FileNotFoundError:
            return None, moved
        except OSError as error:
            # A store that is asked for the ETag it listed, and has another one now, says no.
            if "recondition" in f"{type(error).__name__} {error}":
                return None, moved
            raise
    if hasher.size != one.size or any(one.info.get(k) != after.get(k) for k in _OF_CHANGE):
        return None, moved
    digest = hasher.digest()
    chunks = hasher.leaves if len(hasher.leaves) > 1 else ()
    return Entry(path=one.path, size=one.size, digest=digest, chunks=chunks), None


def _blocks(source: Any, most: int) -> Iterator[bytes]:
    """At most `most` bytes, a chunk at a time."""
    while most > 0 and (data := source.read(min(CHUNK, most))):
        most -= len(data)
        yield data


@contextmanager
def _target(into: Path | None, path: str) -> Iterator[Callable[[bytes], object]]:
    """Where the bytes of a file go: nowhere, or to a new file below a private directory."""
    if into is None:
        yield lambda data: None
        return
    target = into / path
    with _room(path, into):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy = target.open("xb", buffering=0)  # nothing is left to be written as it is closed

    def write(data: bytes) -> None:
        left = memoryview(data)
        with _room(path, into):
            while left:
                left = left[copy.write(left) :]

    with copy:
        yield write


@contextmanager
def _room(path: str, into: Path) -> Iterator[None]:
    """Tell a full disk here from a store that fails."""
    try:
        yield
    except OSError as error:
        told = f"cannot copy {printable(path)}: {error.strerror}"
        raise UsageError(f"{told}; is there room in {into.parent}?") from error


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Say what failed and where, and nothing of what a library says: it may know keys."""
    try:
        yield
    except (UsageError, NothingToExamine):
        raise
    except FileNotFoundError as error:
        raise UsageError(f"{printable(url)}: there is no such object") from error
    except Exception as error:
        told = f"{printable(url)}: cannot be read or written ({type(error).__name__})"
        raise UsageError(f"{told}; is the store reachable, and are its keys set?") from None
