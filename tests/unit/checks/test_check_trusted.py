"""Rows beside trusted rows: valid p-values, a power floor that is told, and a vouched input."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest

from guards import checks
from guards.checks import trusted
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.digest import Digest
from guards.errors import Skip, Untrusted, UsageError
from guards.findings import Ran, Skipped
from guards.inputs import load_trusted
from guards.provenance.snapshot import Snapshot, take
from guards.verdict import Policy

ROWS, TRUSTED = 600, 500
# The floor for 600 rows, a tenth of them planted, at q = .1 is 99 trusted rows.
EASY = trusted.Settings(q=0.1, poison_rate=0.1)


def table(rows: int, seed: int, wrong: float = 0.0) -> pl.DataFrame:
    """Three classes that two columns tell apart; `wrong` of class a are c's rows."""
    rng = np.random.default_rng(seed)
    true = np.arange(rows) % 3
    x, y = (rng.normal(size=rows) + 8.0 * (true == kind) for kind in (0, 1))
    given = np.where((true == 2) & (rng.random(rows) < wrong), 0, true)
    return pl.DataFrame({"x": x, "y": y, "label": np.array(["a", "b", "c"])[given]})


@pytest.fixture
def case_of(tmp_path):
    def make(data: pl.DataFrame, known: pl.DataFrame, seed: int = 0) -> Case:
        opened = []
        for name, frame in (("data", data), ("trusted", known)):
            (tmp_path / name).mkdir(exist_ok=True)
            frame.write_parquet(tmp_path / name / "a.parquet")
            opened.append(open_dataset(tmp_path / name, ["a.parquet"]))
        return Case(
            snapshot=Snapshot(files=()),
            roles=opened[0].roles,
            opened=opened[0],
            trusted=opened[1],
            trusted_root="sha256:" + "0" * 64,
            seed=seed,
        )

    return make


def test_p_values_of_clean_rows_are_uniform_and_nobody_is_accused(case_of):
    case = case_of(table(ROWS, 1), table(TRUSTED, 2))
    scored = trusted.score(case)
    found = trusted._pick(scored, "wrong", EASY).p_values
    assert len(found) == ROWS
    # Not independent, as they share the trusted rows: far coarser than the test's own bound.
    assert kstest(found, "uniform").statistic < 0.1
    assert trusted.examine(case, EASY).findings == ()


def test_wrong_labels_of_one_class_are_held_with_their_p_values(case_of):
    data = table(ROWS, 3, wrong=0.25)
    seen = trusted.examine(case_of(data, table(TRUSTED, 4)), EASY)
    assert [(f.code, f.subject.name) for f in seen.findings] == [("contradicted-labels", "a")]
    held = np.array([score.row for score in seen.row_scores])
    planted = (data["label"].to_numpy() == "a") & (np.arange(ROWS) % 3 != 0)
    assert planted[held].mean() > 0.7
    assert planted[held].sum() > 0.4 * planted.sum()
    assert all(1 / (TRUSTED + 1) <= score.p_value <= 0.1 for score in seen.row_scores)


def test_too_few_trusted_rows_are_told_and_not_silently_blind(case_of):
    outcome = checks.run("trusted", case_of(table(ROWS, 5), table(60, 6))).outcome
    assert isinstance(outcome, Skipped)
    assert "too few trusted rows: 60 of 1999 needed" in outcome.reason


def test_without_trusted_rows_it_is_skipped(case_of):
    case = Case(snapshot=Snapshot(files=()), roles=case_of(table(9, 1), table(9, 2)).roles)
    with pytest.raises(Skip, match="no trusted rows were given"):
        trusted.examine(case, EASY)


def test_other_columns_cannot_be_compared(case_of):
    known = table(TRUSTED, 7).with_columns(pl.col("x").cast(pl.String))
    with pytest.raises(Skip, match="other columns or types"):
        trusted.examine(case_of(table(ROWS, 8), known), EASY)


def test_a_repeat_gives_the_same_bytes_and_names_the_trusted_rows(case_of):
    case = case_of(table(300, 9), table(400, 10), seed=5)
    one, two = (checks.run("trusted", case, {"q": 0.1, "poison_rate": 0.1}) for _ in range(2))
    assert isinstance(one.outcome, Ran)
    assert one.digest == two.digest
    assert one.inputs["trusted_rows"] == case.trusted_root


class TestVouched:
    """Whoever can swap the trusted rows decides what is suspicious."""

    @pytest.fixture
    def ask(self, spine, tmp_path):
        def load(path, pin=None, trust=spine.trust, **more):
            private = tmp_path / "private"
            (private / "data").mkdir(parents=True)
            (private / "data" / "a.parquet").write_bytes((spine.batch / "a.parquet").read_bytes())
            opened = open_dataset(private / "data", ["a.parquet"])
            pins = {} if pin is None else {"trusted_rows": pin}
            policy = Policy(name="p", rules=("a",), required=(), pins=pins, **more)
            return load_trusted(path, policy, trust, datetime.now(UTC), opened)

        return load

    def test_signed_ones_are_taken(self, spine, ask):
        found, root = ask(spine.batch)
        assert found.rows == 80
        assert root == str(take(spine.batch).snapshot.root)

    @pytest.mark.parametrize("spoil", ["unsigned", "stranger", "neighbour", "changed"])
    def test_those_that_nobody_vouches_for_are_refused(self, spine, ask, spoil):
        if spoil == "changed":
            (spine.batch / "a.parquet").write_bytes(
                (spine.batch / "more" / "b.parquet").read_bytes()
            )
        else:
            spine.manifest.unlink()
        if spoil in ("stranger", "neighbour"):
            spine.sign(spoil)
        with pytest.raises(Untrusted, match="nobody trusted vouches"):
            ask(spine.batch)

    def test_a_pin_takes_exactly_what_it_names_and_nothing_that_is_merely_signed(self, spine, ask):
        root = str(take(spine.batch).snapshot.root)
        spine.manifest.unlink()
        assert ask(spine.batch, pin=root)[0].rows == 80

    def test_a_pin_refuses_other_rows_though_they_are_signed(self, spine, ask):
        with pytest.raises(Untrusted, match="the policy pins"):
            ask(spine.batch, pin=str(Digest.of(b"other")))

    def test_without_any_trust_they_are_taken_as_they_come(self, spine, ask):
        spine.manifest.unlink()
        assert ask(spine.batch, trust=None)[0].rows == 80

    def test_the_policy_may_say_where_they_are(self, spine, ask):
        root = str(take(spine.batch).snapshot.root)
        assert ask(None, pin=root, files={"trusted_rows": str(spine.batch)})[1] == root

    def test_a_pin_that_nobody_answers_is_told(self, spine, ask):
        with pytest.raises(UsageError, match="give --trusted-rows"):
            ask(None, pin=str(Digest.of(b"x")))

    def test_none_asked_is_none(self, ask):
        assert ask(None) == (None, "")

    def test_an_absent_path_is_told(self, spine, ask):
        with pytest.raises(UsageError, match="no such file"):
            ask(spine.home / "absent")
