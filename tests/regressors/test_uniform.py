"""The numbers that decide which rows of a stream are held out and drawn."""

import numpy as np
import pytest
from scipy import stats

from bridges_tabular.regressors.streams import uniform

ROWS = np.arange(1_000)


def test_each_number_is_the_row_s_own() -> None:
    np.testing.assert_array_equal(uniform(ROWS[700:], 3, 1), uniform(ROWS, 3, 1)[700:])


@pytest.mark.parametrize("purpose", [0, 1])
def test_numbers_of_a_seed_and_shares_of_all_seeds_are_as_drawn(purpose: int) -> None:
    each = np.array([uniform(ROWS, seed, purpose) for seed in range(200)])
    assert stats.kstest(each.ravel(), "uniform").pvalue > 1e-3
    # the shares below a fifth spread over the seeds as independent draws do
    below = (each < 0.2).sum(axis=1)
    assert stats.kstest(stats.norm.cdf(below, 200, np.sqrt(160)), "uniform").pvalue > 1e-3


def test_seeds_and_purposes_share_no_numbers() -> None:
    each = [uniform(ROWS, seed, purpose) for seed in range(3) for purpose in range(3)]
    assert len(np.unique(np.concatenate(each))) == 9 * len(ROWS)
    correlations = np.corrcoef(each)[np.triu_indices(9, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(len(ROWS))
