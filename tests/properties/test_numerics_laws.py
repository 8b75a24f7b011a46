"""Laws of the numerics on pictures, minorities and fused p-values, with a slow version of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, silhouette_score

from guards.numerics import lattice, patches, shared_waves
from guards.numerics.clusters import silhouette_two, split_apart, split_two
from guards.numerics.fusion import benjamini_yekutieli, cauchy
from guards.numerics.minorities import class_structure
from guards.numerics.near_copies import families
from guards.numerics.projection import project
from guards.numerics.recovery import recover, stamp
from guards.numerics.screen_null import LEAST_P, ROWS, upper_tail
from guards.numerics.spectrum import orthonormal
from guards.numerics.twins import NEAREST, twins

some = settings(max_examples=20, deadline=None)
few = settings(max_examples=5, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed):
    return np.random.default_rng(seed)


def smooth(rng, many, side=16, channels=1):
    """Pictures of a few large blobs, as photographs are, from 40 to 215."""
    coarse = rng.uniform(40, 215, (many, channels, 4, 4))
    return np.kron(coarse, np.ones((side // 4, side // 4))).astype(np.uint8)


def partition(codes):
    """Which rows share a code, whatever the codes are called."""
    return np.equal.outer(codes, codes)


def turned(rng, columns):
    """A rotation of so many columns."""
    return np.linalg.qr(rng.normal(size=(columns, columns)))[0]


# recovery


@few
@given(seeds)
def test_a_mirrored_batch_shows_the_mirrored_trigger(seed):
    rng = drawn(seed)
    like = np.stack([smooth(rng, 5) for _ in range(30)])
    held = like[:, 0].copy()
    held[:, :, 2:5, 9:13] = rng.integers(0, 2, (3, 4)) * 255
    plain, mirrored = (recover(held[..., ::step], like[..., ::step], drawn(1)) for step in (1, -1))
    assert plain is not None
    assert mirrored is not None
    assert np.array_equal(mirrored.mask, plain.mask[:, ::-1])
    assert mirrored.pattern == pytest.approx(plain.pattern[..., ::-1])
    assert mirrored.opacity == pytest.approx(plain.opacity)
    others = recover(held, like[:, ::-1], drawn(1))
    assert others is not None
    assert others.pattern == pytest.approx(plain.pattern), "pictures alike have no order"


@few
@given(seeds)
def test_a_stamp_is_the_model_pixel_by_pixel(seed):
    """x' = (1 - a m) x + what the trigger adds, rounded to a grey level."""
    rng = drawn(seed)
    like = np.stack([smooth(rng, 5) for _ in range(30)])
    held = like[:, 0].copy()
    held[:, :, 2:5, 9:13] = 255 * (np.indices((3, 4)).sum(0) % 2)
    found, pixels = recover(held, like, drawn(1)), smooth(rng, 3)
    assert found is not None
    stamped = stamp(pixels, found)
    for row, _, top, left in np.ndindex(pixels.shape):
        x = float(pixels[row, 0, top, left])
        share = found.opacity if found.mask[top, left] else 0.0
        wanted = min(max((1 - share) * x + found.added[0, top, left], 0), 255)
        assert abs(stamped[row, 0, top, left] - wanted) <= 0.5 + 1e-9


# minorities


@few
@given(seeds)
def test_minorities_know_no_order_of_rows_no_names_of_classes_and_no_units(seed):
    rng = drawn(seed)
    labels = rng.permutation(np.repeat(np.arange(3), 80))
    rows = rng.normal(size=(240, 6)) + labels[:, None]
    rows[np.flatnonzero(labels == 1)[:12], 0] += 9
    order, names = rng.permutation(240), rng.permutation(3)

    def seen(points, codes):
        return class_structure(torch.as_tensor(points), codes, 3, drawn(0), draws=0)

    plain = seen(rows, labels)
    again = seen(7 * rows[order] + 3, names[labels][order])
    for one, other in ((plain.spectral, again.spectral), (plain.cluster, again.cluster)):
        assert other.statistic[names] == pytest.approx(one.statistic, rel=1e-3)
        assert (other.member == one.member[order]).mean() > 0.98
    assert again.silhouette[names] == pytest.approx(plain.silhouette, rel=1e-3)
    assert plain.cluster.statistic.argmax() == 1


# screen_null


@some
@given(seeds, st.sampled_from(sorted(ROWS)), st.integers(0, 1))
def test_tails_fall_with_the_statistic_and_know_no_order_of_classes(seed, rank, kind):
    rng = drawn(seed)
    rows = rng.integers(ROWS[rank][0], 5000, 12)
    heaviness = rng.uniform(0.5, 4, 12)
    lower, higher = np.sort(rng.uniform(0, 8, (2, 12)), axis=0)
    tails = [upper_tail(kind, each, rows, rank, heaviness) for each in (lower, higher)]
    assert (tails[1] <= tails[0]).all()
    assert tails[1].min() >= LEAST_P
    assert tails[0].max() <= 1
    order = rng.permutation(12)
    mixed = upper_tail(kind, lower[order], rows[order], rank, heaviness[order])
    assert mixed == pytest.approx(tails[0][order], rel=1e-12)
    alone = [
        upper_tail(kind, lower[i : i + 1], rows[i : i + 1], rank, heaviness[i : i + 1])[0]
        for i in range(12)
    ]
    assert tails[0] == pytest.approx(alone, rel=1e-12), "each class by itself"


# projection


@some
@given(seeds, st.floats(0.01, 100))
def test_a_class_laid_flat_has_no_axes_and_no_unit(seed, scale):
    rng = drawn(seed)
    rows, held = rng.normal(size=(120, 5)) * [3, 2, 1, 1, 1], np.arange(120) < 20
    rows[held, 2] += 3
    plain = project(rows, held, drawn(1))
    again = project(scale * rows @ turned(rng, 5) + 4, held, drawn(1))
    assert plain is not None
    assert again is not None
    assert again.along == pytest.approx(plain.along, abs=1e-3)
    # The sign of an axis is that of its largest loading, which a rotation may turn.
    sign = np.sign(again.across @ plain.across)
    assert sign * again.across == pytest.approx(plain.across, abs=1e-3)
    assert plain.auc == pytest.approx(roc_auc_score(held, plain.along))
    assert project(rows[:24], held[:24], drawn(1)) is None, "four others are too few"


# patches


@some
@given(seeds, st.integers(1, 4))
def test_cells_know_no_order_of_rows_and_rows_that_stand_twice_count_twice(seed, least):
    rng = drawn(seed)
    codes = rng.integers(0, 3, (40, 2, 3))
    labels, looks, flips = rng.integers(0, 3, 40), rng.integers(0, 3, 40), rng.random(40) < 0.4
    plain = patches.turn_rates(codes, labels, looks, flips, least=least)
    order = rng.permutation(40)
    mixed = patches.turn_rates(codes[order], labels[order], looks[order], flips[order], least=least)
    assert np.array_equal(mixed, plain)
    twice = np.repeat(np.arange(40), 2)
    doubled = patches.turn_rates(
        codes[twice], labels[twice], looks[twice], flips[twice], least=2 * least
    )
    assert np.array_equal(doubled[:, :4], plain[:, :4])
    assert np.array_equal(doubled[:, 4:], 2 * plain[:, 4:])
    assert (plain[:, 5] <= plain[:, 4]).all()


@some
@given(seeds)
def test_a_window_is_coded_by_its_own_pixels_alone(seed):
    rng = drawn(seed)
    pixels = rng.integers(0, 256, (5, 6, 7)).astype(np.uint8)
    codes = patches.windows(pixels)
    for top, left in np.ndindex(codes.shape[1:]):
        alone = patches.windows(pixels[:, top : top + 3, left : left + 3])
        assert np.array_equal(alone[:, 0, 0], codes[:, top, left])


# lattice


@some
@given(seeds)
def test_blocks_lie_as_far_from_the_lattice_wherever_they_stand(seed):
    rng = drawn(seed)
    steps = rng.integers(2, 40, 64).astype(np.float32)
    pixels = rng.integers(60, 200, (4, 1, 16, 24)).astype(np.uint8)
    plain = lattice.misfits(pixels, steps)
    assert lattice.misfits(pixels[::-1], steps) == pytest.approx(plain[::-1], abs=1e-4)
    moved = np.roll(pixels, (8, 16), axis=(2, 3))
    wanted = np.roll(plain.reshape(4, 2, 3), (1, 2), axis=(1, 2)).reshape(4, 6)
    assert lattice.misfits(moved, steps) == pytest.approx(wanted, abs=1e-4)
    # Every point of a lattice is one of the lattice of half the steps.
    assert (lattice.misfits(pixels, steps / 2) <= plain + 1e-4).all()


@some
@given(seeds)
def test_the_misfit_is_the_rest_of_dividing_each_coefficient(seed):
    from scipy.fft import dctn

    rng = drawn(seed)
    steps = rng.integers(2, 40, 64).astype(np.float32)
    pixels = rng.integers(60, 200, (3, 1, 8, 8)).astype(np.uint8)
    found = lattice.misfits(pixels, steps)
    for row, picture in enumerate(pixels[:, 0]):
        size = dctn(picture.astype(float) - 128, norm="ortho").ravel()
        rest = size - np.rint(size / steps) * steps
        assert found[row, 0] == pytest.approx(np.sqrt((rest**2).mean()), abs=1e-3)


# twins


@some
@given(seeds, st.integers(1, 12), st.integers(1, 12))
def test_twins_are_the_nearest_pairs_still_free_in_any_order_of_rows(seed, mine, others):
    rng = drawn(seed)
    one, two = (rng.normal(size=(many, 16)).astype(np.float32) for many in (mine, others))
    rows, partners = twins(one, two)
    apart = ((one[:, None] - two[None]) ** 2).sum(2)
    pairs, free = {}, (set(range(mine)), set(range(others)))
    for row, other in sorted(np.ndindex(mine, others), key=lambda pair: apart[pair]):
        if row in free[0] and other in free[1]:
            pairs[row] = other
            free[0].remove(row)
            free[1].remove(other)
    assert others <= NEAREST
    assert dict(zip(rows.tolist(), partners.tolist(), strict=True)) == pairs
    order, turn = rng.permutation(mine), rng.permutation(others)
    again = twins(one[order], two[turn])
    assert {(order[a], turn[b]) for a, b in zip(*again, strict=True)} == set(pairs.items())


# near copies


@few
@given(seeds)
def test_families_know_no_order_of_rows_no_brightness_and_no_side(seed):
    rng = drawn(seed)
    pixels = rng.integers(60, 190, (40, 1, 20, 20)).astype(np.uint8)
    pixels[:8] = np.roll(pixels[:1], 1, axis=3) + rng.integers(0, 3, (8, 1, 20, 20))
    plain = partition(families(pixels))
    assert plain[:8, :8].all()
    assert plain.sum() == 8 * 8 + 32
    order = rng.permutation(40)
    assert np.array_equal(partition(families(pixels[order])), plain[np.ix_(order, order)])
    assert np.array_equal(partition(families(pixels + np.uint8(40))), plain)
    assert np.array_equal(partition(families(pixels[..., ::-1])), plain)
    assert np.array_equal(partition(families(np.repeat(pixels, 3, axis=1))), plain)


# fusion


@some
@given(st.lists(st.floats(1e-9, 0.98), min_size=1, max_size=12), seeds, st.floats(0, 1))
def test_fused_tests_have_no_order_and_a_smaller_p_value_makes_none_larger(p_values, seed, shrink):
    p = np.array(p_values)
    fused = float(cauchy(p))
    assert float(cauchy(drawn(seed).permutation(p))) == pytest.approx(fused, rel=1e-9)
    smaller = p.copy()
    smaller[0] *= shrink
    assert float(cauchy(smaller)) <= fused * (1 + 1e-9)
    assert p.min() <= fused * (1 + 1e-9)
    assert fused <= p.max() * (1 + 1e-9)
    slow = stats.cauchy.sf(np.mean(stats.cauchy.isf(np.clip(p, 1e-15, 0.99))))
    assert fused == pytest.approx(slow, rel=1e-6)


@some
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), seeds)
def test_under_any_dependence_the_adjustment_is_the_larger_and_keeps_the_order(p_values, seed):
    p = np.array(p_values)
    found, order = benjamini_yekutieli(p), drawn(seed).permutation(len(p_values))
    assert benjamini_yekutieli(p[order]) == pytest.approx(found[order])
    assert (found >= stats.false_discovery_control(p, method="bh") - 1e-12).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= -1e-12).all()


# clusters


def padded(seed, rows=14, columns=3):
    """Two groups of unlike sizes, centred, and which places are rows."""
    rng = drawn(seed)
    points = rng.normal(size=(2, rows, columns))
    points[:, :4, 0] += 6
    mask = np.ones((2, rows), bool)
    mask[1, rows - 3 :] = False
    points -= (points * mask[..., None]).sum(1, keepdims=True) / mask.sum(1)[:, None, None]
    return torch.as_tensor(points * mask[..., None]), torch.as_tensor(mask)


@some
@given(seeds, st.floats(0.01, 100), st.sampled_from([split_two, split_apart]))
def test_a_split_has_no_unit_no_order_of_rows_and_no_say_of_other_groups(seed, scale, split):
    points, mask = padded(seed)
    minority, told = split(points, mask)
    order = torch.as_tensor(drawn(seed).permutation(points.shape[1]))
    again, retold = split(scale * points[:, order], mask[:, order])
    assert retold.numpy() == pytest.approx(told.numpy(), rel=1e-6)
    assert torch.equal(again, minority[:, order])
    alone, alone_told = split(points[1:], mask[1:])
    assert torch.equal(alone[0], minority[1])
    assert float(alone_told[0]) == pytest.approx(float(told[1]), rel=1e-6)
    assert (minority.sum(1) * 2 <= mask.sum(1)).all()
    assert not (minority & ~mask).any()


@some
@given(seeds)
def test_a_silhouette_knows_no_axes_and_no_side(seed):
    points, mask = padded(seed)
    rng = drawn(seed)
    side = torch.as_tensor(rng.random(mask.shape) < 0.5) & mask
    side[:, :2] = torch.tensor([True, False])
    found = silhouette_two(points, mask, side)
    moved = points @ torch.as_tensor(turned(rng, 3)) * 5 + 2
    assert silhouette_two(moved, mask, side).numpy() == pytest.approx(found.numpy(), abs=1e-6)
    assert silhouette_two(points, mask, mask & ~side).numpy() == pytest.approx(found.numpy())
    for group in range(2):
        rows, sides = points[group][mask[group]].numpy(), side[group][mask[group]].numpy()
        slow = silhouette_score(rows, sides, metric="sqeuclidean")
        assert float(found[group]) == pytest.approx(slow, abs=1e-6)


# orthonormal


@some
@given(seeds, st.integers(1, 5))
def test_orthonormal_columns_span_what_the_given_ones_do(seed, rank):
    rng = drawn(seed)
    tall = rng.normal(size=(3, 9, rank)) * 10.0 ** rng.uniform(-1, 1, (3, 1, rank))
    found = orthonormal(torch.as_tensor(tall)).numpy()
    for one, given_ in zip(found, tall, strict=True):
        theirs = np.linalg.qr(given_)[0]
        assert one.T @ one == pytest.approx(np.eye(rank), abs=1e-3)
        assert one @ one.T == pytest.approx(theirs @ theirs.T, abs=1e-3)
    alone = orthonormal(torch.as_tensor(tall[1:2])).numpy()
    assert alone[0] == pytest.approx(found[1], abs=1e-9), "each group by itself"


# waves


@few
@given(seeds, st.floats(0.5, 20))
def test_strengths_are_least_squares_of_each_piece_and_have_the_waves_unit(seed, scale):
    rng = drawn(seed)
    pixels = smooth(rng, 6, side=32, channels=3)
    wave = np.sin(np.arange(32) * 0.9)[:, None] + np.zeros((32, 32))
    wave = wave.astype(np.float32)
    found = shared_waves.strengths(pixels, wave)
    flat, pieces = shared_waves.limited(pixels), shared_waves.PIECES
    side = 32 // pieces
    for row in range(6):
        slow = []
        for top, left in np.ndindex(pieces, pieces):
            cut = np.s_[top * side : (top + 1) * side, left * side : (left + 1) * side]
            mine, theirs = flat[row][cut].ravel(), wave[cut].ravel()
            slow.append(np.linalg.lstsq(theirs[:, None], mine, rcond=None)[0][0])
        assert found[row] == pytest.approx(np.mean(slow), abs=1e-3)
    opposite = shared_waves.strengths(pixels, -scale * wave).astype(np.float32)
    assert opposite == pytest.approx(-found / scale, abs=1e-3)
    order = rng.permutation(6)
    assert shared_waves.strengths(pixels[order], wave) == pytest.approx(found[order], abs=1e-4)
