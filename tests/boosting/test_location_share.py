"""How much of the mean over the bins is in the point, and directions that the point keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from xgboost import Booster, DMatrix, XGBRegressor

import bridges_tabular
from bridges_tabular import XGBBridgeRegressor

SMALL: dict[str, Any] = {"n_bins": 8, "n_estimators": 30, "n_jobs": 1}
RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.uniform(size=(500, 3)), columns=list("abc"))
Y = np.sin(5 * X["a"]).to_numpy() + X["b"].to_numpy() + 0.4 * RNG.normal(size=500)
WEIGHT = RNG.uniform(0.1, 3, 500)
TRAIN, WATCHED = slice(300), slice(300, 500)


def location(model: XGBBridgeRegressor, table: pd.DataFrame) -> Any:
    """What the location says, put together from its models."""
    boosters = model.get_location_boosters()
    single = table.astype(np.float32)
    rows = DMatrix(single) if isinstance(boosters[0], Booster) else single
    main, *folds = (np.asarray(one.predict(rows), dtype=np.float64) for one in boosters)
    return model.scale_.restore((0.5 * main + 0.5 * np.mean(folds, axis=0))[:, None])[:, 0]


@pytest.mark.parametrize("estimator", ["cross_fitted", Ridge(), CatBoostRegressor(iterations=40, learning_rate=0.2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_share_has_the_least_squared_error_on_the_validation_rows(estimator: Any, weighted: bool) -> None:
    model = XGBBridgeRegressor(location=estimator, **SMALL)
    weight = WEIGHT if weighted else np.ones(500)
    model.fit(X[TRAIN], Y[TRAIN], weight[TRAIN], (X[WATCHED], Y[WATCHED], weight[WATCHED]))
    base = location(model, X[WATCHED])
    added, left = model.predict(X[WATCHED]) - base, Y[WATCHED] - base
    assert np.abs(added).max() > 1e-3
    share = model._bridges[0].share
    mean, weight = added / share, weight[WATCHED] / weight[WATCHED].mean()
    noise = np.average(np.square(left - mean), weights=weight)
    shares = np.linspace(0, 1, 1001)
    # minus the logarithm of the posterior, times twice the variance of the noise
    errors = [weight @ np.square(left - one * mean) + noise * np.square((one - 1) / 0.25) for one in shares]
    assert share == pytest.approx(shares[np.argmin(errors)], abs=1e-3)
    np.testing.assert_allclose(model.predict_distribution(X).mean, model.predict(X), atol=1e-6)


def test_bins_that_do_not_help_are_left_out_of_the_point() -> None:
    # the watched rows say that the trend of the bins is the wrong way round
    half = np.where(X["c"] > 0.5, 1.0, -1.0)
    y = X["a"].to_numpy() + 0.5 * half
    wrong = X["a"].to_numpy() - 0.5 * half
    # a location that cannot see c
    model = XGBBridgeRegressor(location=Ridge(alpha=1e9), early_stopping_rounds=None, **SMALL)
    model.fit(X[TRAIN], y[TRAIN], eval_set=(X[WATCHED], wrong[WATCHED]))
    np.testing.assert_allclose(model.predict(X), location(model, X), atol=1e-12)
    right = XGBBridgeRegressor(location=Ridge(alpha=1e9), early_stopping_rounds=None, **SMALL)
    right.fit(X[TRAIN], y[TRAIN], eval_set=(X[WATCHED], y[WATCHED]))
    assert np.corrcoef(right.predict(X), half)[0, 1] > 0.8


def test_all_of_the_mean_is_in_it_without_validation_rows() -> None:
    model = XGBBridgeRegressor(early_stopping_rounds=None, **SMALL).fit(X, Y)
    assert model._bridges[0].share == 1.0
    assert np.abs(model.predict(X) - location(model, X)).max() > 1e-3


def test_contributions_sum_to_the_point_whatever_the_share(tmp_path: Path) -> None:
    model = XGBBridgeRegressor(**SMALL | {"n_estimators": 150}).fit(
        X[TRAIN], Y[TRAIN], eval_set=(X[WATCHED], Y[WATCHED])
    )
    model._bridges[0].share = 0.37
    model.save(tmp_path / "m")
    again = bridges_tabular.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_allclose(again.predict_contributions(X).sum(axis=1), model.predict(X), atol=1e-5)


MONOTONE: dict[str, Any] = {
    "ours": "cross_fitted",
    "catboost": CatBoostRegressor(iterations=40, depth=4, learning_rate=0.4),
    "lightgbm": LGBMRegressor(n_estimators=40),
    "xgboost": XGBRegressor(n_estimators=40),
    "hist": HistGradientBoostingRegressor(max_iter=40),
}


def grid(column: str) -> pd.DataFrame:
    """Blocks of 60 rows in which one column alone ascends."""
    places = RNG.uniform(size=(20, 3)).repeat(60, axis=0)
    return pd.DataFrame(places, columns=list("abc")).assign(**{column: np.tile(np.linspace(-0.1, 1.1, 60), 20)})


def steps(model: XGBBridgeRegressor, column: str, of: str = "predict") -> Any:
    rows = grid(column)
    found = model.predict(rows) if of == "predict" else model.predict_distribution(rows).mean
    return np.diff(found.reshape(20, 60), axis=1)


@pytest.mark.parametrize("name", MONOTONE)
@pytest.mark.parametrize("watched", [True, False])
def test_the_point_and_the_mean_keep_their_directions(name: str, watched: bool) -> None:
    params = SMALL if watched else SMALL | {"early_stopping_rounds": None}
    free = XGBBridgeRegressor(location=MONOTONE[name], **params).fit(X, Y)
    assert steps(free, "b").min() < -1e-3
    held = XGBBridgeRegressor(location=MONOTONE[name], monotone_constraints={"b": 1, "c": -1, "a": 0}, **params)
    held.fit(X, Y)
    assert steps(held, "b").min() >= 0
    assert steps(held, "b").max() > 0.01
    assert steps(held, "c").max() <= 0
    assert steps(held, "a").min() < -1e-2
    # the means of distributions to the accuracy that they are centred with
    assert steps(held, "b", "mean").min() > -1e-6
    np.testing.assert_allclose(held.predict(X), location(held, X), atol=1e-6)


@pytest.mark.parametrize("location", ["cross_fitted", "none"])
def test_least_squares_keeps_directions_without_bins(location: str) -> None:
    model = XGBBridgeRegressor("least_squares", location=location, monotone_constraints={"b": 1}, **SMALL).fit(X, Y)
    assert steps(model, "b").min() >= 0
    assert steps(model, "b", "mean").min() > -1e-6
    assert steps(XGBBridgeRegressor("least_squares", **SMALL).fit(X, Y), "b").min() < 0


def test_directions_hold_among_other_columns_and_after_loading(tmp_path: Path) -> None:
    mixed = X.assign(kind=np.where(X["a"] > 0.5, "x", "y"), when=pd.date_range("2021-03-01", periods=500, freq="7h"))
    mixed = mixed[["kind", "a", "when", "c", "b"]]
    for name in ("ours", "catboost", "lightgbm"):
        model = XGBBridgeRegressor(location=MONOTONE[name], monotone_constraints={"b": 1}, **SMALL).fit(mixed, Y)
        model.save(tmp_path / name)
        again = bridges_tabular.load(tmp_path / name)
        rows = grid("b").assign(kind="x", when=mixed["when"][0])[list(mixed)]
        assert np.diff(again.predict(rows).reshape(20, 60), axis=1).min() >= 0
        np.testing.assert_array_equal(again.predict(rows), model.predict(rows))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"location": "none"}, "monotone_constraints need a location"),
        ({"support": (0, None)}, "monotone_constraints stand beside support, with which"),
        ({"scheme": "least_squares", "target_transform": "log"}, "monotone_constraints stand beside target_transform"),
        ({"location": RandomForestRegressor()}, "cannot be held by a location of RandomForestRegressor"),
        ({"location": XGBBridgeRegressor()}, "cannot be held by a location of XGBBridgeRegressor"),
        (
            {"location": LGBMRegressor(monotone_constraints=[0, 1, 0])},
            "stand beside monotone_constraints of the location's LGBMRegressor",
        ),
        ({"monotone_constraints": {"bb": 1}}, "there is no column of numbers 'bb', did you mean 'b'?"),
        ({"monotone_constraints": {"kind": 1}}, "there is no column of numbers 'kind'"),
        ({"monotone_constraints": {"b": 2}}, "holds 'b': 2; it holds names of columns, and 1 for up, -1 for down or 0"),
        ({"monotone_constraints": {"b": True}}, "holds 'b': True"),
        ({"monotone_constraints": {1: 1}}, "holds 1: 1"),
        ({"monotone_constraints": [1]}, "monotone_constraints.*must be an instance of 'dict' or None"),
        ({"xgb_params": {"monotone_constraints": "(1,)"}}, "which the parameter 'monotone_constraints' decides"),
    ],
)
def test_directions_that_cannot_be_kept_are_refused(params: dict[str, Any], words: str) -> None:
    table = X.assign(kind="x")
    with pytest.raises(ValueError, match=words) as caught:
        XGBBridgeRegressor(**{"monotone_constraints": {"b": 1}} | SMALL | params).fit(table, Y)
    assert "\n" not in str(caught.value)


def test_columns_without_names_are_called_by_their_number() -> None:
    model = XGBBridgeRegressor(monotone_constraints={"x1": 1}, **SMALL).fit(X.to_numpy(), Y)
    assert np.diff(model.predict(grid("b").to_numpy()).reshape(20, 60), axis=1).min() >= 0
