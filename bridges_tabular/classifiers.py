"""The same bins, decoder and distribution over any scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from bridges_tabular.core.arrays import Arrays
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.regressors import estimators
from bridges_tabular.regressors.base import CALIBRATION_CONSTRAINTS, BridgeRegressor
from bridges_tabular.regressors.constraints import constraints
from bridges_tabular.regressors.forecast import Code, Forecast
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.rows import Rows
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.regressors.transforms import UNIT_CONSTRAINTS

if TYPE_CHECKING:
    from bridges_tabular.core.distribution import BinnedDistribution
    from bridges_tabular.regressors.artifacts import Saved
    from bridges_tabular.regressors.engine import State

Placement = Literal["blend", "quantile", "uniform", "kmeans"]


class ClassifierBridgeRegressor(BridgeRegressor):
    """Regression with any classifier: it learns the bin of the target, the decoder turns its classes into a number.

    Parameters
    ----------
    estimator : classifier with ``fit`` and ``predict_proba``, or its import path
        Gets the features as they are given, in a DataFrame; bins that no training row falls into are classes that it
        never sees. An experiment file names it by its path: ``sklearn.ensemble.RandomForestClassifier``.
    estimator_params : dict, optional
        Parameters of the classifier to set.
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
    support : (low, high), optional
        Numbers between which every target lies, None for no end: ``(0, None)``. What a distribution has beyond an end
        is put on that end, which never makes its CRPS worse.
    target_transform : {"log", "sqrt", "yeo-johnson"} or transformer of scikit-learn, optional
        What is learned in place of the target; must increase. The prediction is the mean of the distribution turned
        back, which for "log" and "sqrt" has no mass below 0; "yeo-johnson" finds its power for the standardised target.
        Ten ranges beyond the training targets a tail takes over. A model with a transformer cannot be saved.
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
    ``save`` needs skops (``pip install "bridges-tabular[skops]"``), which writes scikit-learn's estimators without
    pickle. ``load`` trusts scikit-learn's own types; those of other libraries have to be named in ``trusted``.
    ``estimator`` of a loaded model is a copy of the classifier, with all parameters and unfitted.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = ClassifierBridgeRegressor(RandomForestClassifier(random_state=0), n_bins=16).fit(X, y)
    >>> model.predict_interval(X[:3], coverage=0.8).shape
    (3, 2)
    """

    scheme = "hard"

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "estimator": [HasMethods(["fit", "predict_proba"]), str],
        "estimator_params": [dict, None],
        **constraints("n_bins", "placement"),
        **CALIBRATION_CONSTRAINTS,
        **UNIT_CONSTRAINTS,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        estimator_params: dict[str, Any] | None = None,
        n_bins: int = 32,
        placement: Placement = "blend",
        calibration: Literal["pooled", "deconvolve", "shrink", "none"] = "pooled",
        calibration_fraction: float | None = 0.2,
        support: tuple[float | None, float | None] | None = None,
        target_transform: Any = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.estimator = estimator
        self.estimator_params = estimator_params
        self.n_bins = n_bins
        self.placement = placement
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.support = support
        self.target_transform = target_transform
        self.random_state = random_state

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        super().check_params()
        self._classifier()

    if TYPE_CHECKING:

        def predict_distribution(self, X: Any, exposure: Any = None) -> BinnedDistribution: ...  # noqa: D102

    @property
    def estimator_(self) -> Any:
        """The fitted classifier."""
        check_is_fitted(self)
        assert isinstance(self._trained, TrainedClassifier)
        return self._trained.estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        own = getattr(self.estimator, "__sklearn_tags__", None)
        tags.input_tags.allow_nan = own is not None and own().input_tags.allow_nan
        return tags

    def _held_out_share(self) -> float | None:
        return self.calibration_fraction

    def _conformal_share(self) -> float | None:
        return None

    @classmethod
    def _from_saved(cls, saved: Saved, trusted: Collection[str]) -> Self:
        model = super()._from_saved(saved, trusted)
        # by its path alone another fit would be with its defaults
        model.estimator = clone(model.estimator_)
        return model

    def _saved_params(self) -> dict[str, Any]:
        estimator = type(self.estimator)
        path = self.estimator if isinstance(self.estimator, str) else f"{estimator.__module__}.{estimator.__qualname__}"
        return super()._saved_params() | {"estimator": path, "estimator_params": None}

    def _engine(self, columns: TableEncoder, prepared: Prepared) -> ClassifierEngine:
        return ClassifierEngine(self._classifier, self.n_bins, self.placement)

    def _classifier(self) -> Any:
        """An unfitted copy of the classifier."""
        params = self.estimator_params or {}
        try:
            estimators.check_sizes(params)
            estimator = self._imported() if isinstance(self.estimator, str) else clone(self.estimator)
            estimator.set_params(**params)
            estimators.check_values(estimator)
            # scikit-learn's classes have it whatever their objects' parameters
            if not hasattr(estimator, "predict_proba"):
                name = type(estimator).__name__
                raise ValueError(f"estimator: {name} has no predict_proba with these parameters")
        except (TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ValueError(said if said.startswith("estimator: ") else f"estimator_params: {said}") from None
        return estimator

    def _imported(self) -> Any:
        kind = estimators.imported(self.estimator, ("fit", "predict_proba"), "classifier")
        try:
            return kind()
        except TypeError as error:
            raise ValueError(f"estimator: {self.estimator} cannot be made without arguments: {error}") from None


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier of bins, and the codec that decodes them."""

    estimator: Any
    codec: TargetCodec

    @property
    def codes(self) -> list[Code | None]:
        """The code that the classes were learned as."""
        return [Code(self.codec.encoder)]

    @property
    def codecs(self) -> list[TargetCodec]:
        """Bins, encoder and decoder."""
        return [self.codec]

    def forecast(self, X: pd.DataFrame) -> list[Forecast]:
        """Masses of the classes, and what they decode to."""
        pi = np.zeros((len(X), self.codec.bins.n_bins))
        with estimators.refusals(self.estimator):
            pi[:, self.estimator.classes_] = self.estimator.predict_proba(X)
        point = self.codec.decode(torch.from_numpy(pi.astype(np.float32))).double().numpy()
        return [Forecast(point, pi)]

    def state(self) -> State:
        """The codec's tensors, and the classifier as skops writes it."""
        arrays = {f"codec.{name}": tensor.numpy() for name, tensor in self.codec.state_dict().items()}
        return {}, arrays | {"estimator": estimators.dump(self.estimator)}


@dataclass(frozen=True)
class ClassifierEngine:
    """Fits a classifier to the bins of the target."""

    make_classifier: Any
    n_bins: int
    placement: Placement

    def train(self, rows: Rows, watched: Rows | None, seed: int, report: Report) -> TrainedClassifier:
        """Fit; a classifier tells nothing of its steps and stops by itself."""
        estimator = self.make_classifier()
        weights = estimators.weighted(estimator, rows.weight, "estimator")
        codec = self._codec().fit(rows.y[:, 0], rows.weight).requires_grad_(False)
        with estimators.refusals(estimator):
            estimator.fit(rows.X, codec.bins.assign(rows.y[:, 0]), **weights)
        report(1, 1, {})
        return TrainedClassifier(estimator, codec)

    def restore(self, state: Mapping[str, Any], arrays: Arrays, trusted: Collection[str]) -> TrainedClassifier:
        """Rebuild; types that are not scikit-learn's have to be trusted by name.

        Raises
        ------
        NotTrusted
            If the file holds other types.
        """
        codec = self._codec().restore(arrays.part("codec."))
        content = arrays.take("estimator", None, dtype=np.uint8).tobytes()
        estimator = estimators.restored(content, trusted, "classifier")
        if not np.isin(estimator.classes_, np.arange(codec.bins.n_bins)).all():
            raise arrays.error("estimator", "is a classifier of other bins")
        return TrainedClassifier(estimator, codec.requires_grad_(False))

    def _codec(self) -> TargetCodec:
        return TargetCodec("hard", self.n_bins, self.placement)
