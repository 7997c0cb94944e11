"""What a fitted boosted regressor holds, by the names that users of XGBoost know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.boosting.engine import BoostedBridge
from bridges_tabular.boosting.explain import contributions
from bridges_tabular.boosting.location import TreesLocation
from bridges_tabular.boosting.several import BoostedBridges
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
    _single: bool

    def predict_contributions(self, X: Any) -> Floats:
        """Explain predictions of the mean by SHAP values, as ``pred_contribs`` of XGBoost does.

        Exact SHAP values of the location and of "least_squares". Those of the margins over bins are carried through
        softmax and decoder along a straight line, and what the trees over bins take from the location is passed on to
        the features that the location comes from: our own construction, whose sums are exact. With a target_transform
        it is the mean of the transformed target that is explained, with a support the mean before its ends. The spread
        and quantiles are explained by :func:`~bridges_tabular.explaining.contributions`.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        array of shape (n, p + 1), or (n, p + 1, targets) if y was of shape (n, targets)
            A column for each feature, and what all predictions start from; rows sum to ``predict(X)`` up to single
            precision. In the units of the target.

        Raises
        ------
        ValueError
            If the location is a regressor of another library's.
        """
        features = self._bridges[0].features
        values, explained = features.values(check_table(self, X, reset=False)), []
        for model, mean, scale in zip(self._bridges, self.scale_.mean, self.scale_.scale, strict=True):
            shares = contributions(model, values)
            shares = np.column_stack([features.by_source(shares[:, :-1]), shares[:, -1]]) * scale
            shares[:, -1] += mean
            explained.append(shares)
        return explained[0] if self._single else np.stack(explained, axis=-1)

    def get_booster(self, target: int = 0) -> xgb.Booster:
        """Return the booster of the last stage, over the bins unless the scheme is "least_squares".

        Its rounds end with the best one. On a cross-fitted location its last feature is that location; the other
        boosters come from :meth:`get_location_boosters`. All are of the standardised target.

        Parameters
        ----------
        target : int, default=0
            Which one, where there are several.
        """
        return self._bridges[target].trees.booster  # type: ignore[attr-defined, no-any-return]

    def get_location_boosters(self, target: int = 0) -> list[Any]:
        """Return the location's boosters, or its fitted regressors: that of all rows, then the fold models.

        Of LightGBM they are boosters, too.

        Parameters
        ----------
        target : int, default=0
            Which one, where there are several.
        """
        location = self._bridges[target].location
        if isinstance(location, TreesLocation):
            return [trees.booster for trees in location.models]  # type: ignore[attr-defined]
        return [] if location is None else location.models

    @property
    def feature_importances_(self) -> NDArray[np.float32]:
        """Share of each feature in the mean gain of splits, of shape (p,); computed as XGBRegressor's.

        On a cross-fitted location these are the importances for the location: those of its boosters, in the shares
        they have in it, as their library computes them. A regressor without importances of columns has none here. Of
        several targets it is their mean.
        """
        each = [one.importances() for one in self._bridges]
        return each[0] if len(each) == 1 else np.mean(each, axis=0)

    @property
    def best_iteration_(self) -> int | list[int]:
        """The last round of the last stage, counted from 0, that predictions use; a list of several targets'."""
        each = [one.best_iteration for one in self._bridges]
        return each[0] if self._single else each

    @property
    def best_iteration(self) -> int | list[int]:
        """``best_iteration_``, as XGBoost calls it."""
        return self.best_iteration_

    @property
    def evals_result_(self) -> History | list[History]:
        """Scores of the validation rows, round by round; a list of those of several targets."""
        pairs = enumerate(self._bridges)
        each = [history_in_units(one.log, self.scale_.of_codec(target, 1.0, located=False)) for target, one in pairs]
        return each[0] if self._single else each

    def evals_result(self) -> History | list[History]:
        """Return ``evals_result_``, as XGBoost's method does."""
        return self.evals_result_

    @property
    def _bridges(self) -> Sequence[BoostedBridge]:
        """The model of each target."""
        check_is_fitted(self)
        assert isinstance(self._trained, BoostedBridge | BoostedBridges)
        return [self._trained] if isinstance(self._trained, BoostedBridge) else self._trained.targets
