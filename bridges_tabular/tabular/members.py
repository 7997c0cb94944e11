"""A backbone of several members, trained side by side, in pytorch-tabular's pattern of configuration and model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pytorch_tabular.config import ModelConfig
from pytorch_tabular.models.base_model import BaseModel
from pytorch_tabular.models.common.layers import Embedding1dLayer
from tabm import LinearBatchEnsemble, LinearEnsemble
from torch import Tensor, nn

from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.tabular.choices import unknown
from bridges_tabular.tabular.datamodule import known_with
from bridges_tabular.tabular.embeddings import EMBEDDINGS, MemberEmbeddings, input_layer

SHARINGS = ("packed", "batch_ensemble")

# more rows would not move quantiles
_ROWS_TO_FIT = 100_000


def _whole(value: Any, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


@dataclass
class MemberMLPConfig(ModelConfig):
    """Several multilayer perceptrons, trained side by side in batched matrix products; they predict their mean.

    Every member has a loss of its own. Use it like any other model configuration of pytorch-tabular, or as the
    backbone of a :class:`~bridges_tabular.tabular.BridgeConfig`, whose classes its members then predict.

    Raises
    ------
    ValueError
        For a value that no network could be built from.
    """

    layers: str = field(default="128-128-128", metadata={"help": "Widths of the hidden layers, joined by hyphens."})
    activation: str = field(default="GELU", metadata={"help": "Name of an activation in torch.nn."})
    dropout: float = field(default=0.0, metadata={"help": "Share of the outputs of every hidden layer that is zeroed."})
    n_members: int = field(default=8, metadata={"help": "Number of networks."})
    sharing: str = field(
        default="packed",
        metadata={
            "help": "packed: weights of their own. batch_ensemble: weights shared up to a scale of every input and "
            "output, as in TabM.",
            "choices": list(SHARINGS),
        },
    )
    embedding: str = field(
        default="mixed",
        metadata={
            "help": "Of numbers, which stand beside it: piecewise_linear between training quantiles, pbld or plr, "
            "periodic as in RealMLP and as in the paper on embeddings, mixed, which is piecewise_linear and pbld in "
            "every other member, or none.",
            "choices": list(EMBEDDINGS),
        },
    )
    embedding_dim: int = field(default=8, metadata={"help": "Width of a number's embedding."})
    embedding_bins: int = field(default=24, metadata={"help": "Most bins of a piecewise-linear embedding."})
    frequencies: int = field(default=16, metadata={"help": "Waves of a periodic embedding."})
    frequency_scale: float = field(default=0.1, metadata={"help": "Deviation of the first frequencies."})
    one_hot: int = field(
        default=0, metadata={"help": "Categories with at most so many codes are one-hot, others are embedded."}
    )
    input_scale: float = field(
        default=6.0,
        metadata={
            "help": "Learn a factor of every input so many times faster than other weights, as RealMLP does; 0: none."
        },
    )
    clamp: bool = field(
        default=True,
        metadata={"help": "Keep predictions within the range of the training targets and a tenth of it beyond."},
    )
    batch_norm_continuous_input: bool = field(default=False, metadata={"help": "Has to be false."})
    _module_src: str = field(default="models.bridge")
    _model_name: str = field(default="MemberMLPModel")
    _config_name: str = field(default="MemberMLPConfig")

    def __post_init__(self) -> None:
        if self.task != "regression":
            raise ValueError(f"MemberMLPConfig is for regression, got task={self.task!r}")
        for name, choices in (("sharing", SHARINGS), ("embedding", EMBEDDINGS)):
            if getattr(self, name) not in choices:
                raise ValueError(unknown(name, str(getattr(self, name)), choices))
        super().__post_init__()
        for name, lowest in (
            ("n_members", 1),
            ("embedding_dim", 1),
            ("embedding_bins", 2),
            ("frequencies", 1),
            ("one_hot", 0),
        ):
            if not _whole(getattr(self, name), lowest):
                raise ValueError(f"{name} must be a whole number of at least {lowest}, got {getattr(self, name)!r}")
        for name in ("dropout", "frequency_scale", "input_scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a number, got {value!r}")
        if not isinstance(self.clamp, bool):
            raise ValueError(f"clamp must be true or false, got {self.clamp!r}")
        widths = self.layers.split("-") if isinstance(self.layers, str) else []
        if not widths or not all(width.isdecimal() and int(width) for width in widths):
            raise ValueError(f"layers must be widths joined by hyphens, as 128-128, got {self.layers!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if not self.frequency_scale > 0:
            raise ValueError(f"frequency_scale must be positive, got {self.frequency_scale}")
        if self.input_scale < 0:
            raise ValueError(f"input_scale must not be negative, got {self.input_scale}")
        if self.activation not in nn.modules.activation.__all__:
            raise ValueError(f"activation must be the name of one in torch.nn, got {self.activation!r}")
        if self.batch_norm_continuous_input:
            raise ValueError("batch_norm_continuous_input: embeddings read numbers as they are, set it to false")
        if (self.head_config or {}) not in ({}, {"layers": ""}):
            raise ValueError("head_config: MemberMLPConfig has no LinearHead; widths of its layers are in `layers`")


class MemberDropout(nn.Module):
    """Dropout of features of shape (n, members, width), in steps of 2^-16 of the share ``p``.

    On a processor, torch's own takes a fifth of a step's time to draw as many numbers as here are bits.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, features: Tensor) -> Tensor:
        """The features, a share of them zero, others larger by as much."""
        if not self.training:
            return features
        n, members, width = features.shape
        bits = torch.empty(-(-features.numel() // 4), dtype=torch.int64, device=features.device)
        # as the products of packed members lie in memory
        noise = bits.random_(-(2**63), None).view(torch.int16)[: features.numel()].view(members, n, width)
        kept = (noise.transpose(0, 1) >= round(self.p * 2**16) - 2**15).to(features.dtype)
        return features * kept.mul_(1 / (1 - self.p))


class MemberMLPBackbone(nn.Module):
    """Embeddings of numbers and hidden layers of all members: from (n, inputs) to (n, members, output_dim).

    Parameters
    ----------
    config : DictConfig
    n_categorical : int
        Inputs that stand for categories, after the numbers.
    """

    def __init__(self, config: Any, n_categorical: int) -> None:
        super().__init__()
        k = config.n_members
        self.n_numbers = int(config.continuous_dim)
        self.embeddings = MemberEmbeddings(
            config.embedding,
            k,
            self.n_numbers,
            dim=config.embedding_dim,
            n_bins=config.embedding_bins,
            frequencies=config.frequencies,
            scale=config.frequency_scale,
        )
        n_inputs = self.embeddings.output_dim + n_categorical
        self._speed = float(config.input_scale)
        # Adam moves every weight by the learning rate: a factor is 1 and a multiple of its weight
        self.scaling = nn.Parameter(torch.zeros(k, n_inputs)) if self._speed else None
        layers: list[nn.Module] = []
        width = n_inputs
        for index, units in enumerate(int(units) for units in config.layers.split("-")):
            kind = _Shared if config.sharing == "batch_ensemble" else _Packed
            layers += [kind(width, units, k, first=index == 0), getattr(nn, config.activation)()]
            if config.dropout:
                layers.append(MemberDropout(config.dropout))
            width = units
        self.layers = nn.Sequential(*layers)
        self.output_dim = width

    @property
    def scale(self) -> Tensor | None:
        """Factors of the inputs, of shape (members, inputs); None where there are none."""
        return None if self.scaling is None else 1 + self._speed * self.scaling

    def reset_parameters(self) -> None:
        """Make the factors of inputs 1 again; layers reset their own."""
        if self.scaling is not None:
            nn.init.zeros_(self.scaling)

    def forward(self, features: Tensor) -> Tensor:
        """Hidden features of shape (n, members, output_dim)."""
        read = self.embeddings(features[:, : self.n_numbers], features[:, self.n_numbers :])
        scale = self.scale
        hidden: Tensor = self.layers(read if scale is None else read * scale)
        return hidden


class _Packed(LinearEnsemble):
    """Layers of the members, each of them as Xavier Glorot initialises one."""

    def __init__(self, inputs: int, outputs: int, k: int, *, first: bool) -> None:
        super().__init__(inputs, outputs, k=k)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for weight in self.weight:
            nn.init.xavier_uniform_(weight)


class _Shared(LinearBatchEnsemble):
    """One layer of all members up to a scale of each input and output of theirs."""

    def __init__(self, inputs: int, outputs: int, k: int, *, first: bool) -> None:
        # members that began alike would stay so: the first scales differ
        super().__init__(inputs, outputs, k=k, scaling_init=("random-signs" if first else "ones", "ones"))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.xavier_uniform_(self.weight)


class MemberMLPModel(BaseModel):
    """The network of :class:`MemberMLPConfig`.

    ``forward`` returns ``logits``, the members' mean of shape (n, targets), and ``members`` of shape
    (n, members, targets). Inside a :class:`~bridges_tabular.tabular.BridgeModel` the last members may have outputs of
    their own, ``points``.
    """

    lowest: Tensor
    highest: Tensor
    _embedding_layer: Embedding1dLayer
    _backbone: MemberMLPBackbone
    _head: nn.Module

    def _build_network(self) -> None:
        hparams = self.hparams
        # set by a bridge: members that predict targets, and of how many
        points, targets = hparams.get("point_members"), hparams.get("point_outputs", 0)
        self._is_inner = points is not None
        self._n_points = points or 0
        categories = [(int(codes), int(width)) for codes, width in hparams.embedding_dims]
        layer = input_layer(hparams.continuous_dim, categories, hparams.one_hot, hparams.embedding_dropout)
        self._embedding_layer = layer
        n_categorical = sum(embedding.embedding_dim for embedding in layer.cat_embedding_layers)
        self._backbone = MemberMLPBackbone(hparams, n_categorical)
        width, classes = self._backbone.output_dim, hparams.n_members - self._n_points
        self._head = LinearEnsemble(width, hparams.output_dim, k=classes)
        self.point_head = LinearEnsemble(width, targets, k=self._n_points) if self._n_points else None
        self.register_buffer("lowest", torch.full((hparams.output_dim,), -torch.inf))
        self.register_buffer("highest", torch.full((hparams.output_dim,), torch.inf))

    @property
    def backbone(self) -> nn.Module:
        """The embeddings of numbers and the hidden layers."""
        return self._backbone

    @property
    def embedding_layer(self) -> nn.Module:
        """What embeds categories and leaves numbers as they are."""
        layer: nn.Module = self._embedding_layer
        return layer

    @property
    def head(self) -> nn.Module:
        """The last layer."""
        return self._head

    def reset_weights(self) -> None:
        """Forget what was trained, as pytorch-tabular does between folds."""
        super().reset_weights()
        if self.point_head is not None:
            self.point_head.reset_parameters()

    def data_aware_initialization(self, datamodule: Any) -> None:
        """Place the bins of embeddings on training rows, and note the range of their targets."""
        known_with(datamodule)
        numbers, targets, rows = [], [], 0
        for batch in datamodule.train_dataloader():
            numbers.append(batch["continuous"].cpu().numpy())
            targets.append(batch["target"])
            rows += len(numbers[-1])
            if rows >= _ROWS_TO_FIT:
                break
        self._backbone.embeddings.fit(np.concatenate(numbers))
        if not self._is_inner and self.hparams.clamp:
            y = torch.cat(targets)
            low, high = y.amin(0), y.amax(0)
            reach = PARAMETERS["margin"].default * (high - low)
            self.lowest.copy_(low - reach)
            self.highest.copy_(high + reach)

    def compute_head(self, backbone_features: Tensor) -> dict[str, Any]:
        """Predictions from hidden features of shape (n, members, width)."""
        classes = backbone_features.shape[1] - self._n_points
        members = self._head(backbone_features[:, :classes])
        if self.hparams.target_range:
            flat = self.apply_output_sigmoid_scaling(members.flatten(0, 1))
            members = flat.unflatten(0, members.shape[:2])
        if not self.training and not self._is_inner:
            members = members.clamp(self.lowest, self.highest)
        output = {"logits": members.mean(1), "members": members, "backbone_features": backbone_features.mean(1)}
        if self.point_head is not None:
            output["points"] = self.point_head(backbone_features[:, classes:])
        return output

    def predict(self, x: dict[str, Tensor], ret_model_output: bool = False) -> Any:
        """Predict a batch, for pytorch-tabular, which takes outputs of two dimensions: members stand side by side."""
        return flat_outputs(super().predict(x, ret_model_output))

    def calculate_loss(self, output: dict[str, Any], y: Tensor, tag: str, sync_dist: bool = False) -> Tensor:
        """The loss of every member, in their mean."""
        members = output["members"]
        own = {**output, "logits": members.flatten(0, 1)}
        loss: Tensor = super().calculate_loss(own, y.repeat_interleave(members.shape[1], 0), tag, sync_dist)
        return loss


def flat_outputs(predicted: Any) -> Any:
    """What ``BaseModel.predict`` returned, with one dimension after that of the rows."""
    if not isinstance(predicted, tuple):
        return predicted
    logits, output = predicted
    return logits, {name: value.flatten(1) if value.ndim > 2 else value for name, value in output.items()}
