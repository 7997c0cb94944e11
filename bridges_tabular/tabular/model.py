"""The model: a stock pytorch-tabular network with the bridge heads and the objective around it."""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_tabular.models.base_model import BaseModel, _create_optimizer
from pytorch_tabular.models.common.heads.blocks import LinearHead
from pytorch_tabular.utils import getattr_nested
from torch import Tensor, nn

from bridges_tabular.core.codec import TargetCodec, standardisation
from bridges_tabular.core.objective import weighted_mean
from bridges_tabular.tabular.config import BridgeConfig, plain
from bridges_tabular.tabular.datamodule import Batch
from bridges_tabular.tabular.head import BridgeHead, MixedLinear, head_class
from bridges_tabular.tabular.terms import TargetTerms


class BridgeModel(BaseModel):
    """Any pytorch-tabular network, trained on a scheme of :class:`BridgeConfig`.

    The inner network is the complete stock model of ``backbone_config_class`` whose outputs are, for every target,
    the raw outputs of a :class:`~bridges_tabular.tabular.head.BridgeHead`. ``forward`` returns

    - ``logits`` of shape (n, targets): the decoded predictions, in the units of the training targets;
    - ``class_log_probs`` of shape (n, targets * k) with log pi, one target after the other (not with
      ``least_squares``);
    - ``raw_outputs``, on which the loss is computed;
    - whatever else the inner network returns (``backbone_features``, regularisation terms).

    Targets are standardised inside. Bins, encoder and decoder are fitted on the training rows in
    ``data_aware_initialization``, which pytorch-tabular calls before training, and are saved with the weights.
    """

    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, config: DictConfig, **kwargs: Any) -> None:
        if config.task != "regression":
            raise ValueError(f"BridgeModel is for regression, got task={config.task!r}")
        if kwargs.get("custom_loss") is not None:
            raise ValueError("BridgeModel is trained on its scheme: fit takes no loss")
        super().__init__(config, **kwargs)
        self._epoch_losses: dict[str, list[Tensor]] = {}

    def _build_network(self) -> None:
        hparams = self.hparams
        own = plain(hparams)
        bridge = BridgeConfig(**{key: own[key] for key in inspect.signature(BridgeConfig).parameters if key in own})
        self.is_least_squares = bridge.scheme == "least_squares"
        if self.is_least_squares:
            self.register_buffer("target_mean", torch.zeros(hparams.output_dim))
            self.register_buffer("target_scale", torch.ones(hparams.output_dim))
            heads = []
            raw_dim = hparams.output_dim
        else:
            kind = head_class(bridge.head_kind)
            heads = [kind(bridge.n_bins, **bridge.head_params) for _ in range(hparams.output_dim)]
            self.terms = nn.ModuleList(TargetTerms(bridge) for _ in heads)
            raw_dim = sum(head.raw_dim for head in heads)
        self.bridge_heads = nn.ModuleList(heads)
        self.inner = self._build_inner(bridge, own, raw_dim)
        self.is_mixed = bool(heads) and _fold_into_last_layer(self.inner.head, heads)

    def _build_inner(self, bridge: BridgeConfig, own: dict[str, Any], raw_dim: int) -> BaseModel:
        backbone = OmegaConf.structured(bridge.backbone_config())
        # the backbone's own settings win, but it also reads some of the trainer's and of the data's
        config = OmegaConf.create(own | plain(backbone) | {"target_range": None})
        inferred = deepcopy(self.kwargs["inferred_config"])
        inferred.output_dim = raw_dim
        return getattr_nested(backbone._module_src, backbone._model_name)(config, inferred_config=inferred)

    @property
    def backbone(self) -> nn.Module:
        """The backbone of the inner network."""
        backbone: nn.Module = self.inner.backbone
        return backbone

    @property
    def embedding_layer(self) -> nn.Module:
        """The embedding layer of the inner network."""
        layer: nn.Module = self.inner.embedding_layer
        return layer

    @property
    def head(self) -> nn.Module:
        """The head of the inner network, whose outputs the bridge heads read."""
        head: nn.Module = self.inner.head
        return head

    @property
    def codecs(self) -> list[TargetCodec]:
        """Bins, encoder and decoder of every target; none with ``least_squares``."""
        return [terms.codec for terms in self._terms]

    @property
    def _terms(self) -> list[TargetTerms]:
        return [] if self.is_least_squares else cast(list[TargetTerms], list(self.terms))

    @property
    def _heads(self) -> list[BridgeHead]:
        return cast(list[BridgeHead], list(self.bridge_heads))

    def units(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of every target, by which targets are standardised."""
        if self.is_least_squares:
            return list(zip(self.target_mean.tolist(), self.target_scale.tolist(), strict=True))
        return [(float(codec.mean), float(codec.scale)) for codec in self.codecs]

    def data_aware_initialization(self, datamodule: Any) -> None:
        """Fit the bins, the encoder and the decoder of every target on the training rows."""
        y = np.asarray(datamodule.train_dataset.y, dtype=np.float64).reshape(-1, self.hparams.output_dim)
        weight = getattr(datamodule.train_dataset, "sample_weight", None)
        if not np.isfinite(y).all():
            raise ValueError(f"the training targets hold {int((~np.isfinite(y)).sum())} NaN or infinite values")
        if self.is_least_squares:
            scales = np.asarray([standardisation(column, weight) for column in y.T])
            self.target_mean.copy_(torch.as_tensor(scales[:, 0]))
            self.target_scale.copy_(torch.as_tensor(scales[:, 1]))
        else:
            for codec, head, column in zip(self.codecs, self._heads, y.T, strict=True):
                codec.fit(column, weight)
                head.choose(len(y))
        offsets = [value for name, value in self.inner.named_parameters() if name.split(".")[-1] == "T0"]
        if offsets:
            # GATE and GANDALF would add the mean of the targets to every raw output
            for offset in offsets:
                nn.init.zeros_(offset)
        else:
            self.inner.data_aware_initialization(datamodule)

    def forward(self, x: Batch) -> dict[str, Any]:
        """Predict a batch; see the class for what comes back."""
        return self.decode(self.inner(x))

    def compute_backbone(self, x: Any) -> Tensor:
        """Features of embedded inputs."""
        features: Tensor = self.inner.compute_backbone(x)
        return features

    def embed_input(self, x: Batch) -> Tensor:
        """Embedded inputs."""
        embedded: Tensor = self.inner.embed_input(x)
        return embedded

    def compute_head(self, backbone_features: Tensor) -> dict[str, Any]:
        """Predictions from the features of the backbone."""
        return self.decode(self.inner.compute_head(backbone_features))

    def class_logits(self, raw: Tensor) -> list[Tensor]:
        """Logits of shape (n, k) for every target from raw outputs."""
        parts = torch.split(raw.float(), [head.raw_dim for head in self._heads], dim=1)
        triples = zip(self._heads, parts, self.codecs, strict=True)
        return [head.logits(part, codec) if self.is_mixed else head(part, codec) for head, part, codec in triples]

    def decode(self, inner: dict[str, Any]) -> dict[str, Any]:
        """Predictions from what the inner network returned."""
        raw = inner["logits"]
        output = {**inner, "raw_outputs": raw}
        if self.is_least_squares:
            predicted = torch.addcmul(self.target_mean, raw.float(), self.target_scale)
        else:
            log_probs = [torch.log_softmax(logits, dim=-1) for logits in self.class_logits(raw)]
            output["class_log_probs"] = torch.cat(log_probs, dim=1)
            decoded = [codec.decode(log_pi.exp()) for codec, log_pi in zip(self.codecs, log_probs, strict=True)]
            predicted = torch.stack(decoded, dim=1)
        if self.hparams.target_range is not None:
            low, high = torch.as_tensor(list(self.hparams.target_range), device=raw.device, dtype=predicted.dtype).T
            predicted = predicted.clamp(low, high)
        output["logits"] = predicted
        return output

    def prepare_targets(self, y: Tensor) -> Batch:
        """What the loss needs to know of targets of shape (n, targets), in tensors of n rows.

        It depends on the targets alone: training computes it once for all rows, where memory allows.
        """
        if self.is_least_squares:
            return {"standard": (y - self.target_mean) / self.target_scale}
        prepared: Batch = {}
        for index, terms in enumerate(self._terms):
            prepared |= {f"{index}.{name}": value for name, value in terms.prepare(y[:, index]).items()}
        return prepared

    def loss(self, output: dict[str, Any], prepared: Batch, weight: Tensor | None = None) -> Tensor:
        """The objective, averaged over the targets, plus the regularisation terms of the inner network.

        Parameters
        ----------
        output : dict
            What the inner network returned for n rows.
        prepared : dict
            What :meth:`prepare_targets` made of their targets.
        weight : tensor of shape (n,), optional
        """
        raw = output["logits"]
        if self.is_least_squares:
            loss = weighted_mean((raw.float() - prepared["standard"]).square().mean(dim=1), weight)
        else:
            losses = []
            for index, logits in enumerate(self.class_logits(raw)):
                parts = [(*name.split(".", 1), value) for name, value in prepared.items()]
                own = {name: value for target, name, value in parts if target == str(index)}
                losses.append(self._terms[index](logits, own, weight))
            loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        for name, value in output.items():
            if "regularization" in name:
                loss = loss + value
        return loss

    def _setup_loss(self) -> None:
        # pytorch-tabular would make the loss of the configuration an attribute: here it is the method above
        return

    def calculate_loss(self, output: dict[str, Any], y: Tensor, tag: str, sync_dist: bool = False) -> Tensor:
        """The objective of predictions that :meth:`forward` made; its mean over the epoch is logged."""
        return self._tagged_loss({**output, "logits": output["raw_outputs"]}, {"target": y}, tag)

    def _tagged_loss(self, inner: dict[str, Any], batch: Batch, tag: str) -> Tensor:
        loss = self.loss(inner, self.prepare_targets(batch["target"]), batch.get("sample_weight"))
        self._epoch_losses.setdefault(tag, []).append(loss.detach())
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; the loss is logged once an epoch, because logging costs as much as a small network's step."""
        return self._tagged_loss(self.inner(batch), batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Loss and metrics of a validation batch."""
        return self._evaluate(batch, "valid")

    def test_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Loss and metrics of a test batch."""
        return self._evaluate(batch, "test")

    def _evaluate(self, batch: Batch, tag: str) -> tuple[Tensor, Tensor]:
        inner = self.inner(batch)
        self._tagged_loss(inner, batch, tag)
        predicted = self.decode(inner)["logits"]
        self.calculate_metrics(batch["target"], predicted, tag=tag, sync_dist=True)
        return predicted, batch["target"]

    def on_train_epoch_end(self) -> None:
        """Log the mean training loss of the epoch."""
        self._log_losses("train")

    def on_validation_epoch_end(self) -> None:
        """Log the mean validation loss."""
        self._log_losses("valid")
        super().on_validation_epoch_end()

    def on_test_epoch_end(self) -> None:
        """Log the mean test loss."""
        self._log_losses("test")

    def _log_losses(self, tag: str) -> None:
        losses = self._epoch_losses.pop(tag, [])
        if losses:
            self.log(f"{tag}_loss", torch.stack(losses).mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """The configured optimiser and schedule, with the encoder and decoder at their own rate."""
        slow = [parameter for codec in self.codecs for parameter in codec.parameters() if parameter.requires_grad]
        chosen = {id(parameter) for parameter in slow}
        rate = self.hparams.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters() if p.requires_grad and id(p) not in chosen]}
        ]
        if slow:
            groups.append({"params": slow, "lr": rate * self.hparams.encoder_learning_rate, "weight_decay": 0.0})
        name, params = self.hparams.optimizer, self.hparams.optimizer_params
        if self.custom_optimizer is not None:
            name, params = self.custom_optimizer, self.custom_optimizer_params
        optimizer = _create_optimizer(name)(groups, lr=rate, **params)
        if self.hparams.lr_scheduler is None:
            return optimizer
        schedule = getattr(torch.optim.lr_scheduler, self.hparams.lr_scheduler)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": schedule(optimizer, **self.hparams.lr_scheduler_params),
                "monitor": self.hparams.lr_scheduler_monitor_metric,
                "interval": self.hparams.lr_scheduler_interval,
            },
        }


def _fold_into_last_layer(module: nn.Module, heads: list[BridgeHead]) -> bool:
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
