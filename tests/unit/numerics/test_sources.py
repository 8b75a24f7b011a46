"""A minority from one source stands out; sub-classes that go with sources everywhere do not."""

import numpy as np
import pytest

from guards.numerics.sources import leaning

CLASSES, ROWS, SOURCES = 10, 300, 5


def drawn(rng: np.random.Generator, *, tied: float = 0.0, shares: np.ndarray | None = None):
    """Labels, sources and minorities; in every class the minority goes with a source by `tied`."""
    labels = np.repeat(np.arange(CLASSES), ROWS)
    shares = np.full((CLASSES, SOURCES), 1 / SOURCES) if shares is None else shares
    sources = np.concatenate([rng.choice(SOURCES, ROWS, p=shares[c]) for c in range(CLASSES)])
    member = rng.random(len(labels)) < 0.15
    own = rng.integers(SOURCES, size=CLASSES)[labels]
    moves = member & (rng.random(len(labels)) < tied)
    return labels, np.where(moves, own, sources), member


def alarms(labels: np.ndarray, sources: np.ndarray, member: np.ndarray) -> list[int]:
    """As the rules decide, at the level that the default budget leaves them."""
    seen = leaning(member, labels, sources, CLASSES)
    speaks = (
        (seen.share >= 0.5)
        & (seen.lift >= 2.5)
        & (seen.lift >= 1.25 * seen.peers)
        & (seen.p_value * CLASSES * 3 <= 0.00125)
    )
    return np.flatnonzero(speaks).tolist()


def test_one_uploader_of_one_class_is_named():
    rng = np.random.default_rng(1)
    labels, sources, member = drawn(rng)
    planted = np.flatnonzero((labels == 4) & ~member)[:80]
    member[planted], sources[planted] = True, 2
    seen = leaning(member, labels, sources, CLASSES)
    assert seen.source[4] == 2
    assert seen.hits[4] >= 80
    assert alarms(labels, sources, member) == [4], (seen.lift[4], seen.peers[4], seen.p_value[4])


@pytest.mark.parametrize("tied", [0.0, 0.3, 0.6, 0.9])
def test_no_alarm_where_sub_classes_go_with_sources(tied):
    rng = np.random.default_rng(2)
    assert not any(alarms(*drawn(rng, tied=tied)) for _ in range(40))


def test_no_alarm_where_classes_go_with_sources():
    rng = np.random.default_rng(3)
    found = [alarms(*drawn(rng, shares=rng.dirichlet([0.3] * SOURCES, CLASSES))) for _ in range(60)]
    assert not any(found)


def test_nothing_to_speak_of():
    seen = leaning(np.zeros(30, bool), np.repeat([0, 1, 2], 10), np.zeros(30, int), 3)
    assert seen.source.tolist() == [-1, -1, -1]
    assert seen.p_value.tolist() == [1, 1, 1]


def test_the_counts_against_a_slow_version():
    rng = np.random.default_rng(4)
    labels, sources, member = drawn(rng, tied=0.5)
    seen = leaning(member, labels, sources, CLASSES)
    for c in range(CLASSES):
        inside, rest = sources[(labels == c) & member], sources[(labels == c) & ~member]
        best = int(seen.source[c])
        base = ((rest == best).sum() + 0.5) / (len(rest) + 0.5 * SOURCES)
        assert seen.hits[c] == (inside == best).sum()
        assert seen.lift[c] == pytest.approx((inside == best).mean() / base)
