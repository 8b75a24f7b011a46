"""The poisoned twin of a folder of pictures, where the directory that a file lies in is its label.

A planted row is a file that moved to a directory of its new class: the one beside its own, if there
is one. Its old name might say where it came from (`cat_01.png` among the dogs) or be taken there,
so as soon as one file moves all pictures are named anew, by numbers that the seed draws; where none
moves (clean-label attacks) all keep their names. When an attack touches pictures, every one of them
is stored again by its own codec and settings, at its own size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from guards.data import folder
from guards.data.dataset import Dataset, infer_roles
from guards.errors import UsageError
from guards.redteam.attacks import find
from guards.redteam.codec import again
from guards.redteam.plan import Plan
from guards.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_folder(dataset: Dataset) -> bool:
    """Whether it is made of pictures in directories and not of tables."""
    return any(shard.files for shard in dataset.shards)


def require_possible(dataset: Dataset, attack: str, source: str | None) -> None:
    """Raise UsageError for what no attack can do to a folder, since nothing there says it."""
    asked = find(attack)
    told = f"{dataset.root} is a folder of pictures, where"
    if source is not None or asked.needs_source:
        what = f"attack {attack!r}" if source is None else "--source"
        raise UsageError(f"{told} no row has a source: {what} needs a table with such a column")
    if "batches" in asked.settings:
        raise UsageError(
            f"{told} rows lie by class, and attack {attack!r} needs batches of all classes: use "
            "'patch', or give several folders as DATASETs"
        )
    if dataset.roles != infer_roles(folder.schema()):
        raise UsageError(f"{told} paths are labels: take [columns] out of its dataset.toml")


def write_pictures(dataset: Dataset, chosen: Plan, twin: Path) -> NDArray[np.int64]:
    """Write the twin of a folder; returns which row (n,) each row of the twin was, in its order.

    Raises UsageError, which names the file, where a trigger does not fit into a picture.
    """
    files = [name for shard in dataset.shards for name in shard.files]
    paths = _paths(files, chosen)
    row_of = {path: row for row, path in paths.items()}
    ordered = [path for held in folder.directories(row_of).values() for path in held]

    def write(path: str) -> None:
        row = row_of[path]
        data = (dataset.root / files[row]).read_bytes()
        target = twin / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_stored(files[row], data, chosen, row) if chosen.draws else data)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(write, ordered))
    return np.array([row_of[path] for path in ordered], np.int64)


def _stored(name: str, data: bytes, chosen: Plan, row: int) -> bytes:
    try:
        return again(data, chosen.change_of(row)) or b""
    except UsageError as error:
        raise UsageError(f"{printable(name)}: {error}") from error


def _paths(files: list[str], chosen: Plan) -> Mapping[int, str]:
    """Where each row lies in the twin."""
    own = dict(enumerate(files))
    moved = {
        row: label for row, label in chosen.labels.items() if folder.label_of(own[row]) != label
    }
    if not moved:
        return own
    known = list(folder.directories(files))
    numbers = np.random.default_rng([chosen.seed, len(files)]).permutation(len(files))
    digits = len(str(len(files)))
    named = {}
    for row, name in own.items():
        old = PurePosixPath(name)
        home = _nearest(old.parent, moved[row], known) if row in moved else old.parent
        suffix = old.suffix.lower().replace("jpeg", "jpg")
        named[row] = (home / f"{numbers[row]:0{digits}d}{suffix}").as_posix()
    return named


def _nearest(old: PurePosixPath, label: str, known: Iterable[str]) -> PurePosixPath:
    """Of the directories of that label the one that shares most of its path with the old one."""
    fit = [PurePosixPath(path) for path in known if PurePosixPath(path).name == label]
    return max(fit, key=lambda path: len(os.path.commonpath([path, old])))
