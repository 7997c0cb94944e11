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
from threadpoolctl import threadpool_limits

from bridges_tabular._artifacts import new_artifact, read_arrays, read_state, write_arrays, write_state
from bridges_tabular._frames import (
    TableEncoder,
    check_eval_set,
    check_sample_weight,
    check_table,
    check_target,
    split_validation,
)
from bridges_tabular._regressor import CALIBRATION_CONSTRAINTS, BridgeRegressorMixin, HeldOut
from bridges_tabular._sharing import shared
from bridges_tabular.boosting.features import FeatureMatrices
from bridges_tabular.boosting.location import Sample
from bridges_tabular.boosting.model import BoostedBridge, Stages
from bridges_tabular.boosting.targets import BinnedTarget, BoostingTarget, PointTarget
from bridges_tabular.boosting.training import Rows
from bridges_tabular.core.bins import PLACEMENTS
from bridges_tabular.core.codec import TargetCodec, standardisation
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.encoders import KERNELS
from bridges_tabular.core.objective import BridgeObjective

# bins on residuals: narrow codes, logits of low rank, small trees
_RANK = 4
_RESIDUAL_DEFAULTS = {"smoothing": 0.75, "max_depth": 4, "reg_lambda": 5.0}
_DEFAULTS = {"smoothing": 1.5, "max_depth": 6, "reg_lambda": 1.0}
# Newton steps by the diagonal of a hessian come out short where logits are coupled
_BINS_SPEED = 2
_RESIDUAL_SPEED = 3

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
    return self.scheme != "least_squares" or self.calibration != "none"


class XGBBridgeRegressor(BridgeRegressorMixin, BaseEstimator):
    """Regression with XGBoost over bins: the mean of boosted trees, and a full predictive distribution.

    With ``location="cross_fitted"`` there are stages. First a *location*: a squared-error model of all training rows,
    and four models that each leave a quarter of them out; half the first and half the mean of the four is the location
    of a new row. Then the *bins*: they lie on what the out-of-fold location leaves of the training targets, and trees
    learn from the features and the location which of them are likely. With ``location="none"`` the bins lie on the
    target itself, the form of the paper (arXiv 2502.02996), and there is that stage alone.

    Parameters
    ----------
    scheme : {"least_squares", "hard", "soft", "pretrained", "end_to_end"}, default="end_to_end"
        What is learned over the bins. "hard" classifies the bin of the target with ``multi:softprob``, one tree per
        bin and round. The others learn codes that spread a target over neighbouring bins, with one tree of vector
        leaves per round: fixed codes ("soft"), codes learned beforehand by auto-encoding ("pretrained"), or codes and
        decoder that go on learning the full objective between rounds 8, 16, 32 and so on ("end_to_end").
        "least_squares" is ``reg:squarederror``, the baseline, without bins.
    location : {"cross_fitted", "none"}, default="cross_fitted"
        What the bins are centred on.
    n_bins : int, default=32
        Number of bins k.
    placement : {"blend", "quantile", "uniform", "kmeans"}, default="blend"
        Where the bins lie, see :class:`~bridges_tabular.core.bins.Bins`.
    smoothing : float, optional
        Width of the codes' kernel in local bin widths. Default: 0.75 on a cross-fitted location, else 1.5.
    kernel : {"tilted", "gaussian", "histogram", "two_hot"}, default="tilted"
        Of the soft scheme, see :class:`~bridges_tabular.core.encoders.SoftEncoder`.
    autoencoding_weight, alignment_weight, regression_weight : float, default=10.0, 1.0, None
        Weights of the objective's terms in the end-to-end scheme, see
        :class:`~bridges_tabular.core.objective.BridgeObjective`. By default ``regression_weight`` is 0 on a
        cross-fitted location, whose mean needs no help, else 5.
    calibration : {"pooled", "deconvolve", "shrink", "none"}, default="pooled"
        How held-out rows turn pi into the predictive distribution, see
        :class:`~bridges_tabular.core.calibration.DistributionCalibrator`. "least_squares" has a distribution too unless
        this is "none": the local residuals of those rows.
    calibration_fraction : float, optional
        Share of the training rows held out for calibration and conformal intervals alone. Default: the validation rows
        serve for that too.
    n_estimators : int, default=500
        Most rounds of the location's first model; its fold models take half as many as that one kept, at twice the
        rate. The trees over bins take at most a third on a cross-fitted location, else as many.
    learning_rate : float, default=0.1
        Of the location's first model and of "least_squares"; twice that for fold models and over bins, three times
        for bins on a cross-fitted location.
    max_depth : int, optional
        0 is no limit. Default: 6; 4 over bins on a cross-fitted location.
    subsample : float, default=0.8
        Share of the rows drawn for each tree.
    colsample_bytree : float, default=1.0
        Share of the features drawn for each tree.
    reg_lambda : float, optional
        L2 penalty on the values of the leaves. Default: 1; 5 over bins on a cross-fitted location.
    reg_alpha : float, default=0.0
        L1 penalty on the values of the leaves.
    early_stopping_rounds : int or None, default=30
        Each stage stops after so many rounds without a better score on the validation rows; predict with those up to
        the best. None trains all rounds and holds no rows out.
    early_stopping_metric : {"rmse", "crps", "loss"}, optional
        What the last stage watches: the error of the decoded mean, the CRPS of the masses on the bins' centres, or
        what the scheme trains on. The location always watches the error of the mean. Default: "crps" over bins on a
        cross-fitted location, else "rmse".
    validation_fraction : float, default=0.2
        Share of the rows held out for early stopping where ``fit`` is given no ``eval_set``.
    tree_method : {"auto", "hist", "approx", "exact"}, default="hist"
        Vector leaves need "hist", which is also what "auto" means.
    device : str, default="cpu"
        XGBoost's name of a device: "cpu", "cuda", "cuda:1".
    n_jobs : int, optional
        Number of threads, shared by the fold models. Default: all.
    random_state : int, RandomState instance or None, default=0
    callbacks : list of xgboost.callback.TrainingCallback, optional
        Called in the last stage. The validation rows are called "validation_0" in their log.
    verbosity : {0, 1, 2, 3}, default=1
        XGBoost's own: 0 silent, 1 warnings, 2 info, 3 debug.
    xgb_params : dict, optional
        Further parameters of XGBoost under its own names, such as ``{"max_bin": 512}``, for every stage. Mind that
        "min_child_weight" of 1 or more silences trees with vector leaves, whose hessians are small.

    Attributes
    ----------
    best_iteration_ : int
        The last round of the last stage, counted from 0, that predictions use.
    best_score_ : float or None
        Early stopping's metric at that round; None without validation rows.
    evals_result_ : dict
        The metric on the validation rows, round by round: of the last stage under "validation_0", as in XGBoost, and
        of the location's first model, on standardised targets, under "location".
    codecs_ : list of TargetCodec
        Bins, encoder and decoder, with the target's scale, see :class:`~bridges_tabular.core.codec.TargetCodec`: one,
        as there is one target. On a cross-fitted location they are those of what it leaves of the target. Empty for
        "least_squares".
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
    >>> model = XGBBridgeRegressor(n_bins=16, n_jobs=1).fit(X, y)
    >>> model.predict_interval(X[:3], coverage=0.8).shape
    (3, 2)
    """

    _parameter_constraints: dict[str, Any] = {
        "scheme": [StrOptions({"least_squares", "hard", "soft", "pretrained", "end_to_end"})],
        "location": [StrOptions({"cross_fitted", "none"})],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "placement": [StrOptions(set(PLACEMENTS))],
        "smoothing": [Interval(Real, 0, None, closed="neither"), None],
        "kernel": [StrOptions(set(KERNELS))],
        "autoencoding_weight": [Interval(Real, 0, None, closed="left")],
        "alignment_weight": [Interval(Real, 0, None, closed="left")],
        "regression_weight": [Interval(Real, 0, None, closed="left"), None],
        **CALIBRATION_CONSTRAINTS,
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_depth": [Interval(Integral, 0, None, closed="left"), None],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "reg_lambda": [Interval(Real, 0, None, closed="left"), None],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "early_stopping_rounds": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping_metric": [StrOptions({"rmse", "crps", "loss"}), None],
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
        scheme: Literal["least_squares", "hard", "soft", "pretrained", "end_to_end"] = "end_to_end",
        *,
        location: Literal["cross_fitted", "none"] = "cross_fitted",
        n_bins: int = 32,
        placement: Literal["blend", "quantile", "uniform", "kmeans"] = "blend",
        smoothing: float | None = None,
        kernel: Literal["tilted", "gaussian", "histogram", "two_hot"] = "tilted",
        autoencoding_weight: float = 10.0,
        alignment_weight: float = 1.0,
        regression_weight: float | None = None,
        calibration: Literal["pooled", "deconvolve", "shrink", "none"] = "pooled",
        calibration_fraction: float | None = None,
        n_estimators: int = 500,
        learning_rate: float = 0.1,
        max_depth: int | None = None,
        subsample: float = 0.8,
        colsample_bytree: float = 1.0,
        reg_lambda: float | None = None,
        reg_alpha: float = 0.0,
        early_stopping_rounds: int | None = 30,
        early_stopping_metric: Literal["rmse", "crps", "loss"] | None = None,
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
        self.location = location
        self.n_bins = n_bins
        self.placement = placement
        self.smoothing = smoothing
        self.kernel = kernel
        self.autoencoding_weight = autoencoding_weight
        self.alignment_weight = alignment_weight
        self.regression_weight = regression_weight
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
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
        if self.scheme not in ("least_squares", "hard") and self.tree_method in ("approx", "exact"):
            raise ValueError(f"scheme={self.scheme!r} needs tree_method='hist', got {self.tree_method!r}")
        if self.scheme == "least_squares" and self.early_stopping_metric == "crps":
            raise ValueError("early_stopping_metric='crps' needs a scheme over bins, got scheme='least_squares'")
        if self.scheme == "end_to_end" and not self.alignment_weight + (self.regression_weight or 0) > 0:
            raise ValueError("alignment_weight and regression_weight are 0: the trees would have nothing to learn")
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
            training, validation = self._hold_out(training, self.validation_fraction, random)
        calibration = None
        if self.calibration_fraction is not None:
            training, calibration = self._hold_out(training, self.calibration_fraction, random)
        self._encoder = shared(lambda: TableEncoder().fit(training.X), [training.X], "encoder")
        # idle threads of a BLAS spin for a while, on the cores that XGBoost needs next
        with threadpool_limits(1, user_api="blas"):
            self._fit_model(training, validation, calibration, random)
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
        values = self._values(X)
        return self._model.forecast(values).point

    @available_if(_has_distribution)  # type: ignore[untyped-decorator]
    def predict_distribution(self, X: Any) -> BinnedDistribution:
        """Predict the distribution of the target; with "least_squares", only if it is calibrated.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target
        """
        values = self._values(X)
        return self._distribution(self._model.forecast(values))

    def predict_contributions(self, X: Any) -> NDArray[np.float64]:
        """Explain predictions of the mean by SHAP values, as ``pred_contribs`` of XGBoost does.

        Exact SHAP values of the location and of "least_squares". Those of the margins over bins are carried through
        softmax and decoder along a straight line, and what the trees over bins take from the location is passed on to
        the features that the location comes from: our own construction, whose sums are exact.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)

        Returns
        -------
        array of shape (n, p + 1)
            A column for each feature, and what all predictions start from; rows sum to ``predict(X)`` up to single
            precision. In the units of the target.
        """
        from bridges_tabular.boosting.explain import contributions

        values = self._values(X)
        return contributions(self._model, values)

    def get_booster(self) -> xgb.Booster:
        """Return the booster of the last stage, over the bins unless the scheme is "least_squares".

        Its rounds end with the best one. On a cross-fitted location its last feature is that location; the other
        boosters come from :meth:`get_location_boosters`.
        """
        check_is_fitted(self)
        return self._model.booster

    def get_location_boosters(self) -> list[xgb.Booster]:
        """Return the location's boosters, on standardised targets: that of all rows, then the fold models."""
        check_is_fitted(self)
        return [] if self._model.location is None else self._model.location.boosters

    @property
    def feature_importances_(self) -> NDArray[np.float32]:
        """Share of each feature in the mean gain of splits, of shape (p,); computed as XGBRegressor's.

        On a cross-fitted location these are the importances for the location: those of its boosters, in the shares
        they have in it.
        """
        check_is_fitted(self)
        return self._model.importances(self.n_features_in_)

    @property
    def codecs_(self) -> list[TargetCodec]:
        """Bins, encoder and decoder of the target, or of what a location leaves of it; empty without bins."""
        check_is_fitted(self)
        target = self._model.target
        return [target.codec] if isinstance(target, BinnedTarget) else []

    @property
    def best_iteration_(self) -> int:
        """The last round of the last stage, counted from 0, that predictions use."""
        check_is_fitted(self)
        return self._model.best_iteration

    @property
    def best_score_(self) -> float | None:
        """Early stopping's metric at that round; None without validation rows."""
        check_is_fitted(self)
        return self._model.best_score

    @property
    def evals_result_(self) -> dict[str, dict[str, list[float]]]:
        """The metric on the validation rows, round by round."""
        check_is_fitted(self)
        return self._model.evals_result

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
        with new_artifact(directory) as folder:
            state = self._model.save(folder)
            write_arrays(folder, self._model.target.arrays() | self._calibration_arrays())
            write_state(folder, self, {"params": params, "features": self._encoder.to_dict(), "model": state})

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
        arrays = read_arrays(directory)
        target = model._load_target({name: a for name, a in arrays.items() if not name.startswith("calibration.")})
        booster_params = {"nthread": model.n_jobs or 0, "device": model.device}
        model._model = BoostedBridge.load(Path(directory), state["model"], model._features(), target, booster_params)
        model._load_calibration(target.encoder, arrays)
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _rows(self, X: Any, y: Any, sample_weight: Any, target_name: str, *, reset: bool) -> Rows:
        frame = check_table(self, X, reset=reset)
        target = check_target(y, target_name)
        check_consistent_length(frame, target)
        return Rows(frame, target, check_sample_weight(sample_weight, len(target)))

    @staticmethod
    def _hold_out(rows: Rows, fraction: float, random: np.random.RandomState) -> tuple[Rows, Rows]:
        kept, held_out = split_validation(len(rows.y), fraction, random)
        return rows.take(kept), rows.take(held_out)

    def _fit_model(
        self, training: Rows, validation: Rows | None, calibration: Rows | None, random: np.random.RandomState
    ) -> None:
        sample = self._sample(training)
        watched, spared = (None if rows is None else self._sample(rows) for rows in (validation, calibration))
        self._model = self._stages(random).fit(
            self._features(), lambda y, weight: self._fit_target(y, weight, random), sample, watched, random
        )
        target = self._model.target
        self._fit_calibration(
            target.encoder,
            target.units,
            self._forecast_of(watched),
            y_train=training.y,
            train_weight=training.weight,
            conformal=self._forecast_of(spared),
        )

    def _forecast_of(self, sample: Sample | None) -> HeldOut | None:
        return None if sample is None else HeldOut(self._model.forecast(sample.values), sample.y, sample.weight)

    def _sample(self, rows: Rows) -> Sample:
        return Sample(self._features().values(rows.X), rows.y, rows.weight)

    def _values(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        return self._features().values(check_table(self, X, reset=False))

    def _features(self) -> FeatureMatrices:
        return FeatureMatrices(
            self._encoder,
            # the other tree methods read no histograms
            histograms=self.tree_method in ("hist", "auto"),
            max_bin=(self.xgb_params or {}).get("max_bin"),
            n_jobs=self.n_jobs,
        )

    def _on_residuals(self) -> bool:
        return self.scheme != "least_squares" and self.location == "cross_fitted"

    def _fit_target(
        self, y: NDArray[np.float64], sample_weight: NDArray[np.float64] | None, random: np.random.RandomState
    ) -> BoostingTarget:
        if self.scheme == "least_squares":
            return PointTarget(standardisation(y, sample_weight))
        rank = _RANK if self._on_residuals() else None
        return BinnedTarget.fit(self._codec(), y, sample_weight, rank=rank, weights=self._weights(), random=random)

    def _load_target(self, arrays: dict[str, NDArray[Any]]) -> BoostingTarget:
        if self.scheme == "least_squares":
            return PointTarget()
        return BinnedTarget.from_arrays(self._codec(), arrays, self._weights())

    def _codec(self) -> TargetCodec:
        assert self.scheme != "least_squares"
        smoothing = self._defaults()["smoothing"] if self.smoothing is None else self.smoothing
        return TargetCodec(self.scheme, self.n_bins, self.placement, self.kernel, smoothing)

    def _weights(self) -> BridgeObjective:
        if self.scheme != "end_to_end":
            return BridgeObjective(0.0, 1.0, 0.0)
        regression_weight = self.regression_weight
        if regression_weight is None:
            regression_weight = 0.0 if self._on_residuals() else 5.0
        return BridgeObjective(self.autoencoding_weight, self.alignment_weight, regression_weight)

    def _defaults(self) -> dict[str, float]:
        return _RESIDUAL_DEFAULTS if self._on_residuals() else _DEFAULTS

    def _stages(self, random: np.random.RandomState) -> Stages:
        seed = self.random_state if isinstance(self.random_state, Integral) else random.randint(2**31 - 1)
        on_residuals, over_bins = self._on_residuals(), self.scheme != "least_squares"
        speed = _RESIDUAL_SPEED if on_residuals else _BINS_SPEED if over_bins else 1
        metric = self.early_stopping_metric or ("crps" if on_residuals else "rmse")
        return Stages(
            location_params=self._booster_params(_DEFAULTS, self.learning_rate, seed) if on_residuals else None,
            location_rounds=self.n_estimators,
            params=self._booster_params(self._defaults(), self.learning_rate * speed, seed),
            rounds=max(1, self.n_estimators // speed) if on_residuals else self.n_estimators,
            metric=metric,
            early_stopping_rounds=self.early_stopping_rounds,
            callbacks=self.callbacks or [],
        )

    def _booster_params(self, defaults: dict[str, float], learning_rate: float, seed: int) -> dict[str, Any]:
        return {
            "learning_rate": learning_rate,
            "max_depth": int(defaults["max_depth"]) if self.max_depth is None else self.max_depth,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "reg_lambda": defaults["reg_lambda"] if self.reg_lambda is None else self.reg_lambda,
            "reg_alpha": self.reg_alpha,
            "tree_method": self.tree_method,
            "device": self.device,
            "nthread": self.n_jobs or 0,
            "seed": int(seed),
            "verbosity": self.verbosity,
            **(self.xgb_params or {}),
        }
