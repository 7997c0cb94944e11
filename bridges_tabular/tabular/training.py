"""A training loop for tensors: what pytorch-tabular's trainer would do, without its cost for every step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bridges_tabular import _progress
from bridges_tabular.tabular.datamodule import EVALUATION_BATCH, Batch, TensorTable, TrainingRows
from bridges_tabular.tabular.model import BridgeModel

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

# prepared targets of all rows together may take so much; beyond it they are computed for each batch
TARGET_BUDGET = 256 * 2**20


@dataclass(frozen=True)
class TrainingOptions:
    """How to train, whatever the model.

    Attributes
    ----------
    max_epochs : int
    patience : int, optional
        Stop after so many epochs without a better validation error.
    device : torch.device
    precision : {"32-true", "bf16-mixed", "16-mixed"}
        As pytorch-lightning names them; mixed is for the network, the objective is computed in float32.
    compile : bool
        Whether torch.compile makes the network's kernels.
    verbose : bool
        Whether to show a progress bar.
    """

    max_epochs: int
    patience: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "32-true"
    compile: bool = False
    verbose: bool = False


def train(model: BridgeModel, rows: TrainingRows, validation: TensorTable | None, options: TrainingOptions) -> int:
    """Train a model whose bins are fitted; leave it with the weights of its best epoch.

    Returns
    -------
    int : the epoch, counted from 0, with the lowest validation error; the last one where there is no validation

    Raises
    ------
    FloatingPointError
        If no epoch had a finite validation error.
    """
    model.to(options.device)
    network = torch.compile(model.inner) if options.compile else model.inner
    batches = _with_prepared_targets(model, rows, options.device)
    held_out = None if validation is None else validation.to(options.device)
    configured = model.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    scaler = torch.amp.GradScaler(options.device.type, enabled=options.precision == "16-mixed")
    best = _Best(options.patience)
    with _progress_bar(options) as advance:
        for epoch in range(options.max_epochs):
            model.train()
            for batch in batches:
                optimizer.zero_grad(set_to_none=True)
                with autocast(options):
                    output = network(batch)
                scaled: Tensor = scaler.scale(_loss(model, output, batch))
                scaled.backward()  # type: ignore[no-untyped-call]
                scaler.step(optimizer)
                scaler.update()
            schedule.step()
            if held_out is None:
                advance(None)
                continue
            error = validation_error(model, held_out, options)
            stop = best.update(epoch, error, model)
            _progress.report(epoch + 1, options.max_epochs, error)
            advance(error)
            if stop:
                break
    if held_out is None:
        return options.max_epochs - 1
    best.restore(model)
    return best.epoch


def validation_error(model: BridgeModel, table: TensorTable, options: TrainingOptions) -> float:
    """Root mean squared error; with several targets the root of the mean over targets, each in units of its scale."""
    y = table.columns["target"]
    errors = (predict_batches(model, table, options)[0] - y).double().square()
    weight = table.columns.get("sample_weight")
    mean = errors.mean(0) if weight is None else (weight.double() @ errors) / weight.double().sum()
    if y.shape[1] > 1:
        mean = mean / torch.tensor([scale for _, scale in model.units()]).to(mean) ** 2
    return math.sqrt(float(mean.mean()))


def predict_batches(model: BridgeModel, table: TensorTable, options: TrainingOptions) -> tuple[Tensor, Tensor | None]:
    """Predictions (n, targets) and log pi (n, targets * k), None for least squares, on the table's device."""
    model.eval()
    points: list[Tensor] = []
    log_probs: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(table), EVALUATION_BATCH):
            with autocast(options):
                inner = model.inner(table[start : start + EVALUATION_BATCH])
            output = model.decode(inner)
            points.append(output["logits"])
            if "class_log_probs" in output:
                log_probs.append(output["class_log_probs"])
    return torch.cat(points), torch.cat(log_probs) if log_probs else None


def autocast(options: TrainingOptions) -> AbstractContextManager[Any]:
    """The precision of the network."""
    dtype = PRECISIONS[options.precision]
    return torch.autocast(options.device.type, dtype=dtype, enabled=dtype is not None)


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

    def __init__(self, patience: int | None) -> None:
        self.epoch = 0
        self._patience = patience
        self._error = math.inf
        self._weights: dict[str, Tensor] = {}

    def update(self, epoch: int, error: float, model: BridgeModel) -> bool:
        """Compare an epoch with the best so far; true if it is time to stop."""
        if error < self._error:
            self.epoch, self._error = epoch, error
            self._weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return self._patience is not None and epoch - self.epoch >= self._patience

    def restore(self, model: BridgeModel) -> None:
        """Put the best weights back."""
        if not self._weights:
            raise FloatingPointError("the validation error was never finite: try a smaller learning_rate")
        model.load_state_dict(self._weights)


@contextmanager
def _progress_bar(options: TrainingOptions) -> Iterator[Any]:
    if not options.verbose:
        yield lambda error: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=options.max_epochs)
        text = "validation error {:.4g}".format
        yield lambda error: progress.update(task, advance=1, description="" if error is None else text(error))
