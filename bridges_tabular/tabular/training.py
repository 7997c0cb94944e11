"""A training loop for tensors: what pytorch-tabular's trainer would do, without its cost for every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bridges_tabular.regressors.progress import Report
from bridges_tabular.tabular.datamodule import Batch, TensorTable, TrainingRows
from bridges_tabular.tabular.draws import Draws
from bridges_tabular.tabular.evaluation import autocast, validation_scores
from bridges_tabular.tabular.model import BridgeModel
from bridges_tabular.tabular.stored import StoredBatches

# what may choose the best epoch
METRICS = ("rmse", "crps", "loss")

# prepared targets of all rows together may take so much; beyond it they are computed for each batch
TARGET_BUDGET = 256 * 2**20


@dataclass(frozen=True)
class TrainingOptions:
    """How to train, whatever the model.

    Attributes
    ----------
    metric : {"rmse", "crps", "loss"}
        Score of the validation rows that is lowest in the best epoch.
    patience : int, optional
        Stop after so many epochs without a better one.
    device : torch.device
    precision : {"32-true", "bf16-mixed", "16-mixed"}
        As pytorch-lightning names them; mixed is for the network, the objective is computed in float32.
    compile : bool
        Whether torch.compile makes the network's kernels.
    """

    metric: str = "rmse"
    patience: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "32-true"
    compile: bool = False


def train(
    model: BridgeModel,
    rows: TrainingRows | StoredBatches,
    watched: TensorTable | None,
    epochs: int,
    options: TrainingOptions,
    seed: int,
    report: Report,
) -> int:
    """Train a model whose bins are fitted; leave it with the weights of its best epoch.

    Parameters
    ----------
    model : BridgeModel
    rows : TrainingRows or StoredBatches
    watched : TensorTable or None
        Validation rows.
    epochs : int
        As many at most.
    options : TrainingOptions
    seed : int
        Of what the network draws while it is trained.
    report : Report

    Returns
    -------
    int : the best epoch, counted from 0; the last one where there are no validation rows

    Raises
    ------
    FloatingPointError
        If the score of the validation rows was finite in no epoch.
    """
    model.to(options.device)
    network = torch.compile(model.inner) if options.compile else model.inner
    batches = rows if isinstance(rows, StoredBatches) else _with_prepared_targets(model, rows, options.device)
    held_out = None if watched is None else watched.to(options.device)
    # the one that chooses the epoch comes last
    names = [*sorted({"rmse", *report.scores} - {options.metric}), options.metric]
    configured = model.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    scaler = torch.amp.GradScaler(options.device.type, enabled=options.precision == "16-mixed")
    draws, best = Draws(seed, options.device), _Best(options)
    for epoch in range(epochs):
        model.train()
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            with draws.lent(), autocast(options.device, options.precision):
                output = network(batch)
            scaled: Tensor = scaler.scale(_loss(model, output, batch))
            scaled.backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
        schedule.step()
        scores = {} if held_out is None else validation_scores(model, held_out, names, options.precision)
        stop = held_out is not None and best.update(epoch, scores, model)
        report(epoch + 1, epochs, scores)
        if stop or report.is_late:
            break
    if held_out is None:
        return epoch
    best.restore(model)
    return best.epoch


_PREPARED = "prepared."


def _with_prepared_targets(model: BridgeModel, rows: TrainingRows, device: torch.device) -> Any:
    table = rows.train_dataset.to(device)
    target = table.columns["target"]
    sample = model.prepare_targets(target[:1])
    size = len(table) * sum(value.numel() * value.element_size() for value in sample.values())
    if size <= TARGET_BUDGET:
        prepared = {_PREPARED + name: value for name, value in model.prepare_targets(target).items()}
        table = TensorTable({**table.columns, **prepared})
    return rows.batches_of(table)


def _loss(model: BridgeModel, output: dict[str, Any], batch: Batch) -> Tensor:
    prepared = {name.removeprefix(_PREPARED): value for name, value in batch.items() if name.startswith(_PREPARED)}
    return model.loss(output, prepared or model.prepare_targets(batch["target"]), batch.get("sample_weight"))


class _Best:
    """The weights of the best epoch, kept in memory."""

    def __init__(self, options: TrainingOptions) -> None:
        self.epoch = 0
        self._metric = options.metric
        self._patience = options.patience
        self._score = math.inf
        self._weights: dict[str, Tensor] = {}

    def update(self, epoch: int, scores: Mapping[str, float], model: BridgeModel) -> bool:
        """Compare an epoch with the best so far; true if it is time to stop."""
        score = scores[self._metric]
        if score < self._score:
            self.epoch, self._score = epoch, score
            self._weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return self._patience is not None and epoch - self.epoch >= self._patience

    def restore(self, model: BridgeModel) -> None:
        """Put the best weights back."""
        if not self._weights:
            raise FloatingPointError(f"the validation {self._metric} was never finite: try a smaller learning_rate")
        model.load_state_dict(self._weights)
