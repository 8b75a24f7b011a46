"""A prediction interval from a few earlier versions holds its level, and sees what it should."""

import numpy as np
import pytest
from scipy.stats import t

from guards.numerics.prediction import PRIOR_DF, moved


@pytest.mark.parametrize("versions", [3, 4, 6, 12])
@pytest.mark.parametrize("spread", ["equal", "unequal"])
def test_false_alarms_over_ten_groups_stay_at_their_level(versions, spread):
    """Bonferroni at 1 % over ten groups, 1,000 repeats; unequal spreads differ by a factor 4."""
    rng = np.random.default_rng(versions)
    scale = np.ones(10) if spread == "equal" else np.geomspace(0.5, 2, 10)
    least = [
        moved(draw[0] * scale, draw[1:] * scale, floor=1e-6).p_values.min()
        for draw in rng.standard_normal((1000, versions + 1, 10))
    ]
    assert (np.array(least) * 10 <= 0.01).mean() <= 0.02


def test_a_single_group_is_the_moderated_t_of_the_docstring():
    earlier = np.array([[1.0], [2.0], [4.0]])
    seen = moved([9.0], earlier, floor=1e-9)
    variance = earlier.var(ddof=1)
    expected = 2 * t.sf((9 - 7 / 3) / np.sqrt(variance * (1 + 1 / 3)), PRIOR_DF + 2)
    assert seen.p_values[0] == pytest.approx(expected)
    assert seen.change[0] == pytest.approx(9 - 7 / 3)


def test_fewer_than_three_say_nothing_and_that_is_told():
    seen = moved([9.0, 9.0], [[1.0, np.nan], [1.1, 1.0], [1.0, 1.0]], floor=0.1)
    assert seen.p_values[0] < 1e-6
    assert seen.p_values[1] == 1
    assert np.isnan(seen.before[1])
    assert moved([1.0], np.zeros((0, 1)), floor=0.1).p_values.tolist() == [1.0]


def test_nearly_equal_versions_do_not_make_the_next_one_an_alarm():
    """The same data published five times says nothing of what new data will do."""
    assert moved([0.51], np.full((5, 1), 0.5), floor=0.01).p_values[0] > 0.1


def test_a_group_that_is_gone_is_not_judged():
    assert moved([np.nan], [[1.0], [1.0], [1.0]], floor=0.1).p_values.tolist() == [1.0]
