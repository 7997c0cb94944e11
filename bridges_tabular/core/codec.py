"""One target's encoder and decoder, fitted together and moved as one."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bridges_tabular.core.bins import Bins, Placement
from bridges_tabular.core.decoder import LinearDecoder
from bridges_tabular.core.encoders import (
    CodeLogits,
    HardEncoder,
    Kernel,
    LearnedEncoder,
    SoftEncoder,
    TargetEncoder,
    TiltedFamily,
)
from bridges_tabular.core.objective import weighted_mean

BridgeScheme = Literal["softmax_least_squares", "hard", "soft", "pretrained", "end_to_end"]
BRIDGE_SCHEMES: tuple[str, ...] = get_args(BridgeScheme)

# Order statistics stand for all rows where a code of one variable is fitted, which bounds time and memory.
_PRETRAINING_ROWS = 2_048
_DECODER_ROWS = 65_536


class TargetCodec(nn.Module):
    """Bins, encoder and decoder of one target, with the target's scale.

    Bins, encoder and decoder live on the standardised target; :meth:`encode` takes and :meth:`decode` gives the
    user's units. Their sizes follow the data: a state dict of a fitted codec can be loaded into an unfitted one.

    Parameters
    ----------
    scheme : {"softmax_least_squares", "hard", "soft", "pretrained", "end_to_end"}
        "hard" and "soft" have a fixed encoder; "pretrained" learns encoder and decoder on the auto-encoding term and
        freezes them; "end_to_end" starts from the tilted soft code and leaves both trainable;
        "softmax_least_squares" uses the decoder alone.
    n_bins, placement, kernel, smoothing, margin, uniform_share
        See :class:`~bridges_tabular.core.bins.Bins` and :class:`~bridges_tabular.core.encoders.SoftEncoder`.
    encoder_logits : {"linear", "quadratic", "mlp"}, default="linear"
        Of a learned encoder, see :class:`~bridges_tabular.core.encoders.LearnedEncoder`.
    ordered_values : bool, default=False
        Keep the decoder's values in the order of the classes, see :class:`~bridges_tabular.core.decoder.LinearDecoder`.
    pretraining_steps : int, default=250
        Steps of the "pretrained" scheme.
    """

    mean: Tensor
    scale: Tensor
    edges: Tensor
    centers: Tensor
    encoder: TargetEncoder
    decoder: LinearDecoder

    def __init__(
        self,
        scheme: BridgeScheme,
        n_bins: int = 32,
        placement: Placement = "blend",
        kernel: Kernel = "tilted",
        smoothing: float = 1.5,
        *,
        margin: float = 0.1,
        uniform_share: float = 0.2,
        encoder_logits: CodeLogits = "linear",
        ordered_values: bool = False,
        pretraining_steps: int = 250,
    ) -> None:
        super().__init__()
        if scheme not in BRIDGE_SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(BRIDGE_SCHEMES)}, got {scheme!r}")
        self.scheme = scheme
        self.n_bins = n_bins
        self.placement = placement
        self.kernel = kernel
        self.smoothing = smoothing
        self.margin = margin
        self.uniform_share = uniform_share
        self.encoder_logits = encoder_logits
        self.ordered_values = ordered_values
        self.pretraining_steps = pretraining_steps
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        edges = np.linspace(-1, 1, n_bins + 1)
        self._build(Bins(edges, (edges[1:] + edges[:-1]) / 2))

    @property
    def bins(self) -> Bins:
        """The bins, on the standardised target."""
        return Bins(self.edges.cpu().numpy(), self.centers.cpu().numpy())

    def fit(self, y: NDArray[np.floating[Any]], sample_weight: NDArray[np.floating[Any]] | None = None) -> TargetCodec:
        """Place the bins on training targets of shape (n,) and fit what the scheme fits before the classifier."""
        given = np.asarray(y, dtype=np.float64)
        mean, scale = standardisation(given, sample_weight)
        self.mean.fill_(mean)
        self.scale.fill_(scale)
        standard = (given - mean) / scale
        where: dict[str, Any] = {"margin": self.margin, "uniform_share": self.uniform_share}
        self._build(Bins.fit(standard, self.n_bins, self.placement, sample_weight=sample_weight, **where))
        if self.scheme == "pretrained":
            rows = self._order_statistics(standard, sample_weight, _PRETRAINING_ROWS)
            _pretrain(self.encoder, self.decoder, *rows, steps=self.pretraining_steps)
        if self.scheme in ("hard", "soft", "pretrained"):
            targets, weight = self._order_statistics(standard, sample_weight, _DECODER_ROWS)
            with torch.no_grad():
                self.decoder.fit(self.encoder(targets), targets, sample_weight=weight)
        return self

    def standardise(self, y: Tensor) -> Tensor:
        """Targets in the units of the bins, as float32."""
        return ((y.to(self.mean.dtype) - self.mean) / self.scale).float()

    def encode(self, y: Tensor) -> Tensor:
        """Log of psi(y) for standardised targets of shape (n,), of shape (n, k)."""
        return self.encoder.log_probs(y)

    def decode(self, pi: Tensor) -> Tensor:
        """Predicted targets of shape (n,), in the user's units, from distributions of shape (n, k)."""
        decoded: Tensor = self.decoder(pi) * self.scale.to(pi.dtype) + self.mean.to(pi.dtype)
        return decoded

    def location_logits(self, tilt: Tensor) -> Tensor:
        """Logits of shape (n, k) of the code whose tilt is given: the code of a target near it, on the standard scale.

        A scheme with no encoder of that family (see :class:`~bridges_tabular.core.encoders.LearnedEncoder`) uses the
        tilted soft code of its bins.
        """
        if isinstance(self.encoder, LearnedEncoder):
            return self.encoder.logits(tilt)
        return self.family.logits(tilt)

    def _build(self, bins: Bins) -> None:
        device = self.mean.device
        self.register_buffer("edges", torch.as_tensor(bins.edges))
        self.register_buffer("centers", torch.as_tensor(bins.centers))
        if self.scheme in ("pretrained", "end_to_end"):
            self.encoder = LearnedEncoder(bins, self.smoothing, self.encoder_logits)
        else:
            hard = self.scheme == "hard"
            self.encoder = HardEncoder(bins) if hard else SoftEncoder(bins, self.kernel, self.smoothing)
            self.family = TiltedFamily(bins, self.smoothing)
        self.decoder = LinearDecoder(bins, self.ordered_values)
        self.encoder.requires_grad_(self.scheme == "end_to_end")
        self.decoder.requires_grad_(self.scheme in ("end_to_end", "softmax_least_squares"))
        self.to(device)

    def _order_statistics(
        self, standard: NDArray[np.float64], sample_weight: NDArray[np.floating[Any]] | None, rows: int
    ) -> tuple[Tensor, Tensor | None]:
        order = np.argsort(standard, kind="stable")
        if rows < order.size:
            order = order[np.linspace(0, order.size - 1, rows).round().astype(int)]
        device = self.mean.device
        weight = None
        if sample_weight is not None:
            weight = torch.as_tensor(np.asarray(sample_weight, dtype=np.float32)[order], device=device)
        return torch.as_tensor(standard[order], dtype=torch.float32, device=device), weight

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        edges, centers = state_dict.get(prefix + "edges"), state_dict.get(prefix + "centers")
        if edges is not None and centers is not None:
            bins = Bins(edges.cpu().numpy(), centers.cpu().numpy())
            # bins that stay as they are keep their modules, which an optimizer may hold
            if not (np.array_equal(bins.edges, self.bins.edges) and np.array_equal(bins.centers, self.bins.centers)):
                self._build(bins)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def standardisation(
    y: NDArray[np.float64], sample_weight: NDArray[np.floating[Any]] | None = None
) -> tuple[float, float]:
    """Weighted mean and standard deviation of the targets; the latter is 1 where they are all the same."""
    mean = float(np.average(y, weights=sample_weight))
    scale = float(np.sqrt(np.average((y - mean) ** 2, weights=sample_weight)))
    return mean, scale if scale > 0 else 1.0


def _pretrain(encoder: TargetEncoder, decoder: LinearDecoder, y: Tensor, weight: Tensor | None, steps: int) -> None:
    """Learn encoder and decoder on the auto-encoding term, with a spread penalty that keeps classes local and used.

    The penalty, a tenth of E_psi (y - mu_j)^2 + 2 s^2 KL(psi || mean psi) with s the initial spread of the code, is
    ours: the auto-encoding term alone is met by codes that are arbitrarily wide.
    """
    with torch.no_grad():
        psi, values = encoder(y), decoder.values
        spread = weighted_mean((psi * (y[:, None] - values) ** 2).sum(-1), weight)
    optimizer = torch.optim.Adam(
        [{"params": encoder.parameters(), "lr": 1e-2}, {"params": decoder.parameters(), "lr": 2e-3}]
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    share = torch.ones_like(y) if weight is None else weight
    share = (share / share.sum())[:, None]
    encoder.requires_grad_(True)
    decoder.requires_grad_(True)
    for _ in range(steps):
        optimizer.zero_grad()
        log_psi, values = encoder.log_probs(y), decoder.values
        psi = log_psi.exp()
        usage = (psi * share).sum(0, keepdim=True).clamp(min=1e-12)
        distance = (psi * (y[:, None] - values) ** 2).sum(-1)
        divergence = (psi * (log_psi - usage.log())).sum(-1)
        autoencoding = (y - psi @ values) ** 2
        loss = weighted_mean(autoencoding + 0.1 * (distance + 2 * spread * divergence), weight)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    encoder.requires_grad_(False)
    decoder.requires_grad_(False)
