"""What a booster is trained on and how its output is read: the target itself, or a distribution over bins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from bridges_tabular.boosting.objective import SoftTargetObjective, softmax, split_directions
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.distribution import BinnedDistribution

Floats = NDArray[np.float64]
Margins = NDArray[np.float32]
Metric = Callable[[Any, Any], tuple[str, float]]

# a class without training rows starts this unlikely, rather than impossible
_SMALLEST_MASS = 1e-6


class BoostingTarget(ABC):
    """A way of putting the regression target to XGBoost.

    Attributes
    ----------
    native_categories : bool
        Whether the booster splits on categories themselves; vector leaves cannot.
    default_learning_rate : float
    """

    native_categories: bool = True
    default_learning_rate: float = 0.1

    @abstractmethod
    def booster_params(self) -> dict[str, Any]:
        """Parameters of ``xgboost.train`` that belong to this target."""

    @abstractmethod
    def labels(self, y: Floats) -> NDArray[Any]:
        """What stands for targets of shape (n,) in the DMatrix, of shape (n,)."""

    def objective(self, y: Floats, sample_weight: Floats | None) -> SoftTargetObjective | None:
        """Return the objective for training targets of shape (n,); None for the one XGBoost has itself."""
        return None

    def metric(self, y: Floats, sample_weight: Floats | None, name: str) -> Metric | None:
        """Return the metric "rmse" or "loss" for validation targets of shape (n,); None for XGBoost's own."""
        return None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        return {}

    @abstractmethod
    def decode(self, margins: Margins) -> Floats:
        """Predicted targets of shape (n,) from the booster's margins."""


class PointTarget(BoostingTarget):
    """The target itself under squared error: what XGBRegressor does."""

    def booster_params(self) -> dict[str, Any]:
        """Parameters of ``xgboost.train`` that belong to this target."""
        return {"objective": "reg:squarederror", "eval_metric": "rmse"}

    def labels(self, y: Floats) -> Floats:
        """Targets of shape (n,) as they are."""
        return y

    def decode(self, margins: Margins) -> Floats:
        """Predicted targets of shape (n,) from margins of the same shape."""
        return margins.astype(np.float64)


class BinnedTarget(BoostingTarget):
    """Classes over the bins of a fitted codec; margins are the logits of their distribution.

    Boosting starts from the marginal distribution of the training rows, on which it would spend its first
    dozens of rounds otherwise.

    Parameters
    ----------
    codec : TargetCodec
        Fitted, with the scheme "hard" (``multi:softprob``: a tree per class and round) or "soft" (trees with
        vector leaves under :class:`~bridges_tabular.boosting.objective.SoftTargetObjective`).
    masses : array of shape (k,)
        Mean code of the training targets.
    """

    # logits are coupled: Newton steps by the diagonal of their hessian come out short
    default_learning_rate = 0.3

    def __init__(self, codec: TargetCodec, masses: Floats) -> None:
        self.codec = codec.requires_grad_(False)
        self.masses = masses
        self.native_categories = codec.scheme == "hard"

    @classmethod
    def fit(cls, codec: TargetCodec, y: Floats, sample_weight: Floats | None) -> Self:
        """Fit a codec to training targets of shape (n,): its bins and its decoder."""
        target = cls(codec.fit(y, sample_weight), np.empty(0))
        masses = np.average(target._codes(y), axis=0, weights=sample_weight).astype(np.float64)
        masses = np.maximum(masses, _SMALLEST_MASS)
        target.masses = masses / masses.sum()
        return target

    @classmethod
    def from_arrays(cls, codec: TargetCodec, arrays: dict[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`arrays` and an unfitted codec with the parameters of the fitted one."""
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        masses = state.pop("masses").numpy()
        codec.load_state_dict(state)
        return cls(codec, masses)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        return {name: tensor.numpy() for name, tensor in self.codec.state_dict().items()} | {"masses": self.masses}

    def booster_params(self) -> dict[str, Any]:
        """Parameters of ``xgboost.train`` that belong to this target."""
        params: dict[str, Any] = {
            "base_score": np.log(self.masses).tolist(),
            "disable_default_eval_metric": True,
        }
        if self.codec.scheme == "hard":
            return params | {"objective": "multi:softprob", "num_class": len(self.masses)}
        return params | {
            # names the booster's output alone: gradients come from SoftTargetObjective
            "objective": "reg:squarederror",
            "num_target": len(self.masses),
            "multi_strategy": "multi_output_tree",
            # hessians p (1 - p) of k classes are tiny: XGBoost's default of 1 would silence whole trees
            "min_child_weight": 0,
        }

    def labels(self, y: Floats) -> NDArray[np.int64]:
        """Bin of each target, of shape (n,)."""
        return self.codec.bins.assign((y - float(self.codec.mean)) / float(self.codec.scale))

    def objective(self, y: Floats, sample_weight: Floats | None) -> SoftTargetObjective | None:
        """Return the objective for training targets of shape (n,); None for the one XGBoost has itself."""
        if self.codec.scheme == "hard":
            return None
        directions = split_directions(self._values(), self.masses)
        return SoftTargetObjective(self._codes(y), directions, sample_weight)

    def metric(self, y: Floats, sample_weight: Floats | None, name: str) -> Metric:
        """Return the metric for validation targets of shape (n,).

        "rmse" is that of the decoded mean in the target's units, "loss" the cross entropy to the codes.
        """
        codes = self._codes(y) if name == "loss" else None

        def evaluate(predictions: Any, _: Any) -> tuple[str, float]:
            p = predictions.reshape(len(y), -1)
            # XGBoost hands over probabilities under its own objective and margins under ours
            p = p if self.codec.scheme == "hard" else softmax(p)
            if codes is None:
                errors = (self._decode(p) - y) ** 2
                return "rmse", float(np.sqrt(np.average(errors, weights=sample_weight)))
            losses = -(codes * np.log(np.maximum(p, np.finfo(np.float32).tiny))).sum(axis=1)
            return "loss", float(np.average(losses, weights=sample_weight))

        return evaluate

    def decode(self, margins: Margins) -> Floats:
        """Predicted targets of shape (n,) from logits of shape (n, k)."""
        return self._decode(softmax(margins.astype(np.float64)))

    def distribution(self, margins: Margins) -> BinnedDistribution:
        """Predictive distributions over the bins, in the target's units, from logits of shape (n, k)."""
        edges = self.codec.bins.edges * float(self.codec.scale) + float(self.codec.mean)
        return BinnedDistribution(edges, softmax(margins.astype(np.float64)))

    def _values(self) -> Floats:
        return self.codec.decoder.values.double().numpy()

    def _codes(self, y: Floats) -> NDArray[np.float32]:
        return self.codec.encode(self.codec.standardise(torch.from_numpy(y))).exp().numpy()

    def _decode(self, p: NDArray[Any]) -> Floats:
        decoded: Floats = p @ self._values() * float(self.codec.scale) + float(self.codec.mean)
        return decoded
