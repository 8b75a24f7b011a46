"""Pictures of a dataset as one array, once they came to no harm elsewhere (`guards.data.trial`).

The picture is what a training job would see after `Image.open(...).convert("RGB")`: transparency
is dropped rather than composited, since pixels that hide behind alpha are trained on too. Two
passes are made. The first reads only headers, and so knows sizes and modes before anything is
inflated; the second decodes into one array that was allocated for them. Every row that cannot be
decoded is told by its number, and none of them stops the others.

What may be decoded at all says :mod:`guards.data.pictures`. The orientation that EXIF claims is not
applied to any picture, as it is not by `Image.open`.

Pictures of unlike sizes are brought to one size, see :func:`working_size`. Each is stretched to it:
a corner stays a corner, and a mark of so many hundredths of the width stays one, which padding or
cropping would move from picture to picture. It blurs, all the same, so a window of pixels in each
corner is kept as it was: :mod:`guards.data.corners`.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from guards.data.corners import corner_room, corners_of
from guards.data.dataset import Dataset
from guards.data.pictures import GREY, MAX_PIXELS, open_picture, quiet, stored_bytes
from guards.digest import cores
from guards.errors import Unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

BUDGET = 1 << 31  # bytes of the decoded array
AT_ONCE = 2 * MAX_PIXELS  # pixels that all threads together decode; ten bytes each, at the worst
_LITTLE = 1 << 16  # of pictures so small no thread waits for another
WORKING = 128  # pixels a side, at most, of pictures of unlike sizes
BATCH, ENCODED = 4096, 1 << 26  # rows, and bytes, of encoded pictures in memory at once
_DEEP = GREY - {"1", "L", "LA", "La"}
_BILINEAR = 2  # PIL.Image.Resampling.BILINEAR, which averages over what it shrinks
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """All pictures that decoded, at one size.

    `pixels` is (n, C, H, W) uint8, C = 1 when every picture is grey, else 3. `rows` (n,) int64
    are their global row numbers, ascending. `digests` (n,) uint64 name the decoded pixels before
    any resizing. `failed` holds `(row, why)`. `sizes` counts `(width, height)` and `modes`
    Pillow's modes, as stored. Pictures of another size than the :func:`working_size` are resized
    to it, bilinearly (which averages over what it shrinks) and without keeping their proportions,
    as a fixed-size training job would. Where there is more than one size, `corners`
    (n, ANCHORS, side, side) uint8 are the windows of :mod:`guards.data.corners`, not resized.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    digests: NDArray[np.uint64]
    failed: tuple[tuple[int, str], ...]
    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    corners: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class _Head:
    size: tuple[int, int]
    mode: str


def decode(dataset: Dataset, *, budget: int = BUDGET) -> Images:
    """Decode every picture of `dataset`, in threads.

    Where the array would exceed `budget` bytes, all pictures are shrunk by the smallest whole
    factor that fits; a quarter more is for the corners. Raises Unreadable when the image column
    holds no bytes at all.
    """
    with ThreadPoolExecutor(cores()) as pool, quiet():
        heads = list(_each(pool, dataset, lambda _, data: _head(data)))
        good = {row: head for row, head in enumerate(heads) if isinstance(head, _Head)}
        sizes = Counter(head.size for head in good.values())
        modes = Counter(head.mode for head in good.values())
        pixels = _room(len(good), sizes, modes, budget)
        corners = corner_room(len(good), budget // 4) if len(sizes) > 1 else None
        places = {
            row: (pixels[place], None if corners is None else corners[place])
            for place, row in enumerate(good)
        }
        look = partial(_fill, places, heads, Room(AT_ONCE))
        told = list(_each(pool, dataset, look))
    failed = {row: why for row, why in enumerate(told) if isinstance(why, str)}
    kept = [row for row in good if row not in failed]
    if len(kept) < len(good):
        whole = [row not in failed for row in good]
        pixels, corners = pixels[whole], None if corners is None else corners[whole]
    return Images(
        pixels=pixels,
        rows=np.array(kept, np.int64),
        digests=np.array([told[row] for row in kept], np.uint64),
        failed=tuple(failed.items()),
        sizes=sizes,
        modes=modes,
        corners=corners,
    )


def batches(dataset: Dataset) -> Iterator[tuple[int, list[bytes | None]]]:
    """The stored bytes of the pictures as `(first row, bytes)`; None where a row has none."""
    start = 0
    for values in dataset.batches(str(dataset.roles.image), BATCH, ENCODED):
        yield start, stored_bytes(values)
        start += len(values)


def normal(picture: Image.Image) -> Image.Image:
    """The picture in mode L when it is grey, else RGB; 16 bits keep their upper 8."""
    from PIL import Image

    if picture.mode in _DEEP:
        # Pillow's own conversion would clip everything above 255 to white.
        return Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
    return picture.convert("L" if picture.mode in GREY else "RGB")


def _each(
    pool: ThreadPoolExecutor, dataset: Dataset, look: Callable[[int, bytes | None], T]
) -> Iterator[T | str]:
    """Look at every row's bytes, in order; the reason, as a string, where that fails."""
    for start, batch in batches(dataset):
        rows = range(start, start + len(batch))
        yield from pool.map(partial(_told, look), rows, batch)


def _told(look: Callable[[int, bytes | None], T], row: int, data: bytes | None) -> T | str:
    try:
        return look(row, data)
    except Exception as error:  # decoders raise a zoo on hostile bytes: OSError, SyntaxError, ...
        name = "" if isinstance(error, Unreadable) else f"{type(error).__name__}: "
        return f"{name}{error}"


def _head(data: bytes | None) -> _Head:
    picture = open_picture(data)
    return _Head(picture.size, picture.mode)


def _room(
    count: int, sizes: Counter[tuple[int, int]], modes: Counter[str], budget: int
) -> NDArray[np.uint8]:
    """Zeros (n, C, H, W) at the working size, shrunk until they fit the budget."""
    channels = 1 if modes.keys() <= GREY else 3
    width, height = working_size(sizes)
    factor = 1
    while count * channels * -(-width // factor) * -(-height // factor) > budget and factor < width:
        factor += 1
    return np.zeros((count, channels, -(-height // factor), -(-width // factor)), np.uint8)


def working_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """The `(width, height)` at which pictures of these sizes, with their counts, are compared.

    The size that at least half of them have. Where there is none, the median width and the median
    height, of which half of the rows have no less, each at most :data:`WORKING`: between pictures
    of unlike sizes nothing smaller than that can be compared pixel by pixel. (1, 1) for none.
    """
    total = sizes.total()
    if not total:
        return 1, 1
    common = max(sizes, key=lambda size: (sizes[size], -size[0] * size[1], size))
    if 2 * sizes[common] >= total:
        return common
    width, height = (_median(_sides(sizes, side)) for side in (0, 1))
    return min(width, WORKING), min(height, WORKING)


def _sides(sizes: Counter[tuple[int, int]], side: int) -> Counter[int]:
    counted: Counter[int] = Counter()
    for size, rows in sizes.items():
        counted[size[side]] += rows
    return counted


def _median(counts: Counter[int]) -> int:
    """The upper median of values that occur so often."""
    left = counts.total() // 2
    for value in sorted(counts):
        if counts[value] > left:
            return value
        left -= counts[value]
    return max(counts)


class Room:
    """So much of something for all threads: who needs more than is left waits for the others.

    Machines have more cores than memory for a picture of MAX_PIXELS on each, some by far.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._changed = threading.Condition()

    @contextmanager
    def of(self, share: int) -> Iterator[None]:
        """Hold a share, or all of it where the share is larger."""
        share = min(share, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= share)
            self._left -= share
        try:
            yield
        finally:
            with self._changed:
                self._left += share
                self._changed.notify_all()


def _fill(
    places: Mapping[int, tuple[NDArray[np.uint8], NDArray[np.uint8] | None]],
    heads: Sequence[_Head | str],
    room: Room,
    row: int,
    data: bytes | None,
) -> int:
    """Decode one picture into its places; returns the digest of its pixels."""
    head = heads[row]
    if isinstance(head, str):
        raise Unreadable(head)
    pixels = head.size[0] * head.size[1]
    with room.of(pixels) if pixels > _LITTLE else nullcontext():
        return _decoded(*places[row], data)


def _decoded(
    place: NDArray[np.uint8], corners: NDArray[np.uint8] | None, data: bytes | None
) -> int:
    channels, height, width = place.shape
    picture = normal(open_picture(data)).convert("L" if channels == 1 else "RGB")
    digest = hashlib.blake2b(picture.tobytes(), digest_size=8, person=b"%dx%d" % picture.size)
    if corners is not None:
        corners[:] = corners_of(picture, corners.shape[-1])
    if picture.size != (width, height):
        picture = picture.resize((width, height), _BILINEAR)
    place[:] = np.asarray(picture).reshape(height, width, channels).transpose(2, 0, 1)
    return int.from_bytes(digest.digest(), "big")


def greyed(stored: Sequence[bytes | None], side: int) -> list[NDArray[np.uint8] | None]:
    """Each picture as grey pixels (side, side), stretched; None where it cannot be decoded."""

    def grey(data: bytes | None) -> NDArray[np.uint8] | None:
        try:
            picture = normal(open_picture(data)).convert("L")
            return np.asarray(picture.resize((side, side), _BILINEAR))
        except Exception:  # decoders raise a zoo on hostile bytes; rule `images` says which
            return None

    with quiet():
        return [grey(data) for data in stored]
