"""ONNX graphs, run by onnxruntime, against the models that they come from."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest

import bridges_tabular as bt
from bridges_tabular.experiments import read_frame

NUMBERS = ["carat", "depth", "table", "x", "y", "z"]
SMALL = {"max_epochs": 2, "n_bins": 12, "backbone_params": {"layers": "16", "n_members": 4}}


@pytest.fixture(scope="module")
def diamonds():
    frame = read_frame("diamonds").sample(300, random_state=0).reset_index(drop=True)
    X = frame[NUMBERS].astype(np.float32)
    X.loc[::7, "depth"] = np.nan
    # missing in new rows alone
    X.loc[250:260, "x"] = np.nan
    return X, frame


def run(path, X, outputs=None):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(outputs, {"X": np.asarray(X, dtype=np.float32)})
    return dict(zip(outputs or names, found, strict=True)), session


def exported(model, path, X, **options):
    bt.to_onnx(model, path, **options)
    return run(path, X)


def masses(model, X, target=0):
    return model._trained.forecast(X)[target].pi


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"head": "cumulative"},
        {"scheme": "hard", "backbone_params": {"layers": "16", "embedding": "plr", "sharing": "batch_ensemble"}},
        {"backbone": "CategoryEmbeddingModelConfig", "backbone_params": {}},
    ],
)
def test_a_graph_of_a_network_says_what_the_network_says(diamonds, tmp_path, options):
    X, frame = diamonds
    y = frame["price"]
    model = bt.TabularBridgeRegressor(**(SMALL | options)).fit(X[:250], y[:250])
    for rows in (X, X[:1], X[255:257]):
        found, session = exported(model, tmp_path / "model.onnx", rows)
        np.testing.assert_allclose(found["mean"], model.predict(rows), rtol=1e-4, atol=1e-4 * y.std())
        np.testing.assert_allclose(found["pi"], masses(model, rows), atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["columns"]) == NUMBERS
    codec, scale = model.codecs_[0], model.codec_scales_[0]
    np.testing.assert_allclose(json.loads(about["edges"])[0], codec.bins.edges * scale.scale + scale.mean)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_several_targets(diamonds, tmp_path):
    X, frame = diamonds
    Y = np.column_stack([frame["price"] + 1e6, frame["carat"] ** 2])
    model = bt.TabularBridgeRegressor(**SMALL).fit(X, Y)
    found, _ = exported(model, tmp_path / "model.onnx", X)
    np.testing.assert_allclose((found["mean"] - model.predict(X)) / Y.std(axis=0), 0, atol=1e-4)
    for target in (0, 1):
        np.testing.assert_allclose(found[f"pi_{target}"], masses(model, X, target), atol=1e-4)


def test_least_squares_has_a_mean_alone(diamonds, tmp_path):
    X, frame = diamonds
    y = frame["price"]
    model = bt.TabularBridgeRegressor(**(SMALL | {"scheme": "least_squares"})).fit(X, y)
    found, _ = exported(model, tmp_path / "model.onnx", X)
    assert list(found) == ["mean"]
    np.testing.assert_allclose(found["mean"], model.predict(X), rtol=1e-4, atol=1e-4 * y.std())


@pytest.fixture(scope="module")
def model(diamonds):
    X, frame = diamonds
    return bt.TabularBridgeRegressor(**SMALL).fit(X, frame["price"])


def test_the_outputs_asked_for(diamonds, model, tmp_path):
    found, _ = exported(model, tmp_path / "model.onnx", diamonds[0], outputs=["pi"])
    assert list(found) == ["pi"]
    with pytest.raises(ValueError, match=r"^outputs: 'quantiles' is none of mean, pi; .*predict_quantiles.*$"):
        bt.to_onnx(model, tmp_path / "other.onnx", outputs=["mean", "quantiles"])
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize("column", ["cut", "day"])
def test_columns_of_no_numbers_are_refused_by_name(diamonds, tmp_path, column):
    X, frame = diamonds
    other = {"cut": frame["cut"], "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(frame.index, "D")}
    model = bt.TabularBridgeRegressor(**SMALL).fit(X.assign(**{column: other[column]}), frame["price"])
    with pytest.raises(ValueError, match=f"^to_onnx: column '{column}' holds (categories|dates), .*$"):
        bt.to_onnx(model, tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


def test_what_no_graph_holds_is_refused(diamonds, tmp_path):
    X, frame = diamonds
    model = bt.TabularBridgeRegressor(**SMALL, target_transform="log").fit(X, frame["price"])
    with pytest.raises(ValueError, match=r"^to_onnx: with support or target_transform .*$"):
        bt.to_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(TypeError, match=r"^to_onnx takes .*, got dict$"):
        bt.to_onnx({}, tmp_path / "model.onnx")
    trees = bt.XGBBridgeRegressor(n_estimators=2, n_bins=8)
    pool = bt.PooledBridgeRegressor([("one", trees), ("other", trees)]).fit(X, frame["price"])
    with pytest.raises(TypeError, match=r"^to_onnx takes .*, got PooledBridgeRegressor$"):
        bt.to_onnx(pool, tmp_path / "model.onnx")
    with pytest.raises(TypeError, match=r"^to_onnx takes .* one target, got XGBBridgeRegressor of several targets$"):
        bt.to_onnx(trees.fit(X, frame[["price", "carat"]]), tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


def test_a_failure_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_text("old")

    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="no space left"):
        bt.to_onnx(model, path)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["model.onnx"]
