"""A row of a predictive distribution as a distribution of scipy.stats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

if TYPE_CHECKING:
    from bridges_tabular.core.distribution import BinnedDistribution

Floats = NDArray[np.float64]


class BinnedRV(stats.rv_continuous):
    """A single row without atoms; scipy's own methods ask it for what they need."""

    def __init__(self, row: BinnedDistribution, **options: Any) -> None:
        self._row = row
        low, high = row.quantile([0.0, 1.0])[0]
        super().__init__(**{"a": low, "b": high, "name": "binned"} | options)

    def _updated_ctor_param(self) -> dict[str, Any]:
        # scipy makes a distribution anew where it freezes one
        return {**super()._updated_ctor_param(), "row": self._row}

    def _pdf(self, x: Floats) -> Floats:
        return self._row.pdf(np.ravel(x)).reshape(np.shape(x))

    def _cdf(self, x: Floats) -> Floats:
        return self._row.cdf(np.ravel(x)).reshape(np.shape(x))

    def _sf(self, x: Floats) -> Floats:
        return self._row.sf(np.ravel(x)).reshape(np.shape(x))

    def _ppf(self, q: Floats) -> Floats:
        return self._row.ppf(np.ravel(q)).reshape(np.shape(q))

    def _munp(self, n: int) -> float:
        return float(self._row.expect(lambda y: y**n)[0])

    def _stats(self) -> tuple[float, float, float, float]:
        mean, variance = float(self._row.mean[0]), float(self._row.var[0])
        third = float(self._row.expect(lambda y: (y - mean) ** 3)[0])
        fourth = float(self._row.expect(lambda y: (y - mean) ** 4)[0])
        return mean, variance, third / variance**1.5, fourth / variance**2 - 3.0

    def _entropy(self) -> float:
        return float(self._row.entropy[0])
