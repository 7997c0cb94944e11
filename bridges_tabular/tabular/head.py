"""Bridge heads: from a network's raw outputs to the logits of the k classes of one target.

A head of one's own is a subclass of :class:`BridgeHead`, named by its import path wherever a kind is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.tabular.choices import import_class

# below this many training rows the location head did better in our trials, above it the cumulative one
_ROWS_FOR_CUMULATIVE = 700


class BridgeHead(nn.Module, ABC):
    """Base class of heads.

    Parameters
    ----------
    n_bins : int
        Most classes there can be; a codec may come to have fewer.
    **params
        What else ``head_config`` holds.

    Attributes
    ----------
    raw_dim : int
        Number of raw outputs that the network gives this head.
    """

    def __init__(self, n_bins: int) -> None:
        super().__init__()
        self.raw_dim = n_bins

    @abstractmethod
    def logits(self, raw: Tensor, codec: TargetCodec) -> Tensor:
        """Logits of shape (n, k) from what :meth:`mix` made of raw outputs, of shape (n, raw_dim)."""

    def mix(self, raw: Tensor) -> Tensor:
        """Linear map of raw outputs, first dimension raw_dim, to as many; the identity unless a head has one.

        A linear map of a layer's outputs is the same map of its weights, which have far fewer columns than a batch
        has rows: where the network ends in a linear layer, the map is applied there.
        """
        return raw

    def choose(self, n_rows: int) -> None:
        """Settle what depends on the number of training rows, before training."""
        return

    def forward(self, raw: Tensor, codec: TargetCodec) -> Tensor:
        """Logits of shape (n, k) from raw outputs of shape (n, raw_dim)."""
        return self.logits(self.mix(raw.T).T, codec)


class PlainHead(BridgeHead):
    """The raw outputs are the logits."""

    def logits(self, raw: Tensor, codec: TargetCodec) -> Tensor:
        """Logits of shape (n, k)."""
        return raw[:, : codec.centers.shape[0]]


class CumulativeHead(PlainHead):
    """z_j = gamma * sum_{i <= j} d_i with the raw outputs d.

    The same functions as the plain head, but neighbouring classes share parameters, so that a change of one output
    moves mass along the axis.

    Parameters
    ----------
    n_bins : int
    gamma : float, default=3.0
    """

    def __init__(self, n_bins: int, gamma: float = 3.0) -> None:
        super().__init__(n_bins)
        if not gamma > 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.gamma = float(gamma)

    def mix(self, raw: Tensor) -> Tensor:
        """Sums of the outputs up to each one."""
        return self.gamma * raw.cumsum(0)


class LocationHead(BridgeHead):
    """z_j = A_j t + B_j + r_j / 10 with A and B those of the target's encoder and raw outputs t, r.

    With r = 0 the network predicts one number t and its code: least squares seen through the encoder.
    """

    def __init__(self, n_bins: int) -> None:
        super().__init__(n_bins)
        self.raw_dim = n_bins + 1

    def logits(self, raw: Tensor, codec: TargetCodec) -> Tensor:
        """Logits of shape (n, k)."""
        return codec.location_logits(raw[:, 0]) + 0.1 * raw[:, 1 : codec.centers.shape[0] + 1]


class AutoHead(BridgeHead):
    """The cumulative head from 700 training rows on, the location head below.

    Parameters
    ----------
    n_bins : int
    gamma : float, default=3.0
        Of the cumulative head.
    """

    is_cumulative: Tensor

    def __init__(self, n_bins: int, gamma: float = 3.0) -> None:
        super().__init__(n_bins)
        self.choices = (CumulativeHead(n_bins, gamma), LocationHead(n_bins))
        self.raw_dim = n_bins + 1
        # a buffer, so that a loaded model knows what it had become
        self.register_buffer("is_cumulative", torch.ones((), dtype=torch.bool))
        self.chosen: BridgeHead = self.choices[0]

    def choose(self, n_rows: int) -> None:
        """Settle the kind by the number of training rows."""
        self.is_cumulative.fill_(n_rows >= _ROWS_FOR_CUMULATIVE)
        self._follow()

    def _follow(self) -> None:
        self.chosen = self.choices[0 if bool(self.is_cumulative) else 1]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._follow()

    def mix(self, raw: Tensor) -> Tensor:
        """That of the chosen head."""
        return self.chosen.mix(raw)

    def logits(self, raw: Tensor, codec: TargetCodec) -> Tensor:
        """Logits of shape (n, k)."""
        return self.chosen.logits(raw, codec)


HEADS: dict[str, type[BridgeHead]] = {
    "auto": AutoHead,
    "plain": PlainHead,
    "cumulative": CumulativeHead,
    "location": LocationHead,
}


def head_class(kind: str) -> type[BridgeHead]:
    """The class of a kind of head, or of an import path.

    Raises
    ------
    ValueError
        If there is none.
    """
    found: type[BridgeHead] = HEADS[kind] if kind in HEADS else import_class(kind, BridgeHead, "head", HEADS)
    return found


class MixedLinear(nn.Linear):
    """A linear layer followed by the linear maps of the heads that read its outputs, folded into its weights."""

    def __init__(self, layer: nn.Linear, heads: list[BridgeHead]) -> None:
        super().__init__(layer.in_features, layer.out_features)
        # a tuple, which torch does not take for submodules: the heads belong to the model
        self.heads = tuple(heads)

    def forward(self, features: Tensor) -> Tensor:
        """Mixed raw outputs of shape (n, sum of raw_dim)."""
        if len(self.heads) == 1:
            head = self.heads[0]
            return nn.functional.linear(features, head.mix(self.weight), head.mix(self.bias))
        sizes = [head.raw_dim for head in self.heads]
        parts = zip(self.heads, torch.split(self.weight, sizes), torch.split(self.bias, sizes), strict=True)
        mixed = [(head.mix(weight), head.mix(bias)) for head, weight, bias in parts]
        weights, biases = zip(*mixed, strict=True)
        return nn.functional.linear(features, torch.cat(weights), torch.cat(biases))
