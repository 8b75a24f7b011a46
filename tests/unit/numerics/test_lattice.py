"""The quantisation lattice: held against the tables of a real encoder and scipy's transform."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from guards.numerics import lattice


def scenes(count, shape=(32, 32), channels=3, seed=0):
    """Smooth noise with a little texture: pictures without an encoder's trace, nothing clipped."""
    rng = np.random.default_rng(seed)
    coarse = gaussian_filter(rng.normal(size=(count, channels, *shape)), (0, 0, 2, 2)) * 240
    fine = gaussian_filter(rng.normal(size=(count, channels, *shape)), (0, 0, 0.6, 0.6)) * 20
    return np.clip(128 + coarse + fine, 20, 235).astype(np.uint8)


def through(pixels, quality):
    """Every picture as it comes back from JPEG."""
    out = []
    for picture in pixels:
        planes = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(planes)).save(buffer, "JPEG", quality=quality)
        out.append(np.atleast_3d(np.asarray(Image.open(buffer))).transpose(2, 0, 1))
    return np.stack(out)


def table(quality):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer).quantization[0])


@pytest.fixture(scope="module")
def plain():
    return scenes(200)


@pytest.fixture(scope="module")
def stored(plain):
    return through(plain, 75)


def test_the_transform_is_the_orthonormal_cosine_transform():
    block = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    ours = (block.reshape(1, 64) @ lattice._transform().T).reshape(8, 8)
    np.testing.assert_allclose(ours, dctn(block, norm="ortho"), atol=1e-5)


@pytest.mark.parametrize("quality", [60, 75])
def test_steps_are_those_of_the_encoder(plain, quality):
    steps = lattice.quantisation(through(plain, quality))
    true = table(quality)
    told = steps > 0
    # Low frequencies are seldom zero and so are known best.
    low = np.add.outer(np.arange(8), np.arange(8)).ravel() < 4
    assert (told & low).sum() >= 9
    np.testing.assert_array_equal(steps[told & low], true[told & low])


def test_pictures_that_never_were_jpeg_have_no_lattice(plain):
    assert lattice.quantisation(plain) is None


@pytest.mark.parametrize("shape", [(8, 8), (15, 40)])
def test_pictures_too_small_to_tell_have_no_lattice(shape):
    assert lattice.quantisation(np.zeros((5, 1, *shape), np.uint8)) is None


def test_no_pictures_have_no_lattice():
    assert lattice.quantisation(np.zeros((0, 1, 32, 32), np.uint8)) is None


def test_black_pictures_have_no_lattice():
    assert lattice.quantisation(np.zeros((50, 3, 32, 32), np.uint8)) is None


def test_edited_rows_leave_the_lattice_and_storing_again_returns_them(stored):
    steps = lattice.quantisation(stored)
    rng = np.random.default_rng(1)
    veiled = np.rint(0.9 * stored + 0.1 * rng.integers(0, 256, stored.shape[1:])).astype(np.uint8)
    kept = np.median(lattice.misfits(stored, steps), axis=1)
    left = np.median(lattice.misfits(veiled, steps), axis=1)
    again = np.median(lattice.misfits(through(veiled, 75), steps), axis=1)
    assert left.min() > 2 * np.quantile(kept, 0.99)
    assert np.median(again) < 1.5 * np.median(kept)


def test_an_edit_in_one_corner_breaks_the_block_there_alone(stored):
    steps = lattice.quantisation(stored)
    stamped = stored[:5].copy()
    stamped[..., 27:30, 27:30] = np.where(np.indices((3, 3)).sum(0) % 2, 200, 40)
    before, after = lattice.misfits(stored[:5], steps), lattice.misfits(stamped, steps)
    assert (after[:, -1] > 5 * before[:, -1]).all()
    np.testing.assert_array_equal(after[:, :-1], before[:, :-1])


def test_blocks_that_the_edge_cuts_are_looked_at(plain):
    cut = through(plain[..., :28, :28], 75)
    steps = lattice.quantisation(cut)
    found = lattice.misfits(cut, steps)
    assert found.shape == (len(cut), 16)
    stamped = cut.copy()
    stamped[..., 25:27, 25:27] = np.where(np.indices((2, 2)).sum(0) % 2, 200, 40)
    assert np.median(lattice.misfits(stamped, steps)[:, -1]) > np.median(found[:, -1])


def test_clipped_pixels_are_no_edit():
    bright = np.clip(scenes(200).astype(int) + 90, 0, 255).astype(np.uint8)
    mixed = np.concatenate([scenes(200, seed=1), bright])
    back = through(mixed, 75)
    steps = lattice.quantisation(back)
    apart = np.median(lattice.misfits(back[200:], steps), axis=1)
    assert np.quantile(apart, 0.95) < 2
