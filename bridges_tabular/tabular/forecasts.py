"""From a network's outputs to calibrated distributions, one target at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from bridges_tabular._regressor import BridgeRegressorMixin, Forecast, HeldOut
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.encoders import TargetEncoder
from bridges_tabular.tabular.model import BridgeModel
from bridges_tabular.tabular.rows import Part

Floats = NDArray[np.float64]
HeldOutOutputs = tuple[Part, Floats, Sequence[Floats] | None]


def forecasts_of(
    model: BridgeModel, points: torch.Tensor, log_probs: torch.Tensor | None
) -> tuple[Floats, list[Floats] | None]:
    """Points (n, targets) and, for every target, pi (n, k) with rows that sum to 1 in double precision."""
    point = points.double().cpu().numpy()
    if log_probs is None:
        return point, None
    probabilities = []
    for part in torch.split(log_probs.cpu(), [codec.centers.shape[0] for codec in model.codecs], dim=1):
        pi = part.double().exp_().numpy()
        pi /= pi.sum(axis=1, keepdims=True)
        probabilities.append(pi)
    return point, probabilities


class OneTarget(BridgeRegressorMixin):
    """The calibration of one target."""

    def __init__(self, calibration: str) -> None:
        self.calibration = calibration

    def distribution(self, point: Floats, pi: Floats | None) -> BinnedDistribution:
        """Distributions of n rows."""
        return self._distribution(Forecast(point, pi))

    def interval(self, distribution: BinnedDistribution, coverage: float, conformal: bool) -> Floats:
        """Intervals of shape (n, 2)."""
        return self._interval(distribution, coverage, conformal)


class TargetForecasts:
    """The calibrations of all targets of a model."""

    def __init__(self, calibration: str, parts: list[OneTarget]) -> None:
        self._calibration = calibration
        self.parts = parts

    def of_model(self, model: BridgeModel) -> Self:
        """The same calibrations for the codes of another model over the same bins."""
        return self.from_arrays(model, self._calibration, self.arrays())

    @classmethod
    def fit(
        cls,
        model: BridgeModel,
        calibration: str,
        train: Part,
        validation: HeldOutOutputs | None,
        conformal: HeldOutOutputs | None,
    ) -> Self:
        """Fit every target's calibration on rows that were held out."""
        parts = []
        for index, (encoder, units) in enumerate(zip(_encoders(model), model.units(), strict=True)):
            held_out = [_held_out(outputs, index) for outputs in (validation, conformal)]
            part = OneTarget(calibration)
            part._fit_calibration(
                encoder,
                units,
                held_out[0],
                y_train=train.columns[:, index],
                train_weight=train.weight,
                conformal=held_out[1],
            )
            parts.append(part)
        return cls(calibration, parts)

    def distributions(self, point: Floats, pi: Sequence[Floats] | None) -> list[BinnedDistribution]:
        """Distributions of n rows for every target."""
        return [
            part.distribution(point[:, index], None if pi is None else pi[index])
            for index, part in enumerate(self.parts)
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        return {
            f"{index}.{name}": array
            for index, part in enumerate(self.parts)
            for name, array in part._calibration_arrays().items()
        }

    @classmethod
    def from_arrays(cls, model: BridgeModel, calibration: str, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`arrays` and the model."""
        parts = []
        for index, encoder in enumerate(_encoders(model)):
            part = OneTarget(calibration)
            own = {name.split(".", 1)[1]: array for name, array in arrays.items() if name.startswith(f"{index}.")}
            part._load_calibration(encoder, own)
            parts.append(part)
        return cls(calibration, parts)


def _encoders(model: BridgeModel) -> list[TargetEncoder | None]:
    """The code that each target's classes were trained on, None where they were not."""
    if model.is_least_squares or model.hparams.scheme == "softmax_least_squares":
        return [None] * model.hparams.output_dim
    return [codec.encoder for codec in model.codecs]


def _held_out(outputs: HeldOutOutputs | None, index: int) -> HeldOut | None:
    if outputs is None:
        return None
    part, point, pi = outputs
    forecast = Forecast(point[:, index], None if pi is None else pi[index])
    return HeldOut(forecast, part.columns[:, index], part.weight)
