from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bridges_tabular.cli import main
from bridges_tabular.experiments import job, training
from bridges_tabular.experiments.folders import new_folder

read_csv = functools.partial(pd.read_csv, float_precision="round_trip")


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a model is about to be fitted."""

    def fit_and_score(*_: Any) -> None:
        raise AssertionError("a model was fitted")

    for module in (job, training):
        monkeypatch.setattr(module, "fit_and_score", fit_and_score)


@pytest.mark.slow
def test_compare_trains_the_bundled_experiment(
    folder: Path, command: Callable[..., subprocess.Popen[str]], small: list[str]
) -> None:
    process = command("compare", *small)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    run = folder / "runs" / "diamonds"
    results = read_csv(run / "results.csv")
    assert results["model"].tolist() == ["network", "network_bridge", "xgboost", "xgboost_bins", "pool", "auto"]
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
        # longer than a file name
        ([f"table.target={'x' * 300}"], ["table.target", "'xxx"]),
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
        (["--out", "notes"], ["notes holds thesis.tex", "--out"]),
        (["--out", "notes", "--overwrite"], ["notes holds thesis.tex", "--out"]),
        (["--out", "run"], ["run", "holds another run", "--overwrite"]),
        (["--out", "bad.csv"], ["bad.csv", "is a file"]),
        (["--quite"], ["unknown option '--quite'", "did you mean '--quiet'"]),
        (["diamonds", "more.yaml"], ["'more.yaml'", "key=value"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    folder: Path, arguments: list[str], words: list[str], refused: Callable[..., str]
) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "thesis.tex").touch()
    with new_folder("run", False, {}) as run:
        for name in ("config.yaml", "results.csv"):
            (run / name).touch()
    (folder / "none.csv").write_text("a,price\n", encoding="utf-8")
    (folder / "bad.csv").write_text("a,holes,same\n1,,5\n2,,5\n3,inf,5\n4,1,5\n", encoding="utf-8")
    before = sorted(folder.rglob("*"))
    error = refused("compare", *arguments)
    assert all(word in error for word in words), error
    assert sorted(folder.rglob("*")) == before


@pytest.fixture
def in_terminal(command: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Run a command in a terminal of a certain width; return all it shows, bars and colours included."""

    def run(columns: int, *arguments: str) -> str:
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

    return run


@pytest.mark.slow
def test_a_terminal_shows_bars_and_a_table_that_fits(folder: Path, in_terminal: Callable[..., str]) -> None:
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


def test_report_makes_the_page_anew(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    refused: Callable[..., str],
    command: Callable[..., subprocess.Popen[str]],
) -> None:
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
    assert "my.yaml: there is no such folder" in refused("report", "my.yaml")
    assert "unexpected argument 'run'" in refused("report", "run", "run")


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
