"""The rows of a fit: checked, and divided into those that train, validate and stay apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array

from bridges_tabular._frames import (
    check_eval_set,
    check_sample_weight,
    check_table,
    check_target,
    split_validation,
)
from bridges_tabular._sharing import shared


class Part(NamedTuple):
    """Rows of a table with their targets (n,) or (n, targets) and weights (n,)."""

    X: pd.DataFrame
    y: NDArray[np.float64]
    weight: NDArray[np.float64] | None

    @property
    def columns(self) -> NDArray[np.float64]:
        """The targets of shape (n, targets)."""
        return self.y[:, None] if self.y.ndim == 1 else self.y

    def take(self, rows: NDArray[np.int64]) -> Part:
        """Some of the rows."""
        X = shared(lambda: self.X.iloc[rows], [self.X], "rows", rows.tobytes())
        return Part(X, self.y[rows], None if self.weight is None else self.weight[rows])


class Parts(NamedTuple):
    """What a fit uses its rows for; ``everything`` is None where no training rows had to be held out."""

    train: Part
    validation: Part
    conformal: Part | None
    everything: Part | None

    @property
    def held_out(self) -> tuple[Part, Part | None]:
        """The rows that were not trained on: for validation, and for conformal intervals."""
        return self.validation, self.conformal


def read_parts(estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, eval_set: Any, seed: int) -> Parts:
    """Check the arguments of ``fit`` and divide the rows.

    Raises
    ------
    ValueError
        If anything in them cannot be used.
    """
    given = _read(estimator, X, y, sample_weight, "y", reset=True)
    evaluation = check_eval_set(eval_set)
    train, conformal = given, None
    if estimator.calibration_fraction is not None:
        rows, apart = split_validation(len(train.y), estimator.calibration_fraction, seed + 1)
        train, conformal = given.take(rows), given.take(apart)
    if evaluation is not None:
        validation = _read(estimator, *evaluation, "y of eval_set", reset=False)
        if validation.columns.shape[1:] != given.columns.shape[1:]:
            raise ValueError(f"y has {given.columns.shape[1]} targets, y of eval_set {validation.columns.shape[1]}")
        return Parts(train, validation, conformal, None)
    rows, held_out = split_validation(len(train.y), estimator.validation_fraction, seed)
    return Parts(train.take(rows), train.take(held_out), conformal, train)


def check_features(estimator: BaseEstimator, X: Any, *, reset: bool) -> pd.DataFrame:
    """The features as a DataFrame, checked by scikit-learn's conventions."""
    return check_table(estimator, X, reset=reset)


def _read(estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, name: str, *, reset: bool) -> Part:
    frame = check_table(estimator, X, reset=reset)
    target = _targets(y, name)
    if len(target) != len(frame):
        raise ValueError(f"X has {len(frame)} rows, {name} has {len(target)}")
    return Part(frame, target, check_sample_weight(sample_weight, len(target)))


def _targets(y: Any, name: str) -> NDArray[np.float64]:
    if np.asarray(y).ndim != 2:
        return check_target(y, name)
    if isinstance(y, pd.DataFrame):
        columns = {str(column): y[column] for column in y}
    else:
        table = check_array(y, dtype=None, ensure_all_finite=False)
        columns = {str(index): column for index, column in enumerate(table.T)}
    return np.stack([check_target(column, f"{name}[{key}]") for key, column in columns.items()], axis=1)
