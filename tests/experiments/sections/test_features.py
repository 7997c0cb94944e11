from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance as sklearn_importance
from sklearn.linear_model import LinearRegression

from bridges_tabular.experiments.sections.features import permutation_importance


@pytest.fixture
def linear() -> tuple[LinearRegression, pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(900, 3)), columns=["strong", "weak", "idle"])
    y = 5 * X["strong"].to_numpy() + X["weak"].to_numpy() + rng.normal(0, 0.5, 900)
    return LinearRegression().fit(X, y), X, y


def test_importances_agree_with_scikit_learn(linear: Any) -> None:
    model, X, y = linear
    found = permutation_importance(model, X, y, seed=0).set_index("feature")
    assert found.index.tolist() == ["strong", "weak", "idle"]
    oracle = sklearn_importance(
        model, X, y, scoring="neg_root_mean_squared_error", n_repeats=20, random_state=1
    ).importances_mean
    assert found["increase"].tolist() == pytest.approx(oracle.tolist(), rel=0.05, abs=0.01)
    # shuffling a feature of a linear model adds 2 coefficient^2 variance to the squared error
    error = np.mean((y - model.predict(X)) ** 2)
    expected = np.sqrt(error + 2 * model.coef_[0] ** 2 * X["strong"].var()) - np.sqrt(error)
    assert found.loc["strong", "increase"] == pytest.approx(expected, rel=0.05)
    assert (found["deviation"] < 0.2).all()


def test_importances_leave_the_table_as_it_was_and_repeat(linear: Any) -> None:
    model, X, y = linear
    before = X.copy()
    first = permutation_importance(model, X, y, seed=3)
    pd.testing.assert_frame_equal(X, before)
    pd.testing.assert_frame_equal(first, permutation_importance(model, X, y, seed=3))
    assert not first["increase"].equals(permutation_importance(model, X, y, seed=4)["increase"])


def test_importances_are_by_weight(linear: Any) -> None:
    model, X, y = linear
    # where the weights are, the model is wrong
    heavy = X["idle"].to_numpy() > 0
    y = np.where(heavy, y - 6 * X["strong"].to_numpy(), y)
    weight = np.where(heavy, 5.0, 0.1)
    found = permutation_importance(model, X, y, seed=0, weight=weight)["increase"]
    oracle = sklearn_importance(
        model, X, y, scoring="neg_root_mean_squared_error", n_repeats=20, random_state=1, sample_weight=weight
    ).importances_mean
    assert found.tolist() == pytest.approx(oracle.tolist(), rel=0.1, abs=0.02)
    assert found[0] < permutation_importance(model, X, y, seed=0)["increase"][0] - 0.5
