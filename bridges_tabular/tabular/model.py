"""The model: a stock pytorch-tabular network with the bridge head and objective around it."""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_tabular import models
from pytorch_tabular.models.base_model import BaseModel, _create_optimizer
from pytorch_tabular.utils import getattr_nested
from torch import Tensor, nn

from bridges_tabular.core.codec import TargetCodec, standardisation
from bridges_tabular.core.objective import BridgeObjective, weighted_mean
from bridges_tabular.tabular.config import BridgeConfig
from bridges_tabular.tabular.head import BridgeHead

Batch = dict[str, Tensor]


class BridgeModel(BaseModel):  # type: ignore[misc]
    """Any pytorch-tabular network, trained on a scheme of :class:`BridgeConfig`.

    The inner network is the complete stock model of ``backbone_config_class`` whose outputs are, for every target,
    the raw logits of a :class:`~bridges_tabular.tabular.head.BridgeHead`. ``forward`` returns

    - ``logits`` of shape (n, targets): the decoded predictions, in the units of the training targets;
    - ``class_log_probs``, a list with log pi of shape (n, k) for every target (not with ``least_squares``);
    - ``raw_outputs``, on which the loss is computed;
    - whatever else the inner network returns (``backbone_features``, regularisation terms).

    Targets are standardised inside. Bins, encoder and decoder are fitted on the training rows in
    ``data_aware_initialization``, which pytorch-tabular calls before training, and are saved with the weights.
    """

    def __init__(self, config: DictConfig, **kwargs: Any) -> None:
        if config.task != "regression":
            raise ValueError(f"BridgeModel is for regression, got task={config.task!r}")
        super().__init__(config, **kwargs)
        self._epoch_losses: dict[str, list[Tensor]] = {}

    def _build_network(self) -> None:
        hparams = self.hparams
        n_targets = hparams.output_dim
        head_config = OmegaConf.to_container(hparams.head_config)
        self._is_least_squares = hparams.scheme == "least_squares"
        if self._is_least_squares:
            self.register_buffer("target_mean", torch.zeros(n_targets))
            self.register_buffer("target_scale", torch.ones(n_targets))
            raw_dim = n_targets
        else:
            kind, gamma = head_config.get("kind", "auto"), head_config.get("gamma", 3.0)
            self.bridge_heads = nn.ModuleList(BridgeHead(kind, hparams.n_bins, gamma) for _ in range(n_targets))
            self.codecs = nn.ModuleList(
                TargetCodec(hparams.scheme, hparams.n_bins, hparams.placement, hparams.kernel, hparams.smoothing)
                for _ in range(n_targets)
            )
            raw_dim = sum(head.raw_dim for head in self.bridge_heads)
            self.objective = _objective_of(hparams)
        self.inner = self._build_inner(raw_dim)

    def _build_inner(self, raw_dim: int) -> BaseModel:
        hparams = self.hparams
        own = OmegaConf.to_container(hparams)
        bridge = BridgeConfig(**{key: own[key] for key in inspect.signature(BridgeConfig).parameters if key in own})
        backbone_class = getattr(models, hparams.backbone_config_class)
        params = {"head_config": bridge.linear_head_config, **hparams.backbone_config_params}
        backbone = OmegaConf.structured(backbone_class(task="regression", **params))
        # the backbone's own settings win, but it also reads some of the trainer's and of the data's
        config = OmegaConf.create({**own, **OmegaConf.to_container(backbone), "target_range": None})
        inferred = deepcopy(self.kwargs["inferred_config"])
        inferred.output_dim = raw_dim
        network = getattr_nested(backbone._module_src, backbone._model_name)(config, inferred_config=inferred)
        if not self._is_least_squares:
            # logits that start large start far from any smooth distribution: torch's own initialisation is smaller
            layers = [module for module in network.head.modules() if isinstance(module, nn.Linear)]
            if layers:
                layers[-1].reset_parameters()
        return network

    @property
    def backbone(self) -> nn.Module:
        """The backbone of the inner network."""
        return self.inner.backbone

    @property
    def embedding_layer(self) -> nn.Module:
        """The embedding layer of the inner network."""
        return self.inner.embedding_layer

    @property
    def head(self) -> nn.Module:
        """The head of the inner network, whose outputs the bridge heads read."""
        return self.inner.head

    def data_aware_initialization(self, datamodule: pl.LightningDataModule) -> None:
        """Fit the bins, the encoder and the decoder of every target on the training rows."""
        y = np.asarray(datamodule.train_dataset.y, dtype=np.float64).reshape(-1, self.hparams.output_dim)
        weight = getattr(datamodule.train_dataset, "sample_weight", None)
        if not np.isfinite(y).all():
            raise ValueError(f"the training targets hold {int((~np.isfinite(y)).sum())} NaN or infinite values")
        if self._is_least_squares:
            scales = np.asarray([standardisation(column, weight) for column in y.T])
            self.target_mean.copy_(torch.as_tensor(scales[:, 0]))
            self.target_scale.copy_(torch.as_tensor(scales[:, 1]))
        else:
            for codec, head, column in zip(self.codecs, self.bridge_heads, y.T, strict=True):
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
        return self._bridge(self.inner(x))

    def compute_backbone(self, x: Any) -> Tensor:
        """Features of embedded inputs."""
        return self.inner.compute_backbone(x)  # type: ignore[no-any-return]

    def embed_input(self, x: Batch) -> Tensor:
        """Embedded inputs."""
        return self.inner.embed_input(x)  # type: ignore[no-any-return]

    def compute_head(self, backbone_features: Tensor) -> dict[str, Any]:
        """Predictions from the features of the backbone."""
        return self._bridge(self.inner.compute_head(backbone_features))

    def _bridge(self, inner: dict[str, Any]) -> dict[str, Any]:
        raw = inner["logits"]
        output = {**inner, "raw_outputs": raw}
        if self._is_least_squares:
            predicted = torch.addcmul(self.target_mean, raw, self.target_scale)
        else:
            parts = raw.split([head.raw_dim for head in self.bridge_heads], dim=1)
            log_probs = [
                head(part, codec) for head, codec, part in zip(self.bridge_heads, self.codecs, parts, strict=True)
            ]
            output["class_log_probs"] = log_probs
            predicted = torch.stack(
                [codec.decode(log_pi.exp()) for codec, log_pi in zip(self.codecs, log_probs, strict=True)], dim=1
            )
        if self.hparams.target_range is not None:
            low, high = torch.as_tensor(list(self.hparams.target_range), device=raw.device, dtype=raw.dtype).T
            predicted = predicted.clamp(low, high)
        output["logits"] = predicted
        return output

    def calculate_loss(self, output: dict[str, Any], y: Tensor, tag: str, sync_dist: bool = False) -> Tensor:
        """The objective, averaged over the targets, plus the regularisation terms of the inner network."""
        return self._loss_of(output, y, None, tag)

    def _loss_of(self, output: dict[str, Any], y: Tensor, weight: Tensor | None, tag: str) -> Tensor:
        if self._is_least_squares:
            standard = (y - self.target_mean) / self.target_scale
            loss = weighted_mean(((output["raw_outputs"] - standard) ** 2).mean(dim=1), weight)
        else:
            losses = []
            for index, codec in enumerate(self.codecs):
                target = codec.standardise(y[:, index])
                terms = self.objective(
                    target, codec.encode(target), output["class_log_probs"][index], codec.decoder.values, weight
                )
                losses.append(terms.loss)
            loss = torch.stack(losses).mean()
        for name, value in output.items():
            if "regularization" in name:
                loss = loss + value
        self._epoch_losses.setdefault(tag, []).append(loss.detach())
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; the loss is logged once an epoch, because logging costs as much as a small network's step."""
        output, _ = self.forward_pass(batch)
        return self._loss_of(output, batch["target"], batch.get("sample_weight"), "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Loss and metrics of a validation batch."""
        output, _ = self.forward_pass(batch)
        y = batch["target"]
        self._loss_of(output, y, batch.get("sample_weight"), "valid")
        self.calculate_metrics(y, output["logits"], tag="valid", sync_dist=True)
        return output["logits"], y

    def on_train_epoch_end(self) -> None:
        """Log the mean training loss of the epoch."""
        self._log_losses("train")

    def on_validation_epoch_end(self) -> None:
        """Log the mean validation loss."""
        self._log_losses("valid")
        super().on_validation_epoch_end()

    def _log_losses(self, tag: str) -> None:
        losses = self._epoch_losses.pop(tag, [])
        if losses:
            self.log(f"{tag}_loss", torch.stack(losses).mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """The configured optimiser and schedule, with the encoder and decoder at their own rate."""
        slow = [] if self._is_least_squares else [p for p in self.codecs.parameters() if p.requires_grad]
        chosen = {id(parameter) for parameter in slow}
        rate = self.hparams.learning_rate
        groups: list[dict[str, Any]] = [{"params": [p for p in self.parameters() if id(p) not in chosen]}]
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


def _objective_of(hparams: DictConfig) -> BridgeObjective:
    """The objective of a scheme: the terms that would be constant or undefined are left out."""
    if hparams.scheme == "softmax_least_squares":
        return BridgeObjective(0.0, 0.0, 1.0)
    autoencoding = hparams.autoencoding_weight if hparams.scheme == "end_to_end" else 0.0
    return BridgeObjective(autoencoding, hparams.alignment_weight, hparams.regression_weight)
