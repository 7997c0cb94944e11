from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular.cli import main

read_csv = functools.partial(pd.read_csv, float_precision="round_trip")


def test_train_and_predict_give_the_predictions_of_compare(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    refused: Callable[..., str],
    command: Callable[..., subprocess.Popen[str]],
    small: list[str],
) -> None:
    bundled = bridges_tabular.experiments.bundled_experiments()["diamonds"]
    (folder / "my.yaml").write_text(bundled.read_text("utf-8"), encoding="utf-8")
    assert main(["compare", "my.yaml", *small, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    predictions = read_csv(folder / "runs" / "my" / "predictions.csv")
    table = bridges_tabular.experiments.read_frame("diamonds")
    tested = predictions["row"].unique()
    # the columns in another order, one too many, and no target
    table.iloc[tested, ::-1].drop(columns="price").assign(extra=1).to_csv("new.csv", index=False)
    for model in ("network_bridge", "xgboost_bins"):
        assert main(["train", "my.yaml", "--model", model, "--out", model, "--quiet", *small]) == 0
        saved = [path.suffix for path in (folder / model).rglob("*") if path.is_file()]
        assert set(saved) <= {".json", ".safetensors", ".md", ".yaml", ".csv"}
        process = command("predict", model, "new.csv", "--out", f"{model}.csv", "--quantiles", "0.05,0.5")
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert out == f"written to {model}.csv\n"
        found = read_csv(f"{model}.csv")
        assert found.columns.tolist() == ["row", "y_pred", "q05", "q50"]
        expected = predictions[predictions["model"] == model]
        np.testing.assert_allclose(found["y_pred"], expected["y_pred"], rtol=1e-6)
        np.testing.assert_allclose(found[["q05", "q50"]], expected[["q05", "q50"]], rtol=1e-6)
        assert main(["predict", model, "new.csv", "--out", "default.csv", "--overwrite", "--quiet"]) == 0
        assert read_csv("default.csv").columns.tolist() == ["row", "y_pred", "q05", "q50", "q95"]
    table.iloc[tested].assign(carat="heavy").to_csv("new.csv", index=False)
    error = refused("predict", "xgboost_bins", "new.csv", "--out", "text.csv")
    assert "new.csv: column 'carat'" in error
    assert "'heavy'" in error
    assert not (folder / "text.csv").exists()


def test_a_model_of_points_is_predicted_without_quantiles(
    folder: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str], small: list[str]
) -> None:
    points = [*small, "models.xgboost.calibration=none"]
    assert main(["train", "diamonds", "--model", "xgboost", "--out", "points", *points]) == 0
    captured = capsys.readouterr()
    assert "xgboost" in captured.out
    assert "written to points" in captured.out
    assert main(["predict", "points", "diamonds", "--out", "all.csv"]) == 0
    found = read_csv("all.csv")
    assert found.columns.tolist() == ["row", "y_pred"]
    assert found["row"].tolist() == list(range(53940))
    capsys.readouterr()
    asked = ["predict", "points", "diamonds", "--out", "more.csv", "--quantiles", "0.5"]
    assert "--quantiles: the model in points (scheme least_squares)" in refused(*asked)
    assert "all.csv exists" in refused("predict", "points", "diamonds", "--out", "all.csv")
    assert main(["predict", "points", "diamonds", "--out", "all.csv", "--overwrite", "--quiet"]) == 0
    assert "points is a folder" in refused("predict", "points", "diamonds", "--out", "points")
    pd.DataFrame({"carat": [1.0]}).to_csv("narrow.csv", index=False)
    error = refused("predict", "points", "narrow.csv", "--out", "narrow_out.csv")
    assert "narrow.csv has no column 'cut'" in error
    (folder / "empty.csv").write_text("carat,cut\n", encoding="utf-8")
    assert "empty.csv has no rows" in refused("predict", "points", "empty.csv", "--out", "e.csv")
    assert "there is no table 'gone.csv'" in refused("predict", "points", "gone.csv", "--out", "e.csv")
    assert "runs holds no model" in refused("predict", "runs", "diamonds", "--out", "e.csv")
    assert sorted(p.name for p in folder.iterdir()) == ["all.csv", "empty.csv", "narrow.csv", "points"]


@pytest.mark.parametrize("regressor", [bridges_tabular.XGBBridgeRegressor, bridges_tabular.TabularBridgeRegressor])
def test_a_model_of_an_array_takes_columns_by_position(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    regressor: Any,
    refused: Callable[..., str],
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    short = {"n_estimators": 5} if regressor is bridges_tabular.XGBBridgeRegressor else {"max_epochs": 2}
    model = regressor(n_bins=8, **short).fit(X, X[:, 0] - X[:, 2] + rng.normal(0, 0.1, 120))
    model.save("model")
    pd.DataFrame(X, columns=["c", "a", "b"]).to_csv("new.csv", index=False)
    assert main(["predict", "model", "new.csv", "--out", "found.csv", "--quantiles", "0.5"]) == 0
    assert capsys.readouterr().err == ""
    found = read_csv("found.csv")
    np.testing.assert_allclose(found["y_pred"], model.predict(X), rtol=1e-6)
    np.testing.assert_allclose(found["q50"], model.predict_quantiles(X, [0.5])[:, 0], rtol=1e-6)
    pd.DataFrame(X[:, :2], columns=["c", "a"]).to_csv("narrow.csv", index=False)
    error = refused("predict", "model", "narrow.csv", "--out", "none.csv")
    assert "narrow.csv has 2 columns, and the model in model takes 3: it was fitted on an array" in error
    assert not (folder / "none.csv").exists()


@pytest.mark.parametrize("engine", [{"engine": "tabular", "max_epochs": 2}, {"engine": "xgboost", "n_estimators": 8}])
def test_dates_reach_every_engine_and_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str], engine: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    when = pd.date_range("2021-01-01", periods=200).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"when": when, "note": rng.choice(["2021-05-05", "unknown"], 200), "x": rng.normal(size=200)})
    frame.assign(y=np.arange(200) + frame["x"]).to_csv("t.csv", index=False)
    content = {
        "table": {"source": "t.csv", "target": "y"},
        "models": {"dated": {"scheme": "soft", "n_bins": 8} | engine},
    }
    (folder / "my.yaml").write_text(json.dumps(content), encoding="utf-8")
    assert main(["compare", "my.yaml", "--out", "run"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "dates" in line] == ["bridges-tabular: column 'when' is read as dates"]
    page = (folder / "run" / "report.html").read_text("utf-8")
    assert "<b>1</b> numbers, <b>1</b> dates and <b>1</b> categories" in page
    assert main(["train", "my.yaml", "--model", "dated", "--out", "model", "--quiet"]) == 0
    assert main(["predict", "model", "t.csv", "--out", "all.csv"]) == 0
    assert "dates" not in capsys.readouterr().err
    predictions = read_csv("run/predictions.csv").set_index("row")["y_pred"]
    np.testing.assert_allclose(read_csv("all.csv")["y_pred"][predictions.index], predictions, rtol=1e-6)
    # a column of text whose few values all look like dates stays what it was to the model
    frame[frame["note"] != "unknown"].to_csv("few.csv", index=False)
    assert main(["predict", "model", "few.csv", "--out", "some.csv", "--quiet"]) == 0
    expected = read_csv("all.csv")["y_pred"][frame["note"] != "unknown"]
    np.testing.assert_allclose(read_csv("some.csv")["y_pred"], expected, rtol=1e-6)
    frame.assign(when="2021-13-01").to_csv("wrong.csv", index=False)
    assert "column 'when' held dates in fit" in refused("predict", "model", "wrong.csv", "--out", "n.csv")
