"""The model configuration, in pytorch-tabular's own pattern."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields
from typing import Any

from pytorch_tabular import models
from pytorch_tabular.config import ModelConfig
from pytorch_tabular.models.common.heads import LinearHeadConfig

from bridges_tabular.core.bins import PLACEMENTS
from bridges_tabular.core.encoders import KERNELS
from bridges_tabular.tabular.head import HEADS

SCHEMES = ("least_squares", "softmax_least_squares", "hard", "soft", "pretrained", "end_to_end")

# a mixture density network is itself a head, with an objective of its own
_NOT_BACKBONES = ("MDNConfig",)


def backbone_names() -> list[str]:
    """Names of the configuration classes that can be a backbone, as pytorch-tabular exports them."""
    return sorted(
        name
        for name in models.__all__
        if name.endswith("Config") and name not in _NOT_BACKBONES and issubclass(getattr(models, name), ModelConfig)
    )


@dataclass
class BridgeConfig(ModelConfig):  # type: ignore[misc]
    """A pytorch-tabular network trained on the encoder-decoder objective.

    Use it like any other model configuration of pytorch-tabular, from Python or from YAML (``_module_src:
    models.bridge``, ``_model_name: BridgeModel``, ``_config_name: BridgeConfig``). Fields of ``ModelConfig`` keep
    their meaning; ``loss`` has none, since the objective is part of the model.

    Raises
    ------
    ValueError
        For a value or a key of ``backbone_config_params`` or ``head_config`` that no model could use.
    """

    backbone_config_class: str = field(
        default="CategoryEmbeddingModelConfig",
        metadata={"help": "Name of the backbone's configuration class in pytorch_tabular.models."},
    )
    backbone_config_params: dict[str, Any] = field(
        default_factory=dict, metadata={"help": "Parameters of the backbone's configuration class."}
    )
    scheme: str = field(
        default="end_to_end",
        metadata={"help": "What the network is trained on.", "choices": list(SCHEMES)},
    )
    n_bins: int = field(default=32, metadata={"help": "Number of classes k; fewer where targets have fewer values."})
    placement: str = field(
        default="blend",
        metadata={"help": "Where the bins lie on the target axis.", "choices": list(PLACEMENTS)},
    )
    kernel: str = field(default="tilted", metadata={"help": "Kernel of the soft encoder.", "choices": list(KERNELS)})
    smoothing: float = field(default=1.5, metadata={"help": "Width of the kernel in local bin widths."})
    autoencoding_weight: float = field(
        default=10.0, metadata={"help": "Weight of (y - mu.psi)^2; end_to_end alone uses it."}
    )
    alignment_weight: float = field(default=1.0, metadata={"help": "Weight of KL(psi || pi)."})
    regression_weight: float = field(default=0.0, metadata={"help": "Weight of (y - mu.pi)^2."})
    encoder_learning_rate: float = field(
        default=0.3, metadata={"help": "Learning rate of encoder and decoder as a multiple of learning_rate."}
    )
    head: str = field(init=False, default="BridgeHead")
    head_config: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": f"kind ({', '.join(('auto', *HEADS))}; default auto), gamma (scale of the cumulative head, "
            "default 3), and the keys of pytorch-tabular's LinearHead, which comes before it."
        },
    )
    _module_src: str = field(default="models.bridge")
    _model_name: str = field(default="BridgeModel")
    _config_name: str = field(default="BridgeConfig")

    def __post_init__(self) -> None:
        # the parent class checks `head` against its own list: show it the linear part
        own_head_config, self.head_config = self.head_config, self.linear_head_config
        self.head = "LinearHead"
        super().__post_init__()
        self.head, self.head_config = "BridgeHead", own_head_config
        self._check_keys()
        for name in ("n_bins", "smoothing", "encoder_learning_rate", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.n_bins < 2:
            raise ValueError(f"n_bins must be at least 2, got {self.n_bins}")
        for name in ("autoencoding_weight", "alignment_weight", "regression_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.alignment_weight and not self.regression_weight:
            raise ValueError("alignment_weight and regression_weight are both 0: nothing would train the network")
        kind = self.head_config.get("kind", "auto")
        if kind not in ("auto", *HEADS):
            raise ValueError(f"head must be one of {', '.join(('auto', *HEADS))}, got {kind!r}")

    @property
    def linear_head_config(self) -> dict[str, Any]:
        """The part of ``head_config`` that belongs to pytorch-tabular's LinearHead."""
        return {"layers": "", **{key: value for key, value in self.head_config.items() if key not in _OWN_HEAD_KEYS}}

    def _check_keys(self) -> None:
        if self.backbone_config_class not in backbone_names():
            raise ValueError(_unknown("backbone", self.backbone_config_class, backbone_names()))
        known = [item.name for item in fields(getattr(models, self.backbone_config_class)) if item.init]
        for key in self.backbone_config_params:
            if key not in known:
                raise ValueError(_unknown(f"backbone_config_params of {self.backbone_config_class}", key, known))


_OWN_HEAD_KEYS = ("kind", "gamma")
_LINEAR_HEAD_KEYS = tuple(item.name for item in fields(LinearHeadConfig))


def _unknown(where: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{where}: unknown {key!r}; {hint}choices: {', '.join(name for name in known if name[0] != '_')}"
