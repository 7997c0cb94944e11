"""From a user's table to the two tensors that a pytorch-tabular network reads."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_tabular.tabular_datamodule import TabularDatamodule
from torch import Tensor

from bridges_tabular._frames import TableEncoder, as_frame
from bridges_tabular._sharing import shared

_ELAPSED = "elapsed"
# rows whose numbers stay in the processor's cache while they are worked on
_BLOCK_ROWS = 2048


class FeatureTensors:
    """Cleans a table: standardises numbers, fills in missing ones, numbers the categories, expands dates.

    Learned on the training rows alone. A missing number becomes the training median, with an indicator beside it for
    columns that had missing values in training, whose weight in the network is a learned value for "missing"; a
    missing or unseen category becomes code 0. A column of dates becomes the categories that pytorch-tabular makes of
    dates (month, weekday, ..., and the hour where times are not all midnight) and the time that has passed, a number.

    Attributes
    ----------
    continuous_names, categorical_names : list of str
        Columns of the two tensors, in order.
    cardinalities : list of int
        Number of codes of every categorical column, the one for missing and unseen values included.
    """

    columns: list[str]
    _dates: dict[str, str]
    _encoder: TableEncoder
    _median: NDArray[np.float64]
    _mean: NDArray[np.float64]
    _scale: NDArray[np.float64]
    _indicators: NDArray[np.int64]

    def fit(self, X: Any) -> Self:
        """Learn from training rows of shape (n, p)."""
        frame = as_frame(X)
        self.columns = [str(name) for name in frame.columns]
        self._dates = {
            name: _frequency(column)
            for name, column in frame.items()
            if isinstance(name, str) and pd.api.types.is_datetime64_any_dtype(column.dtype)
        }
        frame = self._expand(frame)
        self._encoder = TableEncoder().fit(frame)
        numeric, _ = self._encoder.transform(frame)
        present = ~np.isnan(numeric)
        self._median = np.asarray(
            [np.median(column[mask]) if mask.any() else 0.0 for column, mask in zip(numeric.T, present.T, strict=True)]
        )
        self._indicators = np.flatnonzero(~present.all(axis=0))
        filled = np.where(present, numeric, self._median)
        self._mean = filled.mean(axis=0)
        scale = filled.std(axis=0)
        # rounding leaves a constant column of large numbers a tiny spread, which division would blow up
        tiny = scale <= 1e-9 * np.maximum(1.0, np.abs(self._mean))
        self._scale = np.where(tiny, 1.0, scale)
        return self

    def transform(self, X: Any) -> tuple[Tensor, Tensor]:
        """Tensors of shapes (n, continuous) and (n, categorical), of types float32 and int64; not to be changed."""
        return shared(lambda: self._transform(X), [self, X], "tensors")

    def _transform(self, X: Any) -> tuple[Tensor, Tensor]:
        numeric, codes = self._encoder.transform(self._expand(as_frame(X)))
        n, p = numeric.shape
        continuous = np.empty((n, p + len(self._indicators)), dtype=np.float32)
        for start in range(0, n, _BLOCK_ROWS):
            block = numeric[start : start + _BLOCK_ROWS]
            missing = np.isnan(block)
            np.copyto(block, self._median, where=missing)
            block -= self._mean
            block /= self._scale
            continuous[start : start + _BLOCK_ROWS, :p] = block
            continuous[start : start + _BLOCK_ROWS, p:] = missing[:, self._indicators]
        codes += 1
        return torch.from_numpy(continuous), torch.from_numpy(codes)

    @property
    def continuous_names(self) -> list[str]:
        """Names of the columns of the continuous tensor."""
        names = self._encoder.numeric_columns
        return [*names, *(f"{names[index]} is missing" for index in self._indicators)]

    @property
    def categorical_names(self) -> list[str]:
        """Names of the columns of the categorical tensor."""
        return self._encoder.categorical_columns

    @property
    def cardinalities(self) -> list[int]:
        """Number of codes of every categorical column."""
        return [len(values) + 1 for values in self._encoder.categories.values()]

    def to_dict(self) -> dict[str, Any]:
        """State as plain values that JSON can hold."""
        return {
            "columns": self.columns,
            "dates": self._dates,
            "encoder": self._encoder.to_dict(),
            "median": self._median.tolist(),
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
            "indicators": self._indicators.tolist(),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        features = cls()
        features.columns = list(state["columns"])
        features._dates = dict(state["dates"])
        features._encoder = TableEncoder.from_dict(state["encoder"])
        features._median = np.asarray(state["median"], dtype=np.float64)
        features._mean = np.asarray(state["mean"], dtype=np.float64)
        features._scale = np.asarray(state["scale"], dtype=np.float64)
        features._indicators = np.asarray(state["indicators"], dtype=np.int64)
        return features

    def _expand(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Columns of dates replaced by what they say."""
        for name, frequency in self._dates.items():
            if name not in frame.columns:
                raise ValueError(f"the table lacks column(s) {name!r}")
            if not pd.api.types.is_datetime64_any_dtype(frame[name].dtype):
                raise ValueError(f"column {name!r} held dates in fit and now holds {frame[name].dtype}")
            dates = frame[[name]].copy()
            passed = (dates[name] - pd.Timestamp(0, tz=dates[name].dt.tz)) / pd.Timedelta(days=1)
            parts, added = TabularDatamodule.add_datepart(dates, name, frequency, prefix=name)
            parts = parts.astype(dict.fromkeys(added, "category")).assign(**{f"{name}_{_ELAPSED}": passed})
            frame = pd.concat([frame.drop(columns=name), parts], axis=1)
        return frame


def _frequency(dates: pd.Series[Any]) -> str:
    """What pytorch-tabular calls the frequency: it decides which parts of a date there are."""
    known = dates.dropna()
    return "D" if bool((known == known.dt.normalize()).all()) else "h"
