"""The bridge head: from a network's raw outputs to a distribution over the k classes."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from bridges_tabular.core.codec import TargetCodec

HeadKind = Literal["plain", "cumulative", "location"]
HEADS: tuple[str, ...] = get_args(HeadKind)

# below this many training rows the location head did better in our trials, above it the cumulative one
_ROWS_FOR_CUMULATIVE = 700


class BridgeHead(nn.Module):
    """Maps raw outputs of a network to log pi(x), for one target.

    - "plain": the outputs are the k logits.
    - "cumulative": z_j = gamma * sum_i (1[i < j] - 1/2) d_i. The same functions as "plain", but neighbouring classes
      share parameters, so that a change of one output moves mass along the axis.
    - "location": z_j = A_j t + B_j + r_j / 10 with A and B those of the target's encoder. With r = 0 the network
      predicts one number t and its code: least squares seen through the encoder.
    - "auto" becomes "cumulative" from 700 training rows on and "location" below.

    Parameters
    ----------
    kind : {"auto", "plain", "cumulative", "location"}, default="auto"
    n_bins : int
    gamma : float, default=3.0
        Scale of the cumulative logits.
    """

    chosen: Tensor

    def __init__(self, kind: str = "auto", n_bins: int = 32, gamma: float = 3.0) -> None:
        super().__init__()
        if kind not in ("auto", *HEADS):
            raise ValueError(f"head must be one of {', '.join(('auto', *HEADS))}, got {kind!r}")
        if not gamma > 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.gamma = float(gamma)
        self.is_auto = kind == "auto"
        self.raw_dim = n_bins + (kind in ("auto", "location"))
        # a buffer beside the name, so that a loaded model knows what "auto" had become
        self.register_buffer("chosen", torch.zeros((), dtype=torch.int64))
        self._use("cumulative" if kind == "auto" else kind)

    def _use(self, kind: str) -> None:
        self.kind = kind
        self.chosen.fill_(HEADS.index(kind))

    def choose(self, n_rows: int) -> None:
        """Settle "auto" by the number of training rows."""
        if self.is_auto:
            self._use("cumulative" if n_rows >= _ROWS_FOR_CUMULATIVE else "location")

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.kind = HEADS[int(self.chosen)]

    def forward(self, raw: Tensor, codec: TargetCodec) -> Tensor:
        """Log pi of shape (n, k) from raw outputs of shape (n, raw_dim)."""
        k = codec.centers.shape[0]
        if self.kind == "location":
            logits = codec.location_logits(raw[:, 0]) + 0.1 * raw[:, 1 : k + 1]
        else:
            logits = raw[:, :k]
            if self.kind == "cumulative":
                before = torch.ones(k, k, dtype=raw.dtype, device=raw.device).triu(1)
                logits = self.gamma * (logits @ (before - 0.5))
        return torch.log_softmax(logits, dim=-1)
