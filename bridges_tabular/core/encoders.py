"""Target encoders: from a target y to a distribution psi(y) over the k classes.

The framework is that of Stewart, Bach and Berthet, "Building Bridges between Regression, Clustering, and
Classification" (arXiv 2502.02996); the concrete formulas are our reading of it. Targets are in the units of the bins.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bridges_tabular.core.bins import Bins
from bridges_tabular.core.parameters import KERNELS, PARAMETERS, Kernel

__all__ = ["KERNELS", "HardEncoder", "Kernel", "LearnedEncoder", "SoftEncoder", "TargetEncoder", "TiltedFamily"]

# log of a probability that is exactly zero: finite, so that 0 * log 0 is 0, and exp of it is 0 in every precision
LOG_ZERO = -1e4


class TargetEncoder(nn.Module, ABC):
    """Base class: a module that maps targets of shape (n,) to the simplex of k classes.

    Parameters
    ----------
    bins : Bins
        The classes, kept as the attribute ``bins``; targets are in their units.

    Examples
    --------
    >>> class NearestCenter(TargetEncoder):
    ...     def log_probs(self, y):
    ...         distance = (y[:, None] - torch.as_tensor(self.bins.centers, dtype=y.dtype)).abs()
    ...         logs = torch.full_like(distance, LOG_ZERO)
    ...         return logs.scatter(1, distance.argmin(1, keepdim=True), 0.0)
    >>> NearestCenter(Bins([0.0, 1.0, 3.0], [0.2, 1.5]))(torch.tensor([0.7, 1.0]))
    tensor([[1., 0.],
            [0., 1.]])
    """

    def __init__(self, bins: Bins) -> None:
        super().__init__()
        self.bins = bins

    @abstractmethod
    def log_probs(self, y: Tensor) -> Tensor:
        """Log of psi(y), of shape (n, k); :data:`LOG_ZERO` where psi is zero."""

    def forward(self, y: Tensor) -> Tensor:
        """psi(y), of shape (n, k); rows sum to 1."""
        return self.log_probs(y).exp()


class HardEncoder(TargetEncoder):
    """One-hot code of the bin that holds y; off the support, of the nearest bin.

    Examples
    --------
    >>> HardEncoder(Bins([0.0, 1.0, 3.0], [0.5, 2.0]))(torch.tensor([0.7, 9.0]))
    tensor([[1., 0.],
            [0., 1.]])
    """

    inner_edges: Tensor

    def __init__(self, bins: Bins) -> None:
        super().__init__(bins)
        self.register_buffer("inner_edges", torch.as_tensor(bins.edges[1:-1], dtype=torch.float32))

    def log_probs(self, y: Tensor) -> Tensor:
        """Log of psi(y), of shape (n, k)."""
        index = torch.bucketize(y.contiguous(), self.inner_edges, right=True)
        logs = y.new_full((y.shape[0], self.inner_edges.shape[0] + 1), LOG_ZERO)
        return logs.scatter(1, index[:, None], 0.0)


class SoftEncoder(TargetEncoder):
    """Code that spreads a target over neighbouring classes.

    Parameters
    ----------
    bins : Bins
    kernel : {"tilted", "gaussian", "histogram", "two_hot"}, default="tilted"
        With u(y) the position of y on the axis that gives every bin length one:

        - "gaussian": psi_j proportional to exp(-(u - j)^2 / (2 smoothing^2)), with j the position of centre j;
        - "histogram": the masses of a normal distribution around y in the bins, renormalised. On equal bins this is
          HL-Gauss (Imani and White 2018, arXiv 1806.04613);
        - "two_hot": linear interpolation between the two neighbouring centres;
        - "tilted": the member of the exponential family of the gaussian kernel whose mean over the centres is
          exactly y, so that the centres themselves decode without error (see :class:`LearnedEncoder`).
    smoothing : float, default=1.0
        Standard deviation of the kernel in local bin widths; "two_hot" has none.

    Notes
    -----
    Targets off the support (for "two_hot" and "tilted", beyond the outer centres) are coded as the nearest one on it.

    Examples
    --------
    >>> bins = Bins([0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5])
    >>> SoftEncoder(bins, "two_hot")(torch.tensor([1.75]))
    tensor([[0.0000, 0.7500, 0.2500, 0.0000]])
    >>> code = SoftEncoder(bins)(torch.tensor([1.75]))
    >>> round((code @ torch.tensor(bins.centers, dtype=torch.float32)).item(), 2)
    1.75
    """

    _edges: Tensor
    _centers: Tensor

    def __init__(
        self,
        bins: Bins,
        kernel: Kernel = PARAMETERS["kernel"].default,
        smoothing: float = PARAMETERS["smoothing"].default,
    ) -> None:
        super().__init__(bins)
        PARAMETERS["kernel"].check(kernel)
        PARAMETERS["smoothing"].check(smoothing)
        self.kernel = kernel
        self.smoothing = float(smoothing)
        if kernel == "tilted":
            self.family = TiltedFamily(bins, smoothing)
        self.register_buffer("_edges", torch.as_tensor(bins.edges, dtype=torch.float32))
        self.register_buffer("_centers", torch.as_tensor(bins.centers, dtype=torch.float32))

    def log_probs(self, y: Tensor) -> Tensor:
        """Log of psi(y), of shape (n, k)."""
        if self.kernel == "tilted":
            return torch.log_softmax(self.family.logits(self.family.tilt(y)), dim=-1)
        k = self._centers.shape[0]
        if self.kernel == "histogram":
            at = torch.arange(k + 1, dtype=y.dtype, device=y.device)
            cdf: Tensor = torch.special.ndtr((at - _position(y, self._edges)[:, None]) / self.smoothing)
            mass = cdf.diff(dim=-1)
            psi = mass / mass.sum(-1, keepdim=True)
            return psi.log().clamp(min=LOG_ZERO)
        at = torch.arange(k, dtype=y.dtype, device=y.device)
        distance = at - _position(y, self._centers)[:, None]
        if self.kernel == "two_hot":
            return (1 - distance.abs()).clamp(min=0).log().clamp(min=LOG_ZERO)
        return torch.log_softmax(-0.5 * (distance / self.smoothing) ** 2, dim=-1)


class LearnedEncoder(TargetEncoder):
    """Trainable code psi(y) = softmax(exp(-S) (A tau(y) + B)).

    A, B (one number a class) and S (the log of a temperature) are parameters. They start at the "tilted" soft code,
    where A_{j+1} - A_j = 1 / (s^2 D_j) and B_{j+1} - B_j = -(c_j + c_{j+1}) / (2 s^2 D_j) + log(w_{j+1} / w_j) for
    centres c with gaps D, bin widths w and smoothing s, and where tau(y) makes the mean of the code over the centres
    equal to y. Linear logits contain Gaussian soft binning exactly (our derivation: expand the square).

    Parameters
    ----------
    bins : Bins
    smoothing : float, default=1.0
        Width of the kernel it starts from, in local bin widths.

    Examples
    --------
    >>> bins = Bins([0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5])
    >>> encoder = LearnedEncoder(bins)
    >>> torch.allclose(encoder(torch.tensor([1.75])), SoftEncoder(bins)(torch.tensor([1.75])))
    True
    >>> [tuple(parameter.shape) for parameter in encoder.parameters()]
    [(4,), (4,), ()]
    """

    def __init__(self, bins: Bins, smoothing: float = PARAMETERS["smoothing"].default) -> None:
        super().__init__(bins)
        PARAMETERS["smoothing"].check(smoothing)
        self.family = TiltedFamily(bins, smoothing)
        self.slopes = nn.Parameter(self.family.slopes.clone())
        self.offsets = nn.Parameter(self.family.offsets.clone())
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def log_probs(self, y: Tensor) -> Tensor:
        """Log of psi(y), of shape (n, k)."""
        return torch.log_softmax(self.logits(self.family.tilt(y)), dim=-1)

    def logits(self, tilt: Tensor) -> Tensor:
        """exp(-S) (A tau + B) for tilts tau of shape (n,), of shape (n, k)."""
        # scaled before they meet the rows: what is done to k numbers costs nothing, to n x k it does
        scale = torch.exp(-self.log_temperature)
        return torch.addcmul(self.offsets * scale, tilt[:, None], self.slopes * scale)


class TiltedFamily(nn.Module):
    """Logits A tau(y) + B with the tilt tau chosen so that the mean over the centres is y.

    tau has no closed form; it is solved once on a grid of targets and interpolated, to about a hundredth of a bin.

    Parameters
    ----------
    bins : Bins
    smoothing : float, default=1.0
        Width of the gaussian kernel whose exponential family it is, in local bin widths.

    Examples
    --------
    >>> family = TiltedFamily(Bins([0.0, 1.0, 2.0, 3.0], [0.5, 1.5, 2.5]))
    >>> code = torch.softmax(family.logits(family.tilt(torch.tensor([1.0]))), dim=1)
    >>> round((code @ torch.tensor([0.5, 1.5, 2.5])).item(), 2)
    1.0
    """

    slopes: Tensor
    offsets: Tensor
    _targets: Tensor
    _tilts: Tensor

    def __init__(self, bins: Bins, smoothing: float = PARAMETERS["smoothing"].default) -> None:
        super().__init__()
        gaps = np.diff(bins.centers)
        pairs = bins.centers[:-1] + bins.centers[1:]
        variance = smoothing**2 * gaps
        slopes = np.concatenate([[0.0], np.cumsum(1 / variance)])
        offsets = np.concatenate([[0.0], np.cumsum(-pairs / (2 * variance) + np.diff(np.log(bins.widths)))])
        # any common constant leaves the code as it is; centring keeps float32 logits small
        slopes -= slopes.mean()
        targets = _grid_between(bins.centers)
        tilts = _solve_tilts(slopes, offsets, bins.centers, targets)
        for name, value in (
            ("slopes", slopes),
            ("offsets", offsets),
            ("_targets", targets),
            ("_tilts", tilts),
        ):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))

    def tilt(self, y: Tensor) -> Tensor:
        """tau(y), of shape (n,)."""
        return _interpolate(y, self._targets, self._tilts)

    def logits(self, tilt: Tensor) -> Tensor:
        """A tau + B for tilts tau of shape (n,), of shape (n, k)."""
        return torch.addcmul(self.offsets, tilt[:, None], self.slopes)


def _grid_between(centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Targets between the centres, denser near each centre, where the tilt of a narrow code is steep."""
    if centers.size == 1:
        return centers.copy()
    points = int(np.clip(4096 // centers.size, 17, 65))
    fractions = 1 / (1 + np.exp(-np.linspace(-math.log(999), math.log(999), points)))
    return np.asarray(centers[:-1, None] + np.diff(centers)[:, None] * fractions).ravel()


def _solve_tilts(
    slopes: NDArray[np.float64],
    offsets: NDArray[np.float64],
    centers: NDArray[np.float64],
    targets: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Tilts at which the mean over the centres equals the targets: Newton's method, kept inside a bracket."""
    if centers.size == 1:
        return np.zeros_like(targets)
    # beyond this tilt the outer class holds all but e^-40 of the mass against each of the others
    steps = np.diff(slopes)
    knots = -np.diff(offsets) / steps
    low = np.full_like(targets, (knots - 40 / steps).min())
    high = np.full_like(targets, (knots + 40 / steps).max())
    tilts = np.clip(targets, low, high)
    tolerance = 1e-9 * (centers[-1] - centers[0])
    for _ in range(200):
        logits = tilts[:, None] * slopes + offsets
        code = np.exp(logits - logits.max(axis=1, keepdims=True))
        code /= code.sum(axis=1, keepdims=True)
        error = code @ centers - targets
        if np.abs(error).max() < tolerance:
            break
        low = np.where(error < 0, tilts, low)
        high = np.where(error > 0, tilts, high)
        slope = code @ (slopes * centers) - (code @ slopes) * (code @ centers)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = tilts - error / slope
        inside = np.isfinite(step) & (step > low) & (step < high)
        tilts = np.where(inside, step, (low + high) / 2)
    return np.asarray(tilts)


def _interpolate(y: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Linear interpolation of ``values`` over increasing ``knots``, constant beyond them."""
    if knots.shape[0] == 1:
        return values.expand(y.shape[0])
    right = torch.bucketize(y.contiguous(), knots).clamp(1, knots.shape[0] - 1)
    left = right - 1
    fraction = ((y - knots[left]) / (knots[right] - knots[left])).clamp(0, 1)
    return torch.lerp(values[left], values[right], fraction.to(values.dtype))


def _position(y: Tensor, knots: Tensor) -> Tensor:
    """Where y lies on the axis on which the knots are 0, 1, 2, ..."""
    return _interpolate(y, knots, torch.arange(knots.shape[0], dtype=knots.dtype, device=knots.device))
