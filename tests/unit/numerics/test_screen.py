"""The screen against numpy one class at a time, its null against fresh draws, and its promises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from guards.numerics import clusters, screen, spectrum
from guards.numerics.screen_null import FREEDOM, LEVELS, ROWS, draw_null, upper_tail
from guards.numerics.screen_table import TABLE

SIZES = (3, 40, 5000, 0, 17, 700, 120, 64, 65)
WIDTH = 24


def ragged(seed: int = 0, sizes: tuple[int, ...] = SIZES) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    spread = np.linspace(4, 0.3, WIDTH)
    rows = rng.normal(size=(len(labels), WIDTH)) * spread
    # Every class has directions of its own in which it varies more than the others.
    own = np.linalg.qr(rng.normal(size=(len(sizes), WIDTH, 10)))[0]
    strong = rng.normal(size=(len(labels), 10)) * np.linspace(9, 2, 10)
    rows += np.einsum("ndr,nr->nd", own[labels], strong) * spread
    rows += 5 * rng.normal(size=(len(sizes), WIDTH))[labels]
    return torch.from_numpy(rows).half(), labels


def screened(features: torch.Tensor, labels: np.ndarray, **more: object) -> screen.Screen:
    classes = int(labels.max()) + 1
    rng = np.random.default_rng(1)
    return screen.screen(screen.in_memory(features), labels, classes, rng, **more)


@pytest.fixture(scope="module")
def whole() -> tuple[torch.Tensor, np.ndarray, screen.Screen]:
    features, labels = ragged()
    return features, labels, screened(features, labels)


def test_halves_are_random_nearly_equal_and_in_file_order() -> None:
    labels = ragged()[1]
    order, starts = screen.by_class(labels, len(SIZES), np.random.default_rng(3))
    assert sorted(order.tolist()) == list(range(len(labels)))
    assert np.diff(starts).tolist() == list(SIZES)
    firsts = []
    for start, size in zip(starts, SIZES, strict=False):
        rows, half = order[start : start + size], (size + 1) // 2
        assert (labels[rows] == labels[rows[:1]]).all()
        assert (np.diff(rows[:half]) > 0).all()
        assert (np.diff(rows[half:]) > 0).all()
        firsts.append(rows[:half])
    again, _ = screen.by_class(labels, len(SIZES), np.random.default_rng(4))
    assert not np.array_equal(firsts[2], np.sort(again[starts[2] : starts[3]][:2500]))


def test_whitening_makes_the_pooled_within_class_covariance_one() -> None:
    features, labels = ragged()
    order, starts = screen.by_class(labels, len(SIZES), np.random.default_rng(3))
    found = screen.whitening(screen.in_memory(features), order, starts, shrinkage=0.0)
    wide = features.double().numpy()
    means = np.zeros((len(SIZES), WIDTH))
    for group in np.unique(labels):
        means[group] = wide[labels == group].mean(0)
    centred = (wide - means[labels]) @ found.double().numpy()
    assert np.allclose(centred.T @ centred / len(centred), np.eye(WIDTH), atol=0.15)


@pytest.mark.parametrize("group", [1, 2, 5])
def test_whole_classes_get_the_directions_of_numpys_svd(
    group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S = (X - m)'(X - m)/(n - 1) of whitened rows; x' exp(a(S - I)/(||S|| - 1)) x / tr."""
    features, labels = ragged()
    order, starts = screen.by_class(labels, len(SIZES), np.random.default_rng(1))
    white = screen.whitening(screen.in_memory(features), order, starts).double().numpy()
    own = features.double().numpy()[labels == group]
    own = (own - own.mean(0)) @ white
    rank = int(screen.ranks(np.array([len(own)]), WIDTH)[0])
    _, _, right = np.linalg.svd(own, full_matrices=False)
    monkeypatch.setattr(screen, "STEPS", 200)  # to the end, as numpy goes
    found = screened(features, labels, cut=False)
    along = own @ right[:rank].T
    covariance = along.T @ along / (len(own) - 1)
    values, vectors = np.linalg.eigh(covariance - np.eye(rank))
    power = np.exp(screen.ALPHA * values / values[-1])
    slow = ((along @ vectors) ** 2) @ (power / power.sum())
    scores = found.scores[labels == group]
    assert np.corrcoef(scores, slow)[0, 1] > 0.98
    assert (found.structure.cluster.p_values == 1).all()


def test_que_is_the_formula_written_slowly() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(90, 4)) * [3, 1.5, 1, 0.5]
    rows -= rows.mean(0)
    covariance = rows.T @ rows / 89
    norm = np.linalg.norm(covariance, 2)
    from scipy.linalg import expm

    weight = expm(4 * (covariance - np.eye(4)) / (norm - 1))
    slow = np.einsum("ni,ij,nj->n", rows, weight / np.trace(weight), rows)
    mask = torch.ones(1, 90) > 0
    found = screen.que(torch.from_numpy(rows).float()[None], mask)[0].numpy()
    assert np.allclose(found, slow, rtol=1e-4)
    flat = screen.que(torch.from_numpy(rows / 10).float()[None], mask)[0].numpy()
    assert np.allclose(flat, (rows**2).sum(1) / 400, rtol=1e-4)


def test_one_half_says_nothing_of_its_own_directions() -> None:
    """With rows equal to their number of columns, in-sample directions would fit anything."""
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(10), 300)
    rows = torch.from_numpy(rng.normal(size=(3000, 200))).half()
    assert screened(rows, labels).structure.cluster.p_values.min() > 0.01


def test_the_statistics_do_not_see_the_covariance() -> None:
    rng = np.random.default_rng(8)
    rows = torch.from_numpy(rng.standard_t(5, size=(2, 300, 4))).float()
    mask = torch.arange(300)[None] < torch.tensor([300, 211])[:, None]
    rows = spectrum.centre(rows, mask)
    bent = rows @ torch.triu(torch.from_numpy(rng.normal(size=(4, 4))).float() + 2 * torch.eye(4))
    first, second = screen.look(rows, mask), screen.look(bent, mask)
    assert torch.allclose(first.silhouette, second.silhouette, atol=2e-3)
    assert torch.allclose(first.heaviness, second.heaviness, atol=2e-3)


def test_the_split_is_as_far_apart_as_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    own = rng.normal(size=(300, 3))
    own[:24, 1] += 8
    own -= own.mean(0)
    points, mask = torch.from_numpy(own)[None], torch.ones(1, 300) > 0
    minority, silhouette = clusters.split_apart(points, mask)
    which = KMeans(2, n_init=20, random_state=0).fit_predict(own)
    best = silhouette_score(own, which, metric="sqeuclidean")
    exact = silhouette_score(own, minority[0].numpy(), metric="sqeuclidean")
    assert silhouette[0].item() == pytest.approx(exact, abs=1e-6)
    assert silhouette[0].item() >= best - 0.01
    assert minority[0, :24].all()
    assert minority.sum() == 24


def test_a_planted_minority_is_found_and_named_among_hundreds_of_classes() -> None:
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(300), 80)
    rows = rng.normal(size=(24_000, 32)) + 3 * rng.normal(size=(300, 32))[labels]
    planted = np.flatnonzero(labels == 123)[:16]
    rows[planted] += 2.5 * rng.normal(size=32)
    found = screened(torch.from_numpy(rows).half(), labels).structure
    assert found.spectral.p_values[123] <= 0.01
    assert np.delete(found.spectral.p_values, 123).min() > 0.01
    assert found.cluster.statistic.argmax() == 123
    assert found.cluster.member[planted].mean() > 0.9


def test_half_precision_hardly_matters(whole: tuple) -> None:
    features, labels, half = whole
    single = screened(features.float(), labels)
    assert np.array_equal(half.scores, single.scores, equal_nan=True)
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, features.shape))
    moved = screened(features.float() * (1 + noise.float() * 2**-11), labels)
    known = ~np.isnan(half.scores)
    assert np.corrcoef(half.scores[known], moved.scores[known])[0, 1] > 0.999


def test_a_class_that_does_not_fit_is_read_in_blocks_with_the_same_answer(whole: tuple) -> None:
    features, labels, found = whole
    blocks = screened(features, labels, room=2**16)
    assert np.allclose(found.scores, blocks.scores, rtol=1e-2, atol=1e-2, equal_nan=True)
    for one, other in zip(
        (found.structure.spectral, found.structure.cluster),
        (blocks.structure.spectral, blocks.structure.cluster),
        strict=True,
    ):
        assert np.allclose(one.statistic, other.statistic, atol=1e-2, equal_nan=True)
        assert (one.member != other.member).mean() < 1e-3


def test_small_and_empty_classes_are_told_as_not_tested_and_nothing_is_nan(whole: tuple) -> None:
    _, labels, found = whole
    tested = np.array(SIZES) >= screen.HALVED
    for one in (found.structure.spectral, found.structure.cluster):
        assert np.array_equal(np.isnan(one.statistic), ~tested)
        assert (one.p_values[~tested] == 1).all()
        assert (one.p_values >= screen.FLOOR).all()
        assert np.isfinite(one.excess).all()
        assert not one.member[labels == 3].any()
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("make", ["constant", "one_column", "duplicates", "wide"])
def test_degenerate_features_give_finite_answers(make: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    rows = {
        "constant": np.ones((200, 5)),
        "one_column": rng.normal(size=(200, 1)),
        "duplicates": rng.integers(0, 2, (200, 3)).astype(float),
        "wide": rng.normal(size=(200, 500)),
    }[make]
    found = screened(torch.from_numpy(rows).half(), labels)
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.structure.cluster.statistic).all()


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(5)))
def test_the_names_of_the_classes_and_the_order_among_them_do_not_matter(to: list[int]) -> None:
    features, labels = ragged(3, (40, 90, 33, 20, 150))
    renamed = np.array(to)[labels]
    one, other = (screened(features, codes, cut=False) for codes in (labels, renamed))
    assert np.allclose(one.scores, other.scores, rtol=1e-2, atol=1e-2)
    shuffled = np.random.default_rng(sum(to[:2])).permutation(len(labels))
    moved = screened(features[shuffled], labels[shuffled], cut=False)
    # The whitening takes other pairs of rows, which moves it by what sampling does.
    assert np.corrcoef(one.scores[shuffled], moved.scores)[0, 1] > 0.9


def test_a_hundred_thousand_tiny_classes_are_screened() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(100_000), rng.integers(1, 5, 100_000)))
    rows = torch.from_numpy(rng.standard_normal((len(labels), 8), np.float32)).half()
    found = screened(rows, labels)
    small = np.bincount(labels)[labels] < screen.LEAST
    assert np.array_equal(np.isnan(found.scores), small)


@pytest.mark.parametrize(("rank", "node", "freedom"), [(2, 2, 1), (8, 1, 2), (4, 1, 4)])
def test_the_table_holds_what_is_drawn_afresh(rank: int, node: int, freedom: int) -> None:
    rows, df = ROWS[rank][node], FREEDOM[freedom]
    drawn = draw_null(rows, df, rank, 400, np.random.default_rng(77))
    line = TABLE[rank][node][freedom]
    assert np.median(drawn[2]) == pytest.approx(line[0], abs=0.08)
    for kind in range(2):
        for level in (0.5, 0.1):
            limit = line[1 + kind * len(LEVELS) + LEVELS.index(level)]
            above = int((drawn[kind] > limit).sum())
            assert binomtest(above, 400, level).pvalue > 1e-4


def test_p_values_fall_as_the_statistic_rises_and_are_the_levels_at_the_nodes() -> None:
    line = np.array(TABLE[8][2][1])
    quantiles = line[1 + len(LEVELS) :]
    rows, tails = np.full(len(LEVELS), ROWS[8][2]), np.full(len(LEVELS), line[0])
    assert np.allclose(upper_tail(1, quantiles, rows, 8, tails), LEVELS, rtol=0.1)
    rising = np.linspace(0, 1, 200)
    p = upper_tail(1, rising, np.full(200, 300), 8, np.full(200, line[0]))
    assert (np.diff(p) <= 0).all()
    assert (p > 0).all()


@pytest.mark.parametrize(("n", "width", "df"), [(60, 40, 6.0), (200, 30, 200.0)])
def test_one_component_is_rejected_no_more_often_than_told(n: int, width: int, df: float) -> None:
    rng = np.random.default_rng(9)
    labels = np.repeat(np.arange(300), n)
    rows = rng.standard_normal((len(labels), width), np.float32)
    rows *= np.exp(0.4 * rng.standard_normal((300, width)))[labels]
    rows *= np.sqrt(df / rng.chisquare(df, (len(labels), 1)))
    found = screened(torch.from_numpy(rows).half(), labels)
    for one in (found.structure.spectral, found.structure.cluster):
        rejected = int((one.excess > 1.6449).sum())  # p < .05, class by class
        assert binomtest(rejected, 300, 0.05, alternative="greater").pvalue > 1e-3
