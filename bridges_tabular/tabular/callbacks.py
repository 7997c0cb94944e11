"""What happens at the end of an epoch: progress is reported and the best weights are kept."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
from torch import Tensor

from bridges_tabular import _progress


class BestEpoch(pl.Callback):  # type: ignore[misc]
    """Keeps the weights of the epoch with the lowest validation metric, in memory, and puts them back at the end.

    Parameters
    ----------
    monitor : str
        Name of the logged metric.
    patience : int, optional
        Stop after so many epochs without a new best one.
    """

    def __init__(self, monitor: str, patience: int | None = None) -> None:
        self.monitor = monitor
        self.patience = patience
        self.best_epoch = 0
        self.best_value = math.inf
        self._best: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the epoch with the best one so far."""
        value = float(trainer.callback_metrics[self.monitor])
        if value < self.best_value:
            self.best_value, self.best_epoch = value, trainer.current_epoch
            self._best = {name: tensor.detach().clone() for name, tensor in pl_module.state_dict().items()}
        elif self.patience is not None and trainer.current_epoch - self.best_epoch >= self.patience:
            trainer.should_stop = True
        _progress.report(trainer.current_epoch + 1, trainer.max_epochs or 0, math.sqrt(value))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the best weights back."""
        if not self._best:
            raise FloatingPointError(f"{self.monitor} was never finite: try a smaller learning_rate")
        with torch.no_grad():
            pl_module.load_state_dict(self._best)
