"""``bridges-tabular train``: the model that is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular.cli import main


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    size = rng.uniform(1, 5, 300)
    pd.DataFrame({"size": size, "price": 10 * size + rng.normal(size=300)}).to_csv("t.csv", index=False)
    bins = {"engine": "xgboost", "n_bins": 8, "n_estimators": 5, "location": "none", "n_jobs": 1}
    content = {"table": {"source": "t.csv", "target": "price"}, "models": {"bins": bins}}
    Path("t.yaml").write_text(json.dumps(content), encoding="utf-8")
    return "t.yaml"


def test_all_rows_train_the_model_that_is_kept(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", config, "--model", "bins", "--out", "tested"]) == 0
    out, err = capsys.readouterr()
    assert "RMSE" in out
    assert "bins: RMSE " in err
    assert main(["train", config, "--model", "bins", "--all-rows", "--out", "final"]) == 0
    out, err = capsys.readouterr()
    assert out == "written to final\n"
    assert err.startswith("bins: fitted after ")
    assert [bridges_tabular.load(name).facts_["rows"] for name in ("tested", "final")] == [180, 240]
    assert main(["predict", "final", "t.csv", "--out", "p.csv", "--quiet"]) == 0
    assert main(["compare", config, "split.test=0", "--out", "run"]) == 2
    assert capsys.readouterr().err == (
        "bridges-tabular: error: split.test: 0 leaves a comparison no rows to score: only train takes it\n"
    )
    assert not Path("run").exists()
