"""A scikit-learn regressor around a bridged pytorch-tabular network."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, cast

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.regressors.base import CALIBRATION_CONSTRAINTS
from bridges_tabular.regressors.constraints import constraints
from bridges_tabular.regressors.engine import Engine, Parts, Trained
from bridges_tabular.regressors.prepared import Prepared
from bridges_tabular.regressors.progress import Report
from bridges_tabular.regressors.rows import Given
from bridges_tabular.regressors.streamed import Divided
from bridges_tabular.regressors.streams import Stream
from bridges_tabular.regressors.tables import TableEncoder
from bridges_tabular.regressors.transforms import UNIT_CONSTRAINTS
from bridges_tabular.tabular import defaults, streamed
from bridges_tabular.tabular.bar import epoch_bar
from bridges_tabular.tabular.configuring import SHARED, check
from bridges_tabular.tabular.engine import TabularEngine, TabularTrained
from bridges_tabular.tabular.fitted import FittedNetwork
from bridges_tabular.tabular.training import METRICS, TrainingOptions
from bridges_tabular.tabular.trial import PRECISIONS, check_precision


class TabularBridgeRegressor(FittedNetwork):
    """Regression with any pytorch-tabular network, over classes instead of by least squares.

    Parameters
    ----------
    backbone : str, default="MemberMLPConfig"
        "MemberMLPConfig", several networks trained side by side, see
        :class:`~bridges_tabular.tabular.MemberMLPConfig`, or the name of a configuration class in
        ``pytorch_tabular.models``.
    scheme : str, default="end_to_end"
        "end_to_end" trains encoder, decoder and network together; "pretrained" learns the code of the target first;
        "soft" and "hard" use a fixed code; "softmax_least_squares" and "least_squares" are baselines on squared error.
    preset : {"fast", "default", "best"}, default="default"
        How long to train MemberMLPConfig, and how many members, where nothing else is said; of no other backbone.
    n_bins : int, default=32
        Number of classes k.
    placement : {"blend", "quantile", "uniform", "kmeans"}, default="blend"
        Where the bins lie, see :class:`~bridges_tabular.core.bins.Bins`.
    margin : float, default=0.1
        How far the bins reach beyond the training targets, as a share of their range.
    uniform_share : float, default=0.75
        Share of the uniform distribution in the placement "blend".
    smoothing : float, default=1.0
        Width of the encoder's kernel in local bin widths.
    kernel : {"tilted", "gaussian", "histogram", "two_hot"}, default="tilted"
        Of the soft scheme, see :class:`~bridges_tabular.core.encoders.SoftEncoder`.
    encoder : str, optional
        Import path of an encoder of your own, a subclass of :class:`~bridges_tabular.core.encoders.TargetEncoder`
        built as ``Encoder(bins, smoothing)``, in place of that of "soft", "pretrained" or "end_to_end".
    pretraining_steps : int, default=250
        Steps of learning the code, of "pretrained" alone.
    autoencoding_weight, alignment_weight, regression_weight : float, default=10, 1, 0
        See :class:`~bridges_tabular.core.objective.BridgeObjective`.
    encoder_learning_rate : float, default=0.3
        Learning rate of encoder and decoder as a multiple of ``learning_rate``.
    head : str, default="auto"
        "plain", "cumulative", "location", or the import path of a head of your own, see
        :class:`~bridges_tabular.tabular.head.BridgeHead`. "auto" picks by the number of training rows.
    head_params : dict, optional
        Parameters of the head (``gamma``), and of pytorch-tabular's LinearHead, which comes before it.
    backbone_params : dict, optional
        Parameters of the backbone's configuration class, over those of :mod:`bridges_tabular.tabular.defaults`.
    least_squares_share : float, optional
        Share of the members of MemberMLPConfig that learn the target itself by least squares, beside others that learn
        its classes. Default: half of them, none in other backbones and with "softmax_least_squares".
    calibration : {"pooled", "deconvolve", "shrink", "none"}, default="pooled"
        From class probabilities to a distribution, fitted on the validation rows, see
        :class:`~bridges_tabular.core.calibration.DistributionCalibrator`. Schemes without a code get one from local
        residuals, and none at all with "none".
    calibration_fraction : float, optional
        Share of the training rows that is held out for conformal intervals alone. Default: the validation rows serve.
    support : (low, high), optional
        Numbers between which every target lies, None for no end: ``(0, None)``. What a distribution has beyond an end
        is put on that end, which never makes its CRPS worse.
    target_transform : {"log", "sqrt", "yeo-johnson"} or transformer of scikit-learn, optional
        What is learned in place of the target; must increase. The prediction is the mean of the distribution turned
        back, which for "log" and "sqrt" has no mass below 0; "yeo-johnson" finds its power for the standardised target.
        Ten ranges beyond the training targets a tail takes over. A model with a transformer cannot be saved.
    learning_rate : float, optional
        Of AdamW, falling to zero along half a cosine over ``max_epochs``. Default: 6e-3, and 3e-3 with the preset
        "best" and with other backbones.
    weight_decay : float, default=1e-5
    max_epochs : int, optional
        Default: as many as make 4,000 steps, 2,000 if fast, 8,000 if best or another backbone, between 60 and 200.
    batch_size : int, optional
        Default: about a fiftieth of the training rows, as a power of two between 32 and 512.
    patience : int, optional
        Stop after so many epochs without a better score of the validation rows. Default: train all epochs.
    early_stopping_metric : {"rmse", "crps", "loss"}, default="rmse"
        The score of the validation rows that chooses the best epoch: the error of the decoded mean, the CRPS of the
        class probabilities as masses on the bins' centres, or what the scheme trains on.
    validation_fraction : float, default=0.2
        Share of the rows held out to choose the best epoch where ``fit`` is given no ``eval_set``.
    refit : bool, default=False
        Train again on all rows of X, for as many epochs as were best, where validation rows had to be held out.
    warm_start : bool, default=False
        Start from the weights, the bins, the preprocessing and the target's scale of the last fit.
    device : str, default="cpu"
        "cpu", "cuda" or "auto".
    precision : {"32-true", "bf16-mixed", "16-mixed"}, default="32-true"
        Of the network while training; the objective and predictions are in float32.
    compile : bool, default=False
        Train on the network as compiled by torch.compile.
    random_state : int, RandomState instance or None, default=0
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    model_ : BridgeModel
    best_epoch_ : int
        The epoch, counted from 0, whose weights are kept: the one with the lowest ``early_stopping_metric``.
    evals_result_ : dict
        Scores of the validation rows, epoch by epoch, under "validation_0" as in XGBoost.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)
    n_outputs_ : int
        Number of targets.
    scale_ : TargetScale
        Mean and deviation of the training targets. ``model_`` and ``codecs_`` work in these units.
    codecs_ : list of TargetCodec
        Bins, encoder and decoder of every target, see :class:`~bridges_tabular.core.codec.TargetCodec`; empty for
        schemes without a code.
    codec_scales_ : list of TargetScale
        What turns positions of each of ``codecs_`` into units of the target.
    class_use_ : list of arrays of shape (k,)
        Mean code of the training targets, of every target; empty for schemes without a code.

    Notes
    -----
    Numbers are standardised, missing ones become the median with an indicator; categories are embedded, with one code
    for missing and unseen ones; dates are expanded. The global random state stays, and threads change no digit.
    """

    _parameter_constraints: dict[str, Any] = {
        **constraints(*SHARED),
        **CALIBRATION_CONSTRAINTS,
        **UNIT_CONSTRAINTS,
        "backbone": [str],
        "preset": [StrOptions(set(defaults.PRESETS))],
        "encoder": [str, None],
        "head": [str],
        "head_params": [dict, None],
        "backbone_params": [dict, None],
        "least_squares_share": [Interval(Real, 0, 1, closed="left"), None],
        # AdamW's weights move by as much in each step, and shrink by the product
        "learning_rate": [Interval(Real, 0, 1, closed="right"), None],
        "weight_decay": [Interval(Real, 0, 1, closed="both")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping_metric": [StrOptions(set(METRICS))],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "refit": ["boolean"],
        "warm_start": ["boolean"],
        "device": [StrOptions({"cpu", "cuda", "auto"})],
        "precision": [StrOptions(set(PRECISIONS))],
        "compile": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str = defaults.OWN,
        scheme: str = PARAMETERS["scheme"].default,
        *,
        preset: str = "default",
        n_bins: int = PARAMETERS["n_bins"].default,
        placement: str = PARAMETERS["placement"].default,
        margin: float = PARAMETERS["margin"].default,
        uniform_share: float = PARAMETERS["uniform_share"].default,
        smoothing: float = PARAMETERS["smoothing"].default,
        kernel: str = PARAMETERS["kernel"].default,
        encoder: str | None = None,
        pretraining_steps: int = PARAMETERS["pretraining_steps"].default,
        autoencoding_weight: float = PARAMETERS["autoencoding_weight"].default,
        alignment_weight: float = PARAMETERS["alignment_weight"].default,
        regression_weight: float = PARAMETERS["regression_weight"].default,
        encoder_learning_rate: float = PARAMETERS["encoder_learning_rate"].default,
        head: str = "auto",
        head_params: dict[str, Any] | None = None,
        backbone_params: dict[str, Any] | None = None,
        least_squares_share: float | None = None,
        calibration: str = PARAMETERS["calibration"].default,
        calibration_fraction: float | None = PARAMETERS["calibration_fraction"].default,
        support: tuple[float | None, float | None] | None = None,
        target_transform: Any = None,
        learning_rate: float | None = None,
        weight_decay: float = 1e-5,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        patience: int | None = None,
        early_stopping_metric: str = "rmse",
        validation_fraction: float = 0.2,
        refit: bool = False,
        warm_start: bool = False,
        device: str = "cpu",
        precision: str = "32-true",
        compile: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.scheme = scheme
        self.preset = preset
        self.n_bins = n_bins
        self.placement = placement
        self.margin = margin
        self.uniform_share = uniform_share
        self.smoothing = smoothing
        self.kernel = kernel
        self.encoder = encoder
        self.pretraining_steps = pretraining_steps
        self.autoencoding_weight = autoencoding_weight
        self.alignment_weight = alignment_weight
        self.regression_weight = regression_weight
        self.encoder_learning_rate = encoder_learning_rate
        self.head = head
        self.head_params = head_params
        self.backbone_params = backbone_params
        self.least_squares_share = least_squares_share
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.support = support
        self.target_transform = target_transform
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.patience = patience
        self.early_stopping_metric = early_stopping_metric
        self.validation_fraction = validation_fraction
        self.refit = refit
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.compile = compile
        self.random_state = random_state
        self.verbose = verbose

    def check_params(self) -> None:
        """Refuse a hyper-parameter that no fit could use; needs no data.

        Raises
        ------
        ValueError
            In one line that names the parameter, its value and what would be valid.
        """
        super().check_params()
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda': there is no such device here; use 'cpu' or 'auto'")
        check_precision(self._device, self.precision)
        check(self.get_params(deep=False))

    @property
    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def _engine(self, columns: TableEncoder, prepared: Prepared) -> TabularEngine:
        return TabularEngine(
            columns,
            prepared,
            self.get_params(deep=False),
            TrainingOptions(
                metric=self.early_stopping_metric,
                patience=self.patience,
                device=self._device,
                precision=self.precision,
                compile=bool(self.compile),
            ),
            start=self._network if self._continued() else None,
        )

    def _continued(self) -> bool:
        return self.warm_start and self.__sklearn_is_fitted__()

    def _check_stream(self) -> None:
        for name in ("warm_start", "refit"):
            if getattr(self, name):
                raise ValueError(f"{name}=True needs the table in memory")

    def _train_stream(self, rows: Divided, seed: int, report: Report) -> Trained:
        return streamed.train(self._engine(self._columns, Prepared()), rows, self.scale_, seed, report)

    def _fit_stream(self, stream: Stream, watched: Stream | None, report: Report) -> None:
        with epoch_bar(report, self.early_stopping_metric, shown=bool(self.verbose)) as heard:
            super()._fit_stream(stream, watched, heard)

    def _fit(self, given: Given, watched: Given | None, prepared: Prepared, report: Report) -> None:
        with epoch_bar(report, self.early_stopping_metric, shown=bool(self.verbose)) as heard:
            super()._fit(given, watched, prepared, heard)

    def _finish(self, engine: Engine, trained: Trained, parts: Parts, seed: int) -> Trained:
        if not self.refit or parts.everything is None:
            return trained
        # the bins stay those of the training rows: what was calibrated holds for them
        own = cast(TabularEngine, engine)
        return own.refit(cast(TabularTrained, trained), parts.train, parts.everything, seed)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
