"""Contributions to the mean, the spread and quantiles, against Shapley values by enumeration."""

import doctest
import importlib
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bridges_tabular as bt

RNG = np.random.default_rng(0)
X = pd.DataFrame({"size": RNG.uniform(size=200), "noisy": RNG.uniform(size=200), "place": RNG.choice(["a", "b"], 200)})
Y = 5 * X["size"] * (1 + (X["place"] == "b")) + (0.2 + 3 * X["noisy"]) * RNG.normal(size=200)
OF = {
    "mean": lambda model, rows: model.predict(rows),
    "std": lambda model, rows: model.predict_distribution(rows).std,
    0.9: lambda model, rows: model.predict_quantiles(rows, 0.9)[:, 0],
}


@pytest.fixture(scope="module")
def trees():
    return bt.XGBBridgeRegressor(n_bins=10, n_estimators=20, location="none", n_jobs=1).fit(X, Y)


def enumerated(model, rows, background, of):
    """Shapley values: the mean over all orders and background rows of the change that a feature makes."""
    values = np.zeros((len(rows), rows.shape[1]))
    orders = list(permutations(rows.columns))
    for order in orders:
        for i in range(len(rows)):
            mixed = background.reset_index(drop=True)
            before = OF[of](model, mixed).mean()
            for name in order:
                mixed = mixed.assign(**{name: rows[name].iloc[i]})
                after = OF[of](model, mixed).mean()
                values[i, rows.columns.get_loc(name)] += (after - before) / len(orders)
                before = after
    return values


@pytest.mark.parametrize("of", OF)
def test_three_features_agree_with_enumeration_within_the_errors(trees, of):
    rows, background = X[:3], X[100:]
    found = bt.contributions(trees, rows, background, of, draws=40)
    expected = enumerated(trees, rows, background, of)
    off = np.abs(found.values - expected)
    assert (off <= 4 * found.errors + 1e-6).all()
    assert found.errors.mean() < 0.5 * np.abs(expected).mean()
    assert 0.2 < np.sqrt(np.square(off / found.errors).mean()) < 2


@pytest.mark.parametrize("of", OF)
def test_sums_are_exact(trees, of):
    background = X[100:105]
    found = bt.contributions(trees, X[:4], background, of, draws=10)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), OF[of](trees, X[:4]), rtol=1e-5)
    assert found.base == pytest.approx(OF[of](trees, background).mean(), rel=1e-6)


def test_two_features_come_out_exactly():
    table = X[["size", "noisy"]]
    model = bt.XGBBridgeRegressor(n_bins=10, n_estimators=10, location="none", n_jobs=1).fit(table, Y)
    rows, background = table[:3], table[100:104]
    found = bt.contributions(model, rows, background, "std", draws=8)
    np.testing.assert_allclose(found.values, enumerated(model, rows, background, "std"), atol=1e-5)


def test_what_widens_the_distribution_contributes_to_its_spread(trees):
    wide = X.assign(noisy=0.95)[:10]
    found = bt.contributions(trees, wide, X[100:], "std", draws=16)
    assert (found.values[:, 1] > 0).all()
    calm = bt.contributions(trees, X.assign(noisy=0.05)[:10], X[100:], "std", draws=16)
    assert calm.values[:, 1].mean() < 0.5 * found.values[:, 1].mean()


def test_networks_arrays_and_pipelines():
    table = X[["size", "noisy"]].to_numpy()
    network = bt.TabularBridgeRegressor(max_epochs=2, n_bins=8, backbone_params={"layers": "8"})
    model = make_pipeline(StandardScaler(), network).fit(table, Y)
    found = bt.contributions(model, table[:2], table[50:60], 0.1, draws=10)
    expected = bt.predict_distribution(model, table[:2]).quantile(0.1)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), expected, rtol=1e-5)


def test_draws_are_those_of_the_seed_and_one_has_no_error(trees):
    first, again, other = (bt.contributions(trees, X[:2], X[100:], draws=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert np.isnan(bt.contributions(trees, X[:2], X[100:], draws=1).errors).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": "sdt"}, "of='sdt', did you mean 'std'"),
        ({"of": 1.0}, "of=1.0: it is 'mean', 'std' or a level"),
        ({"of": None}, "of=None: it is 'mean', 'std' or a level"),
        ({"of": [0.5]}, r"of=\[0.5\]: it is 'mean', 'std' or a level"),
        ({"of": True}, "of=True: it is 'mean', 'std' or a level"),
        ({"draws": 0}, "draws must be a whole number of at least 1, got 0"),
        ({"draws": 1.5}, "draws must be a whole number of at least 1, got 1.5"),
        ({"draws": "64"}, "draws must be a whole number of at least 1, got '64'"),
        ({"background": X[["noisy", "size", "place"]]}, "the same columns in the same order"),
        ({"background": X.to_numpy()}, "both be DataFrames"),
        ({"background": X[:0]}, "no rows"),
    ],
)
def test_what_cannot_be_used_is_refused(trees, change, message):
    with pytest.raises(ValueError, match=message):
        bt.contributions(trees, **({"X": X[:2], "background": X[100:]} | change))


def test_several_targets_are_refused():
    model = bt.XGBBridgeRegressor(n_bins=4, n_estimators=2, location="none", n_jobs=1)
    model.fit(X, np.stack([Y, -Y], axis=1))
    for of in OF:
        with pytest.raises(ValueError, match="single target"):
            bt.contributions(model, X[:2], X[100:], of)


def test_the_example():
    assert doctest.testmod(importlib.import_module("bridges_tabular.explaining")).failed == 0
