"""Tables longer than memory: a chunk of fifty rows stands for one of thousands."""

from __future__ import annotations

import functools
import gzip
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular.cli import main
from bridges_tabular.experiments import prediction

read_csv = functools.partial(pd.read_csv, float_precision="round_trip")
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": RNG.uniform(1, 5, 230).round(3),
        "kind": RNG.choice(["a", "b", None], 230),
        "when": pd.date_range("2024-01-01", periods=230, freq="h"),
        "id": [f"{i:05d}" for i in range(230)],
        "number": np.arange(230) + 9_007_199_254_740_992,
    }
)
FRAME["price"] = 1000 * FRAME["size"] + RNG.normal(0, 100, 230)
FEATURES = ["size", "kind", "when"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    trees = bridges_tabular.XGBBridgeRegressor(n_estimators=12, n_bins=8, n_jobs=1)
    trees.fit(FRAME[FEATURES], FRAME["price"]).save(path)
    return path


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "_ROWS", 50)


def write(name: str) -> str:
    if name.endswith(".parquet"):
        # groups of rows that chunks do not end with
        FRAME.astype({"kind": "category"}).to_parquet(name, row_group_size=70)
    else:
        FRAME.to_csv(name, index=False)
    return name


@pytest.mark.parametrize("out", ["p.csv", "p.csv.gz", "p.parquet"])
@pytest.mark.parametrize("source", ["t.csv", "t.csv.gz", "t.parquet"])
def test_every_format_holds_every_row(model: Path, source: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--keep", "id,number", "--interval", "0.8", "--above", "2500,-1", "--quantiles", "0.1"]
    assert main(["predict", str(model), write(source), "--out", out, *asked]) == 0
    said = ["0 of 3 columns differ from the training rows", f"230 rows written to {out}"]
    assert capsys.readouterr().out.splitlines() == said
    found = pd.read_parquet(out) if out.endswith("parquet") else read_csv(out, dtype={"id": str})
    names = ["row", "id", "number", "y_pred", "q10", "lower_80", "upper_80", "p_above_2500", "p_above_-1"]
    assert found.columns.tolist() == names
    assert found["id"].tolist() == FRAME["id"].tolist()
    assert found["number"].tolist() == FRAME["number"].tolist()
    loaded = bridges_tabular.load(model)
    X, distribution = FRAME[FEATURES], loaded.predict_distribution(FRAME[FEATURES])
    np.testing.assert_array_equal(found["row"], np.arange(230))
    np.testing.assert_array_equal(found["y_pred"], loaded.predict(X))
    np.testing.assert_allclose(found[["lower_80", "upper_80"]], distribution.quantile([0.1, 0.9]), rtol=1e-7)
    np.testing.assert_allclose(found["q10"], found["lower_80"], rtol=1e-7)
    np.testing.assert_allclose(found["p_above_2500"], 1 - distribution.cdf(2500.0), atol=1e-7)
    np.testing.assert_allclose(found["p_above_-1"], 1, atol=1e-3)
    assert 0.2 < (found["p_above_2500"] > 0.5).mean() < 0.8


def test_conformal_intervals_are_those_of_the_model(folder: Path, refused: Callable[..., str]) -> None:
    X, y = FRAME[["size"]], FRAME["price"]
    settings: dict[str, Any] = {"n_estimators": 4, "n_bins": 8, "n_jobs": 1}
    held = bridges_tabular.XGBBridgeRegressor(calibration_fraction=0.2, **settings).fit(X, y)
    held.save("held")
    asked = ["predict", "held", write("t.csv"), "--out", "p.csv", "--interval"]
    assert main([*asked, "0.9", "--conformal", "--quiet"]) == 0
    expected = held.predict_interval(X, 0.9, conformal=True)
    np.testing.assert_allclose(read_csv("p.csv")[["lower_90", "upper_90"]], expected, rtol=1e-7)
    assert not np.allclose(expected, held.predict_interval(X, 0.9))
    error = refused(*asked, "0.999", "--conformal", "--overwrite")
    assert "--interval: " in error
    assert "rows" in error
    bridges_tabular.XGBBridgeRegressor(early_stopping_rounds=None, **settings).fit(X, y).save("none")
    error = refused("predict", "none", "t.csv", "--out", "q.csv", "--interval", "0.9", "--conformal")
    assert "--interval: " in error
    assert sorted(path.name for path in folder.iterdir()) == ["held", "none", "p.csv", "t.csv"]


class Kill(BaseException):
    """Ends a run in the middle, as Ctrl-C does."""


@pytest.mark.parametrize("out", ["p.csv", "p.parquet", "p.csv.gz"])
def test_a_run_goes_on_and_comes_to_the_same_bytes(
    folder: Path, model: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write("t.csv")
    wanted = prediction.Wanted(keep=("id",), coverage=0.9)

    def kill(_: float, rows: int) -> None:
        if rows == 150:
            raise Kill

    with pytest.raises(Kill):
        prediction.predict_table(model, source, out, wanted, progress=kill)
    assert not (folder / out).exists()
    assert (folder / f".{out}.partial").is_dir()
    (folder / f".{out}.partial" / f".part-0000003.new-1234567-{'0' * 32}").write_text("half")
    calls = []
    predict = bridges_tabular.XGBBridgeRegressor.predict
    monkeypatch.setattr(
        bridges_tabular.XGBBridgeRegressor,
        "predict",
        lambda self, X, *more: [calls.append(len(X)), predict(self, X, *more)][1],
    )
    assert prediction.predict_table(model, source, out, wanted).rows == 230
    assert calls == [50, 30]
    prediction.predict_table(model, source, f"whole-{out}", wanted)
    assert calls[2:] == [50, 50, 50, 50, 30]
    assert (folder / out).read_bytes() == (folder / f"whole-{out}").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted([out, f"whole-{out}", "t.csv"])


@pytest.mark.parametrize("change", ["table", "model", "wanted", "missing"])
def test_parts_of_another_run_are_not_taken(folder: Path, model: Path, change: str) -> None:
    source = write("t.csv")

    def kill(*_: object) -> None:
        raise Kill

    with pytest.raises(Kill):
        prediction.predict_table(model, source, "p.csv", progress=kill)
    now: dict[str, Any] = {"model_folder": model, "wanted": prediction.Wanted()}
    if change == "table":
        FRAME.assign(size=1.5).to_csv("t.csv", index=False)
    elif change == "model":
        other = bridges_tabular.XGBBridgeRegressor(n_estimators=3, n_bins=8, n_jobs=1)
        other.fit(FRAME[FEATURES], FRAME["price"]).save("other")
        now["model_folder"] = "other"
    elif change == "wanted":
        now["wanted"] = prediction.Wanted(above=(1.0,))
    else:
        now["missing"] = ["a"]
    prediction.predict_table(source=source, out="p.csv", **now)
    prediction.predict_table(source=source, out="whole.csv", **now)
    assert (folder / "p.csv").read_bytes() == (folder / "whole.csv").read_bytes()


def test_what_is_no_part_is_never_deleted(folder: Path, model: Path, refused: Callable[..., str]) -> None:
    (folder / ".p.csv.partial").mkdir()
    (folder / ".p.csv.partial" / "thesis.txt").write_text("dear to someone")
    assert "thesis.txt" in refused("predict", str(model), write("t.csv"), "--out", "p.csv")
    assert (folder / ".p.csv.partial" / "thesis.txt").read_text() == "dear to someone"


def test_a_bad_row_far_down_is_a_line(folder: Path, model: Path, refused: Callable[..., str]) -> None:
    bad = FRAME.astype({"size": object})
    bad.loc[177, "size"] = "heavy"
    bad.to_csv("t.csv", index=False)
    error = refused("predict", str(model), "t.csv", "--out", "p.csv")
    assert "t.csv: column 'size' held numbers in fit and now holds 'heavy' in row 177" in error
    lines = FRAME.to_csv(index=False).splitlines()
    (folder / "t.csv").write_text("\n".join([*lines[:180], "1,2,3,4,5,6,7", *lines[180:]]))
    assert "t.csv cannot be read: " in refused("predict", str(model), "t.csv", "--out", "p.csv")
    with gzip.open("t.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    whole = (folder / "t.csv.gz").read_bytes()
    (folder / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "t.csv.gz cannot be read: " in refused("predict", str(model), "t.csv.gz", "--out", "p.csv")
    assert sorted(path.name for path in folder.iterdir()) == ["t.csv", "t.csv.gz"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep", "idd"], ["--keep: t.csv has no column 'idd'", "did you mean 'id'"]),
        (["--keep", "id", "--keep", "number,id"], ["--keep", "'id' twice"]),
        (["--keep", "y_pred"], ["--keep: 'y_pred' is a column of the predictions"]),
        (["--conformal"], ["--conformal", "needs --interval"]),
        (["--interval", "90"], ["--interval", "90.0 does not lie between 0 and 1"]),
        (["--above", "much"], ["--above", "'much'"]),
        (["--above", "inf"], ["--above", "not finite"]),
        (["--above", "5,5.00000000001"], ["two columns of predictions would be called 'p_above_5'"]),
        (["--quantiles", "0.1,0.1000000000001"], ["two columns of predictions would be called 'q10'"]),
        (["--out", "p.xlsx"], ["p.xlsx: predictions are written to .csv, .csv.gz or .parquet"]),
    ],
)
def test_what_cannot_be_asked_is_a_line(
    folder: Path, model: Path, arguments: list[str], words: list[str], refused: Callable[..., str]
) -> None:
    FRAME.assign(y_pred=1).to_csv("t.csv", index=False)
    error = refused("predict", str(model), "t.csv", "--out", "p.csv", *arguments)
    assert all(word in error for word in words), error
    assert [path.name for path in folder.iterdir()] == ["t.csv"]


def test_several_targets_have_columns_each(folder: Path) -> None:
    y = FRAME[["price", "size"]].rename(columns={"size": "width"})
    network = bridges_tabular.TabularBridgeRegressor(n_bins=8, max_epochs=1, backbone_params={"layers": "8"})
    network.fit(FRAME[["size", "kind"]], y).save("network")
    assert main(["predict", "network", write("t.csv"), "--out", "p.csv", "--above", "3", "--quiet"]) == 0
    found = read_csv("p.csv")
    np.testing.assert_allclose(
        found[["y_pred_price", "y_pred_width"]], network.predict(FRAME[["size", "kind"]]), rtol=1e-5
    )
    ends = network.predict_quantiles(FRAME[["size", "kind"]], [0.05])
    np.testing.assert_allclose(found[["q05_price", "q05_width"]], ends[:, 0], rtol=1e-4, atol=1e-4)
    assert found["p_above_3_price"].min() > found["p_above_3_width"].max() > 0


@pytest.mark.slow
def test_kills_lose_nothing_and_memory_is_bounded(
    folder: Path, model: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    repeated = pd.concat([FRAME] * 1000, ignore_index=True)
    repeated.to_csv("long.csv", index=False)
    repeated[:40_000].to_csv("short.csv", index=False)
    peaks = []
    for name in ("short", "long"):
        process = command("predict", str(model), f"{name}.csv", "--out", f"{name}-whole.csv", "--quantiles", "0.5")
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        peaks.append(usage.ru_maxrss)
    # six times the rows, which are a hundred megabytes as a frame with its text
    assert peaks[1] < peaks[0] * 1.1
    for killed in (True, False):
        process = command("predict", str(model), "short.csv", "--out", "p.csv", "--quantiles", "0.5")
        if killed:
            deadline = time.monotonic() + 100
            while not (folder / ".p.csv.partial" / "part-0000001").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == (-signal.SIGKILL if killed else 0)
    assert (folder / "p.csv").read_bytes() == (folder / "short-whole.csv").read_bytes()
