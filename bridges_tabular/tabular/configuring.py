"""From a regressor's parameters to what pytorch-tabular's models read, and its silence."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.seed import isolate_rng
from pytorch_tabular.config import DataConfig, InferredConfig, OptimizerConfig, TrainerConfig

from bridges_tabular.tabular.config import BridgeConfig
from bridges_tabular.tabular.defaults import backbone_params
from bridges_tabular.tabular.features import FeatureTensors

if TYPE_CHECKING:
    from bridges_tabular.tabular.regressor import TabularBridgeRegressor

# parameters that a regressor and BridgeConfig call by the same name
_SHARED = ("scheme", "placement", "kernel", "encoder", "encoder_logits")
_SHARED_NUMBERS = (
    "smoothing",
    "margin",
    "uniform_share",
    "autoencoding_weight",
    "alignment_weight",
    "regression_weight",
    "crps_weight",
    "encoder_learning_rate",
    "learning_rate",
)


def bridge_config(regressor: TabularBridgeRegressor) -> BridgeConfig:
    """The model configuration.

    Raises
    ------
    ValueError
        If no model could use it.
    """
    shared: dict[str, Any] = {name: getattr(regressor, name) for name in _SHARED}
    shared |= {name: float(getattr(regressor, name)) for name in _SHARED_NUMBERS}
    return BridgeConfig(
        task="regression",
        backbone_config_class=regressor.backbone,
        backbone_config_params=backbone_params(regressor.backbone, regressor.backbone_params),
        n_bins=int(regressor.n_bins),
        pretraining_steps=int(regressor.pretraining_steps),
        ordered_values=bool(regressor.ordered_values),
        head_config={"kind": regressor.head, **(regressor.head_params or {})},
        **shared,
    )


def full_config(
    regressor: TabularBridgeRegressor, features: FeatureTensors, targets: list[str], batch_size: int, epochs: int
) -> DictConfig:
    """The merged configuration that a model is built from."""
    parts = [
        DataConfig(
            target=targets, continuous_cols=features.continuous_names, categorical_cols=features.categorical_names
        ),
        bridge_config(regressor),
        TrainerConfig(batch_size=batch_size, max_epochs=epochs),
        OptimizerConfig(
            optimizer="AdamW",
            optimizer_params={"weight_decay": float(regressor.weight_decay), "fused": True},
            lr_scheduler="CosineAnnealingLR",
            lr_scheduler_params={"T_max": epochs},
        ),
    ]
    merged = OmegaConf.merge(*(OmegaConf.to_container(OmegaConf.structured(part)) for part in parts))
    assert isinstance(merged, DictConfig)
    return merged


def inferred_config(features: FeatureTensors, n_targets: int) -> DictConfig:
    """What pytorch-tabular's datamodule would infer from the table."""
    cardinalities = features.cardinalities
    config: DictConfig = OmegaConf.structured(
        InferredConfig(
            categorical_dim=len(cardinalities),
            continuous_dim=len(features.continuous_names),
            output_dim=n_targets,
            categorical_cardinality=cardinalities,
            # the rule of pytorch-tabular's own datamodule
            embedding_dims=[(cardinality, min(50, (cardinality + 1) // 2)) for cardinality in cardinalities],
        )
    )
    return config


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator that networks start from, and leave the user's as they were."""
    with isolate_rng():
        # GATE, GANDALF and NODE draw from Python's and NumPy's
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what pytorch-tabular and Lightning say of heads, devices and their own progress."""
    names = ("pytorch_tabular", "pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", module=r"(pytorch_tabular|pytorch_lightning|lightning_fabric|torch|omegaconf)\."
            )
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
