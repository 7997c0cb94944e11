"""Folders without pickle that predict bit for bit the same in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bridges_tabular
from bridges_tabular import XGBBridgeRegressor

SCHEMES = ("least_squares", "hard", "soft", "pretrained", "end_to_end")

Homes = tuple[pd.DataFrame, pd.Series]

_FRESH = """
import sys
import numpy as np, pandas as pd, bridges_tabular
for folder in sys.argv[1:]:
    model = bridges_tabular.load(folder)
    X = pd.read_pickle(folder + "/../X.pkl")
    np.save(folder + "/../" + model.scheme + ".npy", model.predict(X))
"""


def test_a_fresh_process_predicts_bit_for_bit_the_same(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    X.to_pickle(tmp_path / "X.pkl")
    models = {s: XGBBridgeRegressor(s, n_bins=8, n_estimators=30, n_jobs=1).fit(X, y) for s in SCHEMES}
    for scheme, model in models.items():
        model.save(tmp_path / f"model_{scheme}")
    folders = [str(tmp_path / f"model_{scheme}") for scheme in SCHEMES]
    subprocess.run([sys.executable, "-c", _FRESH, *folders], check=True)
    for scheme, model in models.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{scheme}.npy"), model.predict(X))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_everything_fitted_comes_back(scheme: str, homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    model = XGBBridgeRegressor(scheme, n_bins=8, n_estimators=30, n_jobs=1).fit(X, y)
    model.save(tmp_path / "m")
    assert {path.suffix for path in (tmp_path / "m").iterdir()} <= {".json", ".safetensors", ".md"}
    loaded = bridges_tabular.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params()
    assert loaded.best_iteration_ == model.best_iteration_
    assert loaded.best_score_ == model.best_score_
    assert loaded.evals_result_ == model.evals_result_
    np.testing.assert_array_equal(loaded.feature_importances_, model.feature_importances_)
    if hasattr(model, "predict_distribution"):
        for name in ("edges", "masses", "tail_masses"):
            ours, theirs = (getattr(m.predict_distribution(X), name) for m in (model, loaded))
            np.testing.assert_array_equal(ours, theirs)


def test_an_incomplete_folder_names_the_file(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    XGBBridgeRegressor("soft", n_bins=8, n_estimators=5, n_jobs=1).fit(X, y).save(tmp_path / "m")
    (tmp_path / "m" / "arrays.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"arrays\.safetensors"):
        XGBBridgeRegressor.load(tmp_path / "m")
