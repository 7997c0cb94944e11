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

import bridges_tabular.experiments
from bridges_tabular.cli import main

read_csv = functools.partial(pd.read_csv, float_precision="round_trip")


@pytest.mark.slow
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
        assert out.splitlines()[-1] == f"{len(tested):,} rows written to {model}.csv"
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
    bridges_tabular.experiments.read_frame("diamonds")[:0].to_csv("empty.csv", index=False)
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


def test_a_model_remembers_what_says_missing_and_what_is_text(
    folder: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.uniform(1, 5, 80).round(2), "code": [f"{i % 4:02d}" for i in range(80)]})
    frame["price"] = 3 * frame["size"] + frame["code"].astype(int)
    is_known = frame.index % 9 != 4
    frame.assign(size=frame["size"].astype(object).where(is_known, "?")).to_csv("t.csv", index=False)
    (folder / "my.yaml").write_text(
        """
table: {source: t.csv, target: price, missing: ["?"], categories: [code]}
models: {trees: {engine: xgboost, n_estimators: 10, n_jobs: 1}}
""",
        encoding="utf-8",
    )
    assert main(["train", "my.yaml", "--model", "trees", "--out", "model", "--quiet"]) == 0
    model = bridges_tabular.load("model")
    assert model.text_columns_ == ["code"]
    pd.read_csv("t.csv", dtype=str)[:20].to_csv("new.csv", index=False)
    assert main(["predict", "model", "new.csv", "--out", "p.csv", "--quiet"]) == 0
    expected = model.predict(frame.assign(size=frame["size"].where(is_known))[["size", "code"]][:20])
    np.testing.assert_allclose(read_csv("p.csv")["y_pred"], expected, rtol=1e-6)
    # saved from Python, a model knows of no cells
    model.save("alone")
    error = refused("predict", "alone", "new.csv", "--out", "q.csv")
    assert "new.csv: column 'size' held numbers in fit and now holds '?' in row 4" in error
    assert main(["predict", "alone", "new.csv", "--out", "q.csv", "--missing", "n/a", "--missing", "?", "--quiet"]) == 0
    assert (folder / "q.csv").read_bytes() == (folder / "p.csv").read_bytes()
    # numbers say it of typed tables, too
    pytest.importorskip("pyarrow")
    frame.assign(size=frame["size"].where(is_known, -999))[:20].to_parquet("new.parquet")
    assert main(["predict", "alone", "new.parquet", "--out", "r.csv", "--missing", "-999", "--quiet"]) == 0
    assert (folder / "r.csv").read_bytes() == (folder / "p.csv").read_bytes()
    assert capsys.readouterr() == ("", "")


def test_paths_that_cannot_be_are_a_line(folder: Path, refused: Callable[..., str]) -> None:
    frame = pd.DataFrame({"a": np.arange(30.0), "y": np.arange(30.0)})
    frame.to_csv("t.csv", index=False)
    bridges_tabular.XGBBridgeRegressor(n_estimators=2, n_bins=4).fit(frame[["a"]], frame["y"]).save("model")
    experiment = {"table": {"source": "t.csv", "target": "y"}, "models": {"one": {"engine": "xgboost"}}}
    (folder / "e.yaml").write_text(json.dumps(experiment | {"study": {"model": "one"}}), encoding="utf-8")
    (folder / "loop").symlink_to("loop")
    (folder / "file").touch()
    for path in ("loop", "x" * 300, "x/" * 3000, "a\0b", "file/in/it"):
        for arguments in (
            ["predict", path, "t.csv", "--out", "p.csv"],
            ["predict", "model", path, "--out", "p.csv"],
            ["predict", "model", "t.csv", "--out", path],
            ["train", "e.yaml", "--model", "one", "--out", path],
            ["compare", "e.yaml", "--out", path],
            ["tune", "e.yaml", "--out", path],
            ["report", path],
        ):
            assert len(refused(*arguments)) < 340, (path, arguments)
    assert sorted(path.name for path in folder.iterdir()) == ["e.yaml", "file", "loop", "model", "t.csv"]
