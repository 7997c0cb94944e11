"""Contributions of the features to the decoded mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from bridges_tabular import XGBBridgeRegressor

Homes = tuple[pd.DataFrame, pd.Series]


@pytest.mark.parametrize("location", ["cross_fitted", "none"])
@pytest.mark.parametrize("scheme", ["least_squares", "hard", "soft", "end_to_end"])
def test_contributions_add_up_to_the_prediction(scheme: Any, location: Any, homes: Homes) -> None:
    X, y = homes
    y = 1e4 + 100 * y
    model = XGBBridgeRegressor(scheme, location=location, n_bins=12, n_estimators=40, n_jobs=1).fit(X, y)
    shares = model.predict_contributions(X)
    assert shares.shape == (len(X), X.shape[1] + 1)
    np.testing.assert_allclose(shares.sum(axis=1), model.predict(X), atol=1e-3 * y.std())
    importance = np.abs(shares[:, :-1]).mean(axis=0)
    assert importance.argmax() == X.columns.get_loc("size")
    assert importance.argmin() == X.columns.get_loc("noise")


def test_least_squares_contributions_are_xgboost_s_own(homes: Homes) -> None:
    X, y = homes
    X = X[["size", "age"]]
    model = XGBBridgeRegressor("least_squares", n_estimators=20, early_stopping_rounds=None, n_jobs=1).fit(X, y)
    expected = model.get_booster().predict(xgb.DMatrix(X), pred_contribs=True) * y.std(ddof=0)
    expected[:, -1] += y.mean()
    np.testing.assert_allclose(model.predict_contributions(X), expected, rtol=1e-4, atol=1e-5)


def test_a_feature_without_any_effect_contributes_nothing(homes: Homes) -> None:
    X, y = homes
    X = X.assign(constant=1.0)
    shares = XGBBridgeRegressor(n_bins=12, n_estimators=40, n_jobs=1).fit(X, y).predict_contributions(X)
    assert not shares[:, X.columns.get_loc("constant")].any()


def test_two_bins_have_a_single_margin(homes: Homes) -> None:
    X, y = homes
    model = XGBBridgeRegressor(n_bins=2, n_estimators=20, n_jobs=1).fit(X, y)
    np.testing.assert_allclose(model.predict_contributions(X).sum(axis=1), model.predict(X), atol=1e-3 * y.std())
