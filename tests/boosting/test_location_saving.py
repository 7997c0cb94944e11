"""Locations of other libraries in saved models: without pickle, bit for bit, and nothing imported that a file names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from safetensors.numpy import load, save
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingRegressor, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBRegressor

import bridges_tabular
from bridges_tabular import PooledBridgeRegressor, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.regressors.folders import MANIFEST_FILE, write_manifest

Homes = tuple[pd.DataFrame, pd.Series]
SMALL: dict[str, Any] = {"n_bins": 8, "n_estimators": 15, "n_jobs": 1}


def pipeline() -> Any:
    columns = make_column_transformer(
        (SimpleImputer(), ["size", "age"]), (OneHotEncoder(handle_unknown="ignore"), ["kind"])
    )
    return make_pipeline(columns, Ridge())


LOCATIONS: dict[str, Callable[[], Any]] = {
    "catboost": lambda: CatBoostRegressor(iterations=20, depth=3, monotone_constraints={"size": 1}),
    "lightgbm": lambda: LGBMRegressor(n_estimators=20, num_leaves=7),
    "xgboost": lambda: XGBRegressor(n_estimators=20, max_depth=3),
    "hist_gradient_boosting": lambda: HistGradientBoostingRegressor(max_iter=3),
    "scikit-learn": pipeline,
    "bridges_tabular": lambda: XGBBridgeRegressor("soft", **SMALL, location="none"),
}
every = pytest.mark.parametrize("name", LOCATIONS)


@pytest.fixture(scope="module")
def fitted(homes: Homes) -> dict[str, XGBBridgeRegressor]:
    X, y = homes
    return {name: XGBBridgeRegressor(location=make(), **SMALL).fit(X, y) for name, make in LOCATIONS.items()}


class Folder:
    """A saved model to change, under a manifest that fits."""

    def __init__(self, model: Any, path: Path) -> None:
        model.save(path)
        self.path = path
        self.manifest = json.loads((path / MANIFEST_FILE).read_text())
        self.state = json.loads((path / "bridge.json").read_text())
        self.arrays = load((path / "arrays.safetensors").read_bytes())

    def write(self) -> Path:
        (self.path / "bridge.json").write_text(json.dumps(self.state))
        (self.path / "arrays.safetensors").write_bytes(save(self.arrays))
        write_manifest(self.path, {key: self.manifest[key] for key in ("class", "format", "versions")})
        return self.path

    def refused(self, words: str) -> None:
        with pytest.raises(ValueError, match=words) as caught:
            bridges_tabular.load(self.write())
        assert "\n" not in str(caught.value)
        assert str(self.path) in str(caught.value)


@every
def test_everything_comes_back_to_the_last_bit(name: str, fitted: Any, homes: Homes, tmp_path: Path) -> None:
    X, model = homes[0], fitted[name]
    model.save(tmp_path / "m")
    assert {path.suffix for path in (tmp_path / "m").iterdir()} <= {".json", ".safetensors", ".md"}
    again = bridges_tabular.load(tmp_path / "m")
    unseen = X.assign(kind="never seen")
    for rows in (X, unseen):
        np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
        np.testing.assert_array_equal(
            again.predict_quantiles(rows, [0.1, 0.9]), model.predict_quantiles(rows, [0.1, 0.9])
        )
    given = model.location.get_params(deep=False)
    path, held = again.location["estimator"], again.location["params"]
    assert path.endswith(type(model.location).__name__)
    assert all(given[key] == value for key, value in held.items())
    if name == "catboost":
        assert held["monotone_constraints"] == {"size": 1}
    # and once more
    again.save(tmp_path / "n")
    np.testing.assert_array_equal(bridges_tabular.load(tmp_path / "n").predict(X), model.predict(X))


@pytest.mark.filterwarnings("ignore:categorical_feature")
@pytest.mark.parametrize("params", [{"categorical_feature": "name:kind"}, {"ignore_column": "name:age"}])
def test_columns_that_lightgbm_knows_by_name_come_back(params: Any, homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    model = XGBBridgeRegressor(location=LGBMRegressor(n_estimators=5, **params), **SMALL).fit(X, y)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(bridges_tabular.load(tmp_path / "m").predict(X), model.predict(X))


def test_a_dict_comes_back_as_it_was(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    location = {"estimator": "catboost.CatBoostRegressor", "params": {"iterations": 5, "feature_weights": [1.0, 2.0]}}
    model = XGBBridgeRegressor(location=location, **SMALL).fit(X, y)
    model.save(tmp_path / "m")
    assert bridges_tabular.load(tmp_path / "m").get_params() == model.get_params()


@pytest.mark.parametrize(
    ("location", "lacking"),
    [
        (BaggingRegressor(Ridge(), n_estimators=np.int64(3)), "['estimator'] of 'sklearn.ensemble._bagging.BaggingR"),
        (make_pipeline(Ridge()), "['steps'] of 'sklearn.pipeline.Pipeline'"),
        (
            {"estimator": "sklearn.ensemble.BaggingRegressor", "params": {"estimator": Ridge(), "n_estimators": 3}},
            "['estimator'] of 'sklearn.ensemble.BaggingRegressor'",
        ),
    ],
)
def test_a_location_that_no_file_holds_predicts_and_is_not_fitted_as_another(
    location: Any, lacking: str, homes: Homes, tmp_path: Path
) -> None:
    X, y = homes[0][["size"]].fillna(1.0), homes[1]
    model = XGBBridgeRegressor(location=location, **SMALL).fit(X, y)
    model.save(tmp_path / "m")
    again = bridges_tabular.load(tmp_path / "m")
    again.save(tmp_path / "m")
    again = bridges_tabular.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for one in (again, clone(again)):
        with pytest.raises(ValueError, match=r"^location: the saved model does not hold the") as caught:
            one.fit(X, y)
        assert lacking in str(caught.value)
        assert str(caught.value).endswith(": set location anew")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.set_params(location=location).fit(X, y).predict(X), model.predict(X))


@pytest.mark.parametrize("name", [name for name in LOCATIONS if name != "scikit-learn"])
def test_a_loaded_model_is_fitted_as_it_was(name: str, fitted: Any, homes: Homes, tmp_path: Path) -> None:
    fitted[name].save(tmp_path / "m")
    again = bridges_tabular.load(tmp_path / "m").fit(*homes)
    np.testing.assert_array_equal(again.predict(homes[0]), fitted[name].predict(homes[0]))


def test_a_network_comes_back(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    network = TabularBridgeRegressor(max_epochs=2, n_bins=4, backbone_params={"layers": "4"}, calibration="none")
    model = XGBBridgeRegressor(location=network, early_stopping_rounds=None, **SMALL).fit(X[:60], y[:60])
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(bridges_tabular.load(tmp_path / "m").predict(X), model.predict(X))


def test_a_pool_comes_back_with_its_members(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    pool = PooledBridgeRegressor([(scheme, XGBBridgeRegressor(scheme, **SMALL)) for scheme in ("hard", "soft")])
    model = XGBBridgeRegressor(location=pool, **SMALL).fit(X, y)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(bridges_tabular.load(tmp_path / "m").predict(X), model.predict(X))


@pytest.mark.parametrize("name", ["catboost", "lightgbm", "scikit-learn", "bridges_tabular"])
def test_a_forged_location_is_a_line(name: str, fitted: Any, tmp_path: Path) -> None:
    changes = iter(range(100))

    def folder() -> Folder:
        return Folder(fitted[name], tmp_path / str(next(changes)))

    for other, words in {
        "trees": "the location is of 'trees', expected scikit-learn or",
        "os.system": "the location is of 'os.system'",
        3: "'library' is a int",
        **{other: "is no model of|holds" for other in LOCATIONS if other != name},
    }.items():
        changed = folder()
        changed.state["engine"]["location"]["library"] = other
        changed.refused(words)
    for count in (0, 1, -1, 10**9, "x", True):
        changed = folder()
        changed.state["engine"]["location"]["models"] = count
        changed.refused("models|location|belongs to nothing")
    for value in (np.array(1.5), np.array(np.nan), np.array(-1.0), np.zeros(2), np.array(1, np.float32)):
        changed = folder()
        changed.arrays["engine.share"] = value
        changed.refused("array 'engine.share'")
    for location in ("cross_fitted", "none"):
        changed = folder()
        changed.state["params"]["location"] = location
        changed.refused("location")


def test_trees_are_no_location_of_another_library(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    model = XGBBridgeRegressor(**SMALL).fit(X, y)
    changed = Folder(model, tmp_path / "a")
    changed.state["params"]["location"] = {"estimator": "lightgbm.LGBMRegressor"}
    changed.refused("the location is of 'trees', expected scikit-learn or xgboost or")
    changed = Folder(model, tmp_path / "b")
    changed.state["engine"]["location"]["library"] = "lightgbm"
    changed.refused("the location is of 'lightgbm', expected 'trees'")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lightgbm", "scikit-learn"])
def test_the_named_estimator_is_not_imported(name: str, fitted: Any, tmp_path: Path) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')\n")
    changed = Folder(fitted[name], tmp_path / "m")
    changed.state["params"]["location"] = {"estimator": "evil_module.Evil", "params": {}}
    code = f"import bridges_tabular; print(bridges_tabular.load({str(changed.write())!r}).best_iteration_)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Own(RegressorMixin, BaseEstimator):
    """Predicts a mean, and may hold what no format knows."""

    def __init__(self, held: Any = None) -> None:
        self.held = held

    def fit(self, X: Any, y: Any) -> Any:
        self.mean_ = np.mean(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean_)


def test_types_of_one_s_own_have_to_be_trusted(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    model = XGBBridgeRegressor(location=Own(), **SMALL).fit(X, y)
    model.save(tmp_path / "m")
    name = f"{Own.__module__}.Own"
    with pytest.raises(ValueError, match=f"the saved location holds {name}: name them in trusted"):
        bridges_tabular.load(tmp_path / "m")
    if Own.__module__ in sys.modules:
        again = bridges_tabular.load(tmp_path / "m", trusted=[name])
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_what_no_format_knows_is_refused_by_name_and_nothing_is_left(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    model = XGBBridgeRegressor(location=Own(), **SMALL).fit(X, y)
    model._trained.location.models[0].held = (value for value in range(3))
    with pytest.raises(ValueError, match=r"^Own cannot be saved without pickle: ") as caught:
        model.save(tmp_path / "m")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
