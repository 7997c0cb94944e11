"""XGBoost as it is, and its probabilistic relatives: the contenders of benchmarks/boosting.py, with its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray
from scipy import stats

from bridges_tabular import BinnedDistribution

Array = NDArray[np.float64]
Forecast = tuple[Array, BinnedDistribution | None]

LEVELS = np.arange(1, 20) / 20
THREADS = 2


class Part(NamedTuple):
    """Rows with categories as pandas has them, and as ordered codes."""

    X: pd.DataFrame
    codes: Array
    y: Array

    @classmethod
    def of(cls, X: pd.DataFrame, y: Array) -> Part:
        """A missing category has the code -1."""
        codes = X.apply(lambda c: c.cat.codes if isinstance(c.dtype, pd.CategoricalDtype) else c)
        return cls(X, codes.to_numpy(np.float64), y)


class Split(NamedTuple):
    """The rows of one run."""

    train: Part
    validation: Part
    test: Part


class Outcome(NamedTuple):
    """A fitted model: how it predicts, and how many rounds it trained."""

    predict: Callable[[Part], Forecast]
    rounds: int


def xgb_regressor(seed: int, **params: Any) -> xgb.XGBRegressor:
    defaults = {"n_estimators": 2000, "early_stopping_rounds": 50, "learning_rate": 0.05, "n_jobs": THREADS}
    return xgb.XGBRegressor(**(defaults | params), enable_categorical=True, tree_method="hist", random_state=seed)


def fit_xgb(model: Any, split: Split) -> int:
    model.fit(split.train.X, split.train.y, eval_set=[(split.validation.X, split.validation.y)], verbose=False)
    return int(model.get_booster().num_boosted_rounds())


def point(seed: int, **params: Any) -> Callable[[Split], Outcome]:
    """XGBRegressor, with the residuals of the validation rows as its distribution."""

    def fit(split: Split) -> Outcome:
        model = xgb_regressor(seed, **params)
        rounds = fit_xgb(model, split)
        residuals = split.validation.y - model.predict(split.validation.X)
        atoms = np.quantile(residuals, (np.arange(200) + 0.5) / 200)

        def predict(part: Part) -> Forecast:
            mean = model.predict(part.X).astype(np.float64)
            return mean, _atoms(atoms, np.full((len(mean), 200), 1 / 200)).affine(1.0, mean)

        return Outcome(predict, rounds)

    return fit


def quantiles(seed: int) -> Callable[[Split], Outcome]:
    def fit(split: Split) -> Outcome:
        model = xgb_regressor(seed, objective="reg:quantileerror", quantile_alpha=LEVELS)
        rounds = fit_xgb(model, split)
        return Outcome(lambda part: _from_quantiles(model.predict(part.X)), rounds)

    return fit


def ngboost(seed: int, best_round: bool = False) -> Callable[[Split], Outcome]:
    """NGBoost, which predicts with all its rounds unless it is told the best one."""

    def fit(split: Split) -> Outcome:
        from ngboost import NGBRegressor

        impute = imputer(split.train.codes)
        model = NGBRegressor(random_state=seed, verbose=False, early_stopping_rounds=50)
        train, held_out = split.train, split.validation
        model.fit(impute(train.codes), train.y, X_val=impute(held_out.codes), Y_val=held_out.y)

        used = model.best_val_loss_itr + 1 if best_round else len(model.base_models)

        def predict(part: Part) -> Forecast:
            params = model.pred_dist(impute(part.codes), max_iter=used).params
            return normal(params["loc"], params["scale"])

        return Outcome(predict, used)

    return fit


def xgb_distribution(seed: int) -> Callable[[Split], Outcome]:
    def fit(split: Split) -> Outcome:
        from xgboost_distribution import XGBDistribution

        # the settings of its readme
        model = XGBDistribution(
            distribution="normal", n_estimators=500, early_stopping_rounds=10, n_jobs=THREADS, random_state=seed
        )
        model.fit(
            split.train.codes, split.train.y, eval_set=[(split.validation.codes, split.validation.y)], verbose=False
        )
        return Outcome(lambda part: normal(*model.predict(part.codes)), model.best_iteration + 1)

    return fit


def ordboost(seed: int) -> Callable[[Split], Outcome]:
    def fit(split: Split) -> Outcome:
        from ordboost import OrdBoostRegressor

        model = OrdBoostRegressor(n_jobs=THREADS, random_state=seed).fit(split.train.codes, split.train.y)

        def predict(part: Part) -> Forecast:
            forecast = model.predict_dist(part.codes)
            if hasattr(forecast, "pmf"):
                return np.asarray(forecast.mean()), _atoms(forecast.classes.astype(float), forecast.pmf)
            masses = np.diff(forecast.grid_cdf, axis=1)
            return np.asarray(forecast.mean()), BinnedDistribution(forecast.grid_y, np.maximum(masses, 0.0))

        return Outcome(predict, model.max_iter)

    return fit


def quantile_forest(seed: int) -> Callable[[Split], Outcome]:
    def fit(split: Split) -> Outcome:
        from quantile_forest import RandomForestQuantileRegressor

        impute = imputer(split.train.codes)
        model = RandomForestQuantileRegressor(n_jobs=THREADS, random_state=seed)
        model.fit(impute(split.train.codes), split.train.y)

        def predict(part: Part) -> Forecast:
            values = impute(part.codes)
            _, distribution = _from_quantiles(model.predict(values, quantiles=LEVELS.tolist()))
            return model.predict(values, quantiles="mean"), distribution

        return Outcome(predict, model.n_estimators)

    return fit


def _atoms(places: Array, masses: Array) -> BinnedDistribution:
    cells = np.zeros((len(masses), 2 * len(places) - 1))
    cells[:, ::2] = masses
    return BinnedDistribution(np.repeat(places, 2), cells)


def normal(mean: Array, std: Array) -> Forecast:
    """Normal distributions as 200 cells between quantiles, up to the 1e-5-th."""
    levels = np.concatenate([[1e-5], np.arange(1, 200) / 200, [1 - 1e-5]])
    edges = np.asarray(stats.norm.ppf(levels))
    masses = np.broadcast_to(np.diff(levels) / np.diff(levels).sum(), (len(mean), 200))
    mean = np.asarray(mean, dtype=np.float64)
    return mean, BinnedDistribution(edges, masses).affine(np.maximum(std, 1e-9).astype(np.float64), mean)


def _from_quantiles(predicted: Array) -> Forecast:
    """Cells between sorted quantiles; beyond them exponential tails, as long as the outer two quantiles say.

    The point is the mean of that distribution.
    """
    edges = np.sort(np.asarray(predicted, dtype=np.float64), axis=1)
    n, q = edges.shape
    gaps = np.stack([edges[:, 1] - edges[:, 0], edges[:, -1] - edges[:, -2]], axis=1)
    scales = np.maximum(gaps / np.log(2), 1e-12 + 1e-6 * np.ptp(edges))
    distribution = BinnedDistribution(
        edges, np.full((n, q - 1), 1 / (q + 1)), tail_masses=[1 / (q + 1)] * 2, tail_scales=scales
    )
    return distribution.mean, distribution


def imputer(train: Array) -> Callable[[Array], Array]:
    medians = np.nanmedian(train, axis=0)
    return lambda values: np.where(np.isnan(values), medians, values)
