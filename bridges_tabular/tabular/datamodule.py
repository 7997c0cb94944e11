"""Batches cut from tensors, in place of a loader that fetches row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

# validation and prediction keep no graph: a larger batch costs little memory
EVALUATION_BATCH = 4096


@dataclass(frozen=True)
class TensorTable:
    """Rows of a table as tensors.

    Attributes
    ----------
    continuous, categorical : tensors of shapes (n, p) and (n, q)
    target : tensor of shape (n, targets), optional
    weight : tensor of shape (n,), optional
    """

    continuous: Tensor
    categorical: Tensor
    target: Tensor | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        return self.continuous.shape[0]

    @property
    def y(self) -> NDArray[np.float64]:
        """The targets of shape (n, targets), as pytorch-tabular's datasets name them."""
        if self.target is None:
            raise ValueError("this table has no target")
        return np.asarray(self.target.double().numpy())

    @property
    def sample_weight(self) -> NDArray[np.float64] | None:
        """The weights of shape (n,)."""
        return None if self.weight is None else np.asarray(self.weight.double().numpy())

    def batch(self, rows: Tensor | slice) -> dict[str, Tensor]:
        """The batch of some rows, with the keys that pytorch-tabular's models read."""
        batch = {"continuous": self.continuous[rows], "categorical": self.categorical[rows]}
        if self.target is not None:
            batch["target"] = self.target[rows]
        if self.weight is not None:
            batch["sample_weight"] = self.weight[rows]
        return batch


class TensorBatches:
    """Iterates over a table in batches; each pass reshuffles if there is a generator.

    Batches differ by at most one row, so that none is too small for batch normalisation.
    """

    def __init__(self, table: TensorTable, batch_size: int, generator: torch.Generator | None = None) -> None:
        self._table = table
        self._n_batches = max(1, -(-len(table) // batch_size))
        self._generator = generator

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        n = len(self._table)
        if self._generator is None:
            bounds = np.linspace(0, n, self._n_batches + 1).round().astype(int).tolist()
            for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
                yield self._table.batch(slice(start, stop))
        else:
            for rows in torch.randperm(n, generator=self._generator).tensor_split(self._n_batches):
                yield self._table.batch(rows)


class TensorDatamodule(pl.LightningDataModule):
    """Training and validation rows for :class:`~bridges_tabular.tabular.model.BridgeModel`.

    Parameters
    ----------
    train, validation : TensorTable
    batch_size : int
    seed : int
        Of the order of the training rows.
    """

    def __init__(self, train: TensorTable, validation: TensorTable, batch_size: int, seed: int) -> None:
        super().__init__()
        self.train_dataset = train
        self.validation_dataset = validation
        self.batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def train_dataloader(self, batch_size: int | None = None) -> TensorBatches:
        """Shuffled training batches."""
        return TensorBatches(self.train_dataset, batch_size or self.batch_size, self._generator)

    def val_dataloader(self, batch_size: int | None = None) -> TensorBatches:
        """Validation batches, in order."""
        return TensorBatches(self.validation_dataset, batch_size or EVALUATION_BATCH)
