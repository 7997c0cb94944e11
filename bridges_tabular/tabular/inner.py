"""The inner network: a complete stock model of pytorch-tabular, whose outputs the bridge heads read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_tabular import models
from pytorch_tabular.config import InferredConfig, ModelConfig
from pytorch_tabular.models.base_model import BaseModel
from pytorch_tabular.models.common.heads.blocks import LinearHead
from pytorch_tabular.utils import getattr_nested
from torch import nn

from bridges_tabular.tabular.head import BridgeHead, MixedLinear
from bridges_tabular.tabular.members import MemberMLPConfig

STACK = "StackingModelConfig"

# a mixture density network is itself a head, with an objective of its own
_NOT_BACKBONES = ("MDNConfig",)

OWN_BACKBONES: dict[str, type[ModelConfig]] = {"MemberMLPConfig": MemberMLPConfig}


def backbone_names() -> list[str]:
    """Names of the configuration classes that can be a backbone: ours, and those that pytorch-tabular exports."""
    theirs = [
        name
        for name in models.__all__
        if name.endswith("Config") and name not in _NOT_BACKBONES and issubclass(getattr(models, name), ModelConfig)
    ]
    return sorted([*OWN_BACKBONES, *theirs])


def config_class(name: str) -> type[ModelConfig]:
    """The configuration class of a backbone."""
    found: type[ModelConfig] = OWN_BACKBONES.get(name) or getattr(models, name)
    return found


def plain(config: Any) -> dict[str, Any]:
    """A configuration of OmegaConf as plain values."""
    container = OmegaConf.to_container(config)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def backbone_config(name: str, params: Mapping[str, Any], linear_head: Mapping[str, Any]) -> ModelConfig:
    """The configuration of a backbone.

    Parameters
    ----------
    name : str
        Of :func:`backbone_names`.
    params : mapping
        Its parameters; those of a stack are ``model_configs``, whose members name their class too.
    linear_head : mapping
        Parameters of the LinearHead that comes before the bridge head.
    """
    given = {"head_config": dict(linear_head), **params}
    if name == STACK:
        given["model_configs"] = [_member(**member) for member in given.get("model_configs", [])]
    return config_class(name)(task="regression", **given)


def _member(backbone_config_class: str, **params: Any) -> ModelConfig:
    """Configuration of one network of a stack."""
    return config_class(backbone_config_class)(task="regression", **params)


def inferred_config(n_continuous: int, cardinalities: Sequence[int], n_outputs: int) -> DictConfig:
    """What pytorch-tabular's datamodule would infer from a table with such columns."""
    config: DictConfig = OmegaConf.structured(
        InferredConfig(
            categorical_dim=len(cardinalities),
            continuous_dim=n_continuous,
            output_dim=n_outputs,
            categorical_cardinality=list(cardinalities),
            # the rule of pytorch-tabular's own datamodule
            embedding_dims=[(cardinality, min(50, (cardinality + 1) // 2)) for cardinality in cardinalities],
        )
    )
    return config


def build_inner(backbone: ModelConfig, around: Mapping[str, Any], inferred: DictConfig, raw_dim: int) -> BaseModel:
    """Build the network.

    Parameters
    ----------
    backbone : ModelConfig
    around : mapping
        Settings of the trainer and of the data, of which backbones read some; their own win.
    inferred : DictConfig
        From :func:`inferred_config`.
    raw_dim : int
        Number of its outputs.
    """
    structured = OmegaConf.structured(backbone)
    config = OmegaConf.create({**around, **plain(structured), "target_range": None})
    own = deepcopy(inferred)
    own.output_dim = raw_dim
    return getattr_nested(structured._module_src, structured._model_name)(config, inferred_config=own)


def fold_into_last_layer(module: nn.Module, heads: list[BridgeHead]) -> bool:
    """Let the last linear layer do what the heads do linearly, where the network ends in one and one alone."""
    linear_heads = [part for part in module.modules() if isinstance(part, LinearHead)]
    for part in linear_heads:
        # pytorch-tabular's initialisation is larger than torch's own, and logits that start large start far from
        # any smooth distribution
        part.layers[-1].reset_parameters()
    if len(linear_heads) != 1:
        return False
    layers = linear_heads[0].layers
    layers[-1] = MixedLinear(layers[-1], heads)
    return True
