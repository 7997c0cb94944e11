"""The loss of one target: its bins, encoder and decoder, and how they meet the logits of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bridges_tabular.core.bins import Bins
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.encoders import LearnedEncoder, TargetEncoder, TiltedFamily
from bridges_tabular.core.objective import BridgeObjective, weighted_mean
from bridges_tabular.core.scores import crps_loss
from bridges_tabular.tabular.config import BridgeConfig
from bridges_tabular.tabular.datamodule import Batch
from bridges_tabular.tabular.fused import fused_loss

_OF_THE_CODEC = (
    "scheme",
    "n_bins",
    "placement",
    "kernel",
    "smoothing",
    "margin",
    "uniform_share",
    "encoder_logits",
    "ordered_values",
    "pretraining_steps",
)


class TargetTerms(nn.Module):
    """The terms of the objective for one target.

    What they need of a target is computed by :meth:`prepare` as far as it does not change in training: the code of
    a fixed encoder, the tilt tau(y) of a learned one.
    """

    def __init__(self, config: BridgeConfig) -> None:
        super().__init__()
        own = config.encoder_class()
        options: dict[str, Any] = {name: getattr(config, name) for name in _OF_THE_CODEC}
        self.codec = TargetCodec(**options) if own is None else _CodecWithEncoder(own, **options)
        self.objective = _objective_of(config)
        self.crps_weight = config.crps_weight
        self.prepares_codes = config.scheme in ("hard", "soft", "pretrained")

    def prepare(self, y: Tensor) -> Batch:
        """What the loss needs of targets of shape (n,), in the user's units."""
        standard = self.codec.standardise(y)
        prepared = {"standard": standard}
        encoder = self.codec.encoder
        if self.prepares_codes:
            with torch.no_grad():
                prepared["codes"] = encoder.log_probs(standard)
        elif isinstance(encoder, LearnedEncoder):
            prepared["tilts"] = encoder.family.tilt(standard)
        return prepared

    def forward(self, logits: Tensor, prepared: Batch, weight: Tensor | None) -> Tensor:
        """The loss of logits of shape (n, k)."""
        standard, objective = prepared["standard"], self.objective
        if not (objective.autoencoding_weight or objective.alignment_weight):
            return self._regression(logits, standard, weight)
        if "codes" in prepared:
            codes = prepared["codes"]
        elif isinstance(self.codec.encoder, LearnedEncoder):
            codes = self.codec.encoder.logits(prepared["tilts"])
        else:
            codes = self.codec.encode(standard)
        loss = fused_loss(objective, standard, codes, logits, self.codec.decoder.values, weight)
        return loss + self._crps(logits, standard, weight) if self.crps_weight else loss

    def _regression(self, logits: Tensor, standard: Tensor, weight: Tensor | None) -> Tensor:
        decoded = self.codec.decoder(torch.softmax(logits, dim=-1))
        loss = self.objective.regression_weight * weighted_mean((standard - decoded).square(), weight)
        return loss + self._crps(logits, standard, weight) if self.crps_weight else loss

    def _crps(self, logits: Tensor, standard: Tensor, weight: Tensor | None) -> Tensor:
        scores = crps_loss(self.codec.edges.float(), torch.softmax(logits, dim=-1), standard)
        return self.crps_weight * weighted_mean(scores, weight)


class _CodecWithEncoder(TargetCodec):
    """A codec with an encoder of the user's own, built as ``Encoder(bins, smoothing)``."""

    def __init__(self, encoder_class: Callable[[Bins, float], TargetEncoder], **options: Any) -> None:
        self._encoder_class = encoder_class
        super().__init__(**options)

    def _build(self, bins: Bins) -> None:
        super()._build(bins)
        # what the location head falls back to
        self.family = TiltedFamily(bins, self.smoothing).to(self.mean.device)
        self.encoder = self._encoder_class(bins, self.smoothing).to(self.mean.device)
        self.encoder.requires_grad_(self.scheme == "end_to_end")


def _objective_of(config: BridgeConfig) -> BridgeObjective:
    """The objective of a scheme: the terms that would be constant or undefined are left out."""
    if config.scheme == "softmax_least_squares":
        return BridgeObjective(0.0, 0.0, 1.0)
    autoencoding = config.autoencoding_weight if config.scheme == "end_to_end" else 0.0
    return BridgeObjective(autoencoding, config.alignment_weight, config.regression_weight)
