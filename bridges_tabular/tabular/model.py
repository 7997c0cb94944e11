"""The model: a stock pytorch-tabular network with the bridge heads and the objective around it."""

from __future__ import annotations

import hashlib
import inspect
import math
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from pytorch_tabular.models.base_model import BaseModel, _create_optimizer
from torch import Tensor, nn

from bridges_tabular.core.codec import TargetCodec
from bridges_tabular.core.objective import weighted_mean
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.regressors.scale import TargetScale
from bridges_tabular.tabular.config import BridgeConfig
from bridges_tabular.tabular.datamodule import Batch, known_with
from bridges_tabular.tabular.head import BridgeHead, head_class
from bridges_tabular.tabular.inner import build_inner, fold_into_last_layer, plain
from bridges_tabular.tabular.members import flat_outputs
from bridges_tabular.tabular.terms import TargetTerms

Floats = NDArray[np.float64]


class BridgeModel(BaseModel):
    """Any pytorch-tabular network, trained on a scheme of :class:`BridgeConfig`.

    The inner network is the complete stock model of ``backbone_config_class`` whose outputs are, for every target,
    the raw outputs of a :class:`~bridges_tabular.tabular.head.BridgeHead`. ``forward`` returns

    - ``logits`` of shape (n, targets): the decoded predictions, in the units of the training targets;
    - ``class_log_probs`` of shape (n, targets * k) with log pi, one target after the other (not with
      ``least_squares``);
    - ``member_points`` of shape (n, members, targets), of backbones with members alone: what each one predicts;
    - ``raw_outputs``, on which the loss is computed;
    - whatever else the inner network returns (``backbone_features``, regularisation terms).

    Targets are standardised inside. Bins, encoder and decoder are fitted on the training rows in
    ``data_aware_initialization``, which pytorch-tabular calls before training, and are saved with the weights.

    Attributes
    ----------
    target_mean, target_scale : tensors of shape (targets,)
        By which targets are standardised.
    """

    target_mean: Tensor
    target_scale: Tensor
    point_range: Tensor

    def __init__(self, config: DictConfig, **kwargs: Any) -> None:
        if config.task != "regression":
            raise ValueError(f"BridgeModel is for regression, got task={config.task!r}")
        if kwargs.get("custom_loss") is not None:
            raise ValueError("BridgeModel is trained on its scheme: fit takes no loss")
        super().__init__(config, **kwargs)
        # sums over the rows of an epoch: of their losses, and of their weights
        self._epoch_losses: dict[str, Tensor] = {}

    def _build_network(self) -> None:
        hparams = self.hparams
        own = plain(hparams)
        bridge = BridgeConfig(**{key: own[key] for key in inspect.signature(BridgeConfig).parameters if key in own})
        self.register_buffer("target_mean", torch.zeros(hparams.output_dim))
        self.register_buffer("target_scale", torch.ones(hparams.output_dim))
        self.scheme = SCHEMES[bridge.scheme]
        if self.scheme.has_classes:
            kind = head_class(bridge.head_kind)
            heads = [kind(bridge.n_bins, **bridge.head_params) for _ in range(hparams.output_dim)]
            self.terms = nn.ModuleList(TargetTerms(bridge) for _ in heads)
            raw_dim = sum(head.raw_dim for head in heads)
        else:
            heads = []
            raw_dim = hparams.output_dim
        self.bridge_heads = nn.ModuleList(heads)
        around = {**own, "point_members": bridge.point_members, "point_outputs": hparams.output_dim}
        self.inner = build_inner(bridge.backbone_config(), around, self.kwargs["inferred_config"], raw_dim)
        self.is_mixed = bool(heads) and fold_into_last_layer(self.inner.head, heads)
        self.register_buffer("point_range", torch.tensor([[-torch.inf], [torch.inf]]).repeat(1, hparams.output_dim))

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
        return cast(list[TargetTerms], list(self.terms)) if self.scheme.has_classes else []

    @property
    def _heads(self) -> list[BridgeHead]:
        return cast(list[BridgeHead], list(self.bridge_heads))

    def data_aware_initialization(self, datamodule: Any) -> None:
        """Standardise the training targets, and fit the bins, the encoder and the decoder of each to them."""
        known_with(datamodule)
        dataset = datamodule.train_dataset
        y = np.asarray(dataset.y, dtype=np.float64).reshape(-1, self.hparams.output_dim)
        weight = getattr(dataset, "sample_weight", None)
        if not np.isfinite(y).all():
            raise ValueError(f"the training targets hold {int((~np.isfinite(y)).sum())} NaN or infinite values")
        for part in ("train", "validation"):
            _check_numbers(part, getattr(datamodule, f"{part}_dataset", None))
        scale = TargetScale.fit(y, weight)
        self.target_mean.copy_(torch.as_tensor(scale.mean, dtype=torch.float32))
        self.target_scale.copy_(torch.as_tensor(scale.scale, dtype=torch.float32))
        # the bins lie where single precision will see the targets
        rounded = TargetScale(self.target_mean.cpu().double().numpy(), self.target_scale.cpu().double().numpy())
        self.initialise(rounded.standardise(y), weight, datamodule)

    def initialise(self, standard: Floats, weight: Floats | None, datamodule: Any) -> None:
        """Fit what is fitted before training.

        Parameters
        ----------
        standard : array of shape (n, targets)
            Training targets in standard units.
        weight : array of shape (n,), optional
        datamodule : TabularDatamodule or TrainingRows
            Training rows for the inner network.
        """
        low, high = standard.min(axis=0), standard.max(axis=0)
        reach = self.hparams.margin * (high - low)
        self.point_range.copy_(torch.as_tensor(np.stack([low - reach, high + reach]), dtype=torch.float32))
        for index, (codec, head) in enumerate(zip(self.codecs, self._heads, strict=True)):
            codec.fit(standard[:, index], weight)
            head.choose(len(standard))
        offsets = [value for name, value in self.inner.named_parameters() if name.split(".")[-1] == "T0"]
        if offsets:
            # GATE and GANDALF would add the mean of the targets to every raw output
            for offset in offsets:
                nn.init.zeros_(offset)
        else:
            self.inner.data_aware_initialization(datamodule)

    def setup(self, stage: str) -> None:
        """Compare what the processes of a strategy such as ddp have fitted before training: each did so by itself.

        Raises
        ------
        ValueError
            If it differs, because their training rows do.
        """
        if stage != "fit" or self.trainer.world_size == 1:
            return
        digest = hashlib.sha256()
        for tensor in (self.target_mean, self.target_scale, *(codec.bits for codec in self.codecs)):
            digest.update(tensor.cpu().numpy().tobytes())
        own = torch.tensor(int.from_bytes(digest.digest()[:7]), device=self.trainer.strategy.root_device)
        if (self.trainer.strategy.all_gather(own) != own).any():
            raise ValueError(
                "the processes were given different training rows: read and draw them in each process alike"
            )

    def forward(self, x: Batch) -> dict[str, Any]:
        """Predict a batch; see the class for what comes back."""
        return self.decode(self.inner(x))

    def reset_weights(self) -> None:
        """Forget what the inner network learned, as pytorch-tabular does between folds."""
        self.inner.reset_weights()

    def predict(self, x: Batch, ret_model_output: bool = False) -> Any:
        """Predict a batch, for pytorch-tabular; outputs of several members stand side by side."""
        return flat_outputs(super().predict(x, ret_model_output))

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

    def class_logits(self, inner: dict[str, Any]) -> list[Tensor]:
        """Logits of shape (n, k) for every target, or (n, members, k), from what the inner network returned."""
        raw = inner.get("members", inner["logits"])
        parts = torch.split(raw.flatten(0, -2).float(), [head.raw_dim for head in self._heads], dim=1)
        triples = zip(self._heads, parts, self.codecs, strict=True)
        logits = [head.logits(part, codec) if self.is_mixed else head(part, codec) for head, part, codec in triples]
        return [part.unflatten(0, raw.shape[:-1]) for part in logits]

    def decode(self, inner: dict[str, Any]) -> dict[str, Any]:
        """Predictions from what the inner network returned."""
        raw = inner["logits"]
        output = {**inner, "raw_outputs": raw}
        if self.scheme.has_classes:
            log_probs = [torch.log_softmax(logits, dim=-1) for logits in self.class_logits(inner)]
            decoded = [codec.decode(log_pi.exp()) for codec, log_pi in zip(self.codecs, log_probs, strict=True)]
            standard = torch.stack(decoded, dim=-1)
            if "members" in inner:
                members = log_probs[0].shape[1]
                log_probs = [torch.logsumexp(log_pi, dim=1) - math.log(members) for log_pi in log_probs]
            output["class_log_probs"] = torch.cat(log_probs, dim=1)
            if "points" in inner:
                standard = torch.cat([standard, inner["points"].float().clamp(*self.point_range)], dim=1)
        else:
            standard = inner.get("members", raw).float()
            if "members" in inner:
                standard = standard.clamp(*self.point_range)
        predicted = torch.addcmul(self.target_mean, standard, self.target_scale)
        if self.hparams.target_range is not None:
            low, high = torch.as_tensor(list(self.hparams.target_range), device=raw.device, dtype=predicted.dtype).T
            predicted = predicted.clamp(low, high)
        if "members" in inner:
            output["member_points"] = predicted
            predicted = predicted.mean(1)
        output["logits"] = predicted
        return output

    def prepare_targets(self, y: Tensor) -> Batch:
        """What the loss needs to know of targets of shape (n, targets), in tensors of n rows.

        It depends on the targets alone: training computes it once for all rows, where memory allows.
        """
        standard = (y - self.target_mean) / self.target_scale
        if not self.scheme.has_classes:
            return {"standard": standard}
        prepared: Batch = {}
        for index, terms in enumerate(self._terms):
            prepared |= {f"{index}.{name}": value for name, value in terms.prepare(standard[:, index]).items()}
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
        if not self.scheme.has_classes:
            loss = _squared_error(output.get("members", output["logits"]), prepared["standard"], weight)
        else:
            losses = []
            for index, logits in enumerate(self.class_logits(output)):
                parts = [(*name.split(".", 1), value) for name, value in prepared.items()]
                own = {name: value for target, name, value in parts if target == str(index)}
                losses.append(self._terms[index](logits, own, weight))
            loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
            if "points" in output:
                standard = torch.stack([prepared[f"{index}.standard"] for index in range(len(losses))], dim=1)
                shares = output["members"].shape[1], output["points"].shape[1]
                error = _squared_error(output["points"], standard, weight)
                loss = (shares[0] * loss + shares[1] * error) / sum(shares)
        for name, value in output.items():
            if "regularization" in name:
                loss = loss + value
        return loss

    def _setup_loss(self) -> None:
        # pytorch-tabular would make the loss of the configuration an attribute: here it is the method above
        return

    def calculate_loss(self, output: dict[str, Any], y: Tensor, tag: str, sync_dist: bool = False) -> Tensor:
        """The objective of predictions that :meth:`forward` made; its mean over the rows of an epoch is logged."""
        return self._tagged_loss({**output, "logits": output["raw_outputs"]}, {"target": y}, tag)

    def _tagged_loss(self, inner: dict[str, Any], batch: Batch, tag: str) -> Tensor:
        weight = batch.get("sample_weight")
        loss = self.loss(inner, self.prepare_targets(batch["target"]), weight)
        mass = loss.new_tensor(float(len(batch["target"]))) if weight is None else weight.sum()
        sums = torch.stack([loss.detach() * mass, mass])
        self._epoch_losses[tag] = self._epoch_losses[tag] + sums if tag in self._epoch_losses else sums
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
        self._log_loss("train")

    def on_validation_epoch_end(self) -> None:
        """Log the mean validation loss."""
        self._log_loss("valid")
        super().on_validation_epoch_end()

    def on_test_epoch_end(self) -> None:
        """Log the mean test loss."""
        self._log_loss("test")

    def _log_loss(self, tag: str) -> None:
        sums = self._epoch_losses.pop(tag, None)
        if sums is not None:
            # devices may have had different numbers of rows
            loss, mass = cast(Tensor, self.all_gather(sums)).reshape(-1, 2).sum(0)
            self.log(f"{tag}_loss", loss / mass, prog_bar=True, sync_dist=True)

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


def _squared_error(predicted: Tensor, standard: Tensor, weight: Tensor | None) -> Tensor:
    """Mean squared error of predictions of shape (n, targets), or (n, members, targets)."""
    targets = standard[:, None] if predicted.ndim == 3 else standard
    return weighted_mean((predicted.float() - targets).square().flatten(1).mean(1), weight)


def _check_numbers(part: str, dataset: Any) -> None:
    """Refuse features that would make every weight of the network NaN: pytorch-tabular fills in no number."""
    numbers = getattr(dataset, "continuous_X", None)
    if numbers is None:
        return
    wrong = ~np.isfinite(numbers).all(axis=0)
    if wrong.any():
        column = dataset.continuous_cols[int(wrong.argmax())]
        raise ValueError(f"{part}: column {column!r} holds NaN or infinite values, which have to be filled in before")
