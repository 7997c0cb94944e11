"""What a pool fits to validation rows: the members' weights, how much the pool is sharpened, conformal scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.calibration import ConformalIntervals
from bridges_tabular.core.calibration.centring import centred
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.mixtures import sharpened

Floats = NDArray[np.float64]

# Validation rows that speak for equal weights and no sharpening, beside those that there are: of 0 to 160, the least
# test CRPS over four tables and 10 to 160 rows had 10 and 20.
PRIOR_ROWS = 20.0
# Powers of the odds that are tried; the pools of calibrated distributions of the benchmarks need 1 to 1.3.
_POWERS: Floats = 2.0 ** (np.arange(-5, 13) / 12)
# at most so many validation rows are looked at, evenly spread
JUDGED_ROWS = 2_000


class Heard(NamedTuple):
    """What m members say of n rows of t targets, and the targets themselves."""

    members: list[list[BinnedDistribution]]
    """Of each target, those of all members."""
    y: Floats
    """(n, t)"""
    weight: Floats | None
    """(n,)"""

    def of_member(self, index: int) -> Heard:
        """What one of them says."""
        return self._replace(members=[[members[index]] for members in self.members])


@dataclass(frozen=True)
class Mixture:
    """How the distributions of one target are pooled.

    Attributes
    ----------
    weights : array of shape (m,)
        Of the members, with sum 1.
    power : float
        Of the odds of the pool, see :func:`~bridges_tabular.core.mixtures.sharpened`.
    conformal : ConformalIntervals
    scores : array of shape (4,)
        Of the validation rows: RMSE, MAE, CRPS and the coverage of 90 % intervals.
    """

    weights: Floats
    power: float
    conformal: ConformalIntervals
    scores: Floats

    @classmethod
    def fit(
        cls,
        members: Sequence[BinnedDistribution],
        y: Floats,
        sample_weight: Floats | None,
        weights: Floats | None = None,
    ) -> Self:
        """Fit to what the members say of n validation rows; conformal intervals are those of these rows, too.

        Parameters
        ----------
        members : sequence of m BinnedDistribution
        y, sample_weight : arrays of shape (n,)
        weights : array of shape (m,), optional
            In place of those to be fitted.
        """
        counted = np.ones(len(y)) if sample_weight is None else sample_weight
        trust = _trust(counted)
        if weights is None:
            equal = np.full(len(members), 1.0 / len(members))
            weights = trust * best_weights(members, y, counted) + (1.0 - trust) * equal
        power = 1.0
        if np.count_nonzero(weights) > 1:
            power = float(_best_power(BinnedDistribution.pool(members, weights), y, counted) ** trust)
        found = cls(weights, power, ConformalIntervals(), np.full(4, np.nan))
        pooled = found.distribution(members)
        return cls(weights, power, ConformalIntervals().fit(pooled, y, sample_weight), _scores(pooled, y, counted))

    def with_conformal(self, members: Sequence[BinnedDistribution], y: Floats, sample_weight: Floats | None) -> Mixture:
        """The same with conformal intervals of other rows."""
        conformal = ConformalIntervals().fit(self.distribution(members), y, sample_weight)
        return Mixture(self.weights, self.power, conformal, self.scores)

    def distribution(self, members: Sequence[BinnedDistribution]) -> BinnedDistribution:
        """Pool, sharpen, and put the means where the weighted means of the members are."""
        pooled = BinnedDistribution.pool(members, self.weights)
        if np.count_nonzero(self.weights) == 1:
            return pooled
        mean = np.sum([weight * member.mean for weight, member in zip(self.weights, members, strict=True)], axis=0)
        return centred(_sharpened(pooled, self.power), mean)

    def interval(self, distribution: BinnedDistribution, coverage: float, conformal: bool) -> Floats:
        """Intervals of shape (n, 2) of pooled distributions."""
        return self.conformal.interval(distribution, coverage) if conformal else distribution.interval(coverage)

    def validation_scores(self) -> dict[str, float]:
        """Scores of the validation rows in the target's units."""
        return dict(zip(("RMSE", "MAE", "CRPS", "coverage of 90 %"), self.scores.tolist(), strict=True))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State as named arrays."""
        conformal = {f"conformal.{name}": array for name, array in self.conformal.arrays().items()}
        return {"weights": self.weights, "power": np.array([self.power]), "scores": self.scores, **conformal}

    @classmethod
    def from_arrays(cls, arrays: Arrays, m: int) -> Self:
        """Rebuild from :meth:`arrays`, of m members.

        Raises
        ------
        ArrayError
            If they are none of such an object.
        """
        weights, power = arrays.take_finite("weights", m), float(arrays.take_finite("power", 1)[0])
        if (weights < 0).any() or abs(weights.sum() - 1.0) > 1e-9:
            raise arrays.error("weights", "must hold numbers of at least 0 with sum 1")
        if not _POWERS[0] <= power <= _POWERS[-1]:
            raise arrays.error("power", f"holds {power:g}, expected {_POWERS[0]:.3g} to {_POWERS[-1]:g}")
        conformal = ConformalIntervals.from_arrays(arrays.part("conformal."))
        return cls(weights, power, conformal, arrays.take_finite("scores", 4))


def fit_mixtures(validation: Heard, conformal: Heard | None, weights: Floats | None = None) -> list[Mixture]:
    """How the distributions of each target are pooled.

    Parameters
    ----------
    validation : Heard
    conformal : Heard or None
        Rows for the conformal intervals alone; default: the validation rows.
    weights : array of shape (m,), optional
        In place of those to be fitted.
    """
    pairs = zip(validation.members, validation.y.T, strict=True)
    mixtures = [Mixture.fit(members, y, validation.weight, weights) for members, y in pairs]
    if conformal is None:
        return mixtures
    apart = zip(mixtures, conformal.members, conformal.y.T, strict=True)
    return [mixture.with_conformal(members, y, conformal.weight) for mixture, members, y in apart]


def best_weights(members: Sequence[BinnedDistribution], y: Floats, sample_weight: Floats) -> Floats:
    """Weights (m,) of the least mean CRPS of the pool, exactly.

    The score is ``w' Q w`` for weights of sum 1, with Q the mean of the integral of ``(F_i - 1)(F_j - 1)``: entries
    that follow from the scores of the members and of the equal pools of each two of them.
    """
    m = len(members)
    score = [float(np.average(member.crps(y), weights=sample_weight)) for member in members]
    unit = max(score) or 1.0
    q = np.diag(np.array(score) / unit)
    for i, j in combinations(range(m), 2):
        both = float(np.average(BinnedDistribution.pool([members[i], members[j]]).crps(y), weights=sample_weight))
        q[i, j] = q[j, i] = (4.0 * both / unit - q[i, i] - q[j, j]) / 2.0
    return _least(q)


def _least(q: Floats) -> Floats:
    """Weights of at least 0 and sum 1 with the least w' Q w, Q of shape (m, m) positive semi-definite.

    With Q = R' R this is least squares of at least 0: R w against 0 with the sum of w as a further row, whose minimum
    is on the same ray.
    """
    values, vectors = np.linalg.eigh(q)
    # ties between members that say the same are broken evenly
    root = np.sqrt(np.maximum(values, 1e-9 * values[-1] + 1e-12))[:, None] * vectors.T
    found, _ = nnls(np.vstack([root, np.ones(len(q))]), np.append(np.zeros(len(q)), 1.0))
    weights: Floats = found / found.sum()
    return weights


def _best_power(pooled: BinnedDistribution, y: Floats, sample_weight: Floats) -> float:
    """Step by step from 1 for as long as the score falls."""

    def score(index: int) -> float:
        return float(np.average(_sharpened(pooled, float(_POWERS[index])).crps(y), weights=sample_weight))

    best = int(np.flatnonzero(_POWERS == 1.0)[0])
    least = score(best)
    for step in (1, -1):
        moved = False
        while 0 <= best + step < len(_POWERS) and (other := score(best + step)) < least:
            best, least, moved = best + step, other, True
        if moved:
            break
    return float(_POWERS[best])


def _sharpened(distribution: BinnedDistribution, power: float) -> BinnedDistribution:
    return BinnedDistribution._from_valid(sharpened(distribution._rows, power))


def _trust(weight: Floats) -> float:
    """Share of what was fitted, against equal weights and no sharpening: n / (n + 20), n rows in effect."""
    n = float(np.square(weight.sum()) / np.square(weight).sum())
    return n / (n + PRIOR_ROWS)


def _scores(distribution: BinnedDistribution, y: Floats, weight: Floats) -> Floats:
    error = np.abs(distribution.mean - y)
    # squares of very large or small numbers would overflow or vanish
    unit = float(error.max()) or 1.0
    low, high = distribution.interval(0.9).T
    parts = [np.square(error / unit), error, distribution.crps(y), (low <= y) & (y <= high)]
    means = [float(np.average(part, weights=weight)) for part in parts]
    return np.array([unit * np.sqrt(means[0]), *means[1:]])
