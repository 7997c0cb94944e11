"""Regressors of other libraries as the location: trained, cross-fitted, weighted, refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from bridges_tabular import TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.core import scores

Homes = tuple[pd.DataFrame, pd.Series]
SMALL: dict[str, Any] = {"n_bins": 8, "n_estimators": 15, "n_jobs": 1}


def pipeline() -> Any:
    columns = make_column_transformer(
        (SimpleImputer(), ["size", "age", "noise"]), (OneHotEncoder(handle_unknown="ignore"), ["kind"])
    )
    return make_pipeline(columns, Ridge())


LOCATIONS: dict[str, Callable[[], Any]] = {
    "catboost": lambda: CatBoostRegressor(iterations=60, depth=3, learning_rate=0.2),
    "lightgbm": lambda: LGBMRegressor(n_estimators=60, num_leaves=7),
    "xgboost": lambda: XGBRegressor(n_estimators=60, max_depth=3),
    "hist": lambda: HistGradientBoostingRegressor(max_iter=60),
    "pipeline": pipeline,
    "network": lambda: TabularBridgeRegressor(max_epochs=3, n_bins=4, backbone_params={"layers": "8"}),
    "trees": lambda: XGBBridgeRegressor("soft", n_estimators=20, n_bins=4),
}
BOOSTED = ("catboost", "lightgbm", "xgboost", "hist")


def boosters(model: XGBBridgeRegressor) -> list[Any]:
    return model.get_location_boosters()


def rounds(fitted: Any) -> int:
    if isinstance(fitted, lightgbm.Booster):
        return fitted.best_iteration if fitted.best_iteration > 0 else fitted.current_iteration()
    if isinstance(fitted, XGBRegressor):
        return int(getattr(fitted.get_booster(), "best_iteration", fitted.get_booster().num_boosted_rounds() - 1)) + 1
    return int(getattr(fitted, "tree_count_", None) or fitted.n_iter_)


@pytest.mark.parametrize("name", LOCATIONS)
def test_any_regressor_can_be_the_location(name: str, homes: Homes, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = homes
    X = X.assign(when=pd.date_range("2021-03-01", periods=len(X), freq="7h")) if name != "pipeline" else X
    given = LOCATIONS[name]()
    before = str(given.get_params())
    model = XGBBridgeRegressor(location=given, **SMALL).fit(X[:240], y[:240])
    assert str(given.get_params()) == before
    # of whatever kind each library has
    with pytest.raises(Exception, match=r"(?i)fit"):
        given.predict(X[["size", "age", "kind", "noise"]])
    assert len(boosters(model)) == 5
    assert model.score(X[240:], y[240:]) > (0.2 if name == "network" else 0.8)
    unseen = X[240:].assign(kind="never seen")
    assert np.isfinite(model.predict(unseen)).all()
    distribution = model.predict_distribution(X[240:])
    np.testing.assert_allclose(distribution.mean, model.predict(X[240:]), atol=1e-6 * y.std())
    assert scores.crps(distribution, y[240:]) < 0.8 * np.abs(y[240:] - y[:240].mean()).mean()
    again = clone(model).fit(X[:240], y[:240])
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert not list(tmp_path.iterdir()), "files were written"


@pytest.mark.parametrize("name", BOOSTED)
def test_the_first_model_stops_early_and_the_folds_take_its_rounds(name: str, noisy: tuple[Any, Any]) -> None:
    X, y = noisy
    estimator = {
        "catboost": CatBoostRegressor(iterations=200),
        "lightgbm": LGBMRegressor(n_estimators=200),
        "xgboost": XGBRegressor(n_estimators=200),
        "hist": HistGradientBoostingRegressor(max_iter=200),
    }[name]
    model = XGBBridgeRegressor(location=estimator, early_stopping_rounds=10, **SMALL)
    model.fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
    first, *folds = map(rounds, boosters(model))
    assert 1 <= first < 150
    assert set(folds) == {first}
    if name == "catboost":
        # its rate follows from the number of rounds that it is given
        assert len({fitted.learning_rate_ for fitted in boosters(model)}) == 1
    everything = XGBBridgeRegressor(location=estimator, early_stopping_rounds=None, **SMALL)
    everything.fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
    assert set(map(rounds, boosters(everything))) == {200}


@pytest.fixture(scope="module")
def noisy() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(size=(400, 3)), columns=list("abc"))
    return X, (np.sin(5 * X["a"]) + 0.5 * rng.normal(size=400)).to_numpy()


@pytest.mark.parametrize("name", BOOSTED)
def test_early_stopping_of_the_user_s_own_wins(name: str, noisy: tuple[Any, Any]) -> None:
    X, y = noisy
    stopping: dict[str, dict[str, Any]] = {
        "catboost": {"od_type": "Iter", "od_wait": 60, "use_best_model": False, "iterations": 70},
        "lightgbm": {"early_stopping_round": 60, "n_estimators": 70},
        "xgboost": {"early_stopping_rounds": 60, "n_estimators": 70},
        "hist": {"early_stopping": False, "max_iter": 70},
    }
    estimator = type(LOCATIONS[name]())(**stopping[name])
    model = XGBBridgeRegressor(location=estimator, early_stopping_rounds=2, **SMALL)
    model.fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
    heard = boosters(model)[0]
    if name == "xgboost":
        assert len(heard.evals_result()["validation_0"]["rmse"]) > 60
    elif name == "lightgbm":
        ours = XGBBridgeRegressor(location=LGBMRegressor(n_estimators=70), early_stopping_rounds=60, **SMALL)
        ours.fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
        assert rounds(heard) == rounds(boosters(ours)[0]) > 20
    else:
        assert rounds(heard) == 70


def test_the_location_is_half_a_model_of_all_rows_and_half_of_the_folds(noisy: tuple[Any, Any]) -> None:
    X, y = noisy
    standard = (y - y[:300].mean()) / y[:300].std()
    seen: list[tuple[int, int]] = []

    class Tree(DecisionTreeRegressor):
        def fit(self, X: Any, y: Any, **fit_params: Any) -> Any:
            seen.append((len(X), len(set(X.index))))
            return super().fit(X, y, **fit_params)

    model = XGBBridgeRegressor(location=Tree(max_depth=4), random_state=3, **SMALL)
    model.fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
    assert seen == [(300, 300)] + [(225, 225)] * 4
    main, *folds = boosters(model)
    alone = DecisionTreeRegressor(max_depth=4, random_state=3).fit(X[:300], standard[:300])
    np.testing.assert_allclose(main.predict(X), alone.predict(X), atol=1e-9)
    location = 0.5 * main.predict(X) + 0.5 * np.mean([fold.predict(X) for fold in folds], axis=0)
    # what the bins add is small beside it
    left = (model.predict(X) - y[:300].mean()) / y[:300].std() - location
    assert np.abs(left).max() < 0.6
    assert np.corrcoef(location, model.predict(X))[0, 1] > 0.9
    np.testing.assert_allclose(
        model.feature_importances_,
        0.5 * main.feature_importances_ + 0.5 * np.mean([fold.feature_importances_ for fold in folds], axis=0),
        atol=1e-6,
    )


def test_a_location_that_remembers_its_rows_knows_how_wrong_it_is_on_others(noisy: tuple[Any, Any]) -> None:
    X, y = noisy
    model = XGBBridgeRegressor(location=KNeighborsRegressor(1), calibration="none", **SMALL)
    model.fit(X[:250], y[:250], eval_set=(X[250:300], y[250:300]))
    low, high = model.predict_interval(X[300:], 0.9).T
    assert np.mean((low <= y[300:]) & (y[300:] <= high)) > 0.8


@pytest.mark.parametrize("name", [*BOOSTED, "pipeline", "trees"])
def test_weights_arrive(name: str) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=400)})
    y = np.tile([0.0, 1.0], 200) + 1e-3 * rng.normal(size=400)
    weight = np.tile([9.0, 1.0], 200)
    estimator = make_pipeline(SimpleImputer(), Ridge()) if name == "pipeline" else LOCATIONS[name]()
    model = XGBBridgeRegressor(location=estimator, **SMALL).fit(X, y, weight, (X, y, weight))
    location = [np.mean(_predicted(model, fitted, X)) for fitted in boosters(model)]
    np.testing.assert_allclose(location, 0.1, atol=0.1)


def _predicted(model: XGBBridgeRegressor, fitted: Any, X: pd.DataFrame) -> Any:
    return model.scale_.restore(np.asarray(fitted.predict(X)).reshape(-1, 1))


@pytest.mark.parametrize("name", BOOSTED)
def test_categories_are_no_numbers_to_them(name: str) -> None:
    # no threshold on the codes tells odd letters from even ones, and one tree of one split has to
    letters = np.random.default_rng(0).choice(list("abcdefgh"), 600)
    y = np.isin(letters, list("aceg")).astype(float) + 0.01 * np.random.default_rng(1).normal(size=600)
    one_split = {
        "catboost": CatBoostRegressor(iterations=30, depth=1, learning_rate=0.5),
        "lightgbm": LGBMRegressor(n_estimators=1, num_leaves=2, learning_rate=1.0, min_data_per_group=1, cat_smooth=1),
        "xgboost": XGBRegressor(n_estimators=1, max_depth=1, learning_rate=1.0, max_cat_to_onehot=1),
        "hist": HistGradientBoostingRegressor(max_iter=1, max_leaf_nodes=2, learning_rate=1.0),
    }[name]
    X = pd.DataFrame({"letter": letters, "other": np.arange(600) % 7})
    model = XGBBridgeRegressor(location=one_split, monotone_constraints={"other": 0}, **SMALL).fit(X, y)
    assert model.score(X, y) > 0.95


@pytest.mark.parametrize(
    ("estimator", "own"),
    [
        (RandomForestRegressor(5), {"random_state": 7, "n_jobs": 1}),
        (RandomForestRegressor(5, random_state=3, n_jobs=2), {"random_state": 3, "n_jobs": 2}),
        (make_pipeline(RandomForestRegressor(5)), {"randomforestregressor__random_state": 7}),
        (CatBoostRegressor(iterations=5), {"random_seed": 7, "thread_count": 1}),
        (CatBoostRegressor(iterations=5, random_state=3), {"random_state": 3}),
        (XGBRegressor(n_estimators=5), {"random_state": 7, "n_jobs": 1}),
    ],
)
def test_seed_and_threads_are_given_where_there_are_none(estimator: Any, own: Any, noisy: tuple[Any, Any]) -> None:
    X, y = noisy
    model = XGBBridgeRegressor(location=estimator, random_state=7, **SMALL).fit(X, y)
    for fitted in boosters(model):
        assert fitted.get_params().items() >= own.items()


class Broken(RegressorMixin, BaseEstimator):
    def __init__(self, value: Any = np.nan) -> None:
        self.value = value

    def fit(self, X: Any, y: Any) -> Any:
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> Any:
        return np.full((len(X), *np.shape(self.value)), self.value)


WEIGHT = np.r_[np.ones(200), np.full(100, 2.0)]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (KNeighborsRegressor(), "KNeighborsRegressor.fit takes no sample_weight"),
        (make_pipeline(SimpleImputer(), KNeighborsRegressor()), "Pipeline.fit takes no sample_weight"),
        (LinearRegression(), "LinearRegression takes no missing values, and column 'age' holds some"),
        (RandomForestRegressor(), "RandomForestRegressor takes numbers alone, and column 'kind' holds text"),
        (RandomForestClassifier(), "location: RandomForestClassifier is no regressor"),
        (HistGradientBoostingRegressor(max_bins=2), "takes at most 2 categories, and column 'kind' holds 3"),
        (CatBoostRegressor(depth=99), "CatBoostRegressor refuses the table: .*Maximum tree depth is 16"),
        (LGBMRegressor(objective="poison"), "LGBMRegressor refuses the table: Unknown objective"),
        (
            CatBoostRegressor(loss_function="Poisson"),
            "location: loss_function='Poisson' of CatBoostRegressor takes no neg",
        ),
        (
            CatBoostRegressor(objective="Tweedie:variance_power=1.5"),
            "location: objective='Tweedie:variance_power=1.5' of",
        ),
        (LGBMRegressor(objective="gamma"), "location: objective='gamma' of LGBMRegressor takes no negative target"),
        (
            XGBRegressor(objective="count:poisson"),
            "location: objective='count:poisson' of XGBRegressor takes no negative",
        ),
        (
            HistGradientBoostingRegressor(loss="poisson"),
            "location: loss='poisson' of HistGradientBoostingRegressor takes",
        ),
        (Broken(), "Broken.fit takes no sample_weight"),
        (Ridge, "location: Ridge is a class, give an object: Ridge()"),
        ({}, "location: lacks 'estimator'"),
        ({"estimator": "catboost.CatBoostRegressor", "parms": {}}, "location: holds 'parms'"),
        ({"estimator": 3}, "location.estimator must be an import path, not 3"),
        ({"estimator": "catbost.CatBoostRegressor"}, "location.estimator: cannot import 'catbost.CatBoostRegressor'"),
        ({"estimator": "lightgbm.Booster"}, "is not the import path of a regressor with fit, predict and get_params"),
        ({"estimator": "catboost.CatBoostRegressor", "params": {"dept": 3}}, "location.params: .*'dept'"),
        ({"estimator": "lightgbm.LGBMRegressor", "params": {"max_dept": 3}}, "'max_dept', did you mean 'max_depth'"),
        ({"estimator": "xgboost.XGBRegressor", "params": {"max_dept": 3}}, "'max_dept', did you mean 'max_depth'"),
        ({"estimator": "sklearn.linear_model.Ridge", "params": {"alpha": -1}}, "location.params: The 'alpha'"),
        ({"estimator": "sklearn.linear_model.Ridge", "params": {"alpha": 10**400}}, "location.params: alpha must be"),
        ({"estimator": "sklearn.linear_model.Ridge", "params": [1]}, "location.params must be a block"),
    ],
)
def test_what_cannot_be_a_location_is_refused_in_a_line(
    location: Any, words: str, homes: Homes, monkeypatch: Any
) -> None:
    X, y = homes

    def train(*_: Any, **__: Any) -> Any:
        raise AssertionError("trees were trained")

    monkeypatch.setattr("bridges_tabular.boosting.xgboost.xgb.train", train)
    if isinstance(location, LinearRegression):
        X = X.drop(columns="kind")
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        XGBBridgeRegressor(location=location, **SMALL).fit(X, y, WEIGHT)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "predicts NaN, infinity or more"),
        (1e39, "predicts NaN, infinity or more than single precision holds"),
        ([1.0, 2.0], r"predicts an array of shape .*, expected"),
    ],
)
def test_what_is_no_prediction_is_refused(value: Any, words: str, noisy: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match=f"^Broken {words}"):
        XGBBridgeRegressor(location=Broken(value), **SMALL).fit(*noisy)


def test_no_effect_is_refused_and_contributions_are_xgboost_s(noisy: tuple[Any, Any]) -> None:
    X, y = noisy
    with pytest.raises(ValueError, match="location has no effect with scheme='least_squares'"):
        XGBBridgeRegressor("least_squares", location=Ridge()).fit(X, y)
    model = XGBBridgeRegressor(location=Ridge(), **SMALL).fit(X, y)
    with pytest.raises(ValueError, match="contributions are not known of a location of scikit-learn's regressors"):
        model.predict_contributions(X)
    assert not hasattr(model, "feature_importances_")


def test_a_dict_is_the_regressor_that_it_names(noisy: tuple[Any, Any]) -> None:
    X, y = noisy
    by_name = {"estimator": "lightgbm.LGBMRegressor", "params": {"num_leaves": 5, "num_iterations": 20}}
    fitted = [
        XGBBridgeRegressor(location=location, **SMALL).fit(X, y).predict(X)
        for location in (by_name, LGBMRegressor(num_leaves=5, num_iterations=20), LGBMRegressor())
    ]
    np.testing.assert_array_equal(fitted[0], fitted[1])
    assert np.abs(fitted[0] - fitted[2]).max() > 1e-3
    model = XGBBridgeRegressor(location=LGBMRegressor()).set_params(location__num_leaves=9)
    assert model.location.num_leaves == 9


def test_progress_counts_the_models_and_then_the_rounds(noisy: tuple[Any, Any]) -> None:
    heard: list[tuple[int, int, Any]] = []
    XGBBridgeRegressor(location=Ridge(), **SMALL).fit(*noisy, report=lambda *step: heard.append(step))
    assert [step for step, _, _ in heard] == list(range(1, len(heard) + 1))
    assert {total for _, total, _ in heard} == {5 + 5}
    assert [bool(scored) for _, _, scored in heard[:6]] == [False] * 5 + [True]
