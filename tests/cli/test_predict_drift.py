"""How new rows differ from the training: counted, printed, and never passed over in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular.cli import main
from bridges_tabular.experiments import prediction
from bridges_tabular.regressors.drift import Drift
from bridges_tabular.regressors.folders import read_manifest, write_manifest

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": RNG.uniform(0, 5, 300),
        "heavy": RNG.lognormal(0, 1.5, 300),
        "sign": RNG.normal(size=300),
        "kind": RNG.choice(["a", "b"], 300),
        "when": pd.date_range("2024-01-01", periods=300, freq="h"),
    }
)
Y = FRAME["size"] + RNG.normal(0, 0.1, 300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    bridges_tabular.XGBBridgeRegressor(n_estimators=5, n_bins=8, n_jobs=1).fit(FRAME, Y, eval_set=(FRAME, Y)).save(path)
    return path


def drift(model: Path, *chunks: pd.DataFrame) -> dict[str, Any]:
    found = Drift(bridges_tabular.load(model))
    for chunk in chunks:
        found.add(chunk)
    return {one.name: one for one in found.columns} | {"warnings": found.warnings()}


def test_the_training_rows_do_not_differ(model: Path) -> None:
    found = drift(model, FRAME[:100], FRAME[100:])
    assert found["warnings"] == []
    assert not any(found[name].stands_out for name in FRAME)
    assert all(found[name].rows == 300 and found[name].outside == 0 for name in FRAME)


@pytest.mark.parametrize("name", ["size", "heavy", "sign"])
@pytest.mark.parametrize("factor", [1000, 1e-3, -1000, 254, 1e6])
def test_a_factor_of_a_unit_is_never_silent(model: Path, name: str, factor: float) -> None:
    for rows in (slice(0, 300), slice(40, 60)):
        found = drift(model, FRAME.assign(**{name: FRAME[name] * factor})[rows])
        assert len(found["warnings"]) == 1
        assert found["warnings"][0].startswith(f"column '{name}' is about ")
        assert found[name].ratio == pytest.approx(abs(factor), rel=1)


@pytest.mark.parametrize("row", range(20))
def test_a_single_usual_row_is_no_reason_to_warn(model: Path, row: int) -> None:
    assert drift(model, FRAME[row : row + 1])["warnings"] == []


def test_what_is_counted(model: Path) -> None:
    new = FRAME.copy()
    new.loc[:29, "size"] = 6.0
    new.loc[30:44, "size"] = -1.0
    new.loc[45:104, "size"] = np.nan
    new.loc[:8, "kind"] = "c"
    new.loc[9:11, "kind"] = None
    new.loc[:2, "when"] = pd.Timestamp("2025-01-01")
    found = drift(model, new[:50], new[50:])
    size, kind, when = found["size"], found["kind"], found["when"]
    assert (size.above, size.below, size.missing, size.unseen) == (30, 15, 60, 0)
    assert size.outside == pytest.approx(45 / 240)
    assert size.missing_now == pytest.approx(0.2)
    assert (kind.unseen, kind.missing, kind.above) == (9, 3, 0)
    assert (when.above, when.below) == (3, 0)
    assert [name for name in FRAME if found[name].stands_out] == ["size", "kind", "when"]
    assert found["warnings"] == []


def test_most_of_a_column_unlike_the_training_is_a_warning(model: Path) -> None:
    for change, words in (
        ({"size": FRAME["size"] + 4}, "column 'size' lies outside the range of training"),
        ({"kind": "c"}, "column 'kind' holds categories unseen in training in 100% of its values"),
        ({"kind": None}, "column 'kind' is missing in 100% of the rows, in training in 0%"),
    ):
        (said,) = drift(model, FRAME.assign(**change))["warnings"]
        assert said.startswith(words)


def test_a_model_of_an_array_counts_by_position() -> None:
    X = RNG.normal(size=(60, 2)) * [1, 1000]
    trees = bridges_tabular.XGBBridgeRegressor(n_estimators=2, n_bins=4, n_jobs=1).fit(X, X[:, 0])
    found = Drift(trees)
    found.add(pd.DataFrame(X[:, ::-1], columns=["x1", "x0"]))
    assert [one.ratio > 1 for one in found.columns] == [True, False]
    assert len(found.warnings()) == 2


def test_the_command_says_it_and_writes_a_page(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "_ROWS", 70)
    FRAME.assign(size=FRAME["size"] * 1000, kind="<b>").to_csv("t.csv", index=False)
    assert main(["predict", str(model), "t.csv", "--out", "p.csv", "--drift", "d.html"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "2 of 5 columns differ from the training rows:"
    assert re.search(r"^ *size .* 99\.\d% .* x 9\d\d *$", out, re.MULTILINE), out
    assert [re.sub(r"[\d,]+ times", "N times", line) for line in err.splitlines()] == [
        "bridges-tabular: warning: column 'size' is about N times larger than in training",
        "bridges-tabular: warning: column 'kind' holds categories unseen in training in 100% of its values",
    ]
    page = (folder / "d.html").read_text("utf-8")
    assert len(page) < 60_000
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert all(name in page for name in FRAME)
    assert "is about" in page
    # an unattended run hears of it, too
    assert main(["predict", str(model), "t.csv", "--out", "q.csv", "--quiet"]) == 0
    again = capsys.readouterr()
    assert again.out == ""
    assert again.err == err


def test_a_page_that_cannot_be_is_refused_before_any_work(
    folder: Path, model: Path, refused: Callable[..., str]
) -> None:
    FRAME.to_csv("t.csv", index=False)
    asked = ["predict", str(model), "t.csv", "--out", "p.csv", "--drift"]
    assert "t.csv exists" in refused(*asked, "t.csv")
    assert "t.csv/d.html cannot be written" in refused(*asked, "t.csv/d.html")
    assert "--drift: ./p.csv is the file of the predictions" in refused(*asked, "./p.csv")
    assert [path.name for path in folder.iterdir()] == ["t.csv"]


def test_facts_that_cannot_be_are_a_line(folder: Path, model: Path, refused: Callable[..., str]) -> None:
    FRAME.to_csv("t.csv", index=False)
    bridges_tabular.load(model).save("forged")
    state = json.loads((folder / "forged" / "bridge.json").read_text("utf-8"))
    header = {key: value for key, value in read_manifest(folder / "forged").items() if key != "files"}
    columns: Any
    for columns in (None, {}, {"size": 3}, {name: {"kind": "numbers"} for name in FRAME}):
        facts = {} if columns is None else {"columns": columns}
        (folder / "forged" / "bridge.json").write_text(json.dumps(state | {"facts": facts}), encoding="utf-8")
        write_manifest(folder / "forged", header)
        assert "forged holds no model that can be loaded" in refused("predict", "forged", "t.csv", "--out", "p.csv")
