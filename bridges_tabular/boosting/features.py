"""From a user's table to the columns of single-precision numbers that trees split."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.tables import TableEncoder

Values = NDArray[np.float32]

# A column is handed over as it is where single precision tells at least so many values of its range apart ...
_RESOLUTION = 2.0**12
# ... and its numbers lie well inside what single precision can hold
_SMALLEST, _LARGEST = 1e-30, 1e30
_SINGLE = np.finfo(np.float32)


class Features:
    """Reads tables into one column a feature: numbers, and the codes of categories.

    Missing numbers stay missing, for trees to send the better way; missing and unseen categories join them. Columns
    that single precision cannot tell apart, such as 1e9 + N(0, 1), are standardised first; trees ask for the order
    of values alone, and values beyond what single precision holds are clipped to its largest.

    Parameters
    ----------
    columns : TableEncoder
    prepared : Prepared

    Attributes
    ----------
    is_category : bool array of shape (p,)
    """

    def __init__(self, columns: TableEncoder, prepared: Prepared) -> None:
        self.columns = columns
        self.is_category = np.array([name in columns.categories for name in columns.columns])
        self._prepared = prepared
        numbers = len(columns.numeric_columns)
        self._shift, self._scale = np.zeros(numbers), np.ones(numbers)

    @property
    def names(self) -> list[str] | None:
        """Names of the p columns; None where the user's table had none."""
        return self.columns.columns if self.columns.named else None

    def fit(self, frame: pd.DataFrame) -> Values:
        """Learn from training rows which columns have to be standardised; return their features of shape (n, p)."""
        learned = self._prepared.get(lambda: self._learn(frame), [self.columns, frame], "learned")
        self._shift, self._scale = learned.shift, learned.scale
        return self._prepared.get(lambda: learned.values, [learned], "values")

    def values(self, frame: pd.DataFrame) -> Values:
        """Features of shape (n, p); read-only."""
        settings = self._shift.tobytes(), self._scale.tobytes()
        return self._prepared.get(lambda: self._read(frame), [self.columns, frame], "values", *settings)

    def by_source(self, shares: NDArray[Any]) -> NDArray[Any]:
        """Sums of shape (..., n_features_in_) over what became of each of the user's columns, from (..., p)."""
        starts = np.flatnonzero(np.diff(self.columns.sources, prepend=-1))
        return np.add.reduceat(shares, starts, axis=-1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        return {"shift": self._shift, "scale": self._scale}

    def restore(self, arrays: Arrays) -> Self:
        """Take the state that :meth:`arrays` gave."""
        numbers = len(self.columns.numeric_columns)
        self._shift, self._scale = (arrays.take_finite(name, numbers) for name in ("shift", "scale"))
        return self

    def _learn(self, frame: pd.DataFrame) -> _Learned:
        return _Learned(self._shift, self._scale, self._read(frame, learn=True))

    def _read(self, frame: pd.DataFrame, learn: bool = False) -> Values:
        # column by column: the whole table in double precision would be by far the largest array of a fit
        values = np.empty((len(frame), len(self.is_category)), dtype=np.float32)
        number = 0
        for position, (_, column) in enumerate(self.columns.each(frame)):
            if self.is_category[position]:
                values[:, position] = np.where(column < 0, np.nan, column)
                continue
            if learn:
                self._learn_scale(number, column)
            with np.errstate(over="ignore"):
                scaled = (column - self._shift[number]) / self._scale[number]
            values[:, position] = np.clip(scaled, _SINGLE.min, _SINGLE.max)
            number += 1
        values.flags.writeable = False
        return values

    def _learn_scale(self, number: int, column: NDArray[np.float64]) -> None:
        known = column[np.isfinite(column)]
        if not known.size:
            return
        low, high = known.min(), known.max()
        size, spread = max(abs(low), abs(high)), high - low
        if spread > 0 and not (size < _RESOLUTION * spread and spread > _SMALLEST and size < _LARGEST):
            self._shift[number], self._scale[number] = low + spread / 2, spread / 2


class _Learned(NamedTuple):
    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    values: Values
