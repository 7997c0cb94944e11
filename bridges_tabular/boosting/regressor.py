"""A scikit-learn regressor around XGBoost, on the target itself or on a distribution over bins."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import xgboost as xgb
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from bridges_tabular._artifacts import new_artifact, read_arrays, read_state, write_arrays, write_state
from bridges_tabular._frames import (
    TableEncoder,
    check_eval_set,
    check_sample_weight,
    check_table,
    check_target,
    split_validation,
)
from bridges_tabular._regressor import BridgeRegressorMixin
from bridges_tabular.boosting.features import FeatureMatrices
from bridges_tabular.boosting.targets import BinnedTarget, BoostingTarget, PointTarget
from bridges_tabular.boosting.training import Rows, train
from bridges_tabular.core.bins import PLACEMENTS
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.encoders import KERNELS

_BOOSTER_FILE = "booster.ubj"

# xgb_params must not say twice what the regressor says itself; the value is what to set instead
_OWN_PARAMS = {
    "alpha": "reg_alpha",
    "eta": "learning_rate",
    "lambda": "reg_lambda",
    "nthread": "n_jobs",
    "num_boost_round": "n_estimators",
    "seed": "random_state",
} | dict.fromkeys(
    (
        "base_score",
        "booster",
        "disable_default_eval_metric",
        "eval_metric",
        "multi_strategy",
        "num_class",
        "num_target",
        "objective",
    ),
    "scheme",
)


def _has_distribution(self: XGBBridgeRegressor) -> bool:
    return self.scheme != "least_squares"


class XGBBridgeRegressor(BridgeRegressorMixin, BaseEstimator):
    """Regression with XGBoost, as classification over bins or by least squares.

    Parameters
    ----------
    scheme : {"least_squares", "hard", "soft"}, default="hard"
        "hard" classifies the bin of the target with ``multi:softprob``, one tree per bin and round. "soft"
        learns codes that spread a target over neighbouring bins, with one tree of vector leaves per round.
        "least_squares" is ``reg:squarederror``, the baseline, without a distribution.
    n_bins : int, default=32
        Number of bins k.
    placement : {"blend", "quantile", "uniform", "kmeans"}, default="blend"
        Where the bins lie, see :class:`~bridges_tabular.core.bins.Bins`.
    smoothing : float, default=1.5
        Width of the soft scheme's kernel in local bin widths.
    kernel : {"tilted", "gaussian", "histogram", "two_hot"}, default="tilted"
        Of the soft scheme, see :class:`~bridges_tabular.core.encoders.SoftEncoder`.
    n_estimators : int, default=1000
        Number of boosting rounds; with early stopping, at most so many.
    learning_rate : float, optional
        Default: 0.1 for "least_squares", 0.3 over bins.
    max_depth : int, default=6
        0 is no limit.
    subsample : float, default=0.8
        Share of the rows drawn for each tree.
    colsample_bytree : float, default=1.0
        Share of the features drawn for each tree.
    reg_lambda, reg_alpha : float, default=1.0, 0.0
        L2 and L1 penalties on the values of the leaves.
    early_stopping_rounds : int or None, default=50
        Stop after so many rounds without a better score on the validation rows; predict with those up to the
        best. None trains all rounds and holds no rows out.
    early_stopping_metric : {"rmse", "loss"}, default="rmse"
        "rmse" is that of the decoded mean; "loss" is what the scheme trains on.
    validation_fraction : float, default=0.2
        Share of the rows held out for early stopping where ``fit`` is given no ``eval_set``.
    tree_method : {"auto", "hist", "approx", "exact"}, default="hist"
        "soft" needs "hist", which is also what "auto" means.
    device : str, default="cpu"
        XGBoost's name of a device: "cpu", "cuda", "cuda:1".
    n_jobs : int, optional
        Number of threads. Default: all.
    random_state : int, RandomState instance or None, default=0
    callbacks : list of xgboost.callback.TrainingCallback, optional
        The validation rows are called "validation_0" in their log.
    verbosity : {0, 1, 2, 3}, default=1
        XGBoost's own: 0 silent, 1 warnings, 2 info, 3 debug.
    xgb_params : dict, optional
        Further parameters of XGBoost under its own names, such as ``{"max_bin": 512}``.

    Attributes
    ----------
    best_iteration_ : int
        The last round, counted from 0, that predictions use.
    best_score_ : float or None
        Early stopping's metric at that round; None without validation rows.
    evals_result_ : dict
        The metric on the validation rows, round by round, as in XGBoost.
    feature_importances_ : array of shape (n_features_in_,)
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)

    Notes
    -----
    Trees with scalar leaves split categories natively; those with vector leaves see their codes as ordered
    numbers. Missing values and unseen categories go where XGBoost learned to send missing values.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = XGBBridgeRegressor("soft", n_bins=16, n_jobs=1).fit(X, y)
    >>> model.predict_interval(X[:3], coverage=0.8).shape
    (3, 2)
    """

    _parameter_constraints: dict[str, Any] = {
        "scheme": [StrOptions({"least_squares", "hard", "soft"})],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "placement": [StrOptions(set(PLACEMENTS))],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
        "kernel": [StrOptions(set(KERNELS))],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "max_depth": [Interval(Integral, 0, None, closed="left")],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "early_stopping_rounds": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping_metric": [StrOptions({"rmse", "loss"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "tree_method": [StrOptions({"auto", "hist", "approx", "exact"})],
        "device": [str],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "callbacks": [list, None],
        "verbosity": [Interval(Integral, 0, 3, closed="both")],
        "xgb_params": [dict, None],
    }

    def __init__(
        self,
        scheme: Literal["least_squares", "hard", "soft"] = "hard",
        *,
        n_bins: int = 32,
        placement: Literal["blend", "quantile", "uniform", "kmeans"] = "blend",
        smoothing: float = 1.5,
        kernel: Literal["tilted", "gaussian", "histogram", "two_hot"] = "tilted",
        n_estimators: int = 1000,
        learning_rate: float | None = None,
        max_depth: int = 6,
        subsample: float = 0.8,
        colsample_bytree: float = 1.0,
        reg_lambda: float = 1.0,
        reg_alpha: float = 0.0,
        early_stopping_rounds: int | None = 50,
        early_stopping_metric: Literal["rmse", "loss"] = "rmse",
        validation_fraction: float = 0.2,
        tree_method: Literal["auto", "hist", "approx", "exact"] = "hist",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        callbacks: Sequence[xgb.callback.TrainingCallback] | None = None,
        verbosity: int = 1,
        xgb_params: dict[str, Any] | None = None,
    ) -> None:
        self.scheme = scheme
        self.n_bins = n_bins
        self.placement = placement
        self.smoothing = smoothing
        self.kernel = kernel
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.early_stopping_rounds = early_stopping_rounds
        self.early_stopping_metric = early_stopping_metric
        self.validation_fraction = validation_fraction
        self.tree_method = tree_method
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbosity = verbosity
        self.xgb_params = xgb_params

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        super().check_params()
        if self.scheme == "soft" and self.tree_method in ("approx", "exact"):
            raise ValueError(f"scheme='soft' needs tree_method='hist', got {self.tree_method!r}")
        own = _OWN_PARAMS | {name: name for name in self.get_params(deep=False)}
        for name in self.xgb_params or {}:
            if name in own:
                raise ValueError(f"xgb_params holds {name!r}, which the parameter {own[name]!r} decides")

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, eval_set: Any = None) -> Self:
        """Fit the trees.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
            Numbers, booleans and categories; missing values are allowed.
        y : array of shape (n,)
        sample_weight : array of shape (n,), optional
            Used for the bins, the decoder, the trees and early stopping.
        eval_set : (X, y), (X, y, sample_weight) or a list holding one such tuple, optional
            Validation rows for early stopping. Default: ``validation_fraction`` of the rows.

        Raises
        ------
        ValueError
            For a parameter, a column or a target that cannot be used.
        """
        self.check_params()
        random = check_random_state(self.random_state)
        training = self._rows(X, y, sample_weight, "y", reset=True)
        given = check_eval_set(eval_set)
        validation = None
        if given is not None:
            validation = self._rows(*given, "y of eval_set", reset=False)
        elif self.early_stopping_rounds is not None:
            kept, held_out = split_validation(len(training.y), self.validation_fraction, random)
            training, validation = training.take(kept), training.take(held_out)
        self._encoder = TableEncoder().fit(training.X)
        self._target = self._fit_target(training)
        trained = train(
            self._booster_params(random),
            self._target,
            self._features(),
            training,
            validation,
            n_estimators=self.n_estimators,
            metric=self.early_stopping_metric,
            early_stopping_rounds=self.early_stopping_rounds,
            callbacks=self.callbacks or [],
        )
        self._booster, self.best_iteration_, self.best_score_, self.evals_result_ = trained
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the mean of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        array of shape (n,), in the units of the target
        """
        margins = self._margins(X)
        return self._target.decode(margins)

    @available_if(_has_distribution)  # type: ignore[untyped-decorator]
    def predict_distribution(self, X: Any) -> BinnedDistribution:
        """Predict the distribution of the target; only with a scheme over bins.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target
        """
        margins = self._margins(X)
        assert isinstance(self._target, BinnedTarget)
        return self._target.distribution(margins)

    def get_booster(self) -> xgb.Booster:
        """Return the trained booster; its rounds end with the best one."""
        check_is_fitted(self)
        return self._booster

    @property
    def feature_importances_(self) -> NDArray[np.float32]:
        """Share of each feature in the mean gain of splits, of shape (p,); computed as XGBRegressor's."""
        booster = self.get_booster()
        gain = booster.get_score(importance_type="gain")
        names = booster.feature_names or [f"f{j}" for j in range(self.n_features_in_)]
        importances = np.array([gain.get(name, 0.0) for name in names], dtype=np.float32)
        total = importances.sum()
        return importances if total == 0 else importances / total

    def save(self, directory: str | Path) -> None:
        """Write the fitted model to a folder: UBJSON, safetensors and JSON.

        ``callbacks`` are not saved, nor is a ``random_state`` that is no integer.

        Raises
        ------
        FileExistsError
            If the folder holds something else than a saved model.
        """
        check_is_fitted(self)
        params = self.get_params(deep=False) | {"callbacks": None}
        if not isinstance(self.random_state, Integral):
            params["random_state"] = None
        state = {
            "params": params,
            "features": self._encoder.to_dict(),
            "best_iteration": self.best_iteration_,
            "best_score": self.best_score_,
            "evals_result": self.evals_result_,
        }
        with new_artifact(directory) as folder:
            self._booster.save_model(folder / _BOOSTER_FILE)
            write_arrays(folder, self._target.arrays())
            write_state(folder, self, state)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read a model that :meth:`save` wrote; it predicts the same to the last bit.

        Raises
        ------
        FileNotFoundError
            If the folder or one of its files does not exist.
        ValueError
            If the folder holds another model, or a format of another version.
        """
        state = read_state(directory, cls.__name__)
        model = cls(**state["params"])
        model._encoder = TableEncoder.from_dict(state["features"])
        model.n_features_in_ = model._encoder.n_features_in_
        if model._encoder.named:
            model.feature_names_in_ = np.array(model._encoder.feature_names_in_, dtype=object)
        model._target = model._load_target(read_arrays(directory))
        model.best_iteration_ = state["best_iteration"]
        model.best_score_ = state["best_score"]
        model.evals_result_ = state["evals_result"]
        path = Path(directory) / _BOOSTER_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: the saved model is incomplete")
        model._booster = xgb.Booster({"nthread": model.n_jobs or 0, "device": model.device})
        model._booster.load_model(path)
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_booster")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _rows(self, X: Any, y: Any, sample_weight: Any, target_name: str, *, reset: bool) -> Rows:
        frame = check_table(self, X, reset=reset)
        target = check_target(y, target_name)
        check_consistent_length(frame, target)
        return Rows(frame, target, check_sample_weight(sample_weight, len(target)))

    def _fit_target(self, rows: Rows) -> BoostingTarget:
        if self.scheme == "least_squares":
            return PointTarget()
        return BinnedTarget.fit(self._codec(), rows.y, rows.weight)

    def _load_target(self, arrays: dict[str, NDArray[Any]]) -> BoostingTarget:
        if self.scheme == "least_squares":
            return PointTarget()
        return BinnedTarget.from_arrays(self._codec(), arrays)

    def _codec(self) -> TargetCodec:
        assert self.scheme != "least_squares"
        return TargetCodec(self.scheme, self.n_bins, self.placement, self.kernel, self.smoothing)

    def _features(self) -> FeatureMatrices:
        return FeatureMatrices(self._encoder, self._target.native_categories, self.n_jobs)

    def _booster_params(self, random: np.random.RandomState) -> dict[str, Any]:
        seed = self.random_state if isinstance(self.random_state, Integral) else random.randint(2**31 - 1)
        rate = self._target.default_learning_rate if self.learning_rate is None else self.learning_rate
        return {
            "learning_rate": rate,
            "max_depth": self.max_depth,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "reg_lambda": self.reg_lambda,
            "reg_alpha": self.reg_alpha,
            "tree_method": self.tree_method,
            "device": self.device,
            "nthread": self.n_jobs or 0,
            "seed": int(seed),
            "verbosity": self.verbosity,
            **(self.xgb_params or {}),
        }

    def _margins(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        matrix = self._features().plain(check_table(self, X, reset=False))
        margins: NDArray[np.float32] = self._booster.predict(matrix, output_margin=True)
        return margins
