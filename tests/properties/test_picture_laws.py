"""Laws of the statistics of pictures: no order of rows, no shards, sides that turn with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, stats

from guards.numerics import lattice, looks, patches, shared_waves, shared_windows, twins

seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=20, deadline=None)
few = settings(max_examples=8, deadline=None)


def drawn(seed):
    return np.random.default_rng(seed)


def pictures(rng, *shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


# lattice


def decoded(rng, steps):
    """Pictures (20, 1, 16, 32) whose blocks lie on a lattice, but for rounding."""
    coefficients = rng.integers(-6, 7, (20, 2, 4, 8, 8)) * steps
    blocks = fft.idctn(coefficients, axes=(3, 4), norm="ortho") + 128
    pixels = blocks.swapaxes(2, 3).reshape(20, 1, 16, 32)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


@some
@given(seeds)
def test_the_steps_of_a_lattice_are_told_and_turn_with_the_pictures(seed):
    rng = drawn(seed)
    steps = np.where(np.add.outer(range(8), range(8)) < 6, rng.integers(4, 9, (8, 8)), 0)
    pixels = decoded(rng, steps)
    found = lattice.quantisation(pixels)
    assert found is not None
    assert found.reshape(8, 8).tolist() == steps.tolist()
    for same in (rng.permutation(pixels), pixels[..., ::-1], pixels[:, :, ::-1]):
        assert np.array_equal(lattice.quantisation(same), found)
    beside = lattice.quantisation(pixels.swapaxes(2, 3))
    assert np.array_equal(beside.reshape(8, 8), steps.T)
    assert lattice.quantisation(pixels[..., 3:, 3:]) is None
    assert lattice.quantisation(pictures(rng, 20, 1, 16, 32)) is None


# looks


@some
@given(seeds)
def test_looks_are_means_of_cells_and_bands_that_no_half_turn_and_no_move_changes(seed):
    rng = drawn(seed)
    pixels = rng.integers(60, 190, (5, 3, 14, 21)).astype(np.uint8)
    found = looks.looks(pixels)
    cells, bands = found[:, :49], found[:, 49:]
    grey = pixels.mean(1).reshape(5, 7, 2, 7, 3).mean((2, 4)) / 255
    assert cells == pytest.approx(grey.reshape(5, 49), abs=1e-5)
    light = pixels.mean(1) / 255
    amplitude = np.abs(np.fft.fft2(light - light.mean((1, 2), keepdims=True)))[..., :11]
    down, right = (np.linspace(0, size, many + 1).astype(int) for size, many in ((14, 9), (11, 8)))
    amplitude = np.roll(amplitude, 7, axis=1)
    for band, (top, left) in zip(bands.T, np.ndindex(9, 8), strict=True):
        slow = amplitude[:, down[top] : down[top + 1], right[left] : right[left + 1]].mean((1, 2))
        assert np.exp(band) == pytest.approx(slow + 0.01, rel=1e-3)
    turned = looks.looks(pixels[..., ::-1, ::-1])
    assert turned[:, :49] == pytest.approx(cells[:, ::-1], abs=1e-5)
    moved = looks.looks(np.roll(pixels, tuple(rng.integers(0, 14, 2)), axis=(2, 3)))
    for other in (turned, moved, looks.looks(pixels + np.uint8(40))):
        assert other[:, 49:] == pytest.approx(bands, abs=1e-3)
    assert looks.looks(pixels[[3]])[0] == pytest.approx(found[3], abs=1e-4)
    assert looks.looks(pixels[:, rng.permutation(3)]) == pytest.approx(found, abs=1e-4)


@some
@given(seeds, st.integers(0, 60))
def test_spectra_know_not_where_a_subject_stands(seed, brighter):
    rng = drawn(seed)
    grey = rng.integers(0, 190, (5, 14, 17)).astype(np.uint8)
    found = looks.spectra(grey)
    moved = np.roll(grey, tuple(rng.integers(0, 14, 2)), axis=(1, 2))
    for same in (moved, grey[:, ::-1, ::-1]):
        assert looks.spectra(same) == pytest.approx(found, abs=1e-5)
    light = looks.spectra(grey + np.uint8(brighter))
    assert light[:, :-1] == pytest.approx(found[:, :-1], abs=1e-5)
    assert light[:, -1] - found[:, -1] == pytest.approx(8 * brighter / 255)
    slow = np.abs(np.fft.fft2(grey / 255))[:, [*range(6), *range(-6, 0)], :6] ** 0.5
    slow[:, 0, 0] = 0
    assert found[:, :-1] == pytest.approx(slow.reshape(5, -1), abs=1e-5)


# patches


@some
@given(seeds, st.integers(0, 8))
def test_a_row_carries_its_share_of_cells_whatever_their_order(seed, many):
    rng = drawn(seed)
    codes = rng.integers(0, 3, (20, 4, 5))
    cells = rng.integers(0, [4, 5, 3, 9, 9, 9], (many, 6))
    found = patches.carried(codes, cells)
    for row in range(20):
        held = [codes[row, top, left] == code for top, left, code in cells[:, :3]]
        assert found[row] == pytest.approx(np.mean(held) if held else 0)
    order = rng.permutation(20)
    assert patches.carried(codes[order], rng.permutation(cells)) == pytest.approx(found[order])


@some
@given(seeds)
def test_the_box_is_around_what_all_inside_have_and_turns_with_the_pictures(seed):
    rng = drawn(seed)
    inside, outside = pictures(rng, 30, 9, 11), pictures(rng, 40, 9, 11)
    (top, height), (left, width) = ((rng.integers(0, 6), rng.integers(1, 4)) for _ in range(2))
    held = np.s_[:, top : top + height, left : left + width]
    inside[held] = pictures(rng, height, width)
    inside[:2] = 255 - inside[:2]
    outside[held] = 255 - inside[5][held[1:]] + 0 * outside[held]
    found = patches.box(inside, outside, (4, 4))
    assert found == (top, left, height, width)
    mirrored = patches.box(rng.permutation(inside)[..., ::-1], outside[..., ::-1], (4, 4))
    assert mirrored == (top, 11 - left - width, height, width)
    down = patches.box(inside.swapaxes(1, 2), outside.swapaxes(1, 2), (4, 4))
    assert down == (left, top, width, height)
    assert patches.box(inside, inside, (4, 2)) == (4, 2, patches.SIDE, patches.SIDE)


# shared windows


@some
@given(seeds, st.integers(0, 60))
def test_a_window_has_the_bits_of_pixels_above_its_mean_at_any_brightness(seed, brighter):
    rng = drawn(seed)
    pixels = rng.integers(60, 150, (4, 1, 5, 6)).astype(np.uint8)
    found = shared_windows.window_codes(pixels)
    for row, top, left in np.ndindex(found.shape):
        window = pixels[row, 0, top : top + 3, left : left + 3].astype(int)
        bits = "".join(str(int(9 * value > window.sum())) for value in window.ravel())
        strong = np.ptp(window) >= shared_windows.CONTRAST
        assert found[row, top, left] == (int(bits, 2) if strong else -1)
    for same in (pixels + np.uint8(brighter), np.repeat(pixels, 3, axis=1)):
        assert np.array_equal(shared_windows.window_codes(same), found)


@few
@given(seeds)
def test_windows_are_counted_alike_in_any_order_shards_and_names_of_groups(seed):
    rng = drawn(seed)
    shown = pictures(rng, 6, 1, 5, 6)[rng.integers(0, 6, 40)]
    groups, names, order = rng.integers(0, 3, 40), rng.permutation(3), rng.permutation(40)
    found = shared_windows.counts(shown, groups, 3)
    again = shared_windows.counts(shown[order], names[groups[order]], 3)
    assert np.array_equal(again[..., names], found)
    cut = int(rng.integers(0, 41))
    parts = [shared_windows.counts(shown[of], groups[of], 3) for of in np.split(order, [cut])]
    assert np.array_equal(sum(parts), found)
    cells = np.argwhere(found >= 2)
    held = shared_windows.carried(shown, cells)
    for cell, rows in zip(cells, held.T, strict=True):
        assert found[tuple(cell)] == rows[groups == cell[3]].sum()
    assert np.array_equal(shared_windows.carried(shown[order], cells), held[order])


@few
@given(seeds)
def test_what_lies_beside_a_place_is_counted_of_rows_that_have_it_not_here(seed):
    rng = drawn(seed)
    pixels = pictures(rng, 5, 1, 6, 7)[rng.integers(0, 5, 30)]
    pixels[:20, :, 1:5, 1:6] = np.indices((4, 5)).sum(0) % 2 * 255
    pixels[10:15] = np.roll(pixels[10:15], 1, axis=3)
    groups = rng.integers(0, 2, 30)
    table, around = shared_windows.elsewhere(pixels, groups, 2)
    assert np.array_equal(table[..., :2], shared_windows.counts(pixels, groups, 2))
    assert np.array_equal(table[..., 2], table[..., :2].sum(3))
    codes = shared_windows.window_codes(pixels)
    for top, left, code, group in np.argwhere(table > 1)[::5]:
        of = (groups == group) | (group == 2)
        near = codes[:, max(top - 2, 0) : top + 3, max(left - 2, 0) : left + 3] == code
        alone = of & (codes[:, top, left] != code)
        assert around[top, left, code, group] == near[alone].sum(0).max()


@some
@given(seeds, st.integers(1, 6), st.floats(0.5, 3))
def test_sharp_cells_stand_alone_and_turn_with_the_table(seed, least, lift):
    table = drawn(seed).poisson(1, (6, 8, 4, 2))
    found = shared_windows.sharp(table, least=least, lift=lift)
    wanted = []
    for top, left, code, group in np.argwhere(table >= least):
        if 0 < top < 5 and 0 < left < 7:
            near = table[max(top - 2, 0) : top + 3, max(left - 2, 0) : left + 3, code, group].copy()
            near[min(top, 2), min(left, 2)] = -1
            rows, most = table[top, left, code, group], near.max()
            if rows >= lift * (most + 0.5):
                wanted.append([top, left, code, group, rows, most])
    assert found.tolist() == wanted
    down = shared_windows.sharp(table.swapaxes(0, 1), least=least, lift=lift)
    assert sorted(down[:, [1, 0, 2, 3, 4, 5]].tolist()) == wanted
    fewer = shared_windows.sharp(table, least=least + 1, lift=2 * lift).tolist()
    assert all(cell in wanted for cell in fewer)


@pytest.mark.parametrize("kind", [shared_windows, shared_waves])
@given(rows=st.integers(1, 1500), around=st.integers(0, 300))
def test_more_rows_are_no_likelier_and_more_around_make_them_so(kind, rows, around):
    found = kind.log_tails(np.array([rows, rows + 1, rows]), np.array([around, around, around + 1]))
    assert found[1] <= found[0] <= found[2] <= 0
    assert found[1] < found[0] < found[2] or found[0] > -1e-9, "but for nearly sure ones"
    mean = around + 0.5
    shape = 1 / kind.DISPERSION
    below = stats.nbinom(shape, shape / (shape + mean)).pmf(np.arange(rows)).sum()
    assert 10 ** found[0] == pytest.approx(1 - below, abs=1e-9)
    assert stats.nbinom(shape, shape / (shape + mean)).var() == pytest.approx(
        mean + kind.DISPERSION * mean**2
    )


# shared waves


def peaks(rng, many, size):
    """Peaks of pictures of that size, half of them around one frequency and phase."""
    height, right = size[0], size[1] // 2
    bins = np.column_stack(
        [rng.integers(-height // 2 + 1, height // 2 + 1, many), rng.integers(0, right + 1, many)]
    )
    bins[::2], phase = bins[0], rng.random(many)
    return shared_waves.Peaks(
        rows=np.arange(many),
        bins=bins,
        frequency=bins + 0.0,
        phase=np.where(np.arange(many) % 2, phase, phase[0] * 0.99),
        height=np.ones(many),
    )


@some
@given(seeds, st.integers(8, 11), st.integers(8, 11))
def test_each_window_of_waves_holds_its_members_in_any_order_and_shard(seed, height, width):
    rng = drawn(seed)
    found = peaks(rng, 40, (height, width))
    table = shared_waves.windows(found, (height, width))
    for cell in np.argwhere(table >= 0)[:: int(rng.integers(1, 5))]:
        assert table[tuple(cell)] == shared_waves.members(found, cell, height).sum()
    assert table.sum() <= 40 * 4 * shared_waves.WIDE
    first = rng.random(40) < 0.5
    parts = [shared_waves.windows(found.only(of), (height, width)) for of in (first, ~first)]
    assert np.array_equal(sum(parts), table)
    down, right, phase = found.bins[0, 0] % height, found.bins[0, 1], found.phase[0]
    sector = int(phase * shared_waves.SECTORS)
    mine = [(down - a) % height * 100 + (right - b) for a in (0, 1) for b in (0, 1) if right >= b]
    one = shared_waves.windows(found.only(np.arange(40) == 0), (height, width))
    places = np.argwhere(one)
    assert sorted(set((places[:, 0] * 100 + places[:, 1]).tolist())) == sorted(mine)
    turned = {(sector + step) % shared_waves.SECTORS for step in (-1, 0, 1)}
    assert set(places[:, 2].tolist()) == turned


@some
@given(seeds, st.integers(1, 5), st.floats(0.5, 3), st.integers(1, 11))
def test_windows_stand_against_other_phases_and_groups_wherever_a_turn_begins(
    seed, least, lift, turn
):
    rng = drawn(seed)
    table, expected = rng.poisson(0.3, (5, 4, 12)), rng.uniform(0, 2, (5, 4, 12))
    table[tuple(rng.integers(0, [[5], [4], [12]], (3, 6)))] += 9
    found = shared_waves.standing(table, expected, least=least, lift=lift)
    wanted = []
    for down, right, sector in np.argwhere(table >= least):
        apart = np.abs((np.arange(12) - sector + 6) % 12 - 6) >= shared_waves.WIDE
        other = max(table[down, right][apart].max(), int(np.ceil(expected[down, right, sector])))
        rows = table[down, right, sector]
        if rows >= lift * (other + 0.5):
            wanted.append([down, right, sector, rows, other])
    assert found.tolist() == wanted
    rolled = [np.roll(each, turn, 2) for each in (table, expected)]
    again = shared_waves.standing(*rolled, least=least, lift=lift)
    again[:, 2] = (again[:, 2] - turn) % 12
    assert sorted(again.tolist()) == wanted


@some
@given(seeds, st.floats(0.01, 100))
def test_cover_knows_no_side_and_no_unit(seed, unit):
    pieces = drawn(seed).uniform(0.1, 1, (4, 4)).astype(np.float32)
    found = shared_waves.cover(pieces.ravel())
    rim = [pieces[place] for place in np.ndindex(4, 4) if set(place) & {0, 3}]
    assert found == pytest.approx(sorted(rim)[2] / pieces.mean())
    for same in (np.rot90(pieces), pieces.T, pieces * np.float32(unit)):
        assert shared_waves.cover(same.ravel()) == pytest.approx(found, rel=1e-5)
    assert shared_waves.cover(np.full(16, unit, np.float32)) == pytest.approx(1, rel=1e-5)
    middle = pieces.copy()
    middle[1:3, 1:3] += 1
    assert shared_waves.cover(middle.ravel()) < found


# twins


@few
@given(seeds, st.integers(0, 3), st.integers(0, 3))
def test_each_picture_is_blurred_by_itself_and_what_is_left_over_cut_off(seed, more, beyond):
    rng = drawn(seed)
    pixels = pictures(rng, 1030, 3, 8 + more, 12 + beyond)
    found = twins.blurred(pixels)
    whole = pixels[..., :8, :12]
    for row in (0, 1023, 1024, 1029):
        slow = [
            whole[row, :, top : top + 2, left : left + 3].mean()
            for top, left in np.ndindex(8, 12)
            if top % 2 == left % 3 == 0
        ]
        assert found[row] == pytest.approx(slow, abs=1e-3)
    mirrored = twins.blurred(whole[1000:, :, :, ::-1]).reshape(-1, 4, 4)
    assert mirrored[..., ::-1].reshape(-1, 16) == pytest.approx(found[1000:], abs=1e-3)
