"""The rows that startle a layer most: planted in every class at once, clean, and on arrays."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import betabinom

from guards.checks import extremes
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.data.image_features import from_pixels
from guards.data.images import decode
from guards.findings import Measured, Severity
from guards.numerics.enrichment import beta_binomial_tail
from guards.provenance.snapshot import Snapshot
from guards.redteam.arrays import plant

SAMPLE = Path(__file__).parents[3] / "data_samples" / "fashion"
N = 900


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first rows of the sample: pixels, label codes, and the names of the codes."""
    dataset = open_dataset(SAMPLE, sorted(path.name for path in SAMPLE.iterdir()))
    labels = dataset.frame(["label"])["label"].cast(pl.String).to_numpy().astype(str)[:N]
    names, codes = np.unique(labels, return_inverse=True)
    return decode(dataset).pixels[:N], codes, names


def examined(pixels: np.ndarray, labels: np.ndarray) -> Measured:
    case = Case(snapshot=Snapshot(files=()), seed=7)
    case.__dict__["image_features"] = from_pixels(pixels, labels, seed=7, device="cpu")
    return extremes.examine(case, extremes.Settings())


def test_a_patch_in_every_class_at_once_is_found_though_no_class_is_the_target(sample) -> None:
    pixels, codes, names = sample
    planted = plant(pixels, codes, len(names), "all-to-all", 0.05, seed=7)
    measured = examined(planted.pixels, names[planted.labels])
    finding = next(f for f in measured.findings if f.subject.name == "all classes together")
    assert finding.code == "extreme-rows-mislabelled"
    assert finding.severity >= Severity.MEDIUM
    held = np.array([score.row for score in measured.row_scores])
    assert planted.planted[held].mean() > 0.9
    assert finding.evidence[0].rows == round(N * finding.evidence[0].detail["tail"])


def test_clean_rows_raise_nothing_and_every_class_is_told(sample) -> None:
    pixels, codes, names = sample
    measured = examined(pixels, names[codes])
    assert measured.findings == ()
    assert measured.row_scores == ()
    assert set(measured.statistics["classes"]) == {*names.tolist(), ""}


def arrays(n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=n), rng.integers(0, 5, n), rng.random(n) < 0.1


def test_counts_and_p_values_are_those_of_a_loop() -> None:
    scores, labels, wrong = arrays()
    wrong[(scores > 2.2) & (labels == 3)] = True
    tails = extremes.look(scores, labels, wrong, 5)
    for tail, share in enumerate(extremes.TAILS):
        inside = scores > np.quantile(scores, 1 - share)
        for group in range(6):
            ours = labels == group if group < 5 else np.ones_like(wrong)
            rows, hits = (inside & ours).sum(), (inside & ours & wrong).sum()
            base = ((ours & wrong).sum() - hits + 0.5) / (ours.sum() - rows + 1)
            assert (tails.rows[tail, group], tails.hits[tail, group]) == (rows, hits)
            assert tails.lift[tail, group] == pytest.approx(hits / rows / base)
            slow = min(1, 12 * beta_binomial_tail(hits, rows, base, 0.02))
            assert tails.p_value[tail, group] == pytest.approx(slow)
    assert tails.alarming(extremes.Settings())[:, 3].any()


def test_the_tail_of_a_group_is_scipys_beta_binomial() -> None:
    scores, labels, wrong = arrays()
    tails = extremes.look(scores, labels, wrong, 5)
    rows, hits = int(tails.rows[1, 5]), int(tails.hits[1, 5])
    base = (wrong.sum() - hits + 0.5) / (len(wrong) - rows + 1)
    more = 1 / 0.02 - 1
    slow = betabinom.sf(hits - 1, rows, base * more, (1 - base) * more)
    assert tails.p_value[1, 5] == pytest.approx(min(1, 12 * slow), rel=1e-6)


def test_errors_that_do_not_hang_on_surprise_alarm_once_in_a_hundred_at_most() -> None:
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(200):
        wrong = rng.random(1000) < rng.uniform(0.02, 0.3)
        tails = extremes.look(rng.normal(size=1000), rng.integers(0, 10, 1000), wrong, 10)
        alarms += bool(tails.alarming(extremes.Settings()).any())
    assert alarms <= 2


def test_rows_are_held_as_far_down_as_they_are_dense() -> None:
    scores = -np.arange(300.0)
    wrong = np.zeros(300, bool)
    wrong[:80], wrong[200:] = True, True
    everyone = np.ones(300, bool)
    reached = np.flatnonzero(extremes.dense(scores, wrong, everyone))
    assert reached.tolist() == list(range(71)), "80 dense rows, and a window that is half empty"
    few = np.arange(300) < 5
    assert extremes.dense(scores, wrong, few).sum() == 5
    assert not extremes.dense(scores, ~wrong, everyone).any()


def test_scores_that_are_all_the_same_have_no_tail() -> None:
    _, labels, wrong = arrays()
    tails = extremes.look(np.zeros(len(labels)), labels, wrong, 5)
    assert not tails.member.any()
    assert not tails.alarming(extremes.Settings()).any()
