"""Columns that stand beside the features: weights and exposures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.regressors.kinds import as_floats, first_other
from bridges_tabular.regressors.words import shown


def read_weight(column: pd.Series[Any], where: str) -> NDArray[np.float64]:
    """Weights of the rows, of at least 0; ``where`` begins the error."""
    return _numbers(column, where, lambda numbers: numbers >= 0, "a weight has to be a number of at least 0")


def read_exposure(column: pd.Series[Any], where: str) -> NDArray[np.float64]:
    """Exposures of the rows, above 0; ``where`` begins the error."""
    return _numbers(column, where, lambda numbers: numbers > 0, "an exposure has to be a number above 0")


def _numbers(column: pd.Series[Any], where: str, valid: Any, expected: str) -> NDArray[np.float64]:
    numbers = None if isinstance(column.dtype, pd.CategoricalDtype) else as_floats(column)
    if numbers is None:
        row, value = first_other(column.astype(object))
    else:
        wrong = ~(np.isfinite(numbers) & valid(numbers))
        if not wrong.any():
            return numbers
        at = int(np.argmax(wrong))
        row, value = column.index[at], column.iloc[at]
    raise ExperimentError(f"{where} holds {shown(value)} in row {row}, and {expected}")
