"""Scores of points, intervals and distributions; every mean takes sample weights.

Point scores take ``(y_true, y_pred)`` as in scikit-learn; scores of a forecast take the forecast first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridges_tabular.core.distribution import BinnedDistribution

if TYPE_CHECKING:
    import torch

_CALIBRATION_LEVELS = np.arange(1, 100) / 100


def rmse(y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Root mean squared error, in units of the target.

    Examples
    --------
    >>> rmse([0.0, 2.0], [1.0, 2.0], sample_weight=[1.0, 3.0])
    0.5
    """
    return float(np.sqrt(_mean(np.square(_errors(y_true, y_pred)), sample_weight)))


def mae(y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean absolute error, in units of the target.

    Examples
    --------
    >>> mae([0.0, 2.0], [1.0, 2.0])
    0.5
    """
    return _mean(np.abs(_errors(y_true, y_pred)), sample_weight)


def r2(y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Coefficient of determination: 1 less the squared errors over those of the mean of ``y_true``.

    Not a number where ``y_true`` is constant.

    Examples
    --------
    >>> r2([0.0, 2.0, 4.0], [0.0, 2.0, 3.0])
    0.875
    """
    errors = _errors(y_true, y_pred)
    truth = np.asarray(y_true, dtype=np.float64)
    spread = _mean(np.square(truth - _mean(truth, sample_weight)), sample_weight)
    return 1.0 - _mean(np.square(errors), sample_weight) / spread if spread > 0 else float("nan")


def crps(distribution: BinnedDistribution, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean continuous ranked probability score, exact, in units of the target; lower is better.

    Examples
    --------
    >>> crps(BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]]), [1.0, 4.0])
    1.045
    """
    return _mean(distribution.crps(y), sample_weight)


def log_score(distribution: BinnedDistribution, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean of ``-log_prob(y)`` in nats; lower is better, infinite if y lies outside a support.

    Not a number where every scored y is an atom: each value would then be a log mass, which no log density of
    another model compares with; use ``crps`` for such a target. Where only some are, masses and densities are
    mixed, so that scores compare only between distributions with the same atoms.

    Examples
    --------
    >>> round(log_score(BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]]), [0.5, 2.0]), 4)
    0.8047
    """
    on_atom = distribution.on_atom(y)
    if on_atom[_weights(sample_weight, len(on_atom)) > 0].all():
        return float("nan")
    return _mean(-distribution.log_prob(y), sample_weight)


def coverage(interval: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Share of y (n,) inside the closed intervals (n, 2).

    Examples
    --------
    >>> coverage([[0.0, 1.0], [0.0, 1.0]], [1.0, 2.0])
    0.5
    """
    lower, upper, truth = _ends(interval, y)
    return _mean((lower <= truth) & (truth <= upper), sample_weight)


def width(interval: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean length of intervals (n, 2), in units of the target.

    Examples
    --------
    >>> width([[0.0, 1.0], [0.0, 3.0]])
    2.0
    """
    ends = np.asarray(interval, dtype=np.float64)
    return _mean(ends[:, 1] - ends[:, 0], sample_weight)


def interval_score(interval: ArrayLike, y: ArrayLike, coverage: float, sample_weight: ArrayLike | None = None) -> float:
    """Mean interval score of central intervals (n, 2) meant to hold a share ``coverage``; lower is better.

    Width plus ``2 / (1 - coverage)`` times the distance by which y (n,) is missed (Gneiting and Raftery,
    "Strictly proper scoring rules, prediction, and estimation", JASA 2007), in units of the target.

    Examples
    --------
    >>> interval_score([[0.0, 1.0], [0.0, 1.0]], [0.5, 1.25], coverage=0.5)
    1.5
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}, expected a number between 0 and 1")
    lower, upper, truth = _ends(interval, y)
    missed = np.maximum(lower - truth, 0.0) + np.maximum(truth - upper, 0.0)
    return _mean(upper - lower + 2.0 / (1.0 - coverage) * missed, sample_weight)


def pinball(quantiles: ArrayLike, y: ArrayLike, levels: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean pinball loss of quantiles (n, q) at levels (q,), over rows and levels; lower is better.

    ``level * (y - quantile)`` above a quantile, ``(1 - level) * (quantile - y)`` below it, in units of the target: half
    of the CRPS, where the levels are many and evenly spread (Gneiting and Raftery, "Strictly proper scoring rules,
    prediction, and estimation", JASA 2007).

    Examples
    --------
    >>> pinball([[1.0, 3.0]], [2.0], levels=[0.25, 0.75])
    0.25
    """
    wanted, at = np.asarray(levels, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)
    if wanted.ndim != 1 or not wanted.size or not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"levels is {wanted.tolist()}, expected numbers from 0 to 1")
    truth = np.asarray(y, dtype=np.float64)
    if truth.ndim != 1 or at.shape != (len(truth), len(wanted)):
        raise ValueError(f"quantiles and y have shapes {at.shape} and {truth.shape}, expected (n, q) and (n,)")
    above = truth[:, None] - at
    return _mean(np.maximum(wanted * above, (wanted - 1.0) * above).mean(axis=1), sample_weight)


def pit_histogram(
    distribution: BinnedDistribution,
    y: ArrayLike,
    n_bins: int = 10,
    sample_weight: ArrayLike | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Shares (n_bins,) of the probability integral transforms in equal bins of [0, 1]; flat if calibrated.

    Examples
    --------
    >>> distribution = BinnedDistribution([0.0, 1.0], [[1.0], [1.0], [1.0]])
    >>> pit_histogram(distribution, [0.1, 0.2, 0.9], n_bins=2)
    array([0.66666667, 0.33333333])
    """
    pit = distribution.pit(y, seed)
    weights = _weights(sample_weight, len(pit))
    counts, _ = np.histogram(pit, bins=n_bins, range=(0.0, 1.0), weights=weights)
    shares: NDArray[np.float64] = counts / weights.sum()
    return shares


def calibration_error(
    distribution: BinnedDistribution, y: ArrayLike, sample_weight: ArrayLike | None = None, seed: int = 0
) -> float:
    """Mean absolute calibration error; 0 if calibrated, at most 1/2.

    The mean over the levels p = 0.01, ..., 0.99 of ``|share of (pit <= p) - p|``: the calibration curve of
    Kuleshov et al., "Accurate uncertainties for deep learning using calibrated regression" (ICML 2018), with
    the absolute in place of their squared distance, so that it reads as a probability.

    Examples
    --------
    >>> distribution = BinnedDistribution([0.0, 1.0], np.ones((1_000, 1)))
    >>> round(calibration_error(distribution, np.linspace(0.0, 1.0, 1_000) ** 2), 2)
    0.17
    """
    pit = distribution.pit(y, seed)
    order = np.argsort(pit)
    reached = np.concatenate([[0.0], np.cumsum(_weights(sample_weight, len(pit))[order])])
    shares = reached[np.searchsorted(pit[order], _CALIBRATION_LEVELS, side="right")] / reached[-1]
    return float(np.mean(np.abs(shares - _CALIBRATION_LEVELS)))


def crps_loss(edges: torch.Tensor, masses: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Exact CRPS of histograms, differentiable in all arguments.

    Parameters
    ----------
    edges : tensor of shape (k + 1,) or (n, k + 1)
        Non-decreasing; a cell of zero width is an atom.
    masses : tensor of shape (n, k)
        On the simplex.
    y : tensor of shape (n,)
        In the units of the edges; outside them the score grows by the distance.

    Returns
    -------
    tensor of shape (n,), in the units of the edges

    Examples
    --------
    >>> import torch
    >>> crps_loss(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([[0.5, 0.5], [0.2, 0.8]]), torch.tensor([1.0, 4.0]))
    tensor([0.2500, 1.8400])
    """
    import torch

    lower, widths, at = edges[..., :-1], edges.diff(dim=-1), y[:, None]
    # dividing by 1 in place of 0 keeps the gradient of an atom's cell finite
    share = ((at - lower) / torch.where(widths > 0, widths, 1.0)).clamp(0.0, 1.0)
    right = masses.cumsum(dim=-1)
    left = right - masses
    middle = left + masses * share
    squares = share * _mean_square(left, middle) + (1.0 - share) * _mean_square(1.0 - middle, 1.0 - right)
    outside = torch.relu(edges[..., 0] - y) + torch.relu(y - edges[..., -1])
    return (widths * squares).sum(dim=-1) + outside


def crps_of_masses(
    centers: NDArray[np.floating[Any]], masses: NDArray[np.float32], y: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """CRPS of masses on points, in single precision: cheap enough for every round of boosting.

    E |C - y| less the sum over the gaps between neighbouring points of gap times F (1 - F), which is half of
    E |C - C'| (Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA 2007).

    Parameters
    ----------
    centers : array of shape (k,)
        The points, increasing.
    masses : array of shape (n, k)
        On the simplex.
    y : array of shape (n,)

    Returns
    -------
    array of shape (n,), in the units of the points

    Examples
    --------
    >>> import numpy as np
    >>> crps_of_masses(np.array([0.0, 1.0, 3.0]), np.array([[0.5, 0.5, 0.0]], dtype=np.float32), np.array([1.0]))
    array([0.25], dtype=float32)
    """
    points = np.asarray(centers, dtype=np.float32)
    gaps = np.diff(points)
    # a product of matrices sums faster than numpy's cumsum
    reached = masses @ np.triu(np.ones((points.size, gaps.size), dtype=np.float32))
    distances = np.abs(points - np.asarray(y, dtype=np.float32)[:, None])
    scores: NDArray[np.float32] = np.einsum("nk,nk->n", masses, distances) - reached @ gaps
    reached *= reached
    scores += reached @ gaps
    return scores


def _mean_square(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean of the square of a line from a to b."""
    return (a * a + a * b + b * b) / 3.0


def _errors(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float64]:
    truth, prediction = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    if truth.shape != prediction.shape or truth.ndim != 1:
        raise ValueError(f"y_true and y_pred have shapes {truth.shape} and {prediction.shape}, expected one (n,)")
    return prediction - truth


def _ends(interval: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    ends, truth = np.asarray(interval, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if truth.ndim != 1 or ends.shape != (len(truth), 2):
        raise ValueError(f"interval and y have shapes {ends.shape} and {truth.shape}, expected (n, 2) and (n,)")
    return ends[:, 0], ends[:, 1], truth


def _weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64]:
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, expected ({n},)")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("sample_weight must hold finite numbers of at least 0, not all of them 0")
    return weights


def _mean(values: NDArray[Any], sample_weight: ArrayLike | None) -> float:
    """Weighted mean in which a weight of 0 leaves a row out, even one of infinite value."""
    weights = _weights(sample_weight, len(values))
    used = weights > 0
    return float(np.average(values[used], weights=weights[used]))
