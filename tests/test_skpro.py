"""Regressors and distributions as skpro's own tests and metrics find them."""

import doctest
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from sklearn.base import clone
from skpro.metrics import CRPS
from skpro.utils import check_estimator

from bridges_tabular import BinnedDistribution, XGBBridgeRegressor
from bridges_tabular import skpro as ours
from bridges_tabular.skpro import SkproDistribution, SkproRegressor

# an atom at 1, tails of their own
BINNED = BinnedDistribution(
    [0.0, 1.0, 1.0, 3.0], [[0.4, 0.2, 0.3], [0.2, 0.0, 0.7]], tail_masses=[0.04, 0.06], tail_scales=[0.5, 1.0]
)
ROWS = SkproDistribution(BINNED, index=["u", "v"], columns=["a"])
WIDE = 60.0


# skpro looks for tests of all its estimators in each run
@pytest.mark.slow
@pytest.mark.parametrize("cls", [SkproRegressor, SkproDistribution])
@pytest.mark.filterwarnings("ignore")
def test_skpro_finds_nothing_wrong(cls):
    results = check_estimator(cls, verbose=False)
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}
    assert len(results) > 40


def test_examples():
    found = doctest.testmod(ours)
    assert found.failed == 0 < found.attempted


def test_numbers_of_a_distribution_are_its_own():
    y = pd.DataFrame({"a": [0.7, -2.0]}, index=["u", "v"])
    flat = y["a"].to_numpy()
    for name in ("pdf", "cdf"):
        np.testing.assert_array_equal(getattr(ROWS, name)(y)["a"], getattr(BINNED, name)(flat))
    np.testing.assert_allclose(ROWS.log_pdf(y), np.log(ROWS.pdf(y)))
    atom = ROWS.pmf(pd.DataFrame({"a": [1.0, 1.0]}, index=y.index))["a"]
    np.testing.assert_allclose(atom, [0.2, 0.0])
    np.testing.assert_array_equal(ROWS.mean()["a"], BINNED.mean)
    np.testing.assert_array_equal(ROWS.var()["a"], BINNED.var)
    np.testing.assert_allclose(ROWS.ppf(ROWS.cdf(y)), y)
    assert ROWS.ppf(y * 0 + 0.5).equals(pd.DataFrame({"a": BINNED.median}, index=y.index))


@pytest.mark.parametrize("row", [0, 1])
def test_energies_against_quadrature(row):
    """E|Y - x| is the integral of F below x and of 1 - F above, E|Y - Y'| twice that of F (1 - F)."""
    one, x = BINNED[row], 0.7

    def cdf(at):
        return float(one.cdf(at)[0])

    def integral(function, low, high):
        inner = [p for p in (0.0, 1.0, 3.0) if low < p < high]
        return quad(function, low, high, points=inner, limit=400)[0]

    expected = integral(cdf, -WIDE, x) + integral(lambda at: 1 - cdf(at), x, WIDE)
    label = ROWS.index[row]
    found = ROWS.loc[[label]]
    np.testing.assert_allclose(found.energy(pd.DataFrame({"a": [x]}, index=[label])), expected, rtol=1e-6)
    np.testing.assert_allclose(found.energy(), 2 * integral(lambda at: cdf(at) * (1 - cdf(at)), -WIDE, WIDE), rtol=1e-6)
    assert ROWS.iat[row, 0].energy(x) == pytest.approx(expected, rel=1e-6)


def test_rows_are_picked_by_label():
    picked = ROWS.loc[["v", "u"]]
    assert picked.index.tolist() == ["v", "u"]
    np.testing.assert_array_equal(picked.mean()["a"], BINNED.mean[::-1])
    assert ROWS.iat[1, 0].mean() == BINNED.mean[1]
    assert SkproDistribution(BINNED).index.tolist() == [0, 1]


@pytest.mark.parametrize("labels", [{"index": [1, 2, 3]}, {"columns": ["a", "b"]}])
def test_labels_that_do_not_match_are_refused(labels):
    with pytest.raises(ValueError, match=r"^index and columns have \d and \d entries, expected 2 and 1 of 2 rows$"):
        SkproDistribution(BINNED, **labels)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=150), "b": pd.Categorical(rng.choice(["u", "v"], 150))})
    X.loc[::9, "a"] = np.nan
    y = np.nan_to_num(X["a"].to_numpy()) + (X["b"] == "u") + rng.normal(0, 0.1, 150)
    return X, pd.DataFrame({"y": y})


def test_a_regressor_says_what_its_own_says(table):
    X, y = table
    own = XGBBridgeRegressor(n_estimators=10, n_jobs=1)
    model = SkproRegressor(own).fit(X[:100], y[:100])
    expected = clone(own).fit(X[:100], y["y"][:100])
    new = X[100:]
    np.testing.assert_array_equal(model.predict(new)["y"], expected.predict(new))
    quantiles = model.predict_quantiles(new, [0.1, 0.9])
    np.testing.assert_allclose(quantiles, expected.predict_quantiles(new, [0.1, 0.9]))
    assert quantiles.index.equals(new.index)
    np.testing.assert_allclose(model.predict_var(new)["y"], expected.predict_distribution(new).var)
    crps = expected.predict_distribution(new).crps(y["y"][100:]).mean()
    assert CRPS()(y[100:], model.predict_proba(new)) == pytest.approx(crps)
    assert not hasattr(own, "scale_")


def test_other_estimators_are_refused():
    with pytest.raises(TypeError, match=r"^SkproRegressor takes a regressor of bridges_tabular, got str$"):
        SkproRegressor("trees").fit(pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"y": [1.0, 2.0]}))


def test_without_skpro_one_line_says_what_to_install():
    code = """import sys
sys.modules["skpro"] = None
try:
    import bridges_tabular.skpro
except ImportError as error:
    print(error)"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found == 'regressors of skpro need it: pip install "bridges-tabular[skpro]"\n'
