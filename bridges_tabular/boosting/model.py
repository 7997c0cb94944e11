"""The fitted stages behind the regressor: a location, and trees over bins or on the target itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from xgboost.callback import TrainingCallback

from bridges_tabular._regressor import Forecast
from bridges_tabular.boosting.features import FeatureMatrices, Values
from bridges_tabular.boosting.location import CrossFittedLocation, Sample, fit_location
from bridges_tabular.boosting.targets import BinnedTarget, BoostingTarget
from bridges_tabular.boosting.training import ReportProgress, boost

Floats = NDArray[np.float64]

_BOOSTER_FILE = "booster.ubj"
_LOCATION_FILE = "location_{}.ubj"


@dataclass
class BoostedBridge:
    """Trees on the features, and on a location if there is one, read by a target.

    Attributes
    ----------
    features : FeatureMatrices
    location : CrossFittedLocation or None
    target : BoostingTarget
    booster : Booster
        Of the last stage; ends with the best round.
    best_iteration : int
    best_score : float or None
    evals_result : dict
    """

    features: FeatureMatrices
    location: CrossFittedLocation | None
    target: BoostingTarget
    booster: xgb.Booster
    best_iteration: int
    best_score: float | None
    evals_result: dict[str, dict[str, list[float]]]

    def evaluate(self, values: Values) -> tuple[NDArray[np.float32], Floats]:
        """Margins of the last stage, and locations of shape (n,) in the target's units (0 without one)."""
        location = np.zeros(len(values)) if self.location is None else self.location.predict(values)
        if self.location is not None:
            values = self.location.append(values, location)
        native = self.target.native_categories
        matrix = self.features.plain(values, native, with_location=self.location is not None)
        margins: NDArray[np.float32] = self.booster.predict(matrix, output_margin=True)
        return margins, location

    def forecast(self, values: Values) -> Forecast:
        """Predicted targets of shape (n,), with the class probabilities and locations that they come from."""
        margins, location = self.evaluate(values)
        point = self.target.decode(margins) + location
        if not isinstance(self.target, BinnedTarget):
            return Forecast(point)
        pi = self.target.probabilities(margins).astype(np.float64)
        return Forecast(point, pi, None if self.location is None else location)

    def importances(self, n_features: int) -> NDArray[np.float32]:
        """Share of each feature in the mean gain of splits: of the location's boosters if there is one."""
        if self.location is None:
            return _importances(self.booster, n_features)
        shares = self.location.shares.astype(np.float32)
        each: NDArray[np.float32] = np.stack([_importances(booster, n_features) for booster in self.location.boosters])
        return shares @ each

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the boosters; return what JSON should hold beside the target's arrays."""
        self.booster.save_model(folder / _BOOSTER_FILE)
        state: dict[str, Any] = {
            "best_iteration": self.best_iteration,
            "best_score": self.best_score,
            "evals_result": self.evals_result,
            "location": None,
        }
        if self.location is not None:
            for i, booster in enumerate(self.location.boosters):
                booster.save_model(folder / _LOCATION_FILE.format(i))
            state["location"] = {
                "boosters": len(self.location.boosters),
                "mean": self.location.mean,
                "scale": self.location.scale,
            }
        return state

    @classmethod
    def load(
        cls,
        folder: Path,
        state: dict[str, Any],
        features: FeatureMatrices,
        target: BoostingTarget,
        params: dict[str, Any],
    ) -> BoostedBridge:
        """Read what :meth:`save` wrote; ``params`` name the threads and the device."""
        location = None
        if state["location"] is not None:
            boosters = [
                _load_booster(folder / _LOCATION_FILE.format(i), params) for i in range(state["location"]["boosters"])
            ]
            location = CrossFittedLocation(boosters, state["location"]["mean"], state["location"]["scale"], features)
        booster = _load_booster(folder / _BOOSTER_FILE, params)
        log = state["best_iteration"], state["best_score"], state["evals_result"]
        return cls(features, location, target, booster, *log)


@dataclass(frozen=True)
class Stages:
    """Settings of the stages.

    Attributes
    ----------
    location_params : dict or None
        Parameters of ``xgboost.train`` for the location's first model; None for no location.
    location_rounds : int
        Most rounds of that model.
    params : dict
        Parameters for the last stage, which win over those of its target.
    rounds : int
        Most rounds of the last stage.
    metric : str
        What early stopping of the last stage watches.
    early_stopping_rounds : int or None
    callbacks : sequence of TrainingCallback
        For the last stage.
    """

    location_params: dict[str, Any] | None
    location_rounds: int
    params: dict[str, Any]
    rounds: int
    metric: str
    early_stopping_rounds: int | None
    callbacks: Sequence[TrainingCallback]

    def fit(
        self,
        features: FeatureMatrices,
        make_target: Any,
        training: Sample,
        validation: Sample | None,
        random: np.random.RandomState,
    ) -> BoostedBridge:
        """Fit all stages.

        Parameters
        ----------
        features : FeatureMatrices
        make_target : callable
            Takes what the location leaves of the training targets, of shape (n,), and the weights; returns the
            BoostingTarget.
        training, validation : Sample
        random : RandomState
        """
        location, log = None, dict[str, list[float]]()
        if self.location_params is not None:
            location, training, validation, log = self._fit_location(features, training, validation, random)
        target: BoostingTarget = make_target(training.y, training.weight)
        native = target.native_categories

        def matrix(sample: Sample, **ref: Any) -> xgb.DMatrix:
            meta = {"label": target.labels(sample.y), "weight": sample.weight} | ref
            return features.for_training(sample.values, native, with_location=location is not None, **meta)

        whole = matrix(training)
        metric = None if validation is None else target.metric(validation.y, validation.weight, self.metric)
        done = 0 if location is None else self.location_rounds
        trained = boost(
            target.booster_params() | self.params,
            whole,
            None if validation is None else matrix(validation, ref=whole),
            self.rounds,
            objective=target.objective(training.y, training.weight),
            metric=metric,
            early_stopping_rounds=self.early_stopping_rounds,
            callbacks=[ReportProgress(done, done + self.rounds, scored=True), *self.callbacks],
        )
        target.finish(trained.best_iteration)
        evals_result = {"location": log} if log else {}
        if trained.log:
            evals_result["validation_0"] = trained.log
        outcome = trained.best_iteration, trained.best_score, evals_result
        booster = features.name(trained.booster, native, with_location=location is not None)
        return BoostedBridge(features, location, target, booster, *outcome)

    def _fit_location(
        self, features: FeatureMatrices, training: Sample, validation: Sample | None, random: np.random.RandomState
    ) -> tuple[CrossFittedLocation, Sample, Sample | None, dict[str, list[float]]]:
        """Return the location, what it leaves of both samples with it as one more feature, and its log."""
        assert self.location_params is not None
        total = self.location_rounds + self.rounds
        location, out_of_fold, log = fit_location(
            self.location_params,
            features,
            training,
            validation,
            n_estimators=self.location_rounds,
            early_stopping_rounds=self.early_stopping_rounds,
            random=random,
            callbacks=[ReportProgress(0, total, scored=False)],
        )
        training = location.subtract(training, out_of_fold)
        if validation is not None:
            validation = location.subtract(validation, location.predict(validation.values))
        return location, training, validation, log


def _importances(booster: xgb.Booster, n_features: int) -> NDArray[np.float32]:
    gain = booster.get_score(importance_type="gain")
    names = booster.feature_names or [f"f{j}" for j in range(n_features)]
    importances = np.array([gain.get(name, 0.0) for name in names], dtype=np.float32)
    total = importances.sum()
    return importances if total == 0 else importances / total


def _load_booster(path: Path, params: dict[str, Any]) -> xgb.Booster:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: the saved model is incomplete")
    booster = xgb.Booster(params)
    booster.load_model(path)
    return booster
