"""From a user's table to the two tensors that a pytorch-tabular network reads."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.digest import TableDigest
from bridges_tabular.regressors.tables import TableEncoder

# rows whose numbers stay in the processor's cache while they are worked on
_BLOCK_ROWS = 2048


# in deviations of the training rows
FARTHEST = 1e4


class FeatureTensors:
    """Standardises the numbers of a table, fills in missing ones, and shifts the categories' codes.

    Learned on the training rows alone. A missing number becomes the training median, with an indicator beside it for
    columns that had missing values in training, whose weight in the network is a learned value for "missing"; a
    missing or unseen category becomes code 0. A number farther from the mean than 10,000 deviations is taken for one
    that far: among fewer than 100 million training rows there is none, and a network's answer would overflow.

    Parameters
    ----------
    columns : TableEncoder
        Fitted: what reads the table, dates expanded.

    Attributes
    ----------
    continuous_names, categorical_names : list of str
        Columns of the two tensors, in order.
    cardinalities : list of int
        Number of codes of every categorical column, the one for missing and unseen values included.
    """

    _median: NDArray[np.float64]
    _mean: NDArray[np.float64]
    _scale: NDArray[np.float64]
    _indicators: NDArray[np.int64]

    def __init__(self, columns: TableEncoder) -> None:
        self._columns = columns

    def fit(self, X: pd.DataFrame) -> Self:
        """Learn from training rows of shape (n, p)."""
        numeric, _ = self._columns.transform(X)
        self._indicators = np.flatnonzero(np.isnan(numeric).any(axis=0))
        self._scale = _divisor(self._learn(numeric))
        return self

    def fit_drawn(self, X: pd.DataFrame, digest: TableDigest) -> Self:
        """Learn from training rows drawn from many, of which a digest is known.

        Medians, means and deviations are those of the rows drawn, and missing values those of all. A deviation is at
        least what the farthest of all n rows makes of it by itself: its distance from the mean over the root of n.
        """
        numeric, _ = self._columns.transform(X)
        known, _ = self._columns.transform(digest.frame())
        low, high = np.fmin.reduce(known), np.fmax.reduce(known)
        # of a column without a known value among those drawn
        absent = np.isnan(numeric).all(axis=0) & ~np.isnan(low)
        numeric[:, absent] = low[absent]
        deviation = self._learn(numeric)
        reach = np.fmax(np.abs(low - self._mean), np.abs(high - self._mean))
        least = np.where(low < high, reach / np.sqrt(digest.rows), 0.0)
        self._scale = _divisor(np.maximum(deviation, least))
        columns, names = self._columns, self._columns.feature_names_in_
        pairs = zip(columns.columns, columns.sources, strict=True)
        sources = [source for name, source in pairs if name not in columns.categories]
        self._indicators = np.flatnonzero([digest.columns[names[at]].missing > 0 for at in sources])
        return self

    def _learn(self, numeric: NDArray[np.float64]) -> NDArray[np.float64]:
        """Learn medians and means of numbers of shape (n, p); return their deviations, 0 of a constant column."""
        present = ~np.isnan(numeric)
        self._median = np.asarray(
            [np.median(column[mask]) if mask.any() else 0.0 for column, mask in zip(numeric.T, present.T, strict=True)]
        )
        filled = np.where(present, numeric, self._median)
        self._mean = filled.mean(axis=0)
        # squares of the smallest numbers would vanish
        reach = np.abs(filled - self._mean).max(axis=0, initial=0.0)
        reach[reach == 0] = 1.0
        deviation = reach * ((filled - self._mean) / reach).std(axis=0)
        # rounding leaves a constant column of large numbers a tiny spread, which division would blow up
        return np.where(filled.min(axis=0) == filled.max(axis=0), 0.0, deviation)

    def transform(self, X: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Tensors of shapes (n, continuous) and (n, categorical), of types float32 and int64."""
        numeric, codes = self._columns.transform(X)
        n, p = numeric.shape
        continuous = np.empty((n, p + len(self._indicators)), dtype=np.float32)
        for start in range(0, n, _BLOCK_ROWS):
            block = numeric[start : start + _BLOCK_ROWS]
            missing = np.isnan(block)
            np.copyto(block, self._median, where=missing)
            block -= self._mean
            with np.errstate(over="ignore"):
                block /= self._scale
            np.clip(block, -FARTHEST, FARTHEST, out=block)
            continuous[start : start + _BLOCK_ROWS, :p] = block
            continuous[start : start + _BLOCK_ROWS, p:] = missing[:, self._indicators]
        codes += 1
        return torch.from_numpy(continuous), torch.from_numpy(codes)

    @property
    def continuous_names(self) -> list[str]:
        """Names of the columns of the continuous tensor."""
        names = self._columns.numeric_columns
        return [*names, *(f"{names[index]} is missing" for index in self._indicators)]

    @property
    def categorical_names(self) -> list[str]:
        """Names of the columns of the categorical tensor."""
        return self._columns.categorical_columns

    @property
    def cardinalities(self) -> list[int]:
        """Number of codes of every categorical column."""
        return [len(values) + 1 for values in self._columns.categories.values()]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays, but for the columns."""
        return {"median": self._median, "mean": self._mean, "scale": self._scale, "indicators": self._indicators}

    @classmethod
    def from_arrays(cls, columns: TableEncoder, arrays: Arrays) -> Self:
        """Rebuild from :meth:`arrays`."""
        features, p = cls(columns), len(columns.numeric_columns)
        features._median, features._mean, features._scale = (
            arrays.take_finite(name, p) for name in ("median", "mean", "scale")
        )
        features._indicators = arrays.take("indicators", None, dtype=np.int64)
        if not np.isin(features._indicators, np.arange(p)).all():
            raise arrays.error("indicators", f"names none of {p} columns")
        return features


def _divisor(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(deviation == 0, 1.0, deviation)
