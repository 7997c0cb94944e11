"""How sharp a prediction should be: iterations of the deconvolution and a width, chosen by the CRPS."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bridges_tabular.core._cells import FloatArray, midpoints
from bridges_tabular.core.calibration.deconvolution import Deconvolution
from bridges_tabular.core.calibration.residuals import thinned

ITERATIONS = (0, 4, 16, 64, 256)
# Share of the score that more iterations must gain: the last ones take nearly all the time.
_LEAST_GAIN = 1e-3
# Iterations are chosen on fewer rows than the width, whose noise falls to 1 % with so many.
_ROWS_FOR_ITERATIONS = 1024
_ROWS_FOR_WIDTH = 4096
_LOG_WIDTHS: FloatArray = np.linspace(np.log(0.15), np.log(3.0), 39)
# Neighbours on that grid of the width of a few rows, among which is that of all rows.
_NEAR = 5


class Sharpness(NamedTuple):
    """What the scores decide."""

    iterations: int
    width: float


def best_sharpness(
    deconvolution: Deconvolution,
    pi: FloatArray,
    narrowing: FloatArray,
    error: FloatArray,
    weight: FloatArray,
    *,
    undo: bool,
) -> Sharpness:
    """Iterations, more of them while they help, and the width with the best CRPS.

    Parameters
    ----------
    deconvolution : Deconvolution
    pi : array of shape (n, k)
    narrowing : array of shape (n,)
        Factors on the width that are known beforehand.
    error : array of shape (n,)
        Targets less points.
    weight : array of shape (n,)
    undo : bool
        Whether there is smoothing to undo; else there are no iterations.
    """
    few = thinned(len(pi), _ROWS_FOR_ITERATIONS)
    best, least, done, sharp = Sharpness(0, 1.0), np.inf, 0, None
    for iterations in ITERATIONS if undo else (0,):
        # without iterations the fine cells say no more than the classes
        edges, masses = deconvolution.classes, pi[few]
        if iterations:
            sharp = deconvolution.sharpen(pi[few], iterations - done, sharp)
            edges, masses, done = deconvolution.edges, sharp, iterations
        stretched = _Stretched(edges, masses, narrowing[few], error[few])
        width, score = _lowest(_LOG_WIDTHS, stretched.mean_scores(_LOG_WIDTHS, weight[few]))
        if score > least * (1.0 - _LEAST_GAIN):
            break
        best, least = Sharpness(iterations, width), score
    if len(pi) == len(few):
        return best
    many = thinned(len(pi), _ROWS_FOR_WIDTH)
    edges, masses = deconvolution.classes, pi[many]
    if best.iterations:
        edges, masses = deconvolution.edges, deconvolution.sharpen(pi[many], best.iterations)
    stretched = _Stretched(edges, masses, narrowing[many], error[many])
    near = np.sort(_LOG_WIDTHS[np.abs(_LOG_WIDTHS - np.log(best.width)).argsort()[:_NEAR]])
    width, _ = _lowest(near, stretched.mean_scores(near, weight[many]))
    return Sharpness(best.iterations, width)


def _lowest(log_widths: FloatArray, scores: FloatArray) -> tuple[float, float]:
    """The width of the lowest score and that score, between the points of the grid by a parabola."""
    at = int(scores.argmin())
    if at in (0, len(scores) - 1):
        return float(np.exp(log_widths[at])), float(scores[at])
    slope = (scores[at + 1] - scores[at - 1]) / 2.0
    bend = max(scores[at - 1] - 2.0 * scores[at] + scores[at + 1], np.finfo(np.float64).tiny)
    step = log_widths[1] - log_widths[0]
    return float(np.exp(log_widths[at] - step * slope / bend)), float(scores[at] - slope**2 / (2.0 * bend))


class _Stretched:
    """CRPS of histograms (n, c) over shared cells, stretched around their means, for errors (n,).

    Under a histogram F of support (e_0, e_c), the score of y is the integral of F^2 over the support, plus e_c - y,
    less twice the integral of F from y to e_c; beyond the support F is 0 or 1. These integrals are tabulated once.
    Terms cancel here, which ``BinnedDistribution.crps`` avoids: a mean of scores does not see the last digits.
    """

    def __init__(self, edges: FloatArray, masses: FloatArray, narrowing: FloatArray, error: FloatArray) -> None:
        self._edges, self._widths, self._masses = edges, np.diff(edges), masses
        self._narrowing, self._error = narrowing, error
        self._reached = np.cumsum(masses, axis=1)
        middle = self._reached - 0.5 * masses
        squares = np.square(middle) @ self._widths + np.square(masses) @ (self._widths / 12.0)
        self._integral = np.cumsum(middle * self._widths, axis=1)
        self._constant = squares + edges[-1] - 2.0 * self._integral[:, -1]
        self._mean = masses @ midpoints(edges)

    def mean_scores(self, log_widths: FloatArray, weight: FloatArray) -> FloatArray:
        """Weighted means (q,) of the scores under each of the widths (q,)."""
        # the score of m + s (Y - E Y) at y is s times that of Y at E Y + (y - m) / s
        scale = self._narrowing[:, None] * np.exp(log_widths)
        y = self._mean[:, None] + self._error[:, None] / scale
        cell = np.clip(np.searchsorted(self._edges, y, "right") - 1, 0, len(self._widths) - 1)
        at = np.arange(len(y))[:, None], cell
        rest = np.clip(self._edges[cell + 1] - y, 0.0, self._widths[cell])
        before = self._integral[at] - rest * (self._reached[at] - 0.5 * self._masses[at] * rest / self._widths[cell])
        before += np.maximum(y - self._edges[-1], 0.0)
        scores: FloatArray = scale * (self._constant[:, None] - y + 2.0 * before)
        means: FloatArray = np.average(scores, axis=0, weights=weight)
        return means
