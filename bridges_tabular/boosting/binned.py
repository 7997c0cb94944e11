"""Distributions over bins as what trees are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from bridges_tabular.boosting.booster import Metric, Output
from bridges_tabular.boosting.codes import CodecRefit, MovingGradients, codes_of
from bridges_tabular.boosting.objective import BridgeGradients, ClassLogits, index_polynomials, split_directions
from bridges_tabular.boosting.peers import ALONE, Peers
from bridges_tabular.boosting.targets import BoostingTarget, Floats, Single
from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.objective import BridgeObjective
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.core.scores import crps_of_masses
from bridges_tabular.regressors.learned import class_use
from bridges_tabular.regressors.scale import TargetScale

# a class without training rows starts this unlikely, rather than impossible
_SMALLEST_MASS = 1e-6


class BinnedTarget(BoostingTarget):
    """Classes over the bins of a fitted codec.

    Boosting starts from the marginal distribution of the training rows, on which it would spend its first
    dozens of rounds otherwise.

    Parameters
    ----------
    codec : TargetCodec
        Fitted. The scheme "hard" is a softmax of the library's own, a tree per class and round; the others have trees
        with vector leaves under :class:`~bridges_tabular.boosting.objective.BridgeGradients`.
    logits : ClassLogits
        For "hard" the offsets are the library's own.
    unit : float
        What the codec takes for 1: the deviation of what it was fitted to.
    weights : BridgeObjective
        Weights of the terms.
    random : RandomState, optional
        Draws what the end-to-end scheme draws; needed for training alone.
    peers : Peers
        Who has the other rows of the fit.
    """

    def __init__(
        self,
        codec: TargetCodec,
        logits: ClassLogits,
        unit: float,
        weights: BridgeObjective,
        random: np.random.RandomState | None = None,
        peers: Peers = ALONE,
    ) -> None:
        self.codec = codec.requires_grad_(False)
        self.logits = logits
        self.unit = unit
        # hard classes are labels, which the library knows itself
        self._labels_alone = SCHEMES[codec.scheme].one_hot
        self._weights = weights
        self._random = random
        self._peers = peers
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
        peers: Peers = ALONE,
    ) -> Self:
        """Fit a codec to training targets of shape (n,): its bins and its decoder.

        ``rank`` is that of the logits over the classes, None for one margin a class.
        """
        y, sample_weight = peers.sample(y, sample_weight)
        # what a location leaves is spread less than the target
        unit = float(TargetScale.fit(y[:, None], sample_weight).scale[0])
        codec = codec.fit(y / unit, sample_weight).requires_grad_(False)
        masses = np.maximum(class_use(codec, y / unit, sample_weight), _SMALLEST_MASS)
        offsets = np.log(masses / masses.sum()).astype(np.float32)
        basis = None if rank is None or SCHEMES[codec.scheme].one_hot else index_polynomials(len(masses), rank)
        return cls(codec, ClassLogits(offsets, basis), unit, weights, random, peers)

    @classmethod
    def from_arrays(cls, codec: TargetCodec, arrays: Arrays, weights: BridgeObjective) -> Self:
        """Rebuild from :meth:`arrays` and an unfitted codec with the parameters of the fitted one."""
        k, basis = codec.restore(arrays).bins.n_bins, None
        if "logits.basis" in arrays:
            basis = arrays.take("logits.basis", k, None, dtype=np.float32)
        offsets = arrays.take("logits.offsets", k, dtype=np.float32)
        return cls(codec, ClassLogits(offsets, basis), float(arrays.take_finite("unit")), weights)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        state = {name: tensor.numpy() for name, tensor in self.codec.state_dict().items()}
        state |= {"logits.offsets": self.logits.offsets, "unit": np.array(self.unit)}
        if self.logits.basis is not None:
            state["logits.basis"] = self.logits.basis
        return state

    @property
    def output(self) -> Output:
        """What the trees put out."""
        if self._labels_alone:
            return Output(len(self.logits.offsets), offsets=self.logits.offsets)
        return Output(self.logits.n_margins, vector=True)

    def labels(self, y: Floats) -> NDArray[np.int64]:
        """Bin of each target, of shape (n,)."""
        return self.codec.bins.assign(y / self.unit)

    def gradients(self, y: Floats, sample_weight: Floats | None) -> BridgeGradients | None:
        """Gradients for training targets of shape (n,); None where the library has its own."""
        if self._labels_alone:
            return None
        settings: dict[str, Any] = {
            "alignment_weight": self._weights.alignment_weight,
            "regression_weight": self._weights.regression_weight,
            "sample_weight": sample_weight,
        }
        if self.logits.basis is None:
            masses = np.exp(self.logits.offsets.astype(np.float64))
            settings["directions"] = split_directions(self._values().astype(np.float64), masses)
        in_units = self._in_units(y)
        if SCHEMES[self.codec.scheme].moves_code:
            assert self._random is not None
            self._refit = CodecRefit(self.codec, self._weights, in_units, sample_weight, self._random, self._peers)
            return MovingGradients(self._refit, self.codec, self.logits, in_units, **settings)
        codes = codes_of(self.codec, self.logits, in_units)
        return BridgeGradients(self.logits, codes, in_units, self._values(), **settings)

    def metric(self, y: Floats, sample_weight: Floats | None, names: Sequence[str]) -> Metric:
        """Scores of margins for validation targets of shape (n,), by name.

        "rmse" and "mae" are those of the decoded mean and "crps" that of pi as masses on the centres of the bins, all
        in standard units; "loss" is the alignment and the regression term, in the objective's.
        """
        in_units = self._in_units(y)
        scores: dict[str, Callable[[Single, Single], Single]] = {
            "rmse": self._squared_errors,
            "mae": lambda p, y: np.abs(p @ self._values() - y),
            "crps": lambda p, y: crps_of_masses(self.codec.bins.centers, p, y),
            "loss": self._losses,
        }

        def evaluate(margins: Single) -> dict[str, float]:
            margins = margins.reshape(len(y), self.output.n_margins)
            totals = {name: np.empty(len(y)) for name in names if name in scores}
            for rows in self.logits.blocks(len(y)):
                # the library's own softmax hands over probabilities
                p = margins[rows] if self._labels_alone else self.logits.probabilities(margins[rows])
                for name, total in totals.items():
                    total[rows] = scores[name](p, in_units[rows])
            weight = np.ones(len(y)) if sample_weight is None else sample_weight
            sums = self._peers.total(np.array([*(weight @ total for total in totals.values()), weight.sum()]))
            means = dict(zip(totals, (sums[:-1] / sums[-1]).tolist(), strict=True))
            if "rmse" in means:
                means["rmse"] = float(np.sqrt(means["rmse"]))
            return {name: mean if name == "loss" else self.unit * mean for name, mean in means.items()}

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
        # a single margin may come without its second axis
        margins = margins.reshape(len(margins), self.output.n_margins)
        if self._labels_alone:
            return ClassLogits(np.zeros_like(self.logits.offsets), None).probabilities(margins)
        return self.logits.probabilities(margins)

    @property
    def values(self) -> Floats:
        """The decoder's value of every class, of shape (k,)."""
        return self._values().astype(np.float64) * self.unit

    def _values(self) -> Single:
        values: Single = self.codec.decoder.values.numpy()
        return values

    def _in_units(self, y: Floats) -> Single:
        return (y / self.unit).astype(np.float32)

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
