"""What an engine behind the door has to offer: all that a new one writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.regressors.forecast import Code, Forecast, HeldOut
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.rows import Rows
from bridges_tabular.regressors.streams import SAMPLE, uniform

if TYPE_CHECKING:
    from bridges_tabular.core.codec import TargetCodec

# Held-out rows that calibration uses. From 2,048 to 32,768 of them, the CRPS of simulations stays within 0.1 %, and so
# many leave conformal coverage a standard deviation of 0.3 %.
CALIBRATION_ROWS = 8_192

State = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class Trained(Protocol):
    """What an engine's ``train`` returns: a model of t targets in standard units."""

    @property
    def codes(self) -> Sequence[Code | None]:
        """The code that pi of each target was trained on; None for a target without pi."""
        ...

    @property
    def codecs(self) -> Sequence[TargetCodec]:
        """Bins, encoder and decoder of each target; empty for schemes without a code."""
        ...

    def forecast(self, X: pd.DataFrame) -> Sequence[Forecast]:
        """What it says of the rows of a table, one forecast for each target."""
        ...

    def state(self) -> State:
        """What can be saved: plain values that JSON can hold, and arrays by name."""
        ...


@runtime_checkable
class Exportable(Protocol):
    """A trained model that can be an ONNX graph as well."""

    def to_onnx(self) -> Any:
        """Its graph, an ``onnx.ModelProto``, in standard units: from ``X`` to ``point`` and ``pi_0``, ``pi_1``, ...

        ``X`` is of shape (n, p) and float32, NaN where missing, with the user's columns, all of them numbers. ``point``
        is of shape (n, targets) and float64, pi of each target with a code of shape (n, k) and float32.
        """
        ...


class Engine(Protocol):
    """What trains: all that a new engine writes."""

    def train(self, rows: Rows, watched: Rows | None, seed: int, report: Report) -> Trained:
        """Train on rows whose targets are in standard units.

        Parameters
        ----------
        rows : Rows
        watched : Rows or None
            Validation rows, for early stopping and the scores that ``report`` gets.
        seed : int
            Fixes everything that is drawn.
        report : Report
            To be called after each epoch or round.
        """
        ...

    def restore(self, state: Mapping[str, Any], arrays: Arrays, trusted: Collection[str]) -> Trained:
        """Rebuild a trained model from what its ``state`` returned.

        Nothing that the state names may be imported, but for what is imported already or named in ``trusted``: that is
        a :class:`NotTrusted`. Sizes that the state names have to be compared with the arrays before they are made.
        """
        ...


class NotTrusted(ValueError):
    """A saved model names what it may not import; says what."""


def entry(state: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """An entry of a saved state.

    Raises
    ------
    ValueError
        If there is none, or it is of another kind.
    """
    if name not in state:
        raise ValueError(f"there is no {name!r}")
    # True is an int to Python
    if not isinstance(state[name], kinds) or (isinstance(state[name], bool) and bool not in kinds):
        raise ValueError(f"{name!r} is a {type(state[name]).__name__}, expected {kinds[0].__name__}")
    return state[name]


class Parts(NamedTuple):
    """What a fit uses its rows for, targets in standard units."""

    train: Rows
    validation: Rows | None
    conformal: Rows | None
    everything: Rows | None
    """Training and validation rows together, where the latter had to be held out."""


def held_out(trained: Trained, rows: Rows | None, seed: int) -> list[HeldOut] | None:
    """Forecasts of held-out rows for calibration, for each target; of 8,192 rows, drawn by the seed, if there are more.

    What is fitted to them is a few numbers and a coarse table, which more rows make hardly any better.
    """
    if rows is None:
        return None
    if len(rows) > CALIBRATION_ROWS:
        rows = rows.take(drawn(len(rows), seed))
    forecasts = trained.forecast(rows.X)
    return [HeldOut(forecast, y, rows.weight) for forecast, y in zip(forecasts, rows.y.T, strict=True)]


def drawn(n: int, seed: int) -> NDArray[np.int64]:
    """Which of n held-out rows to calibrate on: ascending, at most 8,192, the same as of a stream."""
    if n <= CALIBRATION_ROWS:
        return np.arange(n)
    draws = uniform(np.arange(n), seed, SAMPLE)
    return np.flatnonzero(draws < np.partition(draws, CALIBRATION_ROWS)[CALIBRATION_ROWS])
