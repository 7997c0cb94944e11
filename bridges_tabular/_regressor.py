"""What both engines' regressors share: parameter checks, quantiles and intervals from the distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import validate_parameter_constraints

if TYPE_CHECKING:
    from bridges_tabular.core.distribution import BinnedDistribution


class BridgeRegressorMixin(RegressorMixin):
    """Mixin for regressors that offer ``predict_distribution``.

    A class names its hyper-parameters and what they may be in ``_parameter_constraints``, in scikit-learn's
    own notation, and defines ``predict_distribution(X)``.
    """

    _parameter_constraints: dict[str, Any]

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        validate_parameter_constraints(
            self._parameter_constraints,
            self.get_params(deep=False),  # type: ignore[attr-defined]
            caller_name=type(self).__name__,
        )

    def predict_quantiles(self, X: Any, levels: ArrayLike) -> NDArray[np.float64]:
        """Predict quantiles of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        levels : float or array of shape (q,)
            Probabilities between 0 and 1.

        Returns
        -------
        array of shape (n, q), in the units of the target; columns never cross.
        """
        distribution: BinnedDistribution = self.predict_distribution(X)  # type: ignore[attr-defined]
        return distribution.quantile(np.atleast_1d(np.asarray(levels, dtype=float)))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:
        """Predict central intervals that hold the target with probability ``coverage``.

        Returns
        -------
        array of shape (n, 2), lower and upper ends in the units of the target.
        """
        distribution: BinnedDistribution = self.predict_distribution(X)  # type: ignore[attr-defined]
        return distribution.interval(coverage)
