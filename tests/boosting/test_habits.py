"""What users of XGBoost are used to: parameters, names and printed lines, against XGBoost itself."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

import bridges_tabular
from bridges_tabular import XGBBridgeRegressor
from bridges_tabular.boosting.xgboost import has_device
from bridges_tabular.regressors.folders import read_manifest, write_manifest

Homes = tuple[pd.DataFrame, pd.Series]
SMALL: dict[str, Any] = {"n_bins": 8, "n_estimators": 12, "n_jobs": 1}
HABITS: dict[str, Any] = {
    "min_child_weight": 9.0,
    "gamma": 0.05,
    "max_leaves": 5,
    "max_bin": 9,
    "grow_policy": "lossguide",
}


@pytest.mark.parametrize("name", [*HABITS, "all"])
def test_parameters_mean_what_they_mean_to_xgboost(name: str, homes: Homes) -> None:
    X, y = homes[0][["size", "age", "noise"]], homes[1]
    params = HABITS if name == "all" else {name: HABITS[name]}
    # an order of splits shows where leaves are counted
    own = params | ({"max_leaves": 5} if name == "grow_policy" else {})
    shared: dict[str, Any] = {
        "n_estimators": 12,
        "learning_rate": 0.1,
        "subsample": 1.0,
        "n_jobs": 1,
        "random_state": 0,
    }
    settings = {"early_stopping_rounds": None, "calibration": "none"}
    ours = XGBBridgeRegressor("least_squares", **shared, **own, **settings).fit(X, y)
    theirs = xgb.XGBRegressor(max_depth=6, **shared, **own).fit(X, (y - y.mean()) / ours.scale_.scale[0])
    expected = theirs.predict(X) * ours.scale_.scale[0] + y.mean()
    np.testing.assert_allclose(ours.predict(X), expected, atol=1e-3 * y.std())
    without = XGBBridgeRegressor(
        "least_squares", **shared, **{k: v for k, v in own.items() if k not in params}, **settings
    )
    assert not np.allclose(ours.predict(X), without.fit(X, y).predict(X), atol=1e-2 * y.std())


@pytest.mark.parametrize("name", HABITS)
def test_every_stage_takes_them(name: str, homes: Homes) -> None:
    X, y = homes
    own = {name: HABITS[name]} | ({"max_leaves": 5} if name == "grow_policy" else {})
    plain = XGBBridgeRegressor(**SMALL, **{k: v for k, v in own.items() if k != name}).fit(X, y)
    model = XGBBridgeRegressor(**SMALL, **own).fit(X, y)
    dumps = [
        [one.get_location_boosters()[0].get_dump(), one.get_location_boosters()[1].get_dump()] for one in (plain, model)
    ]
    assert dumps[0][0] != dumps[1][0]
    assert dumps[0][1] != dumps[1][1]
    # leaves of vectors have far smaller hessians: a weight of a few rows would leave no tree
    assert model.score(X, y) > 0.3
    own_params = json.loads(model.get_booster().save_config())
    used = re.search(r'"min_child_weight": "(.*?)"', json.dumps(own_params))
    assert used is not None
    assert float(used[1]) == 0


def test_what_both_decide_is_refused() -> None:
    for params, words in (
        ({"gamma": 1.0, "xgb_params": {"gamma": 2.0}}, ["'gamma'"]),
        ({"gamma": 1.0, "xgb_params": {"min_split_loss": 2.0}}, ["'min_split_loss'", "'gamma'"]),
        ({"min_child_weight": 2.0, "location": "none"}, ["min_child_weight=2.0", "no effect", "location='none'"]),
        ({"xgb_params": {"colsample_bylevl": 0.5}}, ["'colsample_bylevl'", "did you mean 'colsample_bylevel'"]),
        ({"xgb_params": {"learner": 1}}, ["'learner'"]),
        ({"max_bin": 1}, ["max_bin"]),
        ({"grow_policy": "sideways"}, ["grow_policy"]),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
            XGBBridgeRegressor(**params).check_params()  # type: ignore[arg-type]
        assert all(word in str(caught.value) for word in words), caught.value
    XGBBridgeRegressor(xgb_params={"gamma": 1.0, "max_cached_hist_node": 64}).check_params()


def test_results_have_the_names_of_xgboost(homes: Homes) -> None:
    X, y = homes
    model = XGBBridgeRegressor(**SMALL).fit(X, y)
    assert model.best_iteration == model.best_iteration_
    assert model.evals_result() == model.evals_result_
    assert list(model.evals_result()) == ["location", "validation_0"]
    assert isinstance(model.get_booster(), xgb.Booster)
    assert model.get_booster().num_boosted_rounds() == model.best_iteration + 1


@pytest.mark.parametrize("verbose", [True, 4, False])
def test_verbose_prints_as_xgboost_does(verbose: bool | int, homes: Homes, capfd: pytest.CaptureFixture[str]) -> None:
    X, y = homes[0][["size", "age", "noise"]], homes[1]
    shared: dict[str, Any] = {"n_estimators": 11, "learning_rate": 0.1, "subsample": 1.0, "n_jobs": 1}
    model = XGBBridgeRegressor("least_squares", early_stopping_rounds=30, **shared)
    model.fit(X[:200], y[:200], eval_set=(X[200:], y[200:]), verbose=verbose)
    ours = capfd.readouterr().out
    theirs = xgb.XGBRegressor(early_stopping_rounds=30, **shared)
    theirs.fit(X[:200], y[:200], eval_set=[(X[200:], y[200:])], verbose=verbose)
    lines = [re.fullmatch(r"(\[\d+\]\tvalidation_0-rmse:)(\d+\.\d{5})", line) for line in ours.splitlines()]
    expected = capfd.readouterr().out.splitlines()
    assert [line and line[1] for line in lines] == [line[: line.index(":") + 1] for line in expected]
    assert len(lines) == {True: 11, 4: 4, False: 0}[verbose]
    scores = model.evals_result()["validation_0"]["rmse"]
    for line in lines:
        assert line is not None
        number = int(line[1][1 : line[1].index("]")])
        assert float(line[2]) == pytest.approx(scores[number], abs=1e-5)


@pytest.mark.parametrize("verbose", ["yes", -1, 0.5, None])
def test_other_values_of_verbose_are_refused(verbose: Any, homes: Homes) -> None:
    with pytest.raises(ValueError, match=r"^verbose must be .*$"):
        XGBBridgeRegressor(**SMALL).fit(*homes, verbose=verbose)


def test_a_model_of_a_gpu_predicts_where_there_is_none(homes: Homes, tmp_path: Path) -> None:
    X, y = homes
    model = XGBBridgeRegressor(**SMALL).fit(X, y)
    model.save(tmp_path / "m")
    state = tmp_path / "m" / "bridge.json"
    state.write_text(state.read_text("utf-8").replace('"device": "cpu"', '"device": "cuda:0"'), encoding="utf-8")
    manifest = read_manifest(tmp_path / "m")
    write_manifest(tmp_path / "m", {key: value for key, value in manifest.items() if key != "files"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        moved = bridges_tabular.load(tmp_path / "m")
        np.testing.assert_array_equal(moved.predict(X), model.predict(X))
    said = [str(one.message) for one in caught]
    if has_device("cuda:0"):
        pytest.skip("there is a GPU")
    assert said == ["the model was fitted with device='cuda:0', which is not here: it predicts on the cpu"]
