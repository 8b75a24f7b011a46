"""Make `fashion/` and `fashion-holdout/`: small, lossless, class-balanced parts of Fashion-MNIST.

Reads the idx files of Debian's package `dataset-fashion-mnist` (or any folder that holds them):

    python data_samples/make_fashion.py [--origin FOLDER] [--out FOLDER]

The same library versions write the same bytes each time. The first training images of each class
are taken, in an order shuffled by a fixed seed; `source` is drawn at random by the same seed and
so has nothing to do with label or picture, which is what a clean dataset should look like.
"""

from __future__ import annotations

import argparse
import gzip
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ORIGIN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
SOURCES = ("studio-a", "studio-b", "studio-c", "studio-d", "studio-e")
SEED = 20130817


def idx(path: Path) -> np.ndarray:
    """The uint8 array of one idx file: magic 0x0000 08 ndim, then the big-endian shape."""
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def chosen(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """The first `per_class` rows of every class, shuffled."""
    rows = [np.flatnonzero(labels == k)[:per_class] for k in range(len(CLASSES))]
    return rng.permutation(np.concatenate(rows))


def table(images: np.ndarray, labels: np.ndarray, part: str, per_class: int) -> pa.Table:
    """The rows as `id, image{bytes, path}, label, source`; ids name the row of the origin."""
    rng = np.random.default_rng(SEED)
    rows = chosen(labels, per_class, rng)
    sources = rng.choice(SOURCES, len(rows))
    ids = [f"{part}-{row:05d}" for row in rows]
    pictures = [
        {"bytes": png(images[row]), "path": f"{name}.png"}
        for row, name in zip(rows, ids, strict=True)
    ]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table(
        {
            "id": ids,
            "image": pa.array(pictures, image),
            "label": [CLASSES[k] for k in labels[rows]],
            "source": sources.tolist(),
        }
    )


def write(whole: pa.Table, folder: Path, shards: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bounds = np.linspace(0, whole.num_rows, shards + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(bounds)):
        shard = whole.slice(start, stop - start)
        pq.write_table(shard, folder / f"part-{number:03d}.parquet", compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--origin", type=Path, default=ORIGIN)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    parts = (("train", "fashion", 600, 2), ("t10k", "fashion-holdout", 50, 1))
    for part, folder, per_class, shards in parts:
        images = idx(given.origin / f"{part}-images-idx3-ubyte.gz")
        labels = idx(given.origin / f"{part}-labels-idx1-ubyte.gz")
        write(table(images, labels, part, per_class), given.out / folder, shards)


if __name__ == "__main__":
    main()
