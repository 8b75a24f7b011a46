"""Crowds planted into real months, the seasons that are none, and who tries to hide one."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.checks import crowds, run
from guards.errors import Skip
from guards.findings import Ran, Severity, Skipped

NUMBERS = ["day", "hour", "distance", "air_time", "plane_year", "dep_delay"]
BATCH = 6_000


def examine(case, **settings):
    return crowds.examine(case, crowds.Settings(**settings))


def crowded(frame: pl.DataFrame, rows: int, seed: int, columns=NUMBERS, width=0.05) -> pl.DataFrame:
    """`rows` more rows whose numbers lie within `width` standard deviations of one place."""
    rng = np.random.default_rng(seed)
    more = frame.sample(rows, seed=seed)
    for name in columns:
        values = frame[name].drop_nulls().to_numpy()
        place = np.quantile(values, rng.uniform(0.05, 0.95))
        drawn = np.rint(rng.normal(place, width * values.std(), rows))
        more = more.with_columns(pl.Series(name, drawn).cast(frame[name].dtype))
    ids = pl.Series("id", [f"more-{number}" for number in range(rows)])
    return pl.concat([frame, more.with_columns(ids)])


@pytest.fixture(scope="session")
def halves(flights_month):
    """Of the reference's months: some rows for a reference, others for a batch."""
    months = pl.concat([flights_month(month) for month in (1, 2, 3)])
    mixed = months.sample(fraction=1, shuffle=True, seed=11)
    return mixed[BATCH:], mixed[:BATCH]


@pytest.mark.parametrize("month", [1, 2, 3, 4, 5, 6])
def test_no_season_is_a_crowd(table_case, flights_month, flights_profile, month):
    measured = examine(table_case(flights_month(month), reference=flights_profile))
    assert measured.findings == ()
    assert measured.row_scores == ()


def test_another_draw_of_the_same_months_has_none(table_case, profile_of, halves):
    before, batch = halves
    measured = examine(table_case(batch, reference=profile_of(before)))
    assert measured.findings == ()
    assert measured.statistics["voting"] == 0


@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_one_in_fifty_rows_at_one_place_are_found(table_case, profile_of, halves, seed):
    before, batch = halves
    measured = examine(table_case(crowded(batch, 120, seed), reference=profile_of(before)))
    assert {finding.code for finding in measured.findings} == {"crowd"}
    finding = measured.findings[0]
    assert finding.severity == Severity.MEDIUM
    assert finding.evidence[0].p_value < 1e-6
    assert set(finding.evidence[0].detail["columns"]) <= set(NUMBERS)
    held = {score.row for score in measured.row_scores}
    planted = set(range(BATCH, BATCH + 120))
    assert len(held & planted) >= 0.75 * len(planted)
    assert len(held & planted) >= 0.75 * len(held)
    assert len(measured.row_scores) == len(held)


def test_a_crowd_is_found_within_a_season(table_case, flights_month, flights_profile):
    frame = crowded(flights_month(4), 120, 105)
    measured = examine(table_case(frame, reference=flights_profile))
    assert [finding.code for finding in measured.findings] == ["crowd"]


def test_a_new_route_is_none(table_case, profile_of, halves):
    """One thing said many times, and all else as ever: carrier, destination, distance, time."""
    before, batch = halves
    route = batch.sample(120, seed=3).with_columns(
        carrier=pl.lit("VX"),
        dest=pl.lit("PSP"),
        distance=pl.lit(2378, pl.Int16),
        air_time=pl.Series(np.random.default_rng(3).normal(330, 9, 120).round()).cast(pl.Int16),
        id=pl.Series([f"new-{n}" for n in range(120)]),
    )
    measured = examine(table_case(pl.concat([batch, route]), reference=profile_of(before)))
    assert measured.findings == ()


def test_a_crowd_that_is_wide_in_all_but_two_columns_passes(table_case, profile_of, halves):
    """The known way around it, which stays known only as long as this holds."""
    before, batch = halves
    frame = crowded(batch, 120, 106, columns=["hour", "dep_delay"])
    measured = examine(table_case(frame, reference=profile_of(before)))
    assert measured.findings == ()


def test_rows_that_are_tight_in_four_columns_need_no_single_sure_cell(
    table_case, profile_of, halves
):
    before, batch = halves
    reference = profile_of(before[:8_000])
    frame = crowded(batch[:3_000], 24, 107, width=0.03)
    never = {"alpha": 1e-200}  # no cell is that sure
    measured = examine(table_case(frame, reference=reference), **never)
    assert {finding.code for finding in measured.findings} == {"crowd"}
    assert len(measured.findings[0].evidence[0].detail["columns"]) >= 4
    assert examine(table_case(frame, reference=reference), wide=7, **never).findings == ()
    assert examine(table_case(batch[:3_000], reference=reference)).findings == ()


def embedded(seed: int, rows: int, rank: int = 24) -> np.ndarray:
    """Vectors of five classes, (rows, 48), which lie in `rank` dimensions."""
    rng = np.random.default_rng(seed)
    spanned = np.random.default_rng(0).normal(size=(rank, 48))
    centres = np.random.default_rng(1).normal(size=(5, rank))
    return (centres[rng.integers(5, size=rows)] + rng.normal(size=(rows, rank))) @ spanned


def planted(vectors: np.ndarray, rows: int, radius: float) -> np.ndarray:
    """The first rows lie within `radius` standard deviations of the last one."""
    near = np.random.default_rng(2).normal(size=(rows, vectors.shape[1])) * vectors.std(axis=0)
    return np.concatenate([vectors[-1] + radius * near, vectors[rows:]])


def of(vectors: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"embedding": vectors.tolist()})


def test_a_crowd_of_vectors_is_named_by_its_column_and_held(table_case, profile_of):
    reference = profile_of(of(embedded(5, 3_000)))
    clean = embedded(6, 2_000)
    assert examine(table_case(of(clean), reference=reference)).findings == ()
    frame = of(planted(clean, 60, 0.1))
    measured = examine(table_case(frame, reference=reference))
    assert {finding.code for finding in measured.findings} == {"crowd"}
    (finding,) = measured.findings
    assert "in embedding, along " in finding.summary
    assert "of its 10 views" in finding.summary
    assert "view 1" not in finding.summary
    assert finding.evidence[0].detail["columns"] == ["embedding"]
    assert finding.evidence[0].detail["views"]["embedding"] >= 3
    held = {score.row for score in measured.row_scores}
    assert len(held & set(range(60))) >= 40
    assert len(held & set(range(60))) >= 0.75 * len(held)
    order = np.random.default_rng(0).permutation(len(frame))
    mixed = examine(table_case(frame[order][:777], frame[order][777:], reference=reference))
    assert mixed.statistics == measured.statistics
    assert {order[score.row] for score in mixed.row_scores} == held


def test_along_eight_views_no_single_cell_has_to_be_sure(table_case, profile_of):
    reference = profile_of(of(embedded(5, 3_000)))
    case = table_case(of(planted(embedded(6, 2_000), 20, 0.1)), reference=reference)
    (finding,) = examine(case).findings
    assert finding.evidence[0].detail["views"]["embedding"] >= 8
    assert finding.evidence[0].p_value > 0.001
    assert examine(case, views=11).findings == ()


def test_vectors_in_a_plane_are_tight_in_two_things_at_most(table_case, profile_of):
    reference = profile_of(of(embedded(5, 3_000, rank=2)))
    frame = of(planted(embedded(6, 2_000, rank=2), 60, 0.02))
    assert examine(table_case(frame, reference=reference)).findings == ()


def test_views_take_no_votes_from_columns(table_case, profile_of, halves):
    """A crowd in columns is the same beside vectors that have none."""
    before, batch = halves
    frame = crowded(batch, 120, 101)
    alone = examine(table_case(frame, reference=profile_of(before)))
    beside = {"embedding": pl.Series(embedded(7, len(frame)).tolist())}
    there = {"embedding": pl.Series(embedded(8, len(before)).tolist())}
    both = examine(
        table_case(frame.with_columns(**beside), reference=profile_of(before.with_columns(**there)))
    )
    assert len(both.findings) >= len(alone.findings) == 1
    planted_rows = set(range(BATCH, BATCH + 120))
    assert len({s.row for s in both.row_scores} & planted_rows) >= 90


def test_order_and_shards_are_of_no_account(table_case, profile_of, halves):
    before, batch = halves
    frame, reference = crowded(batch, 120, 101), profile_of(before)
    one = examine(table_case(frame, reference=reference))
    cut = examine(table_case(frame[:2_000], frame[2_000:], reference=reference))
    assert cut == one
    order = np.random.default_rng(0).permutation(len(frame))
    mixed = examine(table_case(frame[order], reference=reference))
    assert mixed.statistics == one.statistics
    assert {order[score.row] for score in mixed.row_scores} == {s.row for s in one.row_scores}


def test_a_column_that_moved_as_a_whole_says_nothing(table_case, profile_of, halves):
    """A calendar column is new for every row, which would make every cell of it hot."""
    before, batch = halves
    later = batch.with_columns(day=pl.col("day") + 200)
    measured = examine(table_case(later, reference=profile_of(before)))
    assert measured.findings == ()
    found = crowds.heat(
        table_case(later, reference=profile_of(before)).survey.observed[0],
        moved=0.25,
        least=5,
        lift=2.5,
        alpha=0.001,
    )
    assert "day" not in found.names
    assert "hour" in found.names


def test_without_a_reference_or_columns_it_did_not_look(table_case, profile_of, halves):
    before, batch = halves
    with pytest.raises(Skip, match="no reference"):
        examine(table_case(batch))
    narrow = ["id", "source", "hour", "label"]
    case = table_case(batch.select(narrow), reference=profile_of(before.select(narrow)))
    outcome = run("crowds", case).outcome
    assert isinstance(outcome, Skipped)
    assert "triples" in outcome.reason


def test_rows_without_values_and_few_rows_are_read(table_case, profile_of, halves):
    before, batch = halves
    empty = batch.with_columns(pl.lit(None).cast(batch[name].dtype).alias(name) for name in NUMBERS)
    for frame in (empty, batch[:1]):
        outcome = run("crowds", table_case(frame, reference=profile_of(before))).outcome
        assert isinstance(outcome, Ran | Skipped)
        if isinstance(outcome, Ran):
            assert outcome.measured.findings == ()


def test_the_reference_is_named_among_what_steered_it(table_case, profile_of, halves):
    before, batch = halves
    reference = profile_of(before)
    inputs = run("crowds", table_case(batch[:500], reference=reference)).inputs
    assert inputs["reference"] == str(reference.digest)


def messages(seed, rows=1500):
    """Texts of 300 words with shares that fall off, as words have."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(3, 303)
    words = rng.choice(300, (rows, 12), p=shares / shares.sum())
    texts = [" ".join(f"w{one}" for one in line) for line in words]
    return pl.DataFrame({"text": texts, "label": rng.choice(["a", "b"], rows)})


def copied(frame, many, seed):
    """`many` rows get the words of the first, one of them another in each."""
    rng, words = np.random.default_rng(seed), frame["text"][0].split()
    rows = np.sort(rng.permutation(frame.height)[:many])
    copies = []
    for _ in range(many):
        place = rng.integers(len(words))
        copies.append(" ".join([*words[:place], f"w{rng.integers(300)}", *words[place + 1 :]]))
    return frame.with_columns(frame["text"].scatter(rows, pl.Series(copies))), set(rows.tolist())


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_near_copies_of_a_text_are_a_crowd_whatever_their_labels(table_case, profile_of, seed):
    reference, clean = profile_of(messages(10 + seed)), messages(20 + seed)
    assert examine(table_case(clean, reference=reference)).findings == ()
    spoilt, rows = copied(clean, 45, seed)
    measured = examine(table_case(spoilt, reference=reference))
    (found,) = measured.findings
    assert "text (words)" in found.summary
    held = {score.row for score in measured.row_scores}
    assert len(held & rows) >= 0.6 * len(rows)
    assert len(held & rows) >= 0.9 * len(held)


def test_copies_that_the_reference_has_as_well_are_none(table_case, profile_of):
    """A signature, a form letter: what is usual there is no news here."""
    reference = profile_of(copied(messages(31), 45, 5)[0])
    again = messages(32)
    batch = again.with_columns(again["text"].scatter(0, messages(31)["text"][0]))
    assert examine(table_case(copied(batch, 45, 6)[0], reference=reference)).findings == ()


def pictures(seed, rows=800):
    """Discs of any size, place and light before a ground of any light."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:24, :24]
    found = []
    for _ in range(rows):
        top, left, wide = *rng.uniform(6, 18, 2), rng.uniform(2, 9)
        inside = (y - top) ** 2 / rng.uniform(0.3, 2) + (x - left) ** 2 < wide**2
        found.append(np.where(inside, rng.integers(0, 256), rng.integers(0, 256)))
    return np.clip(np.array(found) + rng.normal(0, 6, (rows, 24, 24)), 0, 255).astype(np.uint8)


def stored(grey, seed=0):
    files = []
    for one in grey:
        buffer = io.BytesIO()
        Image.fromarray(one).save(buffer, "PNG")
        files.append(buffer.getvalue())
    labels = np.random.default_rng(seed).choice(["a", "b"], len(files))
    return pl.DataFrame({"image": files, "label": labels})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_near_copies_of_a_picture_are_a_crowd(table_case, profile_of, seed):
    reference, clean = profile_of(stored(pictures(10 + seed))), pictures(20 + seed)
    assert examine(table_case(stored(clean), reference=reference)).findings == ()
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(clean))[:40])
    moved = [np.roll(clean[0], rng.integers(-1, 2, 2), (0, 1)) for _ in rows]
    clean[rows] = np.clip(np.array(moved) + rng.normal(0, 3, (40, 24, 24)), 0, 255)
    measured = examine(table_case(stored(clean), reference=reference))
    (found,) = measured.findings
    assert "image (looks)" in found.summary
    held = {score.row for score in measured.row_scores}
    assert len(held & set(rows.tolist())) >= 32
    assert len(held) <= 50
