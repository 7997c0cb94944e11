from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import bridges_tabular
from bridges_tabular.cli import main
from bridges_tabular.experiments import comparison, training

# the bundled experiment, made small
SMALL = [
    "table.rows=400",
    "models.network.max_epochs=2",
    "models.network_bridge.max_epochs=2",
    "models.xgboost.n_estimators=10",
    "models.xgboost_bins.n_estimators=5",
    "models.xgboost_bins.n_bins=8",
]


read_csv = functools.partial(pd.read_csv, float_precision="round_trip")

# rich takes these for a terminal
FORCED = {"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"}
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in FORCED}
ENVIRONMENT |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "TERM": "xterm-256color"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a model is about to be fitted."""

    def fit_and_score(*_: Any) -> None:
        raise AssertionError("a model was fitted")

    for module in (comparison, training):
        monkeypatch.setattr(module, "fit_and_score", fit_and_score)


def command(*arguments: str, module: str = "bridges_tabular", **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        text=True,
        env=ENVIRONMENT,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings,
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail on its input; return its one line."""
    try:
        status = main(arguments)
    except SystemExit as exit:
        status = int(exit.code or 0)
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("bridges-tabular: error: ")
    return captured.err


def test_compare_trains_the_bundled_experiment(folder: Path) -> None:
    process = command("compare", *SMALL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    run = folder / "runs" / "diamonds"
    results = read_csv(run / "results.csv")
    assert results["model"].tolist() == ["network", "network_bridge", "xgboost", "xgboost_bins"]
    assert (results["table"] == "diamonds").all()
    assert np.isfinite(results[["crps", "coverage_90"]]).all(axis=None)
    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    assert config["table"]["rows"] == 400
    assert config["models"]["xgboost_bins"]["n_bins"] == 8
    assert (run / "report.html").stat().st_size > 1e6
    lines = [line.split() for line in out.splitlines()]
    printed = [line[0] for line in lines if line and line[0] in set(results["model"])]
    assert printed == results.sort_values("rmse")["model"].tolist()
    assert "*" in out
    assert "runs/diamonds/report.html" in out
    assert [line.split(":")[0] for line in err.splitlines()] == results["model"].tolist()
    for text in (out, err):
        assert all(c.isprintable() or c == "\n" for c in text), "control characters in a pipe"


def test_train_and_predict_give_the_predictions_of_compare(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundled = bridges_tabular.experiments.bundled_experiments()["diamonds"]
    (folder / "my.yaml").write_text(bundled.read_text("utf-8"), encoding="utf-8")
    assert main(["compare", "my.yaml", *SMALL, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    predictions = read_csv(folder / "runs" / "my" / "predictions.csv")
    table = bridges_tabular.experiments.read_frame("diamonds")
    tested = predictions["row"].unique()
    # the columns in another order, one too many, and no target
    table.iloc[tested, ::-1].drop(columns="price").assign(extra=1).to_csv("new.csv", index=False)
    for model in ("network_bridge", "xgboost_bins"):
        assert main(["train", "my.yaml", "--model", model, "--out", model, "--quiet", *SMALL]) == 0
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
    error = refused(capsys, "predict", "xgboost_bins", "new.csv", "--out", "text.csv")
    assert "new.csv: column 'carat'" in error
    assert "'heavy'" in error
    assert not (folder / "text.csv").exists()


def test_a_model_of_points_is_predicted_without_quantiles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [*SMALL, "models.xgboost.calibration=none"]
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
    assert "--quantiles: the model in points (scheme least_squares)" in refused(capsys, *asked)
    assert "all.csv exists" in refused(capsys, "predict", "points", "diamonds", "--out", "all.csv")
    assert main(["predict", "points", "diamonds", "--out", "all.csv", "--overwrite", "--quiet"]) == 0
    assert "points is a folder" in refused(capsys, "predict", "points", "diamonds", "--out", "points")
    pd.DataFrame({"carat": [1.0]}).to_csv("narrow.csv", index=False)
    error = refused(capsys, "predict", "points", "narrow.csv", "--out", "narrow_out.csv")
    assert "narrow.csv has no column 'cut'" in error
    (folder / "empty.csv").write_text("carat,cut\n", encoding="utf-8")
    assert "empty.csv has no rows" in refused(capsys, "predict", "points", "empty.csv", "--out", "e.csv")
    assert "there is no table 'gone.csv'" in refused(capsys, "predict", "points", "gone.csv", "--out", "e.csv")
    assert "runs holds no model" in refused(capsys, "predict", "runs", "diamonds", "--out", "e.csv")
    assert sorted(p.name for p in folder.iterdir()) == ["all.csv", "empty.csv", "narrow.csv", "points"]


@pytest.mark.parametrize("regressor", [bridges_tabular.XGBBridgeRegressor, bridges_tabular.TabularBridgeRegressor])
def test_a_model_of_an_array_takes_columns_by_position(
    folder: Path, capsys: pytest.CaptureFixture[str], regressor: Any
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
    error = refused(capsys, "predict", "model", "narrow.csv", "--out", "none.csv")
    assert "narrow.csv has 2 columns, and the model in model takes 3: it was fitted on an array" in error
    assert not (folder / "none.csv").exists()


def test_dates_reach_a_network_and_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    when = pd.date_range("2021-01-01", periods=200).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"when": when, "note": rng.choice(["2021-05-05", "unknown"], 200), "x": rng.normal(size=200)})
    frame.assign(y=np.arange(200) + frame["x"]).to_csv("t.csv", index=False)
    block = {"engine": "tabular", "scheme": "soft", "n_bins": 8, "max_epochs": 2}
    content = {"table": {"source": "t.csv", "target": "y"}, "models": {"network": block}}
    (folder / "my.yaml").write_text(json.dumps(content), encoding="utf-8")
    assert main(["compare", "my.yaml", "--out", "run"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "dates" in line] == ["bridges-tabular: column 'when' is read as dates"]
    page = (folder / "run" / "report.html").read_text("utf-8")
    assert "<b>1</b> numbers, <b>1</b> dates and <b>1</b> categories" in page
    assert main(["train", "my.yaml", "--model", "network", "--out", "model", "--quiet"]) == 0
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
    assert "column 'when' held dates in fit" in refused(capsys, "predict", "model", "wrong.csv", "--out", "n.csv")


@pytest.mark.usefixtures("no_fit")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.yaml"], ["gone.yaml", "no such file"]),
        (["diamond"], ["diamond", "diamonds"]),
        (["table.row=3"], ["table", "unknown key 'row'", "did you mean 'rows'"]),
        (["tabel.rows=3"], ["unknown key 'tabel'", "did you mean 'table'"]),
        (["tables.rows=3"], ["tables", "stands beside table"]),
        (["report.baseline=xgbost"], ["report.baseline", "'xgbost'", "did you mean 'xgboost'"]),
        (["table.rows=many"], ["table.rows", "'many'"]),
        (["table.source=gone.csv"], ["table.source", "gone.csv"]),
        (["table.target=prize"], ["table.target", "'prize'", "did you mean 'price'"]),
        (["table.target=cut"], ["table.target", "'cut'", "not numeric", "Ideal"]),
        (["table.target=x y"], ["table.target", "'x y'"]),
        (["table.source=bad.csv", "table.target=holes"], ["'holes'", "2 missing and 1 infinite of 4"]),
        (["table.source=bad.csv", "table.target=same"], ["'same'", "1 distinct value"]),
        (["table.source=none.csv"], ["table.source", "none.csv", "no rows"]),
        (["split.test=0.000001"], ["split.test", "no test rows"]),
        (["split.validation=0.000001"], ["split.validation", "no validation rows"]),
        (["split.seeds=0"], ["split.seeds", "list"]),
        (["models.network.n_bin=3"], ["models.network", "'n_bin'", "did you mean 'n_bins'"]),
        (["models.netwrk.n_bins=3"], ["'netwrk'", "did you mean 'network'"]),
        (["models.network_bridge.n_bins=1"], ["models.network_bridge", "n_bins", "1"]),
        (["models.xgboost_bins.n_bins=1"], ["models.xgboost_bins", "n_bins", "1"]),
        (["models.xgboost_bins.n_bins=[8]"], ["models.xgboost_bins", "n_bins", "[8]"]),
        (["models.network_bridge.smoothing=0"], ["models.network_bridge", "smoothing"]),
        (["models.xgboost.smoothing=-1"], ["models.xgboost", "smoothing", "-1"]),
        (["models.network.scheme=end2end"], ["models.network", "'end2end'", "end_to_end", "hard"]),
        (["models.xgboost.scheme=pretraind"], ["models.xgboost", "'pretraind'", "least_squares"]),
        (["models.xgboost.engine=lightgbm"], ["models.xgboost.engine", "'lightgbm'", "tabular", "xgboost"]),
        (["models.network.backbone=Gandalf"], ["models.network", "'Gandalf'", "GANDALFConfig"]),
        (["models.network.placement=kmean"], ["models.network", "'kmean'", "kmeans", "uniform"]),
        (["--out", "notes"], ["notes", "holds files that are not a run"]),
        (["--out", "run"], ["run", "holds another run", "--overwrite"]),
        (["--out", "bad.csv"], ["bad.csv", "is a file"]),
        (["--quite"], ["unknown option '--quite'", "did you mean '--quiet'"]),
        (["diamonds", "more.yaml"], ["'more.yaml'", "key=value"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "thesis.tex").touch()
    (folder / "run").mkdir()
    for name in ("run/config.yaml", "run/results.csv"):
        (folder / name).touch()
    (folder / "none.csv").write_text("a,price\n", encoding="utf-8")
    (folder / "bad.csv").write_text("a,holes,same\n1,,5\n2,,5\n3,inf,5\n4,1,5\n", encoding="utf-8")
    before = sorted(folder.rglob("*"))
    error = refused(capsys, "compare", *arguments)
    assert all(word in error for word in words), error
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["comapre"], ["comapre", "compare", "train", "predict"]),
        (["train", "diamonds", "--out", "m"], ["--model"]),
        (["train", "diamonds", "--model", "network"], ["--out"]),
        (["train", "--model", "network", "--out", "m"], ["experiment file"]),
        (["train", "diamonds", "--model", "netwrk", "--out", "m"], ["'netwrk'", "did you mean 'network'"]),
        (["predict", "m"], ["TABLE", "--out"]),
        (["predict", "m", "diamonds", "--out", "p.csv"], ["m holds no model", "does not exist"]),
        (["predict", "m", "t.csv", "--out", "p.csv", "--quantiles", "0.5,1"], ["--quantiles", "1.0"]),
        (["predict", "m", "t.csv", "--out", "p.csv", "--quantiles", "half"], ["--quantiles", "'half'"]),
        (["predict", "m", "t.csv", "--out", "p.csv", "--quantiles", ".5,.5"], ["--quantiles", "twice"]),
        (["predict", "m", "t.csv", "u.csv", "--out", "p.csv"], ["unexpected argument 'u.csv'"]),
    ],
)
def test_bad_arguments_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    error = refused(capsys, *arguments)
    assert all(word in error for word in words), error
    assert list(folder.iterdir()) == []


def in_terminal(columns: int, *arguments: str) -> str:
    """Run a command in a terminal of a certain width; return all it shows, bars and colours included."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = command(*arguments, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    # reading a terminal that nobody writes to any more is an error, on Linux
    with contextlib.suppress(OSError):
        while chunk := os.read(leader, 65536):
            shown += chunk
    os.close(leader)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode()


def test_a_terminal_shows_bars_and_a_table_that_fits(folder: Path) -> None:
    block = {"engine": "xgboost", "scheme": "hard", "n_bins": 4, "n_estimators": 3}
    content = {
        "table": {"source": "diamonds", "target": "price", "rows": 200},
        "split": {"seeds": [0, 1]},
        "models": {"first": block, "second": block | {"scheme": "least_squares"}},
    }
    (folder / "my.yaml").write_text(json.dumps(content), encoding="utf-8")
    shown = in_terminal(72, "compare", "my.yaml")
    bars, table = shown.split("model", 1)
    assert "\x1b[" in bars
    assert all(word in bars for word in ("first", "second", "100%", "RMSE"))
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", table)
    assert "RMSE" in plain
    assert "CRPS" in plain
    assert "…" not in plain
    assert max(map(len, ("model" + plain).splitlines()[:6])) <= 72
    assert in_terminal(72, "compare", "my.yaml", "--overwrite", "--quiet") == ""


def test_overwrite_replaces_a_run(folder: Path) -> None:
    quick = ["compare", "my.yaml", "--quiet", "--out", "run"]
    block = {"engine": "xgboost", "scheme": "least_squares", "n_estimators": 3}
    content = {"table": {"source": "diamonds", "target": "price", "rows": 100}, "models": {"one": block}}
    (folder / "my.yaml").write_text(json.dumps(content), encoding="utf-8")
    assert main(quick) == 0
    assert main([*quick, "table.rows=50", "--overwrite"]) == 0
    assert "rows: 50" in (folder / "run" / "config.yaml").read_text("utf-8")
    assert sorted(p.name for p in folder.iterdir()) == ["my.yaml", "run"]


def test_report_makes_the_page_anew(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = {"engine": "xgboost", "scheme": "least_squares", "n_estimators": 3}
    content = {"table": {"source": "diamonds", "target": "price", "rows": 100}, "models": {"one": block}}
    (folder / "my.yaml").write_text(json.dumps(content), encoding="utf-8")
    assert main(["compare", "my.yaml", "--quiet", "--out", "run"]) == 0
    page = folder / "run" / "report.html"
    before = page.read_bytes()
    page.write_text("spoilt", encoding="utf-8")
    process = command("report", "run")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out == "written: open run/report.html\n"
    assert page.read_bytes() == before
    assert main(["report", "run", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert "my.yaml: there is no such folder" in refused(capsys, "report", "my.yaml")
    assert "unexpected argument 'run'" in refused(capsys, "report", "run", "run")


def test_names_with_control_characters_reach_no_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "t.csv").write_text("a\x1b]0;title\x07,b\n1,2\n", encoding="utf-8")
    error = refused(capsys, "compare", "table.source=t.csv", "table.target=c")
    assert error.rstrip("\n").isprintable()


@pytest.mark.parametrize("model", ["network", "xgboost_bins"])
def test_ctrl_c_is_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    def press(done: int, total: int, *_: object) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(training.FitBars, "start", lambda *_: press)
    before = signal.getsignal(signal.SIGINT)
    arguments = ["train", "diamonds", "--model", model, "--out", "deep/model", "table.rows=400"]
    assert main(arguments) == 130
    assert signal.getsignal(signal.SIGINT) is before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "bridges-tabular: interrupted, nothing was written\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("module", ["bridges_tabular", "bridges_tabular.cli"])
def test_help_is_quick_and_complete(module: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = command("--help", module=module)
    out, err = process.communicate(timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (process.returncode, err) == (0, "")
    assert all(name in out for name in ("compare", "train", "predict", "examples:"))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "compare",
            ["CONFIG", "key=value", "--out", "--overwrite", "--quiet", "(default: diamonds)", "openml:ID"],
        ),
        ("train", ["CONFIG", "--model", "--out", "--overwrite", "--quiet", "seeds"]),
        ("predict", ["DIR", "TABLE", "--out", "--quantiles", "(default: 0.05,0.5,0.95", "--overwrite"]),
        ("report", ["DIR", "--quiet", "report.baseline"]),
    ],
)
def test_each_command_has_help(capsys: pytest.CaptureFixture[str], name: str, words: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([name, "--help"])
    assert exit.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(word in out for word in [*words, "examples:"])


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "examples:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"bridges-tabular {bridges_tabular.__version__}\n"
