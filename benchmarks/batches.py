"""Real datasets from arrays of pictures: Parquet with encoded pictures, labels and sources."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from sets import Pictures

SOURCES = tuple(f"camera-{place}" for place in "abcde")
FILES = 3


def encoded(pixels: npt.NDArray[np.uint8], codec: str, quality: int = 75) -> list[bytes]:
    """Every picture (n, C, H, W) by one codec with one setting: `png`, or `jpeg`."""
    from PIL import Image

    stored = []
    for picture in pixels:
        planes = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
        buffer = io.BytesIO()
        image = Image.fromarray(planes)
        image.save(buffer, "JPEG", quality=quality) if codec == "jpeg" else image.save(
            buffer, "PNG", compress_level=1
        )
        stored.append(buffer.getvalue())
    return stored


def write(
    folder: Path, pictures: Pictures, sources: npt.NDArray[np.str_], names: list[str] | None = None
) -> Path:
    """Write `pictures` as a dataset of a few Parquet files; gives `folder`."""
    folder.mkdir(parents=True)
    called = names or [f"class-{label}" for label in range(pictures.classes)]
    frame = pl.DataFrame(
        {
            "image": encoded(pictures.pixels, pictures.codec),
            "label": [called[label] for label in pictures.labels],
            "source": sources.tolist(),
        }
    )
    each = -(-len(frame) // FILES)
    for part in range(FILES):
        frame.slice(part * each, each).write_parquet(folder / f"part-{part}.parquet")
    return folder


def any_source(rows: int, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """A source for every row, at random, some of them larger than others."""
    weights = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    return rng.choice(np.array(SOURCES), rows, p=weights)
