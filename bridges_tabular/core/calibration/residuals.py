"""Local residuals: how far targets lie from point predictions, learned from validation rows like the one at hand."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core._cells import FloatArray
from bridges_tabular.core.arrays import Arrays

Ranks = NDArray[np.float32]

# Quantile levels at which distributions are handed on: 2 % apart, closer at the ends.
LEVELS: FloatArray = np.concatenate([[0.002, 0.008], np.arange(2, 99, 2) / 100, [0.992, 0.998]])

# Below so many rows there is no choosing of neighbours: all residuals stand for every row.
LOCAL_ROWS = 200

_BANDWIDTHS = (0.4, 0.2, 0.1, 0.05)
_FIRST_BANDWIDTH = 0.1
_SPREAD_SHARES = (0.0, 0.7, 1.0)
_MOST_NODES = 24
_RANK_KNOTS = 129
_JUDGED_ROWS = 160
_SOURCE_ROWS = 4096
# All residuals together weigh as much as so many neighbours, for rows that have few.
_PRIOR_ROWS = 2.0
# Each of so many rows has its own neighbours; of more, one table serves all of a fold.
_PAIRED_ROWS = 1024
_FOLDS = 8
# Numbers in a block's temporaries.
_BLOCK_SIZE = 1 << 20


class Choice(NamedTuple):
    """What leave-one-out scores decide."""

    spread_share: float
    bandwidth: float


class LocalResiduals:
    """Quantiles of y - m over validation rows whose point m and predicted variance v rank alike.

    Residuals are taken in units of s, s^2 = g v / mean v + 1 - g, and weighted by exp(-d^2 / (2 h^2)) with d the
    distance of the two rows' ranks among the validation rows; g and h have the best leave-one-out CRPS. Quantiles
    are tabulated on a grid of ranks and interpolated, so that neither memory nor time of a prediction grows with the
    number of validation rows.
    """

    def __init__(
        self, point_knots: FloatArray, spread_knots: FloatArray, table: FloatArray, choice: Choice, mean_variance: float
    ) -> None:
        self._point_knots = point_knots
        self._spread_knots = spread_knots
        self._table = table
        self.choice = choice
        self._mean_variance = mean_variance

    @classmethod
    def fit(cls, residual: FloatArray, point: FloatArray, variance: FloatArray | None, weight: FloatArray) -> Self:
        """Fit to residuals, points, predicted variances (None: one for all) and weights, each of shape (n,)."""
        mean_variance = 1.0 if variance is None else float(np.average(variance, weights=weight))
        relative = np.ones_like(point) if variance is None else variance / mean_variance
        place = _places(point, relative, weight)
        choice = _choose(residual, relative, place, weight, constant=variance is None)
        z = residual / _scale(relative, choice.spread_share)
        table = _table(z, place, weight, choice.bandwidth, constant=variance is None)
        knots = np.linspace(0.0, 1.0, _RANK_KNOTS)
        return cls(
            weighted_quantiles(point, weight, knots),
            weighted_quantiles(relative, weight, knots),
            table,
            choice,
            mean_variance,
        )

    def held_out(
        self, residual: FloatArray, point: FloatArray, variance: FloatArray | None, weight: FloatArray
    ) -> FloatArray:
        """Quantiles (n, q) for the rows of the fit, each without its own residual.

        Of at most 1,024 rows, each from the residuals of all others. Of more, from tables of the other seven eighths,
        drawn at random from a fixed seed: time and memory grow with the number of rows, not with its square.
        """
        relative = np.ones_like(point) if variance is None else variance / self._mean_variance
        scale = _scale(relative, self.choice.spread_share)
        place, z, n = _places(point, relative, weight), residual / scale, len(point)
        if n <= _PAIRED_ROWS:
            return _leave_one_out_quantiles(z, place, weight, self.choice.bandwidth) * scale[:, None]
        value = np.empty((n, LEVELS.size))
        fold = np.random.default_rng(0).permutation(n) % _FOLDS
        for index in range(_FOLDS):
            own, others = fold == index, fold != index
            table = _table(
                z[others], place[others], weight[others], self.choice.bandwidth, constant=self._table.shape[1] == 1
            )
            value[own] = _interpolate(table, *place[own].T.astype(np.float64))
        return value * scale[:, None]

    def quantiles(self, point: FloatArray, variance: FloatArray | None) -> FloatArray:
        """Quantiles (n, q) of the residuals at :data:`LEVELS`, strictly increasing along each row."""
        relative = np.ones_like(point) if variance is None else variance / self._mean_variance
        knots = np.linspace(0.0, 1.0, _RANK_KNOTS)
        value = _interpolate(
            self._table,
            np.interp(point, self._point_knots, knots),
            np.interp(relative, self._spread_knots, knots),
        )
        return value * _scale(relative, self.choice.spread_share)[:, None]

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """State as named arrays."""
        return {
            "point_knots": self._point_knots,
            "spread_knots": self._spread_knots,
            "table": self._table,
            "choice": np.array([*self.choice, self._mean_variance]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from :meth:`arrays`."""
        share, bandwidth, mean_variance = arrays.take("choice", 3).tolist()
        point, spread = (arrays.take_finite(f"{name}_knots", _RANK_KNOTS) for name in ("point", "spread"))
        nodes = _nodes(bandwidth)
        table = arrays.take_finite("table", nodes, None, LEVELS.size)
        if table.shape[1] not in (1, nodes):
            raise arrays.error("table", f"has shape {table.shape}, which is no grid")
        return cls(point, spread, table, Choice(share, bandwidth), mean_variance)


def _nodes(bandwidth: float) -> int:
    """Number of ranks of each kind in the table."""
    return 1 if np.isinf(bandwidth) else min(_MOST_NODES, int(np.ceil(2.0 / bandwidth)))


def _places(point: FloatArray, relative: FloatArray, weight: FloatArray) -> Ranks:
    """Ranks (n, 2), in single precision for the sake of the kernels' time."""
    return np.stack([weighted_ranks(point, weight), weighted_ranks(relative, weight)], axis=1).astype(np.float32)


def weighted_ranks(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Share of the weight that lies below each value (n,), half of that at the value included."""
    _, middle, index = _ranked(values, weight)
    return middle[index]


def weighted_quantiles(values: FloatArray, weight: FloatArray, levels: FloatArray) -> FloatArray:
    """Quantiles of weighted values at levels (q,), linear between the middles of their shares."""
    distinct, middle, _ = _ranked(values, weight)
    return np.interp(levels, middle, distinct)


def _ranked(values: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Distinct values, the ranks of their middles, and which of them each value is; rounding makes no difference."""
    step = 1e-9 * float(np.ptp(values)) or 1.0
    _, first, index = np.unique(np.round(values / step), return_index=True, return_inverse=True)
    mass = np.bincount(index, weights=weight, minlength=first.size)
    middle: FloatArray = (np.cumsum(mass) - mass / 2) / mass.sum()
    return values[first], middle, index


def thinned(n: int, most: int) -> NDArray[np.intp]:
    """Positions of at most ``most`` of n rows, evenly spread."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.intp)


def _scale(relative: FloatArray, share: float) -> FloatArray:
    return np.sqrt(share * relative + 1.0 - share)


def _square_distances(place: Ranks, at: Ranks) -> Ranks:
    """Between ranks ``at`` (b, d) and ``place`` (n, d), of shape (b, n)."""
    square: Ranks = np.square(at[:, :1] - place[:, 0])
    for j in range(1, place.shape[1]):
        square += np.square(at[:, j, None] - place[:, j])
    return square


def _choose(residual: FloatArray, relative: FloatArray, place: Ranks, weight: FloatArray, *, constant: bool) -> Choice:
    """Spread share, then bandwidth, by the leave-one-out CRPS; all residuals alike where there are few."""
    few = len(residual) < LOCAL_ROWS
    source = thinned(len(residual), _SOURCE_ROWS)
    judged = thinned(len(source), _JUDGED_ROWS)
    rows = residual[source], relative[source], weight[source], judged
    square = _square_distances(place[source], place[source][judged])
    # the kernel of the widest band; each narrower one is its fourth power
    square *= -0.5 / max(_BANDWIDTHS) ** 2
    kernel = np.exp(square, out=square)
    kernels = [np.ones_like(kernel)]
    for _ in _BANDWIDTHS if not few else ():
        kernels.append(kernel)
        kernel = np.square(np.square(kernel))
    bandwidths = [np.inf, *_BANDWIDTHS][: len(kernels)]
    start = 0 if few else bandwidths.index(_FIRST_BANDWIDTH)
    shares = (0.0,) if constant else _SPREAD_SHARES
    scores = [_leave_one_out(*rows, kernels[start], share) for share in shares]
    share = shares[int(np.argmin(scores))]
    scores = [_leave_one_out(*rows, kernel, share) for kernel in kernels]
    return Choice(share, float(bandwidths[int(np.argmin(scores))]))


def _leave_one_out(
    residual: FloatArray,
    relative: FloatArray,
    weight: FloatArray,
    judged: NDArray[np.intp],
    kernel: Ranks,
    share: float,
) -> float:
    """Mean CRPS of the judged rows under the weighted residuals of all others: the integral of (F - 1)^2."""
    scale = _scale(relative, share)
    z = residual / scale
    order = np.argsort(z)
    position = np.argsort(order)[judged]
    reached = kernel[:, order]
    reached += _PRIOR_ROWS / len(z)
    reached *= weight[order].astype(np.float32)
    reached[np.arange(len(judged)), position] = 0.0
    np.cumsum(reached, axis=1, out=reached)
    reached /= np.maximum(reached[:, -1:], np.finfo(np.float32).tiny)
    reached -= np.arange(len(z)) >= position[:, None]
    np.square(reached, out=reached)
    scores = scale[judged] * (reached[:, :-1] @ np.diff(z[order]))
    return float(np.average(scores, weights=weight[judged]))


def _table(z: FloatArray, place: Ranks, weight: FloatArray, bandwidth: float, *, constant: bool) -> FloatArray:
    """Quantiles (a, b, q) of weighted residuals z (n,), seen from a grid of ranks; b is 1 of a constant variance."""
    z, place, single, spread = _by_residual(z, place, weight)
    nodes = _nodes(bandwidth)
    axis = np.linspace(0.0, 1.0, nodes, dtype=np.float32) if nodes > 1 else np.array([0.5], dtype=np.float32)
    # a constant variance ranks in the middle everywhere
    second = axis[:1] * 0 + np.float32(0.5) if constant else axis
    # the kernel of two ranks is the product of one for each
    first, other = (
        _kernel(np.square(at[:, None] - ranks), bandwidth) for at, ranks in zip((axis, second), place.T, strict=True)
    )
    first *= single
    prior = single * np.float32(_PRIOR_ROWS / len(z))
    table = np.empty((len(axis), len(second), LEVELS.size))
    rows = max(1, _BLOCK_SIZE // len(z))
    for i, mine in enumerate(first):
        for start in range(0, len(second), rows):
            mass = other[start : start + rows] * mine
            mass += prior
            table[i, start : start + rows] = _quantiles_of(mass, z)
    return table + spread


def _leave_one_out_quantiles(z: FloatArray, place: Ranks, weight: FloatArray, bandwidth: float) -> FloatArray:
    """Quantiles (n, q) of weighted residuals z (n,) seen from each row's ranks, each without its own."""
    order = np.argsort(z)
    z, place, single, spread = _by_residual(z, place, weight)
    mass = _kernel(_square_distances(place, place), bandwidth)
    mass += np.float32(_PRIOR_ROWS / len(z))
    mass *= single
    np.fill_diagonal(mass, 0.0)
    value = np.empty((len(z), LEVELS.size))
    value[order] = _quantiles_of(mass, z) + spread
    return value


def _by_residual(z: FloatArray, place: Ranks, weight: FloatArray) -> tuple[FloatArray, Ranks, Ranks, FloatArray]:
    """Rows by increasing residual, and what keeps quantiles (q,) apart: ties would make atoms where none are meant."""
    order = np.argsort(z)
    spread = float(np.sqrt(np.average(np.square(z), weights=weight)))
    apart: FloatArray = np.arange(LEVELS.size, dtype=np.float64) * (
        1e-6 * max(spread, float(np.finfo(np.float64).tiny))
    )
    return z[order], place[order], weight[order].astype(np.float32), apart


def _kernel(square: Ranks, bandwidth: float) -> Ranks:
    """Weights at squared distances of ranks; overwrites them."""
    square *= np.float32(-0.5 / bandwidth**2)
    return np.exp(square, out=square)


def _quantiles_of(mass: Ranks, z: FloatArray) -> FloatArray:
    """Quantiles (b, q) at :data:`LEVELS` of increasing z (n,) with masses (b, n), linear between their middles."""
    import torch

    # torch's sum in double precision takes a sixth of numpy's time, whose input has to be converted first
    reached = torch.cumsum(torch.from_numpy(mass), 1, dtype=torch.float64).numpy()
    wanted = LEVELS * reached[:, -1:]
    rows, last = np.arange(len(mass))[:, None], len(z) - 1
    at = torch.searchsorted(torch.from_numpy(reached), torch.from_numpy(wanted)).numpy()
    at = np.minimum(at, last)
    # the middle of the mass that holds the level lies on one side of it, that of the next on the other
    at -= reached[rows, at] - 0.5 * mass[rows, at] > wanted
    left, right = np.clip(at, 0, last), np.clip(at + 1, 0, last)
    low, high = (reached[rows, side] - 0.5 * mass[rows, side] for side in (left, right))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(high > low, np.clip((wanted - low) / (high - low), 0.0, 1.0), 0.0)
    value: FloatArray = z[left] + share * (z[right] - z[left])
    return value


def _interpolate(table: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Bilinear interpolation of a table (a, b, q) over the unit square, at (n,) pairs of ranks."""
    import torch

    corners = []
    for size, rank in zip(table.shape[:2], (first, second), strict=True):
        at = rank * (size - 1)
        low = np.minimum(at.astype(np.intp), max(size - 2, 0))
        corners.append(((low, 1.0 - at + low), (np.minimum(low + 1, size - 1), at - low)))
    nodes, shares = zip(*((a * table.shape[1] + b, u * v) for a, u in corners[0] for b, v in corners[1]), strict=True)
    value: FloatArray = torch.nn.functional.embedding_bag(
        torch.from_numpy(np.stack(nodes, axis=1)),
        torch.from_numpy(table.reshape(-1, table.shape[2])),
        per_sample_weights=torch.from_numpy(np.stack(shares, axis=1)),
        mode="sum",
    ).numpy()
    return value
