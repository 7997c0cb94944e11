"""What a booster is trained on and how its output is read: the target itself, or a distribution over bins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from bridges_tabular.boosting.codes import CodecRefit, EndToEndObjective, project_codes
from bridges_tabular.boosting.objective import BridgeTreeObjective, ClassLogits, index_polynomials, split_directions
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.encoders import TargetEncoder
from bridges_tabular.core.objective import BridgeObjective

Floats = NDArray[np.float64]
Single = NDArray[np.float32]
Metric = Callable[[Any, Any], tuple[str, float]]

# a class without training rows starts this unlikely, rather than impossible
_SMALLEST_MASS = 1e-6
_OWN_METRIC = {"disable_default_eval_metric": True}


class BoostingTarget(ABC):
    """A way of putting the regression target to XGBoost.

    Attributes
    ----------
    native_categories : bool
        Whether the booster splits on categories themselves; vector leaves cannot.
    """

    native_categories: bool = True

    @property
    def encoder(self) -> TargetEncoder | None:
        """The code that class probabilities are trained on; None without classes."""
        return None

    @property
    @abstractmethod
    def units(self) -> tuple[float, float]:
        """Mean and scale by which targets are standardised."""

    @abstractmethod
    def booster_params(self) -> dict[str, Any]:
        """Parameters of ``xgboost.train`` that belong to this target."""

    @abstractmethod
    def labels(self, y: Floats) -> NDArray[Any]:
        """What stands for targets of shape (n,) in the DMatrix, of shape (n,)."""

    def objective(self, y: Floats, sample_weight: Floats | None) -> BridgeTreeObjective | None:
        """Return the objective for training targets of shape (n,); None for the one XGBoost has itself."""
        return None

    def metric(self, y: Floats, sample_weight: Floats | None, name: str) -> Metric | None:
        """Return the metric "rmse", "crps" or "loss" for validation targets of shape (n,); None for XGBoost's own."""
        return None

    def finish(self, best_iteration: int) -> None:
        """Settle on what belongs to the best round, counted from 0."""
        return

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        return {}

    @abstractmethod
    def decode(self, margins: Single) -> Floats:
        """Predicted targets of shape (n,) from the booster's margins."""


class PointTarget(BoostingTarget):
    """The target itself under squared error: what XGBRegressor does.

    Parameters
    ----------
    units : (mean, scale), default=(0.0, 1.0)
        Of the training targets, for the calibration; the booster takes them as they are.
    """

    def __init__(self, units: tuple[float, float] = (0.0, 1.0)) -> None:
        self._units = units

    @property
    def units(self) -> tuple[float, float]:
        """Mean and scale by which targets are standardised."""
        return self._units

    def booster_params(self) -> dict[str, Any]:
        """Parameters of ``xgboost.train`` that belong to this target."""
        return {"objective": "reg:squarederror", "eval_metric": "rmse"}

    def labels(self, y: Floats) -> Floats:
        """Targets of shape (n,) as they are."""
        return y

    def decode(self, margins: Single) -> Floats:
        """Predicted targets of shape (n,) from margins of the same shape."""
        return margins.astype(np.float64)


class BinnedTarget(BoostingTarget):
    """Classes over the bins of a fitted codec, on the target itself or on what a location leaves of it.

    Boosting starts from the marginal distribution of the training rows, on which it would spend its first
    dozens of rounds otherwise.

    Parameters
    ----------
    codec : TargetCodec
        Fitted. The scheme "hard" is ``multi:softprob``, a tree per class and round; the others have trees with
        vector leaves under :class:`~bridges_tabular.boosting.objective.BridgeTreeObjective`.
    logits : ClassLogits
        For "hard" the offsets are the booster's own.
    weights : BridgeObjective
        Weights of the terms.
    random : RandomState, optional
        Draws what the end-to-end scheme draws; needed for training alone.
    """

    def __init__(
        self,
        codec: TargetCodec,
        logits: ClassLogits,
        weights: BridgeObjective,
        random: np.random.RandomState | None = None,
    ) -> None:
        self.codec = codec.requires_grad_(False)
        self.logits = logits
        self.native_categories = codec.scheme == "hard"
        self._weights = weights
        self._random = random
        self._refit: CodecRefit | None = None

    @classmethod
    def fit(
        cls,
        codec: TargetCodec,
        y: Floats,
        sample_weight: Floats | None,
        *,
        rank: int | None,
        weights: BridgeObjective,
        random: np.random.RandomState,
    ) -> Self:
        """Fit a codec to training targets of shape (n,): its bins and its decoder.

        ``rank`` is that of the logits over the classes, None for one margin a class.
        """
        codec = codec.fit(y, sample_weight).requires_grad_(False)
        unfitted = ClassLogits(np.zeros(codec.bins.n_bins, dtype=np.float32), None)
        codes = project_codes(codec, unfitted, y)
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        masses = np.maximum((weight / weight.sum()).astype(np.float32) @ codes, _SMALLEST_MASS)
        offsets = np.log(masses / masses.sum()).astype(np.float32)
        basis = None if rank is None or codec.scheme == "hard" else index_polynomials(len(masses), rank)
        return cls(codec, ClassLogits(offsets, basis), weights, random)

    @classmethod
    def from_arrays(cls, codec: TargetCodec, arrays: dict[str, NDArray[Any]], weights: BridgeObjective) -> Self:
        """Rebuild from :meth:`arrays` and an unfitted codec with the parameters of the fitted one."""
        arrays = dict(arrays)
        logits = ClassLogits(arrays.pop("logits.offsets"), arrays.pop("logits.basis", None))
        codec.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return cls(codec, logits, weights)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        state = {name: tensor.numpy() for name, tensor in self.codec.state_dict().items()}
        state["logits.offsets"] = self.logits.offsets
        if self.logits.basis is not None:
            state["logits.basis"] = self.logits.basis
        return state

    @property
    def encoder(self) -> TargetEncoder:
        """The code that class probabilities are trained on."""
        return self.codec.encoder

    @property
    def units(self) -> tuple[float, float]:
        """Mean and scale by which targets are standardised."""
        return float(self.codec.mean), float(self.codec.scale)

    def booster_params(self) -> dict[str, Any]:
        """Parameters of ``xgboost.train`` that belong to this target."""
        if self.codec.scheme == "hard":
            k = len(self.logits.offsets)
            offsets = self.logits.offsets.tolist()
            return {"objective": "multi:softprob", "num_class": k, "base_score": offsets} | _OWN_METRIC
        return {
            # names the booster's output alone: gradients come from BridgeTreeObjective
            "objective": "reg:squarederror",
            "num_target": self.logits.n_margins,
            "base_score": 0.0,
            # a single margin needs no vector
            "multi_strategy": "multi_output_tree" if self.logits.n_margins > 1 else "one_output_per_tree",
            # hessians of k classes are tiny: XGBoost's default of 1 would silence whole trees
            "min_child_weight": 0,
        } | _OWN_METRIC

    def labels(self, y: Floats) -> NDArray[np.int64]:
        """Bin of each target, of shape (n,)."""
        return self.codec.bins.assign(self._standardise(y))

    def objective(self, y: Floats, sample_weight: Floats | None) -> BridgeTreeObjective | None:
        """Return the objective for training targets of shape (n,); None for the one XGBoost has itself."""
        if self.codec.scheme == "hard":
            return None
        settings: dict[str, Any] = {
            "alignment_weight": self._weights.alignment_weight,
            "regression_weight": self._weights.regression_weight,
            "sample_weight": sample_weight,
        }
        if self.logits.basis is None:
            masses = np.exp(self.logits.offsets.astype(np.float64))
            settings["directions"] = split_directions(self._values().astype(np.float64), masses)
        if self.codec.scheme == "end_to_end":
            assert self._random is not None
            self._refit = CodecRefit(self.codec, self._weights, y, sample_weight, self._random)
            return EndToEndObjective(self._refit, self.codec, self.logits, y, **settings)
        codes, standard = project_codes(self.codec, self.logits, y), self._standardise(y).astype(np.float32)
        return BridgeTreeObjective(self.logits, codes, standard, self._values(), **settings)

    def metric(self, y: Floats, sample_weight: Floats | None, name: str) -> Metric:
        """Return the metric for validation targets of shape (n,).

        "rmse" is that of the decoded mean and "crps" that of pi as masses on the centres of the bins, both in the
        target's units; "loss" is the alignment and the regression term, in the objective's.
        """
        standard = self._standardise(y).astype(np.float32)
        scores: dict[str, Callable[[Single, Single], Single]] = {
            "rmse": self._squared_errors,
            "crps": _DiscreteCRPS(self.codec.bins.centers),
            "loss": self._losses,
        }
        score = scores[name]
        unit = 1.0 if name == "loss" else self.units[1]

        def evaluate(predictions: Any, _: Any) -> tuple[str, float]:
            # XGBoost hands over probabilities under its own objective and margins under ours
            given = predictions.reshape(len(y), -1)
            total = np.empty(len(y))
            for rows in self.logits.blocks(len(y)):
                p = given[rows] if self.codec.scheme == "hard" else self.logits.probabilities(given[rows])
                total[rows] = score(p, standard[rows])
            mean = float(np.average(total, weights=sample_weight))
            return name, unit * (np.sqrt(mean) if name == "rmse" else mean)

        return evaluate

    def finish(self, best_iteration: int) -> None:
        """Settle on the encoder and the decoder of the best round, counted from 0."""
        if self._refit is not None:
            self._refit.rewind(best_iteration)
            self._refit = None

    def decode(self, margins: Single) -> Floats:
        """Predicted targets of shape (n,) from margins of shape (n, r)."""
        decoded: Floats = self.probabilities(margins).astype(np.float64) @ self.values
        return decoded

    def probabilities(self, margins: Single) -> Single:
        """Pi of shape (n, k) from margins of shape (n, r)."""
        # XGBoost drops the second axis of a single margin
        margins = margins.reshape(len(margins), -1)
        if self.codec.scheme == "hard":
            return ClassLogits(np.zeros_like(self.logits.offsets), None).probabilities(margins)
        return self.logits.probabilities(margins)

    @property
    def values(self) -> Floats:
        """The decoder's value of every class in the target's units, of shape (k,)."""
        mean, scale = self.units
        return self._values().astype(np.float64) * scale + mean

    def _values(self) -> Single:
        values: Single = self.codec.decoder.values.numpy()
        return values

    def _standardise(self, y: Floats) -> Floats:
        mean, scale = self.units
        return (y - mean) / scale

    def _squared_errors(self, p: Single, y: Single) -> Single:
        errors: Single = np.square(p @ self._values() - y)
        return errors

    def _losses(self, p: Single, y: Single) -> Single:
        log_psi = self.codec.encode(torch.from_numpy(y)).numpy()
        log_p = np.log(np.maximum(p, np.finfo(np.float32).tiny))
        alignment = (np.exp(log_psi) * (log_psi - log_p)).sum(axis=1)
        loss: Single = self._weights.alignment_weight * alignment
        loss += self._weights.regression_weight * self._squared_errors(p, y)
        return loss


class _DiscreteCRPS:
    """E |c - y| less the sum over the gaps between centres of gap times F (1 - F), for masses on the centres c."""

    def __init__(self, centers: Floats) -> None:
        self._centers = centers.astype(np.float32)
        self._gaps = np.diff(self._centers)
        self._below = np.triu(np.ones((len(centers), len(centers) - 1), dtype=np.float32))

    def __call__(self, p: Single, y: Single) -> Single:
        distance = np.abs(self._centers - y[:, None])
        reached = p @ self._below
        crps: Single = np.einsum("nk,nk->n", p, distance) - reached @ self._gaps
        reached *= reached
        crps += reached @ self._gaps
        return crps
