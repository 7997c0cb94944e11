"""Runs of XGBoost: rounds, early stopping, progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray
from xgboost.callback import TrainingCallback

from bridges_tabular._frames import check_sample_weight
from bridges_tabular._progress import report
from bridges_tabular._sharing import shared


class Rows(NamedTuple):
    """Rows that training or early stopping sees: features, targets and weights."""

    X: pd.DataFrame
    y: NDArray[np.float64]
    weight: NDArray[np.float64] | None

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return some of the rows, by number."""
        weight = None if self.weight is None else check_sample_weight(self.weight[rows], len(rows))
        X = shared(lambda: self.X.iloc[rows], [self.X], "rows", rows.tobytes())
        return Rows(X, self.y[rows], weight)


class Training(NamedTuple):
    """What came out of a run.

    ``booster`` ends with the best round, number ``best_iteration`` counted from 0.
    """

    booster: xgb.Booster
    best_iteration: int
    best_score: float | None
    log: dict[str, list[float]]


def boost(
    params: dict[str, Any],
    training: xgb.DMatrix,
    validation: xgb.DMatrix | None,
    n_estimators: int,
    *,
    objective: Any = None,
    metric: Any = None,
    early_stopping_rounds: int | None = None,
    callbacks: Sequence[TrainingCallback] = (),
) -> Training:
    """Boost, and keep the rounds up to the best one on the validation rows.

    Parameters
    ----------
    params : dict
        Parameters of ``xgboost.train``.
    training, validation : DMatrix
        Without validation rows all rounds are kept.
    n_estimators, early_stopping_rounds, callbacks
        As in XGBRegressor.
    objective, metric : optional
        In place of those that ``params`` names.
    """
    evals_result: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(
        params,
        training,
        n_estimators,
        evals=[] if validation is None else [(validation, "validation_0")],
        obj=objective,
        custom_metric=metric,
        early_stopping_rounds=None if validation is None else early_stopping_rounds,
        evals_result=evals_result,
        verbose_eval=False,
        callbacks=list(callbacks),
    )
    # set by early stopping, ours or that of a user's callback
    best_iteration = int(getattr(booster, "best_iteration", booster.num_boosted_rounds() - 1))
    best_score = getattr(booster, "best_score", None)
    return Training(
        booster if best_iteration + 1 == booster.num_boosted_rounds() else booster[: best_iteration + 1],
        best_iteration,
        None if best_score is None else float(best_score),
        evals_result.get("validation_0", {}),
    )


class ReportProgress(TrainingCallback):
    """Tells whoever listens of every round.

    Parameters
    ----------
    done : int
        Rounds of earlier stages.
    total : int
        Most rounds of all stages.
    scored : bool
        Whether to report the score of the validation rows: those of different stages do not compare.
    """

    def __init__(self, done: int, total: int, *, scored: bool) -> None:
        self._done = done
        self._total = total
        self._scored = scored

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        """Report the round; never stops by itself."""
        scores = [values[-1] for metrics in evals_log.values() for values in metrics.values()]
        report(self._done + epoch + 1, self._total, scores[-1] if scores and self._scored else None)
        return False
