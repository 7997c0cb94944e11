"""Regressors and distributions as skpro has them, for its metrics, pipelines and searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.regressors.base import BridgeRegressor

try:
    from skpro.distributions.base import BaseDistribution
    from skpro.regression.base import BaseProbaRegressor
    from skpro.utils.sklearn import prep_skl_df
except ImportError as error:
    raise ImportError('regressors of skpro need it: pip install "bridges-tabular[skpro]"') from error

Floats = NDArray[np.float64]


class SkproDistribution(BaseDistribution):
    """A :class:`~bridges_tabular.core.distribution.BinnedDistribution` as a distribution of skpro: n rows, one column.

    Mean, variance, density, masses of atoms, cdf, quantiles and energies, and so skpro's CRPS, are exact, in the
    target's units; as skpro has it, the density is that of the continuous part.

    Parameters
    ----------
    distribution : BinnedDistribution
        Of n rows; a single one without ``index`` and ``columns`` is a scalar distribution.
    index : array of shape (n,), optional
    columns : array of shape (1,), optional

    Raises
    ------
    ValueError
        If index or columns do not match the distribution.

    Examples
    --------
    >>> from bridges_tabular import BinnedDistribution
    >>> from bridges_tabular.skpro import SkproDistribution
    >>> binned = BinnedDistribution([0.0, 1.0, 3.0], [[0.5, 0.5], [0.2, 0.8]])
    >>> SkproDistribution(binned, columns=["price"]).mean()
       price
    0   1.25
    1   1.70
    """

    _tags = {  # noqa: RUF012
        "capabilities:approx": ["pdfnorm"],
        "capabilities:exact": ["mean", "var", "energy", "pdf", "log_pdf", "pmf", "log_pmf", "cdf", "ppf"],
        "distr:measuretype": "mixed",
        "distr:paramtype": "nonparametric",
    }

    def __init__(self, distribution: BinnedDistribution, index: Any = None, columns: Any = None) -> None:
        self.distribution = distribution
        n = len(distribution)
        if n != 1 or index is not None or columns is not None:
            index = pd.RangeIndex(n) if index is None else index
            columns = pd.RangeIndex(1) if columns is None else columns
            if len(index) != n or len(columns) != 1:
                raise ValueError(
                    f"index and columns have {len(index)} and {len(columns)} entries, expected {n} and 1 of {n} rows"
                )
        super().__init__(index=index, columns=columns)

    def _subset_params(self, rowidx: Any, colidx: Any, coerce_scalar: bool = False) -> dict[str, BinnedDistribution]:
        return {"distribution": self.distribution if rowidx is None else self.distribution[rowidx]}

    def _shaped(self, values: Floats) -> Floats:
        """Numbers of each row (n,) in the shape of the distribution."""
        return values.reshape(self.shape)

    def _at(self, function: Callable[[Floats], Floats], x: Floats) -> Floats:
        """A function of one value a row, at values in the shape of the distribution."""
        return self._shaped(function(np.asarray(x, dtype=np.float64).reshape(len(self))))

    def _mean(self) -> Floats:
        return self._shaped(self.distribution.mean)

    def _var(self) -> Floats:
        return self._shaped(self.distribution.var)

    def _pdf(self, x: Floats) -> Floats:
        return self._at(self.distribution.pdf, x)

    def _log_pdf(self, x: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return np.log(self._pdf(x))

    def _pmf(self, x: Floats) -> Floats:
        return np.exp(self._log_pmf(x))

    def _log_pmf(self, x: Floats) -> Floats:
        own = self.distribution
        return self._at(lambda y: np.where(own.on_atom(y), own.log_prob(y), -np.inf), x)

    def _cdf(self, x: Floats) -> Floats:
        return self._at(self.distribution.cdf, x)

    def _ppf(self, p: Floats) -> Floats:
        return self._at(self.distribution.ppf, p)

    def _energy_x(self, x: Floats) -> Floats:
        # |Y - x| is twice its positive part, less Y - x
        own = self.distribution
        return self._at(lambda y: 2 * own.stop_loss(y) - (own.mean - y), x)

    def _energy_self(self) -> Floats:
        # from the CRPS, which is E|Y - x| - E|Y - Y'| / 2 for every x
        own = self.distribution
        at = own.median
        return self._shaped(2 * (2 * own.stop_loss(at) - (own.mean - at) - own.crps(at)))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """What skpro's own tests make distributions of."""
        edges, masses = [0.0, 1.0, 1.0, 3.0], [[0.4, 0.2, 0.3], [0.2, 0.0, 0.7]]
        binned = BinnedDistribution(edges, masses, tail_masses=[0.04, 0.06], tail_scales=[0.5, 1.0])
        return [{"distribution": binned, "index": pd.RangeIndex(2), "columns": ["a"]}, {"distribution": binned[0]}]


class SkproRegressor(BaseProbaRegressor):
    """A regressor of this package as a probabilistic regressor of skpro.

    Parameters
    ----------
    estimator : regressor of this package, optional
        One with a predictive distribution; a clone of it is fitted. Default: ``XGBBridgeRegressor()``.

    Attributes
    ----------
    estimator_ : regressor
        The fitted clone, with all of its own methods.

    Raises
    ------
    TypeError
        If the estimator is no regressor of this package.

    Examples
    --------
    >>> from bridges_tabular import XGBBridgeRegressor
    >>> from bridges_tabular.skpro import SkproRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> from skpro.metrics import CRPS
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = SkproRegressor(XGBBridgeRegressor(n_estimators=30, n_jobs=1)).fit(X[:300], y[:300])
    >>> predicted = model.predict_proba(X[300:])
    >>> predicted.quantile([0.1, 0.9]).shape
    (142, 2)
    >>> bool(CRPS()(y[300:].to_frame(), predicted) < 40)
    True
    """

    _tags = {"capability:missing": True, "capability:multioutput": False}  # noqa: RUF012

    def __init__(self, estimator: BridgeRegressor | None = None) -> None:
        self.estimator = estimator
        super().__init__()

    def _fit(self, X: pd.DataFrame, y: pd.DataFrame, C: None = None) -> Self:
        if self.estimator is not None and not isinstance(self.estimator, BridgeRegressor):
            kind = type(self.estimator).__name__
            raise TypeError(f"SkproRegressor takes a regressor of bridges_tabular, got {kind}")
        estimator: BridgeRegressor | None = self.estimator
        if estimator is None:
            from bridges_tabular.boosting import XGBBridgeRegressor

            estimator = XGBBridgeRegressor()
        self._target = y.columns
        self.estimator_ = clone(estimator).fit(prep_skl_df(X), y.iloc[:, 0])
        return self

    def _predict(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(self.estimator_.predict(prep_skl_df(X)), index=X.index, columns=self._target)

    def _predict_proba(self, X: pd.DataFrame) -> SkproDistribution:
        distribution = self.estimator_.predict_distribution(prep_skl_df(X))
        return SkproDistribution(distribution, index=X.index, columns=self._target)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """What skpro's own tests make regressors of."""
        from bridges_tabular.boosting import XGBBridgeRegressor

        small = XGBBridgeRegressor(n_estimators=4, n_jobs=1)
        return [{"estimator": small}, {"estimator": XGBBridgeRegressor("least_squares", n_estimators=4, n_jobs=1)}]
