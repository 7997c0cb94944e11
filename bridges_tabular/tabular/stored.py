"""Training rows in a file, shuffled through a buffer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bridges_tabular.regressors.stored import StoredValues, Values
from bridges_tabular.tabular.datamodule import Batch, ShuffledBatches, TensorTable
from bridges_tabular.tabular.features import FeatureTensors

# numbers of a buffer: 64 MiB
_BUFFER_SIZE = 1 << 24
# a buffer holds as many batches at least
_BATCHES = 8
# places of the file that the rows of a buffer come from
_STRETCHES = 64


def packed(features: FeatureTensors, X: pd.DataFrame) -> Values:
    """What a network reads of n rows as numbers of shape (n, continuous + categorical), codes by their bits."""
    continuous, categorical = (tensor.numpy() for tensor in features.transform(X))
    return np.concatenate([continuous, categorical.astype(np.int32).view(np.float32)], axis=1)


class StoredBatches:
    """Iterates over training rows in a file in batches, in a new order on each pass, with a buffer of them in memory.

    A pass cuts the file into stretches, fills the buffer with some of them, drawn at random, shuffles its rows, and
    goes on with others until all have been read. Rows that fit into one buffer come in the order of
    :class:`~bridges_tabular.tabular.datamodule.ShuffledBatches`.

    Parameters
    ----------
    values : StoredValues
        What :func:`packed` returned, then the target, then the weight if there are weights.
    n_continuous, n_categorical : int
        Columns of either kind.
    batch_size, seed : int
    device : torch.device
        Where the batches are wanted.
    """

    def __init__(
        self,
        values: StoredValues,
        n_continuous: int,
        n_categorical: int,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._values = values
        self._bounds = n_continuous, n_continuous + n_categorical
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._device = device

    def __iter__(self) -> Iterator[Batch]:
        for stretches in self._buffers():
            # the buffer before it is free by now
            yield from ShuffledBatches(self._table(stretches), self._batch_size, self._generator)

    def _buffers(self) -> Iterator[list[slice]]:
        n, width = self._values.shape
        buffers = -(-n // max(_BUFFER_SIZE // width, _BATCHES * self._batch_size))
        if buffers == 1:
            yield [slice(0, n)]
            return
        of_each = min(_STRETCHES, n // buffers)
        bounds: NDArray[np.int64] = np.linspace(0, n, buffers * of_each + 1).round().astype(np.int64)
        order = torch.randperm(buffers * of_each, generator=self._generator).tolist()
        for first in range(0, len(order), of_each):
            yield [slice(int(bounds[at]), int(bounds[at + 1])) for at in order[first : first + of_each]]

    def _table(self, stretches: list[slice]) -> TensorTable:
        values = self._values.read(stretches)
        numbers, codes = self._bounds
        columns = {
            "continuous": torch.from_numpy(values[:, :numbers]),
            "categorical": torch.from_numpy(values[:, numbers:codes].view(np.int32).astype(np.int64)),
            "target": torch.from_numpy(values[:, codes : codes + 1]),
        }
        if values.shape[1] > codes + 1:
            columns["sample_weight"] = torch.from_numpy(values[:, codes + 1])
        return TensorTable(columns).to(self._device)
