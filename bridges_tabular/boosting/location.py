"""A cross-fitted mean of the target, for bins on what it leaves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NamedTuple

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from xgboost.callback import TrainingCallback

from bridges_tabular.boosting.features import FeatureMatrices, Values
from bridges_tabular.boosting.training import boost
from bridges_tabular.core.codec import standardisation

Floats = NDArray[np.float64]

_FOLDS = 4
# fold models take half the rounds at twice the rate
_FOLD_SPEED = 2


class Sample(NamedTuple):
    """Features of shape (n, p), targets of shape (n,) and their weights."""

    values: Values
    y: Floats
    weight: Floats | None


class CrossFittedLocation:
    """Half a model of all training rows and half the mean of four fold models.

    A training row's out-of-fold location comes from the fold model that has not seen it, so that what is left of
    its target is spread as that of a new row. In-sample residuals are far too small: 90 % intervals built on them
    held 23 % of new targets.

    Parameters
    ----------
    boosters : sequence of Booster
        The model of all rows, then the fold models.
    mean, scale : float
        Of the training targets; the boosters predict standardised ones.
    features : FeatureMatrices
    """

    def __init__(self, boosters: Sequence[xgb.Booster], mean: float, scale: float, features: FeatureMatrices) -> None:
        self.boosters = list(boosters)
        self.mean = mean
        self.scale = scale
        self._features = features

    @property
    def shares(self) -> Floats:
        """Share of each booster in the location."""
        folds = len(self.boosters) - 1
        return np.array([0.5] + [0.5 / folds] * folds)

    def predict(self, values: Values) -> Floats:
        """Location of rows with features of shape (n, p), in the units of the target."""
        matrix = self._features.plain(values, True)
        total = np.zeros(len(values))
        for share, booster in zip(self.shares, self.boosters, strict=True):
            total += share * booster.predict(matrix)
        return total * self.scale + self.mean

    def append(self, values: Values, location: Floats) -> Values:
        """Features of shape (n, p + 1): those given, and the standardised location."""
        return np.column_stack([values, ((location - self.mean) / self.scale).astype(np.float32)])

    def subtract(self, sample: Sample, location: Floats) -> Sample:
        """What the location leaves of the targets, with it as one more feature."""
        return Sample(self.append(sample.values, location), sample.y - location, sample.weight)


def fit_location(
    params: dict[str, Any],
    features: FeatureMatrices,
    training: Sample,
    validation: Sample | None,
    *,
    n_estimators: int,
    early_stopping_rounds: int | None,
    random: np.random.RandomState,
    callbacks: Sequence[TrainingCallback],
) -> tuple[CrossFittedLocation, Floats, dict[str, list[float]]]:
    """Fit the location.

    Parameters
    ----------
    params : dict
        Parameters of ``xgboost.train`` for the model of all rows.
    features : FeatureMatrices
    training, validation : Sample
        Early stopping of the model of all rows watches the validation rows; the fold models take half of its rounds at
        twice its rate.
    n_estimators, early_stopping_rounds, callbacks
        Of the model of all rows.
    random : RandomState
        Draws the folds.

    Returns
    -------
    location : CrossFittedLocation
    out_of_fold : array of shape (n,)
        Location of the training rows.
    log : dict
        Of early stopping.
    """
    mean, scale = standardisation(training.y, training.weight)
    params = params | {"objective": "reg:squarederror", "eval_metric": "rmse"}
    training = training._replace(y=(training.y - mean) / scale)

    def matrix(sample: Sample, **which: Any) -> xgb.DMatrix:
        return features.for_training(sample.values, True, label=sample.y, weight=sample.weight, **which)

    whole = matrix(training)
    held_out = None
    if validation is not None:
        held_out = matrix(validation._replace(y=(validation.y - mean) / scale), ref=whole)
    main = boost(
        params,
        whole,
        held_out,
        n_estimators,
        early_stopping_rounds=early_stopping_rounds,
        callbacks=callbacks,
    )
    folds = _assign_folds(training, random)
    rounds = max(1, (main.best_iteration + 1) // _FOLD_SPEED)
    n_folds = int(folds.max()) + 1
    workers, fold_params = _share_threads(params, n_folds)
    fold_params["learning_rate"] *= _FOLD_SPEED
    out_of_fold = np.empty(len(folds))

    def fit_fold(fold: int) -> xgb.Booster:
        inside = folds != fold
        booster = features.name(
            boost(fold_params, matrix(training, rows=inside, ref=whole), None, rounds).booster, True
        )
        out_of_fold[~inside] = booster.predict(features.plain(training.values[~inside], True))
        return booster

    # threads start with a context of their own, in which nothing is shared
    contexts = [copy_context() for _ in range(n_folds)]
    with ThreadPoolExecutor(workers) as pool:
        fold_models = list(pool.map(lambda context, fold: context.run(fit_fold, fold), contexts, range(n_folds)))
    location = CrossFittedLocation([features.name(main.booster, True), *fold_models], mean, scale, features)
    return location, out_of_fold * scale + mean, main.log


def _assign_folds(training: Sample, random: np.random.RandomState) -> NDArray[np.int64]:
    """Fold of each row; rows with a weight are spread evenly, so that every model has some to learn from."""
    weighted = np.ones(len(training.y), dtype=bool) if training.weight is None else training.weight > 0
    count = int(weighted.sum())
    if count < 2:
        raise ValueError(f"n_samples = {count}: a cross-fitted location needs at least 2 training rows with a weight")
    folds = np.empty(len(training.y), dtype=np.int64)
    n_folds = min(_FOLDS, count)
    for rows in (np.flatnonzero(weighted), np.flatnonzero(~weighted)):
        folds[random.permutation(rows)] = np.arange(len(rows)) % n_folds
    return folds


def _share_threads(params: dict[str, Any], n_folds: int) -> tuple[int, dict[str, Any]]:
    """How many fold models to train at a time, and their parameters: small models gain little from a second thread."""
    threads = params["nthread"] if params["nthread"] > 0 else os.cpu_count() or 1
    workers = min(n_folds, threads) if params["device"].startswith("cpu") else 1
    return workers, params | {"nthread": max(1, threads // workers)}
