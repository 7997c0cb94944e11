"""The loss of one target: its bins, encoder and decoder, and how they meet the logits of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.encoders import LearnedEncoder
from bridges_tabular.core.objective import BridgeObjective, weighted_mean
from bridges_tabular.core.schemes import SCHEMES
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
    "pretraining_steps",
)


class TargetTerms(nn.Module):
    """The terms of the objective for one target.

    What they need of a target is computed by :meth:`prepare` as far as it does not change in training: the code of
    a fixed encoder, the tilt tau(y) of a learned one.
    """

    def __init__(self, config: BridgeConfig) -> None:
        super().__init__()
        scheme = SCHEMES[config.scheme]
        options: dict[str, Any] = {name: getattr(config, name) for name in _OF_THE_CODEC}
        self.codec = TargetCodec(**options, encoder_class=config.encoder_class())
        self.objective = _objective_of(config)
        self.prepares_codes = scheme.has_code and not scheme.moves_code

    def prepare(self, standard: Tensor) -> Batch:
        """What the loss needs of targets of shape (n,) in standard units."""
        prepared = {"standard": standard}
        encoder = self.codec.encoder
        if self.prepares_codes:
            with torch.no_grad():
                prepared["codes"] = encoder.log_probs(standard)
        elif isinstance(encoder, LearnedEncoder):
            prepared["tilts"] = encoder.family.tilt(standard)
        return prepared

    def forward(self, logits: Tensor, prepared: Batch, weight: Tensor | None) -> Tensor:
        """The loss of logits of shape (n, k), or (n, members, k), each of whom has its own."""
        standard, objective = prepared["standard"], self.objective
        if not (objective.autoencoding_weight or objective.alignment_weight):
            decoded = self.codec.decoder(torch.softmax(logits, dim=-1))
            missed = standard.view(-1, *[1] * (decoded.ndim - 1)) - decoded
            return objective.regression_weight * weighted_mean(missed.square().view(len(missed), -1).mean(1), weight)
        if "codes" in prepared:
            codes = prepared["codes"]
        elif isinstance(self.codec.encoder, LearnedEncoder):
            codes = self.codec.encoder.logits(prepared["tilts"])
        else:
            codes = self.codec.encode(standard)
        return fused_loss(objective, standard, codes, logits, self.codec.decoder.values, weight)


def _objective_of(config: BridgeConfig) -> BridgeObjective:
    """The objective of a scheme: the terms that would be constant or undefined are left out."""
    scheme = SCHEMES[config.scheme]
    if not scheme.has_code:
        return BridgeObjective(0.0, 0.0, 1.0)
    autoencoding = config.autoencoding_weight if scheme.moves_code else 0.0
    return BridgeObjective(autoencoding, config.alignment_weight, config.regression_weight)
