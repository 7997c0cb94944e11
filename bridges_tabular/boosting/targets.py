"""What trees are trained on and how their output is read; here the target itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.boosting.booster import Metric, Output
from bridges_tabular.boosting.objective import BridgeGradients

Floats = NDArray[np.float64]
Single = NDArray[np.float32]


class BoostingTarget(ABC):
    """A way of putting a regression target in standard units, or what a location leaves of it, to trees."""

    @property
    @abstractmethod
    def output(self) -> Output:
        """What the trees put out."""

    @abstractmethod
    def labels(self, y: Floats) -> NDArray[Any]:
        """What stands for targets of shape (n,) in the matrix, of shape (n,)."""

    def gradients(self, y: Floats, sample_weight: Floats | None) -> BridgeGradients | None:
        """Gradients for training targets of shape (n,); None where the library has its own."""
        return None

    def metric(self, y: Floats, sample_weight: Floats | None, names: Sequence[str]) -> Metric | None:
        """Scores of margins for validation targets of shape (n,), by name; None where the library has its own."""
        return None

    def finish(self, best_iteration: int) -> None:
        """Settle on what belongs to the best round, counted from 0."""
        return

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        return {}

    @abstractmethod
    def decode(self, margins: Single) -> Floats:
        """Predicted targets of shape (n,) from the trees' margins."""


class PointTarget(BoostingTarget):
    """The target itself under squared error: what XGBRegressor does."""

    @property
    def output(self) -> Output:
        """What the trees put out."""
        return Output.squared_error()

    def labels(self, y: Floats) -> Floats:
        """Targets of shape (n,) as they are."""
        return y

    def decode(self, margins: Single) -> Floats:
        """Predicted targets of shape (n,) from margins of the same shape."""
        return margins.astype(np.float64)
