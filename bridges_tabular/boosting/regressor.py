"""A scikit-learn regressor around XGBoost, on the target itself or on a distribution over bins."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from threadpoolctl import threadpool_limits

from bridges_tabular.boosting import streamed
from bridges_tabular.boosting.fitted import FittedTrees
from bridges_tabular.boosting.foreign import plain_location
from bridges_tabular.boosting.settings import Settings
from bridges_tabular.boosting.several import BoostingEngines
from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.regressors.base import CALIBRATION_CONSTRAINTS
from bridges_tabular.regressors.constraints import constraints
from bridges_tabular.regressors.engine import Trained
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Listener, Report, as_report, printed
from bridges_tabular.regressors.streamed import Divided, PastMemory
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.regressors.transforms import UNIT_CONSTRAINTS

if TYPE_CHECKING:
    import xgboost as xgb

Floats = NDArray[np.float64]


_SHARED = (
    *("n_bins", "placement", "margin", "uniform_share", "smoothing", "kernel"),
    *("autoencoding_weight", "alignment_weight"),
)


class XGBBridgeRegressor(FittedTrees, PastMemory):
    """Regression with XGBoost over bins: the mean of boosted trees, and a full predictive distribution.

    With ``location="cross_fitted"`` there are stages. First a *location*: a squared-error model of all training rows,
    and four models that each leave a quarter of them out; half the first and half the mean of the four is the location
    of a new row. Then the *bins*: they lie on what the out-of-fold location leaves of the training targets, and trees
    learn from the features and the location which of them are likely. The point prediction is the location plus a share
    of the mean over the bins: between 0 and 1 that with the least squared error on the validation rows, with a normal
    prior of 1 and a deviation of 1/4 for it; 1 without such rows.
    With ``location="none"`` the bins lie on the target itself, the form of the paper (arXiv 2502.02996), and there is
    that stage alone. Several targets, y of shape (n, targets), have a model each, which is the one that the target has
    alone.

    Parameters
    ----------
    scheme : {"least_squares", "hard", "soft", "pretrained", "end_to_end"}, default="end_to_end"
        What is learned over the bins. "hard" classifies the bin of the target with ``multi:softprob``, one tree per
        bin and round. The others learn codes that spread a target over neighbouring bins, with one tree of vector
        leaves per round: fixed codes ("soft"), codes learned beforehand by auto-encoding ("pretrained"), or codes and
        decoder that go on learning the full objective between rounds 8, 16, 32 and so on ("end_to_end").
        "least_squares" is ``reg:squarederror``, the baseline, without bins.
    location : {"cross_fitted", "none"}, regressor or dict, default="cross_fitted"
        What the bins are centred on. A regressor of scikit-learn's kind, such as ``CatBoostRegressor(depth=8)``, takes
        the place of the location's trees, and five copies of it are fitted. A dict names one by import path, with its
        parameters: ``{"estimator": "catboost.CatBoostRegressor", "params": {"depth": 8}}``. See Notes.
    n_bins : int, default=32
        Number of bins k.
    placement : {"blend", "quantile", "uniform", "kmeans"}, default="blend"
        Where the bins lie, see :class:`~bridges_tabular.core.bins.Bins`.
    margin : float, default=0.1
        How far the bins reach beyond the training targets, as a share of their range.
    uniform_share : float, default=0.75
        Share of the uniform distribution in the placement "blend".
    smoothing : float, default=1.0
        Width of the codes' kernel in local bin widths.
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
    support : (low, high), optional
        Numbers between which every target lies, None for no end: ``(0, None)``. What a distribution has beyond an end
        is put on that end, which never makes its CRPS worse.
    target_transform : {"log", "sqrt", "yeo-johnson"} or transformer of scikit-learn, optional
        What is learned in place of the target; must increase. The prediction is the mean of the distribution turned
        back, which for "log" and "sqrt" has no mass below 0; "yeo-johnson" finds its power for the standardised target.
        Ten ranges beyond the training targets a tail takes over. A model with a transformer cannot be saved.
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
    min_child_weight : float, optional
        Smallest weight of the rows in a leaf of trees with scalar leaves: those of the location, of "least_squares" and
        of "hard". Default: XGBoost's own, 1. Trees with vector leaves have 0: the hessians of classes are far below 1.
    gamma : float, optional
        Smallest gain that makes a split. Default: XGBoost's own, 0.
    max_leaves : int, optional
        Most leaves of a tree; 0 is no limit. Default: no limit.
    max_bin : int, optional
        Most quantiles of a feature that "hist" and "approx" look for splits between. Default: XGBoost's own, 256.
    grow_policy : {"depthwise", "lossguide"}, optional
        Which leaf is split next: the one nearest the root, or the one that gains most. Default: "depthwise".
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
        Number of threads, shared by the fold models and by the models of several targets. Default: all.
    random_state : int, RandomState instance or None, default=0
    monotone_constraints : dict, optional
        Directions of the prediction in columns of numbers, by name: ``{"carat": 1}``, -1 for down. The trees of the
        location hold them, ours, or those of CatBoost, LightGBM, XGBoost or HistGradientBoostingRegressor, and the bins
        add nothing to the point: the mean of the distribution keeps the directions, its quantiles need not. Not with
        ``support`` or ``target_transform``.
    callbacks : list of xgboost.callback.TrainingCallback, optional
        Called in the last stage; of several targets in that of each, one after the other. The validation rows are
        called "validation_0" in their log, whose scores are of the standardised target.
    verbosity : {0, 1, 2, 3}, default=1
        XGBoost's own: 0 silent, 1 warnings, 2 info, 3 debug.
    xgb_params : dict, optional
        Further parameters of XGBoost under its own names, such as ``{"colsample_bylevel": 0.5}``, for every stage.
        Mind that "min_child_weight" of 1 or more silences trees with vector leaves here, whose hessians are small.
        "interaction_constraints" takes lists of columns by name; a cross-fitted location goes with all of them. Trees
        with vector leaves hold them from XGBoost 3.4 on, and are refused before.

    Attributes
    ----------
    best_iteration_ : int
        The last round of the last stage, counted from 0, that predictions use. This, ``best_score_`` and
        ``evals_result_`` are lists with one for each target if y was of shape (n, targets).
    best_score_ : float or None
        Early stopping's metric at that round; None without validation rows.
    evals_result_ : dict
        Scores of the validation rows, round by round: of the last stage under "validation_0", as in XGBoost, early
        stopping's metric last, and of the location's first model under "location". With a target_transform they are of
        the transformed target, in its deviations.
    codecs_ : list of TargetCodec
        Bins, encoder and decoder, see :class:`~bridges_tabular.core.codec.TargetCodec`, of every target. On
        a cross-fitted location they are those of what it leaves of the target. Empty for "least_squares".
    codec_scales_ : list of TargetScale
        From the units of ``codecs_`` to those of the target.
    feature_importances_ : array of shape (n_features_in_,)
        Of several targets their mean.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)

    Notes
    -----
    Trees with scalar leaves split categories natively; those with vector leaves see their codes as ordered
    numbers. Missing values and unseen categories go where XGBoost learned to send missing values.

    A regressor as ``location`` learns the target less its mean, in standard deviations, and gets ``random_state`` and
    ``n_jobs`` where it has none of its own. CatBoost, LightGBM, XGBoost and HistGradientBoostingRegressor get numbers
    and categories as each wants them, and stop early on the validation rows after ``early_stopping_rounds``, unless
    they have settings of their own (HistGradientBoostingRegressor has); the fold models take the rounds that the first
    one came to. A regressor of this package gets the table, and watches the validation rows in every model. Any other
    gets the table as ``fit`` was given it, without validation rows. ``n_estimators`` and the other parameters of trees
    are then those over bins alone. ``save`` writes CatBoost, LightGBM and XGBoost in their own formats and others by
    skops (``pip install "bridges-tabular[skops]"``); ``load`` trusts scikit-learn's types, others are named in
    ``trusted``. Losses of targets that are never negative, such as "Poisson", are refused.

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
        "location": [StrOptions({"cross_fitted", "none"}), dict, HasMethods(["fit", "predict", "get_params"])],
        **constraints(*_SHARED, optional=("regression_weight",)),
        **CALIBRATION_CONSTRAINTS,
        **UNIT_CONSTRAINTS,
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        # XGBoost's own limits: trees that overshoot end in infinity
        "learning_rate": [Interval(Real, 0, 1, closed="right")],
        "max_depth": [Interval(Integral, 0, None, closed="left"), None],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "reg_lambda": [Interval(Real, 0, None, closed="left"), None],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "min_child_weight": [Interval(Real, 0, None, closed="left"), None],
        "gamma": [Interval(Real, 0, None, closed="left"), None],
        "max_leaves": [Interval(Integral, 0, None, closed="left"), None],
        "max_bin": [Interval(Integral, 2, None, closed="left"), None],
        "grow_policy": [StrOptions({"depthwise", "lossguide"}), None],
        "early_stopping_rounds": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping_metric": [StrOptions({"rmse", "crps", "loss"}), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "tree_method": [StrOptions({"auto", "hist", "approx", "exact"})],
        "device": [str],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "monotone_constraints": [dict, None],
        "callbacks": [list, None],
        "verbosity": [Interval(Integral, 0, 3, closed="both")],
        "xgb_params": [dict, None],
    }

    def __init__(
        self,
        scheme: Literal["least_squares", "hard", "soft", "pretrained", "end_to_end"] = "end_to_end",
        *,
        location: Any = "cross_fitted",
        n_bins: int = PARAMETERS["n_bins"].default,
        placement: Literal["blend", "quantile", "uniform", "kmeans"] = "blend",
        margin: float = PARAMETERS["margin"].default,
        uniform_share: float = PARAMETERS["uniform_share"].default,
        smoothing: float = PARAMETERS["smoothing"].default,
        kernel: Literal["tilted", "gaussian", "histogram", "two_hot"] = "tilted",
        autoencoding_weight: float = PARAMETERS["autoencoding_weight"].default,
        alignment_weight: float = PARAMETERS["alignment_weight"].default,
        regression_weight: float | None = None,
        calibration: Literal["pooled", "deconvolve", "shrink", "none"] = "pooled",
        calibration_fraction: float | None = None,
        support: tuple[float | None, float | None] | None = None,
        target_transform: Any = None,
        n_estimators: int = 500,
        learning_rate: float = 0.1,
        max_depth: int | None = None,
        subsample: float = 0.8,
        colsample_bytree: float = 1.0,
        reg_lambda: float | None = None,
        reg_alpha: float = 0.0,
        min_child_weight: float | None = None,
        gamma: float | None = None,
        max_leaves: int | None = None,
        max_bin: int | None = None,
        grow_policy: Literal["depthwise", "lossguide"] | None = None,
        early_stopping_rounds: int | None = 30,
        early_stopping_metric: Literal["rmse", "crps", "loss"] | None = None,
        validation_fraction: float = 0.2,
        tree_method: Literal["auto", "hist", "approx", "exact"] = "hist",
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        monotone_constraints: dict[str, Literal[-1, 0, 1]] | None = None,
        callbacks: Sequence[xgb.callback.TrainingCallback] | None = None,
        verbosity: int = 1,
        xgb_params: dict[str, Any] | None = None,
    ) -> None:
        self.scheme = scheme
        self.location = location
        self.n_bins = n_bins
        self.placement = placement
        self.margin = margin
        self.uniform_share = uniform_share
        self.smoothing = smoothing
        self.kernel = kernel
        self.autoencoding_weight = autoencoding_weight
        self.alignment_weight = alignment_weight
        self.regression_weight = regression_weight
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.support = support
        self.target_transform = target_transform
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.min_child_weight = min_child_weight
        self.gamma = gamma
        self.max_leaves = max_leaves
        self.max_bin = max_bin
        self.grow_policy = grow_policy
        self.early_stopping_rounds = early_stopping_rounds
        self.early_stopping_metric = early_stopping_metric
        self.validation_fraction = validation_fraction
        self.tree_method = tree_method
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.monotone_constraints = monotone_constraints
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
        self._settings().check()

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        eval_set: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        *,
        exposure: Any = None,
        exposure_val: Any = None,
        groups: Any = None,
        verbose: bool | int = False,
        prepared: Prepared | None = None,
        report: Listener | Report | None = None,
    ) -> Self:
        """Fit the trees; see :meth:`BridgeRegressor.fit` for tables in memory.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p), or a source of rows that do not fit in memory
            A path, folder or glob of parquet files, a ``pyarrow.dataset.Dataset``, an iterable of DataFrames that
            starts anew each time (a list), or a function that returns an iterator of them. It is read twice. In
            memory are a few numbers of each row, on disk, in the folder for temporary files, four bytes of each
            feature of it, and XGBoost's own files where these would fill memory.
        y : array of shape (n,); of a source the name of the target's column
        sample_weight : array of shape (n,), optional; of a source the name of a column
        eval_set, X_val, y_val : optional
            Of a source an ``eval_set`` alone, another one with the same columns. Default: validation rows, and those
            of a ``calibration_fraction``, are held out by a hash of the row's number.
        verbose : bool or int, default=False
            Print the scores of the last stage as XGBoost does, in the target's units: True those of every round, a
            number those of each so many-th and of the last. Those of several targets, which train side by side, are in
            ``evals_result_`` alone.
        exposure, exposure_val, groups, prepared, report
            See :meth:`BridgeRegressor.fit`.

        Raises
        ------
        ValueError, TypeError
            In one line, of a source with the name of the file or part. A source takes neither regressors of others as
            ``location`` nor a ``tree_method`` of "exact" or "approx", neither exposures nor groups.
        """
        # idle threads of a BLAS spin for a while, on the cores that XGBoost needs next
        with threadpool_limits(1, user_api="blas"), printed(as_report(report), verbose) as heard:
            return super().fit(
                X,
                y,
                sample_weight,
                eval_set,
                X_val,
                y_val,
                exposure=exposure,
                exposure_val=exposure_val,
                groups=groups,
                prepared=prepared,
                report=heard,
            )

    @property
    def best_score_(self) -> float | list[float | None] | None:
        """Early stopping's metric at ``best_iteration_``; None without validation rows; a list of several targets'."""
        metric, each = Settings(self._fitted_params).metric, []
        for target, one in enumerate(self._bridges):
            scale, best = self.scale_.of_codec(target, 1.0, located=False), one.best_score
            each.append(None if best is None else scale.restore_scores({metric: best})[metric])
        return each[0] if self._single else each

    def _held_out_share(self) -> float | None:
        return None if self.early_stopping_rounds is None else self.validation_fraction

    def _saved_params(self) -> dict[str, Any]:
        return super()._saved_params() | {"callbacks": None, "location": plain_location(self.location)}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _check_stream(self) -> None:
        streamed.check(self)

    def _train_stream(self, rows: Divided, seed: int, report: Report) -> Trained:
        return streamed.train(self, rows, seed, report)

    def _engine(self, columns: TableEncoder, prepared: Prepared) -> BoostingEngines:
        return self._settings().engine(columns, prepared)

    def _settings(self) -> Settings:
        return Settings(self.get_params(deep=False))
