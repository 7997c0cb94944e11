"""ONNX graphs of boosted trees, run by onnxruntime, against the models that they come from."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import bridges_tabular as bt
from bridges_tabular.experiments import read_frame

NUMBERS = ["carat", "depth", "table", "x", "y", "z"]
SMALL = {"n_estimators": 12, "n_bins": 8, "n_jobs": 1}


@pytest.fixture(scope="module")
def diamonds():
    frame = read_frame("diamonds").sample(400, random_state=0).reset_index(drop=True)
    X = frame[NUMBERS].astype(np.float32)
    X.loc[::7, "depth"] = np.nan
    # missing in new rows alone
    X.loc[350:360, "x"] = np.nan
    return X, frame["price"].astype(float)


def graph_of(model, path):
    bt.to_onnx(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(X):
        return dict(zip(names, session.run(None, {"X": np.asarray(X, dtype=np.float32)}), strict=True))

    return run, session


def agree(found, model, X, y):
    np.testing.assert_allclose(found["mean"], model.predict(X), rtol=1e-4, atol=1e-4 * y.std())
    if "pi" in found:
        np.testing.assert_allclose(found["pi"], model._trained.forecast(X)[0].pi, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ({}, ["mean", "pi"]),
        ({"location": "none"}, ["mean", "pi"]),
        ({"location": "none", "scheme": "soft", "n_bins": 2}, ["mean", "pi"]),
        ({"scheme": "hard"}, ["mean", "pi"]),
        ({"scheme": "hard", "location": "none", "xgb_params": {"num_parallel_tree": 2}}, ["mean", "pi"]),
        ({"scheme": "least_squares", "tree_method": "exact", "gamma": 0.01}, ["mean"]),
        ({"monotone_constraints": {"carat": 1}}, ["mean", "pi"]),
    ],
)
def test_a_graph_of_trees_says_what_the_trees_say(diamonds, tmp_path, options, outputs):
    X, y = diamonds
    model = bt.XGBBridgeRegressor(**(SMALL | options)).fit(X[:350], y[:350])
    run, session = graph_of(model, tmp_path / "model.onnx")
    for rows in (X, X[:1], X[350:352], pd.DataFrame(np.nan, X.index[:3], X.columns)):
        found = run(rows)
        assert list(found) == outputs
        agree(found, model, rows, y)
    assert np.ptp(found["mean"]) == 0 < np.ptp(run(X)["mean"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["columns"]) == NUMBERS


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A model of few distinct numbers, a graph of it, and its thresholds."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 6, 300) * np.float32(0.1), rng.normal(size=300)]).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.nan_to_num(X[:, 0]) ** 2 + np.nan_to_num(X[:, 1], nan=2.0) + rng.normal(0, 0.1, 300)
    model = bt.XGBBridgeRegressor(**SMALL).fit(X, y)
    trees = pd.concat(booster.trees_to_dataframe() for booster in model.get_location_boosters())
    thresholds = trees["Split"].dropna().astype(np.float32).unique()
    return model, graph_of(model, tmp_path_factory.mktemp("grid") / "model.onnx")[0], thresholds, y


def test_numbers_on_a_threshold_and_beside_it_go_the_same_way(grid):
    model, run, thresholds, y = grid
    below = np.nextafter(thresholds, np.float32(-np.inf))
    values = np.concatenate([thresholds, below, np.nextafter(thresholds, np.float32(np.inf)), [np.float32(np.nan)]])
    X = np.column_stack([values, values[::-1]])
    agree(run(X), model, X, y)
    # there is something to be told apart
    assert not np.array_equal(*(model.predict(np.column_stack([at, at])) for at in (thresholds, below)))


@given(arrays(np.float32, (5, 2), elements=st.floats(-(2.0**120), 2.0**120, width=32) | st.just(float("nan"))))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_numbers_go_the_same_way(grid, X):
    model, run, _, y = grid
    agree(run(X), model, X, y)


def test_numbers_that_are_scaled_first(diamonds, tmp_path):
    X, y = diamonds
    far = X[["carat", "depth"]].assign(depth=X["depth"] * np.float32(1024) + np.float32(2.0**27))
    model = bt.XGBBridgeRegressor(**SMALL).fit(far, y)
    assert model._trained.features.arrays()["scale"].tolist() != [1, 1]
    run, _ = graph_of(model, tmp_path / "model.onnx")
    agree(run(far), model, far, y)


def test_a_single_leaf(diamonds, tmp_path):
    X, y = diamonds
    model = bt.XGBBridgeRegressor(**SMALL, gamma=1e9).fit(X, y)
    run, _ = graph_of(model, tmp_path / "model.onnx")
    agree(run(X), model, X, y)


def test_what_no_graph_of_trees_holds_is_refused(diamonds, tmp_path):
    X, y = diamonds
    small = SMALL | {"location": CatBoostRegressor(iterations=3, thread_count=1, allow_writing_files=False)}
    model = bt.XGBBridgeRegressor(**small).fit(X, y)
    with pytest.raises(ValueError, match=r"^to_onnx: a location of catboost's regressors has no graph$"):
        bt.to_onnx(model, tmp_path / "model.onnx")
    model = bt.XGBBridgeRegressor(**SMALL).fit(X.assign(cut=pd.Categorical(["a", "b"] * 200)), y)
    with pytest.raises(ValueError, match=r"^to_onnx: column 'cut' holds categories, .*$"):
        bt.to_onnx(model, tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())
