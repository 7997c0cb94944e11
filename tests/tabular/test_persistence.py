"""Saved regressors predict the same in a fresh process, from files that hold no pickle."""

import subprocess
import sys

import numpy as np
import pytest

from bridges_tabular import TabularBridgeRegressor
from bridges_tabular.core.schemes import SCHEMES

PREDICT = """
import sys, numpy, pandas, pickle, torch
import bridges_tabular
bridges_tabular.TabularBridgeRegressor
def refuse(*args, **kwargs):
    raise AssertionError("a pickle was read")
pickle.load = pickle.loads = torch.load = refuse
X = pandas.read_csv(sys.argv[1])
out = {}
for folder in sys.argv[3:]:
    model = bridges_tabular.load(folder)
    out[folder] = model.predict(X)
    if hasattr(model, "predict_distribution"):
        out[folder + "|q"] = model.predict_quantiles(X, [0.05, 0.5, 0.95])
numpy.savez(sys.argv[2], **out)
"""


@pytest.mark.slow
def test_every_scheme_predicts_the_same_in_a_fresh_process(table, tmp_path):
    X, y = table
    X.to_csv(tmp_path / "X.csv", index=False)
    models = {}
    for scheme in SCHEMES:
        folder = str(tmp_path / scheme)
        models[folder] = TabularBridgeRegressor(scheme=scheme, max_epochs=3, n_bins=16).fit(X, y)
        models[folder].save(folder)
    # few distinct targets: fewer bins than asked for, and the location head that "auto" picks
    folder = str(tmp_path / "few")
    with pytest.warns(UserWarning, match="n_bins"):
        models[folder] = TabularBridgeRegressor(max_epochs=3).fit(X, np.digitize(y, [90, 140, 200]))
    models[folder].save(folder)
    folder = str(tmp_path / "members")
    models[folder] = TabularBridgeRegressor("MemberMLPConfig", max_epochs=1, n_bins=8).fit(X, y)
    models[folder].save(folder)
    script = tmp_path / "predict.py"
    script.write_text(PREDICT)
    arguments = [sys.executable, str(script), str(tmp_path / "X.csv"), str(tmp_path / "out.npz"), *models]
    subprocess.run(arguments, check=True, capture_output=True, text=True)
    out = np.load(tmp_path / "out.npz")
    for folder, model in models.items():
        np.testing.assert_array_equal(out[folder], model.predict(X))
        if hasattr(model, "predict_distribution"):
            np.testing.assert_array_equal(out[folder + "|q"], model.predict_quantiles(X, [0.05, 0.5, 0.95]))


def test_a_saved_folder_holds_json_and_safetensors_alone(table, tmp_path):
    TabularBridgeRegressor(max_epochs=1, n_bins=8).fit(*table).save(tmp_path / "m")
    assert {path.suffix for path in (tmp_path / "m").iterdir()} == {".json", ".md", ".safetensors"}


def test_a_loaded_model_keeps_its_parameters_and_names(table, tmp_path):
    X, y = table
    model = TabularBridgeRegressor(max_epochs=2, n_bins=8, smoothing=2.0).fit(X, y)
    model.save(tmp_path / "m")
    loaded = TabularBridgeRegressor.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params()
    assert loaded.best_epoch_ == model.best_epoch_
    assert loaded.feature_names_in_.tolist() == list(X)
    loaded.save(tmp_path / "again")
    np.testing.assert_array_equal(TabularBridgeRegressor.load(tmp_path / "again").predict(X), model.predict(X))


def test_a_model_that_is_not_fitted_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        TabularBridgeRegressor().save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
