"""The model configuration, in pytorch-tabular's own pattern."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from pytorch_tabular.config import ModelConfig
from pytorch_tabular.models.common.heads import LinearHeadConfig

from bridges_tabular.core.bins import Bins
from bridges_tabular.core.encoders import TargetEncoder
from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.tabular.choices import import_class, unknown
from bridges_tabular.tabular.head import HEADS, head_class
from bridges_tabular.tabular.inner import OWN_BACKBONES, STACK, backbone_config, backbone_names, config_class
from bridges_tabular.tabular.trial import Network

# a step of AdamW moves a weight by about so much
LARGEST_LEARNING_RATE = 1e3

_LINEAR_HEAD_KEYS = tuple(item.name for item in fields(LinearHeadConfig))


# fields of ModelConfig that are no backbone's here, and where they belong
_NOT_OF_BACKBONES = {
    "task": "it is always regression",
    "head": "set kind of head_config beside backbone_config_params",
    "head_config": "set head_config beside backbone_config_params",
    "learning_rate": "set learning_rate beside backbone_config_params",
    "seed": "set seed of TrainerConfig",
    "loss": "scheme decides what is learned",
    "metrics": "set metrics of BridgeConfig",
    "metrics_prob_input": "set metrics of BridgeConfig",
    "metrics_params": "set metrics of BridgeConfig",
    "target_range": "set target_range of BridgeConfig",
}
# those that some read and these do not
_UNREAD = {
    "AutoIntConfig": ("embedding_dims",),
    "FTTransformerConfig": ("embedding_dims",),
    "MemberMLPConfig": ("batch_norm_continuous_input", "virtual_batch_size"),
    "GatedAdditiveTreeEnsembleConfig": ("embedding_dropout",),
    "TabNetModelConfig": ("batch_norm_continuous_input", "embedding_dropout"),
    "TabTransformerConfig": ("embedding_dims",),
    STACK: ("batch_norm_continuous_input", "embedding_dropout", "virtual_batch_size"),
}
# others read it to normalise the numbers alone
_NORMALISE_ELSEWHERE = ("DANetConfig", "TabNetModelConfig")


def _check_backbone(name: str, params: dict[str, Any]) -> None:
    if name not in backbone_names():
        raise ValueError(unknown("backbone", name, backbone_names()))
    where = f"backbone_config_params of {name}"
    unread = _NOT_OF_BACKBONES | dict.fromkeys(_UNREAD.get(name, ()), "")
    known = [item.name for item in fields(config_class(name)) if item.init and item.name[0] != "_"]
    for key, value in params.items():
        if key not in known:
            raise ValueError(unknown(where, key, [other for other in known if other not in unread]))
        # what says that there is none is among the defaults of all backbones
        if key in unread and (key, value) != ("batch_norm_continuous_input", False):
            said = f"has no place there; {unread[key]}" if unread[key] else "has no effect there"
            raise ValueError(f"{where}: {key!r} {said}")
    normalised = params.get("batch_norm_continuous_input", True) or name in _NORMALISE_ELSEWHERE
    if "virtual_batch_size" in params and not normalised:
        raise ValueError(f"{where}: 'virtual_batch_size' has no effect without batch_norm_continuous_input")


def _shared_field(name: str) -> Any:
    """A field for one of the hyper-parameters that every model shares."""
    parameter = PARAMETERS[name]
    choices = {"choices": list(parameter.choices)} if parameter.choices else {}
    return field(default=parameter.default, metadata={"help": parameter.help, **choices})


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
        metadata={"help": "Name of the backbone's configuration class in pytorch_tabular.models, or MemberMLPConfig."},
    )
    backbone_config_params: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "Parameters of the backbone's configuration class. Those of StackingModelConfig are model_configs, "
            "a list whose members hold a backbone_config_class and its parameters."
        },
    )
    scheme: str = _shared_field("scheme")
    n_bins: int = _shared_field("n_bins")
    placement: str = _shared_field("placement")
    margin: float = _shared_field("margin")
    uniform_share: float = _shared_field("uniform_share")
    kernel: str = _shared_field("kernel")
    smoothing: float = _shared_field("smoothing")
    encoder: str | None = field(
        default=None,
        metadata={"help": "Import path of an encoder of your own, in place of that of soft, pretrained or end_to_end."},
    )
    pretraining_steps: int = _shared_field("pretraining_steps")
    autoencoding_weight: float = _shared_field("autoencoding_weight")
    alignment_weight: float = _shared_field("alignment_weight")
    regression_weight: float = _shared_field("regression_weight")
    encoder_learning_rate: float = _shared_field("encoder_learning_rate")
    least_squares_share: float = field(
        default=0.0,
        metadata={
            "help": "Share of the members of MemberMLPConfig that learn the target itself by least squares, while the "
            "others learn its classes; at least one does. The prediction is the mean of all."
        },
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
        self.network.check()

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
        return backbone_config(self.backbone_config_class, self.backbone_config_params, self.linear_head_config)

    @property
    def network(self) -> Network:
        """What decides whether the network can be built."""
        return Network(
            self.backbone_config_class,
            self.backbone_config_params,
            self.linear_head_config,
            head_class(self.head_kind) if SCHEMES[self.scheme].has_classes else None,
            self.head_params,
            self.n_bins,
        )

    @property
    def point_members(self) -> int:
        """Number of members that learn by least squares beside others that learn classes."""
        if not SCHEMES[self.scheme].has_classes or self.least_squares_share == 0:
            return 0
        members = getattr(self.backbone_config(), "n_members", 1)
        return min(round(self.least_squares_share * members), members - 1)

    def _check_keys(self) -> None:
        _check_backbone(self.backbone_config_class, self.backbone_config_params)
        if self.backbone_config_class == STACK:
            members = self.backbone_config_params.get("model_configs", [])
            if not members:
                raise ValueError(f"{STACK} needs model_configs, a list with the backbone_config_class of each member")
            for member in members:
                params = {key: value for key, value in member.items() if key != "backbone_config_class"}
                _check_backbone(member.get("backbone_config_class", ""), params)
        own = [name for name in inspect.signature(head_class(self.head_kind)).parameters if name != "n_bins"]
        for key in self.head_params:
            if key not in own:
                where = f"head_config of kind {self.head_kind!r}"
                raise ValueError(unknown(where, key, ["kind", *own, *_LINEAR_HEAD_KEYS]))

    def _check_numbers(self) -> None:
        for name, parameter in PARAMETERS.items():
            if hasattr(self, name):
                parameter.check(getattr(self, name))
        if not 0 <= self.least_squares_share < 1:
            raise ValueError(f"least_squares_share must be at least 0 and below 1, got {self.least_squares_share}")
        if not 0 < self.learning_rate <= LARGEST_LEARNING_RATE:
            raise ValueError(
                f"learning_rate must be positive and at most {LARGEST_LEARNING_RATE:g}, got {self.learning_rate}"
            )

    def _check_combinations(self) -> None:
        scheme = SCHEMES[self.scheme]
        own_encoder = self.encoder_class() is not None
        if self.least_squares_share and self.backbone_config_class not in OWN_BACKBONES:
            raise ValueError(f"least_squares_share: {self.backbone_config_class} has no members, set it to 0")
        if scheme.has_code and not (self.alignment_weight or self.regression_weight):
            raise ValueError("alignment_weight and regression_weight are both 0: nothing would train the network")
        if own_encoder and (scheme.one_hot or not scheme.has_code):
            raise ValueError(
                f"encoder={self.encoder!r} has no place in scheme={self.scheme!r}, which has none to replace"
            )
        if self.uniform_share != PARAMETERS["uniform_share"].default and self.placement != "blend":
            raise ValueError(f"uniform_share has no effect with placement={self.placement!r}: it is of 'blend' alone")
        if self.kernel != PARAMETERS["kernel"].default and (own_encoder or not scheme.has_kernel):
            user = "an encoder of your own" if own_encoder else f"scheme={self.scheme!r}"
            raise ValueError(f"kernel={self.kernel!r} has no effect with {user}: only the soft encoder has a kernel")
