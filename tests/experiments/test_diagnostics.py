from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance as sklearn_importance
from sklearn.linear_model import LinearRegression

from bridges_tabular._progress import listen, report
from bridges_tabular.boosting import XGBBridgeRegressor
from bridges_tabular.experiments.diagnostics import LearningCurve, describe_encoder, permutation_importance
from bridges_tabular.tabular import TabularBridgeRegressor


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


def test_a_curve_keeps_the_last_scored_stage_and_passes_steps_on() -> None:
    heard: list[tuple[int, int, float | None]] = []
    curve = LearningCurve(lambda *step: heard.append(step))
    steps = [(1, 2, 5.0), (2, 2, 4.0), (1, 3, 3.0), (2, 3, None), (3, 3, float("inf")), (1, 3, None)]
    with listen(curve):
        for step in steps:
            report(*step)
    assert heard == steps
    assert curve.of(object()) == [(1, "rmse", 3.0)]


def test_curves_of_both_engines_name_what_they_watch(frame: pd.DataFrame) -> None:
    X, y = frame[["size", "kind"]], frame["price"].to_numpy()
    boosted = XGBBridgeRegressor("soft", n_bins=8, n_estimators=6, n_jobs=1, early_stopping_metric="crps")
    network = TabularBridgeRegressor(n_bins=8, max_epochs=3)
    for model, metric in ((boosted, "crps"), (network, "rmse")):
        curve = LearningCurve(lambda *_: None)
        with listen(curve):
            model.fit(X, y)
        steps = pd.DataFrame(curve.of(model), columns=["step", "metric", "score"])
        assert steps["step"].tolist() == list(range(1, len(steps) + 1))
        assert (steps["metric"] == metric).all()
        kept = boosted.best_iteration_ if model is boosted else network.best_epoch_
        assert steps["score"].idxmin() == kept


@pytest.mark.parametrize(
    "model",
    [
        XGBBridgeRegressor("soft", n_bins=8, n_estimators=5),
        TabularBridgeRegressor(scheme="end_to_end", n_bins=8, max_epochs=2),
        TabularBridgeRegressor(scheme="hard", n_bins=8, max_epochs=2),
    ],
    ids=["boosted", "end_to_end", "hard"],
)
def test_the_description_of_an_encoder_is_that_of_a_code(frame: pd.DataFrame, model: Any) -> None:
    y = frame["price"].to_numpy()
    X = frame[["size", "kind"]]
    found = describe_encoder(model.fit(X, y), X, y)
    assert found is not None
    assert sum(found["histogram"]["counts"]) == len(y)
    assert found["on"] == ("error" if isinstance(model, XGBBridgeRegressor) else "target")
    edges, centers, values, psi = (np.array(found[key]) for key in ("edges", "centers", "values", "psi"))
    assert (np.diff(edges) > 0).all()
    assert ((edges[:-1] <= centers) & (centers <= edges[1:])).all()
    assert psi.shape == (len(found["y"]), len(values))
    assert psi.sum(axis=1) == pytest.approx(np.ones(len(psi)), abs=1e-3)
    assert len(found["use"]) == len(values)
    assert sum(found["use"]) == pytest.approx(1.0, abs=1e-4)
    # what a value is decoded as grows with it
    inside = (edges[1] < found["y"]) & (found["y"] < edges[-2])
    assert np.corrcoef((psi @ values)[inside], np.array(found["y"])[inside])[0, 1] > 0.9


@pytest.mark.parametrize("scheme", ["hard", "end_to_end"])
def test_the_use_of_the_training_rows_is_that_of_the_model(frame: pd.DataFrame, scheme: str) -> None:
    X, y = frame[["size", "kind"]], frame["price"].to_numpy()
    model = TabularBridgeRegressor(scheme=scheme, n_bins=8, max_epochs=2).fit(X[:80], y[:80], eval_set=(X[80:], y[80:]))
    found = describe_encoder(model, X[:80], y[:80])
    assert found is not None
    assert found["use"] == pytest.approx(model.encoder_frame()["use"].tolist(), abs=1e-5)
    # that of other rows is another
    other = describe_encoder(model, X[:20], y[:20])
    assert other is not None
    assert other["use"] != pytest.approx(found["use"], abs=0.01)


def test_points_have_no_encoder(frame: pd.DataFrame) -> None:
    y = frame["price"].to_numpy()
    for model in (
        XGBBridgeRegressor("least_squares", n_estimators=3),
        TabularBridgeRegressor(scheme="least_squares", max_epochs=1),
        TabularBridgeRegressor(scheme="softmax_least_squares", max_epochs=1),
    ):
        assert describe_encoder(model.fit(frame[["size", "kind"]], y), frame[["size", "kind"]], y) is None
