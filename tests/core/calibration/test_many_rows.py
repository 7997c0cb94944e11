"""Calibration of many rows: what it costs, what it may leave out, and that it still covers."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.core.calibration import ConformalIntervals, DistributionCalibrator
from bridges_tabular.regressors.engine import CALIBRATION_ROWS, held_out
from bridges_tabular.regressors.forecast import Forecast
from bridges_tabular.regressors.rows import Rows

COVERAGES = (0.5, 0.8, 0.9, 0.99)


def noisy(n, seed):
    """Points and targets with exponential noise that grows with the point."""
    rng = np.random.default_rng(seed)
    m = rng.uniform(size=n)
    return m, m + (0.02 + 0.3 * m) * (rng.standard_exponential(n) - 1.0)


class Counted:
    """A trained model that remembers how many rows it was asked for."""

    asked = 0

    def forecast(self, X):
        self.asked += len(X)
        return [Forecast(X["m"].to_numpy())]


def rows_of(n, seed=0, weight=None):
    m, y = noisy(n, seed)
    return Rows(pd.DataFrame({"m": m}), y[:, None], weight)


@pytest.mark.parametrize(("n", "used"), [(500, 500), (CALIBRATION_ROWS, CALIBRATION_ROWS), (200_000, CALIBRATION_ROWS)])
def test_the_model_is_asked_for_a_bounded_number_of_rows(n, used):
    model = Counted()
    (found,) = held_out(model, rows_of(n), 0)
    assert model.asked == len(found.y) == used


def test_the_seed_decides_which_rows_are_used():
    rows = rows_of(20_000)
    first, again, other = (held_out(Counted(), rows, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.y, again.y)
    np.testing.assert_array_equal(first.forecast.point, again.forecast.point)
    assert len(np.unique(first.y)) == CALIBRATION_ROWS
    assert 0.2 < np.isin(first.y, other.y).mean() < 0.6


def test_a_drawn_row_keeps_its_target_and_its_weight():
    weight = 1.0 + np.arange(20_000) % 2
    rows = rows_of(20_000, weight=weight)
    (found,) = held_out(Counted(), rows, 3)
    at = pd.Index(rows.X["m"]).get_indexer(found.forecast.point)
    np.testing.assert_array_equal(found.y, rows.y[at, 0])
    ratio = found.weight / weight[at]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_memory_of_held_out_distributions_grows_with_the_rows_and_not_with_their_square():
    peaks = []
    for n in (4_000, 16_000):
        m, y = noisy(n, 0)
        fitted = DistributionCalibrator().fit(None, None, m, y)
        tracemalloc.start()
        fitted._residuals.held_out(y - m, m, None, np.ones(n))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 6 * peaks[0]


def test_held_out_rows_know_nothing_of_their_own_targets():
    m, y = noisy(3_000, 1)
    fitted = DistributionCalibrator().fit(None, None, m, y)
    before = fitted.predict_held_out(None, m, y)
    moved = y.copy()
    moved[1_700] += 50.0
    after = fitted.predict_held_out(None, m, moved)
    levels = [0.02, 0.5, 0.98]
    others = np.arange(3_000) != 1_700
    np.testing.assert_allclose(after[1_700].quantile(levels), before[1_700].quantile(levels), atol=0.01)
    assert np.abs(after[others].quantile([0.995]) - before[others].quantile([0.995])).max() > 0.05


@pytest.mark.parametrize("n", [1_000, 1_100, CALIBRATION_ROWS])
def test_distributions_and_conformal_intervals_cover_new_rows(n):
    (m, y), (new, truth) = noisy(n, 2), noisy(20_000, 3)
    fitted = DistributionCalibrator().fit(None, None, m, y)
    conformal = ConformalIntervals().fit(fitted.predict_held_out(None, m, y), y)
    distribution = fitted.predict(None, new)
    for coverage in COVERAGES:
        error = 5 * np.sqrt(coverage * (1 - coverage) * (1 / n + 1 / 20_000))
        ends = conformal.interval(distribution, coverage)
        assert ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean() == pytest.approx(coverage, abs=error)
    level = np.array([0.1, 0.5, 0.9])
    expected = (0.02 + 0.3 * 0.5) * (stats.expon.ppf(level) - 1.0)
    np.testing.assert_allclose(fitted.predict(None, [0.5]).quantile(level)[0] - 0.5, expected, atol=0.04)


@pytest.mark.slow
def test_smoke_a_fit_with_200_000_validation_rows_ends():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(201_000, 2)).astype(np.float32)
    y = X[:, 0] + rng.normal(size=len(X))
    model = XGBBridgeRegressor(n_estimators=3, n_jobs=1, verbosity=0)
    model.fit(X[:1_000], y[:1_000], eval_set=(X[1_000:], y[1_000:]))
    ends = model.predict_interval(X[:2_000], 0.9, conformal=True)
    assert ((ends[:, 0] <= y[:2_000]) & (y[:2_000] <= ends[:, 1])).mean() == pytest.approx(0.9, abs=0.05)
