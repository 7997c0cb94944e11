"""Local residuals: how far targets lie from point predictions, learned from validation rows like the one at hand."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bridges_tabular.core._cells import FloatArray

# Quantile levels at which distributions are handed on: 2 % apart, closer at the ends.
LEVELS: FloatArray = np.concatenate([[0.002, 0.008], np.arange(2, 99, 2) / 100, [0.992, 0.998]])

# Below so many rows there is no choosing of neighbours: all residuals stand for every row.
LOCAL_ROWS = 200

_BANDWIDTHS = (0.05, 0.1, 0.2, 0.4, np.inf)
_SPREAD_SHARES = (0.0, 0.3, 0.7, 1.0)
_MOST_NODES = 24
_RANK_KNOTS = 129
_JUDGED_ROWS = 512
_SOURCE_ROWS = 4096
# All residuals together weigh as much as so many neighbours, for rows that have few.
_PRIOR_ROWS = 2.0


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
        ranks = [weighted_ranks(point, weight)]
        if variance is not None:
            ranks.append(weighted_ranks(relative, weight))
        place = np.stack(ranks, axis=1)
        choice = _choose(residual, relative, place, weight, constant=variance is None)
        nodes = 1 if np.isinf(choice.bandwidth) else min(_MOST_NODES, int(np.ceil(2.0 / choice.bandwidth)))
        axis = np.linspace(0.0, 1.0, nodes) if nodes > 1 else np.array([0.5])
        grid = np.stack(np.meshgrid(*[axis] * place.shape[1], indexing="ij"), axis=-1).reshape(-1, place.shape[1])
        z = residual / _scale(relative, choice.spread_share)
        table = _node_quantiles(z, place, weight, grid, choice.bandwidth)
        shape = (nodes, nodes if variance is not None else 1, LEVELS.size)
        knots = np.linspace(0.0, 1.0, _RANK_KNOTS)
        return cls(
            weighted_quantiles(point, weight, knots),
            weighted_quantiles(relative, weight, knots),
            table.reshape(shape),
            choice,
            mean_variance,
        )

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
    def from_arrays(cls, arrays: dict[str, NDArray[np.float64]]) -> Self:
        """Rebuild from :meth:`arrays`."""
        share, bandwidth, mean_variance = arrays["choice"].tolist()
        return cls(
            arrays["point_knots"], arrays["spread_knots"], arrays["table"], Choice(share, bandwidth), mean_variance
        )


def weighted_ranks(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Share of the weight that lies below each value (n,), half of that at the value included."""
    distinct, index = np.unique(values, return_inverse=True)
    mass = np.bincount(index, weights=weight, minlength=distinct.size)
    middle: FloatArray = (np.cumsum(mass) - mass / 2) / mass.sum()
    return middle[index]


def weighted_quantiles(values: FloatArray, weight: FloatArray, levels: FloatArray) -> FloatArray:
    """Quantiles of weighted values at levels (q,), linear between the middles of their shares."""
    distinct, index = np.unique(values, return_inverse=True)
    mass = np.bincount(index, weights=weight, minlength=distinct.size)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.interp(levels, middle, distinct)


def thinned(n: int, most: int) -> NDArray[np.intp]:
    """Positions of at most ``most`` of n rows, evenly spread."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.intp)


def _scale(relative: FloatArray, share: float) -> FloatArray:
    return np.sqrt(share * relative + 1.0 - share)


def _kernel(place: FloatArray, at: FloatArray, weight: FloatArray, bandwidth: float) -> FloatArray:
    """Weights (b, n) of the rows at ranks ``place`` (n, d) seen from ranks ``at`` (b, d)."""
    prior = _PRIOR_ROWS / len(place)
    if np.isinf(bandwidth):
        return np.broadcast_to(weight, (len(at), len(weight)))
    square = np.zeros((len(at), len(place)))
    for j in range(place.shape[1]):
        square += np.square(at[:, j, None] - place[:, j])
    np.multiply(square, -0.5 / bandwidth**2, out=square)
    np.exp(square, out=square)
    square += prior
    square *= weight
    return square


def _choose(
    residual: FloatArray, relative: FloatArray, place: FloatArray, weight: FloatArray, *, constant: bool
) -> Choice:
    """Spread share, then bandwidth, by the leave-one-out CRPS; a fixed share without a choice of neighbours."""
    few = len(residual) < LOCAL_ROWS
    shares = (0.0,) if constant else _SPREAD_SHARES
    source = thinned(len(residual), _SOURCE_ROWS)
    judged = thinned(len(source), _JUDGED_ROWS)
    rows = residual[source], relative[source], place[source], weight[source]
    bandwidth = np.inf if few else 0.1
    scores = [_leave_one_out(*rows, judged, Choice(share, bandwidth)) for share in shares]
    share = shares[int(np.argmin(scores))]
    if few:
        return Choice(share, bandwidth)
    scores = [_leave_one_out(*rows, judged, Choice(share, h)) for h in _BANDWIDTHS]
    return Choice(share, _BANDWIDTHS[int(np.argmin(scores))])


def _leave_one_out(
    residual: FloatArray,
    relative: FloatArray,
    place: FloatArray,
    weight: FloatArray,
    judged: NDArray[np.intp],
    choice: Choice,
) -> float:
    """Mean CRPS of the judged rows under the weighted residuals of all others: the integral of (F - 1)^2."""
    scale = _scale(relative, choice.spread_share)
    order = np.argsort(residual / scale)
    z, position = (residual / scale)[order], np.argsort(order)[judged]
    reached = np.array(_kernel(place[order], place[judged], weight[order], choice.bandwidth))
    reached[np.arange(len(judged)), position] = 0.0
    np.cumsum(reached, axis=1, out=reached)
    reached /= np.maximum(reached[:, -1:], np.finfo(np.float64).tiny)
    reached -= np.arange(len(z)) >= position[:, None]
    np.square(reached, out=reached)
    scores = scale[judged] * (reached[:, :-1] @ np.diff(z))
    return float(np.average(scores, weights=weight[judged]))


def _node_quantiles(
    z: FloatArray, place: FloatArray, weight: FloatArray, grid: FloatArray, bandwidth: float
) -> FloatArray:
    """Quantiles (g, q) of the residuals seen from each node of a grid of ranks (g, d)."""
    order = np.argsort(z)
    z, place, weight = z[order], place[order], weight[order]
    table = np.empty((len(grid), LEVELS.size))
    for i, node in enumerate(grid):
        mass = _kernel(place, node[None], weight, bandwidth)[0]
        middle = np.cumsum(mass) - mass / 2
        table[i] = np.interp(LEVELS, middle / mass.sum(), z)
    # ties would make atoms where none are meant
    spread = np.sqrt(np.average(np.square(z), weights=weight))
    steps: FloatArray = table + np.arange(LEVELS.size) * 1e-6 * max(spread, np.finfo(np.float64).tiny)
    return steps


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
