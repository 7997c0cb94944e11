"""One target's encoder and decoder, fitted together and moved as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.bins import Bins
from bridges_tabular.core.decoder import LinearDecoder
from bridges_tabular.core.encoders import (
    HardEncoder,
    LearnedEncoder,
    SoftEncoder,
    TargetEncoder,
    TiltedFamily,
)
from bridges_tabular.core.objective import weighted_mean
from bridges_tabular.core.parameters import PARAMETERS, Kernel, Placement
from bridges_tabular.core.schemes import SCHEMES

BRIDGE_SCHEMES: tuple[str, ...] = tuple(name for name, scheme in SCHEMES.items() if scheme.has_classes)

# Order statistics stand for all rows where a code of one variable is fitted, which bounds time and memory.
_PRETRAINING_ROWS = 2_048
_DECODER_ROWS = 65_536


class TargetCodec(nn.Module):
    """Bins, encoder and decoder of one target, in standard units: the target less its mean, over its deviation.

    Sizes follow the data: a state dict of a fitted codec can be loaded into an unfitted one.

    Parameters
    ----------
    scheme : {"softmax_least_squares", "hard", "soft", "pretrained", "end_to_end"}, default="end_to_end"
        "hard" and "soft" have a fixed encoder; "pretrained" learns encoder and decoder on the auto-encoding term and
        freezes them; "end_to_end" starts from the tilted soft code and leaves both trainable;
        "softmax_least_squares" uses the decoder alone.
    n_bins, placement, kernel, smoothing, margin, uniform_share
        See :class:`~bridges_tabular.core.bins.Bins` and :class:`~bridges_tabular.core.encoders.SoftEncoder`.
    pretraining_steps : int, default=250
        Steps of the "pretrained" scheme.
    encoder_class : callable, optional
        Makes the encoder from the bins and the smoothing, in place of that of "soft", "pretrained" or "end_to_end".

    Attributes
    ----------
    bins : Bins
        In double precision, whatever the module is cast to.
    edges, centers : tensors of shapes (k + 1,) and (k,)
        Those of the bins, for arithmetic on the module's device.
    encoder : TargetEncoder
    decoder : LinearDecoder

    Raises
    ------
    ValueError
        For a scheme without classes, an encoder where there is none to replace, or a number out of its limits.

    Examples
    --------
    >>> y = np.random.default_rng(0).normal(size=1_000)
    >>> codec = TargetCodec("soft", n_bins=16).fit(y)
    >>> psi = codec.encode(torch.tensor([-0.5, 1.0])).exp()
    >>> psi.shape
    torch.Size([2, 16])
    >>> codec.decode(psi).round(decimals=2)
    tensor([-0.5000,  1.0000])
    """

    edges: Tensor
    centers: Tensor
    bits: Tensor
    encoder: TargetEncoder
    decoder: LinearDecoder

    def __init__(
        self,
        scheme: str = PARAMETERS["scheme"].default,
        n_bins: int = PARAMETERS["n_bins"].default,
        placement: Placement = PARAMETERS["placement"].default,
        kernel: Kernel = PARAMETERS["kernel"].default,
        smoothing: float = PARAMETERS["smoothing"].default,
        *,
        margin: float = PARAMETERS["margin"].default,
        uniform_share: float = PARAMETERS["uniform_share"].default,
        pretraining_steps: int = PARAMETERS["pretraining_steps"].default,
        encoder_class: Callable[[Bins, float], TargetEncoder] | None = None,
    ) -> None:
        super().__init__()
        if scheme not in BRIDGE_SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(BRIDGE_SCHEMES)}, got {scheme!r}")
        if encoder_class is not None and (SCHEMES[scheme].one_hot or not SCHEMES[scheme].has_code):
            raise ValueError(f"encoder_class has no place in scheme={scheme!r}, which has no encoder to replace")
        PARAMETERS["n_bins"].check(n_bins)
        self.scheme = scheme
        self.n_bins = n_bins
        self.placement = placement
        self.kernel = kernel
        self.smoothing = smoothing
        self.margin = margin
        self.uniform_share = uniform_share
        self.pretraining_steps = pretraining_steps
        self.encoder_class = encoder_class
        # a stand-in: sizes follow the data
        self._build(Bins(np.array([-1.0, 0.0, 1.0]), np.array([-0.5, 0.5])))

    def fit(self, y: NDArray[np.floating[Any]], sample_weight: NDArray[np.floating[Any]] | None = None) -> TargetCodec:
        """Place the bins on training targets of shape (n,) and fit what the scheme fits before the classifier."""
        standard = np.asarray(y, dtype=np.float64)
        where: dict[str, Any] = {"margin": self.margin, "uniform_share": self.uniform_share}
        self._build(Bins.fit(standard, self.n_bins, self.placement, sample_weight=sample_weight, **where))
        scheme = SCHEMES[self.scheme]
        if scheme.learns_code and not scheme.moves_code:
            rows = self._order_statistics(standard, sample_weight, _PRETRAINING_ROWS)
            _pretrain(self.encoder, self.decoder, *rows, steps=self.pretraining_steps)
        if not scheme.trains_decoder:
            targets, weight = self._order_statistics(standard, sample_weight, _DECODER_ROWS)
            with torch.no_grad():
                self.decoder.fit(self.encoder(targets), targets, sample_weight=weight)
        return self

    def restore(self, arrays: Arrays) -> TargetCodec:
        """Take the state of a fitted codec with the same parameters, as named arrays; sizes are compared first.

        Raises
        ------
        ArrayError
            If they are none of such a codec.
        """
        bits = arrays.take("bits", None, dtype=np.int64)
        k = bits.size // 2
        if bits.size % 2 == 0 or not 1 <= k <= self.n_bins:
            raise arrays.error("bits", f"has {bits.size} numbers, which are no edges and centres of {self.n_bins} bins")
        arrays.take("decoder.position", k, dtype=np.float32)
        try:
            self._build(_bins_from(bits))
        except ValueError as error:
            raise arrays.error("bits", f"holds no bins: {error}") from None
        own = {name: tensor.numpy() for name, tensor in self.state_dict().items()}
        given = {name: arrays.take(name, *array.shape, dtype=array.dtype) for name, array in own.items()}
        # what was read from a file may not be written to
        self.load_state_dict({name: torch.tensor(array) for name, array in given.items()})
        return self

    def encode(self, y: Tensor) -> Tensor:
        """Log of psi(y) for targets of shape (n,), of shape (n, k)."""
        return self.encoder.log_probs(y)

    def decode(self, pi: Tensor) -> Tensor:
        """Predicted targets of shape (n,) from distributions of shape (n, k)."""
        decoded: Tensor = self.decoder(pi)
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
        scheme, device = SCHEMES[self.scheme], self._device
        self.bins = bins
        # the bits of the double precision numbers: no cast of the module changes them, and MPS holds integers alone
        numbers = np.concatenate([bins.edges, bins.centers])
        self.register_buffer("bits", torch.from_numpy(numbers.view(np.int64)))
        self.register_buffer("edges", torch.as_tensor(bins.edges, dtype=torch.float32), persistent=False)
        self.register_buffer("centers", torch.as_tensor(bins.centers, dtype=torch.float32), persistent=False)
        self.encoder = self._new_encoder(bins)
        if not isinstance(self.encoder, LearnedEncoder):
            self.family = TiltedFamily(bins, self.smoothing)
        self.decoder = LinearDecoder(bins)
        self.encoder.requires_grad_(scheme.moves_code)
        self.decoder.requires_grad_(scheme.trains_decoder)
        self.to(device)

    def _new_encoder(self, bins: Bins) -> TargetEncoder:
        scheme = SCHEMES[self.scheme]
        if self.encoder_class is not None:
            return self.encoder_class(bins, self.smoothing)
        if scheme.learns_code:
            return LearnedEncoder(bins, self.smoothing)
        return HardEncoder(bins) if scheme.one_hot else SoftEncoder(bins, self.kernel, self.smoothing)

    @property
    def _device(self) -> torch.device | None:
        bits = self._buffers.get("bits")
        return None if bits is None else bits.device

    def _order_statistics(
        self, standard: NDArray[np.float64], sample_weight: NDArray[np.floating[Any]] | None, rows: int
    ) -> tuple[Tensor, Tensor | None]:
        order = np.argsort(standard, kind="stable")
        if rows < order.size:
            order = order[np.linspace(0, order.size - 1, rows).round().astype(int)]
        device = self._device
        weight = None
        if sample_weight is not None:
            weight = torch.as_tensor(np.asarray(sample_weight, dtype=np.float32)[order], device=device)
        return torch.as_tensor(standard[order], dtype=torch.float32, device=device), weight

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        bits = state_dict.get(prefix + "bits")
        # bins that stay as they are keep their modules, which an optimizer may hold
        if bits is not None and not torch.equal(bits.cpu(), self.bits.cpu()):
            self._build(_bins_from(bits.cpu().numpy()))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _bins_from(bits: NDArray[np.int64]) -> Bins:
    """Bins from the bits of their edges and centres."""
    numbers = bits.view(np.float64)
    return Bins(*np.split(numbers, [numbers.size // 2 + 1]))


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
