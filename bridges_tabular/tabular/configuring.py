"""From a regressor's parameters to what pytorch-tabular's models read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig

from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.tabular.config import BridgeConfig
from bridges_tabular.tabular.defaults import OWN, backbone_params, learning_rate, least_squares_share
from bridges_tabular.tabular.features import FeatureTensors

# names of BridgeConfig's that a regressor has others for
_OURS = {
    "backbone_config_params": "backbone_params",
    "backbone_config_class": "backbone",
    "kind of head_config": "head",
    "head_config": "head_params",
    "seed of TrainerConfig": "random_state",
    "target_range of BridgeConfig": "support",
    # a regressor has none
    "; set metrics of BridgeConfig": "",
}
_FIELDS = frozenset(item.name for item in fields(BridgeConfig))
# hyper-parameters of the method that a regressor and BridgeConfig call by the same name
SHARED = tuple(name for name in PARAMETERS if name in _FIELDS)


def bridge_config(params: Mapping[str, Any]) -> BridgeConfig:
    """The model configuration, from the parameters of a regressor.

    Raises
    ------
    ValueError
        If no model could use it; in one line that names the parameter.
    """
    if "kind" in (params["head_params"] or {}):
        raise ValueError("head_params holds 'kind', which the parameter 'head' decides")
    try:
        return BridgeConfig(
            task="regression",
            backbone_config_class=params["backbone"],
            backbone_config_params=backbone_params(params["backbone"], params["backbone_params"], params["preset"]),
            head_config={"kind": params["head"], **(params["head_params"] or {})},
            encoder=params["encoder"],
            least_squares_share=least_squares_share(params),
            learning_rate=learning_rate(params),
            # numbers of NumPy are none of OmegaConf's
            **{name: PARAMETERS[name].kind(params[name]) for name in SHARED},
        )
    except ValueError as error:
        said = str(error)
        for theirs, ours in _OURS.items():
            # in quotes is what was given
            said = re.sub(f"(?<!'){theirs}", ours, said)
        raise ValueError(said) from None


def check(params: Mapping[str, Any]) -> None:
    """Refuse parameters of a regressor that no network could be built from or trained with.

    Raises
    ------
    ValueError
        In one line that names the parameter.
    """
    if params["preset"] != "default" and params["backbone"] != OWN:
        raise ValueError(f"preset={params['preset']!r} is for backbone={OWN!r}, got {params['backbone']!r}")
    network = bridge_config(params).network
    if params["early_stopping_metric"] == "crps" and not SCHEMES[params["scheme"]].has_code:
        raise ValueError(f"early_stopping_metric='crps' needs a scheme with a code, got scheme={params['scheme']!r}")
    rate = learning_rate(params)
    if rate * params["weight_decay"] > 1:
        raise ValueError(
            f"weight_decay={params['weight_decay']} with learning_rate={rate}: "
            "a step would turn weights around; their product must be at most 1"
        )
    if params["batch_size"] == 1 and (reason := network.fails(rows=1)) is not None:
        raise ValueError(f"batch_size=1 is too small for {params['backbone']}: {reason}")


def full_config(
    bridge: BridgeConfig, features: FeatureTensors, n_targets: int, batch_size: int, epochs: int, weight_decay: float
) -> DictConfig:
    """The merged configuration that a model is built from."""
    parts = [
        DataConfig(
            target=[f"target {index}" for index in range(n_targets)],
            continuous_cols=[_literal(name) for name in features.continuous_names],
            categorical_cols=[_literal(name) for name in features.categorical_names],
        ),
        bridge,
        TrainerConfig(batch_size=batch_size, max_epochs=epochs),
        OptimizerConfig(
            optimizer="AdamW",
            optimizer_params={"weight_decay": float(weight_decay), "fused": True},
            lr_scheduler="CosineAnnealingLR",
            lr_scheduler_params={"T_max": epochs},
        ),
    ]
    merged = OmegaConf.merge(*(OmegaConf.to_container(OmegaConf.structured(part)) for part in parts))
    assert isinstance(merged, DictConfig)
    return merged


def _literal(name: str) -> str:
    """A name as OmegaConf has to be given it, for which ``${`` begins a reference."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", name)
