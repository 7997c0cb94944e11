"""What a fitted boosted regressor holds, by the names that users of XGBoost know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.boosting.engine import BoostedBridge
from bridges_tabular.boosting.explain import contributions
from bridges_tabular.boosting.location import TreesLocation
from bridges_tabular.regressors.progress import History, history_in_units
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.regressors.tables import check_table

if TYPE_CHECKING:
    import xgboost as xgb

    from bridges_tabular.regressors.engine import Trained

Floats = NDArray[np.float64]


class FittedTrees:
    """Boosters, importances, scores and contributions of a fitted regressor."""

    scale_: TargetScale
    _trained: Trained

    def predict_contributions(self, X: Any) -> Floats:
        """Explain predictions of the mean by SHAP values, as ``pred_contribs`` of XGBoost does.

        Exact SHAP values of the location and of "least_squares". Those of the margins over bins are carried through
        softmax and decoder along a straight line, and what the trees over bins take from the location is passed on to
        the features that the location comes from: our own construction, whose sums are exact. With a target_transform
        it is the mean of the transformed target that is explained, with a support the mean before its ends.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        array of shape (n, p + 1)
            A column for each feature, and what all predictions start from; rows sum to ``predict(X)`` up to single
            precision. In the units of the target.

        Raises
        ------
        ValueError
            If the location is a regressor of another library's.
        """
        model = self._bridge
        shares = contributions(model, model.features.values(check_table(self, X, reset=False)))
        shares = np.column_stack([model.features.by_source(shares[:, :-1]), shares[:, -1]]) * self.scale_.scale[0]
        shares[:, -1] += self.scale_.mean[0]
        return np.asarray(shares)

    def get_booster(self) -> xgb.Booster:
        """Return the booster of the last stage, over the bins unless the scheme is "least_squares".

        Its rounds end with the best one. On a cross-fitted location its last feature is that location; the other
        boosters come from :meth:`get_location_boosters`. All are of the standardised target.
        """
        return self._bridge.trees.booster  # type: ignore[attr-defined, no-any-return]

    def get_location_boosters(self) -> list[Any]:
        """Return the location's boosters, or its fitted regressors: that of all rows, then the fold models.

        Of LightGBM they are boosters, too.
        """
        location = self._bridge.location
        if isinstance(location, TreesLocation):
            return [trees.booster for trees in location.models]  # type: ignore[attr-defined]
        return [] if location is None else location.models

    @property
    def feature_importances_(self) -> NDArray[np.float32]:
        """Share of each feature in the mean gain of splits, of shape (p,); computed as XGBRegressor's.

        On a cross-fitted location these are the importances for the location: those of its boosters, in the shares
        they have in it, as their library computes them. A regressor without importances of columns has none here.
        """
        return self._bridge.importances()

    @property
    def best_iteration_(self) -> int:
        """The last round of the last stage, counted from 0, that predictions use."""
        return self._bridge.best_iteration

    @property
    def best_iteration(self) -> int:
        """``best_iteration_``, as XGBoost calls it."""
        return self.best_iteration_

    @property
    def evals_result_(self) -> History:
        """Scores of the validation rows, round by round."""
        return history_in_units(self._bridge.log, self.scale_)

    def evals_result(self) -> History:
        """Return ``evals_result_``, as XGBoost's method does."""
        return self.evals_result_

    @property
    def _bridge(self) -> BoostedBridge:
        check_is_fitted(self)
        assert isinstance(self._trained, BoostedBridge)
        return self._trained
