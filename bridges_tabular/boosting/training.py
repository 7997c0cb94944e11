"""One run of XGBoost: matrices, rounds, early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from xgboost.callback import TrainingCallback

from bridges_tabular._frames import check_sample_weight
from bridges_tabular._progress import report
from bridges_tabular.boosting.features import FeatureMatrices
from bridges_tabular.boosting.targets import BoostingTarget


class Rows(NamedTuple):
    """Rows that training or early stopping sees: features, targets and weights."""

    X: pd.DataFrame
    y: NDArray[np.float64]
    weight: NDArray[np.float64] | None

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return some of the rows, by number."""
        weight = None if self.weight is None else check_sample_weight(self.weight[rows], len(rows))
        return Rows(self.X.iloc[rows], self.y[rows], weight)


class Training(NamedTuple):
    """What came out of a run.

    ``booster`` ends with the best round, number ``best_iteration`` counted from 0.
    """

    booster: xgb.Booster
    best_iteration: int
    best_score: float | None
    evals_result: dict[str, dict[str, list[float]]]


def train(
    params: dict[str, Any],
    target: BoostingTarget,
    features: FeatureMatrices,
    training: Rows,
    validation: Rows | None,
    *,
    n_estimators: int,
    metric: str,
    early_stopping_rounds: int | None,
    callbacks: Sequence[TrainingCallback],
) -> Training:
    """Boost, and keep the rounds up to the best one on the validation rows.

    Parameters
    ----------
    params : dict
        Parameters of ``xgboost.train``, which win over those of the target.
    target : BoostingTarget
    features : FeatureMatrices
    training, validation : Rows
        Without validation rows all rounds are kept.
    n_estimators, early_stopping_rounds, callbacks
        As in XGBRegressor.
    metric : {"rmse", "loss"}
        Watched on the validation rows.
    """
    # the other tree methods read no histograms
    histograms = params["tree_method"] in ("hist", "auto")
    limit = {"max_bin": params["max_bin"]} if histograms and "max_bin" in params else {}
    build = features.quantised if histograms else features.plain
    matrix = build(training.X, label=target.labels(training.y), weight=training.weight, **limit)
    evals: list[tuple[xgb.DMatrix, str]] = []
    custom_metric = None
    if validation is not None:
        reference = {"ref": matrix} if histograms else {}
        labels = target.labels(validation.y)
        held_out = build(validation.X, label=labels, weight=validation.weight, **limit, **reference)
        evals = [(held_out, "validation_0")]
        custom_metric = target.metric(validation.y, validation.weight, metric)
    evals_result: dict[str, dict[str, list[float]]] = {}
    # idle threads of a BLAS spin for a while, on the cores that XGBoost needs next
    with threadpool_limits(1, user_api="blas"):
        booster = xgb.train(
            target.booster_params() | params,
            matrix,
            n_estimators,
            evals=evals,
            obj=target.objective(training.y, training.weight),
            custom_metric=custom_metric,
            early_stopping_rounds=early_stopping_rounds,
            evals_result=evals_result,
            verbose_eval=False,
            callbacks=[_ReportProgress(n_estimators), *callbacks],
        )
    # set by early stopping, ours or that of a user's callback
    best_iteration = int(getattr(booster, "best_iteration", booster.num_boosted_rounds() - 1))
    best_score = getattr(booster, "best_score", None)
    return Training(
        booster[: best_iteration + 1],
        best_iteration,
        None if best_score is None else float(best_score),
        evals_result,
    )


class _ReportProgress(TrainingCallback):
    def __init__(self, total: int) -> None:
        self._total = total

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        scores = [values[-1] for metrics in evals_log.values() for values in metrics.values()]
        report(epoch + 1, self._total, scores[-1] if scores else None)
        return False
