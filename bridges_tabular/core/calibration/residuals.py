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
        nodes = _nodes(choice.bandwidth)
        axis = np.linspace(0.0, 1.0, nodes) if nodes > 1 else np.array([0.5])
        # a constant variance ranks in the middle everywhere
        second = axis if variance is not None else np.array([0.5])
        grid = np.stack(np.meshgrid(axis, second, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
        z = residual / _scale(relative, choice.spread_share)
        table = _quantiles_from(grid, z, place, weight, choice.bandwidth)
        knots = np.linspace(0.0, 1.0, _RANK_KNOTS)
        return cls(
            weighted_quantiles(point, weight, knots),
            weighted_quantiles(relative, weight, knots),
            table.reshape(nodes, len(second), LEVELS.size),
            choice,
            mean_variance,
        )

    def held_out(
        self, residual: FloatArray, point: FloatArray, variance: FloatArray | None, weight: FloatArray
    ) -> FloatArray:
        """Quantiles (n, q) for the rows of the fit, each from the residuals of all others."""
        relative = np.ones_like(point) if variance is None else variance / self._mean_variance
        scale = _scale(relative, self.choice.spread_share)
        place, rows = _places(point, relative, weight), np.arange(len(point))
        value = _quantiles_from(place, residual / scale, place, weight, self.choice.bandwidth, rows)
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


def _quantiles_from(
    at: Ranks,
    z: FloatArray,
    place: Ranks,
    weight: FloatArray,
    bandwidth: float,
    own: NDArray[np.intp] | None = None,
) -> FloatArray:
    """Quantiles (b, q) of weighted residuals z (n,) seen from ranks ``at`` (b, d), each without its own row."""
    order = np.argsort(z)
    position = None if own is None else np.argsort(order)[own]
    z, place, weight = z[order], place[order], weight[order]
    single = weight.astype(np.float32)
    table = np.empty((len(at), LEVELS.size))
    rows = max(1, _BLOCK_SIZE // len(z))
    for start in range(0, len(at), rows):
        block = slice(start, start + rows)
        mass = _square_distances(place, at[block])
        mass *= -0.5 / bandwidth**2
        np.exp(mass, out=mass)
        mass += _PRIOR_ROWS / len(z)
        mass *= single
        if position is not None:
            mass[np.arange(len(mass)), position[block]] = 0.0
        middle = np.cumsum(mass, axis=1, dtype=np.float64)
        total = middle[:, -1:].copy()
        middle -= mass / 2
        middle /= total
        for i, reached in enumerate(middle, start):
            table[i] = np.interp(LEVELS, reached, z)
    # ties would make atoms where none are meant
    spread = np.sqrt(np.average(np.square(z), weights=weight))
    table += np.arange(LEVELS.size) * 1e-6 * max(float(spread), np.finfo(np.float64).tiny)
    return table


def _interpolate(table: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Bilinear interpolation of a table (a, b, q) over the unit square, at (n,) pairs of ranks."""
    corners = []
    for size, rank in zip(table.shape[:2], (first, second), strict=True):
        at = rank * (size - 1)
        low = np.minimum(at.astype(np.intp), max(size - 2, 0))
        corners.append((low, np.minimum(low + 1, size - 1), (at - low)[:, None]))
    (a0, a1, u), (b0, b1, v) = corners
    lower = table[a0, b0] * (1 - v) + table[a0, b1] * v
    upper = table[a1, b0] * (1 - v) + table[a1, b1] * v
    value: FloatArray = lower * (1 - u) + upper * u
    return value
