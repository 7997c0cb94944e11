"""The same bins, decoder and distribution over any scikit-learn classifier."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from bridges_tabular._frames import check_eval_set, check_sample_weight, check_table, check_target, split_validation
from bridges_tabular._regressor import CALIBRATION_CONSTRAINTS, BridgeRegressorMixin, Forecast, HeldOut
from bridges_tabular.boosting.training import Rows
from bridges_tabular.core.bins import PLACEMENTS
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.distribution import BinnedDistribution


class ClassifierBridgeRegressor(BridgeRegressorMixin, BaseEstimator):
    """Regression with any classifier: it learns the bin of the target, the decoder turns its classes into a number.

    Parameters
    ----------
    estimator : classifier with ``fit`` and ``predict_proba``
        Gets the features as they are given, in a DataFrame; bins that no training row falls into are classes that it
        never sees.
    n_bins : int, default=32
        Number of bins k, and so of the classes.
    placement : {"blend", "quantile", "uniform", "kmeans"}, default="blend"
        Where the bins lie, see :class:`~bridges_tabular.core.bins.Bins`.
    calibration : {"pooled", "deconvolve", "shrink", "none"}, default="pooled"
        How held-out rows turn class probabilities into the predictive distribution, see
        :class:`~bridges_tabular.core.calibration.DistributionCalibrator`.
    calibration_fraction : float or None, default=0.2
        Share of the rows held out for that where ``fit`` is given no ``eval_set``. None holds none out: the
        distribution is the histogram of the class probabilities.
    random_state : int, RandomState instance or None, default=0
        Draws the rows held out; the classifier has its own.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier, whose classes are the numbers of the bins.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)

    Notes
    -----
    There is no ``save``: what a classifier of another library holds cannot be written without pickle.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = ClassifierBridgeRegressor(RandomForestClassifier(random_state=0), n_bins=16).fit(X, y)
    >>> model.predict_interval(X[:3], coverage=0.8).shape
    (3, 2)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "placement": [StrOptions(set(PLACEMENTS))],
        **CALIBRATION_CONSTRAINTS,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        n_bins: int = 32,
        placement: Literal["blend", "quantile", "uniform", "kmeans"] = "blend",
        calibration: Literal["pooled", "deconvolve", "shrink", "none"] = "pooled",
        calibration_fraction: float | None = 0.2,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.estimator = estimator
        self.n_bins = n_bins
        self.placement = placement
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, eval_set: Any = None) -> Self:
        """Fit a clone of the classifier.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
            Whatever the classifier takes.
        y : array of shape (n,)
        sample_weight : array of shape (n,), optional
            Handed to the classifier too.
        eval_set : (X, y), (X, y, sample_weight) or a list holding one such tuple, optional
            Rows for the calibration. Default: ``calibration_fraction`` of the rows.

        Raises
        ------
        ValueError
            For a parameter or a target that cannot be used.
        """
        self.check_params()
        training = self._rows(X, y, sample_weight, "y", reset=True)
        given, validation = check_eval_set(eval_set), None
        if given is not None:
            validation = self._rows(*given, "y of eval_set", reset=False)
        elif self.calibration_fraction is not None:
            random = check_random_state(self.random_state)
            kept, held_out = split_validation(len(training.y), self.calibration_fraction, random)
            training, validation = training.take(kept), training.take(held_out)
        self._codec = TargetCodec("hard", self.n_bins, self.placement).fit(training.y, training.weight)
        self._codec.requires_grad_(False)
        units = float(self._codec.mean), float(self._codec.scale)
        labels = self._codec.bins.assign((training.y - units[0]) / units[1])
        weights = {} if training.weight is None else {"sample_weight": training.weight}
        self.estimator_ = clone(self.estimator).fit(training.X, labels, **weights)
        self._fit_calibration(
            self._codec.encoder,
            units,
            None if validation is None else HeldOut(self._forecast(validation.X), validation.y, validation.weight),
            y_train=training.y,
            train_weight=training.weight,
        )
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the mean of the target, of shape (n,), in its units."""
        check_is_fitted(self)
        return self._forecast(X).point

    def predict_distribution(self, X: Any) -> BinnedDistribution:
        """Predict the distribution of the target, n rows in its units."""
        check_is_fitted(self)
        return self._distribution(self._forecast(X))

    def _forecast(self, X: Any) -> Forecast:
        frame = check_table(self, X, reset=False)
        pi = np.zeros((len(frame), self._codec.bins.n_bins))
        pi[:, self.estimator_.classes_] = self.estimator_.predict_proba(frame)
        point = self._codec.decode(torch.from_numpy(pi.astype(np.float32))).double().numpy()
        return Forecast(point, pi)

    def _rows(self, X: Any, y: Any, sample_weight: Any, target_name: str, *, reset: bool) -> Rows:
        frame = check_table(self, X, reset=reset)
        target = check_target(y, target_name)
        check_consistent_length(frame, target)
        return Rows(frame, target, check_sample_weight(sample_weight, len(target)))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        own = getattr(self.estimator, "__sklearn_tags__", None)
        tags.input_tags.allow_nan = own is not None and own().input_tags.allow_nan
        return tags
