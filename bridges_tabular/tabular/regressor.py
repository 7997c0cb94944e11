"""A scikit-learn regressor around a bridged pytorch-tabular network."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import ArrayLike, NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_tabular.config import DataConfig, InferredConfig, OptimizerConfig, TrainerConfig
from safetensors.torch import load_file, save_file
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from bridges_tabular._artifacts import new_artifact, read_state, write_state
from bridges_tabular._frames import (
    check_eval_set,
    check_sample_weight,
    check_table,
    check_target,
    split_validation,
)
from bridges_tabular._regressor import BridgeRegressorMixin
from bridges_tabular.core.bins import PLACEMENTS
from bridges_tabular.core.distribution import BinnedDistribution
from bridges_tabular.core.encoders import KERNELS
from bridges_tabular.tabular.callbacks import BestEpoch
from bridges_tabular.tabular.config import SCHEMES, BridgeConfig
from bridges_tabular.tabular.datamodule import EVALUATION_BATCH, TensorDatamodule, TensorTable
from bridges_tabular.tabular.features import FeatureTensors
from bridges_tabular.tabular.head import HEADS
from bridges_tabular.tabular.model import BridgeModel

_WEIGHTS_FILE = "weights.safetensors"


def _has_distribution(self: TabularBridgeRegressor) -> bool:
    return self.scheme != "least_squares"


class TabularBridgeRegressor(BridgeRegressorMixin, BaseEstimator):  # type: ignore[misc]
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
    smoothing : float, default=1.5
        Width of the encoder's kernel in local bin widths.
    kernel : {"tilted", "gaussian", "histogram", "two_hot"}, default="tilted"
        Of the soft scheme, see :class:`~bridges_tabular.core.encoders.SoftEncoder`.
    autoencoding_weight, alignment_weight, regression_weight : float, default=10, 1, 0
        See :class:`~bridges_tabular.core.objective.BridgeObjective`.
    head : {"auto", "plain", "cumulative", "location"}, default="auto"
        See :class:`~bridges_tabular.tabular.head.BridgeHead`.
    backbone_params : dict, optional
        Parameters of the backbone's configuration class.
    learning_rate : float, default=3e-3
        Of AdamW, falling to zero along half a cosine over ``max_epochs``.
    weight_decay : float, default=1e-5
    max_epochs : int, default=60
    batch_size : int, optional
        Default: about a fiftieth of the training rows, as a power of two between 32 and 512.
    patience : int, optional
        Stop after so many epochs without a better validation error. Default: train all epochs.
    validation_fraction : float, default=0.2
        Share of the rows held out to choose the best epoch where ``fit`` is given no ``eval_set``.
    device : str, default="cpu"
        "cpu", "cuda" or "auto".
    random_state : int, RandomState instance or None, default=0
    verbose : int, default=0
        1 shows Lightning's progress bar.

    Attributes
    ----------
    model_ : BridgeModel
    best_epoch_ : int
        The epoch, counted from 0, whose weights are kept: the one with the lowest validation RMSE.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,)

    Notes
    -----
    Numbers are standardised, missing ones become the median with an indicator; categories are embedded, with one code
    for missing and unseen ones. The global random state is left as it was.
    """

    _parameter_constraints: dict[str, Any] = {
        "backbone": [str],
        "scheme": [StrOptions(set(SCHEMES))],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "placement": [StrOptions(set(PLACEMENTS))],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
        "kernel": [StrOptions(set(KERNELS))],
        "autoencoding_weight": [Interval(Real, 0, None, closed="left")],
        "alignment_weight": [Interval(Real, 0, None, closed="left")],
        "regression_weight": [Interval(Real, 0, None, closed="left")],
        "head": [StrOptions({"auto", *HEADS})],
        "backbone_params": [dict, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "device": [StrOptions({"cpu", "cuda", "auto"})],
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
        smoothing: float = 1.5,
        kernel: str = "tilted",
        autoencoding_weight: float = 10.0,
        alignment_weight: float = 1.0,
        regression_weight: float = 0.0,
        head: str = "auto",
        backbone_params: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-5,
        max_epochs: int = 60,
        batch_size: int | None = None,
        patience: int | None = None,
        validation_fraction: float = 0.2,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = 0,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.scheme = scheme
        self.n_bins = n_bins
        self.placement = placement
        self.smoothing = smoothing
        self.kernel = kernel
        self.autoencoding_weight = autoencoding_weight
        self.alignment_weight = alignment_weight
        self.regression_weight = regression_weight
        self.head = head
        self.backbone_params = backbone_params
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.device = device
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
        self._bridge_config()

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None, eval_set: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        y : array of shape (n,)
        sample_weight : array of shape (n,), optional
        eval_set : (X, y) or (X, y, sample_weight), optional
            Validation rows, which choose the best epoch. Default: a seeded share of the rows is held out.

        Raises
        ------
        ValueError
            If a parameter, a column, the target or a weight cannot be used; before any training.
        """
        self.check_params()
        frame = check_table(self, X, reset=True)
        target = check_target(y)
        if len(target) != len(frame):
            raise ValueError(f"X has {len(frame)} rows, y has {len(target)}")
        weight = check_sample_weight(sample_weight, len(target))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        validation = check_eval_set(eval_set)
        if validation is None:
            rows, held_out = split_validation(len(target), self.validation_fraction, seed)
            validation = (frame.iloc[held_out], target[held_out], None if weight is None else weight[held_out])
            frame, target = frame.iloc[rows], target[rows]
            weight = None if weight is None else weight[rows]
        else:
            held_out_frame = check_table(self, validation[0], reset=False)
            held_out_target = check_target(validation[1], "y of eval_set")
            validation = (
                held_out_frame,
                held_out_target,
                check_sample_weight(validation[2], len(held_out_target)),
            )

        self.features_ = FeatureTensors().fit(frame)
        datamodule = TensorDatamodule(
            self._table(frame, target, weight), self._table(*validation), self._batch_size(len(target)), seed
        )
        config = self._config(datamodule.batch_size)
        inferred = self._inferred_config()
        best = BestEpoch("valid_mean_squared_error", self.patience)
        with torch.random.fork_rng(), _quiet():
            torch.manual_seed(seed)
            model = BridgeModel(config, inferred_config=inferred)
            model.data_aware_initialization(datamodule)
            self._train(model, datamodule, best)
        self.model_ = model.cpu().eval()
        self.best_epoch_ = best.best_epoch
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the target.

        Returns
        -------
        array of shape (n,), in the units of the target
        """
        return self._outputs(X)[0]

    @available_if(_has_distribution)
    def predict_distribution(self, X: Any) -> BinnedDistribution:
        """Predict the distribution of the target.

        Returns
        -------
        BinnedDistribution of n rows, in the units of the target
        """
        pi = self._outputs(X)[1]
        codec = self.model_.codecs[0]
        edges = codec.edges.numpy() * float(codec.scale) + float(codec.mean)
        return BinnedDistribution(edges, pi / pi.sum(axis=1, keepdims=True))

    def save(self, directory: str | Path) -> None:
        """Save to a folder of JSON and safetensors, which replaces a model that was saved there.

        Raises
        ------
        FileExistsError
            If the folder holds something else.
        """
        check_is_fitted(self)
        params = {**self.get_params(deep=False), "random_state": None}
        if isinstance(self.random_state, Integral):
            params["random_state"] = int(self.random_state)
        state = {
            "params": params,
            "features": self.features_.to_dict(),
            "named": hasattr(self, "feature_names_in_"),
            "best_epoch": self.best_epoch_,
            "config": OmegaConf.to_container(self.model_.hparams),
            "inferred_config": OmegaConf.to_container(self.model_.kwargs["inferred_config"]),
        }
        with new_artifact(directory) as folder:
            write_state(folder, self, state)
            save_file(self.model_.state_dict(), folder / _WEIGHTS_FILE)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Load what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If the folder is not a saved model of this class.
        """
        state = read_state(directory, cls.__name__)
        regressor = cls(**state["params"])
        regressor.features_ = FeatureTensors.from_dict(state["features"])
        names = state["features"]["encoder"]["columns"]
        regressor.n_features_in_ = len(names)
        if state["named"]:
            regressor.feature_names_in_ = np.asarray(names, dtype=object)
        regressor.best_epoch_ = state["best_epoch"]
        with torch.random.fork_rng(), _quiet():
            model = BridgeModel(
                OmegaConf.create(state["config"]), inferred_config=OmegaConf.create(state["inferred_config"])
            )
        model.load_state_dict(load_file(Path(directory) / _WEIGHTS_FILE))
        regressor.model_ = model.eval()
        return regressor

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _outputs(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        check_is_fitted(self)
        table = self._table(check_table(self, X, reset=False))
        point: list[Any] = []
        pi: list[Any] = []
        with torch.inference_mode():
            for start in range(0, len(table), EVALUATION_BATCH):
                output = self.model_(table.batch(slice(start, start + EVALUATION_BATCH)))
                point.append(output["logits"][:, 0].double().numpy())
                if "class_log_probs" in output:
                    pi.append(output["class_log_probs"][0].double().exp().numpy())
        return np.concatenate(point), np.concatenate(pi) if pi else np.empty((len(table), 0))

    def _table(self, X: Any, y: NDArray[Any] | None = None, weight: NDArray[Any] | None = None) -> TensorTable:
        return TensorTable(
            *self.features_.transform(X),
            None if y is None else torch.as_tensor(y, dtype=torch.float32)[:, None],
            None if weight is None else torch.as_tensor(weight, dtype=torch.float32),
        )

    def _batch_size(self, rows: int) -> int:
        if self.batch_size is not None:
            return self.batch_size
        return int(2 ** np.clip(np.floor(np.log2(max(rows, 1) / 50)), 5, 9))

    def _bridge_config(self) -> BridgeConfig:
        return BridgeConfig(
            task="regression",
            backbone_config_class=self.backbone,
            backbone_config_params=dict(self.backbone_params or {}),
            scheme=self.scheme,
            n_bins=int(self.n_bins),
            placement=self.placement,
            kernel=self.kernel,
            smoothing=float(self.smoothing),
            autoencoding_weight=float(self.autoencoding_weight),
            alignment_weight=float(self.alignment_weight),
            regression_weight=float(self.regression_weight),
            head_config={"kind": self.head},
            learning_rate=float(self.learning_rate),
        )

    def _config(self, batch_size: int) -> DictConfig:
        parts = [
            DataConfig(
                target=["target"],
                continuous_cols=self.features_.continuous_names,
                categorical_cols=self.features_.categorical_names,
            ),
            self._bridge_config(),
            TrainerConfig(batch_size=batch_size, max_epochs=int(self.max_epochs)),
            OptimizerConfig(
                optimizer="AdamW",
                optimizer_params={"weight_decay": float(self.weight_decay)},
                lr_scheduler="CosineAnnealingLR",
                lr_scheduler_params={"T_max": int(self.max_epochs)},
            ),
        ]
        return OmegaConf.merge(*(OmegaConf.to_container(OmegaConf.structured(part)) for part in parts))

    def _inferred_config(self) -> DictConfig:
        cardinalities = self.features_.cardinalities
        config = InferredConfig(
            categorical_dim=len(cardinalities),
            continuous_dim=len(self.features_.continuous_names),
            output_dim=1,
            categorical_cardinality=cardinalities,
            # the rule of pytorch-tabular's own datamodule
            embedding_dims=[(cardinality, min(50, (cardinality + 1) // 2)) for cardinality in cardinalities],
        )
        return OmegaConf.structured(config)

    def _train(self, model: BridgeModel, datamodule: TensorDatamodule, best: BestEpoch) -> None:
        trainer = pl.Trainer(
            accelerator="gpu" if self.device == "cuda" else self.device,
            devices=1,
            max_epochs=self.max_epochs,
            callbacks=[best],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=bool(self.verbose),
            num_sanity_val_steps=0,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(model, datamodule.train_dataloader(), datamodule.val_dataloader())
        except SystemExit as stopped:
            # Lightning turns Ctrl-C into an exit and ignores the next one: the caller decides what Ctrl-C means
            if isinstance(stopped.__context__, KeyboardInterrupt):
                signal.signal(signal.SIGINT, handler)
                raise KeyboardInterrupt from None
            raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what pytorch-tabular and Lightning say of devices, loaders and their own progress."""
    names = ("pytorch_tabular", "pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch|omegaconf)\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
