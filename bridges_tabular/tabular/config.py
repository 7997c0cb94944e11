"""The model configuration, in pytorch-tabular's own pattern."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import OmegaConf
from pytorch_tabular import models
from pytorch_tabular.config import ModelConfig
from pytorch_tabular.models.common.heads import LinearHeadConfig

from bridges_tabular.core.bins import PLACEMENTS, Bins
from bridges_tabular.core.encoders import CODE_LOGITS, KERNELS, TargetEncoder
from bridges_tabular.tabular import defaults
from bridges_tabular.tabular.choices import import_class, unknown
from bridges_tabular.tabular.head import HEADS, head_class

SCHEMES = ("least_squares", "softmax_least_squares", "hard", "soft", "pretrained", "end_to_end")

# a mixture density network is itself a head, with an objective of its own
_NOT_BACKBONES = ("MDNConfig",)
_LINEAR_HEAD_KEYS = tuple(item.name for item in fields(LinearHeadConfig))
_DEFAULT_KERNEL = "tilted"
_STACK = "StackingModelConfig"
_LEARNED = ("pretrained", "end_to_end")


def backbone_names() -> list[str]:
    """Names of the configuration classes that can be a backbone, as pytorch-tabular exports them."""
    return sorted(
        name
        for name in models.__all__
        if name.endswith("Config") and name not in _NOT_BACKBONES and issubclass(getattr(models, name), ModelConfig)
    )


def _check_backbone(name: str, params: dict[str, Any]) -> None:
    if name not in backbone_names():
        raise ValueError(unknown("backbone", name, backbone_names()))
    known = [item.name for item in fields(getattr(models, name)) if item.init]
    for key in params:
        if key not in known:
            raise ValueError(unknown(f"backbone_config_params of {name}", key, known))


def _member(backbone_config_class: str, **params: Any) -> ModelConfig:
    """Configuration of one network of a stack."""
    return getattr(models, backbone_config_class)(task="regression", **params)


def plain(config: Any) -> dict[str, Any]:
    """A configuration of OmegaConf as plain values."""
    container = OmegaConf.to_container(config)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


@dataclass
class BridgeConfig(ModelConfig):
    """A pytorch-tabular network trained on the encoder-decoder objective.

    Use it like any other model configuration of pytorch-tabular, from Python or from YAML (``_module_src:
    models.bridge``, ``_model_name: BridgeModel``, ``_config_name: BridgeConfig``). Fields of ``ModelConfig`` keep
    their meaning; ``loss`` has none, since the objective is part of the model.

    Raises
    ------
    ValueError
        For a value, a key of ``backbone_config_params`` or ``head_config``, or a combination that no model could use.
    """

    backbone_config_class: str = field(
        default="CategoryEmbeddingModelConfig",
        metadata={"help": "Name of the backbone's configuration class in pytorch_tabular.models."},
    )
    backbone_config_params: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "Parameters of the backbone's configuration class. Those of StackingModelConfig are model_configs, "
            "a list whose members hold a backbone_config_class and its parameters."
        },
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
    margin: float = field(
        default=0.1, metadata={"help": "How far the bins reach beyond the targets, as a share of their range."}
    )
    uniform_share: float = field(
        default=defaults.UNIFORM_SHARE, metadata={"help": "Share of the uniform distribution in the placement blend."}
    )
    kernel: str = field(
        default=_DEFAULT_KERNEL, metadata={"help": "Kernel of the soft encoder.", "choices": list(KERNELS)}
    )
    smoothing: float = field(default=defaults.SMOOTHING, metadata={"help": "Width of the kernel in local bin widths."})
    encoder: str | None = field(
        default=None,
        metadata={"help": "Import path of an encoder of your own, in place of that of soft, pretrained or end_to_end."},
    )
    encoder_logits: str = field(
        default="linear",
        metadata={"help": "Logits of a learned encoder, pretrained or end_to_end.", "choices": list(CODE_LOGITS)},
    )
    ordered_values: bool = field(
        default=False, metadata={"help": "Keep the decoder's values in the order of the classes."}
    )
    pretraining_steps: int = field(default=250, metadata={"help": "Steps of learning the code, pretrained alone."})
    autoencoding_weight: float = field(
        default=10.0, metadata={"help": "Weight of (y - mu.psi)^2; end_to_end alone uses it."}
    )
    alignment_weight: float = field(default=1.0, metadata={"help": "Weight of KL(psi || pi)."})
    regression_weight: float = field(default=0.0, metadata={"help": "Weight of (y - mu.pi)^2."})
    crps_weight: float = field(
        default=0.0, metadata={"help": "Weight of the CRPS of pi as a histogram over the bins, on the scaled target."}
    )
    encoder_learning_rate: float = field(
        default=0.3, metadata={"help": "Learning rate of encoder and decoder as a multiple of learning_rate."}
    )
    head: str = field(init=False, default="BridgeHead")
    head_config: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": f"kind ({', '.join(HEADS)}, or the import path of a BridgeHead of your own; default auto), the "
            "head's own parameters (gamma of auto and cumulative), and the keys of pytorch-tabular's LinearHead, "
            "which comes before it."
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
        self._check_numbers()
        self._check_combinations()

    @property
    def linear_head_config(self) -> dict[str, Any]:
        """The part of ``head_config`` that belongs to pytorch-tabular's LinearHead."""
        given = {key: value for key, value in self.head_config.items() if key in _LINEAR_HEAD_KEYS}
        return {"layers": "", **given}

    @property
    def head_params(self) -> dict[str, Any]:
        """The part of ``head_config`` that belongs to the bridge head, but for its kind."""
        return {key: value for key, value in self.head_config.items() if key not in ("kind", *_LINEAR_HEAD_KEYS)}

    @property
    def head_kind(self) -> str:
        """The kind of bridge head, or an import path."""
        return str(self.head_config.get("kind", "auto"))

    def encoder_class(self) -> Callable[[Bins, float], TargetEncoder] | None:
        """The class of ``encoder``, if there is one."""
        if self.encoder is None:
            return None
        found: type[TargetEncoder] = import_class(self.encoder, TargetEncoder, "encoder", [])
        return found

    def backbone_config(self) -> ModelConfig:
        """The configuration of the backbone."""
        params = {"head_config": self.linear_head_config, **self.backbone_config_params}
        if self.backbone_config_class == _STACK:
            params["model_configs"] = [_member(**member) for member in params.get("model_configs", [])]
        return getattr(models, self.backbone_config_class)(task="regression", **params)

    def _check_keys(self) -> None:
        _check_backbone(self.backbone_config_class, self.backbone_config_params)
        if self.backbone_config_class == _STACK:
            members = self.backbone_config_params.get("model_configs", [])
            if not members:
                raise ValueError(f"{_STACK} needs model_configs, a list with the backbone_config_class of each member")
            for member in members:
                params = {key: value for key, value in member.items() if key != "backbone_config_class"}
                _check_backbone(member.get("backbone_config_class", ""), params)
        own = [name for name in inspect.signature(head_class(self.head_kind)).parameters if name != "n_bins"]
        for key in self.head_params:
            if key not in own:
                where = f"head_config of kind {self.head_kind!r}"
                raise ValueError(unknown(where, key, ["kind", *own, *_LINEAR_HEAD_KEYS]))

    def _check_numbers(self) -> None:
        for name in ("smoothing", "encoder_learning_rate", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.n_bins < 2:
            raise ValueError(f"n_bins must be at least 2, got {self.n_bins}")
        if self.pretraining_steps < 1:
            raise ValueError(f"pretraining_steps must be at least 1, got {self.pretraining_steps}")
        if not 0 <= self.uniform_share <= 1:
            raise ValueError(f"uniform_share must lie between 0 and 1, got {self.uniform_share}")
        for name in ("margin", "autoencoding_weight", "alignment_weight", "regression_weight", "crps_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not (self.alignment_weight or self.regression_weight):
            raise ValueError("alignment_weight and regression_weight are both 0: nothing would train the network")

    def _check_combinations(self) -> None:
        if self.encoder_class() is not None and self.scheme not in ("soft", "pretrained", "end_to_end"):
            raise ValueError(
                f"encoder={self.encoder!r} has no place in scheme={self.scheme!r}, which has none to replace"
            )
        if self.encoder_logits != "linear" and (self.scheme not in _LEARNED or self.encoder is not None):
            raise ValueError(
                f"encoder_logits={self.encoder_logits!r} has no effect with scheme={self.scheme!r} and "
                f"encoder={self.encoder!r}: it is of the learned encoder of {' and '.join(_LEARNED)}"
            )
        if self.ordered_values and self.scheme == "least_squares":
            raise ValueError("ordered_values has no effect with scheme='least_squares', which has no decoder")
        if self.uniform_share != defaults.UNIFORM_SHARE and self.placement != "blend":
            raise ValueError(f"uniform_share has no effect with placement={self.placement!r}: it is of 'blend' alone")
        if self.kernel != _DEFAULT_KERNEL and (self.scheme != "soft" or self.encoder is not None):
            user = "an encoder of your own" if self.encoder is not None else f"scheme={self.scheme!r}"
            raise ValueError(f"kernel={self.kernel!r} has no effect with {user}: only the soft encoder has a kernel")
        if self.crps_weight and self.scheme == "least_squares":
            raise ValueError("crps_weight has no effect with scheme='least_squares', which predicts no distribution")
