"""What people would pick instead, and ours beside it: each at its defaults, with one thread.

All see the same training rows and watch the same validation rows. Categories and missing values reach each as it wants
them: XGBoost, LightGBM and ours take pandas' categories and missing cells as they are; CatBoost takes categories as
text, a missing one as one more; pytabkit takes categories, but numbers without gaps, which medians of the training rows
fill; NGBoost takes the codes of the categories, and medians.

Where a default is not the whole story: XGBRegressor has a rate of 0.05 and LightGBM its own 0.1, both with up to 2,000
rounds and 50 without improvement to stop; CatBoost and NGBoost keep their 1,000 and 500 rounds, and predict with the
best of them. pytabkit's models choose their epoch or round themselves.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from _boosters import Array, Forecast, Part, Split, fit_xgb, ngboost, normal, xgb_regressor

from bridges_tabular import BinnedDistribution, PooledBridgeRegressor, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.pooling.weights import PRIOR_ROWS


class Fitted(NamedTuple):
    """A model that predicts points and, if it has one, a distribution."""

    point: Callable[[Part], Array]
    distribution: Callable[[Part], BinnedDistribution] | None = None


class Alternative(NamedTuple):
    """A model by the module that it needs, and how it is fitted with a seed."""

    module: str
    fit: Callable[[Split, int], Fitted]

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.module.partition(".")[0])


def installed(models: Sequence[str]) -> Iterator[str]:
    """Those of the models whose packages are installed, and imported now, outside of the time of a fit."""
    for model in models:
        try:
            importlib.import_module(ALTERNATIVES[model].module)
        except ImportError as error:
            print(f"{model} is left out: {error}")
        else:
            yield model


def prepare() -> None:
    """One thread for torch, and silence."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="n_bins=")
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _floats(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64)


def _xgboost(split: Split, seed: int) -> Fitted:
    model = xgb_regressor(seed, n_jobs=1)
    fit_xgb(model, split)
    return Fitted(lambda part: _floats(model.predict(part.X)))


def _lightgbm(split: Split, seed: int) -> Fitted:
    import lightgbm

    model = lightgbm.LGBMRegressor(n_estimators=2000, n_jobs=1, random_state=seed, verbosity=-1)
    watched, stop = split.validation, lightgbm.early_stopping(50, verbose=False)
    model.fit(split.train.X, split.train.y, eval_X=watched.X, eval_y=watched.y, callbacks=[stop])
    return Fitted(lambda part: _floats(model.predict(part.X)))


def _catboost(split: Split, seed: int) -> Fitted:
    model = _fitted_catboost(split, seed)
    return Fitted(lambda part: _floats(model.predict(_texts(part.X), thread_count=1)))


def _catboost_uncertainty(split: Split, seed: int) -> Fitted:
    loss = "RMSEWithUncertainty"
    model = _fitted_catboost(split, seed, loss_function=loss)

    def predict(part: Part) -> Forecast:
        mean, variance = model.predict(_texts(part.X), prediction_type=loss, thread_count=1).T
        return normal(mean, np.sqrt(variance))

    return _of_forecast(predict)


def _fitted_catboost(split: Split, seed: int, **params: Any) -> Any:
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(**params, thread_count=1, random_seed=seed, verbose=False, allow_writing_files=False)
    categories = list(split.train.X.select_dtypes("category"))
    watched = (_texts(split.validation.X), split.validation.y)
    model.fit(_texts(split.train.X), split.train.y, cat_features=categories, eval_set=watched, use_best_model=True)
    return model


def _texts(X: pd.DataFrame) -> pd.DataFrame:
    """Categories as text, a missing one among them."""
    texts = X.copy()
    for name in X.select_dtypes("category"):
        texts[name] = X[name].astype(object).fillna("missing").astype(str)
    return texts


def _ngboost(split: Split, seed: int) -> Fitted:
    return _of_forecast(ngboost(seed, best_round=True)(split).predict)


def _of_forecast(predict: Callable[[Part], Forecast]) -> Fitted:
    def distribution(part: Part) -> BinnedDistribution:
        made = predict(part)[1]
        assert made is not None
        return made

    return Fitted(lambda part: predict(part)[0], distribution)


def _pytabkit(name: str) -> Alternative:
    """Models of pytabkit; they fit in single precision."""

    def fit(split: Split, seed: int) -> Fitted:
        import pytabkit

        medians = split.train.X.select_dtypes("number").median()
        model = getattr(pytabkit, name)(random_state=seed, n_threads=1, device="cpu")
        watched = split.validation
        model.fit(split.train.X.fillna(medians), split.train.y, X_val=watched.X.fillna(medians), y_val=watched.y)
        return Fitted(lambda part: _floats(model.predict(part.X.fillna(medians))))

    return Alternative("pytabkit", fit)


def _pool(seed: int) -> PooledBridgeRegressor:
    members = [("network", TabularBridgeRegressor(random_state=seed)), ("trees", _on_catboost(seed))]
    return PooledBridgeRegressor(members, random_state=seed)


def _mean_of(first: str, second: str) -> Alternative:
    """Two models of points; their weights have the least squared error on the validation rows, shrunk as a pool's."""

    def fit(split: Split, seed: int) -> Fitted:
        models = [ALTERNATIVES[name].fit(split, seed) for name in (first, second)]
        one, other = (model.point(split.validation) for model in models)
        y, trust = split.validation.y, len(one) / (len(one) + PRIOR_ROWS)
        apart = one - other
        best = np.clip(float((y - other) @ apart) / max(float(apart @ apart), np.finfo(float).tiny), 0, 1)
        weight = trust * best + (1 - trust) / 2
        return Fitted(lambda part: weight * models[0].point(part) + (1 - weight) * models[1].point(part))

    return Alternative(ALTERNATIVES[second].module, fit)


def _bridge(
    make: Callable[[int], XGBBridgeRegressor | TabularBridgeRegressor | PooledBridgeRegressor], engine: str
) -> Alternative:
    def fit(split: Split, seed: int) -> Fitted:
        model = make(seed)
        model.fit(split.train.X, split.train.y, eval_set=(split.validation.X, split.validation.y))

        def distribution(part: Part) -> BinnedDistribution:
            made = model.predict_distribution(part.X)
            assert isinstance(made, BinnedDistribution)
            return made

        return Fitted(lambda part: model.predict(part.X), distribution)

    return Alternative(f"bridges_tabular.{engine}", fit)


def _on_catboost(seed: int) -> XGBBridgeRegressor:
    return XGBBridgeRegressor(location={"estimator": "catboost.CatBoostRegressor"}, n_jobs=1, random_state=seed)


def _network(**params: Any) -> Alternative:
    return _bridge(lambda seed: TabularBridgeRegressor(**params, random_state=seed), "tabular")


PLAIN = {"backbone_params": {"input_scale": 0.0}}

# quick ones first: a run that is stopped has them on every table
ALTERNATIVES = {
    "xgboost": Alternative("xgboost", _xgboost),
    "lightgbm": Alternative("lightgbm", _lightgbm),
    "catboost": Alternative("catboost", _catboost),
    "catboost_uncertainty": Alternative("catboost", _catboost_uncertainty),
    "bridge_xgboost": _bridge(lambda seed: XGBBridgeRegressor(n_jobs=1, random_state=seed), "boosting"),
    "bridge_catboost": _bridge(_on_catboost, "boosting")._replace(module="catboost"),
    "bridge_network": _network(),
    "bridge_pool": _bridge(_pool, "pooling")._replace(module="catboost"),
    "bridge_network_fast": _network(preset="fast"),
    "bridge_network_best": _network(preset="best"),
    # without factors of its inputs: half of the members over bins, all, and none
    "bridge_network_plain": _network(**PLAIN),
    "bridge_network_bins": _network(least_squares_share=0.0, **PLAIN),
    "bridge_network_least_squares": _network(scheme="least_squares", **PLAIN),
    # the default before there were members, over bins and by least squares
    "bridge_single": _network(backbone="CategoryEmbeddingModelConfig"),
    "bridge_single_least_squares": _network(backbone="CategoryEmbeddingModelConfig", scheme="least_squares"),
    "realmlp_td_s": _pytabkit("RealMLP_TD_S_Regressor"),
    "xgb_td": _pytabkit("XGB_TD_Regressor"),
    "lgbm_td": _pytabkit("LGBM_TD_Regressor"),
    "catboost_td": _pytabkit("CatBoost_TD_Regressor"),
    "ngboost": Alternative("ngboost", _ngboost),
    "realmlp_td": _pytabkit("RealMLP_TD_Regressor"),
    "tabm_d": _pytabkit("TabM_D_Regressor"),
}
ALTERNATIVES["catboost_and_realmlp_td"] = _mean_of("catboost", "realmlp_td")
