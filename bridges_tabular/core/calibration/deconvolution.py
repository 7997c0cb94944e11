"""From the smoothed distribution that a classifier learns back to the one of the target.

A classifier trained on codes psi(y) predicts the conditional distribution of y *smoothed* by the encoder. The
encoder is known, so that the smoothing can be undone: Richardson-Lucy iterations find masses theta on fine cells
with midpoints g whose expected code, sum_i theta_i psi(g_i), is the prediction pi.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core._cells import FloatArray, midpoints
from bridges_tabular.core.calibration.residuals import LEVELS

if TYPE_CHECKING:
    from bridges_tabular.core.encoders import TargetEncoder

# Fine cells in all, shared out over the classes: 4 to each of 32.
_FINE_CELLS = 128
# Below these, parts of a code and masses of cells count as nothing: products of smaller numbers would be denormal,
# with which a processor computes twenty times as slowly.
_LEAST_CODE = np.float32(1e-12)
_LEAST_MASS = np.float32(1e-20)


class Deconvolution:
    """Fine cells under the classes of an encoder, and the code of each of them.

    Attributes
    ----------
    encoder : TargetEncoder
    classes, centers : arrays of shapes (k + 1,) and (k,)
        Edges and centres of its bins.
    blurs : bool
        Whether the encoder spreads a target over classes; a one-hot code leaves nothing to undo.
    edges : array of shape (c + 1,)
        Of the fine cells, in the units of the bins.
    """

    def __init__(self, encoder: TargetEncoder) -> None:
        from bridges_tabular.core.encoders import HardEncoder

        bins = encoder.bins
        self.encoder = encoder
        self.classes = bins.edges
        self.centers = bins.centers
        self.blurs = not isinstance(encoder, HardEncoder)
        parts = max(1, _FINE_CELLS // bins.n_bins) if self.blurs else 1
        steps = np.arange(bins.n_bins * parts + 1) / parts
        self.edges: FloatArray = np.interp(steps, np.arange(bins.n_bins + 1), bins.edges)
        self._parts = parts
        # float32 is what pi was computed in; it halves the time of the iterations
        self._codes = None
        if self.blurs:
            fine = codes(encoder, midpoints(self.edges)).astype(np.float32)
            self._codes = np.where(fine < _LEAST_CODE, np.float32(0.0), fine)
        self._variance_at, self._variance = self._code_variance()

    def sharpen(self, pi: FloatArray, iterations: int, start: FloatArray | None = None) -> FloatArray:
        """Masses (n, c) of the fine cells after so many iterations from a start (n, c); by default, the histogram.

        Richardson (1972) and Lucy (1974): theta_i is multiplied by sum_j psi_j(g_i) pi_j / (theta psi)_j for pi
        (n, k), which keeps the total mass and never lowers the likelihood of pi.
        """
        if start is None:
            start = np.repeat(pi / self._parts, self._parts, axis=1)
        if self._codes is None or iterations == 0:
            return start
        theta, target = start.astype(np.float32), pi.astype(np.float32)
        tiny = np.finfo(np.float32).tiny
        for _ in range(iterations):
            ratio = theta @ self._codes
            np.maximum(ratio, tiny, out=ratio)
            np.divide(target, ratio, out=ratio)
            theta *= ratio @ self._codes.T
            np.maximum(theta, _LEAST_MASS, out=theta)
        masses = theta.astype(np.float64)
        total: FloatArray = masses.sum(axis=1, keepdims=True)
        return masses / total

    def deviations(self, pi: FloatArray, iterations: int) -> FloatArray:
        """Quantiles (n, q) at :data:`LEVELS` of the masses after so many iterations, less their mean."""
        import torch

        # without iterations the fine cells say no more than the classes
        edges, masses = (self.edges, self.sharpen(pi, iterations)) if iterations else (self.classes, pi)
        reached = torch.cumsum(torch.from_numpy(masses), 1).numpy()
        # rounding must leave the last level below the sum
        wanted = LEVELS * reached[:, -1:]
        cell = torch.searchsorted(torch.from_numpy(reached), torch.from_numpy(wanted)).numpy()
        flat = cell + np.arange(len(cell))[:, None] * reached.shape[1]
        held = masses.ravel().take(flat)
        share = 1.0 - (reached.ravel().take(flat) - wanted) / np.maximum(held, np.finfo(np.float64).tiny)
        quantiles: FloatArray = edges.take(cell) + np.clip(share, 0.0, 1.0, out=share) * np.diff(edges).take(cell)
        quantiles -= (masses @ midpoints(edges))[:, None]
        return quantiles

    def variances(self, pi: FloatArray, point: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Variance of pi (n,), and an estimate of it without the smoothing, for points in the units of the bins.

        The code's own variance at the point is subtracted but for a tenth, and a twentieth of the variance stays
        in any case: a prediction far sharper than its code is a sign of an imperfect fit, not of certainty.
        """
        mean = pi @ self.centers
        raw = np.maximum(pi @ np.square(self.centers) - np.square(mean), np.finfo(np.float64).tiny)
        # a class is at least as wide as its cell
        raw = raw + pi @ np.square(np.diff(self.classes)) / 12.0
        blur = np.interp(point, self._variance_at, self._variance)
        return raw, np.maximum(raw - 0.9 * blur, 0.05 * raw)

    def _code_variance(self) -> tuple[FloatArray, FloatArray]:
        if not self.blurs:
            return np.zeros(1), np.zeros(1)
        at = midpoints(self.edges)
        code = codes(self.encoder, at)
        mean = code @ self.centers
        return at, np.maximum(code @ np.square(self.centers) - np.square(mean), 0.0)


def codes(encoder: TargetEncoder, y: FloatArray) -> NDArray[np.float64]:
    """psi(y) of shape (n, k), rows summing to 1, for targets (n,) in the units of the bins."""
    import torch

    tensor = next(chain(encoder.buffers(), encoder.parameters()), None)
    device = None if tensor is None else tensor.device
    with torch.no_grad():
        psi = encoder(torch.as_tensor(y, dtype=torch.float32, device=device)).double().cpu().numpy()
    normalised: NDArray[np.float64] = psi / psi.sum(axis=1, keepdims=True)
    return normalised
