"""Split conformal intervals: coverage guaranteed in finite samples, whatever the distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.distribution import BinnedDistribution

# above those of all targets that some interval holds
_OUTSIDE = 1.0


class ConformalIntervals:
    """Intervals between two quantiles of a predictive distribution, the same two levels for every row.

    The levels are 1/2 - q and 1/2 + q, with q the smallest number for which enough calibration rows lie in such
    intervals of their own distributions [1]_. If calibration rows and new rows are exchangeable and no calibration
    row was used to fit the distribution, a new target lies in its interval with a probability of at least
    ``coverage`` and, where no two scores tie, at most ``coverage + 1 / (n + 1)`` [2]_. The probability is over
    calibration and new rows together, not for each row. With sample weights, a new row is taken to have the mean
    weight of the calibration rows, as in [3]_.

    Intervals are closed and the score counts a target on their ends as inside, so that all of this holds for
    distributions with atoms too.

    References
    ----------
    .. [1] Chernozhukov, Wuethrich and Zhu, "Distributional conformal prediction", PNAS 118 (2021).
    .. [2] Lei et al., "Distribution-free predictive inference for regression", JASA 113 (2018), theorem 2.
    .. [3] Tibshirani et al., "Conformal prediction under covariate shift", NeurIPS (2019).

    Examples
    --------
    >>> y = np.random.default_rng(1).normal(size=(2, 1_000))
    >>> masses = np.tile([0.4, 0.4], (1_000, 1))
    >>> narrow = BinnedDistribution([-1.0, 0.0, 1.0], masses, tail_masses=0.1, tail_scales=0.3)
    >>> for ends in narrow.interval(0.9), ConformalIntervals().fit(narrow, y[0]).interval(narrow, 0.9):
    ...     print(((ends[:, 0] <= y[1]) & (y[1] <= ends[:, 1])).mean().round(2))
    0.74
    0.89
    """

    def fit(self, distribution: BinnedDistribution, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Score calibration rows (n,) under their own distributions.

        Raises
        ------
        ValueError
            If the shapes differ, or a weight is negative or not finite.
        """
        n = len(distribution)
        target = np.asarray(y, dtype=np.float64)
        weight = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        for name, array in {"y": target, "sample_weight": weight}.items():
            if array.shape != (n,):
                raise ValueError(f"{name} has shape {array.shape}, expected ({n},)")
        if not (np.isfinite(weight).all() and (weight >= 0).all()):
            raise ValueError("sample_weight must hold finite numbers of at least 0")
        used = weight > 0
        at_most, below = distribution.cdf(target), distribution.cdf(np.nextafter(target, -np.inf))
        low, high = distribution.quantile([0.0, 1.0]).T
        inside = np.clip(np.maximum(0.5 - at_most, below - 0.5), 0.0, 0.5)
        scores = np.where((target < low) | (target > high), _OUTSIDE, inside)[used]
        order = np.argsort(scores)
        self._scores, self._weights = scores[order], weight[used][order]
        return self

    def interval(self, distribution: BinnedDistribution, coverage: float) -> NDArray[np.float64]:
        """Closed intervals (n, 2) for new rows.

        Raises
        ------
        ValueError
            If coverage is not between 0 and 1, or there are too few calibration rows for it: coverage / (1 - coverage)
            are needed, 9 for 0.9 and 99 for 0.99. Or if so many of them lie where their own distributions have no mass
            that no interval between quantiles holds enough.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage is {coverage}, expected a number between 0 and 1")
        n = len(self._scores)
        reached = np.cumsum(self._weights) / (self._weights.sum() * (1.0 + 1.0 / max(n, 1)))
        # rounding must not ask for one row more
        enough = np.flatnonzero(reached >= coverage * (1.0 - 1e-12))
        if not enough.size:
            needed = math.ceil(round(coverage / (1.0 - coverage), 9))
            raise ValueError(f"conformal intervals of coverage {coverage} need at least {needed} rows, got {n}")
        q = self._scores[enough[0]]
        if q == _OUTSIDE:
            share = self._weights[self._scores == _OUTSIDE].sum() / self._weights.sum()
            raise ValueError(
                f"conformal intervals of coverage {coverage} cannot be had: {100 * share:.3g} % of the calibration rows"
                " lie outside of all that was predicted for them; with a calibration distributions have tails"
            )
        return distribution.quantile([0.5 - q, 0.5 + q])

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The scores and their weights, as named arrays."""
        return {"scores": self._scores, "weights": self._weights}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`arrays`.

        Raises
        ------
        ArrayError
            If they are none of such an object.
        """
        given, made = Arrays.of(arrays), cls()
        made._scores = given.take_finite("scores", None)
        made._weights = given.take_finite("weights", len(made._scores))
        return made
