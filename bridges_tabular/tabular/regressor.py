"""A scikit-learn regressor around a bridged pytorch-tabular network."""

from __future__ import annotations

from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from bridges_tabular._regressor import CALIBRATION_CONSTRAINTS, BridgeRegressorMixin
from bridges_tabular._sharing import shared
from bridges_tabular.core.bins import PLACEMENTS
from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.encoders import CODE_LOGITS, KERNELS
from bridges_tabular.tabular import defaults, learned, persistence
from bridges_tabular.tabular.config import SCHEMES
from bridges_tabular.tabular.configuring import bridge_config, full_config, inferred_config, quiet, seeded
from bridges_tabular.tabular.datamodule import TensorTable, TrainingRows
from bridges_tabular.tabular.features import FeatureTensors
from bridges_tabular.tabular.forecasts import TargetForecasts, forecasts_of
from bridges_tabular.tabular.model import BridgeModel
from bridges_tabular.tabular.rows import Part, check_features, read_parts
from bridges_tabular.tabular.training import PRECISIONS, TrainingOptions, predict_batches, train

# distributions are made for so many rows at once where only a few numbers of each are asked for
_DISTRIBUTION_ROWS = 8192


def _has_distribution(self: TabularBridgeRegressor) -> bool:
    return self.calibration != "none" or self.scheme not in ("least_squares", "softmax_least_squares")


def _has_encoder(self: TabularBridgeRegressor) -> bool:
    return self.scheme not in ("least_squares", "softmax_least_squares")


class TabularBridgeRegressor(BridgeRegressorMixin, BaseEstimator):
    """Regression with any pytorch-tabular network, over classes instead of by least squares.

    Parameters
    ----------
    backbone : str, default="CategoryEmbeddingModelConfig"
        Name of a configuration class in ``pytorch_tabular.models``.
    scheme : str, default="end_to_end"
        "end_to_end" trains encoder, decoder and network together; "pretrained" learns the code of the target first;
        "soft" and "hard" use a fixed code; "softmax_least_squares" and "least_squares" are baselines on squared error.
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
    encoder_logits : {"linear", "quadratic", "mlp"}, default="linear"
        Of the encoder that "pretrained" and "end_to_end" learn, see
        :class:`~bridges_tabular.core.encoders.LearnedEncoder`.
    ordered_values : bool, default=False
        Keep the decoder's values in the order of the classes.
    pretraining_steps : int, default=250
        Steps of learning the code, of "pretrained" alone.
    autoencoding_weight, alignment_weight, regression_weight, crps_weight : float, default=10, 1, 0, 0
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
    calibration : {"pooled", "deconvolve", "shrink", "none"}, default="pooled"
        From class probabilities to a distribution, fitted on the validation rows, see
        :class:`~bridges_tabular.core.calibration.DistributionCalibrator`. Schemes without a code get one from local
        residuals, and none at all with "none".
    calibration_fraction : float, optional
        Share of the training rows that is held out for conformal intervals alone. Default: the validation rows serve.
    learning_rate : float, default=3e-3
        Of AdamW, falling to zero along half a cosine over ``max_epochs``.
    weight_decay : float, default=1e-5
    max_epochs : int, optional
        Default: as many as make 8,000 steps, between 60 and 200.
    batch_size : int, optional
        Default: about a fiftieth of the training rows, as a power of two between 32 and 512.
    patience : int, optional
        Stop after so many epochs without a better validation error. Default: train all epochs.
    validation_fraction : float, default=0.2
        Share of the rows held out to choose the best epoch where ``fit`` is given no ``eval_set``.
    refit : bool, default=False
        Train again on all rows of X, for as many epochs as were best, where validation rows had to be held out.
    warm_start : bool, default=False
        Start from the weights, the bins and the preprocessing of the last fit.
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
        The epoch, counted from 0, whose weights are kept: the one with the lowest validation RMSE.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)
    n_outputs_ : int
        Number of targets.
    codecs_ : list of TargetCodec
        Bins, encoder and decoder of every target, with its scale, see :class:`~bridges_tabular.core.codec.TargetCodec`;
        empty for schemes without a code.
    class_use_ : list of arrays of shape (k,)
        Mean code of the training targets, of every target.

    Notes
    -----
    Numbers are standardised, missing ones become the median with an indicator; categories are embedded, with one code
    for missing and unseen ones; dates are expanded. The global random state is left as it was.
    """

    _parameter_constraints: dict[str, Any] = {
        "backbone": [str],
        "scheme": [StrOptions(set(SCHEMES))],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "placement": [StrOptions(set(PLACEMENTS))],
        "margin": [Interval(Real, 0, None, closed="left")],
        "uniform_share": [Interval(Real, 0, 1, closed="both")],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
        "kernel": [StrOptions(set(KERNELS))],
        "encoder": [str, None],
        "encoder_logits": [StrOptions(set(CODE_LOGITS))],
        "ordered_values": ["boolean"],
        "pretraining_steps": [Interval(Integral, 1, None, closed="left")],
        "autoencoding_weight": [Interval(Real, 0, None, closed="left")],
        "alignment_weight": [Interval(Real, 0, None, closed="left")],
        "regression_weight": [Interval(Real, 0, None, closed="left")],
        "crps_weight": [Interval(Real, 0, None, closed="left")],
        "encoder_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "head": [str],
        "head_params": [dict, None],
        "backbone_params": [dict, None],
        **CALIBRATION_CONSTRAINTS,
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
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
        backbone: str = "CategoryEmbeddingModelConfig",
        scheme: str = "end_to_end",
        *,
        n_bins: int = 32,
        placement: str = "blend",
        margin: float = 0.1,
        uniform_share: float = defaults.UNIFORM_SHARE,
        smoothing: float = defaults.SMOOTHING,
        kernel: str = "tilted",
        encoder: str | None = None,
        encoder_logits: str = "linear",
        ordered_values: bool = False,
        pretraining_steps: int = 250,
        autoencoding_weight: float = 10.0,
        alignment_weight: float = 1.0,
        regression_weight: float = 0.0,
        crps_weight: float = 0.0,
        encoder_learning_rate: float = 0.3,
        head: str = "auto",
        head_params: dict[str, Any] | None = None,
        backbone_params: dict[str, Any] | None = None,
        calibration: str = "pooled",
        calibration_fraction: float | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-5,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        patience: int | None = None,
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
        self.n_bins = n_bins
        self.placement = placement
        self.margin = margin
        self.uniform_share = uniform_share
        self.smoothing = smoothing
        self.kernel = kernel
        self.encoder = encoder
        self.encoder_logits = encoder_logits
        self.ordered_values = ordered_values
        self.pretraining_steps = pretraining_steps
        self.autoencoding_weight = autoencoding_weight
        self.alignment_weight = alignment_weight
        self.regression_weight = regression_weight
        self.crps_weight = crps_weight
        self.encoder_learning_rate = encoder_learning_rate
        self.head = head
        self.head_params = head_params
        self.backbone_params = backbone_params
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.patience = patience
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
        bridge_config(self)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda': there is no such device here; use 'cpu' or 'auto'")

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None, eval_set: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        y : array of shape (n,) or (n, targets)
        sample_weight : array of shape (n,), optional
        eval_set : (X, y) or (X, y, sample_weight), optional
            Validation rows, which choose the best epoch. Default: a seeded share of the rows is held out.

        Raises
        ------
        ValueError
            If a parameter, a column, the target or a weight cannot be used; before any training.
        """
        self.check_params()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        parts = read_parts(self, X, y, sample_weight, eval_set, seed)
        previous: BridgeModel | None = getattr(self, "model_", None) if self.warm_start else None
        if previous is None:
            self.features_ = shared(lambda: FeatureTensors().fit(parts.train.X), [parts.train.X], "features")
        self._single = parts.train.y.ndim == 1
        self.n_outputs_ = parts.train.columns.shape[1]
        with seeded(seed), quiet():
            model = self._new_model(parts.train) if previous is None else previous
            self.best_epoch_ = self._train(model, parts.train, parts.validation, seed)
            self.model_ = model
            outputs = [None if part is None else (part, *self._outputs(part.X)) for part in parts.held_out]
            self.forecasts_ = TargetForecasts.fit(model, self.calibration, parts.train, *outputs)
            self.class_use_ = [
                learned.class_use(codec, parts.train.columns[:, index], parts.train.weight)
                for index, codec in enumerate(model.codecs)
            ]
        if self.refit and parts.everything is not None:
            with seeded(seed), quiet():
                # the bins stay those of the training rows: what was calibrated holds for them
                self.model_ = self._new_model(parts.train)
                self._train(self.model_, parts.everything, None, seed, self.best_epoch_ + 1)
                self.forecasts_ = self.forecasts_.of_model(self.model_)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the target.

        Returns
        -------
        array of shape (n,), or (n, targets) if y was of that shape, in the units of the target
        """
        point = self._outputs(X)[0]
        return point[:, 0] if self._single else point

    @available_if(_has_distribution)  # type: ignore[untyped-decorator]
    def predict_distribution(self, X: Any) -> BinnedDistribution | list[BinnedDistribution]:
        """Predict the distribution of the target.

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target; a list with one for every target if y was of shape
        (n, targets)
        """
        distributions = self.forecasts_.distributions(*self._outputs(X))
        return distributions[0] if self._single else distributions

    @available_if(_has_distribution)  # type: ignore[untyped-decorator]
    def predict_quantiles(self, X: Any, levels: ArrayLike) -> NDArray[np.float64]:
        """Predict quantiles of the target.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        levels : float or array of shape (q,)
            Probabilities between 0 and 1.

        Returns
        -------
        array of shape (n, q), or (n, q, targets), in the units of the target; they never cross
        """
        wanted = np.atleast_1d(np.asarray(levels, dtype=float))
        return self._of_distributions(X, lambda _, distribution: distribution.quantile(wanted))

    @available_if(_has_distribution)  # type: ignore[untyped-decorator]
    def predict_interval(self, X: Any, coverage: float = 0.9, conformal: bool = False) -> NDArray[np.float64]:
        """Predict central intervals; see :meth:`BridgeRegressorMixin.predict_interval`.

        Returns
        -------
        array of shape (n, 2), or (n, 2, targets), lower and upper ends in the units of the target
        """
        return self._of_distributions(X, lambda part, distribution: part.interval(distribution, coverage, conformal))

    @property
    def codecs_(self) -> list[TargetCodec]:
        """Bins, encoder and decoder of every target; empty for schemes without a code."""
        check_is_fitted(self)
        return self.model_.codecs if _has_encoder(self) else []

    @available_if(_has_encoder)  # type: ignore[untyped-decorator]
    def encoder_frame(self, target: int = 0) -> pd.DataFrame:
        """What was learned about the classes of a target.

        Parameters
        ----------
        target : int, default=0
            Which one, where there are several.

        Returns
        -------
        DataFrame with a row for every class: ``center``, ``low`` and ``high`` of its bin, the decoder's ``value``,
        the mean and the deviation of y under its code (``code_mean``, ``code_width``), its ``use`` (the mean code of
        the training targets) and the ``entropy`` of the code of its centre, in nats; all else in units of the target
        """
        check_is_fitted(self)
        return learned.encoder_frame(self.model_.codecs[target], self.class_use_[target])

    @available_if(_has_encoder)  # type: ignore[untyped-decorator]
    def plot_encoder(self, target: int = 0, ax: Any = None) -> Any:
        """Draw the code psi(y) over y, a curve for each class, and the decoder's values.

        Parameters
        ----------
        target : int, default=0
            Which one, where there are several.
        ax : matplotlib axes, optional
            Where to draw; new axes by default.

        Returns
        -------
        matplotlib axes
        """
        check_is_fitted(self)
        return learned.plot_encoder(self.model_.codecs[target], self.class_use_[target], ax)

    def save(self, directory: str | Path) -> None:
        """Save to a folder of JSON and safetensors, which replaces a model that was saved there.

        Raises
        ------
        FileExistsError
            If the folder holds something else.
        """
        check_is_fitted(self)
        persistence.save(self, directory)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Load what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If the folder is not a saved model of this class.
        """
        return persistence.load(cls, directory)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags

    def _new_model(self, rows: Part) -> BridgeModel:
        targets = [f"target {index}" for index in range(self.n_outputs_)]
        config = full_config(self, self.features_, targets, self._batch_size(rows), self._max_epochs(rows))
        model = BridgeModel(config, inferred_config=inferred_config(self.features_, self.n_outputs_))
        model.data_aware_initialization(TrainingRows(self._table(rows), self._batch_size(rows), 0))
        return model

    def _train(self, model: BridgeModel, rows: Part, held_out: Part | None, seed: int, epochs: int = 0) -> int:
        options = TrainingOptions(
            max_epochs=epochs or self._max_epochs(rows),
            patience=self.patience,
            device=self._device(),
            precision=self.precision,
            compile=bool(self.compile),
            verbose=bool(self.verbose),
        )
        training = TrainingRows(self._table(rows), self._batch_size(rows), seed)
        best = train(model, training, None if held_out is None else self._table(held_out), options)
        model.cpu().eval()
        return best

    def _batch_size(self, rows: Part) -> int:
        return defaults.batch_size(len(rows.y)) if self.batch_size is None else int(self.batch_size)

    def _max_epochs(self, rows: Part) -> int:
        given = self.max_epochs
        return defaults.max_epochs(len(rows.y), self._batch_size(rows)) if given is None else int(given)

    def _of_distributions(self, X: Any, of: Any) -> NDArray[np.float64]:
        point, pi = self._outputs(X)
        blocks = []
        for start in range(0, len(point), _DISTRIBUTION_ROWS):
            at = slice(start, start + _DISTRIBUTION_ROWS)
            distributions = self.forecasts_.distributions(point[at], None if pi is None else [p[at] for p in pi])
            results = [of(*pair) for pair in zip(self.forecasts_.parts, distributions, strict=True)]
            blocks.append(results[0] if self._single else np.stack(results, axis=-1))
        return np.concatenate(blocks)

    def _outputs(self, X: Any) -> tuple[NDArray[np.float64], list[NDArray[np.float64]] | None]:
        """Points (n, targets) and, where there are classes, pi (n, k) for every target."""
        check_is_fitted(self)
        table = TensorTable(self._inputs(check_features(self, X, reset=False)))
        return forecasts_of(self.model_, *predict_batches(self.model_, table, TrainingOptions(1)))

    def _inputs(self, X: Any) -> dict[str, torch.Tensor]:
        continuous, categorical = self.features_.transform(X)
        return {"continuous": continuous, "categorical": categorical}

    def _table(self, part: Part) -> TensorTable:
        columns = self._inputs(part.X)
        columns["target"] = torch.as_tensor(part.columns, dtype=torch.float32)
        if part.weight is not None:
            columns["sample_weight"] = torch.as_tensor(part.weight, dtype=torch.float32)
        return TensorTable(columns)

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)
